"""A line search with one evaluation a trial: the unit step first, then cubic steps.

A step is good where the value has decreased (or, near a minimum, where rounding hides the
decrease and the slopes tell) and the slope has become flat; at a kink, where it is no longer as
steep downhill.

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

# Sufficient decrease and curvature. With 0.5 a search of plain L-BFGS takes 1.45 evaluations
# where 0.9, the usual value, takes 1.2, and it needs half the iterations.
DECREASE = 1e-4
CURVATURE = 0.5
# Changes of the objective below this fraction of it are taken for rounding.
ROUNDING = 1e-6
# Below so many times the precision two objectives are the same, whatever the gradient.
LOSS_ROUNDINGS = 64.0
# At a kink the slope jumps over all that is flat: after so many trials a step that is lower
# and no longer too short will do.
FLAT_TRIALS = 4
MAX_TRIALS = 40


class Place(NamedTuple):
    """A position with the objective's value and gradient there."""

    position: tf.Tensor
    value: tf.Tensor
    gradient: tf.Tensor


class Search(NamedTuple):
    """A line search on its way.

    A point of it is a vector of step length, value and slope: XLA compiles a kernel for each
    tensor that is made, of whatever size.

    Args:
        place: The latest trial.
        length: Its step length; the next one while the search goes on.
        low: The longest step that is known to be too short, `(3,)`.
        high: The shortest step that is known to be too long, `(3,)`.
        num_trials: Number of evaluations.
        is_good: Whether the latest trial is good.
    """

    place: Place
    length: tf.Tensor
    low: tf.Tensor
    high: tf.Tensor
    num_trials: tf.Tensor
    is_good: tf.Tensor


def search(
    function: Callable, start: Place, direction: Vector, slope: Scalar, length: Scalar
) -> Search:
    """Returns the search along a direction, which has found a good step or has none left.

    Args:
        function: Returns value and gradient at a position.
        start: Where the search begins.
        direction: A direction of descent, `(n,)`.
        slope: Slope of the objective along it at the start, negative.
        length: First step to try.
    """
    at_start = tf.stack([tf.zeros_like(slope), start.value, slope])

    def goes_on(now: Search) -> tf.Tensor:
        between = (now.low[0] < now.length) & (now.length < now.high[0])
        return ~now.is_good & between & (now.num_trials < MAX_TRIALS)

    def try_one(now: Search) -> list[Search]:
        position = start.position + now.length * direction
        place = Place(position, *function(position))
        trial = tf.stack([now.length, place.value, dot(place.gradient, direction)])
        flat = now.num_trials < FLAT_TRIALS
        short, long = _judge(at_start, trial, flat)
        # A value that is not finite bounds the step but says nothing about where to go.
        finite = is_finite(trial[1], trial[2]) | [True, False, False]
        low = tf.where(long, now.low, trial)
        high = tf.where(long, tf.where(finite, trial, _at_infinity(slope)), now.high)
        accepted = ~(short | long)
        length = tf.where(accepted, now.length, _next_step(now.low, trial, low, high, flat))
        return [Search(place, length, low, high, now.num_trials + 1, accepted)]

    begun = Search(
        place=start,
        length=length,
        low=at_start,
        high=_at_infinity(slope),
        num_trials=tf.constant(0),
        is_good=tf.constant(False),
    )
    return tf.while_loop(goes_on, try_one, [begun])[0]


def dot(a: Vector, b: Vector) -> Scalar:
    """Returns the scalar product of two vectors."""
    return tf.tensordot(a, b, 1)


def is_finite(value: Scalar, slope: Scalar) -> Scalar:
    """Returns whether value and slope, to which all of the gradient adds, are numbers."""
    return tf.math.is_finite(value) & tf.math.is_finite(slope)


def _judge(start: Trial, trial: Trial, flat: Scalar) -> tuple[Scalar, Scalar]:
    """Returns whether the step is too short, and whether it is too long.

    Args:
        start: The beginning of the search, `(3,)`.
        trial: The step, `(3,)`.
        flat: Whether it must not be steep uphill either (strong Wolfe), or may (weak Wolfe).
    """
    (_, start_value, start_slope), (step, value, slope) = map(tf.unstack, (start, trial))
    finite = is_finite(value, slope)
    decrease = value <= start_value + DECREASE * step * start_slope
    # Near the minimum rounding hides the decrease; the slopes still tell.
    hidden = value <= start_value + ROUNDING * tf.abs(start_value)
    decrease |= hidden & (slope <= (2.0 * DECREASE - 1.0) * start_slope)
    short = finite & decrease & (slope < CURVATURE * start_slope)
    long = ~finite | ~decrease | (flat & (slope > -CURVATURE * start_slope))
    return short, long


def _next_step(last: Trial, trial: Trial, low: Trial, high: Trial, flat: Scalar) -> Scalar:
    """Returns the step to try between the bounds, or beyond the lower one."""
    bounded = tf.math.is_finite(high[0])
    cubic = minimum_of_cubic(tf.where(bounded, low, last), tf.where(bounded, high, trial))
    width = high[0] - low[0]
    least = tf.where(bounded, low[0] + 0.1 * width, 2.0 * trial[0])
    most = tf.where(bounded, low[0] + 0.9 * width, 10.0 * trial[0])
    # A cubic knows no kinks.
    usable = tf.math.is_finite(cubic) & (flat | ~bounded)
    step = tf.where(bounded, low[0] + 0.3 * width, 4.0 * trial[0])
    return tf.clip_by_value(tf.where(usable, cubic, step), least, most)


def minimum_of_cubic(a: Trial, b: Trial) -> Scalar:
    """Returns where the cubic through two points `(3,)` has its minimum.

    Nocedal and Wright, 2006, equation 3.59, with a before b.
    """
    (a_step, a_value, a_slope), (b_step, b_value, b_slope) = map(tf.unstack, (a, b))
    d1 = a_slope + b_slope - 3.0 * (a_value - b_value) / (a_step - b_step)
    square = d1**2 - a_slope * b_slope
    d2 = tf.sqrt(tf.maximum(square, tf.zeros_like(square)))
    fraction = (b_slope + d2 - d1) / (b_slope - a_slope + 2.0 * d2)
    return b_step - (b_step - a_step) * fraction


def _at_infinity(like: tf.Tensor) -> Trial:
    return tf.constant(3 * [float("inf")], like.dtype)
