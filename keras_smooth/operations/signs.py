"""Tensors that are positive, or never negative, for all inputs of a program.

For example, the domain of the square root ends at 0, which 1 + x^2 does not reach for any x.
"""

import enum
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf


class Sign(enum.IntEnum):
    """The known sign of all entries of a tensor."""

    UNKNOWN = 0
    NEVER_NEGATIVE = 1
    POSITIVE = 2


Rule = Callable[[tf.Operation, Sequence[Sign]], Sign]

# The position of the input that is 0 at the edge of the domain.
_EDGE_INPUTS = {"DivNoNan": 1, "Pow": 0, "Sqrt": 0, "Xdivy": 1, "Xlogy": 1}


def never_reaches_edge(operation: tf.Operation, signs: Mapping[str, Sign]) -> bool:
    """Returns whether it is known that no inputs reach the edge of an operation's domain.

    Args:
        operation: Any operation.
        signs: The known signs of the tensors of its program, by name.
    """
    index = _EDGE_INPUTS.get(operation.type)
    return index is not None and signs.get(operation.inputs[index].name) is Sign.POSITIVE


def sign_of_outputs(operation: tf.Operation, signs: Sequence[Sign]) -> Sign:
    """Returns the sign of the outputs of an operation, from the signs of its inputs."""
    if not operation.outputs or not operation.outputs[0].dtype.is_floating:
        return Sign.UNKNOWN
    rule = _RULES.get(operation.type)
    return _sign_of_constant(operation) if rule is None else rule(operation, signs)


def _sign_of_constant(operation: tf.Operation) -> Sign:
    value = tf.get_static_value(operation.outputs[0])
    if value is None or not np.all(value >= 0):
        return Sign.UNKNOWN
    return Sign.POSITIVE if np.all(value > 0) else Sign.NEVER_NEGATIVE


def _smallest_sign(operation: tf.Operation, signs: Sequence[Sign]) -> Sign:
    """Returns the sign of a minimum, a product of matrices or a concatenation."""
    floats = [s for x, s in zip(operation.inputs, signs) if x.dtype.is_floating]
    return min(floats)


def _sign_of_product(operation: tf.Operation, signs: Sequence[Sign]) -> Sign:
    x, y = operation.inputs
    if x is y:
        return max(signs[0], Sign.NEVER_NEGATIVE)
    return min(signs)


def _sign_of_power(operation: tf.Operation, signs: Sequence[Sign]) -> Sign:
    if signs[0] is Sign.POSITIVE:
        return Sign.POSITIVE
    exponent = tf.get_static_value(operation.inputs[1])
    is_even = exponent is not None and np.all(exponent % 2 == 0)
    return Sign.NEVER_NEGATIVE if is_even else signs[0]


# UNKNOWN is 0, hence false: `and` returns it if the sign of a term or factor is unknown.
_RULES: dict[str, Rule] = {
    kind: rule
    for kinds, rule in (
        ("Cosh Exp Erfc Sigmoid Softmax Softplus", lambda operation, signs: Sign.POSITIVE),
        (
            "EuclideanNorm L2Loss SquaredDifference",
            lambda operation, signs: Sign.NEVER_NEGATIVE,
        ),
        (
            "Abs ComplexAbs Relu Relu6 Square",
            lambda operation, signs: max(signs[0], Sign.NEVER_NEGATIVE),
        ),
        ("Add AddV2 AddN", lambda operation, signs: min(signs) and max(signs)),
        ("Mul", _sign_of_product),
        ("Div DivNoNan RealDiv", lambda operation, signs: signs[1] and signs[0]),
        ("Pow", _sign_of_power),
        ("Maximum", lambda operation, signs: max(signs)),
        ("ConcatV2 MatMul BatchMatMulV2 Minimum Pack", _smallest_sign),
        (
            "BroadcastTo Cast EnsureShape ExpandDims GatherV2 Identity Max Mean Min Prod "
            "Reciprocal Reshape Rsqrt Slice Sqrt Squeeze StopGradient StridedSlice Sum Tile "
            "Transpose",
            lambda operation, signs: signs[0],
        ),
    )
    for kind in kinds.split()
}  # fmt: skip
