"""The runs of an earlier comparison, read from its files: nothing is taken over unchecked."""

import csv
import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from keras_smooth import checks
from keras_smooth.comparison import files, schema, tasks
from keras_smooth.comparison.experiment import Outcome, Run, errors
from keras_smooth.comparison.problems import Problem
from keras_smooth.comparison.results import Key, Results
from keras_smooth.comparison.settings import Settings


def read(settings: Settings, problem: Problem, directory: Path) -> Results:
    """Returns the runs that an earlier comparison with the same settings has finished.

    Raises:
        ValueError: If the directory holds another comparison, or none that can be read.
    """
    path = directory / files.RESULTS
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
    outcomes = _outcomes(path, content, settings, problem)
    # Version 0.1.0 kept none.
    if "digest" in content and content["digest"] != files.digest(content, outcomes):
        raise ValueError(
            f"Cannot resume: {path} or a file of curves is damaged or was edited (its digest "
            "is not that of its content). Take another output directory."
        )
    return Results(settings, problem, outcomes, content.get("seconds"))


def _content(path: Path) -> dict:
    """Returns what is in results.json, as the schema wants it."""
    try:
        content = json.loads(checks.regular_file(path).read_text(encoding="utf-8"))
        fault = schema.fault(content)
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
    for initializer, method, stored in _read_runs(content):
        fields = dict(stored)
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
        curves = _read_curves(files.curves_path(path.parent, key, settings), run, problem)
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
    here = files.versions()
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


def _read_curves(path: Path, run: Run, problem: Problem) -> tuple:
    """Returns the curves of a run, at the test points and with the errors that it has."""
    names = ("x", "y", "dy", "d2y")
    try:
        with checks.regular_file(path).open(newline="") as file:
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
    for name, value in found.items():
        if not _same(value, getattr(run, name)):
            raise ValueError(
                f"Cannot resume: {path} is damaged, or {files.RESULTS} is: {name} of the "
                f"curves is {value}, and of the run {getattr(run, name)}."
            )
    return tuple(curves)


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    # The numbers are read as they were written; another NumPy may add them in another order.
    return math.isclose(one, other, rel_tol=1e-9)


def _read_settings(stored: dict, functions: Mapping[str, Callable]) -> Settings:
    names = {key: name for name, key in files.KEYS_OF_SETTINGS.items()}
    fields = {names.get(key, key): value for key, value in stored.items()}
    return Settings(**fields, functions=functions)
