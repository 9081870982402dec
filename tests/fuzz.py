"""The claims that random models are tested for; the study that writes docs/fuzz.md.

    python tests/fuzz.py --stop 2000 --records records.jsonl
    python tests/fuzz.py --records records.jsonl --write docs/fuzz.md

Four claims for each model of tests/random_models.py:

1. Jets, nested tapes and differences of the model in float64 have the same y, y', y''.
2. A copy in float64 has the outputs of the model that was built in float64.
3. `audit` reports a layer as faulty exactly if plain differences do.
4. `smoothen` does not change outputs if it has nothing to replace.

A model may also be refused with a reason. Everything else is a disagreement.
"""

import argparse
import collections
import dataclasses
import json
import re
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import plain_differences
import tensorflow as tf
from audit_words import mode_cause
from own_errors import is_ours, origin
from random_models import RandomModel, in_float64, random_model

import keras_smooth
from keras_smooth.models import calls, copies, graph, references

PACKAGE = Path(keras_smooth.__file__).parent
# Of derivatives of order 0, 1, 2 compared with differences, relative to the largest of them:
# in float64 the error of the differences, in float32 a few hundred rounding errors an order.
TOLERANCE = {"float64": (1e-10, 1e-7, 1e-5), "float32": (1e-4, 1e-3, 1e-2)}
# An error must exceed SAFETY times the error estimate of the difference. A difference with a
# relative error estimate above UNSETTLED is ignored.
SAFETY, UNSETTLED = 20.0, 1e-3
# Layers that TensorFlow computes in float32 for every dtype.
COARSE = {"Resizing", "UpSampling2D bilinear"}
AGREES, UNSURE = "agrees", "differences do not settle"
NOT_BUILT = "Keras does not build it"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of one claim.

    Args:
        claim: "jets", "tapes", "copy", "audit", "layer" or "smoothen".
        result: `AGREES`, `UNSURE`, "refused", "faulty, and found", "not examined" or
            "DISAGREES".
        reason: Reason of a refusal or a disagreement.
    """

    claim: str
    result: str
    reason: str = ""

    @property
    def ok(self) -> bool:
        return self.result != "DISAGREES"


def outcomes(seed: int, dtype: str) -> tuple[RandomModel, list[Outcome]]:
    """Returns a random model and the outcomes of all claims."""
    case = random_model(seed, dtype)
    twin = in_float64(case) if dtype == "float32" else case
    report = _guarded("audit", lambda: keras_smooth.audit(case.model, case.x))
    if isinstance(report, Outcome):
        return case, [report]
    results = [_guarded("copy", lambda: copy(case, twin)), *audited(report, twin)]
    exact = differences(twin, direction := _direction(case))
    for engine, claim in (("jet", "jets"), ("tape", "tapes")):
        results.append(
            _guarded(claim, lambda e=engine: derivatives(case, direction, exact, e, report))
        )
    results += [
        _guarded("smoothen", lambda o=order: smoothened(case, report, o))
        for order in (0, 2)
    ]
    return case, [outcome for outcome in results if outcome is not None]


def _guarded(claim: str, check: Callable) -> Any:
    """Returns the result of a check; errors of the package are refusals, others are not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return check()
    except (ValueError, TypeError) as error:
        if is_ours(error):
            return Outcome(claim, "refused", str(error).splitlines()[0][:300])
        return Outcome(claim, "DISAGREES", _message(error))
    except Exception as error:
        return Outcome(claim, "DISAGREES", _message(error))


def _message(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()][:2]
    return f"{type(error).__name__} in {origin(error).name}: {' '.join(lines)[:300]}"


# 1. Derivatives.


def _direction(case: RandomModel) -> Any:
    """Returns a direction for each float input, which is 0 where x is 0, maybe masked."""
    rng = np.random.default_rng(case.seed + 1)

    def direction_of(x):
        return (
            np.where(x == 0, 0, rng.normal(size=x.shape)) if x.dtype.kind == "f" else None
        )

    return keras.tree.map_structure(direction_of, case.x)


def _float_directions(direction: Any) -> Any:
    """Returns a direction in the structure that the package accepts."""
    if isinstance(direction, dict):
        return {key: part for key, part in direction.items() if part is not None}
    if isinstance(direction, list):
        return [part for part in direction if part is not None]
    return direction


def _values(model: Callable, x: Any, direction: Any) -> Callable:
    """Returns y(x + t v) of all outputs and samples, as a function of the points t."""

    def values(t: np.ndarray) -> np.ndarray:
        def moved(x, v):
            rows = np.repeat(x[None], len(t), axis=0)
            if v is not None:
                rows = rows + t.reshape(-1, *[1] * x.ndim) * v
            return rows.reshape(-1, *x.shape[1:])

        y = model(keras.tree.map_structure(moved, x, direction))
        leaves = [np.asarray(leaf, "float64") for leaf in keras.tree.flatten(y)]
        return np.concatenate([leaf.reshape(len(t), -1) for leaf in leaves], axis=1)

    return values


def differences(twin: RandomModel, direction: Any) -> list[tuple]:
    """Returns y, y', y'' along the direction and their errors, from values of the model."""
    values = _values(lambda x: twin.model(x, training=False), twin.x, direction)
    estimates = plain_differences.derivatives(values, np.zeros(1))
    return [(entry[0], error[0]) for entry, error in estimates]


def derivatives(
    case: RandomModel, direction: Any, exact: list, engine: str, report: Any
) -> Outcome:
    """Compares the derivatives of an engine with differences."""
    entries = keras_smooth.directional(
        case.model, case.x, _float_directions(direction), 2, engine=engine
    )
    claim = {"jet": "jets", "tape": "tapes"}[engine]
    unsure, scale = False, 0.0
    tolerance = TOLERANCE[case.dtype]
    for order, (entry, (expected, error)) in enumerate(zip(entries, exact, strict=True)):
        leaves = [np.asarray(leaf, "float64") for leaf in keras.tree.flatten(entry)]
        values = np.concatenate([leaf.ravel() for leaf in leaves])
        scale = max(scale, np.abs(expected).max(), 1e-6)
        is_unsettled = error > UNSETTLED * scale
        unsure |= bool(is_unsettled.any())
        is_wrong = np.abs(values - expected) > tolerance[order] * scale + SAFETY * error
        is_wrong &= ~is_unsettled
        if not np.isfinite(values[~is_unsettled]).all() or is_wrong.any():
            size = np.abs(values - expected)[~is_unsettled].max() / scale
            if report.inference == "faulty":
                return Outcome(claim, "faulty, and found")
            return Outcome(claim, "DISAGREES", f"order {order} by {size:.0e} relative")
    return Outcome(claim, UNSURE if unsure else AGREES)


# 2. Copies.


def copy(case: RandomModel, twin: RandomModel) -> Outcome:
    """Compares a copy in float64 with the model that was built in float64."""
    x = keras.tree.map_structure(tf.convert_to_tensor, case.x)
    call = calls.Call((x,), {}, calls.call_without_side_effects(case.model, x))
    args, kwargs = copies.arguments_in("float64", call)
    copied = copies.copy_in("float64", case.model, args, kwargs)
    outputs = _numbers(copies.fill_and_compare(case.model, copied, "float64", call))
    expected = _numbers(twin.model(x, training=False))
    distance = np.abs(outputs - expected).max() / max(1e-6, np.abs(expected).max())
    if distance <= (1e-5 if COARSE & case.used.keys() else 1e-9):
        return Outcome("copy", AGREES)
    return Outcome("copy", "DISAGREES", f"by {distance:.0e} relative")


def _numbers(structure: Any) -> np.ndarray:
    leaves = [np.asarray(leaf, "float64").ravel() for leaf in keras.tree.flatten(structure)]
    return np.concatenate(leaves)


# 3. Audits.


def audited(report: Any, twin: RandomModel) -> list[Outcome]:
    """Compares the verdicts on all layers and on the model with plain differences."""
    # Paired by position: in the twin an operation may have another name.
    parts = [part for _, part in graph.unique(twin.model)]
    x = calls.cast_to("float64", keras.tree.map_structure(tf.convert_to_tensor, twin.x))
    recorded = calls.record(twin.model, [twin.model, *parts], (x,))
    results = [
        _layer(row, part, recorded[id(part)])
        for row, part in zip(report.rows, parts, strict=True)
    ]
    if report.inference != "faulty" and COARSE & twin.used.keys():
        results.append(Outcome("audit", UNSURE, "a part computes in float32"))
    elif report.inference != "faulty":
        evidence = _guarded(
            "audit", lambda: _evidence(twin.model, recorded[id(twin.model)][0])
        )
        if isinstance(evidence, Outcome):
            evidence = Evidence()
        results.append(_verdict("audit", report.model, evidence))
    elif all(row.inference != "faulty" for row in report.rows):
        evidence = _guarded(
            "audit", lambda: _evidence(twin.model, recorded[id(twin.model)][0])
        )
        if isinstance(evidence, Outcome):
            results.append(Outcome("audit", UNSURE, evidence.reason))
        else:
            results.append(_verdict("audit", report.model, evidence))
    else:
        results.append(Outcome("audit", "faulty, and found"))
    return results


def _layer(row: Any, part: keras.Operation, recorded: list) -> Outcome:
    evidence = _guarded("layer", lambda: _combined([_evidence(part, c) for c in recorded]))
    if isinstance(evidence, Outcome):
        return Outcome("layer", UNSURE, f"{row.layer}: {evidence.reason}")
    return _verdict("layer", row, evidence, f"{row.layer}: ")


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The findings of differences for a part: sets of "kink" and "wrong".

    Args:
        near: Findings near the inputs of its calls.
        anywhere: Findings for other inputs as well.
    """

    near: frozenset = frozenset()
    anywhere: frozenset = frozenset()


def _combined(evidence: list[Evidence]) -> Evidence:
    near = frozenset().union(*[item.near for item in evidence])
    return Evidence(near, near.union(*[item.anywhere for item in evidence]))


def _verdict(claim: str, row: Any, evidence: Evidence, name: str = "") -> Outcome:
    """Compares the verdict of a row on inference with the findings of differences."""
    cause = mode_cause(row, "inference")
    if row.inference == "not examined":
        return Outcome(claim, "not examined", name)
    if cause == "imprecise":
        return Outcome(claim, "imprecise", name)
    if cause == "ok" and not evidence.near:
        return Outcome(claim, AGREES)
    if claim == "layer" and row.inference == "checked" and evidence.near == {"kink"}:
        # Samples were judged by the outputs of the model, where a clip may hide the kink.
        return Outcome(claim, UNSURE, f"{name}its own kink may not reach the outputs")
    if cause != "ok" and evidence.anywhere:
        return Outcome(claim, "faulty, and found")
    findings = sorted(evidence.anywhere) or "right"
    return Outcome(claim, "DISAGREES", f"{name}{cause!r}, and differences say {findings}")


def _evidence(part: keras.Operation, call: calls.Call) -> Evidence:
    """Returns the findings of differences for a part.

    Along lines through the inputs of the call, through values of size 1, and through 0.
    """
    rng = np.random.default_rng(3)
    leaves = [
        np.asarray(leaf) if tf.is_tensor(leaf) and leaf.dtype.is_floating else None
        for leaf in keras.tree.flatten(call.arguments())
    ]
    if all(leaf is None for leaf in leaves):
        return Evidence()

    if not all(map(calls.is_float, keras.tree.flatten(call.output))):
        # Integers are steps, which the model has too if its outputs depend on them.
        return Evidence(anywhere=frozenset({"kink"}))

    def apply_to_sample(function: Callable, i: int = 0) -> list:
        rows = [None if leaf is None else leaf[i % len(leaf)][None] for leaf in leaves]
        return [None if row is None else function(row) for row in rows]

    def normal(leaf):
        return rng.normal(size=leaf.shape)

    def spread(leaf):
        return np.where(leaf == 0, 0, max(leaf.std(), 0.01) * normal(leaf))

    lines = [
        (apply_to_sample(lambda a: a), apply_to_sample(spread), -3.0, 3.0),
        (apply_to_sample(normal), apply_to_sample(normal), -3.0, 3.0),
        (apply_to_sample(np.zeros_like), apply_to_sample(np.ones_like), -8.0, 8.0),
        (apply_to_sample(np.zeros_like), apply_to_sample(normal), -3.0, 3.0),
    ]
    others = [frozenset(_along(part, call, *line)) for line in lines]
    # Lines through the samples themselves, which may have zeros or ties, in directions that
    # move all their numbers, and lines from each sample to the next, on which kinks count.
    samples = range(max(len(leaf) for leaf in leaves if leaf is not None))
    near = frozenset().union(
        *(
            _along(part, call, start, [None if a is None else b - a for a, b in zip(start, end)],
                   0.0, 1.0, points=())
            for start, end in ((apply_to_sample(lambda a: a, i), apply_to_sample(lambda a: a, i + 1)) for i in samples)
        )
    )  # fmt: skip
    # 11 points, other than any size of a sample: Keras adds (n, 1) to (n, n) along another
    # axis than to (m, n).
    points = np.linspace(0.0, 1.0, 11)
    near = near.union(
        *(
            _along(
                part,
                call,
                apply_to_sample(lambda a: a, i),
                apply_to_sample(normal, i),
                points=points,
            )
            for i in samples
        )
    )
    anywhere = near.union(*others)
    if isinstance(part, keras.layers.Layer):
        return Evidence(near, anywhere)
    # Whether the inputs of an operation reach its kink is decided by the model.
    return Evidence(near - {"kink"}, anywhere)


def _along(
    part: keras.Operation,
    call: calls.Call,
    base: list,
    direction: list,
    low: float = 0.0,
    high: float = 0.0,
    points: Sequence[float] = (-2.31, -0.87, 0.0, 0.31, 1.29),
) -> set[str]:
    """Returns findings along a line: a kink between two points, wrong derivatives at points."""
    if any(map(graph.may_make_mask, references.layers_within(part))):
        # Zeros may be masked, and are not moved.
        pairs = zip(base, direction)
        direction = [None if b is None else np.where(b == 0, 0.0, d) for b, d in pairs]
    curve = _Curve(part, call, base, direction)
    findings = set()
    if high > low and plain_differences.kink(curve.values, low, high) is not None:
        findings.add("kink")
    if not len(points):
        return findings
    points = np.array(points)
    exact = plain_differences.derivatives(curve.values, points)
    scale = np.full(len(points), 1e-6)
    for order, (values, (expected, error)) in enumerate(
        zip(curve.tapes(points), exact, strict=True)
    ):
        scale = np.maximum(scale, np.abs(expected))
        is_certain = error < UNSETTLED * scale
        is_wrong = (
            np.abs(values - expected) > TOLERANCE["float64"][order] * scale + SAFETY * error
        )
        if (is_wrong & is_certain).any() or not np.isfinite(values[is_certain]).all():
            findings.add("wrong")
    return findings


def _is_single(values: np.ndarray) -> bool:
    """Returns whether numbers that are not integers have only the digits of float32."""
    return np.any(values % 1) and np.array_equal(values, values.astype("float32"))


class _Curve:
    """A linear combination of a part's outputs along a line, with one sample per point."""

    def __init__(
        self, part: keras.Operation, call: calls.Call, base: list, direction: list
    ):
        self.part, self.call, self.base, self.direction = part, call, base, direction

    def values(self, t: np.ndarray) -> np.ndarray:
        return self._output(tf.constant(t)).numpy()

    def tapes(self, t: np.ndarray) -> list[np.ndarray]:
        """Returns y, y', y'' from two tapes; NaN where TensorFlow raises."""
        t = tf.constant(t)
        missing = np.full(len(t), np.nan)
        with tf.GradientTape() as outer:
            outer.watch(t)
            with tf.GradientTape() as inner:
                inner.watch(t)
                y = self._output(t)
            try:
                dy = inner.gradient(y, t, unconnected_gradients="zero")
            except LookupError:
                return [y.numpy(), missing, missing]
        try:
            d2y = outer.gradient(dy, t, unconnected_gradients="zero")
        except LookupError:
            return [y.numpy(), dy.numpy(), missing]
        return [y.numpy(), dy.numpy(), d2y.numpy()]

    def _output(self, t: tf.Tensor) -> tf.Tensor:
        structure = self.call.arguments()
        leaves = keras.tree.flatten(structure)
        batch = next(len(b) for b in leaves if tf.is_tensor(b) and b.dtype.is_floating)

        def moved(leaf, base, direction):
            if base is not None:
                shift = tf.reshape(t, (-1, *[1] * (base.ndim - 1)))
                return tf.cast(base + shift * direction, leaf.dtype)
            if tf.is_tensor(leaf) and leaf.shape.rank and leaf.shape[0] == batch:
                return tf.repeat(leaf[:1], len(t), axis=0)
            return leaf

        rows = list(map(moved, leaves, self.base, self.direction))
        args, kwargs = keras.tree.pack_sequence_as(structure, rows)
        if isinstance(self.part, keras.layers.Layer):
            kwargs = {**kwargs, "training": False}
        y = self.part(*args, **kwargs)
        total = tf.zeros(len(t), "float64")
        rng = np.random.default_rng(4)
        for leaf in keras.tree.flatten(y):
            if leaf.dtype.is_floating:
                if _is_single(leaf.numpy()):
                    raise ValueError("it computes in float32 whatever its dtype")
                flat = tf.cast(tf.reshape(leaf, (len(t), -1)), "float64")
                total += tf.linalg.matvec(flat, rng.normal(size=flat.shape[1]))
        return total


# 4. Smoothen.


def _is_plain(part: object) -> bool:
    """Returns whether all nested models are Sequential or Functional."""
    inner = graph.inner(part) if graph.is_composed(part) else []
    return not inner or graph.is_graph(part) and all(map(_is_plain, inner))


def smoothened(case: RandomModel, report: Any, order: int) -> Outcome | None:
    """Compares outputs before and after `smoothen`, if it has nothing to replace."""
    if not _is_plain(case.model):
        return None
    k = report.model.smoothness
    # It replaces layers by their smoothness, even if no sample reaches a kink.
    if order and (report.inference not in ("proven", "checked") or k is None or k < order):
        return None
    smooth = keras_smooth.smoothen(case.model, case.x, order=order)
    before, after = (_numbers(m(case.x, training=False)) for m in (case.model, smooth))
    distance = np.abs(before - after).max() / max(1e-3, np.abs(before).max())
    exact = case.dtype == "float64" and not COARSE & case.used.keys()
    allowed = 1e-12 if exact else 1e-4
    if distance <= allowed:
        return Outcome("smoothen", AGREES)
    return Outcome("smoothen", "DISAGREES", f"order {order} by {distance:.0e} relative")


# The study.


def _is_of_the_package(file: Path) -> bool:
    """Returns whether a file is part of the package, or this file."""
    return file.is_relative_to(PACKAGE) or file == Path(__file__)


def record(seed: int) -> dict:
    """Returns the outcomes of a seed as plain data, even if the model cannot be built."""
    dtype = ("float64", "float32")[seed // 2 % 2]
    try:
        case, results = outcomes(seed, dtype)
    except Exception as error:
        frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        # An operation of Keras may raise for the outputs of another one.
        ours = any(_is_of_the_package(Path(name)) for name in frames[2:])
        result = "DISAGREES" if ours else NOT_BUILT
        results, used, parts = [Outcome("model", result, _message(error))], {}, []
    else:
        used, parts = dict(case.used), graph.unique(case.model)
    return {
        "seed": seed,
        "dtype": dtype,
        "layers": sum(isinstance(part, keras.layers.Layer) for _, part in parts),
        "operations": sum(not isinstance(part, keras.layers.Layer) for _, part in parts),
        "used": used,
        "outcomes": [dataclasses.asdict(outcome) for outcome in results],
    }


def _records(paths: list[Path]) -> list[dict]:
    lines = [line for path in paths if path.exists() for line in path.open()]
    return [json.loads(line) for line in lines]


def _run(seeds: range, path: Path) -> None:
    """Appends a record to a file for each seed that it does not have."""
    known_seeds = {seed_record["seed"] for seed_record in _records([path])}
    for seed in (seed for seed in seeds if seed not in known_seeds):
        seed_record = record(seed)
        with path.open("a") as file:
            file.write(json.dumps(seed_record) + "\n")
        for outcome in seed_record["outcomes"]:
            if outcome["result"] == "DISAGREES":
                print(seed, seed_record["dtype"], outcome, flush=True)


def page(records: list[dict]) -> str:
    """Returns the page of a study."""
    used = sum(
        (collections.Counter(each["used"]) for each in records), collections.Counter()
    )
    layers, operations = (
        sum(each[k] for each in records) for k in ("layers", "operations")
    )
    results = [each for results in records for each in results["outcomes"]]
    unbuilt = [each for each in results if each["result"] == NOT_BUILT]
    counts = collections.Counter((each["claim"], each["result"]) for each in results)
    without_reasons = (AGREES, "faulty, and found", NOT_BUILT)
    reasons = collections.Counter(
        (each["claim"], each["result"], _short(each["reason"]))
        for each in results
        if each["reason"] and each["result"] not in without_reasons
    )
    rows = [
        f"| {CLAIMS[claim]} | " + " | ".join(str(counts[claim, r]) for r in RESULTS) + " |"
        for claim in CLAIMS
    ]
    return PAGE.format(
        models=len(records) - len(unbuilt),
        unbuilt=len(unbuilt),
        stop=1 + max(each["seed"] for each in records),
        half=sum(each["dtype"] == "float32" for each in records),
        layers=layers,
        operations=operations,
        kinds=len(used),
        head="| claim | " + " | ".join(RESULTS) + " |\n|---" + "|---" * len(RESULTS) + "|",
        rows="\n".join(rows),
        reasons="\n".join(
            f"| {claim} | {result} | {reason} | {number} |"
            for (claim, result, reason), number in reasons.most_common()
        ),
        used=", ".join(f"{name} {number}" for name, number in used.most_common()),
        keras=keras.__version__,
        tensorflow=tf.__version__,
    )


def _short(reason: str) -> str:
    """Returns a reason without the names of one model."""
    return re.sub(r"_\d+|To look at.*|The copy of '\w+'|\x1b\[\d+m", "", reason)[
        :110
    ].replace("|", "/")


CLAIMS = {
    "jets": "y, y', y'' by jets", "tapes": "y, y', y'' by nested tapes",
    "copy": "outputs of the copy in float64", "layer": "verdict on a layer or operation",
    "audit": "verdict on the model", "smoothen": "outputs after smoothen",
}  # fmt: skip
RESULTS = (AGREES, "faulty, and found", "refused", "not examined", "imprecise", UNSURE,
           "DISAGREES")  # fmt: skip
PAGE = """# Random models

    python tests/fuzz.py --stop {stop} --records records.jsonl
    python tests/fuzz.py --records records.jsonl --write docs/fuzz.md

{models} random models, made from the seeds below {stop}, {half} of them in float32 (Keras {keras}, TensorFlow {tensorflow}).
Their graphs have {layers} layers and {operations} operations of `keras.ops`. Models with odd seeds may have parts that
are not smooth or have wrong derivatives. Models with even seeds have none, except bilinear images, behind which
TensorFlow loses y''. `tests/fuzz.py` compares each model with central differences of its outputs in NumPy,
and with the same model built in float64 from its seed. Neither shares code with what it checks, except for
the recording of a layer's inputs. Keras could not build the models of {unbuilt} further seeds.

- *{agrees}*: right, or `audit` says that it is.
- *faulty, and found*: wrong, or with a kink, according to both the differences and `audit`.
- *refused*: a clear error instead of numbers.
- *not examined*: the verdict of `audit` is `not examined`.
- *imprecise*: `audit` says that float32 loses digits of a derivative.
- *{unsure}*: a point is too near a kink, or the function is too steep; nothing is compared.
- *DISAGREES*: none of these. Earlier disagreements have been fixed, with tests of similar cases in
  `tests/test_auditing.py`, `tests/test_auditing_reach.py`, `tests/test_lost_in_composition.py` and
  `tests/test_smoothing.py`.

{head}
{rows}

## Reasons

| claim | result | reason | count |
|---|---|---|---|
{reasons}

## What the models are made of

{kinds} kinds of layers, inputs, functions and ways to connect them, and how often each was drawn:
{used}.
""".replace("{agrees}", AGREES).replace("{unsure}", UNSURE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--stop", type=int, default=2000)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--records", type=Path, nargs="+", required=True)
    parser.add_argument("--write", type=Path, help="the page, from records that are there")
    arguments = parser.parse_args()
    if arguments.write:
        arguments.write.write_text(page(_records(arguments.records)))
    else:
        seeds = range(arguments.first, arguments.stop, arguments.step)
        _run(seeds, arguments.records[0])
