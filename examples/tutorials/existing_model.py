"""From a Keras model to second derivatives that you can trust
===========================================================

A model was trained for its outputs, but its second derivatives are needed. This tutorial audits
the derivatives, repairs the model and checks the result.
"""

# %%
# A typical model
# ---------------
#
# The model learns y = sin(2 a) cos(b) from 1000 samples, with ReLU and Adam. Its error is small.
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
# ``audit`` answers this for each layer, at the given points. It does not change the model.
found = keras_smooth.audit(model, x[:100])
found

# %%
# ReLU is of class C^0: its slope jumps, and its second derivative is 0 wherever it exists. So
# the Laplacian of this model is 0, whatever the model has learned. Neither Keras nor TensorFlow
# raises an error:
laplacian = keras_smooth.laplacian(model, x[:5])
print(np.ravel(laplacian))
print(np.ravel(keras_smooth.laplacian(exact, x[:5])))

# %%
# With ``verify=True`` the derivatives are compared with finite differences of the model. If a
# point is near a kink, there is an error. Between kinks the differences are 0 as well. Then a
# warning says that there are kinks between the points.
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
# ``smoothen`` replaces the faulty activations by smooth ones and keeps the weights. The outputs
# change, and ``output_change`` says by how much.
smooth = keras_smooth.smoothen(model)
print(keras_smooth.output_change(model, smooth, x))

# %%
# Some iterations of full-batch L-BFGS more than compensate for this change. ``dtype="float64"``
# trains a float32 model in float64.
smooth.compile(loss="mse")
history = keras_smooth.fit_lbfgs(smooth, x, y, epochs=300, dtype="float64", verbose=0)
history.result

# %%
# Check
# -----
#
# The audit finds no faults in the new model:
keras_smooth.audit(smooth, x[:100])

# %%
# For accurate derivatives, make a copy in float64 with the same weights. In float32, a second
# derivative has a relative rounding error of 1e-6 or more. The derivatives of the copy agree
# with differences within the bound below.
double = keras.models.clone_model(
    smooth,
    keras.Input((2,), dtype="float64"),
    lambda layer: type(layer).from_config({**layer.get_config(), "dtype": "float64"}),
)
double.set_weights(smooth.get_weights())
values = keras_smooth.derivatives(double, x[:100].astype("float64"), verify=True)
values.verification

# %%
# y and its Laplacian along a line, before and after the repair:
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
# Next: :doc:`/gallery/repair` does the same for a function of one variable,
# :doc:`/howto/lbfgs_after_adam` explains the options of the fit, and :doc:`/limits` has the
# limits of a repair.
