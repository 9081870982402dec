"""Measures whether the tape derivatives of a function of one variable are right."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from keras_smooth.auditing.towers import Tower

TOLERANCE = 1e-6
# Steps of the central differences. The spacing leaves a pair that fits curvature on any
# scale between 1e-8 and 1; the last ones serve to tell a jump from a steep slope.
RATIO = 30.0
STEPS = 0.03 * RATIO ** -np.arange(6.0)
# For functions that take one point at a time; the last step still tells jump and rounding.
FEW_STEPS = STEPS[[0, 1, 2, 5]]
# For functions that compute in float32, and what a derivative of those is held to, in
# rounding errors: 1e-4.
SINGLE_STEPS = 0.3 * 4.0 ** -np.arange(5.0)
SINGLE_FACTOR = 1e3
# Uncertainties of a central difference that an error must exceed to count.
SAFETY = 20.0
# Rounding errors by which the values of an affine function may leave a line.
AFFINE = 100.0
# A difference this large a fraction of the derivative settles nothing.
UNSETTLED = 1e-3
# The part of a derivative of lower order that the scale of an error includes.
LOWER = 1e-3
# What remains of a difference when its interval shrinks: a jump keeps all of it.
SURVIVES = 0.4
FINENESS = 8
REFINEMENTS = 8


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was measured along one line.

    Args:
        verdict: One of `SEVERITY`.
        order: The first order at fault; 0 where nothing is.
        error: The largest relative error of a derivative at a point where it exists.
        reason: The cause, where there is more to say than the verdict.
        jump: The lowest order whose derivative was seen to jump; `math.inf` if none was.
    """

    verdict: str
    order: int = 0
    error: float = 0.0
    reason: str = ""
    jump: float = math.inf


# From the best to the worst.
SEVERITY = ("ok", "unknown", "rough", "zero", "none", "wrong", "nan", "raises")


def worst(findings: list[Finding]) -> Finding:
    """Returns the finding that is lost at the lowest order, the most severe of those.

    Its error is the largest of all, and its jump the lowest.
    """
    faults = [found for found in findings if found.verdict not in ("ok", "unknown")]
    pool = faults or findings
    first = min(found.order for found in pool)
    chosen = max(
        (found for found in pool if not faults or found.order == first),
        key=lambda found: SEVERITY.index(found.verdict),
    )
    return dataclasses.replace(
        chosen,
        error=max(found.error for found in findings),
        jump=min(found.jump for found in findings),
    )


def tolerance(rounding: float) -> float:
    """Returns the error up to which a derivative is right."""
    return max(TOLERANCE, SINGLE_FACTOR * rounding)


def is_single(rounding: float) -> bool:
    return tolerance(rounding) > TOLERANCE


def steps_for(rounding: float, few: bool) -> np.ndarray:
    """Returns the steps of differences of a function with a relative rounding error."""
    if is_single(rounding):
        return SINGLE_STEPS
    return FEW_STEPS if few else STEPS


def check(
    evaluate: Callable, points: np.ndarray, order: int, steps: np.ndarray = STEPS
) -> Finding:
    """Holds derivatives at some points against central differences of one order less.

    Args:
        evaluate: Maps points to their `Tower`.
        points: The points.
        order: The highest order.
        steps: Steps of the differences, falling.

    Returns:
        The worst finding.
    """
    offsets = np.concatenate([[0.0], steps, -steps])
    stencil = evaluate((points[:, None] + offsets).ravel())
    values = stencil.values.reshape(order + 1, len(points), len(offsets))
    inside = np.isfinite(values[0]).all(axis=1)
    values = values[:, inside]
    if not inside.any():
        return Finding("unknown", reason="its output is not finite where it was probed")
    center = values[:, :, 0]
    upper, lower = np.split(values[:, :, 1:], 2, axis=2)
    lost = [k for k in range(1, order + 1) if not np.isfinite(center[k]).all()]
    findings = [Finding("nan", lost[0], math.nan)] if lost else [Finding("ok")]
    for k in range(order + 1):
        jumps = _jumps(upper[k] - lower[k], values[: k + 1], stencil.rounding)
        findings.append(
            _compare(k, center, upper - lower, jumps, stencil, steps, values[k])
            if k
            else Finding("ok")
        )
        if jumps.any():
            findings.append(Finding("rough", max(k, 1), jump=k))
            # Beyond a jump there is no derivative to compare with.
            keep = ~jumps
            center, upper, lower, values = (
                center[:, keep], upper[:, keep], lower[:, keep], values[:, keep]
            )  # fmt: skip
            if not keep.any():
                break
    return worst(findings)


def _jumps(differences: np.ndarray, values: np.ndarray, rounding: float) -> np.ndarray:
    """Returns at which points the difference across the point does not go to 0."""
    wide, narrow = np.abs(differences[:, -2]), np.abs(differences[:, -1])
    scale = np.abs(values[-1]).max(axis=1) + LOWER * _lower(values[:, :, 0])
    return (narrow > tolerance(rounding) * scale) & (narrow > SURVIVES * wide)


def _lower(values: np.ndarray) -> np.ndarray:
    """Returns the largest of the derivatives of lower order at each point.

    Compared with it a derivative can be so small that it is made of rounding.
    """
    return np.abs(values[:-1]).max(axis=0, initial=0.0)


def _compare(k, center, differences, jumps, stencil: Tower, steps, around) -> Finding:
    """Compares the derivative of order k with differences of the one below."""
    if stencil.raised[0] <= k:
        fault = Finding("raises", k, math.nan, stencil.raised[1])
        return fault if stencil.raised[0] == k else Finding("ok")
    keep = ~jumps
    if not keep.any():
        return Finding("ok")
    below = center[k - 1][keep]
    noise = stencil.rounding * np.abs(below)
    estimates, floors = _extrapolated(differences[k - 1][keep], steps, noise)
    true, doubt, at = _settled(estimates, floors)
    # What the derivative itself changes over the smallest step is rounding.
    doubt = doubt + np.abs(differences[k][keep, -1])
    value = center[k][keep]
    if not np.isfinite(value).all():
        return Finding("ok")  # reported as a whole
    scale = np.maximum(np.abs(value), np.abs(true))
    lower = _lower(center[: k + 1][:, keep])
    typical = np.abs(around[keep]).max(axis=1) + np.abs(below) + LOWER * lower
    unsettled = doubt > UNSETTLED * typical
    scale = np.maximum(scale, 1e-3 * np.median(scale)) + LOWER * lower + 1e-30
    doubt = doubt / scale
    error = np.abs(value - true) / scale
    allowed = tolerance(stencil.rounding)
    faulty = error > allowed + SAFETY * doubt
    faulty &= ~_confirmed(value, estimates, floors, at, error * scale)
    if faulty.any():
        largest = float(error[faulty].max())
        return Finding(_name(value[faulty], stencil.missing <= k), k, largest)
    if unsettled.all():
        reason = "central differences do not settle"
        return Finding("unknown", k, reason=reason)
    settled = error[doubt < allowed]
    return Finding("ok", error=float(settled.max(initial=0.0)))


def slopes(values: np.ndarray, t: np.ndarray, rounding: float) -> np.ndarray | None:
    """Returns the slopes of curves if all are affine to rounding, else None.

    Args:
        values: Values of shape `(curves, len(t))`.
        t: Their points, the same for each.
        rounding: Relative rounding error of the values.
    """
    if not np.isfinite(values).all():
        return None
    matrix = np.stack([np.ones_like(t), t], axis=1)
    fitted, *_ = np.linalg.lstsq(matrix, values.T, rcond=None)
    scale = np.abs(values).max(axis=1)
    deviation = np.abs(matrix @ fitted - values.T).max(axis=0)
    return fitted[1] if np.all(deviation <= AFFINE * rounding * scale) else None


def check_affine(found: Tower, slope: np.ndarray) -> Finding:
    """Holds derivatives against those of affine functions: the slope, and then 0.

    Args:
        found: Their tower.
        slope: The slope at each of its points.
    """
    scale = LOWER * np.abs(found.values[0]) + np.abs(slope)
    scale = np.maximum(scale, 1e-3 * np.median(scale)) + 1e-30
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
            name = _name(values[faulty], found.missing <= k)
            return Finding(name, k, float(error.max()))
        largest = max(largest, float(error.max()))
    return Finding("ok", error=largest)


def _name(values: np.ndarray, missing: bool) -> str:
    if missing:
        return "none"
    return "wrong" if values.any() else "zero"


def _extrapolated(
    differences: np.ndarray, steps: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns Richardson's extrapolation of neighboring steps, and the rounding in it."""
    quotients = differences / (2 * steps)
    ratios = (steps[:-1] / steps[1:]) ** 2
    estimates = (ratios * quotients[:, 1:] - quotients[:, :-1]) / (ratios - 1)
    return estimates, noise[:, None] / steps[1:]


def _settled(
    estimates: np.ndarray, floors: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the best estimate of each row, its uncertainty and its column.

    It is the one that agrees best with the next, as in Ridders, 1982, Advances in
    Engineering Software 4, 75.
    """
    # Two results can agree by accident, never to better than the rounding they contain.
    moves = np.abs(np.diff(estimates, axis=1)) + floors[:, :-1] + floors[:, 1:]
    moves = np.where(np.isfinite(moves), moves, np.inf)
    best = moves.argmin(axis=1)
    rows = np.arange(len(best))
    return estimates[rows, best], moves[rows, best], best


def _confirmed(
    value: np.ndarray, estimates: np.ndarray, floors: np.ndarray, at: np.ndarray, error
) -> np.ndarray:
    """Returns at which points a finer estimate confirms the value.

    Steps that reach over a joint, or over many stairs, agree on a slope that is not there.
    """
    finer = np.arange(estimates.shape[1]) > at[:, None]
    clear = floors < 0.1 * error[:, None]
    near = np.abs(estimates - value[:, None]) < 0.2 * error[:, None]
    return (finer & clear & near).any(axis=1)


def seek_jumps(evaluate: Callable, low: float, high: float, order: int) -> Finding:
    """Looks for jumps of derivatives anywhere between two ends.

    The intervals over which a derivative changes most unlike its neighbors are cut
    again and again: a jump survives, a steep slope does not.

    Args:
        evaluate: Maps points to their `Tower`.
        low: Lower end.
        high: Upper end.
        order: The highest order.
    """
    # An irrational number of intervals a unit, so that no point falls on a joint.
    grid = np.linspace(low, high, 41) + 0.0137
    first = evaluate(grid)
    orders = [k for k in range(order + 1) if k < min(first.missing, first.raised[0])]
    values = np.where(np.isfinite(first.values), first.values, 0.0)
    scales = [
        np.abs(values[k]).max() + LOWER * np.abs(values[:k]).max(initial=0.0)
        for k in orders
    ]
    starts = [_suspect(values[k]) for k in orders]
    kept = [
        (k, grid[i], grid[i + 1], scale, values[k][i + 1] - values[k][i])
        for k, (i, score), scale in zip(orders, starts, scales)
        if score > tolerance(first.rounding) * scale
    ]
    found = _refined(evaluate, kept)
    if not found:
        return Finding("ok")
    return Finding("rough", max(min(found), 1), jump=min(found))


def _suspect(values: np.ndarray) -> tuple[int, float]:
    """Returns the interval that differs most from its neighbors, and by how much."""
    steps = np.diff(values)
    scores = np.abs(steps[1:-1] - (steps[:-2] + steps[2:]) / 2)
    return int(scores.argmax()) + 1, float(scores.max())


def _refined(evaluate: Callable, intervals: list) -> list[int]:
    """Returns the orders whose change within an interval survives all refinements."""
    last = {k: math.inf for k, *_ in intervals}
    for _ in range(REFINEMENTS):
        if not intervals:
            return []
        grids = [np.linspace(a, b, FINENESS + 1) for _, a, b, *_ in intervals]
        found = evaluate(np.concatenate(grids))
        parts = np.split(found.values, len(grids), axis=1)
        narrowed = []
        for (k, _, _, scale, before), grid, part in zip(intervals, grids, parts):
            steps = np.abs(np.diff(part[k]))
            i = int(np.nanargmax(np.where(np.isfinite(steps), steps, 0.0)))
            last[k] = steps[i] / max(abs(before), 1e-300)
            if steps[i] > tolerance(found.rounding) * scale:
                narrowed.append((k, grid[i], grid[i + 1], scale, steps[i]))
        intervals = narrowed
    return [k for k, *_ in intervals if last[k] > SURVIVES]
