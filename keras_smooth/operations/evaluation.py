"""Taylor mode: the operations that TensorFlow traced, evaluated on jets."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.operations import taped
from keras_smooth.operations.lifting import listed, run_folded, run_primals
from keras_smooth.operations.program import Program, signature
from keras_smooth.operations.rows import is_smooth, row, tapes_right_to


def evaluate(
    program: Program, values: Sequence[Any], watch: Callable | None = None
) -> list:
    """Runs the operations that lead to the outputs of a program, with jets for some inputs.

    Args:
        program: The program.
        values: For each of its inputs a tensor, a variable or a jet.
        watch: Called with each operation and its inputs, also of bodies of control flow.

    Returns:
        For each output a tensor, or a jet where it depends on one of the inputs.
    """
    known = dict(zip(program.inputs, values, strict=True))
    run_body = functools.partial(evaluate, watch=watch)
    for operation, inputs, outputs, ended in program.instructions_to_outputs:
        given = [taped.known(known[name]) for name in inputs]
        if watch is not None:
            watch(operation, given)
        results = _apply(operation, given, program.bodies, run_body)
        for name in ended:
            del known[name]
        known.update(zip(outputs, results, strict=True))
    return [taped.known(known[name]) for name in program.outputs]


def _apply(
    operation: tf.Operation, inputs: list, bodies: Callable, run_body: Callable
) -> list:
    known = row(operation.type)
    if known is not None and known.program is not None:
        return known.program(operation, inputs, bodies, run_body)
    if known is None and signature(operation).function is None:
        # In the bodies of control flow a call of a function is an operation of its name.
        return run_body(bodies(operation.type), inputs)
    if not any(isinstance(x, Jet) for x in inputs):
        return listed(run_folded(operation, inputs))
    is_rounded = not any(is_smooth(output.dtype) for output in operation.outputs)
    if is_rounded and tapes_right_to(operation, [isinstance(x, Jet) for x in inputs]) > 0:
        return listed(run_primals(operation, inputs))
    if known is None or known.jet is None:
        return taped.apply(operation, inputs)
    result = known.jet(operation, *inputs)
    if result is NotImplemented:
        return taped.apply(operation, inputs)
    if known.exact:
        return listed(result)
    pairs = zip(listed(result), listed(run_primals(operation, inputs)), strict=True)
    return [y.like(z, y.series) if isinstance(y, Jet) else z for y, z in pairs]
