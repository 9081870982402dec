"""Functions of pieces: the larger, the clipped, the chosen, and what jumps."""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import times
from keras_smooth.operations.lifting import (
    expanded,
    of_one_rank,
    primal,
    run,
    run_primals,
    whole,
)  # fmt: skip
from keras_smooth.operations.rows import add


def _straight(slope: Callable) -> Callable:
    """Returns the rule of straight pieces, from the slope at a point."""

    def rule(operation: tf.Operation, x: Jet) -> Jet:
        factor = tf.cast(slope(operation, x.primal), x.dtype)
        y = run(operation, [x.primal])
        return x.like(y, [times(value, factor) for value in x.series])

    return rule


def _leak(operation: tf.Operation, x: tf.Tensor) -> tf.Tensor:
    return tf.where(x > 0, tf.ones_like(x), operation.get_attr("alpha") * tf.ones_like(x))


# At the kinks as TensorFlow's own gradients have it.
add("Relu", _straight(lambda operation, x: x > 0), exact=True, smoothness=0)
add("Relu6", _straight(lambda operation, x: (x > 0) & (x < 6)), exact=True, smoothness=0)
add("LeakyRelu", _straight(_leak), exact=True, smoothness=0)
add("Abs", _straight(lambda operation, x: tf.sign(x)), exact=True, smoothness=0)


def _exponential(x: Jet, factor: float = 1.0) -> Jet:
    """exp(x) - 1 for negative numbers, whose exponential sees no positive one."""
    return factor * jet.expm1(jet.where(x.primal > 0, tf.zeros_like(x.primal), x))


def _elu(x: Jet) -> Jet:
    return jet.where(x.primal >= 0, x, _exponential(x))


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _selu(x: Jet) -> Jet:
    return _SELU_SCALE * jet.where(x.primal >= 0, x, _exponential(x, _SELU_ALPHA))


add("Elu", lambda operation, x: jet.elementwise(_elu, x), smoothness=1, tapes_right_to=1)
add("Selu", lambda operation, x: jet.elementwise(_selu, x), smoothness=0)


def _choose(takes_first: Callable) -> Callable:
    """Returns the rule of what is one of two numbers."""

    def rule(operation: tf.Operation, x: Any, y: Any) -> Jet:
        x, y = of_one_rank(x, y)
        return jet.where(takes_first(primal(x), primal(y)), x, y)

    return rule


add("Maximum", _choose(tf.greater_equal), smoothness=0)
add("Minimum", _choose(tf.less_equal), smoothness=0)


def _clip(operation: tf.Operation, x: Any, low: Any, high: Any) -> Jet:
    x, low, high = of_one_rank(x, low, high)
    point = primal(x)
    upper = jet.where(point > primal(high), high, x)
    return jet.where(point < primal(low), low, upper)


add("ClipByValue", _clip, smoothness=0)


def _select(operation: tf.Operation, condition: tf.Tensor, x: Any, y: Any) -> Jet:
    rank = max(primal(x).shape.rank, primal(y).shape.rank)
    if operation.type == "Select" and condition.shape.rank == 1:
        # The first version chooses whole rows.
        condition = tf.reshape(condition, [-1] + [1] * (rank - 1))
    rank = max(rank, condition.shape.rank)
    x, y, condition = expanded(x, rank), expanded(y, rank), expanded(condition, rank)
    return jet.where(condition, *_grown(x, y, condition))


def _grown(x: Any, y: Any, condition: tf.Tensor) -> tuple:
    """Returns jets as large as the result, but for the axis of the samples."""
    shape = tf.broadcast_static_shape(
        condition.shape, tf.broadcast_static_shape(primal(x).shape, primal(y).shape)
    )
    size = tf.broadcast_dynamic_shape(
        tf.shape(condition),
        tf.broadcast_dynamic_shape(tf.shape(primal(x)), tf.shape(primal(y))),
    )

    def grown(z: Any) -> Any:
        if not isinstance(z, Jet) or z.shape[1:] == shape[1:]:
            return z
        return z * tf.ones(size, z.dtype)

    return grown(x), grown(y)


add("Select SelectV2", _select, smoothness=-1)


def _remainder(quotients: Callable) -> Callable:
    """Returns the rule of x - y q(x / y) with a whole number q."""

    def rule(operation: tf.Operation, x: Any, y: Any) -> Any:
        x, y = of_one_rank(x, y)
        return x - y * quotients(primal(x) / primal(y))

    return rule


add("FloorMod", _remainder(tf.floor), smoothness=-1)
add(
    "Mod TruncateMod", _remainder(lambda q: tf.sign(q) * tf.floor(tf.abs(q))), smoothness=-1
)


def _constant(operation: tf.Operation, *inputs: Any) -> Any:
    """The rule of what is constant near almost every point."""
    return run_primals(operation, inputs)


add("OnesLike ZerosLike", _constant, exact=True)
add(
    "Ceil FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel "
    "Floor FloorDiv NextAfter QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 "
    "QuantizeAndDequantizeV4 Rint Round Sign TruncateDiv",
    _constant,
    exact=True,
    smoothness=-1,
    tapes_right_to=math.inf,
)


def _top(operation: tf.Operation, x: Jet, k: Any) -> list:
    """The largest entries along the last axis, by their places."""
    values, places = run(operation, [x.primal, k])
    rank = x.shape.rank

    def taken(v: tf.Tensor) -> tf.Tensor:
        spread = tf.broadcast_to(places, tf.concat([tf.shape(v)[:1], tf.shape(places)], 0))
        return tf.gather(v, spread, batch_dims=rank)

    series = [None if v is None else taken(v) for v in whole(x).series]
    return [x.like(values, series), places]


add("TopKV2", _top, exact=True, smoothness=0)
