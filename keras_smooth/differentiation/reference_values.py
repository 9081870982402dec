"""Exact values of y, y', y'' for comparison, from arrays, tables or functions of the user."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import real_array, shown
from keras_smooth.differentiation.operators import derivatives
from keras_smooth.differentiation.tasks import names
from keras_smooth.models import calls, checked_inputs
from keras_smooth.models.own_call import is_built

# An array, or a structure of arrays for several inputs or outputs.
Entry = Any


def point_arrays(x: Entry) -> Entry:
    """Returns points as arrays.

    Raises:
        TypeError: If they hold no floats.
        ValueError: If there are no points, or a number is not finite.
    """
    inputs = _structure_of_arrays("`x`", x, _input_array)
    leaves = keras.tree.flatten(inputs)
    if not any(_is_float(leaf) for leaf in leaves):
        raise TypeError(
            "`x` must hold floats to take derivatives by, received "
            f"{', '.join(str(leaf.dtype) for leaf in leaves) or 'nothing'}. Convert them, for "
            "example with x.astype('float64')."
        )
    for leaf in leaves:
        if leaf.ndim == 0 or leaf.size == 0:
            raise ValueError(
                "`x` must be points of shape (batch, ...), at least one; received shape "
                f"{leaf.shape}."
            )
    return inputs


def reference_values(reference: Any, x: Entry, order: int) -> list[Entry]:
    """Returns the exact y, y', ... at points, after checking their shapes.

    Args:
        reference: A function; or arrays as a tuple, as a mapping with the keys "y", "dy",
            "d2y", ..., or as a table with such columns.
        x: The points, arrays.
        order: Number of derivatives.

    Raises:
        TypeError: If `reference` is none of these, or does not hold real numbers.
        ValueError: If a derivative is missing, is not finite or is of another shape.
    """
    if isinstance(reference, keras.layers.Layer) and not is_built(reference):
        raise ValueError(
            f"`reference`: {reference.name!r} is not built and knows nothing yet. Pass exact "
            "arrays or a function, or build and train it first."
        )
    if callable(reference):
        checked_inputs.check_callable(reference, "`reference`")
        entries = _values_of_function(reference, x, order)
    else:
        entries = _entries(reference, order)
    values = [
        _structure_of_arrays(f"`reference`, {n},", e) for n, e in zip(names(order), entries)
    ]
    _check_shapes(values, x, order)
    return values


def aligned(name: str, exact: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Returns exact values in the shape of the model's; axes of length 1 may be missing.

    Raises:
        ValueError: If any other axis differs.
    """
    # (batch,) and (batch, 1) would broadcast to (batch, batch) silently.
    if _sizes_without_ones(exact.shape) != _sizes_without_ones(value.shape):
        raise ValueError(
            f"`reference`: {name} has shape {exact.shape}, but the model's has shape "
            f"{value.shape}. See keras_smooth.derivatives for the shapes."
        )
    return exact.reshape(value.shape)


def _values_of_function(function: Callable, x: Entry, order: int) -> Sequence[Entry]:
    x = keras.tree.map_structure(
        lambda array: tf.constant(array.astype("float64") if _is_float(array) else array), x
    )
    # NumPy functions raise an error in a graph. In eager mode their derivatives would be lost.
    compiled = tf.function(
        lambda x: calls.without_side_effects(derivatives, function, x, order),
        autograph=False,
    )
    try:
        # Without `get_concrete_function`, TensorFlow would count retraces and warn of them.
        values = compiled.get_concrete_function(x)(x)
    except ValueError as error:
        raise ValueError(f"`reference`: {error}") from error
    except (AttributeError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise TypeError(
            "`reference`: the derivatives of the function cannot be taken. It must be made "
            "of keras.ops, such as keras.ops.exp in the place of np.exp or math.exp; or "
            f"pass the exact arrays. ({reason})"
        ) from error
    if not all(np.isfinite(leaf).all() for leaf in keras.tree.flatten(values)):
        raise ValueError(
            "`reference`: a derivative of the function is not finite at some of the points. "
            "Of x**n TensorFlow has none beyond the n-th at 0: write keras.ops.square(x) or "
            "x * x."
        )
    return values


def _entries(reference: Any, order: int) -> Sequence[Entry]:
    expected = names(order)
    is_dict = isinstance(reference, Mapping)
    keys = reference if is_dict else getattr(reference, "columns", None)
    if keys is not None:
        # A table of pandas or polars may have further columns.
        surplus = set(keys) - set(expected) if is_dict else ()
        if surplus or not set(expected) <= set(keys):
            raise ValueError(_number_message(order, ", ".join(map(str, keys))))
        return [reference[n] if is_dict else np.asarray(reference[n]) for n in expected]
    is_array = isinstance(reference, np.ndarray) and reference.ndim > 0
    is_text = isinstance(reference, str | bytes)
    if not (is_array or isinstance(reference, Sequence)) or is_text:
        raise TypeError(
            "`reference` must be a function, or arrays as a tuple, a dict or a table; "
            f"received {shown(reference)}."
        )
    if len(reference) != order + 1:
        raise ValueError(_number_message(order, str(len(reference))))
    return list(reference)


def _number_message(order: int, received: str) -> str:
    return (
        f"`reference`: order={order} needs {order + 1} exact arrays "
        f"({', '.join(names(order))}), received {received}."
    )


def _input_array(what: str, values: Any) -> np.ndarray:
    """Returns an input as an array. Booleans and text are held fixed, and not checked."""
    name = getattr(getattr(values, "dtype", None), "name", "")
    is_held_fixed = name.startswith(("bool", "str", "bytes"))
    return np.asarray(values) if is_held_fixed else _finite_array(what, values)


def _finite_array(what: str, values: Any) -> np.ndarray:
    array = real_array(what, values)
    num_wrong = array.size - np.count_nonzero(np.isfinite(array))
    if num_wrong:
        raise ValueError(f"{what} must be finite, but {num_wrong} of its numbers are not.")
    return array


def _structure_of_arrays(
    what: str, structure: Entry, array: Callable = _finite_array
) -> Entry:
    """Returns a structure of real and finite arrays."""
    if isinstance(structure, list | tuple) and not checked_inputs.is_structure(structure):
        return array(what, structure)
    return keras.tree.map_structure(lambda leaf: array(what, leaf), structure)


def _is_float(array: np.ndarray) -> bool:
    # NumPy does not count bfloat16, which TensorFlow adds, as a float.
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _check_shapes(entries: list[Entry], x: Entry, order: int) -> None:
    if keras.tree.is_nested(x) or any(map(keras.tree.is_nested, entries)):
        return  # The shapes are compared with those of the model later.
    sample = x.shape[1:] if x[0].size > 1 else ()
    for k, (name, entry) in enumerate(zip(names(order), entries)):
        shape = (len(x), *entries[0].shape[1:], *(k * sample))
        if _sizes_without_ones(entry.shape) != _sizes_without_ones(shape):
            raise ValueError(
                f"`reference`: {name} has shape {entry.shape}, but at x of shape {x.shape} "
                f"and with y of shape {entries[0].shape} it must be {shape}."
            )


def _sizes_without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
