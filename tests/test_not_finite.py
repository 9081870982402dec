"""Warnings about derivatives that are not finite where y is finite."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth

X = np.array([[0.0], [1.0], [0.5], [0.0]])

# A function, and the order, the number of samples and the operation in the warning.
WARNING = {
    "root": (lambda x: tf.sqrt(x), 1, 2, "Sqrt"),
    "norm": (lambda x: tf.norm(x, axis=1), 1, 2, "Sqrt in norm"),
    "power": (lambda x: tf.sin(x**1.5), 2, 2, "Pow"),
    "arccos": (lambda x: tf.acos(1.0 - x), 1, 2, "Acos"),
    "one end of an interval": (lambda x: tf.asin(x), 1, 1, "Asin"),
    "essential singularity": (lambda x: tf.exp(-1.0 / x), 1, 2, "RealDiv"),
    "in a loop": (lambda x: tf.map_fn(tf.sqrt, x), 1, 2, "Sqrt"),
    # At x = 1, y is not finite either.
    "beside a pole": (lambda x: tf.sqrt(x) / (1.0 - x), 1, 2, "Sqrt"),
}


@pytest.mark.parametrize("engine", ["auto", "jet", "tape"])
@pytest.mark.parametrize("name", WARNING)
def test_derivatives_that_are_not_finite_warn_once(name, engine):
    function, order, number, operation = WARNING[name]
    message = rf"order {order} are not, at {number} of 4 samples, first at {operation}"
    with pytest.warns(UserWarning, match=message) as warned:
        for _ in range(2):
            keras_smooth.derivatives(function, X, engine=engine)
    assert len(warned) == 1


@pytest.mark.parametrize(
    "operator",
    [
        keras_smooth.gradient,
        keras_smooth.jacobian,
        keras_smooth.hessian,
        keras_smooth.laplacian,
        lambda model, x: keras_smooth.directional(model, x, [1.0]),
        lambda model, x: keras_smooth.partials(model, x, ["x"], names="x"),
    ],
)
def test_all_operators_warn(operator):
    distance = keras.layers.Lambda(lambda x: keras.ops.sqrt(x), name="distance")
    model = keras.Sequential([keras.Input((1,)), distance])
    with pytest.warns(UserWarning, match="at 2 of 4 samples, first at Sqrt in distance"):
        operator(model, X)


def test_any_partial_derivative_of_an_order_warns():
    def function(x):
        return tf.sqrt(x[:, :1]) + x[:, 1:]

    points = np.concatenate([X, X], axis=1)
    with pytest.warns(
        UserWarning, match="order 1 are not, at 2 of 4 samples, first at Sqrt"
    ):
        keras_smooth.partials(function, points, ["x", "y"], names="xy")


SILENT = {
    "finite": lambda x: tf.sqrt(x + 1.0),
    "guarded": lambda x: tf.where(x > 0, tf.sqrt(tf.where(x > 0, x, 1.0)), 0.0),
    "y is not finite either": lambda x: tf.math.log(x),
    # The sum of the derivatives overflows in float32.
    "large": lambda x: tf.cast(2e38 * tf.cast(x, "float32"), "float32"),
}


@pytest.mark.parametrize("name", SILENT)
def test_finite_derivatives_do_not_warn(name):
    keras_smooth.derivatives(SILENT[name], X, 1)


def test_derivatives_in_a_graph_do_not_warn():
    compiled = tf.function(lambda x: keras_smooth.derivatives(tf.sqrt, x), autograph=False)
    assert not np.isfinite(compiled(tf.constant(X))[1]).all()


def test_warning_without_an_operation_that_cannot_be_found():
    """The function raises for a single sample, so that the warning names no operation."""

    def function(x):
        return tf.sqrt(tf.ensure_shape(x, (4, 1)))

    with pytest.warns(UserWarning, match="at 2 of 4 samples. keras_smooth.audit"):
        keras_smooth.derivatives(function, X)


def test_tapes_of_the_user_still_have_gradients():
    """The weights have right gradients at the samples where x is not 0."""
    weight = tf.Variable(np.full((4, 1), 2.0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with tf.GradientTape() as tape:
            slopes = keras_smooth.gradient(lambda x: weight * tf.sqrt(x), X)
            loss = tf.reduce_sum(slopes[1:3])
    assert len(caught) == 1
    gradient = tape.gradient(loss, weight)[1:3]
    np.testing.assert_allclose(gradient, 0.5 / np.sqrt(X[1:3]), rtol=1e-12)
