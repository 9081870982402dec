"""How each layer carries jets: one rule a layer class, activation or operation."""

from keras_smooth.differentiation.rules import (  # noqa: F401  each fills the table with its rows
    attention,
    linear,
    merging,
    models,
    normalization,
    operations,
    piecewise,
    smooth_layers,
)
from keras_smooth.differentiation.rules.table import apply, has_rule, register_jet_rule

__all__ = ["apply", "has_rule", "register_jet_rule"]
