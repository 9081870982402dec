"""The bodies of control flow and of called functions, imported from their definitions."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.operations.program import Program
from keras_smooth.operations.recognition import with_recognized_calls
from keras_smooth.operations.registered import has_facts

# By kind of operation, for each output argument: its name, and the attribute with its number of
# tensors, or "" for a single tensor. Filled when an operation of the kind is imported.
_output_arguments: dict[str, tuple[tuple[str, str], ...]] = {}


def body_lookup(graph: tf.Graph) -> Callable[[str], Program]:
    """Returns a function from the name of a function in a graph to its body, a `Program`."""

    @functools.cache
    def definitions() -> tuple:
        # With the shapes, since those of variables are not known from an argument alone.
        definition = graph.as_graph_def(add_shapes=True)
        functions = {f.signature.name: f for f in definition.library.function}
        return definition, functions

    @functools.cache
    def body(name: str) -> Program:
        definition, functions = definitions()
        function = functions[name]
        imported = _ImportedFunction(function, definition)
        inputs = (argument.name for argument in function.signature.input_arg)
        outputs = (function.ret[output.name] for output in function.signature.output_arg)
        program = Program(
            inputs=tuple(imported.tensor(reference).name for reference in inputs),
            outputs=tuple(imported.tensor(reference).name for reference in outputs),
            operations=tuple(imported.operations.values()),
            bodies=body,
        )
        # The operations of a recognized function are not recognized again.
        if has_facts(name):
            return program
        recognized = with_recognized_calls(program, imported.graph)
        if recognized is not program:
            # The called functions are in this graph only.
            return dataclasses.replace(recognized, bodies=body_lookup(imported.graph))
        return program

    return body


class _ImportedFunction:
    """The nodes of a function definition, imported as operations of a new graph.

    A function definition refers to a tensor as `node:output:index`, a graph as `node:index`.
    To convert one into the other, one needs the output arguments of the kind of operation,
    which are known only after an operation of this kind is imported. So the nodes are
    imported in batches, each as soon as the references of its inputs can be converted.
    """

    def __init__(self, function: Any, definition: Any) -> None:
        self.definition = definition
        self.graph = tf.Graph()
        self.nodes = {node.name: node for node in function.node_def}
        self.operations: dict[str, tf.Operation] = {}
        arguments = function.signature.input_arg
        self._import_batch(
            [_placeholder(x, function.arg_attr[i]) for i, x in enumerate(arguments)]
        )
        pending = list(function.node_def)
        while pending:
            batch = self._importable(pending)
            self._import_batch(batch)
            pending = [node for node in pending if node.name not in self.operations]

    def tensor(self, reference: str) -> tf.Tensor:
        """Returns the tensor of a reference `node:output:index` in the definition."""
        node, *output = reference.split(":")
        index = self._output_index(node, *output) if output else 0
        return self.operations[node].outputs[index]

    def _output_index(self, node: str, output: str, index: str) -> int:
        """Returns the index of an output of a node, from the index in its output argument."""
        first, attributes = 0, self.nodes[node].attr
        for name, count in _output_arguments[self.nodes[node].op]:
            if name == output:
                return first + int(index)
            sizes = attributes[count] if count else None
            first += 1 if sizes is None else sizes.i or len(sizes.list.type)
        raise ValueError(f"{node} has no output {output}")

    def _importable(self, pending: Sequence) -> list:
        """Returns the pending nodes whose inputs can be converted, in order."""
        batch: dict[str, Any] = {}
        for node in pending:
            producers = [_node_name(name) for name in node.input]
            ready = (
                producer in self.operations
                or producer in batch
                and batch[producer].op in _output_arguments
                for producer in producers
            )
            if all(ready):
                batch[node.name] = node
        return list(batch.values())

    def _import_batch(self, nodes: Sequence) -> None:
        in_batch = {node.name for node in nodes}
        graph_def = tf.compat.v1.GraphDef(
            versions=self.definition.versions, library=self.definition.library
        )
        earlier = {}
        for node in nodes:
            copy = graph_def.node.add()
            copy.CopyFrom(node)
            del copy.input[:]
            # This attribute colocates a node with another one, which may be in another batch.
            copy.attr.pop("_class", None)
            for reference in node.input:
                producer = _node_name(reference)
                if producer in in_batch:
                    copy.input.append(self._graph_reference(reference))
                # The order of the operations satisfies control dependencies on earlier batches.
                elif not reference.startswith("^"):
                    # TensorFlow generates no names of this form.
                    key = f"earlier.{len(earlier)}"
                    earlier[f"{key}:0"] = self.tensor(reference)
                    copy.input.append(key)
        for key, tensor in earlier.items():
            placeholder = graph_def.node.add()
            placeholder.name, placeholder.op = key.split(":")[0], "Placeholder"
            placeholder.attr["dtype"].type = tensor.dtype.as_datatype_enum
        with self.graph.as_default():
            names = [node.name for node in nodes]
            operations = tf.import_graph_def(
                graph_def, input_map=earlier, return_elements=names, name=""
            )
        self.operations.update(zip(names, operations, strict=True))
        for operation in operations:
            _output_arguments[operation.type] = tuple(
                (output.name, output.number_attr or output.type_list_attr)
                for output in operation.op_def.output_arg
            )

    def _graph_reference(self, reference: str) -> str:
        node, *output = reference.split(":")
        return f"{node}:{self._output_index(node, *output)}" if output else reference


def _node_name(reference: str) -> str:
    return reference.lstrip("^").split(":")[0]


def _placeholder(argument: Any, attributes: Any) -> Any:
    """Returns a placeholder for an argument, with its shape if the definition has it."""
    node = tf.compat.v1.NodeDef(name=argument.name, op="Placeholder")
    node.attr["dtype"].type = argument.type
    shapes = attributes.attr["_output_shapes"].list.shape
    if shapes and argument.type != tf.resource.as_datatype_enum:
        node.attr["shape"].shape.CopyFrom(shapes[0])
    return node
