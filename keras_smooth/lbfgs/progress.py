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

# A log has a line at the first call of the callbacks, after each tenth of the fit, and at its end.
_LINES = 10


class Progress:
    """Shows iteration, loss, largest gradient, evaluations, elapsed and remaining seconds.

    It prints only characters that the encoding of the output has, and never raises an error.

    Args:
        request: The request of the fit. With `verbose=0`, nothing is shown, and with 2, each call
            of the callbacks prints a line. Otherwise, a terminal or a notebook has one line that
            is updated, and a log has a few lines. If the user passes a `ProgbarLogger`, nothing
            is shown.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._start = time.monotonic()
        # Iterations and time at the first update, so that estimates do not include compiling.
        self._first: tuple[int, float] | None = None
        self._line = ""
        callbacks = keras.tree.flatten(request.callbacks or [])
        has_progress_bar = any(
            isinstance(callback, keras.callbacks.ProgbarLogger) for callback in callbacks
        )
        self._write = _choose_writer(0 if has_progress_bar else request.verbose)

    def update(self, run: OptimizationRun, logs: Mapping[str, Any]) -> None:
        """Shows a run after some iterations."""
        with contextlib.suppress(Exception):
            now = time.monotonic()
            self._first = self._first or (run.nit, now)
            line = self._format_line(run, logs, now, self._seconds_left(run.nit, now))
            # A fit that has ended has no remaining time.
            self._line = self._format_line(run, logs, now, None)
            self._write(line, self._fraction_done(run.nit, now), "")

    def end(self, result: OptimizeResult) -> None:
        """Shows how the fit ended."""
        with contextlib.suppress(Exception):
            self._write(self._line, 0.0, result.message)

    def _format_line(
        self, run: OptimizationRun, logs: Mapping[str, Any], now: float, left: float | None
    ) -> str:
        request = self._request
        seconds = _duration(now - self._start)
        parts = [
            f"{request.initial_epoch + run.nit}/{request.epochs}",
            f"loss: {run.best.fun:.4e}",
            f"gradient: {run.best.grad_norm:.1e}",
            seconds if left is None else f"{seconds}, {_duration(left)} left",
            f"evaluations: {run.nfev}",
        ]
        parts += [f"{name}: {float(v):.4g}" for name, v in logs.items() if name != "loss"]
        return printable("  ".join(parts))

    def _seconds_left(self, nit: int, now: float) -> float | None:
        """Returns an estimate of the remaining seconds, or None."""
        first, first_time = self._first or (nit, now)
        estimates = []
        if nit > first:
            num_remaining = self._request.num_iterations - nit
            estimates.append((now - first_time) / (nit - first) * num_remaining)
        if self._request.max_seconds is not None:
            estimates.append(max(self._request.max_seconds - (now - self._start), 0.0))
        return min(estimates, default=None)

    def _fraction_done(self, nit: int, now: float) -> float:
        """Returns the fraction of the iterations, or of the time if larger, that is used."""
        fraction = nit / self._request.num_iterations
        if self._request.max_seconds:
            fraction = max(fraction, (now - self._start) / self._request.max_seconds)
        return fraction


def _choose_writer(verbose: str | int) -> Callable[[str, float, str], None]:
    """Returns a function that shows a line, the fraction of the fit done, or a final message."""
    if verbose == 0 or sys.stdout is None:
        return lambda *_: None
    if verbose == 2:
        return _log_writer(0)
    if module := ipython():
        place = Place(module)
        return lambda line, _, end: place.write("\n".join(filter(None, (line, end))))
    return _rewrite_line if sys.stdout.isatty() else _log_writer(_LINES)


def _rewrite_line(line: str, fraction: float, message: str) -> None:
    columns = shutil.get_terminal_size().columns - 1
    if message:
        print(f"\r{line:<{columns}}\n{message}" if line else message, flush=True)
        return
    shortened = line if len(line) <= columns else f"{line[: columns - 3]}..."
    # Padding to the width of the terminal covers a longer line.
    print(f"\r{shortened:<{columns}}", end="", flush=True)


def _log_writer(num_lines: int) -> Callable[[str, float, str], None]:
    """Returns a function that prints about `num_lines` lines in a fit; 0 prints every line."""
    next_fraction, last = 0.0, ""

    def write(line: str, fraction: float, message: str) -> None:
        nonlocal next_fraction, last
        # At the end, the line of this iteration may have been printed already.
        is_new = line.split(" ")[0] != last.split(" ")[0]
        if is_new if message else fraction >= next_fraction:
            # The fraction of the fit after which the next line is printed.
            next_fraction = num_lines and (int(fraction * num_lines + 1e-9) + 1) / num_lines
            last = line
            print(line, flush=True)
        if message:
            print(message, flush=True)

    return write


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
