"""Poisson's equation -u'' = f on [0, 1] with u(0) = u(1) = 0, solved by a network.

The objective is the residual of the equation, and the factor x (1 - x) in the model holds
the boundary values. The relative L2 error is 2.6e-08, 4.8e-08 and 2.9e-08 for seeds 0 to 2,
in 11 s of one core.
"""

import argparse

import keras
import numpy as np
from keras import ops

import keras_smooth

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=20000, help="iterations of L-BFGS")
parser.add_argument("--points", type=int, default=100, help="points of the equation")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()


def exact(x):
    return np.sin(np.pi * x) + 0.5 * np.sin(4.0 * np.pi * x)


def source(x):
    return np.pi**2 * (ops.sin(np.pi * x) + 8.0 * ops.sin(4.0 * np.pi * x))


def residual(model, x):
    return ops.mean((keras_smooth.laplacian(model, x) + source(x)) ** 2)


keras.utils.set_random_seed(arguments.seed)
x = keras.Input((1,), dtype="float64")
hidden = x
for _ in range(2):
    hidden = keras_smooth.Dense(20, "tanh", dtype="float64")(hidden)
u = x * (1.0 - x) * keras_smooth.Dense(1, dtype="float64")(hidden)
model = keras.Model(x, u)

points = np.linspace(0.0, 1.0, arguments.points)[:, None]
keras_smooth.fit_lbfgs(
    model, points, objective=residual, epochs=arguments.epochs, verbose=0
)

x_test = np.linspace(0.0, 1.0, 1001)[:, None]
error = np.linalg.norm(model(x_test) - exact(x_test)) / np.linalg.norm(exact(x_test))
print("error", f"{error:.1e}")
