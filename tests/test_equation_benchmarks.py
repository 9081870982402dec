"""The benchmarks of operators and of many dimensions have right results, in short forms."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from richardson import derivative

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
import many_dimensions  # noqa: E402
import operators  # noqa: E402


def test_right_hand_side_in_many_dimensions_agrees_with_differences():
    """g = Laplacian(u) + sin(u), with the Laplacian by differences along the axes."""
    rng = np.random.default_rng(0)
    x, coefficients = 0.3 * rng.normal(size=(4, 5)), tf.constant(rng.normal(size=4))

    def u(x):
        return np.asarray(many_dimensions.exact(tf.constant(x), coefficients)[0])

    rows = [derivative(lambda t, v=v: u(x + t * v), 2) for v in np.eye(5)]
    laplacian = sum(value for value, _ in rows)
    g = many_dimensions.exact(tf.constant(x), coefficients)[1]
    error = sum(error for _, error in rows)
    np.testing.assert_allclose(g, laplacian + np.sin(u(x)), atol=1e-9 + 30 * error)


@pytest.mark.slow
def test_training_in_many_dimensions_reduces_the_error(tmp_path):
    """Steps of Adam approach the solution; the error is about 1 before."""
    os.makedirs(tmp_path / "images")
    rows = [many_dimensions.in_a_process(20, 200)]
    assert rows[0]["error"] < 0.2 < 0.8 < rows[0]["before"]
    many_dimensions.figure(rows, tmp_path / "images" / "many_dimensions.png")
    assert "| 20 |" in many_dimensions.page(rows, 200)


@pytest.mark.slow
def test_operators_agree_with_nested_tapes(monkeypatch):
    monkeypatch.setattr(operators, "HIDDEN", 2)
    monkeypatch.setitem(operators.TASKS, "short", ("biharmonic", 2, 10, 1))
    rows = operators.compare("short", rounds=1, peers="")
    assert [row["library"] for row in rows] == ["keras_smooth", "nested tapes"]
    assert all(row["ratio"] > 0 for row in rows)
    assert "| short | nested tapes |" in operators.table(rows)
