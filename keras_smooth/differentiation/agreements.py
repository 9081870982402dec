"""The comparison of the numbers of an engine with differences, and its limits.

Every sample, output and input has its own limit. It comes from the size of that derivative,
and from the rounding of y if that is larger. The size of y itself does not matter:
`10**9 + sin(x)` has the derivatives of `sin(x)`, with fewer digits.
"""

import dataclasses

import numpy as np

from keras_smooth.differentiation.differences import Estimate
from keras_smooth.models.agreement import EPSILON

# A derivative is told to two digits if its differences are sure to this part of it.
_TWO_DIGITS = 3e-3
# The same of those near its point, where it passes through 0, or of the variation of y, where
# it is 0 all around.
_SMALL = 3e-4
# What is this part of the largest variation in the range of the points counts as 0 there.
_NOTHING = 1e-12
# A number that is not larger than a few errors may be 0.
_FEW = 4.0
# A number that differs by this many errors is wrong in any case.
_CLEARLY = 10.0
# Roundings within an engine, in parts of the largest derivative near a point.
_ROUNDINGS = 100.0
# What sums of the derivatives along directions leave, in roundings of the largest.
_SUMMED = 10.0
# What engines may differ by at most, in parts of a derivative.
_MOST = 2e-3


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The agreement of two ways to compute one derivative.

    Every sample and output has a limit of its own. `difference`, `error` and `limit` are
    those of the number with the largest bound or, where some exceed their limits, of the
    worst of these.

    Args:
        name: `"y"`, `"dy"`, `"d2y"`, ..., or `"laplacian"`.
        scale: The largest of the engine's numbers.
        difference: Between the engine's number and the differences.
        error: Of the differences themselves, as the steps, the degrees and the rounding of
            y tell it.
        limit: The largest bound that is accepted.
        worst: The sample.
        enough_digits: Whether rounding leaves enough digits to tell; else the bound exceeds
            the limit.
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
    """One derivative by differences, in arrays of shape `(batch, numbers)`."""

    def limits(self, k: int, rounding: float) -> np.ndarray:
        """Returns the largest bounds that are accepted for numbers of an engine.

        Args:
            k: Order.
            rounding: Distance from 1 to the next number, in the engine's dtype.
        """
        own, size = np.abs(self.value), np.maximum(np.abs(self.value), self.size)
        most = np.maximum(_TWO_DIGITS * own, _SMALL * size)
        # Sums of directions round: what is in them counts, also where the sum is 0.
        error = np.maximum(self.error, _SUMMED * EPSILON["float64"] * size)
        # What is 0 by one column may still round beside what it is by others.
        steepest = np.maximum(self.steepest, np.max(size, axis=-1, keepdims=True))
        smallest = np.maximum(_SMALL * self.variation, _NOTHING * steepest)
        is_zero = (size <= _FEW * error) & (error <= smallest)
        within = np.minimum(_MOST * own, half_of_digits(k, rounding) * size)
        engine = np.maximum(within, self._roundings(rounding))
        limits = np.where((self.error <= most) | is_zero, 2 * error + engine, most)
        # Where no value moves, a derivative of 0 is right whatever rounding may hide.
        still = np.maximum(size, self.variation) == 0.0
        limits = np.where(still, np.maximum(limits, self.error), limits)
        return np.where(np.isfinite(self.error), limits, 0.0)

    def coarse_limits(self, k: int, rounding: float) -> np.ndarray:
        """Returns the limits of numbers in a coarser dtype than that of the reference."""
        size = np.maximum(np.abs(self.value), self.size)
        engine = np.maximum(half_of_digits(k, rounding) * size, self._roundings(rounding))
        return 2 * self.error + engine

    def _roundings(self, rounding: float) -> np.ndarray:
        return min(_ROUNDINGS * rounding, _MOST) * np.maximum(self.size, self.variation)


def half_of_digits(k: int, rounding: float) -> float:
    """Returns the part of a derivative of order k by which engines may differ."""
    return min(rounding ** (1 / max(2, 1 + k / 2)), _MOST)


def agree(
    name: str,
    k: int,
    computed: np.ndarray,
    measured: Measured,
    rounding: float,
    finer: np.ndarray | None = None,
) -> Agreement:
    """Returns the agreement of the numbers of an engine with differences.

    Args:
        name: Of the derivative.
        k: Its order.
        computed: The engine's numbers, of shape `(batch, numbers)`.
        measured: The differences, in float64 if there is `finer`.
        rounding: Distance from 1 to the next number, in the dtype of `computed`.
        finer: The numbers of the engine in float64.
    """
    difference, error = _apart(computed, measured.value), measured.error
    if finer is None:
        limits = measured.limits(k, rounding)
        apart, too_coarse = difference, np.zeros(computed.shape, bool)
    else:
        apart = _apart(finer, measured.value)
        limits = measured.limits(k, EPSILON["float64"])
        agrees = apart + error <= limits
        coarse = measured.coarse_limits(k, rounding)
        too_coarse = agrees & (difference + error > coarse)
        difference = np.maximum(difference, apart)
        limits = np.where(agrees, coarse, limits)
    bounds = difference + error
    # Rounding may hide a difference that a tenth of the step would show.
    told = np.maximum(_CLEARLY * error, 10.0**k * measured.rounding)
    wrong = ~too_coarse & (bounds > limits) & (apart > told)
    place = _worst(bounds, limits, wrong)
    rounded = too_coarse | ~wrong & (10.0**k * measured.rounding > error)
    return Agreement(
        name=name,
        scale=float(np.abs(computed).max()),
        difference=float(difference[place]),
        error=float(error[place]),
        limit=float(limits[place]),
        worst=int(place[0]),
        enough_digits=bool(bounds[place] <= limits[place] or not rounded[place]),
    )


def _apart(computed: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Returns the absolute differences, infinite for NaN."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(computed - value)
    return np.where(np.isnan(difference), np.inf, difference)


def _worst(bounds: np.ndarray, limits: np.ndarray, wrong: np.ndarray) -> tuple:
    """Returns where the largest bound is, or that which exceeds its limit the most."""
    exceeds = bounds > limits
    if not exceeds.any():
        return np.unravel_index(np.argmax(bounds), bounds.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.where(wrong if wrong.any() else exceeds, bounds / limits, -1.0)
    return np.unravel_index(np.argmax(factors), bounds.shape)
