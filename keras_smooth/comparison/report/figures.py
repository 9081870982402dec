"""Figures as PNG: the curves of an activation, and all errors."""

import numpy as np

from keras_smooth.comparison.learning import ERRORS
from keras_smooth.comparison.report.findings import articles_mse
from keras_smooth.comparison.results import ActivationSummary, Results, class_of
from keras_smooth.presentation import figures


def curves(results: Results, line: ActivationSummary):
    """Returns y, y', y'' of the median seed over the exact curves."""
    problem, outcome = results.problem, results.median_outcome(line.activation)
    figure = figures.new(12, 5)
    exact = [np.full_like(problem.x, np.nan) if e is None else e for e in problem.exact]
    label = f"{line.activation}, seed {outcome.run.seed}"
    figures.curves(figure, problem.x, exact, outcome.curves, label)
    figure.suptitle(
        figures.plain(
            f"{line.activation} ({class_of(line)}), seed {outcome.run.seed}: the median of "
            f"{line.seeds} by the error of the highest known derivative"
        )
    )
    return figure


def summary(results: Results):
    """Returns every run as a dot, the medians as bars, one panel for y, y' and y''."""
    lines, from_article = results.summary(), articles_mse(results)
    figure = figures.new(12, 4.5)
    names = [figures.plain(line.activation) for line in lines]
    for axis, field, title in zip(figure.subplots(1, 3), ERRORS, figures.TITLES):
        for place, line in enumerate(lines):
            values = [getattr(run, field) for run in results.runs(line.activation)]
            dots = [value for value in values if value]
            axis.plot([place] * len(dots), dots, "o", color="C0", alpha=0.5)
            if middle := getattr(line, field):
                axis.hlines(middle, place - 0.3, place + 0.3, color="C3", linewidth=2)
            if line.activation in from_article:
                value = from_article[line.activation][ERRORS.index(field)]
                axis.plot(place, value, "x", color="0.5")
        axis.set_yscale("log")
        axis.set_xticks(range(len(lines)), names, rotation=40)
        axis.set_title(f"MSE of {title}")
        axis.grid(axis="y", alpha=0.3)
    legend = "dots: seeds, bars: medians" + (", crosses: article" if from_article else "")
    figure.suptitle(figures.plain(f"{results.problem.shown()}: {legend}"))
    return figure
