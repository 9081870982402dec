"""Tasks of Ray, one for each run, on all cores of a cluster or of this machine.

A task receives the experiment and a run as bytes. It is a generator that yields the events of the
run. Retries of Ray are disabled: this module repeats tasks, since it knows which runs are done, and
which nodes cannot execute any.
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
from keras_smooth.comparison.records import environment
from keras_smooth.comparison.runs.events import Died, Handle, LeftOut
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.settings import Programs, RunId

# The number of runs that are submitted to Ray for each core: enough that no core waits, and that
# an autoscaling cluster grows.
RUNS_IN_FLIGHT = 2
# A node is left out after more failures in a row than this, since one may be transient.
MAX_FAULTS = 1
# After these errors, which a run does not cause, the run is repeated as often as needed.
LOST = ("NodeDiedError", "ObjectLostError", "LocalRayletDiedError")
SECONDS_TO_CONNECT = 10
SECONDS_TO_WAIT = 5
SECONDS_TO_LEAVE = 8  # Twice is less than the 30 that SLURM gives.


class RayCluster:
    """Runs every run as a task of Ray.

    Args:
        address: The address of a cluster, as for `ray.init`. None uses the environment
            variable RAY_ADDRESS, or else starts a cluster here that ends with the comparison.
    """

    def __init__(self, address: str | None = None) -> None:
        self._address = address or os.environ.get("RAY_ADDRESS") or "local"
        _ray()

    def place(self, num_runs: int) -> str:
        return f"as tasks of Ray, {self._address}"

    def execute(self, experiment: Experiment, programs: Programs, handle: Handle) -> None:
        with _connected(self._address):
            _Scheduler(experiment, handle).execute(programs)


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
    """Connects to a Ray cluster, or starts one, unless the process is connected already."""
    ray = _ray()
    if ray.is_initialized():
        yield
        return
    _check_reachable(address)
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    variables = {"RAY_USAGE_STATS_ENABLED": "0"}  # Do not report usage.
    # A short path, unlike that of the output directory: a socket has at most 107 characters.
    folder = tempfile.mkdtemp(prefix="ray-")
    if address == "local":
        options |= {"include_dashboard": False, "_temp_dir": folder}
        if "RAY_AUTH_MODE" not in os.environ:
            variables["RAY_AUTH_TOKEN"] = _token()
    with _environment(variables):
        try:
            with termination.handler_kept():  # Ray's handler would end the process at once.
                ray.init(address=address, **options)
            yield
        except ConnectionError as error:
            raise ValueError(f"There is no Ray cluster at {address!r}: {error}") from None
        finally:
            # If `shutdown` does not return, it must not be called again when Python exits.
            if not _returns_soon(ray.shutdown):
                atexit.unregister(ray.shutdown)
            shutil.rmtree(folder, ignore_errors=True)


def _returns_soon(call: Callable[[], object]) -> bool:
    """Calls a function of Ray, and returns whether it has returned within a few seconds.

    SLURM ends all processes at once, including those of Ray. Ray would wait for them for a minute,
    and then end this process before it has written its files.
    """
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(SECONDS_TO_LEAVE)
    return not thread.is_alive()


def _check_reachable(address: str) -> None:
    """Raises an error if no server listens at the address, since Ray would wait for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and re.fullmatch("[0-9]{1,9}", port)):
        return  # Ray itself finds the address of "auto".
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise ValueError(f"There is no Ray cluster at {address!r}: {error}.") from None


@functools.cache
def _token() -> str:
    """Returns a token that keeps other users out; Ray would store one in the home directory."""
    return secrets.token_hex(32)


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Sets environment variables, and restores all, including those that Ray sets."""
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

    It yields the node and its fault, if any, and then the events of the run. Ray pickles a nested
    function by value, so that it can report a node on which this package is not installed.
    """

    def run_on_node(
        paths: Sequence[str], versions: dict[str, str], content: bytes, run: bytes
    ) -> Iterator:
        import sys

        import ray

        sys.path += [path for path in paths if path not in sys.path]
        try:
            from keras_smooth.comparison.executors import ray_worker

            fault = ray_worker.fault(versions)
        except Exception as error:  # A broken installation can raise any error.
            fault = f"{type(error).__name__}: {error}"
        yield ray.get_runtime_context().get_node_id(), fault
        if not fault:
            yield from ray_worker.events(content, run)

    return run_on_node


class _Scheduler:
    """Submits runs to Ray and handles their events."""

    def __init__(self, experiment: Experiment, handle: Handle) -> None:
        self._ray = _ray()
        settings = experiment.settings
        on_gpu = settings.device_name() != "CPU:0"
        self._task = self._ray.remote(
            num_cpus=1, num_gpus=int(on_gpu), num_returns="streaming", max_retries=0
        )(_on_node())
        self._nodes = _Nodes(self._ray, "GPU" if on_gpu else "CPU")
        self._versions = environment.versions((*settings.method, *settings.baselines))
        self._experiment = self._ray.put(ray_worker.pickled(experiment))
        self._handle = handle
        self._waiting: collections.deque[RunId] = collections.deque()
        self._submitted: dict[Any, RunId] = {}
        self._died: set[RunId] = set()

    def execute(self, programs: Programs) -> None:
        self._waiting.extend(run for runs in programs for run in runs)
        try:
            while self._waiting or self._submitted:
                self._submit()
                submitted = list(self._submitted)
                # The timeout is for the check below: the last node that works may be lost.
                for generator in self._ray.wait(submitted, timeout=SECONDS_TO_WAIT)[0]:
                    self._handle_next(generator)
                if self._nodes.left_out and not self._nodes.num_places():
                    self._give_up()
        finally:
            _returns_soon(self._cancel)

    def _submit(self) -> None:
        """Submits more runs than the cluster can execute at once, so that no core waits."""
        # Runs are submitted even if the cluster has no nodes yet, so that it can grow.
        limit = RUNS_IN_FLIGHT * max(1, self._nodes.num_places())
        task = self._task.options(scheduling_strategy=self._nodes.strategy())
        while self._waiting and len(self._submitted) < limit:
            run = self._waiting.popleft()
            # Objects of built-in classes can be unpickled without this package.
            content = pickle.dumps((run.activation, tuple(run.variant), run.seed))
            generator = task.remote(sys.path, self._versions, self._experiment, content)
            self._submitted[generator] = run

    def _handle_next(self, generator: Any) -> None:
        """Handles the next object of a task: its node first, then events, its end or an error."""
        try:
            received = self._ray.get(next(generator))
        except StopIteration:
            del self._submitted[generator]
        except self._ray.exceptions.RayError as error:
            self._handle_death(self._submitted.pop(generator), error)
        else:
            if isinstance(received, tuple):
                self._handle_node(generator, *received)
            else:
                self._handle(received)

    def _handle_node(self, generator: Any, node: str, fault: str) -> None:
        """Records the node of a run; if the node has a fault, the run waits for another one."""
        if fault:
            self._waiting.appendleft(self._submitted.pop(generator))
        if self._nodes.note(node, fault):
            self._handle(LeftOut(self._nodes.name(node), fault))

    def _handle_death(self, run: RunId, error: Exception) -> None:
        """Reports a run that ended with an error of Ray, which may be repeated."""
        is_lost = type(error).__name__ in LOST
        again = is_lost or run not in self._died
        if not is_lost:
            self._died.add(run)
        if again:
            self._waiting.appendleft(run)
        self._handle(Died(run, _reason(error), again))

    def _give_up(self) -> None:
        """Reports all remaining runs, which no node can execute."""
        self._cancel()
        faults = "; ".join(dict.fromkeys(self._nodes.left_out.values()))
        for run in (*self._submitted.values(), *self._waiting):
            reason = f"no node of the Ray cluster can do it: {faults}"
            self._handle(Died(run, reason, again=False))
        self._submitted.clear()
        self._waiting.clear()

    def _cancel(self) -> None:
        for generator in self._submitted:
            self._ray.cancel(generator, force=True)


def _reason(error: Exception) -> str:
    """Returns the cause of the death of a run as the end of a sentence."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()] or [""]
    return f"its worker in the Ray cluster ended with {type(cause).__name__}: {lines[0]}"


class _Nodes:
    """The nodes of a cluster, and those that are left out because of a fault.

    Args:
        ray: The module.
        kind: The resource of which a run uses one, "CPU" or "GPU".

    Attributes:
        left_out: The faults of the nodes that are left out, by the ids of the nodes.
    """

    def __init__(self, ray: Any, kind: str) -> None:
        self.left_out: dict[str, str] = {}
        self._ray = ray
        self._kind = kind
        self._num_faults: collections.Counter[str] = collections.Counter()

    def note(self, node: str, fault: str) -> bool:
        """Records the fault of a node, or "", and returns whether it is left out from now on."""
        self._num_faults[node] = self._num_faults[node] + 1 if fault else 0
        is_new = self._num_faults[node] > MAX_FAULTS and node not in self.left_out
        if is_new:
            self.left_out[node] = fault
        return is_new

    def num_places(self) -> int:
        """Returns the number of runs that the nodes that are not left out can execute at once."""
        nodes = [node for node in self._alive() if node["NodeID"] not in self.left_out]
        return sum(int(node["Resources"].get(self._kind, 0)) for node in nodes)

    def name(self, node: str) -> str:
        """Returns the name of a node for messages."""
        names = {info["NodeID"]: info["NodeManagerHostname"] for info in self._ray.nodes()}
        return f"{names.get(node, 'unknown')} ({node[:8]})"

    def strategy(self) -> Any:
        """Returns a scheduling strategy that excludes the nodes that are left out."""
        # The default while all nodes work, since clusters grow for tasks of that strategy only.
        if not self.left_out:
            return "DEFAULT"
        strategies = self._ray.util.scheduling_strategies
        # The label whose value is the id of a node; its name differs between versions of Ray.
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
