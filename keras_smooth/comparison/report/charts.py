"""The numbers that the charts of report.html show, for JSON."""

from typing import Any

from keras_smooth.comparison.options import METHODS
from keras_smooth.comparison.records.results import ActivationSummary, Results
from keras_smooth.comparison.report.findings import by_method
from keras_smooth.comparison.runs.learning import rounded
from keras_smooth.comparison.runs.record import Record

# The largest number of points in a chart; a user's data may have many thousands.
MAX_POINTS = 400


def numbers(results: Results) -> dict[str, Any]:
    """Returns the numbers that the script of the page draws.

    Returns:
        A dict with the points `x`, the exact curves, and lists `activations` and `methods`, whose
        entries have curves, errors and learning curves.
    """
    problem = results.problem
    line = problem.line()
    chosen = slice(None, None, -(-len(line) // MAX_POINTS))
    exact, methods = problem.along_line(problem.exact), by_method(results).items()
    return {
        "x": _rounded(line, 6, chosen),
        "exact": [_rounded(curve, 6, chosen) for curve in exact],
        "activations": [_activation(results, line, chosen) for line in results.summary()],
        "methods": [_learning(METHODS[method], record) for method, record in methods],
    }


def _activation(results: Results, line: ActivationSummary, chosen: slice) -> dict:
    problem, median = results.problem, results.median_record(line.activation)
    curves, exact = map(problem.along_line, (median.curves, problem.exact))
    errors = [
        None if curve is None or true is None else curve - true
        for curve, true in zip(curves, exact)
    ]
    records = results.records_of(line.activation)
    return {
        "name": line.activation,
        "seed": median.run.seed,
        "curves": [_rounded(curve, 6, chosen) for curve in curves],
        "errors": [_rounded(error, 4, chosen) for error in errors],
        "learning": [_learning(f"seed {record.run.seed}", record) for record in records],
    }


def _learning(label: str, record: Record) -> dict:
    columns = {name: _rounded(column, 4) for name, column in record.learning.items()}
    return {"label": label, **columns}


def _rounded(values: Any, digits: int, chosen: slice = slice(None)) -> list | None:
    return None if values is None else [rounded(v, digits) for v in values[chosen]]
