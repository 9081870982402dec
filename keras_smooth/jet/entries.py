"""Sums and products of the entries of a series, in which None is 0; sums over the directions."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from keras_smooth.jet.direction_basis import sizes_from
from keras_smooth.jet.shapes import AlongDirections, OneSum, Sums

Entry: TypeAlias = tf.Tensor | None


def total(terms: Iterable[Entry]) -> Entry:
    """Returns the sum of terms, in which None is 0."""
    known = [term for term in terms if term is not None]
    return sum(known[1:], known[0]) if known else None


def times(a: Entry, b: Entry, scale: float = 1, product: Callable = tf.multiply) -> Entry:
    """Returns a scaled product, in which None is 0."""
    if a is None or b is None:
        return None
    value = product(a, b)
    return value if scale == 1 else scale * value


def minus(value: Entry) -> Entry:
    """Returns the negative of an entry, in which None is 0."""
    return None if value is None else -value


def sum_over_directions(value: AlongDirections, weights: np.ndarray | None) -> Sums:
    """Returns the sums over the directions of a collapsed jet, `(sums, batch, ...)`."""
    if weights is None:
        return tf.reduce_sum(value, axis=0, keepdims=True)
    rows = [_weighted_sum(value, row) for row in weights]
    return tf.concat(rows, axis=0) if len(rows) > 1 else rows[0]


def _weighted_sum(value: AlongDirections, row: np.ndarray) -> OneSum:
    """Returns one weighted sum over the directions, whose axis then has size 1."""
    columns = np.flatnonzero(row)
    # Directions of weight 0 are left out, since their entries may be NaN.
    if len(columns) == 1:
        value = value[columns[0], None]
    elif len(columns) < len(row):
        value = tf.gather(value, columns)
    row = row[columns]
    if (row != 1.0).any():
        shape = (-1, *[1] * (value.shape.rank - 1))
        value = value * tf.reshape(tf.constant(row, value.dtype), shape)
    return tf.reduce_sum(value, axis=0, keepdims=True) if len(columns) > 1 else value


def apply_folded(function: Callable, *values: Entry) -> Entry:
    """Applies a function of batches to entries, with the directions folded into the batch."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    directions = known[0].shape[0]
    result = function(*(tf.reshape(value, (-1, *sizes_from(value, 2))) for value in known))
    # The function may return another batch size, as a reshape does.
    rows = result.shape[0]
    batch = -1 if rows is None else rows // directions
    return tf.reshape(result, (directions, batch, *sizes_from(result, 1)))
