"""What every operator asks of its arguments, and how points are taken in batches."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.checks import whole_number


def checked_model(model: object) -> None:
    """Raises if a model cannot be called on points yet."""
    if not callable(model):
        raise TypeError(f"Expected a model, a layer or a function, received {model!r}.")
    if isinstance(model, keras.Model) and not model.built:
        raise ValueError(
            f"The model {model.name!r} is not built: it has no weights yet. Give it an "
            "Input, or call it once on data."
        )


def checked_points(model: Callable, x) -> tf.Tensor:
    """Returns points of shape `(batch, ...)` in the dtype of the model's weights."""
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        raise TypeError(
            f"The points must be floats to take derivatives, received {x.dtype.name}. "
            "Convert them, for example with x.astype('float64')."
        )
    if x.shape.rank == 0 or 0 in x.shape:
        raise ValueError(
            f"Expected points of shape (batch, ...) with at least one point, received "
            f"shape {tuple(x.shape)}."
        )
    return tf.cast(x, weights_dtype(model) or x.dtype)


def checked_single(model: Any, x) -> tf.Tensor:
    """Returns the points of a model with one input, which they fit."""
    if keras.tree.is_nested(x) and not is_numbers(x):
        raise ValueError(
            "Expected one array of points, received a structure of several inputs. "
            "keras_smooth.derivatives with engine='tape' takes those."
        )
    x = checked_points(model, x)
    inputs = getattr(model, "inputs", None) if isinstance(model, keras.Model) else None
    if inputs is None:
        _check_layer(model, x)
        return x
    if len(inputs) != 1:
        raise ValueError(
            f"Expected a model with one input, received {model.name!r} with "
            f"{len(inputs)}. keras_smooth.derivatives with engine='tape' takes those."
        )
    if not x.shape[1:].is_compatible_with(inputs[0].shape[1:]):
        raise ValueError(
            f"The model {model.name!r} expects points of shape {inputs[0].shape}, "
            f"received {tuple(x.shape)}."
        )
    return x


def _check_layer(layer: Any, x: tf.Tensor) -> None:
    """Raises if points do not fit a layer that says what it takes."""
    for spec in keras.tree.flatten(getattr(layer, "input_spec", None)):
        if spec is not None and not _fits(spec, x.shape):
            raise ValueError(
                f"The layer {layer.name!r} expects points of {spec}, received shape "
                f"{tuple(x.shape)}."
            )


def _fits(spec: keras.layers.InputSpec, shape: tf.TensorShape) -> bool:
    if spec.ndim not in (None, shape.rank) or shape.rank < (spec.min_ndim or 0):
        return False
    return all(
        size is None or shape[axis] in (None, size)
        for axis, size in (spec.axes or {}).items()
    )


def is_numbers(x) -> bool:
    return all(isinstance(leaf, (int, float)) for leaf in keras.tree.flatten(x))


def weights_dtype(model: Callable) -> str | None:
    """Returns the dtype of a model's weights, None if it has none."""
    # Not model.dtype: a Sequential of float64 layers calls itself float32.
    dtypes = (weight.dtype for weight in getattr(model, "weights", []))
    return next((dtype for dtype in dtypes if dtype.startswith(("float", "bfloat"))), None)


def in_batches(function: Callable, arguments: tuple, batch_size: int | None):
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

    # Known to be whole, no batch is filled up, and nothing is copied for it.
    whole = isinstance(size, int) and number * batch_size == size

    def split(x):
        if not whole:
            filling = tf.repeat(x[:1], number * batch_size - size, axis=0)
            x = tf.concat([x, filling], axis=0)
        return tf.reshape(x, (number, batch_size, *x.shape[1:]))

    def join(y):
        y = tf.reshape(y, (-1, *y.shape[2:]))
        return y if whole else y[:size]

    parts = tuple(split(x) for x in arguments)
    return keras.tree.map_structure(join, _mapped(function, parts))


def _mapped(function: Callable, parts: tuple):
    if tf.executing_eagerly():
        results = [function(*part) for part in zip(*map(tf.unstack, parts))]
        return keras.tree.map_structure(lambda *ys: tf.stack(ys), *results)
    specs = [tf.TensorSpec(x.shape[1:], x.dtype) for x in parts]
    # Traced for its shapes alone: XLA cannot compile the gradient of a loop over it.
    traced = tf.function(function, autograph=False).get_concrete_function(*specs)
    signature = keras.tree.map_structure(_spec, traced.structured_outputs)
    return tf.map_fn(
        lambda part: function(*part), parts, fn_output_signature=signature,
        parallel_iterations=1,
    )  # fmt: skip


def _spec(y) -> tf.TensorSpec:
    return tf.TensorSpec(y.shape, y.dtype)
