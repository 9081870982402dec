"""The tables of the layers of this package that replace layers of Keras.

A decorator adds a class to its table, which other modules read.
"""

import math
from typing import Any

import keras

from keras_smooth import registry

# The class of this package for each class of Keras.
ORDERED_FORMS: dict[type, type] = {}
EXACT_FORMS: dict[type, Any] = {}
SMOOTH_FORMS: dict[type, Any] = {}


def ordered(kind: type) -> type:
    """Registers a class that adds an order to its base class, a layer of Keras."""
    return _registered(kind, ORDERED_FORMS, "order")


def exact(kind: type) -> type:
    """Registers a class with the outputs of its base class, a layer of Keras, that is exact."""
    return _registered(kind, EXACT_FORMS)


def smooth(kind: type) -> type:
    """Registers a class with a sharpness, a smooth approximation of its base class."""
    # The operations of a smooth maximum have kinks, since the largest number is subtracted and
    # added again. These kinks cancel.
    registry.register_smoothness(kind, math.inf)
    return _registered(kind, SMOOTH_FORMS, "sharpness")


def _registered(kind: Any, forms: dict[type, Any], argument: str = "") -> type:
    """Registers a class in its table, for saving under a permanent name, and its smoothness.

    Args:
        kind: The class.
        forms: The table to which it is added.
        argument: The argument that the class adds to those of Keras. It is an attribute of the
            layer, and becomes part of the config.
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
