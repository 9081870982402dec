"""`standardized`: a network between scales of its data, which are saved with the model."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth

L, FLOAT64 = keras.layers, {"dtype": "float64"}
Z = np.linspace(-2.0, 2.0, 21)[:, None]
LABELS = (np.arange(21) % 3)[:, None]


def dense(units, activation=None, seed=0, **arguments):
    start = keras.initializers.GlorotUniform(seed=seed)
    return keras_smooth.Dense(units, activation, kernel_initializer=start, **arguments)


def layers(dtype="float64", width=1):
    return dense(5, "tanh", 1, dtype=dtype), dense(width, seed=2, dtype=dtype)


def sequential(dtype="float64", width=1, inputs=1):
    return keras.Sequential([keras.Input((inputs,), dtype=dtype), *layers(dtype, width)])


def functional():
    x = keras.Input((1,), name="position", **FLOAT64)
    hidden, last = layers()
    return keras.Model(x, last(hidden(x)) + 0.1 * keras.ops.sin(x))


def subclassed():
    class Net(keras.Model):
        def __init__(self):
            super().__init__(**FLOAT64)
            self.parts = layers()

        def call(self, x):
            return self.parts[1](self.parts[0](x))

    model = Net()
    model(Z)
    return model


MODELS = {"sequential": sequential, "functional": functional, "subclassed": subclassed}
# Scale and mean of x, and of y.
SCALES = {
    "large": (1e3, 1e6, 1e8, -1e9),
    "small": (1e-9, 1e-3, 1e-30, 1e-29),
    "out of range of squares": (1e200, 0.0, 1e-200, 0.0),
    "constant targets": (1.0, 3.0, 0.0, 0.1),
}


def data_of_scale(name):
    scale, mean, of_y, mean_of_y = SCALES[name]
    return mean + scale * Z, mean_of_y + of_y * np.exp(-(Z**2))


@pytest.mark.parametrize("engine", ["tape", "jet", "auto"])
@pytest.mark.parametrize("name", MODELS)
def test_derivatives_equal_scaled_derivatives_of_the_network(name, engine):
    network = MODELS[name]()
    x, y = data_of_scale("large")
    model = keras_smooth.standardized(network, x, y)
    values = keras_smooth.derivatives(model, x, engine=engine)
    network_values = keras_smooth.derivatives(
        network, (x - x.mean()) / x.std(), engine="tape"
    )
    for order, (value, of_network) in enumerate(zip(values, network_values)):
        expected = np.asarray(of_network) * y.std() / x.std() ** order
        expected += y.mean() if order == 0 else 0.0
        # Rounding of some ten operations, and of means of 21 numbers.
        scale = np.abs(expected).max()
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("name", SCALES)
def test_network_gets_and_returns_values_of_order_one(name):
    x, y = data_of_scale(name)
    network = sequential()
    model = keras_smooth.standardized(network, x, y)
    inner = np.asarray(network((x - x.mean()) / spread_of(x)))
    assert 0.1 < np.abs(inner).max() < 10.0
    # x in the small units is itself rounded by 1e-10 of them.
    tolerance = 1e-9 * spread_of(y)
    np.testing.assert_allclose(
        model(x), y.mean() + spread_of(y) * inner, rtol=1e-15, atol=tolerance
    )


def spread_of(y):
    """Standard deviation without squares of large or small numbers; 1 of a constant."""
    largest = np.abs(y - y.mean()).max()
    return largest * ((y - y.mean()) / largest).std() if np.ptp(y) else 1.0


def test_audit_of_a_standardized_model_is_proven():
    x, y = data_of_scale("large")
    audit = keras_smooth.audit(keras_smooth.standardized(sequential(), x, y), x)
    assert audit.ok and "inference: proven and training: proven" in str(audit)


def test_partials_are_divided_by_the_scale_of_each_column():
    """Each column has its own scale: a mixed derivative has both."""
    rng = np.random.default_rng(0)
    x = np.array([1e3, -5.0]) + rng.normal(size=(20, 2)) * [10.0, 1e-3]
    network = sequential(inputs=2)
    model = keras_smooth.standardized(network, x)
    values = keras_smooth.partials(model, x, ["xt", "tt"], names="xt")
    scales = x.std(axis=0)
    network_values = keras_smooth.partials(
        network, (x - x.mean(axis=0)) / scales, ["xt", "tt"], names="xt"
    )
    factors = (1.0, scales[0] * scales[1], scales[1] ** 2)
    for value, of_network, factor in zip(values, network_values, factors):
        np.testing.assert_allclose(value, of_network / factor, rtol=1e-9)


def two_inputs(as_dict):
    a, b = (keras.Input((1,), name=name, **FLOAT64) for name in "ab")
    k = keras.Input((1,), name="k", dtype="int32")
    embedded = L.Flatten(**FLOAT64)(L.Embedding(3, 2, **FLOAT64)(k))
    hidden = dense(5, "tanh", **FLOAT64)(L.Concatenate(**FLOAT64)([a, b, embedded]))
    p, q = (dense(1, seed=i, name=n, **FLOAT64)(hidden) for i, n in enumerate("pq"))
    if as_dict:
        return keras.Model({"a": a, "b": b, "k": k}, {"p": p, "q": q})
    return keras.Model([a, b, k], [p, q])


@pytest.mark.parametrize("as_dict", [True, False])
def test_each_input_and_output_has_its_own_scale(as_dict):
    """Integer inputs are not scaled."""
    a, b, k = 1e3 + Z, 1e-3 * Z, LABELS
    p, q = 1e6 * np.sin(Z), 5.0 + Z**2
    x, y = [a, b, k], [p, q]
    inner = [(a - a.mean()) / a.std(), (b - b.mean()) / b.std(), k]
    if as_dict:
        x, inner, y = dict(zip("abk", x)), dict(zip("abk", inner)), dict(zip("pq", y))
    network = two_inputs(as_dict)
    model = keras_smooth.standardized(network, x, y)
    values, expected = map(keras.tree.flatten, (model(x), network(inner)))
    for value, of_network, target in zip(values, expected, (p, q)):
        of_network = target.mean() + target.std() * np.asarray(of_network)
        np.testing.assert_allclose(value, of_network, rtol=1e-10)


# Padded sequences: mask value, data of the steps. The mean of the second is one of its values,
# which is scaled to the mask value.
rng = np.random.default_rng(0)
STEPS = {
    "two features": (0.0, rng.normal(5.0, 2.0, (20, 6, 2))),
    "steps at the mean": (0.0, 4.0 + np.arange(120).reshape(20, 6, 1) % 3),
    "another value": (-1.0, rng.normal(5.0, 2.0, (20, 6, 1))),
}
LENGTHS = np.arange(20) % 6 + 1


def padded(name):
    value, steps = STEPS[name]
    is_data = np.arange(6) < LENGTHS[:, None]
    return np.where(is_data[..., None], steps, value), steps[is_data], is_data


def masked(value=0.0, features=2, dtype="float64"):
    gru = L.GRU(4, kernel_initializer=keras.initializers.GlorotUniform(3), dtype=dtype)
    parts = L.Masking(value, dtype=dtype), gru, L.Dense(1, dtype=dtype)
    return keras.Sequential([keras.Input((None, features), dtype=dtype), *parts])


@pytest.mark.parametrize("name", STEPS)
def test_padded_steps_stay_padded_and_do_not_change_the_scale(name):
    x, data, is_data = padded(name)
    network = masked(STEPS[name][0], x.shape[-1])
    y = x.sum((1, 2))[:, None]
    model = keras_smooth.standardized(network, x, y)
    values = np.asarray(model(x))
    for row, length in enumerate(LENGTHS):
        alone = model(x[row : row + 1, :length])
        np.testing.assert_allclose(values[row], alone[0], rtol=1e-13)
    inner = (x - data.mean(axis=0)) / data.std(axis=0)
    # The network gets values equal to the mask value shifted by a rounding.
    inner = np.where(is_data[..., None], inner + (inner == STEPS[name][0]) * 1e-12, x)
    inner[~is_data] = STEPS[name][0]
    expected = y.mean() + y.std() * np.asarray(network(inner))
    # Rounding, and weights of about 1 times that distance.
    np.testing.assert_allclose(
        values, expected, rtol=0, atol=1e-11 * np.abs(expected).max()
    )


@pytest.mark.parametrize("engine", ["tape", "jet", "auto"])
def test_derivatives_of_padded_sequences_equal_those_without_padding(engine):
    """Derivatives by padding are 0."""
    x, _, is_data = padded("steps at the mean")
    model = keras_smooth.standardized(masked(features=1), x)
    seed = np.where(is_data[..., None], 1.0, 5.0)
    _, slope, curvature = keras_smooth.directional(model, x, seed, 2, engine=engine)
    for row in range(6):
        short = x[row : row + 1, : LENGTHS[row]]
        _, first, second = keras_smooth.directional(
            model, short, np.ones_like(short), 2, engine="tape"
        )
        np.testing.assert_allclose(slope[row], first[0], rtol=1e-12)
        np.testing.assert_allclose(curvature[row], second[0], rtol=1e-12)


def images():
    convolution = L.Conv2D(2, 3, **FLOAT64)
    return keras.Sequential([keras.Input((4, 4, 2), **FLOAT64), convolution, L.Flatten()])


def embedding(**arguments):
    parts = L.Embedding(5, 2, **arguments), L.GRU(2), L.Dense(1)
    # Its Input is in float32, as Keras makes it.
    model = keras.Sequential(parts)
    model(INDICES)
    return model


INDICES = rng.integers(0, 5, (9, 3))
YEARS = np.arange(1950, 2020)[:, None]
# Integers for a network, and whether they are standardized.
INTEGERS = {
    "years": (sequential, YEARS, True),
    "images": (images, rng.integers(0, 255, (9, 4, 4, 2)).astype("uint8"), True),
    "indices": (embedding, INDICES, False),
    "indices as floats": (embedding, INDICES.astype("float32"), False),
    "indices with padding": (lambda: embedding(mask_zero=True), INDICES, False),
    "a model without Input": (subclassed, YEARS, False),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_are_scaled_if_the_network_has_float_inputs(name):
    make, x, is_scaled = INTEGERS[name]
    network = make()
    columns = x.reshape(-1, x.shape[-1]).astype("float64")
    inner = (x - columns.mean(axis=0)) / columns.std(axis=0) if is_scaled else x
    values = keras_smooth.standardized(network, x)(x)
    np.testing.assert_allclose(values, network(inner), rtol=1e-12, atol=1e-12)


def test_input_of_a_numpy_function_is_scaled():
    class Outside(L.Layer):
        def call(self, x):
            y = tf.numpy_function(np.tanh, [x], tf.float64) if tf.is_tensor(x) else x
            return keras.ops.reshape(y, keras.ops.shape(x))

    network = keras.Sequential([keras.Input((1,), **FLOAT64), Outside(**FLOAT64)])
    x = 300.0 + Z
    model = keras_smooth.standardized(network, x)
    np.testing.assert_allclose(model(x), np.tanh((x - x.mean()) / x.std()), rtol=1e-12)


def layer_with_compute_mask(**arguments):
    class Layer(L.Layer):
        def call(self, x):
            return x

        def compute_mask(self, x, mask=None):
            return mask

    return Layer(**arguments)


def test_layer_with_compute_mask_but_without_a_mask_is_accepted():
    network = keras.Sequential(
        [keras.Input((1,), **FLOAT64), layer_with_compute_mask(**FLOAT64), *layers()]
    )
    keras_smooth.standardized(network, Z)


# Targets of the outputs p and q, by dict or list: which of them are scaled.
SOME_TARGETS = {
    "no key": (True, {"q": 5.0 + Z}, "q"),
    "None in a dict": (True, {"p": 1e6 * Z, "q": None}, "p"),
    "None in a list": (False, [None, 5.0 + Z], "q"),
}


@pytest.mark.parametrize("name", SOME_TARGETS)
def test_outputs_without_targets_are_not_scaled(name):
    as_dict, y, scaled = SOME_TARGETS[name]
    network = two_inputs(as_dict)
    x = [Z, Z, LABELS]
    x = dict(zip("abk", x)) if as_dict else x
    outputs = keras.tree.flatten(keras_smooth.standardized(network, x, y)(x))
    plain = keras.tree.flatten(keras_smooth.standardized(network, x)(x))
    for key, output, unscaled in zip("pq", outputs, plain):
        assert (key in scaled) != np.array_equal(output, unscaled)


# Scale and mean of x and of y, and the warning about rounding in float32.
ROUNDED = {
    "x": (1.0, 1e5, 1.0, 0.0, "x is rounded to float32"),
    "y": (1.0, 0.0, 0.01, 1e5, "`y` is rounded to float32"),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_digits_lost_in_float32_warn(name):
    scale, mean, scale_of_y, mean_of_y, message = ROUNDED[name]
    x, y = mean + scale * Z, mean_of_y + scale_of_y * Z
    with pytest.warns(UserWarning, match=message):
        keras_smooth.standardized(sequential("float32"), x, y)
    # Warnings are errors in the tests: float64 does not warn.
    keras_smooth.standardized(sequential(), x, y)


SCRIPT = """
import keras, keras_smooth, numpy as np
for name in "dense", "masked":
    model = keras.saving.load_model(name + ".keras")
    derivatives = keras_smooth.directional(model, *np.load(name + ".npy"), 2)
    print(*(np.asarray(d).tobytes().hex() for d in derivatives))
"""


def test_saved_model_has_equal_derivatives_in_another_process(tmp_path):
    expected = []
    sequences = padded("two features")[0]
    for name, network, (x, y) in [
        ("dense", sequential(), data_of_scale("large")),
        ("masked", masked(), (sequences, sequences.sum((1, 2))[:, None])),
    ]:
        model = keras_smooth.standardized(network, x, y)
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", [x, np.ones_like(x)])
        derivatives = keras_smooth.directional(model, x, np.ones_like(x), 2)
        expected += [np.asarray(d).tobytes().hex() for d in derivatives]
    output = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, check=True, text=True,
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ).stdout  # fmt: skip
    assert output.split()[-6:] == expected


def test_float32_model_is_fitted_with_dtype_float64():
    x, y = 300.0 + Z, 1e3 + Z**2
    network = sequential("float32")
    model = keras_smooth.standardized(network, x, y)
    assert keras.tree.flatten(model(x.astype("float32")))[0].dtype == "float32"
    model.compile(loss="mse", jit_compile=False)
    history = keras_smooth.fit_lbfgs(
        model, x, y, dtype="float64", epochs=50, jit_compile=False, verbose=0
    )
    losses = history.history["loss"]
    # At the start, the loss is about the variance of y.
    assert losses[0] < 20.0 * y.var() and losses[-1] < 1e-3 * y.var()


def test_weights_are_shared_with_the_network():
    network = sequential()
    model = keras_smooth.standardized(network, Z, 5.0 * Z)
    assert all(a is b for a, b in zip(model.weights, network.weights, strict=True))


def custom_mask():
    class Own(L.Layer):
        def call(self, x):
            return x

        def compute_mask(self, x, mask=None):
            return keras.ops.any(x != 0.0, axis=-1)

    return behind(Own(name="own", **FLOAT64))


def behind(*parts):
    return keras.Sequential([keras.Input((6, 1), **FLOAT64), *parts, L.GRU(2, **FLOAT64)])


def mask_inside():
    return behind(L.Dense(1, **FLOAT64), L.Masking(name="inside", **FLOAT64))


def unbuilt():
    return keras.Sequential([dense(1)])


SEQUENCES = np.ones((3, 6, 1))
WRONG_ARGUMENTS = {
    "a function": (lambda: np.sin, Z, None, TypeError, "must be a Keras model or layer"),
    "not built": (unbuilt, Z, None, ValueError, "has no weights yet"),
    "other columns": (sequential, np.ones((3, 2)), None, ValueError, "x"),
    "NaN": (sequential, np.full((3, 1), np.nan), None, ValueError, "x must be finite"),
    "NaN in y": (sequential, Z, np.full((3, 1), np.nan), ValueError, "`y` must be finite"),
    "words": (sequential, Z, [["a"]], TypeError, "`y` must hold real numbers"),
    "too many targets": (sequential, Z, [Z, Z], ValueError, "2 arrays, .* 1 output"),
    "a mask of its own": (custom_mask, SEQUENCES, None, ValueError, "'own' makes a mask from"),
    "a mask inside": (mask_inside, SEQUENCES, None, ValueError, "'inside' makes a mask from"),
    "only padding": (lambda: masked(features=1), 0.0 * SEQUENCES, None, ValueError, "x has padded"),
    "no targets": (lambda: two_inputs(False), [Z, Z, LABELS], [None, None], ValueError, "no targets"),
    "columns of y": (lambda: sequential(width=2), Z, np.ones((3, 3)), ValueError, r"\(None, 2\), as"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_wrong_arguments_raise(name):
    make, x, y, error, message = WRONG_ARGUMENTS[name]
    with pytest.raises(error, match=message):
        keras_smooth.standardized(make(), x, y)


@pytest.mark.parametrize("inside", [False, True])
def test_derivative_model_is_refused(inside):
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "tanh")])
    model = keras_smooth.DerivativeModel(network, 1)
    if inside:
        inputs = keras.Input((1,))
        model = keras.Model(inputs, model(inputs)["dy"])
    x = np.linspace(300.0, 400.0, 5)[:, None]
    with pytest.raises(ValueError, match="Standardize the network in it"):
        keras_smooth.standardized(model, x)
    right = keras_smooth.DerivativeModel(keras_smooth.standardized(network, x, x), 1)
    slopes = (right(x + 0.5)["y"] - right(x - 0.5)["y"]).numpy()
    # Differences in float32 over a thousandth of the data.
    np.testing.assert_allclose(right(x)["dy"], slopes, rtol=1e-2)
