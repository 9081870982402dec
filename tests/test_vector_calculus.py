"""Divergence, curl and others against closed forms, Jacobians and Hessians of networks."""

import itertools

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


def _einsum(equation):
    return lambda *arrays: np.einsum(equation, *arrays)


def _curl(jacobian):
    if jacobian.shape[1] == 2:
        return (jacobian[:, 1, 0] - jacobian[:, 0, 1])[:, None]
    pairs = [(2, 1), (0, 2), (1, 0)]
    return np.stack([jacobian[:, i, j] - jacobian[:, j, i] for i, j in pairs], axis=1)


# An operator of a network, x and a vector, and its value from the Jacobian and the Hessian.
FIELDS = {
    "divergence": (
        lambda model, x, v, **options: keras_smooth.divergence(model, x, **options),
        lambda jacobian, hessian, v: np.trace(jacobian, axis1=1, axis2=2)[:, None],
    ),
    "curl": (
        lambda model, x, v, **options: keras_smooth.curl(model, x, **options),
        lambda jacobian, hessian, v: _curl(jacobian),
    ),
    "advection": (
        keras_smooth.advection,
        lambda jacobian, hessian, v: _einsum("nij,nj->ni")(jacobian, v),
    ),
    "vector_laplacian": (
        lambda model, x, v, **options: keras_smooth.vector_laplacian(model, x, **options),
        lambda jacobian, hessian, v: np.trace(hessian, axis1=2, axis2=3),
    ),
}


# Both engines compute batches and are verified by the same code, whatever the dimension.
@pytest.mark.parametrize(
    ("engine", "options", "dim"),
    [
        *itertools.product(["jet", "tape", "auto"], [{}], [2, 3]),
        ("jet", {"batch_size": 2}, 3),
        ("tape", {"batch_size": 2}, 2),
        ("jet", {"verify": True}, 2),
        ("tape", {"verify": True}, 3),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", FIELDS)
def test_operators_equal_sums_of_jacobian_and_hessian(
    name, dim, engine, options, make_model, rng
):
    operator, expected_value = FIELDS[name]
    model = make_model("tanh", dim=dim, outputs=dim)
    x, v = rng.normal(size=(5, dim)), rng.normal(size=(5, dim))
    value = operator(model, x, v, engine=engine, **options)
    jacobian, hessian = (
        np.asarray(function(model, x, engine="tape"))
        for function in (keras_smooth.jacobian, keras_smooth.hessian)
    )
    expected = expected_value(jacobian, hessian, v)
    assert value.shape == expected.shape
    # Rounding of sums of a few numbers of size 1.
    np.testing.assert_allclose(value, expected, atol=1e-13)
    assert not options.get("verify") or value.verification.ok


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("engine", ["jet", "tape", "auto"])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_hessian_vector_product_equals_hessian_times_vector(
    batch_size, engine, wrap, make_model, rng
):
    model = make_model("tanh", dim=4)
    x, v = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    options = {"engine": engine, "batch_size": batch_size}
    value = WRAPS[wrap](
        lambda x, v: keras_smooth.hessian_vector_product(model, x, v, **options)
    )(tf.constant(x), tf.constant(v))
    hessian = np.asarray(keras_smooth.hessian(model, x, engine="tape"))[:, 0]
    # Rounding: jets use differences of second derivatives of size 1.
    np.testing.assert_allclose(value, _einsum("nij,nj->ni")(hessian, v), atol=1e-13)


@pytest.mark.parametrize("engine", ["jet", "tape"])
def test_hessian_vector_product_with_several_inputs(engine, rng):
    x = {name: rng.normal(size=(4, 2)) for name in "ab"}

    def u(x):
        return ops.sum(x["a"] * x["a"] * x["b"], axis=1, keepdims=True)

    v = {"a": np.ones(2), "b": np.zeros(2)}
    value = keras_smooth.hessian_vector_product(u, x, v, engine=engine)
    np.testing.assert_allclose(value["a"], 2 * x["b"], atol=1e-13)
    np.testing.assert_allclose(value["b"], 2 * x["a"], atol=1e-13)
    held = keras_smooth.hessian_vector_product(u, x, np.ones(2), wrt="b", engine="jet")
    np.testing.assert_array_equal(held, np.zeros((4, 2)))


def test_verified_hessian_vector_product(make_model, rng):
    value = keras_smooth.hessian_vector_product(
        make_model("tanh", dim=2), rng.normal(size=(5, 2)), [1.0, 2.0], verify=True
    )
    assert value.verification["hessian_vector_product"].ok


def test_samples_with_several_axes(rng):
    x = rng.normal(size=(3, 4, 2))

    def field(x):
        return x**3

    expected = np.sum(3 * x**2, axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(keras_smooth.divergence(field, x), expected, rtol=1e-13)
    laplacian = keras_smooth.vector_laplacian(field, x)
    np.testing.assert_allclose(laplacian, 6 * x, rtol=1e-13)


def test_advection_with_function_as_velocity(rng):
    """u . grad u, as in the equations of Burgers and of Navier and Stokes."""
    x = rng.normal(size=(4, 2))

    def field(x):
        return ops.concatenate([x[:, 1:], x[:, :1] ** 2], axis=1)

    value = keras_smooth.advection(field, x, field)
    expected = np.stack([x[:, 0] ** 2, 2 * x[:, 0] * x[:, 1]], axis=1)
    np.testing.assert_allclose(value, expected, rtol=1e-13)


def test_divergence_with_wrt(rng):
    data = {"x": rng.normal(size=(4, 2)), "t": rng.normal(size=(4, 1))}

    def field(data):
        return data["x"] ** 2 * data["t"]

    value = keras_smooth.divergence(field, data, wrt="x")
    expected = 2 * np.sum(data["x"], axis=1, keepdims=True) * data["t"]
    np.testing.assert_allclose(value, expected, rtol=1e-13)


@pytest.mark.parametrize("engine", ["jet", "tape"])
def test_gradient_step_decreases_squared_divergence(engine, make_model, rng):
    """The decrease of a small step is the squared norm of the gradient times its size."""
    model, x = make_model("tanh", dim=2, outputs=2), rng.normal(size=(5, 2))

    def loss():
        return tf.reduce_sum(keras_smooth.divergence(model, x, engine=engine) ** 2)

    weights = model.trainable_variables[:-1]
    with tf.GradientTape() as tape:
        before = loss()
    gradients = tape.gradient(before, weights)
    squared_norm = float(tf.add_n([tf.reduce_sum(gradient**2) for gradient in gradients]))
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.assign_sub(1e-6 * gradient)
    # Exact to first order of the step.
    np.testing.assert_allclose(float(before - loss()), 1e-6 * squared_norm, rtol=1e-2)


WRONG_ARGUMENTS = {
    "divergence of a scalar": (
        lambda x: keras_smooth.divergence(lambda x: x[:, :1], x),
        r"outputs of the shape of x, \(4, 2\); it returns \(4, 1\)",
    ),
    "divergence of two outputs": (
        lambda x: keras_smooth.divergence(lambda x: (x, x), x),
        "outputs of the shape of x",
    ),
    "divergence by two inputs": (
        lambda x: keras_smooth.divergence(lambda x: x["a"] + x["b"], {"a": x, "b": x}),
        "Name it with wrt=",
    ),
    "curl in four dimensions": (
        lambda x: keras_smooth.curl(lambda x: x, np.ones((3, 4))),
        r"\(batch, 2\) or \(batch, 3\)",
    ),
    "velocity of another shape": (
        lambda x: keras_smooth.advection(lambda x: x, x, np.ones(3)),
        r"`velocity` must have the shape of x",
    ),
    "vector of another shape": (
        lambda x: keras_smooth.hessian_vector_product(lambda x: x[:, :1], x, [1.0]),
        r"`vector` must have the shape of x",
    ),
    "Hessian of a field": (
        lambda x: keras_smooth.hessian_vector_product(lambda x: x**2, x, x),
        r"one output number a sample.*Use keras_smooth\.hessian\.",
    ),
    "vector Laplacian of a scalar": (
        lambda x: keras_smooth.vector_laplacian(lambda x: x[:, :1], x),
        "outputs of the shape of x",
    ),
}


@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_wrong_arguments_raise(name, rng):
    call, words = WRONG_ARGUMENTS[name]
    with pytest.raises(ValueError, match=words):
        call(rng.normal(size=(4, 2)))


def test_divergence_in_float32(rng):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, "tanh")])
    x = rng.normal(size=(4, 3)).astype("float32")
    value = keras_smooth.divergence(model, x)
    assert value.dtype == "float32"
    jacobian = np.asarray(keras_smooth.jacobian(model, x))
    np.testing.assert_allclose(value[:, 0], np.trace(jacobian, axis1=1, axis2=2), rtol=1e-5)
