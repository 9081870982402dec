"""A line search with one evaluation for each trial: the unit step first, then cubic interpolation.

A step is accepted if the value has decreased and the slope has become flat (the strong Wolfe
conditions). Near a minimum, where rounding hides the decrease of the value, the slopes show it. At
a kink, it is enough if the slope is less steep downhill (the weak Wolfe condition).

References:
    Nocedal and Wright, 2006, "Numerical optimization", section 3.5; Hager and Zhang, 2005,
    "A new conjugate gradient method with guaranteed descent and an efficient line search",
    SIAM Journal on Optimization 16 (the approximate Wolfe condition, 4.1); Lewis and Overton,
    2013, "Nonsmooth optimization via quasi-Newton methods", Mathematical Programming 141 (the
    weak Wolfe condition at kinks).
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from keras_smooth.lbfgs.minimizers.shapes import Scalar, Trial, Vector

# Constants of the Wolfe conditions: sufficient decrease and curvature. With a curvature of 0.5, a
# search of plain L-BFGS needs 1.45 evaluations, and with the usual 0.9 it needs 1.2; but with 0.5
# there are half as many iterations.
DECREASE = 1e-4
CURVATURE = 0.5
# Changes of the objective by less than this fraction of it may be rounding.
ROUNDING = 1e-6
# Two values count as equal if their relative difference is below this many times the precision.
LOSS_ROUNDINGS = 64.0
# At a kink, the slope jumps from downhill to uphill and is nowhere flat. So after this many trials,
# the weak Wolfe condition is enough.
STRONG_WOLFE_TRIALS = 4
MAX_TRIALS = 40


class Evaluation(NamedTuple):
    """A position with the objective's value and gradient there."""

    position: tf.Tensor
    value: tf.Tensor
    gradient: tf.Tensor


class Search(NamedTuple):
    """The state of a line search.

    Step length, value and slope of a trial are one vector, because XLA compiles a kernel for each
    tensor, whatever its size.

    Args:
        latest: The latest evaluation.
        length: The step length to try next, or the accepted one.
        low: The longest trial that is known to be too short, `(3,)`.
        high: The shortest trial that is known to be too long, `(3,)`.
        num_trials: Number of evaluations.
        is_good: Whether the latest trial is accepted.
    """

    latest: Evaluation
    length: tf.Tensor
    low: tf.Tensor
    high: tf.Tensor
    num_trials: tf.Tensor
    is_good: tf.Tensor


def search(
    function: Callable, start: Evaluation, direction: Vector, slope: Scalar, length: Scalar
) -> Search:
    """Searches along a direction until a step is accepted or none is left to try.

    Args:
        function: Returns value and gradient at a position.
        start: The evaluation at which the search begins.
        direction: A direction of descent, `(n,)`.
        slope: Slope of the objective along it at the start, negative.
        length: First step to try.

    Returns:
        The final state; `is_good` says whether its step is accepted.
    """
    at_start = tf.stack([tf.zeros_like(slope), start.value, slope])

    def continues(now: Search) -> tf.Tensor:
        between = (now.low[0] < now.length) & (now.length < now.high[0])
        return ~now.is_good & between & (now.num_trials < MAX_TRIALS)

    def try_step(now: Search) -> list[Search]:
        position = start.position + now.length * direction
        latest = Evaluation(position, *function(position))
        trial = tf.stack([now.length, latest.value, dot(latest.gradient, direction)])
        is_strong = now.num_trials < STRONG_WOLFE_TRIALS
        short, long = _too_short_and_too_long(at_start, trial, is_strong)
        # A trial that is not finite is an upper bound of the step, but there is no cubic through it.
        finite = is_finite(trial[1], trial[2]) | [True, False, False]
        low = tf.where(long, now.low, trial)
        high = tf.where(long, tf.where(finite, trial, _trial_at_infinity(slope)), now.high)
        accepted = ~(short | long)
        length = tf.where(
            accepted, now.length, _next_step(now.low, trial, low, high, is_strong)
        )
        return [Search(latest, length, low, high, now.num_trials + 1, accepted)]

    initial = Search(
        latest=start,
        length=length,
        low=at_start,
        high=_trial_at_infinity(slope),
        num_trials=tf.constant(0),
        is_good=tf.constant(False),
    )
    return tf.while_loop(continues, try_step, [initial])[0]


def dot(a: Vector, b: Vector) -> Scalar:
    """Returns the scalar product of two vectors."""
    return tf.tensordot(a, b, 1)


def is_finite(value: Scalar, slope: Scalar) -> Scalar:
    """Returns whether value and slope are finite; the slope is a sum over the whole gradient."""
    return tf.math.is_finite(value) & tf.math.is_finite(slope)


def _too_short_and_too_long(
    start: Trial, trial: Trial, is_strong: Scalar
) -> tuple[Scalar, Scalar]:
    """Returns whether a step is too short, and whether it is too long.

    Args:
        start: Step 0 with the value and the slope at the start, `(3,)`.
        trial: The step with its value and slope, `(3,)`.
        is_strong: Whether the slope must not be steep uphill either (strong Wolfe conditions).
    """
    (_, start_value, start_slope), (step, value, slope) = map(tf.unstack, (start, trial))
    finite = is_finite(value, slope)
    decrease = value <= start_value + DECREASE * step * start_slope
    # Near the minimum rounding hides the decrease, but not the slopes.
    hidden = value <= start_value + ROUNDING * tf.abs(start_value)
    decrease |= hidden & (slope <= (2.0 * DECREASE - 1.0) * start_slope)
    short = finite & decrease & (slope < CURVATURE * start_slope)
    long = ~finite | ~decrease | (is_strong & (slope > -CURVATURE * start_slope))
    return short, long


def _next_step(
    last: Trial, trial: Trial, low: Trial, high: Trial, is_strong: Scalar
) -> Scalar:
    """Returns the next step: between the bounds, or above `low`; `last` is the previous `low`."""
    bounded = tf.math.is_finite(high[0])
    cubic = minimum_of_cubic(tf.where(bounded, low, last), tf.where(bounded, high, trial))
    width = high[0] - low[0]
    lower = tf.where(bounded, low[0] + 0.1 * width, 2.0 * trial[0])
    upper = tf.where(bounded, low[0] + 0.9 * width, 10.0 * trial[0])
    # At a kink a cubic does not approximate the function.
    usable = tf.math.is_finite(cubic) & (is_strong | ~bounded)
    step = tf.where(bounded, low[0] + 0.3 * width, 4.0 * trial[0])
    return tf.clip_by_value(tf.where(usable, cubic, step), lower, upper)


def minimum_of_cubic(a: Trial, b: Trial) -> Scalar:
    """Returns the minimum of the cubic through two trials `(3,)`, where a is before b.

    This is equation 3.59 of Nocedal and Wright, 2006.
    """
    (a_step, a_value, a_slope), (b_step, b_value, b_slope) = map(tf.unstack, (a, b))
    d1 = a_slope + b_slope - 3.0 * (a_value - b_value) / (a_step - b_step)
    square = d1**2 - a_slope * b_slope
    d2 = tf.sqrt(tf.maximum(square, tf.zeros_like(square)))
    fraction = (b_slope + d2 - d1) / (b_slope - a_slope + 2.0 * d2)
    return b_step - (b_step - a_step) * fraction


def _trial_at_infinity(like: tf.Tensor) -> Trial:
    return tf.constant(3 * [float("inf")], like.dtype)
