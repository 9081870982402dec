"""Smooth replacements of piecewise activations.

Each ramp max(x, 0) in an activation becomes log(1 + exp(sharpness x)) / sharpness, which
differs from it by log(2) / sharpness at most.
"""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_smooth import activations
from keras_smooth.activations.rows import activation_row


@activation_row(math.inf)
def smooth_ramps(
    x: Any,
    knots: Sequence[float],
    weights: Sequence[float],
    slope: float = 0.0,
    offset: float = 0.0,
    sharpness: float = 10.0,
) -> Any:
    """Sum of smooth ramps: offset + slope x + sum_i weights_i softplus(x - knots_i).

    Args:
        x: Tensor of floats.
        knots: The points at which the ramps begin.
        weights: The slopes of the ramps.
        slope: The slope at minus infinity.
        offset: Number that is added.
        sharpness: Sharpness of the softplus; larger values are closer to the straight pieces.

    Returns:
        Tensor of the shape and dtype of `x`.
    """
    x = ops.convert_to_tensor(x)
    total = offset + slope * x
    for knot, weight in zip(knots, weights, strict=True):
        total = total + weight * activations.sharp_softplus(x - knot, sharpness)
    return total


@activation_row(math.inf)
def smooth_elu(
    x: Any,
    alpha: float = 1.0,
    scale: float = 1.0,
    width: float = 1.0,
    sharpness: float = 10.0,
) -> Any:
    """ELU, SELU or CELU with smooth ramps: scale (x+ + alpha (exp(x- / width) - 1)).

    Args:
        x: Tensor of floats.
        alpha: Before scaling, the limit at minus infinity is -alpha.
        scale: Factor of the result.
        width: Length over which the exponential decays.
        sharpness: Sharpness of the smooth forms of x+ = max(x, 0) and -x- = max(-x, 0).

    Returns:
        Tensor of the shape and dtype of `x`.
    """
    x = ops.convert_to_tensor(x)
    positive = activations.sharp_softplus(x, sharpness)
    negative = -activations.sharp_softplus(-x, sharpness)
    return scale * (positive + alpha * ops.expm1(negative / width))


@activation_row(math.inf)
def smooth_softsign(x: Any, sharpness: float = 10.0) -> Any:
    """Softsign with a smooth absolute value: x / (1 + sqrt(x^2 + 1/s^2) - 1/s).

    Args:
        x: Tensor of floats.
        sharpness: s, the second derivative of the absolute value at 0.

    Returns:
        Tensor of the shape and dtype of `x`.
    """
    x = ops.convert_to_tensor(x)
    return x / (1.0 + ops.sqrt(ops.square(x) + 1 / sharpness**2) - 1 / sharpness)
