"""audit: which layers of a model lose or falsify derivatives."""

import dataclasses
import json
import math
from typing import Any

import keras

from keras_smooth import registry
from keras_smooth.auditing import lines, probe, probing, remedies
from keras_smooth.auditing.probing import Finding
from keras_smooth.checks import whole_number
from keras_smooth.models import calls, copies, graph, sample_inputs


@dataclasses.dataclass(frozen=True)
class Row:
    """What was found for one layer, or for the whole model.

    Args:
        name: Path of the layer: its name after those of the models it is nested in.
        layer: Name of its class.
        smoothness: k of the class C^k as measured and as the registry knows it, the
            lower of both; None if unknown.
        verdict: "ok"; "rough", of a class below the order; "zero" or "none", where
            TensorFlow gives 0 or None for a derivative that is not 0; "raises"; "nan";
            "wrong"; "unknown".
        order: The first order that is lost, 0 if none is.
        mode: "inference" or "training": where the fault is.
        error: The largest relative error of a derivative; NaN where there is no number.
        reason: The cause, where more is known than the verdict says.
        remedy: What to do.
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


@dataclasses.dataclass(frozen=True)
class Audit:
    """The result of `audit`: one row for each layer, and one for the whole model.

    Args:
        order: The highest order that was looked at.
        rows: Rows of the layers, in the order of the model.
        model: Row of the model as a whole.
    """

    order: int
    rows: tuple[Row, ...]
    model: Row

    @property
    def ok(self) -> bool:
        """Whether all derivatives up to the order are there and right."""
        return all(row.verdict == "ok" for row in (*self.rows, self.model))

    def to_json(self) -> str:
        """Returns everything as one JSON object; what is not finite is a string or null."""
        rows = [_plain(row) for row in self.rows]
        content = {
            "order": self.order, "ok": self.ok, "model": _plain(self.model), "rows": rows
        }  # fmt: skip
        return json.dumps(content, indent=2, allow_nan=False)

    def __str__(self) -> str:
        head = ("layer", "class", "C^k", "verdict", "order", "mode", "error", "remedy")
        body = [_cells(row) for row in (*self.rows, self.model)]
        widths = [max(map(len, column)) for column in zip(head, *body)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *body)]
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _cells(row: Row) -> tuple[str, ...]:
    bad = row.verdict != "ok"
    return (
        row.name,
        row.layer,
        "?" if row.smoothness is None else str(row.smoothness),
        row.verdict,
        str(row.order) if row.order else "",
        row.mode if bad else "",
        f"{row.error:.0e}" if math.isfinite(row.error) else "",
        "; ".join(filter(None, (row.reason, row.remedy))) if bad else "",
    )


def _plain(row: Row) -> dict:
    content = dataclasses.asdict(row)
    content["error"] = row.error if math.isfinite(row.error) else None
    content["smoothness"] = "inf" if row.smoothness == math.inf else row.smoothness
    return content


def audit(model: keras.layers.Layer, order: int = 2, x: Any = None) -> Audit:
    """Measures which layers of a model lose or falsify derivatives.

    Every layer is copied in float64 with its weights. The derivatives of the copy from
    nested tapes are held against central differences of the derivative one order lower:
    around the values that reach the layer, at zero input and at ties; in training mode
    as well where that differs. The model itself stays as it is.

    Args:
        model: A model (Sequential, Functional or subclassed) or one layer.
        order: How many derivatives with respect to the inputs will be taken, 1 or more.
        x: Inputs from which the values come that reach each layer; the first few samples
            are used. None draws them at random from the shapes of the inputs. A
            subclassed model needs x.

    Returns:
        An `Audit` with `ok`, `rows`, `model` and `to_json()`. It prints as a table.

    Raises:
        TypeError: If `model` is no layer or `order` is not an integer.
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
        raise TypeError(f"audit expects a Keras model or layer, received {model!r}.")
    with calls.preserved_random_state():
        model, args = sample_inputs.prepared(model, x, copies.unbuilt)
        parts = graph.unique(model)
        watched = {id(part): part for part in (model, *(part for _, part in parts))}
        recorded = calls.record(model, list(watched.values()), args)
        memory, probes = {}, {}
        rows = tuple(
            _row(path, part, _measured(part, recorded[id(part)], order, memory, probes), order)
            for path, part in parts
        )
        return Audit(order, rows, _whole(model, recorded[id(model)], rows, order))


def _measured(
    part, calls: list, order: int, memory: dict, probes: dict
) -> list[tuple[str, Finding]]:
    """Returns the findings of a part by mode; what has no weights is measured once."""
    if not calls:
        return [("inference", Finding("unknown", reason="it is not called"))]
    name = None if getattr(part, "weights", None) else probe.key(part, calls[0])
    if name is not None and name in memory:
        return memory[name]
    found = list(lines.findings(part, calls[0], order, probes=probes))
    if name is not None:
        memory[name] = found
    return found


def _row(path: str, part, measured: list[tuple[str, Finding]], order: int) -> Row:
    mode, found = _worst(measured)
    smoothness = _smoothness(part, found)
    unseen = found.verdict in ("ok", "unknown") or _is_blurred(found, smoothness)
    if unseen and smoothness is not None and smoothness < order:
        found = dataclasses.replace(found, verdict="rough", order=max(smoothness + 1, 1))
    return Row(
        name=path,
        layer=type(part).__name__,
        smoothness=smoothness,
        verdict=found.verdict,
        order=found.order,
        mode=mode,
        error=found.error,
        reason=found.reason,
        remedy=remedies.of(part, found.verdict),
    )


def _is_blurred(found: Finding, smoothness: float | None) -> bool:
    """Returns whether differences that reach over a joint may have called it an error."""
    return found.verdict == "wrong" and smoothness is not None and found.order > smoothness


def _worst(measured: list[tuple[str, Finding]]) -> tuple[str, Finding]:
    found = probing.worst([finding for _, finding in measured])
    same = (mode for mode, each in measured if each.verdict == found.verdict)
    return next(same, measured[0][0]), found


def _smoothness(part, found: Finding) -> float | None:
    known = registry.smoothness(part) if isinstance(part, keras.layers.Layer) else None
    return _lower(known, found)


def _lower(known: float | None, found: Finding) -> float | None:
    """Returns the smoothness as known and as measured, the lower of both."""
    if found.jump == math.inf:
        return known
    return found.jump - 1 if known is None else min(known, found.jump - 1)


def _whole(model, calls: list, rows: tuple[Row, ...], order: int) -> Row:
    """Returns the row of the model: as measured, and at best as good as its layers."""
    if not graph.is_composed(model):
        return dataclasses.replace(rows[0], name=model.name)
    measured = [
        (row.mode, Finding(row.verdict, row.order, row.error, f"see {row.name}"))
        for row in rows
        if row.verdict not in ("ok", "unknown")
    ]
    smoothness = registry.least(row.smoothness for row in rows)
    # A graph loses nothing that no layer loses; code of the user's own may.
    plain = graph.is_plain(model)
    if not measured or not plain:
        ends = lines.findings(model, calls[0], order, briefly=plain)
        measured += [pair for pair in ends if not _is_blurred(pair[1], smoothness)]
    mode, found = _worst(measured)
    return Row(
        model.name, type(model).__name__, _lower(smoothness, found), found.verdict,
        found.order, mode, found.error, found.reason, remedies.of(model, found.verdict),
    )  # fmt: skip
