"""Copies of layers and models in a dtype, and records of what each part was called with."""

import contextlib
import dataclasses
import functools
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import inputs, registry

Operation = keras.Operation
_FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclasses.dataclass(frozen=True)
class Call:
    """The arguments of one call of a layer, and what it returned."""

    args: tuple
    kwargs: dict
    output: Any

    def arguments(self) -> tuple:
        return self.args, self.kwargs


class CannotCopy(Exception):
    """Says why a part has no float64 copy."""


@contextlib.contextmanager
def preserved_random_state() -> Iterator[None]:
    """Gives Python's and NumPy's generators their state back: Keras draws seeds there."""
    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def is_composed(part: object) -> bool:
    """Returns whether a part is a model made of parts that can be looked at."""
    return isinstance(part, keras.Model) and bool(inner(part))


def is_graph(part: object) -> bool:
    """Returns whether a part is a Sequential or Functional model with Keras' `call`."""
    return registry.graph_class(part) is not None


def is_plain(part: object) -> bool:
    """Returns whether a part is nothing but its layers: no model in it has its own `call`."""
    return not is_composed(part) or is_graph(part) and all(map(is_plain, inner(part)))


def inner(model: keras.Model) -> list:
    parts = registry.parts(model) or getattr(model, "operations", model.layers)
    return [part for part in parts if not isinstance(part, keras.layers.InputLayer)]


def walk(model: Operation, prefix: str = "") -> Iterator[tuple[str, Operation]]:
    """Yields the path and the part for each layer of a model, nested models included."""
    if not is_composed(model):
        yield prefix + model.name, model
        return
    for part in inner(model):
        yield from walk(part, f"{prefix}{part.name}/" if is_composed(part) else prefix)


def unique(model: Operation) -> list[tuple[str, Operation]]:
    """Returns `walk(model)` with each shared layer once."""
    return list({id(part): (path, part) for path, part in walk(model)}.values())


def record(model: Operation, parts: list[Operation], args: tuple) -> dict[int, list[Call]]:
    """Runs a model once in inference mode and returns the calls of each part, by id.

    Nothing the model assigns on the way is kept.
    """
    calls = {id(part): [] for part in parts}
    with contextlib.ExitStack() as stack:
        for part in parts:
            stack.enter_context(_recorded(part, calls[id(part)]))
        run(model, *args)
    return calls


@contextlib.contextmanager
def _recorded(part: Operation, calls: list[Call]) -> Iterator[None]:
    call = part.call

    @functools.wraps(call)
    def recording(*args, **kwargs):
        output = call(*args, **kwargs)
        calls.append(Call(args, kwargs, output))
        return output

    # Not setattr, which Keras uses to track what it takes for a part of the layer.
    vars(part)["call"] = recording
    try:
        yield
    finally:
        del vars(part)["call"]


def run(part: Operation, *args, training: bool = False, **kwargs) -> Any:
    """Calls a part so that variables and random seeds stay as they are."""
    with keras.StatelessScope():
        if isinstance(part, keras.layers.Layer):
            return part(*args, training=training, **kwargs)
        return part(*args, **kwargs)


def copy_in(dtype: str, part: Operation, args: tuple, kwargs: dict) -> Operation:
    """Returns a built copy of a layer or model that computes in a dtype, without its weights.

    Args:
        dtype: "float64" or "float32".
        part: Layer, model or operation.
        args: Arguments of a call, on which the copy is built.
        kwargs: Keyword arguments of that call.

    Raises:
        CannotCopy: If Keras cannot build it from its config.
    """
    try:
        with keras.saving.custom_object_scope(_classes(part)):
            copy = _rebuilt(part, dtype)
        if isinstance(copy, keras.layers.Layer) and not copy.built:
            copy(*args, **kwargs)
        return copy
    # Whatever a layer's own code raises is the reason.
    except Exception as error:
        raise CannotCopy(f"no {dtype} copy: {brief(error)}") from error


def brief(error: Exception) -> str:
    """Returns class and first informative line of an error."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [
        line for line in lines if line and not line.startswith("Exception encountered")
    ]
    text = ": ".join([type(error).__name__, *lines[:1]])[:160]
    return re.sub(r"\x1b\[\d+m", "", text)  # TensorFlow prints in bold


def _classes(part: Operation) -> dict[str, type]:
    """Returns the classes of all parts by name, so that unregistered ones are found."""
    parts = [part, *(found for _, found in walk(part))]
    own = [type(found) for found in parts if not _is_keras(type(found))]
    return {kind.__name__: kind for kind in own}


def _is_keras(kind: type) -> bool:
    return kind.__module__.split(".")[0] in ("keras", "keras_smooth")


def _rebuilt(part: Operation, dtype: str) -> Operation:
    """Returns a copy in a dtype with fresh weights."""
    if is_graph(part):
        return _rebuilt_graph(part, dtype)
    rule = _RULES.get(type(part), _from_config)
    return rule(part, dtype)


def _rebuilt_graph(model: keras.Model, dtype: str) -> keras.Model:
    rebuilt = functools.partial(_rebuilt, dtype=dtype)
    structure = inputs.of_graph(model) if model.built else []
    tensors = keras.tree.map_structure(lambda each: _input_in(dtype, each), structure)
    # Keras compiles the clone of a compiled model: a loss may not be copied.
    if isinstance(model, keras.Sequential):
        first = keras.tree.flatten(tensors)
        return keras.Sequential([*first, *map(rebuilt, model.layers)], name=model.name)
    if model.compiled:
        model = keras.Model(structure, model.output, name=model.name)
    return clone(model, tensors, rebuilt)


def clone(model: keras.Model, tensors: Any, function: Callable) -> keras.Model:
    """Returns a clone on new inputs whose parts are those that `function` returns."""
    memory = {}

    def once(part):
        if id(part) not in memory:
            memory[id(part)] = function(part)
        return memory[id(part)]

    return keras.models.clone_model(model, input_tensors=tensors, clone_function=once)


def _input_in(dtype: str, tensor) -> keras.KerasTensor:
    dtype = dtype if tensor.dtype in _FLOATS else tensor.dtype
    return keras.Input(batch_shape=tensor.shape, dtype=dtype, name=tensor.name)


def unbuilt(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns a copy of a layer with the same arguments, without weights."""
    with keras.saving.custom_object_scope(_classes(layer)):
        if isinstance(layer, keras.layers.Lambda):
            return _lambda(layer, layer.dtype_policy)
        return type(layer).from_config(layer.get_config())


def _from_config(part: Operation, dtype: str) -> Operation:
    return type(part).from_config(in_dtype(dtype, part.get_config()))


def _lambda(layer: keras.layers.Lambda, dtype) -> keras.layers.Lambda:
    # From its function, not from its config: safe mode refuses the code of a lambda.
    return keras.layers.Lambda(
        layer.function, arguments=layer.arguments, name=layer.name, dtype=dtype
    )


_RULES = {keras.layers.Lambda: _lambda}


def in_dtype(dtype: str, config: Any) -> Any:
    """Returns a config in which every floating-point dtype is the given one."""
    if isinstance(config, dict):
        return {
            key: dtype
            if key == "dtype" and _is_float_policy(value)
            else in_dtype(dtype, value)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return type(config)(in_dtype(dtype, item) for item in config)
    return config


def _is_float_policy(value: Any) -> bool:
    if isinstance(value, dict):
        value = value.get("config", {}).get("name")
    if not isinstance(value, str):
        return False
    return value.removeprefix("mixed_") in _FLOATS


def cast_to(dtype: str, structure: Any) -> Any:
    """Returns a structure in which every tensor of floats has a dtype."""
    return keras.tree.map_structure(
        lambda leaf: tf.cast(leaf, dtype) if is_float(leaf) else leaf, structure
    )


def is_float(leaf: Any) -> bool:
    return tf.is_tensor(leaf) and leaf.dtype.is_floating
