"""Validates the user's data and reads it into tensors or a dataset of batches."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import shown
from keras_smooth.lbfgs.data.array_checks import check_array
from keras_smooth.lbfgs.data.class_weights import weighted
from keras_smooth.lbfgs.data.micro_batches import map_tensors
from keras_smooth.lbfgs.data.training_data import ObjectivePoints, TrainingData
from keras_smooth.models import graph, sample_inputs
from keras_smooth.models.calls import cast_to

_NAMES = ("x", "y", "sample_weight")


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """How data is read.

    Args:
        dtype: The dtype to which floats are cast.
        batch_size: With a dataset, the rows to hold in memory at a time, or None for all.
        class_weight: Weights by class, or None.
        strings: Whether x may have arrays of strings.
    """

    dtype: str
    batch_size: int | None = None
    class_weight: Mapping[int, float] | None = None
    strings: bool = False

    def check_rows(self, parts: tuple, first_row: int = 0) -> int:
        """Checks `(x, y, sample_weight)` and returns the number of rows."""
        for name, part in zip(_NAMES, parts):
            for array in keras.tree.flatten(part):
                check_array(name, array, first_row, self.strings and name == "x")
        return _num_rows(parts)

    def tensors(self, parts: tuple) -> tuple:
        """Returns `(x, y, sample_weight)` as tensors."""
        tensors = cast_to(self.dtype, map_tensors(tf.convert_to_tensor, parts))
        if self.class_weight is None:
            return tensors
        return weighted(tensors, self.class_weight, self.dtype)


def takes_strings(model: keras.Model) -> bool:
    """Returns whether a model may have strings as inputs."""
    if not graph.is_graph(model):
        return True
    inputs = keras.tree.flatten(sample_inputs.of_graph(model))
    return any(tensor.dtype == "string" for tensor in inputs)


def read_data(x: Any, y: Any, sample_weight: Any, options: ReadOptions) -> TrainingData:
    """Returns checked data.

    Args:
        x: Inputs: an array, a list or dict of arrays, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`.
        y: Targets, None with a dataset.
        sample_weight: Weights of the samples, None with a dataset.
        options: How they are read.

    Raises:
        ValueError: If data is empty, endless, not finite or not in batches, or if numbers
            of rows differ.
        TypeError: If x is a generator, or y is given beside a dataset.
    """
    if x is None:
        raise ValueError("x is None. Pass the inputs.")
    is_dataset = _is_dataset(x)
    if is_dataset and (y is not None or sample_weight is not None):
        raise TypeError(
            f"Received x of class {type(x).__name__} and y or sample_weight beside it. "
            "A dataset yields tuples (x, y) or (x, y, sample_weight)."
        )
    if is_dataset:
        _check_dataset(x)
    if is_dataset and options.batch_size is not None:
        data = _stream(x, options)
    else:
        parts = _joined(x) if is_dataset else (x, y, sample_weight)
        num_rows = options.check_rows(parts)
        data = TrainingData(options.tensors(parts), num_rows)
    if not any(map(_has_weight, data.batches())):
        raise ValueError(
            "The weights of all rows are 0, by `sample_weight` or `class_weight`, so that "
            "there is nothing to fit. Give some rows a weight above 0."
        )
    return data


def read_points(x: Any, options: ReadOptions, name: str = "x") -> ObjectivePoints:
    """Returns the checked points of an objective.

    Args:
        x: A structure of arrays, which may have different numbers of rows.
        options: How they are read.
        name: What x is called in messages.

    Raises:
        ValueError: If an array is empty or not finite, or x is None.
        TypeError: If x has something else than arrays in it.
    """
    if x is None:
        raise ValueError(f"{name} is None. Pass the points that the objective takes.")
    if _is_dataset(x):
        raise TypeError(
            f"Received {name} of class {type(x).__name__}, but an objective takes all its points "
            "at once: pass arrays, or dicts, lists or tuples of arrays."
        )
    for leaf in keras.tree.flatten(x):
        if not hasattr(leaf, "shape"):
            raise TypeError(
                f"With `objective`, {name} must be arrays in dicts, lists or tuples, "
                f"received {shown(leaf)} in it. Pass numpy.array(...)."
            )
        check_array(name, leaf, strings=options.strings)
    return ObjectivePoints(cast_to(options.dtype, map_tensors(tf.convert_to_tensor, x)))


def read_validation(data: Any, options: ReadOptions) -> TrainingData | None:
    """Returns checked data from `(x, y)`, `(x, y, sample_weight)`, a dataset or None.

    Raises:
        ValueError: As `read_data`, and if it is none of these.
    """
    if data is None:
        return None
    if isinstance(data, (tuple, list)) and len(data) in (2, 3):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(tuple(data))
    elif _is_dataset(data):
        x, y, sample_weight = data, None, None
    else:
        raise ValueError(
            "`validation_data` must be (x, y), (x, y, sample_weight) or a dataset, received "
            f"a {type(data).__name__}."
        )
    try:
        return read_data(x, y, sample_weight, options)
    except ValueError as error:
        raise ValueError(f"In validation_data: {error}") from error


def _is_dataset(x: Any) -> bool:
    return isinstance(x, (tf.data.Dataset, keras.utils.PyDataset))


def _check_dataset(x: tf.data.Dataset | keras.utils.PyDataset) -> None:
    """Raises an error if a dataset is infinite, empty, or not in batches."""
    if isinstance(x, keras.utils.PyDataset):
        endless = x.num_batches is None
    else:
        endless = int(x.cardinality()) == tf.data.INFINITE_CARDINALITY
    if endless:
        raise ValueError(
            "The dataset is endless, but a full-batch fit needs all of it for every step. "
            "Leave out .repeat(), or cut it with .take(n)."
        )
    first = next(_elements(x), None)
    if first is None:
        raise ValueError("The dataset is empty.")
    try:
        _num_rows(keras.utils.unpack_x_y_sample_weight(first))
    except ValueError as error:
        raise ValueError(
            f"In the first batch of the dataset: {error} A dataset yields batches: see "
            "tf.data.Dataset.batch."
        ) from error


def _elements(x: tf.data.Dataset | keras.utils.PyDataset) -> Iterator:
    """Returns an iterator over the elements of a dataset."""
    if isinstance(x, keras.utils.PyDataset):
        return (x[i] for i in range(x.num_batches))
    return iter(x)


def _joined(x: tf.data.Dataset | keras.utils.PyDataset) -> tuple:
    parts = [keras.utils.unpack_x_y_sample_weight(element) for element in _elements(x)]
    for part in parts:
        _num_rows(part)
    return keras.tree.map_structure(
        lambda *leaves: None if leaves[0] is None else tf.concat(leaves, axis=0), *parts
    )


def _stream(
    x: tf.data.Dataset | keras.utils.PyDataset, options: ReadOptions
) -> TrainingData:
    """Returns checked data that is read again in every pass."""
    dataset = (x if isinstance(x, tf.data.Dataset) else _as_dataset(x)).map(
        lambda *batch: options.tensors(keras.utils.unpack_x_y_sample_weight(batch))
    )
    dataset = dataset.rebatch(options.batch_size).prefetch(tf.data.AUTOTUNE)
    num_rows = num_batches = 0
    for batch in dataset:
        num_rows += options.check_rows(batch, num_rows)
        num_batches += 1
    if num_rows == 0:
        raise ValueError("The dataset is empty.")
    # Keras warns if a dataset ends without a known cardinality.
    known = tf.data.experimental.assert_cardinality(num_batches)
    return TrainingData(dataset.apply(known), num_rows)


def _as_dataset(x: keras.utils.PyDataset) -> tf.data.Dataset:
    def batch(i: int) -> Any:
        parts = keras.utils.unpack_x_y_sample_weight(x[i])
        # TensorFlow uses the memory of arrays that a generator yields for its own, and
        # writes its results there: it must not be the caller's.
        parts = map_tensors(np.array, parts)
        return keras.tree.lists_to_tuples(keras.utils.pack_x_y_sample_weight(*parts))

    example = keras.tree.map_structure(tf.convert_to_tensor, batch(0))
    spec = keras.tree.map_structure(
        lambda leaf: tf.TensorSpec((None, *leaf.shape[1:]), leaf.dtype), example
    )
    return tf.data.Dataset.from_generator(
        lambda: map(batch, range(x.num_batches)), output_signature=spec
    )


def _has_weight(parts: tuple) -> bool:
    """Returns whether a row has a weight that is not 0."""
    weights = [w for w in keras.tree.flatten(parts[2:]) if w is not None]
    return not weights or any(np.any(np.asarray(weight)) for weight in weights)


def _num_rows(parts: tuple) -> int:
    """Returns the number of rows that x, y and weights have in common."""
    shapes = [
        (name + "".join(f"[{key!r}]" for key in keys), tuple(np.shape(leaf)))
        for name, part in zip(_NAMES, parts)
        for keys, leaf in keras.tree.flatten_with_path(part)
        if leaf is not None
    ]
    for name, shape in shapes:
        if not shape:
            raise ValueError(
                f"{name} must be an array with rows along its first axis, received a single "
                "value. Lists stand for several inputs: pass numpy.array(...)."
            )
    if len({shape[0] for _, shape in shapes}) > 1:
        raise ValueError(
            "x, y and sample_weight need the same number of rows, received shapes "
            f"{', '.join(f'{name} {shape}' for name, shape in shapes)}."
        )
    return shapes[0][1][0]
