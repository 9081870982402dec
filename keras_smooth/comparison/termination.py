"""SIGTERM as an exception, like Ctrl-C: SLURM, Kubernetes and `kill` end processes with it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# The exit status in a shell of a process that this signal ended.
STATUS = 128 + signal.SIGTERM


class Terminated(SystemExit):
    """The process received SIGTERM. An exception allows code to clean up files and terminal."""

    def __init__(self) -> None:
        super().__init__(STATUS)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raises `Terminated` on SIGTERM, unless the process has its own handler of that signal."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def handler_kept() -> Iterator[None]:
    """Restores the handler of SIGTERM, which code in the context may replace."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _end(number: int, frame: FrameType | None) -> None:
    # A second signal must not interrupt the clean-up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated
