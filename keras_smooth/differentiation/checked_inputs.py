"""What every operator asks of its model and of x: one way, one set of messages."""

import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.models import sample_inputs


@dataclasses.dataclass(frozen=True)
class Input:
    """One of the arrays in x.

    Args:
        name: Its key in x, or the name of the model's input, or its place.
        word: What messages call it.
        tensor: Its values.
        expected: What a model with known inputs expects there, else None.
    """

    name: str | int
    word: str
    tensor: tf.Tensor
    expected: keras.KerasTensor | None

    @property
    def is_float(self) -> bool:
        return self.tensor.dtype.is_floating

    @property
    def expects_floats(self) -> bool:
        return self.expected is None or "float" in self.expected.dtype


def check_callable(model: object) -> None:
    """Raises if a model cannot be called on points yet."""
    if not callable(model):
        raise TypeError(f"Expected a model, a layer or a function, received {model!r}.")
    if isinstance(model, keras.Model) and not model.built:
        raise ValueError(
            f"The model {model.name!r} is not built: it has no weights yet. Give it an "
            "Input, or call it once on data."
        )


def is_structure(x) -> bool:
    """Returns whether x is a structure of several arrays; lists of numbers are one."""
    return keras.tree.is_nested(x) and not all(
        isinstance(leaf, (int, float)) for leaf in keras.tree.flatten(x)
    )


def inputs(model: Any, x: Any) -> list[Input]:
    """Returns the arrays in x, which fit the model."""
    nested = is_structure(x)
    flat = keras.tree.flatten(x) if nested else [x]
    expected = _expected(model, x, flat, nested)
    names = _names(x, flat, expected)
    found = []
    for name, leaf, tensor in zip(names, flat, expected, strict=True):
        word = f"x[{name!r}]" if nested else "x"
        found.append(Input(name, word, _tensor(word, leaf), tensor))
    _check_shapes(model, found)
    return found


def _expected(model: Any, x: Any, flat: list, nested: bool) -> list:
    """Returns what a model says of its inputs, in the order of x; None where it does not."""
    known = getattr(model, "inputs", None) if isinstance(model, keras.Model) else None
    if not known:
        spec = getattr(model, "input_spec", None)
        if isinstance(spec, keras.layers.InputSpec) and len(flat) > 1:
            raise ValueError(
                f"The layer {model.name!r} takes one input, received {len(flat)}."
            )
        return [None] * len(flat)
    if not isinstance(x, dict):
        if len(flat) != len(known):
            raise ValueError(_number_of_inputs(model, known, len(flat)))
        return list(known)
    by_name = {tensor.name: tensor for tensor in known}
    # A Sequential model that was not called has no `input`.
    structure = getattr(model, "input", None)
    by_key = structure if isinstance(structure, dict) else by_name
    if set(x) != set(by_key):
        raise ValueError(
            f"The model {model.name!r} takes the inputs {_listed(by_key)}, received a dict "
            f"with {_listed(x)}: none may be missing and none left over."
        )
    return [by_key[key] for key in keras.tree.flatten({key: key for key in x})]


def _number_of_inputs(model: keras.Model, known: list, number: int) -> str:
    names = _listed(tensor.name for tensor in known)
    return (
        f"The model {model.name!r} takes {len(known)} "
        f"{'input' if len(known) == 1 else 'inputs'} ({names}), received {number}. Give "
        "several as a list or a dict of arrays."
    )


def _listed(names) -> str:
    return ", ".join(map(repr, names))


def _names(x, flat: list, expected: list) -> list:
    if isinstance(x, dict) and len(x) == len(flat):
        return keras.tree.flatten({key: key for key in x})
    if None not in expected:
        return [tensor.name for tensor in expected]
    return list(range(len(flat)))


def outline(structure) -> str:
    """Returns a structure of tensors with their shapes, for messages."""
    return repr(
        keras.tree.map_structure(lambda tensor: str(tuple(tensor.shape)), structure)
    )


def numbers(word: str, value) -> tf.Tensor:
    """Returns a tensor of what is no complex number.

    Raises:
        TypeError: If it is none.
    """
    if value is None:
        raise TypeError(f"{word} is None; expected an array.")
    sample_inputs.check_dense(word, value)
    try:
        tensor = tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{word} is no array: {str(error).splitlines()[0]}") from None
    if tensor.dtype.is_complex:
        raise TypeError(
            f"{word} holds {tensor.dtype.name}; derivatives are taken by real numbers. Give "
            "the real and the imaginary part apart."
        )
    if tensor.dtype.is_floating and tf.executing_eagerly():
        _check_finite(word, tensor)
    return tensor


def _tensor(word: str, leaf) -> tf.Tensor:
    tensor = numbers(word, leaf)
    if tensor.shape.rank == 0 or 0 in tensor.shape:
        raise ValueError(
            f"Expected points of shape (batch, ...) with at least one point, received "
            f"{word} of shape {tuple(tensor.shape)}."
        )
    return tensor


def _check_finite(word: str, tensor: tf.Tensor) -> None:
    finite = tf.math.is_finite(tensor)
    if not tf.reduce_all(finite):
        place = [int(i) for i in np.argwhere(~finite.numpy())[0]]
        value = float(tensor.numpy()[tuple(place)])
        raise ValueError(f"{word} must be finite, but is {value} at {place}.")


def _check_shapes(model: Any, found: list[Input]) -> None:
    for part in found:
        shape = part.tensor.shape
        if part.expected is not None:
            if not shape[1:].is_compatible_with(part.expected.shape[1:]):
                raise ValueError(
                    f"The model {model.name!r} expects points of shape "
                    f"{part.expected.shape} for {part.expected.name!r}, received {part.word} "
                    f"of shape {tuple(shape)}."
                )
    sizes = {part.word: part.tensor.shape[0] for part in found}
    if len(set(sizes.values()) - {None}) > 1:
        raise ValueError(
            "All inputs must have the same number of samples, received "
            + ", ".join(f"{size} of {word}" for word, size in sizes.items())
            + "."
        )
    if len(found) == 1 and found[0].expected is None:
        _check_layer(model, found[0].tensor)


def _check_layer(layer: Any, x: tf.Tensor) -> None:
    """Raises if points do not fit a layer that says what it takes."""
    for spec in keras.tree.flatten(getattr(layer, "input_spec", None)):
        if spec is not None and not _fits(spec, x.shape):
            raise ValueError(
                f"The layer {layer.name!r} expects points of {spec}, received shape "
                f"{tuple(x.shape)}."
            )


def _fits(spec: keras.layers.InputSpec, shape: tf.TensorShape) -> bool:
    if spec.ndim not in (None, shape.rank) or shape.rank < (spec.min_ndim or 0):
        return False
    return all(
        size is None or shape[axis] in (None, size)
        for axis, size in (spec.axes or {}).items()
    )


def places(found: list[Input], wrt) -> tuple[int, ...]:
    """Returns the places of the inputs that derivatives are taken by, in the order of x."""
    if wrt is None:
        for part in found:
            if not part.is_float and part.expected is not None and part.expects_floats:
                raise TypeError(_no_floats(part))
        chosen = [
            i for i, part in enumerate(found) if part.is_float and part.expects_floats
        ]
        if not chosen:
            raise TypeError(_no_floats(found[0]))
        return tuple(chosen)
    several = isinstance(wrt, (list, tuple, set, frozenset))
    chosen = [_place(found, one) for one in (wrt if several else [wrt])]
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"`wrt` must name each input once, at least one; received {wrt!r}."
        )
    for place in chosen:
        if not found[place].is_float:
            raise TypeError(_no_floats(found[place]))
    return tuple(sorted(chosen))


def _place(found: list[Input], name: Any) -> int:
    """Returns the place of an input by its name, or by its place itself."""
    for place, part in enumerate(found):
        if isinstance(name, str) and name in (
            part.name,
            getattr(part.expected, "name", None),
        ):
            return place
    if not isinstance(name, (str, bool)):
        try:
            place = operator.index(name)
        except TypeError:
            raise TypeError(
                f"`wrt` must be names or places of inputs, received {name!r}."
            ) from None
        if 0 <= place < len(found):
            return place
    known = _listed(part.name for part in found)
    raise ValueError(f"`wrt` names no input: received {name!r}, the inputs are {known}.")


def _no_floats(part: Input) -> str:
    return (
        f"The points must be floats to take derivatives, but {part.word} holds "
        f"{part.tensor.dtype.name}. Convert them, for example with x.astype('float64'), or "
        "name the inputs to differentiate by with wrt=."
    )


def cast(model: Callable, found: list[Input], moving: Sequence[int]) -> list[tf.Tensor]:
    """Returns the tensors, the floats among them in the dtype of the model's weights."""
    dtype = weights_dtype(model)
    if dtype is not None:
        return [
            tf.cast(part.tensor, dtype) if part.is_float and part.expects_floats
            else part.tensor
            for part in found
        ]  # fmt: skip
    # Without weights: one dtype for all that move, the widest.
    widest = max((found[place].tensor.dtype for place in moving), key=lambda d: d.size)
    return [
        tf.cast(part.tensor, widest) if place in moving else part.tensor
        for place, part in enumerate(found)
    ]


def weights_dtype(model: Callable) -> str | None:
    """Returns the dtype of a model's weights, None if it has none."""
    # Not model.dtype: a Sequential of float64 layers calls itself float32.
    dtypes = (weight.dtype for weight in getattr(model, "weights", []))
    return next((dtype for dtype in dtypes if dtype.startswith(("float", "bfloat"))), None)
