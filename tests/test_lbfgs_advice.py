"""Advice is given once, and an error in it does not end a fit."""

import warnings

import keras
import pytest
from lbfgs_nets import X, Y, dense, fit, net

from keras_smooth.presentation.warn import advice

FLOAT64 = {"dtype": "float64"}


class Subject:
    pass


def warnings_of(call, *args):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*args)
    return [str(w.message) for w in caught]


def test_advice_is_given_once_for_each_subject():
    @advice
    def check(subject, message):
        return message

    one, other = Subject(), Subject()
    assert warnings_of(check, one, None) == []
    assert warnings_of(check, one, "look") == ["look"]
    assert warnings_of(check, one, "look") == []
    assert warnings_of(check, other, "look") == ["look"]


def test_what_was_said_is_not_looked_for_again():
    looks = []

    @advice
    def check(subject):
        looks.append(subject)
        return "look"

    subject = Subject()
    assert [warnings_of(check, subject) for _ in range(3)] == [["look"], [], []]
    assert len(looks) == 1


@pytest.mark.parametrize(
    "error", [AttributeError, ValueError, RuntimeError, AssertionError]
)
def test_an_error_in_a_check_is_dropped(error):
    @advice
    def check(subject):
        raise error("a mistake")

    assert warnings_of(check, Subject()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_is_not(error):
    @advice
    def check(subject):
        raise error

    with pytest.raises(error):
        check(Subject())


def test_warnings_that_are_made_errors_are_raised():
    @advice
    def check(subject):
        return "look"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="look"):
            check(Subject())


# Functions that the advice of a fit with a compiled loss calls.
CALLED_BY_ADVICE = {
    "the size of the arguments": "keras_smooth.lbfgs.checks.scales._root_mean_square",
    "the columns of outputs": "keras_smooth.lbfgs.checks.scales._in_columns",
    "the size of targets": "keras_smooth.lbfgs.checks.scales._is_far",
}


@pytest.mark.parametrize("name", CALLED_BY_ADVICE)
def test_a_broken_check_ends_no_fit(name, monkeypatch):
    calls = []

    def fails(*args):
        calls.append(args)
        raise AttributeError("'Add' object has no attribute 'trainable_weights'")

    monkeypatch.setattr(CALLED_BY_ADVICE[name], fails)
    losses = fit(net()).history["loss"]
    assert losses[-1] < losses[0] and calls


class Transposed(keras.layers.Dense):
    """A user's own layer, whose kernel has another shape than that of its base class."""

    def build(self, shape):
        self._kernel = self.add_weight(shape=(self.units, shape[-1]), initializer="ones")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros")
        self.built = True

    def call(self, x):
        return self.activation(x @ keras.ops.transpose(self.kernel) + self.bias)


def test_a_layer_that_is_not_as_expected_is_fitted():
    layer = Transposed(3, "tanh", **FLOAT64)
    model = keras.Sequential([keras.Input((2,), **FLOAT64), layer, dense(1, **FLOAT64)])
    model.compile(loss="mse", jit_compile=False)
    losses = fit(model).history["loss"]
    assert losses[-1] < losses[0]


def wide(model):
    model.compile(loss="mse", jit_compile=False)
    return [
        w for w in warnings_of(fit, model, 200.0 * X, Y) if "What reaches the layer" in w
    ]


def test_the_check_of_inputs_sees_through_operations():
    x = keras.Input((2,), **FLOAT64)
    model = keras.Model(x, dense(1, **FLOAT64)(dense(8, "tanh", **FLOAT64)(2.0 * x + 1.0)))
    assert len(wide(model)) == 1
    x = keras.Input((2,), **FLOAT64)
    model = keras.Model(x, dense(1, **FLOAT64)(dense(8, "tanh", **FLOAT64)(x / 200.0)))
    assert len(wide(model)) == 0
