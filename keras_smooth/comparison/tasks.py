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


Event = Progress | Finished


def missing(results: Results) -> list[Task]:
    """Returns what is left to do, the longest task first."""
    found = []
    for activation, starts in wanted(results.settings):
        left = tuple(
            start for start in starts if (activation, *start) not in results.outcomes
        )
        if left:
            found.append(Task(activation, left))
    return sorted(found, key=lambda task: -len(task.starts))


def wanted(settings: Settings) -> Iterator[tuple[str, list[Start]]]:
    """Gives all activations with the runs that are asked for, which one worker compiles."""
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
        if not training.reason_missing(method):
            start = Start(settings.initializer, 0, method)
            yield settings.activation_beside(), [start]
