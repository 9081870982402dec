"""Up to which order TensorFlow's own derivatives are right, which nested tapes use.

A gradient may leave out an input or an output, without an error where another path leads from
x as well.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from keras_smooth.operations import registered, rows
from keras_smooth.operations.lifting import listed, run
from keras_smooth.operations.program import Program, signature
from keras_smooth.operations.trace import trace
from keras_smooth.operations.walk import State, Step, Walk, bodies_of, states_of, steps

_known: dict[tuple, float] = {}


def tapes_right_to(program: Program, moving: Sequence[bool]) -> float:
    """Returns the order up to which TensorFlow's derivatives are right on all paths."""
    return min(map(of_step, steps(program, moving)), default=math.inf)


def wrong_by_tapes(
    program: Program, moving: Sequence[bool], order: int
) -> tf.Operation | None:
    """Returns the first operation of which TensorFlow's derivatives up to an order are not
    known to be right, if any."""
    wrong = (step for step in steps(program, moving) if of_step(step) < order)
    return next((step.operation for step in wrong), None)


def of_step(step: Step) -> float:
    """Returns the order up to which TensorFlow's derivatives of a step are right."""
    moving = [state == State.MOVES for state in step.given]
    bodies = bodies_of(step.operation)
    if not bodies:
        return of_operation(step.operation, moving, step.used)
    called = (registered.facts(name).tapes_right_to for name in bodies)
    return min([rows.tapes_right_to(step.operation, moving), *called])


def of_operation(
    operation: tf.Operation, moving: Sequence[bool], used: Sequence[bool]
) -> float:
    """Returns the order up to which TensorFlow's own derivatives of an operation are right.

    What has a rule for jets has it in its row, since measuring takes some milliseconds.

    Args:
        operation: A traced operation.
        moving: For each of its inputs whether it depends on x.
        used: For each of its outputs whether its derivatives count.

    Returns:
        The order, 0 where they leave out an input that depends on x.
    """
    row = rows.row(operation.type)
    if row is None or row.jet is None:
        return min(rows.tapes_right_to(operation, moving), _kept(operation, moving, used))
    if any(moving[n] and used[m] for n, m in row.left_out):
        return 0
    return rows.tapes_right_to(operation, moving)


def _kept(operation: tf.Operation, moving: Sequence[bool], used: Sequence[bool]) -> float:
    dtypes = tuple(x.dtype for x in operation.inputs)
    key = operation.type, dtypes, tuple(moving), tuple(used)
    if key not in _known:
        # A gradient may have an operation of the same kind, which changes nothing.
        _known[key] = math.inf
        try:
            _known[key] = measured(operation, moving, used)
        # What TensorFlow cannot derive, or run by itself, is told where it is derived.
        except Exception:
            pass
    return _known[key]


def measured(
    operation: tf.Operation, moving: Sequence[bool], used: Sequence[bool]
) -> float:
    """Returns the same as TensorFlow has it, from the operations of its gradient."""
    inputs = _numbers(operation.inputs, moving)
    outputs = _numbers(operation.outputs, used)
    if not inputs or not outputs or signature(operation).function is None:
        return math.inf
    num_inputs = len(operation.inputs)

    def gradients(*tensors: tf.Tensor) -> list:
        given, seeds = list(tensors[:num_inputs]), list(tensors[num_inputs:])
        points = [given[n] for n in inputs]
        for place, x in enumerate(operation.inputs):
            if not rows.is_number(x.dtype) and tf.get_static_value(x) is not None:
                given[place] = tf.constant(tf.get_static_value(x))
        with tf.GradientTape() as tape:
            tape.watch(points)
            results = listed(run(operation, given))
        return tape.gradient([results[n] for n in outputs], points, seeds)

    seeds = [operation.outputs[n] for n in outputs]
    traced = trace(gradients, [*operation.inputs, *seeds])
    num_captured = len(traced.captured)

    def states(moving: set[int]) -> list[bool]:
        places = range(num_inputs + len(seeds))
        return [*(n in moving for n in places), *[False] * num_captured]

    # The gradient is linear in what comes back from each output.
    for seed in range(num_inputs, num_inputs + len(seeds)):
        reached = Walk().along(traced.program, states_of(states({seed})))
        if any(n < 0 or not reached[n] for n in traced.places):
            return 0
    all_moving = {*inputs, *range(num_inputs, num_inputs + len(seeds))}
    return 1 + tapes_right_to(traced.program, states(all_moving))


def _numbers(tensors: Sequence[tf.Tensor], chosen: Sequence[bool]) -> list[int]:
    pairs = enumerate(zip(tensors, chosen, strict=True))
    return [
        place for place, (x, is_chosen) in pairs if is_chosen and rows.is_number(x.dtype)
    ]
