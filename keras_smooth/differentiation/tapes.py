"""Nested tapes: the reference for every derivative."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_smooth import registry
from keras_smooth.models import graph


class ModelFunction:
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
        smooth = ", ".join(registry.recommended(order))
        return (
            f"The derivative of order {order} is lost: {cause}. To look at: {suspects}. "
            f"Replace rough activations by smooth ones ({smooth}) and "
            "keras.activations.softsign by the one of keras_smooth; where the derivative "
            "is truly 0, add 0 * x**order to say so."
        )

    def _smoothness(self) -> float | None:
        return registry.smoothness(self.model)

    def _suspects(self, order: int) -> list[str]:
        parts = graph.parts(self.model) if isinstance(self.model, keras.Model) else None
        classes = [(part, registry.smoothness(part)) for part in parts or []]
        return [
            f"{part.name} ({'unknown smoothness' if k is None else f'C^{k}'})"
            for part, k in classes
            if k is None or k < order
        ]


def nested_tapes(function: ModelFunction, x, order: int) -> list:
    """Returns [y, y', ...]: each tape differentiates what the tapes inside it return."""
    if order == 0:
        return [function(x)]
    points = keras.tree.flatten(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(points)
        entries = nested_tapes(function, x, order - 1)
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
        shape = (-1, *tensor.shape[1:], *sample_axes(point))
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


def sample_axes(point: tf.Tensor) -> tuple[int, ...]:
    """Returns the axes that one derivative appends: none where a sample is one number."""
    return () if math.prod(point.shape[1:]) == 1 else tuple(point.shape[1:])
