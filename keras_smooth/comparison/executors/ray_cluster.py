"""Tasks of Ray, one for each run, on all cores of a cluster or of this machine.

A worker receives data and returns the events of its run one by one, from a
generator task. Ray itself does not retry: this module knows which runs are done, and which nodes
cannot do any.
"""

import atexit
import collections
import contextlib
import functools
import importlib
import os
import pickle
import re
import secrets
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from keras_smooth.comparison import termination
from keras_smooth.comparison.executors import ray_worker
from keras_smooth.comparison.executors.interface import Handle, Programs
from keras_smooth.comparison.records import environment
from keras_smooth.comparison.runs.events import Died, LeftOut
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.settings import RunId

# So many runs for each core are given to Ray: enough that none waits, and that a cluster that
# grows with what is asked of it does.
RUNS_IN_FLIGHT = 2
# A node may fail this many times in a row before its first run, since one failure may be transient.
MOST_FAULTS = 1
# These errors are not the fault of a run, which is repeated as often as needed.
LOST = ("NodeDiedError", "ObjectLostError", "LocalRayletDiedError")
SECONDS_TO_CONNECT = 10
SECONDS_TO_WAIT = 5
SECONDS_TO_LEAVE = 8  # Twice is less than the 30 that SLURM gives.


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

    def execute(self, experiment: Experiment, programs: Programs, handle: Handle) -> None:
        with _connected(self._address):
            _Runs(experiment, handle).work(programs)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise ImportError(
            "executor='ray' needs Ray, which is not installed: pip install 'keras-smooth[ray]', "
            "on every machine of the cluster."
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
    variables = {"RAY_USAGE_STATS_ENABLED": "0"}  # Do not report usage.
    # Not below the output directory: sockets in it may have paths of 107 characters at most.
    place = tempfile.mkdtemp(prefix="ray-")
    if address == "local":
        options |= {"include_dashboard": False, "_temp_dir": place}
        if "RAY_AUTH_MODE" not in os.environ:
            variables["RAY_AUTH_TOKEN"] = _token()
    with _environment(variables):
        try:
            with termination.kept():  # Ray's handler would end the process at once.
                ray.init(address=address, **options)
            yield
        except ConnectionError as error:
            raise ValueError(f"There is no Ray cluster at {address!r}: {error}") from None
        finally:
            # Not again at the exit of Python if it did not return.
            if not _ends(ray.shutdown):
                atexit.unregister(ray.shutdown)
            shutil.rmtree(place, ignore_errors=True)


def _ends(call: Callable[[], object]) -> bool:
    """Calls a function of Ray and returns whether it has ended soon.

    SLURM ends all processes at once, Ray's as well: Ray would wait for them for a minute and
    then end this process before it has written anything.
    """
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(SECONDS_TO_LEAVE)
    return not thread.is_alive()


def _check_reachable(address: str) -> None:
    """Raises an error if nothing listens at the address, since Ray would wait many minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and re.fullmatch("[0-9]{1,9}", port)):
        return  # Ray finds out where "auto" is.
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"There is no Ray cluster at {address!r}: {error}.") from None


@functools.cache
def _token() -> str:
    """Returns a token that keeps others out; Ray would store one in the home directory."""
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


def _on_node() -> Callable:
    """Returns the function that Ray runs on a node.

    It gives the node, with what is missing there, and then the events of the run. As a function
    within another it is sent whole, so that it runs also where this package is not.
    """

    def run_on_node(
        paths: Sequence[str], versions: dict[str, str], content: bytes, run: bytes
    ) -> Iterator:
        import sys

        import ray

        sys.path += [path for path in paths if path not in sys.path]
        try:
            from keras_smooth.comparison.executors import ray_worker

            missing = ray_worker.fault(versions)
        except Exception as error:  # A broken installation can raise any error.
            missing = f"{type(error).__name__}: {error}"
        yield ray.get_runtime_context().get_node_id(), missing
        if not missing:
            yield from ray_worker.events(content, run)

    return run_on_node


class _Runs:
    """The runs that are left and those that Ray works on."""

    def __init__(self, experiment: Experiment, handle: Handle) -> None:
        self._ray = _ray()
        settings = experiment.settings
        on_gpu = settings.device_name() != "CPU:0"
        self._task = self._ray.remote(
            num_cpus=1, num_gpus=int(on_gpu), num_returns="streaming", max_retries=0
        )(_on_node())
        self._nodes = _Nodes(self._ray, "GPU" if on_gpu else "CPU")
        self._versions = environment.versions((*settings.method, *settings.baselines))
        self._experiment = self._ray.put(ray_worker.dumped(experiment))
        self._handle = handle
        self._left: collections.deque[RunId] = collections.deque()
        self._going: dict[Any, RunId] = {}
        self._died: set[RunId] = set()

    def work(self, programs: Programs) -> None:
        self._left.extend(run for runs in programs for run in runs)
        try:
            while self._left or self._going:
                self._begin()
                going = list(self._going)
                # With a timeout: if nodes are left out, the last other node can be lost.
                for generator in self._ray.wait(going, timeout=SECONDS_TO_WAIT)[0]:
                    self._hear(generator)
                if self._nodes.left_out and not self._nodes.num_places():
                    self._give_up()
        finally:
            _ends(self._cancel)

    def _begin(self) -> None:
        """Gives Ray as many runs as the cluster has places for, and some to come."""
        # One at least, for which a cluster without any can grow.
        most = RUNS_IN_FLIGHT * max(1, self._nodes.num_places())
        task = self._task.options(scheduling_strategy=self._nodes.strategy())
        while self._left and len(self._going) < most:
            run = self._left.popleft()
            # Objects without our classes can be unpickled everywhere.
            sent = pickle.dumps((run.activation, tuple(run.variant), run.seed))
            generator = task.remote(sys.path, self._versions, self._experiment, sent)
            self._going[generator] = run

    def _hear(self, generator: Any) -> None:
        try:
            heard = self._ray.get(next(generator))
        except StopIteration:
            del self._going[generator]
        except self._ray.exceptions.RayError as error:
            self._lose(self._going.pop(generator), error)
        else:
            if isinstance(heard, tuple):
                self._arrive(generator, *heard)
            else:
                self._handle(heard)

    def _arrive(self, generator: Any, node: str, fault: str) -> None:
        """Notes where a run has come to; where it cannot be done, it is left to other nodes."""
        if fault:
            self._left.appendleft(self._going.pop(generator))
        if self._nodes.note(node, fault):
            self._handle(LeftOut(self._nodes.name(node), fault))

    def _lose(self, run: RunId, error: Exception) -> None:
        """Reports a run that did not end, and leaves it to other nodes."""
        is_lost = type(error).__name__ in LOST
        again = is_lost or run not in self._died
        if not is_lost:
            self._died.add(run)
        if again:
            self._left.appendleft(run)
        self._handle(Died(run, _reason(error), again))

    def _give_up(self) -> None:
        """Reports all remaining runs, which no node can execute."""
        self._cancel()
        faults = "; ".join(dict.fromkeys(self._nodes.left_out.values()))
        for run in (*self._going.values(), *self._left):
            reason = f"no node of the Ray cluster can do it: {faults}"
            self._handle(Died(run, reason, again=False))
        self._going.clear()
        self._left.clear()

    def _cancel(self) -> None:
        for generator in self._going:
            self._ray.cancel(generator, force=True)


def _reason(error: Exception) -> str:
    """Returns what a run died of as the end of a sentence."""
    cause = getattr(error, "cause", None) or error
    said = [line.strip() for line in str(cause).splitlines() if line.strip()] or [""]
    return f"its worker in the Ray cluster ended with {type(cause).__name__}: {said[0]}"


class _Nodes:
    """Which nodes of a cluster work.

    Args:
        ray: The module.
        kind: The resource that a run takes one of, "CPU" or "GPU".

    Attributes:
        left_out: Why nodes are left out, by their ids.
    """

    def __init__(self, ray: Any, kind: str) -> None:
        self.left_out: dict[str, str] = {}
        self._ray = ray
        self._kind = kind
        self._num_faults: collections.Counter[str] = collections.Counter()

    def note(self, node: str, fault: str) -> bool:
        """Notes what a node lacks, if anything; returns whether it is left out from now on."""
        self._num_faults[node] = self._num_faults[node] + 1 if fault else 0
        is_new = self._num_faults[node] > MOST_FAULTS and node not in self.left_out
        if is_new:
            self.left_out[node] = fault
        return is_new

    def num_places(self) -> int:
        """Returns how many runs the nodes that are not left out can do at once."""
        nodes = [node for node in self._alive() if node["NodeID"] not in self.left_out]
        return sum(int(node["Resources"].get(self._kind, 0)) for node in nodes)

    def name(self, node: str) -> str:
        """Returns the name of a node for messages."""
        names = {each["NodeID"]: each["NodeManagerHostname"] for each in self._ray.nodes()}
        return f"{names.get(node, 'unknown')} ({node[:8]})"

    def strategy(self) -> Any:
        """Returns a scheduling strategy: anywhere, but not on nodes that are left out."""
        # The default while all nodes work: clusters grow with the tasks that wait for it.
        if not self.left_out:
            return "DEFAULT"
        strategies = self._ray.util.scheduling_strategies
        # The label with the id of a node, whose name differs between versions of Ray.
        (label,) = {
            name
            for node in self._alive()
            for name, value in node["Labels"].items()
            if value == node["NodeID"]
        }
        others = strategies.NotIn(*self.left_out)
        return strategies.NodeLabelSchedulingStrategy({label: others})

    def _alive(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]
