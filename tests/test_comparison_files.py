"""Files of a comparison: the schema, and reading back what was saved, of made-up runs."""

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
from keras_smooth.comparison.runs.experiment import errors
from keras_smooth.comparison.runs.record import Record, Run
from keras_smooth.lbfgs.run import atomic_files

PROBLEMS = problems.load_problems("gaussian")
PROBLEM = PROBLEMS["gaussian"]
SETTINGS = settings.Settings(activations=("sigmoid", "relu"), seeds=2, baselines=("adam",))


def made_record(activation, seed, error, problem=PROBLEM):
    curves = tuple(exact + error for exact in problem.exact)
    curves = curves if activation != "relu" else (*curves[:2], None)
    curve = {name: [0.5, None] for name in learning.COLUMNS}
    curve |= {"iteration": [20, 40], "cpu_seconds": [0.0, 1.5]}
    run = Run(
        activation, seed, True, 1, "[1,\n 2]", 0.5, 40, 44, 0, 1e-9,
        **errors(problem, curves), seconds=1.0,
    )  # fmt: skip
    return Record(run, curves, curve)


@pytest.fixture
def saved(tmp_path):
    results = Results(SETTINGS, PROBLEMS, seconds=2.0)
    for i, key in enumerate([
        key_of("sigmoid", 0), key_of("sigmoid", 1),
        key_of("relu", 0), key_of("sigmoid", initializer="glorot_uniform"),
        key_of("sigmoid", method="adam"),
    ]):  # fmt: skip
        results.records[key] = made_record(key.activation, key.seed, 0.1 * (i + 1))
    store.save(results, tmp_path)
    return tmp_path, results


def content_of(directory):
    return json.loads((directory / store.RESULTS).read_text())


def test_saved_results_match_the_schema_and_are_read_back(saved):
    directory, results = saved
    content = content_of(directory)
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(content, SCHEMA)
    assert list(content["beside"]["methods"]) == ["adam"]
    loaded = resuming.read(SETTINGS, PROBLEMS, directory)
    assert loaded.records.keys() == results.records.keys() and loaded.seconds == 2.0
    for key, record in results.records.items():
        assert loaded.records[key].run == record.run
        assert loaded.records[key].learning == record.learning
        for loaded_curve, curve in zip(loaded.records[key].curves, record.curves):
            np.testing.assert_array_equal(loaded_curve, curve)


def test_saved_variants_are_read_back(tmp_path):
    x = np.linspace(0.0, 1.0, 12)
    paths = [tmp_path / folder / "data.csv" for folder in "ab"]
    for scale, path in enumerate(paths, start=1):
        path.parent.mkdir()
        rows = [f"{a},{scale * a**2},{2 * scale * a},{2 * scale}" for a in x]
        path.write_text("\n".join(["x,y,dy,d2y", *rows]))
    loaded_problems = problems.load_problems(["gaussian", *map(str, paths)])
    chosen = settings.Settings(
        activations=("sigmoid",), seeds=1, problem=tuple(loaded_problems),
        dtype=("float64", "float32"), initializer=("default", "glorot_uniform"),
        baselines=("adam",),
    )  # fmt: skip
    results = Results(chosen, loaded_problems)
    for i, key in enumerate(chosen.runs()):
        results.records[key] = made_record(
            key.activation, 0, 0.1 * i, loaded_problems[key.variant.problem]
        )
    store.save(results, tmp_path)
    content = content_of(tmp_path)
    jsonschema.validate(content, SCHEMA)
    assert len(content["variants"]) == 11
    assert content["settings"]["dtype"] == "float64"
    assert content["settings"]["factors"]["dtype"] == ["float64", "float32"]
    names = {path.name for path in (tmp_path / store.CURVES).iterdir()}
    assert len(names) == 13 and "sigmoid-data2-float32-seed0.csv" in names
    loaded = resuming.read(chosen, loaded_problems, tmp_path)
    assert loaded.records.keys() == results.records.keys()
    assert all(
        loaded.records[key].run == results.records[key].run for key in results.records
    )
    with open(tmp_path / store.RESULTS_TABLE) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and list(rows[-1].values())[-4:] == [*chosen.variants()[-1]]


@pytest.mark.parametrize("name", ["franke", "gaussian_3d"])
def test_saved_gradients_and_hessians_are_read_back(tmp_path, name):
    loaded_problems = problems.load_problems(name)
    chosen = settings.Settings(activations=("tanh", "relu"), seeds=1, problem=name)
    results = Results(chosen, loaded_problems)
    for i, key in enumerate(chosen.runs()):
        results.records[key] = made_record(
            key.activation, 0, 0.1 + i, loaded_problems[name]
        )
    store.save(results, tmp_path)
    loaded = resuming.read(chosen, loaded_problems, tmp_path)
    for key, record in results.records.items():
        assert loaded.records[key].run == record.run
        for loaded_curve, curve in zip(loaded.records[key].curves, record.curves):
            np.testing.assert_array_equal(loaded_curve, curve)
    head = (tmp_path / store.CURVES / "tanh-seed0.csv").read_text().splitlines()[0]
    assert head.startswith("x1,x2,") and ",d2y1_2," in head


def test_digests_of_all_activations_do_not_warn():
    names = settings.all_activations()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        digests = environment.activation_digests(settings.Settings(activations=names))
    # Also for functions of a whole row.
    assert len({digests[name] for name in ("softmax", "log_softmax", "sparsemax")}) == 3


def test_settings_of_numpy_integers_can_be_stored():
    chosen = settings.Settings(seeds=np.int64(2), epochs=np.uint8(5))
    assert json.loads(json.dumps(chosen.stored()))["seeds"] == 2


NAMES = ["caf\u00e9.csv", os.fsdecode(b"caf\xe9.csv"), 'a,b\n"c".csv', "\u202ex.csv"]


@pytest.mark.parametrize("name", NAMES)
def test_problem_file_of_any_name_is_saved_and_read_back(tmp_path, name):
    path = os.fspath(tmp_path / name)
    with open(path, "w") as file:
        file.write("x,y,dy,d2y\n" + "".join(f"{i},{i**2},{2 * i},2\n" for i in range(12)))
    loaded_problems = problems.load_problems(path)
    chosen = settings.Settings(activations=("tanh",), seeds=1, problem=path)
    results = Results(chosen, loaded_problems)
    key = key_of("tanh", problem=path)
    results.records[key] = made_record("tanh", 0, 0.1, loaded_problems[path])
    journal = store.Store(results, tmp_path)
    journal.add(key)
    journal.write_all()
    (loaded,) = resuming.read(chosen, loaded_problems, tmp_path).records.values()
    assert loaded.run == results.records[key].run
    with open(tmp_path / store.RESULTS_TABLE, encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["problem"] == path.encode(errors="backslashreplace").decode()


def test_learning_curve_is_written_in_one_line(saved):
    text = (saved[0] / store.RESULTS).read_text()
    assert '"iteration": [ 20, 40 ]' in text


def test_csv_columns_end_with_the_variant(saved):
    head = (saved[0] / store.RESULTS_TABLE).read_text().splitlines()[0]
    assert head.endswith("d2y_mse,seconds,problem,dtype,initializer,optimizer")


def journal_lines(directory):
    return (directory / store.RUNS).read_bytes().splitlines(keepends=True)


def edit_line(directory, number, change):
    lines = journal_lines(directory)
    lines[number - 1] = change(lines[number - 1])
    (directory / store.RUNS).write_bytes(b"".join(lines))


def replacement(old, new):
    def change(line):
        assert old in line
        return line.replace(old, new)

    return change


# A line, its edit, and the message.
EDITS = {
    "a setting": (1, replacement(b'"seeds": 2', b'"seeds": 1'), "line 1, .* its digest is"),
    "a version": (1, replacement(b'"keras": "', b'"keras": "9'), "line 1, .* its digest is"),
    "an activation": (2, replacement(b"sigmoid", b"tanh"), "line 2, .* its digest is"),
    "a curve": (2, replacement(b'"curves": [[', b'"curves": [[1.0, '), "its digest is"),
    "a seed": (2, replacement(b'"seed": 0', b'"seed": 1'), "line 2, .* its digest is"),
    "an error": (2, replacement(b'"dy_mse": 0.', b'"dy_mse": 1.'), "its digest is"),
    "a number that nothing else tells": (
        2, replacement(b'"loss": 1e', b'"loss": 2e'), "its digest is"
    ),
    "a learning curve cut short": (2, replacement(b"[20, 40]", b"[20]"), "its digest is"),
    "text for a number": (2, replacement(b'"nit": 40', b'"nit": "40"'), "its digest is"),
    "no JSON": (3, lambda line: line[:-9] + b"\n", "line 3, is damaged .JSONDecodeError"),
    "no run": (3, lambda line: b"{}\n", "line 3, is damaged .KeyError: 'digest'"),
    "a list": (3, lambda line: b"[]\n", "line 3, is damaged"),
    "too deep": (3, lambda line: b"[" * 100_000 + b"\n", "line 3, is damaged"),
    "no digest": (3, lambda line: line.split(b', "digest"')[0] + b"}\n", "'digest'"),
    "no settings": (1, lambda line: b"{}\n", "line 1, is damaged or of version 0.2"),
    "settings for a run": (3, None, "line 3, is damaged .ValueError: it has no run"),
    "a run for the settings": (1, None, "line 1, is damaged or of version 0.2"),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_edited_journal_raises_with_one_sentence(saved, name):
    number, change, message = EDITS[name]
    directory, _ = saved
    other = journal_lines(directory)[1 if number == 1 else 0]
    edit_line(directory, number, change or (lambda line: other))
    with pytest.raises(ValueError, match=f"Cannot resume: .*{message}") as error:
        resuming.read(SETTINGS, PROBLEMS, directory)
    assert "\n" not in str(error.value)


def test_files_of_an_older_version_raise(saved):
    directory, _ = saved
    (directory / store.RUNS).unlink()
    with pytest.raises(ValueError, match="no runs.jsonl: it was written by version 0.2"):
        resuming.read(SETTINGS, PROBLEMS, directory)
    with pytest.raises(ValueError, match="already holds results"):
        comparing.initial_results(SETTINGS, PROBLEMS, directory, resume=False)


def test_resume_reads_the_journal_only(saved):
    directory, results = saved
    shutil.rmtree(directory / store.CURVES)
    (directory / store.RESULTS).unlink()
    loaded = resuming.read(SETTINGS, PROBLEMS, directory)
    assert loaded.records.keys() == results.records.keys()


def test_stored_runs_are_equal_to_the_originals(saved):
    directory, results = saved
    before = copy.deepcopy(store.as_dict(results))
    assert (
        store.as_dict(resuming.read(SETTINGS, PROBLEMS, directory))["runs"]
        == before["runs"]
    )


# Runs that are stored one by one.


def store_runs(directory, number):
    """Stores the first runs of a comparison of 100 seeds."""
    chosen = dataclasses.replace(SETTINGS, seeds=100, baselines=())
    results = Results(chosen, PROBLEMS, seconds=0.0)
    journal = store.Store(results, directory)
    for seed in range(number):
        results.records[key_of("relu", seed)] = made_record("relu", seed, 0.1 * (seed + 1))
        results.seconds += 1.0
        journal.add(key_of("relu", seed))
    return results


def test_results_are_written_rarely_and_no_run_is_lost(tmp_path, monkeypatch):
    sizes, write_results = [], store.write_results
    monkeypatch.setattr(
        store, "write_results", lambda partial, _: (sizes.append(len(partial.records)),
                                                    write_results(partial, _))
    )  # fmt: skip
    results = store_runs(tmp_path, 40)
    # A quarter more each time: the sum is at most five times the last.
    assert sizes == [1, 2, 3, 4, 6, 8, 11, 14, 18, 23, 29, 37]
    loaded = resuming.read(results.settings, PROBLEMS, tmp_path)
    assert loaded.records.keys() == results.records.keys() and loaded.seconds == 40.0
    for key, record in results.records.items():
        assert loaded.records[key].run == record.run
        assert loaded.records[key].learning == record.learning


def test_runs_of_truncated_lines_are_missing_on_resume(tmp_path):
    results = store_runs(tmp_path, 40)
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
        loaded = resuming.read(results.settings, PROBLEMS, tmp_path)
        assert len(loaded.records) == number
    path.write_bytes(content[: len(head) - 1])
    with pytest.raises(ValueError, match="damaged .it has no settings"):
        resuming.read(results.settings, PROBLEMS, tmp_path)


def test_first_run_rewrites_the_journal_and_others_are_appended(tmp_path):
    results = store_runs(tmp_path, 3)
    inode = (tmp_path / store.RUNS).stat().st_ino
    loaded = resuming.read(results.settings, PROBLEMS, tmp_path)
    journal = store.Store(loaded, tmp_path)
    for seed in (3, 4):
        loaded.records[key_of("relu", seed)] = made_record("relu", seed, 0.5)
        journal.add(key_of("relu", seed))
    assert len(journal_lines(tmp_path)) == 6
    assert (tmp_path / store.RUNS).stat().st_ino != inode


def test_learning_curve_is_measured_evenly_and_at_the_end():
    calls = []

    def errors_now():
        calls.append(True)
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
    assert curve["dy_mse"] == curve["d2y_mse"] == [None] * len(calls)
    assert {len(column) for column in curve.values()} == {len(calls)}


def test_partial_files_of_killed_processes_are_removed(saved):
    directory, _ = saved
    name = f"results.json.{atomic_files._host_name()}.{2**22 + 1}.{'0' * 16}.partial"
    paths = [directory / f".{name}", directory / store.CURVES / f".{name}"]
    for path in paths:
        path.write_text("half")
    comparing.initial_results(SETTINGS, PROBLEMS, directory, resume=True)
    assert not any(path.exists() for path in paths)


def test_symbolic_links_are_replaced_not_written_through(tmp_path):
    comparison = Comparison(made_up({"tanh": [0.1, 0.2]}))
    directory = comparison.save(tmp_path / "saved")
    names = [path.relative_to(directory) for path in directory.rglob("*") if path.is_file()]
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


def test_symbolic_link_in_place_of_the_curves_raises(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "curves").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="curves is a link"):
        Comparison(made_up({"tanh": [0.1, 0.2]})).save(tmp_path / "out")
    with pytest.raises(ValueError, match="curves is a link"):
        keras_smooth.compare(["tanh"], seeds=1, epochs=1, out=tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_versions_without_package_metadata_are_found(monkeypatch):
    """tensorflow-cpu, tf-nightly and keras-nightly have metadata under other names."""
    expected = environment.versions()

    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert environment.versions() == expected
