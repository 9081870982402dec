"""The report of a comparison: figures and a page in Markdown."""

import html
import math
import re
from pathlib import Path

import numpy as np

from keras_smooth import figures, registry
from keras_smooth.comparison import article
from keras_smooth.comparison.files import environment
from keras_smooth.comparison.learning import ERRORS
from keras_smooth.comparison.results import (
    GLOROT,
    ActivationSummary,
    Results,
    class_of,
)
from keras_smooth.lbfgs import whole_files

PAGE = "report.md"
# Below this a start counts as dead: Glorot's leaves sigmoid 4e-5, tanh 4e-1.
DEAD_SIGNAL = 1e-3
SUMMARY_FIGURE = "summary.png"


def write(results: Results, directory: Path) -> None:
    """Writes one figure an activation, a summary figure and `report.md`."""
    for line in results.summary():
        _curves_figure(results, line).savefig(directory / f"{line.activation}.png")
    _summary_figure(results).savefig(directory / SUMMARY_FIGURE)
    content = page(results).encode(errors="backslashreplace")
    whole_files.write(directory / PAGE, [content])


def _curves_figure(results: Results, line: ActivationSummary):
    problem, outcome = results.problem, results.median_outcome(line.activation)
    figure = figures.new(12, 5)
    exact = [np.full_like(problem.x, np.nan) if e is None else e for e in problem.exact]
    label = f"{line.activation}, seed {outcome.run.seed}"
    figures.curves(figure, problem.x, exact, outcome.curves, label)
    figure.suptitle(
        f"{line.activation} ({class_of(line)}), seed {outcome.run.seed}: the median of "
        f"{line.seeds} by the error of the highest known derivative"
    )
    return figure


def _summary_figure(results: Results):
    """Every run as a dot, the medians as bars, one panel for y, y' and y''."""
    lines = results.summary()
    figure = figures.new(12, 4.5)
    for axis, field, title in zip(figure.subplots(1, 3), ERRORS, figures.TITLES):
        for place, line in enumerate(lines):
            values = [getattr(run, field) for run in results.runs(line.activation)]
            dots = [value for value in values if value]
            axis.plot([place] * len(dots), dots, "o", color="C0", alpha=0.5)
            if middle := getattr(line, field):
                axis.hlines(middle, place - 0.3, place + 0.3, color="C3", linewidth=2)
            if line.activation in _article(results):
                value = article.MSE[line.activation][ERRORS.index(field)]
                axis.plot(place, value, "x", color="0.5")
        axis.set_yscale("log")
        axis.set_xticks(range(len(lines)), [line.activation for line in lines], rotation=40)
        axis.set_title(f"MSE of {title}")
        axis.grid(axis="y", alpha=0.3)
    legend = "dots: seeds, bars: medians" + (
        ", crosses: article" if _article(results) else ""
    )
    # Between two of them matplotlib would read a formula.
    name = results.problem.shown().replace("$", r"\$")
    figure.suptitle(f"{name}: {legend}")
    return figure


def _article(results: Results) -> dict:
    return article.MSE if results.settings.problem == article.PROBLEM else {}


def page(results: Results) -> str:
    """Returns the report as Markdown."""
    sections = (
        _head(results),
        _table(results),
        _rough(results),
        _failures(results),
        _question(results),
        "## Recommendation\n\n" + recommendation(results),
        _figure_list(results),
        _how(results),
    )
    return "\n\n".join(filter(None, sections)) + "\n"


def _head(results: Results) -> str:
    settings, problem = results.settings, results.problem
    depth, width = settings.depth_and_width()
    formula = _plain(problem.formula)
    text = (
        f"# Which activation, when derivatives are needed: {formula}\n\n"
        f"A network of {depth} layers of {width} units learns y = {formula} from "
        f"{len(problem.draw(0)[0])} points, full batch, with {settings.method}, "
        f"{settings.epochs} iterations and {settings.seeds} seeds in {settings.dtype}, "
        f"initializer {settings.initializer}. Mean squared errors (MSE) of y, y', y'' at "
        f"{len(problem.x)} points: median over the seeds, and range."
    )
    if problem.exact[2] is None and problem.exact[1] is None:
        text += (
            " y' and y'' are not known: the points of the errors of y were held out of the "
            "training, and y'' can be compared between seeds alone."
        )
    return text + (f"\n\n{article.MISPRINT}" if _article(results) else "")


def _plain(text: str) -> str:
    """Returns text that is not ours so that Markdown and HTML show it as it is."""
    return re.sub(r"([\\`*_{}\[\]|#$])", r"\\\1", html.escape(text, quote=False))


def _table(results: Results) -> str:
    columns = ["activation", "class", "MSE y", "MSE y'", "MSE y''"]
    columns += ["article y", "article y'", "article y''"] if _article(results) else []
    columns += ["y'' between seeds"] if results.problem.exact[2] is None else []
    columns += ["failures", "restarts", "signal at start", "iterations", "seconds"]
    rows = [_row(results, line) for line in results.summary()]
    return _markdown([columns, ["---"] * len(columns), *rows])


def _row(results: Results, line: ActivationSummary) -> list[str]:
    runs = results.runs(line.activation)
    cells = [line.activation, class_of(line)]
    for field, exact in zip(ERRORS, results.problem.exact):
        missing = "not known" if exact is None else "lost"
        cells.append(_spread([getattr(run, field) for run in runs], missing))
    if article_mse := _article(results):
        values = article_mse.get(line.activation)
        cells += [f"{value:.1e}" for value in values] if values else [""] * 3
    if results.problem.exact[2] is None:
        cells.append("-" if line.d2y_spread is None else f"{line.d2y_spread:.1e}")
    iterations = sorted({run.nit for run in runs})
    cells.append(f"{line.failures} of {line.seeds}")
    cells.append(str(sum(run.restarts for run in runs)))
    cells.append(f"{signal(runs):.1e}")
    cells.append(
        "-".join(str(nit) for nit in dict.fromkeys((iterations[0], iterations[-1])))
    )
    return [*cells, f"{sum(run.seconds for run in runs):.1f}"]


def signal(runs: list) -> float:
    """Returns the median of what the starts let through of the signal."""
    return float(np.median([run.signal for run in runs]))


def _spread(values: list[float | None], missing: str = "lost") -> str:
    if None in values:
        return missing
    if len(values) == 1:
        return f"{values[0]:.1e}"
    low, middle, high = min(values), float(np.median(values)), max(values)
    return f"{middle:.1e} ({low:.0e} to {high:.0e})"


def _markdown(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _rough(results: Results) -> str:
    lines = [
        f"- {line.activation} {registry.row(results.settings.function(line.activation)).reason}."
        + (" Its y'' is exactly 0." if _all_zero(results, line) else "")
        for line in results.summary()
        if _is_rough(line)
    ]
    return "## Why the rough activations lose y''\n\n" + "\n".join(lines) if lines else ""


def _is_rough(line: ActivationSummary) -> bool:
    return not isinstance(line.smoothness, str | None) and line.smoothness < 2


def _all_zero(results: Results, line: ActivationSummary) -> bool:
    curve = results.median_outcome(line.activation).curves[2]
    return curve is not None and not np.any(curve)


def _failures(results: Results) -> str:
    """Lists what went wrong: starts that are all but constant, and dead line searches."""
    lines = []
    for line in results.summary():
        runs = results.runs(line.activation)
        if signal(runs) < DEAD_SIGNAL:
            lines.append(f"- {line.activation}: {_dead_start(signal(runs))}")
        lines += [
            f"- {run.activation}, seed {run.seed}, ended at iteration {run.nit}: {run.message}"
            for run in runs
            if run.restarts or not run.success
        ]
    return "## What went wrong\n\n" + "\n".join(lines) if lines else ""


def _dead_start(signal: float) -> str:
    return (
        f"the start is all but constant: of the signal after the first layer {signal:.0e} is "
        "left after the last hidden one, and the gradient dies on the way back just so. The "
        "optimizer has next to nothing to work with; its line search may die at once, or it "
        "crawls. keras_smooth's default initializer cures it."
    )


def _question(results: Results) -> str:
    """Answers why sigmoid was inferior with a pair that differs in the start alone."""
    runs = results.runs("sigmoid", GLOROT)
    if not (results.settings.asks_open_question() and runs):
        return ""
    default = results.runs("sigmoid")
    columns = ["sigmoid from", "signal at start", "MSE y", "MSE y'", "MSE y''", "restarts"]
    rows = [columns, ["---"] * len(columns)]
    for name, of_line in (("Glorot's start", runs), ("default start", default)):
        spreads = [_spread([getattr(run, field) for run in of_line]) for field in ERRORS]
        restarts = sum(run.restarts for run in of_line)
        rows.append([name, f"{signal(of_line):.1e}", *spreads, str(restarts)])
    broken = [f"seed {run.seed}" for run in runs if run.restarts or not run.success]
    return "\n\n".join(
        [
            "## Why sigmoid was inferior",
            article.QUESTION + " The same network, data and optimizer from two starts:",
            _markdown(rows),
            _verdict(
                results.summary_of("sigmoid", GLOROT),
                results.summary_of("sigmoid"),
                signal(runs),
                broken,
            ),
        ]
    )


def _verdict(
    glorot: ActivationSummary, default: ActivationSummary, left: float, broken: list[str]
) -> str:
    if glorot.d2y_mse is None or default.d2y_mse is None:
        return ""
    ratio = glorot.d2y_mse / default.d2y_mse
    death = f" The line search died for {', '.join(broken)}." if broken else ""
    text = (
        "It is the start, not sigmoid. Each layer multiplies the signal by about "
        f"sigmoid'(0) = 1/4, so that from Glorot's start {left:.0e} of it is left after the "
        "last hidden layer: the network is all but constant, and the first layers get almost "
        f"no gradient.{death} The default start takes 4 times the slope and takes out the "
        "constant sigmoid(0) = 1/2."
    )
    effect = (
        f"lowers the median error of y'' {ratio:.3g} times"
        if ratio > 1
        else ("did not lower the median error of y'' with these seeds")
    )
    return f"{text} Here that {effect}."


def recommendation(results: Results) -> str:
    """Returns the advice that follows from the errors of y'', or of y where y'' is not known."""
    smooth = [
        line for line in results.summary() if not _is_rough(line) and not line.failures
    ]
    if results.problem.exact[2] is None:
        text = _by_held_out_error(results, smooth)
    else:
        text = _by_second_derivative(results, smooth)
    rough = [line.activation for line in results.summary() if _is_rough(line)]
    if text and rough:
        text += f" Not for second derivatives: {', '.join(rough)}."
    return text or "None of these activations can be recommended for second derivatives."


def _by_second_derivative(results: Results, smooth: list[ActivationSummary]) -> str:
    # Better than that of a constant, which is 0.
    bound = float(np.mean(results.problem.exact[2] ** 2))
    usable = [one for one in smooth if one.d2y_mse is not None and one.d2y_mse < bound]
    if not usable:
        return ""
    best, equal = _best_and_equal(results, usable, "d2y_mse")
    text = (
        f"Take **{best.activation}**: the lowest median error of y'' ({best.d2y_mse:.1e}) "
        "with no run that broke off."
    )
    if equal:
        names = ", ".join(one.activation for one in equal)
        text += f" Within the range of its seeds, so as good here: {names}."
    return text


def _by_held_out_error(results: Results, smooth: list[ActivationSummary]) -> str:
    # Better than the best constant.
    bound = float(np.var(results.problem.exact[0]))
    usable = [one for one in smooth if one.y_mse is not None and one.y_mse < bound]
    if not usable:
        return ""
    best, equal = _best_and_equal(results, usable, "y_mse")
    candidates = [one for one in (best, *equal) if one.d2y_spread is not None]
    text = "y'' is not known here, so its error is not either. "
    if not candidates:
        return text + (
            f"By the error of y at points that were held out take **{best.activation}** "
            f"({best.y_mse:.1e}). Two seeds or more would tell how far their y'' agree."
        )
    chosen = min(candidates, key=lambda one: one.d2y_spread)
    others = ", the least of those within its range" if len(candidates) > 1 else ""
    return text + (
        f"Take **{chosen.activation}**: error of y at points that were held out "
        f"{chosen.y_mse:.1e}, and y'' of its seeds apart by {chosen.d2y_spread:.1e}{others}."
    )


def _best_and_equal(
    results: Results, lines: list[ActivationSummary], field: str
) -> tuple[ActivationSummary, list[ActivationSummary]]:
    """Returns the line of the lowest median, and those within the range of its seeds."""
    best = min(lines, key=lambda line: getattr(line, field))
    worst = max(getattr(run, field) for run in results.runs(best.activation))
    return best, [
        line for line in lines if line is not best and getattr(line, field) <= worst
    ]


def _figure_list(results: Results) -> str:
    names = [SUMMARY_FIGURE, *(f"{line.activation}.png" for line in results.summary())]
    return "## Figures\n\n" + "\n\n".join(f"![{Path(n).stem}]({n})" for n in names)


def _how(results: Results) -> str:
    rows = [["", ""], ["---", "---"]]
    rows += [
        [str(name), str(value)] for name, value in environment(results.settings).items()
    ]
    seconds = results.seconds or math.nan
    return (
        f"## How it was made\n\n{len(results.outcomes)} runs in {seconds:.0f} s of wall time; "
        "the first run of an activation includes compiling.\n\n" + _markdown(rows)
    )
