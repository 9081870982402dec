"""Initializers that keep y, y' and y'' from vanishing with depth."""

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import activations
from keras_smooth.checks import function, shown

# A layer with fewer inputs is probably the first one. If the mean of the columns of its kernel were
# subtracted, its outputs would not depend on the sum of the inputs.
MIN_CENTERED_FAN_IN = 8

# The normal distribution is integrated over panels, whose ends include all integers and halves, at
# which most kinks and jumps are. Beyond 12 it has less than 1e-32 of its mass.
_CUT = 12.0
_PANELS_OF_ONE = 64
_NUM_NODES = 4
# The slopes at 0 are measured at this distance on both sides.
_BESIDE_0 = 1e-8
# A mean below this is the rounding error of the quadrature of an odd function.
_ODD = 1e-9


def gain(activation: str | Callable) -> float:
    """Returns the factor for a kernel in front of an activation.

    gain = 1 / sqrt(max(E[f'(0 z)^2], E[f'(z)^2])), with z ~ N(0, 1)

    E[f'(0 z)^2] is f'(0)^2, or at a kink the mean of the squares of both slopes. The gain is
    the largest factor with which no layer of a wide network amplifies a small change of its
    input, if its pre-activations are near 0 or have the variance 1. With a smaller factor the
    signal vanishes with depth, with a larger one it becomes chaotic. It is 1 for tanh and sin,
    4 for sigmoid, and sqrt(2) for ReLU, as in He's initialization.

    Larger pre-activations are not considered. For functions that are steeper far from 0 than
    near it, such as tanh_shrink, soft_shrink and hard_shrink, no factor suits both: small signals
    vanish, and large ones grow with depth. Scale their inputs to size 1.

    Args:
        activation: Name of an activation, or a function that works element by element.

    Returns:
        A positive float; 1 if there is no slope, as for softmax.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If `activation` is neither a name nor a function.

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
    around_0 = [-_BESIDE_0, _BESIDE_0]
    if not isinstance(activation, keras.layers.Layer):
        function("`activation`", activation, "x")
    squares = np.square(_slopes(activation, np.concatenate([around_0, nodes])))
    mean_squares = squares[:2].mean(), np.average(squares[2:], weights=weights)
    largest = math.sqrt(max(mean_squares))
    return 1.0 / largest if 0.0 < largest < math.inf else 1.0


@functools.cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes and weights of Gauss-Legendre quadrature in each panel, for N(0, 1)."""
    inner, weights = np.polynomial.legendre.leggauss(_NUM_NODES)
    ends = np.linspace(-_CUT, _CUT, int(2 * _CUT * _PANELS_OF_ONE) + 1)
    nodes = (ends[:-1, None] + (inner + 1) / (2 * _PANELS_OF_ONE)).ravel()
    return nodes, np.tile(weights, len(ends) - 1) * np.exp(-(nodes**2) / 2)


def _slopes(activation: Callable, points: np.ndarray) -> np.ndarray:
    """Returns f' at the points, or 0 if f has no derivative."""
    x = tf.constant(points.reshape(-1, 1))
    try:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = _quietly(activation, x)
            if not tf.is_tensor(y):
                raise TypeError(
                    f"`activation` must return a tensor, but returned {shown(y)}."
                )
    except ValueError:
        return np.zeros_like(points)
    slope = tape.gradient(y, x)
    return np.zeros_like(points) if slope is None else slope.numpy().reshape(points.shape)


def _quietly(activation: Callable, x: tf.Tensor) -> Any:
    """Returns an activation of a column of numbers, without its warnings.

    Keras warns that the softmax of single numbers is 1, which does not concern the user, who did not
    choose the column.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return activation(x)


def _mean(activation: Callable) -> float:
    """Returns E[f(z)] with z ~ N(0, 1)."""
    nodes, weights = _quadrature()
    try:
        values = np.ravel(_quietly(activation, tf.constant(nodes[:, None])))
    except ValueError:  # The function does not work element by element.
        return 0.0
    return float(np.average(values, weights=weights))


@keras.saving.register_keras_serializable(package="keras_smooth")
class GainScaling(keras.initializers.GlorotUniform):
    """Glorot's uniform initializer, scaled and centered for the activation of the layer.

    The kernel is `gain(activation)` times Glorot's. If E[f(z)] is not 0, as for sigmoid,
    softplus and GELU, the mean of each column is subtracted as well, which cancels the constant
    that the previous layer adds to all its outputs, so that the outputs of the network are around
    0. This is the default of `keras_smooth.Dense`. For tanh and sin, it is Glorot's initializer.

    Args:
        activation: Name of an activation, or the function.
        seed: An integer or a `keras.random.SeedGenerator`, as for every Keras initializer.
        **kwargs: Further arguments of `keras.initializers.GlorotUniform`.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If `activation` is neither a name nor a function.

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
        axes = self._axes_of_inputs(shape)
        fan_in = math.prod(shape[axis] for axis in axes)
        if not self._centers or fan_in < MIN_CENTERED_FAN_IN:
            return kernel
        # The mean of each column is subtracted, and the variance is restored.
        mean = keras.ops.mean(kernel, axis=axes, keepdims=True)
        return (kernel - mean) * math.sqrt(fan_in / (fan_in - 1))

    def get_config(self) -> dict:
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation}

    def _axes_of_inputs(self, shape: Any) -> tuple[int, ...]:
        """Returns the axes of a kernel over which a layer sums; by default all but the last one."""
        inputs, outputs = (
            getattr(self, f"{end}_axes", None) for end in ("input", "output")
        )
        if inputs is None or outputs is None:
            return tuple(range(len(shape) - 1))
        return tuple(inputs)


def default(activation: Callable, seed: Any = None) -> keras.initializers.Initializer:
    """Returns the default initializer of a layer with this activation.

    Args:
        activation: Name or function of the layer's activation.
        seed: An integer or a `keras.random.SeedGenerator`, as for every Keras initializer.

    Returns:
        A `GainScaling`.

    Raises:
        ValueError: If the name is unknown.
        TypeError: If `activation` is neither a name nor a function.

    Example:

    >>> import keras, keras_smooth
    >>> start = keras_smooth.initializers.default(keras.activations.tanh, seed=0)
    >>> type(start).__name__
    'GainScaling'
    """
    return GainScaling(activation, seed=seed)
