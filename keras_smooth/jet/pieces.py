"""Piecewise linear functions of jets, and selection."""

import warnings
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth.jet.arithmetic import Jet, as_jets, broadcast_like
from keras_smooth.jet.entries import Entry, times


def piecewise_linear(function: Callable, x: Jet) -> Jet:
    """Applies a piecewise linear elementwise function: y_k = f'(x_0) x_k.

    Args:
        function: A function of a tensor.
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> import keras
    >>> from keras_smooth import jet
    >>> y = jet.piecewise_linear(keras.ops.relu, jet.line([2.0]))
    >>> [float(y.entry(k)[0, 0]) for k in (1, 2)]
    [1.0, 0.0]
    """
    with tf.GradientTape() as tape:
        tape.watch(x.primal)
        y = function(x.primal)
    slope = tape.gradient(y, x.primal)
    return x.like(y, [times(value, slope) for value in x.series])


def straight(function: Callable, x: Jet) -> Jet:
    """The deprecated name of `piecewise_linear`."""
    message = "jet.straight is now called jet.piecewise_linear."
    warnings.warn(message, DeprecationWarning, stacklevel=2)
    return piecewise_linear(function, x)


def where(condition: tf.Tensor, x: Any, y: Any) -> Jet:
    """Returns x where the condition holds at the point, and y elsewhere.

    Args:
        condition: Tensor of booleans.
        x: Jet or constant.
        y: Jet or constant; one of the two is a jet.

    Returns:
        Jet of the shape to which all broadcast.

    Example:

    >>> from keras_smooth import jet
    >>> x = jet.line([2.0])
    >>> y = jet.where(x.primal > 0, jet.square(x), 0.0)
    >>> [float(y.entry(k)[0, 0]) for k in (1, 2)]
    [4.0, 2.0]
    """
    x, y = as_jets(x, y)
    point = tf.where(condition, x.primal, y.primal)
    selected = (_select(condition, *pair) for pair in zip(x.series, y.series))
    return x.like(point, [broadcast_like(value, point) for value in selected])


def _select(condition: tf.Tensor, a: Entry, b: Entry) -> Entry:
    known = b if a is None else a
    if known is None:
        return None
    zero = tf.zeros([], known.dtype)
    return tf.where(condition, zero if a is None else a, zero if b is None else b)
