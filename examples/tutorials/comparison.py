"""Which activation has usable second derivatives? The comparison from a notebook
==============================================================================

``keras-smooth compare`` trains the same network with several activations and measures the
errors of y, y' and y''. In Python it is a function that accepts your own problems and
activations.
"""

# %%
# Three activations
# -----------------
#
# A network of 8 hidden layers with 20 units learns y = exp(-x^2) in float64, by Gauss-Newton,
# the default method. There are two seeds for each activation, and 300 epochs instead of 1000.
# An iteration of Gauss-Newton counts as 40 epochs:
import math
import tempfile

import keras
import matplotlib.pyplot as plt

import keras_smooth

names = ["relu", "tanh", "softplus"]
found = keras_smooth.compare(names, seeds=2, epochs=300, verbose=0)
found

# %%
# ReLU fits y, but has no second derivative. ``runs`` has the result of each seed:
for run in found.runs:
    print(f"{run.activation:9}{run.seed} {run.nit:5} iterations, y'' {run.d2y_mse:.1e}")

# %%
# ``save`` writes tables, figures and a report, ``report.html``. This is one of the figures:
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
# A problem is your data, or a function written with ``keras.ops``, whose derivatives are
# computed. An activation is a function of a tensor. Two optional calls register its class C^k
# and its rule for Taylor mode:


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
# ``save`` also writes all numbers to ``results.json``: see :doc:`/results`. The command
# ``keras-smooth compare`` has the same options, worker processes, and ``--resume`` to continue
# after an interrupt.
