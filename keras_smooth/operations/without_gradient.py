"""Inputs of operations by which TensorFlow has no gradient.

Nested tapes leave out such an input without an error where another path leads from x as well.
"""

from collections.abc import Collection, Sequence

import tensorflow as tf

from keras_smooth.operations import rows
from keras_smooth.operations.lifting import listed, run
from keras_smooth.operations.program import signature

_known: dict[tuple, frozenset[int]] = {}


def tapes_right_to(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns the order up to which TensorFlow's own derivatives of an operation are right.

    Args:
        operation: A traced operation.
        moving: For each of its inputs whether it depends on x.

    Returns:
        The order, 0 where they leave out an input that depends on x.
    """
    pairs = zip(operation.inputs, moving, strict=True)
    moved = {
        place for place, (x, moves) in enumerate(pairs) if moves and rows.is_number(x.dtype)
    }
    if moved and moved.intersection(_left_out(operation)):
        return 0
    return rows.tapes_right_to(operation)


def _left_out(operation: tf.Operation) -> Collection[int]:
    """Returns the places of the inputs by which there is no gradient.

    What has a rule for jets has them in its row, since measuring takes some milliseconds.
    """
    row = rows.row(operation.type)
    if row is not None and row.jet is not None:
        return row.no_gradient_by
    key = operation.type, tuple(x.dtype for x in operation.inputs)
    if key not in _known:
        try:
            _known[key] = measured(operation)
        # What TensorFlow cannot derive, or run by itself, is told where it is derived.
        except Exception:
            _known[key] = frozenset()
    return _known[key]


def measured(operation: tf.Operation) -> frozenset[int]:
    """Returns the same as TensorFlow has it."""
    no_numbers = not any(rows.is_number(y.dtype) for y in operation.outputs)
    if no_numbers or signature(operation).function is None:
        return frozenset()
    numbers = [place for place, x in enumerate(operation.inputs) if rows.is_number(x.dtype)]

    def gradients(*tensors: tf.Tensor) -> list:
        inputs = list(map(_constant, operation.inputs))
        for place, tensor in zip(numbers, tensors, strict=True):
            inputs[place] = tensor
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = [y for y in listed(run(operation, inputs)) if rows.is_number(y.dtype)]
        return tape.gradient(outputs, tensors)

    specifications = [tf.TensorSpec.from_tensor(operation.inputs[n]) for n in numbers]
    traced = tf.function(gradients, autograph=False).get_concrete_function(*specifications)
    rows_of_all = traced.structured_outputs
    left_out = (n for n, each in zip(numbers, rows_of_all, strict=True) if each is None)
    return frozenset(left_out)


def _constant(tensor: tf.Tensor) -> tf.Tensor:
    """Returns an integer or another input that is no number, by which nothing is derived."""
    value = tf.get_static_value(tensor)
    if value is not None:
        return tf.constant(value)
    return tf.zeros([size or 1 for size in tensor.shape], tensor.dtype)
