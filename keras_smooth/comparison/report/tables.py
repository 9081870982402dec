"""The medians of a comparison as CSV, for programs, and as LaTeX, for papers."""

import csv
import io
import re

from keras_smooth.comparison.records.results import Results, class_of
from keras_smooth.comparison.runs.learning import ERRORS

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
    rows = [
        " & ".join(
            [
                _escaped(line.activation),
                f"${class_of(line).replace('inf', chr(92) + 'infty')}$"
                if line.smoothness is not None
                else "unknown",
                *(_number(getattr(line, name)) for name in ERRORS),
            ]
        )
        + r" \\"
        for line in results.summary()
    ]
    return "\n".join(
        [
            r"\begin{tabular}{llrrr}",
            r"\toprule",
            r"activation & class & $y$ & $y'$ & $y''$ \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text)


def _number(value: float | None) -> str:
    if value is None:
        return "--"
    digits, _, exponent = f"{value:.1e}".partition("e")
    return rf"${digits} \times 10^{{{int(exponent)}}}$"
