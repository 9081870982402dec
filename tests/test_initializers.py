"""The gain against closed forms, and what the start does to a deep net."""

import math

import keras
import numpy as np
import pytest

import keras_smooth
from keras_smooth import initializers

SMOOTH = ("tanh", "sigmoid", "softplus", "silu", "gelu", "mish", "squareplus", "sin")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tanh", 1.0),
        ("sin", 1.0),
        ("linear", 1.0),
        ("sigmoid", 4.0),
        ("centered_sigmoid", 1.0),
        # He's: E[f'^2] = 1/2 at every variance.
        ("relu", math.sqrt(2.0)),
        # E[exp(2 z)] = exp(2) at variance 1.
        ("exponential", math.exp(-1.0)),
        # E[4 z^2 exp(-2 z^2)] = 4 * 5^(-3/2); the slope at 0 is 0.
        ("gaussian", math.sqrt(5.0**1.5 / 4.0)),
        # The slope at 0 is the larger of the two.
        ("selu", 1 / 1.0507009873554805),
        # Not element by element: left alone.
        ("softmax", 1.0),
        ("glu", 1.0),
    ],
)
def test_gain(name, expected):
    # 100 nodes integrate these to rounding.
    assert initializers.gain(name) == pytest.approx(expected, rel=1e-10)


def test_gain_takes_the_true_slope_at_zero():
    # TensorFlow's slope of Keras' CELU is 2 there; E[f'^2] is below 1.
    assert initializers.gain(keras.activations.celu) == 1.0


def test_gain_against_plain_quadrature():
    z = np.linspace(-12.0, 12.0, 100_001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    slope = 1 / (1 + np.exp(-z))  # of softplus; its mean square grows with the variance
    mean_square = np.sum(slope**2 * density) * (z[1] - z[0])
    assert initializers.gain("softplus") == pytest.approx(mean_square**-0.5, rel=1e-8)


def test_siren_with_frequency_starts_as_sine_without():
    siren = keras_smooth.activations.partial("sin", w0=30.0)
    assert initializers.gain(siren) == pytest.approx(1 / 30)


@pytest.mark.parametrize("name", ["tanh", "sin", "linear"])
def test_start_is_glorots_where_the_gain_is_one(name):
    kernel = initializers.GainScaling(name, seed=3)((20, 20))
    glorot = keras.initializers.GlorotUniform(seed=3)((20, 20))
    np.testing.assert_allclose(kernel, glorot, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_centered_columns_and_variance(dtype):
    kernel = np.asarray(initializers.GainScaling("sigmoid", seed=0)((400, 300), dtype))
    assert kernel.dtype == dtype
    np.testing.assert_allclose(kernel.sum(axis=0), 0.0, atol=1e-4)
    # 16 times Glorot's 2 / (fan_in + fan_out); 120,000 draws scatter by 0.4 %.
    assert kernel.var() == pytest.approx(16 * 2 / 700, rel=0.02)


def test_few_inputs_are_not_centered():
    kernel = np.asarray(initializers.GainScaling("sigmoid", seed=0)((2, 50)))
    assert np.abs(kernel.sum(axis=0)).max() > 0.1


def test_config_round_trip():
    siren = keras_smooth.activations.partial("sin", w0=30.0)
    for activation in ("tanh", "snake", siren):
        start = initializers.GainScaling(activation, seed=5)
        saved = keras.saving.serialize_keras_object(start)
        again = keras.saving.deserialize_keras_object(saved)
        np.testing.assert_array_equal(start((3, 4)), again((3, 4)))


def _hidden_deviations(activation, initializer):
    """Standard deviation over the inputs, in units of f'(0), after each of 8 layers."""
    x = np.linspace(-2.0, 2.0, 101)[:, None].astype("float64")
    deviations = []
    for seed in range(8):
        layer = keras_smooth.Dense(
            20,
            activation,
            kernel_initializer=initializer(activation, seed),
            dtype="float64",
        )
        x = np.asarray(layer(x))
        deviations.append(x.std(axis=0).mean())
    return np.array(deviations)


@pytest.mark.parametrize("activation", SMOOTH)
def test_signal_stays_alive_through_depth(activation):
    default = _hidden_deviations(
        activation, lambda name, seed: initializers.GainScaling(name, seed=seed)
    )
    # Glorot's start of a sigmoid net shrinks it 26,000 times on the way.
    assert default[-1] > 0.02 * default[0]


def test_glorot_kills_the_signal_of_sigmoid():
    glorot = _hidden_deviations(
        "sigmoid", lambda _, seed: keras.initializers.GlorotUniform(seed=seed)
    )
    assert glorot[-1] < 1e-3 * glorot[0]
