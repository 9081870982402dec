"""Checkpoints of a run on disk: written atomically, and validated when read."""

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from keras_smooth.lbfgs.run import atomic_files

KEEP = 2
# Of the arrays that a run is kept in.
FORMAT = 3
# Of versions 0.1.0 and 0.2.0: their options are not compared, since the memory of their minimizers
# was another.
OLD_FORMATS = (1, 2)
_OPTIONS_OF_OLD = ("format", "method", "num_correction_pairs")
_NAME = "fit_lbfgs-{:012d}.checkpoint"
# No other files of the directory are read or removed.
_PATTERN = "fit_lbfgs-" + 12 * "[0-9]" + ".checkpoint"
# Errors of reading a damaged file.
_DAMAGES = (ValueError, KeyError, TypeError, AttributeError)
_DIGEST = hashlib.sha256().digest_size


class Checkpoint:
    """The checkpoints of one run in one directory, the latest two.

    Args:
        directory: The directory, created if it does not exist.
        identity: The identity of the run, as JSON; a checkpoint with another one is an error.
        writes: Whether this process will save there.

    Raises:
        ValueError: If the directory is a file, or cannot be made or written.
    """

    def __init__(
        self, directory: str | os.PathLike, identity: dict[str, Any], writes: bool = True
    ):
        self._directory = Path(directory)
        self._identity = {"format": FORMAT, **identity}
        if self._directory.exists() and not self._directory.is_dir():
            raise ValueError(
                f"`checkpoint` must be a directory, but {self._directory} is a file."
            )
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            if writes:
                # A temporary file without a name, which leaves nothing.
                tempfile.TemporaryFile(dir=self._directory).close()
        except OSError as error:
            raise ValueError(
                f"Checkpoints cannot be written to {self._directory}: {error.strerror}. "
                "Pass a directory in which files can be made."
            ) from error

    def save(self, nit: int, arrays: dict[str, np.ndarray]) -> None:
        """Writes the arrays of an iteration, and removes all but the latest files."""
        buffer = io.BytesIO()
        identity = np.frombuffer(json.dumps(self._identity).encode(), np.uint8)
        np.savez(buffer, identity=identity, **arrays)  # type: ignore[arg-type]
        content = buffer.getbuffer()
        digest = hashlib.sha256(content).digest()
        atomic_files.write(self._directory / _NAME.format(nit), (digest, content))
        for path in self._paths()[KEEP:]:
            # Another process may have removed it.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        atomic_files.remove_leftovers(self._directory)

    def load(self) -> dict[str, np.ndarray] | None:
        """Returns the arrays of the latest valid file, or None if there is no file.

        Those of older versions have the entry "old".

        Raises:
            ValueError: If the file is of another model, other data or other options, or
                if files are there and none is whole.
        """
        paths = self._paths()
        for path in paths:
            try:
                arrays = _read(path)
            except FileNotFoundError:
                # Another process has written newer files.
                return self.load()
            if arrays is None:
                continue
            identity = json.loads(arrays.pop("identity").tobytes())
            is_old = identity.get("format") in OLD_FORMATS
            keys = {*identity, *self._identity} - set(_OPTIONS_OF_OLD if is_old else ())
            others = [k for k in sorted(keys) if identity.get(k) != self._identity.get(k)]
            if others:
                raise ValueError(
                    f"{path} is a checkpoint of another run: {', '.join(others)} of it is "
                    "not the same. Give this run a directory of its own."
                )
            return {**arrays, "old": np.array(True)} if is_old else arrays
        if paths:
            raise ValueError(
                f"Every checkpoint in {self._directory} is damaged: "
                f"{', '.join(path.name for path in paths)}. Remove them to begin anew."
            )
        return None

    def _paths(self) -> list[Path]:
        return sorted(self._directory.glob(_PATTERN), reverse=True)


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """Returns the arrays of a file, or None if it is damaged."""
    content = path.read_bytes()
    if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
        return None
    try:
        with np.load(io.BytesIO(content[_DIGEST:]), allow_pickle=False) as file:
            arrays = dict(file)
        is_whole = isinstance(json.loads(arrays["identity"].tobytes()), dict)
    # A crafted file may have any content and the right digest.
    except (*_DAMAGES, OSError, EOFError, zipfile.BadZipFile):
        return None
    return arrays if is_whole else None
