"""The report written into a directory."""

import io
from pathlib import Path
from typing import Any

from keras_smooth.comparison.records.results import Results
from keras_smooth.comparison.report import figures, pages
from keras_smooth.lbfgs.run import atomic_files

MARKDOWN = "report.md"
PAGE = "report.html"
SUMMARY_FIGURE = "summary.png"


def write(results: Results, directory: Path) -> None:
    """Writes one figure an activation, a summary figure, the pages and the tables."""
    _write_figure(directory / SUMMARY_FIGURE, figures.summary(results))
    names = [SUMMARY_FIGURE]
    for line in results.summary():
        names.append(f"{line.activation}.png")
        _write_figure(directory / names[-1], figures.curves(results, line))
    for name, text in (
        (MARKDOWN, pages.as_markdown(results, names)),
        (PAGE, pages.as_html(results)),
        ("summary.csv", pages.as_csv(results)),
        ("summary.tex", pages.as_latex(results)),
    ):
        # The name of a file may have bytes that are not text.
        atomic_files.write(directory / name, [text.encode(errors="backslashreplace")])


def _write_figure(path: Path, figure: Any) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    atomic_files.write(path, [content.getvalue()])
