"""The memory of L-BFGS: a self-scaled inverse Hessian in compact form.

Self-scaled BFGS divides the old matrix by tau, and then updates it with a pair of a step s and a
change of the gradient y:

    H_new = V' H V / tau + rho s s',   rho = 1 / (y.s),   V = I - rho y s'

Let c_k be the product of all tau up to k. Then c_k H_k obeys the BFGS update without scaling, with
the pairs (c_k s_k, y_k). Divided by these factors again, its compact form differs from that without
scaling only in the diagonal:

    H = gamma (I + S R^-T Y'Y R^-1 S' - S R^-T Y' - Y R^-1 S') + S R^-T (W D) R^-1 S'
    W_i = product of 1 / tau_j over the pairs j newer than i
    gamma = W_0 (s_0.y_0) / (y_0.y_0) of the oldest pair that is kept

References:
    Byrd, Nocedal and Schnabel, 1994, "Representations of quasi-Newton matrices and their use
    in limited memory methods", Mathematical Programming 63, theorem 2.2; Al-Baali, 1998,
    "Numerical experience with a class of self-scaling quasi-Newton algorithms", Journal of
    Optimization Theory and Applications 96.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_smooth.lbfgs.minimizers import pairs
from keras_smooth.lbfgs.minimizers.shapes import Scalar, Vector
from keras_smooth.lbfgs.minimizers.updates import curvature_of


class Memory(NamedTuple):
    """The last m pairs in a ring buffer; unfilled slots are zero.

    Args:
        pairs: Steps s_i and changes y_i of the gradient in alternating rows, and rows of zeros
            after the last ones, `(2m or more, n)`.
        along: Scalar products of the pairs with the latest gradient, `(m, 2)`.
        inverse: Inverse of the matrix R with entries s_i . y_j for i not newer than j,
            `(m, m)`.
        diagonal: W_i s_i . y_i, `(m,)`.
        products: y_i . y_j, `(m, m)`.
        num_pairs: Number of pairs stored so far, including those that were replaced.
    """

    pairs: tf.Tensor
    along: tf.Tensor
    inverse: tf.Tensor
    diagonal: tf.Tensor
    products: tf.Tensor
    num_pairs: tf.Tensor


def empty(num_correction_pairs: int, position: Vector) -> Memory:
    """Returns a memory without pairs, which is the identity matrix."""

    def zeros(*shape: int) -> tf.Tensor:
        return tf.zeros(shape, position.dtype)

    count = num_correction_pairs
    return Memory(
        pairs=pairs.empty(count, position),
        along=zeros(count, 2),
        inverse=zeros(count, count),
        diagonal=zeros(count),
        products=zeros(count, count),
        num_pairs=tf.constant(0),
    )


def store(
    memory: Memory, step: Vector, change: Vector, gradient: Vector, ratio: Scalar
) -> Memory:
    """Replaces the oldest pair by a new one, unless its curvature is lost in rounding.

    The arguments are described in `quasi_newton.QuasiNewton`.
    """
    # There is no conditional, since XLA would copy the pairs into its branches. A pair that is not
    # kept has factors with which it changes nothing.
    curvature, square, is_kept = curvature_of(step, change)
    growth = tf.where(is_kept, tf.maximum(ratio, 1.0), tf.ones_like(ratio))
    count = memory.diagonal.shape[0]
    slot = memory.num_pairs % count
    mask = tf.one_hot(slot, count, dtype=step.dtype) * tf.cast(is_kept, step.dtype)
    others = 1.0 - mask
    latest = with_gradient(
        memory._replace(
            pairs=pairs.write(memory.pairs, slot, is_kept, step, change),
            num_pairs=memory.num_pairs + tf.cast(is_kept, tf.int32),
        ),
        gradient,
    )
    # The change is a difference of two gradients, and so are its products with the pairs.
    along_steps, along_changes = tf.unstack(latest.along - memory.along, axis=1)
    # Dropping the oldest pair drops the first row and column of R, and of its inverse.
    column = others * tf.linalg.matvec(memory.inverse, others * along_steps)
    outer = others[:, None] * others
    row = others * along_changes
    products = memory.products * outer + mask[:, None] * row + row[:, None] * mask
    return latest._replace(
        inverse=memory.inverse * outer + ((mask - column) / curvature)[:, None] * mask,
        diagonal=memory.diagonal * others * growth + curvature * mask,
        products=products + square * mask[:, None] * mask,
    )


def with_gradient(memory: Memory, gradient: Vector) -> Memory:
    """Returns the memory with another gradient as the latest one."""
    count = memory.diagonal.shape[0]
    products = pairs.times_vector(memory.pairs, gradient, memory.num_pairs)
    return memory._replace(along=tf.reshape(products[: 2 * count], (-1, 2)))


def times_gradient(memory: Memory, gradient: Vector) -> Vector:
    """Returns the inverse Hessian times the latest gradient."""
    scale = _scale(memory)
    along_steps, along_changes = tf.unstack(memory.along, axis=1)
    w = tf.linalg.matvec(memory.inverse, along_steps)
    products = tf.linalg.matvec(memory.products, w)
    inner = memory.diagonal * w + scale * (products - along_changes)
    v = tf.linalg.matvec(memory.inverse, inner, transpose_a=True)
    weights = tf.reshape(tf.stack([v, -scale * w], axis=1), (-1,))
    weights = tf.pad(weights, [[0, memory.pairs.shape[0] - weights.shape[0]]])
    combined = pairs.times_weights(memory.pairs, weights, memory.num_pairs)
    return scale * gradient + combined


def _scale(memory: Memory) -> Scalar:
    """Returns gamma, the factor of the identity, from the oldest pair."""
    count = memory.diagonal.shape[0]
    oldest = tf.where(memory.num_pairs < count, 0, memory.num_pairs % count)
    scale = memory.diagonal[oldest] / memory.products[oldest, oldest]
    return tf.where(memory.num_pairs > 0, scale, tf.ones_like(scale))
