"""report.html and report.md: two templates of one content, which is gathered here.

report.html is one file that loads nothing; its script draws the charts. The templates
escape what they are given.
"""

import functools
import html
import importlib.resources
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jinja2

from keras_smooth.comparison import article
from keras_smooth.comparison.records.environment import environment
from keras_smooth.comparison.records.results import (
    ActivationSummary,
    Results,
    class_of,
    or_inf,
)
from keras_smooth.comparison.report import charts, findings, tables
from keras_smooth.comparison.report.recommendation import recommended
from keras_smooth.comparison.runs.learning import ERRORS
from keras_smooth.presentation import figures

TITLES = figures.TITLES[: len(ERRORS)]
# Longest headline, in characters.
LONGEST_HEADLINE = 200
# Marks of Markdown, but for the * of names that stand out.
_MARKS = re.compile(r"([\\`_{}\[\]|#$~])")


def as_html(results: Results) -> str:
    """Returns report.html."""
    advice = recommended(results)
    headline, others = _headline(advice.text)
    shown = results.problem.known_order
    content = _content(results)
    content["rows"].sort(key=lambda row: or_inf(row["errors"][shown]["value"]))
    return _template("template.html").render(
        **content,
        # Every other part is a name that is to stand out.
        headline_parts=headline.split("**"),
        others=others,
        shown=shown,
        titles=TITLES,
        # The figure of the answer shows only this order.
        scale=_LogScale(_values(results, [shown])),
        settings=_settings(results),
        csv=tables.as_csv(results),
        latex=tables.as_latex(results),
        numbers=charts.numbers(results),
        style=_asset("uPlot.min.css") + _asset("style.css"),
        script=_asset("uPlot.iife.min.js") + _asset("script.js"),
    )


def as_markdown(results: Results, pictures: Sequence[str] = ()) -> str:
    """Returns report.md, with the names of its figures."""
    text = _template("template.md").render(**_content(results), pictures=pictures)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _content(results: Results) -> dict[str, Any]:
    """Returns the content of both pages."""
    scale = _LogScale(_values(results, range(3)))
    return {
        "advice": recommended(results),
        "formula": results.problem.formula,
        "introduction": findings.introduction(results),
        "misprint": article.MISPRINT if findings.articles_mse(results) else "",
        "rows": [
            _row(results, index, line, scale)
            for index, line in enumerate(results.summary())
        ],
        "is_spread_shown": results.problem.exact[2] is None,
        "rough": findings.rough(results),
        "failures": findings.failures(results),
        "variants": findings.variants(results),
        "tables_of_variants": findings.tables_of_variants(results),
        "question": findings.question(results),
        "open_question": article.QUESTION,
        "optimizers": findings.optimizers(results),
        "missing_methods": findings.missing_methods(results),
        "environment": environment(results.settings),
        "num_runs": len(results.records),
        "seconds": results.seconds,
        "command": findings.command(results),
        "dim": results.problem.dim,
    }


def _headline(text: str) -> tuple[str, str]:
    """Returns an advice up to the name in it and to the end of that sentence, and the rest.

    The rest names other activations; where they are few it stays with the headline.
    """
    end = text.find(". ", text.rfind("**"))
    if len(text) <= LONGEST_HEADLINE or "**" not in text or end < 0:
        return text, ""
    return text[: end + 1], text[end + 2 :]


def _settings(results: Results) -> dict[str, Any]:
    stored = results.settings.stored()
    return stored | stored.pop("factors")


class _LogScale:
    """A logarithmic axis of errors.

    Args:
        values: The errors; None and 0 have no place.

    Attributes:
        decades: The powers of ten with a label, from the lowest on.
    """

    def __init__(self, values: Iterable[float | None]) -> None:
        logs = [math.log10(value) for value in values if value] or [-1.0, 0.0]
        self._low, self._high = math.floor(min(logs)), math.ceil(max(logs))
        self._high = max(self._high, self._low + 1)
        step = math.ceil((self._high - self._low) / 8)
        self.decades = list(range(self._low, self._high + 1, step))

    def percent(self, value: float | None) -> float | None:
        """Returns the position of an error from 0 to 100, or None if it has none."""
        return self.percent_of_log(math.log10(value)) if value else None

    def percent_of_log(self, log: float) -> float:
        return round(100 * (log - self._low) / (self._high - self._low), 2)


def _values(results: Results, orders: Iterable[int]) -> Iterator[float | None]:
    """Gives the errors of all runs, and the article's."""
    from_article = findings.articles_mse(results)
    for order in orders:
        yield from (run.errors[order] for run in results.all_runs())
        yield from (row[order] for row in from_article.values())


def _row(
    results: Results, index: int, line: ActivationSummary, scale: _LogScale
) -> dict[str, Any]:
    """Returns what the pages show of an activation; the index is that of the charts."""
    runs = results.runs(line.activation)
    article_mse = findings.articles_mse(results).get(line.activation)
    iterations = sorted({run.nit for run in runs})
    return {
        "name": line.activation,
        "index": index,
        "class": class_of(line),
        "smoothness": -1 if line.smoothness is None else float(line.smoothness),
        "errors": [
            _error(results, line, order, article_mse, scale) for order in range(len(ERRORS))
        ],
        "spread": line.d2y_spread,
        "failures": line.failures,
        "num_seeds": line.seeds,
        "seed": results.median_record(line.activation).run.seed,
        "restarts": sum(run.restarts for run in runs),
        "signal": findings.signal(runs),
        "iterations": iterations[-1],
        "range_of_iterations": "-".join(
            map(str, dict.fromkeys((iterations[0], iterations[-1])))
        ),
        "cpu_seconds": findings.cpu_seconds(results.of_activation(line.activation)),
    }


def _error(
    results: Results,
    line: ActivationSummary,
    order: int,
    article_mse: Sequence[float] | None,
    scale: _LogScale,
) -> dict[str, Any]:
    """Returns what the pages show of an error of one order."""
    runs, value = results.runs(line.activation), getattr(line, ERRORS[order])
    of_article = article_mse[order] if article_mse else None
    missing = "not known" if results.problem.exact[order] is None else "lost"
    return {
        "value": value,
        "missing": missing,
        "spread": findings.spread([run.errors[order] for run in runs], missing),
        "place": scale.percent(value),
        "seeds": [
            {"seed": run.seed, "value": run.errors[order]}
            for run in runs
            if run.errors[order]
        ],
        "article": of_article,
        "article_place": scale.percent(of_article),
    }


@functools.cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=name.endswith(".html"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["error"] = lambda value: f"{value:.1e}"
    environment.filters["plain"] = _plain
    return environment.from_string(_asset(name))


def _plain(text: object, names: bool = False) -> str:
    """Returns text that is not ours so that Markdown and HTML show it as it is."""
    text = _MARKS.sub(r"\\\1", html.escape(str(text), quote=False))
    return " ".join((text if names else text.replace("*", r"\*")).split())


def _asset(name: str) -> str:
    folder = importlib.resources.files("keras_smooth.comparison.report") / "page"
    return (folder / name).read_text(encoding="utf-8")
