"""Rules of layers that are linear in their input, up to a bias and an activation.

Such a layer applies itself, without bias, to each entry of the series.
"""

from collections.abc import Callable

import keras
import tensorflow as tf
from keras import ops

from keras_smooth import jet
from keras_smooth.differentiation.rules import fallback
from keras_smooth.differentiation.rules.table import activate, rows
from keras_smooth.jet import Jet
from keras_smooth.registry.operation_rules import linear


def identity(layer: keras.layers.Layer, x):
    """The rule of what does nothing in inference mode."""
    return x


def itself(layer: keras.layers.Layer, x) -> Jet:
    """The rule of a layer that is linear in a tensor or in a list of tensors."""
    return linear(lambda v: fallback.call(layer, (v,), {}), x)


def weight(variable, dtype: tf.DType) -> tf.Tensor:
    """Returns a weight as a tensor of the dtype that the layer computes in."""
    return tf.cast(ops.convert_to_tensor(variable), dtype)


def affine(apply: Callable) -> Callable:
    """Returns the rule of a layer with a bias and an activation.

    Args:
        apply: `apply(layer, v)` is the linear part.
    """

    def rule(layer: keras.layers.Layer, x: Jet) -> Jet:
        y = jet.linear(lambda v: apply(layer, v), x).framed()
        if layer.bias is not None:
            y = y + _bias(layer, y)
        return activate(layer.activation, y)

    return rule


def _bias(layer: keras.layers.Layer, y: Jet) -> tf.Tensor:
    bias = weight(layer.bias, y.dtype)
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        return tf.reshape(bias, (-1,) + (1,) * (y.shape.rank - 2))
    return bias


def _settings(layer: keras.layers.Layer, *names: str) -> dict:
    return {name: getattr(layer, name) for name in names}


def _dense(layer, v: tf.Tensor) -> tf.Tensor:
    return ops.matmul(v, weight(layer.kernel, v.dtype))


def _einsum(layer, v: tf.Tensor) -> tf.Tensor:
    return ops.einsum(layer.equation, v, weight(layer.kernel, v.dtype))


def _causal(layer, v: tf.Tensor) -> tuple[tf.Tensor, str]:
    """Returns the input and padding of a convolution, causal padding written out."""
    if layer.padding != "causal":
        return v, layer.padding
    width = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
    last = layer.data_format == "channels_last"
    steps = [(0, 0), (width, 0), (0, 0)] if last else [(0, 0), (0, 0), (width, 0)]
    return ops.pad(v, steps), "valid"


def _convolution(layer, v: tf.Tensor) -> tf.Tensor:
    v, padding = _causal(layer, v)
    settings = _settings(layer, "strides", "dilation_rate", "data_format")
    return ops.conv(v, weight(layer.kernel, v.dtype), padding=padding, **settings)


def _depthwise(layer, v: tf.Tensor) -> tf.Tensor:
    settings = _settings(layer, "strides", "padding", "dilation_rate", "data_format")
    return ops.depthwise_conv(v, weight(layer.kernel, v.dtype), **settings)


def _separable(layer, v: tf.Tensor) -> tf.Tensor:
    v, padding = _causal(layer, v)
    settings = _settings(layer, "strides", "dilation_rate", "data_format")
    both = (layer.depthwise_kernel, layer.pointwise_kernel)
    kernels = (weight(kernel, v.dtype) for kernel in both)
    return ops.separable_conv(v, *kernels, padding=padding, **settings)


def _transposed(layer, v: tf.Tensor) -> tf.Tensor:
    settings = _settings(
        layer, "strides", "padding", "output_padding", "dilation_rate", "data_format"
    )
    return ops.conv_transpose(v, weight(layer.kernel, v.dtype), **settings)


_AFFINE = (
    (_dense, "Dense"),
    (_einsum, "EinsumDense"),
    (_convolution, "Conv1D Conv2D Conv3D"),
    (_depthwise, "DepthwiseConv1D DepthwiseConv2D"),
    (_separable, "SeparableConv1D SeparableConv2D"),
    (_transposed, "Conv1DTranspose Conv2DTranspose Conv3DTranspose"),
)

_ITSELF = (
    "Add Average AveragePooling1D AveragePooling2D AveragePooling3D Concatenate Cropping1D "
    "Cropping2D Cropping3D Flatten GlobalAveragePooling1D GlobalAveragePooling2D "
    "GlobalAveragePooling3D Permute RepeatVector Reshape Subtract UpSampling1D "
    "UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D"
)

_IDENTITY = (
    "ActivityRegularization AlphaDropout Dropout GaussianDropout GaussianNoise Identity "
    "RandomHue RandomPerspective RandomRotation RandomSaturation RandomShear "
    "RandomTranslation RandomZoom SpatialDropout1D SpatialDropout2D SpatialDropout3D"
)

for _apply, _names in _AFFINE:
    rows(affine(_apply), keras.layers, _names)
rows(itself, keras.layers, _ITSELF)
rows(identity, keras.layers, _IDENTITY)
