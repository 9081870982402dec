"""The table of audits of known models: its independent check, and how rows are replaced."""

import importlib.util
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("audits", ROOT / "benchmarks" / "audits.py")
audits = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(audits)

L = keras.layers


def _model(*layers):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), L.Dense(8, "tanh"), *layers, L.Dense(2)])


@pytest.mark.parametrize(
    ("model", "least", "most"),
    [
        # Of float64 over the best of the steps.
        (_model, 0.0, 1e-8),
        # TensorFlow's second derivative is wrong by more than a percent.
        (lambda: _model(L.LayerNormalization()), 1e-2, 10.0),
    ],
)
def test_differences_tell_a_wrong_second_derivative(model, least, most):
    first, second = audits.agreement(model())
    assert first < 1e-8 and least <= second < most


def test_rows_of_a_page_are_read_again():
    rows = [["A", "proven", "faulty", "X (wrong), Y (rough)", "1.0", "1e-09", "2e-08"],
            ["KerasHub B", "proven", "proven", "", "2.0", "", ""]]  # fmt: skip
    assert list(audits.committed(audits.page(rows)).values()) == rows
