"""compare: run the experiment for several activations and keep what it finds."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from keras_smooth.comparison import problems, report, schedule
from keras_smooth.comparison import results as files
from keras_smooth.comparison.results import Line, Results
from keras_smooth.comparison.settings import Settings


class Comparison:
    """The result of `keras_smooth.compare`.

    Attributes:
        results: Settings and outcomes.
        runs: A list with one `Run` a seed.
        summary: A list with the medians of each activation.
        recommendation: A sentence on which activation to take.
    """

    def __init__(self, results: Results):
        self.results = results

    @property
    def runs(self) -> list:
        return self.results.all_runs()

    @property
    def summary(self) -> list[Line]:
        return self.results.summary()

    @property
    def recommendation(self) -> str:
        return report.recommendation(self.results)

    def save(self, directory: str | os.PathLike) -> Path:
        """Writes results.json, results.csv, the curves, the figures and report.md.

        Args:
            directory: Made if it does not exist.

        Returns:
            The path of the directory.

        Raises:
            ValueError: If the path is a file.
        """
        directory = output_directory(directory)
        x = problems.load(self.results.settings.problem).x
        for (_, initializer, _), outcome in self.results.outcomes.items():
            files.write_curves(outcome, initializer, x, directory)
        files.write(self.results, directory)
        report.write(self.results, directory)
        return directory


def compare(
    activations: Sequence[str] | None = None,
    seeds: int = 3,
    *,
    iterations: int = 1000,
    optimizer: str = "lbfgs",
    initializer: str = "default",
    dtype: str = "float64",
    device: str = "auto",
    problem: str = "gaussian",
    jobs: int | None = None,
    out: str | os.PathLike | None = None,
    resume: bool = False,
    handle: Callable | None = None,
) -> Comparison:
    """Trains the same network with several activations and measures y, y' and y''.

    Args:
        activations: Names of activations, of this package or of Keras. The default are
            the six of the article: relu, tanh, sigmoid, softplus, selu, elu.
        seeds: Number of runs for each, from the seeds 0, 1, ...
        iterations: Iterations of each run.
        optimizer: `"lbfgs"`, `"bfgs"` or `"adam"`, full batch.
        initializer: `"default"` is the start of `keras_smooth.Dense`; else the name of a
            Keras initializer.
        dtype: `"float64"` or `"float32"`.
        device: `"auto"` takes a GPU if there is one; `"cpu"`, `"gpu"`.
        problem: A name from the table of problems (gaussian, sine, runge, front, morse),
            or the path of a CSV file with columns x, y and optionally dy, d2y.
        jobs: Number of worker processes. None runs everything in this process, where
            activations of your own that you have registered can take part.
        out: Directory for the results, written after every run.
        resume: Whether to take over the runs that are in `out` already.
        handle: Called with every event, for a display.

    Returns:
        A `Comparison`; its `save(directory)` writes tables, figures and a report.

    Raises:
        ValueError: If an argument is out of range, the problem cannot be read, `out` is a
            file, or `resume` finds other settings.

    Example:

    >>> import keras_smooth
    >>> found = keras_smooth.compare(["tanh"], seeds=1, iterations=20)
    >>> found.summary[0].activation, found.summary[0].smoothness
    ('tanh', 'inf')
    """
    chosen = {} if activations is None else {"activations": activations}
    settings = Settings(
        **chosen,
        seeds=seeds,
        iterations=iterations,
        optimizer=optimizer,
        initializer=initializer,
        dtype=dtype,
        device=device,
        problem=str(problem),
    )
    results = prepare(settings, out, resume)
    run(results, jobs, out, handle or (lambda event: None))
    return Comparison(results)


def prepare(settings: Settings, out, resume: bool) -> Results:
    """Returns the results to begin with: none, or those of an earlier run."""
    if out is None:
        if resume:
            raise ValueError("resume needs the output directory of the run to go on with.")
        return Results(settings)
    directory = output_directory(out)
    if resume:
        return files.read(settings, directory)
    if (directory / files.RESULTS).exists():
        raise ValueError(
            f"{directory} already holds results. Go on with them (resume), or take another "
            "output directory."
        )
    return Results(settings)


def output_directory(path: str | os.PathLike) -> Path:
    """Returns a directory, made if need be."""
    directory = Path(path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(
            f"The output path {directory} is a file, not a directory."
        ) from None
    except OSError as error:
        raise ValueError(f"Cannot make the output directory {directory}: {error}") from None
    return directory


def run(results: Results, jobs: int | None, out, handle: Callable) -> None:
    """Runs what is missing, writes after every run, and calls `handle` for each event."""
    started = time.perf_counter()
    x = problems.load(results.settings.problem).x

    def keep(event: schedule.Event) -> None:
        if isinstance(event, schedule.Finished):
            outcome, initializer = event.outcome, event.initializer
            key = (outcome.run.activation, initializer, outcome.run.seed)
            results.outcomes[key] = outcome
            if out is not None:
                files.write_curves(outcome, initializer, x, Path(out))
                files.write(results, Path(out))
        handle(event)

    schedule.run(results.settings, schedule.tasks(results), jobs, keep)
    results.seconds = time.perf_counter() - started
