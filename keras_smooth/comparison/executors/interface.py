"""The interface of executors, and the executor of this process."""

from collections.abc import Callable, Sequence
from typing import Protocol

from keras_smooth.comparison.runs.events import Event, Finished, Progress
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.settings import RunId

# Lists of runs that one compiled program serves, the longest first.
Programs = Sequence[Sequence[RunId]]
Handle = Callable[[Event], None]


class Executor(Protocol):
    """Executes runs, and reports their events in the caller's thread."""

    def place(self, num_runs: int) -> str:
        """Returns where a number of runs is executed, as the end of a sentence."""

    def execute(self, experiment: Experiment, programs: Programs, handle: Handle) -> None:
        """Returns when all runs are made.

        Args:
            experiment: Settings and problem; it can be pickled by cloudpickle.
            programs: The runs.
            handle: Called with each `Progress`, `Finished` and `Died`.
        """


class ThisProcess:
    """Executes one run after the other in this process."""

    def place(self, num_runs: int) -> str:
        return "in this process"

    def execute(self, experiment: Experiment, programs: Programs, handle: Handle) -> None:
        for runs in programs:
            perform(experiment, runs, handle)


def perform(experiment: Experiment, runs: Sequence[RunId], handle: Handle) -> None:
    """Makes runs of one program in this process."""

    def report(run: RunId, iteration: int, loss: float) -> None:
        handle(Progress(run, iteration, loss))

    for run, record in experiment.records(runs, report):
        handle(Finished(run, record))
