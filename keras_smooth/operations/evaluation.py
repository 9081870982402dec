"""Taylor mode: the operations that TensorFlow traced, evaluated on jets."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.operations import taped
from keras_smooth.operations.lifting import listed, primal, run_folded, run_primals
from keras_smooth.operations.lists import JetList
from keras_smooth.operations.program import Program, signature
from keras_smooth.operations.rows import is_smooth, row
from keras_smooth.operations.trace import openings, trace


def evaluate(
    program: Program,
    values: Sequence[Any],
    effects: bool = True,
    watch: Callable | None = None,
) -> list:
    """Runs a program with jets in place of some inputs.

    Args:
        program: The program.
        values: For each of its inputs a tensor, a variable or a jet.
        effects: Whether to run operations that change variables, as a call of the model does.
        watch: Called with each operation and its inputs, also of bodies of control flow.

    Returns:
        For each output a tensor, or a jet where it depends on one of the inputs.
    """
    known = dict(zip(program.inputs, values, strict=True))
    run_body = functools.partial(evaluate, effects=effects, watch=watch)
    steps = program.instructions if effects else program.instructions_to_outputs
    for operation, inputs, outputs, ended in steps:
        given = [known[name] for name in inputs]
        if watch is not None:
            watch(operation, given)
        results = _apply(operation, given, program.bodies, run_body)
        for name in ended:
            del known[name]
        known.update(zip(outputs, results, strict=True))
    return [known[name] for name in program.outputs]


def apply(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Applies a function, layer or model to jets.

    Args:
        function: What is called.
        *args: Its arguments, in which some tensors may be jets.
        **kwargs: Its keyword arguments, likewise.

    Returns:
        What the function returns, with jets in the place of tensors that depend on one.

    Example:

    >>> import tensorflow as tf
    >>> from keras_smooth import jet, operations
    >>> y = operations.apply(tf.math.cosh, jet.line([0.0]))
    >>> [float(y.entry(k)[0, 0]) for k in (1, 2)]
    [0.0, 1.0]
    """
    values, filled = openings(
        (args, kwargs), lambda leaf: isinstance(leaf, Jet) or tf.is_tensor(leaf)
    )

    def of_tensors(*tensors: tf.Tensor) -> Any:
        positional, keywords = filled(tensors)
        return function(*positional, **keywords)

    traced = trace(of_tensors, [primal(value) for value in values])
    return traced.packed(evaluate(traced.program, [*values, *traced.captured]))


def _apply(
    operation: tf.Operation, inputs: list, bodies: Callable, run_body: Callable
) -> list:
    known = row(operation.type)
    if known is not None and known.program is not None:
        return known.program(operation, inputs, bodies, run_body)
    if known is None and signature(operation).function is None:
        # In the bodies of control flow a call of a function is an operation of its name.
        return run_body(bodies(operation.type), inputs)
    if not any(isinstance(x, Jet | JetList) for x in inputs):
        return listed(run_folded(operation, inputs))
    if not any(is_smooth(output.dtype) for output in operation.outputs):
        return listed(run_primals(operation, inputs))
    if known is None or known.jet is None:
        return taped.apply(operation, inputs)
    result = known.jet(operation, *inputs)
    if result is NotImplemented:
        return taped.apply(operation, inputs)
    results = listed(result)
    return results if known.exact else _with_primals(operation, inputs, results)


def _with_primals(operation: tf.Operation, inputs: list, results: list) -> list:
    exact = listed(run_primals(operation, inputs))
    return [
        y.like(value, y.series) if isinstance(y, Jet) else value
        for y, value in zip(results, exact, strict=True)
    ]
