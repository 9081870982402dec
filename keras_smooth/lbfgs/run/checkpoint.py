"""Checkpoints of a run, and how a fit continues from one."""

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

# Number of files to keep.
KEEP = 2
# Version of the arrays in a file.
FORMAT = 3
# Formats of 0.1.0 and 0.2.0. Options of these runs are not compared, since their minimizers had
# another kind of memory.
OLD_FORMATS = (1, 2)
_IGNORED_OF_OLD_FORMATS = ("format", "method", "num_correction_pairs")
_NAME = "fit_lbfgs-{:012d}.checkpoint"
# Other files of the directory are neither read nor removed.
_PATTERN = "fit_lbfgs-" + 12 * "[0-9]" + ".checkpoint"
# Errors that reading a damaged file can raise.
_DAMAGE_ERRORS = (LookupError, TypeError, ValueError, AttributeError)
_DIGEST_SIZE = hashlib.sha256().digest_size
# For each model, digests of its weights after its latest run with a checkpoint, and at the start of
# that run.
_latest_ends = weakref.WeakKeyDictionary()


class Checkpoint:
    """The latest checkpoint files of one run, in a directory.

    Args:
        directory: The directory, created if it does not exist.
        identity: The identity of the run, as JSON; a checkpoint with another one is an error.
        writes: Whether this process saves checkpoints.

    Raises:
        ValueError: If the directory is a file, or cannot be created or written.
    """

    def __init__(
        self, directory: str | os.PathLike, identity: dict[str, Any], writes: bool = True
    ):
        self._directory = Path(directory)
        self._identity = {"format": FORMAT, **identity}
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            if writes:
                # This temporary file is removed when it is closed.
                tempfile.TemporaryFile(dir=self._directory).close()
        except OSError as error:
            raise ValueError(
                f"Checkpoints cannot be written to {self._directory}: {error.strerror}. "
                "`checkpoint` must be a directory in which files can be made."
            ) from error

    def save(self, nit: int, arrays: dict[str, np.ndarray]) -> None:
        """Writes the arrays of an iteration, and removes all files but the latest ones."""
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

        If an older version has written the file, the arrays have an additional entry "old".

        Raises:
            ValueError: If the file is of another model, other data or other options, or if all
                files are damaged.
        """
        paths = self._paths()
        for path in paths:
            try:
                arrays = _read_file(path)
            except FileNotFoundError:
                # Another process has written newer files.
                return self.load()
            if arrays is None:
                continue
            identity = json.loads(arrays.pop("identity").tobytes())
            is_old_format = identity.get("format") in OLD_FORMATS
            ignored = _IGNORED_OF_OLD_FORMATS if is_old_format else ()
            keys = {*identity, *self._identity}.difference(ignored)
            others = [k for k in sorted(keys) if identity.get(k) != self._identity.get(k)]
            if others:
                raise ValueError(
                    f"{path} is a checkpoint of another run: {', '.join(others)} of it is "
                    "not the same. Give this run a directory of its own."
                )
            return {**arrays, "old": np.array(True)} if is_old_format else arrays
        if paths:
            raise ValueError(
                f"Every checkpoint in {self._directory} is damaged: "
                f"{', '.join(path.name for path in paths)}. Remove them to begin anew."
            )
        return None

    def _paths(self) -> list[Path]:
        return sorted(self._directory.glob(_PATTERN), reverse=True)


def _read_file(path: Path) -> dict[str, np.ndarray] | None:
    """Returns the arrays of a file, or None if it is damaged."""
    content = path.read_bytes()
    if hashlib.sha256(content[_DIGEST_SIZE:]).digest() != content[:_DIGEST_SIZE]:
        return None
    try:
        with np.load(io.BytesIO(content[_DIGEST_SIZE:]), allow_pickle=False) as file:
            arrays = dict(file)
        is_whole = isinstance(json.loads(arrays["identity"].tobytes()), dict)
    # A file may be crafted, with any content and a correct digest.
    except (*_DAMAGE_ERRORS, OSError, EOFError, zipfile.BadZipFile):
        return None
    return arrays if is_whole else None


def _by_array_name(kind: str, values: Iterable) -> dict[str, Any]:
    """Returns a dict of values with the keys kind_0, kind_1 and so on."""
    return {f"{kind}_{i}": value for i, value in enumerate(values)}


class ResumableFit:
    """A fit that is saved after every chunk of iterations, and continues from a saved one.

    If there are several workers, the chief writes the files, and all read them.

    Args:
        directory: Directory of the checkpoints.
        problem: The problem of the fit.

    Raises:
        ValueError: If the directory has a checkpoint of another run or of a run from another
            start, or if the workers read different checkpoints.
    """

    def __init__(self, directory: str | os.PathLike, problem: FitProblem):
        self._problem, self._directory = problem, os.fspath(directory)
        replicas = problem.replicas
        self._is_chief = not replicas or replicas.is_chief
        others = problem.fitted_model.non_trainable_variables
        floats = [v for v in others if "float" in v.dtype]
        frozen = [v for v in floats if not is_among(v, problem.moving_averages)]
        identity = _identity(problem, digest(frozen))
        self._checkpoint = Checkpoint(self._directory, identity, self._is_chief)
        self._saved = saved = self._checkpoint.load()
        changing = [v for v in others if not is_among(v, frozen)]
        read_variables = _by_array_name("read", problem.read_variables)
        # A checkpoint of an older version may lack these values.
        self._read_variables = {
            n: v for n, v in read_variables.items() if saved is None or n in saved
        }
        # Seeds and moving averages, which training changes, and other variables of the loss.
        self._saved_variables = {
            **_by_array_name("moving", changing),
            **self._read_variables,
        }
        # Checked before a worker may raise an error alone, for which the others would wait.
        if replicas and replicas.has_several_workers:
            replicas.check_same(checkpoint=digest((self._saved or {}).values()))
        self._start = self._find_start()

    def begin(self, position: tf.Tensor) -> tf.Tensor:
        """Returns the position at which the fit starts; restores seeds, averages and points."""
        if self._saved is None:
            return position
        with self._reading_arrays() as saved:
            for name, variable in self._saved_variables.items():
                variable.assign(saved[name])
            if points := self._points():
                leaves = [tf.constant(saved[name]) for name in points]
                x = keras.tree.pack_sequence_as(self._problem.points.parts[0], leaves)
                self._problem.replace_points(ObjectivePoints(x))
            best = tf.constant(saved["best_position"], position.dtype)
            return tf.ensure_shape(best, position.shape)

    def restore(self, run: OptimizationRun, history: keras.callbacks.History) -> None:
        """Restores a run and its history from the checkpoint.

        Raises:
            ValueError: If the loss at the saved weights differs from the saved loss.
        """
        if self._saved is None:
            return
        now = run.best.fun
        with self._reading_arrays() as saved:
            run.restore(saved)
            record = json.loads(saved["history"].tobytes())
            history.epoch, history.history = list(record["epoch"]), dict(record["history"])
        # Values of the same objective differ by rounding only.
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
        # A metric may be an array, with a number for each class.
        record = {"epoch": history.epoch, "history": history.history}
        text = json.dumps(record, default=lambda value: np.asarray(value).tolist())
        values = {**run.snapshot(), **self._saved_variables, **self._points()}
        arrays = {name: np.asarray(value) for name, value in values.items()}
        arrays["history"] = np.frombuffer(text.encode(), "u1")
        arrays["start"] = np.frombuffer(self._start.encode(), "u1")
        self._checkpoint.save(run.nit, arrays)

    def end(self) -> None:
        """Records that this run ended at the current weights of the model."""
        _latest_ends[self._problem.model] = (self._current_digest(), self._start)

    def _points(self) -> dict[str, tf.Tensor]:
        """Returns the points, if they are resampled."""
        x = self._problem.points.parts[0] if self._problem.request.resample else ()
        return _by_array_name("points", keras.tree.flatten(x))

    def _current_digest(self) -> str:
        """Returns a digest of the current weights, and of other variables that the loss reads."""
        return digest([*self._problem.trained_values(), *self._read_variables.values()])

    @contextlib.contextmanager
    def _reading_arrays(self) -> Iterator[dict[str, np.ndarray]]:
        """Yields the saved arrays; an error inside says that the checkpoint is damaged."""
        try:
            yield self._saved or {}
        except (*_DAMAGE_ERRORS, tf.errors.InvalidArgumentError) as error:
            raise ValueError(
                f"The checkpoint in {self._directory} is damaged: {copies.brief(error)}. "
                "Remove it to begin anew."
            ) from error

    def _find_start(self) -> str:
        """Returns a digest of the weights at the start of the run.

        Raises:
            ValueError: If the model is neither at the start of the saved run nor at its end.
        """
        now = self._current_digest()
        if self._saved is None:
            return now
        # Version 0.1.0 did not save the start.
        with self._reading_arrays() as saved:
            as_now = np.frombuffer(now.encode(), "u1")
            start = saved.get("start", as_now).tobytes().decode()
            best = self._problem.trained_values(saved["best_position"])
            best += [saved[name] for name in self._read_variables]
        is_latest_end = (now, start) == _latest_ends.get(self._problem.model)
        if now in (start, digest(best)) or is_latest_end:
            return start
        names = names_of(list(self._read_variables.values()))
        also = f"and what its loss reads ({names}) " if self._read_variables else ""
        raise ValueError(
            f"The checkpoint in {self._directory} is of a run from another start: the weights of "
            f"the model {also}are neither those at which it began nor those at which it ended. "
            "Give every run a directory of its own, as each seed of a loop; to go on with this "
            "run, begin as it did, by keras.utils.set_random_seed before the model is built."
        )


def _identity(problem: FitProblem, frozen: str) -> dict[str, Any]:
    """Returns the properties that must be equal for a run to continue, as JSON.

    Names of Keras are left out, since they depend on how many objects a process has made.
    """
    model, request = problem.fitted_model, problem.request
    resample = request.resample
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
