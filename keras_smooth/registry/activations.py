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


def _elu_slope(alpha: float = 1.0) -> float | None:
    return 1.0 if alpha == 1 else None


def _relu_slope(
    negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> float | None:
    if threshold:
        return negative_slope if threshold > 0 else 1.0
    return 1.0 if negative_slope == 1 and max_value is None else None


def _threshold_slope(threshold: float, default_value: float) -> float | None:
    return float(threshold < 0) if threshold else None


def _named(name: str, **columns: Any) -> Row:
    """Returns the row of an activation, with None as subject if this Keras lacks it."""
    return Row(getattr(keras.activations, name, None), **columns)


def _smooth(name: str, slope: float, **columns: Any) -> Row:
    return _named(name, smoothness=math.inf, slope=slope, **columns)


def _mixing(name: str, smoothness: Class = math.inf, **columns: Any) -> Row:
    return _named(name, smoothness=smoothness, mixes=True, **columns)


def _of_pieces(
    name: str,
    smoothness: Class | Callable[..., Class],
    slope: float | None | Callable[..., float | None],
    joints: tuple[float, ...],
    reason: str,
    **columns: Any,
) -> Row:
    columns = dict(columns, slope=slope, joints=joints, reason=reason)
    return _named(name, smoothness=smoothness, **columns)


# The recommended ones are first, in the order of the messages.
_KERAS = (
    _smooth("tanh", 1.0, recommended=True),
    _smooth("softplus", 0.5, recommended=True),
    _smooth("silu", 0.5, recommended=True),
    _smooth("gelu", 0.5, recommended=True, examples=({}, {"approximate": True})),
    _smooth("exponential", 1.0),
    _smooth("linear", 1.0),
    _smooth("log_sigmoid", 0.5),
    _smooth("mish", 0.6),
    _smooth("sigmoid", 0.25),
    _smooth("tanh_shrink", 0.0),
    _named(
        "squareplus",
        smoothness=lambda b=4: math.inf if b > 0 else 0,
        slope=lambda b=4: 0.5 if b > 0 else None,
        examples=({}, {"b": 1.0}, {"b": 0.0}),
    ),
    _mixing("glu"),
    _mixing("log_softmax"),
    _mixing("softmax"),
    # Sparsemax is continuous, but Keras 3.15 computes its threshold wrongly: of (0.4, -0.4)
    # it makes (0.7, 0) instead of (0.9, 0.1), and it jumps where the support changes.
    # Nested tapes differentiate what it computes.
    _mixing(
        "sparsemax",
        smoothness=-1,
        joints=(-0.5, 0.5),
        reason="jumps where the number of its outputs above 0 changes",
    ),
    _of_pieces(
        "celu",
        1,
        1.0,
        (0.0,),
        BEND_0,
        examples=({}, {"alpha": 2.0}),
        jet=lambda x, **parameters: jet.elementwise(
            lambda z: joined.celu(z, **parameters), x
        ),
        # The slope at 0.
        tapes_right_to=0,
    ),
    _of_pieces("elu", elu_class, _elu_slope, (0.0,), BEND_0, examples=({}, {"alpha": 2.0})),
    _of_pieces("hard_silu", 0, 0.5, (-3.0, 3.0), "has kinks at -3 and 3"),
    _of_pieces(
        "selu",
        0,
        None,
        (0.0,),
        "has a kink at 0 and is straight for x > 0, so y'' is lost there",
    ),
    _of_pieces("softsign", 1, 1.0, (0.0,), BEND_SOFTSIGN),
    _of_pieces(
        "sparse_plus", 1, 0.5, (-1.0, 1.0), "has a second derivative that jumps at -1 and 1"
    ),
    _of_pieces("hard_shrink", -1, 0.0, (-0.5, 0.5), "jumps at both thresholds"),
    _of_pieces("hard_sigmoid", 0, 1 / 6, (-3.0, 3.0), _FLAT),
    _of_pieces("hard_tanh", 0, 1.0, (-1.0, 1.0), _FLAT),
    _of_pieces(
        "leaky_relu",
        leaky_relu_class,
        lambda negative_slope=0.2: _relu_slope(negative_slope),
        (0.0,),
        _KINK_0,
        examples=({}, {"negative_slope": 0.3}, {"negative_slope": 1.0}),
    ),
    _of_pieces(
        "relu",
        relu_class,
        _relu_slope,
        (0.0,),
        _KINK_0,
        examples=(
            {},
            {"negative_slope": 1.0},
            {"negative_slope": 0.25, "max_value": 0.75},
            {"negative_slope": 0.5, "threshold": 1.0},
        ),
    ),
    _of_pieces("relu6", 0, None, (0.0, 6.0), _FLAT),
    _of_pieces("soft_shrink", 0, 0.0, (-0.5, 0.5), _FLAT),
    _of_pieces("sparse_sigmoid", 0, 0.5, (-1.0, 1.0), _FLAT),
    _of_pieces(
        "threshold",
        -1,
        _threshold_slope,
        (0.5,),
        "jumps at its threshold",
        examples=({"threshold": 0.5, "default_value": 0.0},),
    ),
)

for _row in _KERAS:
    if _row.subject is not None:
        add(_row)

# These are also functions of TensorFlow and operations of keras.ops.
_TENSORFLOW = (
    "elu gelu leaky_relu log_softmax relu relu6 selu sigmoid silu softmax softplus softsign "
    "tanh"
)
for _name in _TENSORFLOW.split():
    add_alias(getattr(tf.nn, _name), getattr(keras.activations, _name))
for _row in _KERAS:
    if _row.subject is not None and hasattr(ops, _row.subject.__name__):
        add_alias(getattr(ops, _row.subject.__name__), _row.subject)
