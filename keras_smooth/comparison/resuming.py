"""The runs of an earlier comparison, read from its files: nothing is taken over unchecked.

To a comparison one may add activations, seeds, iterations, methods beside and levels of the
factors. What would mix is refused: other settings, data, functions or versions.
"""

import csv
import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_smooth import activations, checks
from keras_smooth.comparison import files, journal, schema, tasks
from keras_smooth.comparison.experiment import Outcome, Run, errors
from keras_smooth.comparison.problems import Problem, load_problem
from keras_smooth.comparison.results import Key, Results
from keras_smooth.comparison.settings import FACTORS, Settings, Variant
from keras_smooth.lbfgs import Status


def _union(stored: Iterable, asked: Iterable) -> tuple:
    return tuple(dict.fromkeys((*stored, *asked)))


# What may be asked for beyond what is stored; all else has to be the same.
GROWING: dict[str, Callable] = {
    "activations": _union,
    "seeds": max,
    "epochs": max,
    "beside": _union,
    **dict.fromkeys(FACTORS, _union),
}


def read(settings: Settings, problems: Mapping[str, Problem], directory: Path) -> Results:
    """Returns the runs of an earlier comparison that stand in the one that is asked for.

    Its settings are those of both. The runs that more iterations are asked of are left out:
    the memory of their optimizer is not stored, so that they are made anew.

    Raises:
        ValueError: If the directory holds another comparison, or none that can be read.
    """
    path = directory / files.RESULTS
    if not path.exists():
        return Results(settings, problems)
    content = _content(path)
    stored = _read_settings(path, content, settings.functions)
    together = _together(path, stored, settings)
    problems = {
        name: problems.get(name) or _loaded(path, name, together)
        for name in together.problem
    }
    _check_unchanged(path, content, together, problems)
    outcomes = _outcomes(path, content, stored, problems)
    # Version 0.1.0 kept none.
    if "digest" in content and content["digest"] != files.digest_of_all(content, outcomes):
        raise ValueError(
            f"Cannot resume: {path} or a file of curves is damaged or was edited (its digest "
            "is not that of its content). Take another output directory."
        )
    seconds = _add_journal(outcomes, path.parent, stored, problems, content.get("seconds"))
    _check_versions(path, content["environment"], outcomes)
    if together.epochs > stored.epochs:
        outcomes = {key: one for key, one in outcomes.items() if not _was_cut(one.run)}
    return Results(together, problems, outcomes, seconds)


def stored_fields(directory: Path) -> dict[str, Any]:
    """Returns the settings that a directory holds, by the names of `Settings`; none where none.

    Raises:
        ValueError: If they cannot be read.
    """
    path = directory / files.RESULTS
    return _fields(_content(path)) if path.exists() else {}


def _was_cut(run: Run) -> bool:
    """Whether a run would have gone on with more iterations."""
    return run.status == Status.ITERATION_LIMIT


def _together(path: Path, stored: Settings, asked: Settings) -> Settings:
    """Returns the settings of a comparison that holds what is stored and what is asked for."""
    names = [field.name for field in dataclasses.fields(stored) if field.compare]
    pairs = {name: (getattr(stored, name), getattr(asked, name)) for name in names}
    grown = {name: grow(*pairs[name]) for name, grow in GROWING.items()}
    differing = [
        name for name, (old, new) in pairs.items() if name not in grown and old != new
    ]
    # A table of runs of 1000 iterations has no place for those of 100.
    differing += ["epochs"] if asked.epochs < stored.epochs else []
    if differing:
        changes = [
            f"{name} was {pairs[name][0]!r}, is {pairs[name][1]!r}" for name in differing
        ]
        raise ValueError(
            f"Cannot resume: {path} was made with other settings ({'; '.join(changes)}). "
            "Activations, seeds, iterations, problems, dtypes, initializers and methods can "
            "be added; for all else take the same settings or another output directory."
        )
    return dataclasses.replace(asked, **grown)


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
    path: Path, content: dict, settings: Settings, problems: Mapping[str, Problem]
) -> dict[Key, Outcome]:
    asked = set(tasks.wanted(settings))
    outcomes: dict[Key, Outcome] = {}
    for variant, stored in _read_runs(content, settings):
        key = Key(stored["activation"], variant, stored["seed"])
        if key in outcomes:
            raise ValueError(
                f"Cannot resume: {path} is damaged (the run of {_named(key)}, is there twice)."
            )
        outcomes[key] = _outcome(path, key, stored, asked, settings, problems)
    return outcomes


def _outcome(
    path: Path,
    key: Key,
    stored: dict,
    asked: set[Key],
    settings: Settings,
    problems: Mapping[str, Problem],
) -> Outcome:
    """Returns a run that a file holds, with its curves."""
    if key not in asked:
        raise ValueError(
            f"Cannot resume: {path} is damaged (the run of {_named(key)}, is not of these "
            "settings)."
        )
    fields = dict(stored)
    learning = fields.pop("learning", {})
    if len({len(column) for column in learning.values()}) > 1:
        raise ValueError(
            f"Cannot resume: {path} is damaged (the columns of learning of {_named(key)}, "
            "differ in length)."
        )
    run = Run(**fields)
    if run.signal is None:
        run = dataclasses.replace(run, signal=math.nan)
    place = files.curves_path(path.parent, key, settings)
    curves = _read_curves(place, run, problems[key.variant.problem])
    return Outcome(run, curves, learning)


def _named(key: Key) -> str:
    return f"{key.activation}, seed {key.seed}, {', '.join(key.variant)}"


def _add_journal(
    outcomes: dict[Key, Outcome],
    directory: Path,
    settings: Settings,
    problems: Mapping[str, Problem],
    seconds: float | None,
) -> float | None:
    """Adds the runs that results.json does not hold yet; returns the seconds up to then."""
    path, asked = directory / journal.JOURNAL, set(tasks.wanted(settings))
    try:
        entries = list(journal.entries(directory, settings))
    except ValueError as error:
        raise ValueError(f"Cannot resume: a line is damaged ({error}).") from None
    for entry in entries:
        key = Key(entry.run["activation"], entry.variant, entry.run["seed"])
        one = _outcome(path, key, entry.run, asked, settings, problems)
        # One that is in both was written into results.json before a kill.
        known = outcomes.setdefault(key, one)
        if not entry.is_whole(one) or files.stored_run(known) != entry.run:
            raise ValueError(
                f"Cannot resume: {path} or the curves of {_named(key)}, are damaged or were "
                "edited. Take another output directory."
            )
        seconds = entry.seconds
    return seconds


def _check_unchanged(
    path: Path, content: dict, settings: Settings, problems: Mapping[str, Problem]
) -> None:
    """Raises where runs would be mixed with those of other data or functions."""
    # Version 0.1.0 kept no digests.
    for name, digest in content.get("data_digests", {}).items():
        if name in problems and problems[name].digest() != digest:
            raise ValueError(
                f"Cannot resume: {path} was made with other data of {name!r}. Take the same "
                "data or another output directory."
            )
    here, there = files.activation_digests(settings), content.get("activation_digests", {})
    for name, one in there.items():
        if here.get(name, one) != one:
            raise ValueError(
                f"Cannot resume: {path} was made with another function named {name!r}. Give "
                "it another name, or take another output directory."
            )


def _check_versions(path: Path, there: dict, outcomes: Iterable[Key]) -> None:
    """Raises where runs are of other versions of what their numbers depend on."""
    here = files.versions({key.variant.method for key in outcomes})
    changes = [
        f"{name} was {there.get(name)}, is {here[name]}"
        for name in here
        if there.get(name) != here[name]
    ]
    if changes:
        raise ValueError(
            f"Cannot resume: {path} was made with other versions ({'; '.join(changes)}). "
            "Take the same versions or another output directory."
        )


def _read_runs(content: dict, settings: Settings) -> Iterator[tuple[Variant, dict]]:
    """Gives variant and fields of every run that is stored."""
    main = settings.main
    for run in content["runs"]:
        yield main, run
    for section in content.get("variants", []):
        levels = {name: section[files.stored_key(name)] for name in FACTORS}
        for run in section["runs"]:
            yield Variant(**levels), run
    question = content.get("open_question", {"initializer": "", "runs": []})
    # Where it is a level of its own, its runs stand among the variants as well.
    if question["initializer"] not in settings.initializer:
        for run in question["runs"]:
            yield main._replace(initializer=question["initializer"]), run
    for method, runs in content.get("beside", {"methods": {}})["methods"].items():
        for run in runs:
            yield main._replace(method=method), run


def _read_curves(path: Path, run: Run, problem: Problem) -> tuple:
    """Returns the curves of a run, at the test points and with the errors that it has."""
    try:
        with checks.regular_file(path).open(newline="") as file:
            rows = list(csv.DictReader(file))
        x, *curves = (
            _read_columns(
                rows, names, problem.x.shape[1:] if i == 0 else problem.shape_of(i - 1)
            )
            for i, names in enumerate(files.curve_columns(problem.dim))
        )
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


def _read_columns(
    rows: list[dict], names: list[str], shape: tuple[int, ...]
) -> np.ndarray | None:
    """Returns an array with this shape for each row; None where there are no numbers."""
    cells = [row[name] for row in rows for name in names]
    return None if "" in cells else np.array(cells, float).reshape(-1, *shape)


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    # The numbers are read as they were written; another NumPy may add them in another order.
    return math.isclose(one, other, rel_tol=1e-9)


def _fields(content: dict) -> dict[str, Any]:
    """Returns the stored settings by the names of `Settings`."""
    stored = dict(content["settings"])
    # Version 0.1.0 had no factors.
    stored |= stored.pop("factors", {})
    names = {key: name for name, key in files.KEYS_OF_SETTINGS.items()}
    return {names.get(key, key): value for key, value in stored.items()}


def _loaded(path: Path, name: str, settings: Settings) -> Problem:
    """Returns a problem that is stored, but was not asked for."""
    try:
        return load_problem(name, noise=settings.noise)
    except ValueError as error:
        raise ValueError(
            f"Cannot resume: {path} has runs of the problem {name!r}, which has to be given "
            f"as well. {error}"
        ) from None


def _read_settings(
    path: Path, content: dict, functions: Mapping[str, Callable]
) -> Settings:
    fields = _fields(content)
    for name in fields["activations"]:
        if name not in functions and not _is_known(name):
            raise ValueError(
                f"Cannot resume: {path} has runs of {name!r}, which is no activation known "
                "by its name. If it is a function of yours, give it as well."
            )
    try:
        return Settings(**fields, functions=functions)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Cannot resume: {path} is damaged ({error}).") from None


def _is_known(activation: str) -> bool:
    try:
        activations.get(activation)
    except ValueError:
        return False
    return True
