"""The gain against closed forms, and the initial signal of deep nets."""

import math

import keras
import numpy as np
import pytest
from activation_cases import examples

import keras_smooth
from keras_smooth import initializers, registry

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
        # Near 0 it has the slopes s and s a, in half of the cases each.
        ("selu", math.sqrt(2 / (1 + 1.6732632423543772**2)) / 1.0507009873554805),
        ("leaky_relu", math.sqrt(2 / (1 + 0.2**2))),
        # The slope is 1 beyond 1/2, and 0 within.
        ("hard_shrink", math.erfc(math.sqrt(1 / 8)) ** -0.5),
        ("soft_shrink", math.erfc(math.sqrt(1 / 8)) ** -0.5),
        # 1/2 near 0, and less by the tail beyond 6.
        ("relu6", math.sqrt(2.0)),
        # Not element by element: the gain is 1.
        ("softmax", 1.0),
        ("glu", 1.0),
    ],
)
def test_gain_equals_closed_forms(name, expected):
    # Four nodes a panel integrate these to rounding. Slopes near 0 are taken at 1e-8, and
    # leaky_relu has constants of float32.
    assert initializers.gain(name) == pytest.approx(expected, rel=2e-8)


def test_gain_uses_the_true_slope_at_zero():
    # TensorFlow's slope of Keras' CELU is 2 there; E[f'^2] is below 1.
    assert initializers.gain(keras.activations.celu) == pytest.approx(1.0, rel=2e-8)


def test_gain_equals_quadrature():
    z = np.linspace(-12.0, 12.0, 100_001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    slope = 1 / (1 + np.exp(-z))  # of softplus; its mean square grows with the variance
    mean_square = np.sum(slope**2 * density) * (z[1] - z[0])
    assert initializers.gain("softplus") == pytest.approx(mean_square**-0.5, rel=1e-8)


def _plain_mean_square(activation, scale):
    """Returns E[f'(s z)^2] by differences of f and the trapezoidal rule."""
    z = np.linspace(-9.0, 9.0, 72_001) + 1.7e-5
    step = 1e-8
    ends = [np.asarray(activation(scale * z + sign * step)) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    near = np.abs(slope) < 1e3  # The rest jumps there.
    return np.average(np.where(near, slope, 0.0) ** 2, weights=np.exp(-(z**2) / 2))


ELEMENTWISE = {
    row.subject.__name__: row.subject
    for row in registry.activation_rows()
    if not row.mixes and {} in examples(row)
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_gain_keeps_small_changes_near_zero_or_at_variance_one(name):
    gain = initializers.gain(ELEMENTWISE[name])
    amplified = [gain**2 * _plain_mean_square(ELEMENTWISE[name], s) for s in (1e-4, 1.0)]
    # Errors of the trapezoidal rule at steps of 2.5e-4, and changes of the slope within 1e-4.
    assert max(amplified) == pytest.approx(1.0, rel=2e-3)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_wide_layer_does_not_amplify_small_changes(name, rng):
    kernel = np.asarray(initializers.GainScaling(ELEMENTWISE[name], seed=0)((1500, 1500)))
    amplified = []
    for scale in (1e-3, 1.0):
        z, change = scale * rng.normal(size=1500), 1e-7 * rng.normal(size=1500)
        ends = [np.asarray(ELEMENTWISE[name](z + s * change)) for s in (1, -1)]
        change_of_output = (ends[0] - ends[1]) / 2 @ kernel.astype("float64")
        amplified.append(np.linalg.norm(change_of_output) / np.linalg.norm(change))
    # Sums of 1500 squares scatter by 4 %, of steep functions by more.
    assert max(amplified) < 1.2


def test_small_signals_of_selu_do_not_grow():
    x = 1e-3 * np.linspace(-1.0, 1.0, 64).reshape(2, 32)
    for seed in range(12):
        start = initializers.GainScaling("selu", seed=seed)
        x = np.asarray(keras_smooth.Dense(
            400, "selu", order=0, kernel_initializer=start, dtype="float64"
        )(x))  # fmt: skip
    # If the kink at 0 did not count, each of 12 layers would multiply them by 1.3.
    assert np.std(x) < 1e-3


@pytest.mark.parametrize(
    ("equation", "shape", "inputs"),
    [
        ("abc,cde->abde", (7, 40), (0,)),
        ("abc,dce->abde", (7, 40), (1,)),
        ("abcd,cde->abe", (7, 10, 40), (0, 1)),
        ("ab,bc->ac", (40,), (0,)),
    ],
)
def test_einsum_kernels_are_centered_over_their_inputs(equation, shape, inputs):
    output_shape = {"abde": (None, 30, 20), "abe": (None, 30), "ac": (30,)}[
        equation.split(">")[1]
    ]
    layer = keras.layers.EinsumDense(
        equation,
        output_shape,
        kernel_initializer=initializers.GainScaling("sigmoid", seed=0),
    )
    layer.build((None, *shape))
    kernel = np.asarray(layer.kernel)
    fan_in = math.prod(kernel.shape[axis] for axis in inputs)
    np.testing.assert_allclose(kernel.sum(axis=inputs), 0.0, atol=1e-4)
    fans = fan_in + kernel.size / fan_in
    # 16 times Glorot's; 1200 draws and more scatter by 3 %.
    assert kernel.var() == pytest.approx(16 * 2 / fans, rel=0.15)


def test_gain_of_sine_is_divided_by_its_frequency():
    siren = keras_smooth.activations.partial("sin", w0=30.0)
    assert initializers.gain(siren) == pytest.approx(1 / 30)


@pytest.mark.parametrize("name", ["tanh", "sin", "linear"])
def test_kernel_equals_glorot_if_the_gain_is_one(name):
    kernel = initializers.GainScaling(name, seed=3)((20, 20))
    glorot = keras.initializers.GlorotUniform(seed=3)((20, 20))
    np.testing.assert_allclose(kernel, glorot, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernel_has_centered_columns_and_scaled_variance(dtype):
    kernel = np.asarray(initializers.GainScaling("sigmoid", seed=0)((400, 300), dtype))
    assert kernel.dtype == dtype
    np.testing.assert_allclose(kernel.sum(axis=0), 0.0, atol=1e-4)
    # 16 times Glorot's 2 / (fan_in + fan_out); 120,000 draws scatter by 0.4 %.
    assert kernel.var() == pytest.approx(16 * 2 / 700, rel=0.02)


def test_kernel_of_few_inputs_is_not_centered():
    kernel = np.asarray(initializers.GainScaling("sigmoid", seed=0)((2, 50)))
    assert np.abs(kernel.sum(axis=0)).max() > 0.1


def test_config_round_trip_gives_equal_kernels():
    siren = keras_smooth.activations.partial("sin", w0=30.0)
    for activation in ("tanh", "snake", siren):
        start = initializers.GainScaling(activation, seed=5)
        saved = keras.saving.serialize_keras_object(start)
        loaded = keras.saving.deserialize_keras_object(saved)
        np.testing.assert_array_equal(start((3, 4)), loaded((3, 4)))


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
def test_signal_keeps_its_size_through_depth(activation):
    default = _hidden_deviations(
        activation, lambda name, seed: initializers.GainScaling(name, seed=seed)
    )
    # With Glorot's initializer, a sigmoid net divides it by 26,000.
    assert default[-1] > 0.02 * default[0]


def test_glorot_uniform_loses_the_signal_of_sigmoid():
    glorot = _hidden_deviations(
        "sigmoid", lambda _, seed: keras.initializers.GlorotUniform(seed=seed)
    )
    assert glorot[-1] < 1e-3 * glorot[0]


def test_layer_with_softmax_does_not_warn():
    # Warnings are errors in tests. Keras warns of a softmax over an axis of size 1.
    layer = keras_smooth.Dense(3, "softmax")
    layer.build((None, 16))
    assert layer.kernel.shape == (16, 3)
