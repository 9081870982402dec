"""Rules of this package's layers: those of the Keras layers that they stand in for.

Smooth stand-ins have rules of their own.
"""

import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_smooth import activations, jet, layers
from keras_smooth.differentiation.rules.table import register_jet_rule, rule_of, set_rule
from keras_smooth.jet import Jet
from keras_smooth.layers.smooth_maximum import space_axes, spans, windows


def _softplus(layer: keras.layers.Layer, x: Jet) -> Jet:
    return rule_of(activations.sharp_softplus)(x, sharpness=layer.sharpness)


def _pooled(layer: keras.layers.Layer, x: Jet) -> Jet:
    if layer.padding == "same":
        return NotImplemented
    s = layer.sharpness
    for span in spans(layer):
        cut = functools.partial(_cut, span=span)
        x = jet.logsumexp(s * jet.linear(cut, x), -1) * (1.0 / s)
    return x


def _cut(value: tf.Tensor, span: tuple) -> tf.Tensor:
    axis, size, stride = span
    return windows(value, axis, size, stride, "valid")


def _pooled_globally(layer: keras.layers.Layer, x: Jet) -> Jet:
    s = layer.sharpness
    return jet.logsumexp(s * x, space_axes(layer), layer.keepdims) * (1.0 / s)


def _merged(layer: keras.layers.Layer, xs: list, sign: float = 1.0) -> Jet:
    if len({x.shape.rank for x in xs}) > 1:
        return NotImplemented
    values = [sign * x for x in xs]
    total = functools.reduce(lambda a, b: a + _softplus(layer, b - a), values)
    return sign * total


def _ramps(layer: keras.layers.Layer, x: Jet) -> Jet:
    return _softplus(layer, x) - tf.convert_to_tensor(layer.alpha) * _softplus(layer, -x)


_OWN: dict[type, Callable] = {
    layers.SmoothMaxPooling1D: _pooled,
    layers.SmoothMaxPooling2D: _pooled,
    layers.SmoothMaxPooling3D: _pooled,
    layers.SmoothGlobalMaxPooling1D: _pooled_globally,
    layers.SmoothGlobalMaxPooling2D: _pooled_globally,
    layers.SmoothGlobalMaxPooling3D: _pooled_globally,
    layers.SmoothMaximum: _merged,
    layers.SmoothMinimum: functools.partial(_merged, sign=-1.0),
    layers.SmoothPReLU: _ramps,
}

for _name in layers.__all__:
    _layer = getattr(layers, _name)
    _parent = next((kind for kind in _layer.__mro__[1:] if rule_of(kind)), None)
    if _layer in _OWN:
        register_jet_rule(_layer, _OWN[_layer])
    elif _parent is not None:
        set_rule(_layer, rule_of(_parent))
