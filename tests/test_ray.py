"""Comparisons on a Ray cluster: equal results, also if nodes are killed or broken."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import pytest
from scripts import on_a_terminal

import keras_smooth
from keras_smooth.comparison import executors
from keras_smooth.comparison.records import store
from keras_smooth.comparison.runs.events import Died, Finished, LeftOut, Progress

# Each worker imports TensorFlow, which takes seconds.
ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = pytest.mark.slow


def bump(x):
    return x * keras.ops.exp(-keras.ops.square(x))


OPTIONS = {"activations": ["tanh", bump], "seeds": 3, "epochs": 40, "architecture": "2x4"}
OPTIONS |= {"method": "lbfgs"}  # which has an event for each epoch


@pytest.fixture(scope="module")
def local_result():
    """The comparison by processes of this machine, with one thread each."""
    return keras_smooth.compare(**OPTIONS, jobs=os.cpu_count())


def numbers(result):
    """Returns all results that do not depend on time, for each run."""
    return {
        key: (
            record.run.loss, record.run.d2y_mse, record.run.nfev, record.learning["d2y_mse"],
            *(None if curve is None else bytes(curve) for curve in record.curves),
        )
        for key, record in result.results.records.items()
    }  # fmt: skip


@pytest.fixture
def start_cluster(monkeypatch):
    """A function that starts a cluster of one node with one core."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # By default, Ray gives its workers a lower priority.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    # The default takes half a minute to detect a dead node.
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")
    with tempfile.TemporaryDirectory(prefix="ray-") as directory:
        monkeypatch.setenv("RAY_TMPDIR", directory)
        os.makedirs(os.path.join(directory, "ray"))
        head = {"num_cpus": 1, "include_dashboard": False}
        clusters = []

        def start():
            clusters.append(
                cluster_utils.Cluster(initialize_head=True, head_node_args=head)
            )
            return clusters[-1]

        yield start
        for cluster in clusters:
            cluster.shutdown()


@pytest.fixture
def cluster(start_cluster):
    return start_cluster()


def test_cluster_that_loses_a_node_has_the_results_of_one_machine(cluster, local_result):
    node = cluster.add_node(num_cpus=1)
    events = []

    def handle(event):
        events.append(event)
        if isinstance(event, Finished) and node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)

    result = keras_smooth.compare(
        **OPTIONS, executor="ray", address=cluster.address, handle=handle
    )
    assert numbers(result) == numbers(local_result) and not result.failures
    # The runs of the dead node are reported and repeated.
    deaths = [event for event in events if isinstance(event, Died)]
    assert deaths and all(death.again for death in deaths)
    assert sum(isinstance(event, Finished) for event in events) == 6
    assert sum(isinstance(event, Progress) for event in events) >= 6 * 40


# Code at the start of Python on a node, and the reason why the node is left out.
BROKEN_NODES = {
    "the package is absent": (
        """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "keras_smooth":
            raise ModuleNotFoundError("No module named 'keras_smooth'", name=name)
sys.meta_path.insert(0, Finder())
""",
        "ModuleNotFoundError: No module named 'keras_smooth'",
    ),
    "another version": (
        """
import importlib.metadata
known = importlib.metadata.version
importlib.metadata.version = lambda name: "0.1.0" if name == "keras-smooth" else known(name)
""",
        f"keras-smooth is 0.1.0 there, and {keras_smooth.__version__} here",
    ),
    "an installation that is broken": (
        """
import sys
sys.modules["keras"] = None
""",
        "ImportError: keras_smooth needs Keras, which is not installed",
    ),
}


def add_broken_node(cluster, monkeypatch, folder, name):
    """Adds a node on which the package cannot be used."""
    (folder / "sitecustomize.py").write_text(BROKEN_NODES[name][0])
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        return cluster.add_node(num_cpus=2)


@pytest.mark.parametrize("name", BROKEN_NODES)
def test_broken_node_is_left_out_with_a_warning(
    cluster, local_result, monkeypatch, tmp_path, name
):
    broken = add_broken_node(cluster, monkeypatch, tmp_path, name)
    events = []
    with pytest.warns(RuntimeWarning, match="is left out, and its runs go to others"):
        result = keras_smooth.compare(
            **OPTIONS, executor="ray", address=cluster.address, handle=events.append
        )
    assert numbers(result) == numbers(local_result) and not result.failures
    assert not any(isinstance(event, Died) for event in events)
    (left_out,) = (event for event in events if isinstance(event, LeftOut))
    assert broken.unique_id[:8] in left_out.node or broken.node_id[:8] in left_out.node
    assert BROKEN_NODES[name][1] in left_out.reason


def test_one_working_node_beside_a_broken_and_a_killed_one(
    cluster, local_result, monkeypatch, tmp_path
):
    add_broken_node(cluster, monkeypatch, tmp_path, "the package is absent")
    killed = cluster.add_node(num_cpus=1)

    def handle(event):
        if isinstance(event, Finished) and killed in cluster.worker_nodes:
            cluster.remove_node(killed, allow_graceful=False)

    with pytest.warns(RuntimeWarning, match="is left out"):
        result = keras_smooth.compare(
            **OPTIONS, executor="ray", address=cluster.address, handle=handle
        )
    assert numbers(result) == numbers(local_result) and not result.failures


def test_cluster_of_broken_nodes_raises(monkeypatch, tmp_path, start_cluster):
    (tmp_path / "sitecustomize.py").write_text(BROKEN_NODES["the package is absent"][0])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    cluster = start_cluster()
    message = "tanh, seed 0 .* has failed: no node of the Ray cluster can do it: ModuleNot"
    with pytest.raises(RuntimeError, match=message):
        with pytest.warns(RuntimeWarning, match="is left out"):
            keras_smooth.compare(
                ["tanh"], 1, epochs=2, executor="ray", address=cluster.address
            )


@pytest.mark.study
def test_large_comparison_on_a_cluster_that_loses_a_node(cluster, tmp_path):
    options = {"activations": "all", "seeds": 20, "epochs": 2, "architecture": "1x2"}
    node, finished = cluster.add_node(num_cpus=1), []

    def handle(event):
        finished.extend([event] * isinstance(event, Finished))
        if len(finished) == 100 and node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)

    on_ray = keras_smooth.compare(
        **options, executor="ray", address=cluster.address, handle=handle, out=tmp_path
    )
    in_processes = keras_smooth.compare(**options, jobs=os.cpu_count())
    assert node not in cluster.worker_nodes and not on_ray.failures
    assert len(finished) == len(in_processes.results.records) > 700
    assert numbers(on_ray) == numbers(in_processes)
    assert on_ray.summary == in_processes.summary
    assert on_ray.recommendation == in_processes.recommendation


PROGRAM = """
import keras, sys
from keras_smooth import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def test_interrupted_comparison_on_ray_is_resumed_by_processes(tmp_path):
    before = {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("ray")}
    arguments = ["compare", "--activations", "tanh", "--seeds", "3", "--epochs", "40"]
    arguments += ["--architecture", "2x4", "--baselines", "--out", str(tmp_path / "out")]
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-c", PROGRAM, *arguments, "--executor", "ray"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "HOME": str(home), "RAY_ADDRESS": ""},
    )  # fmt: skip
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("tanh, seed"):
            process.send_signal(signal.SIGINT)
            break
    started = time.monotonic()
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait() == 130, "".join(lines) + rest
    assert time.monotonic() - started < 60 and "Go on with the same command" in rest
    assert "as tasks of Ray, local" in "".join(lines)
    runs = json.loads((tmp_path / "out" / store.RESULTS).read_text())["runs"]
    assert 1 <= len(runs) <= 3
    after = {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("ray")}
    assert after <= before and not (home / ".ray").exists()
    resumed = keras_smooth.compare(
        ["tanh"],
        3,
        epochs=40,
        architecture="2x4",
        out=tmp_path / "out",
        resume=True,
        jobs=1,
    )
    assert len(resumed.runs) == 3 and resumed.runs[runs[0]["seed"]].loss == runs[0]["loss"]


# SIGTERM to the command only, as by `kill`, and to all its processes, as by SLURM.
SIGNAL_SENDERS = {"the command": os.kill, "all processes": os.killpg}


@pytest.mark.parametrize("target", SIGNAL_SENDERS)
def test_sigterm_keeps_the_runs_and_removes_temporary_files(tmp_path, target):
    before = {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("ray")}
    arguments = ["compare", "--activations", "tanh", "--seeds", "3", "--epochs", "40"]
    arguments += ["--architecture", "2x4", "--baselines", "--out", str(tmp_path)]
    status, output = on_a_terminal(
        [sys.executable, "-c", PROGRAM, *arguments, "--executor", "ray"],
        at=": 40 iterations", send=SIGNAL_SENDERS[target], number=signal.SIGTERM,
        env={**os.environ, "RAY_ADDRESS": ""},
    )  # fmt: skip
    assert status == 143, output
    assert "Go on with the same command" in output and "Traceback" not in output
    assert "SIGTERM received" not in output and "@ 0x" not in output  # The stack in C++.
    assert output.rfind("\x1b[?25h") > output.rfind("\x1b[?25l") > 0  # The cursor is shown.
    assert json.loads((tmp_path / store.RESULTS).read_text())["runs"]
    after = {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("ray")}
    assert after <= before and not [*tmp_path.rglob("*.partial")]


def explode(x):
    if isinstance(x, keras.KerasTensor) or np.shape(x) == (2, 4):
        return x
    raise OSError("the disk of the worker is on fire")


def test_run_that_fails_twice_raises_with_its_name(cluster):
    with pytest.raises(RuntimeError, match="explode, seed 0 .* has failed: .*on fire"):
        keras_smooth.compare(
            [explode], 1, epochs=2, architecture="1x2", executor="ray",
            address=cluster.address,
        )  # fmt: skip


def test_wrong_address_raises():
    with pytest.raises(ValueError, match="There is no Ray cluster at '127.0.0.1:1'"):
        keras_smooth.compare(["tanh"], 1, epochs=1, executor="ray", address="127.0.0.1:1")


def test_place_names_the_cluster():
    assert (
        executors.chosen_executor(None, "ray", "auto").place(9) == "as tasks of Ray, auto"
    )
