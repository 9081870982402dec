"""Random functions of raw operations: jets, tapes and the choice of both, against differences.

    python tests/test_raw_graphs.py 0 1000 records.jsonl
    python tests/test_raw_graphs.py records.jsonl docs/raw_graphs.md

The first command appends the outcomes of each seed that the file does not have, and prints each
disagreement; the second writes a page of all outcomes. With engine="tape", wrong derivatives
need a warning that names the operation. For functions that cannot be traced, they need the
warning of the comparison with differences. Nothing else may be wrong.
"""

import collections
import functools
import json
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import raw_graphs
import tensorflow as tf
from own_errors import is_ours
from raw_graphs import NUMBERS
from richardson import derivative

import keras_smooth

ORDERS = {"jet": 4, "auto": 3, "tape": 2}
# Relative to the largest derivative of an order, in addition to the error of the differences:
# each order of a composition of nine operations loses some digits of 1e-16 to rounding.
RELATIVE = (1e-12, 1e-9, 1e-8, 1e-7, 1e-6)
SHORT, STUDY = 8, 1000


def _direction(raw):
    rng = np.random.default_rng([raw.seed, 8])
    return keras.tree.map_structure(lambda x: rng.normal(size=x.shape), raw.x)


def _direction_of_one_input(direction, position):
    """Returns the direction that moves one input only."""
    leaves = [
        v if i == position else 0 * v for i, v in enumerate(keras.tree.flatten(direction))
    ]
    return keras.tree.pack_sequence_as(direction, leaves)


def _along_one_input(raw, direction, position, engine):
    """Returns y, y', y'' by one input, multiplied by the direction of that input."""
    v = keras.tree.flatten(direction)[position]
    wrt = list(raw.x)[position] if isinstance(raw.x, dict) else position
    y, dy, d2y = keras_smooth.derivatives(
        raw.function,
        raw.x,
        wrt=wrt if isinstance(raw.x, (dict, list)) else None,
        engine=engine,
    )
    flat = np.reshape(v, (len(v), -1))
    dims = flat.shape[1]
    first = np.reshape(dy, (*y.shape, dims))
    second = np.reshape(d2y, (*y.shape, dims, dims))
    return (
        y,
        np.einsum("nki,ni->nk", first, flat),
        np.einsum("nkij,ni,nj->nk", second, flat, flat),
    )


def _compiled(raw, y):
    """Returns the function as a graph, which is faster, or itself if the graph has another y."""
    graph = tf.function(raw.function, autograph=False)
    try:
        is_same = np.allclose(graph(raw.x), y, rtol=1e-12, atol=1e-12)
    except Exception:
        # Shapes that are unknown in a graph may lead to other operations, which may raise.
        is_same = False
    return graph if is_same else raw.function


def _exact(raw, y, direction):
    """Returns derivatives along the direction and the errors of the differences."""
    function = _compiled(raw, y)

    @functools.cache
    def along(t):
        moved = keras.tree.map_structure(lambda x, v: x + t * v, raw.x, direction)
        return np.asarray(function(moved))

    # The differences of all orders share points.
    return [(y, 0.0), *(_derivative_and_error(along, k) for k in range(1, 5))]


def _derivative_and_error(along, order):
    """Returns a derivative and its error, which includes differences of smaller steps.

    If a kink is near, all differences with larger steps have the same error.
    """
    value, error = derivative(along, order, 0.1)
    # For orders above the first, the shortest step leaves too few digits.
    for step in (1e-3, 1e-6)[: 2 if order == 1 else 1]:
        near, error_near = derivative(along, order, step, halvings=4)
        error = max(error, np.abs(value - near).max() - 30 * error_near)
    return value, error


def _claims(raw):
    """Yields directions, each with functions that return derivatives along it, by name.

    Jets are always compared with differences, "auto" and tapes alternately.
    """
    direction = _direction(raw)
    engine_of_seed = ("auto", "tape")[raw.seed % 2]
    yield (
        direction,
        {
            engine: functools.partial(
                keras_smooth.directional,
                raw.function,
                raw.x,
                direction,
                order,
                engine=engine,
            )
            for engine, order in ORDERS.items()
            if engine in ("jet", engine_of_seed)
        },
    )
    inputs = keras.tree.flatten(raw.x)
    position = raw.seed % len(inputs)
    # Tapes need one backward pass for each number of y and of y'.
    if inputs[position][0].size <= NUMBERS:
        yield (
            _direction_of_one_input(direction, position),
            {
                f"by one input, {engine_of_seed}": functools.partial(
                    _along_one_input, raw, direction, position, engine_of_seed
                )
            },
        )


def outcomes(seed):
    """Returns the outcome of each engine: "right", "unsettled", a refusal or "WRONG ..."."""
    raw = raw_graphs.raw_graph(seed)
    results, messages = {}, ""
    y = np.asarray(raw.function(raw.x))
    if not np.isfinite(y).all():
        return raw, {"none": "not finite"}
    for direction, calls in _claims(raw):
        exact = _exact(raw, y, direction)
        for name, call in calls.items():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                result = _outcome(call, exact)
            # Each warning is given once for a function.
            messages += " ".join(str(warning.message) for warning in caught)
            is_warned = "compared with differences of the model" in messages
            is_warned |= "tape" in name and "engine='tape' returns" in messages
            is_number = result.startswith("WRONG: order")
            results[name] = (
                result.replace("WRONG", "warned") if is_warned and is_number else result
            )
    return raw, results


def _outcome(call, exact):
    try:
        values = call()
    except Exception as error:
        is_refusal = isinstance(error, (ValueError, TypeError)) and is_ours(error)
        kind = "refused" if is_refusal else "WRONG"
        return f"{kind}: {type(error).__name__} {str(error)[:200]}"
    return _compared(values, exact)


def _compared(values, exact):
    unsettled = ""
    for order, (value, (expected, error)) in enumerate(zip(values, exact)):
        scale = max(1.0, np.abs(expected).max())
        if not np.isfinite(error) or error > 1e-3 * scale:
            unsettled = f"unsettled from order {order}"
            break
        difference = np.abs(np.asarray(value) - expected).max()
        if not difference <= RELATIVE[order] * scale + 30 * error:
            return f"WRONG: order {order} off by {difference / scale:.1e}"
    return unsettled or "right"


def _assert_agreement(seed):
    raw, results = outcomes(seed)
    wrong = {
        engine: result for engine, result in results.items() if result.startswith("WRONG")
    }
    assert not wrong, (wrong, dict(raw.used))


@pytest.mark.slow
def test_random_raw_graphs_agree():
    for seed in range(SHORT):
        _assert_agreement(seed)


@pytest.mark.study
def test_many_random_raw_graphs_agree():
    for seed in range(SHORT, STUDY):
        _assert_agreement(seed)


def _records(path):
    return [json.loads(line) for line in path.open()] if path.exists() else []


def main(first, last, path):
    """Appends the outcomes of the seeds from first to before last to a file."""
    known_seeds = {record["seed"] for record in _records(path)}
    for seed in sorted(set(range(first, last)) - known_seeds):
        raw, results = outcomes(seed)
        record = {"seed": seed, "used": dict(raw.used), "outcomes": results}
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        for engine, result in results.items():
            if result.startswith(("WRONG", "refused")):
                print(seed, engine, result.replace("\n", " "), dict(raw.used), flush=True)


KINDS = ("right", "warned", "refused", "unsettled", "not finite", "WRONG")
PAGE = """# Random graphs of raw operations

    python tests/test_raw_graphs.py 0 1000 records.jsonl
    python tests/test_raw_graphs.py records.jsonl docs/raw_graphs.md

{number} random functions, made from the seeds {first} to {last} (TensorFlow {tensorflow}, float64). Each has
three to nine operations of `tf`, custom layers and shared parts, and one to three inputs as a tensor, a list
or a dict. The derivatives are compared with Richardson differences along one direction, where these agree
with each other: jets to order 4, and also `engine="auto"` to order 3 for even seeds and nested tapes to order
2 for odd seeds. If an input is small, derivatives with respect to it alone are compared as well. Earlier
wrong results have been fixed, with tests of similar cases in `tests/test_operation_table.py`,
`tests/test_verification.py` and `tests/test_lost_in_composition.py`.

- *warned*: wrong derivatives of TensorFlow, returned with a warning. Either `engine="tape"` was requested,
  and the warning names the operation; `"auto"` and jets are right there. Or TensorFlow cannot trace the
  function, so that every engine uses tapes, and the warning says that differences do not agree (seed 616).
- *refused*: a clear error instead of numbers; the messages are below.
- *unsettled*: a point is too near a kink, or the function is too steep, for differences of this order; lower
  orders are compared.
- *not finite*: the values of the function itself are not finite.
- *WRONG*: none of these.

| claim | {head} |
|---|{line}
{rows}

## Refused

| claim | reason | count |
|---|---|---|
{refused}

## What the functions are made of

{kinds} kinds of operations, layers and ways to combine them, and how often each was drawn: {drawn}.
"""


def page(records):
    """Returns the page with the outcomes of all seeds."""
    counts, drawn, refused = (collections.Counter() for _ in range(3))
    for record in records:
        drawn.update(record["used"])
        for engine, result in record["outcomes"].items():
            kind = next(kind for kind in KINDS if result.startswith(kind))
            counts[engine, kind] += 1
            if kind == "refused":
                refused[engine, result.partition(": ")[2].partition(". ")[0]] += 1
    claims = sorted({engine for engine, _ in counts})
    return PAGE.format(
        number=len(records),
        first=min(record["seed"] for record in records),
        last=max(record["seed"] for record in records),
        tensorflow=tf.__version__,
        head=" | ".join(KINDS),
        line="---|" * len(KINDS),
        rows="\n".join(
            f"| {claim} | " + " | ".join(str(counts[claim, k]) for k in KINDS) + " |"
            for claim in claims
        ),
        refused="\n".join(
            f"| {claim} | {reason} | {count} |"
            for (claim, reason), count in refused.most_common()
        ),
        kinds=len(drawn),
        drawn=", ".join(f"{name} {number}" for name, number in drawn.most_common()),
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        Path(sys.argv[2]).write_text(page(_records(Path(sys.argv[1]))))
    else:
        main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
