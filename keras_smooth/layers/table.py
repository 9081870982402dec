"""The layers of this package that replace layers of Keras, and why.

A decorator of the class adds it to a table, which everything else reads.
"""

import math
from collections.abc import Callable
from typing import Any

import keras

from keras_smooth import registry

# Class of Keras and the class of this package.
ORDERED_FORMS: dict[type, type] = {}
EXACT_FORMS: dict[type, Any] = {}
SMOOTH_FORMS: dict[type, Any] = {}


def _registered(kind: type, smoothness: float | None) -> type:
    """Registers a class for saving, under a permanent name, and its smoothness."""
    registry.add_class(kind, smoothness)
    return keras.saving.register_keras_serializable(package="keras_smooth")(kind)


def ordered(kind: type) -> type:
    """Registers a class that adds an order to its base class of Keras."""
    (stock,) = kind.__bases__
    ORDERED_FORMS[stock] = kind
    return _registered(kind, registry.smoothness(stock))


def exact_of(stock: type) -> Callable[[type], type]:
    """Registers a class with the outputs of Keras' layer and right derivatives."""

    def register(kind: type) -> type:
        EXACT_FORMS[stock] = kind
        return _registered(kind, registry.smoothness(stock))

    return register


def smooth_form_of(stock: type) -> Callable[[type], type]:
    """Registers a class with a sharpness that approximates a layer of Keras with kinks."""

    def register(kind: type) -> type:
        SMOOTH_FORMS[stock] = kind
        # A smooth maximum subtracts the largest number and adds it again.
        registry.register_smoothness(kind, math.inf)
        return _registered(kind, math.inf)

    return register


def exact_form(kind: type) -> type:
    """Returns the exact replacement of a class of Keras layers, or the class itself."""
    return EXACT_FORMS.get(kind, kind)
