"""How a full-batch fit ended, in SciPy's words."""

import dataclasses
import enum


class Status(enum.IntEnum):
    """Why a run ended."""

    TOLERANCE = 0
    ITERATION_LIMIT = 1
    LINE_SEARCH = 2
    STALLED = 3
    NON_FINITE = 4
    STOPPED = 5
    TARGET = 6
    TIME_LIMIT = 7
    INTERRUPTED = 8


MESSAGES = {
    Status.TOLERANCE: "The gradient is below the tolerance.",
    Status.ITERATION_LIMIT: "The iteration limit was reached; the gradient is above the "
    "tolerance. More epochs would lower the loss further.",
    Status.LINE_SEARCH: "The line search found no better point. Try float64, another "
    "start or a smoother activation; tf.stop_gradient in the loss gives a gradient that is "
    "not its own.",
    Status.STALLED: "The position no longer changes, though the gradient is above the "
    "tolerance: rounding is in the way. Try float64.",
    Status.NON_FINITE: "The loss is inf or NaN on the way. Look at the data, the start "
    "and logarithms or roots in the model.",
    Status.STOPPED: "A callback stopped the training.",
    Status.TARGET: "The loss is at or below the target.",
    Status.TIME_LIMIT: "The time limit was reached; the gradient is above the tolerance. "
    "Give it more seconds, or a loss to aim for with `target`.",
    Status.INTERRUPTED: "Interrupted, from the keyboard or by an error; the model has the "
    "best weights.",
}


@dataclasses.dataclass(frozen=True)
class OptimizeResult:
    """How a full-batch fit ended; the names are SciPy's.

    Args:
        success: Whether the gradient is below the tolerance, or the loss at the target.
        status: 0 gradient below the tolerance, 1 iteration limit, 2 line search dead, 3
            stalled, 4 loss not finite, 5 stopped by a callback, 6 loss at the target, 7
            time limit, 8 interrupted.
        message: The status in words, with advice.
        fun: Loss of the weights that the model has now, unless a callback changed them
            since, as `EarlyStopping(restore_best_weights=True)` does.
        grad_norm: Largest absolute entry of the gradient there.
        nit: Number of iterations.
        nfev: Number of evaluations of loss and gradient.
        restarts: How often a dead line search was started again with empty memory.
    """

    success: bool
    status: int
    message: str
    fun: float
    grad_norm: float
    nit: int
    nfev: int
    restarts: int

    @property
    def failed(self) -> bool:
        """Whether the run broke off: neither the tolerance nor a limit nor a callback."""
        return self.status in (Status.LINE_SEARCH, Status.STALLED, Status.NON_FINITE)
