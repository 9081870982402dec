"""State other than weights after `fit_lbfgs`: moving averages, seeds, frozen layers, counters."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from lbfgs_nets import X, Y, dense, fit, net
from representatives import representatives

from keras_smooth.lbfgs.objective.objective import limit_of_average


def normalization(**arguments):
    return keras.layers.BatchNormalization(**{"dtype": "float64", **arguments})


def mse(model, training):
    return float(np.mean((model(X, training=training) - Y) ** 2))


DATA = {
    "arrays": lambda: (X, Y),
    "dataset": lambda: (tf.data.Dataset.from_tensor_slices((X, Y)).batch(7), None),
}


@pytest.mark.parametrize(
    ("momentum", "data"),
    representatives(
        [(0.0, "arrays"), (0.99, "arrays"), (0.9, "dataset")], [(0.99, "arrays")]
    ),
)
def test_moving_averages_equal_statistics_of_all_rows(momentum, data):
    """The moving averages are those of all rows at the final weights, after 8 iterations."""
    model = net(normalization(momentum=momentum))
    result = fit(model, *DATA[data](), epochs=8).result
    # With a momentum of 0.99, the limit divides rounding by 0.01. Measured: 1e-12.
    assert mse(model, training=False) == pytest.approx(result.fun, rel=1e-9)
    hidden = model.layers[0](X)
    _, _, mean, variance = model.layers[1].get_weights()
    np.testing.assert_allclose(mean, np.mean(hidden, axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(variance, np.var(hidden, axis=0), rtol=1e-9)


@pytest.mark.slow
def test_moving_averages_of_a_float32_model_fitted_in_float64():
    model = net(normalization(dtype="float32"), dtype="float32")
    result = fit(model, epochs=8, dtype="float64").result
    # Weights and averages are rounded to float32. Measured: 4e-7.
    assert mse(model, training=False) == pytest.approx(result.fun, rel=1e-5)
    assert {variable.dtype for variable in model.variables} == {"float32"}


@pytest.mark.slow
def test_frozen_normalization_is_used_in_inference_mode():
    layer = normalization()
    model = net(layer)
    layer.trainable = False
    layer.set_weights([np.array(row) for row in np.linspace(0.5, 1.0, 12).reshape(4, 3)])
    before = layer.get_weights()
    model.compile(loss="mse")
    result = fit(model).result
    assert all(map(np.array_equal, before, layer.get_weights()))
    assert mse(model, training=False) == pytest.approx(result.fun, rel=1e-12)
    # In inference mode the loss is an average over rows, so that batches give the same loss.
    other = net(normalization())
    other.layers[1].set_weights(before)
    other.layers[1].trainable = False
    other.compile(loss="mse")
    assert fit(other, batch_size=6).result.fun == pytest.approx(result.fun, rel=1e-12)


@pytest.mark.slow
def test_layer_frozen_between_two_fits_is_used_in_inference_mode():
    """The layer has no trainable weights, so that the change needs a new call of `compile`."""
    model = net(normalization(center=False, scale=False))
    fit(model, epochs=2)
    model.layers[1].trainable = False
    model.compile(loss="mse")
    result = fit(model, epochs=2).result
    assert mse(model, training=False) == pytest.approx(result.fun, rel=1e-12)


def test_frozen_layers_keep_their_weights():
    model = net()
    model.layers[0].trainable = False
    model.compile(loss="mse")
    before, head = model.layers[0].get_weights(), model.layers[1].get_weights()
    # Training the last layer alone is a linear least-squares problem.
    result = fit(model, epochs=50).result
    hidden = np.hstack([model.layers[0](X), np.ones((20, 1))])
    best = np.linalg.lstsq(hidden, Y, rcond=None)[0]
    assert result.success
    assert result.fun == pytest.approx(np.mean((hidden @ best - Y) ** 2), rel=1e-9)
    assert all(map(np.array_equal, before, model.layers[0].get_weights()))
    assert not np.array_equal(head[0], model.layers[1].get_weights()[0])


class Memory(keras.layers.Layer):
    """A layer that averages x, on which the loss does not depend, and counts its calls."""

    def __init__(self):
        super().__init__(dtype="float64")
        self.average = self.add_weight(shape=(2,), initializer="zeros", trainable=False)
        self.count = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False
        )

    def call(self, x, training=False):
        if training:
            self.average.assign(0.9 * self.average + 0.1 * keras.ops.mean(x, axis=0))
            self.count.assign_add(1)
        return x


def limit_over_batches(means):
    """Returns the limit of an average with momentum 0.9 over repeated batches."""
    factors = 0.1 * 0.9 ** np.arange(len(means))[::-1]
    return factors @ np.array(means) / (1.0 - 0.9 ** len(means))


@pytest.mark.parametrize(
    ("data", "batch_size"),
    representatives(
        [(data, size) for data in DATA for size in (None, 6)],
        [("arrays", None), ("dataset", 6)],
    ),
)
def test_averages_of_a_custom_layer_converge_and_counters_are_kept(data, batch_size):
    memory = Memory()
    fit(_net_after(memory), *DATA[data](), batch_size=batch_size)
    ends = [0, 20] if batch_size is None else [0, 6, 12, 18, 20]
    means = [X[a:b].mean(axis=0) for a, b in zip(ends, ends[1:])]
    np.testing.assert_allclose(memory.average, limit_over_batches(means), rtol=1e-9)
    assert int(memory.count) == 0


def _net_after(layer):
    model = keras.Sequential([keras.Input((2,), dtype="float64"), layer, *net().layers])
    model.compile(loss="mse")
    return model


def test_seed_generators_keep_their_state():
    class Noise(keras.layers.Layer):
        def __init__(self):
            super().__init__(dtype="float64")
            self.seeds = keras.random.SeedGenerator(1)

        def call(self, x):
            noise = keras.random.normal((1, 2), dtype="float64", seed=self.seeds)
            return x + 0.1 * noise

    noise, dropout = Noise(), keras.layers.Dropout(0.2, seed=3, dtype="float64")
    model = _net_after(noise)
    model.add(dropout)
    model.compile(loss="mse")
    seeds = [noise.seeds.state, dropout.seed_generator.state]
    before = [np.array(state) for state in seeds]
    assert fit(model).result.nit == 5
    for expected, seed in zip(before, seeds):
        np.testing.assert_array_equal(expected, seed)


@pytest.mark.parametrize("momentum", [0.0, 0.1, 0.9, 0.999])
def test_limit_of_an_exponential_average(momentum):
    values = [np.array([2.0, -1.0])]
    for _ in range(2):
        values.append(momentum * values[-1] + (1.0 - momentum) * np.array([5.0, -1.0]))
    # The limit divides rounding of a step by (1 - momentum)^2.
    np.testing.assert_allclose(limit_of_average(*values), [5.0, -1.0], rtol=1e-9)


def test_limit_of_other_sequences_is_the_first_step():
    counted = limit_of_average(np.array(3.0), np.array(4.0), np.array(5.0))
    grown = limit_of_average(np.array(1.0), np.array(2.0), np.array(4.0))
    assert (counted, grown) == (4.0, 2.0)


# The state of the model after a fit.


def regularized(*more):
    return net(dense(3, "tanh", 4, activity_regularizer="l2"), *more, dtype="float32")


@pytest.mark.parametrize("arguments", [{}, {"batch_size": 7}, {"dtype": "float64"}])
def test_activity_regularizer_equals_that_of_keras(arguments):
    model = regularized()
    history = fit(model, epochs=2, **arguments)
    size = arguments.get("batch_size", 20)
    expected = model.evaluate(X, Y, batch_size=size, verbose=0)
    # Keras computes in float32.
    assert history.history["loss"][-1] == pytest.approx(expected, rel=1e-5)


def test_fit_does_not_change_losses_and_seeds_of_the_model():
    dropout = keras.layers.Dropout(0.5, seed=3)
    model = regularized(dropout)
    model(X)
    assert len(model.losses) == 1
    seeds = np.asarray(dropout.seed_generator.state.value), np.random.get_state()[1].copy()
    fit(model, epochs=2)
    model(X)
    assert len(model.losses) == 1
    seeds_after = np.asarray(dropout.seed_generator.state.value), np.random.get_state()[1]
    assert all(map(np.array_equal, seeds, seeds_after))
