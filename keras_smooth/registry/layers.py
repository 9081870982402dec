"""Rows of Keras' layers: how smooth each is. Their jet rules stand in `differentiation.rules`."""

import math

import keras

from keras_smooth.registry.activations import elu_class, leaky_relu_class, relu_class
from keras_smooth.registry.lookup import smoothness
from keras_smooth.registry.rows import Class, change, least


def of_activation(layer: keras.layers.Layer) -> Class:
    return smoothness(layer.activation)


def _of_gates(layer: keras.layers.Layer) -> Class:
    return least(map(smoothness, (layer.activation, layer.recurrent_activation)))


def _of_inner(layer: keras.layers.Layer) -> Class:
    return smoothness(layer.layer)


def _of_directions(layer: keras.layers.Layer) -> Class:
    return least(map(smoothness, (layer.forward_layer, layer.backward_layer)))


def _of_slope(layer: keras.layers.Layer) -> Class:
    return leaky_relu_class(layer.negative_slope)


def _of_relu(layer: keras.layers.Layer) -> Class:
    return relu_class(layer.negative_slope, layer.max_value, layer.threshold)


def _of_alpha(layer: keras.layers.Layer) -> Class:
    return elu_class(layer.alpha)


_LAYERS = (
    (
        math.inf,
        "Add AdditiveAttention AlphaDropout Attention Average AveragePooling1D "
        "AveragePooling2D AveragePooling3D BatchNormalization Concatenate Cropping1D "
        "Cropping2D Cropping3D Dot Dropout Flatten GaussianDropout GaussianNoise "
        "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D "
        "GroupNormalization GroupQueryAttention Identity InputLayer LayerNormalization "
        "MultiHeadAttention Multiply Normalization Permute RMSNormalization "
        "RepeatVector Rescaling Reshape Softmax SpatialDropout1D SpatialDropout2D "
        "SpatialDropout3D Subtract UnitNormalization UpSampling1D UpSampling2D "
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
    (_of_alpha, "ELU"),
    (_of_slope, "LeakyReLU"),
    (_of_relu, "ReLU"),
    (
        0,
        "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D MaxPooling1D "
        "MaxPooling2D MaxPooling3D Maximum Minimum PReLU",
    ),
    (-1, "CategoryEncoding Discretization Embedding Hashing"),
)

for _smoothness, _names in _LAYERS:
    for _name in _names.split():
        if hasattr(keras.layers, _name):
            change(getattr(keras.layers, _name), smoothness=_smoothness)
