"""The jets of straight lines."""

from typing import Any

import tensorflow as tf

from keras_smooth.jet.arithmetic import Jet


def line(points: Any, order: int = 2) -> Jet:
    """Returns the jet of the straight line x + t through points, to test a rule.

    Entry k of an elementwise function of it is the k-th derivative at the points.

    Args:
        points: Array of floats of shape `(batch, ...)`.
        order: Number of derivatives that it carries.

    Returns:
        Jet of the shape of `points` along one direction.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.power(jet.line([2.0], order=3), 3)
    >>> [float(y.entry(k)[0, 0]) for k in (1, 2, 3)]
    [12.0, 12.0, 6.0]
    """
    points = tf.convert_to_tensor(points)
    return Jet(points, [tf.ones_like(points)[None], *[None] * (order - 1)])
