"""The heat equation u_t = laplacian(u) in ten dimensions, on the unit cube times [0, 1].

The exact solution is exp(-t) times the mean of sin(x_i + i / 10). The model satisfies the initial
values, and a term of the loss has the values on the faces. The Laplacian of ten inputs is one forward
pass. The model has the inputs x and t, and `wrt` selects one of them. The logarithm of the sum of
both terms is minimized. Errors are those of 10,000 random points.

References:
    Urban, Stefanou and Pons, 2025, "Unveiling the optimization process of physics informed neural
    networks", Journal of Computational Physics 523 (the logarithm).
"""

import argparse
import time

import keras
import numpy as np
from keras import ops

import keras_smooth

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1000, help="iterations of L-BFGS")
parser.add_argument("--points", type=int, default=1000, help="points of the equation")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file for a picture of the result")
arguments = parser.parse_args()

DIM = 10
SHIFTS = np.arange(DIM) / DIM


def exact(x):
    waves = ops.mean(ops.sin(x["x"] + SHIFTS), axis=1, keepdims=True)
    return ops.exp(-x["t"]) * waves


def objective(model, data):
    u_t = keras_smooth.gradient(model, data["inside"], wrt="t")
    residual = u_t - keras_smooth.laplacian(model, data["inside"], wrt="x")
    difference = model(data["faces"]) - data["values"]
    return ops.log(ops.mean(residual**2) + ops.mean(difference**2))


keras.utils.set_random_seed(arguments.seed)
x = keras.Input((DIM,), dtype="float64", name="x")
t = keras.Input((1,), dtype="float64", name="t")
hidden = ops.concatenate([2.0 * x - 1.0, 2.0 * t - 1.0], axis=1)
for _ in range(2):
    hidden = keras_smooth.Dense(16, "tanh", dtype="float64")(hidden)
change = keras_smooth.Dense(1, dtype="float64")(hidden)
model = keras.Model({"x": x, "t": t}, exact({"x": x, "t": 0.0 * t}) + t * change)

generator = np.random.default_rng(arguments.seed)


def random_points(count):
    return {
        "x": generator.uniform(size=(count, DIM)),
        "t": generator.uniform(size=(count, 1)),
    }


inside, faces = random_points(arguments.points), random_points(arguments.points)
rows = np.arange(arguments.points)
faces["x"][rows, rows % DIM] = rows // DIM % 2
data = {"inside": inside, "faces": faces, "values": exact(faces)}
history = keras_smooth.fit_lbfgs(
    model,
    data,
    objective=objective,
    epochs=arguments.epochs,
    verbose=0,
)

test = random_points(10_000)
found, true = model(test), exact(test)
print("error", f"{np.linalg.norm(found - true) / np.linalg.norm(true):.1e}")
print("iterations", history.result.nit)
print("seconds", f"{time.process_time():.0f}")

if arguments.figure:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    axes.hist(np.log10(np.abs(found - true)[:, 0]), 50)
    axes.set(xlabel="log10 of the absolute error", ylabel="points of 10,000")
    figure.savefig(arguments.figure, dpi=80)
