"""Writes the report into a directory."""

import itertools
from pathlib import Path

from keras_smooth.comparison.records import store
from keras_smooth.comparison.records.results import Results
from keras_smooth.comparison.report import figures, pages
from keras_smooth.lbfgs.run import atomic_files

MARKDOWN = "report.md"
PAGE = "report.html"
SUMMARY_FIGURE = "summary.png"


def write(results: Results, directory: Path) -> None:
    """Writes a figure of each activation, a summary figure, the pages and the tables."""
    summary = results.summary()
    names = [SUMMARY_FIGURE, *(f"{line.activation}.png" for line in summary)]
    drawn = (figures.curves(results, line) for line in summary)
    for name, figure in zip(names, itertools.chain([figures.summary(results)], drawn)):
        atomic_files.write(directory / name, [figure._repr_png_()])
    for name, text in (
        (MARKDOWN, pages.as_markdown(results, names)),
        (PAGE, pages.as_html(results)),
        ("summary.csv", pages.as_csv(results)),
        ("summary.tex", pages.as_latex(results)),
    ):
        store.write_text(directory / name, text)
