"""The calls of the layers in a model, recorded without side effects."""

import contextlib
import dataclasses
import functools
import random
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.models import graph, own_call


@dataclasses.dataclass(frozen=True)
class Call:
    """The arguments of one call of a layer, and its output."""

    args: tuple
    kwargs: dict
    output: Any

    def arguments(self) -> tuple[tuple, dict]:
        return self.args, self.kwargs


def is_determined_by_config(function: Callable) -> bool:
    """Returns whether the config of a layer determines a function or a class in it completely.

    This is so for Keras and for this package, but not for code of a user.
    """
    module = getattr(function, "__module__", None) or type(function).__module__
    return module.split(".")[0] in ("keras", "keras_smooth")


def record(
    model: keras.Operation,
    layers: list[keras.Operation],
    args: tuple,
    training: bool = False,
) -> dict[int, list[Call]]:
    """Runs a model once and returns the calls of each of `layers`, by `id(layer)`.

    Assignments to variables are undone.
    """
    calls = {id(layer): [] for layer in layers}
    with contextlib.ExitStack() as stack:
        for layer in layers:
            recording = functools.partial(_recorded, calls[id(layer)])
            stack.enter_context(replaced_call(layer, recording))
        call_without_side_effects(model, *args, training=training)
    return calls


def _recorded(calls: list[Call], call: Callable) -> Callable:
    @functools.wraps(call)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        # In a nested trace, as for jets, tensors have no values.
        leaves = keras.tree.flatten((args, kwargs, output))
        if not any(map(tf.is_symbolic_tensor, leaves)):
            calls.append(Call(args, kwargs, output))
        return output

    return recorded


@contextlib.contextmanager
def replaced_call(layer: keras.Operation, function: Callable) -> Iterator[None]:
    """Replaces the `call` of a layer temporarily.

    Args:
        layer: Layer, model or keras.Operation.
        function: Returns the new `call`, from the old one.
    """
    new = function(own_call.entry(layer))
    if not own_call.has_own_call(layer):
        with temporary_attribute(layer, own_call.method(layer), new):
            yield
        return
    kind = type(layer)
    # Python looks up `__call__` in the class only.
    layer.__class__ = type(kind.__name__, (kind,), {"__call__": staticmethod(new)})
    try:
        yield
    finally:
        layer.__class__ = kind


@contextlib.contextmanager
def temporary_attribute(layer: keras.Operation, name: str, value: Any) -> Iterator[None]:
    """Sets an attribute of a layer temporarily."""
    # Not by setattr: Keras would track layers among the values.
    attributes = vars(layer)
    has_own, before = name in attributes, attributes.get(name)
    attributes[name] = value
    try:
        yield
    finally:
        if has_own:
            attributes[name] = before
        else:
            del attributes[name]


def call_without_side_effects(
    layer: keras.Operation, *args: Any, training: bool = False, **kwargs: Any
) -> Any:
    """Calls a layer without changing losses, metrics, seeds or state."""
    return without_side_effects(layer, *args, **own_call.in_mode(layer, training), **kwargs)


def may_have_side_effects(layer: Callable) -> bool:
    """Returns whether a call in inference mode may change losses, metrics, seeds or state."""
    if graph.is_graph(layer):
        return any(map(may_have_side_effects, graph.inner(layer)))
    # Code of a user may do anything.
    has_own_code = isinstance(layer, keras.Model | keras.layers.Lambda)
    if has_own_code or not is_determined_by_config(type(layer)):
        return True
    if getattr(layer, "activity_regularizer", None) or getattr(layer, "stateful", False):
        return True
    return any(map(may_have_side_effects, graph.wrapped(layer)))


def without_side_effects(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Calls a function without changing the losses, metrics, seeds or state of layers.

    Earlier losses are kept. Variables begin with the values that they have outside, and values
    that are assigned to them are dropped when the function returns.
    """
    outcome: dict[str, Any] = {}

    def call() -> None:
        # Caught here, since Keras rewrites the message of an error that leaves a layer.
        try:
            outcome["value"] = function(*args, **kwargs)
        except Exception as error:
            outcome["error"] = error

    with _Scope() as scope:
        if scope.is_within_another:
            call()
        else:
            _outermost_layer()(call=call)
    if "error" in outcome:
        # `pop` avoids a cycle of the error and its frames, which would stay in memory.
        raise outcome.pop("error")
    return outcome["value"]


class _Scope(keras.StatelessScope):
    """A scope in which variables begin with the values of the scope around it.

    In Keras' own scope they begin with the values outside of all scopes.
    """

    def get_current_value(self, variable: keras.Variable) -> Any:
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            return self.original_scope.get_current_value(variable)
        return value

    @property
    def is_within_another(self) -> bool:
        scope = self.original_scope
        while scope is not None and not isinstance(scope, _Scope):
            scope = scope.original_scope
        return scope is not None


class _Outermost(keras.layers.Layer):
    """A layer that calls a function. Keras drops earlier losses of the outermost layer."""

    def call(self, call: Callable) -> tuple:
        call()
        return ()


@functools.cache
def _outermost_layer() -> keras.layers.Layer:
    # Autocast would cast the variables that the function reads.
    return _Outermost(name="outermost", dtype="float32", autocast=False)


@contextlib.contextmanager
def preserved_random_state() -> Iterator[None]:
    """Restores the state of Python's and NumPy's generators, from which Keras draws seeds."""
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def cast_to(dtype: str, structure: Any) -> Any:
    """Returns a structure in which every tensor of floats has a dtype."""
    return keras.tree.map_structure(
        lambda leaf: tf.cast(leaf, dtype) if is_float(leaf) else leaf, structure
    )


def float64_rows(structure: Any, axes: int = 1) -> np.ndarray:
    """Returns the numbers of all tensors in float64, side by side on the last axis.

    Args:
        structure: Tensors or arrays with equal sizes of the first `axes` axes.
        axes: The number of axes to keep. The axes after them are flattened to one.
    """
    leaves = keras.tree.flatten(structure)
    arrays = [np.asarray(tf.cast(leaf, "float64")) for leaf in leaves]
    return np.concatenate([a.reshape(*a.shape[:axes], -1) for a in arrays], axis=-1)


def is_float(leaf: Any) -> bool:
    return tf.is_tensor(leaf) and leaf.dtype.is_floating
