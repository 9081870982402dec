"""Helmholtz' equation u_xx + u_yy + u = f on the square [-1, 1]^2 with u = 0 on its edge.

The exact solution is sin(pi x) sin(4 pi y), whose two scales make this a common test of PINNs. A
factor of the model satisfies the values on the edge, the activation is a sine of inputs times pi, and
the logarithm of the mean squared residual is minimized with a dense inverse Hessian, the default for
so few weights. New points are drawn every 100 iterations: at fixed points, sines of large weights can
have a residual of almost 0 and any values between them.

References:
    Wang, Teng and Perdikaris, 2021, "Understanding and mitigating gradient flow pathologies in
    physics-informed neural networks", SIAM Journal on Scientific Computing 43 (the equation);
    Urban, Stefanou and Pons, 2025, "Unveiling the optimization process of physics informed
    neural networks", Journal of Computational Physics 523 (the logarithm).
"""

import argparse
import time

import keras
import numpy as np
from keras import ops

import keras_smooth

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1500, help="iterations of L-BFGS")
parser.add_argument(
    "--points", type=int, default=1000, help="points, drawn anew each 100 iterations"
)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file for a picture of the result")
arguments = parser.parse_args()


def exact(points):
    return ops.sin(np.pi * points[:, :1]) * ops.sin(4.0 * np.pi * points[:, 1:])


def objective(model, points):
    source = (1.0 - 17.0 * np.pi**2) * exact(points)
    helmholtz = {"xx": 1.0, "yy": 1.0, "": 1.0}
    residual = keras_smooth.linear_operator(model, points, helmholtz, names="xy") - source
    return ops.log(ops.mean(residual**2))


keras.utils.set_random_seed(arguments.seed)
inputs = keras.Input((2,), dtype="float64")
x, y = inputs[:, :1], inputs[:, 1:]
hidden = np.pi * inputs
for _ in range(2):
    hidden = keras_smooth.Dense(20, "sin", dtype="float64")(hidden)
u = (1.0 - x**2) * (1.0 - y**2) * keras_smooth.Dense(1, dtype="float64")(hidden)
model = keras.Model(inputs, u)


def draw(model, x, generator):
    """Points that are denser towards the edges, as those of Gauss and Chebyshev."""
    return np.cos(np.pi * generator.random((arguments.points, 2)))


history = keras_smooth.fit_lbfgs(
    model,
    draw(model, None, np.random.default_rng(arguments.seed)),
    objective=objective,
    resample=keras_smooth.Resample(draw, every=100),
    epochs=arguments.epochs,
    verbose=0,
)

axis = np.linspace(-1.0, 1.0, 101)
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
