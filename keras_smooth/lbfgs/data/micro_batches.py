"""The objective over all rows, batch by batch.

Every loss that is an average over rows is the sum, over batches, of its value on the batch
times the share of the batch; a loss that is a sum over rows has shares of 1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf


class Rows(NamedTuple):
    """Rows in memory.

    Args:
        stacked: Batches of one size, every tensor of shape `(num_batches, size, ...)`, or
            None.
        rest: The rows that are left, or all rows as one batch, or None.
        shares: Weight of each stacked batch, and of the rest, `(2,)`.
    """

    stacked: Any
    rest: Any
    shares: tf.Tensor


class Stream(NamedTuple):
    """Rows that are read again for every evaluation.

    Args:
        dataset: `tf.data.Dataset` of batches `(x, y, sample_weight)`.
        total: Number of all rows, or 0 where every batch has the weight 1.
    """

    dataset: tf.data.Dataset
    total: tf.Tensor


def map_tensors(function: Callable, structure: Any) -> Any:
    """Maps over the tensors of a structure; None stays None."""
    return keras.tree.map_structure(
        lambda leaf: None if leaf is None else function(leaf), structure
    )


def form(structure: Any) -> Any:
    """Returns a structure with words for shapes and dtypes in the place of its tensors."""
    return map_tensors(lambda leaf: f"{leaf.dtype.name}{tuple(leaf.shape)}", structure)


def num_rows(structure: Any) -> int | tf.Tensor:
    """Returns the number of rows, a tensor where a graph does not know it."""
    leaf = next(leaf for leaf in keras.tree.flatten(structure) if leaf is not None)
    return tf.shape(leaf)[0] if leaf.shape[0] is None else leaf.shape[0]


def take(structure: Any, start: int, stop: int) -> Any:
    """Returns the rows from `start` to `stop`."""
    return map_tensors(lambda leaf: leaf[start:stop], structure)


def at_once(data: Any, dtype: str) -> Rows:
    """Returns data as one batch that is never split."""
    return Rows(stacked=None, rest=data, shares=tf.ones(2, dtype))


def piece(structure: Any, i: int, count: int) -> Any:
    """Returns the i-th of so many shares of every tensor's rows."""
    return map_tensors(
        lambda leaf: leaf[i * len(leaf) // count : (i + 1) * len(leaf) // count], structure
    )


def cut_into_batches(
    data: Any, batch_size: int, num_batches: int, total: int | None, dtype: str
) -> Rows:
    """Returns rows in batches of equal size, and the remaining rows.

    Args:
        data: Structure of tensors with one number of rows, or with any if there are no batches.
        batch_size: Rows in a batch.
        num_batches: Number of batches of this size; what is left is the rest.
        total: Number of all rows, or None if every batch has the weight 1.
        dtype: Of the shares.
    """
    size, head = num_rows(data), num_batches * batch_size

    def stack(leaf: Any) -> Any:
        return tf.reshape(leaf[:head], (num_batches, batch_size, *leaf.shape[1:]))

    rest = take(data, head, size) if head else data
    sizes = [batch_size, size - head]
    shares = [1.0, 1.0] if total is None else [rows / total for rows in sizes]
    return Rows(
        stacked=map_tensors(stack, data) if num_batches else None,
        rest=rest if head < size else None,
        shares=tf.constant(shares, dtype),
    )


def over_all_rows(function: Callable, position: tf.Tensor, data: Rows | Stream) -> tuple:
    """Returns value and gradient over all rows.

    Args:
        function: Returns value and gradient from a position and `(x, y, sample_weight)`.
        position: Weights, `(n,)`.
        data: The rows.
    """
    start = (tf.zeros((), position.dtype), tf.zeros_like(position))

    def add(total: tuple, batch: Any, share: tf.Tensor) -> tuple:
        return tuple(t + share * p for t, p in zip(total, function(position, batch)))

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
    # One at a time: two batches at once would need the memory of two.
    return tf.while_loop(
        lambda i, _: i < count, add_stacked, (0, start), parallel_iterations=1
    )[1]
