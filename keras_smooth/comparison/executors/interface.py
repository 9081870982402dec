"""The interface of executors, and the executor of this process."""

from collections.abc import Callable, Sequence
from typing import Protocol

from keras_smooth.comparison.runs.events import Event, Finished, Progress
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.settings import RunId

# Lists of runs that share one compiled program, in the order in which to execute them.
Programs = Sequence[Sequence[RunId]]
Handle = Callable[[Event], None]


class Executor(Protocol):
    """Executes runs, and reports their events in the caller's thread."""

    def place(self, num_runs: int) -> str:
        """Returns where the executor executes `num_runs` runs, as the end of a sentence."""

    def execute(self, experiment: Experiment, programs: Programs, handle: Handle) -> None:
        """Executes all runs, and returns after the last one.

        Args:
            experiment: Settings and problems; cloudpickle can pickle it.
            programs: The runs, in a list for each compiled program.
            handle: A function that is called with each `Event`.
        """


class ThisProcess:
    """Executes the runs one after another in this process."""

    def place(self, num_runs: int) -> str:
        return "in this process"

    def execute(self, experiment: Experiment, programs: Programs, handle: Handle) -> None:
        for runs in programs:
            perform(experiment, runs, handle)


def perform(experiment: Experiment, runs: Sequence[RunId], handle: Handle) -> None:
    """Executes runs of one program in this process."""

    def report(run: RunId, iteration: int, loss: float) -> None:
        handle(Progress(run, iteration, loss))

    for run, record in experiment.records(runs, report):
        handle(Finished(run, record))
