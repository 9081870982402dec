"""A row of the table of functions and layers, and the table itself."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Hashable
from typing import Any

from keras_smooth.operations.rows import Class


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of a function or a class of layers that its operations do not show.

    Args:
        subject: The function or the layer class.
        smoothness: k of the class C^k: -1 for a jump, 0 for ReLU, `math.inf` for
            tanh, None where the operations tell. A callable gives it from the
            parameters of the function, or from the layer.
        jet: A rule for jets, `rule(*args, **parameters)`, if its operations have none.
        tapes_right_to: The highest order up to which nested tapes are right.
        joints: The points at which the pieces of the function meet, with the default
            parameters; of a function of several numbers, those t at which it is not
            smooth along (t, -t).
        reason: What happens at the joints, as the second half of a sentence that
            begins with the name.
        mixes: Whether an output depends on more numbers than one.
        recommended: Whether error messages and reports recommend it.
    """

    subject: Any  # hashable
    smoothness: Class | Callable[..., Class] = None
    jet: Callable | None = None
    tapes_right_to: float = math.inf
    joints: tuple[float, ...] = ()
    reason: str = ""
    mixes: bool = False
    recommended: bool = False


_rows: dict[Hashable, Row] = {}


_versions: list[None] = []


def version() -> int:
    """Returns a number that changes with each fact that is registered."""
    return len(_versions)


def changed() -> None:
    """Notes that there is another fact: what was read before is read again."""
    _versions.append(None)


def add(row: Row) -> None:
    """Adds a row, or replaces the one of its subject."""
    _rows[row.subject] = row
    changed()


def change(subject: Hashable, **columns: Any) -> None:
    """Changes some columns of a row, or adds the row."""
    add(dataclasses.replace(row(subject) or Row(subject), **columns))


def all_rows() -> tuple[Row, ...]:
    """Returns the table."""
    return tuple(_rows.values())


_aliases: dict[Callable, Callable] = {}


def add_alias(function: Callable, known: Callable) -> None:
    """Registers a function as another name of a function in the table."""
    _aliases[function] = known


def row(subject: Any) -> Row | None:
    """Returns the row of a function, of a function with parameters or of a layer class."""
    try:
        subject, parameters = unbound(subject)
        known = _aliases.get(subject, subject)
        # TensorFlow may have another name for a parameter than Keras.
        if known is not subject and parameters.keys() - inspect.signature(known).parameters:
            return None
        return _rows.get(known)
    except TypeError:
        return None


def unbound(function: Any) -> tuple[Any, dict]:
    """Returns the function without the parameters that are fixed in it, and these.

    The parameters are those of `keras_smooth.activations.partial` or `functools.partial`.
    """
    if isinstance(function, functools.partial) and not function.args:
        inner, parameters = unbound(function.func)
        return inner, {**parameters, **function.keywords}
    return getattr(function, "function", function), getattr(function, "parameters", {})
