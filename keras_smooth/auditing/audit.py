"""audit: the layers of a model whose derivatives are lost or wrong."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth import operations
from keras_smooth.auditing import checks, report, traced
from keras_smooth.auditing.findings import (
    MODES,
    Cause,
    Finding,
    Verdict,
    worst,
    worst_alone,
)
from keras_smooth.auditing.judgement import Judge
from keras_smooth.auditing.pictures import picture
from keras_smooth.auditing.plan import Plan, known_class
from keras_smooth.auditing.report import Audit
from keras_smooth.auditing.traced import Subject
from keras_smooth.checks import function, refused, whole_number
from keras_smooth.differentiation import independence
from keras_smooth.models import calls, checked_inputs, copies, graph, references
from keras_smooth.models.sample_inputs import prepared
from keras_smooth.models.tracing import eager_only
from keras_smooth.operations.rows import smallest_class

# The largest number of numbers of x that are used.
_MAX_NUMBERS = 4096
_NOTHING = "no floating-point input leads here: there is nothing to differentiate"
_INTEGERS = (
    "no input is floating-point: there is nothing to differentiate; to audit what follows the "
    "embeddings, pass keras.Model(OUTPUTS_OF_THE_EMBEDDINGS, model.outputs)"
)


@eager_only
def audit(
    model: keras.layers.Layer,
    x: Any = None,
    *,
    order: int = 2,
    progress: Callable[[str, int, int], None] | None = None,
) -> Audit:
    """Finds the layers of a model whose derivatives are lost or wrong.

    TensorFlow traces the model, in inference and in training mode. A table has, for each kind
    of operation on the paths from floating-point inputs to outputs, its smoothness, its
    breakpoints, and the order up to which TensorFlow's own derivatives, which nested tapes use,
    are right. A layer is `"proven"` if all of its operations are known and smooth at x. If an
    operation is not in the table, nested tapes are compared with differences at x, and the
    layer is `"checked"`. If x is passed, the model is judged at x only: a kink or a pole that
    is not near a sample is only mentioned. A layer whose activation is not smooth enough is
    `"faulty"` in any case. The model is not changed.

    Args:
        model: A model (Sequential, Functional or subclassed) or one layer.
        x: Inputs. The first 4096 numbers are used, and at least four samples. With None, a few
            random samples with the shapes of the inputs and a sample of zeros are used, and
            every kink counts; a comparison that has the same result at all of them is
            `"not examined"`. A subclassed model needs x. A model that is not built and has no
            `get_config` is built with x.
        order: Highest order of the derivatives with respect to the inputs, 1 or more.
        progress: Called before each layer is judged, as `progress(path, number, total)`: the
            path of the layer in the model, its number from 1 on, and the number of layers.

    Returns:
        An `Audit` with `ok`, `outcome`, `inference`, `training`, `rows`, `model`, `show()` and
        `to_json()`. It prints as a table.

    Raises:
        TypeError: If `model` is not a layer, `order` not an integer or x not a dense array.
        ValueError: If `order` is below 1, or x is needed and not given.

    Example:

    >>> import keras, keras_smooth
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh")])
    >>> keras_smooth.audit(model).ok
    True
    >>> model.add(keras.layers.LayerNormalization())
    >>> row = keras_smooth.audit(model).rows[-1]
    >>> print(row.verdict, row.cause, row.order)
    faulty wrong 2
    """
    order = whole_number("`order`", order, 1)
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(refused("`model`", "a Keras model or layer", model))
    if progress is not None:
        function("`progress`", progress, "path", "number", "total")
    with calls.preserved_random_state():
        model, (inputs,) = prepared(model, x, copies.fresh_copy, _MAX_NUMBERS)
        inputs = inputs if x is not None else _with_zero_sample(inputs)
        num_samples = keras.tree.flatten(inputs)[0].shape[0]
        with checked_inputs.explained_batch(model, num_samples):
            return _audit_built(Subject(model, inputs, order, x is not None), progress)


def _audit_built(
    subject: Subject, progress: Callable[[str, int, int], None] | None
) -> Audit:
    """Returns the audit of a built model at inputs whose shapes fit it."""
    traces = _traces(subject)
    called = set().union(*(trace.called for trace in traces.values()))
    layers = traced.layers_with_rows(subject.model, called)
    row_ids = {id(layer) for _, layer in layers}
    modes_by_trace = {
        trace: _TracedMode(subject, trace, row_ids)
        if isinstance(trace, traced.ModelTrace)
        else trace
        for trace in dict.fromkeys(traces.values())
    }
    modes = {mode: modes_by_trace[trace] for mode, trace in traces.items()}
    judged = []
    for number, (path, layer) in enumerate(layers, 1):
        if progress is not None:
            progress(path, number, len(layers))
        judged.append(_judge_layer(path, layer, modes, subject.order))
    rows = tuple(report.layer_audit(judgement, subject.order) for judgement in judged)
    whole = report.layer_audit(_judge_model(subject, judged, modes), subject.order)
    draw = functools.partial(picture, subject, dict(layers))
    return Audit(subject.order, rows, whole, draw)


def _by_mode(modes: "_Modes", function: Callable) -> dict[str, Finding]:
    """Returns `function(mode)` by mode. It is called once if the traces of both are the same."""
    results = {mode: function(mode) for mode in dict.fromkeys(modes.values())}
    return {name: results[mode] for name, mode in modes.items()}


def _with_zero_sample(x: Any) -> Any:
    """Returns inputs whose last sample is replaced by zeros."""
    return keras.tree.map_structure(
        lambda t: tf.concat([t[:-1], tf.zeros_like(t[-1:])], 0) if calls.is_float(t) else t,
        x,
    )


def _traces(subject: Subject) -> dict[str, "traced.ModelTrace | _UntracedMode"]:
    """Returns the trace of a model in each mode, the same object if the operations are the same."""

    def trace(training: bool) -> traced.ModelTrace | _UntracedMode:
        try:
            return traced.trace(subject.model, subject.x, training)
        # Tracing can raise any error.
        except Exception as error:
            return _UntracedMode(subject, training, error)

    first, second = map(trace, (False, True))
    if isinstance(first, traced.ModelTrace) and isinstance(second, traced.ModelTrace):
        second = first if traced.are_same(first, second) else second
    return dict(zip(MODES, (first, second)))


class _TracedMode:
    """A model in one mode that TensorFlow has traced, with the findings on its operations.

    Args:
        subject: The model, its inputs and the order.
        trace: The trace in this mode.
        row_ids: `id(layer)` of all layers with a row.
    """

    def __init__(
        self, subject: Subject, trace: traced.ModelTrace, row_ids: set[int]
    ) -> None:
        self.subject, self.trace = subject, trace
        self.called = trace.called
        self.plan = Plan(trace, subject.order, subject.samples_only, row_ids).filled()
        self.judge = Judge(self.plan, subject)

    def findings(self, layer: keras.Operation | None) -> Finding:
        """Returns the worst finding of a layer, or of the model's own code if `layer` is None."""
        findings = [*self.plan.findings[id(layer)]]
        findings += self.judge.findings(self.plan.examined[id(layer)])
        if all(finding.cause.verdict != Verdict.FAULTY for finding in findings):
            findings += self._measured(layer)
        return worst(findings)

    def _measured(self, layer: keras.Operation | None) -> list[Finding]:
        reasons = self.plan.measured[id(layer)]
        if not reasons:
            return []
        target = self.subject.model if layer is None else layer
        findings = checks.measured_findings(self.subject, target, self.trace.training)
        words = "; ".join(dict.fromkeys(reasons))
        return [
            dataclasses.replace(
                f.with_reason(words), by_jets=f.cause == Cause.WRONG and self.plan.has_rules
            )
            for f in findings
        ]

    def smoothness(self, layer: keras.Operation | None) -> float | None:
        """Returns the class C^k of a layer, or of the model's own code if `layer` is None."""
        known = known_class(layer)
        return smallest_class(self.plan.classes[id(layer)]) if known is None else known

    def is_reached(self, layer: keras.Operation) -> bool:
        """Returns whether a layer receives a tensor that depends on a floating-point input."""
        return id(layer) in self.plan.reached

    def why_refused(self) -> Finding | None:
        """Returns the finding on a model that operators refuse because of its outputs, or None."""
        outputs = keras.tree.flatten(self.trace.trace.structure)
        dtypes = [y.dtype for y in outputs if y is not None]
        if any(dtype.is_complex for dtype in dtypes):
            return Finding(Cause.COMPLEX)
        if tf.string in dtypes:
            return Finding(Cause.TEXT)
        words = self._mixing_operation()
        return Finding(Cause.MIXED, reason=words) if words else None

    def _mixing_operation(self) -> str:
        """Returns the words for an operation that mixes samples and its layer, or ""."""
        axes = [0 if moves else None for moves in self.trace.moving]
        try:
            if set(operations.axes_of_samples(self.plan.program, axes)) <= {0, None}:
                return ""
            words = "an output"
        except operations.MixedError as error:
            layers = (self.subject.model, *self.trace.layers_around(error.operation))
            words = f"{error.operation.type} in {layers[-1].name}"
        return words if _mixes(self.subject, self.plan.has_rules) else ""


class _UntracedMode:
    """A model in one mode that TensorFlow cannot trace.

    Each layer is traced separately, and the derivatives of the whole model are measured.

    Args:
        subject: The model, its inputs and the order.
        training: The mode.
        error: The error that tracing raised.
    """

    def __init__(self, subject: Subject, training: bool, error: Exception) -> None:
        self.subject, self.training, self.error = subject, training, error
        layers = references.layers_within(subject.model)
        self._calls = calls.record(subject.model, layers, (subject.x,), training)
        self.called = {key for key, recorded in self._calls.items() if recorded}

    def findings(self, layer: keras.Operation | None) -> Finding:
        """Returns the worst finding of a layer, or the measured finding of the whole model."""
        if layer is None or layer is self.subject.model:
            words = f"TensorFlow cannot trace it ({type(self.error).__name__})"
            return self._measured(self.subject.model).with_reason(words)
        return worst([self._call_finding(layer, call) for call in self._calls[id(layer)]])

    def _call_finding(self, layer: keras.Operation, call: calls.Call) -> Finding:
        try:
            (x,) = call.args
            trace = traced.trace(layer, x, self.training)
        except Exception:
            return self._measured(layer)
        subject = self.subject._replace(model=layer, x=x)
        return _TracedMode(subject, trace, {id(layer)}).findings(layer)

    def _measured(self, layer: keras.Operation) -> Finding:
        return worst(checks.measured_findings(self.subject, layer, self.training))

    def smoothness(self, layer: keras.Operation | None) -> float | None:
        return known_class(layer)

    def is_reached(self, layer: keras.Operation) -> bool:
        return True

    def why_refused(self) -> Finding | None:
        mixes = _mixes(self.subject, has_rules=False)
        return Finding(Cause.MIXED, reason="the model") if mixes else None


_Modes = dict[str, _TracedMode | _UntracedMode]


def _mixes(subject: Subject, has_rules: bool) -> bool:
    """Returns whether the output for a sample depends on other samples, as values show."""
    run = functools.partial(calls.call_without_side_effects, subject.model)
    # Error messages contain this name.
    vars(run)["name"] = subject.model.name
    return independence.mixes(run, subject.x, by_values=not has_rules)


def _judge_layer(
    path: str, layer: keras.Operation, modes: _Modes, order: int
) -> report.Judgement:
    """Returns the judgement of a layer: its class C^k, and its finding in each mode."""
    smoothness = modes["inference"].smoothness(layer)
    if not any(id(layer) in mode.called for mode in modes.values()):
        findings = dict.fromkeys(MODES, Finding(Cause.NOT_CALLED))
    elif not any(mode.is_reached(layer) for mode in modes.values()):
        smoothness = math.inf if smoothness is None else smoothness
        findings = dict.fromkeys(MODES, Finding(Cause.NONE, reason=_NOTHING))
    else:
        findings = _by_mode(modes, lambda mode: mode.findings(layer))
    if not checks.are_finite(getattr(layer, "weights", [])):
        not_finite = Finding(Cause.NAN, 1, "its weights are not finite")
        findings = {mode: worst([f, not_finite]) for mode, f in findings.items()}
    if smoothness is not None and smoothness < order:
        is_smooth = worst(list(findings.values())).cause == Cause.MEASURED
        smoothness = None if is_smooth else smoothness
    return report.Judgement(path, layer, smoothness, findings)


def _judge_model(
    subject: Subject, judged: list[report.Judgement], modes: _Modes
) -> report.Judgement:
    """Returns the judgement of the model: the worst findings on its own code and its layers."""
    model, x, _, _ = subject
    if not graph.is_composed(model):
        _, _, smoothness, findings = judged[0]
    else:
        own = _by_mode(modes, lambda mode: mode.findings(None))
        findings = {mode: worst([own[mode], _worst_layer(judged, mode)]) for mode in MODES}
        moving = [row for row in judged if row.findings["inference"].reason != _NOTHING]
        classes = [row.smoothness for row in moving]
        smoothness = smallest_class([*classes, modes["inference"].smoothness(None)])
    if not any(calls.is_float(leaf) for leaf in keras.tree.flatten(x)):
        findings = {
            m: dataclasses.replace(f, reason=_INTEGERS) for m, f in findings.items()
        }
    if all(f.cause.verdict != Verdict.FAULTY for f in findings.values()):
        refused = modes["inference"].why_refused()
        findings = dict.fromkeys(MODES, refused) if refused else findings
    return report.Judgement(model.name, model, smoothness, findings)


def _worst_layer(judged: list[report.Judgement], mode: str) -> Finding:
    """Returns the worst finding on the layers in a mode, as a finding on the model."""
    return worst_alone(
        dataclasses.replace(row.findings[mode], reason=f"see {row.name}")
        for row in judged
        if row.findings[mode].cause not in (Cause.NONE, Cause.NOT_CALLED)
    )
