"""What is left to run, and what is heard of it meanwhile."""

import dataclasses

from keras_smooth.comparison.experiment import Outcome, Start
from keras_smooth.comparison.results import GLOROT, Results


@dataclasses.dataclass(frozen=True)
class Task:
    """Runs of one activation, for one worker, which compiles once."""

    activation: str
    starts: tuple[Start, ...]


@dataclasses.dataclass(frozen=True)
class Progress:
    """A run that goes on."""

    activation: str
    initializer: str
    seed: int
    iteration: int
    loss: float


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run that is done."""

    initializer: str
    outcome: Outcome


Event = Progress | Finished


def missing(results: Results) -> list[Task]:
    """Returns what is left to do, the longest task first."""
    settings = results.settings
    found = []
    for activation in settings.activations:
        names = [settings.initializer]
        if activation == "sigmoid" and settings.asks_open_question():
            names.append(GLOROT)
        starts = [Start(name, seed) for name in names for seed in range(settings.seeds)]
        left = tuple(
            start for start in starts if (activation, *start) not in results.outcomes
        )
        if left:
            found.append(Task(activation, left))
    return sorted(found, key=lambda task: -len(task.starts))
