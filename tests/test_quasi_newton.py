"""The L-BFGS loop: its direction against the two-loop recursion, and test problems."""

import numpy as np
import pytest
import tensorflow as tf
from more_garbow_hillstrom import PROBLEMS

from keras_smooth.lbfgs import Status, quasi_newton
from keras_smooth.lbfgs.minimizers import Minimizer
from keras_smooth.lbfgs.run import Run

RNG = np.random.default_rng(0)


def two_loops(steps, changes, gradient):
    """Nocedal and Wright, 2006, algorithm 7.4: the slow reference."""
    q, alphas = gradient.copy(), []
    for s, y in zip(steps[::-1], changes[::-1]):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    q *= steps[-1] @ changes[-1] / (changes[-1] @ changes[-1])
    for s, y, alpha in zip(steps, changes, alphas[::-1]):
        q += s * (alpha - y @ q / (s @ y))
    return -q


@pytest.mark.parametrize("num_stored", [1, 3, 5, 6, 13])
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 1e-2)])
def test_direction_is_that_of_the_two_loop_recursion(num_stored, dtype, rtol):
    size, num_pairs = 20, 5
    root = RNG.normal(size=(size, size))
    hessian = root @ root.T / size + np.eye(size)
    steps = RNG.normal(size=(num_stored, size))
    changes = steps @ hessian
    gradient = RNG.normal(size=size)
    memory = quasi_newton._empty(num_pairs, tf.zeros(size, dtype))
    for s, y in zip(steps, changes):
        memory = quasi_newton._store(memory, tf.constant(s, dtype), tf.constant(y, dtype))
    direction = quasi_newton._direction(memory, tf.constant(gradient, dtype))
    expected = two_loops(steps[-num_pairs:], changes[-num_pairs:], gradient)
    # The condition of R is about 10: rounding times a few hundred operations.
    np.testing.assert_allclose(direction, expected, rtol=rtol, atol=rtol)


def test_cubic_is_exact_for_cubics():
    a, b = -0.5, 3.0
    points = [
        quasi_newton.Point(
            *(tf.constant(v, tf.float64) for v in (t, t**3 - 3 * t, 3 * t**2 - 3))
        )
        for t in (a, b)
    ]
    # t^3 - 3t has its minimum at 1.
    assert float(quasi_newton._minimum_of_cubic(*points)) == pytest.approx(1.0, abs=1e-14)


def run(problem, dtype, method="lbfgs", iterations=5000, max_restarts=5):
    """Minimizes as fit_lbfgs does, and returns its run."""

    def value_and_gradient(position, data):
        with tf.GradientTape() as tape:
            tape.watch(position)
            value = problem(position)
        return value, tape.gradient(value, position)

    minimizer = Minimizer(value_and_gradient, method, 10, jit_compile=False)
    tolerance = 1e-6 if dtype == "float64" else 1e-3
    start = tf.constant(problem.start, dtype)
    found = Run(minimizer, start, (), lambda position: None, tolerance, max_restarts)
    found.advance(iterations)
    return found


def gap(problem, value):
    """Relative distance to the nearest known minimum; absolute near a minimum of 0."""
    return min(abs(value - minimum) / max(abs(minimum), 1.0) for minimum in problem.minima)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_start_of_the_table(problem):
    """The gradient of every problem against central differences, at its start."""
    x = np.array(problem.start) + 0.01
    with tf.GradientTape() as tape:
        point = tf.constant(x)
        tape.watch(point)
        value = problem(point)
    gradient = tape.gradient(value, point).numpy()
    for i in range(len(x)):
        step = 1e-6 * max(abs(x[i]), 1.0)
        shift = step * np.eye(len(x))[i]
        upper, lower = (float(problem(tf.constant(x + sign * shift))) for sign in (1, -1))
        expected = (upper - lower) / (2 * step)
        # Rounding of the value, divided by the step.
        tolerance = 1e-5 * max(abs(expected), 1.0) + 1e-15 * abs(float(value)) / step * 4
        assert abs(gradient[i] - expected) <= tolerance


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_solves_in_float64(problem):
    found = run(problem, "float64")
    result = found.result()
    assert result.success == (result.grad_norm <= 1e-6)
    # The published minima have six digits.
    assert gap(problem, result.fun) < 2e-6 * (1 + len(problem.start))


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_no_false_success_in_float32(problem):
    result = run(problem, "float32", iterations=1000).result()
    assert result.success == (result.grad_norm <= 1e-3)
    assert result.success == (result.status == Status.TOLERANCE)
    assert result.fun <= float(problem(tf.constant(problem.start, tf.float32)))
