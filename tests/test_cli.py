"""The command line: exit status, output, files."""

import errno
import inspect
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import pytest
from made_up_comparison import SCHEMA
from scripts import on_a_terminal

import keras_smooth
from keras_smooth import cli
from keras_smooth.auditing.findings import MODES
from keras_smooth.cli import commands, parser, running
from keras_smooth.comparison import article, executors, options, settings, termination
from keras_smooth.comparison.executors import ThisProcess
from keras_smooth.comparison.problems import exact
from keras_smooth.comparison.records import store
from keras_smooth.comparison.runs.events import Finished
from keras_smooth.lbfgs import minimizers
from keras_smooth.presentation import templates

pytestmark = pytest.mark.usefixtures("without_xla")
COMMAND = [sys.executable, "-m", "keras_smooth"]


@pytest.fixture
def in_this_process(monkeypatch):
    """Executes runs in this process, so that no worker has to import TensorFlow."""
    monkeypatch.setattr(executors, "chosen_executor", lambda *_: ThisProcess())


SMALL_OPTIONS = ["--activations", "tanh,elu", "--architecture", "1x4", "--baselines"]
# Without XLA, the program of L-BFGS is traced in half of the time of the default.
IN_PROCESS = [*SMALL_OPTIONS, "--method", "lbfgs"]


def run_main(capsys, *arguments):
    """Returns exit status, stdout and stderr of the command line in this process."""
    try:
        status = cli.main(list(arguments))
    except SystemExit as error:
        status = error.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--activations", "tahn"],
            "There is no activation named 'tahn'. Did you mean tanh",
        ),
        (["--problem", "gausian"], "Did you mean gaussian"),
        (["--seeds", "0"], "seeds must be 1 or more, received 0"),
        (["--seeds", "three"], "invalid int value: 'three'"),
        (["--epochs", "0"], "epochs must be 1 or more"),
        (["--jobs", "0"], "--jobs must be 1 or more"),
        (["--method", "newton"], "method must be one of"),
        (["--architecture", "20"], "such as '8x20'"),
        (["--jobs", "1.0"], "invalid int value: '1.0'"),
        (["--noise", "much"], "invalid float value: 'much'"),
        (["--noise", "nan"], "noise must be finite"),
        (["--initializer", "glorot"], "Unknown initializer 'glorot'"),
        (["--dtype", "float8"], "dtype must be one of"),
        (["--seeds", "1000000000"], "seeds must be 100,000 or less"),
        (["--epochs", "10000000000"], "epochs must be 1,000,000,000 or less"),
        (["--quick", "--seeds", "0"], "seeds must be 1 or more, received 0"),
        (["--quick", "--epochs", "-1"], "epochs must be 1 or more"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--noise", "1e200"], "noise must be 1000 or less"),
        (["--out", ""], "--out must be a path that is not empty"),
        (["--resume", "--out", ""], "--out must be a path that is not empty"),
    ],
)
def test_wrong_options_exit_with_status_2(
    capsys, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    status, out, err = run_main(capsys, "compare", *arguments)
    assert status == 2 and out == ""
    assert message in err and "Traceback" not in err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([""], "the file must be a path that is not empty"),
        (["m.keras", "--import", ""], "cannot import ''"),
        (["absent.keras"], "Cannot read absent.keras: No such file"),
    ],
)
def test_audit_of_an_unreadable_model_exits_with_status_2(
    capsys, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.keras").write_text("no model")
    status, out, err = run_main(capsys, "audit", *arguments)
    assert status == 2 and out == "" and message in err


@pytest.mark.parametrize(
    ("jobs", "num_runs", "place"),
    [
        (2, 23, "in 2 processes"),
        (100, 3, "in 3 processes"),
        (100, 1, "in 1 process"),
        (1, 5, "in 1 process"),
    ],
)
def test_executor_reports_at_most_one_process_per_run(jobs, num_runs, place):
    assert executors.chosen_executor(jobs).place(num_runs) == place


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,z\n1,2\n", "must name x (one input), y"),
        (
            "x,y\n" + "1,2\n" * 5 + "2,two\n" + "3,4\n" * 9,
            "line 7: y must be a finite number",
        ),
        ("x,y\n1,2\n", "1 different x"),
    ],
)
def test_wrong_csv_exits_with_status_2(capsys, tmp_path, text, message):
    (tmp_path / "data.csv").write_text(text)
    status, _, err = run_main(capsys, "compare", "--problem", str(tmp_path / "data.csv"))
    assert status == 2 and message in err


def test_timestamps_in_float32_exit_before_files_are_written(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{1_700_000_000 + second},{second % 7}\n" for second in range(60))
    (tmp_path / "data.csv").write_text("x,y\n" + rows)
    status, _, err = run_main(
        capsys, "compare", "--problem", "data.csv", "--dtype", "float64", "float32"
    )
    assert status == 2 and "data.csv: float32 has too few numbers between x" in err
    assert os.listdir(tmp_path) == ["data.csv"]


def test_device_gpu_without_a_gpu_exits_with_status_2(capsys):
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU, so asking for one is right")
    status, _, err = run_main(capsys, "compare", "--device", "gpu")
    assert status == 2 and "sees no GPU" in err


def test_out_that_is_a_file_exits_with_status_2(capsys, tmp_path):
    (tmp_path / "file").write_text("mine")
    status, _, err = run_main(capsys, "compare", "--out", str(tmp_path / "file"))
    assert status == 2 and "File exists" in err
    assert (tmp_path / "file").read_text() == "mine"


def test_system_errors_are_reported_without_traceback(
    capsys, tmp_path, monkeypatch, in_this_process
):
    def raise_disk_full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device", "results.json")

    monkeypatch.setattr(store, "write_results", raise_disk_full)
    status, _, err = run_main(
        capsys,
        "compare",
        *IN_PROCESS,
        "--quick",
        "--epochs",
        "1",
        "--out",
        str(tmp_path / "a"),
    )
    assert status == 2
    assert err.endswith("No space left on device: 'results.json'\n")
    monkeypatch.setattr(os, "open", raise_disk_full)
    status, _, err = run_main(
        capsys, "compare", *SMALL_OPTIONS, "--out", str(tmp_path / "b")
    )
    assert status == 2 and "Cannot write in the output directory" in err


def test_audit_of_a_model_that_needs_x_names_the_option(capsys, tmp_path):
    inner = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    keras_smooth.DerivativeModel(inner).save(tmp_path / "m.keras")
    status, _, err = run_main(capsys, "audit", str(tmp_path / "m.keras"))
    assert status == 2 and "Pass --x FILE.npy, an array of a few samples" in err


def test_audit_order_has_an_upper_bound(capsys, tmp_path):
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(tmp_path / "m.keras")
    status, _, err = run_main(capsys, "audit", str(tmp_path / "m.keras"), "--order", "50")
    assert status == 2 and "--order must be 6 or less, received 50" in err


@pytest.mark.slow
def test_resume_without_results_is_reported(capsys, tmp_path, in_this_process):
    status, out, _ = run_main(
        capsys, "compare", *IN_PROCESS, "--quick", "--epochs", "1", "--resume",
        "--out", str(tmp_path / "a[/b]"),
    )  # fmt: skip
    assert status == 0
    assert f"nothing to resume in {tmp_path / 'a[/b]'}" in out


def test_version_and_help_are_printed(capsys):
    assert run_main(capsys, "--version")[:2] == (0, f"{keras_smooth.__version__}\n")
    status, out, _ = run_main(capsys, "compare", "--help")
    assert status == 0 and "--resume" in out
    assert run_main(capsys)[0] == 2


def test_default_directory_is_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (
        commands.default_out(resume=False)
        == commands.default_out(resume=True)
        == "comparison"
    )
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison-2").mkdir()
    assert commands.default_out(resume=False) == "comparison-3"
    assert commands.default_out(resume=True) == "comparison-2"
    Path("comparison").rmdir()
    assert commands.default_out(resume=False) == "comparison"
    assert commands.default_out(resume=True) == "comparison-2"


def test_compare_does_not_overwrite_or_mix_results(capsys, tmp_path, in_this_process):
    arguments = [
        "compare",
        *SMALL_OPTIONS,
        "--quick",
        "--jobs",
        "1",
        "--out",
        str(tmp_path),
    ]
    status, out, err = run_main(capsys, *arguments)
    assert status == 0, err
    for phrase in (
        "2 runs of 600 epochs (15 iterations of gauss_newton) on",
        "tanh, seed 0: 15 iterations",
        "A quick look",
    ):
        assert phrase in out
    content = json.loads((tmp_path / "results.json").read_text())
    assert [line["activation"] for line in content["summary"]] == ["tanh", "elu"]
    status, _, err = run_main(capsys, *arguments)
    assert status == 2 and "already holds results" in err
    status, _, err = run_main(capsys, *arguments, "--resume", "--architecture", "3x4")
    assert status == 2 and "other settings" in err
    assert json.loads((tmp_path / "results.json").read_text()) == content


class InterruptedExecutor(ThisProcess):
    """An executor that is interrupted after the first run."""

    def execute(self, experiment, programs, handle):
        def handle_one(event):
            handle(event)
            if isinstance(event, Finished):
                raise KeyboardInterrupt

        super().execute(experiment, programs, handle_one)


@pytest.mark.slow
def test_interrupted_compare_is_completed_by_resume(capsys, tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    arguments = [
        "compare",
        *IN_PROCESS,
        "--seeds",
        "2",
        "--epochs",
        "5",
        "--initializer",
        "glorot_uniform",
        "--out",
        str(tmp_path),
    ]
    monkeypatch.setattr(executors, "chosen_executor", lambda *_: InterruptedExecutor())
    status, out, _ = run_main(capsys, *arguments)
    assert status == 130 and f"--resume --out {tmp_path}" in out.replace("\n", " ")
    content = json.loads(path.read_text())
    assert content["settings"]["initializer"] == "glorot_uniform"
    first = content["runs"]
    assert len(first) == 1
    monkeypatch.setattr(executors, "chosen_executor", lambda *_: ThisProcess())
    status, out, _ = run_main(capsys, *arguments, "--resume")
    assert status == 0 and "3 runs of 5 epochs on" in out
    runs = json.loads(path.read_text())["runs"]
    assert len(runs) == 4 and runs[0] == first[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_signal_ends_a_command_and_its_workers(tmp_path, number, status):
    # So many runs that only the signal can end the command.
    command = [*COMMAND, "compare", *SMALL_OPTIONS, "--seeds", "5000", "--epochs", "9"]
    exit_status, output = on_a_terminal(
        [*command, "--jobs", "2", "--out", str(tmp_path)], "tanh, seed 0:", os.kill, number
    )
    assert exit_status == status and "--resume" in output and "Traceback" not in output
    assert output.rfind("\x1b[?25h") > output.rfind("\x1b[?25l") > 0  # The cursor is shown.
    assert json.loads((tmp_path / "results.json").read_text())["runs"]
    assert not [*tmp_path.rglob("*.partial")]


# The module needs Python alone, and is imported without the package.
SIGTERM_PROGRAM = """
import os, signal, sys
sys.path.insert(0, {folder!r})
import termination

{before}
try:
    with termination.raised():
        os.kill(os.getpid(), signal.SIGTERM)
        print("went on")
finally:
    print("put in order")
    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, flush=True)
"""
# Code before the signal, the exit status and the printed lines.
SIGTERMS = {
    "no handler": ("", 143, ["put in order", "True"]),
    "a handler of its own": (
        "signal.signal(signal.SIGTERM, lambda *_: print('mine'))",
        0, ["mine", "went on", "put in order", "False"],
    ),
    "one that is ignored": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        0, ["went on", "put in order", "False"],
    ),
}  # fmt: skip


def test_sigterm_exits_unless_the_caller_handles_it():
    for name, (before, status, printed) in SIGTERMS.items():
        folder = str(Path(termination.__file__).parent)
        program = SIGTERM_PROGRAM.format(before=before, folder=folder)
        process = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        )
        assert (process.returncode, process.stdout.split("\n")[:-1]) == (status, printed), (
            name
        )


# Commands that do not need TensorFlow.


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGPIPE")
def test_output_whose_reader_has_ended_is_no_bad_input():
    """As in `keras-smooth audit FILE | head -1`."""
    script = Path(cli.__file__).parent / "script.py"
    program = (
        f"import runpy, sys; sys.exit(runpy.run_path({os.fspath(script)!r})['main']())"
    )
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [sys.executable, "-c", program, "completion", "bash"],
        stdout=writer, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(writer)
    assert (process.returncode, process.stderr) == (running.READER_GONE, "")


def test_broken_pipe_of_a_worker_is_an_error(monkeypatch, capsys):
    def broken(*_):
        raise BrokenPipeError("of a worker")

    monkeypatch.setattr(running, "_run", broken)
    assert cli.main(["completion", "bash"]) == running.BAD_INPUT
    assert "of a worker" in capsys.readouterr().err


@pytest.fixture(scope="module")
def command():
    """Runs the installed command's module, as a file beside the package, in a new process."""
    script = Path(cli.__file__).parent / "script.py"
    program = (
        "import importlib.util, json, sys\n"
        f"spec = importlib.util.spec_from_file_location('keras_smooth_command', {os.fspath(script)!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "try:\n"
        "    status = module.main()\n"
        "except SystemExit as end:\n"
        "    status = end.code\n"
        "heavy = [name for name in ('tensorflow', 'keras', 'numpy') if name in sys.modules]\n"
        "print(json.dumps(heavy), file=sys.stderr)\n"
        "sys.exit(status)\n"
    )

    def run(*arguments, **environment):
        """Returns status, stdout, stderr and the imported packages among the heavy ones."""
        process = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True,
            env={**without_log_level, **environment},
        )  # fmt: skip
        *lines, heavy = process.stderr.splitlines()
        return process.returncode, process.stdout, "\n".join(lines), json.loads(heavy)

    without_log_level = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return run


# Arguments, the exit status, and a part of the message.
WITHOUT_TENSORFLOW = {
    "version": (["--version"], 0, keras_smooth.__version__),
    "help": (["--help"], 0, "compare activations on y, y' and y''"),
    "help of a command": (["compare", "--help"], 0, "float64 | float32 (default: float64)"),
    "nothing": ([], 2, "arguments are required: COMMAND"),
    "a misspelt command": (["comprae"], 2, "invalid choice: 'comprae' (choose from"),
    "a misspelt option": (["compare", "--sedes", "3"], 2, "--sedes 3 Did you mean --seeds"),
    "one of audit": (["audit", "m", "--jsno"], 2, "--jsno Did you mean --json"),
    "an unknown activation": (
        ["compare", "--activations", "tanh,sotfplus"],
        2, "There is no activation named 'sotfplus'. Did you mean softplus",
    ),
    "foo": (["compare", "--activations", "foo"], 2, "'foo'. Known: celu, "),
    "an unknown problem": (["compare", "--problem", "sin"], 2, "Did you mean sine"),
    "a dimension too many": (
        ["compare", "--problem", "gaussian_21d"], 2, "There is no problem named"
    ),
    "an unknown method": (["compare", "--method", "lbgfs"], 2, "method must be one of"),
    "a method beside": (["compare", "--baselines", "adan"], 2, "baselines must be one of"),
    "by its older name": (["compare", "--beside", "adan"], 2, "baselines must be one of"),
    "a number": (["compare", "--seeds", "0"], 2, "seeds must be 1 or more"),
    "an executor": (["compare", "--executor", "rya"], 2, "invalid choice: 'rya' (choose from"),
    "no file": (["audit", "absent.keras"], 2, "Cannot read absent.keras: No such file"),
    "a completion": (["completion", "bash"], 0, "complete -o filenames"),
}  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_TENSORFLOW)
def test_help_and_errors_do_not_import_tensorflow(command, name):
    arguments, expected, message = WITHOUT_TENSORFLOW[name]
    status, out, err, heavy = command(*arguments)
    assert (status, heavy) == (expected, [])
    assert message in " ".join((out if status == 0 else err).split())
    assert "Traceback" not in err


def test_names_in_options_are_those_of_the_tables():
    def is_packaged(name):
        """Other tests register activations of their own."""
        return keras_smooth.activations.get(name).__module__.startswith("keras")

    assert tuple(filter(is_packaged, settings.all_activations())) == options.ACTIVATIONS
    for name in {*keras_smooth.registry.function_names(), *vars(keras.activations)}:
        try:
            packaged = is_packaged(name)
        except ValueError:
            continue
        if packaged and name not in ("get", "serialize", "deserialize"):
            options.check_activation(name)
    assert (*minimizers.MINIMIZERS, "adam") == tuple(options.METHODS)
    assert tuple(row.name for row in exact.EXACT_PROBLEMS) == options.PROBLEMS
    assert MODES == parser.MODES


def test_options_match_the_signature_of_compare():
    signature = inspect.signature(keras_smooth.compare).parameters
    defaults = {name: signature[name].default for name in options.LIST}
    # None stands for the six activations of the article, text for a list of one.
    expected = {
        name: option.default[0] if name in options.FACTORS else option.default
        for name, option in options.LIST.items()
    }
    assert defaults.pop("activations") is None
    assert {**defaults, "activations": article.ACTIVATIONS} == expected
    keys = {options.stored_key(name) for name in options.LIST} | {"factors"}
    assert keys == {*SCHEMA["$defs"]["settings"]["properties"]}


@pytest.mark.slow
def test_tensorflow_log_is_hidden_unless_the_level_shows_it(command, tmp_path):
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(tmp_path / "m.keras")
    arguments = ["audit", str(tmp_path / "m.keras")]
    status, out, err, heavy = command(*arguments)
    assert status == 0 and "dense" in out and "tensorflow" in heavy
    assert err == ""
    # The FAQ advises 3, which TensorFlow reads after its first messages.
    status, _, err, _ = command(*arguments, TF_CPP_MIN_LOG_LEVEL="3")
    assert status == 0 and err == ""
    status, _, err, _ = command(*arguments, TF_CPP_MIN_LOG_LEVEL="0")
    assert status == 0 and err != ""


def completion_script(shell):
    return templates.render(f"cli/shells/{shell}", commands=parser.COMMANDS)


def bash_completions(words):
    """Returns the completions that bash offers for the last of some words."""
    program = completion_script("bash") + (
        f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}\n"
        '_keras_smooth; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    process = subprocess.run(["bash", "-c", program], capture_output=True, text=True)
    assert process.stderr == ""
    return process.stdout.split()


COMPLETIONS = {
    "a command": (["com"], ["compare", "completion"]),
    "an option": (["compare", "--se"], ["--seeds"]),
    "an option of audit": (["audit", "m.keras", "--j"], ["--json"]),
    "a value": (["compare", "--dtype", "float3"], ["float32"]),
    "another value": (["compare", "--activations", "tanh", "softp"], ["softplus"]),
    "a path": (["compare", "--out", "ne"], ["new_out"]),
    "a file": (["audit", "mo"], ["model.keras"]),
    "a shell": (["completion", "z"], ["zsh"]),
    "no old option": (["compare", "--iter"], []),
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.keras").touch()
    (tmp_path / "new_out").mkdir()
    for name, (words, expected) in COMPLETIONS.items():
        assert bash_completions(["keras-smooth", *words]) == expected, name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_have_all_options_and_are_valid(tmp_path, shell):
    text = completion_script(shell)
    for name, command in parser.COMMANDS.items():
        assert name in text
        for argument in command.arguments:
            shown = f"-l {argument.name[2:]} " if shell == "fish" else argument.name
            assert argument.name[0] != "-" or (shown in text) == bool(argument.text)
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    (tmp_path / "script").write_text(text)
    subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_deprecation_warnings_of_other_packages_are_hidden(capsys, tmp_path, monkeypatch):
    def import_tfp(*_, **__):
        warnings.warn(
            "distutils Version classes are deprecated", DeprecationWarning, stacklevel=2
        )
        warnings.warn("A sentence for the user.", UserWarning, stacklevel=2)
        raise ValueError("enough")

    monkeypatch.setattr(keras_smooth, "compare", import_tfp)
    status, out, err = run_main(capsys, "compare", "--out", str(tmp_path / "a"))
    assert status == 2 and "enough" in err
    assert "A sentence for the user." in out and "distutils" not in out + err
