"""Events of runs in progress."""

import dataclasses
from collections.abc import Callable

from keras_smooth.comparison.runs.record import Record
from keras_smooth.comparison.settings import RunId


@dataclasses.dataclass(frozen=True)
class Progress:
    """A run in progress: its latest iteration, and the loss there."""

    run: RunId
    iteration: int
    loss: float


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run that has ended, with its results."""

    run: RunId
    record: Record


@dataclasses.dataclass(frozen=True)
class Died:
    """A run whose worker died.

    Args:
        run: The id of the run.
        reason: The cause of death, as the end of a sentence.
        again: Whether the run is tried once more.
    """

    run: RunId
    reason: str
    again: bool

    def sentence(self) -> str:
        """Returns what happened in words."""
        end = "is tried once more" if self.again else "has failed"
        return f"The run of {self.run} {end}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A node of a cluster that receives no more runs.

    Args:
        node: Its name.
        reason: Its fault, as the end of a sentence.
    """

    node: str
    reason: str

    def sentence(self) -> str:
        """Returns what happened in words."""
        return (
            f"The node {self.node} of the cluster is left out, and its runs go to others: "
            f"{self.reason}"
        )


Event = Progress | Finished | Died | LeftOut
Handle = Callable[[Event], None]
