"""Truncated Taylor arithmetic: how a function carries derivatives along curves.

A jet is a point and what happens to it along a curve x(t): the primal x(0) and the series
x'(0), x''(0), ... Entry k is the k-th derivative, not divided by k!, as in
jax.experimental.jet. This file knows no layer.

Elementwise functions are series solutions of ordinary differential equations:
y = f(x(t)) obeys y' = w x' with w = f'(x), so that Leibniz' rule gives

    y_k = sum_j binomial(k - 1, j - 1) x_j w_(k - j),   j = 1 .. k.

References:
    Griewank and Walther, 2008, "Evaluating derivatives", 2nd edition, section 13.2.
"""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

Entry = tf.Tensor | None


class Jet:
    """A point and the derivatives of curves through it.

    Args:
        primal: The point x(0), of shape `(batch, ...)`.
        series: Entries x'(0), x''(0), ... for each of several curves, which share the
            primal: shape `(directions, batch, ...)`. The batch axis may be 1 where all
            samples agree. None is 0.
        collapsed: Whether the last entry is summed over the directions (and has 1 in
            their place). That is all a Laplacian needs, and it costs less.
    """

    def __init__(self, primal: tf.Tensor, series: Sequence[Entry], collapsed: bool = False):
        self.primal = primal
        self.series = list(series)
        self.collapsed = collapsed

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
        """The number of curves; 1 where every entry that would tell is 0."""
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
        return Jet(primal, series, self.collapsed)

    def entry(self, order: int) -> tf.Tensor:
        """Returns the derivative of one order with all its axes, also where it is 0."""
        value = self.series[order - 1]
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


def _total(terms: Sequence[Entry]) -> Entry:
    """Returns a sum in which None is 0."""
    terms = [term for term in terms if term is not None]
    return sum(terms[1:], terms[0]) if terms else None


def _times(a: Entry, b: Entry, scale: float = 1, product: Callable = tf.multiply) -> Entry:
    if a is None or b is None:
        return None
    value = product(a, b)
    return value if scale == 1 else scale * value


def _collapse(inner: Entry, x: Jet, k: int) -> Entry:
    """Sums a part of entry k over the directions if that entry is a collapsed one."""
    if inner is None or not x.collapsed or k < x.order:
        return inner
    return tf.reduce_sum(inner, axis=0, keepdims=True)


def _plus(x: Jet, other) -> Jet:
    if not isinstance(other, Jet):
        primal = x.primal + constant(other, x.dtype)
        return x.like(primal, _grown(x, primal).series)
    primal = x.primal + other.primal
    pairs = zip(_grown(x, primal).series, _grown(other, primal).series, strict=True)
    return x.like(primal, [_total(pair) for pair in pairs])


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
    result = function(*(tf.reshape(value, (-1, *_tail(value, 2))) for value in values))
    return tf.reshape(result, (directions, batch or -1, *_tail(result, 1)))


def _tail(value: tf.Tensor, start: int) -> list:
    """Returns the sizes of the axes from `start` on, as integers where they are known."""
    dynamic = tf.shape(value) if None in value.shape[start:] else None
    return [
        dynamic[axis] if size is None else size
        for axis, size in enumerate(value.shape)
        if axis >= start
    ]


def joint(function: Callable, *xs) -> Jet:
    """Applies a linear function of several arguments, jets or constants."""
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
        return x.like(function(x.primal, y), [_times(a, y, 1, function) for a in x.series])
    if not isinstance(x, Jet):
        return bilinear(lambda a, b: function(b, a), y, x)
    a, b = x.entries, y.entries
    series = [_leibniz(x, a, b, k, function) for k in range(1, x.order + 1)]
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
    return x.like(y, [_times(value, slope) for value in x.series])


def _leibniz(x: Jet, a: Sequence, b: Sequence, k: int, product=tf.multiply) -> Entry:
    """Returns entry k of a product of series."""
    inner = (_times(a[j], b[k - j], math.comb(k, j), product) for j in range(1, k))
    ends = [_times(a[0], b[k], 1, product), _times(a[k], b[0], 1, product)]
    return _total([*ends, _collapse(_total(list(inner)), x, k)])


def _square_entry(x: Jet, a: Sequence, k: int) -> Entry:
    """Returns entry k of the square of a series: half the terms of a product."""
    pairs = [_times(a[j], a[k - j], 2 * math.comb(k, j)) for j in range(1, (k + 1) // 2)]
    if k % 2 == 0:
        half = k // 2
        pairs.append(_times(a[half], a[half], math.comb(k, half)))
    return _total([_times(a[0], a[k], 2), _collapse(_total(pairs), x, k)])


def _chain(x: Jet, w: Sequence, k: int) -> Entry:
    """Returns entry k of the solution of y' = w x'."""
    s = x.entries
    inner = [_times(s[j], w[k - j], math.comb(k - 1, j - 1)) for j in range(1, k)]
    return _total([_times(s[k], w[0]), _collapse(_total(inner), x, k)])


def solve(x: Jet, primal: tf.Tensor, slope: Callable) -> Jet:
    """Returns the series solution of y' = w x' for an elementwise function.

    Args:
        x: Argument of the function.
        primal: Value of the function at the point.
        slope: `slope(y, k)` gives entry k of w from the entries 0 .. k of y.
    """
    y, w = [primal], []
    for k in range(1, x.order + 1):
        w.append(slope(y, k - 1))
        y.append(_chain(x, w, k))
    return x.like(primal, y[1:])


def primitive(x: Jet, primal: tf.Tensor, derivative: Callable[[Jet], Jet]) -> Jet:
    """Applies a function whose derivative is a known function of jets."""
    if x.order == 0:
        return x.like(primal, [])
    w = derivative(Jet(x.primal, x.series[:-1])).entries
    return solve(x, primal, lambda y, k: w[k])


def square(x: Jet) -> Jet:
    """x^2."""
    series = [_square_entry(x, x.entries, k) for k in range(1, x.order + 1)]
    return x.like(tf.square(x.primal), series)


def exp(x: Jet) -> Jet:
    """y' = y x'."""
    return solve(x, tf.exp(x.primal), lambda y, k: y[k])


def expm1(x: Jet) -> Jet:
    """exp(x) - 1 without cancellation: y' = (y + 1) x'."""
    return solve(x, tf.math.expm1(x.primal), lambda y, k: y[k] if k else y[0] + 1.0)


def tanh(x: Jet) -> Jet:
    """y' = (1 - y^2) x'."""

    def slope(y, k):
        return _minus(_square_entry(x, y, k)) if k else 1.0 - tf.square(y[0])

    return solve(x, tf.tanh(x.primal), slope)


def sigmoid(x: Jet) -> Jet:
    """y' = y (1 - y) x'."""

    def slope(y, k):
        if k == 0:
            return y[0] * (1.0 - y[0])
        return _total([y[k], _minus(_square_entry(x, y, k))])

    return solve(x, tf.sigmoid(x.primal), slope)


def _minus(value: Entry) -> Entry:
    return None if value is None else -value


def softplus(x: Jet) -> Jet:
    """log(1 + exp(x)): y' = sigmoid(x) x'."""
    return primitive(x, tf.nn.softplus(x.primal), sigmoid)


def erf(x: Jet) -> Jet:
    """y' = 2 / sqrt(pi) exp(-x^2) x'."""
    scale = 2.0 / math.sqrt(math.pi)
    return primitive(x, tf.math.erf(x.primal), lambda x: scale * exp(-square(x)))


def log(x: Jet) -> Jet:
    """y' = x' / x."""
    return primitive(x, tf.math.log(x.primal), reciprocal)


def sin(x: Jet) -> Jet:
    """y' = cos(x) x'."""
    return _sin_and_cos(x)[0]


def cos(x: Jet) -> Jet:
    """y' = -sin(x) x'."""
    return _sin_and_cos(x)[1]


def _sin_and_cos(x: Jet) -> tuple[Jet, Jet]:
    s, c = [tf.sin(x.primal)], [tf.cos(x.primal)]
    for k in range(1, x.order + 1):
        s, c = [*s, _chain(x, c, k)], [*c, _minus(_chain(x, s, k))]
    return x.like(s[0], s[1:]), x.like(c[0], c[1:])


def reciprocal(x: Jet) -> Jet:
    """y x = 1, so that y_k = -y_0 sum_(j >= 1) binomial(k, j) x_j y_(k - j)."""
    y, s = [tf.math.reciprocal(x.primal)], x.entries
    for k in range(1, x.order + 1):
        y.append(_minus(_times(_leibniz(x, s, [*y, None], k), y[0])))
    return x.like(y[0], y[1:])


def sqrt(x: Jet) -> Jet:
    """y^2 = x, so that 2 y_0 y_k = x_k less the inner terms of entry k of y^2."""
    y = [tf.sqrt(x.primal)]
    half = 0.5 / y[0]
    for k in range(1, x.order + 1):
        inner = _minus(_square_entry(x, [*y, None], k))
        y.append(_times(_total([x.series[k - 1], inner]), half))
    return x.like(y[0], y[1:])


def power(x: Jet, exponent: int) -> Jet:
    """x to a whole power, by squaring."""
    if exponent < 0:
        return reciprocal(power(x, -exponent))
    if exponent < 2:
        return x if exponent else x.like(tf.ones_like(x.primal), [None] * x.order)
    half = square(power(x, exponent // 2))
    return half * x if exponent % 2 else half


def where(condition: tf.Tensor, x, y) -> Jet:
    """Takes x where the condition holds at the point, else y; one may be a constant."""
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
