"""Nested tapes around a single operation: what carries jets where the table has no rule."""

import functools
import math
from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.operations.lifting import run, run_primals
from keras_smooth.operations.program import layer_of
from keras_smooth.operations.rows import tapes_right_to
from keras_smooth.presentation.warn import warn_once


def apply(operation: tf.Operation, inputs: list) -> list:
    """Carries jets through an operation of which the table has no rule.

    Along each direction it is a function of a number t, which is differentiated at 0.

    Raises:
        ValueError: If TensorFlow has no such derivative of the operation.
    """
    order = next(x.order for x in inputs if isinstance(x, Jet))
    if order > tapes_right_to(operation):
        raise ValueError(_lost(operation, f"TensorFlow has none of order {order}"))
    warn_once(
        apply,
        f"The operation {operation.type} in {layer_of(operation)} has no rule for jets: nested "
        "tapes compute its derivatives, which is slower.",
    )
    inputs = [x.unframed() if isinstance(x, Jet) else x for x in inputs]
    leader = next(x for x in inputs if isinstance(x, Jet))
    lead = max(x.directions for x in inputs if isinstance(x, Jet))
    rays = [_along(operation, inputs, leader, direction, lead) for direction in range(lead)]
    results = []
    for place, value in enumerate(_as_list(run_primals(operation, inputs))):
        columns = [ray[place] for ray in rays]
        if columns[0] is None:
            results.append(value)
            continue
        series = [tf.stack(entries) for entries in zip(*columns)]
        if leader.collapsed:
            series[-1] = tf.reduce_sum(series[-1], axis=0, keepdims=True)
        results.append(leader.like(value, series))
    return results


def _along(
    operation: tf.Operation, inputs: list, leader: Jet, direction: int, lead: int
) -> list:
    """Returns for each output its derivatives along one direction, None for no floats."""

    def moved(x: Any, t: tf.Tensor) -> Any:
        if not isinstance(x, Jet):
            return x
        terms = []
        for k in range(1, x.order + 1):
            entry = x.entry(k)
            # A sum over the directions counts as the entry of the first.
            counts = entry.shape[0] == lead or direction == 0
            terms.append(
                entry[direction % entry.shape[0]] / math.factorial(k) if counts else 0.0
            )
        # Horner's scheme: the derivatives of powers at 0 are no numbers.
        total = terms[-1]
        for term in terms[-2::-1]:
            total = term + tf.cast(t, x.dtype) * total
        return x.primal + tf.cast(t, x.dtype) * total

    def function(t: tf.Tensor) -> list:
        return _as_list(run(operation, [moved(x, t) for x in inputs]))

    real = leader.dtype.real_dtype
    is_zero = functools.partial(_is_zero, operation, inputs, direction)
    values = _nested(operation, function, tf.zeros((), real), leader.order, is_zero)
    return [
        None if not (output.dtype.is_floating or output.dtype.is_complex)
        else [value[place] for value in values[1:]]
        for place, output in enumerate(operation.outputs)
    ]  # fmt: skip


def _is_zero(operation: tf.Operation, inputs: list, direction: int, order: int) -> bool:
    """Returns whether values on a line tell that a derivative of some order is 0.

    At order 1 they are equal, above that on a straight line: of nothing else is it asked.
    """
    if not tf.executing_eagerly():
        return False

    def values(t: float) -> list:
        moved = [
            x.primal + t * x.entry(1)[direction % x.entry(1).shape[0]]
            if isinstance(x, Jet)
            else x
            for x in inputs
        ]
        results = _as_list(run(operation, moved))
        return [y for y in results if y.dtype.is_floating or y.dtype.is_complex]

    columns = zip(values(0.0), values(0.5), values(1.0), strict=True)
    sides = [
        (last - first if order == 1 else first - 2 * middle + last, last)
        for first, middle, last in columns
    ]
    return all(
        bool(tf.reduce_all(tf.abs(difference) <= _ROUNDING * tf.abs(last)))
        for difference, last in sides
    )


# Far above what rounding leaves of a second difference, in float32 as well.
_ROUNDING = 1e-5


def _nested(
    operation: tf.Operation, function: Any, t: tf.Tensor, order: int, is_zero: Any
) -> list:
    """Returns the values of a function of a number and their derivatives up to an order."""
    if order == 0:
        return [function(t)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(t)
        entries = _nested(operation, function, t, order - 1, is_zero)
        last = entries[-1]
    slopes = [_slope(operation, tape, value, t) for value in last]
    if any(slope is None for slope in slopes) and not is_zero(order):
        raise ValueError(_lost(operation, f"TensorFlow has none of order {order}"))
    return [
        *entries,
        [tf.zeros_like(v) if slope is None else slope for v, slope in zip(last, slopes)],
    ]


def _slope(operation: tf.Operation, tape: tf.GradientTape, value: Any, t: tf.Tensor) -> Any:
    """Returns the derivative of a tensor by a number, None where TensorFlow finds none.

    It is the gradient of what is linear in a seed, by the seed (Townsend, 2017).
    """
    if not (value.dtype.is_floating or value.dtype.is_complex):
        return tf.zeros_like(value)
    seed = tf.ones_like(value)
    try:
        with tf.GradientTape() as inner, tape:
            inner.watch(seed)
            total = tape.gradient(value, t, seed)
        slope = None if total is None else inner.gradient(total, seed)
        # What is gathered has the gradient of the rows that are used.
        return None if slope is None else tf.convert_to_tensor(slope)
    except LookupError as error:
        raise ValueError(_lost(operation, error.args[0])) from error


def _lost(operation: tf.Operation, cause: object) -> str:
    return (
        f"The derivative is lost at {operation.type} in {layer_of(operation)}: {cause}. "
        "Replace it, or register a rule with keras_smooth.register_jet_rule."
    )


def _as_list(results: Any) -> list:
    return list(results) if isinstance(results, (list, tuple)) else [results]
