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
    """The rule of an operation that returns its inputs. A gradient that it declares is ignored."""
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
    """Returns the breakpoints: casts to integers round towards 0, casts to booleans test x != 0."""
    dtype = operation.get_attr("DstT")
    if is_differentiable(dtype) or not x.dtype.is_floating:
        return []
    return [x if dtype.is_bool else nonzero_integer_distance(x)]


def _bits_right_to(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns 0 for floats: their bits have no gradient, but floats may be computed from them."""
    return 0 if is_inexact(operation.inputs[0].dtype) else math.inf


def _declared_right_to(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns the order up to which a declared gradient is assumed to be the true one.

    A gradient that the author of a function declares, for example by `tf.custom_gradient`, is
    assumed to be right at order 1. The one that TensorFlow declares for x sigmoid(x), to save
    memory, is right at all orders.
    """
    if "_gradient_op_type" not in operation.node_def.attr:
        return math.inf
    producer = operation.inputs[0].op
    kinds = {x.op.type for x in producer.inputs}
    return math.inf if producer.type == "Mul" and "Sigmoid" in kinds else 1


def _stopped_right_to(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns the order up to which derivatives are assumed right although a gradient is stopped.

    A variance stops the gradient of its mean and is right at order 1. `tf.reduce_logsumexp` stops
    that of the maximum, which it subtracts and adds again: it is right at all orders.
    """
    uses = operation.outputs[0].consumers()
    shifted = [x for use in uses if use.type == "Sub" for x in _consumers(use)]
    unshifted = [x for use in uses if use.type == "Reshape" for x in _consumers(use)] + uses
    is_added = any(
        use.type == "AddV2" and any(x.op.type == "Log" for x in use.inputs)
        for use in unshifted
    )
    is_subtracted = bool(shifted) and all(use.type == "Exp" for use in shifted)
    return math.inf if is_subtracted and is_added else 1


def _consumers(operation: tf.Operation) -> list[tf.Operation]:
    return operation.outputs[0].consumers()


add(
    "CheckNumerics CheckNumericsV2 EnsureShape Identity PlaceholderWithDefault Print PrintV2 "
    "Snapshot",
    _inputs_themselves,
    exact=True,
)
# Where a model declares or stops a gradient, its derivatives are assumed to be right at order 1
# only.
add("PreventGradient", _inputs_themselves, exact=True, tapes_right_to=1)
add("StopGradient", _inputs_themselves, exact=True, tapes_right_to=_stopped_right_to)
add("IdentityN", _inputs_themselves, exact=True, tapes_right_to=_declared_right_to)
add("Bitcast SerializeTensor", smoothness=None, tapes_right_to=_bits_right_to)
add("Cast", _cast, exact=True, smoothness=_cast_class, breakpoints=_cast_breakpoints)
