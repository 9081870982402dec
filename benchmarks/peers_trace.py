"""What benchmarks/lbfgs.py writes down of a run, whoever makes it."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np

# Iterations between two notes, where an iteration costs milliseconds.
CHUNK = 20


@dataclasses.dataclass
class Trace:
    """CPU seconds and loss of a run as it goes on.

    Args:
        limit: CPU seconds after which the run is over.
        compared: CPU seconds at which all systems are compared.

    Attributes:
        seconds: CPU seconds at each note.
        losses: Training MSE at each note.
        iterations: So far.
        evaluations: So far.
        at_comparison: The last weights that were noted before `compared`.
        at_end: The last weights that were noted.
    """

    limit: float
    compared: float
    seconds: list[float] = dataclasses.field(default_factory=list)
    losses: list[float] = dataclasses.field(default_factory=list)
    iterations: int = 0
    evaluations: int = 0
    at_comparison: np.ndarray | None = None
    at_end: np.ndarray | None = None
    started: float = dataclasses.field(default_factory=time.process_time)

    @property
    def is_over(self) -> bool:
        """Whether the run has had its time, and two notes: some compile at the second."""
        return len(self.seconds) > 1 and self.seconds[-1] >= self.limit

    def note(self, loss: float, position: Callable[[], np.ndarray]) -> None:
        """Writes down where the run is."""
        self.seconds.append(time.process_time() - self.started)
        self.losses.append(loss)
        self.at_end = position()
        if self.at_comparison is None or self.seconds[-1] <= self.compared:
            self.at_comparison = self.at_end
