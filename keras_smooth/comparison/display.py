"""The live display of a comparison in a terminal."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from keras_smooth.comparison import schedule
from keras_smooth.comparison.results import Results


class Display:
    """A bar over all iterations and a line for each run that goes on.

    Where the output is no terminal, only a line for each finished run is printed.

    Args:
        num_runs: Number of runs to come.
        iterations: Iterations of each.
        console: Where to print.
    """

    def __init__(self, num_runs: int, iterations: int, console: Console):
        self._console = console
        self._iterations = iterations
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.fields[state]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._total = self._bar.add_task(
            "all runs", total=num_runs * iterations, state=f"0 of {num_runs} runs"
        )
        self._num_runs = num_runs
        self._done = 0
        self._lines = {}

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *error) -> None:
        self._bar.stop()

    def handle(self, event: schedule.Event) -> None:
        """Shows an event."""
        if isinstance(event, schedule.Progress):
            self._progress(event)
        else:
            self._finish(event)

    def _progress(self, event: schedule.Progress) -> None:
        key = (event.activation, event.initializer, event.seed)
        if key not in self._lines:
            self._lines[key] = self._bar.add_task(
                f"{event.activation}, seed {event.seed}", total=self._iterations, state=""
            )
        state = f"iteration {event.iteration}, loss {event.loss:.1e}"
        self._bar.update(self._lines[key], completed=event.iteration, state=state)
        self._refresh_total()

    def _finish(self, event: schedule.Finished) -> None:
        run = event.outcome.run
        line = self._lines.pop((run.activation, event.initializer, run.seed), None)
        if line is not None:
            self._bar.remove_task(line)
        self._done += 1
        self._refresh_total()
        error = "lost" if run.d2y_mse is None else f"{run.d2y_mse:.1e}"
        mark = f"\n    {run.message}" if run.restarts or not run.success else ""
        self._console.print(
            f"{run.activation}, seed {run.seed}: {run.nit} iterations, {run.seconds:.1f} s, "
            f"MSE of y'' {error}{mark}",
            highlight=False,
            soft_wrap=True,
        )

    def _refresh_total(self) -> None:
        running = {task.id: task.completed for task in self._bar.tasks}
        going = sum(running[line] for line in self._lines.values())
        self._bar.update(
            self._total,
            completed=self._done * self._iterations + going,
            state=f"{self._done} of {self._num_runs} runs",
        )


def summary_table(results: Results) -> Table:
    """Returns the medians as a table for the terminal."""
    table = Table(title=f"Median MSE over the seeds, {results.settings.problem}")
    for name in ("activation", "class", "y", "y'", "y''", "failures"):
        table.add_column(name, justify="left" if name == "activation" else "right")
    for line in results.summary():
        errors = (line.y_mse, line.dy_mse, line.d2y_mse)
        table.add_row(
            line.activation,
            f"C^{line.smoothness}",
            *("-" if error is None else f"{error:.1e}" for error in errors),
            f"{line.failures} of {line.seeds}",
        )
    return table
