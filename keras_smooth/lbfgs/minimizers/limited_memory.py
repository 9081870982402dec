"""Self-scaled L-BFGS: a memory of the last pairs.

Of as many pairs as weights, or more, the matrix itself is smaller and forgets nothing: it is the
memory then, updated as by Broyden.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_smooth.lbfgs.minimizers import (
    dense_inverse_hessian,
    inverse_hessian,
    quasi_newton,
    updates,
)
from keras_smooth.lbfgs.minimizers.dense_memory import DenseMemory
from keras_smooth.lbfgs.minimizers.quasi_newton import State

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
TITLE = "L-BFGS"
TAKES_PAIRS = True
NEEDS_RESIDUALS = False
PACKAGES = ()
_DENSE = DenseMemory("Broyden", updates.broyden)


def default_num_pairs(num_rows: int, num_weights: int, itemsize: int) -> int:
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


def begin(function: Callable, position: tf.Tensor, num_correction_pairs: int) -> State:
    """Returns the state at a position with empty memory, after one evaluation."""
    if num_correction_pairs >= position.shape[0]:
        return _DENSE.begin(function, position, num_correction_pairs)
    memory = inverse_hessian.empty(num_correction_pairs, position)
    return quasi_newton.begin(function, position, memory)


def advance(
    function: Callable, state: State, num_iterations: tf.Tensor, tolerance: tf.Tensor
) -> State:
    """Returns the state after at most so many iterations more."""
    if isinstance(state.memory, dense_inverse_hessian.Memory):
        return _DENSE.advance(function, state, num_iterations, tolerance)
    return quasi_newton.advance(function, inverse_hessian, state, num_iterations, tolerance)


def move(state: State, begun: State) -> State:
    """Returns the state on other data: a matrix stays, pairs do not.

    benchmarks/resample.md has what kept pairs do.
    """
    if isinstance(state.memory, dense_inverse_hessian.Memory):
        return _DENSE.move(state, begun)
    return begun
