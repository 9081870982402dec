"""Values of a model on lines through the points, in batches as large as it computes alike."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.differentiation.points import Points
from keras_smooth.models import calls, own_call
from keras_smooth.models.agreement import ROUNDINGS, distance, epsilon
from keras_smooth.models.tracing import traced_if_possible

# The largest number of rows, and of numbers, in one call of a model. To these, so many points are
# added, as a part of the rows, but at least one.
_ROWS_AT_A_TIME, _NUMBERS_AT_A_TIME = 16384, 2**17
_PART_OF_POINTS = 0.125


def call_without_side_effects(model: Callable, x: Any) -> Any:
    """Returns the outputs of a model without changing its state."""
    return calls.without_side_effects(own_call.call, model, x)


def values_along_lines(
    model: Callable, points: Points, directions: list[tf.Tensor], places: np.ndarray
) -> list[np.ndarray]:
    """Returns the values of each output at t = 0 and at the nodes of all lines.

    The lines of all directions are in one batch if the model computes the same in it.

    Args:
        model: Model, layer or function.
        points: The points, at t = 0.
        directions: Directions of each moving input.
        places: The places t, of shape `(steps, nodes, directions, batch)`.
    """
    most = max(1, min(_ROWS_AT_A_TIME, _NUMBERS_AT_A_TIME // sum(points.dims)))
    try:
        run = _function_of_large_batches(model, points, most)
        return _values_in_batches(run, most, model, points, directions, places)
    # The code of a model can raise any error at another shape.
    except Exception:
        run, most = _function_of_one_batch(model, points), points.flat[0].shape[0]
        return _values_in_batches(run, most, model, points, directions, places)


def _values_in_batches(
    run: Callable,
    most: int,
    model: Callable,
    points: Points,
    directions: list[tf.Tensor],
    places: np.ndarray,
) -> list[np.ndarray]:
    """Returns the values of each output on all lines, by a function of up to `most` rows."""
    lead = directions[0].shape[0]
    starts = points.at([_repeated(x, lead) for x in points.flat])
    moves = [
        tf.reshape(tf.broadcast_to(v, (lead, *x.shape)), (-1, *x.shape[1:]))
        for v, x in zip(directions, points.moving, strict=True)
    ]
    flat = places.reshape(places.shape[0] * places.shape[1], -1)
    number = max(1, most // flat.shape[1])
    batches = [
        _values_at_places(
            run, starts, moves, flat[first : first + number], slice(row, row + most)
        )
        for first in range(0, len(flat), number)
        for row in range(0, flat.shape[1], most)
    ]
    values = []
    for y, columns in zip(_outputs_in_float64(model, points.x), zip(*batches), strict=True):
        value = np.concatenate(columns).reshape(*places.shape, *y.shape[1:])
        first = np.broadcast_to(y, value[:, :1].shape)
        values.append(np.concatenate([first, value], axis=1))
    return values


def _values_at_places(
    model: Callable, starts: Points, moves: list[tf.Tensor], places: np.ndarray, rows: slice
) -> list[np.ndarray]:
    """Returns the values of each output on lines, place by place.

    Args:
        model: Model, layer or function.
        starts: The points where the lines begin, with all directions in the batch.
        moves: For each moving input the directions, in the same batch.
        places: The places on the lines, of shape `(places, directions * batch)`.
        rows: The lines to evaluate.
    """
    points = starts.at([_repeated(x[rows], len(places)) for x in starts.flat])
    moved = []
    for x, v in zip(points.moving, moves, strict=True):
        t = tf.constant(places[:, rows].reshape(-1, *[1] * (x.shape.rank - 1)), x.dtype)
        moved.append(x + t * _repeated(v[rows], len(places)))
    return _outputs_in_float64(model, points.x_with(moved))


def _repeated(tensor: tf.Tensor, number: int) -> tf.Tensor:
    return tf.tile(tensor, (number, *[1] * (tensor.shape.rank - 1)))


def _outputs_in_float64(model: Callable, x: Any) -> list[np.ndarray]:
    """Returns the outputs of a model in float64."""
    y = keras.tree.flatten(call_without_side_effects(model, x))
    return [np.asarray(tf.cast(each, "float64")) for each in y]


def _function_of_large_batches(model: Callable, points: Points, most: int) -> Callable:
    """Returns a model as a function of batches of any size, with some points in each batch.

    The model may compute another function in a large batch: it may have a number for each
    sample, join samples by their places, or decide by all samples which branch it takes, or how
    often a loop runs. The y of the points then differs, which is an error.
    """
    number = max(1, int(_PART_OF_POINTS * most))
    added = [x[:number] for x in points.flat]
    y = call_without_side_effects(model, points.x)
    expected = keras.tree.map_structure(lambda each: each[:number], y)
    limit = ROUNDINGS * epsilon(model, y)

    def run(x: Any) -> Any:
        # They are last, so that they have other places than in their own batch.
        flat = [tf.concat(pair, axis=0) for pair in zip(keras.tree.flatten(x), added)]
        rows = flat[0].shape[0] - added[0].shape[0]
        outputs = call_without_side_effects(model, points.at(flat).x)
        of_points = keras.tree.map_structure(lambda each: each[rows:], outputs)
        if distance(expected, of_points) > limit:
            raise ValueError("The model computes another function in a larger batch.")
        return keras.tree.map_structure(lambda each: each[:rows], outputs)

    return run


def _function_of_one_batch(model: Callable, points: Points) -> Callable:
    """Returns a model as a function of batches of one size, traced if TensorFlow can do so."""

    def call(*flat: tf.Tensor) -> Any:
        return call_without_side_effects(model, points.at(flat).x)

    run = traced_if_possible(call, *points.flat)
    return lambda x: run(*keras.tree.flatten(x))
