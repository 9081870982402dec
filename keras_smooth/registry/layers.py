"""Keras' layers that only apply an activation, and classes with a fixed smoothness."""

import functools
import math

import keras

from keras_smooth.registry.rows import Class

# Layers that only apply an activation, whose parameters are attributes of the layer.
_ACTIVATIONS = {
    keras.layers.ELU: (keras.activations.elu, ("alpha",)),
    keras.layers.LeakyReLU: (keras.activations.leaky_relu, ("negative_slope",)),
    keras.layers.ReLU: (
        keras.activations.relu, ("negative_slope", "max_value", "threshold")
    ),
}  # fmt: skip


def as_activation(layer: object) -> functools.partial | None:
    """Returns the activation that a layer applies, with its parameters, or None for others."""
    function, names = _ACTIVATIONS.get(type(layer), (None, ()))
    parameters = {name: getattr(layer, name) for name in names}
    return function and functools.partial(function, **parameters)


# The smoothness of classes for which it does not depend on the arguments of the layer.
_SMOOTHNESS: dict[type, Class] = {}
_NAMES = {
    math.inf: "ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average "
    "AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Concatenate "
    "Cropping1D Cropping2D Cropping3D Dropout Flatten GaussianDropout GaussianNoise "
    "GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GroupNormalization "
    "GroupQueryAttention Identity LayerNormalization MultiHeadAttention Multiply Permute "
    "RMSNormalization RepeatVector Rescaling Reshape Softmax SpatialDropout1D "
    "SpatialDropout2D SpatialDropout3D Subtract UpSampling1D UpSampling2D UpSampling3D "
    "ZeroPadding1D ZeroPadding2D ZeroPadding3D",
    0: "GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D MaxPooling1D MaxPooling2D "
    "MaxPooling3D Maximum Minimum PReLU UnitNormalization",
    -1: "CategoryEncoding Discretization Embedding Hashing",
}


def add_class(kind: type, smoothness: Class) -> None:
    """Registers the smoothness of all layers of a class, whatever their arguments."""
    _SMOOTHNESS[kind] = smoothness


def of_class(kind: type) -> Class:
    """Returns the smoothness of all layers of a class, or None if it depends on arguments."""
    return _SMOOTHNESS.get(kind)


for _smoothness, _names in _NAMES.items():
    for _name in _names.split():
        if hasattr(keras.layers, _name):
            add_class(getattr(keras.layers, _name), _smoothness)
