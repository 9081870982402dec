"""Rows of Keras' layers: how smooth each is."""

import math
from collections.abc import Callable
from typing import Any

import keras

from keras_smooth.registry.lookup import smoothness
from keras_smooth.registry.rows import Class, change, least, row

# Layers that are an activation, and its parameters, which are their attributes.
_ACTIVATIONS = {
    keras.layers.ELU: (keras.activations.elu, ("alpha",)),
    keras.layers.LeakyReLU: (keras.activations.leaky_relu, ("negative_slope",)),
    keras.layers.ReLU: (
        keras.activations.relu, ("negative_slope", "max_value", "threshold")
    ),
}  # fmt: skip


def as_activation(layer: keras.layers.Layer) -> tuple[Callable, dict] | None:
    """Returns the activation that a layer is and its parameters, None for other layers."""
    function, names = _ACTIVATIONS.get(type(layer), (None, ()))
    return function and (function, {name: getattr(layer, name) for name in names})


def _as_activation(layer: keras.layers.Layer) -> Class:
    function, parameters = as_activation(layer)
    known: Any = row(function).smoothness
    return known(**parameters)


def of_activation(layer: keras.layers.Layer) -> Class:
    return smoothness(layer.activation)


def _of_gates(layer: keras.layers.Layer) -> Class:
    return least(map(smoothness, (layer.activation, layer.recurrent_activation)))


def _of_inner(layer: keras.layers.Layer) -> Class:
    return smoothness(layer.layer)


def _of_directions(layer: keras.layers.Layer) -> Class:
    return least(map(smoothness, (layer.forward_layer, layer.backward_layer)))


def _of_products(layer: keras.layers.Layer) -> Class:
    """Vectors that are normalized jump at 0."""
    return -1 if layer.normalize else math.inf


_LAYERS = (
    (
        math.inf,
        "ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average "
        "AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Concatenate "
        "Cropping1D "
        "Cropping2D Cropping3D Dropout Flatten GaussianDropout GaussianNoise "
        "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D "
        "GroupNormalization GroupQueryAttention Identity InputLayer LayerNormalization "
        "MultiHeadAttention Multiply Normalization Permute RMSNormalization "
        "RepeatVector Rescaling Reshape Softmax SpatialDropout1D SpatialDropout2D "
        "SpatialDropout3D Subtract UpSampling1D UpSampling2D "
        "UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D",
    ),
    (
        of_activation,
        "Activation Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D "
        "Conv3DTranspose Dense DepthwiseConv1D DepthwiseConv2D EinsumDense "
        "SeparableConv1D SeparableConv2D SimpleRNN",
    ),
    (_of_gates, "ConvLSTM1D ConvLSTM2D ConvLSTM3D GRU LSTM"),
    (_of_inner, "SpectralNormalization TimeDistributed"),
    (_of_directions, "Bidirectional"),
    (_as_activation, "ELU LeakyReLU ReLU"),
    (
        0,
        "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D MaxPooling1D "
        "MaxPooling2D MaxPooling3D Maximum Minimum PReLU",
    ),
    (-1, "CategoryEncoding Discretization Embedding Hashing UnitNormalization"),
    (_of_products, "Dot"),
)

for _smoothness, _names in _LAYERS:
    for _name in _names.split():
        if hasattr(keras.layers, _name):
            change(getattr(keras.layers, _name), smoothness=_smoothness)
