"""report.html and report.md: two templates with the same content.

report.html is one file that loads no other; its script draws the charts. The templates escape the
values that they show.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from keras_smooth.comparison.records import store
from keras_smooth.comparison.records.environment import environment
from keras_smooth.comparison.records.results import ActivationSummary, Results, or_inf
from keras_smooth.comparison.report import charts, findings
from keras_smooth.presentation import figures, templates

TITLES = figures.TITLES[:3]
# The largest length of a headline, in characters.
LONGEST_HEADLINE = 200
_PAGE = "comparison/report/page"


def as_html(results: Results) -> str:
    """Returns report.html."""
    shown, stored = results.problem.known_order, results.settings.stored()
    rows = _rows(results)
    rows.sort(key=lambda row: or_inf(row["errors"][shown]["value"]))
    return _rendered(
        "template.html",
        results,
        rows=rows,
        headline=headline,
        shown=shown,
        titles=TITLES,
        # The first figure shows the errors of this order only.
        scale=_LogScale(_values(results, [shown])),
        all_scale=_LogScale(_values(results, range(3))),
        settings=stored | stored.pop("factors"),
        csv=as_csv(results),
        latex=as_latex(results),
        numbers=charts.numbers(results),
        style=templates.assets(f"{_PAGE}/uPlot.min.css", f"{_PAGE}/style.css"),
        script=templates.assets(f"{_PAGE}/uPlot.iife.min.js", f"{_PAGE}/script.js"),
    )


def as_markdown(results: Results, pictures: Sequence[str] = ()) -> str:
    """Returns report.md, with the names of its figures."""
    text = _rendered("template.md", results, rows=_rows(results), pictures=pictures)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _rendered(name: str, results: Results, **values: Any) -> str:
    """Returns the text of a template, which calls functions of `findings` for its sentences."""
    return templates.render(
        f"{_PAGE}/{name}",
        results=results,
        findings=findings,
        environment=environment(results.settings),
        **values,
    )


def as_csv(results: Results) -> str:
    """Returns summary.csv: a line for each activation, with the names of results.json."""
    names = [field.name for field in dataclasses.fields(ActivationSummary)]
    return store.as_csv([names, *(vars(line).values() for line in results.summary())])


def as_latex(results: Results) -> str:
    """Returns summary.tex: a table for the package booktabs."""
    return templates.render(f"{_PAGE}/summary.tex", lines=results.summary())


def headline(text: str) -> tuple[str, str]:
    """Splits advice after the sentence with the recommended name, and returns both parts.

    The second part names other activations. Short advice is not split.
    """
    end = text.find(". ", text.rfind("**"))
    if len(text) <= LONGEST_HEADLINE or "**" not in text or end < 0:
        return text, ""
    return text[: end + 1], text[end + 2 :]


class _LogScale:
    """A logarithmic axis of errors.

    Args:
        values: The errors; None and 0 have no position.

    Attributes:
        decades: The exponents of the powers of ten that have a label, ascending.
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
    """Yields the errors of all runs, and those of the article."""
    from_article = findings.articles_mse(results)
    for order in orders:
        yield from (run.errors[order] for run in results.all_runs())
        yield from (row[order] for row in from_article.values())


def _rows(results: Results) -> list[dict[str, Any]]:
    """Returns the values that the pages show of each activation, with its index in the charts."""
    rows, from_article = [], findings.articles_mse(results)
    for index, line in enumerate(results.summary()):
        runs, errors = results.runs(line.activation), []
        for order, value in enumerate(line.errors):
            missing = "not known" if results.problem.exact[order] is None else "lost"
            errors_of_seeds = [run.errors[order] for run in runs]
            error = {
                "value": value,
                "missing": missing,
                "spread": findings.spread(errors_of_seeds, missing),
                "seeds": [(run.seed, run.errors[order]) for run in runs],
                "article": from_article.get(line.activation, [None] * 3)[order],
            }
            errors.append(error)
        rows.append({"index": index, "line": line, "runs": runs, "errors": errors})
    return rows
