"""Executors of runs, with one interface, `Executor`; one executes them in this process.

worker_processes.py    several processes of this machine
ray_cluster.py         the cores of a Ray cluster, and nodes that cannot execute runs
ray_worker.py          the code of a worker in a Ray cluster
own_modules.py         the user's modules that are sent with a run
"""

from typing import Protocol

from keras_smooth.checks import choice, text, whole_number
from keras_smooth.comparison.executors.ray_cluster import RayCluster
from keras_smooth.comparison.executors.worker_processes import WorkerProcesses
from keras_smooth.comparison.options import EXECUTORS, LOCAL, RAY
from keras_smooth.comparison.runs.events import Handle
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.settings import Programs


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
            experiment.execute(runs, handle)


def chosen_executor(
    jobs: int | None, executor: str = LOCAL, address: str | None = None
) -> Executor:
    """Returns the executor: Ray if requested, else worker processes, or this one without `jobs`.

    Raises:
        TypeError: If `jobs` is no integer.
        ValueError: If an argument is out of range, or belongs to another executor.
        ImportError: If Ray is requested and not installed.
    """
    choice("executor", executor, EXECUTORS)
    if address is not None:
        text("address", address)
    if executor == RAY:
        if jobs is not None:
            raise ValueError("jobs is for executor='local': Ray uses all cores it has.")
        return RayCluster(address)
    if address is not None:
        raise ValueError("address is for executor='ray': it is that of a Ray cluster.")
    if jobs is None:
        return ThisProcess()
    return WorkerProcesses(whole_number("jobs", jobs, least=1))
