"""The layers of this package that replace layers of Keras, and why.

A decorator of the class adds it to a table, which everything else reads.
"""

import math
from typing import Any

import keras

from keras_smooth import registry

# Class of Keras and the class of this package.
ORDERED_FORMS: dict[type, type] = {}
EXACT_FORMS: dict[type, Any] = {}
SMOOTH_FORMS: dict[type, Any] = {}


def ordered(kind: type) -> type:
    """Registers a class that adds an order to its base class of Keras."""
    return _registered(kind, ORDERED_FORMS, "order")


def exact(kind: type) -> type:
    """Registers a class with the outputs of its base class of Keras and right derivatives."""
    return _registered(kind, EXACT_FORMS)


def smooth(kind: type) -> type:
    """Registers a class with a sharpness that approximates its base class, which has kinks."""
    # A smooth maximum subtracts the largest number and adds it again.
    registry.register_smoothness(kind, math.inf)
    return _registered(kind, SMOOTH_FORMS, "sharpness")


def _registered(kind: Any, forms: dict[type, Any], argument: str = "") -> type:
    """Registers a class for saving, under a permanent name, and its smoothness.

    Args:
        kind: The class.
        forms: The table that it is added to.
        argument: The one that it has beside those of Keras, and keeps as an attribute. It
            becomes part of the config.
    """

    (stock,) = kind.__bases__

    def get_config(self: Any) -> dict:
        return {**stock.get_config(self), argument: getattr(self, argument)}

    if argument:
        kind.get_config = get_config
    forms[stock] = kind
    is_smooth = forms is SMOOTH_FORMS
    registry.add_class(kind, math.inf if is_smooth else registry.smoothness(stock))
    return keras.saving.register_keras_serializable(package="keras_smooth")(kind)


def exact_form(kind: type) -> type:
    """Returns the exact replacement of a class of Keras layers, or the class itself."""
    return EXACT_FORMS.get(kind, kind)
