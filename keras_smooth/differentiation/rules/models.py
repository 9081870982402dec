"""Rules of models: layer after layer, or along the graph of a Functional model.

The graph is rebuilt out of steps that apply a rule: it takes jets as it takes tensors.
"""

import weakref

import keras

from keras_smooth.differentiation.rules.table import apply, set_rule
from keras_smooth.jet import Jet
from keras_smooth.models import graph

_graphs = weakref.WeakKeyDictionary()


def _graph(model: keras.Model) -> keras.Function:
    if model not in _graphs:
        _graphs[model], _ = graph.rebuilt_of_steps(model, apply)
    return _graphs[model]


def _entered(model: keras.Model, x) -> list:
    """Returns the flat inputs, cast as Keras casts what enters a model."""
    if isinstance(x, dict) and not isinstance(getattr(model, "input", None), dict):
        x = [x[tensor.name] for tensor in model.inputs]
    pairs = zip(keras.tree.flatten(x), model.inputs, strict=True)
    return [z.cast(i.dtype) if isinstance(z, Jet) else z for z, i in pairs]


def _sequential(model: keras.Sequential, x, *, training=None, mask=None):
    if training or mask is not None or graph.makes_masks(model) or not model.built:
        return NotImplemented
    (x,) = _entered(model, x)
    for layer in model.layers:
        x = apply(layer, x)
    return x


def _functional(model: keras.Model, x, *, training=None, mask=None):
    if training or mask is not None or graph.makes_masks(model):
        return NotImplemented
    flat = _graph(model).call(_entered(model, x))
    return keras.tree.pack_sequence_as(model.output, keras.tree.flatten(flat))


def _input(layer: keras.layers.Layer, x):
    return x


set_rule(keras.Sequential, _sequential)
# Functional models are the functions among the models: their class has no public name.
set_rule(keras.Function, _functional)
set_rule(keras.layers.InputLayer, _input)
