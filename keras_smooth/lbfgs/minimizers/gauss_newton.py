"""Damped Gauss-Newton for mean squares, with the Jacobian of a sample of the rows.

For residuals r with the Jacobian J at a position p, the damped step d solves

    (J'J + damping I) d = -J' r    or its dual    d = -J' z, (J J' + damping I) z = r

whichever is smaller. A Jacobian and its product with itself cost a hundred times as much as the
residuals. So the step is corrected with the same matrix until r(p + d), and not only its linear
model, satisfies the equation: d += -(J'J + damping I)^-1 (J' r(p + d) + damping d). This is a chord
method, and its first correction is the geodesic acceleration of Transtrum and Sethna. The damping
is not estimated from the ratio of actual and predicted decrease. It is multiplied or divided by ten
until the damping with the lowest loss has a larger and a smaller one next to it.

The equation is that of a random sample of the rows, which is new in each iteration. A step must
always lower the loss of all rows. For a smooth function, about a hundred rows determine what a
network can learn from a thousand, at a tenth of the cost. The next sample is larger by half, up to
all rows, if the sample limits the step, which then lowers the loss of all rows by less than its
share of the rows is worth, and the loss of the sample by more.

References:
    Marquardt, 1963, "An algorithm for least-squares estimation of nonlinear parameters", Journal
    of the Society for Industrial and Applied Mathematics 11; Transtrum and Sethna, 2012,
    "Improvements to the Levenberg-Marquardt algorithm for nonlinear least-squares minimization",
    arXiv:1201.5885; Kelley, 2003, "Solving nonlinear equations with Newton's method", section 2.3
    (the chord method); Roosta-Khorasani and Mahoney, 2019, "Sub-sampled Newton methods",
    Mathematical Programming 174 (samples that grow, of a loss that is evaluated in full).
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from keras_smooth.lbfgs.minimizers.damped_system import (
    DAMPING_FACTOR,
    WORTHWHILE_RATIO,
    DampedSystem,
)
from keras_smooth.lbfgs.minimizers.line_search import LOSS_ROUNDINGS, Evaluation
from keras_smooth.lbfgs.minimizers.quasi_newton import (
    gradient_is_below,
    initial_entries,
    iterate_at_most,
    select,
)
from keras_smooth.models.agreement import EPSILON

TITLE = "Gauss-Newton"
default_num_pairs = None
NEEDS_RESIDUALS = True
PACKAGES = ()
# Number of rows of the first sample.
FIRST_ROWS = 100
# A step with all rows multiplies the loss by about this factor. A step with a fraction of the rows,
# and so of the cost, is worth it if its factor is at most this one to the power of the fraction.
LOSS_RATIO_OF_ALL_ROWS = 0.1
# If a step is not worth it, and removes fewer digits of the loss of all rows than this fraction of
# those that it removes of the loss of the sample, the sample grows by half.
FEWER_DIGITS = 0.5
# Largest growth of the damping in an iteration with a sample. If it is too small, the sample grows.
MAX_DAMPING_GROWTH = 1e3
# If rounding hides whether a step lowers the loss, it must multiply the gradient by less than this.
FLATTER_RATIO = 0.5


class LeastSquares(NamedTuple):
    """A mean of squares, as functions of a position `(n,)` and of a sample of the rows.

    Args:
        value_and_gradient: `value_and_gradient(position)` returns the mean over all rows and
            its gradient.
        value: `value(position)` returns the mean over all rows.
        draw: `draw(size, seed)` returns a random sample of at most `size` rows, in any form, and
            its number of rows as a fraction of the largest possible one.
        residuals: `residuals(position, rows)` returns the residuals, `(m,)`.
        linearized: `linearized(position, rows)` returns the residuals and their Jacobian,
            `(m, n)`.
    """

    value_and_gradient: Callable
    value: Callable
    draw: Callable
    residuals: Callable
    linearized: Callable


class State(NamedTuple):
    """The state of damped Gauss-Newton; the first seven names are those of TFP.

    Args:
        damping: Damping of the latest step, 0 before the first one.
        num_rows: Number of rows of the next sample.
    """

    converged: tf.Tensor
    failed: tf.Tensor
    num_iterations: tf.Tensor
    num_objective_evaluations: tf.Tensor
    position: tf.Tensor
    objective_value: tf.Tensor
    objective_gradient: tf.Tensor
    damping: tf.Tensor
    num_rows: tf.Tensor


class Trial(NamedTuple):
    """The step of one damping.

    Args:
        value: Sum of squares of all rows after the step.
        sample_value: Sum of squares of the sample after the step.
        step: The step, `(n,)`.
        damping: The damping.
    """

    value: tf.Tensor
    sample_value: tf.Tensor
    step: tf.Tensor
    damping: tf.Tensor


class Trials(NamedTuple):
    """The state of a search for the best damping.

    Args:
        best: The trial with the lowest sum of squares that is worth its cost.
        low: The smallest damping so far.
        high: The largest damping so far.
        num_evaluations: Number of evaluations of the residuals.
    """

    best: Trial
    low: tf.Tensor
    high: tf.Tensor
    num_evaluations: tf.Tensor


def begin(function: LeastSquares, position: tf.Tensor, num_pairs: int) -> State:
    """Returns the state at a position; the number of pairs is not used."""
    del num_pairs
    entries = initial_entries(function.value_and_gradient, position)
    damping = tf.zeros([], position.dtype)
    return State(**entries, damping=damping, num_rows=tf.constant(FIRST_ROWS))


def move(state: State, restarted: State) -> State:
    """Returns the state on other data, with the damping and the sample size of `state`."""
    return restarted._replace(damping=state.damping, num_rows=state.num_rows)


def advance(
    function: LeastSquares, state: State, num_iterations: tf.Tensor, tolerance: tf.Tensor
) -> State:
    """Returns the state after at most `num_iterations` more iterations."""
    return iterate_at_most(
        lambda now: _iterate(function, now, tolerance), state, num_iterations
    )


def _iterate(function: LeastSquares, state: State, tolerance: tf.Tensor) -> State:
    """Returns the state after an iteration; its position is the same if no step lowers the loss."""
    rows, share = function.draw(state.num_rows, state.num_objective_evaluations)
    has_all_rows = share >= 1.0
    residuals, jacobian = function.linearized(state.position, rows)
    system = DampedSystem(residuals, jacobian, state.damping)
    before = function.value(state.position)
    largest = system.largest_damping
    limit = tf.minimum(system.first_damping * MAX_DAMPING_GROWTH, largest)
    bounds = system.smallest_damping, tf.where(has_all_rows, largest, limit)

    def evaluate_damping(damping: tf.Tensor) -> tuple[Trial, tf.Tensor]:
        sample_value, step, count = system.solve(
            lambda step: function.residuals(state.position + step, rows), damping
        )
        value = function.value(state.position + step)
        return Trial(value, sample_value, step, damping), count + 1

    level = before * (1.0 + LOSS_ROUNDINGS * EPSILON[residuals.dtype.name])
    best, _, _, num_evaluations = _search_damping(
        evaluate_damping, level, system.first_damping, bounds
    )
    position = state.position + best.step
    latest = Evaluation(position, *function.value_and_gradient(position))
    start = Evaluation(state.position, state.objective_value, state.objective_gradient)
    # Near a minimum, rounding hides the decrease of the loss, but not that of the gradient.
    is_flatter = tf.norm(latest.gradient) < FLATTER_RATIO * tf.norm(start.gradient)
    is_good = (best.value < before) | (best.value < level) & is_flatter
    sample_ratio = best.sample_value / tf.reduce_sum(residuals**2)
    is_limited = _is_limited_by_sample(best.value / before, sample_ratio, share)
    grows = (~is_good | is_limited) & ~has_all_rows
    position, value, gradient = select(is_good, latest, start)
    return State(
        # If no step with all rows lowers the loss, `OptimizationRun` finds the same position.
        converged=gradient_is_below(tolerance, gradient) | ~is_good & has_all_rows,
        failed=~tf.math.is_finite(best.value) & has_all_rows,
        num_iterations=state.num_iterations + tf.cast(is_good, tf.int32),
        num_objective_evaluations=state.num_objective_evaluations + num_evaluations + 3,
        position=position,
        objective_value=value,
        objective_gradient=gradient,
        damping=tf.where(is_good, best.damping, state.damping),
        num_rows=tf.where(grows, 3 * state.num_rows // 2, state.num_rows),
    )


def _is_limited_by_sample(
    loss_ratio: tf.Tensor, sample_ratio: tf.Tensor, share: tf.Tensor
) -> tf.Tensor:
    """Returns whether a step is limited by its sample, so that more rows are worth their cost.

    Args:
        loss_ratio: Loss of all rows after the step, as a fraction of that before.
        sample_ratio: Loss of the sample after the step, as a fraction of that before.
        share: Fraction of the rows that are in the sample.
    """
    is_worth_it = loss_ratio <= LOSS_RATIO_OF_ALL_ROWS ** tf.cast(share, loss_ratio.dtype)
    return ~is_worth_it & (sample_ratio**FEWER_DIGITS < loss_ratio)


def _search_damping(
    evaluate_damping: Callable, before: tf.Tensor, first_damping: tf.Tensor, bounds: tuple
) -> Trials:
    """Tries dampings until the best one has a larger and a smaller one next to it.

    Args:
        evaluate_damping: Returns the trial of a damping, and its number of evaluations.
        before: The sum of squares before the step, which the best trial should lower.
        first_damping: The damping to try first.
        bounds: The smallest and the largest possible damping.
    """
    smallest, largest = bounds

    def should_decrease(now: Trials) -> tf.Tensor:
        is_best = now.best.damping == now.low
        return (now.best.value < before) & is_best & (now.low > smallest)

    def should_increase(now: Trials) -> tf.Tensor:
        is_best = (now.best.damping == now.high) | ~(now.best.value < before)
        return is_best & (now.high < largest)

    def try_damping(now: Trials) -> list[Trials]:
        is_down = should_decrease(now)
        down, up = tf.maximum(now.low / DAMPING_FACTOR, smallest), now.high * DAMPING_FACTOR
        damping = tf.where(is_down, down, up)
        trial, count = evaluate_damping(damping)
        value, lowest = trial.value, now.best.value
        # Less damping must be worth a decomposition: it must lower the value, or enlarge the
        # decrease, by a factor.
        much_lower = value < WORTHWHILE_RATIO * lowest
        much_lower |= before - lowest < WORTHWHILE_RATIO * (before - value)
        best = select((value < lowest) & (much_lower | ~is_down), trial, now.best)
        low = tf.where(is_down, damping, now.low)
        high = tf.where(is_down, now.high, damping)
        return [Trials(best, low, high, now.num_evaluations + count)]

    trial, count = evaluate_damping(first_damping)
    start = Trials(trial, first_damping, first_damping, count)
    return tf.while_loop(
        lambda now: should_decrease(now) | should_increase(now), try_damping, [start]
    )[0]
