"""The finished runs of a comparison and their medians."""

import dataclasses
import math
import statistics

from keras_smooth import registry
from keras_smooth.comparison.experiment import Outcome, Run
from keras_smooth.comparison.problems import Problem
from keras_smooth.comparison.settings import Settings

GLOROT = "glorot_uniform"
MSE_FIELDS = ("y_mse", "dy_mse", "d2y_mse")


@dataclasses.dataclass(frozen=True)
class ActivationSummary:
    """The medians of one activation, a line of the summary."""

    activation: str
    smoothness: float | str | None
    seeds: int
    failures: int
    y_mse: float | None
    dy_mse: float | None
    d2y_mse: float | None


@dataclasses.dataclass
class Results:
    """What a comparison has found so far.

    Args:
        settings: What was asked.
        problem: What is learned.
        outcomes: Finished runs by `(activation, initializer, seed)`.
        seconds: Wall time of the comparison, None while it goes on.
    """

    settings: Settings
    problem: Problem
    outcomes: dict[tuple[str, str, int], Outcome] = dataclasses.field(default_factory=dict)
    seconds: float | None = None

    def runs(self, activation: str, initializer: str | None = None) -> list[Run]:
        """Returns the finished runs of an activation in the order of their seeds."""
        initializer = initializer or self.settings.initializer
        keys = sorted(key for key in self.outcomes if key[:2] == (activation, initializer))
        return [self.outcomes[key].run for key in keys]

    def all_runs(self) -> list[Run]:
        """Returns the runs of the comparison, without those of the open question."""
        return [run for name in self.settings.activations for run in self.runs(name)]

    def summary(self) -> list[ActivationSummary]:
        """Returns the medians over the seeds of every activation that has runs."""
        names = [name for name in self.settings.activations if self.runs(name)]
        return [summarize(name, self.runs(name)) for name in names]

    def median_outcome(self, activation: str) -> Outcome:
        """Returns the outcome of the seed with the (lower) median error of y''."""
        runs = self.runs(activation)
        last = next(
            (f for f in reversed(MSE_FIELDS) if getattr(runs[0], f) is not None), "seed"
        )
        ordered = sorted(runs, key=lambda run: _or_inf(getattr(run, last)))
        seed = ordered[(len(ordered) - 1) // 2].seed
        return self.outcomes[activation, self.settings.initializer, seed]


def _or_inf(value: float | None) -> float:
    return math.inf if value is None else value


def summarize(activation: str, runs: list[Run]) -> ActivationSummary:
    """Returns medians and failures of some runs of one activation."""
    smoothness = registry.smoothness(activation)
    return ActivationSummary(
        activation=activation,
        smoothness="inf" if smoothness == math.inf else smoothness,
        seeds=len(runs),
        failures=sum(not run.success for run in runs),
        **{field: median([getattr(run, field) for run in runs]) for field in MSE_FIELDS},
    )


def median(values: list[float | None]) -> float | None:
    """Returns the median, None if any value is missing."""
    return None if None in values else statistics.median(values)
