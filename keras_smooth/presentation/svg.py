"""Small curves for a page, as SVG: text in the page's color, lines that light and dark show."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_smooth.presentation.tables import escaped

# Each has a contrast of at least 3 with white and with black.
COLORS = ("#3b82c4", "#d9534f", "#2f9e5b", "#9467bd", "#c9790a", "#7f7f7f")
_WIDTH, _HEIGHT = 420, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 412, 24, 152
# More points cannot be seen.
_MOST_POINTS = 400


class Curve(NamedTuple):
    """A curve.

    Args:
        x: Positions, of shape `(n,)`.
        y: Values, of shape `(n,)`. Values that are not finite are left out, and on a logarithmic
            axis those that are not positive.
        width: Width of the line.
    """

    x: ArrayLike
    y: ArrayLike
    width: float = 1.5


class _Axis(NamedTuple):
    """A range of numbers along pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, values: np.ndarray) -> np.ndarray:
        width = self.high - self.low or 1.0
        return self.start + (values - self.low) / width * (self.end - self.start)


def chart(title: str, curves: Mapping[str, Curve], word: str, logarithmic: bool) -> str:
    """Returns a chart with a legend; an empty text where there is nothing to draw.

    Args:
        title: What stands above it.
        curves: Curves by their names.
        word: What x is.
        logarithmic: Whether the axis of y is.
    """
    points = {name: _points(curve, logarithmic) for name, curve in curves.items()}
    drawn = np.concatenate([p[np.isfinite(p).all(axis=1)] for p in points.values()] or [[]])
    if not drawn.size:
        return ""
    (left, low), (right, high) = drawn.min(axis=0), drawn.max(axis=0)
    if logarithmic and high - low < 1.0:
        low, high = math.floor(low), math.ceil(high + 1e-9)
    across, upward = _Axis(left, right, _LEFT, _RIGHT), _Axis(low, high, _BOTTOM, _TOP)
    parts = [
        _text(_LEFT, 14, title, "start"),
        f'<path d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}" fill="none" stroke="currentColor" '
        'stroke-opacity="0.5"/>',
        *_ticks(across, upward, logarithmic, word),
    ]
    for number, (name, curve) in enumerate(curves.items()):
        parts.append(_line(points[name], across, upward, COLORS[number % 6], curve.width))
    parts += _legend(list(curves))
    label = escaped(f"{title}: {', '.join(curves)}")
    height = _HEIGHT + 16 * ((len(curves) - 1) // 3)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{label}" width="{_WIDTH}" height="{height}" '
        'style="max-width: 100%; height: auto; font: 11px sans-serif" fill="currentColor">'
        f"{''.join(parts)}</svg>"
    )


def _points(curve: Curve, logarithmic: bool) -> np.ndarray:
    """Returns what is drawn, `(n, 2)`, with NaN where nothing is."""
    x, y = (np.asarray(values, "float64") for values in (curve.x, curve.y))
    step = -(-len(x) // _MOST_POINTS) or 1
    # Keep the last point, which readers look at.
    x, y = x[::-1][::step][::-1], y[::-1][::step][::-1]
    if logarithmic:
        y = np.log10(np.where(y > 0, y, np.nan))
    return np.stack([x, np.where(np.isfinite(y), y, np.nan)], axis=1)


def _line(
    points: np.ndarray, across: _Axis, upward: _Axis, color: str, width: float
) -> str:
    path, is_down = "", False
    for x, y in zip(across.at(points[:, 0]), upward.at(points[:, 1])):
        if math.isfinite(x) and math.isfinite(y):
            path += f"{'L' if is_down else 'M'}{x:.1f} {y:.1f}"
        is_down = math.isfinite(x) and math.isfinite(y)
    return f'<path d="{path}" fill="none" stroke="{color}" stroke-width="{width}"/>'


def _ticks(across: _Axis, upward: _Axis, logarithmic: bool, word: str) -> list[str]:
    if logarithmic:
        first, last = math.ceil(upward.low), math.floor(upward.high)
        heights = list(range(first, last + 1, max(1, -(-(last - first) // 4))))
        texts = [f"1e{power:+03d}" for power in heights]
    else:
        heights = list(np.linspace(upward.low, upward.high, 3))
        # Compared with the other values it is 0.
        least = 1e-3 * (upward.high - upward.low)
        texts = [f"{height:.3g}" if abs(height) > least else "0" for height in heights]
    places = upward.at(np.array(heights, "float64"))
    parts = [_text(_LEFT - 6, y + 4, text, "end") for y, text in zip(places, texts)]
    parts += [
        f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="currentColor" stroke-opacity="0.15"/>'
        for y in places
    ]
    below = _BOTTOM + 14
    return [
        *parts,
        _text(_LEFT, below, f"{across.low:.4g}", "start"),
        _text((_LEFT + _RIGHT) / 2, below, word, "middle"),
        _text(_RIGHT, below, f"{across.high:.4g}", "end"),
    ]


def _legend(names: list[str]) -> list[str]:
    parts = []
    for number, name in enumerate(names):
        x, y = _LEFT + 118 * (number % 3), _HEIGHT - 6 + 16 * (number // 3)
        color = COLORS[number % 6]
        parts.append(f'<path d="M{x} {y - 4}h16" stroke="{color}" stroke-width="3"/>')
        parts.append(
            _text(x + 21, y, name if len(name) <= 17 else f"{name[:16]}…", "start")
        )
    return parts


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped(text)}</text>'
