"""Functions of one variable to learn, with exact derivatives; or a CSV file."""

import csv
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_smooth.registry import nearest

NUM_TRAINING_POINTS = 1000
NUM_TEST_STEPS = 100
MIN_ROWS = 10


@dataclasses.dataclass(frozen=True)
class Problem:
    """Training points and test points with exact values.

    Args:
        name: Name in the table, or the path of the file.
        formula: What is learned, in words or ASCII.
        draw: Function of a seed that returns training points `(x, y)` of shape `(n,)`.
        x: Test points of shape `(m,)`, ascending.
        exact: y, y', y'' at the test points; None where they are not known.
        x_scale: Center and half width of x, which the network maps to [-2, 2]; None
            leaves x as it is.
        y_scale: Mean and standard deviation of y, which the network is spared; None
            leaves y as it is.
    """

    name: str
    formula: str
    draw: Callable[[int], tuple[np.ndarray, np.ndarray]]
    x: np.ndarray
    exact: tuple[np.ndarray | None, ...]
    x_scale: tuple[float, float] | None = None
    y_scale: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class ExactProblem:
    """A row of the table: y, y', y'' as functions of x, and where to learn them."""

    name: str
    formula: str
    domain: tuple[float, float]
    y: Callable
    dy: Callable
    d2y: Callable

    def problem(self) -> Problem:
        def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
            x = np.random.default_rng(seed).uniform(*self.domain, NUM_TRAINING_POINTS)
            return x, self.y(x)

        x = np.linspace(*self.domain, NUM_TEST_STEPS + 1)
        exact = tuple(function(x) for function in (self.y, self.dy, self.d2y))
        return Problem(self.name, self.formula, draw, x, exact)


def _sech2(x):
    return 1.0 - np.tanh(x) ** 2


TABLE = (
    ExactProblem(
        "gaussian",
        "exp(-x^2)",
        (-2.0, 2.0),
        lambda x: np.exp(-(x**2)),
        lambda x: -2.0 * x * np.exp(-(x**2)),
        # The article prints (4x^2 - x) exp(-x^2), a misprint.
        lambda x: (4.0 * x**2 - 2.0) * np.exp(-(x**2)),
    ),
    ExactProblem(
        "sine",
        "sin(pi x)",
        (-2.0, 2.0),
        lambda x: np.sin(np.pi * x),
        lambda x: np.pi * np.cos(np.pi * x),
        lambda x: -(np.pi**2) * np.sin(np.pi * x),
    ),
    ExactProblem(
        "runge",
        "1 / (1 + 25 x^2)",
        (-1.0, 1.0),
        lambda x: 1.0 / (1.0 + 25.0 * x**2),
        lambda x: -50.0 * x / (1.0 + 25.0 * x**2) ** 2,
        lambda x: (3750.0 * x**2 - 50.0) / (1.0 + 25.0 * x**2) ** 3,
    ),
    ExactProblem(
        "front",
        "tanh(5 x)",
        (-2.0, 2.0),
        lambda x: np.tanh(5.0 * x),
        lambda x: 5.0 * _sech2(5.0 * x),
        lambda x: -50.0 * np.tanh(5.0 * x) * _sech2(5.0 * x),
    ),
    ExactProblem(
        "morse",
        "(1 - exp(-x))^2",
        (-0.5, 3.5),
        lambda x: (1.0 - np.exp(-x)) ** 2,
        lambda x: 2.0 * np.exp(-x) * (1.0 - np.exp(-x)),
        lambda x: 2.0 * np.exp(-x) * (2.0 * np.exp(-x) - 1.0),
    ),
)
NAMES = tuple(row.name for row in TABLE)


def load(name: str) -> Problem:
    """Returns a problem of the table by name, or the one in a CSV file by path.

    Raises:
        ValueError: If the name is unknown, or the file cannot be used.
    """
    rows = {row.name: row for row in TABLE}
    if name in rows:
        return rows[name].problem()
    if name.lower().endswith(".csv") or Path(name).is_file():
        return _from_columns(name, _read_columns(Path(name)))
    raise ValueError(
        f"There is no problem named {name!r} and no such file. {nearest(name, NAMES)}"
    )


def _read_columns(path: Path) -> dict[str, np.ndarray]:
    """Returns the columns x, y and, where there, dy and d2y, sorted by x."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            names = _column_names(path, reader.fieldnames or [])
            lines = [[_number(path, reader, row, n) for n in names] for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"Cannot read {path}: {error}") from None
    if len(lines) < MIN_ROWS:
        raise ValueError(
            f"{path} has {len(lines)} rows of data; at least {MIN_ROWS} are needed."
        )
    table = np.array(sorted(lines)).T
    columns = dict(zip(names, table))
    if columns["x"][0] == columns["x"][-1]:
        raise ValueError(f"{path}: all x are {columns['x'][0]}; there is nothing to learn.")
    return columns


def _column_names(path: Path, found: list[str]) -> list[str]:
    missing = [name for name in ("x", "y") if name not in found]
    if missing:
        raise ValueError(
            f"{path} has no column {' and no column '.join(missing)}: the first line must "
            f"name x, y and optionally dy, d2y; it is {','.join(found)!r}."
        )
    return [name for name in ("x", "y", "dy", "d2y") if name in found]


def _number(path: Path, reader: csv.DictReader, row: dict, name: str) -> float:
    try:
        number = float(row[name])
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"{path}, line {reader.line_num}: {name} must be a finite number, "
            f"received {row[name]!r}."
        )
    return number


def _from_columns(name: str, columns: dict[str, np.ndarray]) -> Problem:
    x, y = columns["x"], columns["y"]
    return Problem(
        name=name,
        formula=f"the data of {Path(name).name}",
        draw=lambda seed: (x, y),
        x=x,
        exact=(y, columns.get("dy"), columns.get("d2y")),
        x_scale=(float(x[0] + x[-1]) / 2, float(x[-1] - x[0]) / 2),
        y_scale=(float(y.mean()), float(y.std()) or 1.0),
    )
