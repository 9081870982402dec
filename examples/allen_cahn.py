"""The Allen-Cahn equation u_t = 0.0001 u_xx + 5 u - 5 u^3 with fronts as sharp as 0.01.

The domain is [-1, 1] x [0, 1], periodic in x, and u(x, 0) = x^2 cos(pi x). Diffusion without
reaction and reaction without diffusion have exact solutions. One large step of a splitting method
combines them into an approximation. It is an input of the network, which learns the difference:

- u is even in x, so that half of the interval is enough. The network receives cos(pi x), which is
  even and periodic, and also a version that is stretched around its zero, where the front is.
- The values at t = 0 have a kink at x = 1, which diffusion smooths as the heat kernel does. The
  network receives this shape.
- Errors at early times grow, so that the residual has a larger weight there.
- The logarithm of the mean squared residual is minimized with a dense inverse Hessian, the default
  for so few weights.

The reference solution is from a Fourier method with 1024 modes and fourth-order splitting in time;
512 modes agree to 2e-7.

References:
    Raissi, Perdikaris and Karniadakis, 2019, "Physics-informed neural networks", Journal of
    Computational Physics 378 (the equation); Urban, Stefanou and Pons, 2025, "Unveiling the
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
parser.add_argument("--points", type=int, default=1500, help="points of the equation")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file for a picture of the result")
arguments = parser.parse_args()

DIFFUSIVITY, WIDTH = 1e-4, 0.06
STRETCH = np.arcsinh(1.0 / WIDTH)


def react(u, t):
    """The exact solution of u_t = 5 u - 5 u^3 after a time t."""
    return u / ops.sqrt(u**2 + (1.0 - u**2) * ops.exp(-10.0 * t))


def reference(steps, modes=1024):
    """The solution at times k / steps and at x >= 0, rows and columns."""
    x = np.linspace(-1.0, 1.0, modes, endpoint=False)
    square = (np.pi * np.fft.fftfreq(modes, 1.0 / modes)) ** 2

    def diffuse(u, t):
        return np.fft.ifft(np.exp(-DIFFUSIVITY * square * t) * np.fft.fft(u)).real

    def split(u, t):
        after = diffuse(u, t / 2.0)
        after = after / np.sqrt(after**2 + (1.0 - after**2) * np.exp(-10.0 * t))
        return diffuse(after, t / 2.0)

    rows, dt = [x**2 * np.cos(np.pi * x)], 1e-3
    for _ in range(1000):
        u = rows[-1]
        rows.append((4.0 * split(split(u, dt / 2.0), dt / 2.0) - split(u, dt)) / 3.0)
    return x[modes // 2 :: 4], np.array(rows)[:: 1000 // steps, modes // 2 :: 4]


def objective(model, points):
    u, u_t, u_xx = keras_smooth.partials(model, points, ["t", "xx"], names="xt")
    residual = u_t - DIFFUSIVITY * u_xx + 5.0 * u**3 - 5.0 * u
    return ops.log(ops.mean((residual * ops.exp(2.0 - 2.0 * points[:, 1:])) ** 2))


keras.utils.set_random_seed(arguments.seed)
inputs = keras.Input((2,), dtype="float64")
x, t = inputs[:, :1], inputs[:, 1:]
wave = ops.cos(np.pi * x)
stretched = ops.log(wave / WIDTH + ops.sqrt((wave / WIDTH) ** 2 + 1.0)) / STRETCH
# The heat kernel's width; the summand keeps t = 0 away from a division by zero.
width = ops.sqrt(4.0 * DIFFUSIVITY * t + 1e-12)
distance = (1.0 - x) / width
bump = ops.exp(-(distance**2))
kink = 2.0 * width * (bump / np.sqrt(np.pi) - distance * (1.0 - ops.erf(distance)))
# The heat equation from x^2 cos(pi x), and the slope at x = 1 that the kink takes away.
spread = DIFFUSIVITY * t
heat = (x**2 - (2.0 * np.pi * spread) ** 2 + 2.0 * spread) * wave
heat -= 4.0 * np.pi * spread * x * ops.sin(np.pi * x)
heat += (1.0 - 2.0 * np.pi**2 * spread) * kink
heat *= ops.exp(-(np.pi**2) * spread)
start = react(heat, t)
hidden = ops.concatenate([wave, stretched, start, 2.0 * t - 1.0, 2.0 * bump - 1.0], axis=1)
for _ in range(3):
    hidden = keras_smooth.Dense(16, "tanh", dtype="float64")(hidden)
change = keras_smooth.Dense(1, dtype="float64")(hidden)
model = keras.Model(inputs, start + t * change)

# Quasi-random points: multiples of powers of the plastic number, modulo 1. Half of them are
# uniform in the stretched cosine, an eighth is near the kink, another where u grows from 0.
numbers = np.arange(1, arguments.points + 1)[:, None]
points = (0.5 + numbers * 1.32471795724474602596 ** np.array([-1.0, -2.0])) % 1.0
near = WIDTH * np.sinh((2.0 * points[::2, 0] - 1.0) * STRETCH)
points[::2, 0] = np.arccos(near) / np.pi
points[1::8, 0] = 1.0 - 0.06 * points[1::8, 0] ** 2
points[5::8, 0] *= 0.25
history = keras_smooth.fit_lbfgs(
    model,
    points,
    objective=objective,
    epochs=arguments.epochs,
    verbose=0,
)

times = np.linspace(0.0, 1.0, 21)
axis, exact = reference(20)
x, t = np.meshgrid(axis, times)
found = np.reshape(model(np.stack([x.ravel(), t.ravel()], axis=1)), x.shape)
print("error", f"{np.linalg.norm(found - exact) / np.linalg.norm(exact):.1e}")
print("iterations", history.result.nit)
print("seconds", f"{time.process_time():.0f}")

if arguments.figure:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    figure.colorbar(left.pcolormesh(t, x, found), ax=left, label="u")
    left.set(xlabel="t", ylabel="x", title="u")
    for row in (0, 5, 10, 20):
        right.plot(x[row], found[row], label=f"t = {t[row, 0]:.2f}")
        right.plot(x[row], exact[row], "k:")
    right.set(xlabel="x", title="u over the Fourier method's (dotted)")
    right.legend()
    figure.savefig(arguments.figure, dpi=80)
