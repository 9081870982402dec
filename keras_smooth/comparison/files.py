"""The files of a comparison: written after every run, read again to resume."""

import csv
import dataclasses
import importlib.metadata
import io
import json
import math
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_smooth.comparison import schema, tasks
from keras_smooth.comparison.experiment import Outcome, Run, errors
from keras_smooth.comparison.problems import Problem
from keras_smooth.comparison.results import GLOROT, Key, Results
from keras_smooth.comparison.settings import DEFAULT_INITIALIZER, Settings
from keras_smooth.lbfgs import whole_files

RESULTS = "results.json"
RESULTS_TABLE = "results.csv"
CURVES = "curves"
# The keys in results.json that are older than the words of `compare`; they stay.
_LIST_OF_NUMBERS = re.compile(r"\[\n[\s0-9eE.,+\-nul]*\]")
KEYS_OF_SETTINGS = {"epochs": "iterations", "method": "optimizer"}


def environment(settings: Settings) -> dict:
    """Returns versions and the machine, for the report."""
    return {
        "python": platform.python_version(),
        **versions(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "device": settings.device_name(),
    }


def versions() -> dict[str, str]:
    """Returns the versions of the packages that the numbers depend on."""
    packages = ("keras-smooth", "tensorflow", "keras", "tensorflow-probability", "numpy")
    return {name: importlib.metadata.version(name) for name in packages}


def as_dict(results: Results) -> dict:
    """Returns the content of `results.json`."""
    settings = results.settings
    content: dict[str, Any] = {
        "environment": environment(settings),
        "settings": _stored_settings(settings),
        "data_digest": results.problem.digest(),
        "runs": _stored_runs(
            [outcome for name in settings.activations for outcome in results.found(name)]
        ),
        "summary": _dicts(results.summary()),
    }
    glorot = results.found("sigmoid", GLOROT)
    if settings.asks_open_question() and glorot:
        content["open_question"] = {
            "initializer": GLOROT,
            "runs": _stored_runs(glorot),
            "summary": _dicts([results.summary_of("sigmoid", GLOROT)]),
        }
    beside = results.beside()
    if beside:
        content["beside"] = {
            "activation": settings.activation_beside(),
            "methods": {name: _stored_runs(found) for name, found in beside.items()},
        }
    if results.seconds is not None:
        content["seconds"] = results.seconds
    return content


def _stored_settings(settings: Settings) -> dict:
    fields = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.compare
    }
    return {KEYS_OF_SETTINGS.get(name, name): value for name, value in fields.items()}


def _read_settings(stored: dict, functions: Mapping[str, Callable]) -> Settings:
    names = {key: name for name, key in KEYS_OF_SETTINGS.items()}
    fields = {names.get(key, key): value for key, value in stored.items()}
    return Settings(**fields, functions=functions)


def _stored_runs(outcomes: Iterable[Outcome]) -> list[dict]:
    outcomes = list(outcomes)
    return [
        {**run, **({"learning": outcome.learning} if outcome.learning else {})}
        for run, outcome in zip(_dicts(one.run for one in outcomes), outcomes)
    ]


def _dicts(rows: Iterable) -> list[dict]:
    return [
        {name: _json_number(value) for name, value in dataclasses.asdict(row).items()}
        for row in rows
    ]


def _json_number(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(results: Results, directory: Path) -> None:
    """Writes `results.json` and `results.csv`; a reader never sees half a file."""
    content = as_dict(results)
    _write_text(directory / RESULTS, _as_text(content))
    table = io.StringIO()
    names = [field.name for field in dataclasses.fields(Run)]
    writer = csv.DictWriter(table, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(content["runs"])
    _write_text(directory / RESULTS_TABLE, table.getvalue())


def _as_text(content: dict) -> str:
    """Returns JSON with a line a value, but lists of numbers in one line."""
    text = json.dumps(content, indent=2, allow_nan=False)
    # Text in JSON has no line breaks: what begins so is no text.
    return _LIST_OF_NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n"


def write_curves(results: Results, key: Key, directory: Path) -> None:
    """Writes the network's y, y', y'' of one run as `curves/NAME.csv`."""
    outcome = results.outcomes[key]
    lines = ["x,y,dy,d2y"]
    for i, point in enumerate(results.problem.x):
        cells = ["" if curve is None else repr(float(curve[i])) for curve in outcome.curves]
        lines.append(",".join([repr(float(point)), *cells]))
    path = _curves_path(directory, key, results.settings)
    path.parent.mkdir(exist_ok=True)
    _write_text(path, "\n".join(lines) + "\n")


def read(settings: Settings, problem: Problem, directory: Path) -> Results:
    """Returns the runs that an earlier comparison with the same settings has finished.

    Raises:
        ValueError: If the directory holds another comparison, or none that can be read.
    """
    path = directory / RESULTS
    if not path.exists():
        return Results(settings, problem)
    content = _content(path)
    try:
        stored = _read_settings(content["settings"], settings.functions)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Cannot resume: {path} is damaged ({error}).") from None
    if stored != settings:
        raise ValueError(_difference(path, stored, settings))
    _check_unchanged(path, content, problem)
    return Results(settings, problem, _outcomes(path, content, settings, problem))


def _content(path: Path) -> dict:
    """Returns what is in results.json, as the schema wants it."""
    if not path.is_file():
        raise ValueError(f"Cannot resume: {path} is no regular file.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        fault = schema.fault(content)
    except OSError as error:
        raise ValueError(f"Cannot resume: {path}: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Cannot resume: {path} is damaged ({error}).") from None
    if fault:
        raise ValueError(f"Cannot resume: {path} is damaged ({fault}).")
    return content


def _outcomes(
    path: Path, content: dict, settings: Settings, problem: Problem
) -> dict[Key, Outcome]:
    asked = {
        (activation, *start)
        for activation, starts in tasks.wanted(settings)
        for start in starts
    }
    outcomes: dict[Key, Outcome] = {}
    for initializer, method, fields in _read_runs(content):
        learning = fields.pop("learning", {})
        if len({len(column) for column in learning.values()}) > 1:
            raise ValueError(
                f"Cannot resume: {path} is damaged (the columns of learning of "
                f"{fields['activation']}, seed {fields['seed']}, differ in length)."
            )
        run = Run(**fields)
        if run.signal is None:
            run = dataclasses.replace(run, signal=math.nan)
        key = (run.activation, initializer, run.seed, method)
        if key not in asked or key in outcomes:
            reason = "is there twice" if key in outcomes else "is not of these settings"
            raise ValueError(
                f"Cannot resume: {path} is damaged (the run of {run.activation}, seed "
                f"{run.seed}, {method}, {reason})."
            )
        curves = _read_curves(_curves_path(path.parent, key, settings), run, problem)
        outcomes[key] = Outcome(run, curves, learning)
    return outcomes


def _check_unchanged(path: Path, content: dict, problem: Problem) -> None:
    """Raises where runs would be mixed with those of other data or other versions."""
    # Version 0.1.0 kept no digest.
    if content.get("data_digest", problem.digest()) != problem.digest():
        raise ValueError(
            f"Cannot resume: {path} was made with other data of {problem.name!r}. Take the "
            "same data or another output directory."
        )
    here = versions()
    there = {name: content["environment"].get(name) for name in here}
    changes = [
        f"{name} was {there[name]}, is {here[name]}"
        for name in here
        if there[name] != here[name]
    ]
    if changes:
        raise ValueError(
            f"Cannot resume: {path} was made with other versions ({'; '.join(changes)}). "
            "Take the same versions or another output directory."
        )


def _read_runs(content: dict) -> Iterator[tuple[str, str, dict]]:
    """Gives initializer, method and fields of every run that is stored."""
    initializer = content["settings"]["initializer"]
    method = content["settings"]["optimizer"]
    question = content.get("open_question", {"runs": [], "initializer": ""})
    beside = content.get("beside", {"methods": {}})["methods"]
    for run in content["runs"]:
        yield initializer, method, run
    for run in question["runs"]:
        yield question["initializer"], method, run
    for name, runs in beside.items():
        for run in runs:
            yield initializer, name, run


def _difference(path: Path, stored: Settings, asked: Settings) -> str:
    names = [field.name for field in dataclasses.fields(stored) if field.compare]
    pairs = [(name, getattr(stored, name), getattr(asked, name)) for name in names]
    changes = [f"{name} was {old!r}, is {new!r}" for name, old, new in pairs if old != new]
    return (
        f"Cannot resume: {path} was made with other settings ({'; '.join(changes)}). Take "
        "the same settings or another output directory."
    )


def _curves_path(directory: Path, key: Key, settings: Settings) -> Path:
    activation, initializer, seed, method = key
    parts = [activation]
    parts += [initializer] if initializer != DEFAULT_INITIALIZER else []
    parts += [method] if method != settings.method else []
    return directory / CURVES / f"{'-'.join(parts)}-seed{seed}.csv"


def _read_curves(path: Path, run: Run, problem: Problem) -> tuple:
    """Returns the curves of a run, at the test points and with the errors that it has."""
    names = ("x", "y", "dy", "d2y")
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        columns = [[row[name] for row in rows] for name in names]
        x, *curves = (None if "" in cells else np.array(cells, float) for cells in columns)
        if not np.array_equal(x, problem.x):
            raise ValueError("its x are not the test points")
        found = errors(problem, tuple(curves))
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise ValueError(
            f"Cannot resume: {path} is missing or damaged ({error})."
        ) from None
    for name, error in found.items():
        # Numbers are written so that they are read the same: sums in order are the same too.
        if error != getattr(run, name):
            raise ValueError(
                f"Cannot resume: {path} is damaged, or {RESULTS} is: {name} of the curves is "
                f"{error}, and of the run {getattr(run, name)}."
            )
    return tuple(curves)


def _write_text(path: Path, text: str) -> None:
    whole_files.write(path, [text.encode()])
