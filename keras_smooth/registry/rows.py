"""The rows of the table of functions and layers, and the table itself."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Hashable
from typing import Any

from keras_smooth.operations import recognition
from keras_smooth.operations.recognition import Recognizable
from keras_smooth.operations.registered import Facts
from keras_smooth.operations.rows import Class


@dataclasses.dataclass(frozen=True)
class Row:
    """Facts about a function or a class of layers that its operations do not show.

    Args:
        subject: The function or the layer class.
        smoothness: k of the class C^k: -1 for a jump, 0 for ReLU, `math.inf` for tanh, None
            if the operations show it. A callable returns it from the parameters of the
            function, or from the layer.
        jet: A rule for jets, `rule(*args, **parameters)`, if its operations have none.
        tapes_right_to: The highest order up to which nested tapes are right.
        breakpoints: The points at which the pieces of the function join, for the default
            parameters; for a function that mixes numbers, the values of t at which it is not
            smooth along (t, -t).
        reason: The fault at the breakpoints, the end of a sentence that begins with the name.
        mixes: Whether an output depends on several numbers, as that of a softmax does.
        recommended: Whether error messages and reports recommend the function.
        kinds: Some kinds of its operations, separated by spaces, by which a call of the function
            is recognized in a user's own code. If empty, it is not recognized.
        integers: The positions of its arguments that are integers, if it is recognized.
    """

    subject: Any  # hashable
    smoothness: Class | Callable[..., Class] = None
    jet: Callable | None = None
    tapes_right_to: float = math.inf
    breakpoints: tuple[float, ...] = ()
    reason: str = ""
    mixes: bool = False
    recommended: bool = False
    kinds: str = ""
    integers: tuple[int, ...] = ()

    def facts(self, *layer: Any, **parameters: Any) -> Facts:
        """Returns the facts about the function with some parameters, or about a layer."""
        k, rule = self.smoothness, self.jet
        if callable(k):
            k = k(*layer, **parameters)
        if rule is not None and parameters:
            rule = functools.partial(rule, **parameters)
        return Facts(rule, self.tapes_right_to, k)


_rows: dict[Hashable, Row] = {}


_versions: list[None] = []


def version() -> int:
    """Returns a number that increases whenever a fact is registered."""
    return len(_versions)


def changed() -> None:
    """Increases the version, so that stored readings and traces are not used any more."""
    _versions.append(None)


def add(row: Row) -> None:
    """Adds a row, or replaces the one of its subject."""
    _rows[row.subject] = row
    if row.kinds:
        kinds = frozenset(row.kinds.split())
        recognition.add(Recognizable(row.subject, row.facts(), kinds, row.integers))
    changed()


def change(subject: Hashable, **columns: Any) -> None:
    """Changes some columns of a row, or adds the row."""
    add(dataclasses.replace(row(subject) or Row(subject), **columns))


def all_rows() -> tuple[Row, ...]:
    """Returns all rows of the table."""
    return tuple(_rows.values())


_aliases: dict[Callable, Callable] = {}


def add_alias(alias: Callable, function: Callable) -> None:
    """Registers a function that computes the same as a function in the table."""
    _aliases[alias] = function


def row(subject: Any) -> Row | None:
    """Returns the row of a function, of a function with parameters or of a layer class."""
    try:
        alias, parameters = unbound(subject)
        subject = _aliases.get(alias, alias)
        # The alias may have other names of parameters, which the row does not know.
        if (
            subject is not alias
            and parameters.keys() - inspect.signature(subject).parameters
        ):
            return None
        return _rows.get(subject)
    except TypeError:
        return None


def unbound(function: Any) -> tuple[Any, dict]:
    """Returns a function without its fixed parameters, and these parameters.

    Parameters are fixed by `keras_smooth.activations.partial` or `functools.partial`.
    """
    if isinstance(function, functools.partial) and not function.args:
        inner, parameters = unbound(function.func)
        return inner, {**parameters, **function.keywords}
    return getattr(function, "function", function), getattr(function, "parameters", {})
