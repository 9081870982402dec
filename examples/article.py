"""The article's experiment: which activation has a usable second derivative?"""

import argparse

import keras
import numpy as np

import keras_smooth

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=500, help="iterations of L-BFGS")
parser.add_argument("--figure", help="file for a picture of the result")
arguments = parser.parse_args()


def gaussian(x):
    return keras.ops.exp(-keras.ops.square(x))


keras.utils.set_random_seed(0)
x = np.random.default_rng(0).uniform(-2.0, 2.0, (1000, 1))
x_test = np.linspace(-2.0, 2.0, 101)[:, None]

for activation in ("relu", "tanh", "softplus"):
    model = keras.Sequential([keras.Input((1,), dtype="float64")])
    for _ in range(8):
        # order=0 allows ReLU, whose second derivative is 0.
        model.add(keras_smooth.Dense(20, activation=activation, order=0, dtype="float64"))
    model.add(keras_smooth.Dense(1, dtype="float64"))
    model.compile(loss="mse")
    monitor = keras_smooth.DerivativeMonitor(x_test, reference=gaussian)
    history = keras_smooth.fit_lbfgs(
        model, x, gaussian(x), epochs=arguments.epochs, callbacks=[monitor], verbose=0
    )
    errors = {key: values[-1] for key, values in history.history.items()}
    print(activation, *(f"{key} {value:.1e}" for key, value in errors.items()))

if arguments.figure:
    monitor.plot().savefig(arguments.figure)  # softplus
