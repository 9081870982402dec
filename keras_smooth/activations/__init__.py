"""Smooth activations that Keras lacks, and correct forms of activations that Keras has wrong.

Each is a plain function. `get` returns an activation by its name, of this package or of Keras,
and `partial` fixes parameters in a form that can be saved: `partial("sin", w0=30.0)`.

functions.py      the functions, each with its row of the registry
parameters.py     get and partial
rows.py           the decorator that adds a row
"""

from keras_smooth.activations.functions import (
    celu,
    centered_sigmoid,
    gaussian,
    logish,
    sharp_softplus,
    shifted_softplus,
    sin,
    smelu,
    snake,
    softsign,
)
from keras_smooth.activations.parameters import exact_form, get, partial

__all__ = [
    "celu",
    "centered_sigmoid",
    "gaussian",
    "get",
    "logish",
    "partial",
    "sharp_softplus",
    "shifted_softplus",
    "sin",
    "smelu",
    "snake",
    "softsign",
]
