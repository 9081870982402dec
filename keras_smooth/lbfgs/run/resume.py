"""What of a fit is kept in a checkpoint, and how a fit goes on from one."""

import contextlib
import json
import math
import os
import weakref
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.data.training_data import ObjectivePoints, TrainingData
from keras_smooth.lbfgs.objective.variables import dtype_of
from keras_smooth.lbfgs.request import Request
from keras_smooth.lbfgs.run.checkpoint import Checkpoint
from keras_smooth.lbfgs.run.fit_problem import FitProblem
from keras_smooth.lbfgs.run.optimization_run import OptimizationRun
from keras_smooth.models import copies
from keras_smooth.models.identity import digest
from keras_smooth.presentation.warn import warn

# What reading raises where entries are not as they were written.
_DAMAGES = (KeyError, IndexError, TypeError, ValueError, AttributeError)
# The weights of a model after its latest run with a checkpoint, and the start of that run.
_ends = weakref.WeakKeyDictionary()


class Resumable:
    """A fit that saves itself after every chunk of iterations.

    Of several workers the chief writes, and all read what it wrote.

    Args:
        directory: Of the checkpoints.
        request: Of the fit.
        problem: What is minimized.

    Raises:
        ValueError: If the directory has a checkpoint of another run, also of one from
            another start, or other ones for other workers.
    """

    def __init__(self, directory: str | os.PathLike, request: Request, problem: FitProblem):
        self._problem = problem
        model = problem.worker
        frozen, self._moving = _frozen_and_moving(model, problem.moving)
        self._moves = request.resample is not None
        identity = {
            "model": _description(model),
            **_variables(problem),
            "frozen weights": digest(frozen),
            "data": problem.points.digest,
            "method": problem.key.method,
            "num_correction_pairs": problem.key.num_correction_pairs,
            **({"resample": request.resample.identity} if request.resample else {}),
        }
        replicas = problem.replicas
        is_chief = not replicas or replicas.is_chief
        self._checkpoint = Checkpoint(directory, identity, is_chief)
        self._saved = self._checkpoint.load()
        # Before what may raise on one worker alone: the others would wait for it.
        if replicas and replicas.several_workers:
            replicas.check_same(checkpoint=digest((self._saved or {}).values()))
        self._directory = os.fspath(directory)
        self._start = self._checked_start()

    def begin(self, position: tf.Tensor) -> tf.Tensor:
        """Returns the position to begin at, and gives seeds, averages and points back."""
        if self._saved is None:
            return position
        with self._reading():
            for i, variable in enumerate(self._moving):
                variable.assign(self._saved[f"moving_{i}"])
            if self._moves:
                self._problem.move(_restored(self._problem.points, self._saved))
            best = self._saved["best_position"]
            return tf.ensure_shape(tf.constant(best, position.dtype), position.shape)

    def restore(self, descent: OptimizationRun, history: keras.callbacks.History) -> None:
        """Lets a run that began there, and its history, go on from the checkpoint.

        Raises:
            ValueError: If the objective has another value there than it had.
        """
        if self._saved is None:
            return
        with self._reading():
            saved = float(self._saved["best"][0])
        now = descent.best.fun
        if not _is_same(saved, now, descent.best.position.dtype.as_numpy_dtype):
            raise ValueError(
                f"At the weights of the checkpoint the loss was {saved!r} and is {now!r}: "
                "the checkpoint is of another loss or of another model. Give this run a "
                "directory of its own."
            )
        with self._reading():
            self._restore(self._saved, descent, history)
        self._problem.assign(descent.best.position, averages=False)

    def _restore(self, saved: dict, descent: OptimizationRun, history: Any) -> None:
        if "old" in saved:
            warn(
                "The checkpoint is of version 0.1.0: the fit goes on from its weights and "
                "history, but with empty memory."
            )
            descent.restore_without_memory(saved)
        else:
            descent.restore(saved)
        record = json.loads(saved["history"].tobytes())
        history.epoch, history.history = list(record["epoch"]), dict(record["history"])

    def save(self, descent: OptimizationRun, history: keras.callbacks.History) -> None:
        """Writes a checkpoint of a run and its history."""
        if self._problem.replicas and not self._problem.replicas.is_chief:
            return
        record = {"epoch": history.epoch, "history": history.history}
        arrays = {f"moving_{i}": np.asarray(v) for i, v in enumerate(self._moving)}
        arrays["history"] = np.frombuffer(
            json.dumps(record, default=_as_lists).encode(), "u1"
        )
        if self._moves:
            arrays |= _saved_points(self._problem.points)
        arrays["start"] = np.frombuffer(self._start.encode(), "u1")
        self._checkpoint.save(descent.nit, {**descent.snapshot(), **arrays})

    def end(self) -> None:
        """Remembers that the weights which the model has now are of this run."""
        weights = digest(self._problem.trained())
        _ends[self._problem.model] = (weights, self._start)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Says of an error in what was saved that the checkpoint is damaged."""
        try:
            yield
        except (*_DAMAGES, tf.errors.InvalidArgumentError) as error:
            raise ValueError(
                f"The checkpoint in {self._directory} is damaged: {copies.brief(error)}. "
                "Remove it to begin anew."
            ) from error

    def _checked_start(self) -> str:
        """Returns what tells the start of the run from others.

        Raises:
            ValueError: If the model is neither at the start of the saved run nor at its end.
        """
        now = digest(self._problem.trained())
        if self._saved is None:
            return now
        # Version 0.1.0 did not save it.
        with self._reading():
            as_now = np.frombuffer(now.encode(), "u1")
            start = self._saved.get("start", as_now).tobytes().decode()
            best = self._problem.trained(self._saved["best_position"])
        its_own = (now, start) == _ends.get(self._problem.model)
        if now in (start, digest(best)) or its_own:
            return start
        raise ValueError(
            f"The checkpoint in {self._directory} is of a run from another start: the "
            "weights of the model are neither those at which it began nor those at which it "
            "ended. Give every run a directory of its own, as each seed of a loop; to go on "
            "with this run, begin as it did, by keras.utils.set_random_seed before the model "
            "is built."
        )


def _is_same(saved: float, now: float, dtype: Any) -> bool:
    """Returns whether two values of one objective differ by rounding only."""
    eps = np.finfo(dtype).eps
    return math.isclose(saved, now, rel_tol=math.sqrt(eps), abs_tol=eps)


def _frozen_and_moving(model: keras.Model, moving: list) -> tuple[list, list]:
    ids = {id(variable) for variable in moving}
    parts = [], []
    for variable in model.non_trainable_variables:
        moves = id(variable) in ids or not variable.dtype.startswith("float")
        parts[moves].append(variable)
    return parts


def _description(model: keras.Model) -> list:
    """Returns what a model is, without the names that Keras counts up in a process."""
    layers = [type(layer).__name__ for layer in getattr(model, "layers", ())]
    weights = [[list(v.shape), v.dtype] for v in model.variables]
    return [type(model).__name__, layers, weights]


def _variables(problem: FitProblem) -> dict[str, list]:
    """Returns what is trained beside the model, if anything is."""
    others = problem.objective.variables[len(problem.worker.trainable_variables) :]
    found = [[list(v.shape), dtype_of(v)] for v in others]
    return {"variables": found} if found else {}


def _saved_points(points: TrainingData) -> dict[str, np.ndarray]:
    leaves = keras.tree.flatten(points.parts[0])
    return {f"points_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}


def _restored(points: TrainingData, saved: dict[str, np.ndarray]) -> ObjectivePoints:
    """Returns saved points in the nest of others."""
    x = points.parts[0]
    leaves = [tf.constant(saved[f"points_{i}"]) for i in range(len(keras.tree.flatten(x)))]
    return ObjectivePoints(keras.tree.pack_sequence_as(x, leaves))


def _as_lists(value: Any) -> Any:
    # A metric may be an array, one number a class.
    return np.asarray(value).tolist()
