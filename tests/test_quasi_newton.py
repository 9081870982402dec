"""The L-BFGS loop: its direction against the two-loop recursion, and test problems."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from more_garbow_hillstrom import PROBLEMS

from keras_smooth import fit_lbfgs
from keras_smooth.lbfgs import Status
from keras_smooth.lbfgs.minimizers import limited_memory

TOLERANCE = {"float64": 1e-6, "float32": 1e-3}

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
def test_direction_is_that_of_the_two_loop_recursion(num_stored, dtype, rtol, rng):
    size, num_pairs = 20, 5
    root = rng.normal(size=(size, size))
    hessian = root @ root.T / size + np.eye(size)
    steps = rng.normal(size=(num_stored, size))
    changes = steps @ hessian
    gradient = rng.normal(size=size)
    memory = limited_memory._empty(num_pairs, tf.zeros(size, dtype))
    for s, y in zip(steps, changes):
        memory = limited_memory._store(memory, tf.constant(s, dtype), tf.constant(y, dtype))
    direction = limited_memory._direction(memory, tf.constant(gradient, dtype))
    expected = two_loops(steps[-num_pairs:], changes[-num_pairs:], gradient)
    # The condition of R is about 10: rounding times a few hundred operations.
    np.testing.assert_allclose(direction, expected, rtol=rtol, atol=rtol)


def test_cubic_is_exact_for_cubics():
    a, b = -0.5, 3.0
    points = [
        limited_memory.Point(
            *(tf.constant(v, tf.float64) for v in (t, t**3 - 3 * t, 3 * t**2 - 3))
        )
        for t in (a, b)
    ]
    # t^3 - 3t has its minimum at 1.
    assert float(limited_memory._minimum_of_cubic(*points)) == pytest.approx(1.0, abs=1e-14)


class Unknowns(keras.Model):
    """A model whose weights are the unknowns of a problem, and whose loss is its value."""

    def __init__(self, problem, dtype):
        super().__init__(dtype=dtype)
        self.problem = problem
        self.unknowns = self.add_weight(
            shape=(len(problem.start),), initializer="zeros", dtype=dtype
        )
        self.unknowns.assign(problem.start)
        self.built = True

    def call(self, x):
        return x

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return self.problem(keras.ops.convert_to_tensor(self.unknowns))


def solve(problem, dtype, epochs):
    model = Unknowns(problem, dtype)
    model.compile()
    history = fit_lbfgs(
        model,
        np.zeros((1, 1)),
        epochs=epochs,
        steps_per_execution=epochs,
        num_correction_pairs=10,
        tolerance=TOLERANCE[dtype],
        jit_compile=False,
        verbose=0,
    )
    return history.result, model.unknowns.numpy()


def value_and_gradient(problem, x):
    point = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = problem(point)
    return value, tape.gradient(value, point)


def gap(problem, value):
    """Relative distance to the nearest known minimum; absolute near a minimum of 0."""
    return min(abs(value - minimum) / max(abs(minimum), 1.0) for minimum in problem.minima)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_start_of_the_table(problem):
    """The gradient of every problem against central differences, at its start."""
    x = np.array(problem.start) + 0.01
    value, gradient = value_and_gradient(problem, x)
    gradient = gradient.numpy()
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
    result, unknowns = solve(problem, "float64", epochs=5000)
    value, gradient = value_and_gradient(problem, unknowns)
    assert result.success == (result.grad_norm <= TOLERANCE["float64"])
    # What is reported is what the weights give. Residuals r are rounded by 1e-16, their
    # squares by 2e-16 r: with the gradient at 1e-6, r is 1e-7 at most near a zero.
    assert result.fun == pytest.approx(float(value), rel=1e-9, abs=1e-22)
    assert abs(result.grad_norm - float(tf.reduce_max(tf.abs(gradient)))) <= 1e-9
    # The published minima have six digits.
    assert gap(problem, result.fun) < 2e-6 * (1 + len(problem.start))


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_no_false_success_in_float32(problem):
    result, _ = solve(problem, "float32", epochs=1000)
    assert result.success == (result.grad_norm <= TOLERANCE["float32"])
    assert result.success == (result.status == Status.TOLERANCE)
    assert result.fun <= float(problem(tf.constant(problem.start, tf.float32)))
