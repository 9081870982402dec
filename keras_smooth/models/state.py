"""All state of a layer: weights, seeds, flags, and the results of `adapt`."""

import tempfile
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_smooth.models import graph, references


def copy_state(original: keras.Operation, copy: keras.Operation) -> None:
    """Copies the state of a layer to its copy, in the dtype of the copy.

    Args:
        original: A built layer, model or keras.Operation.
        copy: A built copy of it, with the same layers inside.

    Raises:
        ValueError: If the copy has other variables.
    """
    if graph.is_graph(original) and graph.is_graph(copy):
        for child, other in _pairs_of_graphs(original, copy):
            copy_state(child, other)
        return
    if not isinstance(original, keras.layers.Layer):
        return
    _assign_variables(original, copy)
    for layer, other in paired(original, copy):
        for ours, others in zip(_recurrent_states(layer), _recurrent_states(other)):
            others.assign(ours.value)
        # Recompute values that depend on the weights, as after loading a file.
        if hasattr(other, "finalize_state") and getattr(other, "built", False):
            other.finalize_state()


def copy_settings(original: keras.Operation, copy: keras.Operation) -> None:
    """Copies flags, vocabularies and numbers of a layer to its copy, which need not be built."""
    if not isinstance(copy, keras.layers.Layer):
        return
    for layer, other in paired(original, copy):
        if layer.trainable != other.trainable:
            other.trainable = layer.trainable
        if type(layer) is type(other):
            _load_assets(layer, other)
            _copy_number_attributes(layer, other)


def _pairs_of_graphs(original: Any, copy: Any) -> Iterator[tuple]:
    others = {layer.name: layer for layer in copy.layers}
    same_kinds = list(map(type, original.layers)) == list(map(type, copy.layers))
    # If a layer creates a model, the names of its layers in the copy have other numbers.
    if same_kinds and any(layer.name not in others for layer in original.layers):
        yield from zip(original.layers, copy.layers)
        return
    for layer in original.layers:
        if layer.name in others:
            yield layer, others[layer.name]
        elif layer.variables:
            raise ValueError(f"the copy of {original.name!r} has no layer {layer.name!r}")


def paired(original: keras.Operation, copy: keras.Operation) -> Iterator[tuple]:
    """Yields a layer with its copy, and each layer inside with its copy, parents first."""
    seen = set()
    queue = [(original, copy)]
    while queue:
        layer, other = queue.pop(0)
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer, other
        if graph.is_graph(layer) and graph.is_graph(other):
            queue += _pairs_of_graphs(layer, other)
            continue
        ours, others = _layers_by_path(layer), _layers_by_path(other)
        queue += [(ours[path], others[path]) for path in ours if path in others]


def _layers_by_path(layer: keras.Operation) -> dict[tuple, keras.layers.Layer]:
    """Returns the layers that are attributes of a layer, or in lists or dicts, by their paths."""
    values = references.leaves_by_path(vars(layer))
    return {path: each for path, each in values if isinstance(each, keras.layers.Layer)}


def _load_assets(layer: keras.layers.Layer, other: keras.layers.Layer) -> None:
    """Copies the assets of a layer, such as a vocabulary, as Keras does in files."""
    if not hasattr(layer, "save_assets"):
        return
    store = {}
    layer.save_own_variables(store)
    if "idf_weights" in store:
        # Keras 3.10 accepts tf-idf weights only with a vocabulary, and reads none from files.
        words = layer.get_vocabulary()
        other.set_vocabulary(words, store["idf_weights"][: len(words)])
        return
    if store:
        other.load_own_variables({name: np.array(store[name]) for name in store})
    with tempfile.TemporaryDirectory() as folder:
        layer.save_assets(folder)
        other.load_assets(folder)


def _copy_number_attributes(layer: keras.layers.Layer, other: keras.layers.Layer) -> None:
    """Copies numbers that `adapt` or user code has written into attributes."""
    is_user_class = not type(layer).__module__.startswith(("keras.", "keras_smooth."))
    if not is_user_class and not hasattr(layer, "adapt"):
        return
    for name, value in vars(layer).items():
        if name.startswith("_") or name in ("built", "name"):
            continue
        if _is_numbers(value) and not np.array_equal(value, vars(other).get(name)):
            setattr(other, name, list(value) if isinstance(value, list) else value)


def _is_numbers(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(_is_numbers, value))
    return isinstance(value, (bool, int, float, np.ndarray, np.number))


def _assign_variables(layer: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    ours, others = layer.variables, copy.variables
    # A layer that was changed after it was built, as by `quantize`, has another order.
    by_name = [sorted(variables, key=lambda v: v.name) for variables in (ours, others)]
    if [v.name for v in by_name[0]] == [v.name for v in by_name[1]]:
        ours, others = by_name
    if [tuple(v.shape) for v in ours] != [tuple(v.shape) for v in others]:
        raise ValueError(
            f"the copy of {layer.name!r} has variables of shapes "
            f"{[tuple(v.shape) for v in others]}, expected {[tuple(v.shape) for v in ours]}"
        )
    for variable, other in zip(ours, others):
        if variable.trainable != other.trainable:
            other.trainable = variable.trainable
        other.assign(variable.value)


def _recurrent_states(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Returns the states of a stateful recurrent layer, which Keras does not count as variables."""
    states = keras.tree.flatten(getattr(layer, "states", None))
    return [state for state in states if isinstance(state, keras.Variable)]
