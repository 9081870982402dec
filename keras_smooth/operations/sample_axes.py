"""The axis of the samples in each tensor of a program, and operations that mix samples.

A tensor has an axis of the samples if its entries at index i of this axis depend on sample i alone.
The axis is None if the tensor depends on no sample. A reshape can merge this axis with its
neighbors, as a dense layer does with the steps of sequences. What treats the entries of a merged
axis separately also treats the samples separately.

Each function of the column `sample_axes` of the table, in table/sample_axes.py, returns the axis in
the outputs of some kinds of operations, from the axes in the inputs, not all of which are None. It
raises an error if the operation mixes samples or may mix them.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from keras_smooth.operations.program import Program, layer_path
from keras_smooth.operations.rows import OF_SHAPES_ONLY, is_empty, row


class MergedAxis(NamedTuple):
    """An axis of the samples that a reshape has merged with other axes.

    Args:
        axis: The axis.
        outer: The number of entries, along the merged axes before that of the samples.
        inner: The number along the merged axes after it.
    """

    axis: int
    outer: int
    inner: int


Axis = int | MergedAxis | None
# A function of the column treats a merged axis like one of samples; see `of_merged`.
Axes = Sequence[int | None]


def merged(axis: int, outer: int, inner: int) -> int | MergedAxis:
    """Returns an axis that is merged with others of these numbers of entries, if not 1."""
    return axis if outer == inner == 1 else MergedAxis(axis, outer, inner)


class MixedError(Exception):
    """An operation mixes samples, or may mix them."""

    def __init__(self, operation: tf.Operation) -> None:
        super().__init__(f"{operation.type} in {layer_path(operation)}")
        self.operation = operation


def axes_of_samples(program: Program, axes: Sequence[Axis]) -> list[Axis]:
    """Returns the axis of the samples in each output of a program.

    Args:
        program: The program.
        axes: The axis of the samples in each of the first inputs; the others depend on none.

    Raises:
        MixedError: If an operation mixes samples, or it is not known whether it does.
    """
    axis_by_name = dict.fromkeys(program.inputs) | dict(zip(program.inputs, axes))
    for operation, inputs, outputs, _ in program.instructions:
        pairs = zip(operation.inputs, inputs)
        input_axes = [None if is_empty(x) else axis_by_name[name] for x, name in pairs]
        axis_by_name.update(zip(outputs, _axes_of_outputs(operation, input_axes, program)))
    return [axis_by_name[name] for name in program.outputs]


def _axes_of_outputs(operation: tf.Operation, axes: list, program: Program) -> list:
    number = len(operation.outputs)
    if operation.type in OF_SHAPES_ONLY or all(axis is None for axis in axes):
        return [None] * number
    table_row = row(operation.type)
    if table_row is None or table_row.sample_axes is None:
        raise MixedError(operation)
    try:
        result = table_row.sample_axes(operation, axes, program)
    # A tensor of unknown rank or size also leads to one of these errors.
    except (ArithmeticError, IndexError, TypeError, ValueError):
        raise MixedError(operation) from None
    return result if isinstance(result, list) else [result] * number


def of_merged(function: Callable) -> Callable:
    """Returns a function of the column that also accepts merged axes.

    What does not mix the entries of a merged axis keeps their order.
    """

    @functools.wraps(function)
    def axes_of_outputs(
        operation: tf.Operation, axes: Sequence[Axis], program: Program
    ) -> Any:
        ((outer, inner),) = {as_merged(axis)[1:] for axis in axes if axis is not None}
        indices = [None if axis is None else as_merged(axis).axis for axis in axes]
        result = function(operation, indices, program)

        def within(axis: Axis) -> Axis:
            """Returns the axis of the samples, from that of the entries of a merged axis."""
            if axis is None:
                return None
            index, more_outer, more_inner = as_merged(axis)
            return merged(index, outer * more_outer, inner * more_inner)

        return list(map(within, result)) if isinstance(result, list) else within(result)

    return axes_of_outputs


def as_merged(axis: int | MergedAxis) -> MergedAxis:
    """Returns an axis as a merged one."""
    return axis if isinstance(axis, MergedAxis) else MergedAxis(axis, 1, 1)
