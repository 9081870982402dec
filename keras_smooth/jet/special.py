"""Functions whose formulas are 0 / 0 at a point where they are smooth."""

import math

import numpy as np
import tensorflow as tf

from keras_smooth.jet.arithmetic import Jet
from keras_smooth.jet.composition import composed

# The largest |u| for which the power series is used, and its number of terms, for float64.
_SINC_RADIUS, _SINC_TERMS = 2.0, 26
# The same for Bessel functions, by the sign of their equation: alternating terms cancel.
_BESSEL_RADIUS, _BESSEL_TERMS = {1: 8.0, -1: 5.0}, 40


def sinc(x: Jet) -> Jet:
    """Returns sin(pi x) / (pi x), which is 1 at 0.

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example: the second derivative at 0 is -pi^2 / 3.

    >>> from keras_smooth import jet
    >>> y = jet.sinc(jet.line([0.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [0.0, -3.2899]
    """
    derivatives = _sinc_derivatives(math.pi * x.primal, x.order)
    return composed([math.pi**n * value for n, value in enumerate(derivatives)], x)


def _sinc_derivatives(u: tf.Tensor, order: int) -> list[tf.Tensor]:
    """Returns f(u) = sin(u) / u and its derivatives up to an order.

    u f = sin(u) gives u f_n + n f_(n - 1) = sin(u + n pi / 2). Near 0 this cancels, and the power
    series is used: f_n = sum_j (-1)^((n + j) / 2) u^j / (j! (n + j + 1)), n + j even.
    """
    near = tf.abs(u) < _SINC_RADIUS
    far = tf.where(near, tf.ones_like(u) * _SINC_RADIUS, u)
    near_u, derivatives, last = tf.where(near, u, 0.0), [], tf.zeros_like(u)
    for n in range(order + 1):
        last = (tf.sin(far + n * math.pi / 2) - n * last) / far
        series = [
            (-1) ** ((n + j) // 2) / (math.factorial(j) * (n + j + 1)) * (1 - (n + j) % 2)
            for j in range(_SINC_TERMS)
        ]
        derivatives.append(tf.where(near, _polynomial(series, near_u), last))
    return derivatives


def i0(x: Jet) -> Jet:
    """Returns the modified Bessel function of the first kind and order 0.

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example: the second derivative at 0 is 1 / 2.

    >>> from keras_smooth import jet
    >>> y = jet.i0(jet.line([0.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [0.0, 0.5]
    """
    return bessel(x, 0, 1)


def bessel(x: Jet, kind: int, sign: int) -> Jet:
    """Returns a Bessel function of the first kind, by 9.1.31 and 9.6.29 of the source.

    Args:
        x: Jet of floats.
        kind: Its order, 0 or 1.
        sign: 1 for the modified function I, -1 for J.

    Source: Abramowitz and Stegun, 1964, "Handbook of mathematical functions".
    """
    functions = _bessel_functions(x.primal, x.order + kind, sign)

    def function(m: int) -> tf.Tensor:
        return functions[m] if m >= 0 else functions[-m] * float(sign**-m)

    def derivative(n: int) -> tf.Tensor:
        terms = [
            math.comb(n, k) * sign**k * function(kind - n + 2 * k) for k in range(n + 1)
        ]
        return tf.add_n(terms) / 2**n

    return composed([derivative(n) for n in range(x.order + 1)], x)


def _bessel_functions(x: tf.Tensor, largest: int, sign: int) -> list[tf.Tensor]:
    """Returns the Bessel functions of the orders from 0 to `largest`.

    Near 0 by the power series 9.1.10 and 9.6.10 of the source, else by 9.1.27 and 9.6.26.
    """
    near = tf.abs(x) < _BESSEL_RADIUS[sign]
    half = tf.where(near, x, 0.0) / 2
    far = tf.where(near, tf.ones_like(x) * _BESSEL_RADIUS[sign], x)
    of_sign = {
        1: (tf.math.bessel_i0, tf.math.bessel_i1),
        -1: (tf.math.special.bessel_j0, tf.math.special.bessel_j1),
    }
    values = [function(far) for function in of_sign[sign]]
    for m in range(1, largest):
        values.append(sign * (values[m - 1] - 2 * m / far * values[m]))
    terms = []
    for m in range(largest + 1):
        series = [
            float(sign**k) / (math.factorial(k) * math.factorial(k + m))
            for k in range(_BESSEL_TERMS)
        ]
        terms.append(tf.where(near, half**m * _polynomial(series, half * half), values[m]))
    return terms


def _polynomial(coefficients: list[float], x: tf.Tensor) -> tf.Tensor:
    # Coefficients that underflow in the dtype are left out.
    # NumPy does not know bfloat16, which has the exponents of float32.
    kind = "float32" if x.dtype == tf.bfloat16 else x.dtype.name
    smallest = np.finfo(kind).tiny
    rounded = [0.0 if abs(c) < smallest else c for c in coefficients]
    return tf.math.polyval([tf.constant(c, x.dtype) for c in reversed(rounded)], x)
