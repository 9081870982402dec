"""The memory of BFGS: a self-scaled inverse Hessian as a dense symmetric matrix.

With growth = 1 / tau, a step s, a change of the gradient y and u = growth * H y,

    H_new = growth * H - s w' - w s',   w = u / (y.s) - (1 + y.u / (y.s)) / (2 y.s) s

Of a symmetric matrix the blocks on and below the diagonal are stored. An iteration multiplies them
by one vector, the latest gradient g: since H y = H g - H g_before, and the second product is
known, the update needs no other.

References:
    Nocedal and Wright, 2006, "Numerical optimization", equation 6.17; Al-Baali, 1998,
    "Numerical experience with a class of self-scaling quasi-Newton algorithms", Journal of
    Optimization Theory and Applications 96.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.minimizers.curvature import curvature_of
from keras_smooth.lbfgs.minimizers.line_search import dot

# Larger blocks store more above the diagonal, smaller ones are slower to multiply: of 128, 256 and
# 512 rows, 512 were fastest at 2,001 and 3,001 weights.
BLOCK_ROWS = 512
MOST_BYTES = 2**31


class Memory(NamedTuple):
    """The matrix, and its product with the latest gradient.

    Args:
        blocks: Those on and below the diagonal, row by row, `(k (k + 1) / 2, b, b)` with
            `k b >= n`.
        product: The matrix times the latest gradient, `(n,)`; no meaning before a pair.
        num_pairs: Number of pairs ever stored.
    """

    blocks: tf.Tensor
    product: tf.Tensor
    num_pairs: tf.Tensor


def num_bytes(num_weights: int, itemsize: int) -> int:
    """Returns the size of the blocks of a matrix."""
    num_parts, size = _parts_of(num_weights)
    return num_parts * (num_parts + 1) // 2 * size**2 * itemsize


def _parts_of(num_rows: int) -> tuple[int, int]:
    """Returns how many rows of blocks a matrix is cut into, and how many rows a block has."""
    num_parts = -(-num_rows // BLOCK_ROWS)
    return num_parts, -(-num_rows // num_parts)


def empty(position: tf.Tensor) -> Memory:
    """Returns the identity.

    Raises:
        ValueError: If the matrix would not fit into 2 GiB.
    """
    num_weights = position.shape[0]
    needed = num_bytes(num_weights, position.dtype.size)
    if needed > MOST_BYTES:
        raise ValueError(
            f"A dense inverse Hessian of {num_weights} weights needs "
            f"{needed / 2**30:.1f} GiB, and {MOST_BYTES / 2**30:.0f} GiB are taken at most. "
            'Use method="lbfgs" with fewer pairs than weights.'
        )
    layout = _Layout(num_weights)
    on_diagonal = tf.constant(layout.rows == layout.columns)[:, None, None]
    identity = tf.eye(layout.size, dtype=position.dtype)
    return Memory(
        blocks=tf.where(on_diagonal, identity, tf.zeros_like(identity)),
        product=tf.zeros_like(position),
        num_pairs=tf.constant(0),
    )


def store(memory: Memory, step, change, gradient, growth) -> Memory:
    """Takes up a pair, unless its curvature is lost in rounding.

    The arguments are those of `quasi_newton.InverseHessian`.
    """
    # Nothing here is conditional: XLA would copy the matrix into every branch.
    curvature, square, kept = curvature_of(step, change)
    # The first pair says what the identity has to be multiplied by.
    is_first = memory.num_pairs == 0
    growth = tf.where(is_first, curvature / square, growth)
    growth = tf.where(kept, growth, tf.ones_like(growth))
    before = tf.where(is_first, gradient - change, memory.product)
    layout = _Layout(step.shape[0])
    product = layout.times_vector(memory.blocks, gradient)
    u = growth * (product - before)
    step = tf.where(kept, step, tf.zeros_like(step))
    w = u / curvature - (1.0 + dot(change, u) / curvature) / (2.0 * curvature) * step
    w = tf.where(kept, w, tf.zeros_like(w))
    return Memory(
        blocks=growth * memory.blocks - layout.outer_products(step, w),
        product=growth * product - step * dot(w, gradient) - w * dot(step, gradient),
        num_pairs=memory.num_pairs + tf.cast(kept, tf.int32),
    )


def times_gradient(memory: Memory, gradient: tf.Tensor) -> tf.Tensor:
    """Returns the inverse Hessian times the latest gradient."""
    del gradient
    return memory.product


class _Layout:
    """How a symmetric matrix of n rows is cut into blocks.

    Args:
        num_rows: n.

    Attributes:
        size: Rows of a block.
        rows: Of each block, which row of blocks it is in.
        columns: Of each block, which column.
    """

    def __init__(self, num_rows: int):
        self.num_rows = num_rows
        self.num_parts, self.size = _parts_of(num_rows)
        self.rows, self.columns = np.tril_indices(self.num_parts)

    def times_vector(self, blocks: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
        """Returns the matrix times a vector."""
        parts = self._parts(vector)
        picked_rows, picked_columns = self._picked(vector.dtype)
        off_diagonal = tf.constant(self.rows != self.columns)[:, None]
        below = tf.linalg.matvec(blocks, picked_columns @ parts)
        above = tf.linalg.matvec(blocks, picked_rows @ parts, transpose_a=True)
        above = tf.where(off_diagonal, above, tf.zeros_like(above))
        product = tf.matmul(picked_rows, below, transpose_a=True) + tf.matmul(
            picked_columns, above, transpose_a=True
        )
        return tf.reshape(product, (-1,))[: self.num_rows]

    def outer_products(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """Returns the blocks of a b' + b a'."""
        picked_rows, picked_columns = self._picked(a.dtype)
        a, b = self._parts(a), self._parts(b)
        a_rows, b_rows = (picked_rows @ a)[:, :, None], (picked_rows @ b)[:, :, None]
        return (
            a_rows * (picked_columns @ b)[:, None] + b_rows * (picked_columns @ a)[:, None]
        )

    def _parts(self, vector: tf.Tensor) -> tf.Tensor:
        """Returns a vector as a row for each row of blocks, with zeros behind."""
        missing = self.num_parts * self.size - self.num_rows
        return tf.reshape(tf.pad(vector, [[0, missing]]), (-1, self.size))

    def _picked(self, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the matrices that pick each block's part of a vector, by row and column."""
        identity = np.eye(self.num_parts)
        return tuple(tf.constant(identity[i], dtype) for i in (self.rows, self.columns))
