"""`compare`: trains a network with several activations, and returns the results."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_smooth import checks
from keras_smooth.comparison import article, executors, problems, report, termination
from keras_smooth.comparison.options import LIST, LOCAL
from keras_smooth.comparison.records import lock, resuming, store
from keras_smooth.comparison.records.results import ActivationSummary, Results, or_inf
from keras_smooth.comparison.runs.events import Died, Event, Finished, LeftOut
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.runs.record import Run
from keras_smooth.comparison.runs.training import check_installed
from keras_smooth.comparison.settings import Settings, Variant, functions_by_name
from keras_smooth.lbfgs.run import atomic_files
from keras_smooth.models.tracing import eager_only
from keras_smooth.presentation import svg
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.figures import require_matplotlib
from keras_smooth.presentation.tables import ShownAsTable, Table, Tone
from keras_smooth.presentation.warn import renamed_argument, warn

_MAX_CURVES = 6


class Comparison(ShownAsTable):
    """The result of `keras_smooth.compare`.

    `print` and notebooks show the medians and the recommendation.

    Args:
        results: The settings and all runs.

    Example:

    >>> import keras_smooth
    >>> comparison = keras_smooth.compare(["tanh"], seeds=1, epochs=20, verbose=0)
    >>> comparison.runs[0].activation, len(comparison.failures)
    ('tanh', 0)
    """

    def __init__(self, results: Results) -> None:
        self.results = results

    @property
    def runs(self) -> list[Run]:
        """A list with one `Run` for each activation, variant and seed."""
        return self.results.all_runs()

    @property
    def summary(self) -> list[ActivationSummary]:
        """A list with the medians of each activation in the main variant."""
        return self.results.summary()

    @property
    def recommendation(self) -> str:
        """A sentence that says which activation to use, or which one leads.

        It only says which one leads if the seeds do not distinguish it from others, or with
        fewer than 2 seeds or 1000 iterations.
        """
        return report.recommended(self.results).text

    @property
    def failures(self) -> list[str]:
        """A list with a sentence for each run whose worker process died twice."""
        return list(self.results.failures.values())

    @property
    def variants(self) -> dict[Variant, "Comparison"]:
        """A dict with a `Comparison` of each variant.

        A variant is a combination of problem, dtype, initializer and method. The first one is
        the main variant.
        """
        variants = self.results.settings.variants()
        return {
            variant: Comparison(self.results.of_variant(variant)) for variant in variants
        }

    def __repr__(self) -> str:
        settings = self.results.settings
        return (
            f"<Comparison: {counted(len(self.runs), 'run')} of {', '.join(settings.activations)} on "
            f"{self.results.problem.shown()} by {settings.main.method}>"
        )

    def _table(self) -> Table:
        rows = [
            (
                line.activation,
                line.class_name,
                *("-" if error is None else f"{error:.1e}" for error in line.errors),
                f"{line.failures} of {line.seeds}",
            )
            for line in self.summary
        ]
        return Table(
            title=f"Median MSE over the seeds, {self.results.problem.shown()}",
            head=("activation", "class", "y", "y'", "y''", "failures"),
            rows=rows,
            notes=[*report.sentences(self.results), *self.failures],
            tones={row[-1]: Tone.BAD for row in rows if not row[-1].startswith("0 ")},
        )

    def _pictures(self) -> Sequence[str]:
        best = sorted(self.summary, key=lambda line: or_inf(line.d2y_mse))[:_MAX_CURVES]
        names = [line.activation for line in best]
        medians = {name: self.results.median_record(name).learning for name in names}
        pictures = []
        for derivative, error in (("y", "y_mse"), ("y''", "d2y_mse")):
            curves = {
                name: svg.Curve(learning["iteration"], learning[error])
                for name, learning in medians.items()
            }
            title = f"MSE of {derivative}, median seed"
            pictures.append(svg.chart(title, curves, "iteration", logarithmic=True))
        return pictures

    def save(self, directory: str | os.PathLike) -> Path:
        """Writes results.json, results.csv, curves, figures, report.md and report.html.

        Args:
            directory: Where to write. It is created if it does not exist.

        Returns:
            The path of the directory.

        Raises:
            ValueError: If the path is a file.
        """
        directory = output_directory(directory, "directory")
        store.save(self.results, directory)
        report.write(self.results, directory)
        return directory


@eager_only
def compare(
    activations: Sequence[str | Callable] | str | None = None,
    seeds: int = 3,
    *,
    epochs: int = 1000,
    method: str | Sequence[str] = "gauss_newton",
    initializer: str | Sequence[str] = "default",
    dtype: str | Sequence[str] = "float64",
    device: str = "auto",
    problem: Any = "gaussian",
    architecture: str = "8x20",
    baselines: Sequence[str] = (),
    domain: Sequence[float] = problems.DOMAIN,
    noise: float = 0.0,
    jobs: int | None = None,
    executor: str = LOCAL,
    address: str | None = None,
    out: str | os.PathLike | None = None,
    resume: bool = False,
    handle: Callable[[Event], None] | None = None,
    verbose: int = 1,
    beside: Sequence[str] | None = None,
) -> Comparison:
    """Trains the same network with several activations and measures y, y' and y''.

    Args:
        activations: A list of activations: names, of this package or of Keras, or functions
            of a tensor, which are named by their `__name__`. A single name is a list of one.
            None uses six: relu, tanh, sigmoid, softplus, selu, elu.
            `"all"` uses all of Keras, of this package and of `register_smoothness` that fit
            this network.
        seeds: Number of runs for each activation, with the seeds 0, 1, ...
        epochs: Iterations of each run, as in `keras_smooth.fit_lbfgs`. One of `"gauss_newton"`
            counts as 40, since it takes as long as some 40 of `"lbfgs"`.
        method: A method of `keras_smooth.fit_lbfgs`, or `"adam"`; full batch. This argument,
            `initializer`, `dtype` and `problem` may be lists: then all combinations are
            trained, and the first entries are the main combination.
        initializer: `"default"` is the default of `keras_smooth.Dense`; otherwise the name of
            a Keras initializer.
        dtype: `"float64"` or `"float32"`.
        device: `"auto"` uses a GPU if there is one; `"cpu"`, `"gpu"`.
        problem: A name from the table of problems: gaussian, sine, runge, front, morse,
            chirp, polynomial, oscillation; in two dimensions gaussian_2d, franke and
            himmelblau; gaussian_5d, or another number up to 20. Or the path of a CSV file
            with the columns x, y and optionally dy, d2y, where x is one number; or these as
            arrays of shape `(n,)`, in a tuple, a dict or a DataFrame; or a function of a
            tensor of one number, written with `keras.ops`, which is differentiated. With
            only x and y, every fifth point is held out for the errors of y. The networks are
            trained on y only, and judged by the error of the highest derivative that is
            known. A list of names or paths is several problems.
        architecture: Numbers of hidden layers and of their units.
        baselines: Other methods, such as `["tfp_lbfgs", "adam"]`, that train the first smooth
            activation once more from seed 0, to show the effect of the optimizer. Methods of
            TensorFlow Probability are skipped if tf_keras is not installed.
        domain: Lower and upper bound of x for a function; 1000 points are drawn there.
        noise: Standard deviation of normal errors that are added to the y for training, as a
            fraction of that of y. The errors of networks are measured with exact values.
        jobs: Number of worker processes. None runs everything in this process.
        executor: `"local"`, or `"ray"` for a Ray task for each run, on this machine or a
            cluster; it needs the extra `ray`. See the page "On a cluster".
        address: Address of the Ray cluster, as for `ray.init`, such as `"auto"`. None is that
            of the environment variable RAY_ADDRESS, or a cluster that is started here.
        out: Directory for the results, in which every run is saved as soon as it ends.
        resume: Whether to keep the runs that are in `out` already, and to add missing ones.
            The problems, dtypes, initializers and methods of those runs stay the main ones;
            others are added after them, with a recommendation for each added problem. With
            more iterations, runs that ended at the former number are repeated.
        handle: Called with every event, for a display of your own.
        verbose: 0 prints nothing; 1 a bar on a terminal, and a line for each run that has
            ended.
        beside: The deprecated name of `baselines`.

    Returns:
        A `Comparison`; its `save(directory)` writes tables, figures and a report.

    Raises:
        TypeError: If `seeds`, `epochs`, `jobs` or `verbose` is no integer.
        ValueError: If an argument is out of range, `beside` is passed with `baselines`, the
            problem cannot be read, `out` is a file, cannot be written or is being written by
            another comparison, or `resume` finds other settings, data or versions.
        OSError: If a file cannot be written later on.
        RuntimeError: If the worker processes of all runs died, each twice. If only some did, a
            warning is given and they are in `failures`.
        ImportError: If a method of TensorFlow Probability cannot be used here, or Ray is
            requested and not installed.

    Example:

    >>> import keras_smooth
    >>> comparison = keras_smooth.compare(["tanh"], seeds=1, epochs=20, verbose=0)
    >>> comparison.summary[0].activation, comparison.summary[0].smoothness
    ('tanh', 'inf')
    """
    baselines = renamed_argument("baselines", baselines, "beside", beside)
    # The arguments only, since no other local variable exists yet. LIST selects the options.
    arguments = locals()
    functions = functions_by_name(
        article.ACTIVATIONS if activations is None else activations
    )
    noise = checks.finite_number("noise", noise, least=0.0)
    learned = problems.load_problems(problem, domain, noise)
    options = {name: arguments[name] for name in LIST}
    options |= {"activations": tuple(functions), "problem": tuple(learned), "noise": noise}
    settings = Settings(**options, functions=functions)
    problems.check_precision(learned, settings.dtype)
    resume = checks.boolean("resume", resume)
    if handle is not None:
        checks.function("handle", handle, "event")
    verbose = checks.whole_number("verbose", verbose, least=0)
    chosen = executors.chosen_executor(jobs, executor, address)
    if out is not None:
        require_matplotlib()
    directory = None if out is None else output_directory(out)
    with lock.locked(directory), termination.raised():
        results = initial_results(settings, learned, directory, resume)
        if resume and not results.records:
            warn(f"There is nothing to resume in {directory}: a new comparison begins.")
        _execute_with_display(results, chosen, directory, handle, quiet=not verbose)
    if results.failures and not results.records:
        raise RuntimeError("\n".join(["No run was finished.", *results.failures.values()]))
    if results.failures:
        warn("\n".join(results.failures.values()), RuntimeWarning)
    return Comparison(results)


def initial_results(
    settings: Settings,
    learned: Mapping[str, problems.Problem],
    directory: Path | None,
    resume: bool,
) -> Results:
    """Returns results without runs, or with the runs of the comparison that is resumed."""
    if directory is None:
        if resume:
            raise ValueError("resume needs the output directory of the earlier comparison.")
        return Results(settings, learned)
    for folder in (directory, store.curves_folder(directory)):
        atomic_files.remove_leftovers(folder)
    if resume:
        return resuming.read(settings, learned, directory)
    if any((directory / name).exists() for name in (store.RUNS, store.RESULTS)):
        raise ValueError(
            f"{directory} already holds results. Continue them with resume, or use another output "
            "directory."
        )
    return Results(settings, learned)


def output_directory(path: str | os.PathLike, name: str = "out") -> Path:
    """Returns a directory, which is created if needed; messages name the argument `name`."""
    directory = checks.path(name, path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"Cannot make the output directory {directory}: {error.strerror}."
        ) from None
    return directory


def _execute_with_display(
    results: Results,
    executor: executors.Executor,
    directory: Path | None,
    handle: Callable[[Event], None] | None,
    quiet: bool,
) -> None:
    """Executes the missing runs and shows their progress."""
    # Imported here, since it imports rich.
    from keras_smooth.comparison import display

    console, settings = display.console(quiet=quiet), results.settings
    num_runs = sum(map(len, results.missing()))
    where = "" if directory is None else f"; results in {directory}"
    runs, epochs = counted(num_runs, "run"), counted(settings.epochs, "epoch")
    fewer = [
        f"{counted(count, 'iteration')} of {method}"
        for method in settings.method
        if (count := settings.num_iterations(method)) != settings.epochs
    ]
    if fewer:
        epochs += f" ({', '.join(fewer)})"
    description = f"{runs} of {epochs} on {settings.device_name()}"
    display.print_text(console, f"{description} {executor.place(num_runs)}{where}")
    with display.Display(num_runs, settings, console) as live:

        def show(event: Event) -> None:
            live.handle(event)
            if isinstance(event, LeftOut):
                warn(event.sentence(), RuntimeWarning)
            if handle is not None:
                handle(event)

        execute_missing(results, executor, directory, show)


def execute_missing(
    results: Results,
    executor: executors.Executor,
    directory: Path | None,
    handle: Callable[[Event], None],
) -> None:
    """Executes the missing runs, saves each, and calls `handle` for each event."""
    started = time.perf_counter() - (results.seconds or 0.0)
    missing = results.missing()
    for method in results.settings.method if missing else ():
        check_installed(method)
    run_store = None if directory is None else store.Store(results, directory)

    def record(event: Event) -> None:
        if isinstance(event, Finished):
            results.records[event.run] = event.record
            results.seconds = time.perf_counter() - started
            if run_store:
                run_store.add(event.run)
        elif isinstance(event, Died) and not event.again:
            results.failures[event.run] = event.sentence()
        handle(event)

    experiment = Experiment(results.settings, results.problems)
    try:
        executor.execute(experiment, missing, record)
    finally:
        # Also after Ctrl-C, so that results.json has all finished runs.
        if results.records:
            results.seconds = time.perf_counter() - started
            if run_store:
                run_store.write_all()
