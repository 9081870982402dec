"""The lock that allows one comparison at a time in a directory."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows does not have it.
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


@contextlib.contextmanager
def locked(directory: Path | None) -> Iterator[None]:
    """Locks a directory for this comparison; without a directory, nothing is locked.

    The operating system releases the lock when the process ends, even if it is killed.

    Raises:
        ValueError: If another comparison writes there, or the directory is not writable.
    """
    if directory is None or fcntl is None:
        yield
        return
    try:
        # Do not follow a link to another file.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        file = open(os.open(directory / NAME, flags, 0o666), "r+")
        # The lock file may exist from an earlier comparison in a directory that is not writable.
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        raise ValueError(
            f"Cannot write in the output directory {directory}: {error.strerror}."
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"Another comparison, of process {file.read().strip()}, is writing in "
                f"{directory}. Wait for its end, or use another output directory."
            ) from None
        except OSError:
            pass  # The file system has no locks.
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
