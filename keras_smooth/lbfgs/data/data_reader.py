"""Validates the user's data and reads it into tensors or a dataset of batches."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import shown
from keras_smooth.lbfgs.data.micro_batches import map_tensors, with_any_rows
from keras_smooth.lbfgs.data.training_data import ObjectivePoints, TrainingData
from keras_smooth.models import graph, sample_inputs
from keras_smooth.models.calls import cast_to
from keras_smooth.presentation.warn import warn

_NAMES = ("x", "y", "sample_weight")
# A dataset of unknown length with more batches than this is probably endless.
_MANY_BATCHES = 10_000
# NumPy's `dtype.kind` of bytes, strings, dates and time differences.
_KINDS_WITHOUT_NUMBERS = "SUMm"


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """Options for reading data.

    Args:
        dtype: The dtype to which floats are cast.
        batch_size: The number of rows of a dataset that are in memory at a time, or None for all.
        strings: Whether x may have arrays of strings.
    """

    dtype: str
    batch_size: int | None = None
    strings: bool = False

    def check_rows(self, data: tuple, first_row: int = 0) -> int:
        """Checks `(x, y, sample_weight)` and returns its number of rows."""
        for name, value in zip(_NAMES, data):
            for array in keras.tree.flatten(value):
                check_array(name, array, first_row, self.strings and name == "x")
        return _num_rows(data)

    def tensors(self, structure: Any) -> Any:
        """Returns a structure of arrays as tensors, with floats cast to `dtype`."""
        return cast_to(self.dtype, map_tensors(tf.convert_to_tensor, structure))


def accepts_strings(model: keras.Model) -> bool:
    """Returns whether the inputs of a model may be strings."""
    if not graph.is_graph(model):
        return True
    inputs = keras.tree.flatten(sample_inputs.of_graph(model))
    return any(tensor.dtype == "string" for tensor in inputs)


def read_data(
    x: Any, y: Any, sample_weight: Any, options: ReadOptions, class_weight: Any = None
) -> TrainingData:
    """Checks rows, and returns them as tensors or as a dataset of batches.

    Args:
        x: Inputs: an array, a list or dict of arrays, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`.
        y: Targets, None with a dataset.
        sample_weight: Weights of the samples, None with a dataset.
        options: Options of reading.
        class_weight: Weights by class, or None.

    Raises:
        ValueError: If data is empty, endless, not finite or not in batches, or if numbers
            of rows differ.
        TypeError: If x is a generator, or both a dataset and y are passed.
    """
    if x is None:
        raise ValueError("x is None. Pass the inputs.")
    if not _is_dataset(x):
        data = _read_into_memory((x, y, sample_weight), options)
    elif y is None and sample_weight is None:
        data = _read_dataset(x, options)
    else:
        raise TypeError(
            f"Received x of class {type(x).__name__} and y or sample_weight beside it. "
            "A dataset yields tuples (x, y) or (x, y, sample_weight)."
        )
    if class_weight is not None:
        data = data.map(
            lambda *parts: with_class_weights(parts, class_weight, options.dtype)
        )
    if not any(map(_has_nonzero_weight, data.batches())):
        raise ValueError(
            "The weights of all rows are 0, by `sample_weight` or `class_weight`, so that there "
            "is nothing to fit. Give some rows a weight above 0."
        )
    return data


def read_points(x: Any, options: ReadOptions, name: str = "x") -> ObjectivePoints:
    """Checks the points of an objective, and returns them as tensors.

    Args:
        x: A structure of arrays, which may have different numbers of rows.
        options: Options of reading.
        name: The name of x in messages.

    Raises:
        ValueError: If an array is empty or not finite, or x is None.
        TypeError: If x contains anything but arrays.
    """
    if x is None:
        raise ValueError(f"{name} is None. Pass the points that the objective takes.")
    for leaf in keras.tree.flatten(x):
        if not hasattr(leaf, "shape"):
            raise TypeError(
                f"With `objective`, which takes all its points at once, {name} must be arrays in "
                f"dicts, lists or tuples, received {shown(leaf)} in it. Pass numpy.array(...)."
            )
        check_array(name, leaf, strings=options.strings)
    return ObjectivePoints(options.tensors(x))


def read_validation(data: Any, options: ReadOptions) -> TrainingData:
    """Checks and reads `(x, y)`, `(x, y, sample_weight)` or a dataset.

    Raises:
        ValueError: If the data is none of these, or as in `read_data`.
    """
    if _is_dataset(data):
        parts = (data, None, None)
    elif isinstance(data, (tuple, list)) and len(data) in (2, 3):
        parts = keras.utils.unpack_x_y_sample_weight(tuple(data))
    else:
        length = f" of length {len(data)}" if isinstance(data, (tuple, list)) else ""
        raise ValueError(
            "`validation_data` must be (x, y), (x, y, sample_weight) or a dataset, received "
            f"type {type(data).__name__}{length}."
        )
    try:
        return read_data(*parts, options)
    except ValueError as error:
        raise ValueError(f"In validation_data: {error}") from error


def _is_dataset(x: Any) -> bool:
    return isinstance(x, (tf.data.Dataset, keras.utils.PyDataset))


def _read_into_memory(parts: tuple, options: ReadOptions) -> TrainingData:
    num_rows = options.check_rows(parts)
    return TrainingData(options.tensors(parts), num_rows)


def _read_dataset(x: Any, options: ReadOptions) -> TrainingData:
    """Reads a whole dataset into memory, or checks one whose batches are read in every pass."""
    cardinality = _cardinality(x)
    if cardinality == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "The dataset is endless, but a full-batch fit needs all of it for every step. Leave "
            "out .repeat(), or cut it with .take(n)."
        )
    if cardinality == 0:
        raise ValueError("The dataset is empty.")
    is_unknown = cardinality == tf.data.UNKNOWN_CARDINALITY
    dataset = x if isinstance(x, tf.data.Dataset) else _as_tensorflow_dataset(x)
    dataset = dataset.map(lambda *batch: keras.utils.unpack_x_y_sample_weight(batch))
    first = next(iter(dataset), None)
    if first is None:
        raise ValueError("The dataset is empty.")
    try:
        _num_rows(first)
    except ValueError as error:
        raise ValueError(
            f"In the first batch of the dataset: {error} A dataset yields batches: see "
            "tf.data.Dataset.batch."
        ) from error
    if options.batch_size is None:
        return _read_into_memory(
            _concatenated(list(_batches_of(dataset, is_unknown))), options
        )
    dataset = dataset.map(lambda *parts: options.tensors(parts))
    dataset = dataset.rebatch(options.batch_size).prefetch(tf.data.AUTOTUNE)
    num_rows = num_batches = 0
    for batch in _batches_of(dataset, is_unknown):
        num_rows += options.check_rows(batch, num_rows)
        num_batches += 1
    # Keras warns when a dataset of unknown cardinality ends.
    assert_num_batches = tf.data.experimental.assert_cardinality(num_batches)
    return TrainingData(dataset.apply(assert_num_batches), num_rows)


def _cardinality(x: tf.data.Dataset | keras.utils.PyDataset) -> int:
    """Returns the number of batches, or TensorFlow's number for an unknown or infinite one."""
    if isinstance(x, tf.data.Dataset):
        return int(x.cardinality())
    return tf.data.INFINITE_CARDINALITY if x.num_batches is None else x.num_batches


def _batches_of(dataset: tf.data.Dataset, is_unknown: bool) -> Iterator:
    """Yields the batches of a dataset; warns if they are many and their number is unknown."""
    for number, element in enumerate(dataset):
        if is_unknown and number == _MANY_BATCHES:
            warn(
                f"The dataset has yielded {number} batches and does not tell its length. A "
                "full-batch fit reads all of it: if it is endless, cut it with .take(n)."
            )
        yield element


def _concatenated(batches: list[tuple]) -> tuple:
    for batch in batches:
        _num_rows(batch)
    return keras.tree.map_structure(
        lambda *leaves: None if leaves[0] is None else tf.concat(leaves, axis=0), *batches
    )


def _as_tensorflow_dataset(x: keras.utils.PyDataset) -> tf.data.Dataset:
    def batch(i: int) -> Any:
        # TensorFlow reuses the memory of arrays that a generator yields, and writes its own
        # results there. So these are copies of the caller's arrays.
        parts = map_tensors(np.array, keras.utils.unpack_x_y_sample_weight(x[i]))
        return keras.tree.lists_to_tuples(keras.utils.pack_x_y_sample_weight(*parts))

    example = keras.tree.map_structure(tf.convert_to_tensor, batch(0))
    # If it contains a scalar, reading the first batch raises an error.
    return tf.data.Dataset.from_generator(
        lambda: map(batch, range(x.num_batches)),
        output_signature=keras.tree.map_structure(with_any_rows, example),
    )


def _has_nonzero_weight(parts: tuple) -> bool:
    """Returns whether a row has a weight that is not 0, or there are no weights."""
    weights = [w for w in keras.tree.flatten(parts[2:]) if w is not None]
    return not weights or any(np.any(np.asarray(weight)) for weight in weights)


def _num_rows(data: tuple) -> int:
    """Returns the number of rows that x, y and weights have in common."""
    shapes = [
        (name + "".join(f"[{key!r}]" for key in keys), tuple(np.shape(leaf)))
        for name, value in zip(_NAMES, data)
        for keys, leaf in keras.tree.flatten_with_path(value)
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


def check_finite(must: str, name: str, array: np.ndarray, first_row: int = 0) -> None:
    """Raises an error with the first inf or NaN of an array.

    Args:
        must: The beginning of the message: what the array must be.
        name: The name of the array.
        array: The array.
        first_row: The number of its first row in the whole data, if the array is one batch.
    """
    is_float = np.issubdtype(array.dtype, np.floating)
    _check_entries(must, name, array, np.isfinite(array) if is_float else True, first_row)


def _check_entries(
    must: str, name: str, array: np.ndarray, is_valid: Any, first_row: int
) -> None:
    if np.all(is_valid):
        return
    index = np.argwhere(~is_valid)[0]
    shifted = tuple(int(i) + first_row * (axis == 0) for axis, i in enumerate(index))
    raise ValueError(f"{must}, but {name}[{shifted}] is {array[tuple(index)]}.")


def check_array(name: str, array: Any, first_row: int = 0, strings: bool = False) -> None:
    """Raises an error unless an array is dense, real and finite, and has entries.

    Args:
        name: The name of the array; one named `sample_weight` must not be negative.
        array: The array, or None.
        first_row: The number of its first row in the whole data, if the array is one batch.
        strings: Whether the array may contain strings.
    """
    dtype = getattr(array, "dtype", None)
    is_string = dtype == tf.string or getattr(dtype, "kind", None) in ("S", "U")
    if array is None or (strings and is_string):
        return
    if keras.backend.is_keras_tensor(array):
        raise TypeError(f"{name} must be arrays of numbers, received {shown(array)}.")
    if isinstance(array, tf.SparseTensor | tf.RaggedTensor) or hasattr(array, "tocsr"):
        raise TypeError(
            f"{name} must be dense arrays, received a {type(array).__name__}: pass "
            f"{name}.toarray(), or {name}.to_tensor(), or tf.sparse.to_dense({name})."
        )
    received, array = shown(array), np.asarray(array)
    if array.dtype.kind == "c":
        raise TypeError(
            f"{name} must be real, received {array.dtype}: pass its real and imaginary parts as "
            "two arrays, or as columns."
        )
    # For a single string, `_num_rows` raises an error with better advice.
    has_text = array.dtype.kind in _KINDS_WITHOUT_NUMBERS and array.ndim
    if array.dtype == object or array.dtype.names or has_text:
        raise TypeError(
            f"{name} must be arrays of numbers or a dataset, received {received}. Convert it, as "
            f"by numpy.asarray({name}, float). Of a generator make arrays, or a tf.data.Dataset "
            "by from_generator: it is read many times."
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}.")
    check_finite(f"{name} must be finite", name, array, first_row)
    if name == "sample_weight" and array.dtype.kind in "iuf":
        must = (
            f"{name} must be 0 or more, since a loss with a negative weight has no minimum"
        )
        _check_entries(must, name, array, array >= 0, first_row)


def with_class_weights(
    parts: tuple, class_weight: Mapping[int, float], dtype: str
) -> tuple:
    """Returns `(x, y, sample_weight)`, where the weight of a row is that of its class.

    Args:
        parts: `(x, y, None)`; y has class numbers, `(n,)` or `(n, 1)`, or one-hot rows.
        class_weight: Weights by class, 1 for a class without one.
        dtype: The dtype of the sample weights.

    Raises:
        ValueError: If there are sample weights already, or y is not one array.
    """
    x, y, sample_weight = parts
    if sample_weight is not None:
        raise ValueError(
            "`class_weight` and `sample_weight` are given both, expected one of them: multiply "
            "the weights of rows by those of their classes."
        )
    if y is None or keras.tree.is_nested(y):
        raise ValueError(
            f"`class_weight` needs one array of targets as y, received {shown(y)}. Pass "
            "`sample_weight`, with an array for each output."
        )
    if y.shape.rank > 1 and y.shape[-1] > 1:
        labels = tf.argmax(y, axis=-1, output_type=tf.int32)
    else:
        column = y if y.shape.rank == 1 else tf.squeeze(y, axis=-1)
        labels = tf.cast(tf.round(column) if y.dtype.is_floating else column, tf.int32)
    weights = tf.ones(tf.shape(labels), dtype)
    for label, weight in class_weight.items():
        weights = tf.where(labels == label, tf.constant(weight, dtype), weights)
    return x, y, weights
