"""Shared by all tests: workers, markers, random numbers, small models and points."""

import functools
import gc
import os
import signal

# Shells start background processes with SIGINT ignored, which some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before TensorFlow is imported: there are as many workers as cores, so each has one thread.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"

import keras
import numpy as np
import older_versions
import pytest
import tensorflow as tf
from fresh_start import fresh_start

import keras_smooth
from keras_smooth.comparison.runs import training

# Programs that tests start, which pytest would import to find doctests.
collect_ignore = ["killed.py", "peak_memory.py", "two_devices.py", "two_workers.py"]

NO_GPU = (
    "TensorFlow sees no GPU here: install keras-smooth[gpu] on a machine that has one, and run "
    "pytest -m gpu"
)

# Each worker imports TensorFlow and keeps its compiled programs: a gigabyte or two.
MAX_WORKERS = 8


def pytest_xdist_auto_num_workers(config):
    """Returns as many workers as cores for the whole suite, and none for named files."""
    if config.args_source is not config.ArgsSource.TESTPATHS:
        return 0
    return min(len(os.sched_getaffinity(0)), MAX_WORKERS)


def pytest_collection_finish():
    # The search for cycles takes some 6 % of the CPU time of a fit. Imported modules stay.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    studies_requested = "study" in config.option.markexpr
    studies = [item for item in items if item.get_closest_marker("study")]
    if studies and not studies_requested:
        items[:] = [item for item in items if item not in set(studies)]
        config.hook.pytest_deselected(items=studies)
    for item in items:
        if reason := older_versions.reason(item.name):
            item.add_marker(pytest.mark.skip(reason=reason))
    if config.pluginmanager.hasplugin("timeout"):
        for item in studies:
            item.add_marker(pytest.mark.timeout(0))
    if not tf.config.list_physical_devices("GPU"):
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason=NO_GPU))


@pytest.fixture(autouse=True)
def _fresh_start():
    with fresh_start():
        yield


@pytest.fixture(scope="module")
def without_xla():
    """Runs comparisons in this process without XLA, which takes longer than short runs."""
    with pytest.MonkeyPatch.context() as patch:
        traced = functools.partial(training.fit_lbfgs, jit_compile=False)
        patch.setattr(training, "fit_lbfgs", traced)
        yield


@pytest.fixture
def rng():
    """A random generator of the test alone."""
    return np.random.default_rng(0)


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
        # Tracing is several times as fast as compiling.
        model.compile(keras.optimizers.Adam(0.01), loss="mse", jit_compile=False)
        return model

    return make


@pytest.fixture
def points():
    return np.linspace(-2.0, 2.0, 21)[:, None]


@pytest.fixture
def gaussian_data(points):
    return points, np.exp(-(points**2))
