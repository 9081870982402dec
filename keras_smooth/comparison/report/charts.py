"""The numbers that the charts of report.html show, for JSON."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_smooth.comparison.options import METHODS
from keras_smooth.comparison.records.results import ActivationSummary, Results
from keras_smooth.comparison.report.findings import by_method
from keras_smooth.comparison.runs.experiment import Record

# Data of the user may have many thousands, of which a chart shows no more.
MOST_POINTS = 400


def numbers(results: Results) -> dict[str, Any]:
    """Returns the numbers that the script of the page draws.

    Returns:
        The points `x`, the exact curves, and lists for `activations` and `methods`, whose
        entries have curves, errors and learning curves.
    """
    problem = results.problem
    line = problem.line()
    chosen = _chosen(len(line))
    return {
        "x": _rounded(line[chosen], 6),
        "exact": [
            _rounded(curve, 6, chosen) for curve in problem.along_line(problem.exact)
        ],
        "activations": [_activation(results, line, chosen) for line in results.summary()],
        "methods": [
            _learning(METHODS[method], record)
            for method, record in by_method(results).items()
        ],
    }


def _chosen(num_points: int) -> np.ndarray:
    step = -(-num_points // MOST_POINTS)
    return np.arange(0, num_points, step)


def _activation(results: Results, line: ActivationSummary, chosen: np.ndarray) -> dict:
    problem, median = results.problem, results.median_record(line.activation)
    curves = problem.along_line(median.curves)
    off = [
        None if curve is None or exact is None else curve - exact
        for curve, exact in zip(curves, problem.along_line(problem.exact))
    ]
    return {
        "name": line.activation,
        "seed": median.run.seed,
        "curves": [_rounded(curve, 6, chosen) for curve in curves],
        "errors": [_rounded(error, 4, chosen) for error in off],
        "learning": [
            _learning(f"seed {record.run.seed}", record)
            for record in results.of_activation(line.activation)
        ],
    }


def _learning(label: str, record: Record) -> dict:
    columns = record.learning
    return {"label": label, **{name: _digits(columns[name], 4) for name in columns}}


def _rounded(
    values: np.ndarray | None, digits: int, chosen: np.ndarray | None = None
) -> list | None:
    if values is None:
        return None
    return _digits(values if chosen is None else values[chosen], digits)


def _digits(values: Iterable, digits: int) -> list:
    return [
        value
        if value is None or isinstance(value, int)
        else float(f"{value:.{digits}g}")
        if np.isfinite(value)
        else None
        for value in values
    ]
