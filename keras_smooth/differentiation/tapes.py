"""Nested tapes: the reference for every derivative."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.differentiation import taped_partials
from keras_smooth.differentiation.lost import Ways
from keras_smooth.differentiation.points import Points
from keras_smooth.differentiation.sweeps import Partials, Slopes, nested_tapes
from keras_smooth.differentiation.traces import Traces


def derivatives(traces: Traces, points: Points, *, order: int) -> tuple:
    """Returns y and all its partial derivatives up to an order, for each sample."""
    start, step = points.structured(points.moving), Partials(Ways(traces, points))
    return tuple(nested_tapes(_function(traces, points), start, order, step))


def along(traces: Traces, points: Points, *directions: tf.Tensor, order: int) -> tuple:
    """Returns y and its derivatives along one direction for each sample.

    Args:
        traces: Of the model.
        points: Where.
        directions: For each moving input, a tensor of its shape.
        order: Number of derivatives.
    """

    def curve(t: tf.Tensor) -> Any:
        moved = [
            x + v * tf.reshape(t, (-1, *[1] * (x.shape.rank - 1)))
            for x, v in zip(points.moving, directions, strict=True)
        ]
        return traces.called(points.whole(moved))

    t = tf.zeros(tf.shape(points.moving[0])[:1], points.dtype)
    ways = Ways(traces, points, together=True)
    try:
        return tuple(nested_tapes(curve, t, order, Slopes(ways, order)))
    # A layer with recomputed gradients allows one sweep only.
    except (LookupError, NotImplementedError, AttributeError):
        indices = [(0,) * k for k in range(order + 1)]
        known = taped_partials.chosen(lambda x: curve(*x), [t], indices, ways)
        return tuple(known[index] for index in indices)


def along_each(traces: Traces, points: Points, *, vectors: tf.Tensor, order: int) -> tuple:
    """Returns y and its derivative of one order along each of several shared directions."""
    results = []
    for direction in tf.unstack(tf.cast(vectors, points.dtype)):
        pairs = zip(tf.split(direction, points.dims), points.moving, strict=True)
        whole = [tf.broadcast_to(tf.reshape(v, x.shape[1:]), tf.shape(x)) for v, x in pairs]
        results.append(along(traces, points, *whole, order=order))
    return results[0][0], *(entries[order] for entries in results)


def hessian_vector_product(traces: Traces, points: Points, *directions: tf.Tensor) -> tuple:
    """Returns y and the derivatives of its slope along one direction by all inputs."""
    ways, outputs = Ways(traces, points), []

    def contracted(tensor: tf.Tensor, slopes: Any) -> tf.Tensor:
        pairs = zip(keras.tree.flatten(slopes), directions, strict=True)
        return tf.add_n([_contracted(tensor, *pair) for pair in pairs])

    def slope(moving: Any) -> Any:
        y, slopes = nested_tapes(_function(traces, points), moving, 1, Partials(ways))
        outputs.append(y)
        return keras.tree.map_structure_up_to(y, contracted, y, slopes)

    start = points.structured(points.moving)
    _, products = nested_tapes(slope, start, 1, Partials(ways, below=1))
    return outputs[0], products


def _function(traces: Traces, points: Points) -> Callable:
    """Returns a model as a function of the inputs that move."""
    return lambda moving: traces.called(points.whole(keras.tree.flatten(moving)))


def _contracted(tensor: tf.Tensor, slope: tf.Tensor, direction: tf.Tensor) -> tf.Tensor:
    """Returns the sum over the numbers of an input of slopes times a direction."""
    dim = math.prod(direction.shape[1:])
    rows = tf.reshape(slope, (-1, math.prod(tensor.shape[1:]), dim))
    product = tf.linalg.matvec(rows, tf.cast(tf.reshape(direction, (-1, dim)), slope.dtype))
    return tf.reshape(product, (-1, *tensor.shape[1:]))
