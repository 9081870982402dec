"""Self-scaled quasi-Newton methods, as one loop with one evaluation in it.

XLA compiles an objective once for each place in a program where it is evaluated, so that there is
one such place only. The search direction comes from an inverse Hessian: a memory of pairs, or a
dense matrix.

Before each update, the old matrix is scaled depending on b = s.B s / (y.s). This number needs no
product with B: with s = a d and B d = -g, s.B s = -a^2 (d.g).

References:
    Al-Baali, 1998, "Numerical experience with a class of self-scaling quasi-Newton
    algorithms", Journal of Optimization Theory and Applications 96; Urban, Stefanou and Pons,
    2025, "Unveiling the optimization process of physics informed neural networks", Journal of
    Computational Physics 523 (with the dense matrix).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from keras_smooth.lbfgs.minimizers import dense_inverse_hessian, inverse_hessian
from keras_smooth.lbfgs.minimizers.dense_inverse_hessian import DenseInverseHessian
from keras_smooth.lbfgs.minimizers.line_search import Evaluation, dot, is_finite, search
from keras_smooth.lbfgs.minimizers.shapes import Scalar

# If the cosine between a direction and steepest descent is smaller, the direction may be rounding
# error. A matrix with the condition number 1 / precision has cosines down to about this number.
MIN_COSINE = {"float64": 2.0**-26, "float32": 2.0**-11}


class State(NamedTuple):
    """The state of a quasi-Newton method; the first seven names are those of TFP.

    Args:
        memory: The inverse Hessian.
        direction: Direction of the next line search.
        slope: Slope of the objective along the direction.
        length: First step length that the line search tries.
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


@dataclasses.dataclass(frozen=True)
class QuasiNewton:
    """A self-scaled quasi-Newton method; a row of methods.py.

    Its inverse Hessian is a module or an object with these functions:

        store(memory, step, change, gradient, ratio) -> the memory with one more pair, and this
            gradient as the latest one; `ratio` is s.B s / (y.s) with the inverse B of the old
            matrix, or 1 if this number is unknown
        with_gradient(memory, gradient) -> the memory with another gradient as the latest one
        times_gradient(memory, gradient) -> the matrix times the latest gradient

    If there are as many pairs as weights, or more, the memory is a dense matrix, which is smaller
    than the pairs and loses none.

    Args:
        TITLE: Its name in figures.
        update: The update formula of a dense matrix, a function of updates.py.
        default_num_pairs: A function that returns the number of pairs; None for a dense matrix.
    """

    TITLE: str
    update: Callable
    default_num_pairs: Callable | None = None
    NEEDS_RESIDUALS = False
    PACKAGES = ()

    def begin(self, function: Callable, position: tf.Tensor, num_pairs: int) -> State:
        """Returns the state at a position with empty memory, after one evaluation.

        Raises:
            ValueError: If a matrix would not fit into 2 GiB.
        """
        if self.default_num_pairs and num_pairs < position.shape[0]:
            memory: Any = inverse_hessian.empty(num_pairs, position)
        else:
            memory = dense_inverse_hessian.empty(position)
        entries = initial_entries(function, position)
        gradient = entries["objective_gradient"]
        return State(
            **entries,
            memory=memory,
            direction=-gradient,
            slope=-dot(gradient, gradient),
            # Without a curvature the scale is unknown: the first step has length 1 at most.
            length=1.0 / tf.maximum(tf.norm(gradient), tf.ones([], gradient.dtype)),
            is_newton=tf.constant(False),
        )

    def move(self, state: State, restarted: State) -> State:
        """Returns the state on other data, with the dense matrix if it is useful there.

        The matrix is useful if minus the matrix times the gradient is a descent direction by more
        than rounding. Pairs are dropped; benchmarks/resample.md has the effect of keeping them.

        Args:
            state: The state on the previous data.
            restarted: The state on the new data with an empty memory.
        """
        matrix = self._inverse_hessian(state)
        if matrix is inverse_hessian:
            return restarted
        gradient = restarted.objective_gradient
        memory = matrix.with_gradient(state.memory, gradient)
        direction = -matrix.times_gradient(memory, gradient)
        slope = dot(direction, gradient)
        least = MIN_COSINE[gradient.dtype.name] * tf.norm(direction) * tf.norm(gradient)
        if state.num_iterations == 0 or not slope < -least:
            return restarted
        return restarted._replace(
            num_iterations=state.num_iterations,
            num_objective_evaluations=state.num_objective_evaluations + 1,
            memory=memory,
            direction=direction,
            slope=slope,
            length=tf.ones_like(slope),
            is_newton=tf.constant(True),
        )

    def advance(
        self, function: Callable, state: State, num_iterations: Scalar, tolerance: Scalar
    ) -> State:
        """Returns the state after at most `num_iterations` more iterations."""
        matrix = self._inverse_hessian(state)
        return iterate_at_most(
            lambda state: _iterate(matrix, function, state, tolerance),
            state,
            num_iterations,
        )

    def _inverse_hessian(self, state: State) -> Any:
        has_pairs = isinstance(state.memory, inverse_hessian.Memory)
        return inverse_hessian if has_pairs else DenseInverseHessian(self.update)


def initial_entries(function: Callable, position: tf.Tensor) -> dict[str, Any]:
    """Evaluates the function at a position, and returns the first seven entries of a state."""
    value, gradient = function(position)
    return {
        "converged": tf.constant(False),
        "failed": ~is_finite(value, dot(gradient, gradient)),
        "num_iterations": tf.constant(0),
        "num_objective_evaluations": tf.constant(1),
        "position": position,
        "objective_value": value,
        "objective_gradient": gradient,
    }


def select(condition: tf.Tensor, yes: Any, no: Any) -> Any:
    """Returns one of two nests of tensors, without a conditional, for which XLA copies tensors."""
    return tf.nest.map_structure(lambda a, b: tf.where(condition, a, b), yes, no)


def iterate_at_most(iterate: Callable, state: Any, num_iterations: tf.Tensor) -> Any:
    """Returns the state after `num_iterations` more iterations, or when it converges or fails."""
    limit = state.num_iterations + num_iterations

    def continues(state: Any) -> tf.Tensor:
        return (state.num_iterations < limit) & ~state.converged & ~state.failed

    return tf.while_loop(continues, lambda state: [iterate(state)], [state])[0]


def _iterate(matrix: Any, function: Callable, state: State, tolerance: tf.Tensor) -> State:
    """Returns the state after a line search; if it failed, with the old position and memory."""
    start = Evaluation(state.position, state.objective_value, state.objective_gradient)
    search_end = search(function, start, state.direction, state.slope, state.length)
    is_good = search_end.is_good
    position, value, gradient = select(is_good, search_end.latest, start)
    step, change = position - start.position, gradient - start.gradient
    ratio = -(search_end.length**2) * state.slope / dot(step, change)
    ratio = tf.where(state.is_newton, ratio, tf.ones_like(ratio))
    memory = matrix.store(state.memory, step, change, gradient, ratio)
    direction = -matrix.times_gradient(memory, gradient)
    # Rounding may spoil the direction. Steepest descent is always a descent direction.
    is_descent = dot(direction, gradient) < 0.0
    direction = tf.where(is_descent, direction, -gradient)
    return State(
        converged=gradient_is_below(tolerance, gradient),
        failed=~is_good,
        num_iterations=state.num_iterations + tf.cast(is_good, tf.int32),
        num_objective_evaluations=state.num_objective_evaluations + search_end.num_trials,
        position=position,
        objective_value=value,
        objective_gradient=gradient,
        memory=memory,
        direction=direction,
        slope=dot(direction, gradient),
        length=tf.ones_like(value),
        is_newton=is_descent,
    )


def gradient_is_below(tolerance: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """Returns whether no entry is NaN or larger in size than the tolerance."""
    # A scalar product compiles in a fifth of the time of a maximum.
    above = tf.cast(~(tf.abs(gradient) <= tolerance), gradient.dtype)
    return dot(above, above) < 1.0
