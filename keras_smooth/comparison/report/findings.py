"""Findings other than the recommendation, as text and as rows of tables."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from keras_smooth import registry
from keras_smooth.comparison import article
from keras_smooth.comparison.options import EPOCHS_OF_ITERATION, FACTORS, METHODS
from keras_smooth.comparison.problems import OWN_DATA, OWN_FUNCTION
from keras_smooth.comparison.records.results import Results
from keras_smooth.comparison.report.recommendation import (
    is_not_smooth,
    recommended,
    sentences,
    words,
)
from keras_smooth.comparison.runs import training
from keras_smooth.comparison.runs.record import Record, Run
from keras_smooth.comparison.settings import Variant

# An initial network with a smaller signal (see `Run`) counts as dead. With Glorot's initializer,
# the signal is 4e-5 for sigmoid and 4e-1 for tanh.
DEAD_SIGNAL = 1e-3
_ERRORS = ("MSE y", "MSE y'", "MSE y''")


class Answer(NamedTuple):
    """A finding as a table, whose first row has the names of the columns, and as text."""

    rows: list[list[str]]
    text: str


def articles_mse(results: Results) -> dict[str, tuple[float, float, float]]:
    """Returns the errors in the article by activation, or {} for another problem or noise."""
    settings = results.settings
    is_same = settings.main.problem == article.PROBLEM and not settings.noise
    return dict(article.MSE) if is_same else {}


def misprint(results: Results) -> str:
    """Returns sentences on a misprint in the article, or "" for another problem."""
    return words("misprint") if articles_mse(results) else ""


def signal(runs: list[Run]) -> float:
    """Returns the median of the signals at the start."""
    return float(np.median([run.signal for run in runs]))


def cpu_seconds(records: list[Record]) -> str:
    """Returns the median of the CPU seconds of runs, which learning curves have."""
    known = [record.learning["cpu_seconds"][-1] for record in records if record.learning]
    return f"{float(np.median(known)):.1f}" if known else "-"


def spread(values: list[float | None], missing: str = "lost") -> str:
    """Returns median and range of errors, or the word `missing` if one is missing."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return missing
    if len(known) == 1:
        return f"{known[0]:.1e}"
    low, middle, high = min(known), float(np.median(known)), max(known)
    return f"{middle:.1e} ({low:.0e} to {high:.0e})"


def spreads(runs: list[Run]) -> list[str]:
    """Returns median and range of the errors of y, y', y''."""
    return [spread(list(errors)) for errors in zip(*(run.errors for run in runs))]


def not_smooth(results: Results) -> list[str]:
    """Returns a sentence for each activation without a continuous y''."""
    reasons = []
    for line in filter(is_not_smooth, results.summary()):
        row = registry.row(results.settings.function(line.activation))
        # A user's function has no reason, since its class is derived from its operations.
        reason = row and row.reason or "has no continuous second derivative"
        curve = results.median_record(line.activation).curves[2]
        is_zero = curve is not None and not np.any(curve)
        zero = " Its y'' is exactly 0." if is_zero else ""
        reasons.append(f"{line.activation} {reason}.{zero}")
    return reasons


def failures(results: Results) -> list[str]:
    """Returns sentences on dead workers, nearly constant initial networks and failed runs."""
    lines = list(results.failures.values())
    for line in results.summary():
        runs = results.runs(line.activation)
        if signal(runs) < DEAD_SIGNAL:
            lines.append(words("dead_start", line.activation, signal(runs)))
        lines += [
            f"{run.activation}, seed {run.seed}, ended at iteration {run.nit}: {run.message}"
            for run in runs
            if run.restarts or run.failed
        ]
    return lines


def variants(results: Results) -> Answer | None:
    """Returns a table of the best activation of each variant, or None if there is one variant."""
    settings = results.settings
    if len(settings.variants()) == 1:
        return None
    factors = [name for name in FACTORS if len(getattr(settings, name)) > 1]
    rows = [[*factors, "best", *_ERRORS]]
    for variant in settings.variants():
        of_variant = results.of_variant(variant)
        best = recommended(of_variant).activation
        errors = spreads(of_variant.runs(best)) if best else ["-"] * 3
        levels = _level_names(results, variant, factors)
        rows.append([*levels, best or "none of use", *errors])
    by_problem = sentences(results) if "problem" in factors else []
    return Answer(rows, " ".join([words("variants"), *by_problem]))


def tables_of_variants(results: Results) -> dict[str, list[list[str]]]:
    """Returns a table of each variant but the main one, by the levels that differ from it."""
    main, *others = results.settings.variants()
    tables = {}
    for variant in others:
        rows = [["activation", "class", *_ERRORS, "failures"]]
        of_variant = results.of_variant(variant)
        for line in of_variant.summary():
            errors = spreads(of_variant.runs(line.activation))
            failed = f"{line.failures} of {line.seeds}"
            rows.append([line.activation, line.class_name, *errors, failed])
        levels = _level_names(results, variant, variant.levels_other_than(main))
        tables[", ".join(levels)] = rows
    return tables


def _level_names(results: Results, variant: Variant, factors: Iterable[str]) -> list[str]:
    """Returns the levels of a variant in some factors as text."""
    shown = variant._replace(problem=results.problems[variant.problem].shown())
    return [getattr(shown, factor) for factor in factors]


def question(results: Results) -> Answer | None:
    """Returns why sigmoid was inferior in the article, from runs with two initializers."""
    glorot = results.question()
    if glorot is None:
        return None
    rows = [["sigmoid from", "signal at start", *_ERRORS, "restarts"]]
    for name, start in (("Glorot's start", glorot), ("default start", results)):
        runs = start.runs("sigmoid")
        restarts = sum(run.restarts for run in runs)
        rows.append([name, f"{signal(runs):.1e}", *spreads(runs), str(restarts)])
    runs = glorot.runs("sigmoid")
    broken = [f"seed {run.seed}" for run in runs if run.restarts or run.failed]
    errors = [start.summary_of("sigmoid").d2y_mse for start in (glorot, results)]
    text = "" if None in errors else words("question", *errors, signal(runs), broken)
    return Answer(rows, text)


def by_method(results: Results) -> dict[str, Record]:
    """Returns the record of seed 0 by each method, or {} if there are no baselines."""
    baselines = results.baselines()
    records = results.records_of(results.settings.baseline_activation())
    if not (baselines and records):
        return {}
    return {results.settings.main.method: records[0], **baselines}


def optimizers(results: Results) -> Answer | None:
    """Returns a table of the methods on one activation, from the same initial weights."""
    records = by_method(results)
    if not records:
        return None
    rows = [["method", "loss", *_ERRORS, "iterations", "evaluations", "CPU seconds"]]
    for method, record in records.items():
        run = record.run
        counts = [str(run.nit), str(run.nfev), cpu_seconds([record])]
        rows.append([METHODS[method], spread([run.loss]), *spreads([run]), *counts])
    runs = {method: record.run for method, record in records.items()}
    return Answer(rows, words("optimizers", runs, METHODS, EPOCHS_OF_ITERATION))


def missing_methods(results: Results) -> list[str]:
    """Returns a sentence for each requested baseline that is missing, with the remedy."""
    finished = results.baselines()
    missing = [name for name in results.settings.baselines if name not in finished]
    reasons = {METHODS[name]: training.reason_missing(name) for name in missing}
    return [f"{title}: {reason}" for title, reason in reasons.items() if reason]


def command(results: Results) -> str:
    """Returns the command that reproduces the results, or a sentence if there is none."""
    settings = results.settings
    if {OWN_DATA, OWN_FUNCTION} & {*settings.problem} or not settings.can_be_named():
        return "keras_smooth.compare, called with arrays or functions from Python"
    return settings.command()
