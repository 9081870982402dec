"""Minimizers, compiled once and advanced a number of iterations at a time, and their table.

A new one is a file and a row here.

A minimizer is a module, or an object, with three constants and these functions,

    TITLE, its name in figures
    NEEDS_RESIDUALS, whether `function` is a `LeastSquares` and not one function
    PACKAGES, on whose versions its numbers depend beside TensorFlow's
    default_num_pairs(num_rows, num_weights, itemsize) -> int, or None where pairs have no meaning
    begin(function, position, num_pairs) -> state
    advance(function, state, num_iterations, tolerance) -> state
    move(state, begun) -> state on other data, with what may be kept of the memory; `begun` is
        the state there with empty memory

where `function` of a vector `(n,)` returns value and gradient, and a state is a nest of tensors
with TFP's names: `converged`, `failed`, `num_iterations`, `num_objective_evaluations`,
`position`, `objective_value`, `objective_gradient`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth.checks import choice
from keras_smooth.lbfgs.minimizers import dense_inverse_hessian, gauss_newton, tfp, updates
from keras_smooth.lbfgs.minimizers.quasi_newton import QuasiNewton
from keras_smooth.models.tracing import traced

# A pair costs about as much as three rows of data. Self-scaled, the memory gains until some
# hundred pairs: benchmarks/lbfgs.md.
ROWS_FOR_A_PAIR = 3
FEWEST_PAIRS, MOST_PAIRS = 50, 300
# More memory needs fewer iterations at any cost of an evaluation: where it is small, it is used.
SMALL_BYTES, MOST_BYTES = 2**23, 2**28
# What an iteration does with a matrix costs as the square of the weights, an evaluation as weights
# times rows: with four weights a row, of a plain network, six times as much. It gains more than
# that on the article's net, and was not measured for larger matrices: benchmarks/lbfgs.md.
MOST_WEIGHTS_A_ROW = 4
MOST_BYTES_OF_A_MATRIX = 2**26


def _num_pairs(num_rows: int, num_weights: int, itemsize: int) -> int:
    """Returns how many pairs gain more than they cost beside an evaluation."""
    matrix = dense_inverse_hessian.num_bytes(num_weights, itemsize)
    is_worth_it = num_weights <= MOST_WEIGHTS_A_ROW * num_rows
    # In float32 rounding adds up in a matrix, and line searches die of it.
    if itemsize == 8 and matrix <= (MOST_BYTES_OF_A_MATRIX if is_worth_it else SMALL_BYTES):
        return num_weights
    bytes_of_a_pair = 2 * num_weights * itemsize
    worth_it = min(max(num_rows // ROWS_FOR_A_PAIR, FEWEST_PAIRS), MOST_PAIRS)
    wanted = max(worth_it, SMALL_BYTES // bytes_of_a_pair)
    return max(min(wanted, num_weights - 1, MOST_BYTES // bytes_of_a_pair), 3)


MINIMIZERS: dict[str, Any] = {
    "lbfgs": QuasiNewton("L-BFGS", updates.broyden, _num_pairs),
    "broyden": QuasiNewton("Broyden", updates.broyden),
    "bfgs": QuasiNewton("BFGS", updates.bfgs),
    "gauss_newton": gauss_newton,
    "tfp_lbfgs": tfp.Lbfgs(),
    "tfp_bfgs": tfp.Bfgs(),
}


def check_method(name: str) -> None:
    """Raises where there is no minimizer of a name, or it cannot run here.

    Raises:
        ValueError: With the names that there are.
        TypeError: If it is no name.
        ImportError: With the command that installs what it needs.
    """
    if MINIMIZERS[choice("`method`", name, MINIMIZERS)].PACKAGES:
        tfp.optimizer()


def num_pairs_of(
    method: str, given: int | None, num_rows: int, num_weights: int, dtype: str
) -> int:
    """Returns the memory of a method: the given one, or one for data and weights of a size.

    A method without pairs has the same memory whatever is given.
    """
    default = MINIMIZERS[method].default_num_pairs
    if default is None:
        return 1
    return given or default(num_rows, num_weights, np.dtype(dtype).itemsize)


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
        function: Any,
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

    def advance(self, state: Any, num_iterations: int, tolerance: float, data: Any) -> Any:
        """Returns the state after at most so many iterations more."""
        limits = tf.constant(num_iterations), tf.constant(tolerance, state.position.dtype)
        return self._compiled(state, *limits, data)

    def sees_non_finite(self, position: tf.Tensor, data: tuple) -> bool:
        """Returns whether the first line search from a position meets inf or NaN."""
        seen = []

        def watch(function: Callable) -> Callable:
            def watched(*arguments: Any) -> Any:
                values = function(*arguments)
                tensors = filter(tf.is_tensor, tf.nest.flatten(values))
                # A sample of the data may have strings.
                floats = [tensor for tensor in tensors if tensor.dtype.is_floating]
                seen.extend(np.all(np.isfinite(tensor)) for tensor in floats)
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
        """Returns the function, or each one, without its last argument, the data."""

        def bound(function: Callable) -> Callable:
            return lambda *arguments: function(*arguments, data)

        return tf.nest.map_structure(bound, self._function)
