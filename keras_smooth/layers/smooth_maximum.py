"""The functions of the smooth forms of maximum layers and of PReLU.

The maximum of x_1, ..., x_n becomes log(sum_i exp(sharpness x_i)) / sharpness. It is larger than
the maximum by at most log(n) / sharpness. If one value is much larger than the others, which is the
usual case, the difference is negligible. With the mean instead of the sum, the result would be
smaller by log(n) / sharpness in that case: for 4 standard normal values and sharpness 10, the sum
differs from the maximum by 0.009 on average and by at most 0.13, the mean by 0.13 and 0.14. For two
values the formula is x_1 + softplus(x_2 - x_1) with this sharpness, so that the smooth maximum of x
and 0 is the smooth ReLU of `smoothen`.
"""

import functools
import math
from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import ops

from keras_smooth.activations import sharp_softplus


def smooth_maximum(
    x: tf.Tensor, axis: int | Sequence[int] | None, sharpness: float, keepdims: bool = False
) -> tf.Tensor:
    """Returns log(sum(exp(sharpness x))) / sharpness over some axes.

    The largest value is subtracted first, so that the sum cannot overflow. The result does not
    depend on this value, which is held constant in derivatives.

    Args:
        x: Tensor of floats.
        axis: One or several axes; None is all axes.
        sharpness: Positive number.
        keepdims: Whether the axes are kept, with size 1.
    """
    # Keras 3.10 does not accept a single axis in a graph.
    axes = (axis,) if isinstance(axis, int) else axis
    return ops.logsumexp(sharpness * x, axis=axes, keepdims=keepdims) / sharpness


def windows(x: tf.Tensor, axis: int, size: int, stride: int, padding: str) -> tf.Tensor:
    """Returns the windows along one axis, stacked along a new last axis.

    Values beyond the ends are minus infinity.

    Args:
        x: Tensor of floats.
        axis: The axis along which windows move.
        size: The size of a window.
        stride: The step from one window to the next.
        padding: "valid" or "same", as in Keras.
    """
    x = _padded(x, axis, size, stride) if padding == "same" else x
    before = (slice(None),) * axis
    ends = (start - size + 1 or None for start in range(size))
    slices = [x[before + (slice(i, end, stride),)] for i, end in enumerate(ends)]
    return ops.stack(slices, axis=-1)


def _padded(x: tf.Tensor, axis: int, size: int, stride: int) -> tf.Tensor:
    length = ops.shape(x)[axis]
    missing = ops.maximum((-(-length // stride) - 1) * stride + size - length, 0)
    widths = [[0, 0] for _ in x.shape]
    widths[axis] = [missing // 2, missing - missing // 2]
    return ops.pad(x, widths, constant_values=-math.inf)


def _in_float32_or_wider(x: tf.Tensor) -> tf.Tensor:
    """Returns x in float32 or wider, since exp of half precision numbers is inaccurate."""
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def pooled(layer: keras.layers.Layer, inputs: tf.Tensor) -> tf.Tensor:
    """Returns the smooth maxima over a layer's windows."""
    x = _in_float32_or_wider(inputs)
    first_axis = 1 if layer.data_format == "channels_last" else 2
    # The sum over a box is computed as sums along one axis after another.
    for axis, span in enumerate(zip(layer.pool_size, layer.strides), first_axis):
        x = smooth_maximum(windows(x, axis, *span, layer.padding), -1, layer.sharpness)
    return ops.cast(x, layer.compute_dtype)


def pooled_globally(layer: keras.layers.Layer, inputs: tf.Tensor) -> tf.Tensor:
    """Returns the smooth maxima over all spatial axes."""
    rank = len(inputs.shape)
    channels_last = layer.data_format == "channels_last"
    axes = tuple(range(1, rank - 1) if channels_last else range(2, rank))
    x = smooth_maximum(_in_float32_or_wider(inputs), axes, layer.sharpness, layer.keepdims)
    return ops.cast(x, layer.compute_dtype)


def largest(layer: keras.layers.Layer, inputs: list) -> tf.Tensor:
    """Returns the smooth maximum of several tensors."""
    return _extreme(layer, inputs, 1.0)


def smallest(layer: keras.layers.Layer, inputs: list) -> tf.Tensor:
    """Returns the smooth minimum of several tensors."""
    return _extreme(layer, inputs, -1.0)


def _extreme(layer: keras.layers.Layer, inputs: list, sign: float) -> tf.Tensor:
    rank = max(len(x.shape) for x in inputs)
    values = [sign * _expanded(_in_float32_or_wider(x), rank) for x in inputs]
    y = functools.reduce(lambda a, b: a + sharp_softplus(b - a, layer.sharpness), values)
    return ops.cast(sign * y, layer.compute_dtype)


def _expanded(x: tf.Tensor, rank: int) -> tf.Tensor:
    """Returns x with new axes after the batch, as Keras merges tensors of different ranks."""
    axes = tuple(range(1, 1 + rank - len(x.shape)))
    return ops.expand_dims(x, axes) if axes else x


def ramps(layer: keras.layers.Layer, inputs: tf.Tensor) -> tf.Tensor:
    """Returns softplus(x) - alpha softplus(-x) with the slopes alpha of a layer."""
    positive, negative = (sharp_softplus(x, layer.sharpness) for x in (inputs, -inputs))
    return positive - layer.alpha * negative
