"""The data of a fit: rows in memory or a stream of batches, or the points of an equation."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.digests import digest
from keras_smooth.lbfgs.micro_batches import map_tensors, take


class Data(NamedTuple):
    """Rows, to be fitted or for validation.

    Args:
        parts: `(x, y, sample_weight)` of tensors, or a `tf.data.Dataset` of such batches.
        num_rows: Number of rows.
    """

    parts: Any
    num_rows: int

    @property
    def in_memory(self) -> bool:
        return not isinstance(self.parts, tf.data.Dataset)

    @property
    def digest(self) -> str:
        """A hash of all rows, which it takes one pass over them."""
        return _digest(self.batches())

    @property
    def num_targets(self) -> int:
        """Number of tensors in y."""
        parts = self.parts if self.in_memory else self.parts.element_spec
        return len(tf.nest.flatten(parts[1]))

    def sample(self, size: int) -> Any:
        """Returns a few rows: spread over arrays, the first of a dataset."""
        size = min(size, self.num_rows)
        if not self.in_memory:
            return next(iter(self.parts.rebatch(size)))
        return map_tensors(lambda leaf: _spread(leaf, size), self.parts)

    def batches(self, batch_size: int | None = None) -> Iterator:
        """Yields `(x, y, sample_weight)`, in memory with so many rows, or None for all."""
        if not self.in_memory:
            yield from self.parts
            return
        size = batch_size or self.num_rows
        for start in range(0, self.num_rows, size):
            yield take(self.parts, start, start + size)

    def split(self, fraction: float) -> tuple["Data", "Data"]:
        """Returns all but the last rows, and the last rows."""
        if not self.in_memory:
            raise ValueError(
                "`validation_split` needs arrays, but x is a dataset that is read in "
                "batches. Pass `validation_data`."
            )
        size = self.num_rows
        cut = int(size * (1.0 - fraction))
        if not 0 < cut < size:
            raise ValueError(
                f"`validation_split` {fraction} of {size} rows leaves no rows to train or to "
                "validate on."
            )
        head, tail = take(self.parts, 0, cut), take(self.parts, cut, size)
        return Data(head, cut), Data(tail, size - cut)

    def in_ranks_of(self, other: "Data") -> "Data":
        """Returns it with a last axis of 1 where other data has one, and none where not.

        Keras' `evaluate` is compiled for both, and would forget the rank of what it saw twice.
        """
        form = other.parts if other.in_memory else other.parts.element_spec
        if self.in_memory:
            return Data(_in_ranks_of(form, *self.parts), self.num_rows)
        return Data(
            self.parts.map(lambda *parts: _in_ranks_of(form, *parts)), self.num_rows
        )

    def as_dataset(self, batch_size: int | None) -> tf.data.Dataset:
        """Returns a dataset of batches, whose dtypes Keras leaves as they are."""
        if not self.in_memory:
            return self.parts
        parts = keras.utils.pack_x_y_sample_weight(*self.parts)
        parts = keras.tree.lists_to_tuples(parts)
        if batch_size is None:
            return tf.data.Dataset.from_tensors(parts)
        return tf.data.Dataset.from_tensor_slices(parts).batch(batch_size)


class ObjectivePoints(NamedTuple):
    """Tensors with different numbers of rows, which a user's objective takes as they are.

    Args:
        parts: `(x, None, None)`.
    """

    parts: tuple

    @property
    def in_memory(self) -> bool:
        return True

    @property
    def num_rows(self) -> int:
        """Number of rows of all tensors together."""
        leaves = keras.tree.flatten(self.parts[0])
        return sum(len(leaf) if leaf.shape.rank else 1 for leaf in leaves)

    @property
    def digest(self) -> str:
        """A hash of all tensors."""
        return _digest(self.batches())

    def sample(self, size: int) -> Any:
        """Returns a few rows of every tensor, an even number where it has more."""
        del size
        return self.parts

    def batches(self, batch_size: int | None = None) -> Iterator:
        """Yields all at once."""
        del batch_size
        yield self.parts


def _digest(batches: Iterator) -> str:
    leaves = (leaf for batch in batches for leaf in keras.tree.flatten(batch))
    return digest(leaf for leaf in leaves if leaf is not None)


def _spread(rows: tf.Tensor, size: int) -> tf.Tensor:
    places = np.unique(np.linspace(0, len(rows) - 1, size).astype(int))
    return tf.gather(rows, places)


def _in_ranks_of(form: tuple, *parts: Any) -> tuple:
    """Returns x, y and weights in the ranks of others, where those are as many."""
    return tuple(map(_part_in_ranks_of, parts, form))


def _part_in_ranks_of(part: Any, other: Any) -> Any:
    leaves, others = keras.tree.flatten(part), keras.tree.flatten(other)
    if len(leaves) != len(others):
        return part
    return keras.tree.pack_sequence_as(part, list(map(_in_rank_of, leaves, others)))


def _in_rank_of(leaf: Any, other: Any) -> Any:
    if leaf is None or other is None:
        return leaf
    if leaf.shape.rank + 1 == other.shape.rank and other.shape[-1] == 1:
        return leaf[..., None]
    if leaf.shape.rank == other.shape.rank + 1 and leaf.shape[-1] == 1:
        return leaf[..., 0]
    return leaf
