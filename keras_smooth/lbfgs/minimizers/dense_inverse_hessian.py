"""A self-scaled inverse Hessian as a dense symmetric matrix.

For a step s and u = H y, the updates of Broyden's class (see updates.py) have the form

    H_new = H / tau + [s u] K [s u]'

with a 2 x 2 matrix K. The latest updates are stored separately as s, u and K, so that the large
matrix is written only once in `UPDATES` iterations. The identity, with which the matrix begins, is
stored separately as its factor, so that a reset to the identity costs nothing. Since the matrix is
symmetric, only its blocks on and below the diagonal are stored.

An iteration multiplies the matrix by one vector only, the latest gradient g. The update also needs
H y = H g - H g_before, of which the second product is stored from the iteration before.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.minimizers.line_search import dot
from keras_smooth.lbfgs.minimizers.shapes import Scalar, Vector
from keras_smooth.lbfgs.minimizers.updates import curvature_of

# Largest number of rows of a block. Larger blocks store more numbers above the diagonal, and
# smaller ones are slower to multiply. Of 128, 256 and 512 rows, 512 were fastest with 2,001 and
# 3,001 weights.
BLOCK_ROWS = 512
MAX_BYTES = 2**31
# Number of updates that are stored separately. With 16, writing the matrix takes a tenth of the
# time of an iteration with 3,001 weights.
UPDATES = 16


class Memory(NamedTuple):
    """The matrix, the latest updates of it, and its product with the latest gradient.

    Args:
        blocks: The blocks of a matrix M on and below its diagonal, row by row,
            `(k (k + 1) / 2, b, b)` with `k b >= n`.
        scale: Factor of M: the inverse Hessian is `scale * M + shift * I` plus the updates, `()`.
        shift: Factor of the identity, 0 once the identity is part of M, `()`.
        basis: The vectors s and u of the updates, `(UPDATES, 2, n)`.
        inner: The matrices K of the updates, `(UPDATES, 2, 2)`; unused ones are zero.
        num_updates: Number of updates in `basis`.
        product: The matrix times the latest gradient, `(n,)`; without meaning before the first
            pair.
        num_pairs: Number of pairs since the matrix was the identity.
    """

    blocks: tf.Tensor
    scale: tf.Tensor
    shift: tf.Tensor
    basis: tf.Tensor
    inner: tf.Tensor
    num_updates: tf.Tensor
    product: tf.Tensor
    num_pairs: tf.Tensor


def num_bytes(num_weights: int, itemsize: int) -> int:
    """Returns the memory that the blocks of a matrix need."""
    num_block_rows, size = _block_grid(num_weights)
    return num_block_rows * (num_block_rows + 1) // 2 * size**2 * itemsize


def _block_grid(num_rows: int) -> tuple[int, int]:
    """Returns the number of rows of blocks of a matrix, and the number of rows of a block."""
    num_block_rows = -(-num_rows // BLOCK_ROWS)
    return num_block_rows, -(-num_rows // num_block_rows)


def empty(position: tf.Tensor) -> Memory:
    """Returns a memory without pairs, which is the identity matrix.

    Raises:
        ValueError: If the matrix would not fit into 2 GiB.
    """
    num_weights = position.shape[0]
    needed = num_bytes(num_weights, position.dtype.size)
    if needed > MAX_BYTES:
        raise ValueError(
            f"A dense inverse Hessian of {num_weights} weights needs {needed / 2**30:.1f} GiB, and at "
            f"most {MAX_BYTES / 2**30:.0f} GiB are used. "
            'Use method="lbfgs" with fewer pairs than weights.'
        )
    layout = _BlockLayout(num_weights)
    zeros = functools.partial(tf.zeros, dtype=position.dtype)
    return Memory(
        blocks=zeros([len(layout.rows), layout.size, layout.size]),
        scale=zeros([]),
        shift=tf.ones([], position.dtype),
        basis=zeros([UPDATES, 2, num_weights]),
        inner=zeros([UPDATES, 2, 2]),
        num_updates=tf.constant(0),
        product=zeros([num_weights]),
        num_pairs=tf.constant(0),
    )


@dataclasses.dataclass(frozen=True)
class DenseInverseHessian:
    """The inverse Hessian of `quasi_newton.QuasiNewton` for a member of Broyden's class.

    Args:
        update: A function of b and h that returns tau and phi; see updates.py.
    """

    update: Callable

    def store(
        self, memory: Memory, step: Vector, change: Vector, gradient: Vector, ratio: Scalar
    ) -> Memory:
        """Updates the matrix with a pair, unless its curvature is lost in rounding."""
        # There is no conditional, since XLA would copy the matrix into its branches.
        curvature, square, is_kept = curvature_of(step, change)
        is_full = memory.num_updates == UPDATES
        blocks = _BlockLayout(step.shape[0]).with_updates_written(memory, is_full)
        memory = _reset_if(memory, is_full, 1.0, 0.0)._replace(blocks=blocks)
        product = _times_vector(memory, gradient)
        u = product - memory.product
        # Rounding may spoil the matrix. If it is not positive along the pair, it is reset.
        q = dot(change, u)
        is_positive = (q > 0.0) & (dot(memory.product, gradient - change) > 0.0)
        is_first = (memory.num_pairs == 0) | (is_kept & ~is_positive)
        memory = _reset_if(memory, is_first, 0.0, 1.0)
        num_pairs = tf.where(is_first, 0, memory.num_pairs)
        product, u = tf.where(is_first, gradient, product), tf.where(is_first, change, u)
        tau, inner = self._tau_and_inner(
            tf.where(is_first, square, q), ratio, curvature, is_first
        )
        tau = tf.where(is_kept, tau, tf.ones_like(tau))
        inner = tf.where(is_kept, inner, tf.zeros_like(inner))
        pair = tf.where(is_kept, tf.stack([step, u]), tf.zeros_like([step, u]))
        slot, count = memory.num_updates, tf.cast(is_kept, tf.int32)
        in_slot = tf.one_hot(slot, UPDATES, dtype=step.dtype)[:, None, None]
        return memory._replace(
            scale=memory.scale / tau,
            shift=memory.shift / tau,
            basis=tf.tensor_scatter_nd_update(memory.basis, [[slot]], pair[None]),
            inner=memory.inner / tau + in_slot * inner,
            num_updates=slot + count,
            product=product / tau + _times_updates(pair, inner, gradient),
            num_pairs=num_pairs + count,
        )

    def with_gradient(self, memory: Memory, gradient: tf.Tensor) -> Memory:
        """Returns the memory with another gradient as the latest one."""
        return memory._replace(product=_times_vector(memory, gradient))

    def times_gradient(self, memory: Memory, gradient: tf.Tensor) -> tf.Tensor:
        """Returns the inverse Hessian times the latest gradient."""
        del gradient
        return memory.product

    def _tau_and_inner(
        self, q: Scalar, ratio: Scalar, curvature: Scalar, is_first: Scalar
    ) -> tuple[Scalar, tf.Tensor]:
        """Returns tau and the matrix K, `(2, 2)`, of H_new = H / tau + [s u] K [s u]'."""
        tau, phi = self.update(ratio, q / curvature)
        is_usable = ~is_first & (tau > 0.0) & tf.math.is_finite(phi / tau)
        # The first pair determines the factor of the identity.
        fallback = tf.where(is_first, q / curvature, tf.ones_like(tau))
        tau = tf.where(is_usable, tau, fallback)
        phi = tf.where(is_usable, phi, tf.ones_like(phi))
        off_diagonal = -phi / (curvature * tau)
        step_entry = 1.0 / curvature - off_diagonal * q / curvature
        u_entry = (phi - 1.0) / (q * tau)
        return tau, tf.stack([[step_entry, off_diagonal], [off_diagonal, u_entry]])


def _reset_if(memory: Memory, condition: tf.Tensor, scale: float, shift: float) -> Memory:
    """Returns the memory with other factors and without updates if `condition`, else unchanged."""
    dtype = memory.scale.dtype
    return memory._replace(
        scale=tf.where(condition, tf.constant(scale, dtype), memory.scale),
        shift=tf.where(condition, tf.constant(shift, dtype), memory.shift),
        inner=tf.where(condition, tf.zeros_like(memory.inner), memory.inner),
        num_updates=tf.where(condition, 0, memory.num_updates),
    )


def _times_vector(memory: Memory, vector: tf.Tensor) -> tf.Tensor:
    """Returns the matrix, with its updates, times a vector."""
    product = _BlockLayout(vector.shape[0]).times_vector(memory.blocks, vector)
    low_rank = memory.shift * vector + _times_updates(memory.basis, memory.inner, vector)
    return _scale_or_drop(memory.scale, product) + low_rank


def _scale_or_drop(scale: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns values times a scale; a scale of 0 drops them, even if they are not finite."""
    return tf.where(scale > 0.0, scale * values, tf.zeros_like(values))


def _times_updates(basis: tf.Tensor, inner: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    """Returns the sum of the updates [s u] K [s u]' times a vector."""
    weights = tf.linalg.matvec(inner, tf.linalg.matvec(basis, vector))
    rows = tf.reshape(basis, (-1, vector.shape[0]))
    return tf.linalg.matvec(rows, tf.reshape(weights, (-1,)), transpose_a=True)


class _BlockLayout:
    """The blocks of a symmetric matrix, on and below its diagonal.

    Args:
        num_rows: Number n of rows of the matrix.

    Attributes:
        num_block_rows: Number of rows of blocks.
        size: Number of rows of a block.
        rows: For each block, its row in the grid of blocks.
        columns: For each block, its column in the grid of blocks.
    """

    def __init__(self, num_rows: int):
        self.num_rows = num_rows
        self.num_block_rows, self.size = _block_grid(num_rows)
        self.rows, self.columns = np.tril_indices(self.num_block_rows)

    def times_vector(self, blocks: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
        """Returns the matrix of these blocks times a vector."""
        vector_blocks = self._in_blocks(vector)
        rows, columns, below_diagonal = self._selection_matrices(vector.dtype)
        product_below = tf.linalg.matvec(blocks, columns @ vector_blocks)
        product_above = tf.linalg.matvec(blocks, rows @ vector_blocks, transpose_a=True)
        product = tf.matmul(rows, product_below, transpose_a=True)
        product += tf.matmul(below_diagonal, product_above, transpose_a=True)
        return tf.reshape(product, (-1,))[: self.num_rows]

    def with_updates_written(self, memory: Memory, condition: tf.Tensor) -> tf.Tensor:
        """Returns the blocks, with identity and updates written to them if `condition`."""
        weighted = tf.reshape(memory.inner @ memory.basis, (-1, self.num_rows))
        left = self._in_blocks(tf.reshape(memory.basis, weighted.shape))
        right = self._in_blocks(weighted)
        rows, columns = tf.constant(self.rows), tf.constant(self.columns)

        def update(number: tf.Tensor, blocks: tf.Tensor) -> Any:
            row, column = rows[number], columns[number]
            left_of_block = tf.gather(left, row, axis=1)
            right_of_block = tf.gather(right, column, axis=1)
            shift = tf.where(row == column, memory.shift, tf.zeros_like(memory.shift))
            block = _scale_or_drop(memory.scale, blocks[number])
            block += shift * tf.eye(self.size, dtype=block.dtype)
            block += tf.matmul(left_of_block, right_of_block, transpose_a=True)
            return number + 1, tf.tensor_scatter_nd_update(blocks, [[number]], block[None])

        # One block at a time, in place: all at once would need twice the memory.
        num_blocks = tf.where(condition, len(self.rows), 0)
        return tf.while_loop(
            lambda number, _: number < num_blocks, update, (0, memory.blocks)
        )[1]

    def _in_blocks(self, vectors: tf.Tensor) -> tf.Tensor:
        """Returns vectors cut into blocks and padded with zeros, `(..., k, b)`."""
        missing = self.num_block_rows * self.size - self.num_rows
        before = [[0, 0]] * (len(vectors.shape) - 1)
        padded = tf.pad(vectors, [*before, [0, missing]])
        return tf.reshape(padded, (*vectors.shape[:-1], self.num_block_rows, self.size))

    def _selection_matrices(self, dtype: tf.DType) -> list[tf.Tensor]:
        """Returns matrices of 0 and 1 that select the part of a vector for each block.

        The first selects by the row of a block, the second by its column, and the third by its
        column except for blocks on the diagonal.
        """
        rows, columns = (np.eye(self.num_block_rows)[i] for i in (self.rows, self.columns))
        below_diagonal = columns * (self.rows != self.columns)[:, None]
        return [tf.constant(matrix, dtype) for matrix in (rows, columns, below_diagonal)]
