"""Rules of activation functions, of Keras and of this package."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import activations, jet
from keras_smooth.differentiation.rules.table import rows, set_rule
from keras_smooth.jet import Jet


def _silu(x: Jet) -> Jet:
    return x * jet.sigmoid(x)


# TensorFlow rounds two constants of GELU to float32 in every precision, which moves y by
# 1e-8: derivatives are those of what the layer computes.
_ROOT_HALF, _CUBIC = (float(np.float32(value)) for value in (math.sqrt(0.5), 0.044715))


def _gelu(x: Jet, approximate: bool = False) -> Jet:
    if approximate:
        inner = math.sqrt(2.0 / math.pi) * (x + _CUBIC * jet.power(x, 3))
        return 0.5 * x * (jet.tanh(inner) + 1.0)
    return 0.5 * x * (jet.erf(_ROOT_HALF * x) + 1.0)


def _squareplus(x: Jet, b: float = 4) -> Jet:
    return 0.5 * (x + jet.sqrt(jet.square(x) + b))


def _exponential_for_negative(x: Jet, alpha: float, scale: float) -> Jet:
    """alpha (exp(x / scale) - 1) for x < 0, whose exponential sees no positive number."""
    negative = jet.where(x.primal > 0, 0.0, x)
    return alpha * jet.expm1(negative * (1.0 / scale))


def _elu(x: Jet, alpha: float = 1.0) -> Jet:
    return jet.where(x.primal >= 0, x, _exponential_for_negative(x, alpha, 1.0))


def _selu(x: Jet) -> Jet:
    return 1.0507009873554805 * _elu(x, 1.6732632423543772)


def _celu(x: Jet, alpha: float = 1.0) -> Jet:
    return jet.where(x.primal > 0, x, _exponential_for_negative(x, alpha, alpha))


def _softsign(x: Jet) -> Jet:
    absolute = jet.where(x.primal < 0, -x, x)
    return x / (absolute + 1.0)


def softmax(x: Jet, axis=-1) -> Jet:
    """exp(x) over its sum, shifted by the largest entry."""
    exponentials = jet.exp(x - _largest(x, axis))
    return exponentials / _sum(exponentials, axis)


def _log_softmax(x: Jet, axis=-1) -> Jet:
    shifted = x - _largest(x, axis)
    return shifted - jet.log(_sum(jet.exp(shifted), axis))


def logsumexp(x: Jet, axis, keepdims: bool = False) -> Jet:
    """The logarithm of the sum of exp(x), shifted by the largest entry."""
    largest = _largest(x, axis)
    result = jet.log(_sum(jet.exp(x - largest), axis)) + largest
    return result if keepdims else jet.linear(lambda v: tf.squeeze(v, axis), result)


def _largest(x: Jet, axis) -> tf.Tensor:
    return tf.stop_gradient(tf.reduce_max(x.primal, axis=axis, keepdims=True))


def _sum(x: Jet, axis) -> Jet:
    return jet.linear(lambda v: tf.reduce_sum(v, axis=axis, keepdims=True), x)


def _glu(x: Jet, axis: int = -1) -> Jet:
    left, right = (
        jet.linear(lambda v, i=i: tf.split(v, 2, axis=axis)[i], x) for i in (0, 1)
    )
    return left * jet.sigmoid(right)


def _elementwise(rule):
    """The rule of a function of single numbers: its derivatives once a point."""
    return lambda x, **parameters: jet.elementwise(lambda z: rule(z, **parameters), x)


def _straight(function):
    """The rule of a function of straight pieces: the slope times each entry."""

    def rule(x: Jet, **parameters) -> Jet:
        return jet.straight(lambda v: function(v, **parameters), x)

    return rule


def _hard_silu(x: Jet) -> Jet:
    return x * jet.straight(keras.activations.hard_sigmoid, x)


def _parabola(x: Jet, beta: float = 1.0) -> Jet:
    curved = jet.square(x + beta) * (0.25 / beta)
    return jet.where(x.primal <= -beta, 0.0, jet.where(x.primal < beta, curved, x))


# Softmax and the gated linear unit mix the entries of a sample.
_MIXING = {"glu": _glu, "log_softmax": _log_softmax, "softmax": softmax}

_KERAS = {
    "celu": _celu,
    "elu": _elu,
    "exponential": jet.exp,
    "gelu": _gelu,
    "hard_silu": _hard_silu,
    "log_sigmoid": lambda x: -jet.softplus(-x),
    "mish": lambda x: x * jet.tanh(jet.softplus(x)),
    "selu": _selu,
    "sigmoid": jet.sigmoid,
    "silu": _silu,
    "softplus": jet.softplus,
    "softsign": _softsign,
    "sparse_plus": _parabola,
    "squareplus": _squareplus,
    "tanh": jet.tanh,
    "tanh_shrink": lambda x: x - jet.tanh(x),
}

_STRAIGHT = (
    "hard_shrink hard_sigmoid hard_tanh leaky_relu relu relu6 soft_shrink sparse_sigmoid "
    "threshold"
)

_OURS = {
    activations.sin: lambda x, w0=1.0: jet.sin(w0 * x),
    activations.snake: lambda x, a=1.0: x + jet.square(jet.sin(a * x)) / a,
    activations.shifted_softplus: lambda x: jet.softplus(x) - math.log(2.0),
    activations.sharp_softplus: lambda x, sharpness=1.0: (
        jet.softplus(sharpness * x) / sharpness
    ),
    activations.smelu: _parabola,
    activations.gaussian: lambda x: jet.exp(-jet.square(x)),
    activations.centered_sigmoid: lambda x: 2.0 * jet.tanh(0.5 * x),
    activations.softsign: _softsign,
    activations.celu: _celu,
}

rows(lambda x: x, keras.activations, "linear")
for _name, _rule in _MIXING.items():
    rows(_rule, keras.activations, _name)
for _name, _rule in _KERAS.items():
    rows(_elementwise(_rule), keras.activations, _name)
for _name in _STRAIGHT.split():
    if hasattr(keras.activations, _name):
        rows(_straight(getattr(keras.activations, _name)), keras.activations, _name)
for _function, _rule in _OURS.items():
    set_rule(_function, _elementwise(_rule))
