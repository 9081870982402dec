"""Random changes of colors that can be differentiated."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_smooth.layers.table import exact


def hue_saturation_value(images: tf.Tensor, axis: int) -> tuple:
    """Returns hue, saturation and value of images of red, green and blue.

    Args:
        images: Tensor of floats.
        axis: The axis of the channels, which the results do not have.
    """
    red, green, blue = ops.unstack(images, 3, axis)
    value = ops.maximum(red, ops.maximum(green, blue))
    span = value - ops.minimum(red, ops.minimum(green, blue))
    saturation = ops.where(value > 0, span / _guarded(value), ops.zeros_like(value))
    sixths = 1.0 / (6.0 * _guarded(span))
    hue = ops.where(
        ops.equal(red, value),
        sixths * (green - blue),
        ops.where(
            ops.equal(green, value),
            sixths * (blue - red) + 2.0 / 6.0,
            sixths * (red - green) + 4.0 / 6.0,
        ),
    )
    hue = ops.where(span > 0, hue, ops.zeros_like(hue))
    return ops.where(hue < 0, hue + 1.0, hue), saturation, value


def _guarded(x: tf.Tensor) -> tf.Tensor:
    """Returns x, with 1 in place of numbers that are not positive, for use as a divisor."""
    return ops.where(x > 0, x, ops.ones_like(x))


def red_green_blue(
    hue: tf.Tensor, saturation: tf.Tensor, value: tf.Tensor, axis: int
) -> tf.Tensor:
    """Returns images of red, green and blue, with the channels along an axis."""
    red = ops.abs(hue * 6.0 - 3.0) - 1.0
    green = 2.0 - ops.abs(hue * 6.0 - 2.0)
    blue = 2.0 - ops.abs(hue * 6.0 - 4.0)
    channels = [
        (1.0 - saturation + saturation * ops.clip(channel, 0, 1)) * value
        for channel in (red, green, blue)
    ]
    return ops.stack(channels, axis)


def _per_image(factor: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Returns one number for each image, in a shape that broadcasts over its pixels."""
    return ops.cast(ops.reshape(factor, (-1, 1, 1)), like.dtype)


@exact
class RandomHue(keras.layers.RandomHue):
    """A `keras.layers.RandomHue` that can be differentiated.

    Arguments, random numbers and outputs are those of Keras' layer, whose kernels have no
    gradient. Hue and saturation have kinks where two colors are equal. Elsewhere, the derivatives
    of all orders exist and are exact.

    Args:
        factor: One or two numbers between 0 and 1, the range from which the rotation of the hue
            is drawn; one number is the upper end. 1 is half a turn in either direction.
        value_range: The lowest and the highest value of the images.
        data_format: "channels_last" or "channels_first", the order of the axes in the
            inputs. None is `keras.config.image_data_format()`.
        seed: Integer, the seed of the random numbers, or None.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        `(..., height, width, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        That of the input.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.RandomHue(0.3, value_range=(0, 1), seed=0)
    >>> layer(keras.ops.ones((1, 4, 4, 3)), training=True).shape
    TensorShape([1, 4, 4, 3])

    References:
        Smith, 1978, "Color gamut transform pairs", SIGGRAPH 78, 12.
    """

    def transform_images(
        self, images: tf.Tensor, transformation: Any = None, training: bool = True
    ) -> tf.Tensor:
        if not training:
            return super().transform_images(images, transformation, training)
        low, high = self.value_range
        axis = -1 if self.data_format == "channels_last" else -3
        x = ops.cast(images, self.compute_dtype)
        hue, saturation, value = hue_saturation_value((x - low) / (high - low), axis)
        hue = hue + _per_image(transformation["factor"], hue)
        hue = ops.where(hue > 1.0, hue - 1.0, hue)
        hue = ops.where(hue < 0.0, hue + 1.0, hue)
        x = ops.clip(red_green_blue(hue, saturation, value, axis), 0, 1)
        return x * (high - low) + low


@exact
class RandomSaturation(keras.layers.RandomSaturation):
    """A `keras.layers.RandomSaturation` that can be differentiated.

    Arguments, random numbers and outputs are those of Keras' layer, whose kernels have no
    gradient. Hue and saturation have kinks where two colors are equal. Elsewhere, the derivatives
    of all orders exist and are exact.

    Args:
        factor: Two numbers between 0 and 1, the range from which the saturation is drawn: 0 is
            gray, 0.5 no change, and 1 full saturation. As in Keras, one number f is (-f, f), of
            which negative numbers are gray.
        value_range: The lowest and the highest value of the images.
        data_format: "channels_last" or "channels_first", the order of the axes in the
            inputs. None is `keras.config.image_data_format()`.
        seed: Integer, the seed of the random numbers, or None.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        `(..., height, width, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        That of the input.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.RandomSaturation(0.3, value_range=(0, 1), seed=0)
    >>> layer(keras.ops.ones((1, 4, 4, 3)), training=True).shape
    TensorShape([1, 4, 4, 3])

    References:
        Smith, 1978, "Color gamut transform pairs", SIGGRAPH 78, 12.
    """

    def transform_images(
        self, images: tf.Tensor, transformation: Any = None, training: bool = True
    ) -> tf.Tensor:
        if not training:
            return super().transform_images(images, transformation, training)
        axis = -1 if self.data_format == "channels_last" else -3
        x = ops.cast(images, self.compute_dtype)
        hue, saturation, value = hue_saturation_value(x, axis)
        saturation = saturation * _per_image(transformation["factor"], saturation)
        saturation = ops.clip(saturation, *self.value_range)
        return red_green_blue(hue, saturation, value, axis)
