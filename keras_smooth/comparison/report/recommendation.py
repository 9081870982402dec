"""Which activation to use: the advice that follows from the errors."""

from typing import NamedTuple

import numpy as np

from keras_smooth.comparison.problems import Problem
from keras_smooth.comparison.records.results import ActivationSummary, Results, or_inf
from keras_smooth.comparison.report.seeds import LEVEL, TEST, are_told_apart
from keras_smooth.comparison.runs.learning import ERRORS
from keras_smooth.comparison.settings import Settings

# With less than this the order of the activations is that of chance and of the first iterations,
# in which others lead than at the end.
LEAST_SEEDS, LEAST_EPOCHS = 2, 1000
# The least that the test of the seeds can tell apart.
ENOUGH_SEEDS = 3
# What is judged by, by the order up to which derivatives are known.
JUDGED_BY = (
    "median error of y at points that were held out",
    "median error of y', which was not trained on",
    "median error of y''",
)


class Recommendation(NamedTuple):
    """An advice.

    Args:
        activation: The one to use, or that leads in a quick look; None where none is of use.
        equal: Others that are as good here.
        banner: Why this is no recommendation; empty where it is one.
        text: The advice in sentences, with the name between two ** each.
    """

    activation: str | None
    equal: tuple[str, ...]
    text: str
    banner: str = ""


def recommendation(results: Results) -> str:
    """Returns the advice that follows from the errors of the highest derivative known."""
    return recommended(results).text


def sentences(results: Results) -> list[str]:
    """Returns the advice as plain text, and why it is no recommendation where it is none."""
    advice = recommended(results)
    return [
        sentence for sentence in (advice.text.replace("**", ""), advice.banner) if sentence
    ]


def recommended(results: Results) -> Recommendation:
    """Returns the advice with the names that are in it."""
    summary, field = results.summary(), ERRORS[results.problem.known_order]
    bound = _error_of_a_constant(results.problem)
    usable = [
        line
        for line in summary
        if not (is_rough(line) or line.failures) and or_inf(getattr(line, field)) < bound
    ]
    if is_quick(results.settings):
        found = _so_far(results, usable)
    elif usable:
        found = _best(results, usable)
    else:
        text = "None of these activations can be recommended for second derivatives."
        return Recommendation(None, (), text)
    if rough := [line.activation for line in summary if is_rough(line)]:
        text = f"{found.text} Not for second derivatives: {', '.join(rough)}."
        found = found._replace(text=text)
    return found


def is_rough(line: ActivationSummary) -> bool:
    """Whether an activation is known to have no continuous second derivative."""
    return not isinstance(line.smoothness, str | None) and line.smoothness < 2


def is_quick(settings: Settings) -> bool:
    """Whether the runs are too few or too short for an advice."""
    return settings.seeds < LEAST_SEEDS or settings.epochs < LEAST_EPOCHS


def _error_of_a_constant(problem: Problem) -> float:
    """Returns the least error that a constant has, whose derivatives are 0."""
    *_, highest = (values for values in problem.exact if values is not None)
    return float(np.mean(highest**2) if problem.known_order else np.var(highest))


def _so_far(results: Results, usable: list[ActivationSummary]) -> Recommendation:
    """Tells which activation leads in a quick look, and how to get an advice."""
    settings, order = results.settings, results.problem.known_order
    best = min(usable, key=lambda line: getattr(line, ERRORS[order]), default=None)
    leads = (
        f"**{best.activation}** has so far the lowest {JUDGED_BY[order]} "
        f"({getattr(best, ERRORS[order]):.1e})"
        if best
        else "none of these is better than a constant so far"
    )
    seeds = "1 seed" if settings.seeds == 1 else f"{settings.seeds} seeds"
    text = (
        f"A quick look, with {seeds} and {settings.epochs} iterations: {leads}. More can "
        f"change the order; for a recommendation use {ENOUGH_SEEDS} seeds and {LEAST_EPOCHS} "
        "iterations or more."
    )
    banner = f"This is a quick look: {seeds}, {settings.epochs} iterations."
    return Recommendation(best.activation if best else None, (), text, banner)


def _best(results: Results, usable: list[ActivationSummary]) -> Recommendation:
    order = results.problem.known_order
    best, equal = _best_and_equal(results, usable, ERRORS[order])
    alike = _not_told_apart(results, best, usable)
    names = tuple(line.activation for line in equal)
    if order < 2:
        chosen, text = _by_spread(order, [best, *equal], bool(alike))
        return Recommendation(chosen.activation, (), text, alike)
    text = (
        f"{_begin(best, bool(alike))}: the lowest {JUDGED_BY[order]} ({best.d2y_mse:.1e}) "
        "with no run that broke off."
    )
    if names:
        text += f" Within the range of its seeds, so as good here: {', '.join(names)}."
    return Recommendation(best.activation, names, text, alike)


def _begin(line: ActivationSummary, is_open: bool) -> str:
    return f"**{line.activation}** leads" if is_open else f"Use **{line.activation}**"


def _not_told_apart(
    results: Results, best: ActivationSummary, usable: list[ActivationSummary]
) -> str:
    """Returns a sentence on those that the seeds do not tell apart from the best one."""
    field = ERRORS[results.problem.known_order]
    errors = {
        line.activation: [getattr(run, field) for run in results.runs(line.activation)]
        for line in usable
    }
    lowest = errors.pop(best.activation)
    alike = [name for name, others in errors.items() if not are_told_apart(lowest, others)]
    if not alike:
        return ""
    more = f" It takes {ENOUGH_SEEDS} seeds or more to tell any apart."
    return (
        f"{best.activation} and {', '.join(alike)} are not told apart by these {len(lowest)} "
        f"seeds ({TEST}, at {LEVEL:.0%}).{more if len(lowest) < ENOUGH_SEEDS else ''}"
    )


def _by_spread(
    order: int, candidates: list[ActivationSummary], is_open: bool
) -> tuple[ActivationSummary, str]:
    """Chooses among activations that are equally good by what is known of the errors."""
    chosen = min(candidates, key=lambda line: or_inf(line.d2y_spread))
    others = ", the least of those within its range" if len(candidates) > 1 else ""
    apart = (
        f", and y'' of its seeds apart by {chosen.d2y_spread:.1e}{others}"
        if chosen.d2y_spread is not None
        else ""
    )
    return chosen, (
        f"y'' is not known here, so its error is not either. {_begin(chosen, is_open)}: "
        f"{JUDGED_BY[order]} ({getattr(chosen, ERRORS[order]):.1e}){apart}."
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
