"""verify=True where x is large or small beside the length on which a function changes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_smooth
from keras_smooth.differentiation import differences
from keras_smooth.differentiation.points import checked_points


def net(u):
    return ops.tanh(1.3 * u - 0.4) - 0.7 * ops.tanh(0.8 * u + 0.9) + 0.2 * ops.tanh(2.1 * u)


FUNCTIONS = {"sin": ops.sin, "tanh": ops.tanh, "exp": ops.exp, "net": net}
# Shift and length of the change, float64 and float32 where it resolves both.
SCALES = [
    (shift, length)
    for shift in (0.0, 1e3, 1e5, 1e6)
    for length in (1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e6)
    # So many spacings of numbers in a length leave digits for the second derivative.
    if length >= 1e5 * np.spacing(shift)
]
UNITS = np.linspace(-1.1, 1.3, 5)[:, None]


def points(shift, length, dtype="float64"):
    return (shift + length * UNITS).astype(dtype)


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_derivatives_pass(name, scale):
    shift, length = scale
    found = keras_smooth.derivatives(
        lambda x: FUNCTIONS[name]((x - shift) / length), points(*scale), 2, verify=True
    )
    assert found.verification.ok


def factor_of(order):
    """Returns functions of which the derivatives from an order on are lost or off by 10 %."""

    @tf.custom_gradient
    def off(u):
        return tf.tanh(u), lambda upstream: 1.1 * upstream * (1 - tf.tanh(u) ** 2)

    @tf.custom_gradient
    def lost(u):
        slope = tf.stop_gradient(1 - tf.tanh(u) ** 2)
        return tf.tanh(u), lambda upstream: upstream * (slope + 0.0 * u)

    return [off, lost][order - 1]


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("order", [1, 2])
def test_wrong_ones_are_refused(order, scale):
    shift, length = scale
    wrong = factor_of(order)
    with pytest.raises(ValueError, match="differs by"):
        keras_smooth.derivatives(
            lambda x: wrong((x - shift) / length) + 0.0 * x**2,
            points(*scale),
            2,
            engine="tape",
            verify=True,
        )
