"""The table of audits of known models: its independent check, and how rows are replaced."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("audits", ROOT / "benchmarks" / "audits.py")
audits = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(audits)

L = keras.layers


def _model(*makers):
    """Returns a maker of a model with layers between its first and its last."""

    def make():
        layers = L.Dense(8, "tanh"), *(each() for each in makers), L.Dense(2)
        return keras.Sequential([keras.Input((3,)), *layers])

    return make


@pytest.mark.parametrize(
    ("model", "least", "most"),
    [
        # Of float64 over steps that are ten times one another.
        (_model(), 0.0, 1e-6),
        # TensorFlow's second derivative is wrong by more than a percent.
        (_model(L.LayerNormalization), 1e-2, 10.0),
    ],
)
def test_differences_tell_a_wrong_second_derivative(model, least, most):
    first, second = audits.agreement(audits.made(model, "float64"))
    assert first < 1e-6 and least <= second < most


def test_differences_tell_the_modes_apart():
    model = audits.made(_model(L.BatchNormalization), "float64")
    inference, training = audits.agreement(model), audits.agreement(model, training=True)
    # Statistics of four samples are steep, so that differences have fewer digits.
    assert max(*inference, training[0]) < 1e-5 and training[1] > 1e-2


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_differences_find_steps_between_joints(activation):
    # Pieces that meet at thousands of places along the line.
    many = _model(lambda: L.Dense(2000, "tanh"), lambda: L.Dense(2000, activation))
    # Of float64 over steps that are small enough.
    assert max(audits.agreement(audits.made(many, "float64"))) < 1e-5


def test_statistics_of_a_batch_keep_signals_alive():
    model = audits.made(_model(L.BatchNormalization), "float32")
    statistics = model.layers[1]
    assert statistics.momentum == 0.99
    assert not np.allclose(statistics.moving_variance, 1.0)
    assert keras.config.floatx() == "float32"


def test_rows_of_a_page_are_read_again():
    errors = ["1e-09", "2e-08", "3e-09", "unsettled"]
    rows = [["A", "proven", "faulty", "X (wrong in training), Y (rough)", "1.0", *errors],
            ["KerasHub B", "proven", "proven", "", "2.0", *errors]]  # fmt: skip
    assert list(audits.committed(audits.page(rows)).values()) == rows
