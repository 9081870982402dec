"""The equation of Kuramoto and Sivashinsky, u_t + 5 u u_x + 0.5 u_xx + 0.005 u_xxxx = 0.

The domain is [-1, 1] x [0, 1], periodic in x, and u(x, 0) = -sin(pi x). Growth and damping have the
same size, and errors grow too, so that time is divided into windows: u is the end of the last window
plus a change, which the network learns, starting from the weights of the last window.

- u is odd in x, so that half of the interval is enough. The network receives cosines, which are even
  and periodic, and its output is multiplied by sin(pi x).
- The points have the same x in all windows: the start of a window and its derivatives are sums at
  these points, and nothing is compiled again.
- The logarithm of the mean squared residual is minimized with a dense inverse Hessian, the default
  for so few weights.

The reference solution is from a Fourier method with 256 modes and fourth-order steps in time.
Another method, ETDRK4, with other modes and steps, agrees to 3e-7: `tests/test_examples.py`.

References:
    Wang, Sankaran and Perdikaris, 2022, "Respecting causality is all you need for training
    physics-informed neural networks", arXiv 2203.07404 (this equation, in windows); Urban,
    Stefanou and Pons, 2025, "Unveiling the optimization process of physics informed neural
    networks", Journal of Computational Physics 523 (the logarithm).
"""

import argparse
import time

import keras
import numpy as np
from keras import ops

import keras_smooth

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1000, help="iterations in each window")
parser.add_argument("--points", type=int, default=800, help="points of the equation")
parser.add_argument("--windows", type=int, default=10, help="of the time")
parser.add_argument("--end", type=float, default=1.0, help="the time at which it ends")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file for a picture of the result")
arguments = parser.parse_args()

WINDOW = arguments.end / arguments.windows


def reference(num_rows, num_modes=256, num_steps=10_000):
    """Places, and the solution at so many times from 0 on."""
    x = np.linspace(-1.0, 1.0, num_modes, endpoint=False)
    wave = np.pi * np.fft.rfftfreq(num_modes, 1.0 / num_modes)
    step = arguments.end / num_steps
    # Runge and Kutta's steps for what is left when the linear part is solved exactly.
    half = np.exp((0.5 * wave**2 - 0.005 * wave**4) * step / 2.0)

    def change(modes):
        return -2.5j * step * wave * np.fft.rfft(np.fft.irfft(modes) ** 2)

    rows = [np.fft.rfft(-np.sin(np.pi * x))]
    for _ in range(num_steps):
        u = rows[-1]
        first = change(u)
        second = change(half * (u + first / 2.0))
        third = change(half * u + second / 2.0)
        fourth = change(half * (half * u + third))
        u = half**2 * (u + first / 6.0) + half * (second + third) / 3.0 + fourth / 6.0
        rows.append(u)
    return x, np.fft.irfft(np.array(rows)[:: num_steps // num_rows])


def along_x(function, points):
    """The value and the derivatives by x that the equation has, as columns."""
    which = ["x", "xx", "xxxx"]
    return ops.concatenate(
        keras_smooth.partials(function, points, which, names="xt"), axis=1
    )


def objective(model, data):
    *change, change_t = keras_smooth.partials(
        model, data["points"], ["x", "xx", "xxxx", "t"], names="xt"
    )
    t = data["points"][:, 1:]
    u, u_x, u_xx, u_xxxx = ops.split(
        data["start"] + t * ops.concatenate(change, axis=1), 4, axis=1
    )
    u_t = (change[0] + t * change_t) / WINDOW
    residual = u_t + 5.0 * u * u_x + 0.5 * u_xx + 0.005 * u_xxxx
    return ops.log(ops.mean(residual**2))


keras.utils.set_random_seed(arguments.seed)
inputs = keras.Input((2,), dtype="float64")
x, t = np.pi * inputs[:, :1], inputs[:, 1:]
hidden = ops.concatenate([ops.cos(x), ops.cos(2.0 * x), 2.0 * t - 1.0], axis=1)
for _ in range(2):
    hidden = keras_smooth.Dense(20, "tanh", order=4, dtype="float64")(hidden)
model = keras.Model(inputs, ops.sin(x) * keras_smooth.Dense(1, dtype="float64")(hidden))

# Quasi-random points: multiples of powers of the plastic number, modulo 1. Time is that of a
# window, from 0 to 1.
numbers = np.arange(arguments.points)[:, None] + 0.5
points = numbers * 1.32471795724474602596 ** np.array([-1.0, -2.0]) % 1.0
ends = np.concatenate([points[:, :1], np.ones((arguments.points, 1))], axis=1)
start = along_x(lambda x: -ops.sin(np.pi * x[:, :1]), points)
axis, exact = reference(10 * arguments.windows)
found, iterations = [-np.sin(np.pi * axis)], 0
for _ in range(arguments.windows):
    history = keras_smooth.fit_lbfgs(
        model,
        {"points": points, "start": start},
        objective=objective,
        epochs=arguments.epochs,
        verbose=0,
    )
    iterations += history.result.nit
    start = start + along_x(model, ends)
    last = found[-1]
    for t in np.arange(1, 11) / 10.0:
        change = model(np.stack([axis, np.full_like(axis, t)], axis=1))
        found.append(last + t * np.ravel(change))

found = np.array(found)
print("error", f"{np.linalg.norm(found - exact) / np.linalg.norm(exact):.1e}")
print("iterations", iterations)
print("seconds", f"{time.process_time():.0f}")

if arguments.figure:
    import matplotlib.pyplot as plt

    times = np.linspace(0.0, arguments.end, len(exact))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    figure.colorbar(left.pcolormesh(times, axis, found.T), ax=left, label="u")
    left.set(xlabel="t", ylabel="x", title="u")
    size = np.linalg.norm(exact, axis=1)
    error = np.linalg.norm(found - exact, axis=1) / size
    right.semilogy(times[1:], error[1:])  # It begins with the solution itself.
    right.set(xlabel="t", title="relative L2 error at a time")
    figure.savefig(arguments.figure, dpi=80)
