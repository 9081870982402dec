"""Images read at other places than those of their pixels, which is linear in the images.

TensorFlow's kernel for that, which Keras calls, has a gradient that reads the incoming one
through the inverse map: an approximation, and wrong. Here the pixels are gathered, and the
derivative scatters them.
"""

import keras
import tensorflow as tf
from keras import ops


def transformed(
    layer: keras.layers.Layer, images: tf.Tensor, matrix: tf.Tensor, fill_mode: str
) -> tf.Tensor:
    """Returns images seen through projective maps, as Keras computes them.

    Args:
        layer: Says `interpolation`, `fill_value`, `data_format` and `compute_dtype`.
        images: Batch of images.
        matrix: a0, a1, a2, b0, b1, b2, c0, c1 for each image: the pixel at (x, y) is that at
            ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k) with k = c0 x + c1 y + 1.
        fill_mode: "constant", "nearest", "reflect" or "wrap".
    """
    images = ops.cast(images, layer.compute_dtype)
    first = layer.data_format == "channels_first"
    x = tf.transpose(images, (0, 2, 3, 1)) if first else images
    shape = tf.shape(x)
    rows, columns = _places(matrix, shape[1], shape[2])
    rows = _mapped(rows, shape[1], fill_mode)
    columns = _mapped(columns, shape[2], fill_mode)
    x = _sampled(x, rows, columns, layer.interpolation, layer.fill_value)
    x = tf.transpose(x, (0, 3, 1, 2)) if first else x
    return tf.ensure_shape(ops.cast(x, layer.compute_dtype), images.shape)


def _places(matrix: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tuple:
    """Returns row and column at which each pixel of the outputs reads."""
    matrix = tf.reshape(tf.cast(matrix, tf.float32), (-1, 8, 1, 1))
    a0, a1, a2, b0, b1, b2, c0, c1 = tf.unstack(matrix, axis=1)
    x = tf.range(width, dtype=tf.float32)[None, None, :]
    y = tf.range(height, dtype=tf.float32)[None, :, None]
    k = c0 * x + c1 * y + 1.0
    # At the horizon there is nothing to read.
    far = tf.equal(k, 0.0)
    k = tf.where(far, tf.ones_like(k), k)
    column = tf.where(far, -2.0, (a0 * x + a1 * y + a2) / k)
    row = tf.where(far, -2.0, (b0 * x + b1 * y + b2) / k)
    return row, column


def _mapped(place: tf.Tensor, size: tf.Tensor, fill_mode: str) -> tf.Tensor:
    """Returns the place inside an axis that stands for one outside."""
    last = tf.cast(size - 1, tf.float32)
    if fill_mode == "constant":
        # Beyond -1 and `size` all is filled: so far, numbers have an index.
        return tf.clip_by_value(place, -2.0, last + 2.0)
    if rule := _RULES.get(fill_mode):
        place = rule(place, last)
    return tf.clip_by_value(place, 0.0, last)


def _reflected(place: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """abcd becomes dcba|abcd|dcba; between two copies of a pixel there is nothing else."""
    size = last + 1.0
    below = tf.math.floormod(place, -2.0 * size)
    below = tf.where(below < -size, below + 2.0 * size, -below - 1.0)
    above = tf.math.floormod(place, 2.0 * size)
    above = tf.where(above >= size, 2.0 * size - above - 1.0, above)
    return tf.where(place < 0.0, below, tf.where(place > last, above, place))


def _wrapped(place: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """abcd becomes abcd|abcd|abcd; the kernel counts copies by the gaps between pixels."""
    gaps, size = tf.maximum(last, 1.0), last + 1.0
    below = place + size * (tf.floor(-place / gaps) + 1.0)
    above = place - size * tf.floor(place / gaps)
    return tf.where(place < 0.0, below, tf.where(place > last, above, place))


# For "nearest" the places outside are moved to the edge, with no rule of its own.
_RULES = {"reflect": _reflected, "wrap": _wrapped}


def _sampled(
    x: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, interpolation: str, fill_value: float
) -> tf.Tensor:
    """Returns images, batch and channels last, at rows and columns."""
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


def _neighbors(place: tf.Tensor, interpolation: str) -> list[tuple]:
    """Returns index and weight of the pixels around a place along one axis."""
    if interpolation == "nearest":
        # Halves go away from 0, as in the kernel.
        index = tf.sign(place) * tf.floor(tf.abs(place) + 0.5)
        return [(tf.cast(index, tf.int32), tf.ones_like(place))]
    floor = tf.floor(place)
    index = tf.cast(floor, tf.int32)
    return [(index, floor + 1.0 - place), (index + 1, place - floor)]
