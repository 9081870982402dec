"""The page of audits of known models: its check by differences, and how rows are read."""

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


def _model_maker(*makers):
    """Returns a function that makes a model with layers between its first and its last."""

    def make():
        layers = L.Dense(8, "tanh"), *(maker() for maker in makers), L.Dense(2)
        return keras.Sequential([keras.Input((3,)), *layers])

    return make


@pytest.mark.parametrize(
    ("model", "lower", "upper"),
    [
        # Differences in float64 with two steps, one ten times the other.
        (_model_maker(), 0.0, 1e-6),
        # TensorFlow's second derivative is wrong by more than a percent.
        (_model_maker(L.LayerNormalization), 1e-2, 10.0),
    ],
)
def test_differences_detect_a_wrong_second_derivative(model, lower, upper):
    first, second = audits.agreement(audits.made(model, "float64"))
    assert first < 1e-6 and lower <= second < upper


def test_differences_are_taken_in_the_given_mode():
    model = audits.made(_model_maker(L.BatchNormalization), "float64")
    inference, training = audits.agreement(model), audits.agreement(model, training=True)
    # Statistics of four samples are steep, so that differences have fewer digits.
    assert max(*inference, training[0]) < 1e-5 and training[1] > 1e-2


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_differences_use_steps_smaller_than_linear_pieces(activation):
    # Pieces that meet at thousands of places along the line.
    model = _model_maker(lambda: L.Dense(2000, "tanh"), lambda: L.Dense(2000, activation))
    # Differences in float64 with steps that are small enough.
    assert max(audits.agreement(audits.made(model, "float64"))) < 1e-5


def test_batch_normalization_statistics_are_those_of_a_batch():
    model = audits.made(_model_maker(L.BatchNormalization), "float32")
    normalization = model.layers[1]
    assert normalization.momentum == 0.99
    assert not np.allclose(normalization.moving_variance, 1.0)
    assert keras.config.floatx() == "float32"


def test_rows_of_the_page_are_read_back():
    errors = ["1e-09", "2e-08", "3e-09", "unsettled"]
    rows = [["A", "proven", "faulty", "X (wrong in training), Y (not smooth)", "1.0", *errors],
            ["KerasHub B", "proven", "proven", "", "2.0", *errors]]  # fmt: skip
    assert list(audits.committed(audits.page(rows)).values()) == rows
