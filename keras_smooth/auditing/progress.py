"""A line in the terminal with the current layer."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape

# A shorter audit needs no line.
SECONDS = 3.0


@contextlib.contextmanager
def line(console: Console, seconds: float = SECONDS) -> Iterator[Callable]:
    """Shows the current layer in a terminal, and removes the line at the end.

    It is a context manager, and its value is the argument `progress` of `audit`. If the console
    is not a terminal, it shows nothing.

    Args:
        console: The console of stderr.
        seconds: Seconds before the line is shown.
    """
    status, start = console.status(""), time.monotonic() + seconds

    def show(path: str, number: int, total: int) -> None:
        if console.is_terminal and time.monotonic() >= start:
            status.update(f"{number} of {total}: {escape(path)}")
            status.start()

    try:
        yield show
    finally:
        status.stop()
