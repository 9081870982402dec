"""The minimizers of TensorFlow Probability, which is imported when they are used."""

import importlib.util
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_smooth.lbfgs.minimizers.shapes import Scalar

# The last version of TensorFlow Probability for an old TensorFlow; new ones use the newest.
_LAST_VERSIONS = {"2.16": "0.24", "2.17": "0.24"}
# Switches off the tests of changes: an objective that no longer changes has not converged.
_GRADIENT_TEST_ONLY = {
    "x_tolerance": -1.0, "f_relative_tolerance": -1.0, "f_absolute_tolerance": -1.0,
}  # fmt: skip


class Lbfgs:
    """L-BFGS of TFP, whose line search brackets every step; a row of methods.py."""

    TITLE = "L-BFGS of TFP"
    NEEDS_RESIDUALS = False
    PACKAGES = ("tensorflow-probability",)
    # The two-loop recursion is sequential, so that more pairs are slow.
    default_num_pairs: Callable | None = staticmethod(lambda *_: 50)

    def begin(self, function: Callable, position: tf.Tensor, num_pairs: int) -> Any:
        """Returns the state at a position with empty memory."""
        arguments = {"num_correction_pairs": num_pairs, "max_iterations": 0}
        return optimizer().lbfgs_minimize(function, position, **arguments)

    def advance(
        self, function: Callable, state: Any, num_iterations: Scalar, tolerance: Scalar
    ) -> Any:
        """Returns the state after at most `num_iterations` more iterations."""
        result = optimizer().lbfgs_minimize(
            function,
            None,
            previous_optimizer_results=state,
            max_iterations=state.num_iterations + num_iterations,
            tolerance=tolerance,
            **_GRADIENT_TEST_ONLY,
        )
        return result._replace(num_iterations=_num_completed(result))

    def move(self, state: Any, restarted: Any) -> Any:
        """Returns the state on other data, with empty memory."""
        del state
        return restarted


class Bfgs(Lbfgs):
    """BFGS of TFP, with a dense inverse Hessian of n^2 numbers."""

    TITLE = "BFGS of TFP"
    default_num_pairs = None

    def begin(self, function: Callable, position: tf.Tensor, num_pairs: int) -> Any:
        """Returns the state at a position; the number of pairs is not used."""
        del num_pairs
        state = optimizer().bfgs_minimize(function, position, max_iterations=0)
        return state._replace(scale_initial_inverse_hessian=tf.constant(True))

    def advance(
        self, function: Callable, state: Any, num_iterations: Scalar, tolerance: Scalar
    ) -> Any:
        """Returns the state after at most `num_iterations` more iterations.

        `bfgs_minimize` cannot resume. It starts anew from the position and the inverse Hessian,
        which costs one evaluation.
        """
        result = optimizer().bfgs_minimize(
            function,
            state.position,
            initial_inverse_hessian_estimate=state.inverse_hessian_estimate,
            scale_initial_inverse_hessian=tf.equal(state.num_iterations, 0),
            validate_args=False,
            max_iterations=num_iterations,
            tolerance=tolerance,
            **_GRADIENT_TEST_ONLY,
        )
        before, evaluations = state.num_iterations, state.num_objective_evaluations
        return result._replace(
            num_iterations=before + _num_completed(result),
            num_objective_evaluations=evaluations + result.num_objective_evaluations,
        )


def _num_completed(result: Any) -> tf.Tensor:
    """Returns the number of completed iterations; TFP also counts a failed line search."""
    return result.num_iterations - tf.cast(result.failed, result.num_iterations.dtype)


def optimizer() -> Any:
    """Returns `tfp.optimizer`.

    Raises:
        ImportError: If it cannot be imported; the message has the command that installs the
            versions for the installed TensorFlow.
    """
    # Checked first, since TensorFlow Probability would advise to install another TensorFlow.
    if importlib.util.find_spec("tf_keras") is None:
        raise ImportError(_remedy("tf_keras is not installed"))
    try:
        import tensorflow_probability as tfp

        return tfp.optimizer
    # A tf_keras of another minor version can fail with any of these errors.
    except (ImportError, AttributeError, TypeError) as error:
        raise ImportError(_remedy(str(error))) from error


def _remedy(reason: str) -> str:
    # The command has --no-deps, since tf_keras would install a TensorFlow next to tensorflow-cpu or
    # another build. All other dependencies of the two packages are already installed.
    minor = ".".join(tf.__version__.split(".")[:2])
    packages = [f'"tf_keras~={minor}.0"']
    if minor in _LAST_VERSIONS:
        packages.insert(0, f'"tensorflow-probability~={_LAST_VERSIONS[minor]}.0"')
    return (
        f"The methods of TensorFlow Probability cannot be used: {reason}. Install what fits "
        f"TensorFlow {tf.__version__} with: pip install --no-deps {' '.join(packages)}"
    )
