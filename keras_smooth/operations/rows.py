"""A row of the table of operations, and the table itself."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

Rule = Callable
Class = float | None


@dataclasses.dataclass(frozen=True)
class Row:
    """Facts on one kind of operation of TensorFlow.

    Args:
        kind: Its name, as in `tf.Operation.type`.
        jet: How it carries jets: `rule(operation, *inputs)` with the inputs of the
            operation, of which those that depend on x are jets. It returns a value, or a
            list with one for each output.
        exact: Whether the primal of the rule is computed by the operation itself; that of
            other rules is replaced by what the operation computes.
        smoothness: k of the class C^k on the open domain, -1 where it jumps, None where
            nothing is known; or a function that gives it from the operation and from
            whether each of its inputs moves.
        at_edge: k of the class C^k at the edge of the domain, where the function is finite
            there; or such a function.
        breakpoints: `breakpoints(operation, *inputs)` returns real tensors that are 0 where
            pieces meet, and whose sign tells the side. None where there are no pieces.
        domain: `domain(operation, *inputs)` returns tensors that are positive inside the
            open domain. None where the function is defined everywhere.
        tapes_right_to: The highest order up to which TensorFlow's own derivatives are
            right, 0 where it has none, infinity where they are to the third, to which they
            are compared; or a function that gives it from the operation and from whether
            each of its inputs moves.
        wrong_at: `wrong_at(operation, *inputs)` returns a tensor that is 0 where TensorFlow's
            derivatives above that order are wrong. None where they may be wrong everywhere.
        left_out: Pairs of an input and an output between which TensorFlow has no
            gradient.
        program: How control flow runs: `run(operation, inputs, bodies, evaluate)`, for
            inputs with and without jets. None for other operations.
        samples: Which axis of its outputs is that of the samples, from those of its
            inputs; None where it is not known whether it mixes samples.
    """

    kind: str
    jet: Rule | None = None
    exact: bool = False
    smoothness: Class | Callable[..., Class] = math.inf
    at_edge: Class | Callable[..., Class] = math.inf
    breakpoints: Callable[..., list[tf.Tensor]] | None = None
    domain: Callable[..., list[tf.Tensor]] | None = None
    tapes_right_to: float | Callable[..., float] = math.inf
    wrong_at: Callable[..., tf.Tensor] | None = None
    left_out: tuple[tuple[int, int], ...] = ()
    program: Callable | None = None
    samples: Callable | None = None


# Operations that depend on the shape of an input only, where no derivative is lost.
WITHOUT_VALUES = frozenset(
    "OnesLike Rank Shape ShapeN Size TensorListElementShape TensorListLength "
    "ZerosLike".split()
)

_rows: dict[str, Row] = {}


def add(kinds: str, jet: Rule | None = None, **columns: object) -> None:
    """Adds a row for each of some kinds, which are separated by spaces."""
    for kind in kinds.split():
        samples = _rows[kind].samples if kind in _rows else None
        _rows[kind] = Row(kind, jet, samples=samples, **columns)  # type: ignore[arg-type]


def add_column(kinds: str, **columns: object) -> None:
    """Adds a fact to the rows of some kinds; a kind without a row gets one."""
    for kind in kinds.split():
        known = _rows.get(kind, Row(kind, smoothness=None))
        _rows[kind] = dataclasses.replace(known, **columns)  # type: ignore[arg-type]


def row(kind: str) -> Row | None:
    """Returns the row of a kind of operation."""
    return _rows.get(kind)


def tapes_right_to(operation: Any, moving: Sequence[bool]) -> float:
    """Returns the order up to which TensorFlow's own derivatives of an operation are right.

    Args:
        operation: A traced operation.
        moving: For each of its inputs whether it depends on x.
    """
    known = row(operation.type)
    right_to = math.inf if known is None else known.tapes_right_to
    return right_to(operation, moving) if callable(right_to) else right_to


def is_number(dtype: tf.DType) -> bool:
    """Returns whether numbers of a dtype are real or complex."""
    return dtype.is_floating or dtype.is_complex


def is_smooth(dtype: tf.DType) -> bool:
    """Returns whether numbers of a dtype can have derivatives: integers have none."""
    return is_number(dtype) or dtype == tf.variant


def smoothness(
    operation: tf.Operation, moving: Sequence[bool], at_edges: bool = False
) -> Class:
    """Returns k of the class C^k of an operation.

    Args:
        operation: A traced operation.
        moving: For each of its inputs whether it depends on x.
        at_edges: Whether the edges of its domain count where it is finite there.

    Returns:
        k; -1 where it jumps, as what an integer or a boolean decides that moves; None where
        the table does not know.
    """
    pairs = zip(operation.inputs, moving, strict=True)
    if any(moves and not is_smooth(x.dtype) for x, moves in pairs):
        return -1
    known = row(operation.type)
    if known is None:
        return None
    columns = [known.smoothness, known.at_edge] if at_edges else [known.smoothness]
    return least(c(operation, moving) if callable(c) else c for c in columns)


def least(classes: Iterable[Class]) -> Class:
    """Returns the smoothness of a composition: the smallest, or None if any is unknown."""
    smallest = math.inf
    for k in classes:
        if k is None:
            return None
        smallest = min(smallest, k)
    return smallest


def all_rows() -> Iterable[Row]:
    """Returns the table."""
    return tuple(_rows.values())
