"""report.html: one file that asks nobody for anything.

The template lays out what is given to it here and escapes it; the script draws the charts.
"""

import functools
import importlib.resources
import math
from collections.abc import Iterable, Iterator
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
from keras_smooth.comparison.report import charts, findings
from keras_smooth.comparison.report.recommendation import recommended
from keras_smooth.comparison.runs.learning import ERRORS
from keras_smooth.presentation import figures

TITLES = figures.TITLES[: len(ERRORS)]
# What is read at a glance, in characters.
LONGEST_HEADLINE = 200


def page(results: Results) -> str:
    """Returns the report as HTML."""
    advice = recommended(results)
    headline, others = _headline(advice.text)
    shown = results.problem.known_order
    scale = _LogScale(_values(results, ERRORS))
    lines = enumerate(results.summary())
    rows = [_row(results, index, line, scale) for index, line in lines]
    rows.sort(key=lambda row: or_inf(row["errors"][shown]["value"]))
    return _template().render(
        advice=advice,
        # Every other part is a name that is to stand out.
        headline_parts=headline.split("**"),
        others=others,
        formula=results.problem.formula,
        introduction=findings.introduction(results),
        misprint=article.MISPRINT if findings.articles_mse(results) else "",
        shown=shown,
        titles=TITLES,
        # The picture of the answer has the whole width for its one order.
        scale=_LogScale(_values(results, ERRORS[shown : shown + 1])),
        rows=rows,
        rough=findings.rough(results),
        failures=findings.failures(results),
        variants=findings.variants(results),
        tables_of_variants=findings.tables_of_variants(results),
        question=findings.question(results),
        open_question=article.QUESTION,
        optimizers=findings.optimizers(results),
        missing_methods=findings.missing_methods(results),
        settings=_settings(results),
        environment=environment(results.settings),
        num_runs=len(results.records),
        seconds=results.seconds,
        command=findings.command(results),
        numbers=charts.numbers(results),
        dim=results.problem.dim,
        **_assets(),
    )


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
    """Where errors are on an axis that they share.

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
        """Returns the place of an error from 0 to 100; None for one that has none."""
        return self.percent_of_log(math.log10(value)) if value else None

    def percent_of_log(self, log: float) -> float:
        return round(100 * (log - self._low) / (self._high - self._low), 2)


def _values(results: Results, names: Iterable[str]) -> Iterator[float | None]:
    """Gives the errors of all runs, and the article's."""
    from_article = findings.articles_mse(results)
    for name in names:
        yield from (getattr(run, name) for run in results.all_runs())
        yield from (row[ERRORS.index(name)] for row in from_article.values())


def _row(
    results: Results, index: int, line: ActivationSummary, scale: _LogScale
) -> dict[str, Any]:
    """Returns what the page shows of an activation; the index is that of the charts."""
    runs = results.runs(line.activation)
    article_mse = findings.articles_mse(results).get(line.activation)
    return {
        "name": line.activation,
        "index": index,
        "class": class_of(line),
        "smoothness": -1 if line.smoothness is None else float(line.smoothness),
        "errors": [
            {
                "value": getattr(line, field),
                "missing": "not known" if results.problem.exact[order] is None else "lost",
                "place": scale.percent(getattr(line, field)),
                "seeds": [
                    {"seed": run.seed, "value": value}
                    for run in runs
                    if (value := getattr(run, field))
                ],
                "article": article_mse[order] if article_mse else None,
                "article_place": scale.percent(article_mse[order]) if article_mse else None,
            }
            for order, field in enumerate(ERRORS)
        ],
        "spread": line.d2y_spread,
        "failures": line.failures,
        "num_seeds": line.seeds,
        "seed": results.median_record(line.activation).run.seed,
        "restarts": sum(run.restarts for run in runs),
        "signal": findings.signal(runs),
        "iterations": max(run.nit for run in runs),
        "seconds": sum(run.seconds for run in runs),
    }


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["error"] = lambda value: f"{value:.1e}"
    return environment.from_string(_asset("template.html"))


def _assets() -> dict[str, str]:
    return {
        "style": _asset("uPlot.min.css") + _asset("style.css"),
        "script": _asset("uPlot.iife.min.js") + _asset("script.js"),
    }


def _asset(name: str) -> str:
    folder = importlib.resources.files("keras_smooth.comparison.report") / "page"
    return (folder / name).read_text(encoding="utf-8")
