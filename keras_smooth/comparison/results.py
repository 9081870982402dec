"""The files of a comparison: written after every run, read again to resume."""

import csv
import dataclasses
import importlib.metadata
import io
import json
import math
import os
import platform
import statistics
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from keras_smooth import registry
from keras_smooth.comparison.experiment import Outcome, Run
from keras_smooth.comparison.settings import DEFAULT_INITIALIZER, Settings

RESULTS = "results.json"
TABLE = "results.csv"
CURVES = "curves"
GLOROT = "glorot_uniform"
MSE_FIELDS = ("y_mse", "dy_mse", "d2y_mse")


@dataclasses.dataclass(frozen=True)
class Line:
    """The medians of one activation, a line of the summary."""

    activation: str
    smoothness: float | str | None
    seeds: int
    failures: int
    y_mse: float | None
    dy_mse: float | None
    d2y_mse: float | None


@dataclasses.dataclass
class Results:
    """What a comparison has found so far.

    Args:
        settings: What was asked.
        outcomes: Finished runs by `(activation, initializer, seed)`.
        seconds: Wall time of the comparison, None while it goes on.
    """

    settings: Settings
    outcomes: dict[tuple[str, str, int], Outcome] = dataclasses.field(default_factory=dict)
    seconds: float | None = None

    def runs(self, activation: str, initializer: str | None = None) -> list[Run]:
        """Returns the finished runs of an activation in the order of their seeds."""
        initializer = initializer or self.settings.initializer
        keys = sorted(key for key in self.outcomes if key[:2] == (activation, initializer))
        return [self.outcomes[key].run for key in keys]

    def all_runs(self) -> list[Run]:
        """Returns the runs of the comparison, without those of the open question."""
        return [run for name in self.settings.activations for run in self.runs(name)]

    def summary(self) -> list[Line]:
        """Returns the medians over the seeds of every activation that has runs."""
        names = [name for name in self.settings.activations if self.runs(name)]
        return [summarize(name, self.runs(name)) for name in names]

    def median_outcome(self, activation: str) -> Outcome:
        """Returns the outcome of the seed with the (lower) median error of y''."""
        runs = self.runs(activation)
        last = next(
            (f for f in reversed(MSE_FIELDS) if getattr(runs[0], f) is not None), "seed"
        )
        ordered = sorted(runs, key=lambda run: _or_inf(getattr(run, last)))
        seed = ordered[(len(ordered) - 1) // 2].seed
        return self.outcomes[activation, self.settings.initializer, seed]


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value


def summarize(activation: str, runs: list[Run]) -> Line:
    """Returns medians and failures of some runs of one activation."""
    smoothness = registry.smoothness(activation)
    return Line(
        activation=activation,
        smoothness="inf" if smoothness == math.inf else smoothness,
        seeds=len(runs),
        failures=sum(not run.success for run in runs),
        **{field: median([getattr(run, field) for run in runs]) for field in MSE_FIELDS},
    )


def median(values: list[float | None]) -> float | None:
    """Returns the median, None if any value is missing."""
    return None if None in values else statistics.median(values)


def environment(settings: Settings) -> dict:
    """Returns versions and the machine, for the report."""
    packages = ("keras-smooth", "tensorflow", "keras", "tensorflow-probability", "numpy")
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "device": settings.device_name(),
    }


def as_dict(results: Results) -> dict:
    """Returns the content of `results.json`."""
    content = {
        "environment": environment(results.settings),
        "settings": {**dataclasses.asdict(results.settings)},
        "runs": _dicts(results.all_runs()),
        "summary": _dicts(results.summary()),
    }
    glorot = results.runs("sigmoid", GLOROT)
    if results.settings.asks_open_question() and glorot:
        content["open_question"] = {
            "initializer": GLOROT,
            "runs": _dicts(glorot),
            "summary": _dicts([summarize("sigmoid", glorot)]),
        }
    if results.seconds is not None:
        content["seconds"] = results.seconds
    return content


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
    _write_text(directory / TABLE, table.getvalue())


def write_curves(
    outcome: Outcome, initializer: str, x: np.ndarray, directory: Path
) -> None:
    """Writes the network's y, y', y'' of one run as `curves/NAME.csv`."""
    lines = ["x,y,dy,d2y"]
    for i, point in enumerate(x):
        cells = ["" if curve is None else repr(float(curve[i])) for curve in outcome.curves]
        lines.append(",".join([repr(float(point)), *cells]))
    path = _curves_path(directory, outcome.run.activation, initializer, outcome.run.seed)
    path.parent.mkdir(exist_ok=True)
    _write_text(path, "\n".join(lines) + "\n")


def read(settings: Settings, directory: Path) -> Results:
    """Returns the runs that an earlier comparison with the same settings has finished.

    Raises:
        ValueError: If the directory holds another comparison, or none that can be read.
    """
    path = directory / RESULTS
    if not path.exists():
        return Results(settings)
    try:
        content = json.loads(path.read_text())
        stored = Settings(**content["settings"])
        runs = _stored_runs(content)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"Cannot resume: {path} is damaged ({error}).") from None
    if stored != settings:
        raise ValueError(_difference(path, stored, settings))
    outcomes = {
        (run.activation, initializer, run.seed): Outcome(
            run, _read_curves(directory, run, initializer)
        )
        for initializer, run in runs
    }
    return Results(settings, outcomes)


def _stored_runs(content: dict) -> list[tuple[str, Run]]:
    main = content["settings"]["initializer"]
    question = content.get("open_question", {"runs": []})
    return [(main, Run(**run)) for run in content["runs"]] + [
        (question["initializer"], Run(**run)) for run in question["runs"]
    ]


def _difference(path: Path, stored: Settings, asked: Settings) -> str:
    pairs = zip(dataclasses.asdict(stored).items(), dataclasses.asdict(asked).values())
    changes = [
        f"{name} was {old!r}, is {new!r}" for (name, old), new in pairs if old != new
    ]
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
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text)
    os.replace(temporary, path)
