"""The inputs with respect to which derivatives are computed, and their dtype."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.checks import shown
from keras_smooth.models.checked_inputs import Input, listed


def places(inputs: list[Input], wrt: Any) -> tuple[int, ...]:
    """Returns the indices of the moving inputs, in the order of x."""
    if wrt is None:
        for each in inputs:
            if not each.is_float and each.expected is not None and each.expects_floats:
                raise TypeError(_no_floats(each))
        chosen = [
            i for i, each in enumerate(inputs) if each.is_float and each.expects_floats
        ]
        if not chosen:
            raise TypeError(_no_floats(inputs[0]))
        return tuple(chosen)
    several = isinstance(wrt, (list, tuple, set, frozenset))
    chosen = [_place(inputs, name) for name in (wrt if several else [wrt])]
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"`wrt` must name each input once, at least one; received {shown(wrt)}."
        )
    for place in chosen:
        if not inputs[place].is_float:
            raise TypeError(_no_floats(inputs[place]))
    return tuple(sorted(chosen))


def _place(inputs: list[Input], name: Any) -> int:
    """Returns the index of an input from its name or index."""
    if isinstance(name, str):
        return _place_of_name(inputs, name)
    if not isinstance(name, bool):
        try:
            place = operator.index(name)
        except TypeError:
            raise TypeError(
                f"`wrt` must be names or places of inputs, received {shown(name)}."
            ) from None
        if 0 <= place < len(inputs):
            return place
    raise ValueError(_no_input(inputs, name))


def _place_of_name(inputs: list[Input], name: str) -> int:
    """Returns the place of an input by its key in x, or else by the name of its tensor."""
    keys = [each.name for each in inputs]
    names = [getattr(each.expected, "name", None) for each in inputs]
    for known in (keys, names):
        if known.count(name) == 1:
            return known.index(name)
    choices = [key for key in keys if str(key).startswith(f"{name}/")]
    if name in keys or name in names:
        choices = list(range(len(inputs)))
    if choices:
        raise ValueError(
            f"`wrt`: {name!r} names several inputs. Name one, or several in a list, of "
            f"{listed(choices)}."
        )
    raise ValueError(_no_input(inputs, name))


def _no_input(inputs: list[Input], name: Any) -> str:
    known = listed(each.name for each in inputs)
    return f"`wrt` names no input: received {shown(name)}, the inputs are {known}."


def _no_floats(each: Input) -> str:
    begin = f"The points must be floats to take derivatives, but {each.word} holds"
    if each.tensor.dtype == tf.string:
        return f"{begin} text. Name the inputs to differentiate by with wrt=."
    return (
        f"{begin} {each.tensor.dtype.name}. Convert them, for example with "
        "x.astype('float64'), or name the inputs to differentiate by with wrt=."
    )


def cast(model: Callable, inputs: list[Input], moving: Sequence[int]) -> list[tf.Tensor]:
    """Returns the tensors, with floats cast to the dtype of the model's weights."""
    dtype = weights_dtype(model)
    if dtype is not None:
        return [
            tf.cast(each.tensor, dtype) if each.is_float and each.expects_floats
            else each.tensor
            for each in inputs
        ]  # fmt: skip
    # Without weights: one dtype for all that move, the widest.
    widest = max((inputs[place].tensor.dtype for place in moving), key=lambda d: d.size)
    return [
        tf.cast(each.tensor, widest) if place in moving else each.tensor
        for place, each in enumerate(inputs)
    ]


def weights_dtype(model: Callable) -> str | None:
    """Returns the dtype of a model's weights, None if it has none."""
    # Not model.dtype, which is float32 for a Sequential model of float64 layers.
    dtypes = (weight.dtype for weight in getattr(model, "weights", []))
    return next((dtype for dtype in dtypes if dtype.startswith(("float", "bfloat"))), None)
