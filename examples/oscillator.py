"""An inverse problem: damping and stiffness of an oscillator from samples of its motion.

A network u(t) is fitted to the samples and to u'' + c u' + k u = 0, and c and k are trained together
with it. The printed error is the larger one of the relative errors of c and k.
"""

import argparse
import time

import keras
import numpy as np
from keras import ops

import keras_smooth

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=3000, help="iterations of L-BFGS")
parser.add_argument("--points", type=int, default=60, help="samples of the motion")
parser.add_argument("--noise", type=float, default=0.0, help="standard deviation")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file for a picture of the result")
arguments = parser.parse_args()

DAMPING, STIFFNESS, END = 0.4, 9.0, 5.0


def exact(t):
    """The motion that starts at u = 1 with u' = 0."""
    decay = DAMPING / 2.0
    frequency = np.sqrt(STIFFNESS - decay**2)
    wave = np.cos(frequency * t) + decay / frequency * np.sin(frequency * t)
    return np.exp(-decay * t) * wave


damping = keras.Variable(0.0, dtype="float64", name="damping")
stiffness = keras.Variable(1.0, dtype="float64", name="stiffness")


def terms(model, data):
    u, du, d2u = keras_smooth.derivatives(model, data["times"])
    residual = d2u + damping * du + stiffness * u
    return {
        "samples": ops.mean((u - data["samples"]) ** 2),
        "equation": ops.mean(residual**2),
    }


keras.utils.set_random_seed(arguments.seed)
t = keras.Input((1,), dtype="float64")
hidden = 2.0 * t / END - 1.0
for _ in range(2):
    hidden = keras_smooth.Dense(20, "gaussian", dtype="float64")(hidden)
model = keras.Model(t, keras_smooth.Dense(1, dtype="float64")(hidden))

times = np.linspace(0.0, END, arguments.points)[:, None]
generator = np.random.default_rng(arguments.seed)
samples = exact(times) + generator.normal(0.0, arguments.noise, times.shape)
history = keras_smooth.fit_lbfgs(
    model,
    {"times": times, "samples": samples},
    objective=terms,
    variables=[damping, stiffness],
    epochs=arguments.epochs,
    verbose=0,
)

errors = []
for variable, value in ((damping, DAMPING), (stiffness, STIFFNESS)):
    found = float(variable.numpy())
    errors.append(abs(found / value - 1.0))
    print(variable.name, f"{found:.8f} error {errors[-1]:.1e}")
motion = np.linalg.norm(model(times) - exact(times)) / np.linalg.norm(exact(times))
print("motion error", f"{motion:.1e}")
print("error", f"{max(errors):.1e}")
print("iterations", history.result.nit)
print("seconds", f"{time.process_time():.0f}")

if arguments.figure:
    import matplotlib.pyplot as plt

    t = np.linspace(0.0, END, 301)[:, None]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    left.plot(t, exact(t), "k", linewidth=4, alpha=0.25, label="exact")
    left.plot(t, model(t), label="found")
    left.plot(times, samples, "k.", label="samples")
    left.set(xlabel="t", title="u")
    left.legend()
    right.plot(t, model(t) - exact(t))
    right.set(xlabel="t", title="error of u")
    figure.savefig(arguments.figure, dpi=80)
