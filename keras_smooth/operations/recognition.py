"""Functions with registered facts, recognized in a trace by their operations.

A layer of a user may call `keras.ops.hypot(x, y)`. Its trace shows |x| and |y|, whose kinks cancel.
Here the operations of such a call are found, and replaced by a call of the function with its facts.
"""

import collections
import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth.operations.program import Program
from keras_smooth.operations.registered import Facts, facts_of_calls, with_facts

_COMMUTATIVE = frozenset({"Add", "AddV2", "LogicalAnd", "Maximum", "Minimum", "Mul"})
# Some functions have other operations if the shapes of their arguments are not known.
_SHAPES = ((2, 3), None)

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


def add(function: Callable, facts: Facts, kinds: str, integers: tuple[int, ...]) -> None:
    """Adds a function to those that are recognized if called with its default parameters.

    Args:
        function: See `Recognizable`.
        facts: See `Recognizable`.
        kinds: Names separated by spaces, see `Recognizable`.
        integers: See `Recognizable`.
    """
    kinds_of_function = frozenset(kinds.split())
    _functions[function] = Recognizable(function, facts, kinds_of_function, integers)


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
    outputs = [operation.outputs for operation in program.operations]
    dtypes = {x[0].dtype for x in outputs if len(x) == 1 and x[0].dtype.is_floating}
    patterns = _by_result(possible, dtypes)
    operations, names = [], {}
    for operation in program.operations:
        call = _recognized(operation, patterns)
        if call is None:
            operations.append(operation)
        else:
            added, result = _added_call(graph, operation, *call)
            operations += added
            names[result.name] = operation.outputs[0].name
    return dataclasses.replace(program, operations=tuple(operations), names=names)


def _by_result(
    functions: Sequence[Recognizable], dtypes: Iterable[tf.DType]
) -> dict[tuple[str, tf.DType], list[Pattern]]:
    """Returns the patterns of functions by the kind and dtype of the last operation."""
    patterns = collections.defaultdict(list)
    for each, dtype in itertools.product(functions, dtypes):
        integers = (tf.int32, tf.int64) if each.integers else (tf.int32,)
        for shape, integer in itertools.product(_SHAPES, integers):
            pattern = _pattern(each, dtype, shape, integer)
            patterns[pattern.result.op.type, pattern.result.dtype].append(pattern)
    return patterns


@functools.cache
def _pattern(
    each: Recognizable, dtype: tf.DType, shape: tuple | None, integer: tf.DType
) -> Pattern:
    """Returns the pattern of a function for the dtypes and the shape of its arguments."""
    parameters = inspect.signature(each.function).parameters.values()
    specifications = [
        tf.TensorSpec(shape, integer if index in each.integers else dtype)
        for index, parameter in enumerate(parameters)
        if parameter.default is parameter.empty
    ]
    compiled = tf.function(functools.partial(each.function), autograph=False)
    concrete = compiled.get_concrete_function(*specifications)
    placeholders = tuple(x.name for x in concrete.inputs)
    return Pattern(each, placeholders, _without_identity(concrete.outputs[0]))


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
) -> tuple[list[tf.Operation], tf.Tensor]:
    """Adds a call to a graph, in the scope of an operation; returns its operations and result."""
    num_before = len(graph.get_operations())
    scope = operation.name.rpartition("/")[0]
    with (
        graph.as_default(),
        tf.name_scope(scope and f"{scope}/"),
        facts_of_calls() as store,
    ):
        result = with_facts(each.function, each.facts)(*arguments)
    store(graph)
    return graph.get_operations()[num_before:], result


def _match(pattern: tf.Tensor, tensor: tf.Tensor, known: Arguments) -> Arguments | None:
    """Returns the arguments for which a tensor is computed as in a pattern, or None.

    Args:
        pattern: A tensor of a pattern.
        tensor: A traced tensor.
        known: Arguments that follow from other tensors.
    """
    pattern, tensor = _without_identity(pattern), _without_identity(tensor)
    expected, operation = pattern.op, tensor.op
    if expected.type == "Placeholder":
        argument = known.get(pattern.name, tensor)
        is_same = argument is tensor and tensor.dtype == pattern.dtype
        return {**known, pattern.name: tensor} if is_same else None
    if (
        expected.type != operation.type
        or pattern.value_index != tensor.value_index
        or len(expected.inputs) != len(operation.inputs)
    ):
        return None
    if expected.type == "Const":
        return known if _have_one_value(pattern, tensor) else None
    if _settings(expected) != _settings(operation):
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


def _without_identity(tensor: tf.Tensor) -> tf.Tensor:
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor


def _have_one_value(*constants: tf.Tensor) -> bool:
    """Returns whether all numbers of constants are the same, whatever their shapes."""
    arrays = [tf.make_ndarray(constant.op.get_attr("value")) for constant in constants]
    return len({array.dtype for array in arrays}) == 1 and all(
        array.size and np.all(array == arrays[0].flat[0]) for array in arrays
    )


def _settings(operation: tf.Operation) -> dict[str, Any]:
    """Returns the attributes of an operation, without those that TensorFlow adds by itself."""
    attributes = operation.node_def.attr
    return {name: attributes[name] for name in attributes if not name.startswith("_")}
