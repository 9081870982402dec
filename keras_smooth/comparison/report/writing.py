"""The report written into a directory."""

from pathlib import Path

from keras_smooth.comparison.report import figures, markdown, page
from keras_smooth.comparison.results import Results
from keras_smooth.lbfgs import whole_files

MARKDOWN = "report.md"
PAGE = "report.html"
SUMMARY_FIGURE = "summary.png"


def write(results: Results, directory: Path) -> None:
    """Writes one figure an activation, a summary figure, `report.md` and `report.html`."""
    figures.summary(results).savefig(directory / SUMMARY_FIGURE)
    names = [SUMMARY_FIGURE]
    for line in results.summary():
        names.append(f"{line.activation}.png")
        figures.curves(results, line).savefig(directory / names[-1])
    _write(directory / MARKDOWN, markdown.page(results, names))
    _write(directory / PAGE, page.page(results))


def _write(path: Path, text: str) -> None:
    # The name of a file may hold bytes that are no text.
    whole_files.write(path, [text.encode(errors="backslashreplace")])
