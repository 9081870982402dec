"""Functions with registered facts, recognized in a trace by their operations.

A layer of a user may call `keras.ops.hypot(x, y)`. Its trace shows |x| and |y|, whose kinks cancel.
Here the operations of such a call are found, and replaced by a call of the function with its facts.
"""

import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Mapping
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
    operations, names = [], {}
    for operation in program.operations:
        for each in possible:
            arguments = _arguments(each, operation)
            if arguments is not None:
                added, result = _added_call(graph, operation, each, arguments)
                operations += added
                names[result.name] = operation.outputs[0].name
                break
        else:
            operations.append(operation)
    return dataclasses.replace(program, operations=tuple(operations), names=names)


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


def _arguments(each: Recognizable, operation: tf.Operation) -> list[tf.Tensor] | None:
    """Returns the arguments of a function whose result is that of an operation, or None."""
    if len(operation.outputs) != 1 or not operation.outputs[0].dtype.is_floating:
        return None
    (result,) = operation.outputs
    integers = (tf.int32, tf.int64) if each.integers else (tf.int32,)
    for shape, integer in itertools.product(_SHAPES, integers):
        placeholders, pattern = _pattern(each, result.dtype, shape, integer)
        if pattern.op.type == operation.type:
            matched = _match(pattern, result, {})
            if matched is not None and len(matched) == len(placeholders):
                return [matched[name] for name in placeholders]
    return None


@functools.cache
def _pattern(
    each: Recognizable, dtype: tf.DType, shape: tuple | None, integer: tf.DType
) -> tuple[list[str], tf.Tensor]:
    """Returns the names of the placeholders for the arguments of a function, and its result."""
    parameters = inspect.signature(each.function).parameters.values()
    specifications = [
        tf.TensorSpec(shape, integer if index in each.integers else dtype)
        for index, parameter in enumerate(parameters)
        if parameter.default is parameter.empty
    ]
    compiled = tf.function(functools.partial(each.function), autograph=False)
    concrete = compiled.get_concrete_function(*specifications)
    # The graph lives as long as the cached result.
    return [x.name for x in concrete.inputs], _without_identity(concrete.outputs[0])


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
