"""An inverse problem: damping and stiffness of an oscillator from samples of its motion.

A network u(t) is fitted to the samples and to u'' + c u' + k u = 0 together, and c and k
are weights like all others. The relative errors of c and k are at most 5.7e-07 and 1.6e-07
for seeds 0 to 2, in 11 s of one core; with --noise 0.01 they are 1.2e-03 and 2.4e-03.
"""

import argparse

import keras
import numpy as np
from keras import ops

import keras_smooth

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=20000, help="iterations of L-BFGS")
parser.add_argument("--points", type=int, default=60, help="samples of the motion")
parser.add_argument("--noise", type=float, default=0.0, help="standard deviation")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()

DAMPING, STIFFNESS, END = 0.4, 9.0, 5.0


def exact(t):
    """The motion that starts at u = 1 with u' = 0."""
    decay = DAMPING / 2.0
    frequency = np.sqrt(STIFFNESS - decay**2)
    wave = np.cos(frequency * t) + decay / frequency * np.sin(frequency * t)
    return np.exp(-decay * t) * wave


class Oscillator(keras.Model):
    """A model u(t) with two weights more, the parameters of the equation."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.damping = self.add_weight(initializer="zeros", dtype="float64")
        self.stiffness = self.add_weight(initializer="ones", dtype="float64")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        u, du, d2u = keras_smooth.derivatives(self, x)
        residual = d2u + self.damping * du + self.stiffness * u
        return ops.mean(ops.square(u - y)) + ops.mean(ops.square(residual))


keras.utils.set_random_seed(arguments.seed)
t = keras.Input((1,), dtype="float64")
hidden = 2.0 * t / END - 1.0
for _ in range(2):
    hidden = keras_smooth.Dense(20, "gaussian", dtype="float64")(hidden)
model = Oscillator(t, keras_smooth.Dense(1, dtype="float64")(hidden))
model.compile()

times = np.linspace(0.0, END, arguments.points)[:, None]
generator = np.random.default_rng(arguments.seed)
samples = exact(times) + generator.normal(0.0, arguments.noise, times.shape)
keras_smooth.fit_lbfgs(model, times, samples, epochs=arguments.epochs, verbose=0)

for name, value in {"damping": DAMPING, "stiffness": STIFFNESS}.items():
    found = float(getattr(model, name).numpy())
    print(name, f"{found:.8f} error {abs(found / value - 1.0):.1e}")
error = np.linalg.norm(model(times) - exact(times)) / np.linalg.norm(exact(times))
print("motion error", f"{error:.1e}")
