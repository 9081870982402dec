"""Taylor mode: the operations that TensorFlow has traced, evaluated on jets."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.operations import taped
from keras_smooth.operations.lifting import as_list, run_primals, run_with_known_integers
from keras_smooth.operations.program import Program, signature
from keras_smooth.operations.rows import is_differentiable, is_empty, row, tapes_right_to


def evaluate(
    program: Program, values: Sequence[Any], watch: Callable | None = None
) -> list:
    """Runs a program, with jets for some of its inputs.

    Operations on which no output depends are not run.

    Args:
        program: The program.
        values: For each of its inputs a tensor, a variable or a jet.
        watch: `watch(operation, inputs)` is called before an operation runs, also in the
            bodies of control flow.

    Returns:
        For each output a jet if it depends on a jet, else a tensor.
    """
    values_by_name = dict(zip(program.inputs, values, strict=True))
    run_body = functools.partial(evaluate, watch=watch)
    for operation, inputs, outputs, last_uses in program.instructions_to_outputs:
        args = [taped.raise_if_lost(values_by_name[name]) for name in inputs]
        pairs = zip(operation.inputs, args)
        args = [x.primal if isinstance(x, Jet) and is_empty(t) else x for t, x in pairs]
        if watch is not None:
            watch(operation, args)
        results = _apply(operation, args, program.bodies, run_body)
        for name in last_uses:
            del values_by_name[name]
        values_by_name.update(zip(outputs, results, strict=True))
    return [taped.raise_if_lost(values_by_name[name]) for name in program.outputs]


def _apply(
    operation: tf.Operation, inputs: list, bodies: Callable, run_body: Callable
) -> list:
    """Returns the outputs of an operation for tensors and jets, as a list."""
    table_row = row(operation.type)
    if table_row is not None and table_row.control_flow is not None:
        return table_row.control_flow(operation, inputs, bodies, run_body)
    if table_row is None and signature(operation).function is None:
        # In a body, the type of an operation that calls a function is the function's name.
        return run_body(bodies(operation.type), inputs)
    if not any(isinstance(x, Jet) for x in inputs):
        return as_list(run_with_known_integers(operation, inputs))
    is_discrete = not any(is_differentiable(output.dtype) for output in operation.outputs)
    if is_discrete and tapes_right_to(operation, [isinstance(x, Jet) for x in inputs]) > 0:
        return as_list(run_primals(operation, inputs))
    if table_row is None or table_row.jet is None:
        return taped.apply(operation, inputs)
    result = table_row.jet(operation, *inputs)
    if result is NotImplemented:
        return taped.apply(operation, inputs)
    if table_row.exact:
        return as_list(result)
    pairs = zip(as_list(result), as_list(run_primals(operation, inputs)), strict=True)
    return [y.like(z, y.series) if isinstance(y, Jet) else z for y, z in pairs]
