"""TensorFlow's own derivatives of operations: up to which order they are right, and jets from them.

TensorFlow's gradient of an operation may ignore an input or an output. Tapes then return a wrong
derivative, without an error if there is another path from x to the result. Each operation without
a rule for jets is differentiated by nested tapes of its own.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import primal
from keras_smooth.jet.entries import sum_over_directions
from keras_smooth.operations import registered, rows
from keras_smooth.operations.lifting import as_list, first_jet, run, run_primals
from keras_smooth.operations.program import Program, layer_path, signature
from keras_smooth.operations.rows import is_inexact
from keras_smooth.operations.trace import trace
from keras_smooth.operations.walk import (
    State,
    Step,
    Walk,
    body_names,
    initial_states,
    steps,
)
from keras_smooth.presentation.warn import warn_once

_measured_orders: dict[tuple, float] = {}


def tapes_right_to(program: Program, moving: Sequence[bool]) -> float:
    """Returns the order up to which TensorFlow's derivatives are right on all paths."""
    return min(map(order_right_by_tapes, steps(program, moving)), default=math.inf)


def first_wrong_by_tapes(
    program: Program, moving: Sequence[bool], order: int
) -> tf.Operation | None:
    """Returns the first operation whose derivatives to `order` by tapes may be wrong, or None."""
    wrong = (step for step in steps(program, moving) if order_right_by_tapes(step) < order)
    return next((step.operation for step in wrong), None)


def order_right_by_tapes(step: Step) -> float:
    """Returns the order up to which TensorFlow's derivatives of a step are right."""
    moving = [state == State.MOVES for state in step.input_states]
    bodies = body_names(step.operation)
    if not bodies:
        return right_order(step.operation, moving, step.used)
    called = (registered.facts(name).tapes_right_to for name in bodies)
    return min([rows.tapes_right_to(step.operation, moving), *called])


def right_order(
    operation: tf.Operation, moving: Sequence[bool], used: Sequence[bool]
) -> float:
    """Returns the order up to which TensorFlow's own derivatives of an operation are right.

    The order of an operation with a rule for jets is in its row, since measuring takes some
    milliseconds. That of other operations is measured, once for each kind, dtypes, `moving` and
    `used`.

    Args:
        operation: A traced operation.
        moving: For each of its inputs whether it depends on x.
        used: For each of its outputs whether its derivatives are used.

    Returns:
        The order. It is 0 if the derivatives ignore an input that depends on x.
    """
    row, right_to = rows.row(operation.type), rows.tapes_right_to(operation, moving)
    if row is not None and row.jet is not None:
        return 0 if any(moving[n] and used[m] for n, m in row.left_out) else right_to
    dtypes = tuple(x.dtype for x in operation.inputs)
    key = operation.type, dtypes, tuple(moving), tuple(used)
    if key not in _measured_orders:
        # The gradient may contain the same kind of operation: then infinity ends the recursion.
        _measured_orders[key] = math.inf
        # If TensorFlow cannot differentiate or run it, its differentiation raises the error.
        with contextlib.suppress(Exception):
            _measured_orders[key] = measured_order(operation, moving, used)
    return min(right_to, _measured_orders[key])


def measured_order(
    operation: tf.Operation, moving: Sequence[bool], used: Sequence[bool]
) -> float:
    """Returns the order of `right_order`, from the operations of TensorFlow's gradient."""
    inputs = _positions(operation.inputs, moving)
    outputs = _positions(operation.outputs, used)
    if not inputs or not outputs or signature(operation).function is None:
        return math.inf
    num_inputs = len(operation.inputs)

    def gradients(*tensors: tf.Tensor) -> list:
        values, seeds = list(tensors[:num_inputs]), list(tensors[num_inputs:])
        points = [values[n] for n in inputs]
        for index, x in enumerate(operation.inputs):
            if not is_inexact(x.dtype) and tf.get_static_value(x) is not None:
                values[index] = tf.constant(tf.get_static_value(x))
        with tf.GradientTape() as tape:
            tape.watch(points)
            results = as_list(run(operation, values))
        return tape.gradient([results[n] for n in outputs], points, seeds)

    seeds = [operation.outputs[n] for n in outputs]
    traced = trace(gradients, [*operation.inputs, *seeds])
    size = num_inputs + len(seeds)
    # The gradient is linear in the seed of each output, and wrong if it does not depend on it.
    for seed in range(num_inputs, size):
        states = Walk().follow(
            traced.program, initial_states(n == seed for n in range(size))
        )
        if any(n < 0 or not states[n] for n in traced.places):
            return 0
    moving = [n in inputs or n >= num_inputs for n in range(size)]
    return 1 + tapes_right_to(traced.program, moving)


def _positions(tensors: Sequence[tf.Tensor], chosen: Sequence[bool]) -> list[int]:
    """Returns the positions of the chosen tensors that are real or complex."""
    return [n for n, x in enumerate(tensors) if chosen[n] and is_inexact(x.dtype)]


def raise_if_lost(value: Any) -> Any:
    """Returns an output, or raises the error that replaces one whose derivatives are lost."""
    if isinstance(value, ValueError):
        raise value
    return value


def apply(operation: tf.Operation, inputs: list) -> list:
    """Evaluates an operation without a rule on jets, by nested tapes.

    Along each direction, the outputs are functions of a number t. Tapes differentiate them at
    t = 0.

    Returns:
        For each output a jet, a tensor if its dtype has no derivatives, or an error if
        its derivatives are lost and another output has derivatives.

    Raises:
        ValueError: If TensorFlow has no such derivative of the operation.
    """
    if any(x.dtype == tf.variant for x in (*operation.inputs, *operation.outputs)):
        raise ValueError(
            _lost_message(operation, "it keeps tensors in a tf.variant, as ragged ones")
        )
    order, right_to = first_jet(inputs).order, _order_by_output(operation, inputs)
    row = rows.row(operation.type)
    wrong_at = None if row is None else row.wrong_at
    computable = [number for number, k in right_to.items() if wrong_at or order <= k]
    lost = ValueError(_lost_message(operation, f"TensorFlow has none of order {order}"))
    if not computable:
        raise lost
    warn_once(
        apply,
        f"The operation {operation.type} in {layer_path(operation)} has no rule for jets: nested "
        "tapes compute its derivatives, which is slower.",
    )
    inputs = [x.unframed() if isinstance(x, Jet) else x for x in inputs]
    leader, results = first_jet(inputs), as_list(run_primals(operation, inputs))
    for number, series in zip(computable, _series(operation, inputs, computable)):
        if wrong_at:
            nan = tf.cast(math.nan, leader.dtype)
            is_wrong = wrong_at(operation, *map(primal, inputs)) == 0
            series = [
                value if k <= right_to[number] else tf.where(is_wrong, nan, value)
                for k, value in enumerate(series, 1)
            ]
        results[number] = leader.like(results[number], series)
    for number in right_to.keys() - set(computable):
        results[number] = lost
    return results


def _order_by_output(operation: tf.Operation, inputs: list) -> dict[int, float]:
    """Returns the order of `right_order` for each output of an inexact dtype, by its index."""
    moving, indices = [isinstance(x, Jet) for x in inputs], range(len(operation.outputs))
    return {
        n: right_order(operation, moving, [n == m for m in indices])
        for n in indices
        if is_inexact(operation.outputs[n].dtype)
    }


def _series(operation: tf.Operation, inputs: list, chosen: list[int]) -> list[list]:
    """Returns the series of each chosen output: for each order a tensor with all directions."""
    leader = first_jet(inputs)
    order, lead = leader.order, max(x.directions for x in inputs if isinstance(x, Jet))
    curves = [_entries_to_order(x, order - leader.collapsed) for x in inputs]
    along = functools.partial(_derivatives_along, operation, inputs, chosen)
    rays = [along(curves, order, direction) for direction in range(lead)]
    # Collapsed entries of the inputs are mapped by the first derivative, which is linear.
    last = [_entries_to_order(x, order)[-1:] for x in inputs]
    num_sums = leader.lead(order) if leader.collapsed else 0
    lines = [along(last, 1, direction) for direction in range(num_sums)]
    outputs = []
    for index in range(len(chosen)):
        series = [tf.stack([ray[k][index] for ray in rays]) for k in range(order)]
        if leader.collapsed:
            linear = tf.stack([line[0][index] for line in lines])
            series[-1] = sum_over_directions(series[-1], leader.weights) + linear
        outputs.append(series)
    return outputs


def _entries_to_order(x: Any, order: int) -> list[tf.Tensor]:
    """Returns entries 1 to order of a jet, or an empty list for a tensor."""
    return [x.entry(k) for k in range(1, order + 1)] if isinstance(x, Jet) else []


def _derivatives_along(
    operation: tf.Operation,
    inputs: list,
    chosen: list[int],
    curves: list,
    order: int,
    curve: int,
) -> list:
    """Returns for each order from 1 the derivatives of the chosen outputs along one curve.

    Args:
        operation: The operation.
        inputs: Jets and tensors.
        chosen: The positions of these outputs.
        curves: For each input the entries of the curves through it, none if it is constant.
        order: Number of derivatives.
        curve: The index of the curve along the axis of directions.
    """

    def outputs(t: Any, most: int | None = None) -> list:
        """Returns the outputs at t, on curves with the entries of order 1 to `most`."""
        along = [[v[curve % v.shape[0]] for v in entries[:most]] for entries in curves]
        moved = [_point_on_curve(x, entries, t) for x, entries in zip(inputs, along)]
        results = as_list(run(operation, moved))
        return [results[number] for number in chosen]

    def step(values: list, t: tf.Tensor, order: int) -> Callable:
        def differentiate(tape: tf.GradientTape) -> list:
            slopes = [_derivative(operation, tape, value, t) for value in values]
            for number, slope in enumerate(slopes):
                if slope is None and not _is_zero_on_line(outputs, order, number):
                    cause = f"TensorFlow has none of order {order}"
                    raise ValueError(_lost_message(operation, cause))
            return [tf.zeros_like(v) if s is None else s for v, s in zip(values, slopes)]

        return differentiate

    t = tf.zeros((), first_jet(inputs).dtype.real_dtype)
    return nested_tapes(outputs, t, order, step)[1:]


def _point_on_curve(x: Any, entries: list, t: Any) -> Any:
    """Returns the point at t on the curve through x with these derivatives at t = 0."""
    if not entries:
        return primal(x)
    terms = [entry / math.factorial(k) for k, entry in enumerate(entries, 1)]
    t = tf.cast(t, x.dtype)
    # Horner's scheme, since TensorFlow's derivatives of powers of t are NaN at 0.
    return x.primal + t * functools.reduce(
        lambda total, term: term + t * total, terms[::-1]
    )


# Far above the relative rounding error of a second difference, in float32 as well.
_ROUNDING = 1e-5


def _is_zero_on_line(outputs: Callable, order: int, number: int) -> bool:
    """Returns whether values at three points of a line show that a derivative of an output is 0.

    For order 1 the output has to be constant, for higher orders linear. For other functions, and
    in a graph, the result is False.
    """
    if not tf.executing_eagerly():
        return False
    first, middle, last = (outputs(t, most=1)[number] for t in (0.0, 0.5, 1.0))
    difference = last - first if order == 1 else first - 2 * middle + last
    return bool(tf.reduce_all(tf.abs(difference) <= _ROUNDING * tf.abs(last)))


def nested_tapes(function: Callable, x: Any, order: int, step: Callable) -> list:
    """Returns [y, y', ...]: each tape differentiates the result of the tapes inside it.

    `step` computes a derivative, and handles one that TensorFlow does not have.

    Args:
        function: A function of x.
        x: A tensor or a structure of tensors.
        order: Number of derivatives.
        step: `step(value, x, order)` is called while the tape records. `value` is the
            derivative of one order less. It returns a function of the tape that returns the
            derivative of this order.
    """
    if order == 0:
        return [function(x)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(keras.tree.flatten(x))
        entries = nested_tapes(function, x, order - 1, step)
        differentiate = step(entries[-1], x, order)
    return [*entries, differentiate(tape)]


def _derivative(
    operation: tf.Operation, tape: tf.GradientTape, value: Any, t: tf.Tensor
) -> Any:
    """Returns the derivative of a tensor with respect to a number, or None if there is none.

    The gradient of a tensor is linear in its seed. The derivative is the gradient of this linear
    function with respect to the seed (Townsend, 2017).
    """
    seed = tf.ones_like(value)
    try:
        with tf.GradientTape() as inner, tape:
            inner.watch(seed)
            total = tape.gradient(value, t, seed)
        slope = None if total is None else inner.gradient(total, seed)
        # The gradient of a gather is a tf.IndexedSlices.
        return None if slope is None else tf.convert_to_tensor(slope)
    except LookupError as error:
        raise ValueError(_lost_message(operation, error.args[0])) from error


def _lost_message(operation: tf.Operation, cause: object) -> str:
    return (
        f"The derivative is lost at {operation.type} in {layer_path(operation)}: {cause}. "
        "Replace it, or register a rule with keras_smooth.register_jet_rule."
    )
