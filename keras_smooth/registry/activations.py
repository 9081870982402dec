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


def _row(
    name: str,
    smoothness: Class | Callable[..., Class] = math.inf,
    joints: tuple[float, ...] = (),
    reason: str = "",
    **columns: Any,
) -> Row:
    """Returns the row of an activation, with None as subject if this Keras lacks it."""
    function = getattr(keras.activations, name, None)
    return Row(function, smoothness, joints=joints, reason=reason, **columns)


# The recommended ones are first, in the order of the messages.
_KERAS = (
    _row("tanh", recommended=True),
    _row("softplus", recommended=True),
    _row("silu", recommended=True),
    _row("gelu", recommended=True, examples=({}, {"approximate": True})),
    _row("exponential"),
    _row("linear"),
    _row("log_sigmoid"),
    _row("mish"),
    _row("sigmoid"),
    _row("tanh_shrink"),
    _row(
        "squareplus",
        lambda b=4: math.inf if b > 0 else 0,
        examples=({}, {"b": 1.0}, {"b": 0.0}),
    ),
    _row("glu", mixes=True),
    _row("log_softmax", mixes=True),
    _row("softmax", mixes=True),
    # Sparsemax is continuous, but Keras 3.15 computes its threshold wrongly: of (0.4, -0.4)
    # it makes (0.7, 0) instead of (0.9, 0.1), and it jumps where the support changes.
    # Nested tapes differentiate what it computes.
    _row(
        "sparsemax",
        mixes=True,
        smoothness=-1,
        joints=(-0.5, 0.5),
        reason="jumps where the number of its outputs above 0 changes",
    ),
    _row(
        "celu",
        1,
        (0.0,),
        BEND_0,
        examples=({}, {"alpha": 2.0}),
        jet=lambda x, **parameters: jet.elementwise(
            lambda z: joined.celu(z, **parameters), x
        ),
        # The slope at 0.
        tapes_right_to=0,
    ),
    _row("elu", elu_class, (0.0,), BEND_0, examples=({}, {"alpha": 2.0})),
    _row("hard_silu", 0, (-3.0, 3.0), "has kinks at -3 and 3"),
    _row(
        "selu", 0, (0.0,), "has a kink at 0 and is straight for x > 0, so y'' is lost there"
    ),
    _row("softsign", 1, (0.0,), BEND_SOFTSIGN),
    _row("sparse_plus", 1, (-1.0, 1.0), "has a second derivative that jumps at -1 and 1"),
    _row("hard_shrink", -1, (-0.5, 0.5), "jumps at both thresholds"),
    _row("hard_sigmoid", 0, (-3.0, 3.0), _FLAT),
    _row("hard_tanh", 0, (-1.0, 1.0), _FLAT),
    _row(
        "leaky_relu",
        leaky_relu_class,
        (0.0,),
        _KINK_0,
        examples=({}, {"negative_slope": 0.3}, {"negative_slope": 1.0}),
    ),
    _row(
        "relu",
        relu_class,
        (0.0,),
        _KINK_0,
        examples=(
            {},
            {"negative_slope": 1.0},
            {"negative_slope": 0.25, "max_value": 0.75},
            {"negative_slope": 0.5, "threshold": 1.0},
        ),
    ),
    _row("relu6", 0, (0.0, 6.0), _FLAT),
    _row("soft_shrink", 0, (-0.5, 0.5), _FLAT),
    _row("sparse_sigmoid", 0, (-1.0, 1.0), _FLAT),
    _row(
        "threshold",
        -1,
        (0.5,),
        "jumps at its threshold",
        examples=({"threshold": 0.5, "default_value": 0.0},),
    ),
)

for _known in _KERAS:
    if _known.subject is not None:
        add(_known)

# These are also functions of TensorFlow and operations of keras.ops.
_TENSORFLOW = (
    "elu gelu leaky_relu log_softmax relu relu6 selu sigmoid silu softmax softplus softsign "
    "tanh"
)
for _name in _TENSORFLOW.split():
    add_alias(getattr(tf.nn, _name), getattr(keras.activations, _name))
for _known in _KERAS:
    if _known.subject is not None and hasattr(ops, _known.subject.__name__):
        add_alias(getattr(ops, _known.subject.__name__), _known.subject)
