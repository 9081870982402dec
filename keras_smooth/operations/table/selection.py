"""Piecewise operations: maxima, clipping, selection, and jumps."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import map_entries
from keras_smooth.jet.entries import times
from keras_smooth.operations.breakpoints import integer_distance, nonzero_integer_distance
from keras_smooth.operations.lifting import full_jet, run, run_primals, same_rank
from keras_smooth.operations.rows import add, add_column
from keras_smooth.operations.table.arithmetic import binary_rule, quotient_domain
from keras_smooth.operations.table.functions import itself, unary_rule


def _piecewise_linear(slope: Callable) -> Callable:
    """Returns the rule of a piecewise linear function, from its slope at each number."""

    def rule(operation: tf.Operation, x: Jet) -> Jet:
        factor = tf.cast(slope(operation, x.primal), x.dtype)
        y = run(operation, [x.primal])
        return x.like(y, [times(value, factor) for value in x.series])

    return rule


def _leaky_slope(operation: tf.Operation, x: tf.Tensor) -> tf.Tensor:
    return tf.where(x > 0, tf.ones_like(x), operation.get_attr("alpha") * tf.ones_like(x))


def _leaky_class(operation: tf.Operation, moving: Sequence[bool]) -> float:
    return math.inf if operation.get_attr("alpha") == 1.0 else 0


_KINK_AT_0 = {"exact": True, "smoothness": 0, "breakpoints": itself}
# The slope at a kink is that of TensorFlow's own gradient.
add("Relu", _piecewise_linear(lambda operation, x: x > 0), **_KINK_AT_0)
add("Relu6", _piecewise_linear(lambda operation, x: (x > 0) & (x < 6)), **_KINK_AT_0)
add_column("Relu6", breakpoints=lambda operation, x: [x, x - 6.0])
add("Abs", _piecewise_linear(lambda operation, x: tf.sign(x)), **_KINK_AT_0)
add(
    "LeakyRelu",
    _piecewise_linear(_leaky_slope),
    **_KINK_AT_0 | {"smoothness": _leaky_class},
)


def _exponential(x: Jet, factor: float = 1.0) -> Jet:
    """Returns factor (exp(x) - 1) for negative x, and 0 for others, where exp may overflow."""
    return factor * jet.expm1(jet.where(x.primal > 0, tf.zeros_like(x.primal), x))


def _elu(x: Jet) -> Jet:
    return jet.where(x.primal >= 0, x, _exponential(x))


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _selu(x: Jet) -> Jet:
    return _SELU_SCALE * jet.where(x.primal >= 0, x, _exponential(x, _SELU_ALPHA))


add("Elu", unary_rule(_elu), smoothness=1, breakpoints=itself)
add("Selu", unary_rule(_selu), smoothness=0, breakpoints=itself)


def _difference(operation: tf.Operation, x: tf.Tensor, y: tf.Tensor) -> list:
    return [x - y]


# Saturating casts clip at this number, the largest of float32.
_LARGEST = float(np.finfo("float32").max)


def _extremum_class(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns 0, a kink, unless the held inputs are constants of at least the largest float32."""
    pairs = zip(operation.inputs, moving, strict=True)
    held = [tf.get_static_value(x) for x, moves in pairs if not moves]
    is_far = [v is not None and np.all(np.abs(v) >= _LARGEST) for v in held]
    return math.inf if is_far and all(is_far) else 0


_EXTREMUM = {"smoothness": _extremum_class, "breakpoints": _difference}
add("Maximum", binary_rule(lambda x, y: jet.where(x.primal >= y.primal, x, y)), **_EXTREMUM)
add("Minimum", binary_rule(lambda x, y: jet.where(x.primal <= y.primal, x, y)), **_EXTREMUM)


def _clip(operation: tf.Operation, x: Any, low: Any, high: Any) -> Jet:
    x, low, high = same_rank(x, low, high)
    upper = jet.where(x.primal > high.primal, high, x)
    return jet.where(x.primal < low.primal, low, upper)


add("ClipByValue", _clip, smoothness=_extremum_class)
add_column("ClipByValue", breakpoints=lambda operation, x, low, high: [x - low, x - high])


def _select(operation: tf.Operation, condition: tf.Tensor, x: Any, y: Any) -> Jet:
    x, y = same_rank(x, y, least=condition.shape.rank)
    if operation.type == "Select" and condition.shape.rank == 1:
        # Select, the first version of the operation, selects rows by a vector.
        condition = tf.reshape(condition, [-1] + [1] * (x.shape.rank - 1))
    return jet.where(condition, x, y)


# A selection jumps if its condition depends on x, see `rows.smoothness`.
add("Select SelectV2", _select)


def _remainder(quotients: Callable) -> Callable:
    """Returns the rule of x - y q(x / y), where q rounds to an integer."""
    return binary_rule(lambda x, y: x - y * quotients(x.primal / y.primal))


def _multiples_distance(distance: Callable) -> Callable:
    """Returns the distance of x from multiples of y, from that of x / y from integers."""
    return lambda operation, x, y: [distance(x / y) * tf.abs(y)]


_TO_FLOOR = {
    "smoothness": -1,
    "breakpoints": _multiples_distance(integer_distance),
    "domain": quotient_domain,
}
_TO_ZERO = {**_TO_FLOOR, "breakpoints": _multiples_distance(nonzero_integer_distance)}
add("FloorMod", _remainder(tf.floor), **_TO_FLOOR)
add("Mod TruncateMod", _remainder(lambda q: tf.sign(q) * tf.floor(tf.abs(q))), **_TO_ZERO)


def _constant(operation: tf.Operation, *inputs: Any) -> Any:
    """The rule of an operation that is constant near almost every point."""
    return run_primals(operation, inputs)


add("OnesLike ZerosLike", _constant, exact=True)
_STEPS = {"exact": True, "smoothness": -1}
add(
    "FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel "
    "QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4",
    _constant,
    **_STEPS,
)
add("NextAfter", lambda operation, x, y: x)
add("Sign", _constant, **_STEPS, breakpoints=itself)
add("Ceil Floor", _constant, **_STEPS, breakpoints=lambda o, x: [integer_distance(x)])
add("Rint Round", _constant, **_STEPS, breakpoints=lambda o, x: [integer_distance(x + 0.5)])
add("FloorDiv", _constant, exact=True, **_TO_FLOOR)
add("TruncateDiv", _constant, exact=True, **_TO_ZERO)


# Operations that return integers or booleans have no jets, and those that use them jump.
def _from_boundaries(operation: tf.Operation, x: tf.Tensor) -> list:
    return [x - boundary for boundary in operation.get_attr("boundaries")]


def _from_sorted(operation: tf.Operation, boundaries: tf.Tensor, x: tf.Tensor) -> list:
    return [x[:, :, None] - boundaries[:, None, :]]


_COMPARISONS = "Equal Greater GreaterEqual Less LessEqual NotEqual"
add(_COMPARISONS, smoothness=-1, breakpoints=_difference)
add("Bucketize", smoothness=-1, breakpoints=_from_boundaries)
add("LowerBound UpperBound", smoothness=-1, breakpoints=_from_sorted)
# These are constant near every point.
add("IsFinite IsInf IsNan")


def _largest_entries(operation: tf.Operation, x: Jet, k: Any) -> list:
    """The rule of the k largest numbers along the last axis, which are gathered by index."""
    values, indices = run(operation, [x.primal, k])
    rank = x.shape.rank

    def gathered(v: tf.Tensor) -> tf.Tensor:
        tiled = tf.broadcast_to(indices, tf.concat([tf.shape(v)[:1], tf.shape(indices)], 0))
        return tf.gather(v, tiled, batch_dims=rank)

    return [map_entries(full_jet(x), values, gathered), indices]


def _gaps_of_largest(operation: tf.Operation, x: tf.Tensor, k: tf.Tensor) -> list:
    """Returns the difference between each of the k largest numbers and the next one."""
    ordered = tf.sort(x, direction="DESCENDING")
    return [ordered[..., :-1][..., :k] - ordered[..., 1:][..., :k]]


add("TopKV2", _largest_entries, exact=True, smoothness=0, breakpoints=_gaps_of_largest)
