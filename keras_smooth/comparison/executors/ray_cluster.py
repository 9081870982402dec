"""Tasks of Ray, one a run: on all cores of a cluster, or of this machine.

What a worker gets is data; what comes back are the events of its run, one by one, from a
generator task. Ray itself repeats nothing: here it is known which runs are done.
"""

import collections
import contextlib
import functools
import importlib
import os
import pickle
import queue
import re
import secrets
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cloudpickle
import tensorflow as tf

from keras_smooth.comparison import files
from keras_smooth.comparison.executors.interface import perform
from keras_smooth.comparison.experiment import Experiment, Start
from keras_smooth.comparison.tasks import Died, Event, Task

# So many runs for each core are given to Ray: enough that none waits, and that a cluster that
# grows with what is asked of it does.
RUNS_IN_FLIGHT = 2
# Nothing of what these say is the fault of a run: it is made again as often as it takes.
LOST = ("NodeDiedError", "ObjectLostError", "LocalRayletDiedError")
SECONDS_TO_CONNECT = 10
_END = None


class RayCluster:
    """Runs every run as a task of Ray.

    Args:
        address: Of a cluster, as `ray.init` takes it. None is the one that the environment
            variable RAY_ADDRESS names, else one that is started here and ends with the
            comparison.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
        _ray()

    def place(self, num_runs: int) -> str:
        return f"as tasks of Ray, {self._address}"

    def execute(
        self, experiment: Experiment, tasks: Sequence[Task], handle: Callable[[Event], None]
    ) -> None:
        with _connected(self._address):
            _Runs(experiment, handle).work(tasks)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ImportError(
            "executor='ray' needs Ray, which is not installed: pip install "
            "'keras-smooth[ray]', on every machine of the cluster."
        ) from None


@contextlib.contextmanager
def _connected(address: str) -> Iterator[None]:
    """Starts Ray, or joins a cluster, and leaves it, unless the caller is in one already."""
    ray = _ray()
    if ray.is_initialized():
        yield
        return
    _check_reachable(address)
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    variables = {"RAY_USAGE_STATS_ENABLED": "0"}  # Nobody is told that it was used.
    # Not below the output directory: sockets in it may have paths of 107 characters at most.
    place = tempfile.mkdtemp(prefix="ray-")
    if address == "local":
        options |= {"include_dashboard": False, "_temp_dir": place}
        if "RAY_AUTH_MODE" not in os.environ:
            variables["RAY_AUTH_TOKEN"] = _token()
    with _environment(variables):
        try:
            ray.init(address=address, **options)
            yield
        except ConnectionError as error:
            raise ValueError(f"There is no Ray cluster at {address!r}: {error}") from None
        finally:
            ray.shutdown()
            shutil.rmtree(place, ignore_errors=True)


def _check_reachable(address: str) -> None:
    """Raises where nobody listens, for which Ray would wait many minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and re.fullmatch("[0-9]{1,9}", port)):
        return  # Ray finds out where "auto" is.
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"There is no Ray cluster at {address!r}: {error}.") from None


@functools.cache
def _token() -> str:
    """Returns what keeps others out; Ray would keep one in the home directory."""
    return secrets.token_hex(32)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Sets variables, and takes away those that Ray sets as well."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


class _Runs:
    """The runs that are left and those that Ray works on."""

    def __init__(self, experiment: Experiment, handle: Callable[[Event], None]) -> None:
        self._ray = _ray()
        on_gpu = experiment.settings.device_name() != "CPU:0"
        self._task = self._ray.remote(
            num_cpus=1, num_gpus=int(on_gpu), num_returns="streaming", max_retries=0
        )(_events)
        self._kind = "GPU" if on_gpu else "CPU"
        self._experiment = self._ray.put(_dumped(experiment))
        self._handle = handle
        self._left: collections.deque[tuple[str, Start]] = collections.deque()
        self._going: dict[Any, tuple[str, Start]] = {}
        self._died: set[tuple[str, Start]] = set()

    def work(self, tasks: Sequence[Task]) -> None:
        self._left.extend(
            (task.activation, start) for task in tasks for start in task.starts
        )
        try:
            while self._left or self._going:
                self._begin()
                for generator in self._ray.wait(list(self._going), num_returns=1)[0]:
                    self._hear(generator)
        finally:
            for generator in self._going:
                self._ray.cancel(generator, force=True)

    def _begin(self) -> None:
        """Gives Ray as many runs as the cluster has places for, and some to come."""
        places = self._ray.cluster_resources().get(self._kind, 1)
        while self._left and len(self._going) < RUNS_IN_FLIGHT * places:
            run = self._left.popleft()
            generator = self._task.remote(
                sys.path, files.versions(), self._experiment, *run
            )
            self._going[generator] = run

    def _hear(self, generator: Any) -> None:
        try:
            self._handle(self._ray.get(next(generator)))
        except StopIteration:
            del self._going[generator]
        except self._ray.exceptions.RayError as error:
            self._lose(self._going.pop(generator), error)

    def _lose(self, run: tuple[str, Start], error: Exception) -> None:
        """Tells of a run that did not end, and leaves it to others."""
        is_lost = type(error).__name__ in LOST
        again = is_lost or run not in self._died
        if not is_lost:
            self._died.add(run)
        if again:
            self._left.appendleft(run)
        self._handle(Died(*run, _reason(error), again))


def _reason(error: Exception) -> str:
    """Returns what a run died of as the end of a sentence."""
    cause = getattr(error, "cause", None) or error
    said = [line.strip() for line in str(cause).splitlines() if line.strip()] or [""]
    return f"its worker in the Ray cluster ended with {type(cause).__name__}: {said[0]}"


def _dumped(experiment: Experiment) -> bytes:
    """Pickles an experiment with the code of the user's own functions, not where it is."""
    modules = {
        sys.modules.get(getattr(function, "__module__", None) or "")
        for function in experiment.settings.functions.values()
    }
    own = [module for module in modules if module and _is_own(module)]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(experiment)
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


def _is_own(module: Any) -> bool:
    """Whether a module is a file of the user, not one of an installed package."""
    package = module.__name__.partition(".")[0]
    return package not in {"__main__", "keras_smooth", "keras", "tensorflow"}


# What a worker does.


def _events(
    paths: list[str],
    versions: dict[str, str],
    content: bytes,
    activation: str,
    start: Start,
) -> Iterator[Event]:
    """Gives the events of one run, which goes on in a thread."""
    sys.path += [path for path in paths if path not in sys.path]
    if files.versions() != versions:
        raise RuntimeError(
            f"a node of the cluster has other versions: {files.versions()}, not {versions}"
        )
    events: queue.Queue = queue.Queue()

    def work() -> None:
        try:
            perform(_loaded(content), Task(activation, (start,)), events.put)
            events.put(_END)
        except BaseException as error:
            events.put(error)

    threading.Thread(target=work, daemon=True).start()
    for event in iter(events.get, _END):
        if isinstance(event, BaseException):
            raise event
        yield event


@functools.lru_cache(maxsize=1)
def _loaded(content: bytes) -> Experiment:
    """Returns the experiment, the same for all runs of a worker, which so compiles seldom."""
    # As a worker process of one machine has that uses all its cores.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    return pickle.loads(content)
