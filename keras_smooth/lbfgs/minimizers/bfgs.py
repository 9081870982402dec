"""Self-scaled BFGS: a dense inverse Hessian, which forgets nothing."""

from collections.abc import Callable

import tensorflow as tf

from keras_smooth.lbfgs.minimizers import dense_inverse_hessian, quasi_newton
from keras_smooth.lbfgs.minimizers.quasi_newton import State

TAKES_PAIRS = False
PACKAGES = ()


def check_installed() -> None:
    """Raises nothing: TensorFlow is all that it needs."""


def begin(function: Callable, position: tf.Tensor, num_correction_pairs: int) -> State:
    """Returns the state at a position; the number of pairs has no meaning here.

    Raises:
        ValueError: If the matrix would not fit into 2 GiB.
    """
    del num_correction_pairs
    memory = dense_inverse_hessian.empty(position)
    return quasi_newton.begin(function, position, memory)


def advance(function: Callable, state: State, num_iterations, tolerance) -> State:
    """Returns the state after at most so many iterations more."""
    return quasi_newton.advance(
        function, dense_inverse_hessian, state, num_iterations, tolerance
    )
