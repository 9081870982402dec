"""What is left to run, and what is heard of it meanwhile."""

import dataclasses
from collections.abc import Iterator

from keras_smooth.comparison import training
from keras_smooth.comparison.experiment import Outcome, Start
from keras_smooth.comparison.results import GLOROT, Results
from keras_smooth.comparison.settings import Settings


@dataclasses.dataclass(frozen=True)
class Task:
    """Runs of one activation, for one worker, which compiles once."""

    activation: str
    starts: tuple[Start, ...]


@dataclasses.dataclass(frozen=True)
class Progress:
    """A run that goes on."""

    activation: str
    start: Start
    iteration: int
    loss: float


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run that is done."""

    start: Start
    outcome: Outcome


@dataclasses.dataclass(frozen=True)
class Died:
    """A run whose worker died.

    Args:
        activation: Its name.
        start: Initializer, seed and method of the run.
        reason: What the worker died of, as the end of a sentence.
        again: Whether the run is tried once more.
    """

    activation: str
    start: Start
    reason: str
    again: bool

    def sentence(self) -> str:
        """Returns what happened in words."""
        end = "is tried once more" if self.again else "has failed"
        way = f"{self.start.initializer}, {self.start.method}"
        run = f"{self.activation}, seed {self.start.seed} ({way})"
        return f"The run of {run} {end}: {self.reason}"


Event = Progress | Finished | Died


def missing(results: Results) -> list[Task]:
    """Returns what is left to do and can be done here, the longest task first."""
    settings, found = results.settings, []
    for activation, starts in wanted(settings):
        left = tuple(
            start for start in starts if (activation, *start) not in results.outcomes
        )
        method = starts[0].method
        # The method of all runs is no option: without it there is nothing to do.
        if left and (method == settings.method or not training.reason_missing(method)):
            found.append(Task(activation, left))
    return sorted(found, key=lambda task: _place(task, settings))


def _place(task: Task, settings: Settings) -> tuple[bool, int]:
    # Other methods compile for longer than they run.
    return task.starts[0].method == settings.method, -len(task.starts)


def wanted(settings: Settings) -> Iterator[tuple[str, list[Start]]]:
    """Gives the runs that are asked for, those together that one worker compiles."""
    for activation in settings.activations:
        names = [settings.initializer]
        if activation == "sigmoid" and settings.asks_open_question():
            names.append(GLOROT)
        yield (
            activation,
            [
                Start(name, seed, settings.method)
                for name in names
                for seed in range(settings.seeds)
            ],
        )
    for method in settings.beside:
        yield settings.activation_beside(), [Start(settings.initializer, 0, method)]
