"""SIGTERM, by which SLURM, Kubernetes and `kill` end a process, as an exception like Ctrl-C's."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# The exit status in a shell of a process that this signal ended.
STATUS = 128 + signal.SIGTERM


class Terminated(SystemExit):
    """The process was asked to end: on its way out, files and terminal are put in order."""

    def __init__(self) -> None:
        super().__init__(STATUS)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raises `Terminated` when SIGTERM comes, unless the caller has a handler of its own."""
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
def kept() -> Iterator[None]:
    """Puts back the handler of SIGTERM that others set meanwhile."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _end(number: int, frame: FrameType | None) -> None:
    # A second signal must not interrupt the clean-up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated
