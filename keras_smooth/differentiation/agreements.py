"""Comparison of an engine's derivatives with finite differences of the model, and its limits.

Every sample, output and input has its own limit. It depends on the size of that derivative,
or on the rounding errors of y if these are larger. The size of y itself does not matter:
`10**9 + sin(x)` has the derivatives of `sin(x)`, with fewer digits. A derivative that is too
small for the differences to resolve, as where units are saturated, is compared with the
largest one of all samples.
"""

import dataclasses

import numpy as np

from keras_smooth.differentiation.differences import Estimate
from keras_smooth.models.agreement import EPSILON

# The largest relative error of differences that leaves two correct digits of a derivative.
_TWO_DIGITS = 3e-3
# The same for a derivative that is 0 at a point, relative to the derivatives near the point, or
# relative to the variation of y if the derivative is 0 near the point as well.
_SMALL = 3e-4
# A derivative below this fraction of the largest variation in the range of the points is 0.
_NEGLIGIBLE = 1e-12
# An unresolved derivative below this fraction of the largest one of all samples does not matter.
_SMALLEST_FRACTION = 1e-9
# A number that is at most this many times its error may be 0.
_FEW_ERRORS = 4.0
# A difference above this many times the error is not caused by that error.
_MANY_ERRORS = 10.0
# Rounding errors within an engine, in roundings of the largest derivative near a point.
_ENGINE_ROUNDINGS = 100.0
# Rounding errors of a sum of derivatives along directions, in roundings of the largest one.
_SUM_ROUNDINGS = 10.0
# The largest relative difference that is accepted between engines.
_LARGEST_TOLERANCE = 2e-3


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The agreement of two ways to compute one derivative.

    Every sample and output has its own limit. `difference`, `error` and `limit` belong to the
    number with the largest bound or, if bounds exceed limits, with the largest ratio of both.

    Args:
        name: `"y"`, `"dy"`, `"d2y"`, ..., or `"laplacian"`.
        scale: The largest of the engine's numbers.
        difference: The distance of the engine's number from the finite differences.
        error: The error of the finite differences, estimated from several steps and
            degrees and from the rounding of y.
        limit: The largest bound that is accepted.
        worst: The index of the sample.
        enough_digits: Whether rounding leaves enough digits for the comparison. If not, the
            bound exceeds the limit.
    """

    name: str
    scale: float
    difference: float
    error: float
    limit: float
    worst: int
    enough_digits: bool

    @property
    def bound(self) -> float:
        """The largest possible error of the numbers, if `error` is not underestimated."""
        return self.difference + self.error

    @property
    def ok(self) -> bool:
        return bool(self.bound <= self.limit)


class Measured(Estimate):
    """One derivative from finite differences, in arrays of shape `(batch, numbers)`."""

    def limits(self, k: int, rounding: float) -> np.ndarray:
        """Returns the largest bounds that are accepted for an engine, `(batch, numbers)`.

        Args:
            k: Order of the derivative.
            rounding: Distance from 1 to the next number, in the engine's dtype.
        """
        absolute = np.abs(self.value)
        size = np.maximum(absolute, self.size)
        two_digits = np.maximum(_TWO_DIGITS * absolute, _SMALL * size)
        # The rounding error of a sum depends on the size of its terms, even if the sum is 0.
        error = np.maximum(self.error, _SUM_ROUNDINGS * EPSILON["float64"] * size)
        smallest = np.maximum(_SMALL * self.variation, _NEGLIGIBLE * self._largest_around())
        is_zero = (size <= _FEW_ERRORS * error) & (error <= smallest)
        within = np.minimum(
            _LARGEST_TOLERANCE * absolute, engine_tolerance(k, rounding) * size
        )
        engine = np.maximum(within, self._engine_rounding(rounding))
        limits = np.where(
            (self.error <= two_digits) | is_zero, 2 * error + engine, two_digits
        )
        # If y is constant near a point, a derivative of 0 is right.
        is_constant = np.maximum(size, self.variation) == 0.0
        limits = np.where(is_constant, np.maximum(limits, self.error), limits)
        return np.where(np.isfinite(self.error), limits, 0.0)

    def coarse_limits(self, k: int, rounding: float) -> np.ndarray:
        """Returns the limits for an engine in a coarser dtype than that of the differences."""
        size = np.maximum(np.abs(self.value), self.size)
        tolerance = engine_tolerance(k, rounding) * size
        fraction = min(_ENGINE_ROUNDINGS * rounding, _LARGEST_TOLERANCE)
        tolerance = np.maximum(tolerance, self._engine_rounding(rounding))
        return 2 * self.error + np.maximum(tolerance, fraction * self.largest_of_samples())

    def _engine_rounding(self, rounding: float) -> np.ndarray:
        """Returns the rounding errors that are accepted within an engine."""
        relative = min(_ENGINE_ROUNDINGS * rounding, _LARGEST_TOLERANCE)
        nearby = np.maximum(self.size, self.variation)
        # An engine may sum terms that cancel although y is constant: x / sqrt(x * x).
        return relative * np.where(nearby == 0.0, self._largest_around(), nearby)

    def largest_of_samples(self) -> np.ndarray:
        """Returns the largest number of each column, of shape `(1, numbers)`."""
        resolved = np.isfinite(self.value) & np.isfinite(self.error)
        return np.max(
            np.abs(self.value), axis=0, keepdims=True, initial=0.0, where=resolved
        )

    def _largest_around(self) -> np.ndarray:
        """Returns the largest variation at longer steps, or derivative in another column.

        The rounding error of a derivative that is 0 depends on their size.
        """
        size = np.maximum(np.abs(self.value), self.size)
        return np.maximum(self.steepest, np.max(size, axis=-1, keepdims=True))


def engine_tolerance(k: int, rounding: float) -> float:
    """Returns the accepted relative difference of order k: half of the digits or less."""
    return min(rounding ** (1 / max(2, 1 + k / 2)), _LARGEST_TOLERANCE)


def agree(
    name: str,
    k: int,
    computed: np.ndarray,
    measured: Measured,
    rounding: float,
    finer: np.ndarray | None = None,
) -> Agreement:
    """Returns the agreement of an engine's numbers with differences.

    Args:
        name: Name of the derivative.
        k: Its order.
        computed: The engine's numbers, of shape `(batch, numbers)`.
        measured: The differences, in float64 if there is `finer`.
        rounding: Distance from 1 to the next number, in the dtype of `computed`.
        finer: The engine's numbers in float64, or None.
    """
    difference, error = _distance(computed, measured.value), measured.error
    finest = difference if finer is None else _distance(finer, measured.value)
    # A difference below the rounding error at a tenth of the step may be due to rounding.
    rounding_at_tenth = 10.0**k * measured.rounding
    is_clear = finest > np.maximum(_MANY_ERRORS * error, rounding_at_tenth)
    # What is resolved may be rounding within the engine.
    fraction = np.where(
        is_clear, _ENGINE_ROUNDINGS * EPSILON["float64"], _SMALLEST_FRACTION
    )
    limits = measured.limits(k, rounding if finer is None else EPSILON["float64"])
    limits = np.maximum(limits, fraction * measured.largest_of_samples())
    too_coarse = np.zeros(computed.shape, bool)
    if finer is not None:
        agrees = finest + error <= limits
        coarse = measured.coarse_limits(k, rounding)
        too_coarse = agrees & (difference + error > coarse)
        difference = np.maximum(difference, finest)
        limits = np.where(agrees, coarse, limits)
    bounds = difference + error
    wrong = ~too_coarse & (bounds > limits) & is_clear
    index = _index_of_worst(bounds, limits, wrong)
    rounded = too_coarse | ~wrong & (rounding_at_tenth > error)
    return Agreement(
        name=name,
        scale=float(np.abs(computed).max()),
        difference=float(difference[index]),
        error=float(error[index]),
        limit=float(limits[index]),
        worst=int(index[0]),
        enough_digits=bool(bounds[index] <= limits[index] or not rounded[index]),
    )


def _distance(computed: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Returns the absolute differences of numbers, infinite where one is NaN."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(computed - value)
    return np.where(np.isnan(difference), np.inf, difference)


def _index_of_worst(bounds: np.ndarray, limits: np.ndarray, wrong: np.ndarray) -> tuple:
    """Returns the index of the largest bound, or of the one that exceeds its limit most."""
    exceeds = bounds > limits
    if not exceeds.any():
        return np.unravel_index(np.argmax(bounds), bounds.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.where(wrong if wrong.any() else exceeds, bounds / limits, -1.0)
    return np.unravel_index(np.argmax(factors), bounds.shape)
