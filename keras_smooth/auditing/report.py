"""What an audit found: a row for each layer, printed as a table or as JSON."""

import dataclasses
import json
import math

from keras_smooth.auditing.verdicts import VERDICTS, worst_outcome
from keras_smooth.presentation.tables import ShownAsTable, Table

MODES = ("inference", "training")


@dataclasses.dataclass(frozen=True)
class LayerAudit:
    """What was found for one layer, or for the whole model.

    Args:
        name: Path of the layer: its name after those of the models it is nested in.
        layer: Name of its class.
        smoothness: k of the class C^k as measured and as the registry knows it, the
            lower of both; None if unknown.
        verdict: "ok"; "imprecise", where its dtype loses digits; "rough", of a class below
            the order; "zero" or "none", where TensorFlow gives 0 or None for a derivative
            that is not 0; "raises"; "nan"; "wrong"; "unknown". The worse of those in
            inference and in training.
        order: The first order that is lost, 0 if none is.
        mode: "inference" or "training": where the fault is.
        error: The largest relative error of a derivative; NaN where there is no number.
        reason: The cause, where more is known than the verdict says.
        remedy: What to do.
        inference: The verdict in inference.
        training: The verdict in training.
        bound: The relative error up to which a derivative is right.
        precision: For each order from 1 up, the relative error of the derivative in the
            layer's own dtype against its copy in float64.
    """

    name: str
    layer: str
    smoothness: float | None
    verdict: str
    order: int
    mode: str
    error: float
    reason: str
    remedy: str
    inference: str
    training: str
    bound: float
    precision: tuple[float, ...] = ()

    @property
    def outcome(self) -> str:
        """ "proven", "faulty" or "not examined"."""
        return VERDICTS[self.verdict].outcome


@dataclasses.dataclass(frozen=True, repr=False)
class Audit(ShownAsTable):
    """The result of `audit`: one row for each layer, and one for the whole model.

    `print` shows it as a table, and so does a notebook.

    Args:
        order: The highest order that was looked at.
        rows: `LayerAudit` of the layers, in the order of the model.
        model: `LayerAudit` of the model as a whole.
    """

    order: int
    rows: tuple[LayerAudit, ...]
    model: LayerAudit

    @property
    def ok(self) -> bool:
        """Whether all derivatives up to the order are there and right, in both modes."""
        return self.outcome == "proven"

    @property
    def outcome(self) -> str:
        """The worse of the outcomes in inference and in training."""
        return worst_outcome([self.inference, self.training])

    @property
    def inference(self) -> str:
        """ "proven", "faulty" or "not examined": the outcome in inference."""
        return self._outcome("inference")

    @property
    def training(self) -> str:
        """ "proven", "faulty" or "not examined": the outcome in training."""
        return self._outcome("training")

    def _outcome(self, mode: str) -> str:
        verdicts = [getattr(row, mode) for row in (*self.rows, self.model)]
        return worst_outcome(VERDICTS[verdict].outcome for verdict in verdicts)

    def to_json(self) -> str:
        """Returns everything as one JSON object; what is not finite is a string or null."""
        content = {
            "order": self.order,
            "ok": self.ok,
            "inference": self.inference,
            "training": self.training,
            "model": _plain(self.model),
            "rows": [_plain(row) for row in self.rows],
        }
        return json.dumps(content, indent=2, allow_nan=False)

    def __repr__(self) -> str:
        num_good = sum(row.outcome == "proven" for row in self.rows)
        return f"<Audit: {self._total()}; {num_good} of {len(self.rows)} layers proven>"

    def _total(self) -> str:
        ends = [f"{mode}: {getattr(self, mode)}" for mode in MODES]
        return f"up to order {self.order}, {' and '.join(ends)}"

    def _table(self) -> Table:
        used = {getattr(row, mode) for row in (*self.rows, self.model) for mode in MODES}
        legend = [f"{v.name}: {v.words}." for v in VERDICTS.values() if v.name in used]
        return Table(
            head=("layer", "class", "C^k", *MODES, "order", "error", "what to do"),
            rows=[*map(_cells, _groups(self.rows)), _cells([self.model])],
            notes=[*legend, f"{self._total().capitalize()}."],
        )


def _groups(rows: tuple[LayerAudit, ...]) -> list[list[LayerAudit]]:
    """Returns rows that say the same of layers of one class together."""
    groups = {}
    for row in rows:
        same = dataclasses.replace(row, name="", error=0.0, precision=())
        groups.setdefault(same, []).append(row)
    return list(groups.values())


def _cells(group: list[LayerAudit]) -> tuple[str, ...]:
    row, more = group[0], len(group) - 1
    errors = [each.error for each in group if math.isfinite(each.error)]
    advice = "; ".join(filter(None, (row.reason, row.remedy)))
    return (
        row.name + (f" and {more} more" if more else ""),
        row.layer,
        "?" if row.smoothness is None else str(row.smoothness),
        row.inference,
        row.training,
        str(row.order) if row.order else "",
        f"{max(errors):.0e}" if errors else "",
        row.reason if row.verdict == "ok" else advice,
    )


def _plain(row: LayerAudit) -> dict:
    content = dataclasses.asdict(row)
    content["outcome"] = row.outcome
    content["error"] = row.error if math.isfinite(row.error) else None
    content["precision"] = [e if math.isfinite(e) else None for e in row.precision]
    content["smoothness"] = "inf" if row.smoothness == math.inf else row.smoothness
    return content
