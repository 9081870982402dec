"""Measures a call along lines: a finding for each mode."""

import dataclasses
import functools
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.auditing import (
    affine,
    composition,
    differences,
    grouped_convolutions,
    jumps,
    lines,
    towers,
)
from keras_smooth.auditing.findings import Finding, is_single, tolerance, worst
from keras_smooth.auditing.lines import Line
from keras_smooth.auditing.measured_call import MeasuredCall
from keras_smooth.auditing.towers import Tower
from keras_smooth.auditing.verdicts import VERDICTS
from keras_smooth.models import copies

# What differences over a few steps may say of a steep function, or of rounding.
LOOKED_AT_CLOSELY = ("wrong", "rough", "unknown")
# How often inputs are rounded otherwise, and how far.
ROUNDINGS = 3
SIZE_OF_ROUNDINGS = 10.0
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
        curved: Whether it is known that it is not affine.
        nearby: Whether it is asked about the values of the call: what is found away from
            them is a note, unless it is a fault of the code.
    """

    call: MeasuredCall
    training: bool
    order: int
    around: bool = False
    briefly: bool = False
    known: bool = False
    end_to_end: bool = False
    curved: bool = False
    nearby: bool = False

    @property
    def together(self) -> bool:
        """Whether many points are evaluated as one batch."""
        return self.call.takes_samples_together(self.training)

    def finding(self) -> Finding:
        """Returns the worst finding on all lines."""
        single = is_single(self.call.rounding)
        found = self._if_affine() or _worst(list(self._on_lines()), single)
        if self._is_to_be_composed(found):
            found = self._composed() or found
        reason = found.reason
        if not VERDICTS[found.verdict].is_fault:
            how = reason or (SINGLE if single else "")
            reason = "; ".join(filter(None, (how, self.call.uncopied)))
        bound = tolerance(self.call.rounding)
        return dataclasses.replace(found, reason=reason, bound=bound)

    def _is_to_be_composed(self, found: Finding) -> bool:
        """Returns whether to look at what is right alone where another function follows."""
        if self.order < 2 or self.briefly or found.verdict != "ok":
            return False
        # Another shape would have them compiled once more.
        if grouped_convolutions.within(self.call.copy):
            return False
        # Of what Keras has, layers that are not affine are made of common operations.
        return found.affine or not self.known

    def _composed(self) -> Finding | None:
        line = lines.GENERIC
        curve = self.call.curve(*self.call.through(line), self.training)
        try:
            return composition.check(curve, tf.constant(line.points[:1], tf.float64))
        # What fails here is seen elsewhere, or is no matter of a derivative.
        except Exception:
            return None

    def _on_lines(self) -> Iterator[Finding]:
        pairs = list(self._curves())
        chosen, curves = [line for line, _ in pairs], [curve for _, curve in pairs]
        few = self.briefly or not self.together
        steps = differences.steps_for(self.call.rounding, few)
        points = [np.array(line.points[:1] if few else line.points) for line in chosen]
        ts = [differences.places(each, steps) for each in points]
        together = self._towers(curves, ts) if self.together else None
        least, fault = np.zeros(self.order + 1), Finding("ok")
        for i, (line, curve) in enumerate(zip(chosen, curves)):
            # The layer itself may raise, say for a batch of its size.
            try:
                tower = together[i] if together else self._tower(*curve, ts[i])
                least = np.maximum(least, _rounding(tower))
                joints = not (self.known and line.away)
                stencil = differences.Stencil.of(tower, steps, least)
                found = differences.check(stencil, joints)
                # What is known to be at fault cannot be more so.
                again = found.verdict == fault.verdict and found.order >= fault.order
                if found.verdict in LOOKED_AT_CLOSELY and not again:
                    found = self._closely(*curve, points[i], least, joints)
                    fault = found if VERDICTS[found.verdict].in_code else fault
                yield self._seen(found, line)
                if self._seeks_jumps(line):
                    evaluate = functools.partial(self._tower, *curve)
                    found = jumps.seek(evaluate, line.reach, self.order, least)
                    yield self._seen(found, line)
            except Exception as error:
                yield Finding("unknown", reason=copies.brief(error))

    def _curves(self) -> Iterator[tuple[Line, tuple[list, list]]]:
        """Yields the lines with base and direction by leaf: one of each other sample, too."""
        for line in self._lines():
            yield line, self.call.through(line)
        if self.together and not self.briefly:
            curve = self.call.through(lines.OTHERS)
            for i in range(1, self.call.batch):
                base, direction = ([_row(leaf, i) for leaf in part] for part in curve)
                yield lines.OTHERS, (base, direction)

    def _closely(
        self,
        base: list,
        direction: list,
        points: np.ndarray,
        least: np.ndarray,
        joints: bool,
    ) -> Finding:
        """Returns what a second look finds, over steps of all sizes.

        Where inputs nearly cancel, as those of a normalization of equal numbers do, one
        rounding of them may move all: that is measured, too.
        """
        single = is_single(self.call.rounding)
        steps = differences.SINGLE_STEPS if single else differences.CLOSE_STEPS
        rng = np.random.default_rng(lines.SEED)
        again = np.tile(points, ROUNDINGS)
        rounded = [(self._rounded(base, direction, t, rng), direction) for t in again]
        curves = [(base, direction), *rounded]
        ts = [differences.places(points, steps), *again[:, None]]
        found = self._towers(curves, ts) if self.together else None
        found = found or [self._tower(*curve, t) for curve, t in zip(curves, ts)]
        stencil = differences.Stencil.of(found[0], steps, least, found[1:])
        return differences.check(stencil, joints)

    def _rounded(
        self, base: list, direction: list, t: float, rng: np.random.Generator
    ) -> list:
        """Returns the base of a line whose values at a point t are rounded otherwise."""
        size = SIZE_OF_ROUNDINGS * self.call.rounding

        def rounded(b, d):
            return b + size * (np.abs(b) + abs(t) * np.abs(d)) * rng.normal(size=b.shape)

        return [b if b is None else rounded(b, d) for b, d in zip(base, direction)]

    def _seeks_jumps(self, line: Line) -> bool:
        if self.known or self.briefly:
            return False
        return line.jumps and (self.together or line.alone)

    def _seen(self, found: Finding, line: Line) -> Finding:
        """Returns what a finding says of the values of a call, to which a line may not go.

        What is not finite somewhere, or an operation that jumps there, is not at fault
        where it gets no such values: the whole model tells. A layer that is known to be
        smooth may be as steep as it likes there.
        """
        if not line.away:
            return found
        if self.nearby and not (line.generic and VERDICTS[found.verdict].in_code):
            return _noted(found, line)
        if self.known and found.reason == differences.UNSETTLED_WORDS:
            return Finding("ok")
        if found.reason == differences.NOT_FINITE:
            return Finding("ok", in_doubt=True)
        operation = not isinstance(self.call.copy, keras.layers.Layer)
        if operation and (found.jump == 0 or found.verdict == "nan"):
            return Finding("ok", in_doubt=True)
        if VERDICTS[found.verdict].is_fault or found.reason == differences.UNSETTLED_WORDS:
            reason = ": ".join(filter(None, (line.where, found.reason)))
            return dataclasses.replace(found, reason=reason)
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
            return lines.near(self.nearby)
        copy = self.call.copy
        joints = self.end_to_end or not getattr(copy, "weights", None)
        joints = self.together and joints
        return lines.of(getattr(copy, "value_range", None), joints, self.nearby)

    def _if_affine(self) -> Finding | None:
        """Returns what was found of a layer that is affine on all lines, None for others.

        Derivatives of an affine function are known: a point a line does.
        """
        if self.briefly or self.curved:
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
                apart = [self._tower(*curve, np.zeros(1)) for curve in curves]
                return affine.check(towers.joined(apart), slopes)
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


def _noted(found: Finding, line: Line) -> Finding:
    """Returns what a finding away from the values that are asked about says of them."""
    if found.verdict == "ok":
        return found
    is_seen = VERDICTS[found.verdict].is_fault
    words = f"{line.where}, which x does not have: {VERDICTS[found.verdict].words}"
    return Finding("ok", in_doubt=True, note=words if is_seen else "")


def _row(leaf: np.ndarray | None, i: int) -> np.ndarray | None:
    return None if leaf is None else leaf[i % len(leaf)][None]


def _rounding(tower: Tower) -> np.ndarray:
    """Returns the rounding of each order of a tower, which along other lines may cancel.

    A derivative is made of values of lower orders, not of higher ones.
    """
    sizes = np.abs(np.where(np.isfinite(tower.values), tower.values, 0.0))
    largest = np.maximum.accumulate(sizes.max(axis=1, initial=0.0))
    return affine.ROUNDINGS * tower.rounding * largest


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
