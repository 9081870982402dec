"""report.md."""

import html
import math
import re
from pathlib import Path

from keras_smooth.comparison import article
from keras_smooth.comparison.records.environment import environment
from keras_smooth.comparison.records.results import ActivationSummary, Results, class_of
from keras_smooth.comparison.report import findings
from keras_smooth.comparison.report.recommendation import recommendation
from keras_smooth.comparison.runs.learning import ERRORS


def page(results: Results, figures: list[str]) -> str:
    """Returns the report as Markdown.

    Args:
        results: What was found.
        figures: Names of the files with figures.
    """
    sections = (
        _head(results),
        _table(results),
        _list("Why the rough activations lose y''", findings.rough(results)),
        _list("What went wrong", findings.failures(results)),
        _variants(results),
        _question(results),
        _optimizers(results),
        "## Recommendation\n\n" + _plain(recommendation(results), but="*"),
        _figure_list(figures),
        _how(results),
    )
    return "\n\n".join(filter(None, sections)) + "\n"


def _plain(text: str, but: str = "") -> str:
    """Returns text that is not ours so that Markdown and HTML show it as it is."""
    marks = "".join(re.escape(mark) for mark in r"\`*_{}[]|#$~" if mark not in but)
    text = re.sub(f"([{marks}])", r"\\\1", html.escape(text, quote=False))
    return " ".join(text.split())


def _head(results: Results) -> str:
    text = (
        f"# Which activation, when derivatives are needed: {_plain(results.problem.formula)}"
        f"\n\n{_plain(findings.introduction(results))}"
    )
    return text + (f"\n\n{article.MISPRINT}" if findings.articles_mse(results) else "")


def _table(results: Results) -> str:
    columns = ["activation", "class", "MSE y", "MSE y'", "MSE y''"]
    from_article = findings.articles_mse(results)
    columns += ["article y", "article y'", "article y''"] if from_article else []
    columns += ["y'' between seeds"] if results.problem.exact[2] is None else []
    columns += ["failures", "restarts", "signal at start", "iterations", "seconds"]
    rows = [_row(results, line) for line in results.summary()]
    return _markdown([columns, *rows])


def _row(results: Results, line: ActivationSummary) -> list[str]:
    runs = results.runs(line.activation)
    cells = [line.activation, class_of(line)]
    for field, exact in zip(ERRORS, results.problem.exact):
        missing = "not known" if exact is None else "lost"
        cells.append(findings.spread([getattr(run, field) for run in runs], missing))
    if from_article := findings.articles_mse(results):
        values = from_article.get(line.activation)
        cells += [f"{value:.1e}" for value in values] if values else [""] * 3
    if results.problem.exact[2] is None:
        cells.append("-" if line.d2y_spread is None else f"{line.d2y_spread:.1e}")
    iterations = sorted({run.nit for run in runs})
    cells.append(f"{line.failures} of {line.seeds}")
    cells.append(str(sum(run.restarts for run in runs)))
    cells.append(f"{findings.signal(runs):.1e}")
    cells.append(
        "-".join(str(nit) for nit in dict.fromkeys((iterations[0], iterations[-1])))
    )
    return [*cells, f"{sum(run.seconds for run in runs):.1f}"]


def _markdown(rows: list[list[str]]) -> str:
    """Returns a table; the first row names the columns."""
    lines = [[_plain(cell) for cell in row] for row in rows]
    lines.insert(1, ["---"] * len(rows[0]))
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def _list(title: str, lines: list[str]) -> str:
    items = "\n".join(f"- {_plain(line)}" for line in lines)
    return f"## {title}\n\n{items}" if lines else ""


def _question(results: Results) -> str:
    answer = findings.question(results)
    if answer is None:
        return ""
    return (
        "## Why sigmoid was inferior\n\n"
        f"{article.QUESTION} The same network, data and optimizer from two starts:\n\n"
        f"{_markdown(answer.rows)}\n\n{_plain(answer.text)}"
    )


def _variants(results: Results) -> str:
    answer = findings.variants(results)
    if answer is None:
        return ""
    parts = ["## What the factors change", _plain(answer.text), _markdown(answer.rows)]
    for title, rows in findings.tables_of_variants(results).items():
        parts += [f"### {_plain(title)}", _markdown(rows)]
    return "\n\n".join(parts)


def _optimizers(results: Results) -> str:
    answer, missing = findings.optimizers(results), findings.missing_methods(results)
    parts = [_markdown(answer.rows), _plain(answer.text)] if answer else []
    parts += map(_plain, missing)
    return "\n\n".join(["## What the optimizer adds", *parts]) if parts else ""


def _figure_list(figures: list[str]) -> str:
    return "## Figures\n\n" + "\n\n".join(
        f"![{_plain(Path(name).stem)}](<{name}>)" for name in figures
    )


def _how(results: Results) -> str:
    rows = [["", ""]]
    rows += [
        [str(name), str(value)] for name, value in environment(results.settings).items()
    ]
    seconds = results.seconds or math.nan
    return (
        f"## How it was made\n\n{len(results.records)} runs in {seconds:.0f} s of wall time; "
        "the first run of an activation includes compiling.\n\n"
        f"<code>{_plain(findings.command(results))}</code>\n\n{_markdown(rows)}"
    )
