"""The comparison: settings, runs, executors, files."""

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
from keras_smooth.comparison.executors import interface, worker_processes
from keras_smooth.comparison.records import environment, store
from keras_smooth.comparison.records.results import Results
from keras_smooth.comparison.runs import events, training
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.settings import Settings
from keras_smooth.lbfgs import Status

pytestmark = pytest.mark.usefixtures("without_xla")

# Settings.


@pytest.mark.parametrize(
    ("change", "words"),
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
def test_bad_settings(change, words):
    with pytest.raises(ValueError, match=words):
        Settings(**change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": 1.5}, "seeds must be an integer, received 1.5"),
        ({"epochs": "3"}, "epochs must be an integer"),
        ({"jobs": 2.0}, "jobs must be an integer"),
        ({"baselines": "adam"}, "baselines must be a list of methods, received 'adam'"),
    ],
)
def test_arguments_of_another_kind(change, words):
    with pytest.raises(TypeError, match=words):
        keras_smooth.compare(**change)


def test_gpu_is_refused_without_one():
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        with pytest.raises(ValueError, match="sees no GPU"):
            Settings(device="gpu")
    assert Settings(device="cpu").device_name() == "CPU:0"


# Runs.


# A net that compiles soon; what is tested does not depend on its size.
SMALL = {"architecture": "2x4"}
ONE = {"activations": ["tanh"], "seeds": 1, **SMALL}
FOUR = {"activations": ["tanh", "relu", "hard_tanh", "sigmoid"], "seeds": 2, "epochs": 30}
FOUR |= {"method": "lbfgs", **SMALL}


def experiment(problem="gaussian", **settings):
    asked = Settings(problem=problem, **settings)
    return Experiment(asked, problems.load_problems(problem))


def test_start_depends_on_seed_and_not_on_process_or_order():
    one, same, other = (
        experiment().network(key_of("sigmoid", seed)).get_weights() for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same))
    assert not np.array_equal(one[0], other[0])
    assert not np.array_equal(one[2], one[4])


def test_architecture():
    network = experiment(architecture="3x5").network(key_of("tanh"))
    assert [layer.units for layer in network.layers] == [5, 5, 5, 1]


@pytest.mark.slow
def test_a_start_of_zeros_lets_nothing_through():
    found = keras_smooth.compare(**ONE, epochs=2, initializer="zeros")
    assert found.runs[0].signal == 0.0


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
def test_a_network_gets_large_x_within_its_range(scale):
    """Keras makes float32 of the numbers of a Rescaling, which moved these by 14."""
    x = 1.7e9 + scale * np.linspace(0.3, 7.9, 12)
    one = Experiment(Settings(problem=problems.OWN_DATA), problems.load_problems((x, x)))
    first = one.network(key_of("tanh", problem=problems.OWN_DATA)).layers[0]
    # x has 2e-7 at best, of a range of 8e-3 at least.
    np.testing.assert_allclose(first(x[[0, -1], None]), [[-2.0], [2.0]], atol=3e-4)


def test_runs_are_the_same_in_all_units_of_y():
    """Powers of two change no digit: each number of a run is the other's in its unit."""
    x = np.linspace(-1.0, 1.0, 30)
    numbers, losses = [], []
    for unit in (1.0, 2.0**-40, 2.0**40):
        learned = problems.load_problems((x, unit * np.sin(3.0 * x)))
        asked = Settings(problem=problems.OWN_DATA, epochs=600, **SMALL)
        run = key_of("tanh", problem=problems.OWN_DATA)
        ((_, found),) = Experiment(asked, learned).records([run], lambda *_: None)
        curves = np.concatenate([np.ravel(values) for values in found.curves])
        numbers.append(np.append(curves / unit, [found.run.loss, found.run.y_mse]))
        numbers[-1][-2:] /= unit**2
        losses.append(np.array(found.learning["loss"]) / unit**2)
    for other in (1, 2):
        np.testing.assert_array_equal(numbers[other], numbers[0])
        # Curves are kept with six digits, of which each may be off by half of the last.
        np.testing.assert_allclose(losses[other], losses[0], rtol=1e-5)
    assert losses[0][-1] < 0.1 * losses[0][0]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One comparison for several tests: smooth, rough, and one whose y'' is lost."""
    directory = tmp_path_factory.mktemp("small") / "out"
    found = keras_smooth.compare(**FOUR, out=directory)
    return found.save(directory), found


def test_every_run_is_reported(small):
    directory, found = small
    content = json.loads((directory / store.RESULTS).read_text())
    assert [(run["activation"], run["seed"]) for run in content["runs"]] == [
        (name, seed) for name in ("tanh", "relu", "hard_tanh", "sigmoid") for seed in (0, 1)
    ]
    fields = (
        "activation seed success status message nit nfev loss y_mse dy_mse d2y_mse seconds"
    )
    assert set(fields.split()) <= set(content["runs"][0])
    assert {"environment", "settings", "runs", "summary"} <= set(content)
    # All iterations were used: that is no failure, and no convergence either.
    assert all(not run["success"] and run["nit"] == 30 for run in content["runs"])
    assert all(run["status"] == Status.ITERATION_LIMIT for run in content["runs"])
    assert all(line["failures"] == 0 for line in content["summary"])
    assert content["seconds"] == found.results.seconds > 0


def test_summary_is_the_median(small):
    directory, found = small
    content = json.loads((directory / store.RESULTS).read_text())
    line = content["summary"][0]
    names = "activation smoothness seeds failures y_mse dy_mse d2y_mse d2y_spread"
    assert list(line) == names.split()
    curves = [
        found.results.records[key_of("tanh", seed, method="lbfgs")].curves[2]
        for seed in (0, 1)
    ]
    # Of two numbers a and b the variance is (a - b)^2 / 2.
    spread = np.sqrt(np.mean((curves[0] - curves[1]) ** 2) / 2)
    assert line["d2y_spread"] == pytest.approx(spread, rel=1e-12)
    assert line["smoothness"] == "inf" and line["seeds"] == 2 and line["failures"] == 0
    values = [run["d2y_mse"] for run in content["runs"][:2]]
    assert line["d2y_mse"] == pytest.approx(np.mean(values))
    assert content["summary"][1]["smoothness"] == 0
    # Of straight pieces y'' is 0, as of ReLU.
    assert content["summary"][2]["d2y_mse"] == content["summary"][1]["d2y_mse"]


def test_learning_curves_end_with_the_run(small):
    directory, found = small
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


def test_all_activations_are_those_that_fit():
    names = settings.all_activations()
    assert {"tanh", "gelu", "snake", "log_softmax"} <= {*names} and len(names) > 30
    assert "glu" not in names and "threshold" not in names
    assert list(settings.functions_by_name("all")) == list(names)


def test_a_function_is_learned_with_noise():
    asked = {
        **ONE,
        "activations": ["tanh"],
        "epochs": 60,
        "method": "lbfgs",
        "domain": (0.0, 1.0),
    }
    exact, noisy = (
        keras_smooth.compare(**asked, problem=wave, noise=noise) for noise in (0.0, 0.3)
    )
    # The noise of 0.3 deviations, which the net cannot fit with some thirty weights.
    variance = np.var(np.sin(np.linspace(0.0, 1.0, 101)))
    assert exact.runs[0].loss < 1e-5 < noisy.runs[0].y_mse < 0.09 * variance
    assert noisy.runs[0].loss == pytest.approx(0.09 * variance, rel=0.2)


def test_other_methods_beside(tmp_path, monkeypatch):
    missing = {"tfp_lbfgs": "It is not installed."}
    monkeypatch.setattr(training, "reason_missing", lambda name: missing.get(name, ""))
    asked = {**ONE, "activations": ["relu", "tanh"], "epochs": 30}
    asked |= {"baselines": ["tfp_lbfgs", "adam", "adam", "gauss_newton"]}
    found = keras_smooth.compare(**asked, out=tmp_path)
    content = json.loads((tmp_path / store.RESULTS).read_text())
    assert content["settings"]["beside"] == ["tfp_lbfgs", "adam"]
    assert content["beside"]["activation"] == "tanh"
    assert list(content["beside"]["methods"]) == ["adam"]
    (run,) = content["beside"]["methods"]["adam"]
    # From the same start it gets less far.
    assert run["seed"] == 0 and run["loss"] > found.runs[1].loss
    assert len(found.runs) == 2 and (tmp_path / "curves" / "tanh-adam-seed0.csv").exists()
    again = keras_smooth.compare(**asked, out=tmp_path, resume=True)
    assert again.results.baselines()["adam"].run == found.results.baselines()["adam"].run


def test_beside_is_the_deprecated_name_of_baselines():
    asked = {**ONE, "architecture": "1x2", "epochs": 2}
    with pytest.warns(DeprecationWarning, match="`beside` is now called `baselines`"):
        found = keras_smooth.compare(**asked, beside=["adam"])
    assert list(found.results.baselines()) == ["adam"]


def test_beside_with_baselines_raises_an_error():
    with pytest.raises(
        ValueError, match=r"both: baselines=\['adam'\] and beside=\['lbfgs'\]"
    ):
        keras_smooth.compare(**ONE, baselines=["adam"], beside=["lbfgs"])


@pytest.mark.slow
def test_gradient_and_hessian_are_learned():
    asked = {**ONE, "architecture": "2x10", "epochs": 400, "problem": "gaussian_2d"}
    found = keras_smooth.compare(**asked)
    (run,), exact = found.runs, found.results.problem.exact
    # Far below those of 0, which are the mean squares.
    assert run.dy_mse < 1e-2 * np.mean(exact[1] ** 2)
    assert run.d2y_mse < 0.1 * np.mean(exact[2] ** 2)
    curves = found.results.records[key_of("tanh", problem="gaussian_2d")].curves
    assert run.d2y_mse == np.mean((curves[2] - exact[2]) ** 2)
    np.testing.assert_allclose(curves[2], np.swapaxes(curves[2], 1, 2), atol=1e-9)


@pytest.mark.slow
def test_every_combination_of_the_factors_is_trained():
    asked = {**ONE, "epochs": 30, "problem": ["gaussian", "front"]}
    found = keras_smooth.compare(**asked, initializer=["default", "he_normal"])
    losses = {variant: one.runs[0].loss for variant, one in found.variants.items()}
    assert len({*losses.values()}) == len(losses) == 4
    *_, (last, loss) = losses.items()
    assert keras_smooth.compare(**{**asked, **last._asdict()}).runs[0].loss == loss


def test_csv_of_runs_and_curves(small):
    directory, found = small
    with open(directory / store.RESULTS_TABLE) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and float(rows[0]["loss"]) == found.runs[0].loss
    # As in OptimizeResult: whoever used all iterations has not converged.
    assert {row["success"] for row in rows} == {"False"}
    assert all("iteration limit" in row["message"] for row in rows)
    with open(directory / store.CURVES / "relu-seed0.csv") as file:
        curve = list(csv.DictReader(file))
    assert len(curve) == 101 and all(float(row["d2y"]) == 0.0 for row in curve)
    with open(directory / store.CURVES / "hard_tanh-seed0.csv") as file:
        assert all(float(row["d2y"]) == 0.0 for row in csv.DictReader(file))


def test_errors_are_those_of_the_curves(small):
    directory, found = small
    problem = problems.load_problem("gaussian")
    with open(directory / store.CURVES / "tanh-seed1.csv") as file:
        rows = list(csv.DictReader(file))
    for name, true in zip(("y", "dy", "d2y"), problem.exact):
        error = np.mean((np.array([float(row[name]) for row in rows]) - true) ** 2)
        assert getattr(found.runs[1], f"{name}_mse") == pytest.approx(error, rel=1e-12)


def test_relus_second_derivative_is_exactly_zero(small):
    _, found = small
    runs = found.results.runs("relu")
    exact = problems.load_problem("gaussian").exact[2]
    assert [run.d2y_mse for run in runs] == [np.mean(exact**2)] * 2


def test_report(small):
    directory, found = small
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


def test_open_question_is_measured_with_the_same_seeds(small):
    _, found = small
    content = store.as_dict(found.results)
    assert content["open_question"]["initializer"] == "glorot_uniform"
    assert [run["seed"] for run in content["open_question"]["runs"]] == [0, 1]
    glorot, default = content["open_question"]["runs"][0], found.results.runs("sigmoid")[0]
    assert glorot["loss"] != default.loss


def test_resume_takes_over_what_is_there(small, monkeypatch):
    directory, found = small
    monkeypatch.setattr(
        Experiment, "records", lambda *_: pytest.fail("nothing is left to run")
    )
    again = keras_smooth.compare(**FOUR, out=directory, resume=True)
    assert again.runs == found.runs
    np.testing.assert_array_equal(
        again.results.records[key_of("tanh", 0, method="lbfgs")].curves[2],
        found.results.records[key_of("tanh", 0, method="lbfgs")].curves[2],
    )


def test_resume_runs_what_is_missing_and_gets_the_same(small, tmp_path):
    _, found = small
    asked = {**FOUR, "activations": ["tanh"]}
    key = key_of("tanh", 0, method="lbfgs")
    partial = Results(
        Settings(**asked), found.results.problems, {key: found.results.records[key]}
    )
    store.write_curves(partial, key, tmp_path)
    store.save(partial, tmp_path)
    again = keras_smooth.compare(**asked, out=tmp_path, resume=True)
    assert again.runs[0] == found.runs[0]
    assert again.runs[1].loss == found.runs[1].loss


def test_resume_adds_to_what_is_there(small, tmp_path):
    directory, found = small
    out = shutil.copytree(directory, tmp_path / "out")
    heard = []
    asked = {**FOUR, "activations": ["gelu", "tanh"], "seeds": 1}
    again = keras_smooth.compare(**asked, out=out, resume=True, handle=heard.append)
    assert [line.activation for line in again.summary] == [*FOUR["activations"], "gelu"]
    made = [one.record.run for one in heard if isinstance(one, events.Finished)]
    assert [(run.activation, run.seed) for run in made] == [("gelu", 0), ("gelu", 1)]
    assert again.runs[:8] == found.runs
    assert len(json.loads((out / store.RESULTS).read_text())["runs"]) == 10


def test_results_are_not_overwritten(small):
    directory, _ = small
    with pytest.raises(ValueError, match="already holds results"):
        keras_smooth.compare(["tanh"], seeds=1, epochs=5, out=directory)


@pytest.mark.slow
def test_resume_with_other_data_is_refused(tmp_path):
    x = np.linspace(0.0, 1.0, 20)
    asked = {**ONE, "epochs": 2, "out": tmp_path}
    keras_smooth.compare(**asked, problem=(x, x**2, 2 * x))
    for changed in ((x, x**2), (x, x**2, 2 * x + 1e-9), (x, x**3, 2 * x)):
        with pytest.raises(ValueError, match="made with other data or functions .own data"):
            keras_smooth.compare(**asked, problem=changed, resume=True)


def test_resume_with_other_versions_is_refused(small, monkeypatch):
    directory, _ = small
    known = environment.version
    monkeypatch.setattr(
        environment, "version", lambda name: "3.0.0" if name == "keras" else known(name)
    )
    with pytest.raises(
        ValueError, match="other versions .*keras is .* there, and 3.0.0 here"
    ):
        keras_smooth.compare(**FOUR, out=directory, resume=True)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"settings": {}}', '{"settings": {"seeds": 0}}']
)
def test_resume_of_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / store.RESULTS).write_text(text)
    with pytest.raises(ValueError, match="damaged"):
        keras_smooth.compare(["tanh"], out=tmp_path, resume=True)


def test_out_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="Cannot make the output directory"):
            keras_smooth.compare(["tanh"], out=path)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_events_and_files_after_every_run(tmp_path):
    heard, written = [], []

    def look(event):
        heard.append(event)
        if isinstance(event, events.Finished):
            runs = json.loads((tmp_path / store.RESULTS).read_text())["runs"]
            written.append(len(runs))

    keras_smooth.compare(
        **{**ONE, "seeds": 2}, epochs=200, method="lbfgs", out=tmp_path, handle=look
    )
    assert written == [1, 2]
    first = [one for one in heard if isinstance(one, events.Progress) and one.run.seed == 0]
    assert [event.iteration for event in first] == list(range(2, 201, 2))
    assert first[-1].loss < first[0].loss


@pytest.mark.filterwarnings("error:`shuffle=True`")
@pytest.mark.parametrize(
    "method", [pytest.param("tfp_bfgs", marks=pytest.mark.slow), "adam"]
)
def test_other_methods(method):
    found = keras_smooth.compare(**ONE, epochs=30, method=method)
    run = found.runs[0]
    assert not run.failed and run.nit == 30 and run.loss < 0.5


def test_method_that_needs_tf_keras_is_refused_before_a_run(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    with pytest.raises(ImportError, match="tf_keras is not installed"):
        keras_smooth.compare(**ONE, epochs=3, method="tfp_bfgs", out=tmp_path)
    assert not (tmp_path / store.RESULTS).exists()


@pytest.mark.slow
def test_float32():
    found = keras_smooth.compare(**ONE, epochs=30, dtype="float32")
    assert found.runs[0].loss < 0.1


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
    found = keras_smooth.compare(**ONE, epochs=900, problem=path)
    # Unscaled, a net would not get anywhere: the variance of y is 5e5.
    assert found.runs[0].y_mse < 5e3 and found.runs[0].d2y_mse is None
    directory = found.save(tmp_path / "out")
    page = (directory / report.MARKDOWN).read_text()
    assert "not known" in page and "held out" in page and "lost" not in page
    assert (
        "**tanh** has so far the lowest median error of y at points that"
        in found.recommendation
    )
    assert opened.count(path) == 1


def bump(x):
    return x * keras.ops.exp(-keras.ops.square(x))


def wave(x):
    return keras.ops.sin(x)


@pytest.mark.slow
def test_own_activations_take_part(tmp_path):
    keras_smooth.register_smoothness(wave, math.inf)
    slow = keras_smooth.activations.partial("sin", w0=0.5)
    asked = {"seeds": 1, "epochs": 5, **SMALL}
    found = keras_smooth.compare([bump, "wave", slow], **asked, out=tmp_path)
    assert [line.smoothness for line in found.summary] == ["inf"] * 3
    assert [line.activation for line in found.summary] == ["bump", "wave", "sin(w0=0.5)"]
    assert "| bump | C^inf |" in (found.save(tmp_path) / report.MARKDOWN).read_text()
    again = keras_smooth.compare([bump, "wave", slow], **asked, out=tmp_path, resume=True)
    assert again.runs == found.runs


@pytest.mark.parametrize(
    ("activations", "error", "words"),
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
def test_activations_that_are_none(activations, error, words):
    with pytest.raises(error, match=words):
        keras_smooth.compare(activations)


# Executors.


@pytest.mark.slow
def test_workers_give_the_same_as_one_process(small):
    _, found = small
    # A function of this module, which a worker has to find, beside those by name.
    asked = {**FOUR, "activations": ["tanh", "hard_tanh", bump]}
    again = keras_smooth.compare(**asked, jobs=2)
    assert len(again.runs) == 6
    alone = found.results.runs("tanh") + found.results.runs("hard_tanh")
    for one, other in zip(alone, again.runs):
        names = ("activation", "seed", "nit", "message")
        assert [getattr(one, n) for n in names] == [getattr(other, n) for n in names]
        # XLA, and another number of threads, may round differently.
        assert one.loss == pytest.approx(other.loss, rel=1e-2)


def drawn(experiment):
    (problem,) = experiment.problems.values()
    return problem.draw(3)


def test_what_a_worker_gets_is_data_and_no_path(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("x,y\n" + "".join(f"{i},{i**2}\n" for i in range(12)))
    for sent in (experiment(str(path)), experiment("runge")):
        message = cloudpickle.dumps(sent)
        path.unlink(missing_ok=True)
        got = pickle.loads(message)
        assert got.settings == sent.settings
        for one, other in zip(drawn(got), drawn(sent)):
            np.testing.assert_array_equal(one, other)


def test_executor_is_chosen_by_name_and_number_of_jobs():
    assert isinstance(executors.chosen_executor(None), interface.ThisProcess)
    assert isinstance(executors.chosen_executor(1), worker_processes.WorkerProcesses)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((0,), ValueError, "jobs must be 1 or more"),
        ((None, "dask"), ValueError, "executor must be one of .*'dask'"),
        ((None, "local", "auto"), ValueError, "address is for executor='ray'"),
        ((2, "ray"), ValueError, "jobs is for executor='local'"),
        ((None, "ray"), ImportError, "pip install 'keras-smooth.ray.'"),
    ],
)
def test_executors_that_are_none(monkeypatch, arguments, error, words):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it was not installed
    with pytest.raises(error, match=words):
        executors.chosen_executor(*arguments)


ORPHAN = """
import os, subprocess, sys
from keras_smooth.comparison.executors import worker_processes
code = f"from {worker_processes.__name__} import main; main({os.getpid()})"
subprocess.Popen([sys.executable, "-c", code])
os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_a_worker_ends_when_its_parent_is_killed():
    # Its stdin stays open, so that only its own look at the parent can end it.
    reads, writes = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", ORPHAN], stdin=reads, stdout=subprocess.PIPE
    )
    process.wait()
    # It holds stdout: the end of that is the end of the worker.
    assert process.stdout.read() == b""
    process.stdout.close()
    os.close(reads)
    os.close(writes)


# What is asked, and what is printed beside a line for each run.
SAID = {
    "by default": ({}, ["2 runs of 90 epochs on CPU:0 in this process"]),
    "with files": ({"out": "out"}, ["2 runs of 90 epochs on CPU:0 in this process; results"]),
    "quiet": ({"verbose": 0}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_progress_is_shown_unless_it_is_not_wanted(capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    asked, lines = SAID[name]
    heard = []
    keras_smooth.compare(
        ["tanh"],
        2,
        epochs=90,
        architecture="1x2",
        device="cpu",
        handle=heard.append,
        **asked,
    )
    assert sum(isinstance(event, events.Finished) for event in heard) == 2
    said = capsys.readouterr().out.splitlines()
    if lines is None:
        assert said == []
    else:
        assert said[0].startswith(lines[0]) and len(said) == 3
        assert [line.split(":")[0] for line in said[1:]] == ["tanh, seed 0", "tanh, seed 1"]


@pytest.mark.parametrize("verbose", [-1, 1.5, "auto"])
def test_verbose_is_a_number(verbose):
    with pytest.raises((TypeError, ValueError), match="verbose must be"):
        keras_smooth.compare(**ONE, epochs=1, verbose=verbose)


@pytest.mark.parametrize("given", ["tanh", bump], ids=["name", "function"])
def test_one_activation_needs_no_list(given):
    assert settings.functions_by_name(given) == settings.functions_by_name([given])
