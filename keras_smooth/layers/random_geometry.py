"""Random geometric transformations of images with exact derivatives."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_smooth.layers.sampling import transformed
from keras_smooth.layers.table import exact
from keras_smooth.models.copies import accepted


def _transform_by(stock: Any, matrix_of: Callable) -> Callable:
    """Returns the method `transform_images` of a layer, which applies random maps to images.

    Args:
        stock: The class of Keras.
        matrix_of: A function `matrix_of(layer, images, transformation)` that returns the maps
            for the random numbers in `transformation`.
    """

    def transform_images(
        self: Any, images: tf.Tensor, transformation: dict, training: bool = True
    ) -> tf.Tensor:
        if not training or transformation is None:
            return stock.transform_images(self, images, transformation, training)
        matrix = matrix_of(self, images, transformation)
        return transformed(self, images, matrix, self.fill_mode)

    return transform_images


def _rotation(layer: Any, images: tf.Tensor, transformation: dict) -> tf.Tensor:
    return transformation["rotation_matrix"]


def _zoom(layer: Any, images: tf.Tensor, transformation: dict) -> tf.Tensor:
    """Returns the map that scales the image around its center."""
    x, y = transformation["width_zoom"], transformation["height_zoom"]
    shape = ops.shape(images)
    height, width = shape[-3:-1] if layer.data_format == "channels_last" else shape[-2:]
    right, down = (
        (ops.cast(size, "float32") - 1.0) / 2.0 * (1.0 - zoom)
        for size, zoom in ((width, x), (height, y))
    )
    zero = ops.zeros_like(x)
    return ops.concatenate([x, zero, right, zero, y, down, zero, zero], axis=1)


def _shift(layer: Any, images: tf.Tensor, transformation: dict) -> tf.Tensor:
    right, down = tf.split(transformation["translations"], 2, axis=1)
    ones, zero = ops.ones_like(right), ops.zeros_like(right)
    return ops.concatenate([ones, zero, -right, zero, ones, -down, zero, zero], axis=1)


def _shear(layer: Any, images: tf.Tensor, transformation: dict) -> tf.Tensor:
    x, y = tf.split(transformation["shear_factor"], 2, axis=1)
    ones, zero = ops.ones_like(x), ops.zeros_like(x)
    return ops.concatenate([ones, x, zero, y, ones, zero, zero, zero], axis=1)


@exact
class RandomRotation(keras.layers.RandomRotation):
    """A `keras.layers.RandomRotation` with exact derivatives with respect to the images.

    Arguments, random numbers and outputs are those of Keras' layer, whose gradient is an
    approximation. The outputs are linear in the images for given random numbers.

    Args:
        factor: One or two numbers, the range of angles in turns: 0.2 is up to 72 degrees in either
            direction, (-0.1, 0.3) from 36 degrees clockwise to 108 counterclockwise.
        fill_mode: How points outside of the image are filled: "constant", "nearest", "reflect"
            or "wrap".
        interpolation: "bilinear" or "nearest".
        seed: Integer, the seed of the random numbers, or None.
        fill_value: The value of points outside of the image with "constant".
        data_format: "channels_last" or "channels_first", the order of the axes in the
            inputs. None is `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        `(..., height, width, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        That of the input.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.RandomRotation(0.1, seed=0)
    >>> layer(keras.ops.ones((1, 4, 4, 3)), training=True).shape
    TensorShape([1, 4, 4, 3])
    """

    transform_images = _transform_by(keras.layers.RandomRotation, _rotation)


@exact
class RandomTranslation(keras.layers.RandomTranslation):
    """A `keras.layers.RandomTranslation` with exact derivatives with respect to the images.

    Arguments, random numbers and outputs are those of Keras' layer, whose gradient is an
    approximation. The outputs are linear in the images for given random numbers.

    Args:
        height_factor: One or two numbers between -1 and 1, the range of shifts downwards, as a
            fraction of the height; 0.2 is (-0.2, 0.2).
        width_factor: The same to the right, as a fraction of the width.
        fill_mode: How points outside of the image are filled: "constant", "nearest", "reflect"
            or "wrap".
        interpolation: "bilinear" or "nearest".
        seed: Integer, the seed of the random numbers, or None.
        fill_value: The value of points outside of the image with "constant".
        data_format: "channels_last" or "channels_first", the order of the axes in the
            inputs. None is `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        `(..., height, width, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        That of the input.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.RandomTranslation(0.1, 0.2, seed=0)
    >>> layer(keras.ops.ones((1, 4, 4, 3)), training=True).shape
    TensorShape([1, 4, 4, 3])
    """

    transform_images = _transform_by(keras.layers.RandomTranslation, _shift)


@exact
class RandomZoom(keras.layers.RandomZoom):
    """A `keras.layers.RandomZoom` with exact derivatives with respect to the images.

    Arguments, random numbers and outputs are those of Keras' layer, whose gradient is an
    approximation. The outputs are linear in the images for given random numbers.

    Args:
        height_factor: One or two numbers between -1 and 1: (0.1, 0.2) zooms out by 10 to 20 %,
            (-0.2, -0.1) in; 0.2 is (-0.2, 0.2).
        width_factor: The same for the width; None keeps the aspect ratio.
        fill_mode: How points outside of the image are filled: "constant", "nearest", "reflect"
            or "wrap".
        interpolation: "bilinear" or "nearest".
        seed: Integer, the seed of the random numbers, or None.
        fill_value: The value of points outside of the image with "constant".
        data_format: "channels_last" or "channels_first", the order of the axes in the
            inputs. None is `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        `(..., height, width, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        That of the input.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.RandomZoom(0.2, seed=0)
    >>> layer(keras.ops.ones((1, 4, 4, 3)), training=True).shape
    TensorShape([1, 4, 4, 3])
    """

    transform_images = _transform_by(keras.layers.RandomZoom, _zoom)


@exact
class RandomShear(keras.layers.RandomShear):
    """A `keras.layers.RandomShear` with exact derivatives with respect to the images.

    Arguments, random numbers and outputs are those of Keras' layer, whose gradient is an
    approximation. The outputs are linear in the images for given random numbers.

    Args:
        x_factor: One or two numbers between 0 and 1, the range of the horizontal shear; 0.2 is
            (-0.2, 0.2).
        y_factor: The same for the vertical shear.
        interpolation: "bilinear" or "nearest".
        fill_mode: How points outside of the image are filled: "constant", "nearest", "reflect"
            or "wrap".
        fill_value: The value of points outside of the image with "constant".
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
    >>> layer = keras_smooth.layers.RandomShear(0.2, 0.1, seed=0)
    >>> layer(keras.ops.ones((1, 4, 4, 3)), training=True).shape
    TensorShape([1, 4, 4, 3])
    """

    transform_images = _transform_by(keras.layers.RandomShear, _shear)

    @classmethod
    def from_config(cls, config: dict) -> "RandomShear":
        return cls(**accepted(cls, config))


@exact
class RandomPerspective(keras.layers.RandomPerspective):
    """A `keras.layers.RandomPerspective` with exact derivatives with respect to the images.

    Arguments, random numbers and outputs are those of Keras' layer, whose gradient is an
    approximation. The outputs are linear in the images for given random numbers.

    Args:
        factor: One or two numbers between 0 and 1, the range from which the probability is drawn
            that an image is transformed; one number is the upper end.
        scale: Number between 0 and 1; a corner moves by up to `scale / 2` of its coordinates.
        interpolation: "bilinear" or "nearest".
        fill_value: The value of points outside of the image.
        seed: Integer, the seed of the random numbers, or None.
        data_format: "channels_last" or "channels_first", the order of the axes in the
            inputs. None is `keras.config.image_data_format()`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input shape:
        `(..., height, width, channels)`, or with the channels first if `data_format` is
        "channels_first".

    Output shape:
        That of the input.

    Example:

    >>> import keras, keras_smooth
    >>> layer = keras_smooth.layers.RandomPerspective(seed=0)
    >>> layer(keras.ops.ones((1, 4, 4, 3)), training=True).shape
    TensorShape([1, 4, 4, 3])
    """

    def transform_images(
        self, images: tf.Tensor, transformation: dict, training: bool = True
    ) -> tf.Tensor:
        if not training or transformation is None:
            return super().transform_images(images, transformation, training)
        matrix = _perspective(transformation)
        moved = transformed(self, images, matrix, "constant")
        is_moved = transformation["apply_perspective"][:, None, None, None]
        return ops.where(is_moved, moved, ops.cast(images, moved.dtype))


def _perspective(transformation: dict) -> tf.Tensor:
    """Returns the projective map from the four end points to the start points."""
    starts, ends = (
        ops.cast(transformation[key], "float32") for key in ("start_points", "end_points")
    )
    homogeneous = ops.concatenate([ends, ops.ones_like(ends[..., :1])], axis=-1)
    zeros = ops.zeros_like(homogeneous)
    rows = []
    for corner in range(4):
        for axis, columns in enumerate([(homogeneous, zeros), (zeros, homogeneous)]):
            start = starts[:, corner, axis, None]
            row = [*(column[:, corner] for column in columns), -start * ends[:, corner]]
            rows.append(ops.concatenate(row, axis=-1))
    values = ops.reshape(starts, (-1, 8, 1))
    return ops.solve(ops.stack(rows, axis=1), values)[..., 0]
