"""Nested tapes around a single operation: what carries jets where the table has no rule."""

import functools
import math
from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.jet.entries import summed
from keras_smooth.operations.lifting import primal, run, run_primals
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
    curves = [_curves(x, order - leader.collapsed) for x in inputs]
    rays = [_along(operation, inputs, curves, order, place) for place in range(lead)]
    # The sums over the directions go through the linear part of the operation.
    last = [_curves(x, order)[-1:] for x in inputs]
    num_sums = leader.lead(order) if leader.collapsed else 0
    lines = [_along(operation, inputs, last, 1, place) for place in range(num_sums)]
    results = []
    for number, value in enumerate(_as_list(run_primals(operation, inputs))):
        if rays[0][number] is None:
            results.append(value)
            continue
        series = [tf.stack(entries) for entries in zip(*(ray[number] for ray in rays))]
        if leader.collapsed:
            linear = tf.stack([line[number][0] for line in lines])
            series[-1] = summed(series[-1], leader.weights) + linear
        results.append(leader.like(value, series))
    return results


def _curves(x: Any, order: int) -> list[tf.Tensor]:
    """Returns the entries of a jet up to an order, none of what is no jet."""
    return [x.entry(k) for k in range(1, order + 1)] if isinstance(x, Jet) else []


def _along(
    operation: tf.Operation, inputs: list, curves: list, order: int, place: int
) -> list:
    """Returns for each output its derivatives along a curve, None for no floats.

    Args:
        operation: The operation.
        inputs: Jets and tensors.
        curves: For each input the entries of curves through it, none of what stays.
        order: Number of derivatives.
        place: Which of the curves.
    """

    def moved(x: Any, entries: list, t: tf.Tensor) -> Any:
        if not entries:
            return primal(x)
        terms = [
            entry[place % entry.shape[0]] / math.factorial(k)
            for k, entry in enumerate(entries, 1)
        ]
        # Horner's scheme: the derivatives of powers at 0 are no numbers.
        total = terms[-1]
        for term in terms[-2::-1]:
            total = term + tf.cast(t, x.dtype) * total
        return x.primal + tf.cast(t, x.dtype) * total

    def function(t: tf.Tensor) -> list:
        moving = [moved(x, entries, t) for x, entries in zip(inputs, curves)]
        return _as_list(run(operation, moving))

    real = next(x for x in inputs if isinstance(x, Jet)).dtype.real_dtype
    is_zero = functools.partial(_is_zero, operation, inputs, curves, place)
    values = _nested(operation, function, tf.zeros((), real), order, is_zero)
    return [
        None if not (output.dtype.is_floating or output.dtype.is_complex)
        else [value[number] for value in values[1:]]
        for number, output in enumerate(operation.outputs)
    ]  # fmt: skip


def _is_zero(
    operation: tf.Operation,
    inputs: list,
    curves: list,
    place: int,
    order: int,
    number: int,
) -> bool:
    """Returns whether values on a line tell that a derivative of an output is 0.

    At order 1 they are equal, above that on a straight line: of nothing else is it asked.
    """
    if not tf.executing_eagerly():
        return False

    def values(t: float) -> tf.Tensor:
        moved = [
            x.primal + t * entries[0][place % entries[0].shape[0]] if entries else primal(x)
            for x, entries in zip(inputs, curves)
        ]
        return _as_list(run(operation, moved))[number]

    first, middle, last = map(values, (0.0, 0.5, 1.0))
    difference = last - first if order == 1 else first - 2 * middle + last
    return bool(tf.reduce_all(tf.abs(difference) <= _ROUNDING * tf.abs(last)))


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
    if any(s is None and not is_zero(order, number) for number, s in enumerate(slopes)):
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
