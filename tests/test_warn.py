"""Warnings: the line that they point at is the user's."""

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
def untold_by_test_warn(x):
    return keras.ops.tanh(x)


class UntoldByTestWarn(keras.layers.Layer):
    def call(self, x):
        # Of this operation the table has no rule for jets.
        return tf.math.igamma(tf.constant(2.0), tf.abs(x) + 1.0)


def net(*layers):
    model = keras.Sequential([keras.Input((1,)), *layers, keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    return model


def relu():
    return net(keras.layers.Dense(4, "relu"))


# Each with the depth that it comes from: a constructor, an operator, a fit, a callback.
WARNINGS = {
    "a layer": lambda: keras_smooth.Dense(3, untold_by_test_warn),
    "smoothen": lambda: keras_smooth.smoothen(net(keras.layers.Discretization([0.0]))),
    "an operator": lambda: keras_smooth.derivatives(
        net(UntoldByTestWarn()), X, 1, engine="jet"
    ),
    "fit_lbfgs": lambda: keras_smooth.fit_lbfgs(
        net(), X, 1e6 * X, epochs=1, verbose=0, jit_compile=False
    ),
    "a constructor of a callback": lambda: keras_smooth.DerivativeMonitor(
        X, lambda x: x**2, live=True
    ),
    "a callback in fit": lambda: relu().fit(
        X, X, verbose=0, callbacks=[keras_smooth.DerivativeMonitor(X, lambda x: x**2)]
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_a_warning_points_at_the_line_of_the_user(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        WARNINGS[name]()
    files = inspect.getfile(WARNINGS[name])
    own = [each for each in caught if each.filename == files]
    assert own
    assert not [each for each in caught if PACKAGE in pathlib.Path(each.filename).parents]


def test_once_for_each_subject_and_message():
    class Without:
        __slots__ = ()

    def told(subject, message):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_once(subject, message)
        return len(caught)

    first, second = (lambda: None), (lambda: None)
    assert [told(first, "a"), told(first, "a"), told(first, "b"), told(second, "a")] == [
        1,
        0,
        1,
        1,
    ]
    # Without a hash or weak references: told, and no error.
    assert [told(Without(), "a"), told([], "a")] == [1, 1]
