"""Numbers as arguments: one rule for all of them. What is no number of the kind is a
TypeError, also a truth value; what is out of range is a ValueError."""

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


# A call with the number, and the least number that is allowed.
WHOLE = {
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
FINITE = {
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
@pytest.mark.parametrize("name", WHOLE)
def test_no_whole_number_is_a_type_error(name, value):
    # Slices of a tuple are taken before the check.
    if name == "monitor order":
        with pytest.raises(TypeError):
            keras_smooth.DerivativeMonitor(X, Y, value)
        return
    with pytest.raises(TypeError, match="must be an integer"):
        WHOLE[name][0](value)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_number_below_the_least_is_a_value_error(name):
    call, least = WHOLE[name]
    with pytest.raises(ValueError, match=f"must be {least} or more, received {least - 1}"):
        call(least - 1)


@pytest.mark.parametrize("value", [True, np.False_, "1", 1j, [1.0], np.ones(1)])
@pytest.mark.parametrize("name", FINITE)
def test_no_number_is_a_type_error(name, value):
    with pytest.raises(TypeError, match="must be a number"):
        FINITE[name][0](value)


@pytest.mark.parametrize("name", FINITE)
def test_number_that_is_too_small_or_not_finite_is_a_value_error(name):
    call, small, _ = FINITE[name]
    for value in (small, math.nan, math.inf, -math.inf):
        if value is not None:
            with pytest.raises(ValueError, match="must be (finite|above|.* or more)"):
                call(value)


CHEAP = [name for name in WHOLE if name.split()[0] not in ("compare", "fit_lbfgs", "audit")]


@pytest.mark.parametrize("name", CHEAP)
def test_numpys_integers_are_integers(name):
    call, least = WHOLE[name]
    call(np.int64(least))
    call(np.uint8(least))


@pytest.mark.parametrize("name", [name for name in FINITE if "fit_lbfgs" not in name])
def test_numpys_numbers_and_integers_are_numbers(name):
    call, _, right = FINITE[name]
    call(np.float32(right))
    call(2)


@pytest.mark.parametrize("value", [7, np.int8(7), np.uint64(7)])
def test_whole_number_is_an_int(value):
    assert type(checks.whole_number("n", value, 0)) is int


@pytest.mark.parametrize("value", [7, 7.0, np.float32(7), np.int8(7)])
def test_finite_number_is_a_float(value):
    assert type(checks.finite_number("n", value)) is float
