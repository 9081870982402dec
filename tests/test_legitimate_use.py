"""Legitimate use: for each kind of use that once failed, other instances of it.

See also AFFINE in test_operations.py, FITS in test_lbfgs_manners.py and the tables of
test_points.py, test_comparison_problems.py and test_auditing_reach.py.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from lbfgs_nets import X, Y, fit, net

import keras_smooth
from keras_smooth.comparison import problems

# Each class has a shorter test in the file of the code that it is about.
pytestmark = pytest.mark.slow

L = keras.layers
FLOAT64 = {"dtype": "float64"}


def _functional(function, size=2):
    x = keras.Input((size,), **FLOAT64)
    return keras.Model(x, function(x))


def _dense(units=2, activation="tanh"):
    return L.Dense(units, activation, **FLOAT64)


# Derivatives that are exactly 0.

AFFINE = {
    "a contraction": lambda x: ops.einsum(
        "bi,ij->bj", x, np.array([[1.0, 2.0], [0.5, 3.0]])
    ),
    "rolled and flipped": lambda x: ops.roll(ops.flip(x, axis=-1), 1, axis=-1) - 3.0,
    "an average of views": lambda x: ops.mean(ops.stack([x, 2 * x], axis=1), axis=1),
    "running sums": lambda x: ops.cumsum(x, axis=-1) / 2.0,
    "padded": lambda x: ops.pad(x, [[0, 0], [1, 0]]),
}


@pytest.mark.parametrize("name", AFFINE)
def test_affine_models_have_second_derivative_zero(name):
    model, x = _functional(AFFINE[name]), np.random.default_rng(0).normal(size=(3, 2))
    for engine in ("jet", "tape"):
        hessian = keras_smooth.hessian(model, x, engine=engine)
        np.testing.assert_allclose(hessian, 0.0, atol=1e-14)


def test_interpolation_has_second_derivative_zero_by_its_parameter():
    t, a = (keras.Input((1,), name=name, **FLOAT64) for name in "ta")
    y = (1 - t) * _dense(1)(a) + t * ops.cos(a)
    model = keras.Model({"t": t, "a": a}, y)
    x = {"t": np.full((3, 1), 0.3), "a": np.array([[0.1], [0.5], [2.0]])}
    second = keras_smooth.derivatives(model, x, engine="tape")[2]
    assert not np.any(second["t"]["t"]) and np.all(second["a"]["a"])


# Calls with arguments, constants and comparisons in Functional models.

CALLS = {
    "frozen normalization": lambda x: (
        L.BatchNormalization(**FLOAT64)(x, training=False) ** 2
    ),
    "noise outside of training": lambda x: L.GaussianNoise(1.0, **FLOAT64)(
        ops.sin(x), training=False
    ),
    "a frozen model": lambda x: keras.Sequential(
        [keras.Input((2,), **FLOAT64), _dense(), L.Dropout(0.5, **FLOAT64)]
    )(x, training=False),
    "ones and zeros": lambda x: ops.exp(x) * ops.ones_like(x) + ops.zeros_like(x),
    "a filled tensor": lambda x: ops.sin(x) * ops.full_like(x, 0.7),
    "a constant branch": lambda x: ops.where(
        np.array([[True, False]]), ops.sin(x), ops.square(x)
    ),
    "a comparison that is always false": lambda x: ops.where(
        x > 1e6, ops.zeros_like(x), ops.cos(x)
    ),
    "attention to others": lambda x: ops.reshape(
        L.Attention(**FLOAT64)(
            [ops.reshape(ops.sin(x), (-1, 2, 1)), ops.reshape(x, (-1, 2, 1))]
        ),
        (-1, 2),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_jets_equal_tapes_for_calls_with_arguments(name):
    model, x = _functional(CALLS[name]), np.random.default_rng(1).normal(size=(3, 2))
    by_jets, by_tapes = (
        keras_smooth.directional(model, x, [1.0, 0.5], 2, engine=engine)
        for engine in ("jet", "tape")
    )
    for value, expected in zip(by_jets, by_tapes, strict=True):
        # Rounding of float64 in a dozen operations.
        np.testing.assert_allclose(value, expected, atol=1e-12)


# Several inputs, some of them without floats, for all operators.


def _model_with_held_input(held_input, function):
    x = keras.Input((2,), name="x", **FLOAT64)
    y = ops.sum(ops.sin(x), axis=-1, keepdims=True) * function(held_input)
    return keras.Model({"x": x, held_input.name: held_input}, y)


def _model_with_boolean_input():
    flag = keras.Input((1,), name="held", dtype="bool")
    return _model_with_held_input(
        flag, lambda flag: 1.0 + ops.cast(flag, "float64")
    ), np.ones((4, 1), bool)


def _model_with_integer_input():
    count = keras.Input((1,), name="held", dtype="int32")
    embedding = L.Embedding(5, 1, **FLOAT64)
    return _model_with_held_input(count, lambda n: embedding(n)[:, 0] + 1.0), np.arange(4)[
        :, None
    ]


def _model_with_text_input():
    word = keras.Input((1,), name="held", dtype="string")
    look_up = L.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    return (
        _model_with_held_input(
            word, lambda w: 1.0 + ops.cast(look_up(w), "float64")[:, :1]
        ),
        np.array([["a"], ["b"], ["a"], ["c"]]),
    )


OPERATORS = {
    "gradient": keras_smooth.gradient, "jacobian": keras_smooth.jacobian,
    "hessian": keras_smooth.hessian, "laplacian": keras_smooth.laplacian,
    "derivatives": lambda *a, **k: keras_smooth.derivatives(*a, **k)[2],
    "directional": lambda m, x, **k: keras_smooth.directional(
        m, x, {"x": [1.0, 0.0]} if "wrt" not in k else [1.0, 0.0], 2, **k
    )[2],
}  # fmt: skip


@pytest.mark.parametrize(
    "make", [_model_with_boolean_input, _model_with_integer_input, _model_with_text_input]
)
def test_all_operators_hold_inputs_without_floats(make):
    model, held = make()
    x = {"x": np.random.default_rng(2).normal(size=(4, 2)), "held": tf.constant(held)}
    for operator in OPERATORS.values():
        without_wrt, with_wrt = operator(model, x), operator(model, x, wrt="x")
        pairs = zip(
            keras.tree.flatten(without_wrt), keras.tree.flatten(with_wrt), strict=True
        )
        assert all(np.allclose(*pair) and np.any(pair[0]) for pair in pairs)


# Sets of points of different sizes.

SETS = {
    "a dict": {"inside": X, "edge": X[:7], "start": X[:1]},
    "a list": [X, X[:3]],
    "a nest": {"inside": (X, Y), "edge": [X[:5], {"flux": Y[:5]}]},
}


@pytest.mark.parametrize("name", SETS)
def test_fit_lbfgs_with_sets_of_points_of_different_sizes(name):
    def objective(model, points):
        sets = [leaf for leaf in keras.tree.flatten(points) if leaf.shape[1] == 2]
        return sum(ops.mean((model(leaf) - 1.0) ** 2) for leaf in sets)

    history = fit(net(), SETS[name], None, objective=objective, epochs=10)
    assert history.result.fun < history.history["loss"][0]


# Operations that XLA cannot compile.


class FunctionLayer(L.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return tf.ensure_shape(self.function(x), x.shape)


@tf.custom_gradient
def _of_numpy(x):
    y = tf.numpy_function(np.tanh, [x], x.dtype)
    return y, lambda upstream: upstream * (1 - y**2)


def _dilated(x):
    image = tf.reshape(x, (-1, 1, 3, 1))
    filters = tf.zeros((1, 1, 1), x.dtype)
    return tf.nn.dilation2d(image, filters, (1,) * 4, "SAME", "NHWC", (1,) * 4)[:, 0, :, 0]


WITHOUT_XLA = {
    "Python": lambda: FunctionLayer(
        lambda x: tf.py_function(tf.sin, [x], x.dtype), **FLOAT64
    ),
    "NumPy": lambda: FunctionLayer(_of_numpy, **FLOAT64),
    "a dilation": lambda: FunctionLayer(_dilated, **FLOAT64),
}


@pytest.mark.parametrize("name", WITHOUT_XLA)
def test_fit_lbfgs_without_xla_if_it_cannot_compile(name):
    with pytest.warns(UserWarning, match="XLA"):
        history = fit(net(WITHOUT_XLA[name]()), epochs=2, jit_compile=True)
    assert history.result.nit == 2


# Layers and callables of any kind as activations.


class Wave:
    def __init__(self, frequency):
        self.frequency = frequency

    def at(self, x):
        return ops.sin(self.frequency * x)


ACTIVATIONS = {
    "PReLU": lambda: L.PReLU(),
    "LeakyReLU": lambda: L.LeakyReLU(0.2),
    "Softmax": lambda: L.Softmax(),
    "a lambda": lambda: lambda x: ops.sin(x) + x,
    "a partial function": lambda: functools.partial(
        keras.activations.gelu, approximate=True
    ),
    "a method": lambda: Wave(1.5).at,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_any_callable_is_accepted_as_activation(name):
    model = keras.Sequential([keras.Input((3,)), L.Dense(3, ACTIVATIONS[name]())])
    x = np.random.default_rng(3).normal(size=(4, 3)).astype("float32")
    smooth = keras_smooth.smoothen(model, x)
    # At most log(2) / sharpness for each piecewise function.
    assert smooth.output_change.largest < 0.1
    assert keras_smooth.audit(smooth, x).outcome == "proven"


# Data of comparisons.

LINE = np.linspace(0.0, 2.0, 15)
DATA = {
    "a list of two": [LINE, LINE**2],
    "a dict": {"x": LINE, "y": np.sin(LINE)},
    "columns of one": (LINE[:, None], np.cos(LINE)[:, None]),
    "tensors": (tf.constant(LINE), tf.constant(LINE**3)),
}


@pytest.mark.parametrize("name", DATA)
def test_data_of_comparison_in_different_forms(name):
    problem = problems.load_problem(DATA[name])
    assert len(problem.x) == 3  # every fifth is held out


def test_functions_of_users_are_compared(tmp_path, without_xla):
    def tanh(x):
        return 2 * ops.tanh(x / 2)

    wave = lambda x: ops.sin(2 * x)  # noqa: E731
    wave.__name__ = "wave"
    functions = [tanh, wave, keras_smooth.activations.partial("sin", w0=2.0)]
    comparison = keras_smooth.compare(
        functions, problem=(LINE, LINE**2), seeds=1, epochs=2, architecture="1x2"
    )
    assert len({run.activation for run in comparison.runs}) == 3
    assert (comparison.save(tmp_path / "out") / "results.json").exists()


# Audits of unbuilt models, of inputs without floats, and after smoothen.


class Unbuilt(keras.Model):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense_layers = [L.Dense(units, "gelu"), L.Dense(1)]

    def get_config(self):
        return {**super().get_config(), "units": self.units}

    def call(self, x):
        x = ops.concatenate(list(x.values()), axis=-1) if isinstance(x, dict) else x
        for layer in self.dense_layers:
            x = layer(x)
        return x


UNBUILT = {
    "subclassed": lambda: (Unbuilt(3), np.ones((4, 2), "float32")),
    "of a dict": lambda: (Unbuilt(2), {"a": np.ones((4, 2)), "b": np.ones((4, 1))}),
    "Sequential": lambda: (keras.Sequential([L.Dense(2, "tanh")]), np.ones((4, 2))),
    "a layer": lambda: (L.GRU(2), np.random.default_rng(0).normal(size=(4, 3, 2))),
}


@pytest.mark.parametrize("name", UNBUILT)
def test_unbuilt_models_are_audited(name):
    model, x = UNBUILT[name]()
    assert keras_smooth.audit(model, x).inference == "proven"


@pytest.mark.parametrize(
    "make", [_model_with_boolean_input, _model_with_integer_input, _model_with_text_input]
)
def test_inputs_without_floats_are_not_a_fault(make):
    model, held = make()
    x = {"x": np.random.default_rng(2).normal(size=(4, 2)), "held": tf.constant(held)}
    assert keras_smooth.audit(model, x).outcome == "proven"


SMOOTHENED = {
    "a residual block": lambda x: L.ReLU()(
        L.Add()([x, L.BatchNormalization()(L.Conv2D(2, 1, activation="relu")(x))])
    ),
    "a bottleneck": lambda x: L.ReLU(6.0)(
        L.BatchNormalization()(L.DepthwiseConv2D(2, padding="same")(x))
    ),
    "pooled": lambda x: L.MaxPooling2D(2)(L.LayerNormalization()(x)),
    "gated": lambda x: L.Multiply()(
        [x, L.Dense(2, "hard_sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(x))]
    ),
}


@pytest.mark.parametrize("name", SMOOTHENED)
def test_smoothened_blocks_are_proven(name):
    x = keras.Input((4, 4, 2))
    model = keras.Model(x, SMOOTHENED[name](x))
    assert keras_smooth.audit(model).outcome == "faulty"
    assert keras_smooth.audit(keras_smooth.smoothen(model)).outcome == "proven"


# Inputs whose dtype is not that of the model.

WITH_ORDERS = {
    "derivatives": lambda model, x, **options: keras_smooth.derivatives(
        model, x, 2, **options
    ),
    "gradient": keras_smooth.gradient,
    "jacobian": keras_smooth.jacobian,
    "hessian": keras_smooth.hessian,
    "laplacian": keras_smooth.laplacian,
    "directional": lambda model, x, **options: keras_smooth.directional(
        model, x, np.ones_like(x), 2, **options
    ),
}


@pytest.mark.parametrize("engine", ["auto", "jet", "tape"])
@pytest.mark.parametrize("name", WITH_ORDERS)
@pytest.mark.parametrize(
    ("model_dtype", "x_dtype"), [("float64", "float32"), ("float32", "float64")]
)
def test_inputs_with_dtype_other_than_that_of_model(name, engine, model_dtype, x_dtype):
    keras.utils.set_random_seed(0)
    model, model_in_float64 = (
        keras.Sequential(
            [
                keras.Input((2,), dtype=dtype),
                keras.layers.Dense(4, "tanh", dtype=dtype),
                keras.layers.Dense(1, dtype=dtype),
            ]
        )
        for dtype in ("float32", "float64")
    )
    model_in_float64.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(3, 2)).astype("float32")
    expected = WITH_ORDERS[name](model_in_float64, x.astype("float64"), engine=engine)
    model = model_in_float64 if model_dtype == "float64" else model
    values = WITH_ORDERS[name](model, x.astype(x_dtype), engine=engine)
    for value, expected_value in zip(
        keras.tree.flatten(values), keras.tree.flatten(expected)
    ):
        # Rounding of a few hundred operations in float32.
        np.testing.assert_allclose(value, expected_value, atol=3e-5)


class OverridesDunderCall(keras.Model):
    """As in code for older versions: Keras neither builds it nor runs its `call`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.last = keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)

    def __call__(self, x):
        return self.last(self.hidden(x))


class OverridesBoth(OverridesDunderCall):
    """It has `call` and `__call__`."""

    def call(self, x):
        return self.last(self.hidden(x))

    def __call__(self, x, training=None):
        return keras.Model.__call__(self, 2.0 * x, training=training)


class LayerOverridesDunderCall(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(8, "tanh")

    def __call__(self, x):
        return self.dense(x)


class ContainsSuchLayer(keras.Model):
    """A layer in it has its own `__call__`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.last = LayerOverridesDunderCall(), keras.layers.Dense(1)

    def build(self, shape):
        self.built = True

    def call(self, x):
        return self.last(self.hidden(x))


def _by_numpy(model, x):
    """Returns y and y' in NumPy."""
    factor = 2.0 if isinstance(model, OverridesBoth) else 1.0
    hidden = getattr(model.hidden, "dense", model.hidden)
    (kernel, bias), (last, offset) = hidden.get_weights(), model.last.get_weights()
    h = np.tanh(factor * x @ kernel + bias)
    return h @ last + offset, factor * ((1 - h**2) * last[:, 0]) @ kernel.T


@pytest.mark.parametrize("kind", [OverridesDunderCall, OverridesBoth, ContainsSuchLayer])
def test_models_that_override_dunder_call(kind, rng):
    model, x = kind(), rng.normal(size=(5, 3)).astype("float32")
    if kind is not ContainsSuchLayer:
        with pytest.raises(ValueError, match="has no weights yet"):
            keras_smooth.derivatives(model, x, 1)
    model(x)
    y, dy = _by_numpy(model, x)
    values = keras_smooth.derivatives(model, x, 1)
    # Rounding of a dozen operations of numbers of size 1 in float32.
    np.testing.assert_allclose(values[0], y, rtol=0, atol=2e-6)
    np.testing.assert_allclose(values[1][:, 0], dy, rtol=0, atol=2e-6)
    audit = keras_smooth.audit(model, x)
    assert audit.ok and [row.verdict for row in audit.rows] == ["proven", "proven"]
    # The recording of the calls leaves nothing on the model.
    assert type(model) is kind and "call" not in vars(model)
    model.compile(loss="mse")
    losses = keras_smooth.fit_lbfgs(
        model, x, x[:, :1], epochs=3, verbose=0, jit_compile=False
    ).history["loss"]
    y, _ = _by_numpy(model, x)
    assert losses[-1] == pytest.approx(np.mean((y - x[:, :1]) ** 2), rel=1e-4)


def test_audit_finds_kink_in_layer_that_overrides_dunder_call(rng):
    layer = LayerOverridesDunderCall()
    layer.dense = keras.layers.Dense(8, "relu")
    row = keras_smooth.audit(layer, rng.normal(size=(5, 3)).astype("float32")).rows[0]
    assert (row.cause, row.smoothness) == ("not smooth", 0)
