"""The entries of a series, of which None is 0: sums, products, sums over the directions."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from keras_smooth.jet.frame import tail
from keras_smooth.jet.shapes import AlongDirections, OneSum, Sums

Entry: TypeAlias = tf.Tensor | None


def total(terms: Iterable[Entry]) -> Entry:
    """Returns a sum in which None is 0."""
    known = [term for term in terms if term is not None]
    return sum(known[1:], known[0]) if known else None


def times(a: Entry, b: Entry, scale: float = 1, product: Callable = tf.multiply) -> Entry:
    """Returns a scaled product in which None is 0."""
    if a is None or b is None:
        return None
    value = product(a, b)
    return value if scale == 1 else scale * value


def minus(value: Entry) -> Entry:
    """Returns the negative, in which None is 0."""
    return None if value is None else -value


def summed(value: AlongDirections, weights: np.ndarray | None) -> Sums:
    """Returns the sums over the directions of a collapsed jet, `(sums, batch, ...)`."""
    if weights is None:
        return tf.reduce_sum(value, axis=0, keepdims=True)
    rows = [_weighted(value, row) for row in weights]
    return tf.concat(rows, axis=0) if len(rows) > 1 else rows[0]


def _weighted(value: AlongDirections, row: np.ndarray) -> OneSum:
    """Returns one sum over the directions, which stay as an axis of size 1."""
    places = np.flatnonzero(row)
    # What has no weight is left out, also where it is no number.
    if len(places) == 1:
        value = value[places[0], None]
    elif len(places) < len(row):
        value = tf.gather(value, places)
    row = row[places]
    if (row != 1.0).any():
        shape = (-1, *[1] * (value.shape.rank - 1))
        value = value * tf.reshape(tf.constant(row, value.dtype), shape)
    return tf.reduce_sum(value, axis=0, keepdims=True) if len(places) > 1 else value


def folded(function: Callable, *values: Entry) -> Entry:
    """Applies a function of batches to entries, their directions folded into the batch."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    directions = known[0].shape[0]
    result = function(*(tf.reshape(value, (-1, *tail(value, 2))) for value in known))
    # Not the batch of before: a reshape may fold it.
    rows = result.shape[0]
    batch = -1 if rows is None else rows // directions
    return tf.reshape(result, (directions, batch, *tail(result, 1)))
