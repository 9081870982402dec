"""Rows of a report: of a layer from its findings, of the model from those of its layers."""

import dataclasses
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_smooth import registry
from keras_smooth.auditing import differences, remedies
from keras_smooth.auditing.findings import Finding, Findings, worst
from keras_smooth.auditing.report import MODES, LayerAudit
from keras_smooth.auditing.verdicts import VERDICTS
from keras_smooth.differentiation import independence
from keras_smooth.models import calls, graph, references
from keras_smooth.operations.rows import least

NOTHING = "it takes or gives no floating-point numbers: there is nothing to differentiate"


def is_known(part: keras.Operation) -> bool:
    """Returns whether it is known how smooth a part is, whatever it gets."""
    if isinstance(part, keras.layers.Layer) and registry.row(type(part)) is None:
        return False
    return known_smoothness(part) is not None


def known_smoothness(part: keras.Operation) -> float | None:
    """Returns the smoothness of a part, None if unknown or told by what it gets.

    An operation may never come to where it jumps or bends, as arctan2 to its cut.
    """
    if isinstance(part, keras.layers.Layer):
        return registry.smoothness(part)
    smoothness = registry.smoothness(part)
    return smoothness if smoothness == math.inf else None


def of_part(path: str, part: keras.Operation, found: Findings, order: int) -> LayerAudit:
    """Returns the row of a layer or operation."""
    known = known_smoothness(part)
    # An operation on whole numbers, as a lookup, is no jump; a ReLU behind it keeps its kink.
    if found["inference"].reason != NOTHING or known is not None and known >= 0:
        found = {mode: _roughened(each, known, order) for mode, each in found.items()}
        found = {mode: _explained(each, part, order) for mode, each in found.items()}
    return _audited(path, part, _lower(known, found), found, order)


def _audited(
    path: str,
    part: keras.Operation,
    smoothness: float | None,
    found: Findings,
    order: int,
) -> LayerAudit:
    verdict = worst(list(found.values()))
    mode = next(m for m in found if found[m].verdict == verdict.verdict)
    return LayerAudit(
        name=path,
        layer=type(part).__name__,
        smoothness=smoothness,
        verdict=verdict.verdict,
        order=verdict.order,
        mode=mode,
        error=verdict.error,
        reason=verdict.reason or (verdict.note if verdict.verdict == "ok" else ""),
        remedy=remedies.of(part, verdict.verdict, order),
        inference=found["inference"].verdict,
        training=found.get("training", found["inference"]).verdict,
        bound=verdict.bound,
        precision=verdict.precision,
    )


def _roughened(found: Finding, known: float | None, order: int) -> Finding:
    """Returns "rough" for what is known to be, where the measurement did not see it."""
    smoothness = _lower(known, {"": found})
    if smoothness is None or smoothness >= order:
        return found
    first = max(int(smoothness) + 1, 1)
    unseen = found.verdict in ("ok", "unknown", "imprecise") or found.order > first
    if unseen or _is_blurred(found, smoothness):
        reason = "" if found.reason == NOTHING else found.reason
        return dataclasses.replace(found, verdict="rough", order=first, reason=reason)
    return found


def _explained(found: Finding, part: keras.Operation, order: int) -> Finding:
    """Returns what is rough with the words of the table, which knows where pieces meet."""
    if found.verdict != "rough" or found.reason not in ("", differences.UNSETTLED_WORDS):
        return found
    is_layer = isinstance(part, keras.layers.Layer)
    functions = list(map(registry.row, _rough_functions(part, order)))
    known = functions if is_layer else [registry.row(registry.function_of(part))]
    words = [f"{row.subject.__name__} {row.reason}" for row in known if row and row.reason]
    return dataclasses.replace(found, reason="; ".join(dict.fromkeys(words)))


def _rough_functions(part: keras.Operation, order: int) -> Iterator[Callable]:
    """Yields the activations of a part that are less smooth than an order.

    Not those with parameters, which may move where pieces meet.
    """
    function, parameters = registry.as_activation(part) or (None, {})
    if function is not None:
        defaults = inspect.signature(function).parameters
        if all(value == defaults[name].default for name, value in parameters.items()):
            yield function
    for function in references.functions(part, "activation"):
        smoothness = registry.smoothness(function)
        is_rough = smoothness is not None and smoothness < order
        if is_rough and not registry.unbound(function)[1]:
            yield function


def _is_blurred(found: Finding, smoothness: float | None) -> bool:
    """Returns whether differences that reach over a joint may have called it an error."""
    blurred = found.verdict in ("wrong", "zero")
    return blurred and smoothness is not None and found.order > smoothness


def _lower(known: float | None, found: Findings) -> float | None:
    """Returns the smoothness as known and as measured, the lower of both."""
    jump = min(each.jump for each in found.values())
    if jump == math.inf:
        return known
    return jump - 1 if known is None else min(known, jump - 1)


def of_model(
    model: keras.layers.Layer,
    recorded: list[calls.Call],
    parts: list[tuple[str, keras.Operation]],
    rows: Sequence[LayerAudit],
    order: int,
    measured: Callable[..., Findings],
    in_doubt: bool,
) -> LayerAudit:
    """Returns the row of the model: as measured, and at best as good as its layers.

    A graph loses nothing that no layer loses, unless pieces join in it or a layer is in
    doubt; code of the user's own may.

    Args:
        model: The model.
        recorded: Its calls.
        parts: Its layers and operations, with their paths.
        rows: Of the parts.
        order: The highest order.
        measured: Measures a call of the model in some modes.
        in_doubt: Whether a layer is in doubt.
    """
    if not graph.is_composed(model):
        return dataclasses.replace(rows[0], name=model.name)
    known = least(row.smoothness for row in rows if row.reason != NOTHING)
    found = {mode: _of_rows(rows, mode) for mode in MODES}
    in_doubt = in_doubt or _joins(model, parts, rows, order)
    plain = graph.is_plain(model) and not in_doubt
    if not plain or all(each is None for each in found.values()):
        modes = MODES[:1] if plain else MODES
        how = {"briefly": plain, "end_to_end": in_doubt, "around": not in_doubt}
        own_findings = measured(model, recorded[0], modes, **how)
        known = _lower(known, own_findings)
        for mode in MODES:
            own = own_findings.get(mode, own_findings["inference"])
            both = [each for each in (own, found[mode]) if each is not None]
            if found[mode] is not None and _is_blurred(own, known):
                both = [found[mode]]
            found[mode] = worst(both)
    whole = {mode: each or Finding("ok") for mode, each in found.items()}
    return _audited(model.name, model, known, whole, order)


def without_mixing(whole: LayerAudit, model: keras.layers.Layer, args: tuple) -> LayerAudit:
    """Returns the row of a model, not examined if it mixes samples in inference.

    All its derivatives may be right, and none be one of a sample.
    """
    if whole.outcome != "proven":
        return whole

    def run(args: tuple) -> Any:
        return calls.call_without_trace(model, *args)

    if not independence.mixes(run, args):
        return whole
    return dataclasses.replace(
        whole,
        verdict="unknown",
        inference="unknown",
        training="unknown",
        reason=independence.MIXES,
        remedy=VERDICTS["unknown"].remedy,
    )


def _joins(
    model: keras.Model,
    parts: list[tuple[str, keras.Operation]],
    rows: Sequence[LayerAudit],
    order: int,
) -> bool:
    """Returns whether pieces may join in an operation that is in order by itself.

    As in where(x > 0, x, 0), whose condition does not depend on what it chooses from.
    """
    known = registry.smoothness_of_parts(model)
    fine = [part for (_, part), row in zip(parts, rows) if row.outcome == "proven"]
    classes = [known.get(id(part)) for part in fine]
    return any(k is not None and k < order for k in classes)


def _of_rows(rows: Sequence[LayerAudit], mode: str) -> Finding | None:
    """Returns the worst fault of the layers in a mode, None without one."""
    faults = [
        Finding(getattr(row, mode), row.order, row.error, f"see {row.name}")
        for row in rows
        if VERDICTS[getattr(row, mode)].is_fault
    ]
    return worst(faults) if faults else None
