"""Jumps of derivatives anywhere along a line."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

from keras_smooth.auditing.findings import LOWER, Finding, is_single, tolerance

# What remains of a change when its interval shrinks: a jump keeps all of it.
SURVIVES = 0.7
# At a pole, as that of 1 / x at the end of the domain of log(x), it grows.
GROWS = 2.0
INTERVALS = 120
# Intervals of each order that are cut further.
CANDIDATES = 6
FINENESS = 8
REFINEMENTS = 8
# More of them for what is still a jump: two normalizations in a row, each with an epsilon of
# 1e-12, climb theirs within 1e-12 of inputs that are equal.
SHARPER_REFINEMENTS = 5
# Refinements, the last ones, that a jump has to survive alone. Of waves shorter than the
# interval each keeps its size as well, but is one among many.
STEADY = 5
ALONE = 0.5
# Intervals on each side with which one is compared.
NEIGHBORS = 2
# What a jump shows in the interval beside its own.
SHOWS_NEARBY = 0.7


@dataclasses.dataclass(frozen=True)
class _Interval:
    """An interval over which the derivative of some order changes unlike its neighbors.

    Args:
        order: The order.
        low: Its lower end.
        width: Its width.
        change: What the derivative changes there beyond what its neighbors tell.
        ratio: The same, as a part of the change in the interval that this was cut from.
        floor: Changes up to this are rounding.
        steady: In how many refinements, the last ones, it was that of a jump.
    """

    order: int
    low: float
    width: float
    change: float
    ratio: float
    floor: float
    steady: int = 0


def seek(evaluate: Callable, reach: float, order: int, least: np.ndarray) -> Finding:
    """Looks for jumps of derivatives anywhere on a line.

    The intervals over which a derivative changes most unlike its neighbors are cut
    again and again: a jump survives, a steep slope does not.

    Args:
        evaluate: Maps points to their `Tower`.
        reach: How far from 0 to both sides.
        order: The highest order.
        least: Of each order, changes up to this are rounding, whatever the values on this
            line.
    """
    # Shifted, so that no point falls on a joint.
    grid = np.linspace(-reach, reach, INTERVALS + 1) + 0.0137
    first = evaluate(grid)
    intervals = []
    for k in range(order + 1):
        if k < min(first.missing, first.raised[0]):
            intervals += _suspects(k, grid, first, least[k])
    for _ in range(REFINEMENTS):
        if intervals:
            intervals = list(_cut(evaluate, intervals))
    steep = [each for each in intervals if each.steady < STEADY]
    intervals = [each for each in intervals if each.steady >= STEADY]
    # There are no numbers of float32 in smaller intervals.
    for _ in range(0 if is_single(first.rounding) else SHARPER_REFINEMENTS):
        if intervals:
            intervals = list(_cut(evaluate, intervals))
    found = [each.order for each in intervals if each.steady >= STEADY]
    intervals += steep
    has_end = not np.isfinite(first.values[0]).all()
    in_doubt = has_end or any(each.ratio >= GROWS for each in intervals)
    if not found:
        return Finding("ok", in_doubt=in_doubt)
    return Finding("rough", max(min(found), 1), jump=min(found), in_doubt=in_doubt)


def _suspects(k: int, grid: np.ndarray, found, least: float) -> Iterator[_Interval]:
    """Yields the intervals in which a derivative of order k may jump."""
    values = found.values
    scale = _largest(values[k]) + LOWER * _largest(values[:k])
    floor = max(least, tolerance(found.rounding) * scale)
    changes = _changes(values[k])
    for _ in range(CANDIDATES):
        i = int(changes.argmax())
        if not changes[i] > floor:
            return
        start = grid[i + NEIGHBORS]
        yield _Interval(k, start, grid[1] - grid[0], changes[i], 1.0, floor)
        # A jump shows in the neighbors as well, but no other jump.
        near = changes[max(i - NEIGHBORS, 0) : i + NEIGHBORS + 1]
        near[near <= SHOWS_NEARBY * changes[i]] = 0.0
        changes[i] = 0.0


def _changes(values: np.ndarray) -> np.ndarray:
    """Returns how far each step but the outer ones is from a cubic through its neighbors.

    Of a smooth function that falls with the fourth power of the width, so that a jump
    stands out where curvature is large.
    """
    steps = np.diff(values)
    near, far = steps[1:-3] + steps[3:-1], steps[:-4] + steps[4:]
    changes = np.abs(steps[2:-2] - (4 * near - far) / 6)
    return np.where(np.isfinite(changes), changes, 0.0)


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def _cut(evaluate: Callable, intervals: list[_Interval]) -> Iterator[_Interval]:
    """Yields the part of each interval that keeps most of its change, if more than none."""
    # With those beside it: between two jumps they add up.
    parts = np.arange(-FINENESS - NEIGHBORS, 2 * FINENESS + NEIGHBORS + 1) / FINENESS
    grids = [each.low + each.width * parts for each in intervals]
    found = evaluate(np.concatenate(grids))
    for each, grid, values in zip(
        intervals, grids, np.split(found.values, len(grids), axis=1)
    ):
        changes = _changes(values[each.order])
        i = int(changes.argmax())
        # The first points may have missed the summit of a narrow peak.
        floor = max(each.floor, tolerance(found.rounding) * _largest(values[each.order]))
        if changes[i] > floor:
            ratio = changes[i] / each.change
            is_jump = SURVIVES < ratio < GROWS and _is_alone(changes, i)
            yield dataclasses.replace(
                each, low=grid[i + NEIGHBORS], width=each.width / FINENESS,
                change=changes[i], ratio=ratio, floor=floor,
                steady=each.steady + 1 if is_jump else 0,
            )  # fmt: skip


def _is_alone(changes: np.ndarray, i: int) -> bool:
    """Returns whether changes are small but for one, and its neighbors that it shows in."""
    others = np.delete(
        changes,
        np.arange(max(i - NEIGHBORS, 0), i + NEIGHBORS + 1).clip(max=len(changes) - 1),
    )
    return bool(others.max(initial=0.0) < ALONE * changes[i])
