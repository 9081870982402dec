"""Derivatives from tapes against central differences of the derivative one order lower."""

import math
from collections.abc import Callable

import numpy as np

from keras_smooth.auditing.findings import (
    LOWER,
    Finding,
    is_single,
    of_error,
    tolerance,
    worst,
)
from keras_smooth.auditing.towers import Tower

# Steps of the central differences. The spacing leaves a pair that fits curvature on any
# scale between 1e-8 and 1; the last ones serve to tell a jump from a steep slope.
RATIO = 30.0
STEPS = 0.03 * RATIO ** -np.arange(6.0)
# For functions that take one point at a time; the last step still tells jump and rounding.
FEW_STEPS = STEPS[[0, 1, 2, 5]]
# For functions that compute in float32.
SINGLE_STEPS = 0.3 * 4.0 ** -np.arange(5.0)
# Uncertainties of a central difference that an error must exceed to count.
SAFETY = 20.0
# A difference this large a fraction of the derivative settles nothing.
UNSETTLED = 1e-3
# What remains of a difference when its interval shrinks: a jump keeps all of it.
SURVIVES = 0.4


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
        return of_error(value[faulty], stencil.missing <= k, k, largest)
    if unsettled.all():
        reason = "central differences do not settle"
        return Finding("unknown", k, reason=reason)
    settled = error[doubt < allowed]
    return Finding("ok", error=float(settled.max(initial=0.0)))


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
