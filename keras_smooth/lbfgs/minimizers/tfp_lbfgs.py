"""The L-BFGS of TensorFlow Probability, whose line search brackets every step."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth.lbfgs.minimizers import tfp

# No change of the objective is not convergence: these tests are switched off.
ONLY_THE_GRADIENT = {
    "x_tolerance": -1.0, "f_relative_tolerance": -1.0, "f_absolute_tolerance": -1.0,
}  # fmt: skip
TITLE = "L-BFGS of TFP"
TAKES_PAIRS = True
NEEDS_RESIDUALS = False
PACKAGES = ("tensorflow-probability",)


def default_num_pairs(num_rows: int, num_weights: int, itemsize: int) -> int:
    """Returns 50: its two loops over the pairs are not parallel."""
    del num_rows, num_weights, itemsize
    return 50


def begin(function: Callable, position: tf.Tensor, num_correction_pairs: int) -> Any:
    """Returns the state at a position with empty memory."""
    return tfp.optimizer().lbfgs_minimize(
        function, position, num_correction_pairs=num_correction_pairs, max_iterations=0
    )


def advance(
    function: Callable, state: Any, num_iterations: tf.Tensor, tolerance: tf.Tensor
) -> Any:
    """Returns the state after at most so many iterations more."""
    result = tfp.optimizer().lbfgs_minimize(
        function,
        None,
        previous_optimizer_results=state,
        max_iterations=state.num_iterations + num_iterations,
        tolerance=tolerance,
        **ONLY_THE_GRADIENT,
    )
    return result._replace(num_iterations=completed(result))


def move(state: Any, begun: Any) -> Any:
    """Returns the state on other data, with empty memory."""
    del state
    return begun


def completed(result: Any) -> tf.Tensor:
    """Returns the number of iterations; TFP counts the one whose line search died."""
    return result.num_iterations - tf.cast(result.failed, result.num_iterations.dtype)
