"""tools/other_projects.py: its reference derivatives, outcomes and page."""

import importlib
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_smooth

TOOLS = Path(__file__).parent.parent / "tools"


@pytest.fixture
def import_tool(monkeypatch):
    """Returns a function that imports a script of the tools, for one test."""
    monkeypatch.setattr(sys, "path", [str(TOOLS), str(TOOLS / "projects"), *sys.path])
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) & {"trial", "other_projects", "version_matrix"} - before:
        del sys.modules[name]


def steep(x):
    return keras.ops.sin(30.0 * x[:, :1]) * x[:, 1:]


def offset(x):
    return 1000.0 + keras.ops.sin(x[:, :1]) * x[:, 1:] ** 2


@pytest.mark.parametrize("function", [steep, offset])
def test_differences_agree_with_derivatives(function, import_tool, rng):
    trial = import_tool("trial")
    x = rng.uniform(0.5, 1.0, size=(4, 2))
    call, z = trial.by_one_input(function, x, None)
    # Sixth order in float64: a tenth of the tolerance of the page.
    limit = trial.TOLERANCE / 10
    jacobian, laplacian = (
        keras_smooth.jacobian(function, x),
        keras_smooth.laplacian(function, x),
    )
    assert trial.relative(jacobian, trial.slopes(call, z)) < limit
    assert trial.relative(laplacian, trial.trace(call, z)) < limit
    v = rng.normal(size=x.shape)
    along = keras_smooth.directional(function, x, v, 2)[2]
    assert trial.relative(along, trial.differences(call, z, v, trial.SECOND, 2)) < limit
    assert trial.relative(trial.contracted(function, x, None, v), along) < 1e-12


OUTCOMES = {
    "wrong": lambda: 2e-5,
    "right": lambda: 1e-6,
    "runs: 3": lambda: "runs: 3",
    "refused: `engine`": lambda: keras_smooth.gradient(steep, np.ones((1, 2)), engine="x"),
    "fails: KeyError: 'theirs'": lambda: {}["theirs"],
    "fails: ValueError: of others": lambda: exec("raise ValueError('of others')"),
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_outcomes_of_a_trial_are_noted(outcome, import_tool):
    trial = import_tool("trial").Trial("a model")
    trial.note("what", OUTCOMES[outcome])
    ((_, noted, _),) = trial.lines
    assert noted.startswith(outcome)


def test_lines_of_a_project_are_replaced_on_the_page(import_tool, tmp_path, monkeypatch):
    tool = import_tool("other_projects")
    page = tmp_path / "page.md"
    head = "| " + " | ".join(tool.COLUMNS) + " |"
    page.write_text(
        f"# Title\n\n{head}\n| --- |\n| keras-sig 1 | old |\n| a 1 | b |\n\nEnd\n"
    )
    monkeypatch.setattr(tool, "PAGE", page)
    tool.write(tool.Project("keras-sig", ""), [["keras-sig 2", "z|"], ["keras-sig 2", "y"]])
    assert page.read_text().splitlines()[4:] == [
        "| a 1 | b |", "| keras-sig 2 | z\\| |", "| keras-sig 2 | y |", "", "End"
    ]  # fmt: skip


def test_each_project_has_its_script(import_tool):
    tool = import_tool("other_projects")
    scripts = {path.name for path in (TOOLS / "projects").glob("with_*.py")}
    assert {project.script for project in tool.PROJECTS} == scripts
