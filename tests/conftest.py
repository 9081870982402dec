"""Shared by all tests: small models, points, and the GPU marker."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth

# Programs that tests start: pytest would import them in search of doctests.
collect_ignore = ["killed.py", "two_devices.py", "two_workers.py"]


def pytest_collection_modifyitems(items):
    if tf.config.list_physical_devices("GPU"):
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="TensorFlow sees no GPU"))


@pytest.fixture
def make_model():
    """Returns a function that builds a small compiled net with a fixed start."""

    def make(activation="tanh", dtype="float64", dim=1, outputs=1, width=6, order=0):
        model = keras.Sequential([keras.Input((dim,), dtype=dtype)])
        for seed, units in enumerate((width, width, outputs)):
            model.add(
                keras_smooth.Dense(
                    units,
                    activation=activation if seed < 2 else None,
                    kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
                    bias_initializer=keras.initializers.RandomUniform(seed=seed + 9),
                    order=order,
                    dtype=dtype,
                )
            )
        model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
        return model

    return make


@pytest.fixture
def points():
    return np.linspace(-2.0, 2.0, 21)[:, None]


@pytest.fixture
def gaussian_data(points):
    return points, np.exp(-(points**2))
