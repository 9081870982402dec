"""The live display of a comparison in a terminal."""

from typing import Any

from rich import progress
from rich.console import Console
from rich.markup import escape

from keras_smooth.comparison.runs.events import Died, Event, Finished, LeftOut, Progress
from keras_smooth.comparison.runs.record import Record
from keras_smooth.comparison.settings import RunId, Settings
from keras_smooth.presentation import tables
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.notebook import Place, ipython

USUAL_WIDTH = 80
# The word before a level of each factor.
PREPOSITIONS = {"problem": "on", "dtype": "in", "initializer": "from", "method": "by"}


class Display(progress.Progress):
    """A bar over all runs and a line for each run in progress.

    A notebook shows text that is updated in place. If the output is no terminal, only a line for
    each finished run is printed.

    Args:
        num_runs: Number of runs to execute.
        settings: The settings of the comparison.
        console: The console on which to print.
    """

    def __init__(self, num_runs: int, settings: Settings, console: Console):
        super().__init__(
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
        self._settings, self._num_runs, self._done = settings, num_runs, 0
        self._lines: dict[RunId, progress.TaskID] = {}
        self._total = self.add_task(
            "all runs", total=num_runs, state=f"0 of {counted(num_runs, 'run')}"
        )
        notebook = None if console.quiet else ipython()
        self._place = notebook and Place(notebook)

    def handle(self, event: Event) -> None:
        """Shows an event."""
        match event:
            case Progress(run, iteration, loss):
                if run not in self._lines:
                    name = tables.plain(self._name(run), self.console.encoding)
                    total = self._settings.num_iterations(run.variant.method)
                    self._lines[run] = self.add_task(escape(name), total=total, state="")
                state = f"iteration {iteration}, loss {loss:.1e}"
                self.update(self._lines[run], completed=iteration, state=state)
                self._refresh_total()
            case Finished(run, record):
                self._end(run, done=1)
                numbers = record.run
                notable = numbers.restarts or numbers.failed
                print_text(
                    self.console,
                    f"{self._name(run)}: {counted(numbers.nit, 'iteration')}, {numbers.seconds:.1f} s, "
                    f"{_error(record)}" + (f"\n    {numbers.message}" if notable else ""),
                )
            case Died(run, _, again):
                self._end(run, done=0 if again else 1)
                print_text(self.console, event.sentence())
            case LeftOut():
                print_text(self.console, event.sentence())

    def _end(self, run: RunId, done: int) -> None:
        if run in self._lines:
            self.remove_task(self._lines.pop(run))
        self._done += done
        self._refresh_total()

    def _name(self, run: RunId) -> str:
        """Returns the name of a run, with the levels in which it differs from the main variant."""
        differing = run.variant.levels_other_than(self._settings.main)
        levels = [f"{PREPOSITIONS[factor]} {level}" for factor, level in differing.items()]
        return ", ".join([run.activation, f"seed {run.seed}", *levels])

    def _refresh_total(self) -> None:
        in_progress = sum(task.percentage / 100.0 for task in self.tasks[1:])
        state = f"{self._done} of {counted(self._num_runs, 'run')}"
        self.update(self._total, completed=self._done + in_progress, state=state)
        if self._place:
            tasks = self.tasks
            words = [f"{task.description}: {task.fields['state']}" for task in tasks]
            self._place.write("\n".join(words))


def _error(record: Record) -> str:
    """Returns the error of the highest derivative whose exact values are known, in words."""
    if record.curves[2] is None:
        return "y'' is lost"
    errors = [(i, e) for i, e in enumerate(record.run.errors) if e is not None]
    if not errors:
        return "not finite"
    order, error = errors[-1]
    lacking = ", y'' is not known" if order < 2 else ""
    return f"MSE of y{chr(39) * order} {error:.1e}{lacking}"


def console(**options: Any) -> Console:
    """Returns a console; if its width is unknown, which is the width 0, it is `USUAL_WIDTH`."""
    console_of_width = Console(**options)
    console_of_width.width = console_of_width.width or USUAL_WIDTH
    return console_of_width


def print_text(to: Console, text: str) -> None:
    """Prints text without markup, since names of files may look like markup."""
    to.print(tables.plain(text, to.encoding), highlight=False, soft_wrap=True, markup=False)
