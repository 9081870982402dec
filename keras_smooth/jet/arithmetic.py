"""Truncated Taylor arithmetic: how a function carries derivatives along curves.

A jet is a point on a curve x(t) and the derivatives of the curve there: the primal x(0) and the
series x'(0), x''(0), ... Entry k is the k-th derivative, not divided by k!, as in
jax.experimental.jet. This file has the class, and linear functions and products of jets.
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth.jet.direction_basis import DirectionBasis
from keras_smooth.jet.entries import (
    Entry,
    apply_folded,
    minus,
    sum_over_directions,
    times,
    total,
)
from keras_smooth.jet.shapes import OfCurves, Primal


class Jet:
    """A point and the derivatives of curves through it.

    Sums, products and quotients of jets and constants are jets. Most users get jets from
    `keras_smooth.jet.line` or as the arguments of a rule.

    Args:
        primal: The point x(0), a tensor of shape `(batch, ...)`.
        series: The derivatives x'(0), x''(0), ... of several curves through the same point,
            tensors of shape `(directions, batch, ...)` in the dtype of the primal. The batch
            axis may be 1 if all samples agree. None is 0.
        collapsed: Whether the last entry is summed over the directions and has an axis of 1
            in their place. That is all that a Laplacian needs, and it costs less.
        basis: How the directions are composed of fewer curves, which the series then holds
            instead. Only for collapsed jets of order 2. None if the series holds the
            directions themselves.
        weights: Weights of the directions in the sums of a collapsed jet, an array of shape
            `(sums, directions)`. The first axis of the last entry is then that of the sums.
            None is one sum in which all weights are 1.

    Example:

    >>> import tensorflow as tf
    >>> from keras_smooth import jet
    >>> t = jet.Jet(tf.constant([3.0]), [tf.constant([[1.0]]), None])
    >>> y = t * t + 1.0
    >>> float(y.primal[0]), [float(y.entry(k)[0, 0]) for k in (1, 2)]
    (10.0, [6.0, 2.0])
    """

    # Without this, NumPy applies `array * jet` to each number of the array.
    __array_ufunc__ = None

    def __init__(
        self,
        primal: Primal,
        series: Sequence[OfCurves | None],
        collapsed: bool = False,
        basis: DirectionBasis | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        self.primal = primal
        self.series = list(series)
        self.collapsed = collapsed
        self.basis = basis
        self.weights = weights

    @property
    def order(self) -> int:
        """The number of derivatives."""
        return len(self.series)

    @property
    def shape(self) -> tf.TensorShape:
        """The shape of the primal."""
        return self.primal.shape

    @property
    def dtype(self) -> tf.DType:
        """The dtype of the primal."""
        return self.primal.dtype

    @property
    def entries(self) -> list[Entry]:
        """A list of the primal and the series, in which entry k is the k-th derivative."""
        return [self.primal, *self.series]

    @property
    def directions(self) -> int:
        """The number of directions; 1 if all entries that have this axis are None."""
        if self.basis:
            return self.basis.directions
        along = self.series[:-1] if self.collapsed else self.series
        return max((value.shape[0] for value in along if value is not None), default=1)

    def lead(self, order: int) -> int:
        """Returns the size of the first axis of an entry.

        Args:
            order: The number of the entry, 1 or more.

        Returns:
            The number of directions, or of sums for the last entry of a collapsed jet.
        """
        if not self.collapsed or order < self.order:
            return self.directions
        return 1 if self.weights is None else len(self.weights)

    def cast(self, dtype: str) -> "Jet":
        """Returns the jet in another dtype.

        Args:
            dtype: Name of the dtype, such as `"float64"`.

        Returns:
            A Jet; the same one if it has that dtype.
        """
        if self.dtype == dtype:
            return self
        return map_entries(self, tf.cast(self.primal, dtype), lambda v: tf.cast(v, dtype))

    def like(self, primal: tf.Tensor, series: Sequence[Entry]) -> "Jet":
        """Returns a jet with other values and the same directions.

        Args:
            primal: The point.
            series: The derivatives, as for `Jet`.

        Returns:
            A Jet.
        """
        return Jet(primal, series, self.collapsed, self.basis, self.weights)

    def framed(self) -> "Jet":
        """Returns the jet with fewer curves if that saves work.

        If there are more than twice as many straight lines as numbers in a sample, and all
        samples share them, they become combinations of one unit direction for each number.
        For a Laplacian along d directions, the costs after a first layer that is narrower
        than d / 2 grow with its width, not with d.
        """
        size = math.prod(self.shape[1:]) if None not in self.shape[1:] else 0
        if not self._has_shared_lines() or self.directions <= 2 * size or not size:
            return self
        matrix = tf.reshape(self.series[0], (self.directions, size))
        basis = DirectionBasis(matrix, None if self.weights is None else self.weights[0])
        units = tf.reshape(tf.eye(size, dtype=self.dtype), (size, 1, *self.shape[1:]))
        return Jet(self.primal, [units, None], True, basis, self.weights)

    def _has_shared_lines(self) -> bool:
        if not self.collapsed or self.order != 2 or self.basis or self.series[0] is None:
            return False
        if self.weights is not None and len(self.weights) > 1:
            return False
        return self.series[1] is None and self.series[0].shape[1] == 1

    def unframed(self) -> "Jet":
        """Returns the jet with one curve for each direction."""
        if not self.basis:
            return self
        first, last = self.series
        first = None if first is None else self.basis.to_directions(first)
        return Jet(self.primal, [first, last], self.collapsed, weights=self.weights)

    def entry(self, order: int) -> tf.Tensor:
        """Returns the derivative of one order as a tensor, also if it is stored as None.

        Args:
            order: The number of the derivative, 1 or more.

        Returns:
            A tensor of shape `(lead(order), batch, ...)`.
        """
        value = self.unframed().series[order - 1]
        shape = tf.concat([[self.lead(order)], tf.shape(self.primal)], axis=0)
        if value is None:
            return tf.zeros(shape, self.dtype)
        return tf.broadcast_to(value, shape)

    def __add__(self, other: Any) -> Any:
        return _sum(self, other)

    __radd__ = __add__

    def __neg__(self) -> Any:
        return self.like(-self.primal, [minus(value) for value in self.series])

    def __sub__(self, other: Any) -> Any:
        return _sum(self, -other)

    def __rsub__(self, other: Any) -> Any:
        return _sum(-self, other)

    def __mul__(self, other: Any) -> Any:
        return bilinear(tf.multiply, self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self * (reciprocal(other) if isinstance(other, Jet) else 1.0 / other)

    def __rtruediv__(self, other: Any) -> Any:
        return reciprocal(self) * other


def inner_sum(
    x: Jet, k: int, terms: Iterable[tuple], product: Callable = tf.multiply
) -> Entry:
    """Returns the sum of the terms of entry k that are products of lower entries.

    If entry k is collapsed, it is also the sum over the directions.

    Args:
        x: A jet with the same directions.
        k: The number of the entry.
        terms: Triples of two entries and a factor.
        product: The product of two entries.
    """
    is_last = x.collapsed and k == x.order
    if is_last and x.basis:
        known = (term for term in terms if term[0] is not None)
        terms = [(a, x.basis.times_metric(b), scale) for a, b, scale in known]
    sum_ = total(times(a, b, scale, product) for a, b, scale in terms)
    if not is_last or sum_ is None:
        return sum_
    return sum_over_directions(sum_, None if x.basis else x.weights)


def inner_leibniz(
    x: Jet, a: Sequence, b: Sequence, k: int, product: Callable = tf.multiply
) -> Entry:
    """Returns entry k of a product of series, without its first and last term."""
    terms = ((a[j], b[k - j], math.comb(k, j)) for j in range(1, k))
    return inner_sum(x, k, terms, product)


def as_jets(*xs: Any) -> list[Jet]:
    """Returns all arguments as jets along the same curves. A constant has a series of 0."""
    jets = [x for x in xs if isinstance(x, Jet)]
    if not jets:
        received = ", ".join(type(x).__name__ for x in xs)
        raise TypeError(
            f"At least one argument must be a Jet, received {received}. Make one by "
            "keras_smooth.jet.line(points), or call TensorFlow's function."
        )
    if len({id(x.basis) for x in jets}) > 1:
        return as_jets(*(x.unframed() if isinstance(x, Jet) else x for x in xs))
    return [x if isinstance(x, Jet) else _constant_jet(x, jets[0]) for x in xs]


def _constant_jet(value: Any, like: Jet) -> Jet:
    # tf.cast would round a number to float32.
    is_number = isinstance(value, (int, float))
    point = (tf.constant if is_number else tf.cast)(value, like.dtype)
    return like.like(point, [None] * like.order)


def _sum(x: Jet, other: Any) -> Jet:
    x, other = as_jets(x, other)
    primal = x.primal + other.primal
    pairs = zip(x.series, other.series, strict=True)
    series = [total([broadcast_like(v, primal) for v in pair]) for pair in pairs]
    return x.like(primal, series)


def broadcast_like(value: Entry, like: tf.Tensor) -> Entry:
    """Returns an entry broadcast to the shape of a tensor, except along the batch axis."""
    if value is None or value.shape[2:] == like.shape[1:]:
        return value
    return value * tf.ones_like(like)


def linear(function: Callable, x: Jet) -> Jet:
    """Applies a linear function of tensors.

    Args:
        function: A linear function from a tensor of shape `(batch, ...)` to such a tensor.
        x: Jet of floats.

    Returns:
        Jet of the shape that the function returns.

    Example:

    >>> import tensorflow as tf
    >>> from keras_smooth import jet
    >>> y = jet.linear(lambda v: tf.reduce_sum(v, axis=-1), jet.line([[1.0, 2.0]]))
    >>> [float(y.entry(k)[0, 0]) for k in (1, 2)]
    [2.0, 0.0]
    """
    return x.like(function(x.primal), [apply_folded(function, value) for value in x.series])


def joint(function: Callable, *xs: Any) -> Jet:
    """Applies a linear function of several arguments.

    Args:
        function: A linear function of as many tensors of shape `(batch, ...)`.
        *xs: Jets and constants, at least one jet.

    Returns:
        Jet of the shape that the function returns.

    Example:

    >>> import tensorflow as tf
    >>> from keras_smooth import jet
    >>> x = jet.line([[1.0], [2.0]])
    >>> jet.joint(lambda a, b: tf.concat([a, b], -1), x, jet.exp(x)).shape
    TensorShape([2, 2])
    """
    exact = function(*map(primal, xs))
    return lifted_joint(exact, functools.partial(apply_folded, function), xs)


def lifted_joint(exact: Any, lift: Callable, xs: Sequence) -> Jet:
    """Returns the jet of a function that is jointly linear in several arguments.

    Args:
        exact: The value of the function at the points.
        lift: `lift(*values)` applies the function to an entry of each argument, with the axis
            of directions in front.
        xs: Jets and constants, at least one jet.
    """
    jets, series = as_jets(*xs), []
    for values in zip(*(x.series for x in jets)):
        lead = max((value.shape[0] for value in values if value is not None), default=0)
        full = (full_entry(*pair, lead) for pair in zip(jets, values))
        series.append(lift(*full) if lead else None)
    return jets[0].like(exact, series)


def primal(x: Any) -> Any:
    """Returns the primal of a jet, or another value unchanged."""
    return x.primal if isinstance(x, Jet) else x


def map_entries(x: Jet, y: Any, function: Callable) -> Jet:
    """Returns the jet with primal y and a function of each entry of x that is not None."""
    return x.like(y, [None if value is None else function(value) for value in x.series])


def full_entry(x: Any, value: Entry, lead: int) -> tf.Tensor:
    """Returns an entry broadcast to `lead` directions and to the shape of a jet or constant."""
    like = tf.convert_to_tensor(primal(x))
    size = (lead, *like.shape)
    if value is not None and value.shape.is_fully_defined() and value.shape == size:
        return value
    shape = tf.concat([[lead], tf.shape(like)], axis=0)
    full = tf.zeros(shape, like.dtype) if value is None else tf.broadcast_to(value, shape)
    return tf.ensure_shape(full, size)


def bilinear(function: Callable, x: Any, y: Any) -> Jet:
    """Applies a product, a function of two tensors that is linear in each and broadcasts.

    Entry k is sum_j binomial(k, j) x_j y_(k - j), Leibniz' rule.

    Args:
        function: The product, a function of two tensors.
        x: Jet or constant.
        y: Jet or constant; one of the two is a jet.

    Returns:
        Jet of the shape that the function returns.

    Example:

    >>> import tensorflow as tf
    >>> from keras_smooth import jet
    >>> x = jet.line([[2.0]])
    >>> y = jet.bilinear(tf.matmul, x, x)
    >>> [float(y.entry(k)[0, 0, 0]) for k in (1, 2)]
    [4.0, 2.0]
    """
    x, y = as_jets(x, y)
    a, b = x.entries, y.entries
    series = [leibniz(x, a, b, k, function) for k in range(1, x.order + 1)]
    return x.like(function(a[0], b[0]), series)


def folded_bilinear(function: Callable, x: Any, y: Any) -> Jet:
    """Applies a product that needs two batches of the same size and does not broadcast.

    Args:
        function: The product, a function of two tensors of shape `(batch, ...)`.
        x: Jet or constant.
        y: Jet or constant; one of the two is a jet.

    Returns:
        Jet of the shape that the function returns.

    Example:

    >>> import keras
    >>> from keras_smooth import jet
    >>> x, dot = jet.line([[2.0]]), keras.layers.Dot(axes=1)
    >>> y = jet.folded_bilinear(lambda a, b: dot([a, b]), x, x)
    >>> [float(y.entry(k)[0, 0, 0]) for k in (1, 2)]
    [4.0, 2.0]
    """

    def product(a: Any, b: Any) -> Any:
        if a.shape.rank == b.shape.rank == primal(x).shape.rank:
            return function(a, b)
        lead = max(v.shape[0] for v, z in ((a, x), (b, y)) if v.shape.rank > z.shape.rank)
        return apply_folded(function, full_entry(x, a, lead), full_entry(y, b, lead))

    return bilinear(product, x, y)


def leibniz(x: Jet, a: Sequence, b: Sequence, k: int, product: Any = tf.multiply) -> Entry:
    """Returns entry k of a product of series."""
    ends = [times(a[0], b[k], 1, product), times(a[k], b[0], 1, product)]
    return total([*ends, inner_leibniz(x, a, b, k, product)])


def reciprocal(x: Jet) -> Jet:
    """Returns 1 / x, from y x = 1: y_k = -y_0 sum_(j >= 1) binomial(k, j) x_j y_(k - j).

    Args:
        x: Jet of floats.

    Returns:
        Jet of the shape of `x`.

    Example:

    >>> from keras_smooth import jet
    >>> y = jet.reciprocal(jet.line([1.0]))
    >>> [float(y.entry(k)[0, 0]) for k in (1, 2)]
    [-1.0, 2.0]
    """
    y, s = [tf.math.reciprocal(x.primal)], x.entries
    for k in range(1, x.order + 1):
        y.append(minus(times(leibniz(x, s, [*y, None], k), y[0])))
    return x.like(y[0], y[1:])
