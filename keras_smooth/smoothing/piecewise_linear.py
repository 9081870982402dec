"""The pieces of an elementwise piecewise linear function, computed from its values."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

# The shift keeps these points away from the breakpoints of known activations.
_GRID = np.linspace(-12.0, 12.0, 385) + 0.0137
# Points between those of the grid and far outside of it, where there may be other pieces.
_ELSEWHERE = np.array([-1e4, -321.0, -33.3, *(_GRID[3:-3] + 0.021), 33.3, 321.0, 1e4])
_WIDTH = 5
_MAX_KNOTS = 8
_TOLERANCE = 1e-9
_DIGITS = 12


def measured_pieces(function: Callable) -> dict[str, Any] | None:
    """Returns the arguments with which `smooth_ramps` replaces a function.

    Args:
        function: A function of a tensor.

    Returns:
        A dict with knots, weights, slope and offset, without knots for a straight line. None if
        the function jumps, is curved, has too many pieces, mixes numbers or refuses float64.
    """
    values = _values(function, _GRID)
    if values is None:
        return None
    lines = _lines(np.diff(values) / np.diff(_GRID), values)
    if lines is None:
        return None
    weights = np.diff(lines[:, 0])
    if not weights.all():
        return None
    knots = -np.diff(lines[:, 1]) / weights
    pieces = {
        "knots": _rounded(knots),
        "weights": _rounded(weights),
        **dict(zip(("slope", "offset"), _rounded(lines[0]))),
    }
    return pieces if _has_same_values(function, pieces) else None


def _values(function: Callable, x: np.ndarray) -> np.ndarray | None:
    """Returns the values at points, or None if the value at a point depends on other points."""
    try:
        values, other = (
            np.asarray(function(tf.constant(points.reshape(shape))))
            for points, shape in ((x, (-1, _WIDTH)), (x[::-1], (_WIDTH, -1)))
        )
    # The function can raise any error, for example if it needs other arguments.
    except Exception:
        return None
    same = values.size == x.size and np.array_equal(values.ravel(), other.ravel()[::-1])
    return values.ravel() if same and values.dtype == x.dtype else None


def _lines(slopes: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """Returns slopes and offsets of the pieces, or None if they are curved or too many."""
    tolerance = _TOLERANCE * (1.0 + np.abs(slopes).max())
    same = np.abs(np.diff(slopes)) <= tolerance
    # A piece is a run of intervals with one slope. Each knot is in the interval between two pieces.
    starts = np.flatnonzero(same & ~np.append(False, same[:-1]))
    if not 0 < len(starts) <= _MAX_KNOTS + 1:
        return None
    piece_slopes = slopes[starts]
    return np.stack([piece_slopes, values[starts] - piece_slopes * _GRID[starts]], axis=1)


def _has_same_values(function: Callable, pieces: dict[str, Any]) -> bool:
    """Returns whether the pieces have the values of the function at other points as well."""
    values = _values(function, _ELSEWHERE)
    if values is None:
        return False
    total = pieces["offset"] + pieces["slope"] * _ELSEWHERE
    for knot, weight in zip(pieces["knots"], pieces["weights"]):
        total = total + weight * np.maximum(_ELSEWHERE - knot, 0.0)
    # The pieces are rounded to _DIGITS, and the error grows with the distance from 0.
    return bool(np.all(np.abs(total - values) <= _TOLERANCE * (1.0 + np.abs(_ELSEWHERE))))


def _rounded(numbers: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(number), _DIGITS) + 0.0 for number in numbers)
