"""The axis of the samples in each tensor, and operations that mix samples.

A tensor has an axis of the samples where its entries at index i depend on sample i alone.
Functions here say so of the outputs of an operation, from the axes of its inputs; None is
a tensor that depends on no sample.
"""

from collections.abc import Sequence

import tensorflow as tf

from keras_smooth.operations.program import Program, layer_of
from keras_smooth.operations.rows import WITHOUT_VALUES, row

Axes = Sequence[int | None]


class MixedError(Exception):
    """An error that says that an operation mixes samples, or may mix them."""

    def __init__(self, operation: tf.Operation) -> None:
        super().__init__(f"{operation.type} in {layer_of(operation)}")
        self.operation = operation


def axes_of_samples(program: Program, axes: Axes) -> list[int | None]:
    """Returns the axis of the samples in each output of a program.

    Args:
        program: What is computed.
        axes: Those of its inputs.

    Raises:
        MixedError: If an operation mixes samples, or it cannot be told whether it does.
    """
    known = dict(zip(program.inputs, axes, strict=True))
    for operation, inputs, outputs, _ in program.instructions:
        given = [known[name] for name in inputs]
        known.update(zip(outputs, _of_outputs(operation, given, program)))
    return [known[name] for name in program.outputs]


def _of_outputs(operation: tf.Operation, axes: list, program: Program) -> list:
    number = len(operation.outputs)
    if operation.type in WITHOUT_VALUES or all(axis is None for axis in axes):
        return [None] * number
    known = row(operation.type)
    if known is None or known.samples is None:
        raise MixedError(operation)
    try:
        axes_of_outputs = known.samples(operation, axes, program)
    # Nothing is known of a tensor of unknown rank.
    except (IndexError, TypeError, ValueError):
        axes_of_outputs = NotImplemented
    if axes_of_outputs is NotImplemented:
        raise MixedError(operation)
    return (
        axes_of_outputs if isinstance(axes_of_outputs, list) else [axes_of_outputs] * number
    )
