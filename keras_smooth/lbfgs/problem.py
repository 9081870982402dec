"""A model and its data, made into what a minimizer needs."""

import functools
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.lbfgs import data as data_module
from keras_smooth.lbfgs import micro_batches, moving_averages, program, replicas
from keras_smooth.lbfgs.data import Data
from keras_smooth.lbfgs.digests import digest
from keras_smooth.lbfgs.float64_copy import in_float64
from keras_smooth.lbfgs.targets import check_targets

# Rows on which it is tried whether a loss is an average over rows.
_SAMPLE = 64


class Problem:
    """The objective and the minimizer of a fit, its data, and the way back to the model.

    Args:
        model: Built and compiled model, the user's.
        data: The data.
        batch_size: Rows to evaluate at once, or None for all.
        dtype: `"float64"` to work on a copy, or None.
        method: As for `Minimizer`.
        num_correction_pairs: As for `Minimizer`.
        jit_compile: As for `Minimizer`.

    Attributes:
        worker: The model that computes: the user's, or its copy.
        moving: Variables that training changes without a gradient.
        replicas: The replicas that share the data, or None.
        data: What the minimizer takes as data.

    Raises:
        ValueError: If shapes do not fit, the loss cannot be taken in batches, or the
            model has no copy.
    """

    def __init__(
        self,
        model: keras.Model,
        data: Data,
        batch_size: int | None,
        dtype: str | None,
        method: str,
        num_correction_pairs: int,
        jit_compile: bool,
    ):
        sample = _sample(data)
        self._model = model
        self._batches = functools.partial(data_module.batches, data, batch_size)
        self.worker = in_float64(model, sample[0]) if dtype else model
        self.objective, self.minimizer = program.compiled(
            self.worker, method, num_correction_pairs, jit_compile, data.in_memory
        )
        self._check(sample)
        self.moving = [variable for variable, _ in self.objective.moving_state(sample)]
        self.replicas = replicas.of(self.worker)
        self.data = self._in_batches(data, sample, batch_size)
        if self.replicas and self.replicas.several_workers:
            weights = digest(self.worker.variables)
            self.replicas.check_same(data=data.digest, weights=weights)

    def check(self, data: Data) -> None:
        """Raises where a few rows, evaluated without being compiled, do not fit the model."""
        self._check(_sample(data))

    def _check(self, sample: Any) -> None:
        check_targets(self.worker, sample)
        self.objective.value_and_gradient(self.objective.position, sample)

    def start(self) -> tf.Tensor:
        """Returns the weights that the user's model has now."""
        if self.worker is not self._model:
            self.worker.set_weights(self._model.get_weights())
        return self.objective.position

    def assign(self, position: tf.Tensor) -> None:
        """Writes weights, and the state that belongs to them, into the user's model."""
        self.objective.assign(position)
        if self.moving:
            moving_averages.settle(self.objective, self.moving, self._batches)
        self._write_back()

    def restore(self, position: tf.Tensor) -> None:
        """Writes weights into the user's model, beside the state that is there."""
        self.objective.assign(position)
        self._write_back()

    def on_any_worker(self, *flags: bool) -> list[bool]:
        """Returns which flags are set on some worker, on every worker the same."""
        if self.replicas and self.replicas.several_workers:
            return self.replicas.any_of(*flags)
        return list(flags)

    def _write_back(self) -> None:
        if self.worker is not self._model:
            self._model.set_weights(self.worker.get_weights())

    def _in_batches(self, data: Data, sample: Any, batch_size: int | None):
        dtype, size = self.objective.dtype, data.num_rows
        batch_size = batch_size or size
        at_once = data.in_memory and not self.replicas and batch_size >= size
        total = size if at_once or self._is_average(sample) else None
        if not data.in_memory:
            stream = micro_batches.Stream(data.parts, tf.constant(total or 0, dtype))
            return self.replicas.distribute_stream(stream) if self.replicas else stream
        if self.replicas:
            return self.replicas.distribute(data.parts, batch_size, total, dtype)
        num_batches = 0 if at_once else size // batch_size
        return micro_batches.in_batches(data.parts, batch_size, num_batches, total, dtype)

    def _is_average(self, sample: Any) -> bool:
        start = self.objective.position
        # At the start a head of zeros may hide the layers before it, and sample weights of
        # the first rows may be all alike.
        position = start + 0.1 * tf.cos(tf.range(len(start), dtype=start.dtype))
        x, y, sample_weight = sample
        sample = (x, y, micro_batches.map_tensors(_spread, sample_weight))
        return micro_batches.is_average(lambda part: self.objective.value(position, part), sample)


def _sample(data: Data) -> Any:
    return data_module.sample(data, min(data.num_rows, _SAMPLE))


def _spread(sample_weight: tf.Tensor) -> tf.Tensor:
    """Returns weights of the same shape that differ from row to row."""
    size, *others = sample_weight.shape
    column = tf.reshape(tf.linspace(1.0, 2.0, size), (size, *[1] * len(others)))
    return tf.cast(tf.broadcast_to(column, sample_weight.shape), sample_weight.dtype)
