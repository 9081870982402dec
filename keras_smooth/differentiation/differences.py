"""Derivatives from values of the model alone: polynomials through values at several steps.

Along a line x + t v the model is evaluated at Chebyshev points of an interval of length 2 h
around 0, for each h in a sequence of steps, the ladder. One polynomial interpolates all these
values, and two of lower degree are fitted to them. Their derivatives at 0 differ by truncation
and rounding errors. For each entry, the step with the smallest difference is used, and its
error is the difference, or the rounding error of the values if that is larger. There are two
lower degrees, since one may agree by chance. The middle of the interval is not at 0, so that
the polynomials also differ if there is a kink at 0.

Steps that are much longer than the length on which a function changes have small differences
as well: sin(x) at steps of 10^5 has a second derivative of 10^-10, whatever the degree.
Therefore the ladder of each line reaches down to the resolution of x, a step is used only if
its values and those of the next shorter step lie on polynomials, and a contradiction with the
estimates of shorter steps is an error of the longer ones.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.differentiation import line_values
from keras_smooth.differentiation.points import Points
from keras_smooth.jet import Jet
from keras_smooth.models import calls
from keras_smooth.models.agreement import EPSILON

# Degrees of the polynomials, and the middle of the interval in steps.
_DEGREES = (14, 12, 10)
_MIDDLE = 0.2
# Positions, in steps, at which the size of a derivative near a point is measured.
_NEARBY = _MIDDLE + np.linspace(-0.4, 0.4, 9)
# The ladder has _NUM_DENSE steps, which differ by _FACTOR, near the length on which an input
# varies, and steps that differ by _SPARSE_FACTOR up to _LONGEST times the size of the points,
# and down to _NUM_SPACINGS spacings of floating-point numbers there. Lengths, steps and nodes
# have few binary digits, so that points on lines along the axes are exact.
_FACTOR, _NUM_DENSE, _SPARSE_FACTOR = 4.0, 8, 16.0
_LONGEST, _NUM_SPACINGS = 4.0, 2.0**10
_NODE_PARTS = 2**8
# The error from the scatter of values, in standard deviations.
_DEVIATIONS = 3.0
# The largest scatter of values that rounding within a model explains, in roundings.
_ROUNDINGS = 4.0
# Values that scatter by more than this fraction of their change do not lie on a polynomial.
_RESOLVED = 0.01
# An error of this fraction of the derivatives nearby is small enough.
_ENOUGH = 1e-12
# Estimates that differ by more than this many of their errors contradict each other.
_CONTRADICTS = 3.0
# A longer step overrules a shorter one with constant values if their estimates differ by more
# than this many errors of the longer one. At a kink, such an error is a third of the estimate.
_OVERRULES = 10.0
# The largest change of y that a model hides if it computes in float32, as a fraction of y.
_HIDDEN = 16.0 * EPSILON["float32"]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Derivatives of one order from values, arrays of shape `(directions, batch, ...)`.

    Args:
        value: The derivatives.
        error: Their estimated errors, from the step and from rounding.
        rounding: Their errors from rounding of the values alone.
        size: The largest derivative of this order near each point, the scale for a
            derivative that passes through 0.
        variation: The size of a derivative that would explain the change of y over the
            step, k! |change| / h^k, the scale for a derivative that is 0 near the point.
        steepest: The largest variation over all steps that are at least as long as the used one.
        step: The step that is used, in lengths of the direction; None for a sum over directions.
    """

    value: np.ndarray
    error: np.ndarray
    rounding: np.ndarray
    size: np.ndarray
    variation: np.ndarray
    steepest: np.ndarray
    step: np.ndarray | None = None


SPREAD = ("error", "rounding", "size", "variation", "steepest")


def propagate(
    model: Callable,
    rng: np.random.Generator,
    draws: int,
    points: Points,
    directions: list[tf.Tensor],
    order: int,
    sums: np.ndarray | None = None,
) -> Any:
    """A replacement of `taylor.propagate`: jets from values of the model, with their errors.

    The batch of a jet has the derivatives, followed by each field of `SPREAD` with random
    signs for each draw: in sums over directions, errors of unknown signs add or cancel.

    Args:
        model: Model, layer or function.
        rng: Generator of a random sign for each direction.
        draws: Number of draws of signs.
        points: The points, with the inputs that move.
        directions: Directions of each moving input, as in `taylor.propagate`.
        order: Number of derivatives.
        sums: As in `taylor.propagate`.
    """
    y = calls.call_without_side_effects(model, points.x)
    steps = ladder(points, directions)
    nodes = steps[:, None] * _nodes().reshape(-1, 1, 1)
    values = line_values.values_along_lines(model, points, directions, nodes)
    signs = rng.choice([-1.0, 1.0], (draws, len(directions[0])))

    def jet(tensor: tf.Tensor, samples: np.ndarray) -> Jet:
        # Integers and booleans are not rounded.
        rows = estimates(samples, steps, order, EPSILON.get(tensor.dtype.name, 0.0))
        with np.errstate(invalid="ignore"):
            primal, *series = (_with_spread(row, signs) for row in rows)
            if sums is not None:
                # Directions of weight 0 are left out, since their entries may be infinite.
                pairs = ((row[row != 0.0], series[-1][row != 0.0]) for row in sums)
                series[-1] = np.stack([np.tensordot(*pair, axes=1) for pair in pairs])
        entries = list(map(tf.constant, series))
        return Jet(tf.constant(primal[0]), entries, sums is not None, weights=sums)

    jets = list(map(jet, keras.tree.flatten(y), values))
    return keras.tree.pack_sequence_as(y, jets)


def _with_spread(row: Estimate, signs: np.ndarray) -> np.ndarray:
    """Returns a derivative followed, in the batch, by the fields of `SPREAD` times the signs."""
    fields = np.stack([getattr(row, name) for name in SPREAD])
    signed = signs.reshape(signs.shape + (1,) * (fields.ndim - 2)) * fields[:, None]
    along = np.moveaxis(signed, 2, 0)
    spread = along.reshape(len(along), -1, *along.shape[4:])
    return np.concatenate([row.value, spread], axis=1)


def ladder(points: Points, directions: list[tf.Tensor]) -> np.ndarray:
    """Returns the steps of each line, of shape `(steps, directions, batch)`, from long to short.

    Columns of x may have different units, so the steps of a line depend on the columns that
    it moves.
    """
    x = calls.float64_rows(points.moving)
    speed = np.abs(calls.float64_rows(directions, axes=2))
    extent, spread = np.abs(x).max(axis=0), np.ptp(x, axis=0)
    extent = np.where(extent > 0.0, extent, 1.0)
    moves = speed > 0.0
    with np.errstate(divide="ignore"):
        length = (np.where(spread > 0.0, spread, extent) / speed).min(axis=-1)
        lower = np.where(moves, extent / speed, 0.0).max(axis=-1)
    upper = np.where(moves, np.maximum(extent, 1.0), 0.0).max(axis=-1) / speed.max(axis=-1)
    # The lengths are not finite for a direction of zeros.
    length, upper = (np.where(np.isfinite(each), each, 1.0) for each in (length, upper))
    lower = _NUM_SPACINGS * EPSILON[points.dtype.name] * lower
    length, upper, lower = (
        2.0 ** np.round(np.log2(each))
        for each in (_LONGEST * length, _LONGEST * upper, lower)
    )
    longer, dense = _sparse_factors(upper / length, 0), _FACTOR ** -np.arange(_NUM_DENSE)
    shorter = 1.0 / _sparse_factors(length * dense[-1] / lower, 1)
    factors = np.concatenate([longer[::-1], dense, dense[-1] * shorter])
    steps = factors.reshape(-1, *[1] * length.ndim) * length
    steps = np.maximum(np.minimum(steps, np.maximum(upper, length)), lower)
    return np.broadcast_to(steps, (*steps.shape[:2], len(x)))


def _sparse_factors(ranges: np.ndarray, least: int) -> np.ndarray:
    """Returns powers of the sparse factor that cover all ranges, `least` or more of them."""
    number = math.ceil(math.log(max(1.0, ranges.max()), _SPARSE_FACTOR))
    return _SPARSE_FACTOR ** np.arange(1, 1 + max(number, least))


def _nodes() -> np.ndarray:
    """Returns Chebyshev points around `_MIDDLE`, rounded to a few binary digits."""
    number = _DEGREES[0] + 1
    nodes = _MIDDLE + np.cos(np.pi * (np.arange(number) + 0.5) / number)
    return np.round(nodes * _NODE_PARTS) / _NODE_PARTS


@functools.cache
def _derivative_weights(k: int, degree: int, at: float = 0.0) -> np.ndarray:
    """Returns the weights of the values, that at 0 first, in the k-th derivative at `at`."""
    slopes = [
        np.polynomial.chebyshev.chebval(
            at - _MIDDLE, np.polynomial.chebyshev.chebder(row, k)
        )
        for row in np.eye(degree + 1)
    ]
    return np.asarray(slopes) @ np.linalg.pinv(_polynomials(degree))


def _polynomials(degree: int) -> np.ndarray:
    """Returns Chebyshev polynomials at 0 and at all nodes, one column each."""
    nodes = np.append(0.0, _nodes()) - _MIDDLE
    return np.polynomial.chebyshev.chebvander(nodes, degree)


def estimates(
    samples: np.ndarray, steps: np.ndarray, order: int, rounding: float
) -> list[Estimate]:
    """Returns y and its derivatives up to an order, each by the best step for each entry.

    Args:
        samples: Values of shape `(steps, nodes, directions, batch, ...)`; node 0 is at t = 0.
        steps: The ladder, of shape `(steps,)` or `(steps, directions, batch)`.
        order: Number of derivatives.
        rounding: Distance from 1 to the next number, in the dtype of the values.
    """
    y = samples[0, 0]
    with np.errstate(all="ignore"):
        # The difference of values with a large common offset is exact.
        changes = samples - y
        rows = [
            _by_best_step(changes, np.abs(samples), steps, k, rounding)
            for k in range(1, order + 1)
        ]
        reach = np.abs(y) + rows[0].variation * rows[0].step
    zeros = np.zeros_like(y)
    return [Estimate(y, zeros, zeros, reach, reach, reach, zeros), *rows]


def _by_best_step(
    changes: np.ndarray, sizes: np.ndarray, steps: np.ndarray, k: int, rounding: float
) -> Estimate:
    """Returns the k-th derivative by the step with the smallest error for each entry."""
    steps = steps.reshape(*steps.shape, *[1] * (changes.ndim - 1 - steps.ndim))
    scale = steps**k

    def summed(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.tensordot(weights, values, axes=(0, 1)) / scale

    high, *lower = (summed(_derivative_weights(k, degree), changes) for degree in _DEGREES)
    largest_change = np.abs(changes).max(axis=1)
    weights = _derivative_weights(k, _DEGREES[0])
    # At small steps the values have few distinct numbers, and estimates may agree by chance.
    roundoff = rounding / 2 * summed(np.abs(weights), sizes)
    scatter = _scatter(changes)
    resolved, flat = _resolved_and_flat(scatter, largest_change, sizes, rounding)
    # The scatter at a shorter step is also an error of the longer ones.
    scatter = np.fmax.accumulate(scatter[::-1])[::-1]
    scatter = _DEVIATIONS * np.linalg.norm(weights) * scatter / scale
    error = np.max([roundoff, scatter, *(np.abs(high - low) for low in lower)], axis=0)
    error = np.where(resolved, error, np.inf)
    # The estimate of a change of y that is hidden at a step.
    hidden = math.factorial(k) * _HIDDEN * sizes.max(axis=1) / scale
    error = _with_contradictions(high, error, flat, hidden)
    # If the values of all steps are equal, y is constant.
    error = np.where((largest_change == 0.0).all(axis=0), 0.0, error)
    # Steps with values that overflow or are outside of the domain are not used.
    error = np.where(np.isfinite(error), error, np.inf)
    nearby = [
        np.abs(summed(_derivative_weights(k, _DEGREES[0], at), changes)) for at in _NEARBY
    ]
    size, variation = np.max(nearby, axis=0), math.factorial(k) * largest_change / scale
    # The longest step with enough digits: near a root of y, shorter steps have ever more digits.
    # Where values are infinite, error and size are infinite as well.
    best_step = np.argmin(np.where(error < _ENOUGH * size, 0.0, error), axis=0)[None]
    longer = np.arange(len(steps)).reshape(-1, *[1] * (best_step.ndim - 1)) <= best_step

    def best(field: np.ndarray) -> np.ndarray:
        return np.take_along_axis(field, best_step, 0)[0]

    return Estimate(
        value=best(high),
        error=best(error),
        rounding=best(roundoff),
        size=best(size),
        variation=best(variation),
        steepest=np.where(longer & np.isfinite(variation), variation, 0.0).max(axis=0),
        step=best(np.broadcast_to(steps, error.shape)),
    )


def _resolved_and_flat(
    scatter: np.ndarray, largest_change: np.ndarray, sizes: np.ndarray, rounding: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns whether the values of a step lie on a polynomial, and whether only rounding moves them.

    Args:
        scatter: Their distance from a polynomial.
        largest_change: Their largest difference from the value at the point.
        sizes: Their absolute values.
        rounding: Distance from 1 to the next number, in the dtype of the values.
    """
    # Near a root of y, rounding errors within the model are as large as at other points.
    at_point = sizes[0, 0].max(axis=(0, 1))
    largest = np.maximum(sizes.max(axis=1), at_point)
    rounded = scatter <= _ROUNDINGS * rounding * largest
    on_polynomial = scatter < _RESOLVED * largest_change
    resolved = on_polynomial | rounded
    # The values at the next shorter step have to be resolved as well.
    resolved[:-1] &= resolved[1:].copy()
    # Equal rows of a batch may differ by rounding, as vector instructions treat the last apart.
    return resolved, rounded & ~on_polynomial


def _with_contradictions(
    values: np.ndarray, errors: np.ndarray, flat: np.ndarray, hidden: np.ndarray
) -> np.ndarray:
    """Returns the errors of estimates, or their contradictions with shorter steps if larger.

    If there are two shorter steps, both have to contradict an estimate: the rounding errors of
    a few values may be larger than their scatter, and the shortest step alone would then reject
    all others. If the values are constant at a short step, and its estimate is far from that of a
    longer one, the model rounds its values, so that the longer step is right. If the estimate of
    the longer step were too large to be rounded away, the longer step reaches beyond a kink.

    Args:
        values: Estimates by each step, from long to short.
        errors: Their errors.
        flat: Whether the values of a step change by rounding alone.
        hidden: The largest estimates that rounding within the model may hide at a step.
    """
    result = errors.copy()
    contradictions = np.zeros((2, *errors.shape))
    for shorter in range(1, len(values)):
        distance = np.abs(values[:shorter] - values[shorter])
        only_longer_move = flat[shorter] & ~flat[:shorter]
        # `fmax` ignores NaN.
        aliased = np.fmax(
            0.0, np.where(only_longer_move, 0.0, distance - _CONTRADICTS * errors[shorter])
        )
        largest, second = contradictions[:, :shorter]
        second[:] = np.maximum(second, np.minimum(largest, aliased))
        largest[:] = np.maximum(largest, aliased)
        overruled = only_longer_move & (distance > _OVERRULES * errors[:shorter])
        overruled &= np.abs(values[:shorter]) <= hidden[shorter]
        rounded = np.where(overruled, distance, 0.0)
        result[shorter] = np.fmax(result[shorter], np.fmax.reduce(rounded))
    largest, second = contradictions
    return np.maximum(result, np.concatenate([second[:-2], largest[-2:]]))


def _scatter(changes: np.ndarray) -> np.ndarray:
    """Returns the root mean square of the residuals of the polynomial of the lowest degree.

    The scatter shows rounding within the model, which may be coarser than that of its output.
    """
    polynomials = _polynomials(_DEGREES[-1])
    to_residuals = np.eye(len(polynomials)) - polynomials @ np.linalg.pinv(polynomials)
    scatter = np.moveaxis(np.tensordot(to_residuals, changes, axes=(1, 1)), 0, 1)
    freedom = len(polynomials) - polynomials.shape[1]
    return np.sqrt((scatter**2).sum(axis=1) / freedom)
