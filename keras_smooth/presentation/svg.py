"""Small charts of curves as SVG, whose colors suit light and dark pages."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_smooth.presentation import templates

# Each color has a contrast of at least 3 with white and with black.
COLORS = ("#3b82c4", "#d9534f", "#2f9e5b", "#9467bd", "#c9790a", "#7f7f7f")
# The area of the curves in a picture of 420 by 190 pixels.
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 412, 24, 152
# The largest number of points of a curve; more cannot be distinguished.
_MAX_POINTS = 400


class Curve(NamedTuple):
    """A curve.

    Args:
        x: Positions, of shape `(n,)`.
        y: Values, of shape `(n,)`. Values that are not finite are left out, and so are values that
            are not positive on a logarithmic axis.
        width: Width of the line.
    """

    x: ArrayLike
    y: ArrayLike
    width: float = 1.5


class _Axis(NamedTuple):
    """A linear map of the numbers `low` to `high` to the pixels `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, values: Any) -> Any:
        """Returns the positions of numbers in pixels."""
        width = self.high - self.low or 1.0
        return self.start + (values - self.low) / width * (self.end - self.start)


def chart(title: str, curves: Mapping[str, Curve], word: str, logarithmic: bool) -> str:
    """Returns a chart with a legend, or "" if there is nothing to draw.

    Args:
        title: Text above the chart.
        curves: Curves by their names.
        word: The label of the x axis.
        logarithmic: Whether the y axis is logarithmic.
    """
    points = {name: _points(curve, logarithmic) for name, curve in curves.items()}
    drawn = np.concatenate([p[np.isfinite(p).all(axis=1)] for p in points.values()] or [[]])
    if not drawn.size:
        return ""
    (left, low), (right, high) = drawn.min(axis=0), drawn.max(axis=0)
    if logarithmic and high - low < 1.0:
        low, high = math.floor(low), math.ceil(high + 1e-9)
    across, upward = _Axis(left, right, _LEFT, _RIGHT), _Axis(low, high, _BOTTOM, _TOP)
    return templates.render(
        "presentation/chart.svg",
        title=title,
        word=word,
        across=across,
        upward=upward,
        ticks=[(upward.at(height), text) for height, text in _ticks(upward, logarithmic)],
        curves=[
            (name, curve.width, _path(points[name], across, upward))
            for name, curve in curves.items()
        ],
        colors=COLORS,
    )


def _points(curve: Curve, logarithmic: bool) -> np.ndarray:
    """Returns the points of a curve, `(n, 2)`, with NaN for y that are not drawn."""
    x, y = (np.asarray(values, "float64") for values in (curve.x, curve.y))
    step = -(-len(x) // _MAX_POINTS) or 1
    # Points are selected from the end, since the last point matters most.
    x, y = x[::-1][::step][::-1], y[::-1][::step][::-1]
    if logarithmic:
        y = np.log10(np.where(y > 0, y, np.nan))
    return np.stack([x, np.where(np.isfinite(y), y, np.nan)], axis=1)


def _path(points: np.ndarray, across: _Axis, upward: _Axis) -> str:
    path, is_down = "", False
    for x, y in zip(across.at(points[:, 0]), upward.at(points[:, 1])):
        if math.isfinite(x) and math.isfinite(y):
            path += f"{'L' if is_down else 'M'}{x:.1f} {y:.1f}"
        is_down = math.isfinite(x) and math.isfinite(y)
    return path


def _ticks(upward: _Axis, logarithmic: bool) -> list[tuple[float, str]]:
    if logarithmic:
        first, last = math.ceil(upward.low), math.floor(upward.high)
        step = max(1, -(-(last - first) // 4))
        return [(power, f"1e{power:+03d}") for power in range(first, last + 1, step)]
    # Numbers that are negligible compared with the range are written as 0.
    least = 1e-3 * (upward.high - upward.low)
    heights = np.linspace(upward.low, upward.high, 3)
    return [(y, f"{y:.3g}" if abs(y) > least else "0") for y in heights]
