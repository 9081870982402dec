"""Damped Gauss-Newton for mean squares, with a Jacobian of a sample of the rows an iteration.

Of residuals r with the Jacobian J at a position p, the damped step d solves

    (J'J + damping I) d = -J' r    or its dual    d = -J' z, (J J' + damping I) z = r

whichever is smaller. A Jacobian and its product with itself cost a hundred times what residuals
do. So the step is corrected with the same matrix until r(p + d), not only its linear model,
satisfies the equation: d += -(J'J + damping I)^-1 (J' r(p + d) + damping d), a chord method. Its
first correction is the geodesic acceleration of Transtrum and Sethna. And the damping is not
guessed from the ratio of actual and predicted decrease: powers of ten of it are tried until the
lowest loss is between two of them.

The equation is that of a random sample of the rows, a new one in each iteration, while the loss
that a step has to lower is always that of all rows. Of a smooth function some hundred rows
determine what a network can learn of a thousand, at a tenth of the cost. Where a step lowers the
loss by less than its share of the rows is worth, and that of the sample by more, the next sample is
larger by half, until it has all rows.

References:
    Marquardt, 1963, "An algorithm for least-squares estimation of nonlinear parameters", Journal
    of the Society for Industrial and Applied Mathematics 11; Transtrum and Sethna, 2012,
    "Improvements to the Levenberg-Marquardt algorithm for nonlinear least-squares minimization",
    arXiv:1201.5885; Kelley, 2003, "Solving nonlinear equations with Newton's method", section 2.3
    (the chord method); Roosta-Khorasani and Mahoney, 2019, "Sub-sampled Newton methods",
    Mathematical Programming 174 (samples that grow, of a loss that is evaluated in full).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from keras_smooth.lbfgs.minimizers.line_search import LOSS_ROUNDINGS, Place
from keras_smooth.lbfgs.minimizers.quasi_newton import beginning, chosen, is_below, iterated

TITLE = "Gauss-Newton"
default_num_pairs = None
NEEDS_RESIDUALS = True
PACKAGES = ()
# The first damping as a fraction of the trace of J'J, and what one is multiplied by.
FIRST_DAMPING = 1e-3
FACTOR = 10.0
# Steps with one matrix: on the article's net 4 need twice as many iterations as 12, 40 as many.
MOST_CORRECTIONS = 12
# What a correction, or less damping, has to leave of the sum of squares to be followed.
WORTH_IT = 0.9
# The rows of the first sample.
FIRST_ROWS = 100
# What a step with all rows leaves of the loss, about. One with a share of the rows, and of the
# cost, is worth it if it leaves no more than that to the power of its share.
LEFT_BY_ALL = 0.1
# If it is not, and takes off less than this share of the sample's digits from all rows, the sample
# grows by half.
OF_THE_SAMPLE = 0.5
# How much more damping than before is tried with a sample, before a larger one is.
MOST_DAMPED = 1e3
# What a step that is lower only up to rounding has to leave of the gradient.
FLATTER = 0.5
# Of the trace times the precision: less damping is hidden by rounding.
HIDDEN = 100.0
ROUNDINGS = {tf.float64: 2.0**-52, tf.float32: 2.0**-23}


class LeastSquares(NamedTuple):
    """A mean of squares: functions of a vector `(n,)`, and of a sample of its rows.

    Args:
        value_and_gradient: `value_and_gradient(position)` returns the mean over all rows and
            its gradient.
        value: `value(position)` returns the mean over all rows.
        draw: `draw(size, seed)` returns a random sample of at most so many rows, in any form,
            and which share they are of as many as there can be.
        residuals: `residuals(position, rows)` returns what is squared, `(m,)`.
        linearized: `linearized(position, rows)` returns it and its Jacobian, `(m, n)`.
    """

    value_and_gradient: Callable
    value: Callable
    draw: Callable
    residuals: Callable
    linearized: Callable


class State(NamedTuple):
    """Where the minimizer is; the first seven names are TFP's.

    Args:
        damping: Of the latest step, 0 before the first.
        num_rows: Of the next sample.
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
    """What a damping gives.

    Args:
        value: The sum of squares.
        of_sample: That of the sample.
        step: The step, `(n,)`.
        damping: The damping.
    """

    value: tf.Tensor
    of_sample: tf.Tensor
    step: tf.Tensor
    damping: tf.Tensor


class Trials(NamedTuple):
    """The dampings that were tried.

    Args:
        best: The one with the lowest sum of squares.
        low: The smallest damping.
        high: The largest one.
        num_evaluations: Number of evaluations of the residuals.
    """

    best: Trial
    low: tf.Tensor
    high: tf.Tensor
    num_evaluations: tf.Tensor


def begin(function: LeastSquares, position: tf.Tensor, num_pairs: int) -> State:
    """Returns the state at a position; the number of pairs has no meaning here."""
    del num_pairs
    first = beginning(function.value_and_gradient, position)
    damping = tf.zeros([], position.dtype)
    return State(**first, damping=damping, num_rows=tf.constant(FIRST_ROWS))


def move(state: State, begun: State) -> State:
    """Returns the state on other data, with the damping and the size of a sample of before."""
    return begun._replace(damping=state.damping, num_rows=state.num_rows)


def advance(
    function: LeastSquares, state: State, num_iterations: tf.Tensor, tolerance: tf.Tensor
) -> State:
    """Returns the state after at most so many iterations more."""
    return iterated(lambda now: _iterate(function, now, tolerance), state, num_iterations)


def _iterate(function: LeastSquares, state: State, tolerance: tf.Tensor) -> State:
    """Returns the state after an iteration: with the same position if no step is lower."""
    rows, share = function.draw(state.num_rows, state.num_objective_evaluations)
    are_all = share >= 1.0
    residuals, jacobian = function.linearized(state.position, rows)
    system = DampedSystem(residuals, jacobian, state.damping)
    before = function.value(state.position)
    # Of a larger one a step is lost in rounding.
    most = tf.minimum(system.largest, system.first * MOST_DAMPED)
    bounds = system.smallest, tf.where(are_all, system.largest, most)

    def tried(damping: tf.Tensor) -> tuple[Trial, tf.Tensor]:
        of_sample, step, count = system.solve(
            lambda step: function.residuals(state.position + step, rows), damping
        )
        value = function.value(state.position + step)
        return Trial(value, of_sample, step, damping), count + 1

    level = before * (1.0 + LOSS_ROUNDINGS * ROUNDINGS[residuals.dtype])
    best, _, _, num_evaluations = _lowest(tried, level, system.first, bounds)
    position = state.position + best.step
    place = Place(position, *function.value_and_gradient(position))
    start = Place(state.position, state.objective_value, state.objective_gradient)
    # Near a minimum rounding hides the decrease, and the gradient tells.
    is_flatter = tf.norm(place.gradient) < FLATTER * tf.norm(start.gradient)
    good = (best.value < before) | (best.value < level) & is_flatter
    left_of_sample = best.of_sample / tf.reduce_sum(residuals**2)
    is_limit = _is_limit(best.value / before, left_of_sample, share)
    grows = (~good | is_limit) & ~are_all
    position, value, gradient = chosen(good, place, start)
    return State(
        # Where no step of any length is lower, the run finds the position where it was.
        converged=is_below(tolerance, gradient) | ~good & are_all,
        failed=~tf.math.is_finite(best.value) & are_all,
        num_iterations=state.num_iterations + tf.cast(good, tf.int32),
        num_objective_evaluations=state.num_objective_evaluations + num_evaluations + 3,
        position=position,
        objective_value=value,
        objective_gradient=gradient,
        damping=tf.where(good, best.damping, state.damping),
        num_rows=tf.where(grows, 3 * state.num_rows // 2, state.num_rows),
    )


def _is_limit(left: tf.Tensor, left_of_sample: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Returns whether a step is limited by its sample, so that more rows are worth their cost.

    Args:
        left: What it leaves of the loss of all rows, a fraction.
        left_of_sample: What it leaves of that of the sample.
        share: Of the rows that are in the sample.
    """
    is_worth_it = left <= LEFT_BY_ALL ** tf.cast(share, left.dtype)
    return ~is_worth_it & (left_of_sample**OF_THE_SAMPLE < left)


def _lowest(tried: Callable, before: tf.Tensor, first: tf.Tensor, bounds: tuple) -> Trials:
    """Returns trials whose best damping has a larger and a smaller one beside it.

    Args:
        tried: Returns the trial of a damping, and the number of its evaluations.
        before: The value to be below.
        first: The damping to try first.
        bounds: The smallest one and the largest one.
    """
    smallest, largest = bounds

    def goes_down(now: Trials) -> tf.Tensor:
        is_best = now.best.damping == now.low
        return (now.best.value < before) & is_best & (now.low > smallest)

    def goes_up(now: Trials) -> tf.Tensor:
        is_best = (now.best.damping == now.high) | ~(now.best.value < before)
        return is_best & (now.high < largest)

    def try_one(now: Trials) -> list[Trials]:
        is_down = goes_down(now)
        down, up = tf.maximum(now.low / FACTOR, smallest), now.high * FACTOR
        damping = tf.where(is_down, down, up)
        trial, count = tried(damping)
        value, lowest = trial.value, now.best.value
        # Less damping must be worth a decomposition: leave less, or take off more.
        much_lower = value < WORTH_IT * lowest
        much_lower |= before - lowest < WORTH_IT * (before - value)
        best = chosen((value < lowest) & (much_lower | ~is_down), trial, now.best)
        low = tf.where(is_down, damping, now.low)
        high = tf.where(is_down, now.high, damping)
        return [Trials(best, low, high, now.num_evaluations + count)]

    trial, count = tried(first)
    start = Trials(trial, first, first, count)
    return tf.while_loop(lambda now: goes_down(now) | goes_up(now), try_one, [start])[0]


class Corrections(NamedTuple):
    """The steps with one matrix.

    Args:
        count: How many there were.
        unknown: Of the system, for the latest one.
        residuals: After the latest one.
        step: The one with the lowest sum of squares.
        value: That sum.
        falls: Whether another one is worth it.
    """

    count: tf.Tensor
    unknown: tf.Tensor
    residuals: tf.Tensor
    step: tf.Tensor
    value: tf.Tensor
    falls: tf.Tensor


class DampedSystem:
    """The equation of a damped step: the normal equation, or its dual if that is smaller.

    With A for J', or for J in the dual, it is (A A' + damping I) u = b, of which the step is -u, or
    -J' u in the dual. Rounding of A A' hides singular values of J below the root of the precision
    of the largest. Where the damping is that small, the equation is solved for w = L' u with
    L L' = A A' + shift I, which has B = L^-1 A in place of A, computed from A itself:

        (B B' + damping L^-1 L^-T) w = L^-1 b

    Args:
        residuals: At the position, `(m,)`.
        jacobian: There, `(m, n)`.
        damping: The damping to begin with, 0 for a share of the trace of A A'.

    References:
        Fukaya, Kannan, Nakatsukasa, Yamamoto and Yanagisawa, 2020, "Shifted Cholesky QR for
        computing the QR factorization of ill-conditioned matrices", SIAM Journal on Scientific
        Computing 42.
    """

    def __init__(self, residuals: tf.Tensor, jacobian: tf.Tensor, damping: tf.Tensor):
        self._residuals, self._num_weights = residuals, jacobian.shape[1]
        num_residuals = jacobian.shape[0]
        if num_residuals is None:
            num_residuals = tf.shape(jacobian)[0]
        self._is_dual = num_residuals <= self._num_weights
        wide = _if(self._is_dual, lambda: jacobian, lambda: tf.transpose(jacobian))
        gram = tf.matmul(wide, wide, transpose_b=True)
        trace = tf.linalg.trace(gram)
        # A decomposition of what is not finite, or of zeros, is an error.
        usable = tf.math.is_finite(trace) & (trace > 0.0)
        trace = tf.where(usable, trace, tf.ones_like(trace))
        gram = tf.where(usable, gram, tf.zeros_like(gram))
        # With the shift rounding makes no eigenvalue negative.
        eps = ROUNDINGS[residuals.dtype]
        size = tf.cast(tf.reduce_sum(tf.shape(jacobian)), trace.dtype)
        shift = size * eps * trace
        self.largest = trace / eps
        self.first = tf.where(damping > 0.0, damping, FIRST_DAMPING * trace)
        limit = HIDDEN * eps * trace
        is_plain = self.first > limit
        self.smallest = tf.where(is_plain, limit / FACTOR, shift * eps)
        self.first = tf.clip_by_value(self.first, self.smallest, self.largest)
        identity = tf.linalg.set_diag(tf.zeros_like(gram), tf.ones_like(gram[0]))

        def whitened() -> tuple:
            lower = tf.linalg.cholesky(gram + shift * identity)
            narrow = tf.linalg.triangular_solve(lower, wide)
            root = tf.linalg.triangular_solve(lower, identity)
            again = tf.matmul(narrow, narrow, transpose_b=True)
            return narrow, again, lower, tf.matmul(root, root, transpose_b=True)

        self._wide, self._gram, self._lower, self._metric = tf.cond(
            is_plain, lambda: (wide, gram, identity, identity), whitened
        )

    def solve(self, residuals_after: Callable, damping: tf.Tensor) -> tuple:
        """Returns the lowest sum of squares, its step, and the number of evaluations.

        Args:
            residuals_after: Returns the residuals after a step.
            damping: What is added to the diagonal.
        """
        inverse = _inverse(self._gram + damping * self._metric)

        def correct(now: Corrections) -> list[Corrections]:
            damped = damping * tf.linalg.matvec(self._metric, now.unknown)
            unknown = now.unknown + inverse(self._right_side(now.residuals) - damped)
            step = self._step(unknown)
            residuals = residuals_after(step)
            value = tf.reduce_sum(residuals**2)
            count = now.count + 1
            falls = (value < WORTH_IT * now.value) & (count < MOST_CORRECTIONS)
            # Not what is NaN.
            step, value = chosen(value < now.value, (step, value), (now.step, now.value))
            return [Corrections(count, unknown, residuals, step, value, falls)]

        start = Corrections(
            count=tf.constant(0),
            unknown=tf.zeros_like(self._gram[0]),
            residuals=self._residuals,
            step=tf.zeros([self._num_weights], damping.dtype),
            value=tf.constant(float("inf"), damping.dtype),
            falls=tf.constant(True),
        )
        end = tf.while_loop(lambda now: now.falls, correct, [start])[0]
        return end.value, end.step, end.count

    def _right_side(self, residuals: tf.Tensor) -> tf.Tensor:
        """Returns L^-1 J' times the residuals, or L^-1 times them in the dual."""
        return _if(
            self._is_dual,
            lambda: _solved(self._lower, residuals),
            lambda: tf.linalg.matvec(self._wide, residuals),
        )

    def _step(self, unknown: tf.Tensor) -> tf.Tensor:
        """Returns the step of a w."""
        step = _if(
            self._is_dual,
            lambda: tf.linalg.matvec(self._wide, unknown, transpose_a=True),
            lambda: _solved(self._lower, unknown, adjoint=True),
        )
        return -tf.ensure_shape(step, [self._num_weights])


def _solved(lower: tf.Tensor, vector: tf.Tensor, adjoint: bool = False) -> tf.Tensor:
    """Returns a vector times the inverse of a triangular matrix, or of its transpose."""
    column = vector[:, None]
    return tf.linalg.triangular_solve(lower, column, adjoint=adjoint)[:, 0]


def _if(condition: bool | tf.Tensor, yes: Callable, no: Callable) -> tf.Tensor:
    """Returns what one of two functions returns, of which the other may have no fitting shapes."""
    if isinstance(condition, bool):
        return yes() if condition else no()
    return tf.cond(condition, yes, no)


def _inverse(matrix: tf.Tensor) -> Callable:
    """Returns a function that multiplies a vector by the inverse of a matrix."""
    # Unlike Cholesky's it is no error of TensorFlow where rounding makes a matrix indefinite: such
    # steps are judged as all others.
    upper, places = tf.linalg.lu(matrix)
    # tf.linalg.lu_solve would copy it for each vector.
    lower = tf.linalg.band_part(upper, -1, 0)
    lower = tf.linalg.set_diag(lower, tf.ones_like(upper[0]))

    def times(vector: tf.Tensor) -> tf.Tensor:
        column = tf.gather(vector, places)[:, None]
        column = tf.linalg.triangular_solve(lower, column, lower=True)
        return tf.linalg.triangular_solve(upper, column, lower=False)[:, 0]

    return times
