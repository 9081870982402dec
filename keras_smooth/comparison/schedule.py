"""Runs the experiments, in this process or in several, and reports as they go."""

import dataclasses
from collections.abc import Callable

from keras_smooth.comparison import experiment, workers
from keras_smooth.comparison.experiment import Outcome
from keras_smooth.comparison.results import GLOROT, Results
from keras_smooth.comparison.settings import Settings


@dataclasses.dataclass(frozen=True)
class Task:
    """Seeds of one activation and initializer, for one worker: it compiles once."""

    activation: str
    initializer: str
    seeds: tuple[int, ...]


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
    """Returns what is left to do."""
    settings = results.settings
    wanted = [(name, settings.initializer) for name in settings.activations]
    if settings.asks_open_question():
        wanted.append(("sigmoid", GLOROT))
    missing = [
        Task(*pair, tuple(s for s in range(settings.seeds) if (*pair, s) not in results.outcomes))
        for pair in wanted
    ]
    return [task for task in missing if task.seeds]


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

    def report(seed: int, iteration: int, loss: float) -> None:
        handle(Progress(task.activation, task.initializer, seed, iteration, loss))

    for outcome in experiment.outcomes(
        settings, task.activation, task.initializer, task.seeds, report
    ):
        handle(Finished(task.initializer, outcome))
