"""Directions that are made of fewer curves."""

import numpy as np
import tensorflow as tf

from keras_smooth.jet.shapes import (
    AlongCurves,
    AlongDirections,
    Combination,
    Combined,
    DirectionMatrix,
)


class Frame:
    """Directions as combinations of curves: v_k = sum_j matrix[k, j] c_j.

    A sum over the directions of products a(v_k) b(v_k) of quantities that are linear in
    the direction is then sum_i a(c_i) sum_j (matrix^T matrix)[i, j] b(c_j). With d
    directions of m curves that takes m (m + 1) products and not d: it is the covariance
    form of the forward Laplacian.

    Args:
        matrix: Shape `(directions, curves)`.
        weights: Of the directions in the sum, None for 1 each.
    """

    def __init__(self, matrix: DirectionMatrix, weights: np.ndarray | None = None) -> None:
        self.directions = matrix.shape[0]
        self.matrix = matrix
        weighted = (
            matrix
            if weights is None
            else matrix * tf.constant(weights[:, None], matrix.dtype)
        )
        self.metric = tf.matmul(matrix, weighted, transpose_a=True)

    def spread(self, value: AlongCurves) -> AlongDirections:
        """Returns the entry of each direction from those of the curves."""
        return _combined(self.matrix, value)

    def measured(self, value: AlongCurves | None) -> AlongCurves | None:
        """Returns what to multiply with an entry to get the sum over the directions."""
        return None if value is None else _combined(self.metric, value)


def _combined(matrix: Combination, value: AlongCurves) -> Combined:
    flat = tf.reshape(value, (value.shape[0], -1))
    combined = tf.matmul(tf.cast(matrix, value.dtype), flat)
    return tf.reshape(combined, (matrix.shape[0], *tail(value, 1)))


def tail(value: tf.Tensor, start: int) -> list:
    """Returns the sizes of the axes from `start` on, as integers where they are known."""
    sizes = list(value.shape[start:])
    if None not in sizes:
        return sizes
    dynamic = tf.shape(value)
    return [
        dynamic[axis] if size is None else size for axis, size in enumerate(sizes, start)
    ]
