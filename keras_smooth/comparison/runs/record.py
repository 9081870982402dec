"""The results of one run."""

import dataclasses

import numpy as np

from keras_smooth.comparison.runs.learning import LearningCurve
from keras_smooth.lbfgs.result import FAILURES


@dataclasses.dataclass(frozen=True)
class Run:
    """The result of one seed, a row of `results.json`.

    Args:
        activation: The name of the activation.
        seed: The seed of the initial weights and of the training points.
        success: Whether the optimizer has converged, as in `keras_smooth.OptimizeResult`. A run
            that used all its iterations has not converged, and has not `failed` either.
        status: Number of the `keras_smooth.Status`, which says why the run ended.
        message: The status in words.
        signal: The fraction of the signal that passes the initial network: the standard deviation
            over the test points after the last hidden layer, divided by that after the first one.
        nit: Number of iterations.
        nfev: Number of evaluations of loss and gradient.
        restarts: Number of failed line searches that were restarted with empty memory.
        loss: Training loss at the end.
        y_mse: Mean squared error of y at the test points; None if unknown, lost or not finite.
        dy_mse: The same for y'.
        d2y_mse: The same for y''.
        seconds: Wall time of the run; the first run of an activation includes compiling.
    """

    activation: str
    seed: int
    success: bool
    status: int
    message: str
    signal: float
    nit: int
    nfev: int
    restarts: int
    loss: float | None
    y_mse: float | None
    dy_mse: float | None
    d2y_mse: float | None
    seconds: float

    @property
    def errors(self) -> tuple[float | None, ...]:
        """The mean squared errors of y, y', y''."""
        return self.y_mse, self.dy_mse, self.d2y_mse

    @property
    def failed(self) -> bool:
        """Whether the run ended with one of the statuses `FAILURES` of `lbfgs.result`."""
        return self.status in FAILURES


@dataclasses.dataclass(frozen=True)
class Record:
    """A run with its curves.

    Args:
        run: The result of the run.
        curves: The network's y, y', y'' at the test points; None for each that is lost.
        learning: The loss and the errors during training.
    """

    run: Run
    curves: tuple[np.ndarray | None, ...]
    learning: LearningCurve
