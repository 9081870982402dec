"""The data of a fit: rows in memory, a dataset of batches, or the points of an objective."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.data.micro_batches import map_tensors, slice_rows
from keras_smooth.models.identity import digest
from keras_smooth.presentation.counts import counted

# Number of rows on which a model or a loss is evaluated to check it, before anything is compiled.
_SAMPLE_ROWS = 64


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The rows of a fit, or of its validation.

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
    def specification(self) -> tuple:
        """`(x, y, sample_weight)`: tensors, or the specifications of the tensors of a batch."""
        return self.parts if self.in_memory else self.parts.element_spec

    @property
    def digest(self) -> str:
        """A hash of all rows; computing it reads the data once."""
        leaves = (leaf for batch in self.batches() for leaf in keras.tree.flatten(batch))
        return digest(leaf for leaf in leaves if leaf is not None)

    def sample(self) -> Any:
        """Returns a few rows, for checks: evenly spaced ones of arrays, the first of a dataset."""
        size = min(_SAMPLE_ROWS, self.num_rows)
        if not self.in_memory:
            return next(iter(self.parts.rebatch(size)))
        indices = np.unique(np.linspace(0, self.num_rows - 1, size).astype(int))
        return map_tensors(lambda rows: tf.gather(rows, indices), self.parts)

    def batches(self, batch_size: int | None = None) -> Iterator:
        """Yields batches `(x, y, sample_weight)`.

        Args:
            batch_size: Rows of a batch of arrays, None for all. Batches of a dataset are unchanged.
        """
        if not self.in_memory:
            yield from self.parts
            return
        size = batch_size or self.num_rows
        for start in range(0, self.num_rows, size):
            yield slice_rows(self.parts, start, start + size)

    def split(self, fraction: float) -> tuple["TrainingData", "TrainingData"]:
        """Returns two parts: all rows but the last `fraction` of them, and these last rows."""
        if not self.in_memory:
            raise ValueError(
                "`validation_split` needs arrays, but x is a dataset that is read in batches. "
                "Pass `validation_data`."
            )
        size = self.num_rows
        cut = int(size * (1.0 - fraction))
        if not 0 < cut < size:
            raise ValueError(
                f"`validation_split` {fraction} of {counted(size, 'row')} leaves no rows to train or to "
                "validate on."
            )
        head, tail = slice_rows(self.parts, 0, cut), slice_rows(self.parts, cut, size)
        return TrainingData(head, cut), TrainingData(tail, size - cut)

    def map(self, function: Callable) -> "TrainingData":
        """Returns data with a function of `x, y, sample_weight` applied to arrays or each batch."""
        parts = function(*self.parts) if self.in_memory else self.parts.map(function)
        return TrainingData(parts, self.num_rows)

    def with_ranks_of(self, other: "TrainingData") -> "TrainingData":
        """Returns data whose arrays have a last axis of length 1 if and only if `other` has it.

        The training data and the validation data share Keras' compiled `evaluate`, in which the
        rank of an array becomes unknown if it differs between two calls.
        """

        def adapted(*parts: Any) -> tuple:
            return tuple(map(_match_ranks, parts, other.specification))

        return self.map(adapted)

    def as_dataset(self, batch_size: int | None) -> tf.data.Dataset:
        """Returns a dataset of batches, which Keras does not cast to another dtype."""
        if not self.in_memory:
            return self.parts
        parts = keras.tree.lists_to_tuples(keras.utils.pack_x_y_sample_weight(*self.parts))
        if batch_size is None:
            return tf.data.Dataset.from_tensors(parts)
        return tf.data.Dataset.from_tensor_slices(parts).batch(batch_size)


class ObjectivePoints(TrainingData):
    """The points of an objective: tensors that may have different numbers of rows.

    The objective receives all of them at once, unchanged.

    Args:
        x: A structure of tensors.
    """

    def __init__(self, x: Any):
        leaves = keras.tree.flatten(x)
        num_rows = sum(len(leaf) if leaf.shape.rank else 1 for leaf in leaves)
        super().__init__((x, None, None), num_rows)

    def sample(self) -> Any:
        """Returns all points, since an objective may need any of them."""
        return self.parts

    def batches(self, batch_size: int | None = None) -> Iterator:
        """Yields all points at once."""
        yield self.parts


def _match_ranks(value: Any, other: Any) -> Any:
    """Returns x, y or weights with the ranks of `other`, if both have as many arrays."""
    leaves, others = keras.tree.flatten(value), keras.tree.flatten(other)
    if len(leaves) != len(others):
        return value
    return keras.tree.pack_sequence_as(value, list(map(_match_rank, leaves, others)))


def _match_rank(leaf: Any, other: Any) -> Any:
    # In a dataset, the specification of None has no shape.
    if leaf is None or not hasattr(other, "shape"):
        return leaf
    if leaf.shape.rank + 1 == other.shape.rank and other.shape[-1] == 1:
        return leaf[..., None]
    if leaf.shape.rank == other.shape.rank + 1 and leaf.shape[-1] == 1:
        return leaf[..., 0]
    return leaf
