"""Sampling of images at transformed positions, which is linear in the images.

The kernel of TensorFlow that Keras uses has an approximate gradient, which samples the incoming
gradient by the inverse map. Here the pixels are gathered by `tf.gather`, whose gradient is exact.
"""

import keras
import tensorflow as tf
from keras import ops


def transformed(
    layer: keras.layers.Layer, images: tf.Tensor, matrix: tf.Tensor, fill_mode: str
) -> tf.Tensor:
    """Returns images transformed by projective maps, as Keras computes them.

    Args:
        layer: A layer with `interpolation`, `fill_value`, `data_format` and `compute_dtype`.
        images: Batch of images.
        matrix: a0, a1, a2, b0, b1, b2, c0, c1 for each image. The output at (x, y) is the
            input at ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k) with k = c0 x + c1 y + 1.
        fill_mode: "constant", "nearest", "reflect" or "wrap".
    """
    images = ops.cast(images, layer.compute_dtype)
    channels_first = layer.data_format == "channels_first"
    x = tf.transpose(images, (0, 2, 3, 1)) if channels_first else images
    shape = tf.shape(x)
    rows, columns = _positions(matrix, shape[1], shape[2])
    rows = _inside(rows, shape[1], fill_mode)
    columns = _inside(columns, shape[2], fill_mode)
    x = _sampled(x, rows, columns, layer.interpolation, layer.fill_value)
    x = tf.transpose(x, (0, 3, 1, 2)) if channels_first else x
    return tf.ensure_shape(ops.cast(x, layer.compute_dtype), images.shape)


def _positions(matrix: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tuple:
    """Returns the row and column of the input for each pixel of the output."""
    matrix = tf.reshape(tf.cast(matrix, tf.float32), (-1, 8, 1, 1))
    a0, a1, a2, b0, b1, b2, c0, c1 = tf.unstack(matrix, axis=1)
    x = tf.range(width, dtype=tf.float32)[None, None, :]
    y = tf.range(height, dtype=tf.float32)[None, :, None]
    k = c0 * x + c1 * y + 1.0
    # Pixels at the horizon, where k is 0, are outside of the image.
    is_horizon = tf.equal(k, 0.0)
    k = tf.where(is_horizon, tf.ones_like(k), k)
    column = tf.where(is_horizon, -2.0, (a0 * x + a1 * y + a2) / k)
    row = tf.where(is_horizon, -2.0, (b0 * x + b1 * y + b2) / k)
    return row, column


def _inside(position: tf.Tensor, size: tf.Tensor, fill_mode: str) -> tf.Tensor:
    """Returns positions along an axis, with those outside replaced by `fill_mode`."""
    last = tf.cast(size - 1, tf.float32)
    if fill_mode == "constant":
        # All positions beyond -1 and `size` are filled. They are clipped, to be valid integers.
        return tf.clip_by_value(position, -2.0, last + 2.0)
    if rule := _RULES.get(fill_mode):
        position = rule(position, last)
    return tf.clip_by_value(position, 0.0, last)


def _reflected(position: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """Extends abcd to dcba|abcd|dcba; between two equal pixels, values are constant."""
    size = last + 1.0
    below = tf.math.floormod(position, -2.0 * size)
    below = tf.where(below < -size, below + 2.0 * size, -below - 1.0)
    above = tf.math.floormod(position, 2.0 * size)
    above = tf.where(above >= size, 2.0 * size - above - 1.0, above)
    return tf.where(position < 0.0, below, tf.where(position > last, above, position))


def _wrapped(position: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """Extends abcd to abcd|abcd|abcd; as in TensorFlow, the period is in gaps, not in pixels."""
    gaps, size = tf.maximum(last, 1.0), last + 1.0
    below = position + size * (tf.floor(-position / gaps) + 1.0)
    above = position - size * tf.floor(position / gaps)
    return tf.where(position < 0.0, below, tf.where(position > last, above, position))


# "nearest" needs no rule, since positions outside are clipped to the edge.
_RULES = {"reflect": _reflected, "wrap": _wrapped}


def _sampled(
    x: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, interpolation: str, fill_value: float
) -> tf.Tensor:
    """Returns the values of images, of shape `(batch, ..., channels)`, at rows and columns."""
    wide = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    shape = tf.shape(x)
    height, width = shape[1], shape[2]
    flat = tf.reshape(wide, (shape[0], height * width, shape[3]))
    total = tf.zeros_like(wide)
    for row, row_weight in _neighbors(rows, interpolation):
        for column, column_weight in _neighbors(columns, interpolation):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = tf.where(inside, row * width + column, 0)
            weight = tf.cast(row_weight, wide.dtype) * tf.cast(column_weight, wide.dtype)
            pixels = tf.gather(flat, index, batch_dims=1)
            fill = tf.cast(fill_value, wide.dtype)
            total += weight[..., None] * tf.where(inside[..., None], pixels, fill)
    return total


def _neighbors(position: tf.Tensor, interpolation: str) -> list[tuple]:
    """Returns index and weight of the pixels around a position along one axis."""
    if interpolation == "nearest":
        # Halves are rounded away from 0, as in TensorFlow's kernel.
        index = tf.sign(position) * tf.floor(tf.abs(position) + 0.5)
        return [(tf.cast(index, tf.int32), tf.ones_like(position))]
    floor = tf.floor(position)
    index = tf.cast(floor, tf.int32)
    return [(index, floor + 1.0 - position), (index + 1, position - floor)]
