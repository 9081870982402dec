"""Weighted sums of partial derivatives, and the biharmonic operator, against closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_smooth

WRAPS = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "xla": lambda f: tf.function(f, autograph=False, jit_compile=True),
}


def exponential(x):
    """exp(a . x) with a = (1, -2); each derivative is a multiple of it."""
    return ops.exp(x[:, :1] - 2 * x[:, 1:])


def coefficient(x):
    return 1.0 + x[:, :1] ** 2


# An operator, and the number or function of x by which it multiplies the exponential.
OPERATORS = {
    "Helmholtz": ({"xx": 1.0, "yy": 1.0, "": 3.0}, lambda x: 8.0),
    "a matrix": ({"xx": 1.0, "xy": 2.0, "yx": -1.0, "yy": 0.5}, lambda x: 1.0 - 2 + 2),
    "rank 1": ({"xx": 4.0, "xy": 4.0, "yy": 1.0}, lambda x: 0.0),
    "drift": ({"x": 0.5, "y": -1.0, "xx": 2.0}, lambda x: 0.5 + 2 + 2),
    "a function": ({"xx": coefficient, "y": 1.0}, lambda x: coefficient(x) - 2),
    "a number a sample": (
        {"yy": np.arange(5.0), "xx": np.arange(5.0)[:, None], "xy": 1},
        lambda x: 5 * np.arange(5.0)[:, None] - 2,
    ),
    "of the shape of y": ({"y": np.ones((5, 1))}, lambda x: -2.0),
    "a variable": ({"xx": tf.Variable(2.0), "x": keras.Variable(3.0)}, lambda x: 5.0),
    "a scalar tensor": ({"xxx": tf.constant(2.0)}, lambda x: 2.0),
    "fourth order": ({"xxxx": 1.0, "xxyy": 2.0, "yyyy": 1.0, "yy": -1.0}, lambda x: 21.0),
    "fourth order, no multiple": ({"xxxx": 1.0, "xxyy": 1.0}, lambda x: 5.0),
    "zero": ({"xx": 0.0, "xy": 0.0}, lambda x: 0.0),
    "terms that cancel": ({"xy": 1.0, "yx": -1.0, "x": 1.0}, lambda x: 1.0),
}


@pytest.mark.parametrize("wrap", ["eager", "graph"])
@pytest.mark.parametrize("engine", ["jet", "tape", "auto"])
@pytest.mark.parametrize("name", OPERATORS)
def test_linear_operator_equals_closed_form(name, engine, wrap, rng):
    operator, factor = OPERATORS[name]
    x = rng.normal(size=(5, 2))
    value = WRAPS[wrap](
        lambda x: keras_smooth.linear_operator(
            exponential, x, operator, names="xy", engine=engine
        )
    )(tf.constant(x))
    expected = np.asarray(factor(x) * np.exp(x[:, :1] - 2 * x[:, 1:]))
    assert value.shape == (5, 1)
    # Rounding: terms of 16 times the exponential cancel.
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-11)


def test_compiled_batched_and_verified_values_are_equal(rng):
    operator = {"xx": coefficient, "xy": 2.0, "y": 1.0}
    x = rng.normal(size=(7, 2))
    options = {"operator": operator, "names": "xy"}
    value = keras_smooth.linear_operator(exponential, x, **options)
    compiled = WRAPS["xla"](
        lambda x: keras_smooth.linear_operator(exponential, x, batch_size=3, **options)
    )(tf.constant(x))
    # Sums in another order.
    np.testing.assert_allclose(compiled, value, rtol=1e-13)
    verified = keras_smooth.linear_operator(exponential, x, verify=True, **options)
    np.testing.assert_array_equal(verified, value)
    assert verified.verification.ok


def test_outputs_of_different_shapes(rng):
    def fields(x):
        return {"flat": ops.sin(x["x"][:, 0]), "wide": ops.sin(x["x"] * np.ones(3))}

    x = {"x": rng.normal(size=(4, 1))}
    value = keras_smooth.linear_operator(fields, x, {"xx": np.arange(4.0), "": 1.0})
    expected = (1 - np.arange(4.0)) * np.sin(x["x"][:, 0])
    np.testing.assert_allclose(value["flat"], expected, atol=1e-14)
    np.testing.assert_allclose(
        value["wide"], np.repeat(expected[:, None], 3, 1), atol=1e-14
    )


def test_gradient_by_trainable_coefficient(rng):
    """u_t = D u_xx with unknown D: an inverse problem."""
    diffusion = keras.Variable(1.0, dtype="float64")
    x = rng.normal(size=(20, 2))

    def u(x):  # D = 0.25
        return ops.exp(-0.25 * x[:, 1:]) * ops.sin(x[:, :1])

    def residual():
        residuals = keras_smooth.linear_operator(
            u, x, {"t": 1.0, "xx": lambda x: -diffusion.value}, names="xt"
        )
        return tf.reduce_mean(residuals**2)

    with tf.GradientTape() as tape:
        loss = residual()
    slope = tape.gradient(loss, diffusion.value)
    expected = 2 * 0.75 * np.mean(np.asarray(u(x)) ** 2)
    np.testing.assert_allclose(slope, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("dim", "engine"),
    [*((dim, "jet") for dim in (1, 2, 3, 4, 5, 7, 8)), (2, "tape"), (3, "tape")],
)
def test_biharmonic_equals_closed_form_and_linear_operator(dim, engine, rng):
    x = rng.normal(size=(4, dim))
    a = np.linspace(0.5, 1.0, dim)

    def u(x):
        return ops.sin(ops.sum(a * x, axis=1))

    value = keras_smooth.biharmonic(u, x, engine=engine)
    expected = np.sum(a**2) ** 2 * np.sin(x @ a)
    # Rounding: fourth powers of sums of dim terms cancel.
    np.testing.assert_allclose(value, expected, atol=1e-11 * dim)
    pairs = [(i, j) for i in range(dim) for j in range(dim)]
    operator = {(i, i, j, j): 0.0 for i, j in pairs}
    for i, j in pairs:
        operator[(min(i, j), min(i, j), max(i, j), max(i, j))] += 1.0
    operator = {index: value for index, value in operator.items() if value}
    by_linear_operator = keras_smooth.linear_operator(u, x, operator, engine=engine)
    np.testing.assert_allclose(by_linear_operator, value, atol=1e-11 * dim)


def test_verified_biharmonic_of_network(make_model, rng):
    value = keras_smooth.biharmonic(
        make_model("tanh", dim=2), rng.normal(size=(4, 2)), verify=True
    )
    assert value.verification["biharmonic"].ok


def test_biharmonic_equals_laplacian_of_laplacian(make_model, rng):
    model, x = make_model("tanh", dim=5), rng.normal(size=(4, 5))
    twice = keras_smooth.laplacian(lambda x: keras_smooth.laplacian(model, x), x)
    np.testing.assert_allclose(keras_smooth.biharmonic(model, x), twice, rtol=1e-9)


WRONG_ARGUMENTS = {
    "not a dict": (["xx"], TypeError, "must be a dict"),
    "empty": ({}, ValueError, "must have a partial derivative"),
    "only y": ({"": 1.0}, ValueError, "must have a partial derivative"),
    "an unknown name": (
        {"xz": 1.0},
        ValueError,
        "'xz', which does not consist of names",
    ),
    "not finite": ({"xx": np.inf}, ValueError, "must be finite"),
    "a word": ({"xx": "1"}, TypeError, "coefficient of 'xx' must hold real numbers"),
    "a boolean": ({"xx": True}, TypeError, "must hold real numbers, received bool"),
    "of another shape": ({"xx": np.ones((5, 2))}, ValueError, "one number a sample"),
    "of another batch": ({"xx": np.ones(3)}, ValueError, "one number a sample"),
    "order 21": ({"x" * 21: 1.0}, ValueError, "20 or less"),
}


@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_wrong_operators_raise(name, rng):
    operator, kind, words = WRONG_ARGUMENTS[name]
    with pytest.raises(kind, match=words):
        keras_smooth.linear_operator(
            exponential, rng.normal(size=(5, 2)), operator, names="xy"
        )


def test_weighted_sums_with_narrow_first_layer(rng):
    """Jets need as many curves as this layer has units."""
    model = keras.Sequential(
        [
            keras.Input((7,), dtype="float64"),
            keras.layers.Dense(2, "tanh", dtype="float64"),
            keras.layers.Dense(3, "tanh", dtype="float64"),
        ]
    )
    x = rng.normal(size=(4, 7))
    operator = {(i, i): i - 2.5 for i in range(7)} | {(0,): 3.0}
    by_jets, by_tapes = (
        keras_smooth.linear_operator(model, x, operator, engine=engine)
        for engine in ("jet", "tape")
    )
    # Rounding of sums of seven terms.
    np.testing.assert_allclose(by_jets, by_tapes, rtol=1e-11, atol=1e-13)


def test_linear_operator_with_operation_without_rule(rng):
    """igamma(2, z) = 1 - (1 + z) exp(-z), with the derivative z exp(-z)."""

    def u(x):
        z = ops.exp(x[:, :1] - x[:, 1:])
        return ops.sin(tf.math.igamma(tf.constant(2.0, z.dtype), z))

    def exact(x):
        z = ops.exp(x[:, :1] - x[:, 1:])
        return ops.sin(1 - (1 + z) * ops.exp(-z))

    x = rng.normal(size=(3, 2))
    operator = {"xx": 2.0, "xy": -1.0, "yy": 0.5, "x": 1.0, "xxx": 1.0, "xyy": 3.0}
    with pytest.warns(UserWarning, match="Igamma.*no rule for jets"):
        value = keras_smooth.linear_operator(u, x, operator, names="xy", engine="jet")
    expected = keras_smooth.linear_operator(exact, x, operator, names="xy", engine="jet")
    # TensorFlow's Igamma and its derivatives have errors of about 1e-15.
    np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-12)
