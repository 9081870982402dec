"""What is left to run, and what is heard of it meanwhile."""

import collections
import dataclasses
from collections.abc import Iterator

from keras_smooth.comparison import training
from keras_smooth.comparison.experiment import Outcome, Start
from keras_smooth.comparison.results import GLOROT, Key, Results
from keras_smooth.comparison.settings import Settings


@dataclasses.dataclass(frozen=True)
class Task:
    """Runs of one activation, for one worker, which compiles once."""

    activation: str
    starts: tuple[Start, ...]


@dataclasses.dataclass(frozen=True)
class Progress:
    """A run that goes on."""

    activation: str
    start: Start
    iteration: int
    loss: float


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run that is done."""

    start: Start
    outcome: Outcome


@dataclasses.dataclass(frozen=True)
class Died:
    """A run whose worker died.

    Args:
        activation: Its name.
        start: Variant and seed of the run.
        reason: What the worker died of, as the end of a sentence.
        again: Whether the run is tried once more.
    """

    activation: str
    start: Start
    reason: str
    again: bool

    def sentence(self) -> str:
        """Returns what happened in words."""
        end = "is tried once more" if self.again else "has failed"
        variant, seed = self.start
        run = f"{self.activation}, seed {seed} ({', '.join(variant)})"
        return f"The run of {run} {end}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A machine that gets no more runs.

    Args:
        node: Its name.
        reason: What it lacks, as the end of a sentence.
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


def missing(results: Results) -> list[Task]:
    """Returns what is left to do and can be done here, the longest task first."""
    settings, compiled = results.settings, collections.defaultdict(list)
    for key in wanted(settings):
        if key not in results.outcomes:
            # One program serves all seeds and initializers.
            program = key.activation, key.variant._replace(initializer="")
            compiled[program].append(Start(key.variant, key.seed))
    found = [
        Task(activation, tuple(starts))
        for (activation, variant), starts in compiled.items()
        # The methods of all runs are no option: without them there is nothing to do.
        if variant.method in settings.method or not training.reason_missing(variant.method)
    ]
    return sorted(found, key=lambda task: _place(task, settings))


def _place(task: Task, settings: Settings) -> tuple[bool, int]:
    # Other methods compile for longer than they run.
    return task.starts[0].variant.method in settings.method, -len(task.starts)


def wanted(settings: Settings) -> Iterator[Key]:
    """Gives the runs that are asked for."""
    for variant in settings.variants():
        for activation in settings.activations:
            for seed in range(settings.seeds):
                yield Key(activation, variant, seed)
    if settings.asks_open_question() and GLOROT not in settings.initializer:
        for seed in range(settings.seeds):
            yield Key("sigmoid", settings.main._replace(initializer=GLOROT), seed)
    for method in settings.beside:
        yield Key(settings.activation_beside(), settings.main._replace(method=method), 0)
