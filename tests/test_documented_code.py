"""The code of README.md and of the site runs, with short fits."""

import inspect
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from made_up_comparison import made_up

import keras_smooth
from keras_smooth.comparison.records import store

ROOT = Path(__file__).parent.parent
# Pages whose code is complete: no name is taken for granted.
PAGES = [
    ROOT / "docs" / "index.md",
    ROOT / "docs" / "several_devices.md",
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
]
# Pages whose code has a test of its own.
ELSEWHERE = {"README.md", "CONTRIBUTING.md", "results.md"}
TUTORIALS = sorted((ROOT / "examples" / "tutorials").glob("*.py"))
RNG = np.random.default_rng(0)


def blocks(page):
    """Returns the code of a page, but for scripts, which other tests start as a process."""
    alone = r"(?<!<!-- script -->\n)```python\n(.*?)```"
    return re.findall(alone, page.read_text(), re.DOTALL)


def net(num_inputs, dtype="float64"):
    model = keras.Sequential([keras.Input((num_inputs,), dtype=dtype)])
    model.add(keras_smooth.Dense(3, "tanh", dtype=dtype))
    model.add(keras_smooth.Dense(1, dtype=dtype))
    model.compile(loss="mse")
    return model


def wave():
    inputs = {name: keras.Input((1,), name=name, dtype="float64") for name in "xt"}
    return keras.Model(inputs, keras.ops.sin(inputs["x"] - inputs["t"]))


def fit_lbfgs(*args, epochs=3, **arguments):
    """Few iterations, in Python: what is tested is that the words are right."""
    few = {"epochs": min(epochs, 3), "jit_compile": False, "verbose": 0}
    return keras_smooth.fit_lbfgs(*args, **{**arguments, **few})


def parabola():
    x = np.linspace(-1.0, 1.0, 40)[:, None]
    return {
        "x": x,
        "y": x**2,
        "x_test": np.linspace(-1.0, 1.0, 5)[:, None],
        "exact": keras.ops.square,
    }


# A word of the block: the names that it takes for granted.
GIVEN = {
    "DerivativeMonitor(x_test": parabola,
    "EarlyStopping": dict,
    "CSVLogger": dict,
    "objective=terms": lambda: {
        "ops": keras.ops,
        "f": lambda x: keras.ops.sum(x, axis=1, keepdims=True),
        "model": net(2),
        "x": RNG.uniform(size=(20, 2)),
        "edge": RNG.uniform(size=(4, 2)),
    },
    "audit(model)": lambda: {
        "model": net(1),
        "x": np.linspace(-1.0, 1.0, 5)[:, None],
        "t": np.zeros((5, 1)),
        "wave": wave(),
        "energy": net(1),
    },
    "register_jet_rule": dict,
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Returns a function that runs a block in a folder that is thrown away."""
    monkeypatch.chdir(tmp_path)

    def run(block, page, names):
        shorter = re.sub(r"(?<=[ (]epochs=)\d+", "2", block)
        shorter = shorter.replace("keras_smooth.fit_lbfgs", "fit_lbfgs")
        names["fit_lbfgs"] = fit_lbfgs
        exec(compile(shorter, page.name, "exec"), names)

    return run


@pytest.mark.slow
def test_readme(run, tmp_path):
    names, page = {}, ROOT / "README.md"
    for block, (word, given) in zip(blocks(page), GIVEN.items(), strict=True):
        assert word in block
        names.update(given())
        run(block, page, names)
    assert (tmp_path / "errors.png").exists() and (tmp_path / "log.csv").exists()


def needed(page):
    """Returns the packages that the code of a page needs beside this one and its own."""
    return re.findall("<!-- needs (.*) -->", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_say_how_to_install_what_they_need(page):
    code = "".join(blocks(page))
    brings = {
        "tensorboard": r"TensorBoard\(|log_dir=",
        "keras_tuner": "import.* keras_tuner",
    }
    assert needed(page) == [name for name, word in brings.items() if re.search(word, code)]
    for package in needed(page):
        assert f"`pip install {package.replace('_', '-')}`" in page.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages(run, page):
    for package in needed(page):
        pytest.importorskip(package)
    names = {}
    for block in blocks(page):
        run(block, page, names)


def test_results(run, tmp_path):
    found = made_up({"tanh": [1e-3, 1e-4]})
    (tmp_path / "comparison").mkdir()
    store.save(found, tmp_path / "comparison")
    page = ROOT / "docs" / "results.md"
    names = {}
    for block in blocks(page):
        run(block, page, names)
    (line,) = names["plt"].gca().lines
    names["plt"].close("all")
    assert list(line.get_ydata()) == names["runs"][0]["learning"]["d2y_mse"]


def test_no_page_with_code_is_forgotten():
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("benchmarks/*.md"),
    ]
    made = ("_build", "gallery", "generated")
    with_code = {
        page
        for page in pages
        if blocks(page) and not set(made) & set(page.relative_to(ROOT).parts)
    }
    assert {page.name for page in with_code - set(PAGES)} == ELSEWHERE


def test_table_of_operators_has_our_names():
    page = (ROOT / "docs" / "operators_elsewhere.md").read_text()
    tables = page.partition("## What is there")[0]
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|", tables, re.MULTILINE)
    cells = [cell for cell in rows if cell not in ("keras_smooth", "---")]
    assert cells
    for cell in cells:
        # Links whose text is a function, or one with an argument.
        names = re.findall(r"\[`(\w+)(?:\((\w+)=\))?`\]", cell)
        assert names, cell
        for name, argument in names:
            arguments = inspect.signature(getattr(keras_smooth, name)).parameters
            assert not argument or argument in arguments


@pytest.mark.slow
@pytest.mark.parametrize("script", TUTORIALS, ids=lambda script: script.stem)
def test_tutorials(run, script):
    run(script.read_text(), script, {})
