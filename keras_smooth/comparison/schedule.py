"""Runs the experiments, in this process or in several, and reports as they go."""

import dataclasses
from collections.abc import Callable

from keras_smooth.comparison import experiment, workers
from keras_smooth.comparison.experiment import Outcome
from keras_smooth.comparison.results import GLOROT, Results
from keras_smooth.comparison.settings import Settings


@dataclasses.dataclass(frozen=True)
class Task:
    """Runs of one activation, for one worker, which compiles once."""

    activation: str
    starts: tuple[experiment.Start, ...]


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


def tasks(results: Results) -> list[Task]:
    """Returns what is left to do, the longest task first."""
    settings = results.settings
    found = []
    for activation in settings.activations:
        names = [settings.initializer]
        if activation == "sigmoid" and settings.asks_open_question():
            names.append(GLOROT)
        starts = [(name, seed) for name in names for seed in range(settings.seeds)]
        missing = [
            start for start in starts if (activation, *start) not in results.outcomes
        ]
        found.append(Task(activation, tuple(missing)))
    return sorted(
        filter(lambda task: task.starts, found), key=lambda task: -len(task.starts)
    )


def run(settings: Settings, work: list[Task], jobs: int | None, handle: Callable) -> None:
    """Works through the tasks and calls `handle(event)` for all that happens meanwhile.

    Args:
        settings: The comparison.
        work: The tasks.
        jobs: Number of worker processes; None runs everything in this process.
        handle: Receives each `Progress` and `Finished`.
    """
    if jobs is None:
        for task in work:
            run_task(settings, task, handle)
    else:
        workers.run(settings, work, jobs, handle)


def run_task(settings: Settings, task: Task, handle: Callable) -> None:
    """Works through one task in this process."""

    def report(start: experiment.Start, iteration: int, loss: float) -> None:
        handle(Progress(task.activation, *start, iteration, loss))

    found = experiment.outcomes(settings, task.activation, task.starts, report)
    for (initializer, _), outcome in found:
        handle(Finished(initializer, outcome))
