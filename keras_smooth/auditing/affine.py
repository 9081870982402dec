"""Affine functions, whose derivatives are known."""

import math

import numpy as np

from keras_smooth.auditing.findings import LOWER, Finding, of_error, tolerance
from keras_smooth.auditing.towers import Tower

# Points that tell whether a function is affine, in units of the reach of a line.
POINTS = np.linspace(-1.0, 1.0, 13) + 0.0137
THREE = slice(0, 13, 6)
# Rounding errors by which the values of an affine function may leave a line.
ROUNDINGS = 100.0


def slopes(
    values: np.ndarray, rounding: float, points: np.ndarray = POINTS
) -> np.ndarray | None:
    """Returns the slopes of curves if all are affine to rounding, else None.

    Args:
        values: Values at the points, of shape `(curves, points)`.
        rounding: Relative rounding error of the values.
        points: In units of the reach of a line.
    """
    if not np.isfinite(values).all():
        return None
    matrix = np.stack([np.ones_like(points), points], axis=1)
    fitted, *_ = np.linalg.lstsq(matrix, values.T, rcond=None)
    scale = _at_least_a_part_of_the_largest(np.abs(values).max(axis=1))
    deviation = np.abs(matrix @ fitted - values.T).max(axis=0)
    return fitted[1] if np.all(deviation <= ROUNDINGS * rounding * scale) else None


def check(found: Tower, slope: np.ndarray) -> Finding:
    """Holds derivatives against those of affine functions: the slope, and then 0.

    Args:
        found: Their tower.
        slope: The slope at each of its points.
    """
    scale = LOWER * np.abs(found.values[0]) + np.abs(slope)
    scale = _at_least_a_part_of_the_largest(scale) + 1e-30
    largest = 0.0
    for k in range(1, len(found.values)):
        if found.raised[0] == k:
            return Finding("raises", k, math.nan, found.raised[1])
        values = found.values[k]
        if not np.isfinite(values).all():
            return Finding("nan", k, math.nan)
        error = np.abs(values - (slope if k == 1 else 0.0)) / scale
        faulty = error > tolerance(found.rounding)
        if faulty.any():
            return of_error(values[faulty], found.missing <= k, k, float(error.max()))
        largest = max(largest, float(error.max()))
    return Finding("ok", error=largest, affine=True)


def _at_least_a_part_of_the_largest(scale: np.ndarray) -> np.ndarray:
    """Returns scales none of which is that of a rounding.

    Along a line on which inputs cancel, as those of x - y do where they are equal, values
    and slopes are nothing else.
    """
    return np.maximum(scale, 1e-3 * scale.max())
