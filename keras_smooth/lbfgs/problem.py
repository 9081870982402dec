"""A model and its data, made into what a minimizer needs."""

import functools
from typing import Any

import keras
import tensorflow as tf

from keras_smooth import copying
from keras_smooth.lbfgs import data as data_module
from keras_smooth.lbfgs import program, replicas, rows, state
from keras_smooth.lbfgs.data import Data
from keras_smooth.lbfgs.objective import has_own_loss
from keras_smooth.lbfgs.precision import in_float64

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
        self.check(data)
        self.moving = [variable for variable, _ in self.objective.moving_state(sample)]
        self.data = self._in_batches(data, sample, batch_size)

    def check(self, data: Data) -> None:
        """Raises where a few rows, evaluated without being compiled, do not fit the model."""
        sample = _sample(data)
        _check_outputs(self.worker, sample)
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
            state.settle(self.objective, self.moving, self._batches)
        if self.worker is not self._model:
            self._model.set_weights(self.worker.get_weights())

    def _in_batches(self, data: Data, sample: Any, batch_size: int | None):
        strategy = replicas.strategy_of(self.worker)
        dtype, size = self.objective.dtype, data.num_rows
        batch_size = batch_size or size
        at_once = data.in_memory and not strategy and batch_size >= size
        total = size if at_once or self._is_average(sample) else None
        if not data.in_memory:
            return rows.Stream(data.parts, tf.constant(total or 0, dtype))
        if strategy:
            return replicas.distribute(strategy, data.parts, batch_size, total, dtype)
        num_batches = 0 if at_once else size // batch_size
        return rows.in_batches(data.parts, batch_size, num_batches, total, dtype)

    def _is_average(self, sample: Any) -> bool:
        start = self.objective.position
        # At the start a head of zeros may hide the layers before it, and sample weights of
        # the first rows may be all alike.
        position = start + 0.1 * tf.cos(tf.range(len(start), dtype=start.dtype))
        x, y, sample_weight = sample
        sample = (x, y, rows.map_tensors(_spread, sample_weight))
        return rows.is_average(lambda part: self.objective.value(position, part), sample)


def _sample(data: Data) -> Any:
    return data_module.sample(data, min(data.num_rows, _SAMPLE))


def _spread(sample_weight: tf.Tensor) -> tf.Tensor:
    """Returns weights of the same shape that differ from row to row."""
    size, *others = sample_weight.shape
    column = tf.reshape(tf.linspace(1.0, 2.0, size), (size, *[1] * len(others)))
    return tf.cast(tf.broadcast_to(column, sample_weight.shape), sample_weight.dtype)


def _check_outputs(model: keras.Model, sample: tuple) -> None:
    """Raises where targets are missing or would be broadcast without a word."""
    if has_own_loss(model) or model.loss is None:
        return
    x, y, sample_weight = sample
    if y is None:
        raise ValueError(
            "y is None, but the model is compiled with a loss that compares outputs with "
            "targets. Pass y, or compile without a loss and use add_loss."
        )
    _check_weights(y, sample_weight)
    outputs = copying.run(model, x)
    if isinstance(y, dict) and not isinstance(outputs, dict):
        outputs = dict(zip(model.output_names, keras.tree.flatten(outputs)))
    for output, target in zip(keras.tree.flatten(outputs), keras.tree.flatten(y)):
        shapes = tuple(output.shape), tuple(target.shape)
        if len(shapes[0]) == len(shapes[1]) and shapes[0][-1] == 1 < shapes[1][-1]:
            raise ValueError(
                f"The model's output has shape {(None, *shapes[0][1:])}, the targets have "
                f"{(None, *shapes[1][1:])}. Their last axes must have one size."
            )


def _check_weights(y: Any, sample_weight: Any) -> None:
    if not keras.tree.is_nested(sample_weight):
        return
    try:
        keras.tree.assert_same_structure(
            *map(keras.tree.lists_to_tuples, (y, sample_weight))
        )
    except ValueError as error:
        raise ValueError(
            "`sample_weight` must be one array, or one for every target in the structure "
            f"of y: {error}"
        ) from error
