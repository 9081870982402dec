"""Warnings: they point at the line of the user, and are given once."""

import inspect
import pathlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth
from keras_smooth.presentation.warn import warn_once

PACKAGE = pathlib.Path(keras_smooth.__file__).parent
X = np.linspace(-1.0, 1.0, 8)[:, None]


@keras.saving.register_keras_serializable("test_warn")
def unknown_in_test_warn(x):
    # The smoothness of Python code is unknown.
    return tf.ensure_shape(tf.numpy_function(np.tanh, [x], x.dtype), x.shape)


class LayerWithoutRuleInTestWarn(keras.layers.Layer):
    def call(self, x):
        # The table has no rule for jets of this operation.
        return tf.math.igamma(tf.constant(2.0), tf.abs(x) + 1.0)


def network(*layers):
    model = keras.Sequential([keras.Input((1,)), *layers, keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    return model


def relu_network():
    return network(keras.layers.Dense(4, "relu"))


# Warnings from different depths of the stack: a constructor, an operator, a fit, a callback.
WARNINGS = {
    "a layer": lambda: keras_smooth.Dense(3, unknown_in_test_warn),
    "smoothen": lambda: keras_smooth.smoothen(network(keras.layers.Discretization([0.0]))),
    "an operator": lambda: keras_smooth.derivatives(
        network(LayerWithoutRuleInTestWarn()), X, 1, engine="jet"
    ),
    "fit_lbfgs": lambda: keras_smooth.fit_lbfgs(
        network(), X, 1e6 * X, epochs=1, verbose=0, jit_compile=False
    ),
    "a constructor of a callback": lambda: keras_smooth.DerivativeMonitor(
        X, lambda x: x**2, live=True
    ),
    "a callback in fit": lambda: relu_network().fit(
        X, X, verbose=0, callbacks=[keras_smooth.DerivativeMonitor(X, lambda x: x**2)]
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings_point_at_the_line_of_the_user(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        WARNINGS[name]()
    file = inspect.getfile(WARNINGS[name])
    from_this_file = [warning for warning in caught if warning.filename == file]
    assert from_this_file
    assert not [
        warning for warning in caught if PACKAGE in pathlib.Path(warning.filename).parents
    ]


def test_warn_once_warns_once_for_each_subject_and_message():
    class WithoutReferences:
        __slots__ = ()

    def num_warnings(subject, message):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_once(subject, message)
        return len(caught)

    first, second = (lambda: None), (lambda: None)
    assert [
        num_warnings(first, "a"),
        num_warnings(first, "a"),
        num_warnings(first, "b"),
        num_warnings(second, "a"),
    ] == [
        1,
        0,
        1,
        1,
    ]
    # Objects without a hash or weak references warn, and do not raise.
    assert [num_warnings(WithoutReferences(), "a"), num_warnings([], "a")] == [1, 1]
