"""A trained ReLU network gets second derivatives: audit, smoothen, a few steps more.

ReLU fits y well, and its second derivative is 0 wherever it exists. `audit` finds the layers at
fault. `smoothen` replaces their activations by smooth ones and keeps the weights. Since the outputs
change a little, L-BFGS trains for a few more steps.
"""

import argparse

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

import keras_smooth

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=500, help="iterations of L-BFGS")
parser.add_argument("--figure", help="file for the picture")
arguments = parser.parse_args()


def function(x):
    return ops.sin(3.0 * x) * ops.exp(-ops.square(x))


keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((1,), dtype="float64")])
for _ in range(3):
    model.add(keras.layers.Dense(32, "relu", dtype="float64"))
model.add(keras.layers.Dense(1, dtype="float64"))
model.compile(loss="mse")

x = np.linspace(-2.0, 2.0, 200)[:, None]
keras_smooth.fit_lbfgs(model, x, function(x), epochs=arguments.epochs, verbose=0)
print(keras_smooth.audit(model, x))

smooth = keras_smooth.smoothen(model)
smooth.compile(loss="mse")
keras_smooth.fit_lbfgs(smooth, x, function(x), epochs=arguments.epochs, verbose=0)

exact = keras_smooth.derivatives(function, x)
before = keras_smooth.derivatives(model, x)
after = keras_smooth.derivatives(smooth, x, verify=True)
for name, found in {"relu": before, "smooth": after}.items():
    errors = [np.mean((a - b) ** 2) for a, b in zip(found, exact)]
    print(name, *(f"{key} {error:.1e}" for key, error in zip(("y", "dy", "d2y"), errors)))

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharex=True)
for order, (panel, title) in zip((0, 2), zip(axes, ("y", "y''"))):
    panel.plot(x, exact[order], "k", linewidth=4, alpha=0.25, label="exact")
    panel.plot(x, np.reshape(before[order], x.shape), "C3", label="ReLU network")
    panel.plot(x, np.reshape(after[order], x.shape), "C0", label="the same, repaired")
    panel.set(xlabel="x", title=title)
axes[0].legend()
if arguments.figure:
    figure.savefig(arguments.figure, dpi=110)
