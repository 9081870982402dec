"""The medians of a comparison as CSV, for programs, and as LaTeX, for papers."""

import csv
import io

from keras_smooth.comparison.records.results import Results
from keras_smooth.presentation import templates

CSV = "summary.csv"
LATEX = "summary.tex"


def as_csv(results: Results) -> str:
    """Returns a line for each activation, with the names of results.json."""
    rows = [vars(line) for line in results.summary()]
    table = io.StringIO()
    writer = csv.DictWriter(table, rows[0] if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def as_latex(results: Results) -> str:
    """Returns a table for the package booktabs."""
    return templates.render("comparison/report/page/summary.tex", lines=results.summary())
