"""Lines through the inputs of a layer, along which its derivatives are checked."""

import dataclasses
import math
from collections.abc import Callable, Iterator

import keras
import numpy as np

from keras_smooth.auditing import probing
from keras_smooth.auditing.probe import SEED, Probe, key
from keras_smooth.auditing.probing import Finding
from keras_smooth.models import calls, copies

# Points where the pieces of common activations meet, and points between them.
JOINTS = (-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0, -2.31, -0.37, 0.63, 1.72)
REACH = 8.0
# Points that tell whether a layer is affine, in units of the reach of a line.
AFFINE_POINTS = np.linspace(-1.0, 1.0, 13) + 0.0137
SINGLE = "it computes in float32: held to 1e-4"


@dataclasses.dataclass(frozen=True)
class Line:
    """Points base + t * direction.

    Args:
        base: Start of the line, from the value that reached the layer.
        direction: From the same value and a random generator.
        points: Values of t at which derivatives are checked.
        reach: How far from t = 0 values are looked at.
        jumps: Whether jumps of derivatives are sought that far.
        alone: Whether also for layers that take one point at a time.
    """

    base: Callable[[np.ndarray], np.ndarray]
    direction: Callable[[np.ndarray, np.random.Generator], np.ndarray]
    points: tuple[float, ...] = (0.0,)
    reach: float = 3.0
    jumps: bool = False
    alone: bool = False


def _spread(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    # At a start at which signals die out, the spread is too small to see a curvature.
    return rng.normal(size=value.shape) * max(value.std(), 0.01)


def _normal(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=value.shape)


GENERIC = Line(np.array, _spread, (0.0, 0.31), jumps=True)
# Where signals die out on the way to a layer, its faults show at values of size 1 only.
UNIT = Line(lambda value: np.random.default_rng(SEED + 1).normal(size=value.shape), _normal)
ZERO = Line(np.zeros_like, _normal)
TIES = Line(lambda value: np.full_like(value, 0.7), _normal)
ALL_JOINTS = Line(
    np.zeros_like, lambda value, rng: np.ones_like(value), JOINTS, REACH, jumps=True
)


def image_lines(low: float, high: float) -> tuple[Line, ...]:
    """Returns lines through images whose pixels lie in a range.

    From a random image to beyond the range; from a uniform gray, and from the lower end,
    where pixels are cut off.
    """
    size = high - low

    def image(value):
        return low + size * np.random.default_rng(SEED + 2).uniform(size=value.shape)

    def direction(value, rng):
        return 0.3 * size * rng.normal(size=value.shape)

    return (
        Line(image, direction, reach=1.0, jumps=True, alone=True),
        Line(lambda value: np.full_like(value, low + 0.7 * size), direction),
        Line(lambda value: np.full_like(value, low), direction),
    )


def findings(
    part: keras.Operation,
    call: calls.Call,
    order: int,
    briefly: bool = False,
    modes: tuple[str, ...] = ("inference", "training"),
    probes: dict | None = None,
) -> Iterator[tuple[str, Finding]]:
    """Yields mode and finding of a layer or model, as measured along lines.

    Args:
        part: The layer, model or operation.
        call: A call of it.
        order: The highest order.
        briefly: Whether few points must do.
        modes: The modes to look at.
        probes: Probes by `probe.key`, to which that of this part is added.
    """
    if not any(map(calls.is_float, keras.tree.flatten(call.arguments()))):
        yield "inference", Finding("none", 1, math.nan, "its inputs are not floats")
        return
    try:
        probe = _probe(part, call, {} if probes is None else probes)
    except copies.CannotCopy as error:
        yield "inference", Finding("unknown", reason=str(error))
        return
    for mode in modes:
        training = mode == "training"
        if not training or probe.differs_in_training:
            yield mode, _along_lines(probe, training, order, briefly)


def _probe(part: keras.Operation, call: calls.Call, probes: dict) -> Probe:
    name = key(part, call)
    if name in probes:
        probes[name].load(part, call)
        return probes[name]
    made = Probe.of(part, call)
    if name is not None:
        probes[name] = made
    return made


def _along_lines(probe: Probe, training: bool, order: int, briefly: bool) -> Finding:
    together = not training and probe.takes_samples_together
    lines = (GENERIC,) if briefly else _lines(probe, together)
    affine = _affine(probe, lines, order) if together and not briefly else None
    single = probing.is_single(probe.rounding)
    found = affine or _worst(
        [
            finding
            for line in lines
            for finding in _along(probe, line, training, together, order, briefly)
        ],
        single,
    )
    if found.verdict == "ok" and single:
        return dataclasses.replace(found, reason=SINGLE)
    return found


def _worst(found: list[Finding], single: bool) -> Finding:
    # Steps as wide as float32 needs reach over stairs, where no difference counts.
    stairs = [each for each in found if each.jump == 0]
    return probing.worst(stairs if single and stairs else found)


def _lines(probe: Probe, together: bool) -> tuple[Line, ...]:
    lines = (GENERIC, UNIT, ZERO, TIES)
    if together and not getattr(probe.copy, "weights", None):
        lines = (*lines, ALL_JOINTS)
    bounds = getattr(probe.copy, "value_range", None)
    return (*lines, *image_lines(*bounds)) if bounds else lines


def _affine(probe: Probe, lines: tuple[Line, ...], order: int) -> Finding | None:
    """Returns what was found of a layer that is affine on all lines, None for others.

    Derivatives of an affine function are known: a point a line does.
    """
    curves = [probe.arrays(line) for line in lines]
    ts = [line.reach * AFFINE_POINTS for line in lines]
    try:
        values = probe.values(*_joined(curves, ts), np.concatenate(ts))
        values = values.reshape(len(lines), -1)
        slopes = probing.slopes(values, AFFINE_POINTS, probe.rounding)
        if slopes is None:
            return None
        ts = [np.array(line.points) for line in lines]
        tower = probe.tower(*_joined(curves, ts), np.concatenate(ts), order)
    # A layer that fails here is looked at line by line.
    except Exception:
        return None
    slopes = slopes / [line.reach for line in lines]
    return probing.check_affine(tower, np.repeat(slopes, [len(t) for t in ts]))


def _joined(curves: list[tuple[list, list]], ts: list[np.ndarray]) -> tuple[list, list]:
    """Returns base and direction for all points of all lines, by leaf."""

    def joined(leaves):
        if leaves[0] is None:
            return None
        rows = [np.repeat(leaf[:1], len(t), axis=0) for leaf, t in zip(leaves, ts)]
        return np.concatenate(rows)

    return tuple([joined(leaves) for leaves in zip(*parts)] for parts in zip(*curves))


def _along(probe: Probe, line: Line, training, together, order, briefly) -> list[Finding]:
    base, direction = probe.arrays(line)

    def evaluate(t):
        if together:
            return probe.tower(base, direction, t, order)
        return probe.tower_apart(base, direction, t, order, training)

    few = briefly or not together
    points = np.array(line.points[:1] if few else line.points)
    found = []
    # The layer itself may raise, say for a batch of its size.
    try:
        steps = probing.steps_for(probe.rounding, few)
        found.append(probing.check(evaluate, points, order, steps))
        if line.jumps and not briefly and (together or line.alone):
            found.append(probing.seek_jumps(evaluate, -line.reach, line.reach, order))
    except Exception as error:
        found.append(Finding("unknown", reason=copies.brief(error)))
    return found
