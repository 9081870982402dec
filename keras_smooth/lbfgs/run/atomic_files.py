"""Writing files atomically, even if several processes write, or a process is killed."""

import os
import re
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

_SUFFIX = "partial"


def write(path: Path, contents: Iterable[bytes | memoryview]) -> None:
    """Writes a file under a temporary name, and then renames it.

    A reader sees either the old file or the new one. The new file is flushed to disk before
    it is renamed, so that a loss of power does not leave a partial file.

    Raises:
        OSError: If the directory cannot be written, or the disk is full.
    """
    name = f".{path.name}.{_host_name()}.{os.getpid()}.{secrets.token_hex(8)}.{_SUFFIX}"
    partial = path.with_name(name)
    try:
        # Mode x never opens an existing file or a link.
        with open(partial, "xb") as file:
            for content in contents:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A rename is atomic, so that a file with its final name is complete.
        os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        # The error of a full disk does not have the name of the file.
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise
    _flush_directory(path.parent)


def remove_leftovers(directory: Path) -> None:
    """Removes the temporary files of processes on this machine that no longer run."""
    for path in directory.glob(f".*.{_SUFFIX}"):
        match = re.search(r"\.([^.]*)\.([0-9]+)\.[0-9a-f]{16}\.partial$", path.name)
        if match and match[1] == _host_name() and not _is_running(int(match[2])):
            path.unlink(missing_ok=True)


def _host_name() -> str:
    return re.sub("[^a-zA-Z0-9-]", "-", socket.gethostname())


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True  # On Windows, signal 0 would end the process.
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # The process runs as another user.
    return True


def _flush_directory(directory: Path) -> None:
    # Windows cannot open a directory.
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
