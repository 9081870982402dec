"""Self-scaled quasi-Newton steps as one loop with one evaluation in it, for XLA.

A program that evaluates the objective at one place is compiled once at that place. The search
direction comes from an inverse Hessian: a memory of pairs, or a dense matrix.

The old matrix is scaled before each update by what b = s.B s / (y.s) says. With s = a d and
B d = -g the number b costs nothing: s.B s = -a^2 (d.g).

References:
    Al-Baali, 1998, "Numerical experience with a class of self-scaling quasi-Newton
    algorithms", Journal of Optimization Theory and Applications 96; Urban, Stefanou and Pons,
    2025, "Unveiling the optimization process of physics informed neural networks", Journal of
    Computational Physics 523 (with the dense matrix).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from keras_smooth.lbfgs.minimizers.line_search import (
    Place,
    Search,
    dot,
    is_finite,
    search,
)

# The cosine between a direction and steepest descent below which the direction is rounding: the
# square root of the precision, as of a matrix with a condition of its inverse.
LEAST_COSINE = {"float64": 2.0**-26, "float32": 2.0**-11}


class InverseHessian(Protocol):
    """The three functions of an inverse Hessian; its memory is a nest of tensors."""

    def store(
        self,
        memory: Any,
        step: tf.Tensor,
        change: tf.Tensor,
        gradient: tf.Tensor,
        ratio: tf.Tensor,
    ) -> Any:
        """Returns the memory with a pair more, and the gradient as the latest one.

        Args:
            memory: The memory before, whose latest gradient is `gradient - change`.
            step: Change of the position, `(n,)`.
            change: Change of the gradient, `(n,)`.
            gradient: The latest gradient, `(n,)`.
            ratio: s.B s / (y.s) of the step s, the change y and the inverse B of the old
                matrix; 1 where it is not known.
        """

    def with_gradient(self, memory: Any, gradient: tf.Tensor) -> Any:
        """Returns the memory with another gradient as the latest one."""

    def times_gradient(self, memory: Any, gradient: tf.Tensor) -> tf.Tensor:
        """Returns the inverse Hessian times the latest gradient."""


class State(NamedTuple):
    """Where the minimizer is; the first seven names are TFP's.

    Args:
        memory: The inverse Hessian.
        direction: Of the next line search.
        slope: Of the objective along it.
        length: First step that it tries.
        is_newton: Whether the direction is minus the inverse Hessian times the gradient.
    """

    converged: tf.Tensor
    failed: tf.Tensor
    num_iterations: tf.Tensor
    num_objective_evaluations: tf.Tensor
    position: tf.Tensor
    objective_value: tf.Tensor
    objective_gradient: tf.Tensor
    memory: Any
    direction: tf.Tensor
    slope: tf.Tensor
    length: tf.Tensor
    is_newton: tf.Tensor


def begin(function: Callable, position: tf.Tensor, memory: Any) -> State:
    """Returns the state at a position with a memory that is empty, after one evaluation."""
    value, gradient = function(position)
    slope = -dot(gradient, gradient)
    return State(
        converged=tf.constant(False),
        failed=~is_finite(value, slope),
        num_iterations=tf.constant(0),
        num_objective_evaluations=tf.constant(1),
        position=position,
        objective_value=value,
        objective_gradient=gradient,
        memory=memory,
        direction=-gradient,
        slope=slope,
        # Without curvature there is no scale: the first step has length 1 at most.
        length=1.0 / tf.maximum(tf.norm(gradient), tf.ones_like(value)),
        is_newton=tf.constant(False),
    )


def move(inverse_hessian: InverseHessian, state: State, begun: State) -> State:
    """Returns the state on other data, with the memory of before if that is of use there.

    That is where minus the inverse Hessian times the gradient is a direction of descent, and
    more than rounding.

    Args:
        inverse_hessian: What the memory is.
        state: The state on the data of before.
        begun: That on the other data with empty memory.
    """
    gradient = begun.objective_gradient
    memory = inverse_hessian.with_gradient(state.memory, gradient)
    direction = -inverse_hessian.times_gradient(memory, gradient)
    slope = dot(direction, gradient)
    least = LEAST_COSINE[gradient.dtype.name] * tf.norm(direction) * tf.norm(gradient)
    if state.num_iterations == 0 or not slope < -least:
        return begun
    return begun._replace(
        num_iterations=state.num_iterations,
        num_objective_evaluations=state.num_objective_evaluations + 1,
        memory=memory,
        direction=direction,
        slope=slope,
        length=tf.ones_like(slope),
        is_newton=tf.constant(True),
    )


def advance(
    function: Callable,
    inverse_hessian: InverseHessian,
    state: State,
    num_iterations: tf.Tensor,
    tolerance: tf.Tensor,
) -> State:
    """Returns the state after at most so many iterations more."""
    limit = state.num_iterations + num_iterations

    def goes_on(state: State) -> tf.Tensor:
        return (state.num_iterations < limit) & ~state.converged & ~state.failed

    def iterate(state: State) -> list[State]:
        start = Place(state.position, state.objective_value, state.objective_gradient)
        found = search(function, start, state.direction, state.slope, state.length)
        return [_step(inverse_hessian, state, found, tolerance)]

    return tf.while_loop(goes_on, iterate, [state])[0]


def _step(
    inverse_hessian: InverseHessian, state: State, found: Search, tolerance: tf.Tensor
) -> State:
    """Returns the state after a line search: where it failed, with no step and no pair."""
    good = found.found
    start = Place(state.position, state.objective_value, state.objective_gradient)
    # Nothing here is conditional: XLA would copy the memory into every branch.
    position, value, gradient = (
        tf.where(good, new, old) for new, old in zip(found.place, start)
    )
    step, change = position - start.position, gradient - start.gradient
    ratio = -(found.length**2) * state.slope / dot(step, change)
    ratio = tf.where(state.is_newton, ratio, tf.ones_like(ratio))
    memory = inverse_hessian.store(state.memory, step, change, gradient, ratio)
    direction = -inverse_hessian.times_gradient(memory, gradient)
    # Rounding may spoil a direction; the steepest descent is always one.
    downhill = dot(direction, gradient) < 0.0
    direction = tf.where(downhill, direction, -gradient)
    return State(
        converged=is_below(tolerance, gradient),
        failed=~good,
        num_iterations=state.num_iterations + tf.cast(good, tf.int32),
        num_objective_evaluations=state.num_objective_evaluations + found.num_trials,
        position=position,
        objective_value=value,
        objective_gradient=gradient,
        memory=memory,
        direction=direction,
        slope=dot(direction, gradient),
        length=tf.ones_like(value),
        is_newton=downhill,
    )


def is_below(tolerance: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """Returns whether no entry is above the tolerance, or NaN."""
    # A product compiles in a fifth of the time that a maximum takes.
    above = tf.cast(~(tf.abs(gradient) <= tolerance), gradient.dtype)
    return dot(above, above) < 1.0
