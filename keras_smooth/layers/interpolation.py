"""Layers that interpolate images and can be differentiated more than once.

Interpolation is linear in the image, and separate along the two axes. Therefore it is the product
with one matrix for the rows and one for the columns. These matrices are computed by applying
Keras' interpolation to unit vectors.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_smooth.layers.table import exact


def interpolated(images: Any, resize: Callable, data_format: str) -> Any:
    """Returns images interpolated by matrices, with exact derivatives of every order.

    Args:
        images: Tensor of images of known height and width, with or without a batch.
        resize: Keras' interpolation of a batch of images.
        data_format: "channels_last" or "channels_first".
    """
    channels_last = data_format == "channels_last"
    sizes = images.shape[-3:-1] if channels_last else images.shape[-2:]
    vertical, horizontal = (
        ops.cast(_matrix(resize, size, axis, channels_last), images.dtype)
        for axis, size in enumerate(sizes)
    )
    equation = "...hwc,hi,wj->...ijc" if channels_last else "...chw,hi,wj->...cij"
    return ops.einsum(equation, images, vertical, horizontal)


def _matrix(resize: Callable, size: int, axis: int, channels_last: bool) -> Any:
    """Returns the matrix of an interpolation along one axis."""
    shape = [size, 1, 1]
    shape[axis + 1] = size
    images = ops.reshape(ops.eye(size, dtype="float32"), shape)
    channel = -1 if channels_last else 1
    result = ops.squeeze(resize(ops.expand_dims(images, channel)), axis=channel)
    return result[:, :, 0] if axis == 0 else result[:, 0, :]


@exact
class UpSampling2D(keras.layers.UpSampling2D):
    """A `keras.layers.UpSampling2D` with derivatives of every order.

    On TensorFlow, bicubic interpolation of Keras' layer raises an error for a second
    derivative, and bilinear interpolation computes in float32. This layer applies the same
    interpolation as one matrix for each axis, with exact derivatives of every order.

    Arguments and outputs are those of Keras' layer. For images of unknown height or width,
    Keras' own code is used.

    Args:
        size: Integer or 2 integers, the factors for height and width.
        data_format: "channels_last" or "channels_first", the order of the axes in the
            inputs. None is `keras.config.image_data_format()`.
        interpolation: The interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or
            "lanczos5".
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        `(batch, height, width, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        The same, with height and width multiplied by `size`.

    Example:

    >>> import numpy as np, keras_smooth
    >>> layer = keras_smooth.layers.UpSampling2D(2, interpolation="bicubic")
    >>> keras_smooth.audit(layer, np.ones((1, 3, 3, 1))).ok
    True

    References:
        Keys, 1981, "Cubic convolution interpolation for digital image processing", IEEE
        Transactions on Acoustics, Speech, and Signal Processing 29, 1153.
    """

    def call(self, inputs: Any) -> Any:
        axes = (1, 2) if self.data_format == "channels_last" else (2, 3)
        if self.interpolation == "nearest" or None in [inputs.shape[i] for i in axes]:
            return super().call(inputs)
        return interpolated(inputs, super().call, self.data_format)


@exact
class Resizing(keras.layers.Resizing):
    """A `keras.layers.Resizing` with derivatives of every order.

    On TensorFlow, bicubic interpolation of Keras' layer raises an error for a second
    derivative, and interpolation computes in float32. This layer applies the same
    interpolation as one matrix for each axis, with exact derivatives of every order.

    Arguments and outputs are those of Keras' layer. For images of integers, of unknown height
    or width, and those that are cropped or padded to keep their aspect ratio, Keras' own code
    is used, which loses second derivatives.

    Args:
        height: Positive integer, the height of the output.
        width: Positive integer, the width of the output.
        interpolation: The interpolation: "nearest", "bilinear", "bicubic", "lanczos3" or
            "lanczos5".
        crop_to_aspect_ratio: Whether an image of another aspect ratio is cropped instead of
            distorted.
        pad_to_aspect_ratio: Whether an image of another aspect ratio is padded instead of
            distorted.
        fill_mode: How the image is padded; only "constant" is possible.
        fill_value: The value of the padding.
        antialias: Whether an image that shrinks is smoothed first.
        data_format: "channels_last" or "channels_first", the order of the axes in the
            inputs. None is `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        `(..., height, width, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        Likewise, with the new height and width.

    Example:

    >>> import numpy as np, keras_smooth
    >>> layer = keras_smooth.layers.Resizing(5, 4, interpolation="bicubic")
    >>> keras_smooth.audit(layer, np.ones((1, 3, 3, 1))).ok
    True

    References:
        Keys, 1981, "Cubic convolution interpolation for digital image processing", IEEE
        Transactions on Acoustics, Speech, and Signal Processing 29, 1153.
    """

    def transform_images(
        self, images: Any, transformation: Any = None, training: Any = True
    ) -> Any:
        resize = super().transform_images
        sizes = [images.shape[axis] for axis in (self.height_axis, self.width_axis)]
        floats = "float" in keras.backend.standardize_dtype(images.dtype)
        keeps_ratio = not (self.crop_to_aspect_ratio or self.pad_to_aspect_ratio)
        if self.interpolation == "nearest" or None in sizes or not (floats and keeps_ratio):
            return resize(images, transformation, training)
        return interpolated(images, resize, self.data_format)
