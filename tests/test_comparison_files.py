"""results.json: its schema, and reading back what was written, from made-up runs."""

import copy
import csv
import dataclasses
import importlib.metadata
import json
import os
import shutil
import warnings

import jsonschema
import numpy as np
import pytest
from made_up_comparison import SCHEMA, key_of, made_up

import keras_smooth
from keras_smooth.comparison import comparing, problems, settings
from keras_smooth.comparison.comparing import Comparison
from keras_smooth.comparison.records import environment, resuming, store
from keras_smooth.comparison.records.results import Results
from keras_smooth.comparison.runs import learning
from keras_smooth.comparison.runs.experiment import Record, Run, errors
from keras_smooth.lbfgs.run import atomic_files

PROBLEMS = problems.load_problems("gaussian")
PROBLEM = PROBLEMS["gaussian"]
ASKED = settings.Settings(activations=("sigmoid", "relu"), seeds=2, baselines=("adam",))


def outcome(activation, seed, off, problem=PROBLEM):
    curves = tuple(exact + off for exact in problem.exact)
    curves = curves if activation != "relu" else (*curves[:2], None)
    curve = {name: [0.5, None] for name in learning.COLUMNS}
    curve |= {"iteration": [20, 40], "cpu_seconds": [0.0, 1.5]}
    run = Run(
        activation, seed, True, 1, "[1,\n 2]", 0.5, 40, 44, 0, 1e-9,
        **errors(problem, curves), seconds=1.0,
    )  # fmt: skip
    return Record(run, curves, curve)


@pytest.fixture
def written(tmp_path):
    found = Results(ASKED, PROBLEMS, seconds=2.0)
    for i, key in enumerate([
        key_of("sigmoid", 0), key_of("sigmoid", 1),
        key_of("relu", 0), key_of("sigmoid", initializer="glorot_uniform"),
        key_of("sigmoid", method="adam"),
    ]):  # fmt: skip
        found.records[key] = outcome(key.activation, key.seed, 0.1 * (i + 1))
    store.save(found, tmp_path)
    return tmp_path, found


def content_of(directory):
    return json.loads((directory / store.RESULTS).read_text())


def test_what_is_written_meets_the_schema_and_is_read_the_same(written):
    directory, found = written
    content = content_of(directory)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(content, SCHEMA)
    assert list(content["beside"]["methods"]) == ["adam"]
    again = resuming.read(ASKED, PROBLEMS, directory)
    assert again.records.keys() == found.records.keys() and again.seconds == 2.0
    for key, one in found.records.items():
        assert again.records[key].run == one.run
        assert again.records[key].learning == one.learning
        for read, curve in zip(again.records[key].curves, one.curves):
            np.testing.assert_array_equal(read, curve)


def test_variants_are_read_as_they_were_written(tmp_path):
    x = np.linspace(0.0, 1.0, 12)
    paths = [tmp_path / folder / "data.csv" for folder in "ab"]
    for scale, path in enumerate(paths, start=1):
        path.parent.mkdir()
        rows = [f"{a},{scale * a**2},{2 * scale * a},{2 * scale}" for a in x]
        path.write_text("\n".join(["x,y,dy,d2y", *rows]))
    learned = problems.load_problems(["gaussian", *map(str, paths)])
    asked = settings.Settings(
        activations=("sigmoid",), seeds=1, problem=tuple(learned),
        dtype=("float64", "float32"), initializer=("default", "glorot_uniform"),
        baselines=("adam",),
    )  # fmt: skip
    found = Results(asked, learned)
    for i, key in enumerate(asked.runs()):
        found.records[key] = outcome(
            key.activation, 0, 0.1 * i, learned[key.variant.problem]
        )
    store.save(found, tmp_path)
    content = content_of(tmp_path)
    jsonschema.validate(content, SCHEMA)
    assert len(content["variants"]) == 11
    assert content["settings"]["dtype"] == "float64"
    assert content["settings"]["factors"]["dtype"] == ["float64", "float32"]
    names = {path.name for path in (tmp_path / store.CURVES).iterdir()}
    assert len(names) == 13 and "sigmoid-data2-float32-seed0.csv" in names
    again = resuming.read(asked, learned, tmp_path)
    assert again.records.keys() == found.records.keys()
    assert all(again.records[key].run == found.records[key].run for key in found.records)
    with open(tmp_path / store.RESULTS_TABLE) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and list(rows[-1].values())[-4:] == [*asked.variants()[-1]]


@pytest.mark.parametrize("name", ["franke", "gaussian_3d"])
def test_gradients_and_hessians_are_read_as_they_were_written(tmp_path, name):
    learned = problems.load_problems(name)
    asked = settings.Settings(activations=("tanh", "relu"), seeds=1, problem=name)
    found = Results(asked, learned)
    for i, key in enumerate(asked.runs()):
        found.records[key] = outcome(key.activation, 0, 0.1 + i, learned[name])
    store.save(found, tmp_path)
    again = resuming.read(asked, learned, tmp_path)
    for key, one in found.records.items():
        assert again.records[key].run == one.run
        for read, curve in zip(again.records[key].curves, one.curves):
            np.testing.assert_array_equal(read, curve)
    head = (tmp_path / store.CURVES / "tanh-seed0.csv").read_text().splitlines()[0]
    assert head.startswith("x1,x2,") and ",d2y1_2," in head


def test_digests_of_all_activations_without_a_warning():
    names = settings.all_activations()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = environment.activation_digests(settings.Settings(activations=names))
    # Functions of a whole row, too.
    assert len({found[name] for name in ("softmax", "log_softmax", "sparsemax")}) == 3


NAMES = ["caf\u00e9.csv", os.fsdecode(b"caf\xe9.csv"), 'a,b\n"c".csv', "\u202ex.csv"]


@pytest.mark.parametrize("name", NAMES)
def test_data_in_a_file_of_any_name_is_written_and_read(tmp_path, name):
    path = os.fspath(tmp_path / name)
    with open(path, "w") as file:
        file.write("x,y,dy,d2y\n" + "".join(f"{i},{i**2},{2 * i},2\n" for i in range(12)))
    learned = problems.load_problems(path)
    asked = settings.Settings(activations=("tanh",), seeds=1, problem=path)
    found = Results(asked, learned)
    key = key_of("tanh", problem=path)
    found.records[key] = outcome("tanh", 0, 0.1, learned[path])
    kept = store.Store(found, tmp_path)
    kept.add(key)
    kept.write_all()
    (again,) = resuming.read(asked, learned, tmp_path).records.values()
    assert again.run == found.records[key].run
    with open(tmp_path / store.RESULTS_TABLE, encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["problem"] == path.encode(errors="backslashreplace").decode()


def test_numbers_of_a_learning_curve_stand_in_one_line(written):
    text = (written[0] / store.RESULTS).read_text()
    assert '"iteration": [ 20, 40 ]' in text


def test_readers_of_the_csv_see_the_numbers_of_the_runs_alone(written):
    head = (written[0] / store.RESULTS_TABLE).read_text().splitlines()[0]
    assert head.endswith("d2y_mse,seconds,problem,dtype,initializer,optimizer")


def lines_of(directory):
    return (directory / store.RUNS).read_bytes().splitlines(keepends=True)


def edited(directory, number, change):
    lines = lines_of(directory)
    lines[number - 1] = change(lines[number - 1])
    (directory / store.RUNS).write_bytes(b"".join(lines))


def replaced(old, new):
    def change(line):
        assert old in line
        return line.replace(old, new)

    return change


# A line, what is done to it, and what is said of it.
CHANGES = {
    "a setting": (1, replaced(b'"seeds": 2', b'"seeds": 1'), "line 1, .* its digest is"),
    "a version": (1, replaced(b'"keras": "', b'"keras": "9'), "line 1, .* its digest is"),
    "an activation": (2, replaced(b"sigmoid", b"tanh"), "line 2, .* its digest is"),
    "a curve": (2, replaced(b'"curves": [[', b'"curves": [[1.0, '), "its digest is"),
    "a seed": (2, replaced(b'"seed": 0', b'"seed": 1'), "line 2, .* its digest is"),
    "an error": (2, replaced(b'"dy_mse": 0.', b'"dy_mse": 1.'), "its digest is"),
    "a number that nothing else tells": (
        2, replaced(b'"loss": 1e', b'"loss": 2e'), "its digest is"
    ),
    "a learning curve cut short": (2, replaced(b"[20, 40]", b"[20]"), "its digest is"),
    "text for a number": (2, replaced(b'"nit": 40', b'"nit": "40"'), "its digest is"),
    "no JSON": (3, lambda line: line[:-9] + b"\n", "line 3, is damaged .JSONDecodeError"),
    "no run": (3, lambda line: b"{}\n", "line 3, is damaged .KeyError: 'digest'"),
    "a list": (3, lambda line: b"[]\n", "line 3, is damaged"),
    "too deep": (3, lambda line: b"[" * 100_000 + b"\n", "line 3, is damaged"),
    "no digest": (3, lambda line: line.split(b', "digest"')[0] + b"}\n", "'digest'"),
    "no settings": (1, lambda line: b"{}\n", "line 1, is damaged or of version 0.2"),
    "settings for a run": (3, None, "line 3, is damaged .ValueError: it has no run"),
    "a run for the settings": (1, None, "line 1, is damaged or of version 0.2"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_edited_is_refused_in_a_sentence(written, name):
    number, change, words = CHANGES[name]
    directory, _ = written
    other = lines_of(directory)[1 if number == 1 else 0]
    edited(directory, number, change or (lambda line: other))
    with pytest.raises(ValueError, match=f"Cannot resume: .*{words}") as refusal:
        resuming.read(ASKED, PROBLEMS, directory)
    assert "\n" not in str(refusal.value)


def test_files_of_an_older_version_are_refused_in_a_sentence(written):
    directory, _ = written
    (directory / store.RUNS).unlink()
    with pytest.raises(ValueError, match="no runs.jsonl: it was written by version 0.2"):
        resuming.read(ASKED, PROBLEMS, directory)
    with pytest.raises(ValueError, match="already holds results"):
        comparing.initial_results(ASKED, PROBLEMS, directory, resume=False)


def test_files_for_readers_are_not_read(written):
    directory, found = written
    shutil.rmtree(directory / store.CURVES)
    (directory / store.RESULTS).unlink()
    again = resuming.read(ASKED, PROBLEMS, directory)
    assert again.records.keys() == found.records.keys()


def test_nothing_is_changed_by_being_stored(written):
    directory, found = written
    before = copy.deepcopy(store.as_dict(found))
    assert (
        store.as_dict(resuming.read(ASKED, PROBLEMS, directory))["runs"] == before["runs"]
    )


# Runs that end one by one.


def recorded(directory, number):
    """Keeps the first runs of a comparison of 100 seeds."""
    asked = dataclasses.replace(ASKED, seeds=100, baselines=())
    found = Results(asked, PROBLEMS, seconds=0.0)
    kept = store.Store(found, directory)
    for seed in range(number):
        found.records[key_of("relu", seed)] = outcome("relu", seed, 0.1 * (seed + 1))
        found.seconds += 1.0
        kept.add(key_of("relu", seed))
    return found


def test_results_are_written_seldom_and_no_run_is_missing(tmp_path, monkeypatch):
    written, write = [], store.write_results
    monkeypatch.setattr(
        store, "write_results", lambda results, _: (written.append(len(results.records)),
                                                    write(results, _))
    )  # fmt: skip
    found = recorded(tmp_path, 40)
    # A quarter more than there was each time: the sum is at most five times the last.
    assert written == [1, 2, 3, 4, 6, 8, 11, 14, 18, 23, 29, 37]
    again = resuming.read(found.settings, PROBLEMS, tmp_path)
    assert again.records.keys() == found.records.keys() and again.seconds == 40.0
    for key, one in found.records.items():
        assert again.records[key].run == one.run
        assert again.records[key].learning == one.learning


def test_a_line_without_its_end_is_a_run_to_make_again(tmp_path):
    found = recorded(tmp_path, 40)
    path = tmp_path / store.RUNS
    content = path.read_bytes()
    head, *runs = content.splitlines(keepends=True)
    assert len(runs) == 40
    for end, number in (
        (-1, 39),
        (-100, 39),
        (len(head) + len(runs[0]), 1),
        (len(head), 0),
    ):
        path.write_bytes(content[:end])
        again = resuming.read(found.settings, PROBLEMS, tmp_path)
        assert len(again.records) == number
    path.write_bytes(content[: len(head) - 1])
    with pytest.raises(ValueError, match="damaged .it has no settings"):
        resuming.read(found.settings, PROBLEMS, tmp_path)


def test_a_run_is_appended_and_the_first_of_a_call_writes_all(tmp_path):
    found = recorded(tmp_path, 3)
    inode = (tmp_path / store.RUNS).stat().st_ino
    again = resuming.read(found.settings, PROBLEMS, tmp_path)
    kept = store.Store(again, tmp_path)
    for seed in (3, 4):
        again.records[key_of("relu", seed)] = outcome("relu", seed, 0.5)
        kept.add(key_of("relu", seed))
    assert len(lines_of(tmp_path)) == 6
    assert (tmp_path / store.RUNS).stat().st_ino != inode


def test_measurements_are_apart_evenly_and_end_with_the_run():
    measured = []

    def errors_now():
        measured.append(True)
        return {"y_mse": 0.25, "dy_mse": None, "d2y_mse": float("inf")}

    monitor = learning.LearningMonitor(errors_now, epochs=1000)
    for iteration in range(10, 760, 10):
        monitor.after(iteration, 1.0 / 3.0)
    monitor.at_end(757, 0.5)
    monitor.at_end(757, 0.5)
    curve = monitor.curve
    assert curve["iteration"][:3] == [10, 30, 50]
    assert curve["iteration"][-2:] == [750, 757]
    assert curve["loss"][0] == 0.333333 and curve["cpu_seconds"][0] == 0.0
    assert curve["dy_mse"] == curve["d2y_mse"] == [None] * len(measured)
    assert {len(column) for column in curve.values()} == {len(measured)}


def test_what_killed_processes_left_is_removed(written):
    directory, found = written
    name = f"results.json.{atomic_files._host_name()}.{2**22 + 1}.{'0' * 16}.partial"
    places = [directory / f".{name}", directory / store.CURVES / f".{name}"]
    for place in places:
        place.write_text("half")
    comparing.initial_results(ASKED, PROBLEMS, directory, resume=True)
    assert not any(place.exists() for place in places)


def test_no_file_is_written_through_a_link(tmp_path):
    comparison = Comparison(made_up({"tanh": [0.1, 0.2]}))
    saved = comparison.save(tmp_path / "saved")
    names = [each.relative_to(saved) for each in saved.rglob("*") if each.is_file()]
    assert {"results.json", "results.csv", "report.html", "summary.png", "tanh.png"} <= {
        str(name) for name in names
    }
    (tmp_path / "out" / "curves").mkdir(parents=True)
    for number, name in enumerate(names):
        (tmp_path / str(number)).write_bytes(b"mine")
        (tmp_path / "out" / name).symlink_to(tmp_path / str(number))
    comparison.save(tmp_path / "out")
    for number, name in enumerate(names):
        assert (tmp_path / str(number)).read_bytes() == b"mine"
        assert not (tmp_path / "out" / name).is_symlink()


def test_no_curves_are_written_through_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "curves").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="curves is a link"):
        Comparison(made_up({"tanh": [0.1, 0.2]})).save(tmp_path / "out")
    with pytest.raises(ValueError, match="curves is a link"):
        keras_smooth.compare(["tanh"], seeds=1, epochs=1, out=tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_versions_of_packages_that_are_installed_under_other_names(monkeypatch):
    """As tensorflow-cpu, tf-nightly and keras-nightly are."""
    usual = environment.versions()

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert environment.versions() == usual
