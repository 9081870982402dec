"""A line in the terminal with the current layer."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape

# No line is shown for an audit that takes fewer seconds.
SECONDS = 3.0


@contextlib.contextmanager
def line(console: Console, seconds: float = SECONDS) -> Iterator[Callable]:
    """Returns a context manager that shows the current layer in a terminal.

    Its value is the argument `progress` of `audit`. The line is removed at the end. If the console
    is not a terminal, nothing is shown.

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
