"""Smooth forms of maxima and minima. Each of them is one operation, as the original is.

So the graph has the same structure. Keras orders the layers of a model by its graph, and the order
of weights in files and in `get_weights` follows from this.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_smooth import registry
from keras_smooth.activations import sharp_softplus
from keras_smooth.layers.smooth_maximum import smooth_maximum


def _maximum(sharpness: float, x1: Any, x2: Any) -> Any:
    return ops.add(x2, sharp_softplus(ops.subtract(x1, x2), sharpness))


def _minimum(sharpness: float, x1: Any, x2: Any) -> Any:
    return ops.subtract(x1, sharp_softplus(ops.subtract(x1, x2), sharpness))


def _extreme(sign: float, combined: Callable) -> Callable:
    """Returns the smooth form of the maximum over axes, or of the minimum if `sign` is -1."""

    def form(
        sharpness: float,
        x: Any,
        axis: int | Sequence[int] | None = None,
        keepdims: bool = False,
        initial: Any = None,
    ) -> Any:
        y = sign * smooth_maximum(sign * x, axis, sharpness, keepdims)
        return y if initial is None else combined(sharpness, y, initial)

    return form


_largest, _smallest = _extreme(1.0, _maximum), _extreme(-1.0, _minimum)


def _range(sharpness: float, x: Any, **axes: Any) -> Any:
    return _largest(sharpness, x, **axes) - _smallest(sharpness, x, **axes)


# By the name of the function in keras.ops.
FORMS: dict[str, Callable] = {
    "amax": _largest,
    "amin": _smallest,
    "fmax": _maximum,
    "fmin": _minimum,
    "max": _largest,
    "maximum": _maximum,
    "min": _smallest,
    "minimum": _minimum,
    "ptp": _range,
}


@keras.saving.register_keras_serializable(package="keras_smooth")
class SmoothOperation(keras.Operation):
    """The smooth form of an operation of keras.ops.

    Args:
        operation: Name of the function, one of `FORMS`.
        sharpness: Sharpness of the softplus or of the log-sum-exp.
        settings: Its arguments other than tensors, such as `axis`.
        name: Name of the operation in the graph.
    """

    def __init__(self, operation: str, sharpness: float, settings: dict, name: str) -> None:
        super().__init__(name=name)
        self.operation = operation
        self.sharpness = sharpness
        self.settings = dict(settings)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        form = FORMS[self.operation]
        return form(self.sharpness, *args, **self.settings, **kwargs)

    def get_config(self) -> dict:
        names = ("operation", "sharpness", "settings", "name")
        return {name: getattr(self, name) for name in names}


# The maximum is subtracted and added again, so that exp cannot overflow. If smoothness were read
# from the operations, this would be a kink.
registry.change(SmoothOperation, smoothness=math.inf)
