"""The smooth replacements of piecewise activations and of poolings.

Functions with curved pieces are in a table. For others, ramps are computed from their values.
"""

from collections.abc import Callable
from typing import Any

import keras

from keras_smooth import activations, layers, registry
from keras_smooth.activations import partial, sharp_softplus
from keras_smooth.smoothing import piecewise_linear
from keras_smooth.smoothing.smooth_approximations import (
    smooth_elu,
    smooth_ramps,
    smooth_softsign,
)


def _smooth_softsign(sharpness: float) -> Callable:
    return partial(smooth_softsign, sharpness=sharpness)


def _smooth_elu(sharpness: float, alpha: float = 1.0) -> Callable:
    return partial(smooth_elu, alpha=alpha, sharpness=sharpness)


def _smooth_celu(sharpness: float, alpha: float = 1.0) -> Callable:
    return partial(smooth_elu, alpha=alpha, width=alpha, sharpness=sharpness)


def _smooth_selu(sharpness: float) -> Callable:
    selu = {"alpha": 1.6732632423543772, "scale": 1.0507009873554805}
    return partial(smooth_elu, **selu, sharpness=sharpness)


def _softmax_on_axis(sharpness: float, axis: int = -1) -> Callable:
    softmax = keras.activations.softmax
    return softmax if axis == -1 else partial(softmax, axis=axis)


def _with_curvature(sharpness: float, beta: float = 1.0) -> Callable:
    """Returns the softplus whose second derivative at 0 is that of the parabola of SmeLU."""
    return partial(sharp_softplus, sharpness=2.0 / beta)


# Each form is `form(sharpness, **parameters)`. Some return a smooth function with similar values
# and ignore the sharpness.
CURVED_FORMS: dict[Callable, Callable[..., Callable]] = {
    activations.celu: _smooth_celu,
    activations.smelu: _with_curvature,
    activations.softsign: _smooth_softsign,
    keras.activations.celu: _smooth_celu,
    keras.activations.elu: _smooth_elu,
    keras.activations.hard_silu: lambda sharpness: keras.activations.silu,
    keras.activations.selu: _smooth_selu,
    keras.activations.softsign: _smooth_softsign,
    keras.activations.sparse_plus: _with_curvature,
    keras.activations.sparsemax: _softmax_on_axis,
}


def of_function(function: Callable, sharpness: float) -> Callable | None:
    """Returns a smooth function with nearly the same values, or None if there is none.

    Args:
        function: An activation, which may have parameters, or any function of a tensor.
        sharpness: Sharpness of the smooth ramps; larger values are closer to the function.
    """
    if form := CURVED_FORMS.get(registry.activation_of(function)):
        return form(sharpness, **registry.unbound(function)[1])
    pieces = piecewise_linear.measured_pieces(function)
    if pieces is None or not pieces["knots"]:
        return None
    return partial(smooth_ramps, **pieces, sharpness=sharpness)


def _max_pool(sharpness: float, x: Any, **arguments: Any) -> Any:
    kind = getattr(keras.layers, f"MaxPooling{len(x.shape) - 2}D")
    return layers.SMOOTH_FORMS[kind](sharpness=sharpness, dtype=x.dtype, **arguments)(x)


# By the name of the function in keras.ops. Each form is `form(sharpness, x, name=..., **settings)`
# and calls a layer.
POOLING_FORMS: dict[str, Callable] = {"max_pool": _max_pool}
