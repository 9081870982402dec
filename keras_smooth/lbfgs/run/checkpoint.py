"""Checkpoints of a run: written atomically, validated when read; how a fit continues from one."""

import contextlib
import hashlib
import io
import json
import math
import os
import tempfile
import weakref
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.data.training_data import ObjectivePoints
from keras_smooth.lbfgs.objective.variables import dtype_of, is_among, names_of
from keras_smooth.lbfgs.run import atomic_files
from keras_smooth.lbfgs.run.fit_problem import FitProblem
from keras_smooth.lbfgs.run.optimization_run import OptimizationRun
from keras_smooth.models import copies
from keras_smooth.models.identity import digest
from keras_smooth.presentation.warn import warn

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
_DAMAGES = (LookupError, TypeError, ValueError, AttributeError)
_DIGEST = hashlib.sha256().digest_size
# The weights of a model after its latest run with a checkpoint, and the start of that run.
_ends = weakref.WeakKeyDictionary()


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
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            if writes:
                # A temporary file without a name, which leaves nothing.
                tempfile.TemporaryFile(dir=self._directory).close()
        except OSError as error:
            raise ValueError(
                f"Checkpoints cannot be written to {self._directory}: {error.strerror}. "
                "`checkpoint` must be a directory in which files can be made."
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


def _named(kind: str, values: Iterable) -> dict[str, Any]:
    """Returns values by the names of their arrays."""
    return {f"{kind}_{i}": value for i, value in enumerate(values)}


class Resumable:
    """A fit that is saved after every chunk of iterations.

    Of several workers the chief writes, and all read what it wrote.

    Args:
        directory: Of the checkpoints.
        problem: What is minimized.

    Raises:
        ValueError: If the directory has a checkpoint of another run, also of one from
            another start, or other ones for other workers.
    """

    def __init__(self, directory: str | os.PathLike, problem: FitProblem):
        self._problem, self._directory = problem, os.fspath(directory)
        replicas = problem.replicas
        self._is_chief = not replicas or replicas.is_chief
        others = problem.worker.non_trainable_variables
        # Training changes these.
        floats = [v for v in others if "float" in v.dtype]
        frozen = [v for v in floats if not is_among(v, problem.moving)]
        identity = _identity(problem, digest(frozen))
        self._checkpoint = Checkpoint(self._directory, identity, self._is_chief)
        self._saved = saved = self._checkpoint.load()
        self._moving = _named("moving", [v for v in others if not is_among(v, frozen)])
        read = _named("read", problem.read)
        # A run of an older version, which did not save them, goes on without.
        self._read = {n: v for n, v in read.items() if saved is None or n in saved}
        # Before anything that may raise an error on one worker only, since others would wait.
        if replicas and replicas.has_several_workers:
            replicas.check_same(checkpoint=digest((self._saved or {}).values()))
        self._start = self._checked_start()

    def begin(self, position: tf.Tensor) -> tf.Tensor:
        """Returns the position to start at, and restores seeds, averages and points."""
        if self._saved is None:
            return position
        with self._reading() as saved:
            for name, variable in {**self._moving, **self._read}.items():
                variable.assign(saved[name])
            if points := self._points():
                leaves = [tf.constant(saved[name]) for name in points]
                x = keras.tree.pack_sequence_as(self._problem.points.parts[0], leaves)
                self._problem.move(ObjectivePoints(x))
            best = tf.constant(saved["best_position"], position.dtype)
            return tf.ensure_shape(best, position.shape)

    def restore(self, run: OptimizationRun, history: keras.callbacks.History) -> None:
        """Restores a run and its history from the checkpoint.

        Raises:
            ValueError: If the objective has another value there than it had.
        """
        if self._saved is None:
            return
        now = run.best.fun
        with self._reading() as saved:
            run.restore(saved)
            record = json.loads(saved["history"].tobytes())
            history.epoch, history.history = list(record["epoch"]), dict(record["history"])
        # Two values of one objective differ by rounding only.
        before, eps = run.best.fun, np.finfo(run.best.position.dtype.as_numpy_dtype).eps
        if not math.isclose(before, now, rel_tol=math.sqrt(eps), abs_tol=eps):
            raise ValueError(
                f"At the weights of the checkpoint the loss was {before!r} and is {now!r}: the "
                "checkpoint is of another loss or of another model. Give this run a directory of "
                "its own."
            )
        if "old" in self._saved:
            warn(
                "The checkpoint is of an older version: the fit goes on from its weights and "
                "history, but with empty memory."
            )
        self._problem.assign(run.best.position, averages=False)

    def save(self, run: OptimizationRun, history: keras.callbacks.History) -> None:
        """Writes a checkpoint of a run and its history."""
        if not self._is_chief:
            return
        # A metric may be an array, one number a class.
        record = {"epoch": history.epoch, "history": history.history}
        text = json.dumps(record, default=lambda value: np.asarray(value).tolist())
        values = {**run.snapshot(), **self._moving, **self._read, **self._points()}
        arrays = {name: np.asarray(value) for name, value in values.items()}
        arrays["history"] = np.frombuffer(text.encode(), "u1")
        arrays["start"] = np.frombuffer(self._start.encode(), "u1")
        self._checkpoint.save(run.nit, arrays)

    def end(self) -> None:
        """Remembers that the current weights of the model are of this run."""
        _ends[self._problem.model] = (self._now(), self._start)

    def _points(self) -> dict[str, tf.Tensor]:
        """Returns the points if they are drawn anew."""
        x = self._problem.points.parts[0] if self._problem.request.resample else ()
        return _named("points", keras.tree.flatten(x))

    def _now(self) -> str:
        """Returns a hash of the current weights of the model and of what else the loss reads."""
        return digest([*self._problem.trained(), *self._read.values()])

    @contextlib.contextmanager
    def _reading(self) -> Iterator[dict[str, np.ndarray]]:
        """Yields the saved arrays; an error in reading them says that the checkpoint is damaged."""
        try:
            yield self._saved or {}
        except (*_DAMAGES, tf.errors.InvalidArgumentError) as error:
            raise ValueError(
                f"The checkpoint in {self._directory} is damaged: {copies.brief(error)}. "
                "Remove it to begin anew."
            ) from error

    def _checked_start(self) -> str:
        """Returns the identity of the start of the run.

        Raises:
            ValueError: If the model is neither at the start of the saved run nor at its end.
        """
        now = self._now()
        if self._saved is None:
            return now
        # Version 0.1.0 did not save it.
        with self._reading() as saved:
            as_now = np.frombuffer(now.encode(), "u1")
            start = saved.get("start", as_now).tobytes().decode()
            best = self._problem.trained(saved["best_position"])
            best += [saved[name] for name in self._read]
        its_own = (now, start) == _ends.get(self._problem.model)
        if now in (start, digest(best)) or its_own:
            return start
        names = names_of(list(self._read.values()))
        also = f"and what its loss reads ({names}) " if self._read else ""
        raise ValueError(
            f"The checkpoint in {self._directory} is of a run from another start: the weights of "
            f"the model {also}are neither those at which it began nor those at which it ended. "
            "Give every run a directory of its own, as each seed of a loop; to go on with this "
            "run, begin as it did, by keras.utils.set_random_seed before the model is built."
        )


def _identity(problem: FitProblem, frozen: str) -> dict[str, Any]:
    """Returns what must be the same for a run to continue, as JSON.

    Without the names that Keras counts up in a process.
    """
    model, request, resample = problem.worker, problem.request, problem.request.resample
    layers = [type(layer).__name__ for layer in getattr(model, "layers", ())]
    weights = [[list(v.shape), v.dtype] for v in model.variables]
    others = problem.objective.variables[len(model.trainable_variables) :]
    variables = [[list(v.shape), dtype_of(v)] for v in others]
    return {
        "model": [type(model).__name__, layers, weights],
        **({"variables": variables} if variables else {}),
        "data": problem.points.digest,
        "method": request.method,
        "num_correction_pairs": problem.program.num_correction_pairs,
        "frozen weights": frozen,
        **({"resample": [resample.every, resample.seed]} if resample else {}),
    }
