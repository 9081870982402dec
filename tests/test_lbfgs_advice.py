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

    first, second = Subject(), Subject()
    assert warnings_of(check, first, None) == []
    assert warnings_of(check, first, "look") == ["look"]
    assert warnings_of(check, first, "look") == []
    assert warnings_of(check, second, "look") == ["look"]


def test_check_is_not_called_again_after_its_warning():
    calls = []

    @advice
    def check(subject):
        calls.append(subject)
        return "look"

    subject = Subject()
    assert [warnings_of(check, subject) for _ in range(3)] == [["look"], [], []]
    assert len(calls) == 1


@pytest.mark.parametrize(
    "error", [AttributeError, ValueError, RuntimeError, AssertionError]
)
def test_error_in_a_check_is_ignored(error):
    @advice
    def check(subject):
        raise error("a mistake")

    assert warnings_of(check, Subject()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_keyboard_interrupt_and_system_exit_in_a_check_are_raised(error):
    @advice
    def check(subject):
        raise error

    with pytest.raises(error):
        check(Subject())


def test_warning_filtered_as_an_error_is_raised():
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
def test_error_in_a_check_does_not_end_the_fit(name, monkeypatch):
    calls = []

    def raise_error(*args):
        calls.append(args)
        raise AttributeError("'Add' object has no attribute 'trainable_weights'")

    monkeypatch.setattr(CALLED_BY_ADVICE[name], raise_error)
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


def test_dense_subclass_with_a_transposed_kernel_is_fitted():
    layer = Transposed(3, "tanh", **FLOAT64)
    model = keras.Sequential([keras.Input((2,), **FLOAT64), layer, dense(1, **FLOAT64)])
    model.compile(loss="mse", jit_compile=False)
    losses = fit(model).history["loss"]
    assert losses[-1] < losses[0]


def input_warnings(model):
    model.compile(loss="mse", jit_compile=False)
    return [
        w for w in warnings_of(fit, model, 200.0 * X, Y) if "What reaches the layer" in w
    ]


def test_check_of_inputs_follows_operations_before_the_layer():
    x = keras.Input((2,), **FLOAT64)
    model = keras.Model(x, dense(1, **FLOAT64)(dense(8, "tanh", **FLOAT64)(2.0 * x + 1.0)))
    assert len(input_warnings(model)) == 1
    x = keras.Input((2,), **FLOAT64)
    model = keras.Model(x, dense(1, **FLOAT64)(dense(8, "tanh", **FLOAT64)(x / 200.0)))
    assert len(input_warnings(model)) == 0
