"""Which layer of this package takes the place of which of Keras', and why.

A decorator beside the class says it; everything else reads the tables.
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
    """Registers a class for saving, for good, with the smoothness that its class has."""
    registry.add_class(kind, smoothness)
    return keras.saving.register_keras_serializable(package="keras_smooth")(kind)


def ordered(kind: type) -> type:
    """Says that a class adds an order to the layer of Keras that it is a subclass of."""
    (stock,) = kind.__bases__
    ORDERED_FORMS[stock] = kind
    return _registered(kind, registry.smoothness(stock))


def exact_of(stock: type) -> Callable[[type], type]:
    """Says that a class has the outputs of Keras' layer and derivatives that hold."""

    def register(kind: type) -> type:
        EXACT_FORMS[stock] = kind
        return _registered(kind, registry.smoothness(stock))

    return register


def smooth_form_of(stock: type) -> Callable[[type], type]:
    """Says that a class with a sharpness is near to a layer of Keras that has kinks."""

    def register(kind: type) -> type:
        SMOOTH_FORMS[stock] = kind
        # Of a smooth maximum the largest number is taken out and put back.
        registry.register_smoothness(kind, math.inf)
        return _registered(kind, math.inf)

    return register


def exact_form(kind: type) -> type:
    """Returns the exact drop-in for a class of Keras layers, or the class itself."""
    return EXACT_FORMS.get(kind, kind)
