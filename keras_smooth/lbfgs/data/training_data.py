"""The data of a fit: rows in memory or a dataset of batches, or the points of an equation."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.data.micro_batches import map_tensors, take
from keras_smooth.models.identity import digest


@dataclasses.dataclass(frozen=True)
class TrainingData:
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
    def specification(self) -> tuple:
        """`(x, y, sample_weight)` of something that has shapes and dtypes."""
        return self.parts if self.in_memory else self.parts.element_spec

    @property
    def digest(self) -> str:
        """A hash of all rows, which takes one pass over them."""
        leaves = (leaf for batch in self.batches() for leaf in keras.tree.flatten(batch))
        return digest(leaf for leaf in leaves if leaf is not None)

    def sample(self, size: int) -> Any:
        """Returns a few rows: spread over arrays, the first of a dataset."""
        size = min(size, self.num_rows)
        if not self.in_memory:
            return next(iter(self.parts.rebatch(size)))
        places = np.unique(np.linspace(0, self.num_rows - 1, size).astype(int))
        return map_tensors(lambda rows: tf.gather(rows, places), self.parts)

    def batches(self, batch_size: int | None = None) -> Iterator:
        """Yields `(x, y, sample_weight)`, in memory with so many rows, or None for all."""
        if not self.in_memory:
            yield from self.parts
            return
        size = batch_size or self.num_rows
        for start in range(0, self.num_rows, size):
            yield take(self.parts, start, start + size)

    def split(self, fraction: float) -> tuple["TrainingData", "TrainingData"]:
        """Returns the rows without the last ones, and the last ones."""
        if not self.in_memory:
            raise ValueError(
                "`validation_split` needs arrays, but x is a dataset that is read in batches. "
                "Pass `validation_data`."
            )
        size = self.num_rows
        cut = int(size * (1.0 - fraction))
        if not 0 < cut < size:
            raise ValueError(
                f"`validation_split` {fraction} of {size} rows leaves no rows to train or to "
                "validate on."
            )
        head, tail = take(self.parts, 0, cut), take(self.parts, cut, size)
        return TrainingData(head, cut), TrainingData(tail, size - cut)

    def map(self, function: Callable) -> "TrainingData":
        """Returns it with `function(x, y, sample_weight)` of all rows, or of each batch."""
        parts = function(*self.parts) if self.in_memory else self.parts.map(function)
        return TrainingData(parts, self.num_rows)

    def in_ranks_of(self, other: "TrainingData") -> "TrainingData":
        """Returns it with a last axis of 1 where other data has one, and none where not.

        Keras' `evaluate` is compiled for both, and would forget the rank of what it saw twice.
        """

        def adapted(*parts: Any) -> tuple:
            return tuple(map(_in_ranks_of, parts, other.specification))

        return self.map(adapted)

    def as_dataset(self, batch_size: int | None) -> tf.data.Dataset:
        """Returns a dataset of batches, whose dtypes Keras leaves as they are."""
        if not self.in_memory:
            return self.parts
        parts = keras.tree.lists_to_tuples(keras.utils.pack_x_y_sample_weight(*self.parts))
        if batch_size is None:
            return tf.data.Dataset.from_tensors(parts)
        return tf.data.Dataset.from_tensor_slices(parts).batch(batch_size)


class ObjectivePoints(TrainingData):
    """Tensors with different numbers of rows, which the user's objective receives unchanged.

    Args:
        x: The tensors in any nest.
    """

    def __init__(self, x: Any):
        leaves = keras.tree.flatten(x)
        num_rows = sum(len(leaf) if leaf.shape.rank else 1 for leaf in leaves)
        super().__init__((x, None, None), num_rows)

    def sample(self, size: int) -> Any:
        """Returns all points, since an objective may need any of them."""
        return self.parts

    def batches(self, batch_size: int | None = None) -> Iterator:
        """Yields all at once."""
        yield self.parts


def _in_ranks_of(value: Any, other: Any) -> Any:
    """Returns x, y or weights with the ranks of others, if the numbers of arrays agree."""
    leaves, others = keras.tree.flatten(value), keras.tree.flatten(other)
    if len(leaves) != len(others):
        return value
    return keras.tree.pack_sequence_as(value, list(map(_in_rank_of, leaves, others)))


def _in_rank_of(leaf: Any, other: Any) -> Any:
    # Of None a dataset has a specification, which has no shape.
    if leaf is None or not hasattr(other, "shape"):
        return leaf
    if leaf.shape.rank + 1 == other.shape.rank and other.shape[-1] == 1:
        return leaf[..., None]
    if leaf.shape.rank == other.shape.rank + 1 and leaf.shape[-1] == 1:
        return leaf[..., 0]
    return leaf
