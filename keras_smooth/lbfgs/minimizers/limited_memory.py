"""L-BFGS as one loop with one evaluation a turn, for XLA.

A program that evaluates the objective at one place is compiled once at that place, and the
line search tries the unit step first. The memory is a ring, and the search direction comes
from the compact representation of the inverse Hessian, so that nothing is sequential.

References:
    Byrd, Nocedal and Schnabel, 1994, "Representations of quasi-Newton matrices and their use
    in limited memory methods", Mathematical Programming 63, theorem 2.2; Hager and Zhang,
    2005, "A new conjugate gradient method with guaranteed descent and an efficient line
    search", SIAM Journal on Optimization 16 (the approximate Wolfe condition, 4.1).
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

# Sufficient decrease and curvature. With 0.5 a search takes 1.45 evaluations where 0.9, the
# usual value, takes 1.2, and needs half the iterations: benchmarks/lbfgs.md.
DECREASE = 1e-4
CURVATURE = 0.5
# Changes of the objective below this fraction of it are taken for rounding.
ROUNDING = 1e-6
MAX_TRIALS = 40


class Memory(NamedTuple):
    """The last m pairs in a ring; slots that are not filled are zero.

    Args:
        steps: Changes s_i of the position, `(m, n)`.
        changes: Changes y_i of the gradient, `(m, n)`.
        inverse: Inverse of the matrix R with entries s_i . y_j for i not newer than j,
            `(m, m)`.
        diagonal: s_i . y_i, `(m,)`.
        products: y_i . y_j, `(m, m)`.
        scale: s . y / y . y of the newest pair, the inverse Hessian to begin with.
        num_pairs: Number of pairs ever stored.
    """

    steps: tf.Tensor
    changes: tf.Tensor
    inverse: tf.Tensor
    diagonal: tf.Tensor
    products: tf.Tensor
    scale: tf.Tensor
    num_pairs: tf.Tensor


class Point(NamedTuple):
    """A step length with the value and the slope of the objective there."""

    step: tf.Tensor
    value: tf.Tensor
    slope: tf.Tensor


class Search(NamedTuple):
    """A line search that goes on: the best steps are between `low` and `high`."""

    direction: tf.Tensor
    slope: tf.Tensor
    step: tf.Tensor
    low: Point
    high: Point
    num_trials: tf.Tensor


class State(NamedTuple):
    """Where the minimizer is; the first seven names are TFP's."""

    converged: tf.Tensor
    failed: tf.Tensor
    num_iterations: tf.Tensor
    num_objective_evaluations: tf.Tensor
    position: tf.Tensor
    objective_value: tf.Tensor
    objective_gradient: tf.Tensor
    memory: Memory
    search: Search


def begin(function: Callable, position: tf.Tensor, num_correction_pairs: int) -> State:
    """Returns the state at a position with empty memory, after one evaluation."""
    value, gradient = function(position)
    # Without curvature there is no scale: the first step has length 1 at most.
    step = 1.0 / tf.maximum(tf.norm(gradient), tf.ones_like(value))
    return State(
        converged=tf.constant(False),
        failed=~_finite(value, gradient),
        num_iterations=tf.constant(0),
        num_objective_evaluations=tf.constant(1),
        position=position,
        objective_value=value,
        objective_gradient=gradient,
        memory=_empty(num_correction_pairs, position),
        search=_new_search(-gradient, value, gradient, step),
    )


def advance(function: Callable, state: State, num_iterations, tolerance) -> State:
    """Returns the state after at most so many iterations more."""
    limit = state.num_iterations + num_iterations

    def goes_on(state: State):
        return (state.num_iterations < limit) & ~state.converged & ~state.failed

    def turn(state: State):
        search = state.search
        position = state.position + search.step * search.direction
        value, gradient = function(position)
        slope = _dot(gradient, search.direction)
        trial = Point(search.step, value, slope)
        state = state._replace(
            num_objective_evaluations=state.num_objective_evaluations + 1
        )
        finite = _finite(value, gradient)
        short, long = _judge(state, trial, finite)
        return tf.cond(
            short | long,
            lambda: _reject(state, trial, finite, long),
            lambda: _accept(state, position, value, gradient, tolerance),
        )

    return tf.while_loop(goes_on, lambda s: [turn(s)], [state])[0]


def _judge(state: State, trial: Point, finite) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns whether the step is too short, and whether it is too long."""
    start, slope = state.objective_value, state.search.slope
    decrease = trial.value <= start + DECREASE * trial.step * slope
    # Near the minimum rounding hides the decrease; the slopes still tell.
    hidden = trial.value <= start + ROUNDING * tf.abs(start)
    decrease |= hidden & (trial.slope <= (2.0 * DECREASE - 1.0) * slope)
    short = finite & decrease & (trial.slope < CURVATURE * slope)
    long = ~finite | ~decrease | (trial.slope > -CURVATURE * slope)
    return short, long


def _reject(state: State, trial: Point, finite, long) -> State:
    search = state.search
    # A value that is not finite bounds the step but says nothing about where to go.
    unusable = Point(trial.step, *(tf.fill([], _inf(trial.step)) for _ in range(2)))
    bound = _where(finite, trial, unusable)
    low = _where(long, search.low, trial)
    high = _where(long, bound, search.high)
    step = _next_step(search.low, trial, low, high)
    same = (step <= low.step) | (step >= high.step)
    num_trials = search.num_trials + 1
    return state._replace(
        failed=same | (num_trials >= MAX_TRIALS),
        search=search._replace(step=step, low=low, high=high, num_trials=num_trials),
    )


def _next_step(before: Point, trial: Point, low: Point, high: Point) -> tf.Tensor:
    """Returns the step to try between the bounds, or beyond the lower one."""
    between = _minimum_of_cubic(low, high)
    width = high.step - low.step
    middle = low.step + 0.3 * width
    between = tf.where(tf.math.is_finite(between), between, middle)
    between = tf.clip_by_value(between, low.step + 0.1 * width, low.step + 0.9 * width)
    beyond = _minimum_of_cubic(before, trial)
    beyond = tf.where(tf.math.is_finite(beyond), beyond, 4.0 * trial.step)
    beyond = tf.clip_by_value(beyond, 2.0 * trial.step, 10.0 * trial.step)
    return tf.where(tf.math.is_finite(high.step), between, beyond)


def _minimum_of_cubic(a: Point, b: Point) -> tf.Tensor:
    """Nocedal and Wright, 2006, "Numerical optimization", equation 3.59."""
    d1 = a.slope + b.slope - 3.0 * (a.value - b.value) / (a.step - b.step)
    square = d1**2 - a.slope * b.slope
    d2 = tf.sign(b.step - a.step) * tf.sqrt(tf.maximum(square, tf.zeros_like(square)))
    fraction = (b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2)
    return b.step - (b.step - a.step) * fraction


def _accept(state: State, position, value, gradient, tolerance) -> State:
    memory = _store(
        state.memory, position - state.position, gradient - state.objective_gradient
    )
    direction = _direction(memory, gradient)
    # Rounding may spoil a direction; the steepest descent is always one.
    downhill = _dot(direction, gradient) < 0.0
    direction = tf.where(downhill, direction, -gradient)
    return State(
        converged=tf.reduce_max(tf.abs(gradient)) <= tolerance,
        failed=tf.constant(False),
        num_iterations=state.num_iterations + 1,
        num_objective_evaluations=state.num_objective_evaluations,
        position=position,
        objective_value=value,
        objective_gradient=gradient,
        memory=memory,
        search=_new_search(direction, value, gradient, tf.ones_like(value)),
    )


def _new_search(direction, value, gradient, step) -> Search:
    slope = _dot(direction, gradient)
    zero = tf.zeros_like(value)
    infinite = tf.fill([], _inf(value))
    return Search(
        direction=direction,
        slope=slope,
        step=step,
        low=Point(zero, value, slope),
        high=Point(infinite, infinite, infinite),
        num_trials=tf.constant(0),
    )


def _empty(num_pairs: int, position: tf.Tensor) -> Memory:
    def zeros(*shape: int) -> tf.Tensor:
        return tf.zeros(shape, position.dtype)

    size = position.shape[0]
    return Memory(
        steps=zeros(num_pairs, size),
        changes=zeros(num_pairs, size),
        inverse=zeros(num_pairs, num_pairs),
        diagonal=zeros(num_pairs),
        products=zeros(num_pairs, num_pairs),
        scale=tf.ones((), position.dtype),
        num_pairs=tf.constant(0),
    )


def _store(memory: Memory, step: tf.Tensor, change: tf.Tensor) -> Memory:
    """Puts a pair in the place of the oldest."""
    size = memory.steps.shape[0]
    slot = memory.num_pairs % size
    here = tf.one_hot(slot, size, dtype=step.dtype)
    others = 1.0 - here
    steps = tf.tensor_scatter_nd_update(memory.steps, [[slot]], step[None])
    changes = tf.tensor_scatter_nd_update(memory.changes, [[slot]], change[None])
    curvature = _dot(step, change)
    # Dropping the oldest pair drops the first row and column of R, and of its inverse.
    kept = memory.inverse * others[:, None] * others[None, :]
    column = tf.linalg.matvec(kept, others * tf.linalg.matvec(steps, change))
    inverse = kept + (here - column)[:, None] * here[None, :] / curvature
    product = tf.linalg.matvec(changes, change)
    products = memory.products * others[:, None] * others[None, :]
    products += (
        here[:, None] * product[None, :] + (others * product)[:, None] * here[None, :]
    )
    return Memory(
        steps=steps,
        changes=changes,
        inverse=inverse,
        diagonal=memory.diagonal * others + curvature * here,
        products=products,
        scale=curvature / _dot(change, change),
        num_pairs=memory.num_pairs + 1,
    )


def _direction(memory: Memory, gradient: tf.Tensor) -> tf.Tensor:
    """Returns minus the inverse Hessian times the gradient."""
    scale = memory.scale
    along_steps = tf.linalg.matvec(memory.steps, gradient)
    along_changes = tf.linalg.matvec(memory.changes, gradient)
    w = tf.linalg.matvec(memory.inverse, along_steps)
    inner = memory.diagonal * w + scale * (
        tf.linalg.matvec(memory.products, w) - along_changes
    )
    v = tf.linalg.matvec(memory.inverse, inner, transpose_a=True)
    return -(
        scale * gradient
        + tf.linalg.matvec(memory.steps, v, transpose_a=True)
        - scale * tf.linalg.matvec(memory.changes, w, transpose_a=True)
    )


def _dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(a * b)


def _finite(value, gradient) -> tf.Tensor:
    return tf.math.is_finite(value) & tf.reduce_all(tf.math.is_finite(gradient))


def _where(condition, a: Point, b: Point) -> Point:
    return Point(*(tf.where(condition, one, other) for one, other in zip(a, b)))


def _inf(like: tf.Tensor) -> tf.Tensor:
    return tf.constant(float("inf"), like.dtype)
