"""The comparison: problems, settings, runs, files, report."""

import csv
import json
import math

import keras
import numpy as np
import pytest

import keras_smooth
from keras_smooth import comparison
from keras_smooth.comparison import article, experiment, problems, report, results, schedule
from keras_smooth.comparison.experiment import Outcome, Run
from keras_smooth.comparison.results import Results
from keras_smooth.comparison.settings import Settings

# Problems.


@pytest.mark.parametrize("row", problems.TABLE, ids=lambda row: row.name)
def test_derivatives_of_the_table(row):
    x = np.linspace(*row.domain, 37)
    step = 1e-5
    for function, derivative in ((row.y, row.dy), (row.dy, row.d2y)):
        central = (function(x + step) - function(x - step)) / (2 * step)
        # step^2 / 6 times a third derivative of up to 1e4.
        np.testing.assert_allclose(derivative(x), central, atol=2e-6, rtol=1e-6)


def test_the_articles_problem():
    problem = problems.load("gaussian")
    x, y = problem.draw(0)
    assert x.shape == y.shape == (1000,) and x.min() >= -2 and x.max() <= 2
    np.testing.assert_array_equal(problem.x, np.linspace(-2, 2, 101))
    assert np.any(problem.draw(1)[0] != x) and np.all(problem.draw(0)[0] == x)
    # (4x^2 - 2) exp(-x^2), where the article prints (4x^2 - x).
    assert problem.exact[2][50] == -2.0


def write_csv(path, text):
    path.write_text(text)
    return str(path)


GOOD = "x,y,dy,d2y\n" + "".join(f"{10 * i},{i**2},{i / 5},{1 / 50}\n" for i in range(12))


def test_csv(tmp_path):
    problem = problems.load(write_csv(tmp_path / "data.csv", GOOD))
    np.testing.assert_array_equal(problem.x, 10.0 * np.arange(12))
    assert all(part is not None for part in problem.exact)
    assert problem.x_scale == (55.0, 55.0)


def test_csv_without_derivatives_and_in_any_order(tmp_path):
    lines = [f"{i * 1.5}, {12 - i}" for i in range(12)]
    problem = problems.load(write_csv(tmp_path / "d.csv", "y, x\n" + "\n".join(lines)))
    assert problem.exact[1] is None and problem.exact[2] is None
    assert list(problem.x) == sorted(problem.x)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("y,", "z,", 1), "no column y"),
        ("", "no column x and no column y"),
        (
            GOOD.replace("20,", "twenty,"),
            "line 4: x must be a finite number, received 'twenty'",
        ),
        (GOOD.replace("20,4,", "20,nan,"), "line 4: y must be a finite number"),
        (GOOD.replace("110,121,2.2,0.02", "110"), "line 13: y must be .* received None"),
        ("x,y\n1,2\n3,4\n", "2 rows of data; at least 10"),
        ("x,y\n" + "1,2\n" * 12, "nothing to learn"),
    ],
)
def test_bad_csv(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        problems.load(write_csv(tmp_path / "bad.csv", text))


def test_unknown_problem():
    with pytest.raises(
        ValueError, match="no problem named 'gausian'.*Did you mean gaussian"
    ):
        problems.load("gausian")
    with pytest.raises(ValueError, match="Cannot read missing.csv"):
        problems.load("missing.csv")


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
        ({"activations": ("tanh", "tanh")}, "named twice"),
        ({"seeds": 0}, "seeds must be 1 or more"),
        ({"seeds": 1.5}, "seeds must be an integer"),
        ({"iterations": -1}, "iterations must be 1 or more"),
        ({"optimizer": "lbgfs"}, "Unknown optimizer 'lbgfs'. Did you mean lbfgs"),
        ({"dtype": "float16"}, "Unknown dtype 'float16'. Did you mean float"),
        ({"device": "tpu"}, "Unknown device 'tpu'"),
        ({"initializer": "glorot"}, "Unknown initializer 'glorot'"),
        ({"problem": "nothing"}, "no problem named 'nothing'"),
    ],
)
def test_bad_settings(change, words):
    with pytest.raises(ValueError, match=words):
        Settings(**change)


def test_gpu_is_refused_without_one():
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        with pytest.raises(ValueError, match="sees no GPU"):
            Settings(device="gpu")
    assert Settings(device="cpu").device_name() == "CPU:0"


@pytest.mark.gpu
def test_gpu_is_used_and_agrees_with_the_cpu():
    found = {
        device: keras_smooth.compare(["tanh"], seeds=1, iterations=20, device=device).runs[
            0
        ]
        for device in ("auto", "cpu")
    }
    assert Settings().device_name() == "GPU:0"
    # Twenty iterations of float64: rounding has grown, but not to a percent.
    assert found["auto"].loss == pytest.approx(found["cpu"].loss, rel=1e-2)


# Runs.


def test_start_depends_on_seed_and_not_on_process_or_order():
    problem = problems.load("gaussian")
    one, same, other = (
        experiment.build(problem, "sigmoid", "default", "float64", seed).get_weights()
        for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same))
    assert not np.array_equal(one[0], other[0])
    assert not np.array_equal(one[2], one[4])


def test_csv_network_is_scaled(tmp_path):
    problem = problems.load(write_csv(tmp_path / "data.csv", GOOD))
    model = experiment.build(problem, "tanh", "default", "float64", 0)
    # The first layer maps [0, 110] to [-2, 2]; the last adds the mean of y.
    np.testing.assert_allclose(model.layers[0](np.array([[0.0], [110.0]])), [[-2.0], [2.0]])
    np.testing.assert_allclose(
        model.layers[-1](np.zeros((1, 1))), np.mean(problem.exact[0])
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One comparison for several tests: smooth, rough, and one whose y'' is lost."""
    directory = tmp_path_factory.mktemp("small") / "out"
    found = keras_smooth.compare(
        ["tanh", "relu", "hard_tanh", "sigmoid"], seeds=2, iterations=30, out=directory
    )
    return found.save(directory), found


def test_every_run_is_reported(small):
    directory, found = small
    content = json.loads((directory / results.RESULTS).read_text())
    assert [(run["activation"], run["seed"]) for run in content["runs"]] == [
        (name, seed) for name in ("tanh", "relu", "hard_tanh", "sigmoid") for seed in (0, 1)
    ]
    fields = (
        "activation seed success status message nit nfev loss y_mse dy_mse d2y_mse seconds"
    )
    assert set(fields.split()) <= set(content["runs"][0])
    assert {"environment", "settings", "runs", "summary"} <= set(content)
    assert all(run["success"] and run["nit"] == 30 for run in content["runs"])
    assert content["seconds"] == found.results.seconds > 0


def test_summary_is_the_median(small):
    directory, found = small
    content = json.loads((directory / results.RESULTS).read_text())
    line = content["summary"][0]
    assert list(line) == "activation smoothness seeds failures y_mse dy_mse d2y_mse".split()
    assert line["smoothness"] == "inf" and line["seeds"] == 2 and line["failures"] == 0
    values = [run["d2y_mse"] for run in content["runs"][:2]]
    assert line["d2y_mse"] == pytest.approx(np.mean(values))
    assert content["summary"][1]["smoothness"] == 0
    assert content["summary"][2]["d2y_mse"] is None


def test_csv_of_runs_and_curves(small):
    directory, found = small
    with open(directory / results.TABLE) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and float(rows[0]["loss"]) == found.runs[0].loss
    with open(directory / results.CURVES / "relu-seed0.csv") as file:
        curve = list(csv.DictReader(file))
    assert len(curve) == 101 and all(float(row["d2y"]) == 0.0 for row in curve)
    with open(directory / results.CURVES / "hard_tanh-seed0.csv") as file:
        assert {row["d2y"] for row in csv.DictReader(file)} == {""}


def test_errors_are_those_of_the_curves(small):
    directory, found = small
    problem = problems.load("gaussian")
    with open(directory / results.CURVES / "tanh-seed1.csv") as file:
        rows = list(csv.DictReader(file))
    for name, true in zip(("y", "dy", "d2y"), problem.exact):
        error = np.mean((np.array([float(row[name]) for row in rows]) - true) ** 2)
        assert getattr(found.runs[1], f"{name}_mse") == pytest.approx(error, rel=1e-12)


def test_relus_second_derivative_is_exactly_zero(small):
    _, found = small
    runs = found.results.runs("relu")
    exact = problems.load("gaussian").exact[2]
    assert [run.d2y_mse for run in runs] == [np.mean(exact**2)] * 2


def test_lost_derivative_is_said(small):
    _, found = small
    assert "order 2 is lost" in found.results.runs("hard_tanh")[0].message


def test_report(small):
    directory, found = small
    page = (directory / report.PAGE).read_text()
    for part in (
        "a misprint", "(4x^2 - 2)", "| relu | C^0 |", "7.5e-04", "Its y'' is exactly 0",
        "Why sigmoid was inferior", "Glorot's start", "default start", "## Recommendation",
        "Not for second derivatives: relu, hard_tanh", "wall time",
    ):  # fmt: skip
        assert part in page, part
    for name in ("summary", "tanh", "relu", "hard_tanh", "sigmoid"):
        assert f"({name}.png)" in page
        assert (directory / f"{name}.png").stat().st_size > 10_000


def test_open_question_is_measured_with_the_same_seeds(small):
    _, found = small
    content = results.as_dict(found.results)
    assert content["open_question"]["initializer"] == "glorot_uniform"
    assert [run["seed"] for run in content["open_question"]["runs"]] == [0, 1]
    glorot, default = content["open_question"]["runs"][0], found.results.runs("sigmoid")[0]
    assert glorot["loss"] != default.loss


def test_resume_takes_over_what_is_there(small, monkeypatch):
    directory, found = small
    monkeypatch.setattr(
        experiment, "outcomes", lambda *_: pytest.fail("nothing is left to run")
    )
    again = keras_smooth.compare(
        ["tanh", "relu", "hard_tanh", "sigmoid"],
        seeds=2,
        iterations=30,
        out=directory,
        resume=True,
    )
    assert again.runs == found.runs
    np.testing.assert_array_equal(
        again.results.outcomes["tanh", "default", 0].curves[2],
        found.results.outcomes["tanh", "default", 0].curves[2],
    )


def test_resume_runs_what_is_missing_and_gets_the_same(small, tmp_path):
    _, found = small
    settings = Settings(activations=("tanh",), seeds=2, iterations=30)
    partial = Results(settings)
    key = ("tanh", "default", 0)
    partial.outcomes[key] = found.results.outcomes[key]
    results.write_curves(
        partial.outcomes[key], "default", problems.load("gaussian").x, tmp_path
    )
    results.write(partial, tmp_path)
    again = keras_smooth.compare(
        ["tanh"], seeds=2, iterations=30, out=tmp_path, resume=True
    )
    assert again.runs[0] == found.runs[0]
    assert again.runs[1].loss == found.runs[1].loss


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"iterations": 31}, "iterations was 30, is 31"),
        ({"seeds": 3}, "seeds was 2, is 3"),
        ({"dtype": "float32"}, "dtype was 'float64', is 'float32'"),
    ],
)
def test_resume_with_other_settings_is_refused(small, change, words):
    directory, _ = small
    arguments = {"seeds": 2, "iterations": 30, **change}
    before = (directory / results.RESULTS).read_bytes()
    with pytest.raises(ValueError, match=words):
        keras_smooth.compare(
            ["tanh", "relu", "hard_tanh", "sigmoid"],
            **arguments,
            out=directory,
            resume=True,
        )
    assert (directory / results.RESULTS).read_bytes() == before


def test_results_are_not_overwritten(small):
    directory, _ = small
    with pytest.raises(ValueError, match="already holds results"):
        keras_smooth.compare(["tanh"], seeds=1, iterations=5, out=directory)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"settings": {}}', '{"settings": {"seeds": 0}}']
)
def test_resume_of_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / results.RESULTS).write_text(text)
    with pytest.raises(ValueError, match="damaged"):
        keras_smooth.compare(["tanh"], out=tmp_path, resume=True)


def test_out_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="is a file"):
            keras_smooth.compare(["tanh"], out=path)
    assert (tmp_path / "file").read_text() == "mine"


def test_written_after_every_run(tmp_path):
    seen = []

    def look(event):
        if isinstance(event, schedule.Finished):
            seen.append(len(json.loads((tmp_path / results.RESULTS).read_text())["runs"]))

    keras_smooth.compare(["tanh"], seeds=3, iterations=2, out=tmp_path, handle=look)
    assert seen == [1, 2, 3]


def test_progress_events(tmp_path):
    events = []
    keras_smooth.compare(["tanh"], seeds=1, iterations=200, handle=events.append)
    progress = [event for event in events if isinstance(event, schedule.Progress)]
    assert [event.iteration for event in progress] == list(range(2, 201, 2))
    assert progress[-1].loss < progress[0].loss


@pytest.mark.parametrize("optimizer", ["bfgs", "adam"])
def test_other_optimizers(optimizer):
    found = keras_smooth.compare(["tanh"], seeds=1, iterations=30, optimizer=optimizer)
    run = found.runs[0]
    assert run.success and run.nit == 30 and run.loss < 0.5


def test_float32():
    found = keras_smooth.compare(["tanh"], seeds=1, iterations=30, dtype="float32")
    assert found.runs[0].loss < 0.1


def test_csv_problem_end_to_end(tmp_path):
    x = np.linspace(0.0, 300.0, 40)
    lines = [f"{a},{1e3 * math.sin(a / 40)}" for a in x]
    path = write_csv(tmp_path / "data.csv", "x,y\n" + "\n".join(lines))
    found = keras_smooth.compare(["tanh"], seeds=1, iterations=150, problem=path)
    # Unscaled, a net of this size would not get anywhere: the variance of y is 5e5.
    assert found.runs[0].y_mse < 5e3 and found.runs[0].d2y_mse is None
    directory = found.save(tmp_path / "out")
    assert "not known" in (directory / report.PAGE).read_text()
    assert "None of these" in found.recommendation


def test_own_activation_takes_part():
    def bump(x):
        return x * keras.ops.exp(-keras.ops.square(x))

    keras_smooth.register_smoothness(bump, math.inf)
    found = keras_smooth.compare(["bump"], seeds=1, iterations=5)
    assert found.summary[0].smoothness == "inf"


@pytest.mark.slow
def test_workers_give_the_same_as_one_process(small, tmp_path):
    _, found = small
    again = keras_smooth.compare(
        ["tanh", "relu", "hard_tanh", "sigmoid"], seeds=2, iterations=30, jobs=2
    )
    for one, other in zip(found.runs, again.runs):
        assert (one.activation, one.seed, one.nit) == (
            other.activation,
            other.seed,
            other.nit,
        )
        # Another number of threads may round differently.
        assert one.loss == pytest.approx(other.loss, rel=1e-2)


def test_dead_worker_is_an_error_with_its_words(monkeypatch):
    from keras_smooth.comparison import workers

    monkeypatch.setattr(workers.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="worker process died"):
        keras_smooth.compare(["tanh"], seeds=1, iterations=5, jobs=1)


# The words of the report, from made-up runs.


def made_up(d2y_by_name, failed=()):
    settings = Settings(activations=tuple(d2y_by_name), seeds=2)
    found = Results(settings, seconds=1.0)
    curves = tuple(np.zeros(101) for _ in range(3))
    for name, values in d2y_by_name.items():
        for seed, value in enumerate(values):
            run = Run(
                name,
                seed,
                name not in failed,
                1,
                "m.",
                0.5,
                9,
                9,
                0,
                1e-9,
                1e-9,
                1e-9,
                value,
                1.0,
            )
            found.outcomes[name, "default", seed] = Outcome(run, curves)
    return found


def test_recommendation_is_computed():
    text = report.recommendation(made_up(
        {"tanh": (1e-5, 4e-5), "gelu": (2e-5, 4e-5), "silu": (1e-3, 1e-3), "relu": (0.9, 0.9)}
    ))  # fmt: skip
    assert "Take **tanh**" in text and "as good here: gelu" in text and "silu" not in text
    assert "Not for second derivatives: relu" in text


def test_what_is_worse_than_nothing_is_not_recommended():
    # The mean of the exact y''^2 is 0.93: that is the error of y'' = 0.
    text = report.recommendation(made_up({"softmax": (7.5, 7.5)}))
    assert text.startswith("None of these activations")


def test_failed_activation_is_not_recommended():
    text = report.recommendation(
        made_up({"tanh": (1e-9, 1e-9), "gelu": (0.1, 0.1)}, {"tanh"})
    )
    assert "Take **gelu**" in text


def test_dead_start_is_said():
    found = keras_smooth.compare(
        ["sigmoid", "tanh"], seeds=1, iterations=2, initializer="glorot_uniform"
    )
    dead, alive = (found.results.runs(name)[0].signal for name in ("sigmoid", "tanh"))
    # findings: 0.076 after the first layer, 2.9e-6 after the last.
    assert dead < 1e-3 < 0.1 < alive
    page = report.page(found.results, problems.load("gaussian"))
    assert (
        "sigmoid: the start is all but constant" in page and "tanh: the start" not in page
    )


def test_failures_are_listed_and_counted():
    found = made_up({"tanh": (1e-9, 1e-9)}, {"tanh"})
    assert found.summary()[0].failures == 2
    page = report.page(found, problems.load("gaussian"))
    assert "tanh, seed 0, ended at iteration 9" in page


def test_median_seed_is_named():
    settings_found = made_up({"tanh": (3.0, 1.0)})
    assert settings_found.median_outcome("tanh").run.seed == 1


def test_article_table_is_complete():
    assert list(article.MSE) == ["relu", "tanh", "sigmoid", "softplus", "selu", "elu"]
    assert comparison.compare is keras_smooth.compare
