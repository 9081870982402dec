"""The progress of a fit: a line that is updated, or a few lines in a log."""

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_smooth.lbfgs.request import Request
from keras_smooth.lbfgs.result import OptimizeResult
from keras_smooth.lbfgs.run.optimization_run import OptimizationRun
from keras_smooth.presentation.notebook import Place, ipython
from keras_smooth.presentation.tables import printable

# A log has a line at the first call, after each of this many parts of the fit, and at the end.
_LINES = 10


class Progress:
    """Shows iteration, loss, largest gradient, evaluations, elapsed and remaining seconds.

    It prints only characters of the output's encoding, and never raises an error.

    Args:
        request: Of the fit. Its `verbose` 0 shows nothing; 2 prints a line at every call; else
            one line is written anew where a terminal or a notebook shows it, and a log has a
            few. Beside a `ProgbarLogger` of the user's own nothing is shown.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._start = time.monotonic()
        # Iterations and time of the first call, before which the program is compiled.
        self._first: tuple[int, float] | None = None
        self._line = ""
        given = keras.tree.flatten(request.callbacks or [])
        shows_itself = any(
            isinstance(each, keras.callbacks.ProgbarLogger) for each in given
        )
        self._write = _writer(0 if shows_itself else request.verbose)

    def update(self, run: OptimizationRun, logs: Mapping[str, Any]) -> None:
        """Shows a run after some iterations."""
        with contextlib.suppress(Exception):
            now = time.monotonic()
            self._first = self._first or (run.nit, now)
            left = self._seconds_left(run.nit, now)
            # A fit that has ended has no remaining time.
            self._line = self._words(run, logs, now, None)
            self._write(self._words(run, logs, now, left), self._share(run.nit, now), "")

    def end(self, result: OptimizeResult) -> None:
        """Shows how the fit ended."""
        with contextlib.suppress(Exception):
            self._write(self._line, 0.0, result.message)

    def _words(
        self, run: OptimizationRun, logs: Mapping[str, Any], now: float, left: float | None
    ) -> str:
        request = self._request
        seconds = _duration(now - self._start)
        words = [
            f"{request.initial_epoch + run.nit}/{request.epochs}",
            f"loss: {run.best.fun:.4e}",
            f"gradient: {run.best.grad_norm:.1e}",
            seconds if left is None else f"{seconds}, {_duration(left)} left",
            f"evaluations: {run.nfev}",
        ]
        words += [f"{name}: {float(v):.4g}" for name, v in logs.items() if name != "loss"]
        return printable("  ".join(words))

    def _seconds_left(self, nit: int, now: float) -> float | None:
        """Returns an estimate of the remaining seconds, or None."""
        first, begun = self._first or (nit, now)
        left = []
        if nit > first:
            rest = self._request.num_iterations - nit
            left.append((now - begun) / (nit - first) * rest)
        if self._request.max_seconds is not None:
            left.append(max(self._request.max_seconds - (now - self._start), 0.0))
        return min(left, default=None)

    def _share(self, nit: int, now: float) -> float:
        """Returns the used fraction of the iterations or of the time."""
        share = nit / self._request.num_iterations
        if self._request.max_seconds:
            share = max(share, (now - self._start) / self._request.max_seconds)
        return share


def _writer(verbose: str | int) -> Callable[[str, float, str], None]:
    """Returns what shows a line, the fraction of the fit that is done, and at its end a message."""
    if verbose == 0 or sys.stdout is None:
        return lambda *_: None
    if verbose == 2:
        return _logging(0)
    if module := ipython():
        place = Place(module)
        return lambda line, _, end: place.write("\n".join(filter(None, (line, end))))
    return _rewrite if sys.stdout.isatty() else _logging(_LINES)


def _rewrite(line: str, share: float, message: str) -> None:
    columns = shutil.get_terminal_size().columns - 1
    if message:
        print(f"\r{line:<{columns}}\n{message}" if line else message, flush=True)
        return
    cut = line if len(line) <= columns else f"{line[: columns - 3]}..."
    # Padded to the width of the terminal, to cover a longer line before.
    print(f"\r{cut:<{columns}}", end="", flush=True)


def _logging(num_lines: int) -> Callable[[str, float, str], None]:
    """Returns a function that prints after each of so many parts of a fit; 0 prints all lines."""
    due, last = 0.0, ""

    def write(line: str, share: float, message: str) -> None:
        nonlocal due, last
        # At the end, a line of this iteration may be there already.
        is_new = line.split(" ")[0] != last.split(" ")[0]
        if is_new if message else share >= due:
            # The next part that is not done yet.
            due = num_lines and (int(share * num_lines + 1e-9) + 1) / num_lines
            last = line
            print(line, flush=True)
        if message:
            print(message, flush=True)

    return write


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
