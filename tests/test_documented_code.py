"""Each block of code in README.md and on the site runs alone, with short fits."""

import codeop
import dataclasses
import functools
import inspect
import re
from pathlib import Path

import keras
import pytest
from made_up_comparison import made_up

import keras_smooth
from keras_smooth.comparison.records import store

ROOT = Path(__file__).parent.parent
# Pages whose code has a test of its own.
TESTED_ELSEWHERE = {"CONTRIBUTING.md", "results.md"}
WRITTEN_BY_SPHINX = {"_build", "gallery", "generated"}
# Code that is not run as a block: scripts, which other tests run, and code of other libraries.
NOT_RUN = r"(?<!<!-- script -->\n)(?<!<!-- other library -->\n)"
TUTORIALS = sorted((ROOT / "examples" / "tutorials").glob("*.py"))


def blocks(page):
    """Returns the blocks of Python on a page that must run."""
    return re.findall(rf"{NOT_RUN}```python\n(.*?)```", page.read_text(), re.DOTALL)


def pages():
    """Returns all pages with such blocks."""
    files = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("benchmarks/*.md"),
    ]
    return [
        page
        for page in sorted(files)
        if page.name not in TESTED_ELSEWHERE
        and not WRITTEN_BY_SPHINX & set(page.relative_to(ROOT).parts)
        and blocks(page)
    ]


PAGES = pages()
BLOCKS = [
    pytest.param(page, block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page), 1)
]


def limited_to_two_epochs(function, **overrides):
    """Returns a function that trains for two epochs at most, since only the API is tested."""

    @functools.wraps(function)
    def train(*args, epochs=1, **arguments):
        if resample := arguments.get("resample"):
            arguments["resample"] = dataclasses.replace(resample, every=1)
        return function(*args, epochs=min(epochs, 2), **{**arguments, **overrides})

    return train


def without_jit_compile(fit):
    """Returns `fit` of a Keras model without XLA, which takes seconds to compile a step."""

    @functools.wraps(fit)
    def train(model, *args, **arguments):
        model.jit_compile = False
        return fit(model, *args, **arguments)

    return train


@pytest.fixture
def run(tmp_path, monkeypatch, without_xla):
    """Returns a function that runs code in a namespace and a folder of its own.

    The job of the site runs the tutorials in full, with XLA.
    """
    monkeypatch.chdir(tmp_path)
    fit_lbfgs = limited_to_two_epochs(keras_smooth.fit_lbfgs, jit_compile=False, verbose=0)
    monkeypatch.setattr(keras_smooth, "fit_lbfgs", fit_lbfgs)
    # The programs of a small network are traced in a fraction of the time, and the least of
    # them is that of L-BFGS.
    small = dict(architecture="1x4", method="lbfgs")
    monkeypatch.setattr(
        keras_smooth, "compare", limited_to_two_epochs(keras_smooth.compare, **small)
    )
    monkeypatch.setattr(
        keras.Model, "fit", limited_to_two_epochs(without_jit_compile(keras.Model.fit))
    )

    def run(code, page):
        names = {"__name__": "__main__"}
        exec(compile(code, page.name, "exec"), names)
        return names

    return run


def test_pages_with_code_are_collected():
    """The patterns above still match: README.md has one block, and the guides have some."""
    assert [page.name for page in PAGES].count("README.md") == 1
    assert len(BLOCKS) > 10


@pytest.mark.slow
@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_block_runs_in_its_own_namespace(run, page, block):
    for package in needed_packages(page):
        pytest.importorskip(package)
    run(block, page)


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_block_can_be_pasted_into_an_interpreter(page, block):
    """Interpreters before Python 3.13 read lines: a blank line ends an indented block."""
    if re.search(r"^class ", block, re.MULTILINE):
        pytest.skip("there are blank lines between the methods of a class")
    compiled, lines = codeop.CommandCompiler(), []
    for line in [*block.splitlines(), ""]:
        lines.append(line)
        if compiled("\n".join(lines), symbol="single"):
            lines = []
    assert lines == []


@pytest.mark.parametrize(
    "term", ["PINN", "second derivative", "Hessian", "forces", "L-BFGS", "Sobolev"]
)
def test_first_pages_contain_search_terms(term):
    for page in (ROOT / "README.md", ROOT / "docs" / "index.md"):
        assert term in page.read_text()


def needed_packages(page):
    """Returns the additional packages that the code of a page needs."""
    return re.findall("<!-- needs (.*) -->", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_have_the_install_command_of_needed_packages(page):
    code = "".join(blocks(page))
    patterns = {
        "tensorboard": r"TensorBoard\(|log_dir=",
        "keras_tuner": "import.* keras_tuner",
    }
    assert needed_packages(page) == [
        name for name, pattern in patterns.items() if re.search(pattern, code)
    ]
    for package in needed_packages(page):
        assert f"`pip install {package.replace('_', '-')}`" in page.read_text()


def test_code_for_results_reads_saved_results(run, tmp_path):
    results = made_up({"tanh": [1e-3, 1e-4]})
    (tmp_path / "comparison").mkdir()
    store.save(results, tmp_path / "comparison")
    page = ROOT / "docs" / "results.md"
    (block,) = blocks(page)
    names = run(block, page)
    (line,) = names["plt"].gca().lines
    names["plt"].close("all")
    assert list(line.get_ydata()) == names["runs"][0]["learning"]["d2y_mse"]


def test_table_of_operators_has_public_names_and_arguments():
    page = (ROOT / "docs" / "operators_elsewhere.md").read_text()
    tables = page.partition("## What other libraries have")[0]
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|", tables, re.MULTILINE)
    cells = [cell for cell in rows if cell not in ("keras_smooth", "---")]
    assert cells
    for cell in cells:
        # Links whose text is a function, or a function with an argument.
        names = re.findall(r"\[`(\w+)(?:\((\w+)=\))?`\]", cell)
        assert names, cell
        for name, argument in names:
            arguments = inspect.signature(getattr(keras_smooth, name)).parameters
            assert not argument or argument in arguments


@pytest.fixture
def eager_fit(run, monkeypatch):
    """Runs Keras' fit eagerly, one step an epoch: tracing a step takes as long as 200 of them.

    Only of tutorials, whose fits the job of the site traces and compiles.
    """
    fit = keras.Model.fit

    def train(model, *args, **arguments):
        model.run_eagerly = True
        return fit(model, *args, **{"steps_per_epoch": 1, **arguments})

    monkeypatch.setattr(keras.Model, "fit", train)


@pytest.mark.slow
@pytest.mark.usefixtures("eager_fit")
@pytest.mark.parametrize("script", TUTORIALS, ids=lambda script: script.stem)
def test_tutorials_run(run, script):
    run(script.read_text(), script)
