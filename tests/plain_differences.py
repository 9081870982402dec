"""Derivatives of a function of one number from its values alone, and its kinks.

A reference for tests in plain NumPy, without anything of this package.
"""

from collections.abc import Callable

import numpy as np

# Central differences over seven points: errors of h^6.
FIRST = np.array([-1.0, 9.0, -45.0, 0.0, 45.0, -9.0, 1.0]) / 60
SECOND = np.array([2.0, -27.0, 270.0, -490.0, 270.0, -27.0, 2.0]) / 180
NEIGHBORS = np.arange(-3, 4)
# One-sided differences: errors of h^3 and h^2.
ONE_SIDED = (
    np.array([0.0, 0.0, 0.0, -11.0, 18.0, -9.0, 2.0]) / 6,
    np.array([0.0, 0.0, 0.0, 2.0, -5.0, 4.0, -1.0]),
)
STEPS = 0.05 * 4.0 ** -np.arange(5)
# The search of kinks: points of the first grid, largest differences that are examined, factor
# by which a grid is refined, number of refinements.
GRID, SUSPECTS, FINER, ZOOMS = 801, 6, 10, 3


def derivatives(
    values: Callable[[np.ndarray], np.ndarray], at: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns y, y', y'' and an estimate of the error of each.

    Args:
        values: Maps points of shape `(n,)` to values of shape `(n, ...)`.
        at: Points.

    Returns:
        For each order the derivatives, of shape `(len(at), ...)`, and their errors. Nearer to a
        kink than the smallest step, all central differences may agree and be wrong. The error
        includes their distance from one-sided ones, which differ there.
    """
    offsets = STEPS[:, None] * NEIGHBORS
    y = np.asarray(values((at[:, None, None] + offsets).ravel()), "float64")
    y = y.reshape(len(at), len(STEPS), len(NEIGHBORS), *y.shape[1:])
    center = y[:, 0, len(NEIGHBORS) // 2]
    results = [(center, np.zeros_like(center))]
    for order, stencil in enumerate((FIRST, SECOND), 1):
        steps = STEPS.reshape(-1, *[1] * (y.ndim - 3))
        estimates = np.einsum("asn...,n->as...", y, stencil) / steps**order
        rounding = 1e-15 * np.abs(y).max(axis=(1, 2))[:, None] / steps[1:] ** order
        changes = np.abs(np.diff(estimates, axis=1)) + rounding
        best = changes.argmin(axis=1)[:, None]
        finer = np.take_along_axis(estimates[:, 1:], best, 1)[:, 0]
        error = np.take_along_axis(changes, best, 1)[:, 0]
        right = ONE_SIDED[order - 1]
        for side in (right, (-1) ** order * right[::-1]):
            one_sided = np.einsum("an...,n->a...", y[:, -1], side) / STEPS[-1] ** order
            error = np.maximum(error, np.abs(finer - one_sided))
        results.append((finer, error))
    return results


def kink(values: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> int | None:
    """Returns the lowest order up to 2 whose derivative jumps between two ends, or None.

    Poles do not count as jumps.

    Third differences are computed over a grid, and over finer and finer ones where they are
    largest. If the spacing becomes a tenth, they become a thousandth where the function is
    smooth, a hundredth at a jump of y'' and a tenth at one of y', and stay at one of y.
    """
    grid = np.linspace(low, high, GRID) + np.pi / 1000
    spacing = grid[1] - grid[0]
    y = np.asarray(values(grid), "float64")
    floor = 1e-13 * max(1.0, np.abs(y).max())
    change = np.abs(np.diff(y, 3))
    suspects = []
    for _ in range(SUSPECTS):
        i = int(change.argmax())
        if change[i] <= floor:
            break
        suspects.append((grid[i], change[i]))
        change[max(i - 3, 0) : i + 4] = 0.0
    if not suspects:
        return None
    starts, changes = map(np.array, zip(*suspects))
    orders = _jumps(values, starts, changes, spacing, floor, np.abs(y).max())
    return min((order for order in orders if order is not None), default=None)


def _jumps(
    values: Callable[[np.ndarray], np.ndarray],
    starts: np.ndarray,
    change: np.ndarray,
    spacing: float,
    floor: float,
    largest: float,
) -> list[int | None]:
    """Returns for each start the order that jumps within three spacings of it, or None."""
    live, orders = np.ones(len(starts), bool), np.full(len(starts), np.inf)
    for _ in range(ZOOMS):
        spacing /= FINER
        grids = starts[:, None] + spacing * np.arange(-FINER, 4 * FINER + 1)
        y = np.asarray(values(grids.ravel()), "float64").reshape(grids.shape)
        changes = np.abs(np.diff(y, 3, axis=1))
        at = np.arange(len(starts)), changes.argmax(axis=1)
        live &= (np.abs(y).max(axis=1) <= 2 * largest) & (changes[at] > floor)
        orders = -np.log10(np.where(live, changes[at], 1.0) / change)
        starts, change = grids[at], np.where(live, changes[at], 1.0)
    return [
        int(round(max(order, 0))) if is_live and order < 2.5 else None
        for order, is_live in zip(orders, live)
    ]
