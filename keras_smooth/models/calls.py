"""Calls of a model's parts: their arguments, recorded without side effects."""

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
    """The arguments of one call of a layer, and what it returned."""

    args: tuple
    kwargs: dict
    output: Any

    def arguments(self) -> tuple[tuple, dict]:
        return self.args, self.kwargs


def is_told_by_config(function: Callable) -> bool:
    """Returns whether a function, or the layers of a class, are all that a config says."""
    module = getattr(function, "__module__", None) or type(function).__module__
    return module.split(".")[0] in ("keras", "keras_smooth")


def record(
    model: keras.Operation,
    layers: list[keras.Operation],
    args: tuple,
    training: bool = False,
) -> dict[int, list[Call]]:
    """Runs a model once and returns the calls of each part, by id.

    Assignments of the model are undone.
    """
    calls = {id(layer): [] for layer in layers}
    with contextlib.ExitStack() as stack:
        for layer in layers:
            recording = functools.partial(_recorded, calls[id(layer)])
            stack.enter_context(replaced(layer, recording))
        call_without_trace(model, *args, training=training)
    return calls


def _recorded(calls: list[Call], call: Callable) -> Callable:
    @functools.wraps(call)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        output = call(*args, **kwargs)
        # Within a trace, as for jets, there are no values.
        leaves = keras.tree.flatten((args, kwargs, output))
        if not any(map(tf.is_symbolic_tensor, leaves)):
            calls.append(Call(args, kwargs, output))
        return output

    return recorded


@contextlib.contextmanager
def replaced(layer: keras.Operation, function: Callable) -> Iterator[None]:
    """Replaces the call of a part temporarily.

    Args:
        layer: Layer, model or operation.
        function: Returns what is called, from what the part calls.
    """
    new = function(own_call.entry(layer))
    if not own_call.has_own_call(layer):
        with attribute(layer, own_call.method(layer), new):
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
def attribute(layer: keras.Operation, name: str, value: Any) -> Iterator[None]:
    """Gives a part another attribute temporarily."""
    # Not setattr, which Keras uses to track what it takes for a part of the layer.
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


def call_without_trace(
    layer: keras.Operation, *args: Any, training: bool = False, **kwargs: Any
) -> Any:
    """Calls a part without changing losses, metrics, seeds or state."""
    return without_trace(layer, *args, **own_call.in_mode(layer, training), **kwargs)


def may_leave_trace(layer: Callable) -> bool:
    """Returns whether a call in inference mode may leave losses, metrics, seeds or state."""
    if graph.is_graph(layer):
        return any(map(may_leave_trace, graph.inner(layer)))
    # Code of a user can do anything.
    has_own_code = isinstance(layer, keras.Model | keras.layers.Lambda)
    if has_own_code or not is_told_by_config(type(layer)):
        return True
    if getattr(layer, "activity_regularizer", None) or getattr(layer, "stateful", False):
        return True
    return any(map(may_leave_trace, graph.wrapped(layer)))


def without_trace(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Calls a function so that no layer in it changes losses, metrics, seeds or state.

    Losses that were there before stay. Variables have the values that they have outside,
    and what is assigned to them is kept until the function returns.
    """
    outcome: dict[str, Any] = {}

    def call() -> None:
        # Keras rewrites the message of an error that passes through a layer.
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
        # Otherwise the error would keep itself and all of its frames alive.
        raise outcome.pop("error")
    return outcome["value"]


class _Scope(keras.StatelessScope):
    """A scope in which variables begin with the values that they have around it.

    Keras' own begins with the values outside of all scopes.
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
    """Calls a function: Keras forgets the losses of the outermost layer of a call."""

    def call(self, call: Callable) -> tuple:
        call()
        return ()


@functools.cache
def _outermost_layer() -> keras.layers.Layer:
    # In no dtype of its own: it would cast the variables that the function reads.
    return _Outermost(name="outermost", dtype="float32", autocast=False)


@contextlib.contextmanager
def preserved_random_state() -> Iterator[None]:
    """Gives Python's and NumPy's generators their state back: Keras draws seeds there."""
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


def rows(structure: Any, axes: int = 1) -> np.ndarray:
    """Returns the numbers of all tensors side by side, in float64.

    Args:
        structure: Tensors or arrays of one shape in their first axes.
        axes: How many axes these are; all behind them become one.
    """
    leaves = keras.tree.flatten(structure)
    arrays = [np.asarray(tf.cast(leaf, "float64")) for leaf in leaves]
    return np.concatenate([a.reshape(*a.shape[:axes], -1) for a in arrays], axis=-1)


def is_float(leaf: Any) -> bool:
    return tf.is_tensor(leaf) and leaf.dtype.is_floating
