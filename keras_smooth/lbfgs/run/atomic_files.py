"""Files that are written as a whole or not at all, whoever else writes or dies meanwhile."""

import os
import re
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

_SUFFIX = "partial"


def write(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Writes a file under a name of its own, which it then gives the final one.

    A reader sees the file that was there before or the new one. The new one is on disk before
    it has its name, so that a machine that loses its power leaves no half of it either.

    Raises:
        OSError: If the directory cannot be written, or the disk is full.
    """
    name = f".{path.name}.{_host()}.{os.getpid()}.{secrets.token_hex(8)}.{_SUFFIX}"
    partial = path.with_name(name)
    try:
        # Not one that exists, nor a link to anywhere.
        with open(partial, "xb") as file:
            for content in parts:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A rename is atomic: a file under its final name is whole.
        os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        # A full disk does not say of which file.
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise
    _sync(path.parent)


def remove_leftovers(directory: Path) -> None:
    """Removes what processes of this machine have left that were killed while they wrote."""
    for path in directory.glob(f".*.{_SUFFIX}"):
        match = re.search(r"\.([^.]*)\.([0-9]+)\.[0-9a-f]{16}\.partial$", path.name)
        if match and match[1] == _host() and not _runs(int(match[2])):
            path.unlink(missing_ok=True)


def _host() -> str:
    return re.sub("[^a-zA-Z0-9-]", "-", socket.gethostname())


def _runs(process: int) -> bool:
    if os.name != "posix":
        return True  # There a signal 0 would end it.
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # It runs, as another user.
    return True


def _sync(directory: Path) -> None:
    # Windows cannot open a directory.
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
