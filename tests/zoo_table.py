"""The outcome of each public function for each model of the zoo, as a table.

    python tests/zoo_table.py                     # counts, and all faults
    python tests/zoo_table.py relu "fit_lbfgs *"  # only some models and columns
    python tests/zoo_table.py --write docs/zoo.md # the page of the site

There are two good outcomes: the right numbers, which are Richardson's differences of the model
itself, or an error for the reason that the zoo expects, which is a `TypeError` or `ValueError`
of this package with a full sentence. One column has a third: engine="tape" returns TensorFlow's
derivatives, with a warning where these are not the derivatives of the model. Everything else is
a fault.
"""

import argparse
import collections
import contextlib
import dataclasses
import fnmatch
import os
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
import tensorflow as tf
from keras import tree
from own_errors import is_ours, origin
from zoo import ZOO
from zoo_columns import COLUMNS, RULES, Case, Compared, case_of, shapes

# For y, y', y'' and a loss. Differences at 0.1, 0.05, 0.025 and 0.0125 with three
# extrapolations are right to 1e-9 here. The rest is the rounding of the model, which costs
# some digits more at each order; Keras computes losses in float32.
TOLERANCES = {
    "float64": (1e-9, 1e-7, 1e-6, 1e-5),
    "float32": (1e-5, 1e-4, 1e-3, 1e-4),
    "mixed_float16": (1e-2, 3e-2, 1e-1, 3e-2),
    "mixed_bfloat16": (5e-2, 1e-1, 3e-1, 1e-1),
}

# Columns that may return wrong numbers with a warning, since the user chose the engine.
MAY_WARN = ("derivatives tape",)


KINDS = ("right", "refused", "warned", "fault")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a column for a model: "right", "refused", "warned", or a "fault"."""

    kind: str
    text: str = ""


@dataclasses.dataclass(frozen=True)
class Result:
    """The outcome of one column for one model, and its time."""

    name: str
    column: str
    outcome: Outcome
    seconds: float


def outcome(name: str, column: str) -> Outcome:
    with _recorded_warnings() as warned:
        return _outcome(case_of(name), column, warned)


def _outcome(case: Case, column: str, warned: list) -> Outcome:
    case.restart()
    reason = case.row.reason(column) or RULES[column](case)
    _ = case.exact, case.outputs
    losses = _losses(case)
    case.restart()
    try:
        fault = difference(case, COLUMNS[column](case))
    except AssertionError as error:
        fault = f"wrong: {str(error)[:300]}"
    except Exception as error:
        return refusal(error, reason)
    if not fault and not column.startswith(("fit", "Derivative", "tf.function")):
        fault = _side_effects(case, losses)
    messages = [str(each.message) for each in warned]
    if fault and reason and column in MAY_WARN and any(reason in text for text in messages):
        return Outcome("warned", fault)
    if fault:
        return Outcome("fault", fault)
    return (
        Outcome("right")
        if reason is None
        else Outcome("fault", f"accepted, not {reason!r}")
    )


@contextlib.contextmanager
def _recorded_warnings() -> Iterator[list]:
    """Collects warnings, and switches off what Keras adds to errors inside a layer."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        was_filtering = keras.config.is_traceback_filtering_enabled()
        keras.config.disable_traceback_filtering()
        try:
            yield warned
        finally:
            if was_filtering:
                keras.config.enable_traceback_filtering()


def columns_of(name: str) -> list[str]:
    """Returns the columns of a model; some require that Keras can fit or save it."""
    row = ZOO[name]
    is_possible = {"saved": row.saved, "DerivativeMonitor": row.fitted,
                "DerivativeModel": row.fitted}  # fmt: skip
    return [column for column in COLUMNS if is_possible.get(column, True)]


def difference(case: Case, compared: Compared) -> str:
    """Returns a message about the first difference, or an empty string."""
    tolerances = TOLERANCES[case.row.rounds_as or case.row.dtype]
    for name, result, expected, order in compared:
        if isinstance(result, (str, type(None), bool)) or name in ("shapes", "class"):
            if result != expected:
                return f"{name} is {result}, and not {expected}"
            continue
        result = [np.asarray(tf.cast(part, "float64")) for part in tree.flatten(result)]
        expected = [np.asarray(part, "float64") for part in tree.flatten(expected)]
        if [part.size for part in result] != [part.size for part in expected]:
            return f"{name} has shapes {shapes(result)}, and not {shapes(expected)}"
        for value, expected_value in zip(result, expected):
            error = np.abs(value.ravel() - expected_value.ravel()).max(initial=0.0)
            scale = max(1.0, np.abs(expected_value).max(initial=0.0))
            if not error <= tolerances[order] * scale:
                return f"{name} is off by {error:.1e} of {scale:.1e}"
    return ""


def _losses(case: Case) -> list[float | str]:
    losses = getattr(case.model, "losses", [])
    return ["of a graph" if tf.is_symbolic_tensor(x) else float(x) for x in losses]


def _side_effects(case: Case, losses: list[float | str]) -> str:
    """Returns what a call has changed in the model, or an empty string."""
    for variable, value in zip(case.variables, case.start, strict=True):
        changed = not np.array_equal(np.asarray(variable), value)
        if changed and variable.path.endswith("rnn_state"):
            # An operator may change the state as one call of the model does.
            variable.assign(value)
        elif changed:
            return f"{variable.path} was changed"
    return "" if _losses(case) == losses else f"losses are {_losses(case)}, were {losses}"


def refusal(error: Exception, reason: str | None) -> Outcome:
    message, text = str(error), f"{type(error).__name__}: {str(error)[:400]}"
    # An error at the run time of a graph can only be of this class.
    if isinstance(error, tf.errors.InvalidArgumentError) and reason and reason in message:
        return Outcome("refused", message)
    if not isinstance(error, (TypeError, ValueError)):
        return Outcome("fault", f"raw {text}")
    if not is_ours(error):
        return Outcome("fault", f"raised in {origin(error).name}, {text}")
    if "function_node" in message or len(message) > 1500 or not message.endswith("."):
        return Outcome("fault", f"no sentence: {text}")
    if reason is None:
        return Outcome("fault", f"refused: {text}")
    if not re.search(re.escape(reason), message):
        return Outcome("fault", f"refused not by {reason!r}: {text}")
    return Outcome("refused", message)


def _matching(patterns: list[str], names: Any) -> list[str]:
    matching = [name for name in names if any(fnmatch.fnmatch(name, p) for p in patterns)]
    return matching or list(names)


def run(patterns: list[str]) -> list[Result]:
    """Runs columns for models, and prints all faults."""
    results = []
    columns = _matching(patterns, COLUMNS)
    for name in _matching(patterns, ZOO):
        for column in filter(columns.__contains__, columns_of(name)):
            began = time.process_time()
            column_outcome = outcome(name, column)
            results.append(
                Result(name, column, column_outcome, time.process_time() - began)
            )
            if column_outcome.kind == "fault":
                text = " ".join(column_outcome.text.split())[:300]
                print(f"{name} | {column} | {text}", flush=True)
    return results


def by_function(results: list[Result]) -> str:
    """Returns the counts of outcomes of each column."""
    lines = ["| function | right | refused | warned | fault | seconds |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for column in [*COLUMNS, "all"]:
        selected = [each for each in results if column in (each.column, "all")]
        if selected:
            seconds = sum(each.seconds for each in selected)
            lines.append(f"| {column} | {_counts(selected)} | {seconds:.1f} |")
    return "\n".join(lines)


def by_model(results: list[Result]) -> str:
    """Returns the counts of outcomes of each model, and which columns refuse it."""
    lines = ["| model | right | refused | warned | fault | refused by |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for name in dict.fromkeys(each.name for each in results):
        selected = [each for each in results if each.name == name]
        refused = [each.column for each in selected if each.outcome.kind == "refused"]
        lines.append(f"| {name} | {_counts(selected)} | {', '.join(refused)} |")
    return "\n".join(lines)


def _counts(results: list[Result]) -> str:
    kinds = collections.Counter(each.outcome.kind for each in results)
    return " | ".join(str(kinds[kind]) for kind in KINDS)


PAGE = """# Models of many styles

    python tests/zoo_table.py --write docs/zoo.md

`tests/zoo.py` has {models} models: Sequential, Functional and subclassed; with several inputs and
outputs; with masks, text, states, quantized or mixed precision; with raw TensorFlow code.
Each public function with a model as its argument was called with each of them (Keras {keras}, TensorFlow
{tensorflow}, CPU).

- *right*: the numbers agree with Richardson differences of the model, which use no derivatives of
  TensorFlow or of this package.
- *refused*: a `TypeError` or `ValueError` that says what to do, for the reason expected in `tests/zoo.py`.
- *warned*: `engine="tape"` was requested and returns TensorFlow's derivatives, with a warning that they are
  not the derivatives of the model.
- *fault*: anything else.

Models that Keras itself cannot fit or save are not counted in the columns concerned.
`pytest -m study tests/test_zoo.py` runs all combinations; the other tests run a part of them.

## By function

"tf.function" means inside of a `tf.function`, "by the weights" is the gradient of a loss of derivatives with
respect to the weights, and "saved" the derivatives of the model after `save` and `load_model`.

{functions}

## By model

{by_model}
"""


def page(results: list[Result]) -> str:
    """Returns the page of the site."""
    return PAGE.format(
        models=len(ZOO), keras=keras.__version__, tensorflow=tf.__version__,
        functions=by_function(results), by_model=by_model(results),
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("patterns", nargs="*", help="of models and columns by their names")
    parser.add_argument("--write", type=Path, help="the page, of all models and columns")
    arguments = parser.parse_args()
    results = run(arguments.patterns)
    print(by_function(results))
    if arguments.write:
        arguments.write.write_text(page(results))
