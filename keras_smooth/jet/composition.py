"""Elementwise functions from their derivatives at the points, for many directions.

With f', f'', ... at the point, a curve x(t) gives

    y_n = sum_k f^(k)(x_0) B_(n, k)(x_1, ..., x_(n - k + 1)),

where B are the partial Bell polynomials. The derivatives of f are computed once for each point, not
once for each direction. In a sum over the directions they are common factors.

References:
    Faa di Bruno's formula in the form of Comtet, 1974, "Advanced combinatorics", section
    3.4; Dangel et al., 2025, "Collapsing Taylor mode automatic differentiation".
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_smooth.jet.arithmetic import Jet, inner_sum
from keras_smooth.jet.entries import Entry, times, total


def elementwise(function: Callable[[Jet], Jet], x: Jet) -> Jet:
    """Applies an elementwise function, with its derivatives computed once for all directions.

    Args:
        function: A function of a jet that works element by element.
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.elementwise(lambda x: x * jet.sigmoid(x), jet.line([0.0]))
    >>> [float(y.entry(k)[0, 0]) for k in (1, 2)]
    [0.5, 0.5]
    """
    if x.directions == 1 and not x.collapsed:
        return function(x)
    f = function(Jet(x.primal, [tf.ones_like(x.primal)[None], *[None] * (x.order - 1)]))
    return _composed(f.primal, f.series, x)


def composed(derivatives: Sequence[tf.Tensor], x: Jet) -> Jet:
    """Applies an elementwise function whose derivatives at the points are known.

    Args:
        derivatives: The function and its derivatives 1 to `x.order` at `x.primal`.
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example: of sin at 0 they are 0, 1, 0.

    >>> import tensorflow as tf
    >>> from keras_smooth import jet
    >>> x = jet.line([0.0])
    >>> y = jet.composed([tf.sin(x.primal), tf.cos(x.primal), -tf.sin(x.primal)], x)
    >>> [float(y.entry(k)[0, 0]) for k in (1, 2)]
    [1.0, -0.0]
    """
    return _composed(derivatives[0], [value[None] for value in derivatives[1:]], x)


def _composed(primal: tf.Tensor, slopes: Sequence[Entry], x: Jet) -> Jet:
    bell = _bell_polynomials(x)

    def entry(n: int) -> Entry:
        return total(times(bell[n, k], slopes[k - 1]) for k in range(1, n + 1))

    return x.like(primal, [entry(n) for n in range(1, x.order + 1)])


def _bell_polynomials(x: Jet) -> dict[tuple[int, int], Entry]:
    """Returns the polynomials B_(n, k) by (n, k), summed over directions if entry n is.

    B_(n, k) = sum_i binomial(n - 1, i - 1) x_i B_(n - i, k - 1), B_(n, 1) = x_n.
    """
    bell = {}
    for n in range(1, x.order + 1):
        bell[n, 1] = x.series[n - 1]
        for k in range(2, n + 1):
            terms = (
                (x.series[i - 1], bell[n - i, k - 1], math.comb(n - 1, i - 1))
                for i in range(1, n - k + 2)
            )
            bell[n, k] = inner_sum(x, n, terms)
    return bell


def line(points: Any, order: int = 2) -> Jet:
    """Returns the jet of the straight line x + t through points, to test a rule.

    Entry k of an elementwise function of it is the k-th derivative at the points.

    Args:
        points: Array of floats of shape `(batch, ...)`.
        order: Number of derivatives.

    Returns:
        Jet of the shape of `points` along one direction.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.power(jet.line([2.0], order=3), 3)
    >>> [float(y.entry(k)[0, 0]) for k in (1, 2, 3)]
    [12.0, 12.0, 6.0]
    """
    points = tf.convert_to_tensor(points)
    return Jet(points, [tf.ones_like(points)[None], *[None] * (order - 1)])
