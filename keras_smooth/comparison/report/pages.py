"""report.html and report.md: two templates of one content, which is gathered here.

report.html is one file that loads nothing; its script draws the charts. The templates
escape what they are given.
"""

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from keras_smooth.comparison.records.environment import environment
from keras_smooth.comparison.records.results import ActivationSummary, Results, or_inf
from keras_smooth.comparison.report import charts, findings
from keras_smooth.comparison.report.recommendation import recommended, words
from keras_smooth.presentation import figures, templates

TITLES = figures.TITLES[:3]
# Longest headline, in characters.
LONGEST_HEADLINE = 200
_PAGE = "comparison/report/page"


def as_html(results: Results) -> str:
    """Returns report.html."""
    advice = recommended(results)
    headline, others = _headline(advice.text)
    shown = results.problem.known_order
    content = _content(results)
    content["rows"].sort(key=lambda row: or_inf(row["errors"][shown]["value"]))
    stored = results.settings.stored()
    return templates.render(
        f"{_PAGE}/template.html",
        **content,
        # Every other part is a name that is to stand out.
        headline_parts=headline.split("**"),
        others=others,
        shown=shown,
        titles=TITLES,
        # The figure of the answer shows only this order.
        scale=_LogScale(_values(results, [shown])),
        all_scale=_LogScale(_values(results, range(3))),
        settings=stored | stored.pop("factors"),
        csv=as_csv(results),
        latex=as_latex(results),
        numbers=charts.numbers(results),
        style=_assets("uPlot.min.css", "style.css"),
        script=_assets("uPlot.iife.min.js", "script.js"),
    )


def as_markdown(results: Results, pictures: Sequence[str] = ()) -> str:
    """Returns report.md, with the names of its figures."""
    text = templates.render(f"{_PAGE}/template.md", **_content(results), pictures=pictures)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def as_csv(results: Results) -> str:
    """Returns summary.csv: a line for each activation, with the names of results.json."""
    rows = [vars(line) for line in results.summary()]
    table = io.StringIO()
    writer = csv.DictWriter(table, rows[0] if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def as_latex(results: Results) -> str:
    """Returns summary.tex: a table for the package booktabs."""
    return templates.render(f"{_PAGE}/summary.tex", lines=results.summary())


def _content(results: Results) -> dict[str, Any]:
    """Returns the content of both pages."""
    return {
        "advice": recommended(results),
        "formula": results.problem.formula,
        "introduction": findings.introduction(results),
        "misprint": words("misprint") if findings.articles_mse(results) else "",
        "rows": [
            _row(results, index, line) for index, line in enumerate(results.summary())
        ],
        "is_spread_shown": results.problem.exact[2] is None,
        "rough": findings.rough(results),
        "failures": findings.failures(results),
        "variants": findings.variants(results),
        "tables_of_variants": findings.tables_of_variants(results),
        "question": findings.question(results),
        "open_question": words("article"),
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


def _row(results: Results, index: int, line: ActivationSummary) -> dict[str, Any]:
    """Returns what the pages show of an activation; the index is that of the charts."""
    runs = results.runs(line.activation)
    of_article = findings.articles_mse(results).get(line.activation, [None] * 3)
    errors = []
    for order, value in enumerate(line.errors):
        missing = "not known" if results.problem.exact[order] is None else "lost"
        errors.append(
            {
                "value": value,
                "missing": missing,
                "spread": findings.spread([run.errors[order] for run in runs], missing),
                "seeds": [(run.seed, run.errors[order]) for run in runs],
                "article": of_article[order],
            }
        )
    return {
        **vars(line),
        "index": index,
        "class": line.class_name,
        "errors": errors,
        "seed": results.median_record(line.activation).run.seed,
        "restarts": sum(run.restarts for run in runs),
        "signal": findings.signal(runs),
        "iterations": sorted({run.nit for run in runs}),
        "cpu_seconds": findings.cpu_seconds(results.of_activation(line.activation)),
    }


def _assets(*names: str) -> str:
    return "".join(templates.asset(f"{_PAGE}/{name}") for name in names)
