"""The BFGS of TensorFlow Probability: a dense inverse Hessian, n^2 numbers."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth.lbfgs.minimizers import tfp
from keras_smooth.lbfgs.minimizers.tfp_lbfgs import ONLY_THE_GRADIENT, completed, move

__all__ = ["advance", "begin", "move"]
TITLE = "BFGS of TFP"
TAKES_PAIRS = False
NEEDS_RESIDUALS = False
PACKAGES = ("tensorflow-probability",)


def begin(function: Callable, position: tf.Tensor, num_correction_pairs: int) -> Any:
    """Returns the state at a position; the number of pairs has no meaning here."""
    del num_correction_pairs
    state = tfp.optimizer().bfgs_minimize(function, position, max_iterations=0)
    return state._replace(scale_initial_inverse_hessian=tf.constant(True))


def advance(
    function: Callable, state: Any, num_iterations: tf.Tensor, tolerance: tf.Tensor
) -> Any:
    """Returns the state after at most so many iterations more.

    bfgs_minimize cannot resume: it starts anew from the position and the inverse Hessian,
    which costs one evaluation.
    """
    result = tfp.optimizer().bfgs_minimize(
        function,
        state.position,
        initial_inverse_hessian_estimate=state.inverse_hessian_estimate,
        scale_initial_inverse_hessian=tf.equal(state.num_iterations, 0),
        validate_args=False,
        max_iterations=num_iterations,
        tolerance=tolerance,
        **ONLY_THE_GRADIENT,
    )
    return result._replace(
        num_iterations=state.num_iterations + completed(result),
        num_objective_evaluations=(
            state.num_objective_evaluations + result.num_objective_evaluations
        ),
    )
