"""Targets, losses and weights of derivatives: by name, and in the shapes of the outputs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.presentation.counts import counted


def by_name(what: str, values: Any, names: Sequence[str]) -> Any:
    """Returns a dict for a list in the order of the names; other values are returned unchanged.

    Keras would assign the entries of a list to the outputs in the order of the sorted keys:
    d2y, dy, y.

    Args:
        what: The name of the argument in messages.
        values: A list; or a dict or a single value, which are returned unchanged.
        names: Names of the outputs.

    Raises:
        ValueError: If a list has another length, or a dict has other keys.
    """
    if isinstance(values, Mapping):
        if unknown := [key for key in values if key not in names]:
            # Keras would assign them to outputs in the order of the keys.
            raise ValueError(
                f"`{what}` has the keys {', '.join(map(repr, unknown))}, but the outputs are "
                f"{', '.join(names)}."
            )
        return values
    if not isinstance(values, list | tuple):
        return values
    if len(values) != len(names):
        raise ValueError(
            f"`{what}` has {counted(len(values), 'entry', 'entries')}, but the outputs are "
            f"{', '.join(names)}: "
            "pass one for each in this order, or a dict with some of these keys."
        )
    return dict(zip(names, values))


def in_shape_of(output: tf.Tensor, target: Any, name: str) -> tf.Tensor:
    """Returns targets in the shape of an output; axes of length 1 may be missing.

    Raises:
        ValueError: If another axis differs, since Keras would broadcast silently.
    """
    target = tf.convert_to_tensor(target)
    sample = tuple(output.shape[1:])
    if target.shape.rank is None:
        return _checked_at_run_time(target, sample, name)
    if _sizes_without_ones(target.shape) != _sizes_without_ones(output.shape):
        raise ValueError(_shape_message(name, target.shape, sample))
    return (
        target if tuple(target.shape[1:]) == sample else _reshaped_samples(target, sample)
    )


def _checked_at_run_time(target: tf.Tensor, sample: tuple, name: str) -> tf.Tensor:
    """Returns targets of unknown static shape, which are checked at run time."""
    core = [size for size in sample if size != 1]
    sizes = tf.shape(target)[1:]
    counts = tf.cast(sizes != 1, tf.int32)
    # Collect the sizes other than 1 in order, by operations that XLA can compile.
    positions = tf.one_hot(tf.cumsum(counts) - 1, len(core), dtype=tf.int32)
    sizes_in_order = tf.reduce_sum((counts * sizes)[:, None] * positions, axis=0)
    fits = tf.reduce_all(sizes_in_order == core) & (tf.reduce_sum(counts) == len(core))
    words = _shape_message(name, target.shape, sample)
    with tf.control_dependencies([tf.debugging.Assert(fits, [words, sizes])]):
        target = tf.reshape(target, (-1, *sample))
    # XLA drops assertions, so targets of a wrong shape become NaN.
    nan_if_wrong = tf.where(fits, 0.0, float("nan"))
    if not target.dtype.is_floating:
        return target
    return target + tf.cast(nan_if_wrong, target.dtype)


def _reshaped_samples(target: tf.Tensor, sample: tuple[int, ...]) -> tf.Tensor:
    size = -1 if target.shape[0] is None else target.shape[0]
    return tf.reshape(target, (size, *sample))


def _sizes_without_ones(shape: tf.TensorShape) -> tuple:
    return tuple(size for size in tuple(shape)[1:] if size != 1)


def _shape_message(name: str, shape: tf.TensorShape, sample: tuple) -> str:
    natural = ", ".join(map(str, ("batch", *(size for size in sample if size != 1))))
    words = (
        f"The targets of {name!r} have shape {shape}, but the output has shape "
        f"{(None, *sample)}: the axes of a sample of y, followed by those of a sample of x for "
        f"each derivative. Axes of length 1 may be left out: ({natural})."
    )
    sizes = None if shape.rank is None else tuple(shape)[1:]
    if sizes is None or None in sizes:
        return (
            f"{words} Keras does not know the shape of the targets after targets of several "
            "shapes: compile the model again."
        )
    if math.prod(sizes) == math.prod(sample):
        axes = ", ".join(map(str, (-1, *sample)))
        return f"{words} If they have this order, reshape them: targets.reshape({axes})."
    return f"{words} keras_smooth.derivatives returns arrays of that shape."


def row_weights(loss: Any, weight: Any, target: tf.Tensor, output: tf.Tensor) -> Any:
    """Returns sample weights with as many axes as a loss has before its reduction.

    Keras multiplies losses of shape `(batch, outputs)` by weights of shape `(batch,)` along
    the last axis, which would use sample weights as weights of outputs.

    Args:
        loss: The loss of an output, as passed to `compile`.
        weight: Sample weights, `(batch,)` or `(batch, 1)`; other shapes are returned unchanged.
        target: The targets, of the shape of the output.
        output: The output.
    """
    weight = tf.convert_to_tensor(weight)
    if weight.shape.rank is None or _sizes_without_ones(weight.shape):
        return weight
    function = keras.losses.get(loss)
    # Calling a loss object reduces over samples; its method `call` does not.
    function = function.call if isinstance(function, keras.losses.Loss) else function
    losses = function(tf.cast(target, output.dtype), output)
    rank = max(getattr(losses.shape, "rank", 1) or 1, 1)
    return _reshaped_samples(weight, (1,) * (rank - 1))
