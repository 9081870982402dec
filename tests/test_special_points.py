"""Operations at zeros and ties, where TensorFlow often returns gradients of one piece.

For every smooth function of `keras.ops`, tapes agree with differences up to the order that is
known for its operations, and jets agree to every order.
"""

import itertools
import math
import operator
import warnings

import keras
import numpy as np
import plain_differences
import pytest
import tensorflow as tf
from keras import ops
from representatives import representatives
from test_operations import DIFFERENTIABLE, NOT_TRACED, OperationLine, read

import keras_smooth
from keras_smooth import jet

# Values of the tensors.
POINTS = {
    "all 0": lambda tensor, seed: np.zeros(tensor.shape),
    "ties": lambda tensor, seed: np.full(tensor.shape, 0.37),
    "some 0": lambda tensor, seed: _every_second(tensor.point(seed), 0.0),
    "one place 0": lambda tensor, seed: (
        np.zeros(tensor.shape) if seed == 0 else tensor.point(seed)
    ),
}
# An infinite slope at 0, and a ratio of variances that are 0.
SINGULAR = {"numpy.cbrt", "numpy.corrcoef"}
# It is linear, and slow, since every call is compiled.
SLOW = {"nn.fold"}
# logsumexp holds its maximum constant, so that tapes count as right at order 1 only. Nothing
# is known of the operation of segment_prod.
NOT_KNOWN = {"math.logsumexp", "math.segment_prod"}
SMOOTH = [
    name for name, row in DIFFERENTIABLE.items()
    if row.smoothness == math.inf and name not in SINGULAR | SLOW | NOT_TRACED | NOT_KNOWN
    and not row.single and not row.sample.places()[0].symmetric
]  # fmt: skip
# Relative to the largest of y, y', y''. Differences of six points have a tenth of this error.
TOLERANCE = 1e-4


def _every_second(point, value):
    point = point.copy()
    point.reshape(-1)[::2] = value
    return point


class TracedLine(OperationLine):
    """A line whose values at any points are those of one traced program.

    A test needs more than a hundred values, each of which takes some milliseconds in eager
    mode. Tapes call the function itself, in eager mode.
    """

    def __init__(self, row):
        super().__init__(row)
        self._traced = tf.function(self.tensors, autograph=False)

    def __call__(self, ts):
        points = [tf.constant(point, tf.float64) for point in self.points]
        return np.stack([self._traced(tf.constant(t, tf.float64), points) for t in ts])


def _tapes(line):
    """Returns y, y', y'' of all outputs at 0; None if TensorFlow raises."""
    t = tf.constant(0.0, tf.float64)
    try:
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(t)
            with tf.GradientTape(persistent=True) as inner:
                inner.watch(t)
                y = tf.unstack(line.tensors(t))
            slopes = [inner.gradient(each, t) for each in y]
        second = [None if each is None else outer.gradient(each, t) for each in slopes]
    except LookupError:
        return None
    rows = (y, slopes, second)
    return [np.array([0.0 if v is None else v for v in row], "float64") for row in rows]


@pytest.mark.parametrize("name", representatives(SMOOTH, SMOOTH[::8]))
def test_tapes_are_right_up_to_the_order_of_the_table(name):
    row = DIFFERENTIABLE[name]
    wrong_orders, line = set(), TracedLine(row)
    for make in POINTS.values():
        tensors = row.sample.places()
        line.points = [make(tensor, seed) for seed, tensor in enumerate(tensors)]
        try:
            values = line(plain_differences.STEPS[0] * plain_differences.NEIGHBORS)
        # Singular matrices.
        except tf.errors.InvalidArgumentError:
            continue
        # Outside of the domain, as for logarithms.
        if not np.isfinite(values).all():
            continue
        exact = plain_differences.derivatives(line, np.zeros(1))
        tapes = _tapes(line)
        if tapes is None:
            continue
        scale = max(np.abs(value).max() for value, _ in exact)
        for order in (1, 2):
            value, error = exact[order]
            is_certain = error < TOLERANCE * scale
            is_wrong = ~(np.abs(tapes[order] - value) <= 20 * error + TOLERANCE * scale)
            if (is_certain & is_wrong).any():
                wrong_orders.add(order)
    right_to = read(row).tapes_right_to
    assert min(wrong_orders, default=math.inf) == (
        right_to + 1 if right_to < 2 else math.inf
    )


# Points at which tapes are wrong, and operations in a model.
X = np.array([[0.0, 0.0, 0.5], [0.0, 0.3, 0.5], [0.2, 0.2, -1.0], [0.0, 0.0, 0.0]])
V = np.random.default_rng(0).normal(size=X.shape)
MODELS = {
    "prod": lambda x: ops.prod(x, axis=-1, keepdims=True),
    "prod of two axes": lambda x: ops.prod(
        ops.reshape(ops.concatenate([x, 1 + x], 1), (-1, 2, 3)), axis=(1, 2)
    )[:, None],
    "prod of seven": lambda x: ops.prod(ops.concatenate([x, x * x + 1, x[:, :1]], 1), 1)[:, None],
    "nanprod": lambda x: ops.nanprod(x, axis=1, keepdims=True),
    "cumprod": lambda x: ops.cumprod(x, axis=-1),
    "nancumprod": lambda x: ops.nancumprod(x, axis=1),
    "logaddexp": lambda x: ops.logaddexp(x[:, :1], x[:, 1:2]),
    "logaddexp of a constant": lambda x: ops.logaddexp(0.0, x),
    "logaddexp2": lambda x: ops.logaddexp2(x[:, :1], x[:, 1:2]),
    "logaddexp2 of a constant": lambda x: ops.logaddexp2(x, 0.3),
    "logaddexp of a number": lambda x: ops.logaddexp(x, 0.3),
    "hypot": lambda x: ops.hypot(x[:, :1] + 1, x[:, 1:2]),
    "ldexp": lambda x: ops.ldexp(x, np.array([1, 2, 3])),
    "sinc": lambda x: ops.sinc(x),
    "i0": lambda x: ops.i0(x),
    "layer_normalization": lambda x: ops.layer_normalization(x + ops.sin(x + np.array([0.1, 0.5, 0.7]))),
}  # fmt: skip


def _model(function):
    x = keras.Input((3,), dtype="float64")
    return keras.Model(x, function(x))


def _along(model, x, v):
    """Returns y along the line through all samples as a function of points."""

    def values(t):
        rows = x + np.asarray(t)[:, None, None] * v
        return np.array([model(each).numpy().ravel() for each in rows])

    return values


@pytest.mark.parametrize("operation", [keras_smooth.directional, keras_smooth.derivatives])
@pytest.mark.parametrize("name", MODELS)
def test_auto_is_right_at_zeros_and_ties(name, operation):
    if not hasattr(ops, name.split()[0]):
        pytest.skip("this Keras does not have it")
    model = _model(MODELS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        if operation is keras_smooth.directional:
            entries, v = operation(model, X, V, order=2), V
        else:
            entries = [np.asarray(each)[..., 1] for each in operation(model, X, 1)[1:]]
            entries, v = [model(X), *entries], np.eye(3)[1]
    exact = plain_differences.derivatives(_along(model, X, v), np.zeros(1))
    for value, (expected, _) in zip(entries, exact):
        # Differences of float64 over steps of 1e-2.
        np.testing.assert_allclose(np.ravel(value), expected[0], atol=1e-8, rtol=1e-8)


def test_slope_of_celu_at_zero_is_one():
    model = _model(keras.activations.celu)
    slopes = keras_smooth.derivatives(model, np.zeros((2, 3)), 1)[1]
    np.testing.assert_array_equal(slopes, [np.eye(3)] * 2)


def test_tapes_of_a_product_are_right_at_order_1():
    model = _model(lambda x: ops.prod(x, axis=-1, keepdims=True))
    entries = keras_smooth.derivatives(model, X, 1, engine="tape", verify=True)
    assert entries.verification.ok


def _quadrature(function, low, high):
    nodes, weights = np.polynomial.legendre.leggauss(200)
    theta = low + (high - low) * (nodes + 1) / 2
    return (high - low) / 2 * np.sum(weights * function(theta))


INTEGRALS = {
    # sinc(x) = int_0^1 cos(pi x s) ds, i0(x) = int_0^pi exp(x cos s) ds / pi.
    "sinc": lambda x, n: _quadrature(
        lambda s: (np.pi * s) ** n * np.cos(np.pi * x * s + n * np.pi / 2), 0, 1
    ),
    "i0": lambda x, n: _quadrature(
        lambda s: np.cos(s) ** n * np.exp(x * np.cos(s)) / np.pi, 0, np.pi
    ),
}


@pytest.mark.parametrize("name", INTEGRALS)
def test_jets_of_sinc_and_i0_are_right_to_order_6(name):
    points = np.array(
        [-20, -8.001, -7.9, -0.637, -0.636, -1e-9, 0.0, 1e-3, 0.3, 0.64, 1.0, 3.3, 8.0, 30]
    )
    y = getattr(jet, name)(jet.line(points, order=6))
    for n in range(7):
        exact = np.array([INTEGRALS[name](x, n) for x in points])
        entry = y.primal if n == 0 else y.entry(n)[0]
        # The recurrences lose some digits where the series end.
        np.testing.assert_allclose(entry, exact, rtol=1e-11, atol=1e-11 * np.pi**n)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("axis", [1, 2])
def test_jets_of_products_are_those_of_polynomials(size, axis):
    rng = np.random.default_rng(size)
    points, slopes = rng.normal(size=(2, size))
    points[::3] = 0.0
    # The same numbers twice, with the shape (1, size, 2) or (1, 2, size).
    factors = [np.poly1d(pair) for pair in zip(slopes, points)]
    points, slopes = (np.stack([each] * 2, 2 - axis)[None] for each in (points, slopes))
    t = jet.line(np.zeros((1, 1, 1)), order=4)
    x = t * tf.constant(slopes) + tf.constant(points)
    products = list(itertools.accumulate(factors, operator.mul))
    for y, expected in (
        (jet.cumprod(x, axis), products),
        (jet.prod(x, axis), products[-1:]),
    ):
        for k in range(5):
            entry = np.moveaxis(y.primal if k == 0 else y.entry(k)[0], axis, 0)
            exact = [np.polyder(product, k)(0.0) for product in expected]
            # Sums of a few hundred terms of size 1.
            np.testing.assert_allclose(entry[:, 0, 0], exact, atol=1e-12)
            np.testing.assert_allclose(entry[:, 0, 1], exact, atol=1e-12)
