"""Measures a call along lines: a finding for each mode."""

import dataclasses
import functools
from collections.abc import Iterator

import keras
import numpy as np

from keras_smooth.auditing import affine, differences, jumps, lines
from keras_smooth.auditing.findings import Finding, is_single, tolerance, worst
from keras_smooth.auditing.lines import Line
from keras_smooth.auditing.measured_call import MeasuredCall
from keras_smooth.auditing.towers import Tower
from keras_smooth.auditing.verdicts import VERDICTS
from keras_smooth.models import copies

SINGLE = "it computes in float32: held to 1e-4"


@dataclasses.dataclass(frozen=True)
class Measurement:
    """How a call is measured.

    Args:
        call: The call.
        training: Whether in training mode.
        order: The highest order.
        around: Whether only around the values of the call.
        briefly: Whether one point there must do.
        known: Whether it is known where derivatives jump, so that no jump is sought.
        end_to_end: Whether it is a model whose parts alone do not tell: the points where
            the pieces of activations meet are looked at whatever weights it has.
    """

    call: MeasuredCall
    training: bool
    order: int
    around: bool = False
    briefly: bool = False
    known: bool = False
    end_to_end: bool = False

    @property
    def together(self) -> bool:
        """Whether many points are evaluated as one batch."""
        return self.call.takes_samples_together(self.training)

    def finding(self) -> Finding:
        """Returns the worst finding on all lines."""
        single = is_single(self.call.rounding)
        found = self._if_affine() or _worst(list(self._on_lines()), single)
        reason = found.reason
        if not VERDICTS[found.verdict].is_fault:
            how = reason or (SINGLE if single else "")
            reason = "; ".join(filter(None, (how, self.call.uncopied)))
        bound = tolerance(self.call.rounding)
        return dataclasses.replace(found, reason=reason, bound=bound)

    def _on_lines(self) -> Iterator[Finding]:
        chosen = self._lines()
        curves = [self.call.through(line) for line in chosen]
        few = self.briefly or not self.together
        steps = differences.steps_for(self.call.rounding, few)
        points = [np.array(line.points[:1] if few else line.points) for line in chosen]
        ts = [differences.places(each, steps) for each in points]
        towers = self._towers(curves, ts) if self.together else None
        least = 0.0
        for i, (line, curve) in enumerate(zip(chosen, curves)):
            # The layer itself may raise, say for a batch of its size.
            try:
                tower = towers[i] if towers else self._tower(*curve, ts[i])
                least = max(least, _rounding(tower))
                found = differences.check(differences.Stencil.of(tower, steps, least))
                yield self._seen_away(found) if line.away else found
                if self._seeks_jumps(line):
                    evaluate = functools.partial(self._tower, *curve)
                    found = jumps.seek(evaluate, line.reach, self.order, least)
                    yield self._seen_away(found) if line.away else found
            except Exception as error:
                yield Finding("unknown", reason=copies.brief(error))

    def _seeks_jumps(self, line: Line) -> bool:
        if self.known or self.briefly:
            return False
        return line.jumps and (self.together or line.alone)

    def _seen_away(self, found: Finding) -> Finding:
        """Returns what a finding says of the values of a call, to which its line does not go.

        What is not finite somewhere, or an operation that jumps there, is not at fault
        where it gets no such values: the whole model tells.
        """
        if found.reason == differences.NOT_FINITE:
            return Finding("ok", in_doubt=True)
        operation = not isinstance(self.call.copy, keras.layers.Layer)
        if operation and (found.jump == 0 or found.verdict == "nan"):
            return Finding("ok", in_doubt=True)
        return found

    def _towers(self, curves: list, ts: list[np.ndarray]) -> list[Tower] | None:
        """Returns the towers of all lines, evaluated as one batch; None if that fails."""
        try:
            tower = self._tower(*_joined(curves, ts), np.concatenate(ts))
        # A layer that fails here is looked at line by line.
        except Exception:
            return None
        ends = np.cumsum([len(t) for t in ts])[:-1]
        parts = np.split(tower.values, ends, axis=1)
        return [dataclasses.replace(tower, values=values) for values in parts]

    def _lines(self) -> tuple[Line, ...]:
        # Of a known layer, batches and noise change nothing that another line would show.
        if self.briefly or self.known and (self.around or not self.together):
            return (lines.GENERIC,)
        if self.around:
            return lines.GENERIC, lines.RANGE
        copy = self.call.copy
        joints = self.end_to_end or not getattr(copy, "weights", None)
        joints = self.together and joints
        return lines.of(getattr(copy, "value_range", None), joints)

    def _if_affine(self) -> Finding | None:
        """Returns what was found of a layer that is affine on all lines, None for others.

        Derivatives of an affine function are known: a point a line does.
        """
        if self.briefly:
            return None
        chosen = self._lines()
        curves = [self.call.through(line) for line in chosen]
        ts = [line.reach * affine.POINTS for line in chosen]
        try:
            slopes = self._slopes(curves, ts)
            if slopes is None:
                return None
            slopes = slopes / [line.reach for line in chosen]
            if not self.together:
                towers = [self._tower(*curve, np.zeros(1)) for curve in curves]
                return worst(list(map(affine.check, towers, slopes[:, None])))
            ts = [np.array(line.points) for line in chosen]
            tower = self._tower(*_joined(curves, ts), np.concatenate(ts))
        # A layer that fails here is looked at line by line.
        except Exception:
            return None
        return affine.check(tower, np.repeat(slopes, [len(t) for t in ts]))

    def _slopes(self, curves: list, ts: list[np.ndarray]) -> np.ndarray | None:
        """Returns the slopes of curves if all are affine, else None."""
        rounding = self.call.rounding
        if self.together:
            at = np.concatenate(ts)
            values = self.call.values(*_joined(curves, ts), at, self.training)
            return affine.slopes(values.reshape(len(curves), -1), rounding)
        slopes: list = []
        for (base, direction), t in zip(curves, ts):
            # Three points tell of most that they are on no line.
            for some in (affine.THREE, slice(None)):
                at = t[some]
                values = self.call.values_apart(base, direction, at, self.training)
                slope = affine.slopes(values[None], rounding, affine.POINTS[some])
                if slope is None:
                    return None
            slopes.append(slope)
        return np.concatenate(slopes)

    def _tower(self, base: list, direction: list, t: np.ndarray) -> Tower:
        if self.together:
            return self.call.tower(base, direction, t, self.order, self.training)
        return self.call.tower_apart(base, direction, t, self.order, self.training)


def _rounding(tower: Tower) -> float:
    """Returns the rounding of a tower's values, which along other lines may cancel."""
    finite = np.abs(tower.values[np.isfinite(tower.values)])
    return affine.ROUNDINGS * tower.rounding * float(finite.max(initial=0.0))


def _worst(found: list[Finding], single: bool) -> Finding:
    # Steps as wide as float32 needs reach over stairs, where no difference counts.
    stairs = [each for each in found if each.jump == 0]
    return worst(stairs if single and stairs else found)


def _joined(curves: list[tuple[list, list]], ts: list[np.ndarray]) -> tuple[list, list]:
    """Returns base and direction for all points of all lines, by leaf."""

    def joined(leaves):
        if leaves[0] is None:
            return None
        rows = [np.repeat(leaf[:1], len(t), axis=0) for leaf, t in zip(leaves, ts)]
        return np.concatenate(rows)

    bases, directions = zip(*curves)
    return [joined(b) for b in zip(*bases)], [joined(d) for d in zip(*directions)]
