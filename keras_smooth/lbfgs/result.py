"""How a full-batch fit ended, in SciPy's words."""

import dataclasses
import enum
from typing import Any

from keras_smooth.presentation.tables import ShownAsTable, Table, Tone


class Status(enum.IntEnum):
    """Why a fit ended: a number, as in SciPy, with its sentence as `message`.

    Example:

    >>> import keras_smooth
    >>> status = keras_smooth.Status(7)
    >>> status.name, int(status), status.message[:27]
    ('TIME_LIMIT', 7, 'The time limit was reached;')
    """

    TOLERANCE = 0, "The gradient is below the tolerance."
    ITERATION_LIMIT = (
        1,
        "The iteration limit was reached; the gradient is above the tolerance. More epochs "
        "would lower the loss further.",
    )
    LINE_SEARCH = (
        2,
        "The line search found no step to take. Try another start or a smoother activation; "
        "tf.stop_gradient in the loss gives a gradient that is not its own, and a loss that "
        "falls without end has no step at which to stop.",
    )
    STALLED = (
        3,
        "The position no longer changes, though the gradient is above the tolerance: "
        "rounding is in the way. Try a larger tolerance.",
    )
    NON_FINITE = (
        4,
        "The loss is inf or NaN on the way. Look at the data, the start and logarithms or "
        "roots in the model.",
    )
    STOPPED = 5, "A callback stopped the training."
    TARGET = 6, "The loss is at or below the target."
    TIME_LIMIT = (
        7,
        "The time limit was reached; the gradient is above the tolerance. Give it more "
        "seconds, or a loss to aim for with `target`.",
    )
    INTERRUPTED = (
        8,
        "Interrupted, from the keyboard or by an error; the model has the best weights.",
    )

    message: str

    def in_dtype(self, dtype: str) -> str:
        """Returns the sentence, with advice to a fit that computes in less than float64."""
        hampered = self in (Status.LINE_SEARCH, Status.STALLED) and dtype != "float64"
        return f"{self.message} Or try float64." if hampered else self.message

    def __new__(cls, number: int, message: str) -> Any:
        """Makes one row of the table."""
        status = int.__new__(cls, number)
        status._value_ = number
        status.message = message
        return status


# Ends that are no ends: neither the tolerance nor a limit nor a callback.
BROKEN_OFF = (Status.LINE_SEARCH, Status.STALLED, Status.NON_FINITE)


@dataclasses.dataclass(frozen=True)
class OptimizeResult(ShownAsTable):
    """How a full-batch fit ended; the names are SciPy's.

    `print` and notebooks show a line for each.

    Args:
        success: Whether the gradient is below the tolerance, or the loss at the target.
        status: Number of the `keras_smooth.Status`, which says why it ended.
        message: The status in words, with advice.
        fun: Loss of the weights that the model has now, unless a callback changed them
            since, as `EarlyStopping(restore_best_weights=True)` does.
        grad_norm: Largest absolute entry of the gradient there.
        nit: Number of iterations.
        nfev: Number of evaluations of loss and gradient.
        restarts: How often a line search that failed was started again with empty memory.
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
        return self.status in BROKEN_OFF

    def _table(self) -> Table:
        found = dataclasses.asdict(self)
        name = next(status.name for status in Status if status == self.status)
        found["status"] = f"{int(self.status)} ({name})"
        found["fun"], found["grad_norm"] = f"{self.fun:.6g}", f"{self.grad_norm:.3g}"
        broken_off = Tone.BAD if self.failed else Tone.UNSURE
        return Table(
            head=(),
            rows=[(name, str(value)) for name, value in found.items()],
            tones={found["status"]: Tone.GOOD if self.success else broken_off},
        )
