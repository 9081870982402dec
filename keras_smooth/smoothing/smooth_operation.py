"""Smooth forms of operations of several numbers, each one operation as well.

A graph keeps its shape: Keras orders the layers of a model by it, and files and
`get_weights` go by that order.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_smooth import registry
from keras_smooth.activations import sharp_softplus
from keras_smooth.jet import Jet
from keras_smooth.layers.smooth_maximum import smooth_maximum
from keras_smooth.registry import jet_rules, operation_rules


class Form(NamedTuple):
    """The smooth form of an operation.

    Args:
        of_tensors: `of_tensors(sharpness, *tensors, **settings)`.
        of_jets: The same of jets, or NotImplemented.
    """

    of_tensors: Callable
    of_jets: Callable


def _maximum(sharpness: float, x1: Any, x2: Any) -> Any:
    return ops.add(x2, sharp_softplus(ops.subtract(x1, x2), sharpness))


def _minimum(sharpness: float, x1: Any, x2: Any) -> Any:
    return ops.subtract(x1, sharp_softplus(ops.subtract(x1, x2), sharpness))


def _largest(sharpness: float, x: Any, axis=None, keepdims=False, initial=None) -> Any:
    y = smooth_maximum(x, axis, sharpness, keepdims)
    return y if initial is None else _maximum(sharpness, y, initial)


def _smallest(sharpness: float, x: Any, axis=None, keepdims=False, initial=None) -> Any:
    y = -smooth_maximum(-x, axis, sharpness, keepdims)
    return y if initial is None else _minimum(sharpness, y, initial)


def _range(sharpness: float, x: Any, **axes: Any) -> Any:
    return _largest(sharpness, x, **axes) - _smallest(sharpness, x, **axes)


def _softplus_of_difference(sharpness: float, x1: Any, x2: Any) -> Any:
    difference = operation_rules.same_rank(lambda x, y: x - y)(x1, x2)
    if difference is NotImplemented:
        return NotImplemented
    softplus = jet_rules.elementwise(jet_rules.sharp_softplus)
    return softplus(difference, sharpness=sharpness)


def _maximum_of_jets(sharpness: float, x1: Any, x2: Any) -> Any:
    ramp = _softplus_of_difference(sharpness, x1, x2)
    return ramp if ramp is NotImplemented else x2 + ramp


def _minimum_of_jets(sharpness: float, x1: Any, x2: Any) -> Any:
    ramp = _softplus_of_difference(sharpness, x1, x2)
    return ramp if ramp is NotImplemented else x1 - ramp


def _largest_of_jets(
    sharpness: float, x: Jet, axis=None, keepdims=False, initial=None
) -> Any:
    total = operation_rules.logsumexp(sharpness * x, axis, keepdims)
    if total is NotImplemented:
        return NotImplemented
    y = total * (1.0 / sharpness)
    return y if initial is None else _maximum_of_jets(sharpness, y, initial)


def _smallest_of_jets(
    sharpness: float, x: Jet, axis=None, keepdims=False, initial=None
) -> Any:
    initial = None if initial is None else -initial
    y = _largest_of_jets(sharpness, -x, axis, keepdims, initial)
    return y if y is NotImplemented else -y


def _range_of_jets(sharpness: float, x: Jet, **axes: Any) -> Any:
    ends = [form(sharpness, x, **axes) for form in (_largest_of_jets, _smallest_of_jets)]
    return NotImplemented if ends[0] is NotImplemented else ends[0] - ends[1]


_MAXIMUM = Form(_maximum, _maximum_of_jets)
_MINIMUM = Form(_minimum, _minimum_of_jets)
_LARGEST = Form(_largest, _largest_of_jets)
_SMALLEST = Form(_smallest, _smallest_of_jets)

# By the name of the function of keras.ops.
FORMS = {
    "amax": _LARGEST,
    "amin": _SMALLEST,
    "fmax": _MAXIMUM,
    "fmin": _MINIMUM,
    "max": _LARGEST,
    "maximum": _MAXIMUM,
    "min": _SMALLEST,
    "minimum": _MINIMUM,
    "ptp": Form(_range, _range_of_jets),
}


@keras.saving.register_keras_serializable(package="keras_smooth")
class SmoothOperation(keras.Operation):
    """The smooth form of an operation of keras.ops.

    Args:
        operation: Name of the function, one of `FORMS`.
        sharpness: How sharp its bends are.
        settings: Its arguments that are no tensors, such as `axis`.
        name: Of the operation.
    """

    def __init__(
        self,
        operation: str,
        sharpness: float,
        settings: dict | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.operation = operation
        self.sharpness = sharpness
        self.settings = dict(settings or {})

    def call(self, *args: Any, **kwargs: Any) -> Any:
        form = FORMS[self.operation].of_tensors
        return form(self.sharpness, *args, **self.settings, **kwargs)

    def get_config(self) -> dict:
        names = ("operation", "sharpness", "settings", "name")
        return {name: getattr(self, name) for name in names}


def _carried(
    *args: Any, operation: str, sharpness: float, settings: dict, name: str, **kwargs: Any
) -> Any:
    return FORMS[operation].of_jets(sharpness, *args, **settings, **kwargs)


registry.change(SmoothOperation, smoothness=math.inf, jet=_carried)
