"""Figures as PNG: the curves of an activation, and the errors of all."""

from typing import Any

import numpy as np

from keras_smooth.comparison.problems import Problem
from keras_smooth.comparison.records.results import ActivationSummary, Results
from keras_smooth.comparison.report.findings import articles_mse
from keras_smooth.comparison.runs.record import Record
from keras_smooth.presentation import figures


def curves(results: Results, line: ActivationSummary) -> Any:
    """Returns a figure of y, y', y'' of the median seed with the exact curves."""
    problem, record = results.problem, results.median_record(line.activation)
    figure = figures.new(14, 3.8) if problem.dim == 2 else figures.new(12, 5)
    if problem.dim == 2:
        _maps(figure, problem, record)
    else:
        x, known = problem.line(), problem.along_line(problem.exact)
        exact = [np.full_like(x, np.nan) if values is None else values for values in known]
        label = f"{line.activation}, seed {record.run.seed}"
        figures.curves(figure, x, exact, problem.along_line(record.curves), label)
    figure.suptitle(
        figures.plain(
            f"{line.activation} ({line.class_name}), seed {record.run.seed}: the median of "
            f"{line.seeds} by the error of the highest known derivative"
        )
    )
    return figure


def _maps(figure: Any, problem: Problem, record: Record) -> None:
    """Draws y and the Laplacian over the grid of the test points, and their errors."""
    panels: dict[str, Any] = {}
    for order, name in ((0, "y"), (2, "Laplacian")):
        network, exact = record.curves[order], problem.exact[order]
        panels[name] = network
        panels[f"error of {name}"] = None if network is None else network - exact
    (left, bottom), (right, top) = problem.x[0], problem.x[-1]
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True)
    for axis, (name, values) in zip(axes, panels.items()):
        axis.set(title=name, xlabel="x1", ylabel="x2")
        if values is None:
            axis.text(0.5, 0.5, "lost", transform=axis.transAxes, ha="center")
            continue
        if values.ndim == 3:
            values = np.trace(values, axis1=1, axis2=2)
        size = round(len(values) ** 0.5)
        image = axis.imshow(
            values.reshape(size, size).T, origin="lower", extent=(left, right, bottom, top),
            cmap="viridis",
        )  # fmt: skip
        figure.colorbar(image, ax=axis, location="bottom", shrink=0.8)


def summary(results: Results) -> Any:
    """Returns a figure with a panel for each of y, y', y'': runs as dots and medians as bars."""
    lines, from_article = results.summary(), articles_mse(results)
    figure = figures.new(12, 4.5)
    names = [figures.plain(line.activation) for line in lines]
    for order, axis in enumerate(figure.subplots(1, 3)):
        for position, line in enumerate(lines):
            errors = [run.errors[order] for run in results.runs(line.activation)]
            dots = [error for error in errors if error]
            axis.plot([position] * len(dots), dots, "o", color="C0", alpha=0.5)
            if middle := line.errors[order]:
                axis.hlines(middle, position - 0.3, position + 0.3, color="C3", linewidth=2)
            if line.activation in from_article:
                axis.plot(position, from_article[line.activation][order], "x", color="0.5")
        axis.set_yscale("log")
        axis.set_xticks(range(len(lines)), names, rotation=40)
        axis.set_title(f"MSE of {figures.TITLES[order]}")
        axis.grid(axis="y", alpha=0.3)
    legend = "dots: seeds, bars: medians" + (", crosses: article" if from_article else "")
    figure.suptitle(figures.plain(f"{results.problem.shown()}: {legend}"))
    return figure
