"""The layers and operations in a model, nested models included."""

from collections.abc import Iterator
from typing import Any

import keras


def graph_class(model: Any) -> type | None:
    """Returns keras.Sequential or keras.Function if a model inherits its `call`, else None."""
    for parent in (keras.Sequential, keras.Function):
        kinds: list[Any] = [k for k in type(model).__mro__ if issubclass(k, parent)]
        kinds = [k for k in kinds if issubclass(k, keras.Model)]
        if kinds and type(model).call is kinds[-1].call:
            return parent
    return None


def is_composed(layer: object) -> bool:
    """Returns whether a layer is a model whose layers can be listed."""
    return isinstance(layer, keras.Model) and bool(inner(layer))


def is_graph(layer: object) -> bool:
    """Returns whether a layer is a Sequential or Functional model with Keras' own `call`."""
    return graph_class(layer) is not None


def inner(model: keras.Model) -> list:
    """Returns the layers and operations that a model is composed of."""
    is_sequential = graph_class(model) is keras.Sequential
    has_operations = not is_sequential and hasattr(model, "operations")
    layers = model.operations if has_operations else model.layers
    return [layer for layer in layers if not isinstance(layer, keras.layers.InputLayer)]


def walk(model: keras.Operation, prefix: str = "") -> Iterator[tuple[str, keras.Operation]]:
    """Yields the path and the layer for each layer in a model, nested models included."""
    if not is_composed(model):
        yield prefix + model.name, model
        return
    for layer in inner(model):
        yield from walk(layer, f"{prefix}{layer.name}/" if is_composed(layer) else prefix)


def unique(model: keras.Operation) -> list[tuple[str, keras.Operation]]:
    """Returns `walk(model)` with each shared layer once."""
    return list({id(layer): (path, layer) for path, layer in walk(model)}.values())


def may_make_mask(layer: object) -> bool:
    """Returns whether a layer itself may create a mask, as by a `compute_mask` of a user."""
    if isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False):
        return True
    if not isinstance(layer, keras.layers.Layer):
        return False
    return type(layer).compute_mask.__module__.split(".")[0] != "keras"


def wrapped(wrapper: object) -> list:
    """Returns the layers that a wrapper of Keras calls, such as TimeDistributed."""
    inside = [getattr(wrapper, name, None) for name in _WRAPPED]
    return [layer for layer in inside if layer is not None]


# The attributes of wrappers that hold the layers that they call.
_WRAPPED = ("layer", "forward_layer", "backward_layer", "cell")
