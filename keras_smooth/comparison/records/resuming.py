"""The runs of an earlier comparison, read from its files: nothing is used unchecked.

To a comparison one may add activations, seeds, iterations, methods beside and levels of the
factors. What would mix is refused: other settings, data, functions or versions.
"""

import contextlib
import csv
import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_smooth import activations, checks
from keras_smooth.comparison.options import FACTORS, LIST, stored_key
from keras_smooth.comparison.problems import Problem, load_problem
from keras_smooth.comparison.records import environment, store
from keras_smooth.comparison.records.results import Results
from keras_smooth.comparison.runs.experiment import Record, Run
from keras_smooth.comparison.settings import RunId, Settings, Variant
from keras_smooth.lbfgs import Status


def read(settings: Settings, problems: Mapping[str, Problem], directory: Path) -> Results:
    """Returns the runs of an earlier comparison that stand in the one that is asked for.

    Its settings are those of both. The runs that more iterations are asked of are left out:
    the memory of their optimizer is not stored, so that they are made anew.

    Raises:
        ValueError: If the directory holds another comparison, or none that can be read.
    """
    path = directory / store.RUNS
    lines = _lines(path)
    if not lines:
        return Results(settings, problems)
    header = _header(path, lines)
    stored = _read_settings(path, header, settings.functions)
    grown, changes = stored.together(settings)
    if changes:
        raise ValueError(
            f"Cannot resume: {path} was made with other settings ({'; '.join(changes)}). "
            "Activations, seeds, iterations, problems, dtypes, initializers and methods can "
            "be added; for all else use the same settings or another output directory."
        )
    together = dataclasses.replace(settings, **grown)
    problems = {
        name: problems.get(name) or _loaded(path, name, together)
        for name in together.problem
    }
    _check_unchanged(path, header, together, problems)
    records, seconds = {}, None
    for number, line in enumerate(lines[1:], start=2):
        run, records[run], seconds = _read_record(path, number, line, stored, problems)
    _check_versions(path, header["environment"], records)
    if together.epochs > stored.epochs:
        # They would have gone on with more iterations.
        records = {
            run: record
            for run, record in records.items()
            if record.run.status != Status.ITERATION_LIMIT
        }
    return Results(together, problems, records, seconds)


def stored_fields(directory: Path) -> dict[str, Any]:
    """Returns the settings that a directory holds, by the names of `Settings`; none where none.

    Raises:
        ValueError: If they cannot be read.
    """
    path = directory / store.RUNS
    lines = _lines(path)
    return _fields(_header(path, lines)) if lines else {}


def _lines(path: Path) -> list[bytes]:
    """Returns the lines of a file that have an end; none if there is no file.

    One without an end is that of a process that was killed: its run is made again.
    """
    if not path.exists():
        if (path.parent / store.RESULTS).exists():
            raise ValueError(
                f"Cannot resume: {path.parent} has {store.RESULTS} but no {store.RUNS}: it "
                "was written by version 0.2 or older, whose runs are not taken over. Use "
                "another output directory."
            )
        return []
    *lines, _ = checks.regular_file(path).read_bytes().split(b"\n")
    if not lines:
        raise ValueError(f"Cannot resume: {path} is damaged (it has no settings).")
    return lines


@contextlib.contextmanager
def _refusing(path: Path, number: int, why: str = "") -> Iterator[None]:
    """Makes a sentence of whatever is raised by a line that is not what was written."""
    try:
        yield
    # A file can be damaged in any way.
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"Cannot resume: {path}, line {number}, is damaged{why} "
            f"({type(error).__name__}: {error}). Use another output directory."
        ) from None


def _check_digest(content: dict[str, Any], curves: tuple = ()) -> None:
    if content.pop("digest") != store.digest(content, curves):
        raise ValueError("its digest is not that of its content and of its curves")


def _header(path: Path, lines: list[bytes]) -> dict[str, Any]:
    """Returns the first line, in which the settings are."""
    with _refusing(path, 1, " or of version 0.2 or older"):
        header = json.loads(lines[0])
        _check_digest(header)
        if not isinstance(header["settings"], dict):
            raise ValueError("it has no settings")
        return header


def _read_record(
    path: Path,
    number: int,
    line: bytes,
    settings: Settings,
    problems: Mapping[str, Problem],
) -> tuple[RunId, Record, float]:
    """Returns a run with its curves, and the seconds up to its end."""
    with _refusing(path, number):
        content = json.loads(line)
        fields = dict(content["run"])
        levels = {name: content[stored_key(name)] for name in FACTORS}
        run = RunId(fields["activation"], Variant(**levels), fields["seed"])
        place = store.curves_path(path.parent, run, settings)
        curves = _read_curves(place, problems[run.variant.problem])
        _check_digest(content, curves)
        learning = fields.pop("learning", {})
        if fields["signal"] is None:
            fields["signal"] = math.nan
        return run, Record(Run(**fields), curves, learning), content["seconds"]


def _read_curves(path: Path, problem: Problem) -> tuple:
    """Returns the curves of a run at the test points."""
    try:
        with checks.regular_file(path).open(newline="") as file:
            rows = list(csv.DictReader(file))
        x, *curves = (
            _read_columns(
                rows, names, problem.x.shape[1:] if i == 0 else problem.shape_of(i - 1)
            )
            for i, names in enumerate(store.curve_columns(problem.dim))
        )
        if x is None or not np.array_equal(x, problem.x):
            raise ValueError("its x are not the test points")
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise ValueError(f"{path} is missing or damaged: {error}") from None
    return tuple(curves)


def _read_columns(
    rows: list[dict], names: list[str], shape: tuple[int, ...]
) -> np.ndarray | None:
    """Returns an array with this shape for each row; None where there are no numbers."""
    cells = [row[name] for row in rows for name in names]
    return None if "" in cells else np.array(cells, float).reshape(-1, *shape)


def _fields(header: dict) -> dict[str, Any]:
    """Returns the stored settings by the names of `Settings`."""
    stored: dict[str, Any] = dict(header["settings"])
    stored |= stored.pop("factors")
    names = {stored_key(name): name for name in LIST}
    return {names.get(key, key): value for key, value in stored.items()}


def _read_settings(path: Path, header: dict, functions: Mapping[str, Callable]) -> Settings:
    fields = _fields(header)
    for name in fields["activations"]:
        try:
            functions.get(name) or activations.get(name)
        except ValueError:
            raise ValueError(
                f"Cannot resume: {path} has runs of {name!r}, which is no activation known "
                "by its name. If it is a function of yours, give it as well."
            ) from None
    try:
        return Settings(**fields, functions=functions)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Cannot resume: {path} is damaged ({error}).") from None


def _loaded(path: Path, name: str, settings: Settings) -> Problem:
    """Returns a problem that is stored, but was not asked for."""
    try:
        return load_problem(name, noise=settings.noise)
    except ValueError as error:
        raise ValueError(
            f"Cannot resume: {path} has runs of the problem {name!r}, which has to be given "
            f"as well. {error}"
        ) from None


def _check_unchanged(
    path: Path, header: dict, settings: Settings, problems: Mapping[str, Problem]
) -> None:
    """Raises where runs would be mixed with those of other data or functions."""
    for name, digest in header["data_digests"].items():
        if problems[name].digest() != digest:
            raise ValueError(
                f"Cannot resume: {path} was made with other data of {name!r}. Use the same "
                "data or another output directory."
            )
    here = environment.activation_digests(settings)
    for name, digest in header["activation_digests"].items():
        if here[name] != digest:
            raise ValueError(
                f"Cannot resume: {path} was made with another function named {name!r}. Give "
                "it another name, or use another output directory."
            )


def _check_versions(path: Path, there: dict, runs: Iterable[RunId]) -> None:
    """Raises where runs are of other versions of what their numbers depend on."""
    here = environment.versions({run.variant.method for run in runs})
    changes = [
        f"{name} was {there.get(name)}, is {here[name]}"
        for name in here
        if there.get(name) != here[name]
    ]
    if changes:
        raise ValueError(
            f"Cannot resume: {path} was made with other versions ({'; '.join(changes)}). "
            "Use the same versions or another output directory."
        )
