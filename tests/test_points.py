"""Several inputs, wrt= and held inputs: all operators, both engines, exact values."""

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


def as_list():
    model = wave()
    return keras.Model(list(model.inputs), model.output, name="wave")


def exact(data):
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


# The place of each input among (x0, x1, t).
PLACES = {"x": slice(0, 2), "t": slice(2, 3)}


def near(value, true):
    # Rounding of float64 in a dozen operations of order 10.
    np.testing.assert_allclose(np.reshape(value, np.shape(true)), true, atol=1e-13)


@pytest.mark.parametrize("engine", ENGINES)
def test_all_operators_take_a_dict(data, engine):
    model, (y, gradient, hessian) = wave(), exact(data)
    found = keras_smooth.derivatives(model, data, engine=engine)
    slopes = keras_smooth.gradient(model, data, engine=engine)
    jacobian = keras_smooth.jacobian(model, data, engine=engine)
    curvature = keras_smooth.hessian(model, data, engine=engine)
    near(found[0][:, 0], y)
    assert found[1]["t"].shape == (6, 1) and found[1]["x"].shape == (6, 1, 2)
    assert jacobian["t"].shape == (6, 1) and slopes["x"].shape == (6, 2)
    assert curvature["t"]["x"].shape == (6, 1, 2)
    assert found[2]["t"]["x"].shape == found[2]["x"]["t"].shape == (6, 1, 2)
    for a, at in PLACES.items():
        for value in (found[1][a], slopes[a], jacobian[a]):
            near(value, gradient[:, at])
        for b, by in PLACES.items():
            near(found[2][a][b], hessian[:, at, by])
            near(curvature[a][b], hessian[:, at, by])
    near(keras_smooth.laplacian(model, data, engine=engine)[:, 0], trace(hessian))


def trace(hessian):
    return np.trace(hessian, axis1=1, axis2=2)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["x", "t"])
@pytest.mark.parametrize("make", [wave, as_list])
def test_wrt_one_input_has_no_structure(data, make, name, engine):
    model, at, (_, gradient, hessian) = make(), PLACES[name], exact(data)
    x = data if make is wave else [data["t"], data["x"]]
    by = hessian[:, at, at]
    options = {"engine": engine, "wrt": name}
    for wrt in (name, 0 if name == "t" else 1):
        near(keras_smooth.gradient(model, x, wrt=wrt, engine=engine), gradient[:, at])
    near(keras_smooth.derivatives(model, x, **options)[2], by)
    near(keras_smooth.hessian(model, x, **options), by)
    near(keras_smooth.laplacian(model, x, **options)[:, 0], trace(by))
    v = np.ones(by.shape[1])
    d2y = keras_smooth.directional(model, x, v, 2, **options)[2]
    near(d2y[:, 0], by.sum(axis=(1, 2)))


@pytest.mark.parametrize("engine", ENGINES)
def test_wrt_a_list_has_the_structure_of_what_is_named(data, engine):
    _, gradient, hessian = exact(data)
    found = keras_smooth.jacobian(wave(), data, wrt=["t"], engine=engine)
    assert list(found) == ["t"]
    near(found["t"], gradient[:, 2:])
    found = keras_smooth.hessian(as_list(), [data["t"], data["x"]], wrt=[1], engine=engine)
    assert isinstance(found, list) and isinstance(found[0], list)
    near(found[0][0], hessian[:, :2, :2])


@pytest.mark.parametrize("engine", ENGINES)
def test_direction_over_several_inputs(data, engine):
    _, gradient, hessian = exact(data)
    v = {"x": np.array([1.0, -2.0]), "t": np.array([0.5])}
    full = np.array([1.0, -2.0, 0.5])
    _, dy, d2y = keras_smooth.directional(wave(), data, v, 2, engine=engine, batch_size=4)
    near(dy[:, 0], gradient @ full)
    near(d2y[:, 0], np.einsum("bij,i,j->b", hessian, full, full))


def function(x):
    return ops.exp(x["t"]) * ops.sin(x["x"][:, :1]) * x["x"][:, 1:]


def subclassed():
    class Wave(keras.Model):
        def call(self, x):
            return function(x)

    model = Wave(**FLOAT64)
    model.built = True
    return model


def layer():
    class Wave(keras.layers.Layer):
        def call(self, x):
            return function(x)

    return Wave(**FLOAT64)


@pytest.mark.parametrize("make", [lambda: function, subclassed, layer])
def test_functions_layers_and_subclassed_models_take_the_same(data, make):
    data = {name: tf.constant(part) for name, part in data.items()}
    _, gradient, hessian = exact({name: part.numpy() for name, part in data.items()})
    near(keras_smooth.gradient(make(), data, wrt="t"), gradient[:, 2:])
    near(keras_smooth.hessian(make(), data)["x"]["t"], hessian[:, :2, 2:])
    near(keras_smooth.laplacian(make(), data, wrt="x")[:, 0], trace(hessian[:, :2, :2]))


def with_integers():
    """Returns a model of tanh(x) scaled by an embedding of an integer."""
    x, i = keras.Input((1,), name="x", **FLOAT64), keras.Input((), name="i", dtype="int32")
    scale = keras.layers.Embedding(3, 1, embeddings_initializer="ones", **FLOAT64)(i)
    return keras.Model({"x": x, "i": i}, ops.tanh(x) * scale)


def with_text():
    x = keras.Input((1,), name="x", **FLOAT64)
    i = keras.Input((1,), name="i", dtype="string")
    number = keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="int")(i)
    return keras.Model({"x": x, "i": i}, ops.tanh(x) * ops.cast(number, "float64"))


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("engine", ["tape", "auto"])
@pytest.mark.parametrize(
    ("make", "held"),
    [
        (with_integers, np.array([0, 1, 2, 0, 1])),
        (with_text, np.array([["a"]] * 5)),
        (lambda: lambda x: ops.tanh(x["x"]) * ops.cast(x["i"], "float64"), np.ones((5, 1), int)),
        (lambda: lambda x: ops.tanh(x["x"]) * ops.cast(x["i"], "float64"), np.ones((5, 1), bool)),
    ],
)  # fmt: skip
def test_what_holds_no_floats_is_held(make, held, engine, batch_size):
    x = np.linspace(-1.0, 1.0, 5)[:, None]
    options = {"engine": engine, "batch_size": batch_size}
    y, dy = keras_smooth.derivatives(make(), {"x": x, "i": held}, 1, **options)
    assert list(dy) == ["x"]
    near(dy["x"], 1 - np.tanh(x) ** 2)
    near(keras_smooth.gradient(make(), {"x": x, "i": held}, wrt="x", **options), dy["x"])


def test_inside_a_function_of_tensorflow(data):
    function = tf.function(lambda x: keras_smooth.laplacian(wave(), x), autograph=False)
    near(function(data)[:, 0], trace(exact(data)[2]))


def one():
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)], name="one")


def of_text():
    lookup = keras.layers.StringLookup(vocabulary=["a"], output_mode="one_hot")
    first = keras.Input((1,), dtype="string")
    return keras.Sequential([first, lookup, keras.layers.Dense(1)])


X, T = np.ones((4, 2)), np.ones((4, 1))
COMPLEX = np.ones((4, 1), complex)
NAN = np.array([[1.0], [np.nan], [0.0], [1.0]])
# Model, x, wrt, error, words.
BAD = {
    "complex": (one, COMPLEX, None, TypeError, "x holds complex128.*real numbers"),
    "complex of two": (
        wave, {"x": X, "t": COMPLEX}, None, TypeError, r"x\['t'\] holds complex128"
    ),
    "complex of a function": (lambda: tf.abs, COMPLEX, None, TypeError, "complex128"),
    "None": (one, None, None, TypeError, "x is no array.*None"),
    "None of two": (wave, {"x": X, "t": None}, None, TypeError, r"x\['t'\] is no array"),
    "None in a list": (as_list, [T, None], None, TypeError, r"x\['x'\] is no array"),
    "NaN": (one, NAN, None, ValueError, r"x must be finite, but is nan at \[1, 0\]"),
    "infinite": (one, np.where(np.isnan(NAN), np.inf, NAN), None, ValueError, "x must be finite, but is inf"),
    "NaN of two": (wave, {"x": X, "t": NAN}, None, ValueError, r"x\['t'\] must be finite"),
    "surplus in a tuple": (one, (T, T), None, ValueError, "takes 1 input .*received 2"),
    "surplus in a dict": (
        wave, {"x": X, "t": T, "z": T}, None, ValueError, "none left over"
    ),
    "surplus in a list": (as_list, [T, X, T], None, ValueError, "takes 2 .*received 3"),
    "surplus of a layer": (
        lambda: keras.layers.Dense(1, name="d"), [T, T], None, ValueError, "'d' takes one input"
    ),
    "missing": (wave, {"x": X}, None, ValueError, "none may be missing"),
    "one of two": (wave, X, None, ValueError, "takes 2 inputs .*received 1"),
    "ragged": (one, [[1.0, 2.0], [1.0]], None, TypeError, "x is no array"),
    "objects": (one, np.array([[1.0]], object), None, TypeError, "dtype is object. Convert it"),
    "more digits": (one, np.ones((2, 1), np.longdouble), None, TypeError, "Convert it to float64"),
    "text": (one, np.array([["a"]]), None, TypeError, "expects numbers for .*received x of text"),
    "text where it is expected": (
        of_text, tf.constant([["a"]]), None, TypeError, r"x holds text\. Name the inputs"
    ),
    "integers": (one, np.ones((4, 1), int), None, TypeError, "must be floats.*int64"),
    "integers for floats": (
        wave, {"x": X, "t": np.ones((4, 1), int)}, None, TypeError, r"x\['t'\] holds int64"
    ),
    "rows": (wave, {"x": X, "t": T[:3]}, None, ValueError, "same number of samples.*3"),
    "width": (wave, {"x": T, "t": T}, None, ValueError, r"'wave' expects points.*for 'x'"),
    "wrt unknown": (wave, {"x": X, "t": T}, "u", ValueError, "names no input.*'u'.*'t', 'x'"),
    "wrt out of range": (as_list, [T, X], 2, ValueError, "names no input: received 2"),
    "wrt below 0": (as_list, [T, X], -1, ValueError, "names no input"),
    "wrt twice": (as_list, [T, X], [0, "t"], ValueError, "each input once"),
    "wrt empty": (as_list, [T, X], [], ValueError, "at least one"),
    "wrt a float": (as_list, [T, X], 1.0, TypeError, "names or places"),
    "wrt what is held": (
        with_integers, {"x": T, "i": np.zeros(4, int)}, "i", TypeError, r"x\['i'\] holds int64"
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
@pytest.mark.parametrize("name", BAD)
def test_bad_input_in_the_same_words_for_all_operators(name, operator):
    make, x, wrt, error, words = BAD[name]
    with pytest.raises(error, match=words):
        OPERATORS[operator](make(), x, wrt=wrt)


def complex_net():
    layer = keras.layers.Lambda(lambda y: tf.complex(y, y**2), dtype="float64")
    return keras.Sequential([keras.Input((1,), dtype="float64"), layer])


# What has no derivatives by real numbers, and words of the error. TensorFlow's tapes return those
# of the real part.
OUTPUTS = {
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
OF_OUTPUTS = {
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
@pytest.mark.parametrize("operator", OF_OUTPUTS)
@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_without_derivatives_by_real_numbers_are_refused(name, operator):
    make, words = OUTPUTS[name]
    with pytest.raises(TypeError, match=words):
        OF_OUTPUTS[operator](make(), T)


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
def test_bad_direction(data, direction, error, words):
    with pytest.raises(error, match=words):
        keras_smooth.directional(wave(), data, direction)


@pytest.mark.parametrize("operator", ["jacobian", "partials"])
def test_tapes_read_within_functions_what_an_input_leads_to(operator, data):
    """Of a ReLU nothing is known to be smooth, but its derivative by the other input is 0."""
    x = {"t": data["t"], "s": 2.0 * data["t"]}

    def parts(x):
        return {"u": ops.relu(x["s"]) * x["s"], "v": x["t"] ** 3}

    if operator == "jacobian":
        slopes = keras_smooth.jacobian(parts, x, engine="tape")
        by_t = {name: slopes[name]["t"] for name in "uv"}
    else:
        _, by_t = keras_smooth.partials(parts, x, ["t"], engine="tape")
    near(by_t["u"], np.zeros((6, 1)))
    near(by_t["v"], 3.0 * data["t"] ** 2)


STREAMS = {
    "dataset": lambda x: tf.data.Dataset.from_tensor_slices(x).batch(2),
    "generator": lambda x: (row for row in x),
}


@pytest.mark.parametrize("name", STREAMS)
def test_of_a_stream_of_batches_an_array_is_asked_for(name):
    x = np.ones((4, 2), "float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    for operator in (keras_smooth.derivatives, keras_smooth.audit):
        with pytest.raises(TypeError, match="pass the x of its batches"):
            operator(model, STREAMS[name](x))


def test_the_size_of_a_sample_is_known_from_the_model_or_asked_for():
    x = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "tanh")])
    open_shape = [tf.TensorSpec((None, None))]
    of_model = tf.function(lambda x: keras_smooth.hessian(model, x), open_shape)
    # Rounding of float32.
    np.testing.assert_allclose(of_model(x), keras_smooth.hessian(model, x), atol=1e-6)
    with pytest.raises(ValueError, match="size of a sample must be known"):
        tf.function(lambda x: keras_smooth.hessian(keras.ops.tanh, x), open_shape)(x)
