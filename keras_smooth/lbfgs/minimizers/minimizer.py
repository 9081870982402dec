"""A minimizer, compiled once and advanced a number of iterations at a time."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth.lbfgs.minimizers.methods import MINIMIZERS
from keras_smooth.models.tracing import traced


class Minimizer:
    """A minimizer of `value_and_gradient(position, data)`.

    Start point, state, data and tolerance are arguments of the compiled function, so that it
    serves every seed.

    Args:
        value_and_gradient: Function of a vector `(n,)` and of data.
        method: A name of `MINIMIZERS`.
        num_correction_pairs: Memory of L-BFGS.
        jit_compile: Whether to compile with XLA.
    """

    def __init__(
        self,
        value_and_gradient: Callable,
        method: str,
        num_correction_pairs: int,
        jit_compile: bool = True,
    ):
        # As a function of its own it is traced once, not at each of the places where a line
        # search of TFP calls it.
        self._function = traced(value_and_gradient)
        self._method = MINIMIZERS[method]
        self._num_correction_pairs = num_correction_pairs
        self._compiled = traced(self._advance, jit_compile=jit_compile)

    def begin(self, position: tf.Tensor, data: tuple) -> Any:
        """Returns the state at a position, with empty memory."""
        # Eager: one evaluation, and no loop to compile.
        return self._begin(lambda point: self._function(point, data), position)

    def move(self, state: Any, position: tf.Tensor, data: tuple) -> Any:
        """Returns the state at a position with other data, and what fits them of the memory."""
        return self._method.move(state, self.begin(position, data))

    def advance(
        self, state: Any, num_iterations: int, tolerance: float, data: tuple
    ) -> Any:
        """Returns the state after at most so many iterations more."""
        dtype = state.position.dtype
        return self._compiled(
            state, tf.constant(num_iterations), tf.constant(tolerance, dtype), data
        )

    def sees_non_finite(self, position: tf.Tensor, data: tuple) -> bool:
        """Returns whether the first line search from a position meets inf or NaN."""
        seen = []

        def watched(point: tf.Tensor) -> Any:
            value, gradient = self._function(point, data)
            finite = tf.math.is_finite(value) & tf.reduce_all(tf.math.is_finite(gradient))
            seen.append(not bool(finite))
            return value, gradient

        self._method.advance(watched, self._begin(watched, position), 1, 0.0)
        return any(seen)

    def _begin(self, function: Callable, position: tf.Tensor) -> Any:
        return self._method.begin(function, position, self._num_correction_pairs)

    def _advance(
        self, state: Any, num_iterations: tf.Tensor, tolerance: tf.Tensor, data: tuple
    ) -> Any:
        return self._method.advance(
            lambda point: self._function(point, data), state, num_iterations, tolerance
        )
