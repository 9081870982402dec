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

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from keras_smooth.lbfgs.minimizers import dense_inverse_hessian, inverse_hessian
from keras_smooth.lbfgs.minimizers.dense_inverse_hessian import DenseInverseHessian
from keras_smooth.lbfgs.minimizers.line_search import Place, dot, is_finite, search
from keras_smooth.lbfgs.minimizers.shapes import Scalar

# The cosine between a direction and steepest descent below which the direction is rounding: the
# square root of the precision, as of a matrix with a condition of its inverse.
LEAST_COSINE = {"float64": 2.0**-26, "float32": 2.0**-11}


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


@dataclasses.dataclass(frozen=True)
class QuasiNewton:
    """A self-scaled method, as a row of methods.py.

    Its inverse Hessian is an object or module with the functions

        store(memory, step, change, gradient, ratio) -> the memory with a pair more, whose latest
            gradient is this one; `ratio` is s.B s / (y.s) with the inverse B of the matrix before,
            1 where it is not known
        with_gradient(memory, gradient) -> the memory with another gradient as the latest one
        times_gradient(memory, gradient) -> the matrix times the latest gradient

    Of as many pairs as weights, or more, the matrix itself is smaller and forgets nothing: it is
    the memory then.

    Args:
        TITLE: Its name in figures.
        update: Which member of Broyden's class a matrix is; see updates.py.
        default_num_pairs: How many pairs are its memory; None for a matrix.
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
        has_pairs = self.default_num_pairs and num_pairs < position.shape[0]
        if has_pairs:
            memory: Any = inverse_hessian.empty(num_pairs, position)
        else:
            memory = dense_inverse_hessian.empty(position)
        first = beginning(function, position)
        gradient = first["objective_gradient"]
        return State(
            **first,
            memory=memory,
            direction=-gradient,
            slope=-dot(gradient, gradient),
            # Without curvature there is no scale: the first step has length 1 at most.
            length=1.0 / tf.maximum(tf.norm(gradient), tf.ones([], gradient.dtype)),
            is_newton=tf.constant(False),
        )

    def move(self, state: State, begun: State) -> State:
        """Returns the state on other data, with the matrix of before if that is of use there.

        That is where minus the inverse Hessian times the gradient is a direction of descent, and
        more than rounding. Pairs do not stay: benchmarks/resample.md has what kept pairs do.

        Args:
            state: The state on the data of before.
            begun: That on the other data with empty memory.
        """
        matrix = self._inverse_hessian(state)
        if matrix is inverse_hessian:
            return begun
        gradient = begun.objective_gradient
        memory = matrix.with_gradient(state.memory, gradient)
        direction = -matrix.times_gradient(memory, gradient)
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
        self, function: Callable, state: State, num_iterations: Scalar, tolerance: Scalar
    ) -> State:
        """Returns the state after at most so many iterations more."""
        kind = self._inverse_hessian(state)
        return iterated(
            lambda state: _iterate(kind, function, state, tolerance), state, num_iterations
        )

    def _inverse_hessian(self, state: State) -> Any:
        has_pairs = isinstance(state.memory, inverse_hessian.Memory)
        return inverse_hessian if has_pairs else DenseInverseHessian(self.update)


def beginning(function: Callable, position: tf.Tensor) -> dict[str, Any]:
    """Returns the first seven entries of the state at a position, after one evaluation."""
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


def chosen(condition: tf.Tensor, yes: Any, no: Any) -> Any:
    """Returns one of two nests of tensors; nothing is conditional, which XLA would copy."""
    return tf.nest.map_structure(lambda a, b: tf.where(condition, a, b), yes, no)


def iterated(iterate: Callable, state: Any, num_iterations: tf.Tensor) -> Any:
    """Returns the state after at most so many iterations more, fewer if it ends before."""
    limit = state.num_iterations + num_iterations

    def goes_on(state: Any) -> tf.Tensor:
        return (state.num_iterations < limit) & ~state.converged & ~state.failed

    return tf.while_loop(goes_on, lambda state: [iterate(state)], [state])[0]


def _iterate(kind: Any, function: Callable, state: State, tolerance: tf.Tensor) -> State:
    """Returns the state after a line search: where it failed, with no step and no pair."""
    start = Place(state.position, state.objective_value, state.objective_gradient)
    searched = search(function, start, state.direction, state.slope, state.length)
    good = searched.is_good
    position, value, gradient = chosen(good, searched.place, start)
    step, change = position - start.position, gradient - start.gradient
    ratio = -(searched.length**2) * state.slope / dot(step, change)
    ratio = tf.where(state.is_newton, ratio, tf.ones_like(ratio))
    memory = kind.store(state.memory, step, change, gradient, ratio)
    direction = -kind.times_gradient(memory, gradient)
    # Rounding may spoil a direction; the steepest descent is always one.
    downhill = dot(direction, gradient) < 0.0
    direction = tf.where(downhill, direction, -gradient)
    return State(
        converged=is_below(tolerance, gradient),
        failed=~good,
        num_iterations=state.num_iterations + tf.cast(good, tf.int32),
        num_objective_evaluations=state.num_objective_evaluations + searched.num_trials,
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
