"""Hessian and vibrational frequency of a learnt energy: a diatomic Morse molecule.

A network learns the energy E(r1, r2) of two atoms from samples of the energy and of its gradient,
which is minus the forces. At the minimum, the eigenvalues of the mass-weighted Hessian are the
squared angular frequencies. The exact frequencies are 0 (translation of the molecule) and
a sqrt(2 D / mu), with the reduced mass mu. The printed error is the relative error of the second one.
"""

import argparse
import time

import keras
import numpy as np
from keras import ops

import keras_smooth

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1000, help="iterations of L-BFGS")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--figure", help="file for a picture of the result")
arguments = parser.parse_args()

DEPTH, WIDTH, LENGTH = 1.0, 1.2, 1.0
MASSES = np.array([1.0, 3.0])


def energy(x):
    stretch = x[:, 1:] - x[:, :1] - LENGTH
    return DEPTH * ops.square(1.0 - ops.exp(-WIDTH * stretch))


generator = np.random.default_rng(arguments.seed)
left = generator.uniform(-0.3, 0.3, (400, 1))
x = np.concatenate([left, left + generator.uniform(0.6, 1.8, (400, 1))], axis=1)

keras.utils.set_random_seed(arguments.seed)
net = keras.Sequential([keras.Input((2,), dtype="float64")])
for _ in range(2):
    net.add(keras_smooth.Dense(20, "tanh", dtype="float64"))
net.add(keras_smooth.Dense(1, dtype="float64"))
targets = {"y": energy(x), "dy": keras_smooth.gradient(energy, x)}
model = keras_smooth.DerivativeModel(net, order=1)
model.compile(loss={"y": "mse", "dy": "mse"})
history = keras_smooth.fit_lbfgs(model, x, targets, epochs=arguments.epochs, verbose=0)

minimum = np.array([[0.0, LENGTH]])
hessian = keras_smooth.hessian(net, minimum)[0, 0].numpy()
weighted = hessian / np.sqrt(np.outer(MASSES, MASSES))
squares = np.linalg.eigvalsh(weighted)
frequency = np.sqrt(squares[1])
reduced = MASSES.prod() / MASSES.sum()
exact = WIDTH * np.sqrt(2.0 * DEPTH / reduced)
print("translation", f"{squares[0]:.1e}")
print("frequency", f"{frequency:.8f}")
print("exact", f"{exact:.8f}")
print("error", f"{abs(frequency / exact - 1.0):.1e}")
print("iterations", history.result.nit)
print("seconds", f"{time.process_time():.0f}")

if arguments.figure:
    import matplotlib.pyplot as plt

    stretch = np.linspace(-0.4, 0.8, 201)
    line = np.stack([np.zeros(201), LENGTH + stretch], axis=1)
    figure, panel = plt.subplots(figsize=(5, 3.5), layout="constrained")
    panel.plot(stretch, energy(line), "k", linewidth=4, alpha=0.25, label="exact energy")
    panel.plot(stretch, net(line), label="learnt")
    panel.plot(stretch, 0.5 * hessian[1, 1] * stretch**2, "--", label="by its Hessian")
    panel.set(xlabel="stretch", ylim=(0.0, 1.0))
    panel.legend()
    figure.savefig(arguments.figure, dpi=80)
