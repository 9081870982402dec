"""Loops: derivatives of recurrent layers, and their gradients by weights, in graphs and XLA."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth

L = keras.layers


def _scanned(x):
    """A custom loop with a fixed number of steps."""
    start = (0, x[:, 0])
    end = tf.while_loop(
        lambda i, h: i < 2,
        lambda i, h: (i + 1, tf.tanh(0.5 * h + x[:, i])),
        start,
        maximum_iterations=2,
    )
    return end[1]


LAYERS = {
    "LSTM": lambda: [L.LSTM(3)],
    "GRU": lambda: [L.GRU(3)],
    "sequences": lambda: [L.SimpleRNN(3, return_sequences=True), L.GRU(2)],
    "both ways": lambda: [L.Bidirectional(L.LSTM(2))],
    "stacked cells": lambda: [L.RNN(L.StackedRNNCells([L.LSTMCell(2), L.GRUCell(3)]))],
    "masked": lambda: [L.Masking(), L.LSTM(2)],
    "a loop of a user": lambda: [L.Dense(3), L.Lambda(_scanned)],
}


LONG = ("both ways", "stacked cells")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.study if name in LONG else pytest.mark.slow)
        for name in LAYERS
    ],
)
def test_gradients_by_weights_are_right_in_graphs_and_xla(name):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = keras.Sequential(
            [keras.Input((2, 2), dtype="float64"), *LAYERS[name](), L.Dense(1)]
        )
    finally:
        keras.config.set_dtype_policy(policy)
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 2, 2)))

    def gradients(engine):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras_smooth.laplacian(model, x, engine=engine) ** 2)
        # A Laplacian does not depend on the last bias.
        return tape.gradient(loss, model.trainable_variables[:-1])

    exact = gradients("tape")
    eager = gradients("jet")
    graph = tf.function(lambda: gradients("jet"))()
    compiled = tf.function(lambda: gradients("jet"), jit_compile=True)()
    for gradients_of_mode in (eager, graph, compiled):
        for value, reference in zip(gradients_of_mode, exact, strict=True):
            # Sums in another order: some hundred rounding errors.
            np.testing.assert_allclose(value, reference, rtol=1e-10, atol=1e-13)


@pytest.mark.slow
def test_gradients_of_partials_of_a_recurrent_layer_compile():
    """Uses jets, since XLA cannot compile tapes of loops."""
    model = keras.Sequential(
        [
            keras.Input((2, 2), dtype="float64"),
            L.GRU(2, dtype="float64"),
            L.Dense(1, dtype="float64"),
        ]
    )
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 2, 2)))
    which = [((0, 0), (0, 0)), ((0, 0), (1, 1))]

    def gradients():
        with tf.GradientTape() as tape:
            entries = keras_smooth.partials(model, x, which)[1:]
            loss = tf.add_n([tf.reduce_mean(entry**2) for entry in entries])
        return tape.gradient(loss, model.trainable_variables[:-1])

    for gradient, reference in zip(tf.function(gradients, jit_compile=True)(), gradients()):
        # Sums in another order: some hundred rounding errors.
        np.testing.assert_allclose(gradient, reference, rtol=1e-9, atol=1e-12)


def test_integers_computed_from_constants_compile_as_constants():
    def counted(x):
        num_steps = tf.reduce_max(tf.range(3)) + 1
        return tf.while_loop(
            lambda i, h: i < num_steps,
            lambda i, h: (i + 1, tf.sin(h)),
            (0, x),
            maximum_iterations=num_steps,
        )[1]

    @tf.function(jit_compile=True)
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = keras_smooth.directional(counted, x, tf.ones_like(x), 2, engine="jet")[2]
        return tape.gradient(y, x)

    # The third derivative of sin(sin(sin(x))) at 0.
    np.testing.assert_allclose(slope(tf.zeros((1, 1), tf.float64)), [[-3.0]], rtol=1e-14)


def test_jets_of_gradients_of_loops_with_tensor_arrays(rng):
    def energy(x):
        states, state = tf.TensorArray(x.dtype, 3), x
        for i in tf.range(3):
            state = tf.sin(state) + x
            states = states.write(i, state)
        return tf.reduce_sum(states.stack() * states.read(1), 0)

    @tf.function
    def force(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = energy(x)
        return tape.gradient(y, x)

    x = rng.normal(size=(4, 2))
    jets, tapes = (
        keras_smooth.derivatives(force, x, 2, engine=engine) for engine in ("jet", "tape")
    )
    for value, reference in zip(jets, tapes, strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-12, atol=1e-12)
