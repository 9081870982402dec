"""Layers that interpolate images, which can be differentiated more than once.

Interpolation is linear in the image, and the same along each axis: one matrix for the
rows and one for the columns, read off what Keras makes of unit vectors.
"""

import math
from collections.abc import Callable

import keras
from keras import ops

from keras_smooth import registry


def interpolated(images, resize: Callable, data_format: str):
    """Returns images interpolated by matrices, exact in every derivative.

    Args:
        images: Tensor of images of known height and width, with or without a batch.
        resize: Keras' interpolation of a batch of images.
        data_format: "channels_last" or "channels_first".
    """
    last = data_format == "channels_last"
    sizes = images.shape[-3:-1] if last else images.shape[-2:]
    vertical, horizontal = (
        ops.cast(_matrix(resize, size, axis, last), images.dtype)
        for axis, size in enumerate(sizes)
    )
    equation = "...hwc,hi,wj->...ijc" if last else "...chw,hi,wj->...cij"
    return ops.einsum(equation, images, vertical, horizontal)


def _matrix(resize: Callable, size: int, axis: int, last: bool):
    """Returns what an interpolation makes of each unit vector along one axis."""
    shape = [size, 1, 1]
    shape[axis + 1] = size
    images = ops.reshape(ops.eye(size, dtype="float32"), shape)
    channel = -1 if last else 1
    result = ops.squeeze(resize(ops.expand_dims(images, channel)), axis=channel)
    return result[:, :, 0] if axis == 0 else result[:, 0, :]


@keras.saving.register_keras_serializable(package="keras_smooth")
class UpSampling2D(keras.layers.UpSampling2D):
    """A `keras.layers.UpSampling2D` with derivatives of every order.

    On TensorFlow, bicubic interpolation of Keras' layer raises for a second derivative,
    and bilinear interpolation computes in float32. This layer applies the same
    interpolation as one matrix for each axis, which is linear to every order.

    Arguments and outputs are those of Keras' layer. Images of unknown height or width
    take Keras' own code.

    Example:

    >>> import numpy as np, keras_smooth
    >>> layer = keras_smooth.layers.UpSampling2D(2, interpolation="bicubic")
    >>> keras_smooth.audit(layer, 2, np.ones((1, 3, 3, 1))).ok
    True

    References:
        Keys, 1981, "Cubic convolution interpolation for digital image processing", IEEE
        Transactions on Acoustics, Speech, and Signal Processing 29, 1153.
    """

    def call(self, inputs):
        axes = (1, 2) if self.data_format == "channels_last" else (2, 3)
        if self.interpolation == "nearest" or None in [inputs.shape[i] for i in axes]:
            return super().call(inputs)
        return interpolated(inputs, super().call, self.data_format)


@keras.saving.register_keras_serializable(package="keras_smooth")
class Resizing(keras.layers.Resizing):
    """A `keras.layers.Resizing` with derivatives of every order.

    On TensorFlow, bicubic interpolation of Keras' layer raises for a second derivative,
    and interpolation computes in float32. This layer applies the same interpolation as
    one matrix for each axis, which is linear to every order.

    Arguments and outputs are those of Keras' layer. Images of integers, of unknown height
    or width, and those that are cropped or padded to keep their aspect ratio take Keras'
    own code.

    Example:

    >>> import numpy as np, keras_smooth
    >>> layer = keras_smooth.layers.Resizing(5, 4, interpolation="bicubic")
    >>> keras_smooth.audit(layer, 2, np.ones((1, 3, 3, 1))).ok
    True

    References:
        Keys, 1981, "Cubic convolution interpolation for digital image processing", IEEE
        Transactions on Acoustics, Speech, and Signal Processing 29, 1153.
    """

    def transform_images(self, images, transformation=None, training=True):
        resize = super().transform_images
        sizes = [images.shape[axis] for axis in (self.height_axis, self.width_axis)]
        floats = "float" in keras.backend.standardize_dtype(images.dtype)
        whole = not (self.crop_to_aspect_ratio or self.pad_to_aspect_ratio)
        if self.interpolation == "nearest" or None in sizes or not (floats and whole):
            return resize(images, transformation, training)
        return interpolated(images, resize, self.data_format)


EXACT = {keras.layers.UpSampling2D: UpSampling2D, keras.layers.Resizing: Resizing}
for _exact in EXACT.values():
    registry.register_smoothness(_exact, math.inf)
