"""Which activation, when the second derivative is needed? The comparison from a notebook
======================================================================================

``keras-smooth compare`` trains the same network with several activations and measures y, y' and
y''. In Python it is a function, whose result shows itself, and which takes problems and activations
of your own.
"""

# %%
# The article's question, in short
# --------------------------------
#
# An 8 x 20 network learns y = exp(-x^2) by full-batch L-BFGS in float64. Three activations, two
# seeds each, and 300 iterations in the place of 1000:
import math
import tempfile

import keras
import matplotlib.pyplot as plt

import keras_smooth

names = ["relu", "tanh", "softplus"]
found = keras_smooth.compare(names, seeds=2, epochs=300, verbose=0)
found

# %%
# ReLU fits y, and has no second derivative to give. ``runs`` has every seed, with how its training
# ended:
for run in found.runs:
    print(f"{run.activation:9}{run.seed} {run.nit:5} iterations, y'' {run.d2y_mse:.1e}")

# %%
# ``save`` writes tables, figures, and a report of one file, ``report.html``. One of the figures:
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
# A problem is a function of ``keras.ops``, whose derivatives are taken, or your data. An activation
# is a function of a tensor. Two calls, which are not needed, tell its class and how it carries
# Taylor series:


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
# Where to go on: ``found.save`` writes ``results.json`` too, which has all numbers, and
# ``keras-smooth compare --help`` has the same options for a terminal, with worker processes and
# ``--resume`` after an interrupt.
