"""Fingerprints of traced functions, by which two traces are told to compute the same."""

import hashlib
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from keras_smooth.lbfgs.digests import digest

# Names that TensorFlow counts up in a process; what they lead to is in the trace as well.
_COUNTED = ("_gradient_op_type", "forward_function_name", "backward_function_name")


def fingerprint(function: Any) -> str:
    """Returns a hash of what a traced function computes, and of what.

    Equal ones are of the same operations on the same constants, variables and tensors, as
    long as the variables live. Operations that call Python differ in every trace.

    Args:
        function: `tf.types.experimental.ConcreteFunction`.
    """
    graph = function.graph.as_graph_def()
    library = {each.signature.name: each for each in graph.library.function}
    total = hashlib.sha256(_Hashes(library).of_nodes(graph.node))
    for tensor in function.captured_inputs:
        of_values = tensor.dtype not in (tf.resource, tf.variant)
        # A resource, as a variable, is itself and no other.
        total.update((digest([tensor]) if of_values else f"{id(tensor)}").encode())
    return total.hexdigest()


class _Hashes:
    """Hashes of the functions of a graph, whatever they and their nodes are called."""

    def __init__(self, library: dict):
        self._library = library
        self._known: dict[str, bytes] = {}

    def of_nodes(
        self, nodes: Iterable, inputs: Iterable = (), results: Iterable[str] = ()
    ) -> bytes:
        """Returns a hash of nodes in their order, given inputs and references to results."""
        named = [each.name for each in (*inputs, *nodes)]
        places = {name: str(place) for place, name in enumerate(named)}
        total = hashlib.sha256(str([each.type for each in inputs]).encode())
        for node in nodes:
            operands = [_renamed(each, places) for each in node.input]
            total.update(f"{node.op} {node.device} {operands}".encode())
            for name, value in sorted(node.attr.items()):
                if name not in _COUNTED:
                    total.update(name.encode() + self._of_attribute(value))
        total.update(str([_renamed(each, places) for each in results]).encode())
        return total.digest()

    def _of_attribute(self, value: Any) -> bytes:
        functions = [value.func] if value.HasField("func") else value.list.func
        if functions:
            return b"".join(self._of_function(each.name) for each in functions)
        return value.SerializeToString(deterministic=True)

    def _of_function(self, name: str) -> bytes:
        if name not in self._library:
            return name.encode()
        if name not in self._known:
            found = self._library[name]
            results = [found.ret[each.name] for each in found.signature.output_arg]
            controls = [f"^{name}" for name in sorted(found.control_ret.values())]
            self._known[name] = self.of_nodes(
                found.node_def, found.signature.input_arg, [*results, *controls]
            )
        return self._known[name]


def _renamed(reference: str, places: dict[str, str]) -> str:
    """Returns a reference such as "^name" or "name:out:0" with the place of its node."""
    control = reference.startswith("^") * "^"
    name, *outputs = reference.removeprefix("^").split(":")
    return ":".join([control + places.get(name, name), *outputs])
