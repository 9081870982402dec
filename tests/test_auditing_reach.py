"""Audits of graphs: what their operations never get is no fault of theirs, what they do is.

Poles, ends of domains, branch cuts, steps through booleans and integers, masks, and inputs
that cancel.
"""

import keras
import numpy as np
import pytest
from keras import ops

import keras_smooth

L = keras.layers


class OfTwo(L.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def get_config(self):
        return {**super().get_config(), "function": self.function}

    def call(self, x, y):
        return self.function(x, y)


def _model(function, size=3):
    x = keras.Input((size,))
    return keras.Model(x, function(x))


def _with_hidden(function):
    return _model(lambda x: function(x, L.Dense(3, "tanh")(x)))


def _of_sequences(*layers):
    return keras.Sequential([keras.Input((4, 2)), *layers])


RIGHT = {
    "root": lambda: _model(lambda x: ops.sqrt(1 + ops.square(x))),
    "root of one over": lambda: _model(lambda x: x * ops.rsqrt(1 + x * x)),
    "power": lambda: _model(lambda x: ops.power(2 + ops.sin(x), 0.7)),
    "logarithm": lambda: _model(lambda x: ops.log(1.5 + ops.sin(x))),
    "quotient": lambda: _model(lambda x: 1 / (2 + ops.cos(x))),
    "quotient of two": lambda: _with_hidden(lambda x, y: x / (y + 3)),
    "branch cut": lambda: _with_hidden(lambda x, y: ops.arctan2(x, y + 3)),
    "bounds far away": lambda: _model(lambda x: ops.clip(x, -1e3, 1e3)),
    "constant condition": lambda: _model(lambda x: ops.where(True, ops.sin(x), x)),
    "in a layer": lambda: _model(lambda x: L.Lambda(ops.log)(1 + ops.square(x))),
    "difference": lambda: _with_hidden(lambda x, y: x - y),
    "one number off": lambda: _model(lambda x: x - ops.logsumexp(x, -1, keepdims=True)),
    "cancels": lambda: _with_hidden(
        OfTwo(lambda x, y: ops.sin(x) * y - x * ops.sin(y))
    ),
    "mask": lambda: _of_sequences(L.Masking(), L.LSTM(2)),
    "mask at depth": lambda: _of_sequences(_of_sequences(L.Masking()), L.GRU(2)),
}  # fmt: skip
WRONG = {
    "root of a square": lambda: _model(lambda x: ops.sqrt(ops.square(x))),
    "comparison": lambda: _model(lambda x: x * ops.cast(x > 0.1, x.dtype)),
    "integers": lambda: _model(lambda x: x + ops.cast(ops.cast(3 * x, "int32"), x.dtype)),
    "place of the largest": lambda: _model(
        lambda x: x * ops.one_hot(ops.argmax(x, axis=-1), 3)
    ),
    "embedded": lambda: _model(lambda x: L.Embedding(3, 2)(ops.argmax(x, axis=-1))),
    "stairs": lambda: _model(lambda x: x + ops.floor(x)),
    "branch cut": lambda: _with_hidden(lambda x, y: ops.arctan2(x, y - 0.2)),
    "bounds": lambda: _model(lambda x: ops.clip(x, -0.4, 1e3)),
    "kink behind a hidden layer": lambda: _with_hidden(lambda x, y: ops.abs(y)),
    "kink among large values": lambda: _model(
        lambda x: L.Lambda(lambda x: ops.tanh(x - 50) + ops.relu(x - 50))(x + 50)
    ),
    "kink among values of one side": lambda: _model(
        lambda x: L.Lambda(lambda x: ops.abs(x / 1e4 - 7.2))(7e4 + 5e3 * x)
    ),
    "norm at 0": lambda: _model(lambda x: ops.norm(ops.sin(x), axis=-1, keepdims=True)),
}


def _points(model):
    x = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:]))
    if len(x.shape) == 3:
        x[0, 2:] = x[1, 1] = 0.0  # steps that a mask leaves out
    return x.astype("float32")


@pytest.mark.parametrize("name", RIGHT)
def test_what_an_operation_never_gets_is_no_fault(name):
    model = RIGHT[name]()
    result = keras_smooth.audit(model, _points(model))
    assert result.inference == "proven", result


@pytest.mark.parametrize("name", WRONG)
def test_what_only_a_whole_graph_shows_is_found(name):
    model = WRONG[name]()
    result = keras_smooth.audit(model, _points(model))
    assert result.inference == "faulty", result
    assert result.model.remedy


# Functions of one number whose pieces meet where inputs near 1, as weights take them on,
# do not come.
FAR_KINKS = {
    "fifth": lambda x: ops.maximum(x, 0.2) * x,
    "three": lambda x: ops.relu(x - 3) + x,
    "below zero": lambda x: ops.abs(x + 2.5) * x,
    "quadratic": lambda x: ops.square(ops.relu(x + 3)) + x,
}
STEEP = {"cube": lambda x: x**3 + x, "wave": ops.sin, "step": lambda x: ops.tanh(20 * x)}


def _audited(function):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), L.Dense(3, function), L.Dense(1)])
    x = 1 + 0.1 * np.random.default_rng(0).normal(size=(4, 2))
    return keras_smooth.audit(model, x).rows[0].outcome


@pytest.mark.parametrize("name", FAR_KINKS)
def test_a_kink_of_an_unknown_function_is_found_where_the_samples_do_not_come(name):
    assert _audited(FAR_KINKS[name]) == "faulty"


@pytest.mark.parametrize("name", STEEP)
def test_a_steep_function_is_no_kink(name):
    assert _audited(STEEP[name]) == "proven"
