"""The operations of float32 functions in float64, compared with the functions in float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_smooth.operations import in_float64

L = keras.layers
SHAPE = (6, 4)


def layer(stack):
    model = keras.Sequential([keras.Input(SHAPE), *stack])
    return lambda x: model(x)


FUNCTIONS = {
    "dense": layer([L.Dense(5, "gelu"), L.BatchNormalization(), L.Dense(2, "softmax")]),
    "attention": layer([L.LayerNormalization(), L.Dense(4, "silu")]),
    "LSTM": layer([L.LSTM(5)]),
    "GRU": layer([L.GRU(5, return_sequences=True)]),
    "convolution": layer([L.Conv1D(5, 3, activation="swish"), L.GlobalAveragePooling1D()]),
    "branch": lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: tf.sin(x), lambda: tf.cos(x)),
    "loop": lambda x: tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, tf.tanh(y)), (0, x))[1],
    "map_fn": lambda x: tf.map_fn(lambda row: tf.reduce_sum(row**2), x),
    "a called function": tf.function(lambda x: tf.tanh(x) * 0.1),
    "structure": lambda x: {"a": 2.0 * x, "b": [tf.sin(x), x[:, :1]]},
    "constants": lambda x: x * tf.constant(0.1) + tf.range(4.0),
    "cast to float32": lambda x: ops.cast(ops.exp(x), "float32"),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_outputs_are_those_of_the_function_in_float64(name, rng):
    function, x = FUNCTIONS[name], rng.normal(size=(7, *SHAPE)).astype("float32")
    finer = in_float64(function, [tf.constant(x[:3])])
    # Another number of samples than in the trace.
    y, exact = function(tf.constant(x)), finer(tf.constant(x, "float64"))
    keras.tree.assert_same_structure(y, exact)
    for value, expected in zip(
        keras.tree.flatten(y), keras.tree.flatten(exact), strict=True
    ):
        assert expected.dtype == "float64"
        # Some roundings of float32.
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_derivatives_have_the_digits_of_float64():
    finer = in_float64(lambda x: tf.sin(3.0 * x), [tf.zeros((1, 1))])
    x = tf.constant([[0.3], [1.2]], "float64")
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = finer(x)
    np.testing.assert_allclose(tape.gradient(y, x), 3 * np.cos(3 * x), rtol=1e-14)


def test_variables_do_not_change():
    state = tf.Variable(1.0)

    def function(x):
        state.assign_add(1.0)
        return x * state

    finer = in_float64(function, [tf.zeros((1, 1))])
    before = float(state)
    finer(tf.ones((1, 1), "float64"))
    assert float(state) == before


def test_operation_without_float64_raises():
    resize = layer([L.Reshape((6, 4, 1)), L.Resizing(3, 3)])
    with pytest.raises(ValueError, match="incompatible with expected double"):
        in_float64(resize, [tf.zeros((1, *SHAPE))])
