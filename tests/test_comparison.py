"""compare: settings, runs, executors, files."""

import csv
import json
import math
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import cloudpickle
import jsonschema
import keras
import numpy as np
import pytest
from made_up_comparison import SCHEMA, key_of

import keras_smooth
from keras_smooth.comparison import executors, problems, report, settings
from keras_smooth.comparison.executors import worker_processes
from keras_smooth.comparison.records import environment, store
from keras_smooth.comparison.records.results import Results
from keras_smooth.comparison.runs import events, training
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.settings import Settings
from keras_smooth.lbfgs import Status
from keras_smooth.presentation.warn import renamed_argument

pytestmark = pytest.mark.usefixtures("without_xla")

# Settings.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": ("tahn",)}, "'tahn'. Did you mean tanh"),
        ({"activations": ()}, "at least one"),
        (
            {"activations": ("threshold",)},
            "'threshold' cannot be used in this network .*missing",
        ),
        ({"activations": ("glu",)}, "'glu' cannot be used in this network .*shape"),
        ({"seeds": 0}, "seeds must be 1 or more"),
        ({"epochs": -1}, "epochs must be 1 or more"),
        ({"method": "lbgfs"}, "method must be one of 'lbfgs', .*; received 'lbgfs'"),
        ({"baselines": ("sgd",)}, "received 'sgd'"),
        ({"noise": -1.0}, "noise must be 0.0 or more"),
        ({"dtype": "float16"}, "dtype must be one of .*; received 'float16'"),
        ({"device": "tpu"}, "device must be one of .*; received 'tpu'"),
        ({"initializer": "glorot"}, "Unknown initializer 'glorot'"),
        ({"initializer": "constant"}, "Unknown initializer 'constant'.*without arguments"),
        ({"initializer": "stft"}, "Unknown initializer 'stft'"),
        ({"initializer": "Initializer"}, "Unknown initializer 'Initializer'"),
        ({"architecture": "8"}, "architecture must be .* such as '8x20', received '8'"),
        ({"architecture": "0x20"}, "architecture must be"),
        ({"architecture": (8, 20)}, "architecture must be"),
    ],
)
def test_wrong_settings_raise(options, message):
    with pytest.raises(ValueError, match=message):
        Settings(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 1.5}, "seeds must be an integer, received 1.5"),
        ({"epochs": "3"}, "epochs must be an integer"),
        ({"jobs": 2.0}, "jobs must be an integer"),
        ({"baselines": "adam"}, "baselines must be a list of methods, received 'adam'"),
    ],
)
def test_arguments_of_the_wrong_type_raise(options, message):
    with pytest.raises(TypeError, match=message):
        keras_smooth.compare(**options)


def test_device_gpu_raises_without_a_gpu():
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        with pytest.raises(ValueError, match="sees no GPU"):
            Settings(device="gpu")
    assert Settings(device="cpu").device_name() == "CPU:0"


# Runs.


# A small network compiles fast; the tests do not depend on its size.
SMALL_NETWORK = {"architecture": "2x4"}
ONE_RUN = {"activations": ["tanh"], "seeds": 1, **SMALL_NETWORK}
EIGHT_RUNS = {
    "activations": ["tanh", "relu", "hard_tanh", "sigmoid"],
    "seeds": 2,
    "epochs": 30,
}
EIGHT_RUNS |= {"method": "lbfgs", **SMALL_NETWORK}


def experiment(problem="gaussian", **settings):
    chosen = Settings(problem=problem, **settings)
    return Experiment(chosen, problems.load_problems(problem))


def test_initial_weights_depend_on_the_seed():
    first, same, other_seed = (
        experiment().network(key_of("sigmoid", seed)).get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, same))
    assert not np.array_equal(first[0], other_seed[0])
    assert not np.array_equal(first[2], first[4])


def test_architecture_sets_the_layers():
    network = experiment(architecture="3x5").network(key_of("tanh"))
    assert [layer.units for layer in network.layers] == [5, 5, 5, 1]


@pytest.mark.slow
def test_initial_weights_of_zeros_have_signal_0():
    options = {**ONE_RUN, "method": "lbfgs", "initializer": "zeros"}
    result = keras_smooth.compare(**options, epochs=2)
    assert result.runs[0].signal == 0.0


def test_csv_network_is_scaled(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("x,y\n" + "".join(f"{10 * i},{i**2}\n" for i in range(12)))
    scaled = experiment(str(path))
    network = scaled.network(key_of("tanh", problem=str(path)))
    (problem,) = scaled.problems.values()
    first, *_, last = network.layers
    # The first layer maps [0, 110] to [-2, 2]; the last adds the mean of y.
    np.testing.assert_allclose(first(np.array([[0.0], [110.0]])), [[-2.0], [2.0]])
    np.testing.assert_allclose(last(np.zeros((1, 1))), np.mean(problem.draw(0)[1]))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_large_x_is_scaled_without_loss_of_precision(scale):
    """Rescaling of Keras rounds its numbers to float32, which would shift these x by 14."""
    x = 1.7e9 + scale * np.linspace(0.3, 7.9, 12)
    own_data = Experiment(
        Settings(problem=problems.OWN_DATA), problems.load_problems((x, x))
    )
    first = own_data.network(key_of("tanh", problem=problems.OWN_DATA)).layers[0]
    # The resolution of x is 2e-7, the smallest range 8e-3.
    np.testing.assert_allclose(first(x[[0, -1], None]), [[-2.0], [2.0]], atol=3e-4)


def test_runs_do_not_depend_on_the_unit_of_y():
    """Powers of two change no digit, so that the numbers are equal but for the unit."""
    x = np.linspace(-1.0, 1.0, 30)
    numbers, losses = [], []
    for unit in (1.0, 2.0**-40, 2.0**40):
        own_problems = problems.load_problems((x, unit * np.sin(3.0 * x)))
        chosen = Settings(problem=problems.OWN_DATA, epochs=600, **SMALL_NETWORK)
        key = key_of("tanh", problem=problems.OWN_DATA)
        received = []
        Experiment(chosen, own_problems).execute([key], received.append)
        record = received[-1].record
        curves = np.concatenate([np.ravel(values) for values in record.curves])
        numbers.append(np.append(curves / unit, [record.run.loss, record.run.y_mse]))
        numbers[-1][-2:] /= unit**2
        losses.append(np.array(record.learning["loss"]) / unit**2)
    for index in (1, 2):
        np.testing.assert_array_equal(numbers[index], numbers[0])
        # Curves are stored with six digits, each rounded by half of the last.
        np.testing.assert_allclose(losses[index], losses[0], rtol=1e-5)
    assert losses[0][-1] < 0.1 * losses[0][0]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """One comparison for several tests: smooth, not smooth, and one without y'' (hard_tanh)."""
    directory = tmp_path_factory.mktemp("small") / "out"
    result = keras_smooth.compare(**EIGHT_RUNS, out=directory)
    return result.save(directory), result


def test_every_run_is_reported(comparison):
    directory, result = comparison
    content = json.loads((directory / store.RESULTS).read_text())
    assert [(run["activation"], run["seed"]) for run in content["runs"]] == [
        (name, seed) for name in ("tanh", "relu", "hard_tanh", "sigmoid") for seed in (0, 1)
    ]
    fields = (
        "activation seed success status message nit nfev loss y_mse dy_mse d2y_mse seconds"
    )
    assert set(fields.split()) <= set(content["runs"][0])
    assert {"environment", "settings", "runs", "summary"} <= set(content)
    # Using all iterations is neither a failure nor convergence.
    assert all(not run["success"] and run["nit"] == 30 for run in content["runs"])
    assert all(run["status"] == Status.ITERATION_LIMIT for run in content["runs"])
    assert all(line["failures"] == 0 for line in content["summary"])
    assert content["seconds"] == result.results.seconds > 0


def test_summary_is_the_median(comparison):
    directory, result = comparison
    content = json.loads((directory / store.RESULTS).read_text())
    row = content["summary"][0]
    names = "activation smoothness seeds failures y_mse dy_mse d2y_mse d2y_spread"
    assert list(row) == names.split()
    curves = [
        result.results.records[key_of("tanh", seed, method="lbfgs")].curves[2]
        for seed in (0, 1)
    ]
    # The variance of two numbers a and b is (a - b)^2 / 2.
    spread = np.sqrt(np.mean((curves[0] - curves[1]) ** 2) / 2)
    assert row["d2y_spread"] == pytest.approx(spread, rel=1e-12)
    assert row["smoothness"] == "inf" and row["seeds"] == 2 and row["failures"] == 0
    values = [run["d2y_mse"] for run in content["runs"][:2]]
    assert row["d2y_mse"] == pytest.approx(np.mean(values))
    assert content["summary"][1]["smoothness"] == 0
    # y'' of linear pieces is 0, as for ReLU.
    assert content["summary"][2]["d2y_mse"] == content["summary"][1]["d2y_mse"]


def test_learning_curves_end_with_the_run(comparison):
    directory, result = comparison
    content = json.loads((directory / store.RESULTS).read_text())
    jsonschema.validate(content, SCHEMA)
    for run in content["runs"]:
        curve = run["learning"]
        assert curve["iteration"] == list(range(1, 31))
        for name in ("loss", "y_mse", "dy_mse", "d2y_mse"):
            assert len(curve[name]) == 30
            last = curve[name][-1]
            # Six digits are stored.
            assert last == run[name] or last == pytest.approx(run[name], rel=1e-5)
    assert content["runs"][0]["learning"]["y_mse"][0] > content["runs"][0]["y_mse"]
    seconds = content["runs"][0]["learning"]["cpu_seconds"]
    assert seconds[0] == 0.0 and seconds == sorted(seconds)


def test_all_activations_excludes_those_a_network_cannot_use():
    names = settings.all_activations()
    assert {"tanh", "gelu", "snake", "log_softmax"} <= {*names} and len(names) > 30
    assert "glu" not in names and "threshold" not in names
    assert list(settings.functions_by_name("all")) == list(names)


def test_function_is_fitted_with_noise():
    options = {
        **ONE_RUN,
        "activations": ["tanh"],
        "epochs": 60,
        "method": "lbfgs",
        "domain": (0.0, 1.0),
    }
    exact, noisy = (
        keras_smooth.compare(**options, problem=wave, noise=noise) for noise in (0.0, 0.3)
    )
    # The noise has 0.3 deviations of y; about thirty weights cannot fit it.
    variance = np.var(np.sin(np.linspace(0.0, 1.0, 101)))
    assert exact.runs[0].loss < 1e-5 < noisy.runs[0].y_mse < 0.09 * variance
    assert noisy.runs[0].loss == pytest.approx(0.09 * variance, rel=0.2)


def test_baselines_are_run_for_the_best_activation_and_resumed(tmp_path, monkeypatch):
    missing = {"tfp_lbfgs": "It is not installed."}
    monkeypatch.setattr(training, "reason_missing", lambda name: missing.get(name, ""))
    options = {**ONE_RUN, "activations": ["relu", "tanh"], "epochs": 30}
    options |= {"baselines": ["tfp_lbfgs", "adam", "adam", "gauss_newton"]}
    result = keras_smooth.compare(**options, out=tmp_path)
    content = json.loads((tmp_path / store.RESULTS).read_text())
    assert content["settings"]["beside"] == ["tfp_lbfgs", "adam"]
    assert content["beside"]["activation"] == "tanh"
    assert list(content["beside"]["methods"]) == ["adam"]
    (run,) = content["beside"]["methods"]["adam"]
    # From the same start Adam has the larger loss.
    assert run["seed"] == 0 and run["loss"] > result.runs[1].loss
    assert len(result.runs) == 2 and (tmp_path / "curves" / "tanh-adam-seed0.csv").exists()
    resumed = keras_smooth.compare(**options, out=tmp_path, resume=True)
    assert resumed.results.baselines()["adam"].run == result.results.baselines()["adam"].run


def test_beside_is_the_deprecated_name_of_baselines():
    options = {**ONE_RUN, "architecture": "1x2", "epochs": 2, "method": "lbfgs"}
    with pytest.warns(DeprecationWarning, match="`beside` is now called `baselines`"):
        result = keras_smooth.compare(**options, beside=["adam"])
    assert list(result.results.baselines()) == ["adam"]


@pytest.mark.parametrize("empty", [(), [], None])
def test_beside_with_empty_baselines_is_accepted(empty):
    with pytest.warns(DeprecationWarning, match="`beside`"):
        assert renamed_argument("baselines", empty, "beside", ["adam"]) == ["adam"]


def test_beside_with_baselines_raises_an_error():
    with pytest.raises(
        ValueError, match=r"both: baselines=\['adam'\] and beside=\['lbfgs'\]"
    ):
        keras_smooth.compare(**ONE_RUN, baselines=["adam"], beside=["lbfgs"])


@pytest.mark.slow
def test_gradient_and_hessian_of_a_2d_problem_are_fitted():
    options = {**ONE_RUN, "architecture": "2x10", "epochs": 400, "problem": "gaussian_2d"}
    result = keras_smooth.compare(**options)
    (run,), exact = result.runs, result.results.problem.exact
    # Far below the errors of a prediction of 0, which are the mean squares.
    assert run.dy_mse < 1e-2 * np.mean(exact[1] ** 2)
    assert run.d2y_mse < 0.1 * np.mean(exact[2] ** 2)
    curves = result.results.records[key_of("tanh", problem="gaussian_2d")].curves
    assert run.d2y_mse == np.mean((curves[2] - exact[2]) ** 2)
    np.testing.assert_allclose(curves[2], np.swapaxes(curves[2], 1, 2), atol=1e-9)


@pytest.mark.slow
def test_every_combination_of_factors_is_trained():
    options = {**ONE_RUN, "epochs": 30, "problem": ["gaussian", "front"]}
    options |= {"method": "lbfgs", "architecture": "1x4"}
    result = keras_smooth.compare(**options, initializer=["default", "he_normal"])
    losses = {
        variant: comparison.runs[0].loss for variant, comparison in result.variants.items()
    }
    assert len({*losses.values()}) == len(losses) == 4
    *_, (last, loss) = losses.items()
    assert keras_smooth.compare(**{**options, **last._asdict()}).runs[0].loss == loss


def test_csv_files_have_runs_and_curves(comparison):
    directory, result = comparison
    with open(directory / store.RESULTS_TABLE) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and float(rows[0]["loss"]) == result.runs[0].loss
    # As in OptimizeResult, a run that used all iterations has not converged.
    assert {row["success"] for row in rows} == {"False"}
    assert all("iteration limit" in row["message"] for row in rows)
    with open(directory / store.CURVES / "relu-seed0.csv") as file:
        curve = list(csv.DictReader(file))
    assert len(curve) == 101 and all(float(row["d2y"]) == 0.0 for row in curve)
    with open(directory / store.CURVES / "hard_tanh-seed0.csv") as file:
        assert all(float(row["d2y"]) == 0.0 for row in csv.DictReader(file))


def test_errors_are_those_of_the_stored_curves(comparison):
    directory, result = comparison
    problem = problems.load_problem("gaussian")
    with open(directory / store.CURVES / "tanh-seed1.csv") as file:
        rows = list(csv.DictReader(file))
    for name, true in zip(("y", "dy", "d2y"), problem.exact):
        error = np.mean((np.array([float(row[name]) for row in rows]) - true) ** 2)
        assert getattr(result.runs[1], f"{name}_mse") == pytest.approx(error, rel=1e-12)


def test_relus_second_derivative_is_exactly_zero(comparison):
    _, result = comparison
    runs = result.results.runs("relu")
    exact = problems.load_problem("gaussian").exact[2]
    assert [run.d2y_mse for run in runs] == [np.mean(exact**2)] * 2


def test_report_has_its_parts_and_figures(comparison):
    directory, result = comparison
    page = (directory / report.MARKDOWN).read_text()
    for part in (
        "a misprint", "(4x^2 - 2)", "| relu | C^0 |", "7.5e-04", "Its y'' is exactly 0",
        "Why sigmoid was inferior", "Glorot's start", "default start", "## Recommendation",
        "Not for second derivatives: relu, hard\\_tanh", "wall time",
    ):  # fmt: skip
        assert part in page, part
    for name in ("summary", "tanh", "relu", "hard_tanh", "sigmoid"):
        assert f"(<{name}.png>)" in page
        assert (directory / f"{name}.png").stat().st_size > 10_000


def test_open_question_is_run_with_the_same_seeds(comparison):
    _, result = comparison
    content = store.as_dict(result.results)
    assert content["open_question"]["initializer"] == "glorot_uniform"
    assert [run["seed"] for run in content["open_question"]["runs"]] == [0, 1]
    glorot, default = content["open_question"]["runs"][0], result.results.runs("sigmoid")[0]
    assert glorot["loss"] != default.loss


def test_resume_of_a_complete_comparison_runs_nothing(comparison, monkeypatch):
    directory, result = comparison
    monkeypatch.setattr(
        Experiment, "execute", lambda *_: pytest.fail("nothing is left to run")
    )
    resumed = keras_smooth.compare(**EIGHT_RUNS, out=directory, resume=True)
    assert resumed.runs == result.runs
    np.testing.assert_array_equal(
        resumed.results.records[key_of("tanh", 0, method="lbfgs")].curves[2],
        result.results.records[key_of("tanh", 0, method="lbfgs")].curves[2],
    )


def test_resume_runs_missing_runs_with_equal_results(comparison, tmp_path):
    _, result = comparison
    options = {**EIGHT_RUNS, "activations": ["tanh"]}
    key = key_of("tanh", 0, method="lbfgs")
    partial = Results(
        Settings(**options), result.results.problems, {key: result.results.records[key]}
    )
    store.write_curves(partial, key, tmp_path)
    store.save(partial, tmp_path)
    resumed = keras_smooth.compare(**options, out=tmp_path, resume=True)
    assert resumed.runs[0] == result.runs[0]
    assert resumed.runs[1].loss == result.runs[1].loss


def test_resume_with_another_activation_adds_its_runs(comparison, tmp_path):
    directory, result = comparison
    out = shutil.copytree(directory, tmp_path / "out")
    received = []
    options = {**EIGHT_RUNS, "activations": ["gelu", "tanh"], "seeds": 1}
    resumed = keras_smooth.compare(**options, out=out, resume=True, handle=received.append)
    assert [line.activation for line in resumed.summary] == [
        *EIGHT_RUNS["activations"],
        "gelu",
    ]
    new_runs = [
        event.record.run for event in received if isinstance(event, events.Finished)
    ]
    assert [(run.activation, run.seed) for run in new_runs] == [("gelu", 0), ("gelu", 1)]
    assert resumed.runs[:8] == result.runs
    assert len(json.loads((out / store.RESULTS).read_text())["runs"]) == 10


def test_results_are_not_overwritten(comparison):
    directory, _ = comparison
    with pytest.raises(ValueError, match="already holds results"):
        keras_smooth.compare(["tanh"], seeds=1, epochs=5, out=directory)


@pytest.mark.slow
def test_resume_with_other_data_raises(tmp_path):
    x = np.linspace(0.0, 1.0, 20)
    options = {**ONE_RUN, "epochs": 2, "method": "lbfgs", "out": tmp_path}
    keras_smooth.compare(**options, problem=(x, x**2, 2 * x))
    for other_data in ((x, x**2), (x, x**2, 2 * x + 1e-9), (x, x**3, 2 * x)):
        with pytest.raises(ValueError, match="made with other data or functions .own data"):
            keras_smooth.compare(**options, problem=other_data, resume=True)


def test_resume_with_other_versions_raises(comparison, monkeypatch):
    directory, _ = comparison
    installed = environment.version
    monkeypatch.setattr(
        environment, "version", lambda name: "3.0.0" if name == "keras" else installed(name)
    )
    with pytest.raises(
        ValueError, match="other versions .*keras is .* there, and 3.0.0 here"
    ):
        keras_smooth.compare(**EIGHT_RUNS, out=directory, resume=True)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"settings": {}}', '{"settings": {"seeds": 0}}']
)
def test_resume_of_a_damaged_file_raises(tmp_path, text):
    (tmp_path / store.RESULTS).write_text(text)
    with pytest.raises(ValueError, match="damaged"):
        keras_smooth.compare(["tanh"], out=tmp_path, resume=True)


def test_out_that_is_a_file_raises(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="Cannot make the output directory"):
            keras_smooth.compare(["tanh"], out=path)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_events_are_sent_and_files_written_after_every_run(tmp_path):
    received, num_stored = [], []

    def record(event):
        received.append(event)
        if isinstance(event, events.Finished):
            runs = json.loads((tmp_path / store.RESULTS).read_text())["runs"]
            num_stored.append(len(runs))

    keras_smooth.compare(
        **{**ONE_RUN, "seeds": 2}, epochs=200, method="lbfgs", out=tmp_path, handle=record
    )
    assert num_stored == [1, 2]
    first = [
        event
        for event in received
        if isinstance(event, events.Progress) and event.run.seed == 0
    ]
    assert [event.iteration for event in first] == list(range(2, 201, 2))
    assert first[-1].loss < first[0].loss


@pytest.mark.filterwarnings("error:`shuffle=True`")
@pytest.mark.parametrize(
    "method", [pytest.param("tfp_bfgs", marks=pytest.mark.slow), "adam"]
)
def test_compare_with_other_methods(method):
    result = keras_smooth.compare(**ONE_RUN, epochs=30, method=method)
    run = result.runs[0]
    assert not run.failed and run.nit == 30 and run.loss < 0.5


def test_method_without_tf_keras_raises_before_a_run(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    with pytest.raises(ImportError, match="tf_keras is not installed"):
        keras_smooth.compare(**ONE_RUN, epochs=3, method="tfp_bfgs", out=tmp_path)
    assert not (tmp_path / store.RESULTS).exists()


@pytest.mark.slow
def test_compare_in_float32():
    result = keras_smooth.compare(**ONE_RUN, epochs=30, dtype="float32")
    assert result.runs[0].loss < 0.1


@pytest.mark.slow
def test_csv_problem_is_read_once_and_reported(tmp_path, monkeypatch):
    x = np.linspace(0.0, 300.0, 40)
    lines = [f"{a},{1e3 * math.sin(a / 40)}" for a in x]
    path = tmp_path / "data.csv"
    path.write_text("x,y\n" + "\n".join(lines))
    opened, original = [], Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *a, **k: opened.append(self) or original(self, *a, **k)
    )
    result = keras_smooth.compare(**ONE_RUN, epochs=900, problem=path)
    # Without scaling the network would not fit: the variance of y is 5e5.
    assert result.runs[0].y_mse < 5e3 and result.runs[0].d2y_mse is None
    directory = result.save(tmp_path / "out")
    page = (directory / report.MARKDOWN).read_text()
    assert "not known" in page and "held out" in page and "lost" not in page
    assert (
        "**tanh** has so far the lowest median error of y at points that"
        in result.recommendation
    )
    assert opened.count(path) == 1


def bump(x):
    return x * keras.ops.exp(-keras.ops.square(x))


def wave(x):
    return keras.ops.sin(x)


@pytest.mark.slow
def test_custom_activations_are_compared(tmp_path):
    keras_smooth.register_smoothness(wave, math.inf)
    slow = keras_smooth.activations.partial("sin", w0=0.5)
    options = {"seeds": 1, "epochs": 5, "method": "lbfgs", **SMALL_NETWORK}
    result = keras_smooth.compare([bump, "wave", slow], **options, out=tmp_path)
    assert [line.smoothness for line in result.summary] == ["inf"] * 3
    assert [line.activation for line in result.summary] == ["bump", "wave", "sin(w0=0.5)"]
    assert "| bump | C^inf |" in (result.save(tmp_path) / report.MARKDOWN).read_text()
    resumed = keras_smooth.compare(
        [bump, "wave", slow], **options, out=tmp_path, resume=True
    )
    assert resumed.runs == result.runs


@pytest.mark.parametrize(
    ("activations", "error", "message"),
    [
        (7, TypeError, "a list of names or functions"),
        (["tanh", None], TypeError, "must be names or functions, received None"),
        ([lambda x: x], ValueError, "a name that tables and files can have"),
        ([bump, "tanh", bump], ValueError, "'bump' is named twice"),
        ([], ValueError, "at least one"),
        ([lambda: 0.0], ValueError, "with a name"),
        ([keras.activations.glu], ValueError, "cannot be used in this network"),
    ],
)
def test_wrong_activations_raise(activations, error, message):
    with pytest.raises(error, match=message):
        keras_smooth.compare(activations)


# Executors.


@pytest.mark.slow
def test_worker_processes_have_the_results_of_one_process(comparison):
    _, result = comparison
    # Two activations by name, and a function of this module that workers have to receive.
    options = {**EIGHT_RUNS, "activations": ["tanh", "hard_tanh", bump]}
    by_workers = keras_smooth.compare(**options, jobs=2)
    assert len(by_workers.runs) == 6
    in_one_process = result.results.runs("tanh") + result.results.runs("hard_tanh")
    for expected, run in zip(in_one_process, by_workers.runs):
        names = ("activation", "seed", "nit", "message")
        assert [getattr(expected, n) for n in names] == [getattr(run, n) for n in names]
        # XLA, and another number of threads, may round differently.
        assert expected.loss == pytest.approx(run.loss, rel=1e-2)


def drawn_data(experiment):
    (problem,) = experiment.problems.values()
    return problem.draw(3)


def test_experiment_sent_to_a_worker_contains_its_data(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("x,y\n" + "".join(f"{i},{i**2}\n" for i in range(12)))
    for sent in (experiment(str(path)), experiment("runge")):
        message = cloudpickle.dumps(sent)
        path.unlink(missing_ok=True)
        received = pickle.loads(message)
        assert received.settings == sent.settings
        for values, expected in zip(drawn_data(received), drawn_data(sent)):
            np.testing.assert_array_equal(values, expected)


def test_executor_is_chosen_by_name_and_number_of_jobs():
    assert isinstance(executors.chosen_executor(None), executors.ThisProcess)
    assert isinstance(executors.chosen_executor(1), worker_processes.WorkerProcesses)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0,), ValueError, "jobs must be 1 or more"),
        ((None, "dask"), ValueError, "executor must be one of .*'dask'"),
        ((None, "local", "auto"), ValueError, "address is for executor='ray'"),
        ((2, "ray"), ValueError, "jobs is for executor='local'"),
        ((None, "ray"), ImportError, "pip install 'keras-smooth.ray.'"),
    ],
)
def test_wrong_executors_raise(monkeypatch, arguments, error, message):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it was not installed
    with pytest.raises(error, match=message):
        executors.chosen_executor(*arguments)


ORPHAN = """
import os, subprocess, sys
code = f"from MODULE import main; main({os.getpid()})"
subprocess.Popen([sys.executable, "-c", code])
os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_worker_exits_when_its_parent_is_killed():
    # Its stdin stays open, so that the worker ends only because it checks its parent.
    reads, writes = os.pipe()
    program = ORPHAN.replace("MODULE", worker_processes.__name__)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=reads, stdout=subprocess.PIPE
    )
    process.wait()
    # The worker has stdout open, which is at its end once the worker exits.
    assert process.stdout.read() == b""
    process.stdout.close()
    os.close(reads)
    os.close(writes)


# Options, and the lines that are printed before the line of each run.
EPOCHS = "2 runs of 90 epochs (3 iterations of gauss_newton) on CPU:0 in this process"
PRINTED = {
    "by default": ({}, [EPOCHS]),
    "with files": ({"out": "out"}, [f"{EPOCHS}; results"]),
    "another method": ({"method": "lbfgs"}, ["2 runs of 90 epochs on CPU:0 in this process"]),
    "quiet": ({"verbose": 0}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", PRINTED)
def test_progress_is_printed_unless_verbose_is_0(capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    options, lines = PRINTED[name]
    received = []
    keras_smooth.compare(
        ["tanh"],
        2,
        epochs=90,
        architecture="1x2",
        device="cpu",
        handle=received.append,
        **options,
    )
    assert sum(isinstance(event, events.Finished) for event in received) == 2
    printed = capsys.readouterr().out.splitlines()
    if lines is None:
        assert printed == []
    else:
        assert printed[0].startswith(lines[0]) and len(printed) == 3
        assert [line.split(":")[0] for line in printed[1:]] == [
            "tanh, seed 0",
            "tanh, seed 1",
        ]


@pytest.mark.parametrize("verbose", [-1, 1.5, "auto"])
def test_wrong_verbose_raises(verbose):
    with pytest.raises((TypeError, ValueError), match="verbose must be"):
        keras_smooth.compare(**ONE_RUN, epochs=1, verbose=verbose)


@pytest.mark.parametrize("activation", ["tanh", bump], ids=["name", "function"])
def test_one_activation_without_a_list_is_accepted(activation):
    assert settings.functions_by_name(activation) == settings.functions_by_name(
        [activation]
    )
