"""Checks of arrays of data."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import shown

# Strings, bytes, dates and times.
_NO_NUMBERS = "SUMm"


def check_finite(must: str, name: str, array: np.ndarray, first_row: int = 0) -> None:
    """Raises an error with the first inf or NaN of an array.

    Args:
        must: Begins the message.
        name: Of the array.
        array: The array.
        first_row: Number of its first row, where it is one of several batches.
    """
    is_float = np.issubdtype(array.dtype, np.floating)
    _check_entries(must, name, array, np.isfinite(array) if is_float else True, first_row)


def _check_entries(
    must: str, name: str, array: np.ndarray, good: Any, first_row: int
) -> None:
    if np.all(good):
        return
    place = np.argwhere(~good)[0]
    shifted = tuple(int(i) + first_row * (axis == 0) for axis, i in enumerate(place))
    raise ValueError(f"{must}, but {name}[{shifted}] is {array[tuple(place)]}.")


def check_array(name: str, array: Any, first_row: int = 0, strings: bool = False) -> None:
    """Raises an error if an array is not dense, real, finite, or has no entries.

    Args:
        name: What it is called; weights of rows must not be negative.
        array: The array, or None.
        first_row: Number of its first row, where it is one of several batches.
        strings: Whether it may be of strings.
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
            f"{name} must be real, received {array.dtype}: pass its real and imaginary "
            "parts as two arrays, or as columns."
        )
    # A single string raises the error of a scalar.
    words = array.dtype.kind in _NO_NUMBERS and array.ndim
    if array.dtype == object or array.dtype.names or words:
        raise TypeError(
            f"{name} must be arrays of numbers or a dataset, received {received}. Of a generator "
            "make arrays, or a tf.data.Dataset by from_generator: it is read many times."
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}.")
    check_finite(f"{name} must be finite", name, array, first_row)
    if name == "sample_weight":
        must = (
            f"{name} must be 0 or more, since a loss with a negative weight has no minimum"
        )
        _check_entries(must, name, array, array >= 0, first_row)
