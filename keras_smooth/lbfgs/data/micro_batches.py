"""Value and gradient of a loss over all rows, computed batch by batch.

The loss of all rows is the sum of the losses of the batches, each multiplied by its share.
For a loss that averages over rows, the share is the batch's fraction of the rows. For a loss that
sums over rows, it is 1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf


class Rows(NamedTuple):
    """Rows in memory.

    Args:
        stacked: Batches of equal size, as tensors of shape `(num_batches, size, ...)`, or
            None.
        rest: The remaining rows, or all rows as one batch, or None.
        shares: The share of each of the stacked batches, and that of `rest`, `(2,)`.
    """

    stacked: Any
    rest: Any
    shares: tf.Tensor


class Stream(NamedTuple):
    """Rows that are read again in every evaluation.

    Args:
        dataset: `tf.data.Dataset` of batches `(x, y, sample_weight)`.
        total: Number of all rows, or 0 if the share of every batch is 1.
    """

    dataset: tf.data.Dataset
    total: tf.Tensor


def map_tensors(function: Callable, structure: Any) -> Any:
    """Applies a function to the tensors of a structure; None stays None."""
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else function(leaf), structure
    )


def shapes_and_dtypes(structure: Any) -> Any:
    """Returns a structure with a string such as "float64(20, 2)" for each of its tensors."""
    return map_tensors(lambda leaf: f"{leaf.dtype.name}{tuple(leaf.shape)}", structure)


def with_any_rows(tensor: tf.Tensor) -> tf.TensorSpec:
    """Returns the specification of a tensor with any number of rows; a scalar has none."""
    shape = (None, *tensor.shape[1:]) if tensor.shape.rank else ()
    return tf.TensorSpec(shape, tensor.dtype)


def num_rows(structure: Any) -> int | tf.Tensor:
    """Returns the number of rows; a tensor if it is unknown in a graph."""
    leaf = next(leaf for leaf in keras.tree.flatten(structure) if leaf is not None)
    return keras.ops.shape(leaf)[0]


def slice_rows(structure: Any, start: int, stop: int) -> Any:
    """Returns the rows from `start` to `stop`."""
    return map_tensors(lambda leaf: leaf[start:stop], structure)


def as_one_batch(data: Any, dtype: str) -> Rows:
    """Returns data as one batch that is never split."""
    return Rows(stacked=None, rest=data, shares=tf.ones(2, dtype))


def share_of_rows(structure: Any, i: int, count: int) -> Any:
    """Returns the i-th of `count` equal parts of the rows of every tensor."""
    return map_tensors(
        lambda leaf: leaf[i * len(leaf) // count : (i + 1) * len(leaf) // count], structure
    )


def cut_into_batches(
    data: Any, batch_size: int, num_batches: int, total: int | None, dtype: str
) -> Rows:
    """Returns rows in batches of equal size, and the remaining rows.

    Args:
        data: Structure of tensors. Unless `num_batches` is 0, all have the same number of rows.
        batch_size: Rows in a batch.
        num_batches: Number of batches of this size.
        total: Number of all rows, or None if the share of every batch is 1.
        dtype: The dtype of the shares.
    """
    size, head = num_rows(data), num_batches * batch_size

    def stack(leaf: Any) -> Any:
        return tf.reshape(leaf[:head], (num_batches, batch_size, *leaf.shape[1:]))

    rest = slice_rows(data, head, size) if head else data
    sizes = [batch_size, size - head]
    shares = [1.0, 1.0] if total is None else [rows / total for rows in sizes]
    return Rows(
        stacked=map_tensors(stack, data) if num_batches else None,
        rest=rest if head < size else None,
        shares=tf.constant(shares, dtype),
    )


def evaluate_all_rows(
    function: Callable, position: tf.Tensor, data: Rows | Stream
) -> tuple:
    """Returns value and gradient of a loss over all rows.

    Args:
        function: Returns value and gradient from a position and `(x, y, sample_weight)`.
        position: Weights, `(n,)`.
        data: The rows.
    """
    start = (tf.zeros((), position.dtype), tf.zeros_like(position))

    def add(total: tuple, batch: Any, share: tf.Tensor) -> tuple:
        values = function(position, batch)
        return tuple(t + share * value for t, value in zip(total, values))

    if isinstance(data, Stream):

        def add_batch(total: tuple, batch: Any) -> tuple:
            size = tf.cast(num_rows(batch), position.dtype)
            share = tf.where(data.total > 0.0, size / data.total, tf.ones_like(size))
            return add(total, batch, share)

        return data.dataset.reduce(start, add_batch)
    if data.rest is not None:
        start = add(start, data.rest, data.shares[1])
    if data.stacked is None:
        return start

    def add_stacked(i: tf.Tensor, total: tuple) -> tuple:
        batch = map_tensors(lambda leaf: leaf[i], data.stacked)
        return i + 1, add(total, batch, data.shares[0])

    count = num_rows(data.stacked)
    # One batch at a time: two in parallel would need twice the memory.
    return tf.while_loop(
        lambda i, _: i < count, add_stacked, (0, start), parallel_iterations=1
    )[1]
