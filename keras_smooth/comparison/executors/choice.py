"""The executor that the arguments of `compare` ask for."""

from keras_smooth.checks import whole_number
from keras_smooth.comparison.executors.interface import Executor
from keras_smooth.comparison.executors.this_process import ThisProcess
from keras_smooth.comparison.executors.worker_processes import WorkerProcesses


def chosen(jobs: int | None) -> Executor:
    """Returns worker processes, or this process where `jobs` is None.

    Raises:
        TypeError: If `jobs` is no integer.
        ValueError: If it is below 1.
    """
    if jobs is None:
        return ThisProcess()
    return WorkerProcesses(whole_number("jobs", jobs, least=1))
