"""Learning curves: the loss and the errors of y, y', y'' while a network trains."""

import math
import time
from collections.abc import Callable

ERRORS = ("y_mse", "dy_mse", "d2y_mse")
COLUMNS = ("iteration", "cpu_seconds", "loss", *ERRORS)
NUM_POINTS = 50

# A list of numbers for each of COLUMNS; None stands for a number that is unknown or not finite.
LearningCurve = dict[str, list]


class LearningMonitor:
    """Measures a network while it trains, without counting the time of the measurements.

    The clock starts at the first measurement, so that it does not count compiling.

    Args:
        errors: A function that returns the current errors of the network by name.
        epochs: Number of iterations.

    Attributes:
        curve: The measurements, at no more than about `NUM_POINTS` evenly spaced iterations.
    """

    def __init__(self, errors: Callable[[], dict[str, float | None]], epochs: int) -> None:
        self.curve: LearningCurve = {name: [] for name in COLUMNS}
        self._errors = errors
        self._every = epochs / NUM_POINTS
        self._due = 0.0
        # The start of the clock, plus the time of all measurements since then.
        self._start: float | None = None

    def after(self, iteration: int, loss: float) -> None:
        """Measures the network, if a measurement is due."""
        if iteration >= self._due:
            self._measure(iteration, loss)
            self._due = iteration + self._every

    def at_end(self, iteration: int, loss: float) -> None:
        """Measures the trained network, unless the last measurement was at its last iteration."""
        if iteration not in self.curve["iteration"][-1:]:
            self._measure(iteration, loss)

    def _measure(self, iteration: int, loss: float) -> None:
        now = time.process_time()
        if self._start is None:
            self._start = now
        point = {"iteration": iteration, "cpu_seconds": now - self._start, "loss": loss}
        for name, value in {**point, **self._errors()}.items():
            self.curve[name].append(rounded(value, 6))
        self._start += time.process_time() - now


def rounded(value: float | None, digits: int) -> float | None:
    """Returns a float rounded to `digits` digits, an integer as it is, None if not finite."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{digits}g}")
