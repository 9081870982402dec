"""Prints by how much a fit raises the peak of memory, in sizes of a checkpoint.

Args:
    method, units of two hidden layers, number of correction pairs.
"""

import json
import os
import resource
import sys
import tempfile
import warnings

import keras
import numpy as np

import keras_smooth

X = np.linspace(-1.0, 1.0, 50)[:, None]


def fit(units, method, pairs, directory):
    model = keras.Sequential([keras.Input((1,), dtype="float64")])
    for width, activation in ((units, "tanh"), (units, "tanh"), (1, None)):
        model.add(keras.layers.Dense(width, activation, dtype="float64"))
    model.compile(loss="mse")
    keras_smooth.fit_lbfgs(
        model, X, np.sin(3.0 * X), method=method, num_correction_pairs=pairs, epochs=30,
        steps_per_execution=10, verbose=0, checkpoint=directory,
    )  # fmt: skip


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    method, units, pairs = sys.argv[1], *map(int, sys.argv[2:])
    # A small fit first, so that TensorFlow and XLA are loaded.
    fit(4, method, min(pairs, 5), None)
    before = peak()
    fit(units, method, pairs, None)
    raised = peak() - before
    with tempfile.TemporaryDirectory() as folder:
        fit(units, method, pairs, folder)
        size = max(
            os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder)
        )
    print(json.dumps([raised / size, (peak() - before) / size]))
