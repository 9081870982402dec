"""What becomes of each model of the zoo in each public function: the table.

    python tests/zoo_table.py                     # counts, and all that is neither
    python tests/zoo_table.py relu "fit_lbfgs *"  # of models and columns by their names
    python tests/zoo_table.py --write docs/zoo.md # the page of the site

There are two outcomes: the right numbers, which are Richardson's differences of the model
itself, or a refusal for the reason that the zoo has: a `TypeError` or `ValueError` of this
package that is a sentence. A third has one column alone: engine="tape" gives the derivatives
that TensorFlow has because they were asked for, with a warning where these are not those of the
model. All else is a fault.
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
# extrapolations are right to 1e-9 here. What is left is the rounding of the model, some
# digits more at each order; Keras computes losses in float32.
TOLERANCES = {
    "float64": (1e-9, 1e-7, 1e-6, 1e-5),
    "float32": (1e-5, 1e-4, 1e-3, 1e-4),
    "mixed_float16": (1e-2, 3e-2, 1e-1, 3e-2),
    "mixed_bfloat16": (5e-2, 1e-1, 3e-1, 1e-1),
}

# Where wrong numbers may come with a warning, since the user asked for this way to them.
MAY_WARN = ("derivatives tape",)


KINDS = ("right", "refused", "warned", "fault")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a model and a column: "right", "refused", "warned", or a "fault"."""

    kind: str
    text: str = ""


@dataclasses.dataclass(frozen=True)
class Met:
    """A model that met a column."""

    name: str
    column: str
    outcome: Outcome
    seconds: float


def outcome(name: str, column: str) -> Outcome:
    with _plainly() as warned:
        return _outcome(case_of(name), column, warned)


def _outcome(case: Case, column: str, warned: list) -> Outcome:
    case.restart()
    word = case.row.reason(column) or RULES[column](case)
    _ = case.exact, case.outputs
    losses = _losses(case)
    case.restart()
    try:
        fault = difference(case, COLUMNS[column](case))
    except AssertionError as error:
        fault = f"wrong: {str(error)[:300]}"
    except Exception as error:
        return refusal(error, word)
    if not fault and not column.startswith(("fit", "Derivative", "tf.function")):
        fault = _left_behind(case, losses)
    messages = [str(each.message) for each in warned]
    if fault and word and column in MAY_WARN and any(word in text for text in messages):
        return Outcome("warned", fault)
    if fault:
        return Outcome("fault", fault)
    return Outcome("right") if word is None else Outcome("fault", f"accepted, not {word!r}")


@contextlib.contextmanager
def _plainly() -> Iterator[list]:
    """Collects warnings, and leaves out what Keras writes around errors inside a layer."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        filtered = keras.config.is_traceback_filtering_enabled()
        keras.config.disable_traceback_filtering()
        try:
            yield warned
        finally:
            if filtered:
                keras.config.enable_traceback_filtering()


def met(name: str) -> list[str]:
    """Returns the columns that a model meets: Keras has to be able to fit or to save it."""
    row = ZOO[name]
    left_out = {"saved": row.saved, "DerivativeMonitor": row.fitted,
                "DerivativeModel": row.fitted}  # fmt: skip
    return [column for column in COLUMNS if left_out.get(column, True)]


def difference(case: Case, compared: Compared) -> str:
    """Returns what is not equal, as a sentence, or nothing."""
    tolerances = TOLERANCES[case.row.rounds_as or case.row.dtype]
    for name, got, right, order in compared:
        if isinstance(got, (str, type(None), bool)) or name in ("shapes", "class"):
            if got != right:
                return f"{name} is {got}, and not {right}"
            continue
        got = [np.asarray(tf.cast(part, "float64")) for part in tree.flatten(got)]
        right = [np.asarray(part, "float64") for part in tree.flatten(right)]
        if [part.size for part in got] != [part.size for part in right]:
            return f"{name} has shapes {shapes(got)}, and not {shapes(right)}"
        for one, other in zip(got, right):
            error = np.abs(one.ravel() - other.ravel()).max(initial=0.0)
            scale = max(1.0, np.abs(other).max(initial=0.0))
            if not error <= tolerances[order] * scale:
                return f"{name} is off by {error:.1e} of {scale:.1e}"
    return ""


def _losses(case: Case) -> list[float | str]:
    losses = getattr(case.model, "losses", [])
    return ["of a graph" if tf.is_symbolic_tensor(x) else float(x) for x in losses]


def _left_behind(case: Case, losses: list[float | str]) -> str:
    """Returns what a call that only looks at a model changed, or nothing."""
    for variable, value in zip(case.variables, case.start, strict=True):
        changed = not np.array_equal(np.asarray(variable), value)
        if changed and variable.path.endswith("rnn_state"):
            # An operator leaves the state that one call of the model leaves.
            variable.assign(value)
        elif changed:
            return f"{variable.path} was changed"
    return "" if _losses(case) == losses else f"losses are {_losses(case)}, were {losses}"


def refusal(error: Exception, word: str | None) -> Outcome:
    message, text = str(error), f"{type(error).__name__}: {str(error)[:400]}"
    # What a graph finds while it runs it can tell in no other way.
    if isinstance(error, tf.errors.InvalidArgumentError) and word and word in message:
        return Outcome("refused", message)
    if not isinstance(error, (TypeError, ValueError)):
        return Outcome("fault", f"raw {text}")
    if not is_ours(error):
        return Outcome("fault", f"raised in {origin(error).name}, {text}")
    if "function_node" in message or len(message) > 1500 or not message.endswith("."):
        return Outcome("fault", f"no sentence: {text}")
    if word is None:
        return Outcome("fault", f"refused: {text}")
    if not re.search(re.escape(word), message):
        return Outcome("fault", f"refused not by {word!r}: {text}")
    return Outcome("refused", message)


def _chosen(patterns: list[str], names: Any) -> list[str]:
    some = [name for name in names if any(fnmatch.fnmatch(name, p) for p in patterns)]
    return some or list(names)


def run(patterns: list[str]) -> list[Met]:
    """Has models meet columns, and prints what is neither right nor a sentence."""
    results = []
    columns = _chosen(patterns, COLUMNS)
    for name in _chosen(patterns, ZOO):
        for column in filter(columns.__contains__, met(name)):
            began = time.process_time()
            found = outcome(name, column)
            results.append(Met(name, column, found, time.process_time() - began))
            if found.kind == "fault":
                text = " ".join(found.text.split())[:300]
                print(f"{name} | {column} | {text}", flush=True)
    return results


def by_function(results: list[Met]) -> str:
    """Returns the counts of outcomes of each column."""
    lines = ["| function | right | refused in a sentence | warned | neither | seconds |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for column in [*COLUMNS, "all"]:
        some = [each for each in results if column in (each.column, "all")]
        if some:
            seconds = sum(each.seconds for each in some)
            lines.append(f"| {column} | {_counts(some)} | {seconds:.1f} |")
    return "\n".join(lines)


def by_model(results: list[Met]) -> str:
    """Returns the counts of outcomes of each model, and which columns refuse it."""
    lines = ["| model | right | refused in a sentence | warned | neither | refused by |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for name in dict.fromkeys(each.name for each in results):
        some = [each for each in results if each.name == name]
        refused = [each.column for each in some if each.outcome.kind == "refused"]
        lines.append(f"| {name} | {_counts(some)} | {', '.join(refused)} |")
    return "\n".join(lines)


def _counts(results: list[Met]) -> str:
    kinds = collections.Counter(each.outcome.kind for each in results)
    return " | ".join(str(kinds[kind]) for kind in KINDS)


PAGE = """# Models as people write them

    python tests/zoo_table.py --write docs/zoo.md

`tests/zoo.py` has {models} models: Sequential, Functional and subclassed; with several inputs and
outputs; with masks, text, states, quantized or mixed precision; with raw TensorFlow code.
Every public function with a model as its argument is called with each (Keras {keras}, TensorFlow {tensorflow}, CPU).

- *right*: the numbers are those of Richardson differences of the model itself, which use no
  derivative of TensorFlow or of this package.
- *refused in a sentence*: a `TypeError` or `ValueError` that says what to do, for the reason that
  the zoo expects.
- *warned*: `engine="tape"` was asked for and returns what TensorFlow has, with a warning that
  these are not the derivatives of the model.
- *neither*: a fault.

A few models are left out of a column: those that Keras itself cannot fit or save.
`pytest -m study tests/test_zoo.py` runs what the other tests leave out.

## By function

"tf.function" is the function inside a `tf.function`, "by the weights" the gradient of a loss of derivatives,
"saved" the derivatives of the model after `save` and `load_model`.

{functions}

## By model

{by_model}
"""


def page(results: list[Met]) -> str:
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
