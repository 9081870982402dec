"""Starts that keep y, y' and y'' alive through depth."""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import activations, registry
from keras_smooth.checks import function, shown

# With fewer inputs than this a layer most likely reads the data itself, and taking the
# mean out of its columns would make it blind to the sum of the inputs.
MIN_CENTERED_FAN_IN = 8

_NUM_NODES = 100
# An odd function has mean 0; what quadrature leaves of it is rounding.
_ODD = 1e-9


def gain(activation: str | Callable) -> float:
    """Returns the factor for a kernel in front of an activation.

    gain = 1 / max(abs(f'(0)), sqrt(E[f'(z)^2])), with z ~ N(0, 1)

    It is the largest factor with which no layer of a wide network amplifies a small change
    of its input, whether its pre-activations are near 0 or of variance 1: with a smaller
    one the signal dies with depth, with a larger one it folds. That is 1 for tanh and sin,
    4 for sigmoid, and sqrt(2) for ReLU, which is He's.

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
    nodes, weights = _quadrature()
    activation = activations.get(activation)
    if not isinstance(activation, keras.layers.Layer):
        function("`activation`", activation, "x")
    at_zero, *slopes = _slopes(activation, np.append(0.0, nodes))
    # TensorFlow's slope of Keras' CELU at 0 is 2: the table has the true one.
    known = registry.slope_at_zero(activation)
    at_zero = at_zero if known is None else known
    mean_square = np.average(np.square(slopes), weights=weights)
    largest = float(max(abs(at_zero), math.sqrt(mean_square)))
    return 1.0 / largest if 0.0 < largest < math.inf else 1.0


@functools.cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes and weights of Gauss and Hermite for means over N(0, 1)."""
    return np.polynomial.hermite_e.hermegauss(_NUM_NODES)


def _slopes(activation: Callable, points: np.ndarray) -> np.ndarray:
    """Returns f' at the points, 0 where there is none to be had."""
    x = tf.constant(points.reshape(-1, 1))
    try:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = activation(x)
            if not tf.is_tensor(y):
                raise TypeError(
                    f"`activation` must return a tensor, but returned {shown(y)}."
                )
    except ValueError:
        return np.zeros_like(points)
    slope = tape.gradient(y, x)
    return np.zeros_like(points) if slope is None else slope.numpy().reshape(points.shape)


def _mean(activation: Callable) -> float:
    """Returns E[f(z)] with z ~ N(0, 1)."""
    nodes, weights = _quadrature()
    try:
        values = np.ravel(activation(tf.constant(nodes[:, None])))
    except ValueError:  # not element by element
        return 0.0
    return float(np.average(values, weights=weights))


@keras.saving.register_keras_serializable(package="keras_smooth")
class GainScaling(keras.initializers.GlorotUniform):
    """Glorot's uniform start, scaled and centered for the activation of the layer.

    The kernel is `gain(activation)` times Glorot's. If E[f(z)] is not 0, as for sigmoid,
    softplus and GELU, the mean of each column is taken out as well: the constant that a
    layer before with the same activation adds to all its outputs then cancels, and the
    network starts around 0. It is the default of `keras_smooth.Dense`; for tanh and sin it
    is Glorot's start itself.

    Args:
        activation: Name of an activation, or the function.
        seed: As for every Keras initializer.
        **kwargs: Further arguments of `keras.initializers.GlorotUniform`.

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

    def __init__(self, activation: str | Callable, seed: Any = None, **kwargs: Any) -> None:
        super().__init__(seed=seed, **kwargs)
        self.activation = activations.get(activation)
        self._gain = gain(self.activation)
        self._centers = abs(_mean(self.activation)) > _ODD

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        kernel = self._gain * super().__call__(shape, dtype)
        fan_in = math.prod(shape[:-1])
        return _centered(kernel, fan_in) if self._centers_kernel(fan_in) else kernel

    def get_config(self) -> dict:
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation}

    def _centers_kernel(self, fan_in: int) -> bool:
        return self._centers and fan_in >= MIN_CENTERED_FAN_IN


def _centered(kernel: Any, fan_in: int) -> Any:
    """Takes out the mean of every column and gives the variance back that goes with it."""
    axes = tuple(range(len(kernel.shape) - 1))
    mean = keras.ops.mean(kernel, axis=axes, keepdims=True)
    return (kernel - mean) * math.sqrt(fan_in / (fan_in - 1))


def default(activation: Callable, seed: Any = None) -> keras.initializers.Initializer:
    """Returns the start that a layer with this activation has if none is asked for.

    Args:
        activation: Activation function of the layer.
        seed: As for every Keras initializer.

    Returns:
        A `GainScaling`.

    Example:

    >>> import keras, keras_smooth
    >>> start = keras_smooth.initializers.default(keras.activations.tanh, seed=0)
    >>> type(start).__name__
    'GainScaling'
    """
    return GainScaling(activation, seed=seed)
