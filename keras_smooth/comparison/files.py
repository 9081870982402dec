"""The files of a comparison: results.json, results.csv and curves."""

import csv
import dataclasses
import hashlib
import importlib.metadata
import io
import itertools
import json
import math
import os
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth.comparison import problems, training
from keras_smooth.comparison.experiment import Outcome, Run
from keras_smooth.comparison.results import GLOROT, Key, Results
from keras_smooth.comparison.settings import (
    FACTORS,
    TRAINING_METHODS,
    Settings,
    Variant,
)
from keras_smooth.lbfgs.run import atomic_files
from keras_smooth.models import identity

RESULTS = "results.json"
RESULTS_TABLE = "results.csv"
CURVES = "curves"
# What the numbers of every method depend on.
PACKAGES = ("keras-smooth", "tensorflow", "keras", "numpy")
_LIST_OF_NUMBERS = re.compile(r"\[\n[\s0-9eE.,+\-nul]*\]")
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


def versions(methods: Iterable[str] = TRAINING_METHODS) -> dict[str, str]:
    """Returns the versions of the packages that the numbers of some methods depend on."""
    more = {name for method in methods for name in training.packages(method)}
    return {name: version(name) for name in (*PACKAGES, *sorted(more))}


def version(package: str) -> str:
    """Returns a version by the name that is installed, or by what the module says.

    TensorFlow is installed as tensorflow-cpu or tf-nightly, too, and Keras as keras-nightly.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return importlib.import_module(package.replace("-", "_")).__version__


def activation_digests(settings: Settings) -> dict[str, str]:
    """Returns a hash of some values of each activation, to tell functions of a name apart."""
    return {
        name: hashlib.sha256(_values(settings.function(name)).encode()).hexdigest()
        for name in settings.activations
    }


def _values(function: Callable) -> str:
    # As one point: a softmax of single values is no function of them, and Keras warns.
    values = function(tf.linspace(tf.constant([-3.0], "float64"), [3.0], 13, axis=1))
    # Processors differ in the last digits.
    return " ".join(f"{value:.6g}" for value in np.ravel(values))


def as_dict(results: Results) -> dict:
    """Returns the content of `results.json`."""
    settings, glorot = results.settings, results.from_glorot()
    content: dict[str, Any] = {
        "environment": environment(settings),
        "settings": stored_settings(settings),
        "data_digest": results.problem.digest(),
        "data_digests": {name: one.digest() for name, one in results.problems.items()},
        "activation_digests": activation_digests(settings),
        **_runs_and_summary(results),
    }
    others = [
        {**stored_levels(variant), **_runs_and_summary(results.of(variant))}
        for variant in settings.variants()[1:]
    ]
    if others:
        content["variants"] = others
    if settings.asks_open_question() and results.found("sigmoid", glorot):
        content["open_question"] = {
            "initializer": GLOROT,
            "runs": _stored_runs(results.found("sigmoid", glorot)),
            "summary": _dicts([results.summary_of("sigmoid", glorot)]),
        }
    beside = results.beside()
    if beside:
        content["beside"] = {
            "activation": settings.activation_beside(),
            "methods": {name: _stored_runs(found) for name, found in beside.items()},
        }
    if results.failures:
        content["failed"] = list(results.failures.values())
    if results.seconds is not None:
        content["seconds"] = results.seconds
    return content


def _runs_and_summary(results: Results) -> dict[str, list]:
    """Returns the rows of the main variant."""
    names = results.settings.activations
    return {
        "runs": _stored_runs([one for name in names for one in results.found(name)]),
        "summary": _dicts(results.summary()),
    }


def digest(content: dict, outcomes: Iterable[Outcome]) -> str:
    """Returns a hash of a content, but for the hash in it, and of the curves."""
    rest = {name: value for name, value in content.items() if name != "digest"}
    curves = [_as_read(curve) for outcome in outcomes for curve in outcome.curves]
    text = json.dumps(rest, sort_keys=True) + identity.digest(curves)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_all(content: dict, outcomes: Mapping[Key, Outcome]) -> str:
    """Returns the digest of `results.json`."""
    return digest(content, [outcomes[key] for key in sorted(outcomes)])


def _as_read(curve: np.ndarray | None) -> np.ndarray:
    """Returns float64 with one kind of NaN, as text is read; a lost curve is empty."""
    values = np.asarray([] if curve is None else curve, float)
    return np.where(np.isnan(values), np.nan, values)


def stored_settings(settings: Settings) -> dict:
    """Returns the settings by the keys of `results.json`; factors with their first level."""
    fields = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(settings)
        if field.compare
    }
    factors = {stored_key(name): fields[name] for name in FACTORS}
    first = {stored_key(name): value for name, value in fields.items()}
    return {**first, **stored_levels(settings.main), "factors": factors}


def stored_levels(variant: Variant) -> dict[str, str]:
    """Returns the levels of a variant by the keys of `results.json`."""
    return {stored_key(name): level for name, level in variant._asdict().items()}


def stored_key(name: str) -> str:
    return KEYS_OF_SETTINGS.get(name, name)


def _stored_runs(outcomes: Iterable[Outcome]) -> list[dict]:
    return [stored_run(outcome) for outcome in outcomes]


def stored_run(outcome: Outcome) -> dict:
    """Returns a run with its learning curve as `results.json` has it."""
    (run,) = _dicts([outcome.run])
    return {**run, **({"learning": outcome.learning} if outcome.learning else {})}


def _dicts(rows: Iterable) -> list[dict]:
    return [
        {name: _json_number(value) for name, value in vars(row).items()} for row in rows
    ]


def _json_number(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(results: Results, directory: Path) -> None:
    """Writes `results.json` and `results.csv`; a reader never sees half a file."""
    content = as_dict(results)
    content["digest"] = digest_of_all(content, results.outcomes)
    _write_text(directory / RESULTS, _as_text(content))
    table = io.StringIO()
    names = [field.name for field in dataclasses.fields(Run)]
    levels = list(map(stored_key, FACTORS))
    writer = csv.DictWriter(table, [*names, *levels], extrasaction="ignore")
    writer.writeheader()
    for section in (content["settings"] | content, *content.get("variants", [])):
        writer.writerows(
            {**run, **{name: section[name] for name in levels}} for run in section["runs"]
        )
    _write_text(directory / RESULTS_TABLE, table.getvalue())


def _as_text(content: dict) -> str:
    """Returns JSON with a line a value, but lists of numbers in one line."""
    text = json.dumps(content, indent=2, allow_nan=False)
    # Text in JSON has no line breaks: what begins so is no text.
    return _LIST_OF_NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n"


def write_curves(results: Results, key: Key, directory: Path) -> None:
    """Writes the network's y, y', y'' of one run as `curves/NAME.csv`."""
    problem, outcome = results.problems[key.variant.problem], results.outcomes[key]
    columns = curve_columns(problem.dim)
    lines = [",".join(itertools.chain(*columns))]
    for i in range(len(problem.x)):
        cells: list[str] = []
        for names, values in zip(columns, (problem.x, *outcome.curves)):
            lost = values is None
            cells += [""] * len(names) if lost else map(repr, np.ravel(values[i]).tolist())
        lines.append(",".join(cells))
    path = curves_path(directory, key, results.settings)
    curves_folder(directory).mkdir(exist_ok=True)
    _write_text(path, "\n".join(lines) + "\n")


def curve_columns(dim: int) -> list[list[str]]:
    """Returns the columns of x, y, y', y'' in files of curves; d2y1_2 is by x1 and x2."""
    if dim == 1:
        return [["x"], ["y"], ["dy"], ["d2y"]]
    axes = [str(axis) for axis in range(1, dim + 1)]
    pairs = ["_".join(pair) for pair in itertools.product(axes, axes)]
    return [
        [f"x{axis}" for axis in axes],
        ["y"],
        [f"dy{axis}" for axis in axes],
        [f"d2y{pair}" for pair in pairs],
    ]


def curves_folder(directory: Path) -> Path:
    """Returns where all curves are.

    Raises:
        ValueError: If it is a link, through which files of somebody else would be replaced.
    """
    folder = directory / CURVES
    if folder.is_symlink():
        raise ValueError(
            f"{folder} is a link; expected a folder, or nothing. Move what it leads to "
            "there, or use another output directory."
        )
    return folder


def curves_path(directory: Path, key: Key, settings: Settings) -> Path:
    """Returns where the curves of a run are."""
    apart = key.variant.apart_from(settings.main)
    if "problem" in apart and apart["problem"] not in problems.NAMES:
        # A path is no name of a file, and two may end in the same one.
        apart["problem"] = f"data{settings.problem.index(apart['problem'])}"
    name = "-".join([key.activation, *apart.values(), f"seed{key.seed}"])
    return directory / CURVES / f"{name}.csv"


def _write_text(path: Path, text: str) -> None:
    # The name of a problem that is a file may hold bytes that are no text.
    atomic_files.write(path, [text.encode(errors="backslashreplace")])
