"""Rules of layers that are straight between their joints, and of activation layers."""

import keras

from keras_smooth import jet
from keras_smooth.differentiation.rules import fallback
from keras_smooth.differentiation.rules.table import activate, rows, rule_of
from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import aligned


def straight(layer: keras.layers.Layer, x: Jet, mask=None) -> Jet:
    """The rule of an elementwise layer of straight pieces: its slope times each entry."""
    return NotImplemented if mask is not None else jet.straight(_closed(layer), x)


def _closed(layer: keras.layers.Layer):
    return lambda v: fallback.call(layer, (v,), {})


def locally_linear(layer: keras.layers.Layer, x) -> Jet:
    """The rule of a layer that selects, such as a maximum.

    Near a point it is linear, so that each entry goes through it as a first derivative.
    """
    leaves = aligned(*keras.tree.flatten(x))
    leader = next(leaf for leaf in leaves if isinstance(leaf, Jet))
    series = []
    for k in range(leader.order):
        parts = [Jet(z.primal, [z.series[k]]) if isinstance(z, Jet) else z for z in leaves]
        if all(part.series[0] is None for part in parts if isinstance(part, Jet)):
            series.append(None)
            continue
        y = fallback.taped(layer, (keras.tree.pack_sequence_as(x, parts),), {})
        series.append(y.series[0])
    point = [z.primal if isinstance(z, Jet) else z for z in leaves]
    return leader.like(layer(keras.tree.pack_sequence_as(x, point)), series)


def _activation(layer: keras.layers.Layer, x: Jet) -> Jet:
    return activate(layer.activation, x)


def _elu(layer: keras.layers.Layer, x: Jet) -> Jet:
    return rule_of(keras.activations.elu)(x, alpha=layer.alpha)


def _softmax(layer: keras.layers.Layer, x: Jet, mask=None) -> Jet:
    return NotImplemented if mask is not None else jet.softmax(x, axis=layer.axis)


rows(
    straight,
    keras.layers,
    "BatchNormalization LeakyReLU Normalization PReLU ReLU Rescaling",
)
rows(
    locally_linear,
    keras.layers,
    "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D MaxPooling1D MaxPooling2D "
    "MaxPooling3D Maximum Minimum",
)
rows(_activation, keras.layers, "Activation")
rows(_elu, keras.layers, "ELU")
rows(_softmax, keras.layers, "Softmax")
