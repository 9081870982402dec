"""The equation of Korteweg and de Vries, u_t + 6 u u_x + u_xxx = 0: two solitons meet.

The larger one overtakes the smaller one on [-8, 8] x [0, 6]. The exact solution is Hirota's. The
model satisfies the initial values, and terms of the loss have u at both ends and u_x at the right
end. The logarithm of the sum of all terms is minimized with a dense inverse Hessian, the default for
so few weights. The layers have `order=3`, the order of the highest derivative.

References:
    Hirota, 1971, "Exact solution of the Korteweg-de Vries equation for multiple collisions of
    solitons", Physical Review Letters 27; Urban, Stefanou and Pons, 2025, "Unveiling the
    optimization process of physics informed neural networks", Journal of Computational
    Physics 523 (the logarithm).
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

LENGTH, END = 8.0, 6.0


def exact(points):
    """Two solitons of the heights 0.5 and 1.125, by 2 (log F)_xx."""
    x, t = points[:, :1], points[:, 1:]
    a = ops.exp(x - t + 0.5)
    b = ops.exp(1.5 * (x + 3.5) - 1.5**3 * t)
    f = 1.0 + a + b + 0.04 * a * b
    f_x = a + 1.5 * b + 0.1 * a * b
    f_xx = a + 2.25 * b + 0.25 * a * b
    return 2.0 * (f * f_xx - f_x**2) / f**2


def objective(model, x):
    u, u_t, u_x, u_xxx = keras_smooth.partials(
        model, x["inside"], ["t", "x", "xxx"], names="xt"
    )
    right, right_x = keras_smooth.partials(model, x["right"], ["x"], names="xt")
    terms = (
        u_t + 6.0 * u * u_x + u_xxx,
        model(x["left"]) - x["left value"],
        right - x["right value"],
        right_x - x["right slope"],
    )
    return ops.log(sum(ops.mean(term**2) for term in terms))


keras.utils.set_random_seed(arguments.seed)
inputs = keras.Input((2,), dtype="float64")
t = inputs[:, 1:]
hidden = ops.concatenate([inputs[:, :1] / 3.0, 2.0 * t / END - 1.0], axis=1)
for _ in range(3):
    hidden = keras_smooth.Dense(16, "tanh", order=3, dtype="float64")(hidden)
change = keras_smooth.Dense(1, dtype="float64")(hidden)
start = ops.concatenate([inputs[:, :1], ops.zeros_like(t)], axis=1)
model = keras.Model(inputs, exact(start) + t / END * change)

# Quasi-random points: multiples of powers of the plastic number, modulo 1.
numbers = np.arange(arguments.points)[:, None] + 0.5
inside = numbers * 1.32471795724474602596 ** np.array([-1.0, -2.0]) % 1.0
times = END * 0.5 * (1.0 - np.cos(np.pi * (np.arange(40) + 0.5) / 40))
left, right = (np.stack([np.full(40, x), times], axis=1) for x in (-LENGTH, LENGTH))
right_value, right_slope = keras_smooth.partials(exact, right, ["x"], names="xt")
points = {
    "inside": inside * [2.0 * LENGTH, END] - [LENGTH, 0.0],
    "left": left,
    "left value": exact(left),
    "right": right,
    "right value": right_value,
    "right slope": right_slope,
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
found, true = (np.reshape(function(grid), x.shape) for function in (model, exact))
print("error", f"{np.linalg.norm(found - true) / np.linalg.norm(true):.1e}")
print("iterations", history.result.nit)
print("seconds", f"{time.process_time():.0f}")

if arguments.figure:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    figure.colorbar(left.pcolormesh(t, x, found), ax=left, label="u")
    left.set(xlabel="t", ylabel="x", title="u")
    for row in (0, 20, 40, 60):
        right.plot(x[row], found[row], label=f"t = {t[row, 0]:.0f}")
        right.plot(x[row], true[row], "k:")
    right.set(xlabel="x", title="u over the exact solution (dotted)")
    right.legend()
    figure.savefig(arguments.figure, dpi=80)
