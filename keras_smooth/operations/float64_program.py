"""A function in float64: its traced operations, with float64 instead of coarser dtypes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.operations.bodies import body_lookup
from keras_smooth.operations.evaluation import evaluate
from keras_smooth.operations.program import Program
from keras_smooth.operations.trace import trace

_FLOAT64 = tf.float64.as_datatype_enum
_COARSE = {dtype.as_datatype_enum for dtype in (tf.float32, tf.float16, tf.bfloat16)}


def in_float64(function: Callable, arguments: Sequence[tf.Tensor]) -> Callable:
    """Returns a function that runs the operations of another one in float64.

    Unlike a copy of a model in float64, it needs no model that can be built again. Weights and
    constants keep their values. Variables are copied, so that calls of the result change nothing.

    Args:
        function: A function of as many tensors as there are arguments.
        arguments: Tensors. The number of samples, their first axis, may be another one later.

    Returns:
        A function of as many tensors, in float64.

    Raises:
        ValueError, TypeError: TensorFlow's errors if the function cannot be traced, or if an
            operation does not exist in float64.
    """
    traced = trace(
        function, [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in arguments]
    )
    program = _converted(traced.program)
    captured = [_copy(value) for value in traced.captured]

    def run(*values: tf.Tensor) -> Any:
        # `traced` is kept, and with it the facts about functions that it calls.
        return traced.packed(evaluate(program, [*values, *captured]))

    return run


def _converted(program: Program) -> Program:
    """Returns a program with float64 instead of coarser dtypes."""
    definition = program.operations[0].graph.as_graph_def(add_shapes=True)
    functions = definition.library.function
    for function in functions:
        for argument in (*function.signature.input_arg, *function.signature.output_arg):
            argument.type = _float64_of(argument.type)
        for attributes in function.arg_attr.values():
            _convert(attributes.attr.values())
    for node in (*definition.node, *(node for f in functions for node in f.node_def)):
        _convert(node.attr.values())
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(definition, name="")
    names = [operation.name for operation in program.operations]
    return Program(
        inputs=program.inputs,
        outputs=program.outputs,
        operations=tuple(map(graph.get_operation_by_name, names)),
        bodies=body_lookup(graph),
    )


def _convert(attributes: Iterable[Any]) -> None:
    """Replaces coarse dtypes, and constants that have them, in attributes of operations."""
    for value in attributes:
        kind = value.WhichOneof("value")
        if kind == "type":
            value.type = _float64_of(value.type)
        elif kind == "tensor" and value.tensor.dtype in _COARSE:
            numbers = tf.make_ndarray(value.tensor).astype("float64")
            value.tensor.CopyFrom(tf.make_tensor_proto(numbers))
        elif kind == "list":
            value.list.type[:] = map(_float64_of, value.list.type)


def _float64_of(dtype: int) -> int:
    return _FLOAT64 if dtype in _COARSE else dtype


def _copy(value: Any) -> Any:
    """Returns a copy of a captured variable or tensor, in float64 if its dtype is coarser."""
    if value.dtype == tf.resource:
        return value
    dtype = tf.as_dtype(_float64_of(tf.as_dtype(value.dtype).as_datatype_enum))
    if isinstance(value, tf.Variable):
        return tf.Variable(tf.cast(value.read_value(), dtype))
    return tf.cast(value, dtype)
