"""Elementwise functions as series solutions of ordinary differential equations.

y = f(x(t)) solves y' = w x' with w = f'(x). Leibniz' rule gives

    y_k = sum_j binomial(k - 1, j - 1) x_j w_(k - j),   j = 1 .. k.

References:
    Griewank and Walther, 2008, "Evaluating derivatives", 2nd edition, section 13.2.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.jet.arithmetic import Jet, inner_sum, reciprocal
from keras_smooth.jet.entries import Entry, minus, times, total


def _square_entry(x: Jet, a: Sequence, k: int) -> Entry:
    """Returns entry k of the square of a series, with half as many terms as a product."""
    terms = [(a[j], a[k - j], 2 * math.comb(k, j)) for j in range(1, (k + 1) // 2)]
    if k % 2 == 0:
        terms.append((a[k // 2], a[k // 2], math.comb(k, k // 2)))
    return total([times(a[0], a[k], 2), inner_sum(x, k, terms)])


def _chain_rule_entry(x: Jet, w: Sequence, k: int) -> Entry:
    """Returns entry k of the solution of y' = w x'."""
    s = x.entries
    terms = ((s[j], w[k - j], math.comb(k - 1, j - 1)) for j in range(1, k))
    return total([times(s[k], w[0]), inner_sum(x, k, terms)])


def solve(x: Jet, primal: tf.Tensor, slope: Callable) -> Jet:
    """Returns the series solution of y' = w x' for an elementwise function.

    Args:
        x: Argument of the function.
        primal: Value of the function at the point.
        slope: `slope(y, k)` returns entry k of w from the entries 0 .. k of y.

    Returns:
        Jet of the shape of `x`.

    Example: exp solves y' = y x'.

    >>> import tensorflow as tf
    >>> from keras_smooth import jet
    >>> x = jet.line([0.0])
    >>> y = jet.solve(x, tf.exp(x.primal), lambda y, k: y[k])
    >>> [float(y.entry(k)[0, 0]) for k in (1, 2)]
    [1.0, 1.0]
    """
    y, w = [primal], []
    for k in range(1, x.order + 1):
        w.append(slope(y, k - 1))
        y.append(_chain_rule_entry(x, w, k))
    return x.like(primal, y[1:])


def primitive(x: Jet, primal: tf.Tensor, derivative: Callable[[Jet], Jet]) -> Jet:
    """Applies a function whose derivative is a known function of jets.

    Args:
        x: Jet of floats.
        primal: Value of the function at the point.
        derivative: The derivative, a function of jets.

    Returns:
        Jet of the shape of `x`.

    Example: the logarithm has the derivative 1 / x.

    >>> import tensorflow as tf
    >>> from keras_smooth import jet
    >>> x = jet.line([2.0])
    >>> y = jet.primitive(x, tf.math.log(x.primal), jet.reciprocal)
    >>> [float(y.entry(k)[0, 0]) for k in (1, 2)]
    [0.5, -0.25]
    """
    if x.order == 0:
        return x.like(primal, [])
    w = derivative(Jet(x.primal, x.series[:-1])).entries
    return solve(x, primal, lambda y, k: w[k])


def square(x: Jet) -> Jet:
    """Returns x^2.

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.square(jet.line([3.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [6.0, 2.0]
    """
    series = [_square_entry(x, x.entries, k) for k in range(1, x.order + 1)]
    return x.like(tf.square(x.primal), series)


def exp(x: Jet) -> Jet:
    """Returns exp(x), from y' = y x'.

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.exp(jet.line([0.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [1.0, 1.0]
    """
    return solve(x, tf.exp(x.primal), lambda y, k: y[k])


def expm1(x: Jet) -> Jet:
    """Returns exp(x) - 1 without cancellation, from y' = (y + 1) x'.

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.expm1(jet.line([0.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [1.0, 1.0]
    """
    return solve(x, tf.math.expm1(x.primal), lambda y, k: y[k] if k else y[0] + 1.0)


def tanh(x: Jet) -> Jet:
    """Returns tanh(x), from y' = (1 - y^2) x'.

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.tanh(jet.line([1.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [0.42, -0.6397]
    """

    def slope(y: Any, k: Any) -> Any:
        return minus(_square_entry(x, y, k)) if k else 1.0 - tf.square(y[0])

    return solve(x, tf.tanh(x.primal), slope)


def sigmoid(x: Jet) -> Jet:
    """Returns sigmoid(x), from y' = y (1 - y) x'.

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.sigmoid(jet.line([0.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [0.25, 0.0]
    """

    def slope(y: Any, k: Any) -> Any:
        if k == 0:
            return y[0] * (1.0 - y[0])
        return total([y[k], minus(_square_entry(x, y, k))])

    return solve(x, tf.sigmoid(x.primal), slope)


def softplus(x: Jet) -> Jet:
    """Returns log(1 + exp(x)), from y' = sigmoid(x) x'.

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.softplus(jet.line([0.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [0.5, 0.25]
    """
    return primitive(x, tf.nn.softplus(x.primal), sigmoid)


def erf(x: Jet) -> Jet:
    """Returns erf(x), from y' = 2 / sqrt(pi) exp(-x^2) x'.

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.erf(jet.line([1.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [0.4151, -0.8302]
    """
    scale = 2.0 / math.sqrt(math.pi)
    return primitive(x, tf.math.erf(x.primal), lambda x: scale * exp(-square(x)))


def log(x: Jet) -> Jet:
    """Returns log(x), from y' = x' / x.

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.log(jet.line([2.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [0.5, -0.25]
    """
    return primitive(x, tf.math.log(x.primal), reciprocal)


def log1p(x: Jet) -> Jet:
    """Returns log(1 + x) without cancellation, from y' = x' / (1 + x).

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.log1p(jet.line([1.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [0.5, -0.25]
    """
    return primitive(x, tf.math.log1p(x.primal), lambda x: reciprocal(x + 1.0))


def sin(x: Jet) -> Jet:
    """Returns sin(x), from y' = cos(x) x'.

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.sin(jet.line([1.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [0.5403, -0.8415]
    """
    return _sin_and_cos(x)[0]


def cos(x: Jet) -> Jet:
    """Returns cos(x), from y' = -sin(x) x'.

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.cos(jet.line([1.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [-0.8415, -0.5403]
    """
    return _sin_and_cos(x)[1]


def _sin_and_cos(x: Jet) -> tuple[Jet, Jet]:
    s, c = [tf.sin(x.primal)], [tf.cos(x.primal)]
    for k in range(1, x.order + 1):
        s, c = [*s, _chain_rule_entry(x, c, k)], [*c, minus(_chain_rule_entry(x, s, k))]
    return x.like(s[0], s[1:]), x.like(c[0], c[1:])


def sqrt(x: Jet) -> Jet:
    """Returns sqrt(x), from y^2 = x: 2 y_0 y_k is x_k minus the inner terms of y^2.

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.sqrt(jet.line([1.0]))
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [0.5, -0.25]
    """
    y = [tf.sqrt(x.primal)]
    half = 0.5 / y[0]
    for k in range(1, x.order + 1):
        inner_terms = minus(_square_entry(x, [*y, None], k))
        y.append(times(total([x.series[k - 1], inner_terms]), half))
    return x.like(y[0], y[1:])


def power(x: Jet, exponent: int) -> Jet:
    """Returns x to an integer power, by repeated squaring.

    Args:
        x: Jet of floats.
        exponent: An integer, which may be negative.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.power(jet.line([2.0]), 3)
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [12.0, 12.0]
    """
    if exponent < 0:
        return reciprocal(power(x, -exponent))
    if exponent < 2:
        return x if exponent else x.like(tf.ones_like(x.primal), [None] * x.order)
    half = square(power(x, exponent // 2))
    return half * x if exponent % 2 else half
