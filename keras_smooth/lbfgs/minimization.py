"""A model and its data, made into what a minimizer needs, and the way back."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.data import Data, ObjectivePoints
from keras_smooth.lbfgs.digests import digest
from keras_smooth.lbfgs.exact_losses import compilation
from keras_smooth.lbfgs.float64_copy import in_float64
from keras_smooth.lbfgs.inputs import outputs_of
from keras_smooth.lbfgs.layout import lay_out
from keras_smooth.lbfgs.losses import check_weights
from keras_smooth.lbfgs.model_checks import trained
from keras_smooth.lbfgs.moving_averages import settle
from keras_smooth.lbfgs.options import Options
from keras_smooth.lbfgs.program import program_of
from keras_smooth.lbfgs.replicas import replicas_of
from keras_smooth.lbfgs.scales import warn_of_inputs, warn_of_targets
from keras_smooth.lbfgs.targets import check_targets
from keras_smooth.lbfgs.terms import Terms
from keras_smooth.lbfgs.variables import Variable, dtype_of, is_among

# Rows on which a model is tried before anything is compiled.
_SAMPLE = 64


class Minimization:
    """The objective and the minimizer of a fit, its data, and the way back to the model.

    Args:
        model: Built model, the user's; compiled where there are no terms.
        data: Rows, or points with terms.
        options: Of the fit.
        terms: What is minimized in place of the loss of the model, or None.

    Attributes:
        model: The user's.
        worker: The model that computes: the user's, or its copy.
        moving: Variables that training changes without a gradient.
        replicas: The replicas that share the data, or None.
        points: The rows, or the points of now.
        data: What the minimizer takes as data.

    Raises:
        ValueError: If shapes do not fit, the loss cannot be taken in batches, or the
            model has no copy.
    """

    def __init__(
        self,
        model: keras.Model,
        data: Data | ObjectivePoints,
        options: Options,
        terms: Terms | None = None,
    ):
        sample = data.sample(_SAMPLE)
        self.model = model
        self._batches = lambda: data.batches(options.batch_size)
        self._terms = terms
        self._written = ""
        self.worker = model
        if options.dtype:
            # Points need not be inputs of the model.
            self.worker = in_float64(model, sample[0] if terms is None else None)
        program = program_of(self.worker, compilation(model), terms, options, data)
        self.objective, self.minimizer = program.objective, program.minimizer
        outputs = self._check(sample)
        if terms is None:
            check_weights(model, sample)
            warn_of_inputs(model, self.worker, sample[0])
            warn_of_targets(model, outputs, sample[1])
        self.moving = [v for v, _ in self.objective.after_training(sample)]
        self._kept = _that_stay(
            [*model.non_trainable_variables, *program.read], self.moving
        )
        self.replicas = replicas_of(self.worker)
        self._batch_size = options.batch_size
        self.move(data)

    def move(self, points: Data | ObjectivePoints) -> None:
        """Takes other points of the same form as the data."""
        self.points = points
        self.data = lay_out(points, self.objective, self.replicas, self._batch_size)
        if self.replicas and self.replicas.several_workers:
            weights = digest([*self.worker.variables, *self.objective.variables])
            self.replicas.check_same(data=points.digest, weights=weights)

    def check(self, data: Data | ObjectivePoints) -> None:
        """Raises where a few rows, evaluated without being compiled, do not fit the model."""
        self._check(data.sample(_SAMPLE))

    def _check(self, sample: Any) -> Any:
        """Returns the outputs for a few rows, where the loss compares them with targets."""
        outputs = None
        if self._terms is None:
            x, y, sample_weight = sample
            outputs = outputs_of(self.worker, x)
            check_targets(self.worker, outputs, y, sample_weight)
        self.objective.value_and_gradient(self.objective.position, sample)
        return outputs

    def start(self) -> tf.Tensor:
        """Returns the weights that the user's model has now."""
        if self.worker is not self.model:
            self.worker.set_weights(self.model.get_weights())
        self._written = self._digest()
        return self.objective.position

    def was_changed(self) -> bool:
        """Returns whether somebody has written other values than the fit did last.

        To weights, to what is frozen, or to a variable that an objective reads.
        """
        return self.on_any_worker(self._digest() != self._written)[0]

    def _digest(self) -> str:
        return digest([*trained(self.model, self._terms), *self._kept])

    def assign(self, position: tf.Tensor) -> None:
        """Writes weights, and the averages that belong to them, into the user's model."""
        self.objective.assign(position)
        if self.moving:
            settle(self.objective, self.moving, self._batches)
        self._write_back()

    def restore(self, position: tf.Tensor) -> None:
        """Writes weights into the user's model, beside the averages that are there."""
        self.objective.assign(position)
        self._write_back()

    def trained(self, position: tf.Tensor | None = None) -> list[np.ndarray]:
        """Returns what is trained in the user's dtypes, as it is or at a position."""
        variables = trained(self.model, self._terms)
        if position is None:
            return [np.asarray(variable) for variable in variables]
        values = self.objective.unflatten(position)
        return [np.asarray(value, dtype_of(v)) for v, value in zip(variables, values)]

    def on_any_worker(self, *flags: bool) -> list[bool]:
        """Returns which flags are set on some worker, on every worker the same."""
        if self.replicas and self.replicas.several_workers:
            return self.replicas.any_of(*flags)
        return list(flags)

    def _write_back(self) -> None:
        if self.worker is not self.model:
            self.model.set_weights(self.worker.get_weights())
        self._written = self._digest()


def _that_stay(variables: Sequence[Variable], moving: Sequence[Variable]) -> list[Variable]:
    """Returns the variables of floats which training does not move; seeds are integers."""
    moving = [*moving, *(v.value for v in moving if isinstance(v, keras.Variable))]
    return [v for v in variables if "float" in dtype_of(v) and not is_among(v, moving)]
