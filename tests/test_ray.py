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

import keras_smooth
from keras_smooth.comparison import executors, files
from keras_smooth.comparison.tasks import Died, Finished, Progress

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
        for key, one in found.results.outcomes.items()
    }  # fmt: skip


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of two nodes with one core each, for everything but this test."""
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
        found = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        yield found
        found.shutdown()


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
    assert len(ended) == len(here.results.outcomes) > 700
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
    words += ["--architecture", "2x4", "--beside", "--out", str(tmp_path / "out")]
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
    assert process.wait() == 130, "".join(said) + rest
    assert time.monotonic() - started < 60 and "Go on with the same command" in rest
    assert "as tasks of Ray, local" in "".join(said)
    runs = json.loads((tmp_path / "out" / files.RESULTS).read_text())["runs"]
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
    assert executors.chosen(None, "ray", "auto").place == "as tasks of Ray, auto"
