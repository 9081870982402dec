"""Whether arrays, traced functions and models are the same as before."""

import hashlib
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_PLAIN_TYPES = (bool, int, float, complex, str, bytes, type(None), np.generic, tf.DType)
# Packages whose code does not change. Only the attributes of their objects can change.
_KNOWN_PACKAGES = ("keras", "keras_smooth", "tensorflow", "numpy", "builtins", "inspect")
# Attributes in which Keras records calls, and which do not change what a layer computes.
_RECORDED_BY_KERAS = ("_called",)
# Attributes with names to which TensorFlow appends a counter. The trace also has the functions
# with these names.
_NUMBERED = ("_gradient_op_type", "forward_function_name", "backward_function_name")


class _ObjectIdentity:
    """The identity of an object, which differs from that of a later one at the same address."""

    def __init__(self, value: Any) -> None:
        self.get: Callable[[], Any]
        try:
            self.get = weakref.ref(value)
        except TypeError:
            self.get = lambda: value
        self.hash = id(value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _ObjectIdentity):
            return False
        value = self.get()
        return value is not None and value is other.get()

    def __hash__(self) -> int:
        return self.hash


class _UnknownError(Exception):
    """The computation of a model depends on an object of which nothing is known."""


def identity(model: Any) -> tuple | None:
    """Returns all that determines the computation of a model, or None if it is not known.

    A model of Keras' own layers and functions computes the same as long as all of their
    attributes are the same. Code of a user may depend on anything, so its identity is None.
    The values of variables are not part of the identity.

    Args:
        model: Model, layer or function.

    Example:

    >>> import keras
    >>> from keras_smooth.models.identity import identity
    >>> layer = keras.layers.Dense(1, "tanh")
    >>> layer.build((None, 2))
    >>> before = identity(layer)
    >>> layer.activation = keras.activations.sigmoid
    >>> identity(layer) == before, identity(lambda x: x) is None
    (False, True)
    """
    if not isinstance(model, keras.layers.Layer):
        return None
    entries: list = [keras.config.floatx(), keras.config.epsilon()]
    try:
        _collect(model, entries, set())
    except _UnknownError:
        return None
    return tuple(entries)


def _collect(value: Any, entries: list, seen: set[int]) -> None:
    """Appends the identity of a value, and of all values in it, to the entries."""
    if isinstance(value, _PLAIN_TYPES):
        entries.append((type(value), value))
    elif isinstance(value, keras.Variable):
        if not hasattr(value.value, "assign"):
            # In a StatelessScope, its value is a tensor.
            raise _UnknownError
        entries.append(_ObjectIdentity(value))
    elif isinstance(value, (list, tuple, set, frozenset)):
        entries.append(len(value))
        for item in value:
            _collect(item, entries, seen)
    elif isinstance(value, dict):
        _collect(list(value.items()), entries, seen)
    elif id(value) in seen:
        entries.append(_ObjectIdentity(value))
    else:
        _collect_object(value, entries, seen)


def _collect_object(value: Any, entries: list, seen: set[int]) -> None:
    module = getattr(value, "__module__", None) or type(value).__module__
    if module.partition(".")[0] not in _KNOWN_PACKAGES:
        raise _UnknownError
    if isinstance(value, np.ndarray) and value.size > 16:
        raise _UnknownError
    entries.append(_ObjectIdentity(value))
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        entries.append(value.tobytes())
    elif isinstance(value, keras.Operation):
        for name, attribute in vars(value).items():
            if name not in _RECORDED_BY_KERAS:
                entries.append(name)
                _collect(attribute, entries, seen)


def digest(arrays: Iterable[Any]) -> str:
    """Returns a hash of shapes, dtypes and values."""
    hasher = hashlib.sha256()
    for array in map(np.asarray, arrays):
        hasher.update(f"{array.dtype}{array.shape}".encode())
        hasher.update(np.ascontiguousarray(array).tobytes())
    return hasher.hexdigest()


def fingerprint(function: Any) -> str:
    """Returns a hash of the operations of a traced function and of the tensors that it captures.

    Equal hashes mean the same operations on the same constants, variables and tensors, as
    long as the variables exist. Operations that call Python differ in each trace.

    Args:
        function: `tf.types.experimental.ConcreteFunction`.
    """
    hasher = hashlib.sha256(definition(function.graph))
    for tensor in function.captured_inputs:
        has_values = tensor.dtype not in (tf.resource, tf.variant)
        # A resource, such as a variable, is identified by its handle, not by its value.
        hasher.update((digest([tensor]) if has_values else f"{id(tensor)}").encode())
    return hasher.hexdigest()


def definition(graph: tf.Graph) -> bytes:
    """Returns a hash of the operations of a traced graph, and of the functions that they call.

    It does not depend on the names of operations and functions, which differ in each trace.
    """
    nodes = graph.as_graph_def()
    library = {each.signature.name: each for each in nodes.library.function}
    return _FunctionHashes(library).hash_of_nodes(nodes.node)


class _FunctionHashes:
    """Hashes of the functions of a graph that do not depend on names of functions and nodes."""

    def __init__(self, library: dict):
        self._library = library
        self._known: dict[str, bytes] = {}

    def hash_of_nodes(
        self, nodes: Iterable, inputs: Iterable = (), results: Iterable[str] = ()
    ) -> bytes:
        """Returns a hash of nodes in their order, of their inputs and of their results."""
        named = [node.name for node in (*inputs, *nodes)]
        numbers = {name: str(number) for number, name in enumerate(named)}
        hasher = hashlib.sha256(str([node.type for node in inputs]).encode())
        for node in nodes:
            operands = [_with_number(name, numbers) for name in node.input]
            hasher.update(f"{node.op} {node.device} {operands}".encode())
            for name, value in sorted(node.attr.items()):
                if name not in _NUMBERED:
                    hasher.update(name.encode() + self._hash_of_attribute(value))
        hasher.update(str([_with_number(name, numbers) for name in results]).encode())
        return hasher.digest()

    def _hash_of_attribute(self, value: Any) -> bytes:
        functions = [value.func] if value.HasField("func") else value.list.func
        if functions:
            return b"".join(self._hash_of_function(function.name) for function in functions)
        return value.SerializeToString(deterministic=True)

    def _hash_of_function(self, name: str) -> bytes:
        if name not in self._library:
            return name.encode()
        if name not in self._known:
            definition = self._library[name]
            results = [
                definition.ret[result.name] for result in definition.signature.output_arg
            ]
            controls = [f"^{name}" for name in sorted(definition.control_ret.values())]
            self._known[name] = self.hash_of_nodes(
                definition.node_def, definition.signature.input_arg, [*results, *controls]
            )
        return self._known[name]


def _with_number(reference: str, numbers: dict[str, str]) -> str:
    """Returns a reference such as "^name" or "name:out:0" with a number instead of the name."""
    control = reference.startswith("^") * "^"
    name, *outputs = reference.removeprefix("^").split(":")
    return ":".join([control + numbers.get(name, name), *outputs])
