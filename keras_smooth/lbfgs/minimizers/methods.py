"""The table of minimizers: a new one is a file and a row here.

A minimizer is a module, or an object, with four constants and these functions,

    TITLE, its name in figures
    TAKES_PAIRS, whether `num_correction_pairs` has a meaning
    NEEDS_RESIDUALS, whether `function` is a `LeastSquares` and not one function
    PACKAGES, on whose versions its numbers depend beside TensorFlow's
    default_num_pairs(num_rows, num_weights, itemsize) -> int, if it takes pairs
    begin(function, position, num_correction_pairs) -> state
    advance(function, state, num_iterations, tolerance) -> state
    move(state, begun) -> state on other data, with what may be kept of the memory; `begun` is
        the state there with empty memory

where `function` of a vector `(n,)` returns value and gradient, and a state is a nest of tensors
with TFP's names: `converged`, `failed`, `num_iterations`, `num_objective_evaluations`,
`position`, `objective_value`, `objective_gradient`.
"""

from typing import Any

import numpy as np

from keras_smooth.checks import choice
from keras_smooth.lbfgs.minimizers import (
    gauss_newton,
    limited_memory,
    tfp,
    tfp_bfgs,
    tfp_lbfgs,
    updates,
)
from keras_smooth.lbfgs.minimizers.dense_memory import DenseMemory

MINIMIZERS: dict[str, Any] = {
    "lbfgs": limited_memory,
    "broyden": DenseMemory("Broyden", updates.broyden),
    "bfgs": DenseMemory("BFGS", updates.bfgs),
    "gauss_newton": gauss_newton,
    "tfp_lbfgs": tfp_lbfgs,
    "tfp_bfgs": tfp_bfgs,
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


def needs_residuals(method: str) -> bool:
    """Returns whether a method minimizes a sum of squares, and not any function."""
    return MINIMIZERS[method].NEEDS_RESIDUALS


def num_pairs_of(
    method: str, given: int | None, num_rows: int, num_weights: int, dtype: str
) -> int:
    """Returns the memory of a method: the given one, or one for data and weights of a size.

    A method without pairs has the same memory whatever is given.
    """
    minimizer = MINIMIZERS[method]
    if not minimizer.TAKES_PAIRS:
        return 1
    if given is not None:
        return given
    return minimizer.default_num_pairs(num_rows, num_weights, np.dtype(dtype).itemsize)
