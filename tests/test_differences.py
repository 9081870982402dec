"""Derivatives from values alone: error bounds, and sizes of the derivatives nearby."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_smooth.differentiation import differences, line_values
from keras_smooth.differentiation.points import checked_points

STEPS = 3.0 * 3.0 ** -np.arange(11.0)
NODES = np.append(0.0, differences._nodes())
DOUBLE = 2.0**-52


def estimates(function, x, order=3, rounding=DOUBLE, dtype="float64"):
    """Returns the estimates for a function of one number at given points."""
    with np.errstate(all="ignore"):
        coordinates = STEPS[:, None, None, None] * NODES[:, None, None] + np.asarray(x)
        values = function(coordinates).astype(dtype).astype("float64")
        return differences.estimates(values, STEPS, order, rounding)


# Function, its derivatives, the largest relative error.
FUNCTIONS = {
    "sin": (np.sin, [np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)], 1e-8),
    "exp": (np.exp, [np.exp] * 3, 1e-8),
    "fast": (
        lambda x: np.sin(30 * x),
        [lambda x: 30 * np.cos(30 * x), lambda x: -900 * np.sin(30 * x)],
        1e-7,
    ),
    "log": (
        lambda x: np.log(x + 1.1),
        [lambda x: 1 / (x + 1.1), lambda x: -1 / (x + 1.1) ** 2],
        1e-7,
    ),
    "polynomial": (
        lambda x: x**4 + 1e5,
        [lambda x: 4 * x**3, lambda x: 12 * x**2, lambda x: 24 * x],
        1e-7,
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_are_upper_bounds(name):
    function, derivatives, max_relative_error = FUNCTIONS[name]
    x = np.array([-0.9, 0.4, 1.0])
    y, *rows = estimates(function, x, len(derivatives))
    np.testing.assert_array_equal(y.value[0], function(x))
    assert not y.error.any()
    for row, derivative in zip(rows, derivatives):
        exact = derivative(x)
        assert np.all(np.abs(row.value - exact) <= row.error)
        assert np.all(row.error <= max_relative_error * np.abs(exact))
        assert np.all(row.rounding <= row.error)
        # The size is the largest value nearby.
        assert np.all(row.size >= np.abs(row.value))


def test_small_scatter_of_the_shortest_step_does_not_exclude_others():
    """At the shortest step, some of many points scatter less than their rounding by chance."""
    steps = np.concatenate(
        [4.0 ** (1 - np.arange(12.0)), 4.0**-10 * 16.0 ** -np.arange(1.0, 5.0)]
    )
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.5, 1.5, 20000)
    values = np.sin(x + steps[:, None, None, None] * NODES[:, None, None])
    values *= 1.0 + 100.0 * DOUBLE * rng.standard_normal(values.shape)
    _, row = differences.estimates(values, steps, 1, DOUBLE)
    assert np.all(np.abs(row.value - np.cos(x)) <= 3.0 * row.error)
    # 100 rounding errors at a step of 1, in a first derivative by 15 values.
    assert row.error.max() <= 1e-10


@pytest.mark.parametrize("k", [1, 2, 3])
def test_size_is_the_largest_value_nearby(k):
    """Where sin or one of its derivatives is 0, it is not 0 at the neighbouring points."""
    x = np.array([0.0, math.pi / 2])
    row = estimates(np.sin, x)[k]
    assert np.all((row.size > 0.1) & (row.size < 1.01))
    assert np.all((row.variation > 0.05) & (row.variation < 100.0))


def test_variation_of_a_line_depends_on_the_step():
    """For a straight line: k! 1.2 |slope| h / h^k, which falls with the step if k > 1."""
    for k, row in enumerate(estimates(lambda x: 7.0 * x, [0.5])[1:], 1):
        reach = NODES.max()
        expected = math.factorial(k) * 7.0 * reach * row.step ** (1 - k)
        np.testing.assert_allclose(row.variation, expected, rtol=1e-9)
        np.testing.assert_allclose(row.steepest, row.variation, rtol=1e-9)
    assert np.all(estimates(lambda x: 7.0 * x, [0.5])[2].size < 1e-10)


def test_size_of_y_is_its_largest_value_nearby():
    row, slope, *_ = estimates(np.sin, [0.4])
    assert row.size == row.variation == row.steepest
    assert row.size == row.value + slope.variation * slope.step
    assert 0.5 < row.size < 2.5


def test_rounding_of_a_large_offset_counts_once():
    """The rounding of y counts once: the error is that of the values, not of their sums."""
    for k, row in enumerate(estimates(lambda x: 1e9 + np.sin(x), [0.3])[1:], 1):
        exact = [math.cos(0.3), -math.sin(0.3), -math.cos(0.3)][k - 1]
        assert abs(row.value.item() - exact) <= row.error
        assert 1e9 * DOUBLE < row.rounding < 1e-6 * 30**k
        assert row.error < 1e-5 * 30**k


def test_constant_function_has_no_error():
    for row in estimates(lambda x: 5.0 + 0.0 * x, [0.0, 1.0])[1:]:
        for name in ("value", "error", "size", "variation", "steepest"):
            assert not getattr(row, name).any()
        assert np.all(row.rounding > 0)


def test_function_that_changes_only_at_large_steps_has_an_error():
    """At small steps all values are equal, but the error of the derivative is not 0."""
    bump = estimates(lambda x: 1.0 + np.exp(-1000.0 * (x - 1.0) ** 2), [0.0])
    assert all(row.error > 0 and row.steepest > 0.01 for row in bump[1:])


@pytest.mark.parametrize("outside", [np.inf, np.nan])
def test_steps_outside_the_domain_are_ignored(outside):
    def function(x):
        return np.where(x < 1.0, np.sin(x), outside)

    # For some points one value is outside, for others several, on one side or on both.
    x = np.linspace(0.5, 0.7, 41)
    for row in estimates(function, x)[1:]:
        assert np.all(np.isfinite(row.error) & np.isfinite(row.steepest))
        assert np.all((row.error < 1e-5) & (row.step < 0.5))
    # A point without finite values next to it has no derivative.
    assert np.all(np.isinf(estimates(function, [1.0 - 1e-9])[1].error))


def test_scatter_of_the_values_counts_as_error():
    """Values of float32 in an array of float64, whose dtype does not show the rounding."""
    x = np.linspace(-1, 1, 50)
    row = estimates(np.sin, x, 1, DOUBLE, "float32")[1]
    assert np.all(np.abs(row.value - np.cos(x)) <= row.error)
    assert np.all((row.error > 1e-8) & (row.error < 1e-5))


@pytest.mark.parametrize("spacings", [0, 1, 3, 6])
@pytest.mark.parametrize("of", ["each value", "the largest value"])
def test_steps_below_the_spacing_of_float32_are_ignored(spacings, of):
    """A float64 model that rounds its inputs has equal values at the shortest steps.

    Vector instructions round the last rows of a batch differently, by a few spacings of y or
    of the terms whose sum is y.
    """
    steps = np.concatenate(
        [4.0 ** (1 - np.arange(12.0)), 4.0**-10 * 16.0 ** -np.arange(1.0, 5.0)]
    )
    x = np.random.default_rng(0).uniform(-1.5, 1.5, 2000)
    coordinates = x + steps[:, None, None, None] * NODES[:, None, None]
    values = np.sin(coordinates.astype("float32").astype("float64"))
    sizes = values if of == "each value" else 1.0
    values += (NODES > 0.9)[:, None, None] * spacings * DOUBLE * sizes
    _, row = differences.estimates(values, steps, 1, DOUBLE)
    assert np.all(np.abs(row.value - np.cos(x)) <= 3.0 * row.error)
    # Half a spacing of float32 at a step of 1, in a first derivative by 15 values.
    assert row.error.max() <= 1e-5


PIECES = {
    "square": lambda t, a: np.maximum(t - a, 0.0) ** 2,
    "square on the other side": lambda t, a: np.maximum(-t - a, 0.0) ** 2,
    "quadratic": lambda t, a: np.where(t > a, t**2 - a**2, 0.0),
    "sorted": lambda t, a: np.clip(t, a, a + 0.3) ** 2 - a**2,
}


@pytest.mark.parametrize("name", PIECES)
def test_constant_between_kinks_has_no_error(name):
    """Short steps see a constant and are right, unlike those of a model that rounds its input."""
    a = np.exp(np.random.default_rng(0).uniform(np.log(1e-3), np.log(20.0), 1000))
    t = STEPS[:, None, None, None] * NODES[:, None, None] + 0.0 * a
    rows = differences.estimates(PIECES[name](t, a), STEPS, 3, DOUBLE)[1:]
    assert max(row.error.max() for row in rows) == 0.0
    assert max(np.abs(row.value).max() for row in rows) == 0.0


def test_derivative_at_a_kink_has_a_large_error():
    for slope in (1.0, 0.1):
        row = estimates(lambda x, a=slope: a * np.abs(x), [0.0])[1]
        assert row.error > 0.1 * slope and row.error > 1e3 * row.rounding


# Points, direction, largest and smallest step, and a step that has 1/4, 1/16, 1/64 of it too.
LADDERS = {
    "unit": ([[1.0]], [1.0], 4.0, 2.0**-42, 4.0),
    "origin": ([[0.0]], [1.0], 4.0, 2.0**-42, 4.0),
    "a long way off": ([[1e5], [1e5 + 1.0]], [1.0], 2.0**19, 2.0**-25, 4.0),
    "small": ([[1e-4]], [1.0], 4.0, 2.0**-55, 2.0**-11),
    "small column": ([[1.0, 1e-6], [2.0, 3e-6]], [0.0, 1.0], 4.0, 2.0**-60, 2.0**-17),
    "long direction": ([[1.0]], [2.0], 2.0, 2.0**-43, 2.0),
}


@pytest.mark.parametrize("name", LADDERS)
def test_ladder_has_the_expected_steps(name):
    x, direction, largest, smallest, length = LADDERS[name]
    points = checked_points(tf.sin, np.array(x))
    steps = differences.ladder(points, [tf.constant([[direction]], "float64")])
    assert steps.shape[1:] == (1, len(x))
    steps = steps[:, 0, 0]
    assert steps[0] == largest and steps[-1] == smallest
    assert np.all((steps[:-1] / steps[1:] >= 1.0) & (steps[:-1] / steps[1:] <= 16.0))
    assert {length * 4.0**-k for k in range(4)} <= set(steps)


def test_coordinates_along_axes_are_exact():
    x, steps = np.array([[0.7], [1e5 + 0.3], [3e-6]]), 2.0 ** np.arange(-60.0, 3.0)
    for value in x.ravel():
        steps_of_value = steps[steps >= 2.0**10 * np.spacing(value)]
        offsets = np.multiply.outer(steps_of_value[steps_of_value < value], NODES)
        assert np.all((value + offsets) - value == offsets)


@pytest.mark.parametrize("max_rows", [1, 4, 7, 100])
def test_calls_of_the_model_are_limited_in_size(monkeypatch, max_rows):
    """The values and their order are the same for any size of a call."""
    x = np.arange(6.0).reshape(3, 2)
    sizes = []

    def model(x):
        sizes.append(x.shape[0])
        return tf.stack([x[:, 0] * x[:, 1], x[:, 0]], axis=1)

    points = checked_points(model, x)
    directions = [tf.constant([[[1.0, 0.0]], [[0.5, 0.5]]], "float64")]
    steps = np.broadcast_to([[[2.0]], [[1.0]]], (2, 2, 3))
    for rows, numbers in ((max_rows, 10**6), (10**6, 2 * max_rows)):
        monkeypatch.setattr(line_values, "_ROWS_AT_A_TIME", rows)
        monkeypatch.setattr(line_values, "_NUMBERS_AT_A_TIME", numbers)
        sizes.clear()
        t = steps[:, None] * NODES[1:, None, None]
        (values,) = line_values.values_along_lines(model, points, directions, t)
        # The first and the last call have the points; some points are added to the others.
        assert sizes[0] == sizes[-1] == 3
        assert max(sizes[1:-1]) <= max_rows + max(1, max_rows // 8)
        t = steps[:, None] * NODES[:, None, None]
        moved = x + t[..., None] * np.asarray(directions[0])
        expected = np.stack([moved[..., 0] * moved[..., 1], moved[..., 0]], axis=-1)
        np.testing.assert_allclose(values, expected, atol=1e-14)
