"""Derivatives from values of the model alone: polynomials through them, several steps.

Along a line x + t v the model is evaluated at Chebyshev's points of an interval of length
2 h around 0, for each h of a ladder. The derivatives at 0 of the polynomial through all of
these values and of two of lower degree differ by what either the step or the rounding
leaves: the step with the smallest difference is used for each entry, and the difference, or
what rounding of the values makes of it, is its error. Two, since one may agree by chance. The
interval has its middle beside 0, so that also a kink at 0 makes them differ.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.differentiation.points import Points
from keras_smooth.jet import Jet
from keras_smooth.models import calls, own_call
from keras_smooth.models.tracing import traced

# The distance from 1 to the next number, by dtype.
ROUNDING = {"bfloat16": 2**-7, "float16": 2**-10, "float32": 2**-23, "float64": 2**-52}

_DEGREES = (14, 12, 10)
_MIDDLE = 0.2
# Where a derivative is looked at to see how large it is near a point, in steps.
_NEARBY = _MIDDLE + np.linspace(-0.4, 0.4, 9)
# The ladder reaches from a few times the size of the points to a small part of it.
_FACTOR = 3.0
_MOST, _LEAST = 3.0, 1e-4
# Standard deviations of the scatter of values that count as an error.
_DEVIATIONS = 3.0
# What one call of a model is given at most.
_ROWS_AT_A_TIME, _NUMBERS_AT_A_TIME = 16384, 2**17


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Derivatives of one order from differences, arrays of shape `(directions, batch, ...)`.

    Args:
        value: The derivatives.
        error: How far they can be trusted, from the step and from rounding.
        rounding: What rounding of the values alone leaves.
        size: The largest derivative of this order near each point: where a derivative
            passes through 0, this is what it is small beside.
        variation: The same as the change of y over the step tells it, k! |change| / h^k:
            what a derivative that is 0 all around is small beside.
        steepest: The largest variation over all steps up to the size of the points.
        step: The step that is used, in the length of the direction.
    """

    value: np.ndarray
    error: np.ndarray
    rounding: np.ndarray
    size: np.ndarray
    variation: np.ndarray
    steepest: np.ndarray
    step: np.ndarray


SPREAD = ("error", "rounding", "size", "variation", "steepest")


class Differences:
    """Takes the place of `taylor.propagate`: jets from values of the model."""

    def __init__(self, model: Callable) -> None:
        self.model = model
        self._passes: list[_Pass] = []

    def __call__(
        self,
        points: Points,
        directions: list[tf.Tensor],
        order: int,
        sums: np.ndarray | None = None,
    ) -> Any:
        y = _call(self.model, points.x)
        steps = ladder(points) / max(float(tf.reduce_max(tf.abs(v))) for v in directions)
        values = _along_lines(self.model, points, directions, steps)
        rows = [
            estimates(samples, steps, order, ROUNDING[tensor.dtype.name])
            for tensor, samples in zip(keras.tree.flatten(y), values, strict=True)
        ]
        self._passes.append(_Pass(y, rows, len(directions[0]), sums))
        return self._passes[-1].values()

    def spreads(self, rng: np.random.Generator, draws: int) -> Callable:
        """Returns what gives the errors and sizes of the same calls, in their order."""
        jets = iter([each.spreads(rng, draws) for each in self._passes])
        return lambda *_, **__: next(jets)


@dataclasses.dataclass(frozen=True)
class _Pass:
    """Lines through a model: its output, estimates for each, and what is summed."""

    y: Any
    estimates: list[list[Estimate]]
    num_directions: int
    sums: np.ndarray | None

    def values(self) -> Any:
        """Returns jets of the derivatives."""
        return self._jets([[row.value for row in rows] for rows in self.estimates])

    def spreads(self, rng: np.random.Generator, draws: int) -> Any:
        """Returns jets of all fields but the values, one after another in the batch.

        Each field comes once for each draw, with a sign for each direction.
        """
        signs = rng.choice([-1.0, 1.0], (draws, self.num_directions))

        def spread(row: Estimate) -> np.ndarray:
            fields = np.stack([getattr(row, name) for name in SPREAD])
            signed = signs.reshape(signs.shape + (1,) * (fields.ndim - 2)) * fields[:, None]
            along = np.moveaxis(signed, 2, 0)
            return along.reshape(len(along), -1, *along.shape[4:])

        with np.errstate(invalid="ignore"):
            return self._jets([list(map(spread, rows)) for rows in self.estimates])

    def _jets(self, outputs: list[list[np.ndarray]]) -> Any:
        """Returns jets in the structure of y, from y and its derivatives for each output."""
        jets = []
        for primal, *series in outputs:
            if self.sums is not None:
                series[-1] = np.stack([_weighted(series[-1], row) for row in self.sums])
            entries = list(map(tf.constant, series))
            summed = self.sums is not None
            jets.append(Jet(tf.constant(primal[0]), entries, summed, weights=self.sums))
        return keras.tree.pack_sequence_as(self.y, jets)


def _weighted(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns a sum over directions; what has no weight may be infinite."""
    counts = weights != 0.0
    return np.tensordot(weights[counts], values[counts], axes=1)


def _call(model: Callable, x: Any) -> Any:
    """Calls a model whose state, if it keeps one, stays as it is."""
    return calls.without_trace(own_call.call, model, x)


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


@functools.cache
def _weights(k: int, degree: int, at: float = 0.0) -> np.ndarray:
    """Returns the weights of the values, that at 0 first, in the k-th derivative."""
    slopes = [
        np.polynomial.chebyshev.chebval(
            at - _MIDDLE, np.polynomial.chebyshev.chebder(row, k)
        )
        for row in np.eye(degree + 1)
    ]
    return np.asarray(slopes) @ np.linalg.pinv(_polynomials(degree))


def _polynomials(degree: int) -> np.ndarray:
    """Returns Chebyshev's polynomials at all places of values, a column each."""
    nodes = np.append(0.0, _nodes()) - _MIDDLE
    return np.polynomial.chebyshev.chebvander(nodes, degree)


def estimates(
    samples: np.ndarray, steps: np.ndarray, order: int, rounding: float
) -> list[Estimate]:
    """Returns y and its derivatives up to an order, each by the best step for each entry.

    Args:
        samples: Values, of shape `(steps, nodes, directions, batch, ...)`, at 0 first.
        steps: Of the ladder.
        order: Number of derivatives.
        rounding: Distance from 1 to the next number, of the values.
    """
    y = samples[0, 0]
    with np.errstate(all="ignore"):
        # Values in the same large offset differ without a further rounding.
        changes = samples - y
        rows = [
            _best(changes, np.abs(samples), steps, k, rounding) for k in range(1, order + 1)
        ]
        reach = np.abs(y) + rows[0].variation * rows[0].step
    nothing = np.zeros_like(y)
    return [Estimate(y, nothing, nothing, reach, reach, reach, nothing), *rows]


def _best(
    changes: np.ndarray, sizes: np.ndarray, steps: np.ndarray, k: int, rounding: float
) -> Estimate:
    """Returns the k-th derivative by the step with the smallest error for each entry."""
    scale = steps.reshape(-1, *[1] * (changes.ndim - 2)) ** k

    def summed(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.tensordot(weights, values, axes=(0, 1)) / scale

    high, *lower = (summed(_weights(k, degree), changes) for degree in _DEGREES)
    moves = np.abs(changes).max(axis=1)
    weights = _weights(k, _DEGREES[0])
    # At small steps few numbers are left, which are soon the same by chance.
    lost = rounding / 2 * summed(np.abs(weights), sizes)
    scatter = _DEVIATIONS * np.linalg.norm(weights) * _scatter(changes) / scale
    error = np.max([lost, scatter, *(np.abs(high - low) for low in lower)], axis=0)
    # What is one number wherever it was looked at is constant.
    error = np.where((moves == 0.0).all(axis=0), 0.0, error)
    # What overflows, or leaves the domain of the model, says nothing.
    error = np.where(np.isfinite(error), error, np.inf)
    nearby = [np.abs(summed(_weights(k, _DEGREES[0], at), changes)) for at in _NEARBY]
    size, variation = np.max(nearby, axis=0), math.factorial(k) * moves / scale
    place = np.argmin(error, axis=0)[None]

    def best(field: np.ndarray) -> np.ndarray:
        return np.take_along_axis(field, place, 0)[0]

    return Estimate(
        value=best(high),
        error=best(error),
        rounding=best(lost),
        size=best(size),
        variation=best(variation),
        steepest=np.where(np.isfinite(variation), variation, 0.0)[1:].max(axis=0),
        step=steps[place[0]],
    )


def _scatter(changes: np.ndarray) -> np.ndarray:
    """Returns how far values lie from the polynomial of the lowest degree, root mean square.

    That shows a rounding within the model which the dtype of its output does not tell.
    """
    polynomials = _polynomials(_DEGREES[-1])
    left = np.eye(len(polynomials)) - polynomials @ np.linalg.pinv(polynomials)
    scatter = np.moveaxis(np.tensordot(left, changes, axes=(1, 1)), 0, 1)
    freedom = len(polynomials) - polynomials.shape[1]
    return np.sqrt((scatter**2).sum(axis=1) / freedom)


def _along_lines(
    model: Callable, points: Points, directions: list[tf.Tensor], steps: np.ndarray
) -> list[np.ndarray]:
    """Returns the values of each output at the nodes of all lines, that at 0 first."""
    lines = _Lines(model, points, directions)
    places = np.outer(steps, _nodes()).ravel()
    shape = len(steps), -1, len(directions[0]), points.flat[0].shape[0]
    found = []
    for y, value in zip(_values(model, points.x), lines(places), strict=True):
        value = value.reshape(*shape, *y.shape[1:])
        first = np.broadcast_to(y, value[:, :1].shape)
        found.append(np.concatenate([first, value], axis=1))
    return found


def _values(model: Callable, x: Any) -> list[np.ndarray]:
    """Returns the outputs of a model in float64."""
    y = keras.tree.flatten(_call(model, x))
    return [np.asarray(tf.cast(each, "float64")) for each in y]


def takes_other_batches(model: Callable, points: Points) -> bool:
    """Returns whether a model has the same outputs for the samples in a larger batch.

    What keeps a state, or a number for each sample, is of one batch; so are samples that
    are joined by their places in the batch.
    """
    # In front, so that all others have other places.
    longer = points.at([tf.concat([x[-1:], x], axis=0) for x in points.flat])
    try:
        outputs = zip(_values(model, points.x), _values(model, longer.x), strict=True)
        return all(_is_continued(y, beside) for y, beside in outputs)
    # Whatever the code of a model raises at another shape: it is of this one.
    except Exception:
        return False


def _is_continued(y: np.ndarray, longer: np.ndarray) -> bool:
    """Returns whether an output is another with its last row in front of it."""
    expected = np.concatenate([y[-1:], y])
    # Half of the digits of float32: a larger batch may be rounded in another way.
    limit = ROUNDING["float32"] ** 0.5 * np.abs(y).max()
    return longer.shape == expected.shape and bool(
        (np.abs(longer - expected) <= limit).all()
    )


def _of_one_batch(model: Callable, points: Points) -> Callable:
    """Returns a model as a graph for one batch, which it is called with many times.

    Itself if TensorFlow cannot trace it.
    """

    def call(*flat: tf.Tensor) -> Any:
        return _call(model, points.at(flat).x)

    compiled = traced(call)

    def run(x: Any) -> Any:
        return compiled(*keras.tree.flatten(x))

    try:
        run(points.x)
    # Whatever Python does with values ends in an error of its own kind.
    except Exception:
        return model
    return run


class _Lines:
    """Values of a model on lines through all points, with the directions in the batch."""

    def __init__(self, model: Callable, points: Points, directions: list[tf.Tensor]):
        self.takes_other_batches = takes_other_batches(model, points)
        self.model = model if self.takes_other_batches else _of_one_batch(model, points)
        lead, self.size = directions[0].shape[0], points.flat[0].shape[0]
        self.points = points.at(
            [tf.tile(x, (lead, *[1] * (x.shape.rank - 1))) for x in points.flat]
        )
        self.directions = [
            tf.reshape(tf.broadcast_to(v, (lead, *x.shape)), (-1, *x.shape[1:]))
            for v, x in zip(directions, points.moving, strict=True)
        ]

    def __call__(self, places: np.ndarray) -> list[np.ndarray]:
        """Returns the values of each output, those at one place after those at another."""
        rows = len(self.directions[0])
        most = self._most_rows()
        if rows <= most:
            number = most // rows
            parts = [
                self._part(places[start : start + number], slice(None))
                for start in range(0, len(places), number)
            ]
        else:
            parts = [
                self._part(place[None], slice(start, start + most))
                for place in places
                for start in range(0, rows, most)
            ]
        return [np.concatenate(column) for column in zip(*parts)]

    def _most_rows(self) -> int:
        """Returns how many rows to evaluate at a time."""
        if not self.takes_other_batches:
            return self.size
        return max(1, min(_ROWS_AT_A_TIME, _NUMBERS_AT_A_TIME // sum(self.points.dims)))

    def _part(self, places: np.ndarray, rows: slice) -> list[np.ndarray]:
        def tiled(tensor: tf.Tensor) -> tf.Tensor:
            return tf.tile(tensor[rows], (len(places), *[1] * (tensor.shape.rank - 1)))

        points = self.points.at(list(map(tiled, self.points.flat)))
        number = points.flat[0].shape[0] // len(places)
        moved = []
        for x, v in zip(points.moving, self.directions, strict=True):
            t = tf.constant(np.repeat(places, number), x.dtype)
            moved.append(x + tf.reshape(t, (-1, *[1] * (x.shape.rank - 1))) * tiled(v))
        return _values(self.model, points.whole(moved))
