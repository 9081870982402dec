"""The examples run, in a short form, and print errors that make sense."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_article():
    lines = run("article.py", "60").splitlines()
    assert [line.split()[0] for line in lines] == ["relu", "tanh", "softplus"]
    relu, tanh, softplus = (float(line.split()[-1]) for line in lines)
    # ReLU has the error of y'' = 0, whatever it learns: the mean of the exact y''^2.
    assert relu == pytest.approx(0.93, abs=0.01)
    assert tanh < 0.1 * relu and softplus < 0.1 * relu


def test_existing_project():
    found = dict(re.findall(r"(\w+) (\S+)", run("existing_project.py", "30")))
    assert list(found) == ["loss", "y_mse", "dy_mse", "d2y_mse"]
    assert float(found["y_mse"]) < 0.05


def test_vibrations():
    found = dict(line.split() for line in run("vibrations.py", "300").splitlines())
    frequency, exact = float(found["frequency"]), float(found["exact"])
    # 1.2 sqrt(2 / 0.75); 300 iterations learn the curvature to a percent or better.
    assert exact == pytest.approx(1.95959, abs=1e-5)
    assert frequency == pytest.approx(exact, rel=0.02)


@pytest.mark.slow
def test_sobolev():
    plain, sobolev = (
        {key: float(value) for key, value in re.findall(r"(\w+) (\S+e\S+)", line)}
        for line in run("sobolev.py", "200").splitlines()
    )
    # Measured: 0.18 of the plain error after 200 iterations.
    assert sobolev["dy"] < plain["dy"] and sobolev["d2y"] < 0.5 * plain["d2y"]


def test_every_example_is_tested():
    source = Path(__file__).read_text()
    assert all(f'"{path.name}"' in source for path in EXAMPLES.glob("*.py"))


def test_article_is_a_script_of_30_lines():
    lines = (EXAMPLES / "article.py").read_text().splitlines()
    code = [
        line for line in lines if line.strip() and not line.strip().startswith(("#", '"""'))
    ]
    assert len(code) <= 30
