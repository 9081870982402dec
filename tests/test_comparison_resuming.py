"""Resuming a comparison: compatible and incompatible changes, with made-up runs."""

import dataclasses
import json

import keras
import pytest
from made_up_comparison import MAIN, key_of, made_up, outcome

import keras_smooth
from keras_smooth.cli import commands, parser
from keras_smooth.comparison.records import environment, resuming, store
from keras_smooth.comparison.runs.experiment import errors
from keras_smooth.comparison.settings import RunId, Settings
from keras_smooth.lbfgs import Status

ERRORS = {"tanh": (1e-3,) * 2, "elu": (1e-2,) * 2}
OPTIONS = {"activations": ("tanh", "elu"), "seeds": 2, "epochs": 9}
BROKEN_RUN = key_of("elu", 1)


def saved_results(results, directory):
    """Saves results with the errors of their curves, as they are stored, and returns them."""
    if results.settings.open_question():
        glorot_run = RunId("sigmoid", results.settings.open_question(), 0)
        results.records[glorot_run] = outcome(results, "sigmoid", 0, 0.5, True)
    for key, record in results.records.items():
        run = dataclasses.replace(record.run, **errors(results.problem, record.curves))
        results.records[key] = dataclasses.replace(record, run=run)
    store.save(results, directory)
    return results


@pytest.fixture
def stored(tmp_path):
    """Runs of 9 iterations, one of which ended by an error at the fifth."""
    results = made_up(ERRORS)
    results.settings = dataclasses.replace(results.settings, epochs=9)
    for key, record in results.records.items():
        failure = {"nit": 5, "status": int(Status.NON_FINITE), "success": False}
        run = dataclasses.replace(
            record.run,
            **{"status": int(Status.ITERATION_LIMIT)}
            | (failure if key == BROKEN_RUN else {}),
            **errors(results.problem, record.curves),
        )
        results.records[key] = dataclasses.replace(record, run=run)
    store.save(results, tmp_path)
    return tmp_path, results


def settings_with(results, **options):
    return dataclasses.replace(results.settings, **{**OPTIONS, **options})


def missing_runs(results):
    return {run for runs in results.missing() for run in runs}


ALL_RUNS = {key_of(name, seed) for name in ERRORS for seed in (0, 1)}


def added_level(**levels):
    """Returns the levels of each factor, and all runs of the new level."""
    factors = {name: (getattr(MAIN, name), level) for name, level in levels.items()}
    return factors, {key_of(name, seed, **levels) for name in ERRORS for seed in (0, 1)}


ADDITIONS = {
    "nothing": ({}, {}, set()),
    "fewer": ({"activations": ("elu",), "seeds": 1}, {}, set()),
    "another order": ({"activations": ("elu", "tanh")}, {}, set()),
    "an activation": (
        {"activations": ("gelu",)},
        {"activations": ("tanh", "elu", "gelu")},
        {key_of("gelu", 0), key_of("gelu", 1)},
    ),
    "seeds": (
        {"seeds": 3}, {"seeds": 3}, {key_of("tanh", 2), key_of("elu", 2)},
    ),
    "a baseline": ({"baselines": ("adam",)}, {"baselines": ("adam",)}, {key_of("tanh", method="adam")}),
    # A run that ended by an error is not continued.
    "iterations": ({"epochs": 12}, {"epochs": 12}, ALL_RUNS - {BROKEN_RUN}),
    "a problem": ({"problem": ("sine",)}, *added_level(problem="sine")),
    "a dtype": ({"dtype": ("float32",)}, *added_level(dtype="float32")),
    "an initializer": ({"initializer": "he_normal"}, *added_level(initializer="he_normal")),
    "a method": ({"method": ("gauss_newton", "adam")}, *added_level(method="adam")),
}  # fmt: skip


@pytest.mark.parametrize("name", ADDITIONS)
def test_resume_has_the_missing_runs_left(stored, name):
    directory, results = stored
    options, expected, expected_runs = ADDITIONS[name]
    loaded = resuming.read(settings_with(results, **options), results.problems, directory)
    assert loaded.settings == settings_with(results, **expected)
    assert missing_runs(loaded) == expected_runs
    for key, record in loaded.records.items():
        assert record.run == results.records[key].run


def test_stored_problem_that_is_not_passed_is_loaded_by_name(stored):
    directory, results = stored
    loaded = resuming.read(settings_with(results), {}, directory)
    assert loaded.records.keys() == results.records.keys()


def test_runs_of_the_open_question_are_read_once(tmp_path):
    """From their own section of the file, and if Glorot's initializer is a level."""
    for initializer in ("default", ("default", "glorot_uniform")):
        results = saved_results(
            made_up({"sigmoid": (1e-3,)}, initializer=initializer), tmp_path
        )
        loaded = resuming.read(results.settings, results.problems, tmp_path)
        assert loaded.question().records_of("sigmoid")
        assert loaded.records.keys() == results.records.keys()


def test_seconds_continue_from_the_last_stored_run(stored):
    directory, results = stored
    assert resuming.read(settings_with(results), results.problems, directory).seconds == 1.0
    journal = store.Store(results, directory)
    record = results.records.pop(BROKEN_RUN)
    for seconds, run in ((3.0, key_of("elu", 0)), (7.0, BROKEN_RUN)):  # All, and a line.
        results.seconds, results.records[BROKEN_RUN] = seconds, record
        journal.add(run)
    assert resuming.read(settings_with(results), results.problems, directory).seconds == 7.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 8}, "epochs was 9, is 8"),
        ({"architecture": "2x5"}, "architecture was '8x20', is '2x5'"),
        ({"noise": 0.1, "device": "cpu"}, "device was 'auto', is 'cpu'; noise was 0.0"),
    ],
)
def test_incompatible_settings_raise(stored, options, message):
    directory, results = stored
    before = (directory / store.RUNS).read_bytes()
    with pytest.raises(
        ValueError, match=f"made with other settings .*{message}.*can be added"
    ):
        resuming.read(settings_with(results, **options), results.problems, directory)
    assert (directory / store.RUNS).read_bytes() == before


# Methods of all runs, baselines, a package, and whether another version of it raises.
VERSIONS = {
    "lbfgs needs Keras": ("lbfgs", (), "keras", True),
    "lbfgs needs no TFP": ("lbfgs", (), "tensorflow-probability", False),
    "nor does bfgs": ("bfgs", ("lbfgs",), "tensorflow-probability", False),
    "nor does Adam": ("adam", (), "tensorflow-probability", False),
    "tfp_bfgs does": ("tfp_bfgs", (), "tensorflow-probability", True),
    "also a baseline": ("lbfgs", ("tfp_lbfgs",), "tensorflow-probability", True),
    "any needs NumPy": ("adam", (), "numpy", True),
}


@pytest.mark.parametrize("name", VERSIONS)
def test_other_version_raises_only_if_the_method_uses_the_package(
    tmp_path, monkeypatch, name
):
    method, baselines, package, raises = VERSIONS[name]
    results = saved_results(
        made_up({"tanh": (1e-3,)}, method=method, baselines=baselines), tmp_path
    )
    installed = environment.version
    versions = {package: "0.0.1"}
    monkeypatch.setattr(
        environment,
        "version",
        lambda name_of_package: versions.get(name_of_package) or installed(name_of_package),
    )
    settings = dataclasses.replace(results.settings, baselines=("adam", "tfp_lbfgs"))
    if raises:
        with pytest.raises(
            ValueError, match=f"other versions .{package} is .* there, and 0.0.1 here"
        ):
            resuming.read(settings, results.problems, tmp_path)
    else:
        assert resuming.read(settings, results.problems, tmp_path).records


def with_name(name, function):
    function.__name__ = name
    return function


def test_changed_function_raises(stored):
    directory, results = stored
    changed = {"tanh": with_name("tanh", lambda x: keras.ops.tanh(2 * x))}
    with pytest.raises(ValueError, match="made with other data or functions .tanh"):
        resuming.read(
            settings_with(results, functions=changed), results.problems, directory
        )


def test_missing_function_of_stored_runs_raises(stored):
    directory, results = stored
    bump = {"bump": with_name("bump", lambda x: x * keras.ops.exp(-(x**2)))}
    names = ("tanh", "elu", "bump")
    results.settings = settings_with(results, activations=names, functions=bump)
    store.save(results, directory)
    with pytest.raises(ValueError, match="runs of 'bump', .* give it as well"):
        resuming.read(settings_with(results, functions={}), results.problems, directory)
    loaded = resuming.read(settings_with(results), results.problems, directory)
    assert loaded.settings.activations == names


def test_resume_without_results_warns(tmp_path):
    with pytest.warns(
        UserWarning, match="nothing to resume in .*: a new comparison begins"
    ):
        keras_smooth.compare(
            ["tanh"], 1, epochs=1, architecture="1x2", out=tmp_path, resume=True
        )


def test_settings_with_older_names_are_read(stored):
    directory, results = stored
    path = directory / store.RUNS
    first, *lines = path.read_bytes().split(b"\n")
    header = json.loads(first)
    del header["digest"]
    older = {"baselines": "beside", "epochs": "iterations", "method": "optimizer"}
    header["settings"] = {older.get(k, k): v for k, v in header["settings"].items()}
    signed = {**header, "digest": store.digest(header)}
    path.write_bytes(b"\n".join([json.dumps(signed).encode(), *lines]))
    assert settings_of(directory) == results.settings
    loaded = resuming.read(settings_with(results), results.problems, directory)
    assert loaded.records.keys() == results.records.keys()


def settings_of(directory, *options):
    arguments = parser.parse(["compare", "--resume", *options])
    return Settings(
        **commands.requested_options(arguments, resuming.stored_fields(directory))
    )


def test_default_options_on_resume_are_those_of_the_directory(stored):
    directory, results = stored
    assert settings_of(directory) == results.settings
    assert settings_of(
        directory, "--activations", "gelu", "--epochs", "20"
    ) == settings_with(results, activations=("gelu",), epochs=20)
    assert resuming.stored_fields(directory / "none") == {}
