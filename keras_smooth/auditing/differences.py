"""Derivatives from tapes against central differences of the derivative one order lower."""

import dataclasses
import math
from collections.abc import Sequence

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
# For a second look, steps so close that they fit any scale down to 1e-12; their ratio is no
# whole number, by which waves would repeat.
CLOSE_STEPS = 0.3 * 2.87 ** -np.arange(28.0)
# For functions that compute in float32.
SINGLE_STEPS = 0.3 * 4.0 ** -np.arange(5.0)
# Uncertainties of a central difference that an error must exceed to count.
SAFETY = 20.0
# A difference this large a fraction of the derivative settles nothing.
UNSETTLED = 1e-3
# Roundings by which what does not stand still must differ somewhere.
MOVES = 16.0
# What remains of a difference when its interval shrinks: a jump keeps all of it.
SURVIVES = 0.4
# The close steps over which a jump stays, and what may remain of it from one to the next:
# all of a jump, more beside a pole.
STEADY = 8
REMAINS = (0.7, 3.5)
# A derivative by which a step would go so many times as far as values do is either wrong or
# that of waves shorter than the step.
STEEP = 3.0
NOT_FINITE = "its output is not finite where it was probed"
UNSETTLED_WORDS = "it changes faster than differences can follow, which do not settle"


def steps_for(rounding: float, few: bool) -> np.ndarray:
    """Returns the steps of differences of a function with a relative rounding error."""
    if is_single(rounding):
        return SINGLE_STEPS
    return FEW_STEPS if few else STEPS


def places(points: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Returns each point with its neighbors at all steps, one after the other."""
    return (points[:, None] + np.concatenate([[0.0], steps, -steps])).ravel()


@dataclasses.dataclass(frozen=True)
class Stencil:
    """Derivatives at points, and at steps to both sides of each.

    Args:
        tower: Derivatives at `places(points, steps)`.
        steps: Steps of the differences, falling.
        values: The same of those points that are looked at, of shape
            `(order + 1, points, 1 + 2 * steps)`.
        least: Of each order, values up to this are rounding, whatever the others here.
        moved: How far a rounding of the inputs moves the derivatives at the points, of the
            shape of `center`; 0 where that was not looked at.
    """

    tower: Tower
    steps: np.ndarray
    values: np.ndarray
    least: np.ndarray
    moved: np.ndarray

    @classmethod
    def of(
        cls,
        tower: Tower,
        steps: np.ndarray,
        least: np.ndarray,
        rounded: Sequence[Tower] = (),
    ) -> "Stencil":
        """Returns the stencil at those points at which the function is finite.

        Args:
            tower: Derivatives at `places(points, steps)`.
            steps: Steps of the differences, falling.
            least: Of each order, values up to this are rounding.
            rounded: Derivatives at one point each, all of them several times in turn, of
                inputs that are rounded otherwise.
        """
        values = tower.values.reshape(len(tower.values), -1, 1 + 2 * len(steps))
        moved = np.zeros(values.shape[:2])
        if rounded:
            others = np.concatenate([other.values for other in rounded], axis=1)
            others = others.reshape(len(values), -1, values.shape[1])
            with np.errstate(invalid="ignore"):
                moved = np.abs(others - values[:, None, :, 0])
                moved = np.fmax.reduce(moved, axis=1, initial=0.0)
        inside = np.isfinite(values[0]).all(axis=1)
        return cls(tower, steps, values[:, inside], least, moved[:, inside])

    def at(self, chosen: np.ndarray) -> "Stencil":
        """Returns the part at chosen points."""
        return dataclasses.replace(
            self, values=self.values[:, chosen], moved=self.moved[:, chosen]
        )

    @property
    def center(self) -> np.ndarray:
        """The derivatives at the points, of shape `(order + 1, points)`."""
        return self.values[:, :, 0]

    @property
    def sides(self) -> tuple[np.ndarray, np.ndarray]:
        """The derivatives above and below, each of shape `(order + 1, points, steps)`."""
        upper, lower = np.split(self.values[:, :, 1:], 2, axis=2)
        return upper, lower

    @property
    def across(self) -> np.ndarray:
        """What they change across each step, of shape `(order + 1, points, steps)`."""
        upper, lower = self.sides
        return upper - lower

    @property
    def noise(self) -> np.ndarray:
        """How far their means over the smallest steps differ, of the shape of `center`.

        The points themselves, where a derivative may be wrong, have no part in it.
        """
        upper, lower = self.sides
        means = (upper + lower) / 2
        return np.abs(means[:, :, -1] - means[:, :, -2])

    def jumps(self, k: int) -> np.ndarray:
        """Returns at which points the change of order k does not go to 0 with the step."""
        change = self.across[k]
        narrow = np.abs(change[:, -1])
        scale = np.abs(self.values[k]).max(axis=1) + LOWER * _lower(self.center[: k + 1])
        floor = np.maximum(tolerance(self.tower.rounding) * scale, self.least[k])
        stays = (
            _stays(change) if self.is_close else narrow > SURVIVES * np.abs(change[:, -2])
        )
        return (narrow > floor) & stays

    @property
    def is_close(self) -> bool:
        """Whether the steps are those of a second look."""
        return len(self.steps) == len(CLOSE_STEPS)


def check(stencil: Stencil, joints: bool = True) -> Finding:
    """Holds derivatives against central differences of those of one order less.

    Args:
        stencil: The derivatives.
        joints: Whether a jump is a finding.
    """
    if not stencil.values.shape[1]:
        return Finding("unknown", reason=NOT_FINITE)
    # Where inputs cancel, as those of x - y do along x = y, there is nothing else.
    sizes = np.abs(stencil.values).max(axis=(1, 2))
    if np.all(sizes <= stencil.least):
        return Finding("ok")
    orders = range(len(stencil.values))
    lost = [k for k in orders[1:] if not np.isfinite(stencil.center[k]).all()]
    findings = [Finding("nan", lost[0], math.nan)] if lost else [Finding("ok")]
    for k in orders:
        jumps = stencil.jumps(k)
        # Beyond a jump there is no derivative to compare with.
        stencil = stencil.at(~jumps)
        if k:
            findings.append(_compare(stencil, k))
        if jumps.any() and joints:
            findings.append(Finding("rough", max(k, 1), jump=k))
        if jumps.all():
            break
    return worst(findings)


def _stays(change: np.ndarray) -> np.ndarray:
    """Returns at which points a change over close steps is that of a jump.

    One that changes its sign or size from step to step is that of a function that is only
    faster than they are.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = change[:, 1 - STEADY :] / change[:, -STEADY:-1]
    return ((ratios > REMAINS[0]) & (ratios < REMAINS[1])).all(axis=1)


def _lower(values: np.ndarray) -> np.ndarray:
    """Returns the largest of the derivatives of lower order at each point.

    Compared with it a derivative can be so small that it is made of rounding.
    """
    return np.abs(values[:-1]).max(axis=0, initial=0.0)


def _compare(stencil: Stencil, k: int) -> Finding:
    """Compares the derivative of order k with differences of the one below."""
    tower = stencil.tower
    if tower.raised[0] <= k:
        fault = Finding("raises", k, math.nan, tower.raised[1])
        return fault if tower.raised[0] == k else Finding("ok")
    value, below = stencil.center[k], stencil.center[k - 1]
    if not len(value) or not np.isfinite(value).all():
        return Finding("ok")  # reported as a whole
    noise = tower.rounding * np.abs(below) + stencil.moved[k - 1]
    estimates, floors = _extrapolated(stencil.across[k - 1], stencil.steps, noise)
    true, doubt, at = _settled(estimates, floors)
    # Over so small steps a derivative is a line but for its rounding.
    doubt = doubt + stencil.noise[k] + stencil.moved[k]
    scale = np.maximum(np.abs(value), np.abs(true))
    lower = _lower(stencil.center[: k + 1])
    typical = np.abs(stencil.values[k]).max(axis=1) + np.abs(below) + LOWER * lower
    unsettled = doubt > UNSETTLED * typical
    scale = np.maximum(scale, 1e-3 * np.median(scale)) + LOWER * lower + 1e-30
    doubt = doubt / scale
    error = np.abs(value - true) / scale
    allowed = tolerance(tower.rounding)
    confirmed = _confirmed(value, estimates, floors, at, error * scale)
    faulty = (error > allowed + SAFETY * doubt) & ~confirmed
    if stencil.is_close:
        steep = (
            np.abs(value) * stencil.steps[at] > STEEP * np.abs(stencil.values[k - 1]).max()
        )
        contradicted = _contradicted(true, estimates, floors, at, doubt * scale)
        unsettled |= faulty & steep & contradicted
        faulty &= ~unsettled
    # Where what it is the derivative of has cancelled, differences are those of rounding.
    sizes = np.abs(stencil.values).max(axis=2)
    there = (sizes[k - 1] > stencil.least[k - 1]) | (sizes[k] > stencil.least[k])
    faulty &= there
    if faulty.any():
        largest = float(error[faulty].max())
        return of_error(value[faulty], tower.missing <= k, k, largest)
    if unsettled.all():
        return Finding("unknown", k, reason=UNSETTLED_WORDS)
    settled = error[(doubt < allowed) & ~unsettled & there & ~confirmed]
    return Finding("ok", error=float(settled.max(initial=0.0)))


def _extrapolated(
    differences: np.ndarray, steps: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns Richardson's extrapolation of neighboring steps, and the rounding in it."""
    quotients = differences / (2 * steps)
    ratios = (steps[:-1] / steps[1:]) ** 2
    estimates = (ratios * quotients[:, 1:] - quotients[:, :-1]) / (ratios - 1)
    # Where the function stands still, as one rounded to float32 does, it is rounded away; an
    # even one differs by roundings alone.
    moves = np.abs(differences).max(axis=1) > MOVES * noise
    still = np.equal(differences, 0) & moves[:, None]
    floors = np.where(still[:, 1:] | still[:, :-1], np.inf, noise[:, None] / steps[1:])
    return estimates, floors


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


def _contradicted(
    true: np.ndarray, estimates: np.ndarray, floors: np.ndarray, at: np.ndarray, doubt
) -> np.ndarray:
    """Returns at which points a finer estimate is another one by more than its rounding.

    Those over steps that are wider than waves may agree by accident.
    """
    finer = np.arange(estimates.shape[1]) > at[:, None]
    apart = np.abs(estimates - true[:, None]) > SAFETY * (floors + doubt[:, None])
    return (finer & apart).any(axis=1)
