"""The table of minimizers, and `Minimizer`, which compiles one and advances it.

To add a minimizer, write its file and add its row to `MINIMIZERS`.

A minimizer is a module or an object with these constants and functions:

    TITLE, its name in figures
    NEEDS_RESIDUALS, whether `function` is a `LeastSquares` instead of one function
    PACKAGES, the packages besides TensorFlow on whose versions its results depend
    default_num_pairs(num_rows, num_weights, itemsize) -> int; None if it uses no pairs
    begin(function, position, num_pairs) -> state
    advance(function, state, num_iterations, tolerance) -> state
    move(state, restarted) -> state on other data, with as much of the memory as is useful there;
        `restarted` is the state on these data with an empty memory

Here `function` returns value and gradient at a vector `(n,)`, and a state is a nest of tensors
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

# A pair costs about as much as three rows of data. With self-scaled updates, more pairs help up to
# some hundred: benchmarks/lbfgs.md.
ROWS_FOR_A_PAIR = 3
MIN_PAIRS, MAX_PAIRS = 50, 300
# With more pairs a fit needs fewer iterations, whatever an evaluation costs. So at least
# `SMALL_BYTES` are used.
SMALL_BYTES, MAX_BYTES = 2**23, 2**28
# An iteration with a dense matrix costs as the square of the number of weights, an evaluation as
# weights times rows. With four weights for each row of a plain network, the matrix costs six times
# as much as the evaluation. On the default network of `compare`, it gains more than that. Larger
# matrices were not measured: benchmarks/lbfgs.md.
MAX_WEIGHTS_PER_ROW = 4
MAX_MATRIX_BYTES = 2**26


def _default_num_pairs(num_rows: int, num_weights: int, itemsize: int) -> int:
    """Returns the number of pairs that gain more than they cost, compared with an evaluation."""
    matrix = dense_inverse_hessian.num_bytes(num_weights, itemsize)
    is_worth_it = num_weights <= MAX_WEIGHTS_PER_ROW * num_rows
    # In float32, rounding accumulates in a matrix until line searches fail.
    if itemsize == 8 and matrix <= (MAX_MATRIX_BYTES if is_worth_it else SMALL_BYTES):
        return num_weights
    bytes_of_a_pair = 2 * num_weights * itemsize
    num_worth_it = min(max(num_rows // ROWS_FOR_A_PAIR, MIN_PAIRS), MAX_PAIRS)
    num_pairs = max(num_worth_it, SMALL_BYTES // bytes_of_a_pair)
    return max(min(num_pairs, num_weights - 1, MAX_BYTES // bytes_of_a_pair), 3)


MINIMIZERS: dict[str, Any] = {
    "lbfgs": QuasiNewton("L-BFGS", updates.broyden, _default_num_pairs),
    "broyden": QuasiNewton("Broyden", updates.broyden),
    "bfgs": QuasiNewton("BFGS", updates.bfgs),
    "gauss_newton": gauss_newton,
    "tfp_lbfgs": tfp.Lbfgs(),
    "tfp_bfgs": tfp.Bfgs(),
}


def check_method(name: str) -> None:
    """Raises an error if a name is not that of a minimizer that can run here.

    Raises:
        ValueError: If there is no such minimizer; the message lists the names.
        TypeError: If the name is not a string.
        ImportError: If a package is missing; the message has the command that installs it.
    """
    if MINIMIZERS[choice("`method`", name, MINIMIZERS)].PACKAGES:
        tfp.optimizer()


def num_pairs_of(
    method: str, given: int | None, num_rows: int, num_weights: int, dtype: str
) -> int:
    """Returns the number of pairs of a method: `given`, or the default for these sizes.

    For a method without pairs, it is always 1.
    """
    default = MINIMIZERS[method].default_num_pairs
    if default is None:
        return 1
    return given or default(num_rows, num_weights, np.dtype(dtype).itemsize)


class Minimizer:
    """A minimizer of a function of a position and data.

    State, data and tolerance are arguments of the compiled function, which is therefore compiled
    once for all start points.

    Args:
        function: Returns value and gradient from a vector `(n,)` and data. For a method that
            needs residuals, a `LeastSquares` whose functions have both arguments.
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
        # A `tf.function` is traced once, not at each place where a line search of TFP calls it.
        self._function = tf.nest.map_structure(traced, function)
        self._method = MINIMIZERS[method]
        self._num_correction_pairs = num_correction_pairs
        self._compiled = traced(self._advance, jit_compile=jit_compile)

    def begin(self, position: tf.Tensor, data: tuple) -> Any:
        """Returns the state at a position, with empty memory."""
        # This runs eagerly, since it is one evaluation without a loop.
        return self._begin(self._with_data(data), position)

    def move(self, state: Any, position: tf.Tensor, data: tuple) -> Any:
        """Returns the state at a position with other data, and the memory that is useful there."""
        return self._method.move(state, self.begin(position, data))

    def advance(self, state: Any, num_iterations: int, tolerance: float, data: Any) -> Any:
        """Returns the state after at most `num_iterations` more iterations."""
        limits = tf.constant(num_iterations), tf.constant(tolerance, state.position.dtype)
        return self._compiled(state, *limits, data)

    def sees_non_finite(self, position: tf.Tensor, data: tuple) -> bool:
        """Returns whether an evaluation in the first line search from a position is inf or NaN."""
        finite_flags = []

        def watch(function: Callable) -> Callable:
            def watched(*arguments: Any) -> Any:
                values = function(*arguments)
                tensors = filter(tf.is_tensor, tf.nest.flatten(values))
                # A sample of the data may contain strings.
                floats = [tensor for tensor in tensors if tensor.dtype.is_floating]
                finite_flags.extend(np.all(np.isfinite(tensor)) for tensor in floats)
                return values

            return watched

        watched = tf.nest.map_structure(watch, self._with_data(data))
        self._method.advance(watched, self._begin(watched, position), 1, 0.0)
        return not all(finite_flags)

    def _begin(self, function: Callable, position: tf.Tensor) -> Any:
        return self._method.begin(function, position, self._num_correction_pairs)

    def _advance(
        self, state: Any, num_iterations: tf.Tensor, tolerance: tf.Tensor, data: tuple
    ) -> Any:
        return self._method.advance(self._with_data(data), state, num_iterations, tolerance)

    def _with_data(self, data: tuple) -> Any:
        """Returns the function, or each of a `LeastSquares`, with `data` as its last argument."""

        def bound(function: Callable) -> Callable:
            return lambda *arguments: function(*arguments, data)

        return tf.nest.map_structure(bound, self._function)
