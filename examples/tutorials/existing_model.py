"""From a Keras model to second derivatives that you can trust
===========================================================

A model was trained for its outputs, and then its second derivatives are needed. This tutorial audits
them, repairs the model, and checks the result.
"""

# %%
# A typical model
# ---------------
#
# It learns y = sin(2 a) cos(b) from 1000 samples, with ReLU and Adam. Its error is small.
import warnings

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

import keras_smooth


def exact(x):
    return ops.sin(2.0 * x[:, :1]) * ops.cos(x[:, 1:])


keras.utils.set_random_seed(0)
generator = np.random.default_rng(0)
x = generator.uniform(-1.5, 1.5, (1000, 2)).astype("float32")
y = np.asarray(exact(x))

model = keras.Sequential([keras.Input((2,))])
for _ in range(3):
    model.add(keras.layers.Dense(32, "relu"))
model.add(keras.layers.Dense(1))
model.compile(optimizer="adam", loss="mse")
model.fit(x, y, epochs=80, verbose=0)
print(f"mean squared error {np.mean((model(x) - y) ** 2):.1e}")

# %%
# Are its derivatives right?
# --------------------------
#
# ``audit`` answers this for each layer, at your own points. It does not change the model.
found = keras_smooth.audit(model, x[:100])
found

# %%
# ReLU is of class C^0: its slope jumps, and its second derivative is 0 wherever it exists. The
# Laplacian of this model is 0 everywhere, whatever it has learned, and neither Keras nor TensorFlow
# raises an error:
laplacian = keras_smooth.laplacian(model, x[:5])
print(np.ravel(laplacian))
print(np.ravel(keras_smooth.laplacian(exact, x[:5])))

# %%
# With ``verify=True`` the numbers are compared with values of the model near each point. Where a
# point lies next to a kink, you get an error. Between kinks 0 is what the differences give too; then
# a warning says that the model has kinks.
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        keras_smooth.laplacian(model, x[:5], verify=True)
    except ValueError as error:
        print(error)
for warning in caught:
    print(warning.message)

# %%
# Repair
# ------
#
# ``smoothen`` replaces the activations at fault by smooth ones and keeps the weights. The outputs
# change, and ``output_change`` says by how much.
smooth = keras_smooth.smoothen(model)
print(keras_smooth.output_change(model, smooth, x))

# %%
# Some steps of full-batch L-BFGS more than compensate for this. ``dtype="float64"`` trains a float32
# model in float64.
smooth.compile(loss="mse")
history = keras_smooth.fit_lbfgs(smooth, x, y, epochs=300, dtype="float64", verbose=0)
history.result

# %%
# Check
# -----
#
# The audit finds no fault any more:
keras_smooth.audit(smooth, x[:100])

# %%
# For accurate numbers, float32 is not enough: a second derivative loses about half of the digits. A
# copy in float64 has the same weights, and its derivatives are checked to the bound that is shown.
double = keras.models.clone_model(
    smooth,
    keras.Input((2,), dtype="float64"),
    lambda layer: type(layer).from_config({**layer.get_config(), "dtype": "float64"}),
)
double.set_weights(smooth.get_weights())
values = keras_smooth.derivatives(double, x[:100].astype("float64"), verify=True)
values.verification

# %%
# Along a line, before and after:
line = np.stack([np.linspace(-1.5, 1.5, 200), np.full(200, 0.3)], axis=1)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
for axis, title, take in (
    (axes[0], "y", lambda model: model(line)),
    (axes[1], "Laplacian of y", lambda model: keras_smooth.laplacian(model, line)),
):
    axis.plot(line[:, 0], take(exact), "k", linewidth=4, alpha=0.25, label="exact")
    axis.plot(line[:, 0], take(model), "C3", label="with ReLU")
    axis.plot(line[:, 0], take(double), "C0", label="the same, repaired")
    axis.set(xlabel="a", title=title)
legend = axes[0].legend()

# %%
# Read on: :doc:`/gallery/repair` does the same for a function of one variable,
# :doc:`/howto/lbfgs_after_adam` has the options of the fit, and :doc:`/limits` says what a repair cannot
# do.
