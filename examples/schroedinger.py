"""The nonlinear Schroedinger equation i h_t + h_xx / 2 + abs(h)^2 h = 0 from h = 2 / cosh(x).

The solution is a breather on [-5, 5] x [0, pi / 2], with the exact form of Satsuma and Yajima. Its
real and imaginary parts are two outputs of a network whose inputs are even in x. The model satisfies
the initial values, and a term of the loss has the values at x = 5. The logarithm of the sum of both
terms is minimized with a dense inverse Hessian, the default for so few weights.

References:
    Satsuma and Yajima, 1974, "Initial value problems of one-dimensional self-modulation of
    nonlinear waves in dispersive media", Progress of Theoretical Physics Supplement 55; Raissi,
    Perdikaris and Karniadakis, 2019, "Physics-informed neural networks", Journal of
    Computational Physics 378 (the same start, periodic); Urban, Stefanou and Pons, 2025,
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
parser.add_argument("--epochs", type=int, default=2000, help="iterations of L-BFGS")
parser.add_argument("--points", type=int, default=1000, help="points of the equation")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file for a picture of the result")
arguments = parser.parse_args()

LENGTH, END = 5.0, np.pi / 2.0


def exact(points):
    """The breather, its real and imaginary part."""
    x, t = points[:, 0], points[:, 1]
    above = np.cosh(3.0 * x) + 3.0 * np.exp(4.0j * t) * np.cosh(x)
    below = np.cosh(4.0 * x) + 4.0 * np.cosh(2.0 * x) + 3.0 * np.cos(4.0 * t)
    h = 4.0 * np.exp(0.5j * t) * above / below
    return np.stack([h.real, h.imag], axis=1)


def objective(model, x):
    h, h_t, h_xx = keras_smooth.partials(model, x["inside"], ["t", "xx"], names="xt")
    # i (u + i v)_t has the parts -v_t and u_t.
    turned = ops.stack([-h_t[:, 1], h_t[:, 0]], axis=1)
    square = ops.sum(h**2, axis=1, keepdims=True)
    residual = turned + 0.5 * h_xx + square * h
    boundary = model(x["boundary"]) - x["values"]
    return ops.log(ops.mean(residual**2) + ops.mean(boundary**2))


keras.utils.set_random_seed(arguments.seed)
inputs = keras.Input((2,), dtype="float64")
x, t = inputs[:, :1], inputs[:, 1:]
even = [2.0 * ops.exp(-(x**2)) - 1.0, 2.0 * ops.exp(-(x**2) / 8.0) - 1.0]
hidden = ops.concatenate([*even, 2.0 * t / END - 1.0], axis=1)
for _ in range(3):
    hidden = keras_smooth.Dense(16, "tanh", dtype="float64")(hidden)
change = keras_smooth.Dense(2, dtype="float64")(hidden)
start = ops.concatenate([4.0 / (ops.exp(x) + ops.exp(-x)), ops.zeros_like(x)], axis=1)
model = keras.Model(inputs, start + t * change)

# Quasi-random points: multiples of powers of the plastic number, modulo 1.
numbers = np.arange(arguments.points)[:, None] + 0.5
inside = numbers * 1.32471795724474602596 ** np.array([-1.0, -2.0]) % 1.0
# More of them in the middle, where h changes most.
inside[::2, 0] /= 2.5
times = END * 0.5 * (1.0 - np.cos(np.pi * (np.arange(40) + 0.5) / 40))
boundary = np.stack([np.full(40, LENGTH), times], axis=1)
points = {
    "inside": inside * [LENGTH, END],
    "boundary": boundary,
    "values": exact(boundary),
}
history = keras_smooth.fit_lbfgs(
    model,
    points,
    objective=objective,
    epochs=arguments.epochs,
    verbose=0,
)

x, t = np.meshgrid(np.linspace(-LENGTH, LENGTH, 161), np.linspace(0.0, END, 61))
grid = np.stack([x.ravel(), t.ravel()], axis=1)
found, true = model(grid).numpy(), exact(grid)
print("error", f"{np.linalg.norm(found - true) / np.linalg.norm(true):.1e}")
print("iterations", history.result.nit)
print("seconds", f"{time.process_time():.0f}")

if arguments.figure:
    import matplotlib.pyplot as plt

    size, true_size = (np.hypot(*h.T).reshape(x.shape) for h in (found, true))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    figure.colorbar(left.pcolormesh(t, x, size), ax=left, label="|h|")
    left.set(xlabel="t", ylabel="x", title="|h|")
    for row in (0, 20, 30, 40):
        right.plot(x[row], size[row], label=f"t = {t[row, 0]:.2f}")
        right.plot(x[row], true_size[row], "k:")
    right.set(xlabel="x", title="|h| over the exact solution (dotted)")
    right.legend()
    figure.savefig(arguments.figure, dpi=80)
