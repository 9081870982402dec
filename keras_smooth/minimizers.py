"""TFP's L-BFGS and BFGS, compiled once and advanced a number of iterations at a time."""

import functools
from collections.abc import Callable

import tensorflow as tf

# No change of the objective is not convergence: these tests are switched off.
_OFF = {"x_tolerance": -1.0, "f_relative_tolerance": -1.0, "f_absolute_tolerance": -1.0}


class Minimizer:
    """A minimizer of `value_and_gradient(position, data)`.

    The state between two calls is TFP's result tuple; start point, data and tolerance
    are arguments of the compiled function, so that it serves every seed.

    Args:
        value_and_gradient: Function of a vector `(n,)` and of data.
        method: `"lbfgs"` or `"bfgs"`.
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
        # As a function of its own it is traced once, not at each of the places where the
        # line search calls it.
        self._function = tf.function(value_and_gradient, autograph=False)
        begin, advance = _METHODS[method]
        self._begin = functools.partial(begin, num_correction_pairs=num_correction_pairs)
        self._advance = tf.function(
            functools.partial(_advance_with, advance, self._function),
            jit_compile=jit_compile,
            autograph=False,
        )

    def begin(self, position: tf.Tensor, data: tuple):
        """Returns the state at a position, with empty memory."""
        # Eager and without an iteration: one evaluation, nothing compiled.
        return self._begin(
            lambda point: self._function(point, data), position, max_iterations=0, **_OFF
        )

    def advance(self, state, num_iterations: int, tolerance: float, data: tuple):
        """Returns the state after at most so many iterations more."""
        dtype = state.position.dtype
        return self._advance(
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

        self._begin(watched, position, max_iterations=1, **_OFF)
        return any(seen)


def _advance_with(advance, value_and_gradient, state, num_iterations, tolerance, data):
    return advance(
        lambda point: value_and_gradient(point, data),
        state,
        num_iterations,
        tolerance=tolerance,
        **_OFF,
    )


def _lbfgs_begin(function, position, num_correction_pairs, **options):
    import tensorflow_probability as tfp

    return tfp.optimizer.lbfgs_minimize(
        function, position, num_correction_pairs=num_correction_pairs, **options
    )


def _lbfgs_advance(function, state, num_iterations, **options):
    import tensorflow_probability as tfp

    return tfp.optimizer.lbfgs_minimize(
        function,
        None,
        previous_optimizer_results=state,
        max_iterations=state.num_iterations + num_iterations,
        **options,
    )


def _bfgs_begin(function, position, num_correction_pairs, **options):
    import tensorflow_probability as tfp

    del num_correction_pairs
    state = tfp.optimizer.bfgs_minimize(function, position, **options)
    return state._replace(scale_initial_inverse_hessian=tf.constant(True))


def _bfgs_advance(function, state, num_iterations, **options):
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
        **options,
    )
    return result._replace(
        num_iterations=state.num_iterations + result.num_iterations,
        num_objective_evaluations=(
            state.num_objective_evaluations + result.num_objective_evaluations
        ),
    )


_METHODS = {
    "lbfgs": (_lbfgs_begin, _lbfgs_advance),
    "bfgs": (_bfgs_begin, _bfgs_advance),
}
METHODS = tuple(_METHODS)
