"""Sobolev training: twelve points with their derivatives, compared with twelve points without."""

import argparse

import keras
import numpy as np
from keras import ops

import keras_smooth

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=500, help="iterations of L-BFGS")
parser.add_argument("--figure", help="file for a picture of the result")
arguments = parser.parse_args()


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

curves = {}
for name, weights in {"plain": (1.0, 0.0, 0.0), "sobolev": (1.0, 0.1, 0.01)}.items():
    net = inner_model()
    model = keras_smooth.DerivativeModel(net)
    losses = {key: "mse" for key in targets}
    model.compile(loss=losses, loss_weights=dict(zip(targets, weights)))
    keras_smooth.fit_lbfgs(model, x, targets, epochs=arguments.epochs, verbose=0)
    found = curves[name] = keras_smooth.derivatives(net, x_test)
    errors = [np.mean(np.square(a - b)) for a, b in zip(found, exact)]
    print(name, *(f"{key} {error:.1e}" for key, error in zip(targets, errors)))

if arguments.figure:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for order, (panel, title) in enumerate(zip(axes, ("y", "y'", "y''"))):
        panel.plot(x_test, exact[order], "k", linewidth=4, alpha=0.25, label="exact")
        for name, found in curves.items():
            panel.plot(x_test, np.reshape(found[order], x_test.shape), label=name)
        samples = list(targets.values())[order]
        panel.plot(x, np.reshape(samples, x.shape), "k.", label="samples")
        panel.set(xlabel="x", title=title)
    axes[0].legend()
    figure.savefig(arguments.figure, dpi=80)
