"""The pairs of L-BFGS as the rows of one matrix, of which only filled rows are read.

Row 2i is the step of slot i, and row 2i + 1 the change of the gradient along this step. Reading
the rows is most of the work of an iteration, so that the whole matrix is never copied. XLA writes
a row in place only outside of conditionals, and only if the matrix is written in the shape in
which it is multiplied.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from keras_smooth.lbfgs.minimizers.shapes import RowNumbers, Rows, Scalar, Vector

# While less than half of the slots are filled, rows are multiplied block by block. Each block is
# copied, so that it must fit into the cache, but be large enough to be worth a loop iteration.
BLOCK_BYTES = 2**19
MIN_BLOCKS = 8


def empty(num_pairs: int, vector: Vector) -> Rows:
    """Returns zeros for pairs of vectors like `vector`, in whole blocks: `(num_rows, n)`."""
    rows = 2 * num_pairs
    size = _rows_in_a_block(rows, vector)
    return tf.zeros((-(-rows // size) * size, vector.shape[0]), vector.dtype)


def write(pairs: Rows, slot: Scalar, is_kept: Scalar, step: Vector, change: Vector) -> Rows:
    """Returns the rows with a pair written to a slot if it `is_kept`, else unchanged."""
    for row, vector in ((2 * slot, step), (2 * slot + 1, change)):
        vector = tf.where(is_kept, vector, pairs[row])
        pairs = tf.tensor_scatter_nd_update(pairs, [[row]], vector[None])
    return pairs


def times_vector(pairs: Rows, vector: Vector, num_filled: Scalar) -> RowNumbers:
    """Returns the scalar products of the rows with a vector, `(num_rows,)`."""

    def multiply(products: tf.Tensor, i: tf.Tensor, block: tf.Tensor) -> tf.Tensor:
        product = tf.linalg.matvec(block, vector)
        return tf.tensor_scatter_nd_update(products, [[i]], product[None])

    def in_blocks(size: int) -> tf.Tensor:
        products = tf.zeros((pairs.shape[0] // size, size), vector.dtype)
        return tf.reshape(_over_blocks(multiply, products, pairs, size, num_filled), (-1,))

    at_once = functools.partial(tf.linalg.matvec, pairs, vector)
    return _in_blocks_or_at_once(in_blocks, at_once, pairs, num_filled)


def times_weights(pairs: Rows, weights: RowNumbers, num_filled: Scalar) -> Vector:
    """Returns the sum of the rows times `weights`, which has shape `(num_rows,)`."""

    def add(total: tf.Tensor, i: tf.Tensor, block: tf.Tensor) -> tf.Tensor:
        size = block.shape[0]
        block_of_weights = tf.slice(weights, [i * size], [size])
        return total + tf.linalg.matvec(block, block_of_weights, transpose_a=True)

    def in_blocks(size: int) -> tf.Tensor:
        return _over_blocks(add, tf.zeros_like(pairs[0]), pairs, size, num_filled)

    at_once = functools.partial(tf.linalg.matvec, pairs, weights, transpose_a=True)
    return _in_blocks_or_at_once(in_blocks, at_once, pairs, num_filled)


def _rows_in_a_block(num_rows: int, vector: Vector) -> int:
    """Returns the number of rows of a block: all rows if blocks would not be faster."""
    size = 2 * (BLOCK_BYTES // (2 * vector.shape[0] * vector.dtype.size))
    return size if 0 < size * MIN_BLOCKS <= num_rows else num_rows


def _in_blocks_or_at_once(
    in_blocks: Callable, at_once: Callable, pairs: Rows, num_filled: Scalar
) -> tf.Tensor:
    """Returns `in_blocks(size)` while less than half of the slots are filled, else `at_once()`."""
    size = _rows_in_a_block(pairs.shape[0], pairs[0])
    if size == pairs.shape[0]:
        return at_once()
    return tf.cond(4 * num_filled < pairs.shape[0], lambda: in_blocks(size), at_once)


def _over_blocks(
    function: Callable, value: tf.Tensor, pairs: Rows, size: int, num_filled: Scalar
) -> tf.Tensor:
    """Returns the last of `value = function(value, i, block)` for each block with pairs."""
    num_blocks = (2 * num_filled + size - 1) // size

    def next_block(i: tf.Tensor, value: tf.Tensor) -> tuple:
        block = tf.slice(pairs, [i * size, 0], [size, pairs.shape[1]])
        return i + 1, function(value, i, block)

    return tf.while_loop(lambda i, _: i < num_blocks, next_block, (0, value))[1]
