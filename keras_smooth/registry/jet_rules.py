"""How activations carry jets: functions of jets, for the rows of Keras and of this package.

A rule is `rule(x, **parameters)` with the parameters of the activation.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_smooth import jet
from keras_smooth.jet import Jet

# TensorFlow rounds two constants of GELU to float32 in every precision, which moves y by
# 1e-8: derivatives are those of what the layer computes.
_CUBIC = float(np.float32(0.044715))


@functools.cache
def _root_half() -> float:
    """Returns 1 / sqrt(2) as `tf.nn.gelu` has it: older ones divide by a rounded sqrt(2)."""
    with tf.init_scope():
        value = float(tf.nn.gelu(tf.constant(1.0, tf.float64)))
    newer, older = (
        float(np.float32(math.sqrt(0.5))),
        1.0 / float(np.float32(math.sqrt(2.0))),
    )
    return min(newer, older, key=lambda root: abs(0.5 * (math.erf(root) + 1.0) - value))


def elementwise(rule: Callable[..., Jet]) -> Callable[..., Jet]:
    """Returns the rule of a function of single numbers: its derivatives once a point."""
    return lambda x, **parameters: jet.elementwise(lambda z: rule(z, **parameters), x)


def straight(function: Callable) -> Callable[..., Jet]:
    """Returns the rule of a function of straight pieces: the slope times each entry."""
    return lambda x, **parameters: jet.straight(lambda v: function(v, **parameters), x)


def silu(x: Jet) -> Jet:
    return x * jet.sigmoid(x)


def gelu(x: Jet, approximate: bool = False) -> Jet:
    if approximate:
        inner = math.sqrt(2.0 / math.pi) * (x + _CUBIC * jet.power(x, 3))
        return 0.5 * x * (jet.tanh(inner) + 1.0)
    return 0.5 * x * (jet.erf(_root_half() * x) + 1.0)


def squareplus(x: Jet, b: float = 4) -> Jet:
    return 0.5 * (x + jet.sqrt(jet.square(x) + b))


def elu(x: Jet, alpha: float = 1.0) -> Jet:
    return jet.where(x.primal >= 0, x, _exponential_for_negative(x, alpha, 1.0))


def selu(x: Jet) -> Jet:
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def celu(x: Jet, alpha: float = 1.0) -> Jet:
    return jet.where(x.primal > 0, x, _exponential_for_negative(x, alpha, alpha))


def _exponential_for_negative(x: Jet, alpha: float, scale: float) -> Jet:
    """alpha (exp(x / scale) - 1) for x < 0, whose exponential sees no positive number."""
    negative = jet.where(x.primal > 0, 0.0, x)
    return alpha * jet.expm1(negative * (1.0 / scale))


def softsign(x: Jet) -> Jet:
    absolute = jet.where(x.primal < 0, -x, x)
    return x / (absolute + 1.0)


def glu(x: Jet, axis: int = -1) -> Jet:
    left, right = (
        jet.linear(lambda v, i=i: tf.split(v, 2, axis=axis)[i], x) for i in (0, 1)
    )
    return left * jet.sigmoid(right)


def parabola(x: Jet, beta: float = 1.0) -> Jet:
    curved = jet.square(x + beta) * (0.25 / beta)
    return jet.where(x.primal <= -beta, 0.0, jet.where(x.primal < beta, curved, x))


def sharp_softplus(x: Jet, sharpness: float = 1.0) -> Jet:
    return jet.softplus(sharpness * x) / sharpness
