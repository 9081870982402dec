"""The executor for the arguments of `compare`."""

from keras_smooth.checks import choice, text, whole_number
from keras_smooth.comparison.executors.interface import Executor, ThisProcess
from keras_smooth.comparison.executors.ray_cluster import RayCluster
from keras_smooth.comparison.executors.worker_processes import WorkerProcesses
from keras_smooth.comparison.options import EXECUTORS, LOCAL, RAY


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
