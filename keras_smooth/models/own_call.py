"""Layers whose class has a `__call__` of its own instead of Keras'.

Code for older versions of Keras has such classes. Keras then neither builds the layer nor runs its
`call`.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from keras_smooth.checks import shown


def has_own_call(layer: object) -> bool:
    """Returns whether the `__call__` of a layer is not that of Keras."""
    method = type(layer).__call__
    return isinstance(layer, keras.Operation) and method.__module__.split(".")[0] != "keras"


def is_built(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer has its weights, from Keras' flag or from those of its layers."""
    if layer.built or not has_own_call(layer):
        return layer.built
    inner = layer.layers if isinstance(layer, keras.Model) else []
    return all(map(is_built, inner))


def method(layer: keras.Operation) -> str:
    """Returns the name of the method that Keras calls, which differs for quantized layers."""
    is_quantized = getattr(layer, "quantization_mode", None) is not None
    return "quantized_call" if is_quantized else "call"


def entry(layer: keras.Operation) -> Callable:
    """Returns the method that computes the outputs of a layer: `call`, or its own `__call__`."""
    return layer.__call__ if has_own_call(layer) else getattr(layer, method(layer))


def accepts_training(call: Callable) -> bool:
    """Returns whether a `call` or `compute_loss` accepts the argument `training`."""
    parameters = inspect.signature(call).parameters.values()
    return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)


def in_mode(layer: Any, training: bool) -> dict[str, bool]:
    """Returns the argument `training` for a call, or nothing if a `__call__` does not accept it."""
    is_accepted = not has_own_call(layer) or accepts_training(entry(layer))
    is_layer = isinstance(layer, keras.layers.Layer)
    return {"training": training} if is_layer and is_accepted else {}


def call(model: Callable, x: Any, training: bool = False) -> Any:
    """Calls a model, layer or function, by default in inference mode.

    Raises:
        TypeError: If it returns anything but tensors.
    """
    outputs = model(x, **in_mode(model, training))
    leaves = keras.tree.flatten(outputs)
    others = [y for y in leaves if not hasattr(y, "shape") or not hasattr(y, "dtype")]
    # None, and an empty list or dict, contain no tensors either.
    for output in others if leaves else [outputs]:
        name = getattr(model, "name", getattr(model, "__name__", shown(model)))
        raise TypeError(
            f"The model {name!r} must return tensors, but "
            f"returned {shown(output)}. Return a tensor, or a list or dict of tensors."
        )
    return outputs
