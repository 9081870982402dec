"""Functions of keras.ops that are smoother than their operations show.

A rule for jets is `rule(*args)` with the arguments of the function, in which tensors that depend
on x are jets. If it returns NotImplemented, the rules of the operations are used.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.operations.lifting import same_rank
from keras_smooth.registry.rows import Class, Row, add

# Keras uses log(2) in float32 for every dtype.
_LOG_2 = float(np.float32(math.log(2.0)))


def celu(x: Jet, alpha: float = 1.0) -> Jet:
    """CELU, without the exponential of positive numbers, which may overflow."""
    negative = jet.where(x.primal > 0, 0.0, x)
    return jet.where(x.primal > 0, x, alpha * jet.expm1(negative * (1.0 / alpha)))


def _binary_rule(function: Callable) -> Callable:
    """Returns the rule of a function of two jets of the same rank, whose entries broadcast."""

    def rule(x1: Any, x2: Any) -> Any:
        # Numbers become tensors of Keras' default dtype, as in the function.
        xs = (x if isinstance(x, Jet) else ops.convert_to_tensor(x) for x in (x1, x2))
        return function(*same_rank(*xs))

    return rule


def _logaddexp(x1: Jet, x2: Jet) -> Jet:
    """log(exp(x1) + exp(x2)), without |x1 - x2|, at whose kink nested tapes are wrong."""
    # With the larger one in front, no digits cancel.
    is_larger = x1.primal > x2.primal
    larger, smaller = jet.where(is_larger, x1, x2), jet.where(is_larger, x2, x1)
    return larger + jet.softplus(smaller - larger)


def _logaddexp2(x1: Jet, x2: Jet) -> Jet:
    return _logaddexp(x1 * _LOG_2, x2 * _LOG_2) / _LOG_2


def _ldexp(x1: Any, x2: Any) -> Any:
    """x1 * 2^x2; TensorFlow's derivative at x1 = 0 is 1, which is wrong."""
    if isinstance(x2, Jet):
        return NotImplemented
    factor = ops.power(ops.cast(2.0, x1.dtype), ops.cast(x2, x1.dtype))
    x1, factor = same_rank(x1, factor)
    return x1 * factor


def _hypot(x1: Jet, x2: Jet) -> Jet:
    """The root of the sum of squares, without |x1| and |x2|, at whose kinks tapes are wrong.

    At its own kink, where both are 0, derivatives are 0, as those of TensorFlow.
    """
    size = tf.maximum(tf.abs(x1.primal), tf.abs(x2.primal))
    is_zero = size == 0
    # Squares of numbers that are divided by the larger one do not overflow.
    scale = tf.where(is_zero, tf.ones_like(size), size)
    squares = jet.square(x1 / scale) + jet.square(x2 / scale)
    return scale * jet.sqrt(jet.where(is_zero, 1.0, squares)) * tf.cast(~is_zero, x1.dtype)


def _add(name: str, smoothness: Class, **columns: Any) -> None:
    """Adds the row of a function, if this Keras has it."""
    if function := getattr(ops, name, None):
        add(Row(function, smoothness=smoothness, **columns))


_add(
    "logaddexp",
    math.inf,
    jet=_binary_rule(_logaddexp),
    tapes_right_to=0,
    kinds="Log1p Abs Maximum IsNan",
)
_add("hypot", 0, jet=_binary_rule(_hypot), tapes_right_to=1, kinds="Abs DivNoNan Sqrt")
_add(
    "logaddexp2",
    math.inf,
    jet=_binary_rule(_logaddexp2),
    tapes_right_to=0,
    kinds="Log1p Abs Maximum IsNan",
)
_add(
    "ldexp",
    math.inf,
    jet=_ldexp,
    tapes_right_to=0,
    kinds="IsInf Pow LogicalOr",
    integers=(1,),
)
_add(
    "sinc",
    math.inf,
    jet=lambda x: jet.elementwise(jet.sinc, x),
    tapes_right_to=0,
    kinds="Sin Equal RealDiv",
)
# The operations subtract the maximum and add it again, which cancels.
_add("logsumexp", math.inf)
# The operations multiply the sign of x, which jumps at 0, by the root of |x|, which is 0 there.
_add("cbrt", 0, kinds="Sign Abs Pow")
# The function is the identity for finite numbers.
_add("nan_to_num", math.inf, kinds="IsNan IsInf")


def _softplus(ramp: Callable, logarithm: Callable) -> Callable:
    """Returns the softplus as a sum of a ramp and a logarithm."""
    return lambda x: ramp(x) + logarithm(ops.exp(-ops.abs(x)))


def _logaddexp_by_softplus(x1: Any, x2: Any) -> Any:
    return ops.maximum(x1, x2) + ops.softplus(-ops.abs(x1 - x2))


_RAMPS = {"Maximum": lambda x: ops.maximum(x, 0.0), "Relu": ops.relu}
_LOGARITHMS = {"Log1p": ops.log1p, "Log": lambda x: ops.log(1.0 + x)}
# As people write them, and TensorFlow Probability.
for (_ramp, _f), (_logarithm, _g) in itertools.product(_RAMPS.items(), _LOGARITHMS.items()):
    add(
        Row(
            _softplus(_f, _g),
            math.inf,
            jet=jet.softplus,
            tapes_right_to=0,
            kinds=f"{_ramp} {_logarithm} Exp Abs",
        )
    )
add(
    Row(
        _logaddexp_by_softplus,
        math.inf,
        jet=_binary_rule(_logaddexp),
        tapes_right_to=0,
        kinds="Maximum Softplus Abs",
    )
)
