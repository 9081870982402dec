"""Several inputs, `wrt` and held inputs: all operators and engines against closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_smooth

FLOAT64 = {"dtype": "float64"}
ENGINES = ("jet", "tape", "auto")


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    return {"t": rng.normal(size=(6, 1)), "x": rng.normal(size=(6, 2))}


def wave():
    """Returns a model of exp(t) sin(x0) x1, with its inputs in a dict."""
    x, t = keras.Input((2,), name="x", **FLOAT64), keras.Input((1,), name="t", **FLOAT64)
    y = ops.exp(t) * ops.sin(x[:, :1]) * x[:, 1:]
    return keras.Model({"x": x, "t": t}, y, name="wave")


def wave_of_list():
    model = wave()
    return keras.Model(list(model.inputs), model.output, name="wave")


def exact_derivatives(data):
    """Returns y, the gradient and the Hessian by (x0, x1, t)."""
    (x0, x1), t = data["x"].T, data["t"][:, 0]
    e, s, c = np.exp(t), np.sin(x0), np.cos(x0)
    gradient = np.stack([e * c * x1, e * s, e * s * x1], axis=1)
    rows = [
        [-e * s * x1, e * c, e * c * x1],
        [e * c, 0 * e, e * s],
        [e * c * x1, e * s, e * s * x1],
    ]
    return e * s * x1, gradient, np.transpose(np.array(rows), (2, 0, 1))


# The slice of each input in (x0, x1, t).
SLICES = {"x": slice(0, 2), "t": slice(2, 3)}


def assert_near(actual, expected):
    # Rounding of float64 in a dozen operations of order 10.
    np.testing.assert_allclose(np.reshape(actual, np.shape(expected)), expected, atol=1e-13)


@pytest.mark.parametrize("engine", ENGINES)
def test_all_operators_accept_dict(data, engine):
    model, (y, gradient, hessian) = wave(), exact_derivatives(data)
    values = keras_smooth.derivatives(model, data, engine=engine)
    gradients = keras_smooth.gradient(model, data, engine=engine)
    jacobian = keras_smooth.jacobian(model, data, engine=engine)
    hessians = keras_smooth.hessian(model, data, engine=engine)
    assert_near(values[0][:, 0], y)
    assert values[1]["t"].shape == (6, 1) and values[1]["x"].shape == (6, 1, 2)
    assert jacobian["t"].shape == (6, 1) and gradients["x"].shape == (6, 2)
    assert hessians["t"]["x"].shape == (6, 1, 2)
    assert values[2]["t"]["x"].shape == values[2]["x"]["t"].shape == (6, 1, 2)
    for name_a, rows in SLICES.items():
        for value in (values[1][name_a], gradients[name_a], jacobian[name_a]):
            assert_near(value, gradient[:, rows])
        for name_b, columns in SLICES.items():
            assert_near(values[2][name_a][name_b], hessian[:, rows, columns])
            assert_near(hessians[name_a][name_b], hessian[:, rows, columns])
    assert_near(
        keras_smooth.laplacian(model, data, engine=engine)[:, 0], batch_trace(hessian)
    )


def batch_trace(hessian):
    return np.trace(hessian, axis1=1, axis2=2)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["x", "t"])
@pytest.mark.parametrize("make", [wave, wave_of_list])
def test_wrt_one_input_returns_no_structure(data, make, name, engine):
    model, rows, (_, gradient, hessian) = make(), SLICES[name], exact_derivatives(data)
    x = data if make is wave else [data["t"], data["x"]]
    block = hessian[:, rows, rows]
    options = {"engine": engine, "wrt": name}
    for wrt in (name, 0 if name == "t" else 1):
        assert_near(
            keras_smooth.gradient(model, x, wrt=wrt, engine=engine), gradient[:, rows]
        )
    assert_near(keras_smooth.derivatives(model, x, **options)[2], block)
    assert_near(keras_smooth.hessian(model, x, **options), block)
    assert_near(keras_smooth.laplacian(model, x, **options)[:, 0], batch_trace(block))
    v = np.ones(block.shape[1])
    d2y = keras_smooth.directional(model, x, v, 2, **options)[2]
    assert_near(d2y[:, 0], block.sum(axis=(1, 2)))


@pytest.mark.parametrize("engine", ENGINES)
def test_wrt_list_returns_structure_of_named_inputs(data, engine):
    _, gradient, hessian = exact_derivatives(data)
    values = keras_smooth.jacobian(wave(), data, wrt=["t"], engine=engine)
    assert list(values) == ["t"]
    assert_near(values["t"], gradient[:, 2:])
    values = keras_smooth.hessian(
        wave_of_list(), [data["t"], data["x"]], wrt=[1], engine=engine
    )
    assert isinstance(values, list) and isinstance(values[0], list)
    assert_near(values[0][0], hessian[:, :2, :2])


@pytest.mark.parametrize("engine", ENGINES)
def test_direction_for_several_inputs(data, engine):
    _, gradient, hessian = exact_derivatives(data)
    v = {"x": np.array([1.0, -2.0]), "t": np.array([0.5])}
    joined = np.array([1.0, -2.0, 0.5])
    _, dy, d2y = keras_smooth.directional(wave(), data, v, 2, engine=engine, batch_size=4)
    assert_near(dy[:, 0], gradient @ joined)
    assert_near(d2y[:, 0], np.einsum("bij,i,j->b", hessian, joined, joined))


def wave_function(x):
    return ops.exp(x["t"]) * ops.sin(x["x"][:, :1]) * x["x"][:, 1:]


def subclassed_wave():
    class Wave(keras.Model):
        def call(self, x):
            return wave_function(x)

    model = Wave(**FLOAT64)
    model.built = True
    return model


def wave_layer():
    class Wave(keras.layers.Layer):
        def call(self, x):
            return wave_function(x)

    return Wave(**FLOAT64)


@pytest.mark.parametrize("make", [lambda: wave_function, subclassed_wave, wave_layer])
def test_functions_layers_and_subclassed_models_agree(data, make):
    data = {name: tf.constant(part) for name, part in data.items()}
    _, gradient, hessian = exact_derivatives(
        {name: part.numpy() for name, part in data.items()}
    )
    assert_near(keras_smooth.gradient(make(), data, wrt="t"), gradient[:, 2:])
    assert_near(keras_smooth.hessian(make(), data)["x"]["t"], hessian[:, :2, 2:])
    assert_near(
        keras_smooth.laplacian(make(), data, wrt="x")[:, 0], batch_trace(hessian[:, :2, :2])
    )


def model_with_integers():
    """Returns a model of tanh(x) scaled by an embedding of an integer."""
    x, i = keras.Input((1,), name="x", **FLOAT64), keras.Input((), name="i", dtype="int32")
    scale = keras.layers.Embedding(3, 1, embeddings_initializer="ones", **FLOAT64)(i)
    return keras.Model({"x": x, "i": i}, ops.tanh(x) * scale)


def model_with_text():
    x = keras.Input((1,), name="x", **FLOAT64)
    i = keras.Input((1,), name="i", dtype="string")
    number = keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="int")(i)
    return keras.Model({"x": x, "i": i}, ops.tanh(x) * ops.cast(number, "float64"))


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("engine", ["tape", "auto"])
@pytest.mark.parametrize(
    ("make", "held"),
    [
        (model_with_integers, np.array([0, 1, 2, 0, 1])),
        (model_with_text, np.array([["a"]] * 5)),
        (lambda: lambda x: ops.tanh(x["x"]) * ops.cast(x["i"], "float64"), np.ones((5, 1), int)),
        (lambda: lambda x: ops.tanh(x["x"]) * ops.cast(x["i"], "float64"), np.ones((5, 1), bool)),
    ],
)  # fmt: skip
def test_inputs_without_floats_are_held(make, held, engine, batch_size):
    x = np.linspace(-1.0, 1.0, 5)[:, None]
    options = {"engine": engine, "batch_size": batch_size}
    y, dy = keras_smooth.derivatives(make(), {"x": x, "i": held}, 1, **options)
    assert list(dy) == ["x"]
    assert_near(dy["x"], 1 - np.tanh(x) ** 2)
    assert_near(
        keras_smooth.gradient(make(), {"x": x, "i": held}, wrt="x", **options), dy["x"]
    )


def test_laplacian_of_dict_in_tf_function(data):
    compiled = tf.function(lambda x: keras_smooth.laplacian(wave(), x), autograph=False)
    assert_near(compiled(data)[:, 0], batch_trace(exact_derivatives(data)[2]))


def one_input():
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)], name="one")


def text_model():
    lookup = keras.layers.StringLookup(vocabulary=["a"], output_mode="one_hot")
    first = keras.Input((1,), dtype="string")
    return keras.Sequential([first, lookup, keras.layers.Dense(1)])


X, T = np.ones((4, 2)), np.ones((4, 1))
COMPLEX = np.ones((4, 1), complex)
WITH_NAN = np.array([[1.0], [np.nan], [0.0], [1.0]])
# Model, x, wrt, error, words.
WRONG_ARGUMENTS = {
    "complex": (one_input, COMPLEX, None, TypeError, "x holds complex128.*real numbers"),
    "complex of two": (
        wave, {"x": X, "t": COMPLEX}, None, TypeError, r"x\['t'\] holds complex128"
    ),
    "complex of a function": (lambda: tf.abs, COMPLEX, None, TypeError, "complex128"),
    "None": (one_input, None, None, TypeError, "x is no array.*None"),
    "None of two": (wave, {"x": X, "t": None}, None, TypeError, r"x\['t'\] is no array"),
    "None in a list": (wave_of_list, [T, None], None, TypeError, r"x\['x'\] is no array"),
    "NaN": (one_input, WITH_NAN, None, ValueError, r"x must be finite, but is nan at \[1, 0\]"),
    "infinite": (one_input, np.where(np.isnan(WITH_NAN), np.inf, WITH_NAN), None, ValueError, "x must be finite, but is inf"),
    "NaN of two": (wave, {"x": X, "t": WITH_NAN}, None, ValueError, r"x\['t'\] must be finite"),
    "surplus in a tuple": (one_input, (T, T), None, ValueError, "takes 1 input .*received 2"),
    "surplus in a dict": (
        wave, {"x": X, "t": T, "z": T}, None, ValueError, "none left over"
    ),
    "surplus in a list": (wave_of_list, [T, X, T], None, ValueError, "takes 2 .*received 3"),
    "surplus of a layer": (
        lambda: keras.layers.Dense(1, name="d"), [T, T], None, ValueError, "'d' takes one input"
    ),
    "missing": (wave, {"x": X}, None, ValueError, "none may be missing"),
    "one of two": (wave, X, None, ValueError, "takes 2 inputs .*received 1"),
    "ragged": (one_input, [[1.0, 2.0], [1.0]], None, TypeError, "x is no array"),
    "objects": (one_input, np.array([[1.0]], object), None, TypeError, "dtype is object. Convert it"),
    "more digits": (one_input, np.ones((2, 1), np.longdouble), None, TypeError, "Convert it to float64"),
    "text": (one_input, np.array([["a"]]), None, TypeError, "expects numbers for .*received x of text"),
    "text where it is expected": (
        text_model, tf.constant([["a"]]), None, TypeError, r"x holds text\. Name the inputs"
    ),
    "integers": (one_input, np.ones((4, 1), int), None, TypeError, "must be floats.*int64"),
    "integers for floats": (
        wave, {"x": X, "t": np.ones((4, 1), int)}, None, TypeError, r"x\['t'\] holds int64"
    ),
    "rows": (wave, {"x": X, "t": T[:3]}, None, ValueError, "same number of samples.*3"),
    "width": (wave, {"x": T, "t": T}, None, ValueError, r"'wave' expects points.*for 'x'"),
    "wrt unknown": (wave, {"x": X, "t": T}, "u", ValueError, "names no input.*'u'.*'t', 'x'"),
    "wrt out of range": (wave_of_list, [T, X], 2, ValueError, "names no input: received 2"),
    "wrt below 0": (wave_of_list, [T, X], -1, ValueError, "names no input"),
    "wrt twice": (wave_of_list, [T, X], [0, "t"], ValueError, "each input once"),
    "wrt empty": (wave_of_list, [T, X], [], ValueError, "at least one"),
    "wrt a float": (wave_of_list, [T, X], 1.0, TypeError, "names or places"),
    "wrt a held input": (
        model_with_integers, {"x": T, "i": np.zeros(4, int)}, "i", TypeError, r"x\['i'\] holds int64"
    ),
}  # fmt: skip
OPERATORS = {
    "derivatives": keras_smooth.derivatives,
    "gradient": keras_smooth.gradient,
    "jacobian": keras_smooth.jacobian,
    "hessian": keras_smooth.hessian,
    "laplacian": keras_smooth.laplacian,
    "directional": lambda model, x, wrt: keras_smooth.directional(model, x, 1.0, wrt=wrt),
}


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_wrong_inputs_raise_the_same_error_in_all_operators(name, operator):
    make, x, wrt, error, words = WRONG_ARGUMENTS[name]
    with pytest.raises(error, match=words):
        OPERATORS[operator](make(), x, wrt=wrt)


def complex_net():
    layer = keras.layers.Lambda(lambda y: tf.complex(y, y**2), dtype="float64")
    return keras.Sequential([keras.Input((1,), dtype="float64"), layer])


# Outputs without derivatives by real numbers, and words of the error. TensorFlow's tapes return
# the derivatives of the real part.
UNSUPPORTED_OUTPUTS = {
    "complex": (
        lambda: lambda x: tf.exp(tf.complex(x, 2.0 * x)),
        "complex128.* keras.ops.real",
    ),
    "complex of a net": (complex_net, "complex128.* keras.ops.real"),
    "complex of two": (
        lambda: lambda x: {"a": x, "b": tf.cast(x, "complex64")},
        "complex64",
    ),
    "ragged": (
        lambda: lambda x: tf.RaggedTensor.from_row_lengths(x[:, 0], [1, 3]),
        "a RaggedTensor.* dense tensor",
    ),
}
OPERATORS_AND_OPTIONS = {
    **{name: operator for name, operator in OPERATORS.items() if name != "directional"},
    "directional": lambda f, x: keras_smooth.directional(f, x, [1.0]),
    "tape": lambda f, x: keras_smooth.laplacian(f, x, engine="tape"),
    "jet": lambda f, x: keras_smooth.laplacian(f, x, engine="jet"),
    "verified": lambda f, x: keras_smooth.derivatives(f, x, 1, verify=True),
    "partials": lambda f, x: keras_smooth.partials(f, x, ["x"], names="x"),
    "in a graph": lambda f, x: tf.function(lambda x: keras_smooth.gradient(f, x))(
        tf.constant(x)
    ),
}


@pytest.mark.filterwarnings("ignore:.*cannot trace it")
@pytest.mark.parametrize("operator", OPERATORS_AND_OPTIONS)
@pytest.mark.parametrize("name", UNSUPPORTED_OUTPUTS)
def test_complex_and_ragged_outputs_raise(name, operator):
    make, words = UNSUPPORTED_OUTPUTS[name]
    with pytest.raises(TypeError, match=words):
        OPERATORS_AND_OPTIONS[operator](make(), T)


@pytest.mark.parametrize(
    ("direction", "error", "words"),
    [
        (np.ones(2), ValueError, "structure of the inputs"),
        ({"x": np.ones(2)}, ValueError, "structure of the inputs"),
        ({"x": np.ones(3), "t": np.ones(1)}, ValueError, "shape of its input"),
        ({"x": np.ones(2), "t": 1j * np.ones(1)}, TypeError, "complex"),
        ({"x": np.ones(2), "t": [np.nan]}, ValueError, "finite"),
    ],
)
def test_wrong_direction_raises(data, direction, error, words):
    with pytest.raises(error, match=words):
        keras_smooth.directional(wave(), data, direction)


@pytest.mark.parametrize("operator", ["jacobian", "partials"])
def test_tapes_find_outputs_independent_of_input(operator, data):
    """The ReLU is not smooth, but its derivative by an input without a path to it is 0."""
    x = {"t": data["t"], "s": 2.0 * data["t"]}

    def parts(x):
        return {"u": ops.relu(x["s"]) * x["s"], "v": x["t"] ** 3}

    if operator == "jacobian":
        slopes = keras_smooth.jacobian(parts, x, engine="tape")
        by_t = {name: slopes[name]["t"] for name in "uv"}
    else:
        _, by_t = keras_smooth.partials(parts, x, ["t"], engine="tape")
    assert_near(by_t["u"], np.zeros((6, 1)))
    assert_near(by_t["v"], 3.0 * data["t"] ** 2)


STREAMS = {
    "dataset": lambda x: tf.data.Dataset.from_tensor_slices(x).batch(2),
    "generator": lambda x: (row for row in x),
}


@pytest.mark.parametrize("name", STREAMS)
def test_dataset_or_generator_as_x_raises(name):
    x = np.ones((4, 2), "float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    for operator in (keras_smooth.derivatives, keras_smooth.audit):
        with pytest.raises(TypeError, match="pass the x of its batches"):
            operator(model, STREAMS[name](x))


def test_unknown_sample_size_is_read_from_model_or_raises():
    x = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "tanh")])
    open_shape = [tf.TensorSpec((None, None))]
    of_model = tf.function(lambda x: keras_smooth.hessian(model, x), open_shape)
    # Rounding of float32.
    np.testing.assert_allclose(of_model(x), keras_smooth.hessian(model, x), atol=1e-6)
    with pytest.raises(ValueError, match="size of a sample must be known"):
        tf.function(lambda x: keras_smooth.hessian(keras.ops.tanh, x), open_shape)(x)
