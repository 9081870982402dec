"""The command line, as a user meets it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import keras_smooth
from keras_smooth import cli

COMMAND = [sys.executable, "-m", "keras_smooth"]


def main(capsys, *arguments):
    """Returns exit status, stdout and stderr of the command line in this process."""
    try:
        status = cli.main(list(arguments))
    except SystemExit as error:
        status = error.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--activations", "tahn"],
            "There is no activation named 'tahn'. Did you mean tanh",
        ),
        (["--problem", "gausian"], "Did you mean gaussian"),
        (["--seeds", "0"], "seeds must be 1 or more, received 0"),
        (["--seeds", "three"], "invalid int value: 'three'"),
        (["--iterations", "0"], "iterations must be 1 or more"),
        (["--jobs", "0"], "--jobs must be 1 or more"),
        (["--optimizer", "newton"], "Unknown optimizer 'newton'"),
        (["--initializer", "glorot"], "Unknown initializer 'glorot'"),
        (["--dtype", "float8"], "Unknown dtype 'float8'"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    capsys, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    status, out, err = main(capsys, "compare", *arguments)
    assert status == 2 and out == ""
    assert words in err and "Traceback" not in err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x,z\n1,2\n", "has no column y"),
        (
            "x,y\n" + "1,2\n" * 5 + "2,two\n" + "3,4\n" * 9,
            "line 7: y must be a finite number",
        ),
        ("x,y\n1,2\n", "1 rows of data"),
    ],
)
def test_bad_csv(capsys, tmp_path, text, words):
    (tmp_path / "data.csv").write_text(text)
    status, _, err = main(capsys, "compare", "--problem", str(tmp_path / "data.csv"))
    assert status == 2 and words in err


def test_gpu_without_one(capsys):
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU, so asking for one is right")
    status, _, err = main(capsys, "compare", "--device", "gpu")
    assert status == 2 and "sees no GPU" in err


def test_out_is_a_file(capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    status, _, err = main(capsys, "compare", "--out", str(tmp_path / "file"))
    assert status == 2 and "is a file" in err
    assert (tmp_path / "file").read_text() == "mine"


def test_version_and_help(capsys):
    assert main(capsys, "--version")[:2] == (0, f"{keras_smooth.__version__}\n")
    status, out, _ = main(capsys, "compare", "--help")
    assert status == 0 and "--resume" in out
    assert main(capsys)[0] == 2


def test_default_directory_is_numbered_and_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli._default_out(resume=False) == cli._default_out(resume=True) == "comparison"
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison-2").mkdir()
    assert cli._default_out(resume=False) == "comparison-3"
    assert cli._default_out(resume=True) == "comparison-2"


def quick(tmp_path, *arguments):
    return [
        *COMMAND,
        "compare",
        "--activations",
        "tanh,elu",
        "--out",
        str(tmp_path),
        *arguments,
    ]


def test_quick_run_in_a_process(tmp_path):
    done = subprocess.run(quick(tmp_path, "--quick"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for words in ("2 runs of 100 iterations", "tanh, seed 0: 100 iterations", "Take tanh"):
        assert words in done.stdout
    content = json.loads((tmp_path / "results.json").read_text())
    assert [line["activation"] for line in content["summary"]] == ["tanh", "elu"]
    again = subprocess.run(quick(tmp_path, "--quick"), capture_output=True, text=True)
    assert again.returncode == 2 and "already holds results" in again.stderr
    other = subprocess.run(
        quick(tmp_path, "--resume", "--iterations", "7"), capture_output=True, text=True
    )
    assert other.returncode == 2 and "other settings" in other.stderr
    assert json.loads((tmp_path / "results.json").read_text()) == content


@pytest.mark.slow
def test_interrupt_leaves_valid_files_and_resume_finishes(tmp_path):
    arguments = ["--seeds", "3", "--iterations", "300", "--jobs", "1"]
    process = subprocess.Popen(
        quick(tmp_path, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    path = tmp_path / "results.json"
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in out
    done = json.loads(path.read_text())["runs"]
    assert 1 <= len(done) < 6
    again = subprocess.run(
        quick(tmp_path, *arguments, "--resume"), capture_output=True, text=True, check=True
    )
    assert f"{6 - len(done)} runs of 300" in again.stdout
    runs = json.loads(path.read_text())["runs"]
    assert len(runs) == 6 and all(run in runs for run in done)


@pytest.mark.slow
def test_glorot_sigmoid_shows_the_articles_failure(tmp_path):
    done = subprocess.run(
        [*COMMAND, "compare", "--initializer", "glorot_uniform", "--activations", "sigmoid",
         "--iterations", "60", "--out", str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.returncode == 0
    assert "sigmoid: the start is all but constant" in (tmp_path / "report.md").read_text()
