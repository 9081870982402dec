"""Rows of Keras' activations; those of this package stand next to their functions."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_smooth import jet
from keras_smooth.registry import jet_rules
from keras_smooth.registry.jet_rules import elementwise, straight
from keras_smooth.registry.rows import Class, Row, add, add_alias

_FLAT = "is made of straight pieces, so y'' is 0 wherever it exists"
_KINK_0 = "has a kink at 0 and is straight on both sides, so y'' is 0 wherever it exists"
BEND_0 = "is straight for x > 0 and its second derivative jumps at 0"
BEND_SOFTSIGN = "has a second derivative that jumps from 2 to -2 at 0"


def elu_class(alpha: float = 1.0) -> Class:
    return 1 if alpha == 1 else 0


def leaky_relu_class(negative_slope: float = 0.2) -> Class:
    return math.inf if negative_slope == 1 else 0


def relu_class(negative_slope=0.0, max_value=None, threshold=0.0) -> Class:
    if threshold:
        return -1
    return 0 if max_value is not None else leaky_relu_class(negative_slope)


def _elu_slope(alpha: float = 1.0) -> float | None:
    return 1.0 if alpha == 1 else None


def _relu_slope(negative_slope=0.0, max_value=None, threshold=0.0) -> float | None:
    if threshold:
        return negative_slope if threshold > 0 else 1.0
    return 1.0 if negative_slope == 1 and max_value is None else None


def _threshold_slope(threshold: float, default_value: float) -> float | None:
    return float(threshold < 0) if threshold else None


def _named(name: str, **columns) -> Row:
    """Returns the row of an activation; one that this Keras lacks has None as subject."""
    return Row(getattr(keras.activations, name, None), **columns)


def _smooth(name: str, slope: float, rule: Callable, **columns) -> Row:
    jet = elementwise(rule)
    return _named(name, smoothness=math.inf, slope=slope, jet=jet, **columns)


def _mixing(
    name: str, rule: Callable | None, smoothness: Class = math.inf, **columns
) -> Row:
    return _named(name, smoothness=smoothness, jet=rule, mixes=True, **columns)


def _bent(name: str, smoothness, slope, rule: Callable, joints, reason, **columns) -> Row:
    """Returns the row of a function of curved pieces."""
    columns = dict(columns, jet=elementwise(rule), joints=joints, reason=reason)
    return _named(name, smoothness=smoothness, slope=slope, **columns)


def _straight(name: str, smoothness, slope, joints, reason, **columns) -> Row:
    """Returns the row of a function of straight pieces."""
    jet = straight(
        lambda x, **parameters: getattr(keras.activations, name)(x, **parameters)
    )
    columns = dict(columns, jet=jet, joints=joints, reason=reason)
    return _named(name, smoothness=smoothness, slope=slope, **columns)


def _hard_silu(x: jet.Jet) -> jet.Jet:
    return x * jet.straight(keras.activations.hard_sigmoid, x)


# The recommended ones come first, in the order in which messages name them.
_KERAS = (
    _smooth("tanh", 1.0, jet.tanh, recommended=True),
    _smooth("softplus", 0.5, jet.softplus, recommended=True),
    _smooth("silu", 0.5, jet_rules.silu, recommended=True),
    _smooth(
        "gelu",
        0.5,
        jet_rules.gelu,
        recommended=True,
        examples=({}, {"approximate": True}),
    ),
    _smooth("exponential", 1.0, jet.exp),
    _smooth("linear", 1.0, lambda x: x),
    _smooth("log_sigmoid", 0.5, lambda x: -jet.softplus(-x)),
    _smooth("mish", 0.6, lambda x: x * jet.tanh(jet.softplus(x))),
    _smooth("sigmoid", 0.25, jet.sigmoid),
    _smooth("tanh_shrink", 0.0, lambda x: x - jet.tanh(x)),
    _named(
        "squareplus",
        smoothness=lambda b=4: math.inf if b > 0 else 0,
        slope=lambda b=4: 0.5 if b > 0 else None,
        jet=elementwise(jet_rules.squareplus),
        examples=({}, {"b": 1.0}, {"b": 0.0}),
    ),
    _mixing("glu", jet_rules.glu),
    _mixing("log_softmax", jet.log_softmax),
    _mixing("softmax", jet.softmax),
    # Sparsemax is continuous, but Keras 3.15 computes its threshold wrongly: of (0.4, -0.4)
    # it makes (0.7, 0) instead of (0.9, 0.1), and it jumps where the support changes.
    # Nested tapes differentiate what it computes.
    _mixing(
        "sparsemax",
        None,
        smoothness=-1,
        joints=(-0.5, 0.5),
        reason="jumps where the number of its outputs above 0 changes",
    ),
    _bent(
        "celu",
        1,
        1.0,
        jet_rules.celu,
        (0.0,),
        BEND_0,
        examples=({}, {"alpha": 2.0}),
        tapes_wrong_from=1,
        tapes_wrong_at="0",
    ),
    _bent(
        "elu",
        elu_class,
        _elu_slope,
        jet_rules.elu,
        (0.0,),
        BEND_0,
        examples=({}, {"alpha": 2.0}),
    ),
    _bent("hard_silu", 0, 0.5, _hard_silu, (-3.0, 3.0), "has kinks at -3 and 3"),
    _bent(
        "selu",
        0,
        None,
        jet_rules.selu,
        (0.0,),
        "has a kink at 0 and is straight for x > 0, so y'' is lost there",
    ),
    _bent("softsign", 1, 1.0, jet_rules.softsign, (0.0,), BEND_SOFTSIGN),
    _bent(
        "sparse_plus",
        1,
        0.5,
        jet_rules.parabola,
        (-1.0, 1.0),
        "has a second derivative that jumps at -1 and 1",
    ),
    _straight("hard_shrink", -1, 0.0, (-0.5, 0.5), "jumps at both thresholds"),
    _straight("hard_sigmoid", 0, 1 / 6, (-3.0, 3.0), _FLAT),
    _straight("hard_tanh", 0, 1.0, (-1.0, 1.0), _FLAT),
    _straight(
        "leaky_relu",
        leaky_relu_class,
        lambda negative_slope=0.2: _relu_slope(negative_slope),
        (0.0,),
        _KINK_0,
        examples=({}, {"negative_slope": 0.3}, {"negative_slope": 1.0}),
    ),
    _straight(
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
    _straight("relu6", 0, None, (0.0, 6.0), _FLAT),
    _straight("soft_shrink", 0, 0.0, (-0.5, 0.5), _FLAT),
    _straight("sparse_sigmoid", 0, 0.5, (-1.0, 1.0), _FLAT),
    _straight(
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

# TensorFlow's own, which are given as activations as well.
_TENSORFLOW = (
    "elu gelu leaky_relu log_softmax relu relu6 selu sigmoid silu softmax softplus softsign "
    "tanh"
)
for _name in _TENSORFLOW.split():
    add_alias(getattr(tf.nn, _name), getattr(keras.activations, _name))
