"""L-BFGS and BFGS, compiled once and advanced a number of iterations at a time."""

import functools
from collections.abc import Callable

import tensorflow as tf

from keras_smooth.lbfgs.minimizers import limited_memory

# No change of the objective is not convergence: these tests are switched off.
_OFF = {"x_tolerance": -1.0, "f_relative_tolerance": -1.0, "f_absolute_tolerance": -1.0}


class Minimizer:
    """A minimizer of `value_and_gradient(position, data)`.

    Start point, state, data and tolerance are arguments of the compiled function, so that it
    serves every seed. The state has TFP's names: `converged`, `failed`, `num_iterations`,
    `num_objective_evaluations`, `position`, `objective_value`, `objective_gradient`.

    Args:
        value_and_gradient: Function of a vector `(n,)` and of data.
        method: `"lbfgs"`, `"tfp_lbfgs"` or `"bfgs"`.
        num_correction_pairs: Memory of L-BFGS.
        jit_compile: Whether to compile with XLA.
    """

    def __init__(
        self,
        value_and_gradient: Callable,
        method: str = "lbfgs",
        num_correction_pairs: int = 50,
        jit_compile: bool = True,
    ):
        # As a function of its own it is traced once, not at each of the places where a line
        # search of TFP calls it.
        self._function = tf.function(value_and_gradient, autograph=False)
        begin, self._advance = _METHODS[method]
        self._begin = functools.partial(begin, num_correction_pairs=num_correction_pairs)
        # A function of its own for each model: of one that all share, TensorFlow would say that
        # it is traced too often.
        self._compiled = tf.function(
            lambda *arguments: self._advance_with(*arguments),
            jit_compile=jit_compile,
            autograph=False,
        )

    def begin(self, position: tf.Tensor, data: tuple):
        """Returns the state at a position, with empty memory."""
        # Eager: one evaluation, and no loop to compile.
        return self._begin(lambda point: self._function(point, data), position)

    def advance(self, state, num_iterations: int, tolerance: float, data: tuple):
        """Returns the state after at most so many iterations more."""
        dtype = state.position.dtype
        return self._compiled(
            state, tf.constant(num_iterations), tf.constant(tolerance, dtype), data
        )

    def sees_non_finite(self, position: tf.Tensor, data: tuple) -> bool:
        """Returns whether the first line search from a position meets inf or NaN."""
        seen = []

        def watched(point):
            value, gradient = self._function(point, data)
            finite = tf.math.is_finite(value) & tf.reduce_all(tf.math.is_finite(gradient))
            seen.append(not bool(finite))
            return value, gradient

        self._advance(watched, self._begin(watched, position), 1, 0.0)
        return any(seen)

    def _advance_with(self, state, num_iterations, tolerance, data):
        return self._advance(
            lambda point: self._function(point, data), state, num_iterations, tolerance
        )


def _tfp_lbfgs_begin(function, position, num_correction_pairs):
    import tensorflow_probability as tfp

    return tfp.optimizer.lbfgs_minimize(
        function, position, num_correction_pairs=num_correction_pairs, max_iterations=0
    )


def _tfp_lbfgs_advance(function, state, num_iterations, tolerance):
    import tensorflow_probability as tfp

    result = tfp.optimizer.lbfgs_minimize(
        function,
        None,
        previous_optimizer_results=state,
        max_iterations=state.num_iterations + num_iterations,
        tolerance=tolerance,
        **_OFF,
    )
    return result._replace(num_iterations=_completed(result))


def _completed(result) -> tf.Tensor:
    # TFP counts the iteration whose line search died.
    return result.num_iterations - tf.cast(result.failed, result.num_iterations.dtype)


def _tfp_bfgs_begin(function, position, num_correction_pairs):
    import tensorflow_probability as tfp

    del num_correction_pairs
    state = tfp.optimizer.bfgs_minimize(function, position, max_iterations=0)
    return state._replace(scale_initial_inverse_hessian=tf.constant(True))


def _tfp_bfgs_advance(function, state, num_iterations, tolerance):
    import tensorflow_probability as tfp

    # bfgs_minimize cannot resume: it starts anew from the position and the inverse
    # Hessian, which costs one evaluation.
    result = tfp.optimizer.bfgs_minimize(
        function,
        state.position,
        initial_inverse_hessian_estimate=state.inverse_hessian_estimate,
        scale_initial_inverse_hessian=tf.equal(state.num_iterations, 0),
        validate_args=False,
        max_iterations=num_iterations,
        tolerance=tolerance,
        **_OFF,
    )
    return result._replace(
        num_iterations=state.num_iterations + _completed(result),
        num_objective_evaluations=(
            state.num_objective_evaluations + result.num_objective_evaluations
        ),
    )


_METHODS = {
    "lbfgs": (limited_memory.begin, limited_memory.advance),
    "tfp_lbfgs": (_tfp_lbfgs_begin, _tfp_lbfgs_advance),
    "bfgs": (_tfp_bfgs_begin, _tfp_bfgs_advance),
}
METHODS = tuple(_METHODS)
