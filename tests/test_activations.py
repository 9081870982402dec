"""The package's activations: exact derivatives, saving and loading."""

import math
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from activation_cases import ACTIVATIONS

import keras_smooth
from keras_smooth import activations, registry
from keras_smooth.activations.rows import activation_row

# Generic points, breakpoints, zero and both tails.
X = np.array([-60.0, -7.0, -1.3, -1.0, -0.4, 0.0, 0.4, 1.0, 1.3, 7.0, 60.0])


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def _softplus_derivatives(b):
    def function(x):
        s = _sigmoid(b * x)
        return [np.logaddexp(0.0, b * x) / b, s, b * s * (1 - s)]

    return function


def _celu(a):
    def function(x):
        e = np.exp(np.minimum(x, 0.0) / a)
        return [
            np.where(x > 0, x, a * (e - 1)),
            np.where(x > 0, 1.0, e),
            np.where(x > 0, 0.0, e / a),
        ]

    return function


def _smelu(b):
    def function(x):
        inside = (x > -b) & (x < b)
        return [
            np.where(inside, (x + b) ** 2 / (4 * b), np.maximum(x, 0.0)),
            np.where(inside, (x + b) / (2 * b), (x >= b) * 1.0),
            np.where(inside, 1 / (2 * b), 0.0),
        ]

    return function


# Function, and its exact f, f', f''. At a joint, f'' is a one-sided limit.
EXACT = {
    "sin": (activations.sin, lambda x: [np.sin(x), np.cos(x), -np.sin(x)]),
    "sin w0": (
        activations.partial("sin", w0=3.0),
        lambda x: [np.sin(3 * x), 3 * np.cos(3 * x), -9 * np.sin(3 * x)],
    ),
    "snake": (
        activations.snake,
        lambda x: [x + np.sin(x) ** 2, 1 + np.sin(2 * x), 2 * np.cos(2 * x)],
    ),
    "snake a": (
        activations.partial("snake", a=2.0),
        lambda x: [x + np.sin(2 * x) ** 2 / 2, 1 + np.sin(4 * x), 4 * np.cos(4 * x)],
    ),
    "shifted_softplus": (
        activations.shifted_softplus,
        lambda x: [
            np.logaddexp(0.0, x) - math.log(2), *_softplus_derivatives(1.0)(x)[1:]
        ],
    ),
    "sharp_softplus": (activations.sharp_softplus, _softplus_derivatives(1.0)),
    "sharp_softplus 5": (
        activations.partial("sharp_softplus", sharpness=5.0), _softplus_derivatives(5.0)
    ),
    "smelu": (activations.smelu, _smelu(1.0)),
    "smelu 2": (activations.partial("smelu", beta=2.0), _smelu(2.0)),
    "gaussian": (
        activations.gaussian,
        lambda x: [np.exp(-(x**2)), -2 * x * np.exp(-(x**2)),
                   (4 * x**2 - 2) * np.exp(-(x**2))],
    ),
    "centered_sigmoid": (
        activations.centered_sigmoid,
        lambda x: [4 * (_sigmoid(x) - 0.5), 4 * _sigmoid(x) * (1 - _sigmoid(x)),
                   4 * _sigmoid(x) * (1 - _sigmoid(x)) * (1 - 2 * _sigmoid(x))],
    ),
    "softsign": (
        activations.softsign,
        lambda x: [x / (1 + abs(x)), 1 / (1 + abs(x)) ** 2,
                   -2 * np.sign(x) / (1 + abs(x)) ** 3],
    ),
    "celu": (activations.celu, _celu(1.0)),
    "celu 2": (activations.partial("celu", alpha=2.0), _celu(2.0)),
}  # fmt: skip


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize("name", EXACT)
def test_derivatives_are_exact(name, wrap):
    function, exact = EXACT[name]
    values = wrap(lambda x: keras_smooth.derivatives(function, x, 2))(tf.constant(X))
    for value, expected in zip(values, exact(X), strict=True):
        # Rounding of float64, a few operations, values of order 1 to 60.
        np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", EXACT)
def test_derivatives_of_float32_inputs_are_float32(name):
    function, exact = EXACT[name]
    values = keras_smooth.derivatives(function, tf.constant(X, tf.float32), 2)
    for value, expected in zip(values, exact(X), strict=True):
        assert value.dtype == tf.float32
        # Arguments up to 240 lose 1e-5 in a float32 sine.
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)


def test_celu_has_slope_one_at_zero_where_keras_has_two():
    x = tf.constant([0.0], tf.float64)
    slopes = []
    for function in (activations.celu, keras.activations.celu):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        slopes.append(float(tape.gradient(y, x)[0]))
    assert slopes == [1.0, 2.0]


def test_softsign_has_a_second_derivative_and_that_of_keras_has_none():
    x = tf.constant([1.0], tf.float64)
    assert float(keras_smooth.derivatives(activations.softsign, x)[2][0]) == -0.25
    with pytest.raises(ValueError, match="order 2 is lost.*Softsign"):
        keras_smooth.derivatives(keras.activations.softsign, x, engine="tape")
    assert float(keras_smooth.derivatives(keras.activations.softsign, x)[2][0]) == -0.25


@pytest.mark.parametrize("name", ["logish", "sin", "smooth_ramps"])
def test_registering_an_existing_name_raises(name):
    before = registry.named(name)

    def another(x):
        return x

    another.__name__ = name
    with pytest.raises(ValueError, match=f"an activation named '{name}' already"):
        activation_row(math.inf)(another)
    assert registry.named(name) is before and registry.row(another) is None


@pytest.mark.parametrize("name", ["snake", "tanh", "gelu", "softsign"])
def test_get_returns_the_activation_of_a_name(name):
    ours = getattr(activations, name, None)
    assert activations.get(name) is (ours or getattr(keras.activations, name))


def test_get_accepts_what_keras_accepts():
    assert activations.get(None) is keras.activations.linear
    assert activations.get(np.tanh) is np.tanh
    saved = keras.activations.serialize(activations.snake)
    assert activations.get(saved) is activations.snake


def test_get_suggests_the_nearest_name():
    with pytest.raises(ValueError, match="no activation named 'snak'. Did you mean snake"):
        activations.get("snak")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: activations.snake(1.0, a=0.0), ValueError),
        (lambda: activations.sharp_softplus(1.0, sharpness=-1.0), ValueError),
        (lambda: activations.smelu(1.0, beta=0.0), ValueError),
        (lambda: activations.celu(1.0, alpha=math.nan), ValueError),
        (lambda: activations.partial("sin", omega=3.0), TypeError),
        (lambda: activations.partial("sine"), ValueError),
    ],
)
def test_invalid_parameter_raises(call, error):
    with pytest.raises(error):
        call()


def test_partials_with_the_same_parameters_are_equal():
    first, same, other = (activations.partial("sin", w0=w) for w in (3.0, 3.0, 4.0))
    assert first == same and hash(first) == hash(same) and first != other
    assert repr(first) == "partial(sin, w0=3.0)"


LOAD = """
import sys, keras, keras_smooth, numpy as np
model = keras.models.load_model(sys.argv[1])
out = model.predict(np.load(sys.argv[2]), verbose=0)
np.savez(sys.argv[3], **out)
"""


@pytest.mark.slow
def test_every_activation_is_saved_and_loaded_in_another_process(tmp_path):
    x = keras.Input((2,), dtype="float64")
    ours = [case for name, case in ACTIVATIONS.items() if name.startswith("keras_smooth")]
    outputs = {
        f"{index}_{case.row.subject.__name__}": keras_smooth.Dense(
            2, activation=case.function, order=0, dtype="float64"
        )(x)
        for index, case in enumerate(ours)
    }
    outputs["activation"] = keras_smooth.Activation("snake", dtype="float64")(x)
    model = keras.Model(x, outputs)
    points = np.random.default_rng(0).normal(size=(5, 2))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "points.npy", points)
    names = ("model.keras", "points.npy", "out.npz")
    subprocess.run(
        [sys.executable, "-c", LOAD, *(str(tmp_path / name) for name in names)], check=True
    )
    loaded = np.load(tmp_path / "out.npz")
    for name, value in model.predict(points, verbose=0).items():
        np.testing.assert_array_equal(loaded[name], value, err_msg=name)
