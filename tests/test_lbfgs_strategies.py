"""`fit_lbfgs` under `tf.distribute` strategies has the same result as on one device."""

import json
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from keras_smooth.lbfgs import Status

TESTS = Path(__file__).parent


def start(name, *arguments, **options):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, TESTS / name, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


@pytest.fixture(scope="module")
def mirrored():
    process = start("two_devices.py")
    output, _ = process.communicate()
    assert process.returncode == 0
    return json.loads(output.splitlines()[-1])


@pytest.mark.slow
def test_value_and_gradient_equal_those_of_one_device(mirrored):
    # Sums of 37 numbers in another order. Measured: at most 4e-16.
    assert len(mirrored["values"]) == 8
    assert max(mirrored["values"].values()) < 1e-12, mirrored["values"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("metrics", {"loss", "mae", "mse", "val_loss", "val_mae", "val_mse"}),
        ("float64 copy", {"loss", "val_loss"}),
        ("dense matrix", {"loss", "val_loss"}),
    ],
)
def test_histories_equal_those_of_one_device(mirrored, name, keys):
    differences = mirrored["fits"][name]
    assert differences.keys() == keys
    # Measured: 1e-13 after 8 iterations. Metrics are rounded to float32, by 6e-8, and Keras' evaluate
    # sums in another order.
    assert differences["loss"] < 1e-10
    assert max(differences.values()) < 1e-6, differences


@pytest.mark.slow
def test_points_of_an_objective_are_split_evenly_or_raise(mirrored):
    report = mirrored["objectives"]
    # Sums in another order. Measured: 9e-14 after 8 iterations.
    assert max(report[name] for name in ("loss", "slope", "edge")) < 1e-10, report
    assert "numbers of rows of x are 3, 36: pass multiples of 2" in report["terms"]
    assert "neither an average nor a sum over rows" in report["product"]


@pytest.mark.slow
def test_unsupported_fits_under_a_strategy_raise(mirrored):
    errors = mirrored["errors"]
    assert errors["fewer rows"] == "2 replicas need as many rows, received 1."
    assert "neither an average nor a sum over rows" in errors["normalization"]
    assert "neither an average nor a sum over rows" in errors["dropout"]
    assert "called inside strategy.scope()" in mirrored["inside"]


@pytest.mark.slow
def test_checkpoint_resumes_on_another_number_of_devices(mirrored):
    assert mirrored["resumed"] == [True, 8]


def free_ports(count):
    """Returns free ports that the system does not assign by itself in the meantime."""
    ports = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            if port not in ports and probe.connect_ex(("localhost", port)) != 0:
                ports.append(port)
    return ports


@pytest.mark.slow
def test_two_workers_have_equal_results(tmp_path):
    """Runs the script of docs/several_devices.md, and decisions of one worker."""
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    processes = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        environment = {"TF_CONFIG": config}
        processes.append(start("two_workers.py", tmp_path, cwd=tmp_path, env=environment))
    try:
        outputs = [process.communicate(timeout=500)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0]
    first, second = (
        json.loads((tmp_path / f"{index}.json").read_text()) for index in range(2)
    )
    assert first == second
    assert outputs[0] == outputs[1] == f"loss {first['fun']!r} after 100 iterations\n"
    assert first["again"]
    assert first["late"] == Status.TIME_LIMIT
    assert first["stopped"] == [Status.STOPPED, 4]
    assert "do not have the same data." in first["other data"]
    assert "do not have the same checkpoint." in first["other checkpoint"]
    assert first["logs"].keys() == {"loss", "mae", "val_loss", "val_mae"}
    assert first["logs"]["loss"] < first["fun"]
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == [f"fit_lbfgs-{nit:012d}.checkpoint" for nit in (99, 100)]
