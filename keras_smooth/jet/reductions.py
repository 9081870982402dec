"""Functions along the axes of a sample: softmax and related functions, and products."""

from collections.abc import Sequence

import tensorflow as tf

from keras_smooth.jet.arithmetic import Jet, linear
from keras_smooth.jet.composition import elementwise
from keras_smooth.jet.functions import exp, log

Axes = int | Sequence[int]


def softmax(x: Jet, axis: Axes = -1) -> Jet:
    """Returns exp(x) divided by its sum, shifted by the largest entry.

    Args:
        x: Jet of shape `(batch, ...)`.
        axis: The axis or axes of the sum.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.softmax(jet.line([[1.0, 1.0]]))
    >>> [round(float(y.entry(k)[0, 0, 0]), 4) for k in (1, 2)]
    [0.0, 0.0]
    """
    exponentials = elementwise(exp, x - _largest(x, axis))
    return exponentials / _sum(exponentials, axis)


def log_softmax(x: Jet, axis: Axes = -1) -> Jet:
    """Returns the logarithm of `softmax`.

    Args:
        x: Jet of shape `(batch, ...)`.
        axis: The axis or axes of the sum.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.log_softmax(jet.square(jet.line([[1.0, 2.0]])))
    >>> [round(float(y.entry(k)[0, 0, 0]), 4) for k in (1, 2)]
    [-1.9051, -0.1807]
    """
    shifted = x - _largest(x, axis)
    return shifted - elementwise(log, _sum(elementwise(exp, shifted), axis))


def logsumexp(x: Jet, axis: Axes, keepdims: bool = False) -> Jet:
    """Returns the logarithm of the sum of exp(x), shifted by the largest entry.

    Args:
        x: Jet of shape `(batch, ...)`.
        axis: The axis or axes of the sum.
        keepdims: Whether to keep the reduced axes, with size 1.

    Returns:
        Jet of the shape of `x` without the reduced axes.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.logsumexp(jet.line([[1.0, 1.0]]), axis=-1)
    >>> [round(float(y.entry(k)[0, 0]), 4) for k in (1, 2)]
    [1.0, 0.0]
    """
    largest = _largest(x, axis)
    result = log(_sum(exp(x - largest), axis)) + largest
    return result if keepdims else linear(lambda v: tf.squeeze(v, axis), result)


def cumprod(x: Jet, axis: int) -> Jet:
    """Returns the products of the first 1, 2, ... entries along an axis.

    Entries of 0 have the right derivatives, since nothing is divided by them.

    Args:
        x: Jet of shape `(batch, ...)`, whose size along the axis is known.
        axis: The axis of the products, not that of the batch.

    Returns:
        Jet of the shape of `x`.

    Example: of t and t it is t and t^2.

    >>> from keras_smooth import jet
    >>> y = jet.cumprod(jet.line([[0.0, 0.0]]), axis=1)
    >>> [float(y.entry(k)[0, 0, 1]) for k in (1, 2)]
    [0.0, 2.0]
    """
    axis %= x.shape.rank
    size, shift = x.shape[axis], 1
    # Parallel prefix products (Hillis and Steele, 1986).
    while shift < size:
        x = x * shift_along_axis(x, axis, shift, 1.0)
        shift *= 2
    return x


def shift_along_axis(x: Jet, axis: int, shift: int, first: float) -> Jet:
    """Returns a jet shifted along an axis, with `first` in the places that become free."""
    padding = [[shift if i == axis else 0, 0] for i in range(x.shape.rank)]
    begin, size = [0] * x.shape.rank, [-1] * x.shape.rank
    size[axis] = x.shape[axis] - shift
    y = linear(lambda v: tf.pad(tf.slice(v, begin, size), padding), x)
    head = tf.slice(x.primal, begin, size)
    return y.like(tf.pad(head, padding, constant_values=first), y.series)


def prod(x: Jet, axis: int) -> Jet:
    """Returns the product of all entries along an axis, which is kept with size 1.

    Args:
        x: Jet of shape `(batch, ...)`, whose size along the axis is known.
        axis: The axis of the products, not that of the batch.

    Returns:
        Jet of the shape of `x`, with size 1 along the axis.

    Example: t * t.

    >>> from keras_smooth import jet
    >>> y = jet.prod(jet.line([[0.0, 0.0]]), axis=1)
    >>> [float(y.entry(k)[0, 0, 0]) for k in (1, 2)]
    [0.0, 2.0]
    """
    axis %= x.shape.rank
    if x.shape[axis] == 0:
        zero = _sum(x, axis)
        return zero.like(tf.ones_like(zero.primal), zero.series)
    last = [x.shape[axis] - 1]
    return linear(lambda v: tf.gather(v, last, axis=axis), cumprod(x, axis))


def _largest(x: Jet, axis: Axes) -> tf.Tensor:
    return tf.stop_gradient(tf.reduce_max(x.primal, axis=axis, keepdims=True))


def _sum(x: Jet, axis: Axes) -> Jet:
    return linear(lambda v: tf.reduce_sum(v, axis=axis, keepdims=True), x)
