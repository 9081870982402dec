"""The pairs of L-BFGS in one matrix, of which what is filled is multiplied.

Row 2i is the step of slot i, and row 2i + 1 the change of the gradient that belongs to it. To
read the rows is most of the work of an iteration, and nothing here copies them all: what XLA
writes in place must be written where nothing is conditional, and in the shape in which it is
multiplied.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from keras_smooth.lbfgs.minimizers.shapes import OfRows, Rows, Scalar, Vector

# While less than half of the slots are filled, rows are multiplied block by block. A block is
# copied on the way, so that it must be small enough for the cache, and worth a turn of a loop.
BLOCK_BYTES = 2**19
FEWEST_BLOCKS = 8


def empty(num_pairs: int, vector: Vector) -> Rows:
    """Returns zeros for pairs of vectors of a kind, in whole blocks: `(num_rows, n)`."""
    rows = 2 * num_pairs
    size = _rows_in_a_block(rows, vector)
    return tf.zeros((-(-rows // size) * size, vector.shape[0]), vector.dtype)


def write(pairs: Rows, slot: Scalar, kept: Scalar, step: Vector, change: Vector) -> Rows:
    """Returns the rows with another pair in a slot, or as they are."""
    for row, vector in ((2 * slot, step), (2 * slot + 1, change)):
        vector = tf.where(kept, vector, pairs[row])
        pairs = tf.tensor_scatter_nd_update(pairs, [[row]], vector[None])
    return pairs


def times_vector(pairs: Rows, vector: Vector, num_filled: Scalar) -> OfRows:
    """Returns the scalar product of each row and a vector, `(num_rows,)`."""

    def multiply(products: tf.Tensor, i: tf.Tensor, block: tf.Tensor) -> tf.Tensor:
        product = tf.linalg.matvec(block, vector)
        return tf.tensor_scatter_nd_update(products, [[i]], product[None])

    def in_blocks(size: int) -> tf.Tensor:
        products = tf.zeros((pairs.shape[0] // size, size), vector.dtype)
        return tf.reshape(_over_blocks(multiply, products, pairs, size, num_filled), (-1,))

    at_once = functools.partial(tf.linalg.matvec, pairs, vector)
    return _at_once_or(in_blocks, at_once, pairs, num_filled)


def times_weights(pairs: Rows, weights: OfRows, num_filled: Scalar) -> Vector:
    """Returns the sum of all rows, each times its weight of `(num_rows,)`."""

    def add(total: tf.Tensor, i: tf.Tensor, block: tf.Tensor) -> tf.Tensor:
        size = block.shape[0]
        block_of_weights = tf.slice(weights, [i * size], [size])
        return total + tf.linalg.matvec(block, block_of_weights, transpose_a=True)

    def in_blocks(size: int) -> tf.Tensor:
        return _over_blocks(add, tf.zeros_like(pairs[0]), pairs, size, num_filled)

    at_once = functools.partial(tf.linalg.matvec, pairs, weights, transpose_a=True)
    return _at_once_or(in_blocks, at_once, pairs, num_filled)


def _rows_in_a_block(num_rows: int, vector: Vector) -> int:
    """Returns how many rows a block has: all, where less would not pay."""
    size = 2 * (BLOCK_BYTES // (2 * vector.shape[0] * vector.dtype.size))
    return size if 0 < size * FEWEST_BLOCKS <= num_rows else num_rows


def _at_once_or(
    in_blocks: Callable, at_once: Callable, pairs: Rows, num_filled: Scalar
) -> tf.Tensor:
    size = _rows_in_a_block(pairs.shape[0], pairs[0])
    if size == pairs.shape[0]:
        return at_once()
    return tf.cond(4 * num_filled < pairs.shape[0], lambda: in_blocks(size), at_once)


def _over_blocks(
    function: Callable, value: tf.Tensor, pairs: Rows, size: int, num_filled: Scalar
) -> tf.Tensor:
    """Returns `value = function(value, i, block)` of all blocks with pairs in them."""
    num_blocks = (2 * num_filled + size - 1) // size

    def next_block(i: tf.Tensor, value: tf.Tensor) -> tuple:
        block = tf.slice(pairs, [i * size, 0], [size, pairs.shape[1]])
        return i + 1, function(value, i, block)

    return tf.while_loop(lambda i, _: i < num_blocks, next_block, (0, value))[1]
