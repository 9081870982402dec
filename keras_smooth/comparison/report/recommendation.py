"""The recommendation of an activation, from the errors."""

from typing import Any, NamedTuple

import numpy as np

from keras_smooth.comparison.records.results import ActivationSummary, Results, or_inf
from keras_smooth.comparison.report.seeds import LEVEL, TEST, is_lower
from keras_smooth.presentation import templates

# With fewer seeds, the order of the activations depends on chance. With fewer epochs, it depends on
# the first iterations, in which other activations lead than at the end.
MIN_SEEDS, MIN_EPOCHS = 2, 1000
# The criterion, by the highest order of the derivatives whose exact values are known.
JUDGED_BY = (
    "median error of y at points that were held out",
    "median error of y', which was not trained on",
    "median error of y''",
)


class Recommendation(NamedTuple):
    """Advice on which activation to use.

    Args:
        activation: The activation to use, or the one that leads with few seeds or epochs; None if
            none can be used.
        equal: Other activations that are equally good here.
        text: The advice in sentences, with ** before and after the name.
        banner: Why this is not a recommendation, or "".
    """

    activation: str | None
    equal: tuple[str, ...]
    text: str
    banner: str = ""


def sentences(results: Results) -> list[str]:
    """Returns the advice as plain text and, if it is not a recommendation, the reason.

    With several problems there is advice for each, which begins with the name of the problem.
    """
    main = results.settings.main
    by_problem = {
        problem: recommended(results.of_variant(main._replace(problem=problem)))
        for problem in results.settings.problem
    }
    return [
        f"{results.problems[problem].shown()}: {sentence}"
        if len(by_problem) > 1
        else sentence
        for problem, advice in by_problem.items()
        for sentence in (advice.text.replace("**", ""), advice.banner)
        if sentence
    ]


def recommended(results: Results) -> Recommendation:
    """Returns the advice that follows from the errors of the highest known derivative."""
    summary, order = results.summary(), results.problem.known_order
    # The smallest error of a constant function, whose derivatives are 0: a useful one is better.
    highest: Any = results.problem.exact[order]
    bound = np.mean(highest**2) if order else np.var(highest)
    smooth = [line for line in summary if not (is_not_smooth(line) or line.failures)]
    usable = [line for line in smooth if or_inf(line.errors[order]) < bound]
    settings = results.settings
    if settings.seeds < MIN_SEEDS or settings.epochs < MIN_EPOCHS:
        advice = _leader_so_far(results, usable)
    elif usable:
        advice = _best_of_usable(results, usable)
    else:
        text = "None of these activations can be recommended for second derivatives."
        return Recommendation(None, (), text)
    if not_smooth := [line.activation for line in summary if is_not_smooth(line)]:
        text = f"{advice.text} Not for second derivatives: {', '.join(not_smooth)}."
        advice = advice._replace(text=text)
    return advice


def words(name: str, *values: Any) -> str:
    """Returns sentences of the report, by the name of a macro in page/words.txt."""
    return templates.sentences("comparison/report/page/words.txt", name, *values)


def is_not_smooth(line: ActivationSummary) -> bool:
    """Returns whether an activation is known to have no continuous second derivative."""
    return not isinstance(line.smoothness, str | None) and line.smoothness < 2


def _leader_so_far(results: Results, usable: list[ActivationSummary]) -> Recommendation:
    """Returns the activation that leads with few seeds or epochs, and how to get a recommendation."""
    settings, order = results.settings, results.problem.known_order
    best = min(usable, key=lambda line: or_inf(line.errors[order]), default=None)
    error = best and best.errors[order]
    return Recommendation(
        best.activation if best else None,
        (),
        words("so_far", settings, best, error, JUDGED_BY[order]),
        words("quick", settings),
    )


def _best_of_usable(results: Results, usable: list[ActivationSummary]) -> Recommendation:
    """Returns the activation of the lowest median, and those within the range of its seeds."""
    order, errors = results.problem.known_order, {}
    for line in usable:
        runs = results.runs(line.activation)
        errors[line.activation] = [or_inf(run.errors[order]) for run in runs]
    best = min(usable, key=lambda line: or_inf(line.errors[order]))
    lowest, banner = errors.pop(best.activation), ""
    if alike := [name for name in errors if not is_lower(lowest, errors[name])]:
        banner = words("alike", best.activation, alike, len(lowest), TEST, LEVEL)
    others = [line for line in usable if line is not best]
    equal = [line for line in others if or_inf(line.errors[order]) <= max(lowest)]
    if order < 2:
        # Of the equally good activations, the one whose seeds agree best in y''.
        best = min([best, *equal], key=lambda line: or_inf(line.d2y_spread))
    macro, names = "by_spread" if order < 2 else "best", [line.activation for line in equal]
    text = words(macro, best, names, best.errors[order], JUDGED_BY[order], bool(alike))
    return Recommendation(best.activation, tuple(names if order == 2 else ()), text, banner)
