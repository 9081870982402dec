"""Numbers as arguments. A wrong type, also a bool, raises a TypeError, and a number out of
range a ValueError."""

import functools
import math

import keras
import numpy as np
import pytest

import keras_smooth
from keras_smooth import activations, checks, layers

X = np.ones((2, 1))
Y = (X, X, X)


@functools.cache
def model():
    net = keras.Sequential([keras.Input((1,)), keras_smooth.Dense(1, "tanh")])
    net.compile(loss="mse")
    return net


def fit(**arguments):
    arguments = {"epochs": 2, "verbose": 0, **arguments}
    return keras_smooth.fit_lbfgs(model(), X, X, **arguments)


def compare(**arguments):
    arguments = {"activations": ["tanh"], "seeds": 1, "epochs": 1, **arguments}
    return keras_smooth.compare(**arguments)


# A call with the number, and the smallest number that is allowed.
INTEGERS = {
    "derivatives order": (lambda n: keras_smooth.derivatives(np.square, X, n), 0),
    "derivatives batch_size": (
        lambda n: keras_smooth.derivatives(model(), X, batch_size=n),
        1,
    ),
    "gradient batch_size": (lambda n: keras_smooth.gradient(model(), X, batch_size=n), 1),
    "jacobian batch_size": (lambda n: keras_smooth.jacobian(model(), X, batch_size=n), 1),
    "hessian batch_size": (lambda n: keras_smooth.hessian(model(), X, batch_size=n), 1),
    "laplacian batch_size": (lambda n: keras_smooth.laplacian(model(), X, batch_size=n), 1),
    "directional order": (lambda n: keras_smooth.directional(model(), X, [1.0], n), 1),
    "DerivativeModel order": (lambda n: keras_smooth.DerivativeModel(model(), n), 1),
    "monitor order": (lambda n: keras_smooth.DerivativeMonitor(X, Y[: n + 1], n), 0),
    "monitor every": (lambda n: keras_smooth.DerivativeMonitor(X, Y, every=n), 1),
    "Dense order": (lambda n: keras_smooth.Dense(1, "tanh", order=n), 0),
    "Conv1D order": (lambda n: layers.Conv1D(1, 1, activation="tanh", order=n), 0),
    "Activation order": (lambda n: keras_smooth.Activation("tanh", order=n), 0),
    "audit order": (lambda n: keras_smooth.audit(model(), order=n), 1),
    "smoothen order": (lambda n: keras_smooth.smoothen(model(), order=n), 0),
    "fit_lbfgs epochs": (lambda n: fit(epochs=n), 1),
    "fit_lbfgs initial_epoch": (lambda n: fit(initial_epoch=n), 0),
    "fit_lbfgs batch_size": (lambda n: fit(batch_size=n), 1),
    "fit_lbfgs steps_per_execution": (lambda n: fit(steps_per_execution=n), 1),
    "fit_lbfgs num_correction_pairs": (lambda n: fit(num_correction_pairs=n), 1),
    "fit_lbfgs max_restarts": (lambda n: fit(max_restarts=n), 0),
    "compare seeds": (lambda n: compare(seeds=n), 1),
    "compare epochs": (lambda n: compare(epochs=n), 1),
    "compare jobs": (lambda n: compare(jobs=n), 1),
}
# A call with the number, one that is too small and one that is right.
FLOATS = {
    "snake a": (lambda v: activations.snake(X, v), 0.0, 0.5),
    "sharp_softplus sharpness": (lambda v: activations.sharp_softplus(X, v), 0.0, 2.0),
    "smelu beta": (lambda v: activations.smelu(X, v), -1.0, 2.0),
    "celu alpha": (lambda v: activations.celu(X, v), 0.0, 2.0),
    "smoothen sharpness": (
        lambda v: keras_smooth.smoothen(model(), sharpness=v),
        0.0,
        5.0,
    ),
    "SmoothMaximum sharpness": (lambda v: layers.SmoothMaximum(sharpness=v), 0.0, 5.0),
    "fit_lbfgs tolerance": (lambda v: fit(tolerance=v), -1e-3, 0.5),
    "fit_lbfgs target": (lambda v: fit(target=v), None, 0.5),
    "fit_lbfgs max_seconds": (lambda v: fit(max_seconds=v), -1.0, 100.0),
    "fit_lbfgs validation_split": (lambda v: fit(validation_split=v), -0.1, 0.5),
}


@pytest.mark.parametrize("value", [True, np.True_, 1.5, 1.0, np.float64(1.0), "1", 1j])
@pytest.mark.parametrize("name", INTEGERS)
def test_non_integer_raises_type_error(name, value):
    # Slices of a tuple are computed before the check.
    if name == "monitor order":
        with pytest.raises(TypeError):
            keras_smooth.DerivativeMonitor(X, Y, value)
        return
    with pytest.raises(TypeError, match="must be an integer"):
        INTEGERS[name][0](value)


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_below_the_minimum_raises_value_error(name):
    call, smallest = INTEGERS[name]
    with pytest.raises(
        ValueError, match=f"must be {smallest} or more, received {smallest - 1}"
    ):
        call(smallest - 1)


@pytest.mark.parametrize("value", [True, np.False_, "1", 1j, [1.0], np.ones(1)])
@pytest.mark.parametrize("name", FLOATS)
def test_non_number_raises_type_error(name, value):
    with pytest.raises(TypeError, match="must be a number"):
        FLOATS[name][0](value)


@pytest.mark.parametrize("name", FLOATS)
def test_number_out_of_range_or_not_finite_raises_value_error(name):
    call, small, _ = FLOATS[name]
    for value in (small, math.nan, math.inf, -math.inf):
        if value is not None:
            with pytest.raises(ValueError, match="must be (finite|above|.* or more)"):
                call(value)


CHEAP = [
    name for name in INTEGERS if name.split()[0] not in ("compare", "fit_lbfgs", "audit")
]


@pytest.mark.parametrize("name", CHEAP)
def test_numpy_integers_are_accepted(name):
    call, smallest = INTEGERS[name]
    call(np.int64(smallest))
    call(np.uint8(smallest))


@pytest.mark.parametrize("name", [name for name in FLOATS if "fit_lbfgs" not in name])
def test_numpy_floats_and_integers_are_accepted(name):
    call, _, right = FLOATS[name]
    call(np.float32(right))
    call(2)


@pytest.mark.parametrize("value", [7, np.int8(7), np.uint64(7)])
def test_whole_number_returns_int(value):
    assert type(checks.whole_number("n", value, 0)) is int


@pytest.mark.parametrize("value", [7, 7.0, np.float32(7), np.int8(7)])
def test_finite_number_returns_float(value):
    assert type(checks.finite_number("n", value)) is float
