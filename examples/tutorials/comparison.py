"""Which activation has usable second derivatives? The comparison from a notebook
==============================================================================

``keras-smooth compare`` trains the same network with several activations and measures the errors of y, y'
and y''. In Python it is a function that accepts your own problems and activations.
"""

# %%
# Three activations
# -----------------
#
# An 8 x 20 network learns y = exp(-x^2) with full-batch L-BFGS in float64, with two seeds for each
# activation and 300 iterations instead of 1000:
import math
import tempfile

import keras
import matplotlib.pyplot as plt

import keras_smooth

names = ["relu", "tanh", "softplus"]
found = keras_smooth.compare(names, seeds=2, epochs=300, verbose=0)
found

# %%
# ReLU fits y, but has no second derivative. ``runs`` has every seed, and how its training ended:
for run in found.runs:
    print(f"{run.activation:9}{run.seed} {run.nit:5} iterations, y'' {run.d2y_mse:.1e}")

# %%
# ``save`` writes tables, figures, and a report, ``report.html``. This is one of the figures:
folder = found.save(tempfile.mkdtemp())
picture = plt.imread(folder / "softplus.png")
figure = plt.figure(figsize=(10, 10 * picture.shape[0] / picture.shape[1]))
axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
axes.imshow(picture)
off = axes.axis("off")

# %%
# Your own problem, and your own activation
# -----------------------------------------
#
# A problem is a function written with ``keras.ops``, which is differentiated, or your data. An activation
# is a function of a tensor. Two optional calls register its class C^k and its rule for Taylor mode:


def problem(x):
    return keras.ops.sin(3.0 * x) / (1.0 + x**2)


def waved(x):
    return x + keras.ops.sin(x)


keras_smooth.register_smoothness(waved, math.inf)
keras_smooth.register_jet_rule(waved, lambda x: x + keras_smooth.jet.sin(x))
keras_smooth.compare(
    ["tanh", waved],
    problem=problem,
    domain=(-2.0, 2.0),
    architecture="2x20",
    seeds=2,
    epochs=200,
    verbose=0,
)

# %%
# ``save`` also writes ``results.json``, which has all numbers: :doc:`/results`.
# ``keras-smooth compare --help`` lists the same options for a terminal, with worker processes and
# ``--resume`` after an interrupt.
