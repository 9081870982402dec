"""The result of a fit, with the fields of SciPy's `OptimizeResult`."""

import dataclasses
import enum
from typing import Any

from keras_smooth.presentation.tables import ShownAsTable, Table, Tone


class Status(enum.IntEnum):
    """Why a fit ended: a number, as in SciPy, with a `message`.

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
        "The line search found no step to take. Try other initial weights or a smoother "
        "activation. With tf.stop_gradient in the loss, the gradient is not that of the loss; "
        "and a loss without a lower bound has no step at which to stop.",
    )
    STALLED = (
        3,
        "The weights no longer change, although the gradient is above the tolerance, because "
        "of rounding. Try a larger tolerance.",
    )
    NON_FINITE = (
        4,
        "The loss became inf or NaN. Check the data, the initial weights, and logarithms or "
        "roots in the model.",
    )
    STOPPED = 5, "A callback stopped the training."
    TARGET = 6, "The loss is at or below the target."
    TIME_LIMIT = (
        7,
        "The time limit was reached; the gradient is above the tolerance. Increase "
        "`max_seconds`, or set a loss to reach with `target`.",
    )
    INTERRUPTED = (
        8,
        "Interrupted from the keyboard or by an error; the model has the best weights.",
    )
    ROUNDING = (
        9,
        "The fit began where the gradient is 0 up to rounding: the loss cannot become lower in "
        "this precision.",
    )
    RANDOM = (
        10,
        "The loss differs from call to call with the same weights. Draw random numbers once, "
        "outside of it; the seeds of Keras' generators, as in Dropout, are held by the fit.",
    )

    message: str

    def in_dtype(self, dtype: str) -> str:
        """Returns the message, with the advice to use float64 if that may help.

        Args:
            dtype: The dtype in which the fit computed, such as `"float32"`.

        Returns:
            A string of one or more sentences.
        """
        by_rounding = self in (Status.LINE_SEARCH, Status.STALLED) and dtype != "float64"
        return f"{self.message} Or try float64." if by_rounding else self.message

    def __new__(cls, number: int, message: str) -> Any:
        """Creates a member from its number and message."""
        status = int.__new__(cls, number)
        status._value_ = number
        status.message = message
        return status


SUCCESSES = (Status.TOLERANCE, Status.TARGET, Status.ROUNDING)
# Statuses for which `fit_lbfgs(throw=True)` raises an error.
FAILURES = (Status.LINE_SEARCH, Status.STALLED, Status.NON_FINITE, Status.RANDOM)


@dataclasses.dataclass(frozen=True)
class OptimizeResult(ShownAsTable):
    """How a fit ended, with the names of SciPy's `OptimizeResult`.

    `fit_lbfgs` returns it as `history.result`. `print` and notebooks show a line for each
    field.

    Args:
        success: Whether the gradient is below the tolerance, or was 0 up to rounding at the
            start, or the loss has reached the target.
        status: A `keras_smooth.Status`, which says why the fit ended: a number with a `name`.
        message: The status in words, with advice.
        fun: The loss at the final weights. Callbacks that set weights at the end of the
            training, such as `EarlyStopping(restore_best_weights=True)`, do not change it.
        grad_norm: Largest absolute entry of the gradient at the final weights.
        nit: Number of iterations.
        nfev: Number of evaluations of loss and gradient.
        restarts: How often a failed line search was started again with an empty memory.

    Example:

    >>> import keras, keras_smooth, numpy as np
    >>> model = keras.Sequential([keras.Input((1,), dtype="float64")])
    >>> model.add(keras_smooth.Dense(1, dtype="float64"))
    >>> model.compile(loss="mse")
    >>> x = np.linspace(-1.0, 1.0, 11)[:, None]
    >>> result = keras_smooth.fit_lbfgs(model, x, 3.0 * x, verbose=0).result
    >>> result.success, result.status.name, result.message
    (True, 'TOLERANCE', 'The gradient is below the tolerance.')
    """

    success: bool
    status: Status
    message: str
    fun: float
    grad_norm: float
    nit: int
    nfev: int
    restarts: int

    @property
    def failed(self) -> bool:
        """Whether the line search failed, the weights stalled or the loss is not finite or random."""
        return self.status in FAILURES

    def _table(self) -> Table:
        values = dataclasses.asdict(self)
        values["status"] = f"{int(self.status)} ({self.status.name})"
        values["fun"], values["grad_norm"] = f"{self.fun:.6g}", f"{self.grad_norm:.3g}"
        failed_tone = Tone.BAD if self.failed else Tone.UNSURE
        return Table(
            head=(),
            rows=[(name, str(value)) for name, value in values.items()],
            tones={values["status"]: Tone.GOOD if self.success else failed_tone},
        )
