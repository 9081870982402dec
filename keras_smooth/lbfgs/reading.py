"""What users pass as data, checked and read into tensors or a dataset of batches."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import shown
from keras_smooth.lbfgs.class_weights import weighted
from keras_smooth.lbfgs.data import Data, ObjectivePoints
from keras_smooth.lbfgs.finite import first_non_finite
from keras_smooth.lbfgs.micro_batches import map_tensors
from keras_smooth.models.calls import cast_to

# Strings, bytes, dates and times.
_NO_NUMBERS = "SUMm"


@dataclasses.dataclass(frozen=True)
class Reading:
    """How data is read.

    Args:
        dtype: What floating-point data is cast to.
        batch_size: With a dataset, the rows to hold in memory at a time, or None for all.
        class_weight: Weights by class, or None.
        strings: Whether x may have arrays of strings.
    """

    dtype: str
    batch_size: int | None = None
    class_weight: Mapping[int, float] | None = None
    strings: bool = False

    def check(self, name: str, array: Any, first_row: int = 0) -> None:
        """Raises where an array cannot be read."""
        dtype = getattr(array, "dtype", None)
        is_string = dtype == tf.string or getattr(dtype, "kind", None) in ("S", "U")
        takes_strings = self.strings and name not in ("y", "sample_weight")
        if not (takes_strings and is_string):
            _check_array(name, array, first_row)
        if name == "sample_weight" and array is not None:
            _check_not_negative(array, first_row)

    def tensors(self, parts: tuple) -> tuple:
        """Returns `(x, y, sample_weight)` as tensors."""
        tensors = cast_to(self.dtype, map_tensors(tf.convert_to_tensor, parts))
        if self.class_weight is None:
            return tensors
        return weighted(tensors, self.class_weight, self.dtype)


def read_data(x: Any, y: Any, sample_weight: Any, how: Reading) -> Data:
    """Returns checked data.

    Args:
        x: Inputs: an array, a list or dict of arrays, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`.
        y: Targets, None with a dataset.
        sample_weight: Weights of the samples, None with a dataset.
        how: What is made of them.

    Raises:
        ValueError: If data is empty, endless, not finite or not in batches, or if numbers
            of rows differ.
        TypeError: If x is a generator, or y is given beside a dataset.
    """
    if x is None:
        raise ValueError("x is None. Pass the inputs.")
    if not _is_dataset(x):
        return _of_arrays((x, y, sample_weight), how)
    if y is not None or sample_weight is not None:
        raise TypeError(
            f"Received x of class {type(x).__name__} and y or sample_weight beside it. "
            "A dataset yields tuples (x, y) or (x, y, sample_weight)."
        )
    _check_ends(x)
    _check_first(x)
    if how.batch_size is None:
        return _of_arrays(_joined(x), how)
    dataset = _as_dataset(x).map(
        lambda *batch: how.tensors(keras.utils.unpack_x_y_sample_weight(batch))
    )
    dataset = dataset.rebatch(how.batch_size).prefetch(tf.data.AUTOTUNE)
    num_rows, num_batches = _counted(dataset, how)
    # Keras warns of every end that it was not told of.
    known = tf.data.experimental.assert_cardinality(num_batches)
    return Data(dataset.apply(known), num_rows)


def read_points(x: Any, how: Reading, name: str = "x") -> ObjectivePoints:
    """Returns the checked points of an objective.

    Args:
        x: Arrays in any nest, which may have different numbers of rows.
        how: How they are read.
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
            "at once: pass arrays, in any nest."
        )
    for leaf in keras.tree.flatten(x):
        if not hasattr(leaf, "shape"):
            raise TypeError(
                f"With `objective`, {name} must be arrays in a nest of dicts, lists or "
                f"tuples, received {shown(leaf)} in it. Pass numpy.array(...)."
            )
        how.check(name, leaf)
    tensors = map_tensors(tf.convert_to_tensor, x)
    return ObjectivePoints((cast_to(how.dtype, tensors), None, None))


def _is_dataset(x: Any) -> bool:
    return isinstance(x, (tf.data.Dataset, keras.utils.PyDataset))


def read_validation(data: Any, how: Reading) -> Data | None:
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
        return read_data(x, y, sample_weight, how)
    except ValueError as error:
        raise ValueError(f"In validation_data: {error}") from error


def _of_arrays(parts: tuple, how: Reading) -> Data:
    for name, part in zip(("x", "y", "sample_weight"), parts):
        for array in keras.tree.flatten(part):
            how.check(name, array)
    tensors = how.tensors(parts)
    num_rows = _common_num_rows(tensors)
    _check_counts(_counts(tensors))
    return Data(tensors, num_rows)


def _check_ends(x: tf.data.Dataset | keras.utils.PyDataset) -> None:
    if isinstance(x, keras.utils.PyDataset):
        endless = x.num_batches is None
    else:
        endless = int(x.cardinality()) == tf.data.INFINITE_CARDINALITY
    if endless:
        raise ValueError(
            "The dataset is endless, but a full-batch fit needs all of it for every step. "
            "Leave out .repeat(), or cut it with .take(n)."
        )


def _check_first(x: tf.data.Dataset | keras.utils.PyDataset) -> None:
    first = next(_elements(x), None)
    if first is None:
        raise ValueError("The dataset is empty.")
    try:
        _common_num_rows(keras.utils.unpack_x_y_sample_weight(first))
    except ValueError as error:
        raise ValueError(
            f"In the first batch of the dataset: {error} A dataset yields batches: see "
            "tf.data.Dataset.batch."
        ) from error


def _elements(x: tf.data.Dataset | keras.utils.PyDataset) -> Iterator:
    """Returns what a dataset yields, once."""
    if isinstance(x, keras.utils.PyDataset):
        return (x[i] for i in range(x.num_batches))
    return iter(x)


def _joined(x: tf.data.Dataset | keras.utils.PyDataset) -> tuple:
    parts = [keras.utils.unpack_x_y_sample_weight(element) for element in _elements(x)]
    for part in parts:
        _common_num_rows(part)
    return keras.tree.map_structure(
        lambda *leaves: None if leaves[0] is None else tf.concat(leaves, axis=0), *parts
    )


def _as_dataset(x: tf.data.Dataset | keras.utils.PyDataset) -> tf.data.Dataset:
    if isinstance(x, tf.data.Dataset):
        return x

    def batch(i: int) -> Any:
        parts = keras.utils.unpack_x_y_sample_weight(x[i])
        # TensorFlow takes the memory of arrays that a generator yields for its own, and
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


def _counted(dataset: tf.data.Dataset, how: Reading) -> tuple[int, int]:
    """Checks every batch, and returns the numbers of rows and of batches."""
    num_rows = num_batches = 0
    counts = False
    for batch in dataset:
        for name, part in zip(("x", "y", "sample_weight"), batch):
            for array in keras.tree.flatten(part):
                how.check(name, array, num_rows)
        num_rows += _common_num_rows(batch)
        num_batches += 1
        counts = counts or _counts(batch)
    if num_rows == 0:
        raise ValueError("The dataset is empty.")
    _check_counts(counts)
    return num_rows, num_batches


def _counts(parts: tuple) -> bool:
    """Returns whether a row has a weight that is not 0."""
    weights = [w for w in keras.tree.flatten(parts[2:]) if w is not None]
    return not weights or any(np.any(np.asarray(weight)) for weight in weights)


def _check_counts(counts: bool) -> None:
    if not counts:
        raise ValueError(
            "The weights of all rows are 0, by `sample_weight` or `class_weight`, so that "
            "there is nothing to fit. Give some rows a weight above 0."
        )


def _check_not_negative(array: Any, first_row: int) -> None:
    array = np.asarray(array)
    # What is no number, or one for all rows, is refused with the other arrays.
    if not array.ndim or array.dtype.kind not in "iuf" or not np.any(array < 0):
        return
    place = [int(i) for i in np.argwhere(array < 0)[0]]
    value = array[tuple(place)]
    place[0] += first_row
    raise ValueError(
        f"`sample_weight` must be 0 or more, but sample_weight[{tuple(place)}] is {value}: "
        "a loss with a negative weight has no minimum."
    )


def _common_num_rows(parts: tuple) -> int:
    named = [
        (name, tuple(np.shape(leaf)))
        for name, part in zip(("x", "y", "sample_weight"), parts)
        for leaf in keras.tree.flatten(part)
        if leaf is not None
    ]
    for name, shape in named:
        if not shape:
            raise ValueError(
                f"{name} must be an array with rows along its first axis, received a single "
                "value. Lists stand for several inputs: pass numpy.array(...)."
            )
    if len({shape[0] for _, shape in named}) > 1:
        shapes = ", ".join(f"{name} {shape}" for name, shape in named)
        raise ValueError(
            "x, y and sample_weight need the same number of rows, received shapes "
            f"{shapes}."
        )
    return named[0][1][0]


def _check_array(name: str, array: Any, first_row: int = 0) -> None:
    if array is None:
        return
    if keras.backend.is_keras_tensor(array):
        raise TypeError(f"{name} must be arrays of numbers, received {shown(array)}.")
    if isinstance(array, tf.SparseTensor | tf.RaggedTensor) or hasattr(array, "tocsr"):
        raise TypeError(
            f"{name} must be dense arrays, received a {type(array).__name__}: pass "
            f"{name}.toarray(), or {name}.to_tensor(), or tf.sparse.to_dense({name})."
        )
    array = np.asarray(array)
    if array.dtype.kind == "c":
        raise TypeError(
            f"{name} must be real, received {array.dtype}: pass its real and imaginary "
            "parts as two arrays, or as columns."
        )
    # A single word is refused for having no rows.
    words = array.dtype.kind in _NO_NUMBERS and array.ndim
    if array.dtype == object or array.dtype.names or words:
        raise TypeError(
            f"{name} must be arrays of numbers or a dataset, received {array!r:.80}."
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}.")
    place = first_non_finite(array)
    if place is None:
        return
    value = array[place]
    place = tuple(i + first_row * (axis == 0) for axis, i in enumerate(place))
    raise ValueError(f"{name} must be finite, but {name}[{place}] is {value}.")
