"""What users pass as data, checked and read into tensors or a dataset of batches."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.data import Data
from keras_smooth.lbfgs.finite import first_non_finite
from keras_smooth.lbfgs.micro_batches import map_tensors
from keras_smooth.models.calls import cast_to


def read_data(x: Any, y: Any, sample_weight: Any, batch_size: int | None, dtype: str) -> Data:
    """Returns checked data.

    Args:
        x: Inputs: an array, a list or dict of arrays, a `tf.data.Dataset` or a
            `keras.utils.PyDataset`.
        y: Targets, None with a dataset.
        sample_weight: Weights of the samples, None with a dataset.
        batch_size: With a dataset, the rows to hold in memory at a time, or None for all.
        dtype: What floating-point data is cast to.

    Raises:
        ValueError: If data is empty, endless, not finite or not in batches, or if numbers
            of rows differ.
        TypeError: If x is a generator, or y is given beside a dataset.
    """
    if x is None:
        raise ValueError("x is None. Pass the inputs.")
    if not isinstance(x, (tf.data.Dataset, keras.utils.PyDataset)):
        return _of_arrays((x, y, sample_weight), dtype)
    if y is not None or sample_weight is not None:
        raise TypeError(
            f"Received x of class {type(x).__name__} and y or sample_weight beside it. "
            "A dataset yields tuples (x, y) or (x, y, sample_weight)."
        )
    _check_ends(x)
    _check_first(x)
    if batch_size is None:
        return _of_arrays(_joined(x), dtype)
    dataset = _as_dataset(x).map(
        lambda *batch: cast_to(dtype, keras.utils.unpack_x_y_sample_weight(batch))
    )
    dataset = dataset.rebatch(batch_size).prefetch(tf.data.AUTOTUNE)
    num_rows, num_batches = _counted(dataset)
    # Keras warns of every end that it was not told of.
    known = tf.data.experimental.assert_cardinality(num_batches)
    return Data(dataset.apply(known), num_rows)


def read_validation(data: Any, batch_size: int | None, dtype: str) -> Data | None:
    """Returns checked data from `(x, y)`, `(x, y, sample_weight)`, a dataset or None.

    Raises:
        ValueError: As `read_data`, and if it is none of these.
    """
    if data is None:
        return None
    if isinstance(data, (tuple, list)) and len(data) in (2, 3):
        parts = keras.utils.unpack_x_y_sample_weight(tuple(data))
    elif isinstance(data, (tf.data.Dataset, keras.utils.PyDataset)):
        parts = (data, None, None)
    else:
        raise ValueError(
            "`validation_data` must be (x, y), (x, y, sample_weight) or a dataset, received "
            f"a {type(data).__name__}."
        )
    try:
        return read_data(*parts, batch_size, dtype)
    except ValueError as error:
        raise ValueError(f"In validation_data: {error}") from error


def _of_arrays(parts: tuple, dtype: str) -> Data:
    for name, part in zip(("x", "y", "sample_weight"), parts):
        for array in keras.tree.flatten(part):
            _check_array(name, array)
    tensors = cast_to(dtype, map_tensors(tf.convert_to_tensor, parts))
    return Data(tensors, _common_num_rows(tensors))


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


def _counted(dataset: tf.data.Dataset) -> tuple[int, int]:
    """Checks every batch, and returns the numbers of rows and of batches."""
    num_rows = num_batches = 0
    for batch in dataset:
        for name, part in zip(("x", "y", "sample_weight"), batch):
            for array in keras.tree.flatten(part):
                _check_array(name, array, num_rows)
        num_rows += _common_num_rows(batch)
        num_batches += 1
    if num_rows == 0:
        raise ValueError("The dataset is empty.")
    return num_rows, num_batches


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
    array = np.asarray(array)
    if array.dtype == object:
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
