"""derivatives: nested tapes against closed forms and central differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_smooth

# Function of x with shape (n, d), and its exact derivatives as functions of x.
SCALAR = {
    "cube": (
        lambda x: x**3,
        [lambda x: x**3, lambda x: 3 * x**2, lambda x: 6 * x, lambda x: 6 + 0 * x],
    ),
    "gaussian": (
        # Not x**2: the third derivative of TensorFlow's power is NaN at 0.
        lambda x: ops.exp(-ops.square(x)),
        [
            lambda x: np.exp(-(x**2)),
            lambda x: -2 * x * np.exp(-(x**2)),
            # The article has the misprint (4x^2 - x), see the test below.
            lambda x: (4 * x**2 - 2) * np.exp(-(x**2)),
            lambda x: (12 * x - 8 * x**3) * np.exp(-(x**2)),
        ],
    ),
    "sine": (
        lambda x: ops.sin(x),
        [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)],
    ),
}


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
@pytest.mark.parametrize("name", SCALAR)
def test_derivatives_equal_closed_form(name, order, wrap, points):
    function, exact = SCALAR[name]
    values = wrap(lambda x: keras_smooth.derivatives(function, x, order))(points)
    assert len(values) == order + 1
    for value, expected in zip(values, exact):
        # Rounding of float64 in a dozen operations of order 10.
        np.testing.assert_allclose(value, expected(points), atol=1e-13)


def test_misprinted_formula_of_article_is_wrong(points):
    d2y = keras_smooth.derivatives(lambda x: ops.exp(-(x**2)), points)[2]
    misprint = (4 * points**2 - points) * np.exp(-(points**2))
    assert np.abs(d2y - misprint).max() > 1


def _central_differences(model, x, order, step=1e-4):
    """Returns central differences of the derivative of one order less along each axis."""
    columns = []
    for axis in range(x.shape[1]):
        shift = np.zeros(x.shape[1])
        shift[axis] = step
        upper, lower = (
            np.asarray(keras_smooth.derivatives(model, x + sign * shift, order - 1)[-1])
            for sign in (1, -1)
        )
        columns.append((upper - lower) / (2 * step))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("dim", "outputs"), [(2, 1), (3, 2)])
def test_derivatives_of_networks_equal_central_differences(
    make_model, dim, outputs, order, rng
):
    model = make_model("tanh", dim=dim, outputs=outputs)
    x = rng.normal(size=(4, dim))
    value = keras_smooth.derivatives(model, x, order)[-1]
    assert value.shape == (4, outputs) + (dim,) * order
    # Central differences: step^2 times the next two derivatives, of order 1.
    np.testing.assert_allclose(value, _central_differences(model, x, order), atol=1e-7)


@pytest.mark.parametrize("outputs", [1, 3])
def test_derivatives_by_one_input_have_shape_of_y(make_model, points, outputs):
    values = keras_smooth.derivatives(make_model(outputs=outputs), points)
    assert [value.shape for value in values] == [(21, outputs)] * 3


def test_points_as_vector(make_model, points):
    flat = keras_smooth.derivatives(lambda x: ops.sin(x), points[:, 0])
    assert [value.shape for value in flat] == [(21,)] * 3


def test_structured_inputs_and_outputs(rng):
    a, b = (
        keras.Input((width,), name=name, dtype="float64")
        for name, width in (("a", 2), ("b", 1))
    )
    product = keras.layers.Dot(1, dtype="float64")(
        [a, keras.layers.Concatenate(dtype="float64")([b, b])]
    )
    model = keras.Model({"a": a, "b": b}, {"square": product * product, "line": product})
    x = {"a": rng.normal(size=(5, 2)), "b": rng.normal(size=(5, 1))}

    def function(x):  # the same without layers, whose class is unknown to the registry
        product = ops.sum(x["a"], axis=-1, keepdims=True) * x["b"]
        return {"square": product**2, "cube": product**3}

    y, dy, d2y = keras_smooth.derivatives(function, x)
    total = x["a"].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(y["square"], (total * x["b"]) ** 2)
    np.testing.assert_allclose(dy["square"]["b"], 2 * total**2 * x["b"])
    np.testing.assert_allclose(
        d2y["square"]["a"]["b"], np.repeat(4 * total * x["b"], 2, axis=1)[:, None, :]
    )
    assert d2y["cube"]["a"]["a"].shape == (5, 1, 2, 2)
    assert keras_smooth.derivatives(model, x, 1)[1]["line"]["a"].shape == (5, 1, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_of_derivatives_is_that_of_the_model(make_model, points, dtype):
    values = keras_smooth.derivatives(make_model(dtype=dtype), points)
    assert {value.dtype.name for value in values} == {dtype}


def test_derivatives_are_finite_in_float32_and_float64(make_model, points):
    in_float32, in_float64 = (
        keras_smooth.derivatives(make_model(dtype=dtype), points)
        for dtype in ("float32", "float64")
    )
    # The initial weights differ between the precisions, so that the values cannot be compared.
    assert all(np.isfinite(value).all() for value in in_float32 + in_float64)


def test_gradients_by_weights_equal_differences(make_model, points):
    model = make_model()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras_smooth.derivatives(model, points)[2] ** 2)
    kernel = model.layers[0].kernel
    slope = tape.gradient(loss, model.trainable_variables)[0][0, 0]
    value, step = kernel.numpy(), 1e-5
    losses = []
    for sign in (1, -1):
        shifted = value.copy()
        shifted[0, 0] += sign * step
        kernel.assign(shifted)
        losses.append(np.mean(np.square(keras_smooth.derivatives(model, points)[2])))
    np.testing.assert_allclose(slope, (losses[0] - losses[1]) / (2 * step), rtol=1e-6)


def test_affine_model_has_second_derivative_zero(points):
    model = keras.Sequential(
        [keras.Input((1,)), keras_smooth.Dense(3), keras_smooth.Dense(1)]
    )
    y, dy, d2y, d3y = keras_smooth.derivatives(model, points, 3)
    assert np.any(dy) and not np.any(d2y) and not np.any(d3y)


def test_affine_output_of_smooth_model_has_second_derivative_zero():
    x = keras.Input((1,))
    outputs = [keras_smooth.Dense(1)(x), keras_smooth.Dense(1, "tanh")(x)]
    d2y = keras_smooth.derivatives(keras.Model(x, outputs), np.ones((2, 1)))[2]
    assert not np.any(d2y[0]) and np.all(d2y[1])


@pytest.mark.parametrize("activation", ["hard_tanh", "soft_shrink", "sparse_sigmoid"])
def test_error_for_lost_derivative_names_layer(make_model, points, activation):
    model = make_model(activation)
    with pytest.raises(ValueError, match=r"order 2 is lost: .*dense\S* \(Dense, C\^0\)"):
        keras_smooth.derivatives(model, points, engine="tape")


def test_error_for_missing_gradient_names_operation(points):
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(2, "softsign", name="first")]
    )
    for wrap in (lambda f: f, tf.function):
        with pytest.raises(ValueError, match=r"SoftsignGrad.*first \(Dense, C\^1\)"):
            wrap(lambda x: keras_smooth.derivatives(model, x, engine="tape"))(points)


def test_layer_without_training_argument(points):
    class Square(keras.layers.Layer):
        def call(self, x):
            return x**2

    np.testing.assert_allclose(
        keras_smooth.derivatives(Square(), points)[1], 2 * points, rtol=1e-6
    )


def test_dropout_is_off_unless_training(points):
    model = keras.Sequential(
        [keras.Input((1,)), keras_smooth.Dense(50, "tanh"), keras.layers.Dropout(0.5)]
    )
    first, second = (keras_smooth.derivatives(model, points, 1)[1] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.any(keras_smooth.derivatives(model, points, 1, training=True)[1] != first)


@pytest.mark.parametrize(
    ("x", "arguments", "error", "words"),
    [
        (np.arange(3), {}, TypeError, "floats.*int64"),
        (np.zeros((0, 1)), {}, ValueError, r"shape \(0, 1\)"),
        (np.float64(1.0), {}, ValueError, "batch"),
        (np.zeros((2, 1)), {"order": -1}, ValueError, "0 or more"),
        (np.zeros((2, 1)), {"order": 1.5}, TypeError, "integer"),
        (
            np.zeros((2, 1)),
            {"engine": "tapes"},
            ValueError,
            "`engine` must be one of .*'tapes'",
        ),
    ],
)
def test_wrong_arguments_raise(x, arguments, error, words):
    with pytest.raises(error, match=words):
        keras_smooth.derivatives(lambda x: x**2, x, **arguments)
