"""Functions with registered facts, recognized in a trace by their operations.

A layer of a user may call `keras.ops.hypot(x, y)`. Its trace shows |x| and |y|, whose kinks cancel.
Here the operations of such a call are found, and replaced by a call of the function with its facts.
"""

import collections
import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.operations.program import Program, without_identity
from keras_smooth.operations.registered import Facts, function_with_facts

_COMMUTATIVE = frozenset({"Add", "AddV2", "LogicalAnd", "Maximum", "Minimum", "Mul"})
# Some functions have other operations if the shapes of their arguments are not known.
_SHAPES = ((2, 3), None)
_FLOATS = (tf.float16, tf.bfloat16, tf.float32, tf.float64)
# The number of operations in which two tensors may be computed twice in the same way.
_MAX_DEPTH = 4
# The number of traced calls that are kept.
_MAX_TRACES = 256

# The arguments of a call, by the names of the placeholders in a pattern.
Arguments = Mapping[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Recognizable:
    """A function that is recognized.

    Args:
        function: A function of tensors.
        facts: Its registered facts.
        kinds: Some kinds of its operations. A program without them is not searched.
        integers: The positions of the arguments that are integers. The others have the dtype of
            the result.
    """

    function: Callable
    facts: Facts
    kinds: frozenset[str]
    integers: tuple[int, ...]


_functions: dict[Callable, Recognizable] = {}


def add(recognizable: Recognizable) -> None:
    """Adds a function to those that are recognized if called with its default parameters."""
    _functions[recognizable.function] = recognizable


@dataclasses.dataclass(frozen=True)
class Pattern:
    """The operations of a function.

    Args:
        recognizable: The function.
        placeholders: The names of the placeholders for its arguments.
        result: Its result, in a graph that lives as long as this tensor.
    """

    recognizable: Recognizable
    placeholders: tuple[str, ...]
    result: tf.Tensor


def with_recognized_calls(program: Program, graph: tf.Graph) -> Program:
    """Returns a program in which recognized operations are replaced by calls of their function.

    Args:
        program: A program.
        graph: The graph of its operations, to which the calls are added.
    """
    kinds = {operation.type for operation in program.operations}
    possible = [each for each in _functions.values() if each.kinds <= kinds]
    if not possible:
        return program
    patterns = _by_result(possible, program.operations)
    operations, names = [], {}
    for operation in program.operations:
        call = _recognized(operation, patterns)
        added = None if call is None else _added_call(graph, operation, *call)
        if added is None:
            operations.append(operation)
        else:
            new_operations, result = added
            operations += new_operations
            names[result.name] = operation.outputs[0].name
    return dataclasses.replace(program, operations=tuple(operations), names=names)


def _by_result(
    functions: Sequence[Recognizable], operations: Sequence[tf.Operation]
) -> dict[tuple[str, tf.DType], list[Pattern]]:
    """Returns the patterns of functions by the kind and dtype of the last operation."""
    dtypes = {output.dtype for operation in operations for output in operation.outputs}
    floats = [dtype for dtype in _FLOATS if dtype in dtypes]
    integers = [dtype for dtype in dtypes if dtype.is_integer and not dtype.is_quantized]
    patterns = collections.defaultdict(list)
    for each, dtype, shape in itertools.product(functions, floats, _SHAPES):
        for integer in integers if each.integers else [tf.int32]:
            pattern = _pattern(each, dtype, shape, integer, keras.config.floatx())
            patterns[pattern.result.op.type, dtype].append(pattern)
    return patterns


@functools.cache
def _pattern(
    each: Recognizable, dtype: tf.DType, shape: tuple | None, integer: tf.DType, floatx: str
) -> Pattern:
    """Returns the pattern of a function for the dtypes and the shape of its arguments.

    Args:
        each: The function.
        dtype: The dtype of its arguments.
        shape: The shape of its arguments.
        integer: The dtype of the arguments that are integers.
        floatx: Keras' default dtype, on which the operations may depend.
    """
    parameters = inspect.signature(each.function).parameters.values()
    specifications = [
        tf.TensorSpec(shape, integer if index in each.integers else dtype)
        for index, parameter in enumerate(parameters)
        if parameter.default is parameter.empty
    ]
    compiled = tf.function(functools.partial(each.function), autograph=False)
    concrete = compiled.get_concrete_function(*specifications)
    placeholders = tuple(x.name for x in concrete.inputs)
    return Pattern(each, placeholders, without_identity(concrete.outputs[0]))


def _recognized(
    operation: tf.Operation, patterns: Mapping[tuple, Sequence[Pattern]]
) -> tuple[Recognizable, list[tf.Tensor]] | None:
    """Returns the function that an operation ends, and its arguments, or None."""
    if len(operation.outputs) != 1:
        return None
    (result,) = operation.outputs
    for pattern in patterns.get((operation.type, result.dtype), ()):
        matched = _match(pattern.result, result, {})
        if matched is not None and len(matched) == len(pattern.placeholders):
            return pattern.recognizable, [matched[name] for name in pattern.placeholders]
    return None


def _added_call(
    graph: tf.Graph, operation: tf.Operation, each: Recognizable, arguments: list[tf.Tensor]
) -> tuple[list[tf.Operation], tf.Tensor] | None:
    """Adds a call to a graph, in the scope of an operation; returns its operations and result.

    It returns None if the call may have another shape. A constant may have more entries than the
    arguments, as in x / (ones((1, 4)) + abs(x)).
    """
    num_before = len(graph.get_operations())
    scope = operation.name.rpartition("/")[0]
    shapes = [None if x.shape.rank is None else tuple(x.shape) for x in arguments]
    concrete = _traced_call(each, tuple(shapes), tuple(x.dtype for x in arguments))
    shape = operation.outputs[0].shape
    if shape.rank is None or concrete.outputs[0].shape.as_list() != shape.as_list():
        return None
    with graph.as_default(), tf.name_scope(scope and f"{scope}/"):
        result = concrete(*arguments)
    return graph.get_operations()[num_before:], result


@functools.cache
def _function_with_facts(each: Recognizable) -> Callable:
    return function_with_facts(each.function, each.facts)


# Not by one `tf.function` for all shapes, which may return a trace of unknown shape.
@functools.lru_cache(_MAX_TRACES)
def _traced_call(each: Recognizable, shapes: tuple, dtypes: tuple[tf.DType, ...]) -> Any:
    specifications = list(map(tf.TensorSpec, shapes, dtypes))
    compiled = tf.function(_function_with_facts(each), autograph=False)
    return compiled.get_concrete_function(*specifications)


def _match(pattern: tf.Tensor, tensor: tf.Tensor, known: Arguments) -> Arguments | None:
    """Returns the arguments for which a tensor is computed as in a pattern, or None.

    Args:
        pattern: A tensor of a pattern.
        tensor: A traced tensor.
        known: Arguments that follow from other tensors.
    """
    pattern, tensor = without_identity(pattern), without_identity(tensor)
    expected, operation = pattern.op, tensor.op
    if pattern.dtype != tensor.dtype or pattern.value_index != tensor.value_index:
        return None
    if expected.type == "Placeholder":
        is_same = _are_same(known.get(pattern.name, tensor), tensor, _MAX_DEPTH)
        return {pattern.name: tensor, **known} if is_same else None
    if expected.type == "Const":
        return known if _have_one_value(pattern, tensor) else None
    if not _are_alike(expected, operation):
        return None
    orders = [list(operation.inputs)]
    if expected.type in _COMMUTATIVE:
        orders.append(orders[0][::-1])
    for inputs in orders:
        matched: Arguments | None = known
        for pair in zip(expected.inputs, inputs):
            matched = None if matched is None else _match(*pair, matched)
        if matched is not None:
            return matched
    return None


def _are_same(x: tf.Tensor, y: tf.Tensor, depth: int) -> bool:
    """Returns whether tensors are one tensor, or computed in the same way by a few operations."""
    x, y = without_identity(x), without_identity(y)
    if x is y:
        return True
    if depth == 0 or x.value_index != y.value_index or x.op.op_def.is_stateful:
        return False
    if x.op.type == "Placeholder" or not _are_alike(x.op, y.op):
        return False
    return all(_are_same(*pair, depth - 1) for pair in zip(x.op.inputs, y.op.inputs))


def _have_one_value(pattern: tf.Tensor, tensor: tf.Tensor) -> bool:
    """Returns whether all numbers of a tensor are those of a constant, whatever their shapes."""
    value, expected = tf.get_static_value(tensor), tf.get_static_value(pattern)
    return value is not None and value.size > 0 and bool(np.all(value == expected.flat[0]))


def _are_alike(x: tf.Operation, y: tf.Operation) -> bool:
    """Returns whether operations have one kind and the same attributes and number of inputs."""
    if x.type != y.type or len(x.inputs) != len(y.inputs):
        return False
    return _settings(x) == _settings(y)


def _settings(operation: tf.Operation) -> dict[str, Any]:
    """Returns the attributes of an operation, without those that TensorFlow adds by itself."""
    attributes = operation.node_def.attr
    return {name: attributes[name] for name in attributes if not name.startswith("_")}
