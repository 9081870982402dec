"""How each layer carries jets: one rule a layer class, activation or operation.

table.py            the table, how it is filled, and which rule is taken
linear.py           layers that are linear in their input, up to a bias and an activation
merging.py          layers that multiply or join their inputs
normalization.py    layers that normalize each sample
attention.py        attention without masks
piecewise.py        layers that are straight between their joints
smooth_layers.py    this package's layers
models.py           models: layer after layer, or along the graph
fallback.py         nested tapes for one layer, where there is no rule

Each file fills the table with its rows when this package is imported; `apply` looks a row up
for each layer or operation, and hands it jets.
"""

from keras_smooth.differentiation.rules import (  # noqa: F401  each fills the table with its rows
    attention,
    linear,
    merging,
    models,
    normalization,
    piecewise,
    smooth_layers,
)
from keras_smooth.differentiation.rules.table import apply, has_rule, register_jet_rule

__all__ = ["apply", "has_rule", "register_jet_rule"]
