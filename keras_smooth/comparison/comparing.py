"""compare: run the experiment for several activations and keep what it finds."""

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_smooth import checks
from keras_smooth.comparison import (
    article,
    executors,
    files,
    journal,
    lock,
    problems,
    report,
    resuming,
    tasks,
    termination,
)
from keras_smooth.comparison.experiment import Experiment, Run
from keras_smooth.comparison.results import ActivationSummary, Key, Results
from keras_smooth.comparison.settings import Settings, Variant, by_name
from keras_smooth.comparison.training import check_installed
from keras_smooth.lbfgs.run import atomic_files
from keras_smooth.presentation.figures import require_matplotlib
from keras_smooth.presentation.tables import ShownAsTable, Table
from keras_smooth.presentation.warn import warn

if TYPE_CHECKING:
    from rich.console import Console


class Comparison(ShownAsTable):
    """The result of `keras_smooth.compare`.

    `print` and notebooks show the medians and the recommendation.

    Attributes:
        results: Settings and outcomes.
        runs: A list with one `Run` a seed.
        summary: A list with the medians of each activation.
        recommendation: Which activation to use; with fewer than 2 seeds or 1000
            iterations, which one leads so far.
        failures: A list with a sentence for each run whose worker process died, twice.
        variants: A dict with a `Comparison` of each variant, which is a combination of
            problem, dtype, initializer and method. The first is what the attributes above
            are of.
    """

    def __init__(self, results: Results) -> None:
        self.results = results

    @property
    def runs(self) -> list[Run]:
        return self.results.all_runs()

    @property
    def summary(self) -> list[ActivationSummary]:
        return self.results.summary()

    @property
    def recommendation(self) -> str:
        return report.recommendation(self.results)

    @property
    def failures(self) -> list[str]:
        return list(self.results.failures.values())

    @property
    def variants(self) -> dict[Variant, "Comparison"]:
        results = self.results
        return {one: Comparison(results.of(one)) for one in results.settings.variants()}

    def __repr__(self) -> str:
        settings = self.results.settings
        return (
            f"<Comparison: {len(self.runs)} runs of {', '.join(settings.activations)} on "
            f"{self.results.problem.shown()} by {settings.main.method}>"
        )

    def _table(self) -> Table:
        advice = self.recommendation.replace("**", "")
        return dataclasses.replace(self.results.table(), notes=[advice, *self.failures])

    def save(self, directory: str | os.PathLike) -> Path:
        """Writes results.json, results.csv, curves, figures, report.md and report.html.

        Args:
            directory: Made if it does not exist.

        Returns:
            The path of the directory.

        Raises:
            ValueError: If the path is a file.
        """
        directory = output_directory(directory, "directory")
        for key in self.results.outcomes:
            files.write_curves(self.results, key, directory)
        files.write(self.results, directory)
        report.write(self.results, directory)
        return directory


def compare(
    activations: Sequence[str | Callable] | str | None = None,
    seeds: int = 3,
    *,
    epochs: int = 1000,
    method: str | Sequence[str] = "lbfgs",
    initializer: str | Sequence[str] = "default",
    dtype: str | Sequence[str] = "float64",
    device: str = "auto",
    problem: Any = "gaussian",
    architecture: str = "8x20",
    beside: Sequence[str] = (),
    domain: Sequence[float] = problems.DOMAIN,
    noise: float = 0.0,
    jobs: int | None = None,
    executor: str = executors.LOCAL,
    address: str | None = None,
    out: str | os.PathLike | None = None,
    resume: bool = False,
    handle: Callable[[tasks.Event], None] | None = None,
    verbose: int = 1,
) -> Comparison:
    """Trains the same network with several activations and measures y, y' and y''.

    Args:
        activations: Names of activations, of this package or of Keras, or functions of a
            tensor, which go by their `__name__`. The default are the six of the article:
            relu, tanh, sigmoid, softplus, selu, elu. `"all"` takes all that Keras, this
            package and `register_smoothness` know and that fit this network.
        seeds: Number of runs for each, from the seeds 0, 1, ...
        epochs: Iterations of each run, as in `keras_smooth.fit_lbfgs`.
        method: A method of `keras_smooth.fit_lbfgs`, or `"adam"`; full batch. Of this and
            the next two several may be named in a list, as of `problem`: then all runs are
            made in every combination, and the first of each make the main one.
        initializer: `"default"` is the start of `keras_smooth.Dense`; else the name of a
            Keras initializer.
        dtype: `"float64"` or `"float32"`.
        device: `"auto"` takes a GPU if there is one; `"cpu"`, `"gpu"`.
        problem: A name from the table of problems: gaussian, sine, runge, front, morse,
            chirp, polynomial, oscillation; in two dimensions gaussian_2d, franke and
            himmelblau; gaussian_5d and with any other number up to 20. Or the path of a CSV file with columns x, y and
            optionally dy, d2y; these as arrays, in a tuple, a dict or a DataFrame; or a
            function of a tensor, made of `keras.ops`, whose derivatives are taken. With x
            and y alone every fifth point is held out, for the errors of y. dy and d2y are
            not trained on: activations are judged by the errors of the highest one.
            Several of them are a list of names or paths.
        architecture: Numbers of hidden layers and of their units.
        beside: Other methods, such as `["tfp_lbfgs", "adam"]`, that train the first smooth
            activation from seed 0 once more: what the optimizer adds. Those of TensorFlow
            Probability are left out where tf_keras is not installed.
        domain: Lower and upper bound of x for a function; 1000 points are drawn there.
        noise: Standard deviation of the normal errors of the y that are trained on, as a
            fraction of that of y. The errors are measured against exact values.
        jobs: Number of worker processes. None runs everything in this process.
        executor: `"local"`, or `"ray"` for a task of Ray a run, on this machine or a
            cluster; it needs the extra `ray`. See the page "On a cluster".
        address: Of the Ray cluster, as `ray.init` takes it, such as `"auto"`. None is the
            one of the environment variable RAY_ADDRESS, else one that is started here.
        out: Directory for the results, in which every run is kept as soon as it ends.
        resume: Whether to take over the runs that are in `out` already. What is asked for
            beyond them is added; with more iterations than they had, all runs that were
            ended by that number are made anew.
        handle: Called with every event, for a display of your own.
        verbose: 0 prints nothing; 1 a bar on a terminal, and a line for each run that has
            ended.

    Returns:
        A `Comparison`; its `save(directory)` writes tables, figures and a report.

    Raises:
        TypeError: If `seeds`, `epochs`, `jobs` or `verbose` is no integer.
        ValueError: If an argument is out of range, the problem cannot be read, `out` is a
            file, cannot be written or is being written by another comparison, or `resume`
            finds other settings, data or versions.
        OSError: If a file cannot be written later on.
        RuntimeError: If the worker processes of all runs died, each twice. Where some runs
            are left, the others are warned of and stand in `failures`.
        ImportError: If a method of TensorFlow Probability cannot be used here, or Ray is
            asked for and not installed.

    Example:

    >>> import keras_smooth
    >>> found = keras_smooth.compare(["tanh"], seeds=1, epochs=20, verbose=0)
    >>> found.summary[0].activation, found.summary[0].smoothness
    ('tanh', 'inf')
    """
    functions = by_name(article.ACTIVATIONS if activations is None else activations)
    noise = checks.finite_number("noise", noise, least=0.0)
    learned = problems.load_problems(problem, domain, noise)
    settings = Settings(
        activations=tuple(functions),
        functions=functions,
        seeds=seeds,
        epochs=epochs,
        method=method,
        initializer=initializer,
        dtype=dtype,
        device=device,
        problem=tuple(learned),
        architecture=architecture,
        beside=beside,
        noise=noise,
    )
    problems.check_precision(learned, settings.dtype)
    resume = checks.truth("resume", resume)
    if handle is not None:
        checks.function("handle", handle, "event")
    verbose = checks.whole_number("verbose", verbose, least=0)
    chosen = executors.chosen(jobs, executor, address)
    if out is not None:
        require_matplotlib()
    directory = None if out is None else output_directory(out)
    with lock.locked(directory), termination.raised():
        results = prepare(settings, learned, directory, resume)
        if resume and not results.outcomes:
            warn(nothing_to_resume(directory))

        def hear(event: tasks.Event) -> None:
            _warn_of_node(event)
            if handle is not None:
                handle(event)

        show_and_carry_out(results, chosen, directory, _console(quiet=not verbose), hear)
    if results.failures:
        _tell_failures(results)
    return Comparison(results)


def _console(quiet: bool) -> "Console":
    from keras_smooth.comparison import display

    return display.console(quiet=quiet)


def _warn_of_node(event: tasks.Event) -> None:
    if isinstance(event, tasks.LeftOut):
        warn(event.sentence(), RuntimeWarning)


def _tell_failures(results: Results) -> None:
    if not results.outcomes:
        raise RuntimeError("\n".join(["No run was finished.", *results.failures.values()]))
    warn("\n".join(results.failures.values()), RuntimeWarning)


def prepare(
    settings: Settings,
    learned: Mapping[str, problems.Problem],
    directory: Path | None,
    resume: bool,
) -> Results:
    """Returns the results to begin with: none, or those of an earlier comparison."""
    if directory is None:
        if resume:
            raise ValueError("resume needs the output directory of the run to go on with.")
        return Results(settings, learned)
    for place in (directory, files.curves_folder(directory)):
        atomic_files.remove_leftovers(place)
    if resume:
        return resuming.read(settings, learned, directory)
    if (directory / files.RESULTS).exists():
        raise ValueError(
            f"{directory} already holds results. Go on with them (resume), or take another "
            "output directory."
        )
    return Results(settings, learned)


def nothing_to_resume(directory: Path) -> str:
    """Returns the sentence for a directory without runs that can be taken over."""
    return f"There is nothing to resume in {directory}: all begins anew."


def output_directory(path: str | os.PathLike, name: str = "out") -> Path:
    """Returns a directory, made if need be; messages call the argument by the name."""
    directory = checks.path(name, path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(
            f"The output path {directory} is a file, not a directory."
        ) from None
    except OSError as error:
        raise ValueError(f"Cannot make the output directory {directory}: {error}") from None
    return directory


def show_and_carry_out(
    results: Results,
    executor: executors.Executor,
    directory: Path | None,
    console: "Console",
    handle: Callable[[tasks.Event], None] = lambda event: None,
) -> None:
    """Does what `carry_out` does, and shows it on a console."""
    from keras_smooth.comparison import (
        display,
    )  # It takes rich, which importing us does not.

    settings = results.settings
    todo = sum(len(task.starts) for task in tasks.missing(results))
    where = "" if directory is None else f"; results in {directory}"
    display.say(
        console,
        f"{todo} runs of {settings.epochs} iterations on {settings.device_name()} "
        f"{executor.place(todo)}{where}",
    )
    with display.Display(todo, settings, console) as live:

        def show(event: tasks.Event) -> None:
            live.handle(event)
            handle(event)

        carry_out(results, executor, directory, show)


def carry_out(
    results: Results,
    executor: executors.Executor,
    directory: Path | None,
    handle: Callable[[tasks.Event], None],
) -> None:
    """Runs what is missing, keeps every run, and calls `handle` for each event."""
    started = time.perf_counter() - (results.seconds or 0.0)
    todo = tasks.missing(results)
    if todo:
        for method in results.settings.method:
            check_installed(method)

    recorder = None if directory is None else journal.Recorder(results, directory)

    def keep(event: tasks.Event) -> None:
        if isinstance(event, tasks.Finished):
            key = Key(event.outcome.run.activation, *event.start)
            results.outcomes[key] = event.outcome
            results.seconds = time.perf_counter() - started
            if recorder:
                recorder.keep(key)
        elif isinstance(event, tasks.Died) and not event.again:
            key = Key(event.activation, *event.start)
            results.failures[key] = event.sentence()
        handle(event)

    experiment = Experiment(results.settings, results.problems)
    try:
        executor.execute(experiment, todo, keep)
    finally:
        # Also after Ctrl-C: whoever looks at results.json then finds all of them.
        if results.outcomes:
            results.seconds = time.perf_counter() - started
            if recorder:
                recorder.write_all()
