"""Taylor arithmetic against closed forms, nested tapes and its own collapsed form."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_smooth import jet
from keras_smooth.jet import Jet

ORDER = 6
# Function of jets, and the derivative of order k of the function of numbers.
CLOSED_FORMS = {
    "exp": (jet.exp, lambda x, k: np.exp(x)),
    "expm1": (jet.expm1, lambda x, k: np.exp(x)),
    "sin": (jet.sin, lambda x, k: np.sin(x + k * np.pi / 2)),
    "cos": (jet.cos, lambda x, k: np.cos(x + k * np.pi / 2)),
    "log": (jet.log, lambda x, k: (-1) ** (k - 1) * math.factorial(k - 1) / x**k),
    "log1p": (
        jet.log1p,
        lambda x, k: (-1) ** (k - 1) * math.factorial(k - 1) / (1 + x) ** k,
    ),
    "reciprocal": (
        jet.reciprocal,
        lambda x, k: (-1) ** k * math.factorial(k) / x ** (k + 1),
    ),
    "sqrt": (jet.sqrt, lambda x, k: math.prod(0.5 - j for j in range(k)) * x ** (0.5 - k)),
    "power": (
        lambda x: jet.power(x, 5),
        lambda x, k: math.prod(5 - j for j in range(k)) * x ** (5.0 - k),
    ),
    "inverse power": (
        lambda x: jet.power(x, -2),
        lambda x, k: math.prod(-2 - j for j in range(k)) * x ** (-2.0 - k),
    ),
    "quotient": (
        lambda x: (x + 1.0) / x,
        lambda x, k: (-1) ** k * math.factorial(k) / x ** (k + 1),
    ),
}

# The same function of jets and of tensors.
JET_AND_TENSOR_FUNCTIONS = {
    "tanh": (jet.tanh, tf.tanh),
    "sigmoid": (jet.sigmoid, tf.sigmoid),
    "softplus": (jet.softplus, tf.nn.softplus),
    "erf": (jet.erf, tf.math.erf),
    "square": (jet.square, tf.square),
    "product": (lambda x: jet.sin(x) * jet.exp(x), lambda x: tf.sin(x) * tf.exp(x)),
    "quotient": (lambda x: jet.sin(x) / (2.0 + x), lambda x: tf.sin(x) / (2.0 + x)),
    "difference": (lambda x: 1.0 - jet.tanh(x) - x, lambda x: 1.0 - tf.tanh(x) - x),
}


def derivatives_by_tapes(function, t, order):
    """Returns [f, f', ...] of an elementwise function."""
    if order == 0:
        return [function(t)]
    with tf.GradientTape() as tape:
        tape.watch(t)
        entries = derivatives_by_tapes(function, t, order - 1)
    slope = tape.gradient(entries[-1], t)
    return [*entries, tf.zeros_like(t) if slope is None else slope]


def random_jet(rng, size=7, order=ORDER, directions=1):
    """Returns a jet with random entries around points in [0.5, 2]."""
    x = tf.constant(rng.uniform(0.5, 2.0, size))
    return Jet(x, [tf.constant(rng.normal(size=(directions, size))) for _ in range(order)])


def curve_of(x: Jet, direction: int = 0):
    """Returns the curve of a jet as a function of tensors t."""
    terms = [x.primal] + [entry[direction] for entry in x.series]
    return lambda t: sum(term * t**k / math.factorial(k) for k, term in enumerate(terms))


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_derivatives_along_line_equal_closed_form(name):
    function, exact = CLOSED_FORMS[name]
    x = tf.constant(np.linspace(0.5, 2.0, 9))
    y = function(Jet(x, [tf.ones((1, 9), x.dtype), *[None] * (ORDER - 1)]))
    for k in range(1, ORDER + 1):
        # A dozen roundings, amplified by the cancellation in a quotient's recurrence.
        np.testing.assert_allclose(
            y.entry(k)[0], exact(x.numpy(), k), rtol=1e-10, atol=1e-11
        )


# Each order takes twice as long as the one before; closed forms test order 6 in every run.
@pytest.mark.parametrize("order", [4, pytest.param(ORDER, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", JET_AND_TENSOR_FUNCTIONS)
def test_derivatives_along_curve_equal_nested_tapes(name, order, rng):
    function, reference = JET_AND_TENSOR_FUNCTIONS[name]
    x = random_jet(rng, order=order)
    curve = curve_of(x)
    expected = derivatives_by_tapes(
        lambda t: reference(curve(t)), tf.zeros_like(x.primal), order
    )
    y = function(x)
    # One rounding: a quotient divides, its reference may multiply by the inverse.
    np.testing.assert_allclose(y.primal, expected[0], rtol=4e-16)
    for k in range(1, order + 1):
        scale = np.abs(expected[k]).max() + 1.0
        # Rounding: both sum the same terms in another order.
        np.testing.assert_allclose(y.entry(k)[0] / scale, expected[k] / scale, atol=1e-10)


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("name", JET_AND_TENSOR_FUNCTIONS)
def test_collapsed_jet_is_sum_over_directions(name, order, rng):
    function, _ = JET_AND_TENSOR_FUNCTIONS[name]
    x = random_jet(rng, order=order, directions=3)
    total = tf.reduce_sum(x.series[-1], axis=0, keepdims=True)
    collapsed = function(Jet(x.primal, [*x.series[:-1], total], collapsed=True))
    separate = function(x)
    np.testing.assert_allclose(
        collapsed.entry(order)[0],
        np.sum(separate.entry(order), axis=0),
        rtol=1e-10,
        atol=1e-10,
    )
    for k in range(1, order):
        np.testing.assert_allclose(collapsed.entry(k), separate.entry(k), rtol=1e-14)


@pytest.mark.parametrize("order", range(1, ORDER + 1))
@pytest.mark.parametrize("name", JET_AND_TENSOR_FUNCTIONS)
def test_elementwise_equals_direct_composition(name, order, rng):
    function, _ = JET_AND_TENSOR_FUNCTIONS[name]
    x = random_jet(rng, order=order, directions=3)
    composed, direct = jet.elementwise(function, x), function(x)
    total = tf.reduce_sum(x.series[-1], axis=0, keepdims=True)
    collapsed = jet.elementwise(function, Jet(x.primal, [*x.series[:-1], total], True))
    for k in range(1, order + 1):
        expected = direct.entry(k).numpy()
        scale = np.abs(expected).max() + 1.0
        # Rounding: the same terms in another order.
        np.testing.assert_allclose(composed.entry(k) / scale, expected / scale, atol=1e-12)
        expected = expected if k < order else expected.sum(axis=0, keepdims=True)
        np.testing.assert_allclose(collapsed.entry(k) / scale, expected / scale, atol=1e-11)


def test_framed_jet_equals_jet_without_frame(rng):
    matrix = tf.constant(rng.normal(size=(9, 3)))
    primal = tf.constant(rng.uniform(0.5, 2.0, (2, 3)))
    lines = Jet(primal, [matrix[:, None], None], collapsed=True)
    framed = lines.framed()
    assert framed.series[0].shape[0] == 3 and framed.directions == 9
    for function in (
        lambda x: jet.tanh(x),
        lambda x: jet.elementwise(jet.tanh, x),
        lambda x: jet.sin(x) * jet.exp(x) / x,
        lambda x: jet.sqrt(x) + jet.power(x, 3),
    ):
        actual, expected = function(framed), function(lines)
        for k in (1, 2):
            np.testing.assert_allclose(actual.entry(k), expected.entry(k), rtol=1e-12)


def test_operations_on_jets_with_different_frames(rng):
    primal = tf.constant(rng.uniform(0.5, 2.0, (2, 3)))
    xs = [
        Jet(primal, [tf.constant(rng.normal(size=(9, 1, 3))), None], True) for _ in range(2)
    ]
    framed = (xs[0].framed(), xs[1].framed())
    for function in (
        lambda x, y: x * y,
        lambda x, y: jet.exp(x) + y,
        lambda x, y: jet.joint(lambda a, b: tf.concat([a, b], axis=-1), x, jet.sin(y)),
        lambda x, y: jet.where(primal > 1.0, jet.exp(x), jet.sin(y)),
    ):
        actual, expected = function(*framed), function(*xs)
        for k in (1, 2):
            np.testing.assert_allclose(actual.entry(k), expected.entry(k), rtol=1e-12)


def test_few_directions_are_not_framed():
    for rows, order in ((6, 2), (9, 3)):
        series = [tf.ones((rows, 1, 3), tf.float64), *[None] * (order - 1)]
        x = Jet(tf.ones((2, 3), tf.float64), series, collapsed=True)
        assert x.framed() is x


def test_entry_none_is_zero(rng):
    x = random_jet(rng, order=3)
    sparse = Jet(x.primal, [x.series[0], None, None])
    dense = Jet(x.primal, [x.series[0], *[tf.zeros_like(x.series[0])] * 2])
    for function, _ in JET_AND_TENSOR_FUNCTIONS.values():
        for k in range(1, 4):
            np.testing.assert_array_equal(
                function(sparse).entry(k), function(dense).entry(k)
            )


def test_entry_of_batch_size_one_is_broadcast(rng):
    x = random_jet(rng, order=2, directions=2)
    broadcast_jet = Jet(x.primal, [tf.constant([[1.0], [2.0]], x.dtype), None])
    full_jet = Jet(x.primal, [tf.broadcast_to(broadcast_jet.series[0], (2, 7)), None])
    for k in (1, 2):
        np.testing.assert_array_equal(
            jet.tanh(broadcast_jet).entry(k), jet.tanh(full_jet).entry(k)
        )


def test_where_selects_each_entry(rng):
    x = random_jet(rng, order=2)
    y = jet.where(x.primal > 1.0, jet.square(x), 3.0)
    condition = x.primal.numpy() > 1.0
    # A power and a product may differ in the last digit.
    np.testing.assert_allclose(y.primal, np.where(condition, x.primal**2, 3.0), rtol=1e-15)
    np.testing.assert_array_equal(
        y.entry(2), np.where(condition, jet.square(x).entry(2), 0.0)
    )


def test_addition_broadcasts_series():
    x = Jet(tf.ones((4, 1), tf.float64), [tf.ones((1, 1, 1), tf.float64)])
    y = x + np.zeros((4, 3))
    assert y.shape == (4, 3) and y.entry(1).shape == (1, 4, 3)


def test_cast_converts_all_entries(rng):
    x = random_jet(rng, order=2).cast("float32")
    assert x.dtype == tf.float32 and x.series[1].dtype == tf.float32


@pytest.mark.parametrize(
    "call",
    [
        lambda: jet.where(True, 1.0, np.ones(2)),
        lambda: jet.bilinear(tf.multiply, 1.0, np.ones(2)),
        lambda: jet.joint(tf.add, 1.0, np.ones(2)),
    ],
)
def test_functions_of_several_jets_without_jet_raise(call):
    with pytest.raises(TypeError, match="must be a Jet, received float, ndarray"):
        call()


def test_straight_is_the_deprecated_name_of_piecewise_linear():
    with pytest.warns(DeprecationWarning, match="now called jet.piecewise_linear"):
        y = jet.straight(tf.nn.relu, jet.line([2.0], order=2))
    assert [float(y.entry(k)[0, 0]) for k in (1, 2)] == [1.0, 0.0]
