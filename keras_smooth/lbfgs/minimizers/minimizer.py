"""A minimizer, compiled once and advanced a number of iterations at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.minimizers.gauss_newton import LeastSquares
from keras_smooth.lbfgs.minimizers.methods import MINIMIZERS
from keras_smooth.models.tracing import traced


class Minimizer:
    """A minimizer of a function of a position and data.

    Start point, state, data and tolerance are arguments of the compiled function, so that it
    serves every seed.

    Args:
        function: Returns value and gradient from a vector `(n,)` and data; or a `LeastSquares` of
            functions of both, for a method that needs residuals.
        method: A name of `MINIMIZERS`.
        num_correction_pairs: Memory of L-BFGS.
        jit_compile: Whether to compile with XLA.
    """

    def __init__(
        self,
        function: Callable | LeastSquares,
        method: str,
        num_correction_pairs: int,
        jit_compile: bool = True,
    ):
        # As a function of its own it is traced once, not at each of the places where a line
        # search of TFP calls it.
        self._function = tf.nest.map_structure(traced, function)
        self._method = MINIMIZERS[method]
        self._num_correction_pairs = num_correction_pairs
        self._compiled = traced(self._advance, jit_compile=jit_compile)

    def begin(self, position: tf.Tensor, data: tuple) -> Any:
        """Returns the state at a position, with empty memory."""
        # Eager: one evaluation, and no loop to compile.
        return self._begin(self._bound(data), position)

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

        def watch(function: Callable) -> Callable:
            def watched(point: tf.Tensor) -> Any:
                values = function(point)
                seen.extend(np.all(np.isfinite(value)) for value in tf.nest.flatten(values))
                return values

            return watched

        watched = tf.nest.map_structure(watch, self._bound(data))
        self._method.advance(watched, self._begin(watched, position), 1, 0.0)
        return not all(seen)

    def _begin(self, function: Callable, position: tf.Tensor) -> Any:
        return self._method.begin(function, position, self._num_correction_pairs)

    def _advance(
        self, state: Any, num_iterations: tf.Tensor, tolerance: tf.Tensor, data: tuple
    ) -> Any:
        return self._method.advance(self._bound(data), state, num_iterations, tolerance)

    def _bound(self, data: tuple) -> Any:
        """Returns the function, or each one, as a function of the position alone."""

        def bound(function: Callable) -> Callable:
            return lambda point: function(point, data)

        return tf.nest.map_structure(bound, self._function)
