"""A row of the table of operations, and the table itself."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

Rule = Callable


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of one kind of operation of TensorFlow.

    Args:
        kind: Its name, as in `tf.Operation.type`.
        jet: How it carries jets: `rule(operation, *inputs)` with the inputs of the
            operation, of which those that depend on x are jets. It returns a value, or a
            list with one for each output.
        exact: Whether the primal of the rule is computed by the operation itself; that of
            other rules is replaced by what the operation computes.
        smoothness: k of the class C^k on the open domain.
        tapes_right_to: The highest order up to which TensorFlow's own derivatives are
            right, 0 where it has none; or a function that gives it from the operation.
        program: How control flow runs: `run(operation, inputs, bodies, evaluate)`, for
            inputs with and without jets. None for other operations.
        samples: Which axis of its outputs is that of the samples, from those of its
            inputs; None where it is not known whether it mixes samples.
    """

    kind: str
    jet: Rule | None = None
    exact: bool = False
    smoothness: float = math.inf
    tapes_right_to: float | Callable[..., float] = math.inf
    program: Callable | None = None
    samples: Callable | None = None


# What depends on the shape of an input alone: no derivative is lost there.
WITHOUT_VALUES = frozenset(
    "OnesLike Rank Shape ShapeN Size TensorListElementShape TensorListLength "
    "ZerosLike".split()
)

_rows: dict[str, Row] = {}


def add(kinds: str, jet: Rule | None = None, **columns: object) -> None:
    """Adds a row for each of some kinds, which are separated by blanks."""
    for kind in kinds.split():
        samples = _rows[kind].samples if kind in _rows else None
        _rows[kind] = Row(kind, jet, samples=samples, **columns)  # type: ignore[arg-type]


def add_column(kinds: str, **columns: object) -> None:
    """Adds a fact to the rows of some kinds."""
    for kind in kinds.split():
        known = _rows.get(kind, Row(kind))
        _rows[kind] = dataclasses.replace(known, **columns)  # type: ignore[arg-type]


def row(kind: str) -> Row | None:
    """Returns what is known of a kind of operation."""
    return _rows.get(kind)


def tapes_right_to(operation: Any) -> float:
    """Returns up to which order TensorFlow's own derivatives of an operation are right."""
    known = row(operation.type)
    right_to = math.inf if known is None else known.tapes_right_to
    return right_to(operation) if callable(right_to) else right_to


def all_rows() -> Iterable[Row]:
    """Returns the table."""
    return tuple(_rows.values())
