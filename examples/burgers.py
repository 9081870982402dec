"""Burgers' equation u_t + u u_x = nu u_xx, whose solution becomes a shock at x = 0.

Here nu = 0.01 / pi and u(x, 0) = -sin(pi x) on [-1, 1] x [0, 1]. Four things make the solution
accurate:

- u is odd in x, so that half of the interval is enough. The shock is at 0: the network also receives
  arsinh(x / 0.02), which is stretched there as grids for boundary layers are, and half of the points
  are uniform in it.
- Factors of the model satisfy the initial and boundary values.
- The logarithm of the mean squared residual is minimized.
- The inverse Hessian is a dense matrix, the default for so few weights.

References:
    Basdevant et al., 1986, "Spectral and finite difference solutions of the Burgers
    equation", Computers and Fluids 14 (the exact solution); Urban, Stefanou and Pons, 2025,
    "Unveiling the optimization process of physics informed neural networks", Journal of
    Computational Physics 523 (the logarithm).
"""

import argparse
import time

import keras
import numpy as np
from keras import ops

import keras_smooth

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=2500, help="iterations of L-BFGS")
parser.add_argument("--points", type=int, default=1500, help="points of the equation")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file for a picture of the result")
arguments = parser.parse_args()

VISCOSITY = 0.01 / np.pi
WIDTH = 0.02


def exact(x, t):
    """The Cole-Hopf integral by Gauss-Hermite quadrature with 100 nodes."""
    nodes, weights = np.polynomial.hermite.hermgauss(100)
    start = np.pi * (x[..., None] - np.sqrt(4.0 * VISCOSITY * t[..., None]) * nodes)
    weights = weights * np.exp(-np.cos(start) / (2.0 * np.pi * VISCOSITY))
    return -np.sum(weights * np.sin(start), axis=-1) / np.sum(weights, axis=-1)


def objective(model, points):
    u, u_t, u_x, u_xx = keras_smooth.partials(model, points, ["t", "x", "xx"], names="xt")
    # In the shock u_x is -150: divided by it, the residual does not outweigh others.
    residual = (u_t + u * u_x - VISCOSITY * u_xx) / ops.sqrt(1.0 + 0.01 * u_x**2)
    return ops.log(ops.mean(residual**2))


keras.utils.set_random_seed(arguments.seed)
inputs = keras.Input((2,), dtype="float64")
x, t = inputs[:, :1], inputs[:, 1:]
stretched = ops.log(x / WIDTH + ops.sqrt((x / WIDTH) ** 2 + 1.0)) / np.arcsinh(1.0 / WIDTH)
hidden = 2.0 * ops.concatenate([x, stretched, t], axis=1) - 1.0
for _ in range(3):
    hidden = keras_smooth.Dense(16, "tanh", dtype="float64")(hidden)
jump = x / ops.sqrt(x**2 + 1e-4) * keras_smooth.Dense(1, dtype="float64")(hidden)
model = keras.Model(inputs, t * (1.0 - x**2) * jump - (1.0 - t) * ops.sin(np.pi * x))

# Quasi-random points: multiples of powers of the plastic number, modulo 1.
numbers = np.arange(arguments.points)[:, None] + 0.5
points = numbers * 1.32471795724474602596 ** np.array([-1.0, -2.0]) % 1.0
points[::2, 0] = WIDTH * np.sinh(points[::2, 0] * np.arcsinh(1.0 / WIDTH))
history = keras_smooth.fit_lbfgs(
    model,
    points,
    objective=objective,
    epochs=arguments.epochs,
    verbose=0,
)

x, t = np.meshgrid(np.linspace(0.0, 1.0, 257), np.linspace(0.0, 1.0, 101))
found = np.reshape(model(np.stack([x.ravel(), t.ravel()], axis=1)), x.shape)
error = np.linalg.norm(found - exact(x, t)) / np.linalg.norm(exact(x, t))
print("error", f"{error:.1e}")
print("iterations", history.result.nit)
print("seconds", f"{time.process_time():.0f}")

if arguments.figure:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    figure.colorbar(left.pcolormesh(t, x, found), ax=left, label="u")
    left.plot(points[:, 1], points[:, 0], "k.", markersize=1)
    left.set(xlabel="t", ylabel="x", title="u, and the points of the equation")
    for row in (0, 25, 50, 75, 100):
        right.plot(x[row], found[row], label=f"t = {t[row, 0]:.2f}")
        right.plot(x[row], exact(x, t)[row], "k:")
    right.set(xlabel="x", title="u over the exact solution (dotted)")
    right.legend()
    figure.savefig(arguments.figure, dpi=80)
