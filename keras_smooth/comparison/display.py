"""The live display of a comparison in a terminal."""

from collections.abc import Callable
from typing import Any

from rich import progress
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from keras_smooth.comparison.experiment import Outcome, Start
from keras_smooth.comparison.learning import ERRORS
from keras_smooth.comparison.results import Results
from keras_smooth.comparison.settings import Settings
from keras_smooth.comparison.tasks import Died, Event, Finished, LeftOut, Progress
from keras_smooth.presentation.notebook import Line, ipython
from keras_smooth.presentation.tables import printable

USUAL_WIDTH = 80
# Before a level of each factor.
WORDS = {"problem": "on", "dtype": "in", "initializer": "from", "method": "by"}


class Display:
    """A bar over all iterations and a line for each run that goes on.

    In a notebook the same is text, which is written anew in its place. Elsewhere only a line
    for each finished run is printed.

    Args:
        num_runs: Number of runs to come.
        settings: What is asked of them.
        console: Where to print.
    """

    def __init__(self, num_runs: int, settings: Settings, console: Console):
        self._console = console
        self._settings = settings
        self._epochs = settings.epochs
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TextColumn("{task.percentage:>3.0f}%"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(elapsed_when_finished=False),
            progress.TextColumn("{task.fields[state]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._total = self._bar.add_task(
            "all runs", total=num_runs * settings.epochs, state=f"0 of {num_runs} runs"
        )
        self._num_runs = num_runs
        self._done = 0
        self._lines = {}
        notebook = None if console.quiet else ipython()
        self._place = notebook and Line(notebook)

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *error) -> None:
        self._bar.stop()

    def handle(self, event: Event) -> None:
        """Shows an event."""
        SHOWN[type(event)](self, event)

    def _progress(self, event: Progress) -> None:
        key = (event.activation, *event.start)
        if key not in self._lines:
            self._lines[key] = self._bar.add_task(
                escape(plain(self._console, self._name(event.activation, event.start))),
                total=self._epochs,
                state="",
            )
        state = f"iteration {event.iteration}, loss {event.loss:.1e}"
        self._bar.update(self._lines[key], completed=event.iteration, state=state)
        self._refresh_total()

    def _finish(self, event: Finished) -> None:
        run = event.outcome.run
        self._end(run.activation, event.start, done=1)
        error = _error(event.outcome)
        mark = f"\n    {run.message}" if run.restarts or run.failed else ""
        self._print(
            f"{self._name(run.activation, event.start)}: {run.nit} iterations, "
            f"{run.seconds:.1f} s, {error}{mark}"
        )

    def _die(self, event: Died) -> None:
        self._end(event.activation, event.start, done=0 if event.again else 1)
        self._print(event.sentence())

    def _leave_out(self, event: LeftOut) -> None:
        self._print(event.sentence())

    def _end(self, activation: str, start: Start, done: int) -> None:
        line = self._lines.pop((activation, *start), None)
        if line is not None:
            self._bar.remove_task(line)
        self._done += done
        self._refresh_total()

    def _print(self, text: str) -> None:
        say(self._console, text)

    def _name(self, activation: str, start: Start) -> str:
        """Returns what a run is called: what it has in common with all is left out."""
        apart = start.variant.apart_from(self._settings.main)
        levels = [f"{WORDS[factor]} {level}" for factor, level in apart.items()]
        return ", ".join([activation, f"seed {start.seed}", *levels])

    def _refresh_total(self) -> None:
        running = {task.id: task.completed for task in self._bar.tasks}
        going = sum(running[line] for line in self._lines.values())
        self._bar.update(
            self._total,
            completed=self._done * self._epochs + going,
            state=f"{self._done} of {self._num_runs} runs",
        )
        if self._place:
            tasks = self._bar.tasks
            words = [f"{task.description}: {task.fields['state']}" for task in tasks]
            self._place.write("\n".join(words))


SHOWN: dict[type, Callable] = {
    Progress: Display._progress,
    Finished: Display._finish,
    Died: Display._die,
    LeftOut: Display._leave_out,
}


def _error(outcome: Outcome) -> str:
    """Returns the error of the highest derivative of which it is known."""
    run = outcome.run
    if outcome.curves[2] is None:
        return "y'' is lost"
    known = [i for i, name in enumerate(ERRORS) if getattr(run, name) is not None]
    if not known:
        return "not finite"
    derivative = "y" + "'" * known[-1]
    lacking = ", y'' is not known" if known[-1] < 2 else ""
    return f"MSE of {derivative} {getattr(run, ERRORS[known[-1]]):.1e}{lacking}"


def console(**options: Any) -> Console:
    """Returns a console; one of no columns does not know how many it has."""
    found = Console(**options)
    found.width = found.width or USUAL_WIDTH
    return found


def say(to: Console, text: str) -> None:
    """Prints text as it is: names of files may look like markup."""
    to.print(plain(to, text), highlight=False, soft_wrap=True, markup=False)


def plain(to: Console, text: str) -> str:
    """Returns text in characters that a console has, and none that a terminal would obey."""
    known = text.encode(to.encoding, errors="backslashreplace").decode(to.encoding)
    return "\n".join(map(printable, known.splitlines()))


def summary_table(results: Results, to: Console) -> Table:
    """Returns the medians as a table for a console."""
    found = results.table()
    table = Table(title=escape(plain(to, found.title)))
    for name in found.head:
        table.add_column(name, justify="left" if name == "activation" else "right")
    for cells in found.rows:
        table.add_row(*(escape(plain(to, cell)) for cell in cells))
    return table
