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
        jet: The rule for jets, `rule(operation, *inputs)`. Inputs that depend on x are jets.
            It returns the output, or a list if there are several outputs.
        exact: Whether the rule computes the primal by the operation itself. If not, the
            primal is replaced by the output of the operation.
        smoothness: k of the class C^k on the open domain, -1 if it jumps, None if unknown;
            or `smoothness(operation, moving)`, which returns it. `moving` has for each
            input whether it moves, that is depends on x.
        at_edge: k of the class C^k at the edge of the domain, if the function is finite
            there; or such a function.
        breakpoints: `breakpoints(operation, *inputs)` returns signed distances: real tensors
            that are 0 at breakpoints. None if there are no breakpoints.
        domain: `domain(operation, *inputs)` returns tensors that are positive inside the
            open domain. None if the function is defined everywhere.
        tapes_right_to: The highest order up to which TensorFlow's own derivatives are
            right: 0 if it has none, infinity if the tests, which compare orders 1 to 3, find
            no error; or `tapes_right_to(operation, moving)`, which returns it.
        wrong_at: `wrong_at(operation, *inputs)` returns a tensor that is 0 at the points where
            TensorFlow's derivatives above that order are wrong. None if they may be wrong
            at every point.
        left_out: Pairs of the positions of an input and an output, if TensorFlow has no
            gradient of this output with respect to this input.
        control_flow: `control_flow(operation, inputs, bodies, evaluate)` runs an operation
            with bodies on tensors and jets. None for other operations.
        sample_axes: `sample_axes(operation, axes, program)` returns the axis of the samples
            in each output, from those in its inputs. None if it may mix samples.
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
    control_flow: Callable | None = None
    sample_axes: Callable | None = None


# Kinds whose outputs depend on the shapes of inputs only, so that all derivatives are 0.
OF_SHAPES_ONLY = frozenset(
    "OnesLike Rank Shape ShapeN Size TensorListElementShape TensorListLength "
    "ZerosLike".split()
)

_rows: dict[str, Row] = {}


def add(kinds: str, jet: Rule | None = None, **columns: object) -> None:
    """Adds the same row for several kinds, whose names are separated by spaces."""
    for kind in kinds.split():
        sample_axes = _rows[kind].sample_axes if kind in _rows else None
        _rows[kind] = Row(kind, jet, sample_axes=sample_axes, **columns)  # type: ignore[arg-type]


def add_column(kinds: str, **columns: object) -> None:
    """Sets columns in the rows of several kinds. A kind without a row gets one."""
    for kind in kinds.split():
        before = _rows.get(kind, Row(kind, smoothness=None))
        _rows[kind] = dataclasses.replace(before, **columns)  # type: ignore[arg-type]


def row(kind: str) -> Row | None:
    """Returns the row of a kind of operation."""
    return _rows.get(kind)


def tapes_right_to(operation: Any, moving: Sequence[bool]) -> float:
    """Returns the order up to which TensorFlow's own derivatives of an operation are right.

    Args:
        operation: A traced operation.
        moving: For each of its inputs whether it depends on x.
    """
    table_row = row(operation.type)
    right_to = math.inf if table_row is None else table_row.tapes_right_to
    return right_to(operation, moving) if callable(right_to) else right_to


def is_inexact(dtype: tf.DType) -> bool:
    """Returns whether a dtype is one of real or complex floating-point numbers."""
    return dtype.is_floating or dtype.is_complex


def is_empty(tensor: tf.Tensor) -> bool:
    """Returns whether a traced tensor is known to have no entries, so that it cannot move."""
    return tensor.shape.rank is not None and 0 in tensor.shape.as_list()


def is_differentiable(dtype: tf.DType) -> bool:
    """Returns whether tensors of a dtype can have derivatives, unlike integers.

    A tf.variant may hold a list of floating-point tensors.
    """
    return is_inexact(dtype) or dtype == tf.variant


def smoothness(
    operation: tf.Operation, moving: Sequence[bool], at_edges: bool = False
) -> Class:
    """Returns k of the class C^k of an operation.

    Args:
        operation: A traced operation.
        moving: For each of its inputs whether it depends on x.
        at_edges: Whether the edges of its domain count where it is finite there.

    Returns:
        k; -1 if it jumps, or if an input of integers or booleans moves; None if it is
        unknown.
    """
    pairs = zip(operation.inputs, moving, strict=True)
    if any(moves and not is_differentiable(x.dtype) for x, moves in pairs):
        return -1
    table_row = row(operation.type)
    if table_row is None:
        return None
    columns = [table_row.smoothness]
    if at_edges:
        columns.append(table_row.at_edge)
    return smallest_class(c(operation, moving) if callable(c) else c for c in columns)


def smallest_class(classes: Iterable[Class]) -> Class:
    """Returns the smoothness of a composition: the smallest, or None if any is unknown."""
    known: list = list(classes)
    return None if None in known else min([math.inf, *known])


def all_rows() -> Iterable[Row]:
    """Returns all rows of the table."""
    return tuple(_rows.values())
