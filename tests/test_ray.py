"""Comparisons on a Ray cluster: the same results, also where a node of it is killed."""

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


ASKED = {"activations": ["tanh", bump], "seeds": 3, "epochs": 40, "architecture": "2x4"}


@pytest.fixture(scope="module")
def local():
    """The same by processes of this machine, with one thread each."""
    return keras_smooth.compare(**ASKED, jobs=os.cpu_count())


def numbers(found):
    """Returns all that does not depend on the clock, for each run."""
    return {
        key: (
            one.run.loss, one.run.d2y_mse, one.run.nfev, one.learning["d2y_mse"],
            *(None if curve is None else bytes(curve) for curve in one.curves),
        )
        for key, one in found.results.records.items()
    }  # fmt: skip


@pytest.fixture
def ray_here(monkeypatch):
    """A function that starts a cluster of one node with one core."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # Ray would let all else on this machine go first.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    # Its death is known sooner than after half a minute.
    monkeypatch.setenv("RAY_health_check_period_ms", "1000")
    with tempfile.TemporaryDirectory(prefix="ray-") as place:
        monkeypatch.setenv("RAY_TMPDIR", place)
        os.makedirs(os.path.join(place, "ray"))
        head = {"num_cpus": 1, "include_dashboard": False}
        started = []

        def start():
            started.append(cluster_utils.Cluster(initialize_head=True, head_node_args=head))
            return started[-1]

        yield start
        for each in started:
            each.shutdown()


@pytest.fixture
def cluster(ray_here):
    return ray_here()


def test_a_cluster_that_loses_a_node_finds_what_one_machine_does(cluster, local):
    node = cluster.add_node(num_cpus=1)
    events = []

    def handle(event):
        events.append(event)
        if isinstance(event, Finished) and node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)

    found = keras_smooth.compare(
        **ASKED, executor="ray", address=cluster.address, handle=handle
    )
    assert numbers(found) == numbers(local) and not found.failures
    # What the node was at was told of, and done again.
    deaths = [event for event in events if isinstance(event, Died)]
    assert deaths and all(death.again for death in deaths)
    assert sum(isinstance(event, Finished) for event in events) == 6
    assert sum(isinstance(event, Progress) for event in events) >= 6 * 40


# What is run at the start of Python on a node, and why the node is left out.
BROKEN = {
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


def add_broken(cluster, monkeypatch, place, name):
    """Adds a node on which the package cannot be used."""
    (place / "sitecustomize.py").write_text(BROKEN[name][0])
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(place))
        return cluster.add_node(num_cpus=2)


@pytest.mark.parametrize("name", BROKEN)
def test_a_node_that_cannot_is_left_out_and_named(
    cluster, local, monkeypatch, tmp_path, name
):
    broken = add_broken(cluster, monkeypatch, tmp_path, name)
    events = []
    with pytest.warns(RuntimeWarning, match="is left out, and its runs go to others"):
        found = keras_smooth.compare(
            **ASKED, executor="ray", address=cluster.address, handle=events.append
        )
    assert numbers(found) == numbers(local) and not found.failures
    assert not any(isinstance(event, Died) for event in events)
    (left_out,) = (event for event in events if isinstance(event, LeftOut))
    assert broken.unique_id[:8] in left_out.node or broken.node_id[:8] in left_out.node
    assert BROKEN[name][1] in left_out.reason


def test_one_node_cannot_one_is_killed_and_the_third_does_it(
    cluster, local, monkeypatch, tmp_path
):
    add_broken(cluster, monkeypatch, tmp_path, "the package is absent")
    killed = cluster.add_node(num_cpus=1)

    def handle(event):
        if isinstance(event, Finished) and killed in cluster.worker_nodes:
            cluster.remove_node(killed, allow_graceful=False)

    with pytest.warns(RuntimeWarning, match="is left out"):
        found = keras_smooth.compare(
            **ASKED, executor="ray", address=cluster.address, handle=handle
        )
    assert numbers(found) == numbers(local) and not found.failures


def test_without_a_node_that_can_the_runs_have_failed(monkeypatch, tmp_path, ray_here):
    (tmp_path / "sitecustomize.py").write_text(BROKEN["the package is absent"][0])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    cluster = ray_here()
    words = "tanh, seed 0 .* has failed: no node of the Ray cluster can do it: ModuleNot"
    with pytest.raises(RuntimeError, match=words):
        with pytest.warns(RuntimeWarning, match="is left out"):
            keras_smooth.compare(
                ["tanh"], 1, epochs=2, executor="ray", address=cluster.address
            )


@pytest.mark.study
def test_all_activations_and_twenty_seeds_on_a_cluster_that_loses_a_node(cluster, tmp_path):
    asked = {"activations": "all", "seeds": 20, "epochs": 2, "architecture": "1x2"}
    node, ended = cluster.add_node(num_cpus=1), []

    def handle(event):
        ended.extend([event] * isinstance(event, Finished))
        if len(ended) == 100 and node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)

    on_ray = keras_smooth.compare(
        **asked, executor="ray", address=cluster.address, handle=handle, out=tmp_path
    )
    here = keras_smooth.compare(**asked, jobs=os.cpu_count())
    assert node not in cluster.worker_nodes and not on_ray.failures
    assert len(ended) == len(here.results.records) > 700
    assert numbers(on_ray) == numbers(here)
    assert on_ray.summary == here.summary
    assert on_ray.recommendation == here.recommendation


PROGRAM = """
import keras, sys
from keras_smooth import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_ray_of_its_own_is_interrupted_and_resumed_by_processes(tmp_path):
    before = {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("ray")}
    words = ["compare", "--activations", "tanh", "--seeds", "3", "--epochs", "40"]
    words += ["--architecture", "2x4", "--baselines", "--out", str(tmp_path / "out")]
    home = tmp_path / "home"
    home.mkdir()
    command = [sys.executable, "-c", PROGRAM, *words, "--executor", "ray"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "HOME": str(home), "RAY_ADDRESS": ""},
    )  # fmt: skip
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("tanh, seed"):
            process.send_signal(signal.SIGINT)
            break
    started = time.monotonic()
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait() == 130, "".join(said) + rest
    assert time.monotonic() - started < 60 and "Go on with the same command" in rest
    assert "as tasks of Ray, local" in "".join(said)
    runs = json.loads((tmp_path / "out" / store.RESULTS).read_text())["runs"]
    assert 1 <= len(runs) <= 3
    after = {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("ray")}
    assert after <= before and not (home / ".ray").exists()
    again = keras_smooth.compare(
        ["tanh"],
        3,
        epochs=40,
        architecture="2x4",
        out=tmp_path / "out",
        resume=True,
        jobs=1,
    )
    assert len(again.runs) == 3 and again.runs[runs[0]["seed"]].loss == runs[0]["loss"]


# SIGTERM to the command alone, as `kill` sends it, and to all that it has started, as SLURM does.
ASKED_TO_END = {"the command": os.kill, "all processes": os.killpg}


@pytest.mark.parametrize("whom", ASKED_TO_END)
def test_sigterm_keeps_the_runs_and_leaves_nothing_behind(tmp_path, whom):
    before = {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("ray")}
    words = ["compare", "--activations", "tanh", "--seeds", "3", "--epochs", "40"]
    words += ["--architecture", "2x4", "--baselines", "--out", str(tmp_path)]
    status, said = on_a_terminal(
        [sys.executable, "-c", PROGRAM, *words, "--executor", "ray"],
        at=": 40 iterations", send=ASKED_TO_END[whom], number=signal.SIGTERM,
        env={**os.environ, "RAY_ADDRESS": ""},
    )  # fmt: skip
    assert status == 143, said
    assert "Go on with the same command" in said and "Traceback" not in said
    assert "SIGTERM received" not in said and "@ 0x" not in said  # The stack in C++.
    assert said.rfind("\x1b[?25h") > said.rfind("\x1b[?25l") > 0  # The cursor is shown.
    assert json.loads((tmp_path / store.RESULTS).read_text())["runs"]
    after = {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("ray")}
    assert after <= before and not [*tmp_path.rglob("*.partial")]


def explode(x):
    if isinstance(x, keras.KerasTensor) or np.shape(x) == (2, 4):
        return x
    raise OSError("the disk of the worker is on fire")


def test_a_run_that_fails_twice_is_named(cluster):
    with pytest.raises(RuntimeError, match="explode, seed 0 .* has failed: .*on fire"):
        keras_smooth.compare(
            [explode], 1, epochs=2, architecture="1x2", executor="ray",
            address=cluster.address,
        )  # fmt: skip


def test_no_cluster_is_a_sentence():
    with pytest.raises(ValueError, match="There is no Ray cluster at '127.0.0.1:1'"):
        keras_smooth.compare(["tanh"], 1, epochs=1, executor="ray", address="127.0.0.1:1")


def test_where_the_runs_are_is_said():
    assert (
        executors.chosen_executor(None, "ray", "auto").place(9) == "as tasks of Ray, auto"
    )
