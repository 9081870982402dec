"""The inputs with respect to which derivatives are computed, and their dtype."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.checks import shown
from keras_smooth.models.checked_inputs import Input, listed


def places(found: list[Input], wrt: Any) -> tuple[int, ...]:
    """Returns the indices of the moving inputs, in the order of x."""
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
            f"`wrt` must name each input once, at least one; received {shown(wrt)}."
        )
    for place in chosen:
        if not found[place].is_float:
            raise TypeError(_no_floats(found[place]))
    return tuple(sorted(chosen))


def _place(found: list[Input], name: Any) -> int:
    """Returns the index of an input from its name or index."""
    if isinstance(name, str):
        return _place_of_name(found, name)
    if not isinstance(name, bool):
        try:
            place = operator.index(name)
        except TypeError:
            raise TypeError(
                f"`wrt` must be names or places of inputs, received {shown(name)}."
            ) from None
        if 0 <= place < len(found):
            return place
    raise ValueError(_no_input(found, name))


def _place_of_name(found: list[Input], name: str) -> int:
    """Returns the place of an input by its key in x, or else by the name of its tensor."""
    keys = [part.name for part in found]
    names = [getattr(part.expected, "name", None) for part in found]
    for known in (keys, names):
        if known.count(name) == 1:
            return known.index(name)
    choices = [key for key in keys if str(key).startswith(f"{name}/")]
    if name in keys or name in names:
        choices = list(range(len(found)))
    if choices:
        raise ValueError(
            f"`wrt`: {name!r} names several inputs. Name one, or several in a list, of "
            f"{listed(choices)}."
        )
    raise ValueError(_no_input(found, name))


def _no_input(found: list[Input], name: Any) -> str:
    known = listed(part.name for part in found)
    return f"`wrt` names no input: received {shown(name)}, the inputs are {known}."


def _no_floats(part: Input) -> str:
    begin = f"The points must be floats to take derivatives, but {part.word} holds"
    if part.tensor.dtype == tf.string:
        return f"{begin} text. Name the inputs to differentiate by with wrt=."
    return (
        f"{begin} {part.tensor.dtype.name}. Convert them, for example with "
        "x.astype('float64'), or name the inputs to differentiate by with wrt=."
    )


def cast(model: Callable, found: list[Input], moving: Sequence[int]) -> list[tf.Tensor]:
    """Returns the tensors, with floats cast to the dtype of the model's weights."""
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
    # Not model.dtype, which is float32 for a Sequential model of float64 layers.
    dtypes = (weight.dtype for weight in getattr(model, "weights", []))
    return next((dtype for dtype in dtypes if dtype.startswith(("float", "bfloat"))), None)
