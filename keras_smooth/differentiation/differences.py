"""Derivatives from values of the model alone: polynomials through them, several steps.

Along a line x + t v the model is evaluated at Chebyshev's points of an interval of length
2 h around 0, for each h of a ladder. The derivatives at 0 of the polynomial through all of
these values and of two of lower degree differ by what either the step or the rounding
leaves: the step with the smallest difference is taken for each entry, and the difference, or
what rounding of the values makes of it, is its error. Two, since one may agree by chance. The
interval has its middle beside 0, so that also a kink at 0 makes them differ.
"""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.differentiation import tapes
from keras_smooth.differentiation.cross_check import ROUNDING
from keras_smooth.differentiation.points import Points
from keras_smooth.jet import Jet
from keras_smooth.models import graph

_DEGREES = (14, 12, 10)
_MIDDLE = 0.2
# The ladder reaches from a few times the size of the points to a small part of it.
_FACTOR = 3.0
_MOST, _LEAST = 3.0, 1e-4
_ROWS_AT_A_TIME = 16384
# Signs for errors of unknown sign that go through a sum.
_SEED = 0


class Differences:
    """Takes the place of `taylor.propagate`: jets from values of the model.

    Attributes:
        disturbed: The last jets once more, each entry moved by its own error.
    """

    def __init__(self):
        self.disturbed = None

    def __call__(
        self,
        model: Callable,
        points: Points,
        directions: list[tf.Tensor],
        order: int,
        collapsed: bool = False,
    ):
        y = _call(model, points.x)
        steps = ladder(points) / max(float(tf.reduce_max(tf.abs(v))) for v in directions)
        values = _along_lines(model, points, directions, steps)
        signs = np.random.default_rng(_SEED).choice([-1.0, 1.0], len(directions[0]))
        jets, disturbed = [], []
        for tensor, samples in zip(keras.tree.flatten(y), values, strict=True):
            primal = tf.cast(tensor, "float64")
            rounding = ROUNDING[tensor.dtype.name]
            found = [_best(samples, steps, k, rounding) for k in range(1, order + 1)]
            across = signs.reshape(-1, *[1] * primal.shape.rank)
            moved = [entry + across * error for entry, error in found]
            jets.append(_jet(primal, [entry for entry, _ in found], collapsed))
            disturbed.append(_jet(primal, moved, collapsed))
        self.disturbed = keras.tree.pack_sequence_as(y, disturbed)
        return keras.tree.pack_sequence_as(y, jets)


def _call(model: Callable, x):
    """Calls a model whose state, if it keeps one, stays as it is."""
    with keras.StatelessScope():
        return tapes.call(model, x)


def _jet(primal: tf.Tensor, entries: list[np.ndarray], collapsed: bool) -> Jet:
    if collapsed:
        entries = [*entries[:-1], entries[-1].sum(axis=0, keepdims=True)]
    return Jet(primal, [tf.constant(entry) for entry in entries], collapsed)


def ladder(points: Points) -> np.ndarray:
    """Returns the steps, from the size of the points down."""
    least = _LEAST * min(1.0, _largest(points) or 1.0)
    number = 1 + math.ceil(math.log(_MOST * extent(points) / least, _FACTOR))
    return _MOST * extent(points) * _FACTOR ** -np.arange(number)


def extent(points: Points) -> float:
    """Returns how large the points are, at least 1."""
    return max(1.0, _largest(points))


def _largest(points: Points) -> float:
    return max(float(tf.reduce_max(tf.abs(tensor))) for tensor in points.moving)


def _nodes() -> np.ndarray:
    """Returns Chebyshev's points, with the middle beside 0."""
    number = _DEGREES[0] + 1
    return _MIDDLE + np.cos(np.pi * (np.arange(number) + 0.5) / number)


def _weights(k: int, degree: int) -> np.ndarray:
    """Returns the weights of the values, that at 0 first, in the k-th derivative at 0."""
    nodes = np.append(0.0, _nodes()) - _MIDDLE
    # Least squares in Chebyshev's polynomials.
    fit = np.linalg.pinv(np.polynomial.chebyshev.chebvander(nodes, degree))
    slopes = [
        np.polynomial.chebyshev.chebval(-_MIDDLE, np.polynomial.chebyshev.chebder(row, k))
        for row in np.eye(degree + 1)
    ]
    return np.asarray(slopes) @ fit


def _best(
    samples: np.ndarray, steps: np.ndarray, k: int, rounding: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the k-th derivative by the best step for each entry, and its error.

    Args:
        samples: Values, of shape `(steps, nodes, directions, batch, ...)`.
        steps: Of the ladder.
        k: Order.
        rounding: Distance from 1 to the next number, of the values.
    """
    with np.errstate(all="ignore"):
        scale = steps.reshape(-1, *[1] * (samples.ndim - 2)) ** k
        weights = [_weights(k, degree) for degree in _DEGREES]
        high, *lower = (np.tensordot(w, samples, axes=(0, 1)) / scale for w in weights)
        # At small steps few numbers are left, which are soon the same by chance.
        total = np.tensordot(np.abs(weights[0]), np.abs(samples), axes=(0, 1))
        lost = rounding / 2 * total / scale
        error = np.max([lost, *(np.abs(high - low) for low in lower)], axis=0)
    # What overflows, or leaves the domain of the model, says nothing.
    error = np.where(np.isfinite(error), error, np.inf)
    place = np.argmin(error, axis=0)[None]
    return np.take_along_axis(high, place, 0)[0], np.take_along_axis(error, place, 0)[0]


def _along_lines(
    model: Callable, points: Points, directions: list[tf.Tensor], steps: np.ndarray
) -> list[np.ndarray]:
    """Returns the values of each output at the nodes of all lines, that at 0 first."""
    lead, batch = len(directions[0]), points.flat[0].shape[0]
    center = [np.asarray(y, "float64") for y in keras.tree.flatten(_call(model, points.x))]
    lines = _Lines(model, points, directions)
    found = []
    for step in steps:
        rows = [lines(step * node) for node in _nodes()]
        for number, value in enumerate(center):
            first = np.broadcast_to(value, (lead, *value.shape))
            column = [
                first,
                *(row[number].reshape(lead, batch, *value.shape[1:]) for row in rows),
            ]
            found.append((number, np.stack(column)))
    return [
        np.stack([values for place, values in found if place == number])
        for number in range(len(center))
    ]


class _Lines:
    """Values of a model on lines through all points, with the directions in the batch."""

    def __init__(self, model: Callable, points: Points, directions: list[tf.Tensor]):
        self.model = model
        size = points.flat[0].shape[0]
        self.rows = size if graph.has_one_batch_size(model) else _ROWS_AT_A_TIME
        lead = directions[0].shape[0]
        self.points = points.at(
            [tf.tile(x, (lead, *[1] * (x.shape.rank - 1))) for x in points.flat]
        )
        self.directions = [
            tf.reshape(tf.broadcast_to(v, (lead, *x.shape)), (-1, *x.shape[1:]))
            for v, x in zip(directions, points.moving, strict=True)
        ]

    def __call__(self, t: float) -> list[np.ndarray]:
        parts = [
            self._part(slice(start, start + self.rows), t)
            for start in range(0, len(self.directions[0]), self.rows)
        ]
        return [np.concatenate(column) for column in zip(*parts)]

    def _part(self, rows: slice, t: float) -> list[np.ndarray]:
        points = self.points.at([tensor[rows] for tensor in self.points.flat])
        moved = [
            x + tf.cast(t, x.dtype) * v[rows]
            for x, v in zip(points.moving, self.directions, strict=True)
        ]
        y = _call(self.model, points.whole(moved))
        return [np.asarray(tf.cast(part, "float64")) for part in keras.tree.flatten(y)]
