"""The result of an audit: a row for each layer, printed as a table or as JSON."""

import contextlib
import dataclasses
import itertools
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras

from keras_smooth import layers, registry
from keras_smooth.auditing.findings import MODES, Cause, Finding, Verdict, severity
from keras_smooth.models import graph, references
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.tables import ShownAsTable, Table
from keras_smooth.smoothing import is_replaced

_MAX_PICTURES = 4
# The clause of a reason that depends on the samples.
_SAMPLES_CLAUSE = re.compile("[:;] the samples have [0-9]+ values? on .*?(?=;|$)")


@dataclasses.dataclass(frozen=True)
class LayerAudit:
    """The result for one layer, or for the whole model.

    Args:
        name: Path of the layer: the names of the models around it and its own, outermost first.
        layer: Name of its class.
        smoothness: k of the class C^k for any inputs, from the table of operations and
            registered facts; None if unknown.
        verdict: `"proven"`, `"checked"`, `"not examined"` or `"faulty"`, the worse of the two
            modes.
        cause: The reason of the verdict. It is `""` for `"proven"`; `"measured"` for
            `"checked"`; `"not called"`, `"unknown"`, `"mixed"`, `"complex"` or `"text"` for
            `"not examined"`. For `"faulty"` it is `"imprecise"` if the dtype loses digits,
            `"not smooth"` if the class is below the order, `"wrong"` if TensorFlow's own derivative
            is wrong or missing, `"nan"` if a derivative is not finite.
        order: The lowest order whose derivative is lost or wrong, 0 if there is none.
        mode: `"inference"` or `"training"`: the mode with the worse finding.
        engine: `"tape"` if derivatives by nested tapes are right, `"jet"` if only those by
            Taylor mode are, else `""`.
        reason: Details, such as the operation.
        remedy: What to do.
        inference: The verdict in inference.
        training: The verdict in training.
    """

    name: str
    layer: str
    smoothness: float | None
    verdict: Verdict
    cause: Cause
    order: int
    mode: str
    engine: str
    reason: str
    remedy: str
    inference: Verdict
    training: Verdict


class Judgement(NamedTuple):
    """The smoothness of a layer or model, and the findings on it.

    Args:
        name: Its path.
        layer: The layer, operation or model.
        smoothness: k of its class C^k, None if unknown.
        findings: The worst finding in each mode.
    """

    name: str
    layer: keras.Operation
    smoothness: float | None
    findings: dict[str, Finding]


def layer_audit(judged: Judgement, order: int) -> LayerAudit:
    """Returns the row of a layer or model, for derivatives up to an order."""
    name, layer, smoothness, findings = judged
    mode = max(MODES, key=lambda mode: severity(findings[mode]))
    finding = findings[mode]
    verdict = finding.cause.verdict
    engine = "tape" if verdict.exit_status == 0 else ""
    return LayerAudit(
        name=name,
        layer=type(layer).__name__,
        smoothness=smoothness,
        verdict=verdict,
        cause=finding.cause,
        order=finding.order,
        mode=mode,
        engine="jet" if finding.by_jets else engine,
        reason=finding.reason,
        remedy=remedy(layer, finding, order),
        inference=findings["inference"].cause.verdict,
        training=findings["training"].cause.verdict,
    )


def remedy(layer: keras.Operation, finding: Finding, order: int) -> str:
    """Returns the advice for a layer or model with a finding, or "" if there is none."""
    cause = finding.cause
    if cause not in (Cause.NOT_SMOOTH, Cause.WRONG, Cause.NAN):
        return cause.remedy
    if graph.is_graph(layer):
        helps = any(
            layers.exact_form(type(inner)) is not type(inner) or is_replaced(inner, order)
            for _, inner in graph.unique(layer)
        )
        return "keras_smooth.smoothen(model)" if helps else cause.remedy
    exact = layers.exact_form(type(layer))
    if exact is not type(layer) and cause != Cause.NOT_SMOOTH:
        return f"keras_smooth.layers.{exact.__name__}"
    if smooth := layers.SMOOTH_FORMS.get(type(layer)):
        return f"keras_smooth.layers.{smooth.__name__}, or keras_smooth.smoothen"
    within = _advice_on_layers_within(layer) if cause != Cause.NOT_SMOOTH else ""
    by_jets = 'engine="auto" or "jet" has it right' if finding.by_jets else ""
    return within or _advice_on_activations(layer, order) or by_jets or cause.remedy


def _advice_on_layers_within(layer: keras.Operation) -> str:
    """Returns the advice for a layer that contains layers with an exact form, else ""."""
    kinds = {type(inner) for inner in references.layers_within(layer)[1:]}
    exact = {kind.__name__: layers.exact_form(kind) for kind in kinds}
    names = sorted(name for name, form in exact.items() if form not in kinds)
    return "; ".join(
        f"build it with keras_smooth.layers.{exact[name].__name__} in the place of its {name}"
        for name in names
    )


def _advice_on_activations(layer: keras.Operation, order: int) -> str:
    """Returns the advice for a layer whose activations are not smooth enough, else ""."""
    smoothen = "keras_smooth.smoothen" if is_replaced(layer, order) else ""
    functions = references.functions(layer, "activation")
    if all(registry.has_derivatives(f, order) for f in functions):
        return smoothen
    smooth = f"use a smooth activation ({', '.join(registry.recommended(order))})"
    return f"{smooth}, or {smoothen}" if smoothen else smooth


@dataclasses.dataclass(frozen=True, repr=False)
class Audit(ShownAsTable):
    """The result of `audit`: one row for each layer, and one for the whole model.

    `print` shows a table with a sentence for each finding. `show()` uses the colors of the
    terminal. Notebooks also show small pictures of the derivatives that are wrong.

    Args:
        order: The highest order of the derivatives.
        rows: A tuple with a `LayerAudit` for each layer, in the order of the model.
        model: The `LayerAudit` of the whole model.
        draw: A function that returns the picture of a row as SVG, for notebooks.

    Example:

    >>> import keras, keras_smooth
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4, "relu")])
    >>> audit = keras_smooth.audit(model)
    >>> audit.ok, audit.rows[0].layer
    (False, 'Dense')
    """

    order: int
    rows: tuple[LayerAudit, ...]
    model: LayerAudit
    draw: Callable[[LayerAudit], str] | None = dataclasses.field(
        default=None, repr=False, compare=False
    )

    def __getstate__(self) -> dict:
        """Returns the state for copying and pickling, without `draw`, which refers to the model."""
        return {**vars(self), "draw": None}

    @property
    def ok(self) -> bool:
        """Whether all derivatives up to the order exist and are right, in both modes."""
        return self.outcome.exit_status == 0

    @property
    def outcome(self) -> Verdict:
        """The worse of the verdicts in inference and in training."""
        return Verdict.worst([self.inference, self.training])

    @property
    def inference(self) -> Verdict:
        """`"proven"`, `"checked"`, `"not examined"` or `"faulty"` in inference."""
        return self._verdict("inference")

    @property
    def training(self) -> Verdict:
        """`"proven"`, `"checked"`, `"not examined"` or `"faulty"` in training."""
        return self._verdict("training")

    def _verdict(self, mode: str) -> Verdict:
        return Verdict.worst(getattr(row, mode) for row in (*self.rows, self.model))

    def to_json(self) -> str:
        """Returns the audit as JSON.

        Returns:
            A string with a JSON object. An infinite smoothness is the string "inf".
        """
        content = {
            "order": self.order,
            "ok": self.ok,
            "inference": self.inference,
            "training": self.training,
            "model": _as_json(self.model),
            "rows": [_as_json(row) for row in self.rows],
        }
        return json.dumps(content, indent=2, allow_nan=False)

    def __repr__(self) -> str:
        num_good = sum(row.verdict.exit_status == 0 for row in self.rows)
        return f"<Audit: {self._total()}; fine: {num_good} of {counted(len(self.rows), 'layer')}>"

    def _total(self) -> str:
        ends = [f"{mode}: {getattr(self, mode)}" for mode in MODES]
        return f"up to order {self.order}, {' and '.join(ends)}"

    def _table(self) -> Table:
        groups = self._row_groups()
        all_rows = [row for group in groups for row in group]
        verdicts = {getattr(row, mode) for row in all_rows for mode in MODES}
        legend = [f"{v}: {v.words}." for v in Verdict if v in verdicts]
        pages = sorted({row.cause.page for row in all_rows} - {""})
        see = [f"See {' and '.join(pages)} in the documentation."] if pages else []
        findings = [line for group in groups for line in _lines_on_finding(group)]
        return Table(
            head=("layer", "class", "C^k", *MODES, "cause", "order"),
            rows=[_cells(group) for group in groups],
            title=f"{self._total().capitalize()}.",
            notes=[*findings, *see, *legend],
            tones={str(verdict): verdict.tone for verdict in Verdict},
        )

    def _row_groups(self) -> list[list[LayerAudit]]:
        """Returns groups of similar rows, or only that of the model if the model is one layer."""
        if len(self.rows) == 1 and self.rows[0].layer == self.model.layer:
            return [[self.model]]
        return [*_groups(self.rows), [self.model]]

    def _pictures(self) -> Sequence[str]:
        def drawn(group: list[LayerAudit]) -> str:
            # An error in a picture must not hide the table.
            with contextlib.suppress(Exception):
                return self.draw(group[0]) if self.draw else ""
            return ""

        pictures = filter(None, map(drawn, self._row_groups()))
        return list(itertools.islice(pictures, _MAX_PICTURES))


def _groups(rows: tuple[LayerAudit, ...]) -> list[list[LayerAudit]]:
    """Returns groups of rows that differ only by the name and the clause on samples."""
    groups: dict[tuple, list[LayerAudit]] = {}
    for row in rows:
        key = dataclasses.replace(row, name="", reason=_SAMPLES_CLAUSE.sub("", row.reason))
        groups.setdefault(dataclasses.astuple(key), []).append(row)
    return list(groups.values())


def _cells(group: list[LayerAudit]) -> tuple[str, ...]:
    row = group[0]
    k = "?" if row.smoothness is None else row.smoothness
    modes = row.inference, row.training
    return tuple(map(str, (_name(group), row.layer, k, *modes, row.cause, row.order or "")))


def _name(group: list[LayerAudit]) -> str:
    more = len(group) - 1
    return group[0].name + (f" and {more} more" if more else "")


def _lines_on_finding(group: list[LayerAudit]) -> list[str]:
    """Returns the lines on the findings on a group of layers: the fault, its reason, the remedy."""
    row = group[0]
    # The clause on samples differs between the layers of a group.
    reason = row.reason if len(group) == 1 else _SAMPLES_CLAUSE.sub("", row.reason)
    since = f", from order {row.order} on" if row.order else ""
    # The row of the model does not repeat the text of a layer.
    words = "" if row.reason.startswith("see ") else row.cause.words
    sentences = [f"{words}{since}" if words else "", *reason.split("; ")]
    # Both modes may have the same reason.
    why = "; ".join(dict.fromkeys(filter(None, sentences)))
    lines = [f"{_name(group)}: {why}."] if why else []
    return [*lines, f"    To do: {row.remedy}."] if row.remedy else lines


def _as_json(row: LayerAudit) -> dict:
    content = dataclasses.asdict(row)
    content["smoothness"] = "inf" if row.smoothness == math.inf else row.smoothness
    return content
