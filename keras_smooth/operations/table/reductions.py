"""Sums, means, products and extremes over axes, and softmax."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth import jet
from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import as_jets, map_entries
from keras_smooth.jet.reductions import shift_along_axis
from keras_smooth.operations.breakpoints import first_input, gap_to_second_largest
from keras_smooth.operations.lifting import (
    add_linear,
    full_jet,
    lift_named_axes,
    run,
    static_axes,
    with_batch_axis,
)
from keras_smooth.operations.rows import add, add_column


def sum_over_axes(x: Jet, axes: list[int], keepdims: bool = True) -> Jet:
    """Returns the sum over axes of the primal, which must not be negative."""
    x = full_jet(x)
    behind = [axis + 1 for axis in axes]
    point = tf.reduce_sum(x.primal, axes, keepdims=keepdims)
    return map_entries(x, point, lambda v: tf.reduce_sum(v, behind, keepdims=keepdims))


add_linear("Cumsum Mean Sum", lift_named_axes)


def _extreme(operation: tf.Operation, x: Jet, axes: Any) -> Jet:
    """The rule of a maximum or minimum: the mean over all extreme entries, as for tapes."""
    x = full_jet(x)
    axes = static_axes(axes, x.shape.rank)
    keep = operation.get_attr("keep_dims")
    largest = run(operation, [x.primal, tf.constant(axes, tf.int32)])
    reduce = tf.reduce_max if operation.type == "Max" else tf.reduce_min
    chosen = tf.cast(x.primal == reduce(x.primal, axes, keepdims=True), x.dtype)
    share = chosen / tf.reduce_sum(chosen, axes, keepdims=True)
    behind = [axis + 1 for axis in axes]
    return map_entries(
        x, largest, lambda v: tf.reduce_sum(share * v, behind, keepdims=keep)
    )


def _gap_along_axes(operation: tf.Operation, x: tf.Tensor, axes: tf.Tensor) -> list:
    x = -x if operation.type.endswith("Min") else x
    largest = functools.partial(tf.reduce_max, axis=axes, keepdims=True)
    count = functools.partial(tf.reduce_sum, axis=axes, keepdims=True)
    return [gap_to_second_largest(x, largest, lambda v: v, count)]


add("Max Min", _extreme, exact=True, smoothness=0, breakpoints=_gap_along_axes)
add("ArgMax ArgMin", smoothness=-1, breakpoints=_gap_along_axes)


def _product(operation: tf.Operation, x: Jet, axes: Any) -> Jet:
    axes = static_axes(axes, x.shape.rank)
    for axis in sorted(axes):
        x = with_batch_axis(functools.partial(jet.prod, axis=axis + 1), x)
    return x if operation.get_attr("keep_dims") else _squeezed(x, axes)


def _squeezed(x: Jet, axes: list[int]) -> Jet:
    if not axes:
        return x
    behind = [axis + 1 for axis in axes]
    return map_entries(x, tf.squeeze(x.primal, axes), lambda v: tf.squeeze(v, behind))


# TensorFlow's second derivative of a product is wrong where a factor is 0.
add("Prod", _product, tapes_right_to=1, wrong_at=first_input)


def _cumulative_rule(function: Callable, first: Callable) -> Callable:
    """Returns the rule of a cumulative operation, such as the cumulative product.

    Args:
        function: `function(x, axis)` combines each number along the axis with all before it.
        first: `first(dtype)` returns the first result of an exclusive operation, which does
            not include the number itself.
    """

    def rule(operation: tf.Operation, x: Jet, axis: Any) -> Jet:
        axis = static_axes(axis, x.shape.rank)[0] + 1

        def turned(z: Jet) -> Jet:
            if not operation.get_attr("reverse"):
                return z
            return jet.linear(lambda v: tf.reverse(v, [axis]), z)

        def applied(z: Jet) -> Jet:
            y = function(turned(z), axis)
            if operation.get_attr("exclusive"):
                y = shift_along_axis(y, axis, 1, first(y.dtype))
            return turned(y)

        return with_batch_axis(applied, x)

    return rule


def _cumulative_logsumexp(y: Jet, axis: int) -> Jet:
    """Returns the cumulative log-sum-exp, by parallel prefix sums (Hillis and Steele, 1986)."""
    shift = 1
    while shift < y.shape[axis]:
        others = shift_along_axis(y, axis, shift, -math.inf)
        is_inf = tf.math.is_inf(others.primal)
        safe = jet.where(is_inf, y, others)
        y = jet.where(is_inf, y, safe + jet.elementwise(jet.softplus, y - safe))
        shift *= 2
    return y


add(
    "Cumprod",
    _cumulative_rule(jet.cumprod, lambda dtype: 1.0),
    tapes_right_to=0,
    wrong_at=first_input,
)
add(
    "CumulativeLogsumexp",
    _cumulative_rule(_cumulative_logsumexp, lambda dtype: float(dtype.min)),
    tapes_right_to=2,
)


def _cross_entropy(operation: tf.Operation, logits: Any, labels: Any) -> list:
    """The rule of both outputs: the loss of each row, and its gradient by the logits."""
    logits, labels = as_jets(logits, labels)
    logs = with_batch_axis(jet.log_softmax, logits)
    loss = -sum_over_axes(labels * logs, [1], keepdims=False)
    return [loss, jet.elementwise(jet.exp, logs) - labels]


def _cross_entropy_of_classes(operation: tf.Operation, logits: Jet, classes: Any) -> list:
    labels = tf.one_hot(classes, logits.shape[1], dtype=logits.dtype)
    return _cross_entropy(operation, logits, labels)


def _cross_entropy_right_to(operation: tf.Operation, moving: Sequence[bool]) -> float:
    """Returns 1 if the labels move: TensorFlow ignores that the second output depends on them."""
    return 1 if moving[1] else math.inf


add("Softmax", lambda operation, x: with_batch_axis(jet.softmax, x))
add("LogSoftmax", lambda operation, x: with_batch_axis(jet.log_softmax, x))
add("SoftmaxCrossEntropyWithLogits", _cross_entropy, left_out=((1, 1),))
add_column("SoftmaxCrossEntropyWithLogits", tapes_right_to=_cross_entropy_right_to)
add("SparseSoftmaxCrossEntropyWithLogits", _cross_entropy_of_classes)


def _half_sum_of_squares(operation: tf.Operation, x: Jet) -> Jet:
    return 0.5 * sum_over_axes(jet.square(x), list(range(x.shape.rank)), keepdims=False)


def _euclidean_norm(operation: tf.Operation, x: Jet, axes: Any) -> Jet:
    axes = static_axes(axes, x.shape.rank)
    squares = sum_over_axes(jet.square(x), axes, operation.get_attr("keep_dims"))
    return jet.elementwise(jet.sqrt, squares)


def _norm_domain(operation: tf.Operation, x: tf.Tensor, axes: tf.Tensor) -> list:
    return [tf.math.reduce_euclidean_norm(x, axes)]


add("L2Loss", _half_sum_of_squares)
# TensorFlow's gradient divides by the incoming gradient, which may be 0.
add("EuclideanNorm", _euclidean_norm, at_edge=0, domain=_norm_domain, tapes_right_to=1)
add_column(
    "EuclideanNorm", wrong_at=lambda operation, x, axes: _norm_domain(operation, x, axes)[0]
)
