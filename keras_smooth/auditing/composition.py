"""Whether derivatives survive where another function follows, as in every model."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_smooth.auditing import towers
from keras_smooth.auditing.findings import Finding
from keras_smooth.differentiation import tapes

# Of the second derivative of a square; what is lost there is most of it.
TOLERANCE = 1e-3
WORDS = "where another function follows: its gradient cannot be differentiated"


def check(curve: Callable, t: tf.Tensor) -> Finding | None:
    """Holds y'' of the square of a curve against the rule for products.

    (y^2)'' = 2 y'^2 + 2 y y''

    An operation whose gradient has itself no gradient, as TensorFlow's of bilinear images,
    is right alone, where no derivative of what comes behind it goes back through it.

    Args:
        curve: Maps a tensor of shape `(n,)` to one of shape `(n,)`, entry by entry.
        t: Points.

    Returns:
        What is wrong, or None where nothing is, or another look is to say.
    """
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(t)
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(t)
            y = curve(t)
            square = y * y
        slopes = [inner.gradient(each, t) for each in (y, square)]
    if any(slope is None for slope in slopes):
        return None
    second = tapes.gradient(outer, slopes[0], t)
    if isinstance(second, Exception):
        return None
    found = tapes.gradient(outer, slopes[1], t)
    if isinstance(found, Exception):
        return Finding("raises", 2, reason=towers.first_line(found))
    arrays = (towers.numbers(each, len(t)) for each in (y, slopes[0], second, found))
    return _compared(*arrays)


def _compared(
    y: np.ndarray, slope: np.ndarray, second: np.ndarray, found: np.ndarray
) -> Finding | None:
    expected = 2 * slope**2 + 2 * y * second
    scale = 2 * slope**2 + 2 * np.abs(y * second)
    error = np.abs(found - expected)
    if not np.all(np.isfinite(expected)) or np.all(error <= TOLERANCE * scale):
        return None
    return Finding("wrong", 2, float(np.max(error / np.maximum(scale, 1e-300))), WORDS)
