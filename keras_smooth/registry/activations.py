"""Rows of Keras' activations; the rows of this package are next to their functions."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_smooth import jet
from keras_smooth.registry import joined
from keras_smooth.registry.rows import Class, Row, add, add_alias

_FLAT = "is made of straight pieces, so y'' is 0 wherever it exists"
_KINK_0 = "has a kink at 0 and is straight on both sides, so y'' is 0 wherever it exists"
BEND_0 = "is straight for x > 0 and its second derivative jumps at 0"
BEND_SOFTSIGN = "has a second derivative that jumps from 2 to -2 at 0"


def elu_class(alpha: float = 1.0) -> Class:
    return 1 if alpha == 1 else 0


def leaky_relu_class(negative_slope: float = 0.2) -> Class:
    return math.inf if negative_slope == 1 else 0


def relu_class(
    negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Class:
    if threshold:
        return -1
    return 0 if max_value is not None else leaky_relu_class(negative_slope)


def _add(
    name: str,
    smoothness: Class | Callable[..., Class] = math.inf,
    breakpoints: tuple[float, ...] = (),
    reason: str = "",
    **columns: Any,
) -> None:
    """Adds the row of an activation, if this Keras has it, with its names in other modules."""
    if function := getattr(keras.activations, name, None):
        add(Row(function, smoothness, breakpoints=breakpoints, reason=reason, **columns))
        for module in (ops, tf.nn):
            if hasattr(module, name):
                add_alias(getattr(module, name), function)


# The recommended activations are first, in the order in which messages list them.
_add("tanh", recommended=True)
_add("softplus", recommended=True)
_add("silu", recommended=True)
_add("gelu", recommended=True)
for _name in "exponential linear log_sigmoid mish sigmoid tanh_shrink".split():
    _add(_name)
_add("squareplus", lambda b=4: math.inf if b > 0 else 0)
_add("glu", mixes=True)
_add("log_softmax", mixes=True)
_add("softmax", mixes=True)
# Sparsemax is continuous, but Keras 3.15 computes its threshold wrongly: for (0.4, -0.4) it
# returns (0.7, 0) instead of (0.9, 0.1), and it jumps where the support changes. Nested tapes
# differentiate the function that Keras computes.
_add(
    "sparsemax",
    mixes=True,
    smoothness=-1,
    breakpoints=(-0.5, 0.5),
    reason="jumps where the number of its outputs above 0 changes",
)
_add(
    "celu",
    1,
    (0.0,),
    BEND_0,
    jet=lambda x, **parameters: jet.elementwise(lambda z: joined.celu(z, **parameters), x),
    # TensorFlow's first derivative at 0 is wrong.
    tapes_right_to=0,
    kinds="Expm1 Maximum Minimum",
)
_add("elu", elu_class, (0.0,), BEND_0)
_add("hard_silu", 0, (-3.0, 3.0), "has kinks at -3 and 3")
_add("selu", 0, (0.0,), "has a kink at 0 and is straight for x > 0, so y'' is lost there")
_add("softsign", 1, (0.0,), BEND_SOFTSIGN)
_add(
    "sparse_plus",
    1,
    (-1.0, 1.0),
    "has a second derivative that jumps at -1 and 1",
    kinds="LessEqual Less Pow",
)
_add("hard_shrink", -1, (-0.5, 0.5), "jumps at both thresholds")
_add("hard_sigmoid", 0, (-3.0, 3.0), _FLAT)
_add("hard_tanh", 0, (-1.0, 1.0), _FLAT)
_add("leaky_relu", leaky_relu_class, (0.0,), _KINK_0)
_add("relu", relu_class, (0.0,), _KINK_0)
_add("relu6", 0, (0.0, 6.0), _FLAT)
_add("soft_shrink", 0, (-0.5, 0.5), _FLAT, kinds="Greater Less Sub SelectV2")
_add("sparse_sigmoid", 0, (-1.0, 1.0), _FLAT, kinds="LessEqual GreaterEqual SelectV2")
_add("threshold", -1, (0.5,), "jumps at its threshold")
