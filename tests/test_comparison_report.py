"""The sentences of the report, from made-up runs."""

import csv
import dataclasses
import io
import itertools
import os
import sys
import types

import numpy as np
import pytest
from keras import ops
from made_up_comparison import key_of, made_up, outcome
from representatives import representatives
from rich.console import Console

import keras_smooth
from keras_smooth.comparison import article, display, problems, report
from keras_smooth.comparison.records.results import Results
from keras_smooth.comparison.report import charts, findings, pages, seeds
from keras_smooth.comparison.report.recommendation import recommended
from keras_smooth.comparison.runs import events, learning
from keras_smooth.comparison.runs.record import Record, Run
from keras_smooth.comparison.settings import RunId, Settings

pytestmark = pytest.mark.usefixtures("without_xla")


def test_recommendation_has_the_best_and_similar_activations():
    text = report.recommended(made_up(
        {"tanh": (1e-5, 4e-5), "gelu": (2e-5, 4e-5), "silu": (1e-3, 1e-3), "relu": (0.9, 0.9)}
    )).text  # fmt: skip
    assert "**tanh** leads" in text and "as good here: gelu" in text and "silu" not in text
    assert "Not for second derivatives: relu" in text


def test_rough_custom_function_is_reported():
    results = made_up(
        {"bent": (0.9, 0.9)}, functions={"bent": lambda x: ops.maximum(x, 0.1 * x)}
    )
    assert findings.not_smooth(results) == ["bent has no continuous second derivative."]


X = np.linspace(0.0, 1.0, 50)
DATA = {"x": X, "y": np.sin(9 * X), "dy": 9 * np.cos(9 * X), "d2y": -81 * np.sin(9 * X)}


def unknown(errors_by_name, spread_by_name, judged_by="y", columns=("x", "y"), **options):
    """Returns results on data of some columns, with errors of one of them."""
    options = {"seeds": 2, "problem": "own data"} | options
    settings = Settings(activations=tuple(errors_by_name), **options)
    data = {name: DATA[name] for name in columns}
    results = Results(settings, problems.load_problems(data), seconds=1.0)
    num_points = len(results.problem.x)
    for name, errors in errors_by_name.items():
        for seed, error in enumerate(errors):
            errors_of_run = {f"{column}_mse": 0.5 for column in columns[1:]}
            errors_of_run[f"{judged_by}_mse"] = error
            run = Run(
                name, seed, False, 1, "m.", 0.5, 9, 9, 0, 1e-9,
                *(errors_of_run.get(key) for key in learning.ERRORS), 1.0,
            )  # fmt: skip
            curve = np.full(num_points, seed * spread_by_name[name] * np.sqrt(2))
            results.records[key_of(name, seed, problem="own data")] = Record(
                run, (curve,) * 3, {}
            )
    return results


def test_without_exact_derivatives_errors_of_y_and_spreads_rank():
    errors = {
        "tanh": (1e-4, 9e-4),
        "gelu": (6e-4, 7e-4),
        "silu": (0.1, 0.1),
        "relu": (0, 0),
    }
    spreads = {"tanh": 0.3, "gelu": 0.2, "silu": 0.1, "relu": 0.0}
    results = unknown(errors, spreads)
    assert results.summary()[0].d2y_spread == pytest.approx(0.3)
    text = report.recommended(results).text
    # gelu is within the range of tanh, and its seeds agree better; silu has large errors.
    assert "y'' is not known here" in text and "**gelu**" in text
    assert "Not for second derivatives: relu" in text and "lost" not in text
    bad_results = unknown({"tanh": (9.0, 9.0)}, spreads)
    assert report.recommended(bad_results).text.startswith("None of these")


# Columns, the one that decides, and its name in the recommendation. The errors of the others
# are those of a bad fit.
CRITERIA = {
    "y": (("x", "y"), "y", "median error of y at points that were held out"),
    "dy": (("x", "y", "dy"), "dy", "median error of y', which was not trained on"),
    "d2y": (("x", "y", "dy", "d2y"), "d2y", "the lowest median error of y''"),
    "d2y without dy": (("x", "y", "d2y"), "d2y", "the lowest median error of y''"),
}


@pytest.mark.parametrize("name", CRITERIA)
def test_highest_known_derivative_is_the_criterion(name):
    columns, judged_by, phrase = CRITERIA[name]
    errors = {"tanh": (1e-2, 1e-2), "gelu": (1e-6, 1e-6), "relu": (0, 0)}
    results = unknown(errors, {"tanh": 0.1, "gelu": 0.2, "relu": 0.1}, judged_by, columns)
    advice = report.recommended(results).text
    assert "**gelu**" in advice and phrase in advice
    trained, problem = results.problem.draw(0)[0], results.problem
    for text in (advice, findings.words("introduction", results)):
        assert ("held out" in text) == (not np.isin(problem.x, trained).any())
    seeds_only = "can be compared between seeds alone" in findings.words(
        "introduction", results
    )
    assert seeds_only == ("d2y" not in columns)
    assert f"Error of {'y' + '&#39;' * problem.known_order} of each" in pages.as_html(
        results
    )


def test_error_larger_than_that_of_0_is_not_recommended():
    # The mean of dy^2 at the 50 points is about 81 / 2 (1 + sin(18) / 18) = 38.8.
    bad = unknown({"tanh": (41.0, 41.0)}, {"tanh": 0.1}, "dy", ("x", "y", "dy"))
    assert report.recommended(bad).text.startswith("None of these")
    good = unknown({"tanh": (37.0, 37.0)}, {"tanh": 0.1}, "dy", ("x", "y", "dy"))
    assert "Use **tanh**" in report.recommended(good).text


# Seeds, epochs, and the beginning of the recommendation.
ADVICE = {
    "as many as by default": (3, 1000, "Use **tanh**:"),
    "the least": (2, 1000, "**tanh** leads:"),
    "one seed": (1, 1000, "A quick look, with 1 seed and 1000 epochs: **tanh** has"),
    "short runs": (3, 999, "A quick look, with 3 seeds and 999 epochs: **tanh** has"),
    "--quick": (1, 100, "A quick look, with 1 seed and 100 epochs: **tanh** has"),
}


@pytest.mark.parametrize("name", ADVICE)
def test_short_comparison_has_no_recommendation(name):
    seeds, epochs, beginning = ADVICE[name]
    errors = {"tanh": (1e-5,) * seeds, "gelu": (1e-3,) * seeds, "relu": (0.9,) * seeds}
    results = made_up(errors)
    results.settings = dataclasses.replace(results.settings, seeds=seeds, epochs=epochs)
    advice = report.recommended(results).text
    assert advice.startswith(beginning)
    assert ("Use" in advice) == beginning.startswith("Use")
    instruction = "for a recommendation use 3 seeds and 1000 epochs or more."
    assert (instruction in advice) == beginning.startswith("A quick look")
    # This is known without any run.
    assert advice.endswith("Not for second derivatives: relu.")
    assert 'class="line best"' in pages.as_html(results)


def test_short_comparison_without_a_good_fit_names_no_activation():
    results = made_up({"tanh": (9.0,)})
    results.settings = dataclasses.replace(results.settings, seeds=1)
    advice = report.recommended(results).text
    assert "none of these is better than a constant so far. More can change" in advice
    assert "recommended for" not in advice


def test_activation_whose_worker_died_is_not_recommended():
    results = made_up({"tanh": (1e-8, 1e-8), "gelu": (1e-5, 1e-5)})
    key = key_of("tanh", 1)
    del results.records[key]
    results.failures[key] = "The run of tanh, seed 1, has failed."
    assert "**gelu**" in report.recommended(results).text
    rows = str(keras_smooth.Comparison(results)).splitlines()
    assert any(row.startswith("tanh ") and row.endswith("1 of 2") for row in rows)


NAMES = [
    "cost_$1_$2.csv",
    "<img src=x onerror=alert(1)>.csv",
    "a[bold] *c* | `d`.csv",
    os.fsdecode(b"\xff\xfe.csv"),
]


@pytest.mark.parametrize("name", representatives(NAMES, NAMES[:2]))
def test_special_characters_of_file_names_are_escaped(tmp_path, name):
    path = tmp_path / name
    path.write_text("x,y,dy,d2y\n" + "".join(f"{i},{i**2},{2 * i},2\n" for i in range(101)))
    results = made_up({"tanh": (1e-5, 4e-5)}, problem=str(path))
    text = (
        keras_smooth.Comparison(results).save(tmp_path / "out") / report.MARKDOWN
    ).read_text()
    assert "<img" not in text
    title = text.splitlines()[0]
    assert "|" not in title.replace(r"\|", "") and "`" not in title.replace(r"\`", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "utf-8"])
def test_terminal_output_has_no_control_characters_in_any_encoding(
    tmp_path, monkeypatch, encoding
):
    path = tmp_path / "\u00e9\u20ac\U0001f600\x1b[31m\x07.csv"
    path.write_text("x,y\n" + "".join(f"{i},{i**2}\n" for i in range(101)))
    results = made_up({"tanh": (1e-5, 4e-5)}, problem=str(path))
    buffer = io.BytesIO()
    with io.TextIOWrapper(buffer, encoding=encoding) as file:
        console = display.console(file=file)
        monkeypatch.setattr("sys.stdout", file)
        keras_smooth.Comparison(results).show()
        with display.Display(1, results.settings, console) as live:
            live.handle(events.Died(key_of("tanh", problem=str(path)), f"of {path}", True))
        file.flush()
        output = buffer.getvalue()
    assert b"\x1b" not in output and b"\x07" not in output
    assert b"[31m" in output and b"is tried once more" in output.replace(b"\n", b" ")


@pytest.mark.parametrize("width", ["0", "1", "7"])
def test_text_is_printed_at_any_width(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    text = io.StringIO()
    display.print_text(display.console(file=text), "3 runs")
    assert text.getvalue() == "3 runs\n"


def test_printed_runs_name_the_levels_that_differ():
    results = made_up({"sigmoid": (1e-5,)}, baselines=("adam",))
    text = io.StringIO()
    with display.Display(3, results.settings, Console(file=text, width=200)) as live:
        for run in (
            key_of("sigmoid"), key_of("sigmoid", 1, initializer="glorot_uniform"),
            key_of("sigmoid", method="adam"),
        ):  # fmt: skip
            record = results.records_of("sigmoid")[0]
            live.handle(events.Progress(run, 5, 0.1))
            live.handle(events.Finished(run, record))
    assert [line.split(":")[0] for line in text.getvalue().splitlines()] == [
        "sigmoid, seed 0",
        "sigmoid, seed 1, from glorot_uniform",
        "sigmoid, seed 0, by adam",
    ]


@pytest.mark.parametrize("quiet", [False, True])
def test_notebook_progress_updates_one_display(monkeypatch, quiet):
    displayed = []

    def display_(shown, raw, display_id):
        displayed.append(shown["text/plain"])
        return types.SimpleNamespace(
            update=lambda s, raw: displayed.append(s["text/plain"])
        )

    notebook = types.SimpleNamespace(
        get_ipython=lambda: types.SimpleNamespace(kernel="a kernel"),
        display=types.SimpleNamespace(display=display_),
    )
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    results = made_up({"tanh": (1e-5, 4e-5)})
    console = Console(file=io.StringIO(), width=200, quiet=quiet)
    with display.Display(2, results.settings, console) as live:
        live.handle(events.Progress(key_of("tanh"), 5, 0.1))
        live.handle(events.Finished(key_of("tanh"), results.records_of("tanh")[0]))
    expected = [
        "all runs: 0 of 2 runs\ntanh, seed 0: iteration 5, loss 1.0e-01",
        "all runs: 1 of 2 runs",
    ]
    assert displayed == ([] if quiet else expected)


def test_report_has_tables_of_all_variants():
    results = made_up(
        {"tanh": (1e-5, 4e-5), "hard_tanh": (None, None)},
        problem=("gaussian", "sine"),
        dtype=("float64", "float32"),
    )
    for name, value in (("tanh", 0.5), ("softplus", 1e-6)):
        results.settings = dataclasses.replace(
            results.settings, activations=("tanh", "softplus", "hard_tanh")
        )
        for variant in results.settings.variants():
            record = outcome(results, name, 0, value, True)
            if variant.dtype == "float32":
                results.records[RunId(name, variant, 0)] = record
    finding = findings.variants(results)
    assert finding.rows[0] == ["problem", "dtype", "best", "MSE y", "MSE y'", "MSE y''"]
    bests = {tuple(row[:2]): row[2] for row in finding.rows[1:]}
    assert bests == {
        ("gaussian", "float64"): "tanh", ("gaussian", "float32"): "softplus",
        ("sine", "float64"): "tanh", ("sine", "float32"): "softplus",
    }  # fmt: skip
    tables = findings.tables_of_variants(results)
    assert list(tables) == ["float32", "sine", "sine, float32"]
    assert [row[0] for row in tables["float32"][1:]] == ["tanh", "softplus", "hard_tanh"]
    for text in (pages.as_markdown(results), pages.as_html(results)):
        assert "What the factors change" in text and "sine, float32" in text
    assert "What the factors change" not in pages.as_markdown(
        made_up({"tanh": (1e-5,)}), []
    )
    for sentence, problem in zip(report.sentences(results)[::2], ("gaussian", "sine")):
        assert sentence.startswith(f"{problem}: ") and "tanh" in sentence
        assert sentence in finding.text
    by_variant = keras_smooth.Comparison(results).variants
    assert [comparison.summary[0].d2y_mse for comparison in by_variant.values()][::2] == [
        2.5e-5
    ] * 2
    assert "--problem gaussian sine" in findings.command(results)


@pytest.mark.parametrize("name", ["franke", "gaussian_3d"])
def test_report_of_a_problem_in_several_dimensions(tmp_path, name):
    results = made_up({"tanh": (1e-5, 4e-5)}, problem=name)
    report.write(results, tmp_path)
    text = (tmp_path / report.MARKDOWN).read_text()
    assert "gradient and Hessian" in text and "**tanh**" in text
    assert (tmp_path / "tanh.png").stat().st_size > 10_000
    numbers = charts.numbers(results)
    # An error of 0.1 in each entry is 0.1 sqrt(d) for y' and 0.1 d for y'' along the diagonal.
    dim = results.problem.dim
    for order, expected in enumerate((0.1, 0.1 * dim**0.5, 0.1 * dim)):
        (values,) = {*np.round(numbers["activations"][0]["errors"][order], 3)}
        assert values == pytest.approx(expected, abs=1e-3)


def test_lost_derivative_is_not_reported_as_not_known():
    text = pages.as_markdown(made_up({"hard_tanh": (None, None)}), [])
    assert "| lost |" in text and "not known" not in text


def test_errors_above_those_of_0_have_no_recommendation():
    # The mean of the exact y''^2 is 0.93: that is the error of y'' = 0.
    text = report.recommended(made_up({"softmax": (7.5, 7.5)})).text
    assert text.startswith("None of these activations")


def test_failed_activation_is_not_recommended():
    text = report.recommended(
        made_up({"tanh": (1e-9, 1e-9), "gelu": (0.1, 0.1)}, {"tanh"})
    ).text
    assert "**gelu**" in text


@pytest.mark.slow
def test_nearly_constant_initial_network_is_reported():
    # At full depth: the signal vanishes in the eight layers.
    result = keras_smooth.compare(
        ["sigmoid", "tanh"],
        seeds=1,
        epochs=2,
        initializer="glorot_uniform",
        method="lbfgs",
    )
    sigmoid, tanh = (result.results.runs(name)[0].signal for name in ("sigmoid", "tanh"))
    # findings: 0.076 after the first layer, 2.9e-6 after the last.
    assert sigmoid < 1e-3 < 0.1 < tanh
    text = pages.as_markdown(result.results)
    assert (
        "sigmoid: the initial network is nearly constant" in text
        and "tanh: the initial" not in text
    )


def test_failures_are_listed_and_counted():
    results = made_up({"tanh": (1e-9, 1e-9)}, {"tanh"})
    assert results.summary()[0].failures == 2
    text = pages.as_markdown(results)
    assert "tanh, seed 0, ended at iteration 9" in text


def test_median_record_is_that_of_the_median_seed():
    results = made_up({"tanh": (3.0, 1.0)})
    assert results.median_record("tanh").run.seed == 1


def test_article_table_has_its_six_activations():
    assert list(article.MSE) == ["relu", "tanh", "sigmoid", "softplus", "selu", "elu"]


# Significance of differences between seeds.


def enumerated_p_value(low, high):
    """Returns the p-value by enumerating all choices of as many values."""
    values = np.array([*low, *high])
    ranks = [np.mean(np.flatnonzero(np.sort(values) == value)) for value in values]
    sums = [sum(choice) for choice in itertools.combinations(ranks, len(low))]
    return np.mean(np.array(sums) <= sum(ranks[: len(low)]))


@pytest.mark.parametrize("seed", range(20))
def test_p_value_agrees_with_enumeration(seed):
    rng = np.random.default_rng(seed)
    low, high = (rng.integers(0, 7, size=rng.integers(1, 6)) / 7 for _ in range(2))
    # At most 252 choices each, counted in float64.
    assert seeds.p_value(low, high) == pytest.approx(
        enumerated_p_value(low, high), rel=1e-12
    )


def test_p_value_has_known_values():
    # Separate samples are one choice of many; equal ones every choice.
    assert seeds.p_value([1, 2, 3], [4, 5, 6]) == pytest.approx(1 / 20, rel=1e-12)
    assert seeds.p_value([1, 2, 3, 4], [5, 6, 7, 8, 9]) == pytest.approx(1 / 126, rel=1e-12)
    assert seeds.p_value([1.0] * 3, [1.0] * 3) == 1.0
    assert seeds.p_value([4, 5, 6], [1, 2, 3]) == 1.0
    # Thousands of seeds are reduced to as many as matter.
    assert seeds.p_value(np.arange(5000.0), np.arange(5000.0) + 0.5) > 0.3


# Errors of y'' of two activations, and the text of the banner.
BANNERS = {
    "apart": ((1e-6, 2e-6, 3e-6), (4e-6, 5e-6, 6e-6), ""),
    "one overlaps": (
        (1e-6, 2e-6, 5e-6), (4e-6, 5e-6, 6e-6),
        "tanh and softplus are not told apart by these 3 seeds (exact Wilcoxon-Mann-Whitney "
        "test, one-sided, at 5%).",
    ),
    "two seeds": (
        (1e-8, 1e-8), (1e-3, 1e-3), "by these 2 seeds (exact Wilcoxon-Mann-Whitney test, "
        "one-sided, at 5%). It takes 3 seeds or more to tell any apart.",
    ),
    "one seed": ((1e-8,), (1e-3,), "This is a quick look: 1 seed, 1000 epochs."),
}  # fmt: skip


@pytest.mark.parametrize("name", BANNERS)
def test_banner_appears_if_there_is_no_recommendation(name):
    best, other, phrase = BANNERS[name]
    results = made_up({"tanh": best, "softplus": other, "relu": (0.9,) * len(best)})
    results.settings = dataclasses.replace(results.settings, seeds=len(best))
    banner = recommended(results).banner
    assert phrase in banner and bool(phrase) == bool(banner)
    for text in (pages.as_markdown(results), pages.as_html(results)):
        assert ("No recommendation." in text) == bool(banner)
    assert banner in str(keras_smooth.Comparison(results))


def test_medians_are_written_as_csv_and_latex(tmp_path):
    results = made_up({"hard_tanh": (None, None), "tanh": (1e-5, 3e-5)})
    report.write(results, tmp_path)
    with (tmp_path / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["activation"] for row in rows] == ["hard_tanh", "tanh"]
    assert float(rows[1]["d2y_mse"]) == 2e-5 and rows[0]["d2y_mse"] == ""
    lines = (tmp_path / "summary.tex").read_text().splitlines()
    assert lines[4].startswith(r"hard\_tanh & $C^0$ & ") and lines[4].endswith(r"& -- \\")
    assert lines[5].endswith(r"$2.0 \times 10^{-5}$ \\") and r"$C^\infty$" in lines[5]
    text = pages.as_html(results)
    assert r"hard\_tanh &amp; $C^0$" in text and "hard_tanh,0,2,0," in text
