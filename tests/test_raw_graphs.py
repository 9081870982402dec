"""Random functions of raw operations: jets, tapes and the choice of both, against differences.

    python tests/test_raw_graphs.py 0 1000 records.jsonl
    python tests/test_raw_graphs.py records.jsonl docs/raw_graphs.md

The first appends what came of each seed that the file does not have, and prints each
disagreement; the second writes a page of all of them. Nested tapes that are asked for and that
TensorFlow has wrong are warned of by name, and wrong ones of functions that it cannot trace
after a comparison; nothing else may be wrong.
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
# Relative to the largest derivative of a sample and order: differences give their own error,
# and each order of a composition of nine operations loses some digits of 1e-16 to rounding.
RELATIVE = (1e-12, 1e-9, 1e-8, 1e-7, 1e-6)
SHORT, STUDY = 8, 1000


def _direction(made):
    rng = np.random.default_rng([made.seed, 8])
    return keras.tree.map_structure(lambda x: rng.normal(size=x.shape), made.x)


def _held(direction, place):
    """Returns the direction that moves one input only."""
    leaves = [
        v if i == place else 0 * v for i, v in enumerate(keras.tree.flatten(direction))
    ]
    return keras.tree.pack_sequence_as(direction, leaves)


def _contracted(made, direction, place, engine):
    """Returns y, y', y'' by one input, multiplied by the direction of that input."""
    v = keras.tree.flatten(direction)[place]
    wrt = list(made.x)[place] if isinstance(made.x, dict) else place
    y, dy, d2y = keras_smooth.derivatives(
        made.function,
        made.x,
        wrt=wrt if isinstance(made.x, (dict, list)) else None,
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


def _compiled(made, y):
    """Returns the function as a graph, which is faster, or itself if that computes another y."""
    graph = tf.function(made.function, autograph=False)
    try:
        is_same = np.allclose(graph(made.x), y, rtol=1e-12, atol=1e-12)
    except Exception:
        # Shapes that only a run knows lead to other operations, which may not fit.
        is_same = False
    return graph if is_same else made.function


def _exact(made, y, direction):
    """Returns derivatives along the direction and how far differences are from settled."""
    function = _compiled(made, y)

    @functools.cache
    def along(t):
        moved = keras.tree.map_structure(lambda x, v: x + t * v, made.x, direction)
        return np.asarray(function(moved))

    # The steps of the orders have points in common.
    return [(y, 0.0), *(_settled(along, k) for k in range(1, 5))]


def _settled(along, order):
    """Returns a derivative and how wrong it may be, as smaller steps than its own tell.

    A kink between them moves all larger differences alike.
    """
    value, error = derivative(along, order, 0.1)
    # Of an order above the first, shorter steps keep too few digits.
    for step in (1e-3, 1e-6)[: 2 if order == 1 else 1]:
        near, error_near = derivative(along, order, step, halvings=4)
        error = max(error, np.abs(value - near).max() - 30 * error_near)
    return value, error


def _claims(made):
    """Yields directions, and what gives the derivatives along them, by names.

    Jets are always held to differences; the choice of an engine and tapes in turns.
    """
    direction = _direction(made)
    drawn = ("auto", "tape")[made.seed % 2]
    yield (
        direction,
        {
            engine: functools.partial(
                keras_smooth.directional,
                made.function,
                made.x,
                direction,
                order,
                engine=engine,
            )
            for engine, order in ORDERS.items()
            if engine in ("jet", drawn)
        },
    )
    inputs = keras.tree.flatten(made.x)
    place = made.seed % len(inputs)
    # Tapes sweep once for each number of y and of y'.
    if inputs[place][0].size <= NUMBERS:
        yield (
            _held(direction, place),
            {
                f"by one input, {drawn}": functools.partial(
                    _contracted, made, direction, place, drawn
                )
            },
        )


def outcomes(seed):
    """Returns what came of each engine: "right", "unsettled", a refusal or "WRONG ..."."""
    made = raw_graphs.raw_graph(seed)
    results, said = {}, ""
    y = np.asarray(made.function(made.x))
    if not np.isfinite(y).all():
        return made, {"none": "not finite"}
    for direction, calls in _claims(made):
        exact = _exact(made, y, direction)
        for name, call in calls.items():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                result = _outcome(call, exact)
            # Of one function it is said once.
            said += " ".join(str(each.message) for each in caught)
            is_warned = "compared with differences of the model" in said
            is_warned |= "tape" in name and "engine='tape' returns" in said
            is_number = result.startswith("WRONG: order")
            results[name] = (
                result.replace("WRONG", "warned") if is_warned and is_number else result
            )
    return made, results


def _outcome(call, exact):
    try:
        values = call()
    except Exception as error:
        is_a_sentence = isinstance(error, (ValueError, TypeError)) and is_ours(error)
        kind = "refused" if is_a_sentence else "WRONG"
        return f"{kind}: {type(error).__name__} {str(error)[:200]}"
    return _compared(values, exact)


def _compared(values, exact):
    unsettled = ""
    for order, (value, (true, error)) in enumerate(zip(values, exact)):
        scale = max(1.0, np.abs(true).max())
        if not np.isfinite(error) or error > 1e-3 * scale:
            unsettled = f"unsettled from order {order}"
            break
        off = np.abs(np.asarray(value) - true).max()
        if not off <= RELATIVE[order] * scale + 30 * error:
            return f"WRONG: order {order} off by {off / scale:.1e}"
    return unsettled or "right"


def _assert_agreement(seed):
    made, results = outcomes(seed)
    wrong = {engine: each for engine, each in results.items() if each.startswith("WRONG")}
    assert not wrong, (wrong, dict(made.used))


@pytest.mark.slow
def test_random_raw_graphs():
    for seed in range(SHORT):
        _assert_agreement(seed)


@pytest.mark.study
def test_many_random_raw_graphs():
    for seed in range(SHORT, STUDY):
        _assert_agreement(seed)


def _records(path):
    return [json.loads(line) for line in path.open()] if path.exists() else []


def main(first, last, path):
    """Appends the outcomes of the seeds from first to before last to a file."""
    known = {record["seed"] for record in _records(path)}
    for seed in sorted(set(range(first, last)) - known):
        made, results = outcomes(seed)
        record = {"seed": seed, "used": dict(made.used), "outcomes": results}
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        for engine, result in results.items():
            if result.startswith(("WRONG", "refused")):
                print(seed, engine, result.replace("\n", " "), dict(made.used), flush=True)


KINDS = ("right", "warned", "refused", "unsettled", "not finite", "WRONG")
PAGE = """# Random graphs of raw operations

    python tests/test_raw_graphs.py 0 1000 records.jsonl
    python tests/test_raw_graphs.py records.jsonl docs/raw_graphs.md

{number} random functions, of the seeds {first} to {last}, of three to nine
operations of `tf`, custom layers and shared parts, with one to three inputs as a tensor, a list or a
dict (TensorFlow {tensorflow}, float64). Jets are held to order 4, the engine "auto" to order 3 and nested
tapes to order 2, against Richardson's differences along one direction, where these agree with each
other; the last two in turns, and also derivatives by one input. What disagreed on the way to this page
is repaired: tests of its classes are in `tests/test_operation_table.py`,
`tests/test_verification.py` and `tests/test_lost_in_composition.py`.

- *warned*: nested tapes return what TensorFlow has, after a warning. They are asked for, and the warning
  names the operation; "auto" and jets are right there. Or TensorFlow cannot trace the function, so that every
  engine uses tapes, and the warning says that differences do not agree (seed 616).
- *refused*: an error in one sentence instead of numbers; the sentences are below.
- *unsettled*: a kink is too near, or values are too steep, for differences; lower orders are
  compared.
- *not finite*: the function itself is not.
- *WRONG*: none of these.

| claim | {head} |
|---|{line}
{rows}

## Refused

| claim | reason | count |
|---|---|---|
{refused}

## What the functions are made of

{kinds} kinds, with how often each was drawn: {drawn}.
"""


def page(records):
    """Returns the page of what came of all seeds."""
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
            f"| {e} | {words} | {n} |" for (e, words), n in refused.most_common()
        ),
        kinds=len(drawn),
        drawn=", ".join(f"{name} {number}" for name, number in drawn.most_common()),
    )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        Path(sys.argv[2]).write_text(page(_records(Path(sys.argv[1]))))
    else:
        main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
