"""Rules of layers that normalize each sample.

Series arithmetic knows no stop_gradient, so that y'' is right also where nested tapes
through Keras' layer are not.
"""

import keras
import tensorflow as tf

from keras_smooth import jet
from keras_smooth.differentiation.rules.linear import weight
from keras_smooth.differentiation.rules.table import rows
from keras_smooth.jet import Jet


def _mean(x: Jet, axes) -> Jet:
    return jet.linear(lambda v: tf.reduce_mean(v, axis=axes, keepdims=True), x)


def _sum(x: Jet, axes) -> Jet:
    return jet.linear(lambda v: tf.reduce_sum(v, axis=axes, keepdims=True), x)


def _axes(layer: keras.layers.Layer, x: Jet) -> list[int]:
    axis = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    return sorted(a % x.shape.rank for a in axis)


def _shaped(variable, axes: list[int], x: Jet) -> tf.Tensor:
    """Returns a weight that spans some axes, with 1 in the place of the others."""
    shape = [x.shape[a] if a in axes else 1 for a in range(x.shape.rank)]
    return tf.reshape(weight(variable, x.dtype), shape)


def _standardized(x: Jet, axes: list[int], epsilon: float) -> Jet:
    centered = x - _mean(x, axes)
    return centered / jet.sqrt(_mean(jet.square(centered), axes) + epsilon)


def _scaled(y: Jet, gamma, beta, axes: list[int]) -> Jet:
    if gamma is not None:
        y = y * _shaped(gamma, axes, y)
    return y if beta is None else y + _shaped(beta, axes, y)


def _layer_normalization(layer, x: Jet) -> Jet:
    if getattr(layer, "rms_scaling", False):
        return NotImplemented
    axes = _axes(layer, x)
    y = _standardized(x, axes, layer.epsilon)
    return _scaled(y, layer.gamma, layer.beta, axes)


def _rms_normalization(layer, x: Jet) -> Jet:
    axes = _axes(layer, x)
    y = x / jet.sqrt(_mean(jet.square(x), axes) + layer.epsilon)
    return _scaled(y, layer.scale, None, axes)


def _group_normalization(layer, x: Jet) -> Jet:
    axis, shape = layer.axis % x.shape.rank, list(x.shape)
    grouped = [
        -1,
        *shape[1:axis],
        layer.groups,
        shape[axis] // layer.groups,
        *shape[axis + 1 :],
    ]
    if None in grouped:
        return NotImplemented
    axes = [a for a in range(1, len(grouped)) if a != axis]
    y = jet.linear(lambda v: tf.reshape(v, grouped), x)
    y = _standardized(y, axes, layer.epsilon)
    y = jet.linear(lambda v: tf.reshape(v, (-1, *shape[1:])), y)
    gamma = layer.gamma if layer.scale else None
    return _scaled(y, gamma, layer.beta if layer.center else None, [axis])


def _unit_normalization(layer, x: Jet) -> Jet:
    # Keras divides by the norm, but by no less than 1e-12.
    squares = _sum(jet.square(x), _axes(layer, x))
    floor = 1e-24
    return x / jet.sqrt(jet.where(squares.primal > floor, squares, floor))


rows(_layer_normalization, keras.layers, "LayerNormalization")
rows(_rms_normalization, keras.layers, "RMSNormalization")
rows(_group_normalization, keras.layers, "GroupNormalization")
rows(_unit_normalization, keras.layers, "UnitNormalization")
