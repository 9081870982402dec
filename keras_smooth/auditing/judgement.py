"""Findings on operations with breakpoints or edges of domains, from samples."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from keras_smooth.auditing import checks
from keras_smooth.auditing.findings import FINE, Cause, Finding, Verdict, worst
from keras_smooth.auditing.plan import LayerStep, Plan, Role, words_on_activations
from keras_smooth.auditing.samples import Samples
from keras_smooth.auditing.traced import Subject
from keras_smooth.operations import rows
from keras_smooth.presentation.counts import counted

# The largest number of operations that are examined in one model, and as how many an operation in a
# loop counts, since all operations on which it depends run without a graph.
_MAX_EXAMINED, _COUNT_IN_LOOP = 64, 8


class Judge:
    """Examines the `steps` of a plan at samples.

    Args:
        plan: The plan of the model.
        subject: The model and its samples.
    """

    def __init__(self, plan: Plan, subject: Subject) -> None:
        self.plan, self.samples, self.samples_only = plan, Samples(plan), plan.samples_only
        training = plan.traced.training
        # The lowest order of a derivative that is not finite at the samples, or None.
        self.not_finite = functools.cache(
            lambda: checks.lowest_not_finite(subject, training)
        )
        # The worst finding when derivatives of the model are measured at all samples.
        self.measured = functools.cache(
            lambda: worst(checks.measured_findings(subject, subject.model, training, None))
        )
        self._num_examined = 0

    def findings(self, steps: Sequence[LayerStep]) -> Iterator[Finding]:
        """Yields the findings on the operations, in the order of their roles."""
        for role, judge in (
            (Role.SETTLED, self._judge_by_class),
            (Role.PIECES, self._judge_pieces),
            (Role.DOMAIN, self._judge_domain),
            (Role.EQUALITY, self._judge_equality),
        ):
            yield from (judge(step) for step in steps if step.role is role)

    def _reason_of_roughness(self, step: LayerStep) -> str:
        """Returns in words where a layer is not smooth, from the row of its activation or operation."""
        known = (
            words_on_activations(layer, self.plan.order) for layer in step.layers[::-1]
        )
        words = next(filter(None, known), "")
        # In training mode, the samples are nearly the same as in inference.
        sides = "" if self.plan.traced.training else self._sides_of_samples(step)
        return (
            "; ".join(filter(None, (words, sides))) if words else self._at_breakpoints(step)
        )

    def _judge_pieces(self, step: LayerStep) -> Finding:
        """Returns the finding on an operation with breakpoints in code of unknown smoothness."""
        kind, by_class = step.operation.type, self._judge_by_class(step)
        row = rows.row(kind)
        if row is None or row.breakpoints is None:
            return by_class
        is_guard = self.samples_only and self._is_guard(step)
        fault = self._fault_of_guard(step) if is_guard else None
        if fault is not None:
            return fault
        words = f"no sample comes to where {self._at_breakpoints(step)}"
        afar = Finding(Cause.NONE, reason=words)
        is_afar = self.samples_only and self._on_one_side(step)
        if self._num_examined >= _MAX_EXAMINED and not is_afar:
            words = f"only some operations of a model are examined, and {kind} is not among them"
            return Finding(Cause.UNKNOWN, reason=words)
        orders = self._orders_that_jump(step)
        if orders is None:
            return afar if is_afar else by_class
        if not orders and not self.samples_only:
            if rows.is_differentiable(step.operation.outputs[0].dtype):
                return by_class
            # The pieces may join smoothly, as those of a series and an asymptotic expansion.
            words = f"no sample that was drawn comes to where {self._at_breakpoints(step)}"
            return Finding(Cause.UNKNOWN, reason=f"{words}: pass x")
        if not orders:
            return afar
        if orders[-1] is not None:
            return dataclasses.replace(by_class, order=max(orders[-1], 1))
        words = f"the pieces of {kind} join smoothly where samples come to them"
        return Finding(Cause.MEASURED, reason=words)

    def _on_one_side(self, step: LayerStep) -> bool:
        """Returns whether all samples are strictly on one side of the breakpoints."""
        distances = self.samples.distances_of(step)
        return bool(len(distances)) and bool(np.all(distances > 0) or np.all(distances < 0))

    def _judge_domain(self, step: LayerStep) -> Finding:
        """Returns the finding on an operation that is not defined everywhere."""
        if np.all(self.samples.distances_of(step) > 0):
            return self._judge_edge(step)
        words = f"{step.operation.type} is at the edge of its domain or beyond at samples"
        order = self.not_finite()
        if order is None:
            return self.measured().with_reason(words)
        if order == 0 and not self.samples_only:
            return Finding(Cause.UNKNOWN, reason=f"{words} that were drawn: pass x")
        return Finding(Cause.NAN, max(order, 1), words)

    def _judge_equality(self, step: LayerStep) -> Finding:
        """Returns the finding on a comparison for equality, as in a mask or a guard.

        A mask removes an input of one value, which is therefore held constant. A guard replaces a
        function at a single point, where its derivatives have to be those of the function.
        """
        if self.plan.is_random or not np.any(self.samples.distances_of(step) == 0.0):
            return FINE
        return self._fault_of_guard(step) or FINE

    def _is_guard(self, step: LayerStep) -> bool:
        """Returns whether a sample is in a piece that consists of single points."""
        # An error means that an operation cannot be run at other inputs.
        with contextlib.suppress(Exception):
            return not self.plan.is_random and self.samples.is_single_point(step)
        return False

    def _fault_of_guard(self, step: LayerStep) -> Finding | None:
        """Returns the fault of a piece that consists of single points, or None if it has none."""
        order = None
        # An error means that an operation has no rule for jets.
        with contextlib.suppress(Exception):
            order = self.samples.jump_at_samples
        if not order:
            return None
        finding = self.measured().with_reason(f"{step.operation.type} holds at samples")
        return finding if finding.cause.verdict == Verdict.FAULTY else None

    def _judge_edge(self, step: LayerStep) -> Finding:
        """Returns the finding on an operation that may reach an edge of its domain between samples.

        A root may have a kink there, with finite derivatives on both sides. A pole is no fault,
        since no sample is near it.
        """
        row, kind = rows.row(step.operation.type), step.operation.type
        nearest = self.samples.distances_of(step).min(initial=math.inf)
        note = f"no sample is nearer than {nearest:.1e} to the edge of the domain of {kind}"
        no_fault = Finding(Cause.NONE, reason=note)
        at_edge = math.inf if row is None else row.at_edge
        if callable(at_edge) or at_edge == math.inf:
            return no_fault
        orders = self._orders_that_jump(step)
        # At a pole, y itself jumps.
        if not orders or not orders[-1]:
            return no_fault
        words = "comes to the edge of its domain between samples, and has a kink there"
        return Finding(Cause.NOT_SMOOTH, orders[-1], f"{kind} {words}")

    def _orders_that_jump(self, step: LayerStep) -> list[int | None] | None:
        """Returns for each place where pieces join the lowest order that jumps, None if smooth.

        The list ends with the first jump. The result is None if the operation cannot be
        examined, or if the largest number of operations has been examined.
        """
        if self.plan.is_random or self._num_examined >= _MAX_EXAMINED:
            return None
        is_in_loop = any("While" in operation.type for operation in step.enclosing)
        self._num_examined += _COUNT_IN_LOOP if is_in_loop else 1
        orders: list[int | None] = []
        # An error means that an operation has no rule for jets.
        with contextlib.suppress(Exception):
            for place in self.samples.places(step):
                order = self.samples.lowest_jump(place)
                if place.is_zero or order is not None:
                    orders.append(order)
                if order is not None:
                    break
            return orders
        return None

    def _judge_by_class(self, step: LayerStep) -> Finding:
        """Returns the finding on an operation whose class is too low."""
        order = max(int(step.smoothness) + 1, 1)
        return Finding(Cause.NOT_SMOOTH, order, self._reason_of_roughness(step))

    def _at_breakpoints(self, step: LayerStep) -> str:
        """Returns in words the class of an operation at its breakpoints, and the samples' sides."""
        kind, k = step.operation.type, int(step.smoothness)
        words = {-1: "jumps", 0: "has a kink"}.get(k, f"is of class C^{k} only")
        sides = self._sides_of_samples(step)
        return f"{kind} {words}" + (f": {sides}" if sides else "")

    def _sides_of_samples(self, step: LayerStep) -> str:
        """Returns in words the numbers of values on the two sides, and the smallest distance."""
        distances = self.samples.distances_of(step) if self.samples_only else np.zeros(0)
        distances = distances[np.isfinite(distances)]
        if not len(distances):
            return ""
        left, right = int((distances < 0).sum()), int((distances > 0).sum())
        nearest = np.abs(distances).min()
        on_left, number = counted(left, "value"), counted(left + right, "value")
        sides = f"the samples have {on_left} on one side and {right} on the other"
        if not left or not right:
            sides = f"the samples have {number} on one side"
        return f"{sides}, the nearest {nearest:.1e} away"
