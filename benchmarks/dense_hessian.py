"""A dense self-scaled inverse Hessian in the place of keras_smooth's limited memory.

The same functions as keras_smooth/lbfgs/minimizers/inverse_hessian.py, so that benchmarks/dense.py
can compile it into the same loop. XLA has no product of a symmetric matrix: all of it is stored,
read twice and written once.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_smooth.lbfgs.minimizers.line_search import dot

EPS = 2.0**-52


class Memory(NamedTuple):
    """The matrix, its product with the latest gradient, and the number of pairs stored."""

    matrix: tf.Tensor
    product: tf.Tensor
    num_pairs: tf.Tensor


def empty(num_correction_pairs: int, position: tf.Tensor) -> Memory:
    """Returns the identity."""
    del num_correction_pairs
    identity = tf.eye(position.shape[0], dtype=position.dtype)
    return Memory(identity, tf.zeros_like(position), tf.constant(0))


def store(memory: Memory, step, change, gradient, growth) -> Memory:
    """Takes up a pair, unless its curvature is lost in rounding."""
    curvature, length = dot(step, change), dot(change, change)
    kept = curvature > EPS * tf.sqrt(dot(step, step)) * tf.sqrt(length)
    one, first = tf.ones_like(curvature), memory.num_pairs == 0
    factor = tf.where(kept, tf.where(first, curvature / length, growth), one)
    curvature = tf.where(kept, curvature, one)
    before = tf.where(first, gradient - change, memory.product)
    along = tf.linalg.matvec(memory.matrix, gradient)
    product = factor * (along - before)
    step = tf.where(kept, step, tf.zeros_like(step))
    ratio = (1.0 + dot(change, product) / curvature) / (2.0 * curvature)
    other = tf.where(kept, product / curvature - ratio * step, tf.zeros_like(step))
    update = step[:, None] * other + other[:, None] * step
    along = factor * along - step * dot(other, gradient) - other * dot(step, gradient)
    count = memory.num_pairs + tf.cast(kept, tf.int32)
    return Memory(factor * memory.matrix - update, along, count)


def times_gradient(memory: Memory, gradient: tf.Tensor) -> tf.Tensor:
    """Returns the inverse Hessian times the latest gradient."""
    del gradient
    return memory.product
