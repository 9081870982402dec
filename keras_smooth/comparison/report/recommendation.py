"""Which activation to take: the advice that follows from the errors."""

from typing import NamedTuple

import numpy as np

from keras_smooth.comparison.results import ActivationSummary, Results


class Recommendation(NamedTuple):
    """An advice.

    Args:
        activation: The one to take; None where none is of use.
        equal: Others that are as good here.
        text: The advice in sentences, with the name between two ** each.
    """

    activation: str | None
    equal: tuple[str, ...]
    text: str


def recommendation(results: Results) -> str:
    """Returns the advice that follows from the errors of y'', or of y where y'' is not known."""
    return recommended(results).text


def recommended(results: Results) -> Recommendation:
    """Returns the advice with the names that are in it."""
    summary = results.summary()
    smooth = [line for line in summary if not is_rough(line) and not line.failures]
    if results.problem.exact[2] is None:
        found = _by_held_out_error(results, smooth)
    else:
        found = _by_second_derivative(results, smooth)
    if found is None:
        text = "None of these activations can be recommended for second derivatives."
        return Recommendation(None, (), text)
    rough = [line.activation for line in summary if is_rough(line)]
    if rough:
        text = f"{found.text} Not for second derivatives: {', '.join(rough)}."
        found = found._replace(text=text)
    return found


def is_rough(line: ActivationSummary) -> bool:
    """Whether an activation is known to have no continuous second derivative."""
    return not isinstance(line.smoothness, str | None) and line.smoothness < 2


def _by_second_derivative(
    results: Results, smooth: list[ActivationSummary]
) -> Recommendation | None:
    # Better than that of a constant, which is 0.
    bound = float(np.mean(results.problem.exact[2] ** 2))
    usable = [one for one in smooth if one.d2y_mse is not None and one.d2y_mse < bound]
    if not usable:
        return None
    best, equal = _best_and_equal(results, usable, "d2y_mse")
    text = (
        f"Take **{best.activation}**: the lowest median error of y'' ({best.d2y_mse:.1e}) "
        "with no run that broke off."
    )
    names = tuple(one.activation for one in equal)
    if names:
        text += f" Within the range of its seeds, so as good here: {', '.join(names)}."
    return Recommendation(best.activation, names, text)


def _by_held_out_error(
    results: Results, smooth: list[ActivationSummary]
) -> Recommendation | None:
    # Better than the best constant.
    bound = float(np.var(results.problem.exact[0]))
    usable = [one for one in smooth if one.y_mse is not None and one.y_mse < bound]
    if not usable:
        return None
    best, equal = _best_and_equal(results, usable, "y_mse")
    candidates = [one for one in (best, *equal) if one.d2y_spread is not None]
    text = "y'' is not known here, so its error is not either. "
    if not candidates:
        text += (
            f"By the error of y at points that were held out take **{best.activation}** "
            f"({best.y_mse:.1e}). Two seeds or more would tell how far their y'' agree."
        )
        return Recommendation(best.activation, (), text)
    chosen = min(candidates, key=lambda one: one.d2y_spread)
    others = ", the least of those within its range" if len(candidates) > 1 else ""
    text += (
        f"Take **{chosen.activation}**: error of y at points that were held out "
        f"{chosen.y_mse:.1e}, and y'' of its seeds apart by {chosen.d2y_spread:.1e}{others}."
    )
    return Recommendation(chosen.activation, (), text)


def _best_and_equal(
    results: Results, lines: list[ActivationSummary], field: str
) -> tuple[ActivationSummary, list[ActivationSummary]]:
    """Returns the line of the lowest median, and those within the range of its seeds."""
    best = min(lines, key=lambda line: getattr(line, field))
    worst = max(getattr(run, field) for run in results.runs(best.activation))
    return best, [
        line for line in lines if line is not best and getattr(line, field) <= worst
    ]
