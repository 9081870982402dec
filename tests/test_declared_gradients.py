"""Models with custom gradients: derivatives are those of the function, with one warning."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from richardson import derivative

import keras_smooth

# Tests of the warning catch it themselves.
pytestmark = pytest.mark.filterwarnings("ignore:.* declares another gradient")

X = np.random.default_rng(0).normal(size=(5, 2))
DIRECTION = np.array([0.6, -0.8])


@tf.custom_gradient
def wrong_gradient(x):
    return tf.sin(x), lambda upstream: 2.0 * upstream * tf.cos(x)


@tf.custom_gradient
def right_gradient(x):
    return tf.sin(x), lambda upstream: upstream * tf.cos(x)


def _model(*layers):
    return keras.Sequential([keras.Input((2,), dtype="float64"), *layers])


def _dense(units, activation="tanh"):
    return keras.layers.Dense(units, activation, dtype="float64")


CHANGED = {
    "a factor is stopped": lambda: lambda x: x * tf.stop_gradient(tf.sin(x)),
    "all is stopped": lambda: lambda x: tf.stop_gradient(tf.sin(x)),
    "keras.ops": lambda: lambda x: ops.tanh(x) + ops.stop_gradient(x**2),
    "a gradient of one's own": lambda: lambda x: wrong_gradient(x) ** 2,
    "in a Lambda": lambda: _model(
        _dense(3), keras.layers.Lambda(lambda x: x * tf.stop_gradient(x), dtype="float64")
    ),
}
UNCHANGED = {
    "a gradient of one's own that is right": lambda: lambda x: right_gradient(x) ** 2,
    "logsumexp": lambda: lambda x: tf.reduce_logsumexp(x, -1, keepdims=True),
    "moments": lambda: (
        lambda x: x / tf.sqrt(tf.nn.moments(x, [-1], keepdims=True)[1] + 1.0)
    ),
    "normalization": lambda: _model(
        _dense(4), keras.layers.LayerNormalization(dtype="float64"), _dense(1)
    ),
    # All terms of its derivative cancel, except for rounding.
    "normalization of one number": lambda: _model(
        _dense(1), keras.layers.LayerNormalization(dtype="float64"), _dense(1)
    ),
    "silu": lambda: _model(_dense(3, "silu"), _dense(1)),
}


def _declaration_warnings(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = function()
    return value, [
        str(warning.message) for warning in caught if "declares" in str(warning.message)
    ]


@pytest.mark.parametrize("engine", ["auto", "jet"])
@pytest.mark.parametrize("name", CHANGED | UNCHANGED)
def test_derivatives_are_those_of_the_function(name, engine):
    model = (CHANGED | UNCHANGED)[name]()
    for order in (1, 2):
        entries = keras_smooth.directional(model, X, DIRECTION, order, engine=engine)
        exact, error = derivative(lambda t: np.asarray(model(X + t * DIRECTION)), order)
        # Differences of y have only these digits.
        np.testing.assert_allclose(entries[order], exact, atol=1e-7 + 30 * error)


@pytest.mark.parametrize("name", CHANGED)
def test_custom_gradient_that_differs_warns_once(name):
    model = CHANGED[name]()
    dy, messages = _declaration_warnings(lambda: keras_smooth.derivatives(model, X, 1)[1])
    assert (
        len(messages) == 1
        and 'engine="tape" returns those that are declared' in messages[0]
    )
    _, more_messages = _declaration_warnings(lambda: keras_smooth.derivatives(model, X, 2))
    assert not more_messages
    declared, messages_of_tapes = _declaration_warnings(lambda: _declared(model))
    assert not messages_of_tapes
    assert not np.allclose(dy, declared)


def _declared(model):
    """Returns the first derivative by tapes, or 0 if it is lost."""
    try:
        return keras_smooth.derivatives(model, X, 1, engine="tape")[1]
    except ValueError:
        return 0.0


@pytest.mark.parametrize("name", UNCHANGED)
def test_custom_gradient_of_the_function_does_not_warn(name):
    model = UNCHANGED[name]()
    _, messages = _declaration_warnings(
        lambda: [keras_smooth.derivatives(model, X, order) for order in (1, 2)]
    )
    assert not messages


@pytest.mark.parametrize("name", CHANGED)
def test_custom_gradient_that_differs_warns_in_a_graph(name):
    model = CHANGED[name]()
    graph = tf.function(lambda x: keras_smooth.derivatives(model, x, 1)[1], autograph=False)
    dy, messages = _declaration_warnings(lambda: graph(tf.constant(X)))
    assert len(messages) == 1
    np.testing.assert_allclose(dy, keras_smooth.derivatives(model, X, 1)[1], rtol=1e-12)


@pytest.mark.parametrize("name", UNCHANGED)
def test_custom_gradient_of_the_function_does_not_warn_in_a_graph(name):
    model = UNCHANGED[name]()
    graph = tf.function(lambda x: keras_smooth.derivatives(model, x, 1)[1], autograph=False)
    _, messages = _declaration_warnings(lambda: graph(tf.constant(X)))
    assert not messages


def test_warning_is_about_the_inputs_that_move():
    inputs = {name: keras.Input((2,), name=name, dtype="float64") for name in "ab"}
    stopped = ops.stop_gradient(inputs["a"])
    right = inputs["a"] * ops.exp(inputs["a"] - stopped) / ops.exp(inputs["a"] - stopped)
    wrong = inputs["b"] * ops.stop_gradient(inputs["b"])
    model = keras.Model(inputs, right + wrong)
    numbers = []
    for name in "ab":
        _, messages = _declaration_warnings(
            lambda name=name: keras_smooth.derivatives(model, {"a": X, "b": X}, 1, wrt=name)
        )
        numbers.append(len(messages))
    assert numbers == [0, 1]


def test_custom_gradient_that_raises_does_not_stop_jets():
    @tf.custom_gradient
    def broken(x):
        def gradient(upstream):
            raise RuntimeError("never written")

        return tf.sin(x), gradient

    y, dy = keras_smooth.derivatives(broken, X, 1, engine="jet")
    np.testing.assert_allclose(np.diagonal(dy, axis1=1, axis2=2), np.cos(X), rtol=1e-12)
