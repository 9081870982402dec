"""Rules of layers that multiply their inputs."""

import functools

import keras

from keras_smooth import jet
from keras_smooth.differentiation.rules.table import rows
from keras_smooth.jet import Jet


def _multiply(layer: keras.layers.Layer, xs: list) -> Jet:
    if len({x.shape.rank for x in xs}) > 1:
        return NotImplemented
    return functools.reduce(lambda x, y: x * y, xs)


def _dot(layer: keras.layers.Layer, xs: list) -> Jet:
    if layer.normalize:
        return NotImplemented
    return jet.folded_bilinear(lambda a, b: layer([a, b]), *xs)


rows(_multiply, keras.layers, "Multiply")
rows(_dot, keras.layers, "Dot")
