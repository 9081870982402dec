"""Starts that keep y, y' and y'' alive through depth."""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import activations

# With fewer inputs than this a layer most likely reads the data itself, and taking the
# mean out of its columns would make it blind to the sum of the inputs.
MIN_CENTERED_FAN_IN = 8

_NUM_NODES = 64
_NUM_VARIANCES = 65


def gain(activation: str | Callable) -> float:
    """Returns the factor for a kernel in front of an activation.

    gain = 1 / max over q in [0, 1] of sqrt(E[f'(sqrt(q) z)^2]), with z ~ N(0, 1)

    It is the largest factor with which a small change of the input is amplified by no
    layer of a wide network, whatever the variance q <= 1 of its pre-activations: smaller
    ones let the signal die with depth, larger ones fold it. That is 1 for tanh and sin, 4
    for sigmoid, and sqrt(2) for ReLU, which is He's.

    Args:
        activation: Name of an activation, or a function that works element by element.

    Returns:
        A positive number; 1 where the slope cannot be had, as for softmax.

    Example:

    >>> import keras_smooth
    >>> round(keras_smooth.initializers.gain("sigmoid"), 6)
    4.0

    References:
        Schoenholz et al., 2017, "Deep information propagation",
        https://arxiv.org/abs/1611.01232, equation 9 (chi_1, there at the fixed point of
        the variance).
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NUM_NODES)
    deviations = np.sqrt(np.linspace(0.0, 1.0, _NUM_VARIANCES))
    slopes = _slopes(activations.get(activation), np.outer(deviations, nodes))
    means = np.square(slopes) @ (weights / weights.sum())
    largest = math.sqrt(np.max(means))
    return 1.0 / largest if 0.0 < largest < math.inf else 1.0


def _slopes(activation: Callable, points: np.ndarray) -> np.ndarray:
    """Returns f' at the points, 0 where there is none to be had."""
    x = tf.constant(points.reshape(-1, 1))
    try:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = activation(x)
    except ValueError:
        return np.zeros_like(points)
    slope = tape.gradient(y, x)
    return np.zeros_like(points) if slope is None else slope.numpy().reshape(points.shape)


def _value_at_zero(activation: Callable) -> float:
    return float(activation(tf.zeros((1, 2), tf.float64))[0, 0])


@keras.saving.register_keras_serializable(package="keras_smooth")
class GainScaling(keras.initializers.GlorotUniform):
    """Glorot's uniform start, scaled and centered for the activation of the layer.

    The kernel is `gain(activation)` times Glorot's. If f(0) is not 0, as for sigmoid and
    softplus, the mean of each column is taken out as well: the constant f(0) that a layer
    before with the same activation adds to all its outputs then cancels, and the network
    starts around 0. It is the default of `keras_smooth.Dense`; for tanh and sin it is
    Glorot's start itself.

    Args:
        activation: Name of an activation, or the function.
        seed: As for every Keras initializer.

    Example:

    >>> import keras_smooth
    >>> start = keras_smooth.initializers.GainScaling("sigmoid", seed=0)
    >>> kernel = start((20, 20))
    >>> bool(abs(keras.ops.sum(kernel[:, 0])) < 1e-5)
    True

    References:
        Glorot and Bengio, 2010, "Understanding the difficulty of training deep
        feedforward neural networks", equation 16.
    """

    def __init__(self, activation: str | Callable, seed=None):
        super().__init__(seed=seed)
        self.activation = activations.get(activation)
        self._gain = gain(self.activation)
        self._centers = abs(_value_at_zero(self.activation)) > 1e-6

    def __call__(self, shape, dtype=None):
        kernel = self._gain * super().__call__(shape, dtype)
        fan_in = math.prod(shape[:-1])
        return _centered(kernel, fan_in) if self._centers_kernel(fan_in) else kernel

    def get_config(self) -> dict:
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation}

    def _centers_kernel(self, fan_in: int) -> bool:
        return self._centers and fan_in >= MIN_CENTERED_FAN_IN


def _centered(kernel, fan_in: int):
    """Takes out the mean of every column and gives the variance back that goes with it."""
    axes = tuple(range(len(kernel.shape) - 1))
    mean = keras.ops.mean(kernel, axis=axes, keepdims=True)
    return (kernel - mean) * math.sqrt(fan_in / (fan_in - 1))


def default(activation: Callable) -> keras.initializers.Initializer:
    """Returns the start that a layer with this activation has if none is asked for."""
    return GainScaling(activation)
