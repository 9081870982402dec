"""Whether a step and the change of the gradient over it tell a curvature."""

import tensorflow as tf

from keras_smooth.lbfgs.minimizers.line_search import dot
from keras_smooth.lbfgs.minimizers.shapes import Scalar, Vector


def curvature_of(step: Vector, change: Vector) -> tuple[Scalar, Scalar, Scalar]:
    """Returns y.s, y.y, and whether the pair is kept: y.s is above what rounding makes.

    Args:
        step: s, `(n,)`.
        change: y, `(n,)`.

    Returns:
        y.s, but 1 where the pair is not kept; y.y; and whether it is kept.
    """
    curvature, square = dot(step, change), dot(change, change)
    eps = 2.0**-52 if step.dtype == tf.float64 else 2.0**-23
    kept = curvature > eps * tf.sqrt(dot(step, step)) * tf.sqrt(square)
    return tf.where(kept, curvature, tf.ones_like(curvature)), square, kept
