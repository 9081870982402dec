"""Rules of models: layer after layer, or along the graph of a Functional model.

The graph is walked through public API: `keras.models.clone_model` with a `call_function`
rebuilds it out of steps, operations that apply a rule, and a `keras.Function` over that
graph takes jets as it takes tensors.
"""

import weakref

import keras

from keras_smooth.differentiation.rules.table import apply, set_rule
from keras_smooth.jet import Jet

_graphs = weakref.WeakKeyDictionary()


class _Step(keras.Operation):
    """A node of a rebuilt graph: applies the rule of the node's operation."""

    def __init__(self, operation: keras.Operation):
        super().__init__(name=f"step_{id(self)}")
        self.operation = operation

    def __call__(self, *args, **kwargs):
        leaves = keras.tree.flatten((args, kwargs))
        if any(isinstance(leaf, keras.KerasTensor) for leaf in leaves):
            return super().__call__(*args, **kwargs)
        return apply(self.operation, *args, **kwargs)

    def compute_output_spec(self, *args, **kwargs):
        return self.operation.compute_output_spec(*args, **kwargs)


def _graph(model: keras.Model) -> keras.Function:
    if model not in _graphs:
        # A model over the same tensors, so that the copy compiles no loss.
        plain = keras.Model(model.inputs, model.outputs, name=model.name)
        copy = keras.models.clone_model(
            plain,
            clone_function=lambda layer: layer,
            call_function=lambda layer, *args, **kwargs: _Step(layer)(*args, **kwargs),
        )
        _graphs[model] = keras.Function(copy.inputs, copy.outputs)
    return _graphs[model]


def _entered(model: keras.Model, x) -> list:
    """Returns the flat inputs, cast as Keras casts what enters a model."""
    pairs = zip(keras.tree.flatten(x), model.inputs, strict=True)
    return [z.cast(i.dtype) if isinstance(z, Jet) else z for z, i in pairs]


def _masks(model: keras.Model) -> bool:
    """Returns whether a layer makes a mask, which jets do not carry."""
    return any(
        isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False)
        for layer in model.layers
    )


def _sequential(model: keras.Sequential, x, *, training=None, mask=None):
    if training or mask is not None or _masks(model) or not model.built:
        return NotImplemented
    (x,) = _entered(model, x)
    for layer in model.layers:
        x = apply(layer, x)
    return x


def _functional(model: keras.Model, x, *, training=None, mask=None):
    if training or mask is not None or _masks(model):
        return NotImplemented
    flat = _graph(model).call(_entered(model, x))
    return keras.tree.pack_sequence_as(model.output, keras.tree.flatten(flat))


def _input(layer: keras.layers.Layer, x, *args, **kwargs):
    return x


set_rule(keras.Sequential, _sequential)
# Functional models are the functions among the models: their class has no public name.
set_rule(keras.Function, _functional)
set_rule(keras.layers.InputLayer, _input)
