"""Operations that return their inputs: identities, casts, declared and stopped gradients."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import map_entries
from keras_smooth.operations.breakpoints import nonzero_integer_distance
from keras_smooth.operations.lifting import run
from keras_smooth.operations.rows import add, is_differentiable, is_inexact


def _inputs_themselves(operation: tf.Operation, *xs: Any) -> list:
    """The rule of an operation that returns its inputs, whatever gradient it declares."""
    return list(xs[: len(operation.outputs)])


def _cast(operation: tf.Operation, x: Jet) -> Jet:
    def cast(v: tf.Tensor) -> tf.Tensor:
        return run(operation, [v])

    return map_entries(x, cast(x.primal), cast)


def _cast_class(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns the class of a cast: smooth, except to integers, booleans and floats of 8 bits.

    The rounding of other casts does not count.
    """
    dtype = operation.get_attr("DstT")
    return math.inf if is_differentiable(dtype) and dtype.size > 1 else -1


def _cast_breakpoints(operation: tf.Operation, x: tf.Tensor) -> list:
    """A cast to integers rounds towards 0, and a cast to booleans compares with 0."""
    dtype = operation.get_attr("DstT")
    if is_differentiable(dtype) or not x.dtype.is_floating:
        return []
    return [x if dtype.is_bool else nonzero_integer_distance(x)]


def _bits_right_to(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """The bits of a number are integers, but what is computed from them may be smooth again."""
    return 0 if is_inexact(operation.inputs[0].dtype) else math.inf


def _declared_right_to(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns the order up to which a declared gradient is assumed to be the true one.

    The gradient that the author of a function declares, as by `tf.custom_gradient`, is assumed
    to be right at order 1. TensorFlow itself declares one for x sigmoid(x), to save memory; it is
    right at all orders.
    """
    if "_gradient_op_type" not in operation.node_def.attr:
        return math.inf
    maker = operation.inputs[0].op
    kinds = {each.op.type for each in maker.inputs}
    return math.inf if maker.type == "Mul" and "Sigmoid" in kinds else 1


def _stopped_right_to(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns the order up to which derivatives are assumed right although a gradient is stopped.

    A variance stops the gradient of its mean and is right at order 1. `tf.reduce_logsumexp` stops
    that of the largest number, which it subtracts and adds again: it is right at all orders.
    """
    uses = operation.outputs[0].consumers()
    within = [each for use in uses if use.type == "Sub" for each in _consumers(use)]
    again = [
        each for use in uses if use.type == "Reshape" for each in _consumers(use)
    ] + uses
    is_added = any(
        use.type == "AddV2" and any(x.op.type == "Log" for x in use.inputs) for use in again
    )
    is_within = bool(within) and all(use.type == "Exp" for use in within)
    return math.inf if is_within and is_added else 1


def _consumers(operation: tf.Operation) -> list[tf.Operation]:
    return operation.outputs[0].consumers()


add(
    "CheckNumerics CheckNumericsV2 EnsureShape Identity PlaceholderWithDefault Print PrintV2 "
    "Snapshot",
    _inputs_themselves,
    exact=True,
)
# Where a model declares or stops a gradient, as at the mean of a variance, its derivatives are
# right at order 1 if at all.
add("PreventGradient", _inputs_themselves, exact=True, tapes_right_to=1)
add("StopGradient", _inputs_themselves, exact=True, tapes_right_to=_stopped_right_to)
add("IdentityN", _inputs_themselves, exact=True, tapes_right_to=_declared_right_to)
add("Bitcast SerializeTensor", smoothness=None, tapes_right_to=_bits_right_to)
add("Cast", _cast, exact=True, smoothness=_cast_class, breakpoints=_cast_breakpoints)
