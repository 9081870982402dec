"""Truncated Taylor arithmetic: how a function carries derivatives along curves.

A jet is a point and what happens to it along a curve x(t): the primal x(0) and the series
x'(0), x''(0), ... Entry k is the k-th derivative, not divided by k!, as in
jax.experimental.jet. This room knows no layer; this file has sums and products.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import tensorflow as tf

from keras_smooth.jet.frame import Frame, tail

Entry: TypeAlias = tf.Tensor | None


class Jet:
    """A point and the derivatives of curves through it.

    Args:
        primal: The point x(0), of shape `(batch, ...)`.
        series: Entries x'(0), x''(0), ... for each of several curves, which share the
            primal: shape `(directions, batch, ...)`. The batch axis may be 1 where all
            samples agree. None is 0.
        collapsed: Whether the last entry is summed over the directions (and has 1 in
            their place). That is all a Laplacian needs, and it costs less.
        frame: Says how the directions are made of fewer curves, which the series then
            holds in their place. For collapsed jets of order 2. None: the series holds
            the directions themselves.
    """

    def __init__(
        self,
        primal: tf.Tensor,
        series: Sequence[Entry],
        collapsed: bool = False,
        frame: Frame | None = None,
    ):
        self.primal = primal
        self.series = list(series)
        self.collapsed = collapsed
        self.frame = frame

    @property
    def order(self) -> int:
        """The number of derivatives that it carries."""
        return len(self.series)

    @property
    def shape(self) -> tf.TensorShape:
        return self.primal.shape

    @property
    def dtype(self) -> tf.DType:
        return self.primal.dtype

    @property
    def entries(self) -> list[Entry]:
        """The primal and the series, so that entry k is the k-th derivative."""
        return [self.primal, *self.series]

    @property
    def directions(self) -> int:
        """The number of directions; 1 where every entry that would tell is 0."""
        return self.frame.directions if self.frame else self._curves

    @property
    def _curves(self) -> int:
        return max(
            (value.shape[0] for value in self.series if value is not None), default=1
        )

    def cast(self, dtype: str) -> "Jet":
        """Returns the jet in another precision."""
        if self.dtype == dtype:
            return self
        return linear(lambda v: tf.cast(v, dtype), self)

    def like(self, primal: tf.Tensor, series: Sequence[Entry]) -> "Jet":
        """Returns another jet along the same curves."""
        return Jet(primal, series, self.collapsed, self.frame)

    def framed(self) -> "Jet":
        """Returns the jet with fewer curves where that saves work.

        Straight lines, the same for all samples, that outnumber the numbers of a sample
        twice and more are made of as many unit directions as there are numbers: the sum
        over d directions of a first layer that is narrower than x costs its width.
        """
        size = math.prod(self.shape[1:]) if None not in self.shape[1:] else 0
        if not self._is_shared_lines() or self._curves <= 2 * size or not size:
            return self
        frame = Frame(tf.reshape(self.series[0], (self._curves, size)))
        units = tf.reshape(tf.eye(size, dtype=self.dtype), (size, 1, *self.shape[1:]))
        return Jet(self.primal, [units, None], True, frame)

    def _is_shared_lines(self) -> bool:
        if not self.collapsed or self.order != 2 or self.frame or self.series[0] is None:
            return False
        return self.series[1] is None and self.series[0].shape[1] == 1

    def unframed(self) -> "Jet":
        """Returns the jet with one curve for each direction."""
        if not self.frame:
            return self
        first, last = self.series
        first = None if first is None else self.frame.spread(first)
        return Jet(self.primal, [first, last], self.collapsed)

    def entry(self, order: int) -> tf.Tensor:
        """Returns the derivative of one order with all its axes, also where it is 0."""
        value = self.unframed().series[order - 1]
        lead = 1 if self.collapsed and order == self.order else self.directions
        shape = tf.concat([[lead], tf.shape(self.primal)], axis=0)
        if value is None:
            return tf.zeros(shape, self.dtype)
        return tf.broadcast_to(value, shape)

    def __add__(self, other):
        return _plus(self, other)

    __radd__ = __add__

    def __neg__(self):
        return linear(tf.negative, self)

    def __sub__(self, other):
        return _plus(self, -other)

    def __rsub__(self, other):
        return _plus(-self, other)

    def __mul__(self, other):
        return bilinear(tf.multiply, self, other)

    __rmul__ = __mul__

    def __truediv__(self, other):
        return self * (reciprocal(other) if isinstance(other, Jet) else 1.0 / other)

    def __rtruediv__(self, other):
        return reciprocal(self) * other


def total(terms: Iterable[Entry]) -> Entry:
    """Returns a sum in which None is 0."""
    terms = [term for term in terms if term is not None]
    return sum(terms[1:], terms[0]) if terms else None


def times(a: Entry, b: Entry, scale: float = 1, product: Callable = tf.multiply) -> Entry:
    """Returns a scaled product in which None is 0."""
    if a is None or b is None:
        return None
    value = product(a, b)
    return value if scale == 1 else scale * value


def inner(x: Jet, k: int, terms: Iterable[tuple], product: Callable = tf.multiply) -> Entry:
    """Returns a sum of products of lower entries, as a part of entry k of a result.

    Where that entry is a collapsed one, it is the sum over the directions as well.

    Args:
        x: Jet that tells the directions.
        k: Which entry.
        terms: Triples of two entries and a factor.
        product: Of two entries.
    """
    last = x.collapsed and k == x.order
    if last and x.frame:
        terms = [(a, x.frame.measured(b), scale) for a, b, scale in terms]
    sum_ = total(times(a, b, scale, product) for a, b, scale in terms)
    return tf.reduce_sum(sum_, axis=0, keepdims=True) if last and sum_ is not None else sum_


def aligned(*xs) -> tuple:
    """Returns arguments whose jets, if there are several, have the same curves."""
    frames = {id(x.frame) for x in xs if isinstance(x, Jet)}
    if len(frames) < 2:
        return xs
    return tuple(x.unframed() if isinstance(x, Jet) else x for x in xs)


def _plus(x: Jet, other) -> Jet:
    if not isinstance(other, Jet):
        primal = x.primal + constant(other, x.dtype)
        return x.like(primal, _grown(x, primal).series)
    x, other = aligned(x, other)
    primal = x.primal + other.primal
    pairs = zip(_grown(x, primal).series, _grown(other, primal).series, strict=True)
    return x.like(primal, [total(pair) for pair in pairs])


def _grown(x: Jet, primal: tf.Tensor) -> Jet:
    """Returns x broadcast to the shape of a tensor."""
    return x if x.shape[1:] == primal.shape[1:] else x * tf.ones_like(primal)


def constant(value, dtype: tf.DType) -> tf.Tensor:
    """Returns a number or array as a tensor; tf.cast would round a number to float32."""
    if isinstance(value, (int, float)):
        return tf.constant(value, dtype)
    return tf.cast(value, dtype)


def linear(function: Callable, x: Jet) -> Jet:
    """Applies a linear function of tensors of shape `(batch, ...)`."""
    return x.like(function(x.primal), [folded(function, value) for value in x.series])


def folded(function: Callable, *values: Entry) -> Entry:
    """Applies a function of batches to entries, their directions folded into the batch."""
    if any(value is None for value in values):
        return None
    directions, batch = values[0].shape[:2]
    result = function(*(tf.reshape(value, (-1, *tail(value, 2))) for value in values))
    return tf.reshape(result, (directions, batch or -1, *tail(result, 1)))


def joint(function: Callable, *xs) -> Jet:
    """Applies a linear function of several arguments, jets or constants."""
    xs = aligned(*xs)
    leader = next(x for x in xs if isinstance(x, Jet))
    series = []
    for k in range(leader.order):
        values = [x.series[k] if isinstance(x, Jet) else None for x in xs]
        lead = max((value.shape[0] for value in values if value is not None), default=0)
        whole = [_whole(*pair, lead) for pair in zip(xs, values)]
        series.append(folded(function, *whole) if lead else None)
    return leader.like(function(*(_primal(x) for x in xs)), series)


def _primal(x) -> tf.Tensor:
    return x.primal if isinstance(x, Jet) else x


def _whole(x, value: Entry, lead: int) -> tf.Tensor:
    """Returns an entry with its directions and batch written out."""
    primal = tf.convert_to_tensor(_primal(x))
    shape = tf.concat([[lead], tf.shape(primal)], axis=0)
    whole = (
        tf.zeros(shape, primal.dtype) if value is None else tf.broadcast_to(value, shape)
    )
    return tf.ensure_shape(whole, (lead, *primal.shape))


def bilinear(function: Callable, x, y) -> Jet:
    """Applies a product: `function(a, b)` is linear in a and in b and broadcasts.

    Entry k is sum_j binomial(k, j) x_j y_(k - j), Leibniz' rule.
    """
    if not isinstance(y, Jet):
        y = constant(y, x.dtype)
        return x.like(function(x.primal, y), [times(a, y, 1, function) for a in x.series])
    if not isinstance(x, Jet):
        return bilinear(lambda a, b: function(b, a), y, x)
    x, y = aligned(x, y)
    a, b = x.entries, y.entries
    series = [leibniz(x, a, b, k, function) for k in range(1, x.order + 1)]
    return x.like(function(a[0], b[0]), series)


def folded_bilinear(function: Callable, x, y) -> Jet:
    """Applies a product that takes two batches of the same size and nothing else."""

    def product(a, b):
        if a.shape.rank == b.shape.rank == _primal(x).shape.rank:
            return function(a, b)
        lead = max(v.shape[0] for v, z in ((a, x), (b, y)) if v.shape.rank > z.shape.rank)
        pairs = ((a, x), (b, y))
        return folded(function, *(_whole(z, v, lead) for v, z in pairs))

    return bilinear(product, x, y)


def straight(function: Callable, x: Jet) -> Jet:
    """Applies an elementwise function of straight pieces: y_k = f'(x_0) x_k."""
    with tf.GradientTape() as tape:
        tape.watch(x.primal)
        y = function(x.primal)
    slope = tape.gradient(y, x.primal)
    return x.like(y, [times(value, slope) for value in x.series])


def leibniz(x: Jet, a: Sequence, b: Sequence, k: int, product=tf.multiply) -> Entry:
    """Returns entry k of a product of series."""
    terms = ((a[j], b[k - j], math.comb(k, j)) for j in range(1, k))
    ends = [times(a[0], b[k], 1, product), times(a[k], b[0], 1, product)]
    return total([*ends, inner(x, k, terms, product)])


def minus(value: Entry) -> Entry:
    """Returns the negative, in which None is 0."""
    return None if value is None else -value


def reciprocal(x: Jet) -> Jet:
    """y x = 1, so that y_k = -y_0 sum_(j >= 1) binomial(k, j) x_j y_(k - j)."""
    y, s = [tf.math.reciprocal(x.primal)], x.entries
    for k in range(1, x.order + 1):
        y.append(minus(times(leibniz(x, s, [*y, None], k), y[0])))
    return x.like(y[0], y[1:])


def where(condition: tf.Tensor, x, y) -> Jet:
    """Takes x where the condition holds at the point, else y; one may be a constant."""
    x, y = aligned(x, y)
    leader = x if isinstance(x, Jet) else y
    primal = tf.where(condition, *(constant(_primal(z), leader.dtype) for z in (x, y)))
    pairs = zip(
        *(z.series if isinstance(z, Jet) else [None] * leader.order for z in (x, y))
    )
    return leader.like(primal, [_select(condition, *pair) for pair in pairs])


def _select(condition: tf.Tensor, a: Entry, b: Entry) -> Entry:
    if a is None and b is None:
        return None
    zero = tf.zeros([], (b if a is None else a).dtype)
    return tf.where(condition, zero if a is None else a, zero if b is None else b)
