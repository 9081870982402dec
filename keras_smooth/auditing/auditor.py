"""audit: which layers of a model lose or falsify derivatives."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_smooth import registry
from keras_smooth.auditing import precision, remedies
from keras_smooth.auditing.findings import Finding, worst
from keras_smooth.auditing.measured_call import MeasuredCall
from keras_smooth.auditing.measurement import Measurement
from keras_smooth.auditing.report import MODES, Audit, LayerAudit
from keras_smooth.auditing.verdicts import VERDICTS
from keras_smooth.checks import function, shown, whole_number
from keras_smooth.differentiation import independence
from keras_smooth.models import agreement, calls, copies, graph, sample_inputs

# Findings by mode. Training is missing where it does not differ from inference.
Findings = dict[str, Finding]
# Entries of configs that say how many numbers come out, and nothing of how.
SIZES = ("filters", "units")
NOTHING = "it takes or gives no floating-point numbers: there is nothing to differentiate"


def audit(
    model: keras.layers.Layer,
    x: Any = None,
    *,
    order: int = 2,
    progress: Callable[[str, int, int], None] | None = None,
) -> Audit:
    """Measures which layers of a model lose or falsify derivatives.

    Every layer is copied in float64 with its functions and all its state; the copy must
    give the same outputs. A layer or model without a copy, as one without a `get_config`,
    is measured itself, in its own dtype and to its precision. Its derivatives from nested
    tapes are held against central differences of the derivative one order lower: around
    the values that reach the layer in each of its calls, at zero input and at ties; in
    training mode as well where that differs. The model itself stays as it is.

    Args:
        model: A model (Sequential, Functional or subclassed) or one layer.
        x: Inputs from which the values come that reach each layer; the first few samples
            are used. None draws them at random from the shapes of the inputs. A
            subclassed model needs x; one that is neither built nor has a `get_config` is
            built on it.
        order: How many derivatives with respect to the inputs will be taken, 1 or more.
        progress: Called before each layer is measured as `progress(path, number, total)`:
            its name after those of the models it is in, its place from 1 on, and how many
            there are.

    Returns:
        An `Audit` with `ok`, `inference`, `training`, `rows`, `model` and `to_json()`. It
        prints as a table.

    Raises:
        TypeError: If `model` is no layer, `order` is not an integer or x is no dense array.
        ValueError: If `order` is below 1, or x is needed and not given.

    Example:

    >>> import keras, keras_smooth
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh")])
    >>> keras_smooth.audit(model).ok
    True
    >>> model.add(keras.layers.LayerNormalization())
    >>> keras_smooth.audit(model).rows[-1].verdict
    'wrong'
    """
    order = whole_number("`order`", order, 1)
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"`model` must be a Keras model or layer, received {shown(model)}.")
    if progress is not None:
        function("`progress`", progress, "path", "number", "total")
    with calls.preserved_random_state():
        model, args = sample_inputs.prepared(model, x, copies.fresh_copy)
        parts = graph.unique(model)
        watched = {id(part): part for part in (model, *(part for _, part in parts))}
        recorded = calls.record(model, list(watched.values()), args)
        auditor = _Auditor(order, _dtype(recorded[id(model)]))
        rows, in_doubt = [], False
        for number, (path, part) in enumerate(parts, 1):
            if progress is not None:
                progress(path, number, len(parts))
            found = auditor.findings(part, recorded[id(part)])
            in_doubt |= any(each.in_doubt for each in found.values())
            rows.append(_row(path, part, found, order))
        calls_of_model = recorded[id(model)]
        whole = _whole(model, calls_of_model, parts, tuple(rows), auditor, in_doubt)
        return Audit(order, tuple(rows), _without_mixing(whole, model, args))


class _Auditor:
    """Measures the parts of one model.

    Args:
        order: The highest order.
        dtype: Of the outputs of the model.
    """

    def __init__(self, order: int, dtype: str) -> None:
        self.order = order
        self.dtype = dtype
        self._calls = {}
        self._of_kind = {}
        self._alikes = set()

    def findings(self, part: keras.Operation, recorded: list[calls.Call]) -> Findings:
        """Returns the findings of a part by mode, the worst of all its calls."""
        if not recorded:
            return {"inference": Finding("unknown", reason="it is not called")}
        found = [self._first(part, recorded[0])]
        # Other calls differ in their values only.
        found += [self.measured(part, call, around=True) for call in recorded[1:]]
        return _merged(found)

    def _first(self, part: keras.Operation, call: calls.Call) -> Findings:
        """Returns the findings of a call.

        Elsewhere than at the values that reach them, layers without weights of one kind
        are the same, and known ones with weights much alike.
        """
        known, has_weights = _is_known(part), bool(getattr(part, "weights", None))
        if has_weights:
            key = calls.kind(part, SIZES) if known else None
        else:
            key = _likeness(part, call) if known else calls.key(part, call)
        if key is None:
            return self.measured(part, call)
        if key not in self._of_kind:
            self._of_kind[key] = self.measured(part, call)
            self._alikes.add(_likeness(part, call))
            return self._of_kind[key]
        if has_weights:
            return self._alike(part, call, self._of_kind[key])
        if known:
            return self._of_kind[key]
        return _merged([self._of_kind[key], self.measured(part, call, around=True)])

    def _alike(self, part: keras.Operation, call: calls.Call, first: Findings) -> Findings:
        """Returns the findings of a part, given those of the first of its kind.

        A derivative that TensorFlow gets wrong in the code of one is wrong in that of all.
        That of an affine function does not depend on where it is, and only the first one of
        arrays that are alike is measured.
        """
        alike = _likeness(part, call)
        everywhere = (
            alike in self._alikes
            and calls.is_told_by_config(type(part))
            and self._is_as_precise(part, call)
            and _is_finite(call.output)
        )
        inherited = {
            mode: dataclasses.replace(found, precision=())
            for mode, found in first.items()
            if VERDICTS[found.verdict].in_code
            or everywhere
            and found.verdict == "ok"
            and found.affine
        }
        modes = tuple(mode for mode in first if mode not in inherited)
        if not modes:
            return inherited
        curved = not any(found.affine for found in first.values())
        found = self.measured(part, call, around=True, modes=modes, curved=curved)
        if all(each.verdict == "ok" for each in found.values()):
            self._alikes.add(alike)
        return found | inherited

    def _is_as_precise(self, part: keras.Operation, call: calls.Call) -> bool:
        """Returns whether the dtype of a part loses nothing that the model has."""
        rounding = agreement.epsilon(part, call.output)
        return bool(rounding <= np.finfo(self.dtype).eps)

    def measured(
        self, part: keras.Operation, call: calls.Call, modes: tuple = MODES, **how: bool
    ) -> Findings:
        """Returns the findings of a call by mode.

        Args:
            part: The layer, model or operation.
            call: A call of it.
            modes: The modes to look at.
            **how: `around`, `briefly`, `end_to_end` and `curved` of its `Measurement`.
        """
        if _has_nothing(part, call):
            steps = any(map(calls.is_float, keras.tree.flatten(call.arguments())))
            return {"inference": Finding("ok", reason=NOTHING, in_doubt=steps)}
        try:
            measured = self._call(part, call)
        except copies.CannotCopy as error:
            return {"inference": Finding("unknown", reason=str(error))}
        how["known"] = _is_known(part)
        found = {
            mode: Measurement(measured, mode == "training", self.order, **how).finding()
            for mode in measured.modes
            if mode in modes
        }
        alike = how["known"] and how.get("around") and self.dtype == "float32"
        errors = precision.errors(part, call, measured, self.order, alike)
        return {
            mode: precision.judged(each, errors, part, self.dtype)
            for mode, each in found.items()
        }

    def _call(self, part: keras.Operation, call: calls.Call) -> MeasuredCall:
        """Returns a call of a copy, or of the part itself where it has none.

        Raises:
            CannotCopy: If derivatives of the part itself cannot be held against differences.
        """
        try:
            return self._copied(part, call)
        except copies.CannotCopy as error:
            return MeasuredCall.itself(part, call, error)

    def _copied(self, part: keras.Operation, call: calls.Call) -> MeasuredCall:
        key = calls.key(part, call)
        if key in self._calls:
            self._calls[key].load(part, call)
            return self._calls[key]
        made = MeasuredCall.of(part, call)
        if key is not None:
            self._calls[key] = made
        return made


def _likeness(part: keras.Operation, call: calls.Call) -> str | None:
    """Returns what known parts share that do the same to arrays of other sizes."""
    kind = calls.kind(part, SIZES)
    return None if kind is None else f"{kind} {calls.outline(call)}"


def _is_finite(output: Any) -> bool:
    leaves = filter(calls.is_float, keras.tree.flatten(output))
    return all(np.isfinite(np.asarray(leaf, "float64")).all() for leaf in leaves)


def _has_nothing(part: keras.Operation, call: calls.Call) -> bool:
    """Returns whether there is nothing to differentiate, as in a comparison.

    A layer with whole numbers as outputs jumps; what an operation is for, the model tells.
    """
    ends = [call.arguments()]
    ends += [] if isinstance(part, keras.layers.Layer) else [call.output]
    return not all(any(map(calls.is_float, keras.tree.flatten(end))) for end in ends)


def _dtype(recorded: list[calls.Call]) -> str:
    """Returns the widest dtype of a model's outputs."""
    leaves = [leaf for call in recorded for leaf in keras.tree.flatten(call.output)]
    names = {leaf.dtype.name for leaf in leaves if calls.is_float(leaf)}
    return "float64" if "float64" in names else "float32"


def _merged(found: list[Findings]) -> Findings:
    modes = [mode for mode in MODES if any(mode in each for each in found)]
    return {
        mode: worst([each.get(mode, each["inference"]) for each in found]) for mode in modes
    }


def _is_known(part: keras.Operation) -> bool:
    if isinstance(part, keras.layers.Layer):
        return registry.row(type(part)) is not None and _known(part) is not None
    return _known(part) is not None


def _known(part: keras.Operation) -> float | None:
    """Returns the smoothness of a part, None if unknown or told by what it gets.

    An operation may never come to where it jumps or bends, as arctan2 to its cut.
    """
    if isinstance(part, keras.layers.Layer):
        return registry.smoothness(part)
    found = registry.operation_row(part)
    if found is None or callable(found.smoothness) and found.activation is None:
        return None
    smoothness = registry.smoothness(part)
    return smoothness if smoothness == math.inf else None


def _row(path: str, part: keras.Operation, found: Findings, order: int) -> LayerAudit:
    known = _known(part)
    if found["inference"].reason != NOTHING:
        found = {mode: _roughened(each, known, order) for mode, each in found.items()}
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
        reason=verdict.reason,
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
        return dataclasses.replace(found, verdict="rough", order=first)
    return found


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


def _whole(
    model: keras.layers.Layer,
    recorded: list[calls.Call],
    parts: list[tuple[str, keras.Operation]],
    rows: tuple[LayerAudit, ...],
    auditor: _Auditor,
    in_doubt: bool,
) -> LayerAudit:
    """Returns the row of the model: as measured, and at best as good as its layers.

    A graph loses nothing that no layer loses, unless pieces join in it or a layer is in
    doubt; code of the user's own may.
    """
    if not graph.is_composed(model):
        return dataclasses.replace(rows[0], name=model.name)
    smoothness = registry.least(row.smoothness for row in rows if row.reason != NOTHING)
    found = {mode: _of_rows(rows, mode) for mode in MODES}
    in_doubt = in_doubt or _joins(model, parts, rows, auditor.order)
    plain = graph.is_plain(model) and not in_doubt
    if not plain or all(each is None for each in found.values()):
        modes = MODES[:1] if plain else MODES
        how = {"briefly": plain, "end_to_end": in_doubt, "around": not in_doubt}
        measured = auditor.measured(model, recorded[0], modes, **how)
        smoothness = _lower(smoothness, measured)
        for mode in MODES:
            own = measured.get(mode, measured["inference"])
            both = [each for each in (own, found[mode]) if each is not None]
            if found[mode] is not None and _is_blurred(own, smoothness):
                both = [found[mode]]
            found[mode] = worst(both)
    whole = {mode: each or Finding("ok") for mode, each in found.items()}
    return _audited(model.name, model, smoothness, whole, auditor.order)


def _without_mixing(
    whole: LayerAudit, model: keras.layers.Layer, args: tuple
) -> LayerAudit:
    """Returns the row of a model, not examined if it mixes samples in inference.

    All its derivatives may be right, and none be one of a sample.
    """
    if whole.outcome != "proven" or not independence.may_mix(model):
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
    rows: tuple[LayerAudit, ...],
    order: int,
) -> bool:
    """Returns whether pieces may join in an operation that is in order by itself.

    As in where(x > 0, x, 0), whose condition does not depend on what it chooses from.
    """
    known = registry.smoothness_of_parts(model)
    fine = [part for (_, part), row in zip(parts, rows) if row.outcome == "proven"]
    classes = [known.get(id(part)) for part in fine]
    return any(k is not None and k < order for k in classes)


def _of_rows(rows: tuple[LayerAudit, ...], mode: str) -> Finding | None:
    """Returns the worst fault of the layers in a mode, None without one."""
    faults = [
        Finding(getattr(row, mode), row.order, row.error, f"see {row.name}")
        for row in rows
        if VERDICTS[getattr(row, mode)].is_fault
    ]
    return worst(faults) if faults else None
