"""The report written into a directory."""

import io
from pathlib import Path
from typing import Any

from keras_smooth.comparison.report import figures, markdown, page
from keras_smooth.comparison.results import Results
from keras_smooth.lbfgs.run import atomic_files

MARKDOWN = "report.md"
PAGE = "report.html"
SUMMARY_FIGURE = "summary.png"


def write(results: Results, directory: Path) -> None:
    """Writes one figure an activation, a summary figure, `report.md` and `report.html`."""
    _write_figure(directory / SUMMARY_FIGURE, figures.summary(results))
    names = [SUMMARY_FIGURE]
    for line in results.summary():
        names.append(f"{line.activation}.png")
        _write_figure(directory / names[-1], figures.curves(results, line))
    _write(directory / MARKDOWN, markdown.page(results, names))
    _write(directory / PAGE, page.page(results))


def _write_figure(path: Path, figure: Any) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    atomic_files.write(path, [content.getvalue()])


def _write(path: Path, text: str) -> None:
    # The name of a file may hold bytes that are no text.
    atomic_files.write(path, [text.encode(errors="backslashreplace")])
