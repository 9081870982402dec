"""From a Keras model to second derivatives that can be trusted
============================================================

A model that was trained for its outputs is asked for its second derivatives. They are looked at,
found to be no good, repaired, and at last certified.
"""

# %%
# A model as there are many
# -------------------------
#
# It learnt y = sin(2 a) cos(b) from 1000 samples, with ReLU and by Adam. Its error is small.
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
# What are its derivatives worth?
# -------------------------------
#
# ``audit`` measures it, layer by layer, at your own points. It changes nothing.
found = keras_smooth.audit(model, x[:100])
found

# %%
# ReLU is of class C^0: its slope jumps, and its second derivative is 0 wherever there is one.
# The Laplacian of this model is 0 everywhere, whatever it has learnt, and no line of Keras or
# TensorFlow says so:
laplacian = keras_smooth.laplacian(model, x[:5])
print(np.ravel(laplacian))
print(np.ravel(keras_smooth.laplacian(exact, x[:5])))

# %%
# With ``verify=True`` that is an error instead of an answer. It compares the numbers with values
# of the model itself near each point.
try:
    keras_smooth.laplacian(model, x[:5], verify=True)
except ValueError as error:
    print(error)

# %%
# Repair
# ------
#
# ``smoothen`` puts smooth activations in the place of those at fault and keeps the weights. The
# outputs move, and it says how far.
smooth = keras_smooth.smoothen(model)
print(keras_smooth.output_change(model, smooth, x))

# %%
# Some steps of full-batch L-BFGS more than make up for it. ``dtype="float64"`` trains a float32
# model in float64.
smooth.compile(loss="mse")
history = keras_smooth.fit_lbfgs(smooth, x, y, epochs=300, dtype="float64", verbose=0)
history.result

# %%
# Trust
# -----
#
# The audit has nothing to say against it any more:
keras_smooth.audit(smooth, x[:100])

# %%
# For the numbers themselves, float32 is too little: a second derivative loses about half of the
# digits. A copy in float64 has the same weights, and its derivatives are certified to the bound
# that is named.
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
# Where to go on: :doc:`/gallery/repair` is the same for a function of one variable,
# :doc:`/howto/lbfgs_after_adam` has the options of the fit, and :doc:`/limits` what no repair
# can do.
