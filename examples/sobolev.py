"""Sobolev training: twelve points with their derivatives against twelve points without."""

import sys

import keras
import numpy as np
from keras import ops

import keras_smooth

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 500


def function(x):
    return ops.sin(3.0 * x) * ops.exp(-ops.square(x))


def inner_model() -> keras.Model:
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((1,), dtype="float64")])
    for _ in range(2):
        net.add(keras_smooth.Dense(20, "tanh", dtype="float64"))
    net.add(keras_smooth.Dense(1, dtype="float64"))
    return net


x = np.linspace(-2.0, 2.0, 12)[:, None]
x_test = np.linspace(-2.0, 2.0, 201)[:, None]
targets = dict(
    zip(("y", "dy", "d2y"), map(np.asarray, keras_smooth.derivatives(function, x)))
)
exact = keras_smooth.derivatives(function, x_test)

for name, weights in {"plain": (1.0, 0.0, 0.0), "sobolev": (1.0, 0.1, 0.01)}.items():
    net = inner_model()
    model = keras_smooth.DerivativeModel(net)
    losses = {key: "mse" for key in targets}
    model.compile(loss=losses, loss_weights=dict(zip(targets, weights)))
    keras_smooth.fit_lbfgs(model, x, targets, epochs=EPOCHS, verbose=0)
    found = keras_smooth.derivatives(net, x_test)
    errors = [np.mean(np.square(a - b)) for a, b in zip(found, exact)]
    print(name, *(f"{key} {error:.1e}" for key, error in zip(targets, errors)))
