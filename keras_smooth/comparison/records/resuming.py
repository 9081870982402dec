"""The runs of an earlier comparison, read from its files and validated.

A resumed comparison can have more activations, seeds, iterations, baselines and levels of the
factors. Other changes of settings, data, functions or versions are an error, since runs that
cannot be compared would be mixed.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_smooth import activations, checks
from keras_smooth.comparison.options import LIST, stored_key
from keras_smooth.comparison.problems import Problem, load_problem
from keras_smooth.comparison.records import environment, store
from keras_smooth.comparison.records.results import Results
from keras_smooth.comparison.runs.record import Record, Run
from keras_smooth.comparison.settings import RunId, Settings, Variant
from keras_smooth.lbfgs import Status

_CAN_GROW = (
    " Activations, seeds, epochs, problems, dtypes, initializers and methods can be added."
)


def read(settings: Settings, problems: Mapping[str, Problem], directory: Path) -> Results:
    """Returns the runs of an earlier comparison that the requested comparison can keep.

    The settings of the results combine the stored and the requested ones. If more iterations are
    requested, runs that ended at the iteration limit are left out, and so repeated, since the
    state of their optimizer is not stored.

    Raises:
        ValueError: If the directory holds another comparison, or cannot be read.
    """
    path = directory / store.RUNS
    lines = _contents(path)
    header = next(lines, None)
    if header is None:
        return Results(settings, problems)
    stored = _read_settings(path, header, settings.functions)
    grown, changes = stored.combined(settings)
    _check_same(path, "settings", changes, _CAN_GROW)
    combined = dataclasses.replace(settings, **grown)
    loaded = dict(problems)
    for name in combined.problem:
        try:
            loaded[name] = loaded.get(name) or load_problem(name, noise=combined.noise)
        except ValueError as error:
            raise ValueError(
                f"Cannot resume: {path} has runs of the problem {name!r}, which has to be given "
                f"as well. {error}"
            ) from None
    changed = _changed_names(header, Results(combined, loaded))
    _check_same(path, "data or functions", changed, " New ones need a name of their own.")
    records, seconds = {}, None
    for content in lines:
        run, seconds = Run(**content["run"]), content["seconds"]
        curves = tuple(
            None if curve is None else np.array(curve, float) for curve in content["curves"]
        )
        key = RunId(run.activation, Variant(*content["variant"]), run.seed)
        records[key] = Record(run, curves, content["learning"])
    here = environment.versions({run.variant.method for run in records})
    changes = environment.differences(here, there=header["environment"])
    _check_same(path, "versions", changes)
    if combined.epochs > stored.epochs:
        # Runs that ended at the former limit would have continued.
        records = {
            run: record
            for run, record in records.items()
            if record.run.status != Status.ITERATION_LIMIT
        }
    return Results(combined, loaded, records, seconds)


def stored_fields(directory: Path) -> dict[str, Any]:
    """Returns the settings that a directory holds, by the names of `Settings`, or an empty dict.

    Raises:
        ValueError: If they cannot be read.
    """
    header = next(_contents(directory / store.RUNS), None)
    return _fields(header) if header else {}


def _fields(header: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of the first line by their present names."""
    names = {stored_key(name): name for name in LIST}
    return {names.get(key, key): value for key, value in header["settings"].items()}


def _contents(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the contents of the lines: the settings, and then the runs; none without a file.

    A last line without a line break is left out: its process was killed, and its run is repeated.
    """
    if not path.exists():
        if (path.parent / store.RESULTS).exists():
            raise ValueError(
                f"Cannot resume: {path.parent} has {store.RESULTS} but no {store.RUNS}: it was "
                "written by version 0.2 or older, whose runs are not taken over. Use another "
                "output directory."
            )
        return
    *lines, _ = checks.regular_file(path).read_bytes().split(b"\n")
    if not lines:
        raise ValueError(f"Cannot resume: {path} is damaged (it has no settings).")
    for number, line in enumerate(lines, start=1):
        kind = "settings" if number == 1 else "run"
        try:
            content = json.loads(line)
            if content.pop("digest") != store.digest(content):
                raise ValueError("its digest is not that of its content")
            if kind not in content:
                raise ValueError(f"it has no {kind}")
        # A damaged file can raise any of these errors.
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            older = " or of version 0.2 or older" if number == 1 else ""
            raise ValueError(
                f"Cannot resume: {path}, line {number}, is damaged{older} "
                f"({type(error).__name__}: {error}). Use another output directory."
            ) from None
        yield content


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


def _changed_names(header: dict, results: Results) -> list[str]:
    """Returns the names of problems and activations whose data or functions have changed."""
    return [
        name
        for key, digests in store.digests(results).items()
        for name, digest in header[key].items()
        if digests[name] != digest
    ]


def _check_same(path: Path, aspect: str, changes: list[str], hint: str = "") -> None:
    """Raises an error if there are changes, since runs that cannot be compared would be mixed."""
    if changes:
        raise ValueError(
            f"Cannot resume: {path} was made with other {aspect} ({'; '.join(changes)}). Use the "
            f"same ones, or another output directory.{hint}"
        )
