"""Which activation to use: the advice that follows from the errors."""

from typing import Any, NamedTuple

import numpy as np

from keras_smooth.comparison.records.results import ActivationSummary, Results, or_inf
from keras_smooth.comparison.report.seeds import LEVEL, TEST, are_told_apart
from keras_smooth.presentation import templates

# With fewer, the order of the activations is due to chance and to the first iterations,
# in which others lead than at the end.
LEAST_SEEDS, LEAST_EPOCHS = 2, 1000
# The criterion, by the order up to which derivatives are known.
JUDGED_BY = (
    "median error of y at points that were held out",
    "median error of y', which was not trained on",
    "median error of y''",
)


class Recommendation(NamedTuple):
    """An advice.

    Args:
        activation: The one to use, or that leads in a quick look; None where none is of use.
        equal: Other activations that are equally good here.
        banner: Why this is no recommendation; empty where it is one.
        text: The advice in sentences, with the name between two ** each.
    """

    activation: str | None
    equal: tuple[str, ...]
    text: str
    banner: str = ""


def sentences(results: Results) -> list[str]:
    """Returns the advice as plain text, and why it is no recommendation if it is none.

    With several problems there is one advice for each, with its name.
    """
    advices = {
        problem: recommended(results.of(results.settings.main._replace(problem=problem)))
        for problem in results.settings.problem
    }
    return [
        f"{results.problems[problem].shown()}: {sentence}" if len(advices) > 1 else sentence
        for problem, advice in advices.items()
        for sentence in (advice.text.replace("**", ""), advice.banner)
        if sentence
    ]


def recommended(results: Results) -> Recommendation:
    """Returns the advice with the names that are in it."""
    summary, order = results.summary(), results.problem.known_order
    # The smallest error of a constant, whose derivatives are 0.
    highest: Any = results.problem.exact[order]
    bound = np.mean(highest**2) if order else np.var(highest)
    smooth = [line for line in summary if not (is_rough(line) or line.failures)]
    usable = [line for line in smooth if or_inf(line.errors[order]) < bound]
    settings = results.settings
    if settings.seeds < LEAST_SEEDS or settings.epochs < LEAST_EPOCHS:
        advice = _so_far(results, usable)
    elif usable:
        advice = _best(results, usable)
    else:
        text = "None of these activations can be recommended for second derivatives."
        return Recommendation(None, (), text)
    if rough := [line.activation for line in summary if is_rough(line)]:
        text = f"{advice.text} Not for second derivatives: {', '.join(rough)}."
        advice = advice._replace(text=text)
    return advice


def words(name: str, *values: Any) -> str:
    """Returns sentences of the report, by the name of a macro in page/words.txt."""
    return templates.sentences("comparison/report/page/words.txt", name, *values)


def is_rough(line: ActivationSummary) -> bool:
    """Whether an activation is known to have no continuous second derivative."""
    return not isinstance(line.smoothness, str | None) and line.smoothness < 2


def _so_far(results: Results, usable: list[ActivationSummary]) -> Recommendation:
    """Returns which activation leads in a quick look, and how to get a recommendation."""
    settings, order = results.settings, results.problem.known_order
    best = min(usable, key=lambda line: or_inf(line.errors[order]), default=None)
    error = best and best.errors[order]
    return Recommendation(
        best.activation if best else None,
        (),
        words("so_far", settings, best, error, JUDGED_BY[order]),
        words("quick", settings),
    )


def _best(results: Results, usable: list[ActivationSummary]) -> Recommendation:
    """Returns the activation of the lowest median, and those within the range of its seeds."""
    order, errors = results.problem.known_order, {}
    for line in usable:
        runs = results.runs(line.activation)
        errors[line.activation] = [or_inf(run.errors[order]) for run in runs]
    best = min(usable, key=lambda line: or_inf(line.errors[order]))
    lowest, banner = errors.pop(best.activation), ""
    if alike := [name for name in errors if not are_told_apart(lowest, errors[name])]:
        banner = words("alike", best.activation, alike, len(lowest), TEST, LEVEL)
    others = [line for line in usable if line is not best]
    equal = [line for line in others if or_inf(line.errors[order]) <= max(lowest)]
    if order < 2:
        # Among those that are equally good, by what is known of the errors.
        best = min([best, *equal], key=lambda line: or_inf(line.d2y_spread))
    macro, names = "by_spread" if order < 2 else "best", [line.activation for line in equal]
    text = words(macro, best, names, best.errors[order], JUDGED_BY[order], bool(alike))
    return Recommendation(best.activation, tuple(names if order == 2 else ()), text, banner)
