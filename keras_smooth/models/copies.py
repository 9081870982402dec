"""Copies of layers and models in a dtype."""

import functools
import re
from collections.abc import Callable
from typing import Any

import keras

from keras_smooth.models import sample_inputs
from keras_smooth.models.graph import is_graph, walk

_FLOATS = ("float16", "bfloat16", "float32", "float64")


class CannotCopy(Exception):
    """Says why a part has no float64 copy."""


def copy_in(dtype: str, part: keras.Operation, args: tuple, kwargs: dict) -> keras.Operation:
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


def _classes(part: keras.Operation) -> dict[str, type]:
    """Returns the classes of all parts by name, so that unregistered ones are found."""
    parts = [part, *(found for _, found in walk(part))]
    own = [type(found) for found in parts if not _is_keras(type(found))]
    return {kind.__name__: kind for kind in own}


def _is_keras(kind: type) -> bool:
    return kind.__module__.split(".")[0] in ("keras", "keras_smooth")


def _rebuilt(part: keras.Operation, dtype: str) -> keras.Operation:
    """Returns a copy in a dtype with fresh weights."""
    if is_graph(part):
        return _rebuilt_graph(part, dtype)
    rule = _RULES.get(type(part), _from_config)
    return rule(part, dtype)


def _rebuilt_graph(model: keras.Model, dtype: str) -> keras.Model:
    rebuilt = functools.partial(_rebuilt, dtype=dtype)
    structure = sample_inputs.of_graph(model) if model.built else []
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


def _from_config(part: keras.Operation, dtype: str) -> keras.Operation:
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
