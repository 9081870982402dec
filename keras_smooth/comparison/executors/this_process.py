"""Tasks one after the other in this process."""

from collections.abc import Callable, Sequence

from keras_smooth.comparison.executors.interface import perform
from keras_smooth.comparison.experiment import Experiment
from keras_smooth.comparison.tasks import Event, Task


class ThisProcess:
    """Runs everything here."""

    def place(self, num_runs: int) -> str:
        return "in this process"

    def execute(
        self, experiment: Experiment, tasks: Sequence[Task], handle: Callable[[Event], None]
    ) -> None:
        for task in tasks:
            perform(experiment, task, handle)
