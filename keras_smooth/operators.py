"""Derivatives of a model's outputs with respect to its inputs."""

import math
import operator
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_smooth import registry

_ENGINES = ("tape",)


# Keras itself calls layers without AutoGraph; it would try to convert this file as well.
@tf.autograph.experimental.do_not_convert
def derivatives(
    model: Callable, x, order: int = 2, *, engine: str = "tape", training: bool = False
) -> tuple:
    """Returns y, y', y'' and so on of a model at the points x.

    The samples of a batch must not influence each other: what is returned is the
    derivative of every sample's output with respect to its own input.

    Args:
        model: A Keras model or layer, or a function of tensors.
        x: Points, floats of shape `(batch, ...)`; for a model with several inputs a
            list, tuple or dict of such arrays. They are cast to the dtype of the
            model's variables.
        order: Number of derivatives, 0 or more.
        engine: How they are computed. `"tape"` nests `tf.GradientTape`.
        training: Whether layers such as Dropout run in training mode.

    Returns:
        A tuple of `order + 1` tensors: y, y', y'', ...

        - y has the shape `(batch, ...)` of the model's output.
        - Where a sample of x is one number, as with x of shape `(batch, 1)`, every
          derivative has the shape of y.
        - Otherwise each derivative appends the shape of a sample: with x of shape
          `(batch, d)` and y of shape `(batch, m)`, y' is `(batch, m, d)` and y'' is
          `(batch, m, d, d)`.
        - With several outputs each entry has the structure of y; with several inputs
          each derivative puts the structure of x in the place of the tensor:
          `dy["out"]["in"]`, `d2y["out"]["in"]["in"]`.

        The dtype is that of the model's output.

    Raises:
        TypeError: If x does not hold floats or `order` is not an integer.
        ValueError: If x is empty, `order` is negative, the engine is unknown, or a
            derivative is lost on the way; the message names the layers at fault.

    Example:

    >>> import numpy as np, keras_smooth
    >>> y, dy, d2y = keras_smooth.derivatives(lambda x: x**3, np.array([[2.0]]))
    >>> float(y[0, 0]), float(dy[0, 0]), float(d2y[0, 0])
    (8.0, 12.0, 12.0)
    """
    order = _checked_order(order)
    if engine not in _ENGINES:
        raise ValueError(f"Unknown engine {engine!r}. Known: {', '.join(_ENGINES)}.")
    x = keras.tree.map_structure(lambda part: _checked_points(model, part), x)
    return tuple(_nested_tapes(_Function(model, training), x, order))


def _checked_order(order: object) -> int:
    try:
        order = operator.index(order)
    except TypeError:
        raise TypeError(f"`order` must be an integer, received {order!r}.") from None
    if order < 0:
        raise ValueError(f"`order` must be 0 or more, received {order}.")
    return order


def _checked_points(model: Callable, x) -> tf.Tensor:
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
    return tf.cast(x, _weights_dtype(model) or x.dtype)


def _weights_dtype(model: Callable) -> str | None:
    # Not model.dtype: a Sequential of float64 layers calls itself float32.
    dtypes = (weight.dtype for weight in getattr(model, "weights", []))
    return next((dtype for dtype in dtypes if dtype.startswith(("float", "bfloat"))), None)


class _Function:
    """A model as a function of x alone, which knows what to make of a lost derivative."""

    def __init__(self, model: Callable, training: bool):
        self.model = model
        self.training = training

    def __call__(self, x):
        if isinstance(self.model, keras.layers.Layer):
            return self.model(x, training=self.training)
        return self.model(x)

    def zero(self, point: tf.Tensor, order: int) -> tf.Tensor:
        """Returns the derivative where TensorFlow says None: 0 if that is the truth."""
        smoothness = self._smoothness()
        if smoothness is None or smoothness < order:
            raise ValueError(self.lost(order, "TensorFlow finds no path from x to it"))
        return tf.zeros_like(point)

    def lost(self, order: int, cause: object) -> str:
        suspects = ", ".join(self._suspects(order)) or "the function itself"
        return (
            f"The derivative of order {order} is lost: {cause}. To look at: {suspects}. "
            "Replace rough activations by smooth ones (tanh, softplus, silu, gelu) and "
            "keras.activations.softsign by the one of keras_smooth; where the derivative "
            "is truly 0, add 0 * x**order to say so."
        )

    def _smoothness(self) -> float | None:
        return registry.smoothness(self.model)

    def _suspects(self, order: int) -> list[str]:
        parts = registry.parts(self.model) if isinstance(self.model, keras.Model) else None
        classes = [(part, registry.smoothness(part)) for part in parts or []]
        return [
            f"{part.name} ({'unknown smoothness' if k is None else f'C^{k}'})"
            for part, k in classes
            if k is None or k < order
        ]


def _nested_tapes(function: _Function, x, order: int) -> list:
    """Returns [y, y', ...]: each tape differentiates what the tapes inside it return."""
    if order == 0:
        return [function(x)]
    points = keras.tree.flatten(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(points)
        entries = _nested_tapes(function, x, order - 1)
        tensors = keras.tree.flatten(entries[-1])
        components = [_components(tensor) for tensor in tensors]

    def gradient(component, point):
        try:
            row = tape.gradient(component, point)
        except LookupError as error:
            raise ValueError(function.lost(order, error.args[0])) from error
        return function.zero(point, order) if row is None else row

    def jacobian(tensor, components, point):
        rows = tf.stack([gradient(component, point) for component in components], axis=1)
        shape = (-1, *tensor.shape[1:], *_sample_axes(point))
        return tf.cast(tf.reshape(rows, shape), tensor.dtype)

    jacobians = [
        keras.tree.pack_sequence_as(x, [jacobian(*pair, point) for point in points])
        for pair in zip(tensors, components)
    ]
    return [*entries, keras.tree.pack_sequence_as(entries[-1], jacobians)]


def _components(tensor: tf.Tensor) -> list[tf.Tensor]:
    """Splits (batch, ...) into tensors of shape (batch,).

    Samples are independent, so that the gradient of one such tensor, summed over the
    batch, holds one derivative a sample.
    """
    size = math.prod(tensor.shape[1:])
    return tf.unstack(tf.reshape(tensor, (-1, size)), num=size, axis=1)


def _sample_axes(point: tf.Tensor) -> tuple[int, ...]:
    """Returns the axes that one derivative appends: none where a sample is one number."""
    return () if math.prod(point.shape[1:]) == 1 else tuple(point.shape[1:])
