"""What every executor does, and what all of them share: the work on one task."""

from collections.abc import Callable, Sequence
from typing import Protocol

from keras_smooth.comparison.experiment import Experiment, Start
from keras_smooth.comparison.tasks import Event, Finished, Progress, Task


class Executor(Protocol):
    """Works through tasks wherever it likes, and tells of it in the caller's thread."""

    def place(self, num_runs: int) -> str:
        """Returns where so many runs happen, as the end of a sentence."""

    def execute(
        self, experiment: Experiment, tasks: Sequence[Task], handle: Callable[[Event], None]
    ) -> None:
        """Returns when all tasks are done.

        Args:
            experiment: Settings and problem; it can be pickled by cloudpickle.
            tasks: The tasks, the longest first.
            handle: Called with each `Progress`, `Finished` and `Died`.
        """


def perform(experiment: Experiment, task: Task, handle: Callable[[Event], None]) -> None:
    """Works through one task in this process."""

    def report(start: Start, iteration: int, loss: float) -> None:
        handle(Progress(task.activation, start, iteration, loss))

    for start, outcome in experiment.outcomes(task.activation, task.starts, report):
        handle(Finished(start, outcome))
