"""Whether an array can be used as data."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import shown

# Strings, bytes, dates and times.
_NO_NUMBERS = "SUMm"


def first_non_finite(array: np.ndarray, first_row: int = 0) -> tuple[tuple, Any] | None:
    """Returns the first place of an inf or NaN and the value there, or None if there is none.

    Args:
        array: The array.
        first_row: Number of its first row, where it is one of several batches.
    """
    if not np.issubdtype(array.dtype, np.floating) or np.all(np.isfinite(array)):
        return None
    return _first(~np.isfinite(array), array, first_row)


def _first(mask: np.ndarray, array: np.ndarray, first_row: int) -> tuple[tuple, Any]:
    place = np.argwhere(mask)[0]
    shifted = tuple(int(i) + first_row * (axis == 0) for axis, i in enumerate(place))
    return shifted, array[tuple(place)]


def check_not_negative(array: Any, first_row: int = 0) -> None:
    """Raises an error if a weight of a row is negative.

    An array without numbers, or a single number, is refused with the other arrays.
    """
    array = np.asarray(array)
    if array.ndim and array.dtype.kind in "iuf" and np.any(array < 0):
        place, value = _first(array < 0, array, first_row)
        raise ValueError(
            f"`sample_weight` must be 0 or more, but sample_weight[{place}] is {value}: "
            "a loss with a negative weight has no minimum."
        )


def check_array(name: str, array: Any, first_row: int = 0) -> None:
    """Raises an error if an array is not dense, real, finite, or has no entries."""
    if array is None:
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
    # A single word is refused for having no rows.
    words = array.dtype.kind in _NO_NUMBERS and array.ndim
    if array.dtype == object or array.dtype.names or words:
        raise TypeError(
            f"{name} must be arrays of numbers or a dataset, received {received}. Of a generator "
            "make arrays, or a tf.data.Dataset by from_generator: it is read many times."
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty: it has shape {array.shape}.")
    if non_finite := first_non_finite(array, first_row):
        place, value = non_finite
        raise ValueError(f"{name} must be finite, but {name}[{place}] is {value}.")
