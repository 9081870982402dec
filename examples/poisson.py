"""Poisson's equation -(u_xx + u_yy) = f on the unit square with u = 0 on its edge.

The exact solution is sin(pi x) sin(pi y). A factor of the model satisfies the values on the edge,
the points are those of Gauss and Chebyshev, and the logarithm of the mean squared residual is
minimized: L-BFGS makes progress with it even if the mean square itself is nearly flat.

Published: relative L2 errors of 1e-6 to 1e-8 by energy natural gradient descent.

References:
    Mueller and Zeinhofer, 2023, "Achieving high accuracy with PINNs via energy natural gradient
    descent", ICML (this equation; the errors are from its summary); Urban, Stefanou and Pons,
    2025, "Unveiling the optimization process of physics informed neural networks", Journal of
    Computational Physics 523 (the logarithm).
"""

import argparse
import time

import keras
import numpy as np
from keras import ops

import keras_smooth

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1300, help="iterations of L-BFGS")
parser.add_argument("--points", type=int, default=16, help="points along each axis")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file for a picture of the result")
arguments = parser.parse_args()


def exact(points):
    return ops.sin(np.pi * points[:, :1]) * ops.sin(np.pi * points[:, 1:])


def objective(model, points):
    source = 2.0 * np.pi**2 * exact(points)
    residual = keras_smooth.laplacian(model, points) + source
    return ops.log(ops.mean(residual**2))


keras.utils.set_random_seed(arguments.seed)
inputs = keras.Input((2,), dtype="float64")
x, y = inputs[:, :1], inputs[:, 1:]
hidden = 2.0 * inputs - 1.0
for _ in range(2):
    hidden = keras_smooth.Dense(16, "sin", dtype="float64")(hidden)
u = x * (1.0 - x) * y * (1.0 - y) * keras_smooth.Dense(1, dtype="float64")(hidden)
model = keras.Model(inputs, u)

angles = np.pi * (np.arange(arguments.points) + 0.5) / arguments.points
axis = 0.5 - 0.5 * np.cos(angles)
points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
history = keras_smooth.fit_lbfgs(
    model,
    points,
    objective=objective,
    epochs=arguments.epochs,
    verbose=0,
)

axis = np.linspace(0.0, 1.0, 101)
grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
difference = model(grid) - exact(grid)
error = np.linalg.norm(difference) / np.linalg.norm(exact(grid))
print("error", f"{error:.1e}")
print("iterations", history.result.nit)
print("seconds", f"{time.process_time():.0f}")

if arguments.figure:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for part, values, title in (
        (left, model(grid), "u"),
        (right, difference, "error of u"),
    ):
        picture = part.pcolormesh(axis, axis, np.reshape(values, (101, 101)))
        figure.colorbar(picture, ax=part)
        part.set(xlabel="x", ylabel="y", title=title, aspect="equal")
    figure.savefig(arguments.figure, dpi=80)
