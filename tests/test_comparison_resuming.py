"""What may be added to a comparison, and what would mix: from made-up runs."""

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

STORED = {"tanh": (1e-3,) * 2, "elu": (1e-2,) * 2}
ASKED = {"activations": ("tanh", "elu"), "seeds": 2, "epochs": 9}
BROKEN = key_of("elu", 1)


def written(found, directory):
    """Returns results whose errors are those of their curves, as their files hold them."""
    if found.settings.open_question():
        of_glorot = RunId("sigmoid", found.settings.open_question(), 0)
        found.records[of_glorot] = outcome(found, "sigmoid", 0, 0.5, True)
    for key, one in found.records.items():
        run = dataclasses.replace(one.run, **errors(found.problem, one.curves))
        found.records[key] = dataclasses.replace(one, run=run)
    store.save(found, directory)
    return found


@pytest.fixture
def stored(tmp_path):
    """Runs of 9 iterations, one of which broke off at its fifth."""
    found = made_up(STORED)
    found.settings = dataclasses.replace(found.settings, epochs=9)
    for key, one in found.records.items():
        broken = {"nit": 5, "status": int(Status.NON_FINITE), "success": False}
        run = dataclasses.replace(
            one.run,
            **{"status": int(Status.ITERATION_LIMIT)} | (broken if key == BROKEN else {}),
            **errors(found.problem, one.curves),
        )
        found.records[key] = dataclasses.replace(one, run=run)
    store.save(found, tmp_path)
    return tmp_path, found


def asked(found, **change):
    return dataclasses.replace(found.settings, **{**ASKED, **change})


def missing(found):
    return {run for runs in found.missing() for run in runs}


ALL = {key_of(name, seed) for name in STORED for seed in (0, 1)}


def others(**levels):
    """Returns what each factor holds now, and all runs of the new level."""
    grown = {name: (getattr(MAIN, name), level) for name, level in levels.items()}
    return grown, {key_of(name, seed, **levels) for name in STORED for seed in (0, 1)}


ADDED = {
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
    # What broke off would do so again.
    "iterations": ({"epochs": 12}, {"epochs": 12}, ALL - {BROKEN}),
    "a problem": ({"problem": ("sine",)}, *others(problem="sine")),
    "a dtype": ({"dtype": ("float32",)}, *others(dtype="float32")),
    "an initializer": ({"initializer": "he_normal"}, *others(initializer="he_normal")),
    "a method": ({"method": ("gauss_newton", "adam")}, *others(method="adam")),
}  # fmt: skip


@pytest.mark.parametrize("name", ADDED)
def test_only_what_is_missing_is_left_to_run(stored, name):
    directory, found = stored
    change, expected, left = ADDED[name]
    again = resuming.read(asked(found, **change), found.problems, directory)
    assert again.settings == asked(found, **expected)
    assert missing(again) == left
    for key, one in again.records.items():
        assert one.run == found.records[key].run


def test_a_problem_that_is_stored_but_not_given_is_loaded_by_its_name(stored):
    directory, found = stored
    again = resuming.read(asked(found), {}, directory)
    assert again.records.keys() == found.records.keys()


def test_runs_of_the_open_question_are_read_once(tmp_path):
    """From a file of their own section, and where Glorot's start is a level of its own."""
    for initializer in ("default", ("default", "glorot_uniform")):
        found = written(made_up({"sigmoid": (1e-3,)}, initializer=initializer), tmp_path)
        again = resuming.read(found.settings, found.problems, tmp_path)
        assert again.question().records_of("sigmoid")
        assert again.records.keys() == found.records.keys()


def test_the_clock_goes_on_from_the_last_run_that_is_kept(stored):
    directory, found = stored
    assert resuming.read(asked(found), found.problems, directory).seconds == 1.0
    kept = store.Store(found, directory)
    broken = found.records.pop(BROKEN)
    for seconds, run in ((3.0, key_of("elu", 0)), (7.0, BROKEN)):  # All, and a line.
        found.seconds, found.records[BROKEN] = seconds, broken
        kept.add(run)
    assert resuming.read(asked(found), found.problems, directory).seconds == 7.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 8}, "epochs was 9, is 8"),
        ({"architecture": "2x5"}, "architecture was '8x20', is '2x5'"),
        ({"noise": 0.1, "device": "cpu"}, "device was 'auto', is 'cpu'; noise was 0.0"),
    ],
)
def test_what_would_mix_is_refused(stored, change, words):
    directory, found = stored
    before = (directory / store.RUNS).read_bytes()
    with pytest.raises(
        ValueError, match=f"made with other settings .*{words}.*can be added"
    ):
        resuming.read(asked(found, **change), found.problems, directory)
    assert (directory / store.RUNS).read_bytes() == before


# Methods of all runs, baselines, a package, and whether another version of it stops a resume.
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
def test_versions_matter_to_the_methods_that_need_them(tmp_path, monkeypatch, name):
    method, baselines, package, matters = VERSIONS[name]
    found = written(
        made_up({"tanh": (1e-3,)}, method=method, baselines=baselines), tmp_path
    )
    known = environment.version
    other = {package: "0.0.1"}
    monkeypatch.setattr(environment, "version", lambda one: other.get(one) or known(one))
    asked = dataclasses.replace(found.settings, baselines=("adam", "tfp_lbfgs"))
    if matters:
        with pytest.raises(
            ValueError, match=f"other versions .{package} is .* there, and 0.0.1 here"
        ):
            resuming.read(asked, found.problems, tmp_path)
    else:
        assert resuming.read(asked, found.problems, tmp_path).records


def named(name, function):
    function.__name__ = name
    return function


def test_a_function_that_has_changed_is_refused(stored):
    directory, found = stored
    own = {"tanh": named("tanh", lambda x: keras.ops.tanh(2 * x))}
    with pytest.raises(ValueError, match="made with other data or functions .tanh"):
        resuming.read(asked(found, functions=own), found.problems, directory)


def test_a_function_that_is_not_given_again_is_asked_for(stored):
    directory, found = stored
    bump = {"bump": named("bump", lambda x: x * keras.ops.exp(-(x**2)))}
    names = ("tanh", "elu", "bump")
    found.settings = asked(found, activations=names, functions=bump)
    store.save(found, directory)
    with pytest.raises(ValueError, match="runs of 'bump', .* give it as well"):
        resuming.read(asked(found, functions={}), found.problems, directory)
    again = resuming.read(asked(found), found.problems, directory)
    assert again.settings.activations == names


def test_nothing_to_resume_is_warned_of(tmp_path):
    with pytest.warns(
        UserWarning, match="nothing to resume in .*: a new comparison begins"
    ):
        keras_smooth.compare(
            ["tanh"], 1, epochs=1, architecture="1x2", out=tmp_path, resume=True
        )


def test_settings_may_have_the_older_names_of_results_json(stored):
    directory, found = stored
    path = directory / store.RUNS
    first, *lines = path.read_bytes().split(b"\n")
    header = json.loads(first)
    del header["digest"]
    older = {"baselines": "beside", "epochs": "iterations", "method": "optimizer"}
    header["settings"] = {older.get(k, k): v for k, v in header["settings"].items()}
    signed = {**header, "digest": store.digest(header)}
    path.write_bytes(b"\n".join([json.dumps(signed).encode(), *lines]))
    assert settings_of(directory) == found.settings
    again = resuming.read(asked(found), found.problems, directory)
    assert again.records.keys() == found.records.keys()


def settings_of(directory, *words):
    arguments = parser.parse(["compare", "--resume", *words])
    return Settings(
        **commands.requested_options(arguments, resuming.stored_fields(directory))
    )


def test_options_that_are_not_given_are_those_of_the_directory(stored):
    directory, found = stored
    assert settings_of(directory) == found.settings
    assert settings_of(directory, "--activations", "gelu", "--epochs", "20") == asked(
        found, activations=("gelu",), epochs=20
    )
    assert resuming.stored_fields(directory / "none") == {}
