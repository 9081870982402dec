"""What a traced function is made of: operations in order, and how each kind is called."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Kinds that TensorFlow counts as stateful, though they change nothing.
_ONLY_READ = frozenset({"Placeholder", "ReadVariableOp", "ResourceGather", "VarHandleOp"})


@dataclasses.dataclass(frozen=True)
class Signature:
    """How operations of one kind are called: the same for all of a kind.

    Args:
        names: Names of the inputs, in order.
        counts: For each input the attribute that says how many tensors it is, or "".
        attributes: Names of the attributes that `function` has as parameters.
        function: The function of `tf.raw_ops`, None where there is none.
        has_effects: Whether it changes something beside its outputs.
    """

    names: tuple[str, ...]
    counts: tuple[str, ...]
    attributes: tuple[str, ...]
    function: Callable | None
    has_effects: bool


_signatures: dict[str, Signature] = {}


def signature(operation: tf.Operation) -> Signature:
    """Returns how operations of a kind are called."""
    kind = operation.type
    if kind not in _signatures:
        definition = operation.op_def
        function = getattr(tf.raw_ops, kind, None)
        parameters = list(inspect.signature(function).parameters) if function else []
        attributes = [each.name for each in definition.attr if each.name in parameters]
        _signatures[kind] = Signature(
            _input_names(definition, [p for p in parameters if p not in attributes]),
            tuple(e.number_attr or e.type_list_attr for e in definition.input_arg),
            tuple(attributes),
            function,
            definition.is_stateful and kind not in _ONLY_READ,
        )
    return _signatures[kind]


def _input_names(definition: Any, parameters: list[str]) -> tuple[str, ...]:
    """Returns the names of the inputs in tf.raw_ops, where some have others than here."""
    names = [each.name for each in definition.input_arg]
    others = iter([each for each in parameters if each not in (*names, "name")])
    return tuple(name if name in parameters else next(others, name) for name in names)


@dataclasses.dataclass(frozen=True)
class Program:
    """Operations in the order in which they run, from inputs to outputs.

    Args:
        inputs: Names of the tensors that are given.
        outputs: Names of the tensors that are returned.
        operations: All of them.
        bodies: Bodies of control flow, by the name of their function.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operations: tuple[tf.Operation, ...]
    bodies: Callable[[str], "Program"]

    @functools.cached_property
    def steps(self) -> list[tuple[tf.Operation, list[str], list[str], list[str]]]:
        """What has to run: an operation, its inputs, its outputs, and what ends with it."""
        needed, steps = set(self.outputs), []
        given = set(self.inputs)
        for operation in reversed(self.operations):
            outputs = [tensor.name for tensor in operation.outputs]
            wanted = not needed.isdisjoint(outputs) or signature(operation).has_effects
            if not wanted or not given.isdisjoint(outputs):
                continue
            inputs = [tensor.name for tensor in operation.inputs]
            steps.append((operation, inputs, outputs, sorted(set(inputs) - needed)))
            needed.update(inputs)
        return steps[::-1]


def layer_of(operation: tf.Operation) -> str:
    """Returns the name of the layer that an operation is in, by the names of its scopes."""
    scopes = operation.name.split("/")[:-1]
    return scopes[-1] if scopes else "the function itself"
