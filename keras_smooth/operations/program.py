"""A traced function as a program: its operations in order, and how to call each kind."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from keras_smooth.operations.signs import Sign, sign_of_outputs

# Kinds that TensorFlow marks as stateful, although they have no side effects.
_ONLY_READ = frozenset({"Placeholder", "ReadVariableOp", "ResourceGather", "VarHandleOp"})


@dataclasses.dataclass(frozen=True)
class Signature:
    """How all operations of one kind are called.

    Args:
        names: Names of the inputs, in order.
        counts: For each input the attribute with its number of tensors, or "" for a single
            tensor.
        attributes: Pairs of a parameter of `function` and the attribute that it receives.
        function: The function of `tf.raw_ops`, or None if there is none.
        has_effects: Whether the operation has side effects.
    """

    names: tuple[str, ...]
    counts: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]
    function: Callable | None
    has_effects: bool


_signatures: dict[str, Signature] = {}


def signature(operation: tf.Operation) -> Signature:
    """Returns the signature of an operation, which depends only on its kind."""
    kind = operation.type
    if kind not in _signatures:
        definition = operation.op_def
        function = getattr(tf.raw_ops, kind, None)
        parameters = list(inspect.signature(function).parameters) if function else []
        counts = tuple(x.number_attr or x.type_list_attr for x in definition.input_arg)
        names, attributes = _raw_names(definition, [p for p in parameters if p != "name"])
        has_effects = definition.is_stateful and kind not in _ONLY_READ
        _signatures[kind] = Signature(names, counts, attributes, function, has_effects)
    return _signatures[kind]


def _raw_names(definition: Any, parameters: list[str]) -> tuple[tuple, tuple]:
    """Returns `Signature.names` and `Signature.attributes`.

    Some names differ between `tf.raw_ops` and the operation, but their order is the same.
    """
    arguments = [*definition.input_arg, *definition.output_arg]
    inferred = {
        name for argument in arguments
        for name in (argument.type_attr, argument.number_attr, argument.type_list_attr)
    }  # fmt: skip
    inputs = [argument.name for argument in definition.input_arg]
    attributes = [
        x.name for x in definition.attr if x.name in parameters or x.name not in inferred
    ]
    known = [*inputs, *attributes]
    others = (name for name in parameters if name not in known)
    raw = {name: name if name in parameters else next(others, name) for name in known}
    return tuple(map(raw.get, inputs)), tuple((raw[name], name) for name in attributes)


class Instruction(NamedTuple):
    """An operation to run, with the names of its tensors.

    Args:
        operation: The operation.
        inputs: Names of its inputs.
        outputs: Names of its outputs.
        last_uses: Names of the inputs that no later operation needs.
    """

    operation: tf.Operation
    inputs: list[str]
    outputs: list[str]
    last_uses: list[str]


@dataclasses.dataclass(frozen=True)
class Program:
    """Operations in the order in which they run, from inputs to outputs.

    Args:
        inputs: Names of the tensors that the program receives.
        outputs: Names of the tensors that it returns.
        operations: All operations, including those on which no output depends.
        bodies: Returns the body of a function, by the name of the function.
        names: By the names of some tensors the names of those whose place they have.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operations: tuple[tf.Operation, ...]
    bodies: Callable[[str], "Program"]
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def name_of(self, tensor: tf.Tensor) -> str:
        """Returns the name of a tensor in the program."""
        return self.names.get(tensor.name, tensor.name)

    @functools.cached_property
    def tensors(self) -> dict[str, tf.Tensor]:
        """The tensors of its operations by name."""
        tensors = (tensor for operation in self.operations for tensor in operation.outputs)
        return {self.name_of(tensor): tensor for tensor in tensors}

    @functools.cached_property
    def instructions(self) -> list[Instruction]:
        """The operations to run for the outputs and for side effects."""
        return self._instructions(with_effects=True)

    @functools.cached_property
    def instructions_to_outputs(self) -> list[Instruction]:
        """The operations to run for the outputs only."""
        return self._instructions(with_effects=False)

    @functools.cached_property
    def signs(self) -> dict[str, Sign]:
        """The signs of its tensors by name, as far as they are known for all inputs."""
        known: dict[str, Sign] = {}
        for operation, inputs, outputs, _ in self.instructions_to_outputs:
            input_signs = [known.get(name, Sign.UNKNOWN) for name in inputs]
            known.update(dict.fromkeys(outputs, sign_of_outputs(operation, input_signs)))
        return known

    def _instructions(self, with_effects: bool) -> list[Instruction]:
        needed, instructions = set(self.outputs), []
        program_inputs = set(self.inputs)
        for operation in reversed(self.operations):
            outputs = [self.name_of(tensor) for tensor in operation.outputs]
            runs_anyway = with_effects and signature(operation).has_effects
            is_needed = runs_anyway or not needed.isdisjoint(outputs)
            if not is_needed or not program_inputs.isdisjoint(outputs):
                continue
            inputs = [tensor.name for tensor in operation.inputs]
            last_uses = sorted(set(inputs) - needed)
            instructions.append(Instruction(operation, inputs, outputs, last_uses))
            needed.update(inputs)
        return instructions[::-1]


def without_identity(tensor: tf.Tensor) -> tf.Tensor:
    """Returns the tensor of which a tensor is the identity, or the tensor itself."""
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor


def layer_path(operation: tf.Operation) -> str:
    """Returns the path of the layer in which an operation is, from its name scopes."""
    scopes = operation.name.split("/")[:-1]
    return "/".join(scopes[1:] or scopes) or "the function itself"
