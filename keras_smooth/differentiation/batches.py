"""Functions of points in batches, which limits the memory."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.checks import whole_number


def in_batches(function: Callable, arguments: tuple, batch_size: int | None) -> Any:
    """Applies a function of tensors `(batch, ...)` to `batch_size` samples at a time.

    The last batch is filled up with copies of the first sample, so that all have the
    same shape and a compiled function is compiled once.
    """
    if batch_size is None:
        return function(*arguments)
    size = arguments[0].shape[0] or tf.shape(arguments[0])[0]
    batch_size = whole_number("`batch_size`", batch_size, 1)
    batch_size = min(batch_size, size) if isinstance(size, int) else batch_size
    number = -(-size // batch_size)

    # If the batches divide the samples evenly, nothing is copied.
    whole = isinstance(size, int) and number * batch_size == size

    def split(x: Any) -> Any:
        if not whole:
            filling = tf.repeat(x[:1], number * batch_size - size, axis=0)
            x = tf.concat([x, filling], axis=0)
        return tf.reshape(x, (number, batch_size, *x.shape[1:]))

    def join(y: Any) -> Any:
        y = tf.reshape(y, (-1, *y.shape[2:]))
        return y if whole else y[:size]

    batches = tuple(split(x) for x in arguments)
    return keras.tree.map_structure(join, _mapped(function, batches))


def _mapped(function: Callable, batches: tuple) -> tf.Tensor:
    if tf.executing_eagerly():
        results = [function(*batch) for batch in zip(*map(tf.unstack, batches))]
        return keras.tree.map_structure(lambda *ys: tf.stack(ys), *results)
    specs = [tf.TensorSpec(x.shape[1:], x.dtype) for x in batches]
    # Traced for its shapes only, since XLA cannot compile the gradient of a loop over it.
    traced = tf.function(function, autograph=False).get_concrete_function(*specs)
    signature = keras.tree.map_structure(
        lambda y: tf.TensorSpec(y.shape, y.dtype), traced.structured_outputs
    )
    return tf.map_fn(
        lambda batch: function(*batch), batches, fn_output_signature=signature,
        parallel_iterations=1,
    )  # fmt: skip
