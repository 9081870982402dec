"""The files of a comparison: written after every run, read again to resume."""

import csv
import dataclasses
import importlib.metadata
import io
import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_smooth import checks
from keras_smooth.comparison.experiment import Outcome, Run
from keras_smooth.comparison.problems import Problem
from keras_smooth.comparison.results import GLOROT, Results
from keras_smooth.comparison.settings import DEFAULT_INITIALIZER, Settings
from keras_smooth.lbfgs import whole_files

RESULTS = "results.json"
RESULTS_TABLE = "results.csv"
CURVES = "curves"
# The keys in results.json that are older than the words of `compare`; they stay.
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
    content: dict[str, Any] = {
        "environment": environment(results.settings),
        "settings": _stored_settings(results.settings),
        "data_digest": results.problem.digest(),
        "runs": _dicts(results.all_runs()),
        "summary": _dicts(results.summary()),
    }
    glorot = results.runs("sigmoid", GLOROT)
    if results.settings.asks_open_question() and glorot:
        content["open_question"] = {
            "initializer": GLOROT,
            "runs": _dicts(glorot),
            "summary": _dicts([results.summary_of("sigmoid", GLOROT)]),
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
    _write_text(directory / RESULTS, json.dumps(content, indent=2, allow_nan=False) + "\n")
    table = io.StringIO()
    writer = csv.DictWriter(table, [field.name for field in dataclasses.fields(Run)])
    writer.writeheader()
    writer.writerows(content["runs"])
    _write_text(directory / RESULTS_TABLE, table.getvalue())


def write_curves(results: Results, key: tuple[str, str, int], directory: Path) -> None:
    """Writes the network's y, y', y'' of one run as `curves/NAME.csv`."""
    outcome = results.outcomes[key]
    lines = ["x,y,dy,d2y"]
    for i, point in enumerate(results.problem.x):
        cells = ["" if curve is None else repr(float(curve[i])) for curve in outcome.curves]
        lines.append(",".join([repr(float(point)), *cells]))
    path = _curves_path(directory, *key)
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
    try:
        content = json.loads(checks.regular_file(path).read_text())
        stored = _read_settings(content["settings"], settings.functions)
        runs = _stored_runs(content)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"Cannot resume: {path} is damaged ({error}).") from None
    if stored != settings:
        raise ValueError(_difference(path, stored, settings))
    _check_unchanged(path, content, problem)
    outcomes = {
        (run.activation, initializer, run.seed): Outcome(
            run, _read_curves(directory, run, initializer)
        )
        for initializer, run in runs
    }
    return Results(settings, problem, outcomes)


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


def _stored_runs(content: dict) -> list[tuple[str, Run]]:
    main = content["settings"]["initializer"]
    question = content.get("open_question", {"runs": []})
    return [(main, Run(**run)) for run in content["runs"]] + [
        (question["initializer"], Run(**run)) for run in question["runs"]
    ]


def _difference(path: Path, stored: Settings, asked: Settings) -> str:
    names = [field.name for field in dataclasses.fields(stored) if field.compare]
    pairs = [(name, getattr(stored, name), getattr(asked, name)) for name in names]
    changes = [f"{name} was {old!r}, is {new!r}" for name, old, new in pairs if old != new]
    return (
        f"Cannot resume: {path} was made with other settings ({'; '.join(changes)}). Take "
        "the same settings or another output directory."
    )


def _curves_path(directory: Path, activation: str, initializer: str, seed: int) -> Path:
    suffix = "" if initializer == DEFAULT_INITIALIZER else f"-{initializer}"
    return directory / CURVES / f"{activation}{suffix}-seed{seed}.csv"


def _read_curves(directory: Path, run: Run, initializer: str) -> tuple:
    path = _curves_path(directory, run.activation, initializer, run.seed)
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        columns = [[row[name] for row in rows] for name in ("y", "dy", "d2y")]
        return tuple(None if "" in cells else np.array(cells, float) for cells in columns)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"Cannot resume: {path} is missing or damaged ({error})."
        ) from None


def _write_text(path: Path, text: str) -> None:
    whole_files.write(path, [text.encode()])
