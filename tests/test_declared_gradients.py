"""Gradients that a model declares: derivatives are those of what it computes, which is said once."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from richardson import derivative

import keras_smooth

# What is told is looked at where it is the subject.
pytestmark = pytest.mark.filterwarnings("ignore:.* declares another gradient")

X = np.random.default_rng(0).normal(size=(5, 2))
ALONG = np.array([0.6, -0.8])


@tf.custom_gradient
def twice(x):
    return tf.sin(x), lambda upstream: 2.0 * upstream * tf.cos(x)


@tf.custom_gradient
def honest(x):
    return tf.sin(x), lambda upstream: upstream * tf.cos(x)


def _model(*layers):
    return keras.Sequential([keras.Input((2,), dtype="float64"), *layers])


def _dense(units, activation="tanh"):
    return keras.layers.Dense(units, activation, dtype="float64")


CHANGED = {
    "a factor is stopped": lambda: lambda x: x * tf.stop_gradient(tf.sin(x)),
    "all is stopped": lambda: lambda x: tf.stop_gradient(tf.sin(x)),
    "keras.ops": lambda: lambda x: ops.tanh(x) + ops.stop_gradient(x**2),
    "a gradient of one's own": lambda: lambda x: twice(x) ** 2,
    "in a Lambda": lambda: _model(
        _dense(3), keras.layers.Lambda(lambda x: x * tf.stop_gradient(x), dtype="float64")
    ),
}
UNCHANGED = {
    "a gradient of one's own that is right": lambda: lambda x: honest(x) ** 2,
    "logsumexp": lambda: lambda x: tf.reduce_logsumexp(x, -1, keepdims=True),
    "moments": lambda: (
        lambda x: x / tf.sqrt(tf.nn.moments(x, [-1], keepdims=True)[1] + 1.0)
    ),
    "normalization": lambda: _model(
        _dense(4), keras.layers.LayerNormalization(dtype="float64"), _dense(1)
    ),
    # All terms of its derivative cancel: what is left is rounding.
    "normalization of one number": lambda: _model(
        _dense(1), keras.layers.LayerNormalization(dtype="float64"), _dense(1)
    ),
    "silu": lambda: _model(_dense(3, "silu"), _dense(1)),
}


def _caught(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = function()
    return value, [str(each.message) for each in caught if "declares" in str(each.message)]


@pytest.mark.parametrize("engine", ["auto", "jet"])
@pytest.mark.parametrize("name", CHANGED | UNCHANGED)
def test_derivatives_are_those_of_what_is_computed(name, engine):
    model = (CHANGED | UNCHANGED)[name]()
    for order in (1, 2):
        entries = keras_smooth.directional(model, X, ALONG, order, engine=engine)
        exact, error = derivative(lambda t: np.asarray(model(X + t * ALONG)), order)
        # Differences of y have no more digits than that.
        np.testing.assert_allclose(entries[order], exact, atol=1e-7 + 30 * error)


@pytest.mark.parametrize("name", CHANGED)
def test_another_first_derivative_is_told_once(name):
    model = CHANGED[name]()
    dy, said = _caught(lambda: keras_smooth.derivatives(model, X, 1)[1])
    assert len(said) == 1 and 'engine="tape" returns those that are declared' in said[0]
    _, again = _caught(lambda: keras_smooth.derivatives(model, X, 2))
    assert not again
    declared, by_tapes = _caught(lambda: _declared(model))
    assert not by_tapes
    assert not np.allclose(dy, declared)


def _declared(model):
    """The first derivative of tapes, zeros where they say that it is lost."""
    try:
        return keras_smooth.derivatives(model, X, 1, engine="tape")[1]
    except ValueError:
        return 0.0


@pytest.mark.parametrize("name", UNCHANGED)
def test_nothing_is_told_where_the_gradient_is_that_of_the_function(name):
    model = UNCHANGED[name]()
    _, said = _caught(
        lambda: [keras_smooth.derivatives(model, X, order) for order in (1, 2)]
    )
    assert not said


@pytest.mark.parametrize("name", CHANGED)
def test_in_a_graph_it_is_asked_of_points_that_are_drawn(name):
    model = CHANGED[name]()
    graph = tf.function(lambda x: keras_smooth.derivatives(model, x, 1)[1], autograph=False)
    dy, said = _caught(lambda: graph(tf.constant(X)))
    assert len(said) == 1
    np.testing.assert_allclose(dy, keras_smooth.derivatives(model, X, 1)[1], rtol=1e-12)


@pytest.mark.parametrize("name", UNCHANGED)
def test_nothing_is_told_in_a_graph_either(name):
    model = UNCHANGED[name]()
    graph = tf.function(lambda x: keras_smooth.derivatives(model, x, 1)[1], autograph=False)
    _, said = _caught(lambda: graph(tf.constant(X)))
    assert not said


def test_a_gradient_that_raises_ends_nothing():
    @tf.custom_gradient
    def broken(x):
        def gradient(upstream):
            raise RuntimeError("never written")

        return tf.sin(x), gradient

    y, dy = keras_smooth.derivatives(broken, X, 1, engine="jet")
    np.testing.assert_allclose(np.diagonal(dy, axis1=1, axis2=2), np.cos(X), rtol=1e-12)
