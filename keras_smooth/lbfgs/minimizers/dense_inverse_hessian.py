"""A self-scaled inverse Hessian as a dense symmetric matrix.

Of a step s and u = H y the members of Broyden's class, see updates.py, are

    H_new = H / tau + [s u] K [s u]'

with a matrix K of two rows. Some such updates are kept beside the matrix, so that it is written
once in as many iterations, and with them the identity that it began with, so that beginning anew
costs nothing. Of a symmetric matrix the blocks on and below the diagonal are stored.
An iteration multiplies them by one vector, the latest gradient g: since H y = H g - H g_before, and
the second product is known, the update needs no other.
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

# Larger blocks store more above the diagonal, smaller ones are slower to multiply: of 128, 256 and
# 512 rows, 512 were fastest at 2,001 and 3,001 weights.
BLOCK_ROWS = 512
MOST_BYTES = 2**31
# With 16 updates beside the matrix writing it takes a tenth of an iteration at 3,001 weights.
UPDATES = 16


class Memory(NamedTuple):
    """The matrix, the latest updates of it, and its product with the latest gradient.

    Args:
        blocks: Those of B on and below the diagonal, row by row, `(k (k + 1) / 2, b, b)` with
            `k b >= n`.
        scale: The matrix is `scale * B + shift * I` and the updates beside it, `()`.
        shift: Of the identity, until it is in B, `()`.
        basis: Their s and u, `(UPDATES, 2, n)`.
        inner: Their K, `(UPDATES, 2, 2)`; zeros where there is none.
        num_updates: How many there are.
        product: The matrix times the latest gradient, `(n,)`; no meaning before a pair.
        num_pairs: Number of pairs stored since the matrix was the identity.
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
            f"A dense inverse Hessian of {num_weights} weights needs {needed / 2**30:.1f} GiB, and "
            f"{MOST_BYTES / 2**30:.0f} GiB are taken at most. "
            'Use method="lbfgs" with fewer pairs than weights.'
        )
    layout = _Layout(num_weights)
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
        update: `update(b, h)` returns tau and phi; see updates.py.
    """

    update: Callable

    def store(
        self, memory: Memory, step: Vector, change: Vector, gradient: Vector, ratio: Scalar
    ) -> Memory:
        """Takes up a pair, unless its curvature is lost in rounding."""
        # Nothing here is conditional: XLA would copy the matrix into every branch.
        curvature, square, kept = curvature_of(step, change)
        is_full = memory.num_updates == UPDATES
        blocks = _Layout(step.shape[0]).updated(memory, is_full)
        memory = _emptied(memory, is_full, 1.0, 0.0)._replace(blocks=blocks)
        product = _times_vector(memory, gradient)
        u = product - memory.product
        # Rounding may spoil a matrix: what is not positive along a pair begins anew.
        q = dot(change, u)
        positive = (q > 0.0) & (dot(memory.product, gradient - change) > 0.0)
        is_first = (memory.num_pairs == 0) | (kept & ~positive)
        memory = _emptied(memory, is_first, 0.0, 1.0)
        num_pairs = tf.where(is_first, 0, memory.num_pairs)
        product, u = tf.where(is_first, gradient, product), tf.where(is_first, change, u)
        tau, inner = self._inner(tf.where(is_first, square, q), ratio, curvature, is_first)
        tau = tf.where(kept, tau, tf.ones_like(tau))
        inner = tf.where(kept, inner, tf.zeros_like(inner))
        pair = tf.where(kept, tf.stack([step, u]), tf.zeros_like([step, u]))
        slot, count = memory.num_updates, tf.cast(kept, tf.int32)
        here = tf.one_hot(slot, UPDATES, dtype=step.dtype)[:, None, None]
        return memory._replace(
            scale=memory.scale / tau,
            shift=memory.shift / tau,
            basis=tf.tensor_scatter_nd_update(memory.basis, [[slot]], pair[None]),
            inner=memory.inner / tau + here * inner,
            num_updates=slot + count,
            product=product / tau + _combined(pair, inner, gradient),
            num_pairs=num_pairs + count,
        )

    def with_gradient(self, memory: Memory, gradient: tf.Tensor) -> Memory:
        """Returns the memory with another gradient as the latest one."""
        return memory._replace(product=_times_vector(memory, gradient))

    def times_gradient(self, memory: Memory, gradient: tf.Tensor) -> tf.Tensor:
        """Returns the inverse Hessian times the latest gradient."""
        del gradient
        return memory.product

    def _inner(
        self, q: Scalar, ratio: Scalar, curvature: Scalar, is_first: Scalar
    ) -> tuple[Scalar, tf.Tensor]:
        """Returns tau and the matrix K of H_new = H / tau + [s u] K [s u]', `(2, 2)`."""
        tau, phi = self.update(ratio, q / curvature)
        sane = ~is_first & (tau > 0.0) & tf.math.is_finite(phi / tau)
        # The first pair says what the identity has to be multiplied by.
        plain = tf.where(is_first, q / curvature, tf.ones_like(tau))
        tau, phi = tf.where(sane, tau, plain), tf.where(sane, phi, tf.ones_like(phi))
        off_diagonal = -phi / (curvature * tau)
        of_step = 1.0 / curvature - off_diagonal * q / curvature
        of_u = (phi - 1.0) / (q * tau)
        return tau, tf.stack([[of_step, off_diagonal], [off_diagonal, of_u]])


def _emptied(memory: Memory, is_due: tf.Tensor, scale: float, shift: float) -> Memory:
    """Returns the memory with other factors and no updates beside the matrix, if that is due."""
    dtype = memory.scale.dtype
    return memory._replace(
        scale=tf.where(is_due, tf.constant(scale, dtype), memory.scale),
        shift=tf.where(is_due, tf.constant(shift, dtype), memory.shift),
        inner=tf.where(is_due, tf.zeros_like(memory.inner), memory.inner),
        num_updates=tf.where(is_due, 0, memory.num_updates),
    )


def _times_vector(memory: Memory, vector: tf.Tensor) -> tf.Tensor:
    """Returns the matrix times a vector."""
    product = _Layout(vector.shape[0]).times_vector(memory.blocks, vector)
    low_rank = memory.shift * vector + _combined(memory.basis, memory.inner, vector)
    return _scaled(memory.scale, product) + low_rank


def _scaled(scale: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Returns values times a scale, of which 0 means that nothing of them is left."""
    return tf.where(scale > 0.0, scale * values, tf.zeros_like(values))


def _combined(basis: tf.Tensor, inner: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    """Returns the sum of all [s u] K [s u]' times a vector."""
    weights = tf.linalg.matvec(inner, tf.linalg.matvec(basis, vector))
    rows = tf.reshape(basis, (-1, vector.shape[0]))
    return tf.linalg.matvec(rows, tf.reshape(weights, (-1,)), transpose_a=True)


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
        blocks_of_vector = self._parts(vector)
        rows, columns, below_diagonal = self._picked(vector.dtype)
        below = tf.linalg.matvec(blocks, columns @ blocks_of_vector)
        above = tf.linalg.matvec(blocks, rows @ blocks_of_vector, transpose_a=True)
        product = tf.matmul(rows, below, transpose_a=True)
        product += tf.matmul(below_diagonal, above, transpose_a=True)
        return tf.reshape(product, (-1,))[: self.num_rows]

    def updated(self, memory: Memory, is_due: tf.Tensor) -> tf.Tensor:
        """Returns the blocks with all that is beside them in them if that is due."""
        weighted = tf.reshape(memory.inner @ memory.basis, (-1, self.num_rows))
        left = self._parts(tf.reshape(memory.basis, weighted.shape))
        right = self._parts(weighted)
        rows, columns = tf.constant(self.rows), tf.constant(self.columns)

        def update(number: tf.Tensor, blocks: tf.Tensor) -> Any:
            row, column = rows[number], columns[number]
            left_of_block = tf.gather(left, row, axis=1)
            right_of_block = tf.gather(right, column, axis=1)
            shift = tf.where(row == column, memory.shift, tf.zeros_like(memory.shift))
            block = _scaled(memory.scale, blocks[number])
            block += shift * tf.eye(self.size, dtype=block.dtype)
            block += tf.matmul(left_of_block, right_of_block, transpose_a=True)
            return number + 1, tf.tensor_scatter_nd_update(blocks, [[number]], block[None])

        # A block at a time, in its place: all at once would need as much memory again.
        num_due = tf.where(is_due, len(self.rows), 0)
        return tf.while_loop(
            lambda number, _: number < num_due, update, (0, memory.blocks)
        )[1]

    def _parts(self, vectors: tf.Tensor) -> tf.Tensor:
        """Returns vectors as a row for each row of blocks, with zeros behind, `(..., k, b)`."""
        missing = self.num_parts * self.size - self.num_rows
        before = [[0, 0]] * (len(vectors.shape) - 1)
        padded = tf.pad(vectors, [*before, [0, missing]])
        return tf.reshape(padded, (*vectors.shape[:-1], self.num_parts, self.size))

    def _picked(self, dtype: tf.DType) -> list[tf.Tensor]:
        """Returns matrices that pick each block's part of a vector.

        They pick by row, by column, and by column but for blocks on the diagonal.
        """
        rows, columns = (np.eye(self.num_parts)[i] for i in (self.rows, self.columns))
        below_diagonal = columns * (self.rows != self.columns)[:, None]
        return [tf.constant(matrix, dtype) for matrix in (rows, columns, below_diagonal)]
