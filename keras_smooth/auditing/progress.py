"""A line in the terminal with the current layer."""

import time

from rich.console import Console
from rich.markup import escape

# A shorter audit needs no line.
SECONDS = 3.0


class ProgressLine:
    """Shows the current layer in a terminal, and removes the line at the end.

    It is a context manager, and its value is the argument `progress` of `audit`. If the console
    is not a terminal, it shows nothing.

    Args:
        console: The console of stderr.
        seconds: Seconds before the line is shown.
    """

    def __init__(self, console: Console, seconds: float = SECONDS) -> None:
        self._status = console.status("") if console.is_terminal else None
        self._start = time.monotonic() + seconds

    def __enter__(self) -> "ProgressLine":
        return self

    def __call__(self, path: str, number: int, total: int) -> None:
        if self._status is not None and time.monotonic() >= self._start:
            self._status.update(f"{number} of {total}: {escape(path)}")
            self._status.start()

    def __exit__(self, *error: object) -> None:
        if self._status is not None:
            self._status.stop()
