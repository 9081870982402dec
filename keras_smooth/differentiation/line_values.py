"""Values of a model on lines through the points, in large batches if these do not change y."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.differentiation.points import Points
from keras_smooth.models import calls
from keras_smooth.models.agreement import ROUNDINGS, distance, epsilon
from keras_smooth.models.tracing import traced_if_possible

# The largest number of samples, and of numbers in them, in one call of a model. To each batch,
# some of the points are added: this fraction of the number of samples, at least one.
_ROWS_AT_A_TIME, _NUMBERS_AT_A_TIME = 16384, 2**17
_PART_OF_POINTS = 0.125


def values_along_lines(
    model: Callable, points: Points, directions: list[tf.Tensor], nodes: np.ndarray
) -> list[np.ndarray]:
    """Returns the values of each output at t = 0 and at the nodes of all lines.

    A batch has the lines of several directions if this does not change the model's outputs.

    Args:
        model: Model, layer or function.
        points: The points, at t = 0.
        directions: For each moving input a tensor of directions.
        nodes: The nodes t on each line, of shape `(steps, nodes, directions, batch)`.
    """
    max_rows = max(1, min(_ROWS_AT_A_TIME, _NUMBERS_AT_A_TIME // sum(points.dims)))
    try:
        run = _function_of_large_batches(model, points, max_rows)
        return _values_in_batches(run, max_rows, model, points, directions, nodes)
    # The code of a model can raise any error at another shape.
    except Exception:
        run, max_rows = _function_of_one_batch(model, points), points.flat[0].shape[0]
        return _values_in_batches(run, max_rows, model, points, directions, nodes)


def _values_in_batches(
    run: Callable,
    max_rows: int,
    model: Callable,
    points: Points,
    directions: list[tf.Tensor],
    nodes: np.ndarray,
) -> list[np.ndarray]:
    """Returns the values of each output on all lines, `max_rows` samples at a time or fewer."""
    num_directions = directions[0].shape[0]
    starts = points.at([_repeated(x, num_directions) for x in points.flat])
    moves = [
        tf.reshape(tf.broadcast_to(v, (num_directions, *x.shape)), (-1, *x.shape[1:]))
        for v, x in zip(directions, points.moving, strict=True)
    ]
    flat = nodes.reshape(nodes.shape[0] * nodes.shape[1], -1)
    num_nodes = max(1, max_rows // flat.shape[1])

    def values_at(nodes: np.ndarray, rows: slice) -> list[np.ndarray]:
        """Returns the values of each output at some nodes of some lines."""
        points = starts.at([_repeated(x[rows], len(nodes)) for x in starts.flat])
        directions = [_repeated(v[rows], len(nodes)) for v in moves]
        return _outputs_in_float64(run, points.moved(nodes[:, rows], directions).x)

    batches = [
        values_at(flat[first : first + num_nodes], slice(row, row + max_rows))
        for first in range(0, len(flat), num_nodes)
        for row in range(0, flat.shape[1], max_rows)
    ]
    values = []
    for y, columns in zip(_outputs_in_float64(model, points.x), zip(*batches), strict=True):
        value = np.concatenate(columns).reshape(*nodes.shape, *y.shape[1:])
        first = np.broadcast_to(y, value[:, :1].shape)
        values.append(np.concatenate([first, value], axis=1))
    return values


def _repeated(tensor: tf.Tensor, number: int) -> tf.Tensor:
    return tf.tile(tensor, (number, *[1] * (tensor.shape.rank - 1)))


def _outputs_in_float64(model: Callable, x: Any) -> list[np.ndarray]:
    """Returns the outputs of a model in float64."""
    y = keras.tree.flatten(calls.call_without_side_effects(model, x))
    return [np.asarray(tf.cast(output, "float64")) for output in y]


def _function_of_large_batches(model: Callable, points: Points, max_rows: int) -> Callable:
    """Returns a model as a function of batches of any size, with some points in each batch.

    The model may compute another function in a large batch: it may have a weight for each
    sample, combine samples by their positions, or choose a branch or the number of iterations
    of a loop from all samples. The outputs at the added points then differ, which is an error.
    """
    num_added = max(1, int(_PART_OF_POINTS * max_rows))
    added = [x[:num_added] for x in points.flat]
    y = calls.call_without_side_effects(model, points.x)
    expected = keras.tree.map_structure(lambda leaf: leaf[:num_added], y)
    limit = ROUNDINGS * epsilon(model, y)

    def run(x: Any) -> Any:
        # The added points are last, so that they have other positions than in their own batch.
        flat = [tf.concat(pair, axis=0) for pair in zip(keras.tree.flatten(x), added)]
        rows = flat[0].shape[0] - added[0].shape[0]
        outputs = calls.call_without_side_effects(model, points.at(flat).x)
        of_points = keras.tree.map_structure(lambda leaf: leaf[rows:], outputs)
        if distance(expected, of_points) > limit:
            raise ValueError("The model computes another function in a larger batch.")
        return keras.tree.map_structure(lambda leaf: leaf[:rows], outputs)

    return run


def _function_of_one_batch(model: Callable, points: Points) -> Callable:
    """Returns a model as a function of batches of one size, traced if TensorFlow can do so."""

    def call(*flat: tf.Tensor) -> Any:
        return calls.call_without_side_effects(model, points.at(flat).x)

    run = traced_if_possible(call, *points.flat)
    return lambda x: run(*keras.tree.flatten(x))
