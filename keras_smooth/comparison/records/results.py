"""The finished runs of a comparison and their medians."""

import collections
import dataclasses
import math
import statistics
from collections.abc import Mapping

import numpy as np

from keras_smooth import registry
from keras_smooth.comparison.problems import Problem
from keras_smooth.comparison.runs import training
from keras_smooth.comparison.runs.learning import ERRORS
from keras_smooth.comparison.runs.record import Record, Run
from keras_smooth.comparison.settings import RunId, Settings, Variant


@dataclasses.dataclass(frozen=True)
class ActivationSummary:
    """The medians of one activation, a line of the summary.

    Args:
        activation: Its name.
        smoothness: k of its class C^k, or "inf"; None if it is not known.
        seeds: Number of runs.
        failures: Number of runs that failed (`Run.failed`), or whose worker died twice.
        y_mse: Median of the mean squared errors of y; None if one of them is missing.
        dy_mse: The same for y'.
        d2y_mse: The same for y''.
        d2y_spread: How much y'' differs between seeds: the root mean square over the test points
            of the standard deviation over the seeds. None if there is only one run or a y'' is
            lost.
    """

    activation: str
    smoothness: float | str | None
    seeds: int
    failures: int
    y_mse: float | None
    dy_mse: float | None
    d2y_mse: float | None
    d2y_spread: float | None

    @property
    def errors(self) -> tuple[float | None, ...]:
        """The medians of y, y', y''."""
        return self.y_mse, self.dy_mse, self.d2y_mse

    @property
    def class_name(self) -> str:
        """The class in words."""
        return "unknown" if self.smoothness is None else f"C^{self.smoothness}"


@dataclasses.dataclass
class Results:
    """The settings and finished runs of a comparison.

    Args:
        settings: The settings.
        problems: The problems, by their names in `settings`.
        records: The records of finished runs.
        seconds: Wall time so far, in all calls that continued the comparison; None before the
            first run ends.
        failures: Sentences for the runs whose workers died twice; resuming repeats these runs.
    """

    settings: Settings
    problems: Mapping[str, Problem]
    records: dict[RunId, Record] = dataclasses.field(default_factory=dict)
    seconds: float | None = None
    failures: dict[RunId, str] = dataclasses.field(default_factory=dict)

    @property
    def problem(self) -> Problem:
        """The problem of the main variant."""
        return self.problems[self.settings.main.problem]

    def of_variant(self, variant: Variant) -> "Results":
        """Returns the results of one variant, as if there were no other."""
        return dataclasses.replace(self, settings=self.settings.of_variant(variant))

    def missing(self) -> list[list[RunId]]:
        """Returns the missing runs that can be executed here, in a list for each program."""
        settings, programs = self.settings, collections.defaultdict(list)
        for run in settings.runs():
            # A baseline is skipped if its package is missing; the methods of all runs are not.
            method = run.variant.method
            can_run = method in settings.method or not training.reason_missing(method)
            if run not in self.records and can_run:
                programs[run.program()].append(run)
        # Baselines come first, since they take long to compile, and then the longest lists.
        return sorted(
            programs.values(),
            key=lambda runs: (runs[0].variant.method not in settings.baselines, -len(runs)),
        )

    def records_of(self, activation: str) -> list[Record]:
        """Returns the records of an activation in the main variant, in the order of the seeds."""
        seeds = range(self.settings.seeds)
        runs = [RunId(activation, self.settings.main, seed) for seed in seeds]
        return [self.records[run] for run in runs if run in self.records]

    def baselines(self) -> dict[str, Record]:
        """Returns the records of the baselines that have run, by method."""
        runs = self.settings.baseline_runs()
        return {
            run.variant.method: self.records[run] for run in runs if run in self.records
        }

    def question(self) -> "Results | None":
        """Returns the results of sigmoid from Glorot's initializer, or None if there are none."""
        variant = self.settings.open_question()
        if variant is None:
            return None
        results = self.of_variant(variant)
        results.settings = dataclasses.replace(results.settings, activations=("sigmoid",))
        return results if results.runs("sigmoid") else None

    def runs(self, activation: str) -> list[Run]:
        """Returns the runs of an activation in the main variant, in the order of the seeds."""
        return [record.run for record in self.records_of(activation)]

    def all_runs(self) -> list[Run]:
        """Returns the runs of all activations in the main variant."""
        return [run for name in self.settings.activations for run in self.runs(name)]

    def summary(self) -> list[ActivationSummary]:
        """Returns the medians over the seeds for every activation that has runs."""
        names = [name for name in self.settings.activations if self.runs(name)]
        return [self.summary_of(name) for name in names]

    def summary_of(self, activation: str) -> ActivationSummary:
        """Returns medians, failures and spread of the runs of one activation."""
        records, main = self.records_of(activation), self.settings.main
        runs = [record.run for record in records]
        died = sum(run[:2] == (activation, main) for run in self.failures)
        smoothness = registry.smoothness(self.settings.function(activation))
        return ActivationSummary(
            activation=activation,
            smoothness="inf" if smoothness == math.inf else smoothness,
            seeds=len(runs) + died,
            failures=sum(run.failed for run in runs) + died,
            **{name: median([getattr(run, name) for run in runs]) for name in ERRORS},
            d2y_spread=_spread([record.curves[2] for record in records]),
        )

    def median_record(self, activation: str) -> Record:
        """Returns the record with the (lower) median error of the highest derivative."""
        records = self.records_of(activation)
        errors = enumerate(records[0].run.errors)
        highest = max((order for order, error in errors if error is not None), default=0)
        records.sort(key=lambda record: or_inf(record.run.errors[highest]))
        return records[(len(records) - 1) // 2]


def or_inf(value: float | None) -> float:
    """Returns an error as a key for sorting; infinity if it is missing."""
    return math.inf if value is None else value


def median(values: list[float | None]) -> float | None:
    """Returns the median, None if any value is missing."""
    valid = [value for value in values if value is not None]
    return statistics.median(valid) if len(valid) == len(values) else None


def _spread(curves: list) -> float | None:
    if len(curves) < 2 or any(curve is None for curve in curves):
        return None
    spread = float(np.sqrt(np.mean(np.var(curves, axis=0, ddof=1))))
    return spread if math.isfinite(spread) else None
