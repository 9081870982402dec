"""An existing Keras project that gains derivatives by three changed lines.

The lines are marked (1), (2) and (3). The project learns a potential from samples, and needs the
force, its derivative with respect to the input.
"""

import argparse

import keras
import numpy as np

import keras_smooth  # (1)

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=200, help="epochs of Adam")
parser.add_argument("--figure", help="file for a picture of the result")
arguments = parser.parse_args()


def potential(x):
    return keras.ops.square(1.0 - keras.ops.exp(-x))


x = np.random.default_rng(0).uniform(-0.5, 3.0, (500, 1)).astype("float32")
y = np.asarray(potential(x))

keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((1,))])
for _ in range(3):
    model.add(keras_smooth.Dense(32, activation="tanh"))  # (2) was keras.layers.Dense
model.add(keras.layers.Dense(1))
model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="mse")

stopping = keras.callbacks.EarlyStopping("loss", patience=20, restore_best_weights=True)
callbacks = [
    keras_smooth.DerivativeMonitor(x[:100], potential),
    stopping,
]  # (3) was [stopping]
history = model.fit(
    x, y, epochs=arguments.epochs, batch_size=50, verbose=0, callbacks=callbacks
)

print(*(f"{key} {values[-1]:.1e}" for key, values in history.history.items()))

if arguments.figure:
    callbacks[0].plot().savefig(arguments.figure)
