"""Activations that Keras lacks, and exact forms of those whose derivatives are wrong in Keras.

Each is a function of a tensor. `get` returns an activation of this package or of Keras by its
name. `partial` fixes parameters in a form that can be saved: `partial("sin", w0=30.0)`.

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
