"""One comparison at a time in a directory."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows has none.
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


@contextlib.contextmanager
def locked(directory: Path | None) -> Iterator[None]:
    """Keeps other comparisons out of a directory; None is no directory.

    The system takes the lock away when the process ends, however it does.

    Raises:
        ValueError: If another comparison writes there, or nobody can.
    """
    if directory is None or fcntl is None:
        yield
        return
    try:
        # Not through a link to a file that is somebody else's.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        file = open(os.open(directory / NAME, flags, 0o666), "r+")
        # The lock may be of an earlier comparison, in a directory that takes no new files.
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        raise ValueError(
            f"Cannot write in the output directory {directory}: {error.strerror}."
        ) from None
    with file:
        _take(file, directory)
        yield


def _take(file: IO[str], directory: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise ValueError(
            f"Another comparison, of process {file.read().strip()}, is writing in "
            f"{directory}. Wait for its end, or use another output directory."
        ) from None
    except OSError:
        return  # A file system without locks.
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
