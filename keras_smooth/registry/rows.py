"""A row of the table, and the table itself."""

import dataclasses
import math
from collections.abc import Callable, Hashable, Iterable

Class = float | None


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of one activation function, layer class or operation.

    Args:
        subject: The function or the layer class.
        smoothness: k of the class C^k: -1 for a jump, 0 for ReLU, `math.inf` for
            tanh, None for unknown. A callable gives it from the parameters of the
            function, or from the layer.
        slope: f'(0), or a callable that gives it from the parameters. None: there is
            none, or the function mixes several numbers.
        jet: How it carries jets: `rule(x, **parameters)` of a function,
            `rule(layer, *args, **kwargs)` of a layer. None: nested tapes do it.
        joints: The points at which the pieces of the function meet, with the default
            parameters; of a function of several numbers, those t at which it is not
            smooth along (t, -t).
        reason: What happens at the joints, as the second half of a sentence that
            begins with the name.
        mixes: Whether an output depends on more numbers than one.
        recommended: Whether error messages and reports recommend it.
        examples: Parameters with which the tests hold the columns to numbers.
    """

    subject: Hashable
    smoothness: Class | Callable[..., Class] = None
    slope: float | None | Callable[..., float | None] = None
    jet: Callable | None = None
    joints: tuple[float, ...] = ()
    reason: str = ""
    mixes: bool = False
    recommended: bool = False
    examples: tuple[dict, ...] = ({},)


_rows: dict[Hashable, Row] = {}


def add(row: Row) -> None:
    """Adds a row, or replaces the one of its subject."""
    _rows[row.subject] = row


def change(subject: Hashable, **columns) -> None:
    """Gives a row other values in some columns; there need not have been one."""
    add(dataclasses.replace(_rows.get(subject, Row(subject)), **columns))


def all_rows() -> tuple[Row, ...]:
    """Returns the table."""
    return tuple(_rows.values())


def row(subject: object) -> Row | None:
    """Returns the row of a function, of a function with parameters or of a layer class."""
    try:
        return _rows.get(getattr(subject, "function", subject))
    except TypeError:
        return None


def least(classes: Iterable[Class]) -> Class:
    """Returns the smoothness of a composition: the least, unknown if any is unknown."""
    classes = list(classes)
    return None if None in classes else min(classes, default=math.inf)
