"""The files of a comparison.

The runs are stored in runs.jsonl, from which a comparison is resumed. Each line is JSON: the first
one has the settings, and every other one a run, written as soon as the run has ended. The same
results are in results.json, results.csv and a file with the curves of each run, for readers. The
time to write results.json and results.csv grows with the number of runs. Therefore they are written
when the number of runs has grown by a quarter, and at the end, and not after every run.
"""

import csv
import dataclasses
import hashlib
import io
import itertools
import json
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_smooth.comparison.options import FACTORS, LIST, PROBLEMS, stored_key
from keras_smooth.comparison.records.environment import activation_digests, environment
from keras_smooth.comparison.records.results import Results
from keras_smooth.comparison.runs.record import Record, Run
from keras_smooth.comparison.settings import GLOROT, RunId
from keras_smooth.lbfgs.run import atomic_files

RUNS = "runs.jsonl"
RESULTS = "results.json"
RESULTS_TABLE = "results.csv"
CURVES = "curves"
# results.json is rewritten when the number of runs has grown by this fraction.
GROWTH = 0.25
_LIST_OF_NUMBERS = re.compile(r"\[\n[\s0-9eE.,+\-nul]*\]")


class Store:
    """Writes the runs of a comparison into a directory.

    Args:
        results: The results, to which runs are added.
        directory: The directory.
    """

    def __init__(self, results: Results, directory: Path) -> None:
        self._results = results
        self._directory = directory
        # The number of runs in results.json; 0 if runs.jsonl is not of this comparison yet.
        self._num_written = 0

    def add(self, run: RunId) -> None:
        """Writes a run that has been added to the results."""
        write_curves(self._results, run, self._directory)
        if self._num_written:
            _append(self._directory / RUNS, _line(self._results, run))
        if len(self._results.records) > (1 + GROWTH) * self._num_written:
            self.write_all()

    def write_all(self) -> None:
        """Writes runs.jsonl, if there is none of this comparison yet, and the files for readers."""
        if not self._num_written:
            lines = [_line(self._results, run) for run in self._results.records]
            # The file is written atomically, since it replaces the one that is resumed.
            atomic_files.write(self._directory / RUNS, [_header(self._results), *lines])
        write_results(self._results, self._directory)
        self._num_written = len(self._results.records)


def save(results: Results, directory: Path) -> None:
    """Writes all files of a comparison."""
    for run in results.records:
        write_curves(results, run, directory)
    Store(results, directory).write_all()


# Lines of runs.jsonl.


def _header(results: Results) -> bytes:
    settings = {name: getattr(results.settings, name) for name in LIST}
    return _signed(
        settings=settings, environment=environment(results.settings), **digests(results)
    )


def _line(results: Results, run: RunId) -> bytes:
    record = results.records[run]
    # Numbers in float64 are read exactly as they are written.
    curves = [None if c is None else np.asarray(c, float).tolist() for c in record.curves]
    return _signed(
        variant=run.variant,
        run=vars(record.run),
        learning=record.learning,
        curves=curves,
        seconds=results.seconds,
    )


def _signed(**content: Any) -> bytes:
    return (json.dumps({**content, "digest": digest(content)}) + "\n").encode()


def digest(content: dict[str, Any]) -> str:
    """Returns a hash of a line without its digest."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _append(path: Path, line: bytes) -> None:
    # Do not follow a link to another file.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    with open(os.open(path, flags, 0o666), "ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


# results.json and results.csv.


def as_dict(results: Results) -> dict:
    """Returns the content of `results.json`."""
    settings, glorot = results.settings, results.question()
    methods = {name: _stored_runs([run]) for name, run in results.baselines().items()}
    baselines = {"activation": settings.baseline_activation(), "methods": methods}
    others = [
        {stored_key(name): level for name, level in variant._asdict().items()}
        | _runs_and_summary(results.of_variant(variant))
        for variant in settings.variants()[1:]
    ]
    content = {
        "environment": environment(settings),
        "settings": settings.stored(),
        "data_digest": results.problem.digest(),
        **digests(results),
        **_runs_and_summary(results),
        "variants": others,
        "open_question": glorot and {"initializer": GLOROT, **_runs_and_summary(glorot)},
        "beside": methods and baselines,
        "failed": list(results.failures.values()),
        "seconds": results.seconds,
    }
    required = ("runs", "summary")
    return {key: value for key, value in content.items() if value or key in required}


def digests(results: Results) -> dict[str, dict]:
    """Returns hashes of the data and of the activations, by the keys of `results.json`."""
    data = {name: problem.digest() for name, problem in results.problems.items()}
    functions = activation_digests(results.settings)
    return {"data_digests": data, "activation_digests": functions}


def _runs_and_summary(results: Results) -> dict[str, list]:
    """Returns the runs and the summary of the main variant."""
    names = results.settings.activations
    records = [record for name in names for record in results.records_of(name)]
    return {"runs": _stored_runs(records), "summary": [*map(_dict, results.summary())]}


def _stored_runs(records: list[Record]) -> list[dict]:
    return [
        _dict(record.run) | ({"learning": record.learning} if record.learning else {})
        for record in records
    ]


def _dict(row: Any) -> dict:
    # JSON has no numbers that are not finite.
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in vars(row).items()
    }


def write_results(results: Results, directory: Path) -> None:
    """Writes `results.json` and `results.csv`, each atomically."""
    content = as_dict(results)
    text = json.dumps(content, indent=2, allow_nan=False)
    # Lists of numbers are written in one line. Strings in JSON have no line breaks, so the pattern
    # matches no part of a string.
    text = _LIST_OF_NUMBERS.sub(lambda numbers: " ".join(numbers[0].split()), text)
    write_text(directory / RESULTS, text + "\n")
    names = [field.name for field in dataclasses.fields(Run)]
    levels = list(map(stored_key, FACTORS))
    rows = [[*names, *levels]]
    for section in (content["settings"] | content, *content.get("variants", [])):
        section_levels = [section[name] for name in levels]
        for run in section["runs"]:
            rows.append([*(run[name] for name in names), *section_levels])
    write_text(directory / RESULTS_TABLE, as_csv(rows))


def as_csv(rows: Iterable[Iterable]) -> str:
    """Returns rows as CSV; the first row has the names of the columns."""
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    return table.getvalue()


# Curves.


def write_curves(results: Results, run: RunId, directory: Path) -> None:
    """Writes the network's y, y', y'' of one run as `curves/NAME.csv`."""
    problem, record = results.problems[run.variant.problem], results.records[run]
    columns, num = curve_columns(problem.dim), len(problem.x)
    blocks = [
        [[""] * len(names)] * num
        if values is None
        else np.reshape(values, (num, -1)).tolist()
        for names, values in zip(columns, (problem.x, *record.curves))
    ]
    rows = (itertools.chain(*row) for row in (columns, *zip(*blocks)))
    settings = results.settings
    levels = run.variant.levels_other_than(settings.main)
    if "problem" in levels and levels["problem"] not in PROBLEMS:
        # A path is not a valid file name, and two paths may have the same last part.
        levels["problem"] = f"data{settings.problem.index(levels['problem'])}"
    name = "-".join([run.activation, *levels.values(), f"seed{run.seed}"])
    folder = curves_folder(directory)
    folder.mkdir(exist_ok=True)
    write_text(folder / f"{name}.csv", as_csv(rows))


def curve_columns(dim: int) -> list[list[str]]:
    """Returns the names of the columns of x, y, y', y''; d2y1_2 is the derivative by x1 and x2."""
    axes = [""] if dim == 1 else [str(axis) for axis in range(1, dim + 1)]
    pairs = [""] if dim == 1 else map("_".join, itertools.product(axes, axes))
    names = (("x", axes), ("y", [""]), ("dy", axes), ("d2y", pairs))
    return [[f"{name}{axis}" for axis in numbers] for name, numbers in names]


def curves_folder(directory: Path) -> Path:
    """Returns the folder of all curves.

    Raises:
        ValueError: If it is a link, since files in another folder would be replaced.
    """
    folder = directory / CURVES
    if folder.is_symlink():
        raise ValueError(
            f"{folder} is a link; expected a folder, or nothing. Move what it leads to there, or "
            "use another output directory."
        )
    return folder


def write_text(path: Path, text: str) -> None:
    """Writes text atomically; bytes of file names that are not UTF-8 are escaped."""
    atomic_files.write(path, [text.encode(errors="backslashreplace")])
