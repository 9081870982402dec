"""Directions as linear combinations of fewer curves."""

import numpy as np
import tensorflow as tf

from keras_smooth.jet.shapes import (
    AlongCurves,
    AlongDirections,
    Combination,
    Combined,
    DirectionMatrix,
)


class DirectionBasis:
    """Directions as combinations of curves: v_k = sum_j matrix[k, j] c_j.

    Let a and b be linear in the direction. The sum over the directions of the products
    a(v_k) b(v_k) is then sum_i a(c_i) sum_j (matrix^T matrix)[i, j] b(c_j). With d
    directions of m curves it needs m (m + 1) products, not d. This is the covariance form of
    the forward Laplacian.

    Args:
        matrix: Tensor of shape `(directions, curves)`.
        weights: Weights of the directions, a factor inside of the sums; None is 1 for each.
    """

    def __init__(self, matrix: DirectionMatrix, weights: np.ndarray | None = None) -> None:
        self.directions = matrix.shape[0]
        self.matrix = matrix
        weighted = matrix
        if weights is not None:
            weighted = matrix * tf.constant(weights[:, None], matrix.dtype)
        self.metric = tf.matmul(matrix, weighted, transpose_a=True)

    def to_directions(self, value: AlongCurves) -> AlongDirections:
        """Returns an entry along the directions, from that along the curves."""
        return _combine(self.matrix, value)

    def times_metric(self, value: AlongCurves | None) -> AlongCurves | None:
        """Returns matrix^T diag(weights) matrix times an entry, for the sum over directions."""
        return None if value is None else _combine(self.metric, value)


def _combine(matrix: Combination, value: AlongCurves) -> Combined:
    flat = tf.reshape(value, (value.shape[0], -1))
    combined = tf.matmul(tf.cast(matrix, value.dtype), flat)
    return tf.reshape(combined, (matrix.shape[0], *sizes_from(value, 1)))


def sizes_from(value: tf.Tensor, start: int) -> list:
    """Returns the sizes of the axes from `start` on, as integers if they are known."""
    sizes = list(value.shape[start:])
    if None not in sizes:
        return sizes
    dynamic = tf.shape(value)
    return [
        dynamic[axis] if size is None else size for axis, size in enumerate(sizes, start)
    ]
