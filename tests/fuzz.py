"""What a random model is held to; the study that writes docs/fuzz.md.

    python tests/fuzz.py --stop 2000 --records records.jsonl
    python tests/fuzz.py --records records.jsonl --write docs/fuzz.md

Four claims for each model of tests/random_models.py:

1. Jets, nested tapes and differences of the model in float64 give the same y, y', y''.
2. A copy in float64 gives the outputs of the model that was made in float64.
3. `audit` finds a layer faulty where plain differences say so, and no other.
4. `smoothen`, told to replace nothing, moves no output.

A model may be refused with a reason instead; what is neither right nor refused is a
disagreement.
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
from keras_smooth.models import calls, copies, graph

PACKAGE = Path(keras_smooth.__file__).parent
# Of derivatives of order 0, 1, 2 against differences, relative to the largest of them:
# float64 allows what the differences leave, float32 a few hundred roundings an order.
TOLERANCE = {"float64": (1e-10, 1e-7, 1e-5), "float32": (1e-4, 1e-3, 1e-2)}
# Uncertainties of a difference that an error must exceed; less certain ones say nothing.
SAFETY, UNSETTLED = 20.0, 1e-3
# What TensorFlow computes in float32 in every dtype.
COARSE = {"Resizing", "UpSampling2D bilinear"}
AGREES, UNSURE = "agrees", "differences do not settle"
NOT_BUILT = "Keras does not build it"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one claim.

    Args:
        claim: "jets", "tapes", "copy", "audit", "layer" or "smoothen".
        result: `AGREES`, `UNSURE`, "refused", "faulty, and found", "not examined" or
            "DISAGREES".
        reason: Of a refusal or a disagreement.
    """

    claim: str
    result: str
    reason: str = ""

    @property
    def ok(self) -> bool:
        return self.result != "DISAGREES"


def outcomes(seed: int, dtype: str) -> tuple[RandomModel, list[Outcome]]:
    """Returns a random model and what came of all claims."""
    made = random_model(seed, dtype)
    twin = in_float64(made) if dtype == "float32" else made
    report = _guarded("audit", lambda: keras_smooth.audit(made.model, made.x))
    if isinstance(report, Outcome):
        return made, [report]
    found = [_guarded("copy", lambda: copy(made, twin)), *audited(report, twin)]
    exact = differences(twin, direction := _direction(made))
    for engine, claim in (("jet", "jets"), ("tape", "tapes")):
        found.append(
            _guarded(claim, lambda e=engine: derivatives(made, direction, exact, e, report))
        )
    found += [
        _guarded("smoothen", lambda o=order: smoothened(made, report, o))
        for order in (0, 2)
    ]
    return made, [each for each in found if each is not None]


def _guarded(claim: str, check: Callable) -> Any:
    """Returns what a check returns; a refusal in words is one, any other error is not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return check()
    except (ValueError, TypeError) as error:
        if is_ours(error):
            return Outcome(claim, "refused", str(error).splitlines()[0][:300])
        return Outcome(claim, "DISAGREES", _words(error))
    except Exception as error:
        return Outcome(claim, "DISAGREES", _words(error))


def _words(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()][:2]
    return f"{type(error).__name__} in {origin(error).name}: {' '.join(lines)[:300]}"


# 1. Derivatives.


def _direction(made: RandomModel) -> Any:
    """Returns a direction for each input of floats; what is 0, maybe masked, stays."""
    rng = np.random.default_rng(made.seed + 1)

    def one(x):
        return (
            np.where(x == 0, 0, rng.normal(size=x.shape)) if x.dtype.kind == "f" else None
        )

    return keras.tree.map_structure(one, made.x)


def _moving(direction: Any) -> Any:
    """Returns a direction in the structure in which the package takes it."""
    if isinstance(direction, dict):
        return {key: each for key, each in direction.items() if each is not None}
    if isinstance(direction, list):
        return [each for each in direction if each is not None]
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
    found = plain_differences.derivatives(values, np.zeros(1))
    return [(entry[0], error[0]) for entry, error in found]


def derivatives(
    made: RandomModel, direction: Any, exact: list, engine: str, report: Any
) -> Outcome:
    """Holds the derivatives of an engine against differences."""
    found = keras_smooth.directional(
        made.model, made.x, _moving(direction), 2, engine=engine
    )
    claim = {"jet": "jets", "tape": "tapes"}[engine]
    unsure, scale = False, 0.0
    tolerance = TOLERANCE[made.dtype]
    for order, (entry, (true, error)) in enumerate(zip(found, exact, strict=True)):
        leaves = [np.asarray(leaf, "float64") for leaf in keras.tree.flatten(entry)]
        values = np.concatenate([leaf.ravel() for leaf in leaves])
        scale = max(scale, np.abs(true).max(), 1e-6)
        doubtful = error > UNSETTLED * scale
        unsure |= bool(doubtful.any())
        off = np.abs(values - true) > tolerance[order] * scale + SAFETY * error
        off &= ~doubtful
        if not np.isfinite(values[~doubtful]).all() or off.any():
            size = np.abs(values - true)[~doubtful].max() / scale
            if report.inference == "faulty":
                return Outcome(claim, "faulty, and found")
            return Outcome(claim, "DISAGREES", f"order {order} by {size:.0e} relative")
    return Outcome(claim, UNSURE if unsure else AGREES)


# 2. Copies.


def copy(made: RandomModel, twin: RandomModel) -> Outcome:
    """Holds a copy in float64 against the model that was made in float64."""
    x = keras.tree.map_structure(tf.convert_to_tensor, made.x)
    call = calls.Call((x,), {}, calls.call_without_side_effects(made.model, x))
    args, kwargs = copies.arguments_in("float64", call)
    copied = copies.copy_in("float64", made.model, args, kwargs)
    own = _numbers(copies.fill_and_compare(made.model, copied, "float64", call))
    exact = _numbers(twin.model(x, training=False))
    distance = np.abs(own - exact).max() / max(1e-6, np.abs(exact).max())
    if distance <= (1e-5 if COARSE & made.used.keys() else 1e-9):
        return Outcome("copy", AGREES)
    return Outcome("copy", "DISAGREES", f"by {distance:.0e} relative")


def _numbers(structure: Any) -> np.ndarray:
    leaves = [np.asarray(leaf, "float64").ravel() for leaf in keras.tree.flatten(structure)]
    return np.concatenate(leaves)


# 3. Audits.


def audited(report: Any, twin: RandomModel) -> list[Outcome]:
    """Holds the verdicts on all layers, and on the model, against plain differences."""
    # By their places: in the twin an operation may have another name.
    parts = [part for _, part in graph.unique(twin.model)]
    x = calls.cast_to("float64", keras.tree.map_structure(tf.convert_to_tensor, twin.x))
    recorded = calls.record(twin.model, [twin.model, *parts], (x,))
    found = [
        _layer(row, part, recorded[id(part)])
        for row, part in zip(report.rows, parts, strict=True)
    ]
    if report.inference != "faulty" and COARSE & twin.used.keys():
        found.append(Outcome("audit", UNSURE, "a part computes in float32"))
    elif report.inference != "faulty":
        own = _guarded("audit", lambda: _evidence(twin.model, recorded[id(twin.model)][0]))
        if isinstance(own, Outcome):
            own = Evidence()
        found.append(_verdict("audit", report.model, own))
    elif all(row.inference != "faulty" for row in report.rows):
        own = _guarded("audit", lambda: _evidence(twin.model, recorded[id(twin.model)][0]))
        if isinstance(own, Outcome):
            found.append(Outcome("audit", UNSURE, own.reason))
        else:
            found.append(_verdict("audit", report.model, own))
    else:
        found.append(Outcome("audit", "faulty, and found"))
    return found


def _layer(row: Any, part: keras.Operation, recorded: list) -> Outcome:
    evidence = _guarded("layer", lambda: _of_all([_evidence(part, c) for c in recorded]))
    if isinstance(evidence, Outcome):
        return Outcome("layer", UNSURE, f"{row.layer}: {evidence.reason}")
    return _verdict("layer", row, evidence, f"{row.layer}: ")


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What differences say of a part: sets of "kink" and "wrong".

    Args:
        near: Through the values of its calls. For layers and models anywhere.
        anywhere: Through other values as well.
    """

    near: frozenset = frozenset()
    anywhere: frozenset = frozenset()


def _of_all(found: list[Evidence]) -> Evidence:
    near = frozenset().union(*[each.near for each in found])
    return Evidence(near, near.union(*[each.anywhere for each in found]))


def _verdict(claim: str, row: Any, evidence: Evidence, name: str = "") -> Outcome:
    """Compares what a row says of inference with what differences say."""
    word = mode_cause(row, "inference")
    if row.inference == "not examined":
        return Outcome(claim, "not examined", name)
    if word == "imprecise":
        return Outcome(claim, "imprecise", name)
    if word == "ok" and not evidence.near:
        return Outcome(claim, AGREES)
    if claim == "layer" and row.inference == "checked" and evidence.near == {"kink"}:
        # Samples were judged by the outputs of the model, behind which a clip may hide a kink.
        return Outcome(claim, UNSURE, f"{name}its own kink may not reach the outputs")
    if word != "ok" and evidence.anywhere:
        return Outcome(claim, "faulty, and found")
    says = sorted(evidence.anywhere) or "right"
    return Outcome(claim, "DISAGREES", f"{name}{word!r}, and differences say {says}")


def _evidence(part: keras.Operation, call: calls.Call) -> Evidence:
    """Returns what is wrong with a part around a call.

    Along lines through the values of the call, through values of size 1, and through 0.
    """
    rng = np.random.default_rng(3)
    leaves = [
        np.asarray(leaf) if tf.is_tensor(leaf) and leaf.dtype.is_floating else None
        for leaf in keras.tree.flatten(call.arguments())
    ]
    if all(leaf is None for leaf in leaves):
        return Evidence()

    if not all(map(calls.is_float, keras.tree.flatten(call.output))):
        # A step, which shows behind it if anything depends on it.
        return Evidence(anywhere=frozenset({"kink"}))

    def on(make: Callable, i: int = 0) -> list:
        rows = [None if leaf is None else leaf[i % len(leaf)][None] for leaf in leaves]
        return [None if row is None else make(row) for row in rows]

    def normal(leaf):
        return rng.normal(size=leaf.shape)

    def spread(leaf):
        return np.where(leaf == 0, 0, max(leaf.std(), 0.01) * normal(leaf))

    lines = [
        (on(lambda a: a), on(spread), -3.0, 3.0),
        (on(normal), on(normal), -3.0, 3.0),
        (on(np.zeros_like), on(np.ones_like), -8.0, 8.0),
        (on(np.zeros_like), on(normal), -3.0, 3.0),
    ]
    others = [frozenset(_along(part, call, *line)) for line in lines]
    # The samples themselves, of which one may have a zero or a tie, all of whose numbers move;
    # and the way from each to the next, on which a kink counts.
    samples = range(max(len(leaf) for leaf in leaves if leaf is not None))
    near = frozenset().union(
        *(
            _along(part, call, here, [None if a is None else b - a for a, b in zip(here, to)],
                   0.0, 1.0, at=())
            for here, to in ((on(lambda a: a, i), on(lambda a: a, i + 1)) for i in samples)
        )
    )  # fmt: skip
    # So many points: Keras adds (n, 1) to (n, n) along another axis than to (m, n).
    at = np.linspace(0.0, 1.0, 11)
    near = near.union(
        *(_along(part, call, on(lambda a: a, i), on(normal, i), at=at) for i in samples)
    )
    anywhere = near.union(*others)
    if isinstance(part, keras.layers.Layer):
        return Evidence(near, anywhere)
    # Whether an operation comes to its kink the model tells.
    return Evidence(near - {"kink"}, anywhere)


def _along(
    part: keras.Operation,
    call: calls.Call,
    base: list,
    direction: list,
    low: float = 0.0,
    high: float = 0.0,
    at: Sequence[float] = (-2.31, -0.87, 0.0, 0.31, 1.29),
) -> set[str]:
    """Returns what is wrong along a line: a kink between two places, derivatives at points."""
    if graph.makes_masks(part):
        # What is 0 may be left out, and stays.
        pairs = zip(base, direction)
        direction = [None if b is None else np.where(b == 0, 0.0, d) for b, d in pairs]
    curve = _Curve(part, call, base, direction)
    found = set()
    if high > low and plain_differences.kink(curve.values, low, high) is not None:
        found.add("kink")
    if not len(at):
        return found
    at = np.array(at)
    exact = plain_differences.derivatives(curve.values, at)
    scale = np.full(len(at), 1e-6)
    for order, (own, (true, error)) in enumerate(zip(curve.tapes(at), exact, strict=True)):
        scale = np.maximum(scale, np.abs(true))
        sure = error < UNSETTLED * scale
        off = np.abs(own - true) > TOLERANCE["float64"][order] * scale + SAFETY * error
        if (off & sure).any() or not np.isfinite(own[sure]).all():
            found.add("wrong")
    return found


def _is_single(values: np.ndarray) -> bool:
    """Returns whether numbers with a fraction have the digits of float32 only."""
    return np.any(values % 1) and np.array_equal(values, values.astype("float32"))


class _Curve:
    """A combination of the outputs of a part along a line, one sample for each point."""

    def __init__(
        self, part: keras.Operation, call: calls.Call, base: list, direction: list
    ):
        self.part, self.call, self.base, self.direction = part, call, base, direction

    def values(self, t: np.ndarray) -> np.ndarray:
        return self._at(tf.constant(t)).numpy()

    def tapes(self, t: np.ndarray) -> list[np.ndarray]:
        """Returns y, y', y'' from two tapes; NaN where TensorFlow raises."""
        t = tf.constant(t)
        missing = np.full(len(t), np.nan)
        with tf.GradientTape() as outer:
            outer.watch(t)
            with tf.GradientTape() as inner:
                inner.watch(t)
                y = self._at(t)
            try:
                dy = inner.gradient(y, t, unconnected_gradients="zero")
            except LookupError:
                return [y.numpy(), missing, missing]
        try:
            d2y = outer.gradient(dy, t, unconnected_gradients="zero")
        except LookupError:
            return [y.numpy(), dy.numpy(), missing]
        return [y.numpy(), dy.numpy(), d2y.numpy()]

    def _at(self, t: tf.Tensor) -> tf.Tensor:
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
    """Returns whether no model in a model has a `call` of its own."""
    inner = graph.inner(part) if graph.is_composed(part) else []
    return not inner or graph.is_graph(part) and all(map(_is_plain, inner))


def smoothened(made: RandomModel, report: Any, order: int) -> Outcome | None:
    """Holds what `smoothen` returns against the model, where nothing is to be replaced."""
    if not _is_plain(made.model):
        return None
    k = report.model.smoothness
    # It replaces by the class, also where no sample comes to a kink.
    if order and (report.inference not in ("proven", "checked") or k is None or k < order):
        return None
    smooth = keras_smooth.smoothen(made.model, made.x, order=order)
    before, after = (_numbers(m(made.x, training=False)) for m in (made.model, smooth))
    distance = np.abs(before - after).max() / max(1e-3, np.abs(before).max())
    exact = made.dtype == "float64" and not COARSE & made.used.keys()
    allowed = 1e-12 if exact else 1e-4
    if distance <= allowed:
        return Outcome("smoothen", AGREES)
    return Outcome("smoothen", "DISAGREES", f"order {order} by {distance:.0e} relative")


# The study.


def _is_of_the_package(file: Path) -> bool:
    """Returns whether it is of the package, whatever folder that lies in, or this file."""
    return file.is_relative_to(PACKAGE) or file == Path(__file__)


def record(seed: int) -> dict:
    """Returns what came of a seed as plain data, also where building the model fails."""
    dtype = ("float64", "float32")[seed // 2 % 2]
    try:
        made, found = outcomes(seed, dtype)
    except Exception as error:
        frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        # An operation of Keras may refuse what another one gives.
        ours = any(_is_of_the_package(Path(name)) for name in frames[2:])
        result = "DISAGREES" if ours else NOT_BUILT
        found, used, parts = [Outcome("model", result, _words(error))], {}, []
    else:
        used, parts = dict(made.used), graph.unique(made.model)
    return {
        "seed": seed,
        "dtype": dtype,
        "layers": sum(isinstance(part, keras.layers.Layer) for _, part in parts),
        "operations": sum(not isinstance(part, keras.layers.Layer) for _, part in parts),
        "used": used,
        "outcomes": [dataclasses.asdict(each) for each in found],
    }


def _records(paths: list[Path]) -> list[dict]:
    lines = [line for path in paths if path.exists() for line in path.open()]
    return [json.loads(line) for line in lines]


def _run(seeds: range, path: Path) -> None:
    """Appends a line to a file for each seed that it does not have."""
    known = {found["seed"] for found in _records([path])}
    for seed in (seed for seed in seeds if seed not in known):
        found = record(seed)
        with path.open("a") as file:
            file.write(json.dumps(found) + "\n")
        for each in found["outcomes"]:
            if each["result"] == "DISAGREES":
                print(seed, found["dtype"], each, flush=True)


def page(records: list[dict]) -> str:
    """Returns the page of a study."""
    used = sum(
        (collections.Counter(each["used"]) for each in records), collections.Counter()
    )
    layers, operations = (
        sum(each[k] for each in records) for k in ("layers", "operations")
    )
    found = [each for found in records for each in found["outcomes"]]
    unbuilt = [each for each in found if each["result"] == NOT_BUILT]
    counts = collections.Counter((each["claim"], each["result"]) for each in found)
    told = (AGREES, "faulty, and found", NOT_BUILT)
    reasons = collections.Counter(
        (each["claim"], each["result"], _short(each["reason"]))
        for each in found
        if each["reason"] and each["result"] not in told
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

{models} random models, of the seeds below {stop}, {half} of them in
float32 (Keras {keras}, TensorFlow {tensorflow}): {layers} layers and {operations} operations of `keras.ops` in their graphs. The models with odd seeds may have
parts that are rough or have wrong derivatives, those with even ones have none but
bilinear images, behind which TensorFlow loses y''. What each is held to is in `tests/fuzz.py`: central differences of outputs in NumPy, and the same model built
in float64 from its seed. Neither shares code with what it checks but for the recording of a
layer's inputs. Further seeds whose model Keras itself does not build: {unbuilt}.

- *{agrees}*: right, or `audit` says that it is.
- *faulty, and found*: wrong or with a kink, by differences and by `audit`.
- *refused*: an error in one sentence instead of numbers.
- *not examined*: `audit` says that it cannot tell.
- *imprecise*: `audit` says that float32 loses digits of a derivative.
- *{unsure}*: a point is too near a kink or too steep a place; nothing is compared.
- *DISAGREES*: none of these. What disagreed on the way to this page is repaired; tests of its
  classes are in `tests/test_auditing.py`, `tests/test_auditing_reach.py`,
  `tests/test_lost_in_composition.py` and `tests/test_smoothing.py`.

{head}
{rows}

## Reasons

| claim | result | reason | count |
|---|---|---|---|
{reasons}

## What the models are made of

{kinds} kinds of parts, inputs, functions and ways to join them, with how often each was drawn:
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
