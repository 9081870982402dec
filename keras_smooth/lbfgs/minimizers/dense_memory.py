"""Self-scaled BFGS and Broyden: a dense inverse Hessian, which forgets nothing."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth.lbfgs.minimizers import dense_inverse_hessian, quasi_newton
from keras_smooth.lbfgs.minimizers.dense_inverse_hessian import DenseInverseHessian
from keras_smooth.lbfgs.minimizers.quasi_newton import State


@dataclasses.dataclass(frozen=True)
class DenseMemory:
    """A method with a dense inverse Hessian, as a row of methods.py.

    Args:
        TITLE: Its name in figures.
        update: Which member of Broyden's class; see updates.py.
    """

    TITLE: str
    update: Callable
    TAKES_PAIRS = False
    NEEDS_RESIDUALS = False
    PACKAGES = ()

    def begin(
        self, function: Callable, position: tf.Tensor, num_correction_pairs: int
    ) -> Any:
        """Returns the state at a position; the number of pairs has no meaning here.

        Raises:
            ValueError: If the matrix would not fit into 2 GiB.
        """
        del num_correction_pairs
        memory = dense_inverse_hessian.empty(position)
        return quasi_newton.begin(function, position, memory)

    def advance(
        self,
        function: Callable,
        state: State,
        num_iterations: tf.Tensor,
        tolerance: tf.Tensor,
    ) -> State:
        """Returns the state after at most so many iterations more."""
        return quasi_newton.advance(
            function, DenseInverseHessian(self.update), state, num_iterations, tolerance
        )

    def move(self, state: State, begun: State) -> State:
        """Returns the state on other data, with the matrix of before if it fits them."""
        return quasi_newton.move(DenseInverseHessian(self.update), state, begun)
