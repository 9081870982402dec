"""A model and its data, in the form that a minimizer needs."""

from typing import Any

import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.checks import scales, shapes
from keras_smooth.lbfgs.data.training_data import TrainingData
from keras_smooth.lbfgs.objective.compiled_loss import check_weights
from keras_smooth.lbfgs.objective.float64_copy import in_float64
from keras_smooth.lbfgs.objective.objective import recalibrate
from keras_smooth.lbfgs.objective.sharding import perturbed, replicas_of, shard, strategy_of
from keras_smooth.lbfgs.objective.variables import dtype_of, is_among
from keras_smooth.lbfgs.request import Request
from keras_smooth.lbfgs.run.program import program_of
from keras_smooth.models.identity import digest
from keras_smooth.presentation.warn import warn_once

# Number of rows on which a model is evaluated before anything is compiled.
_SAMPLE = 64


class FitProblem:
    """The objective, minimizer and data of a fit; it also writes weights to the model.

    Args:
        request: Of the fit.
        data: Rows, or points of an objective.
        validation: Other data, or None.

    Attributes:
        request: The request.
        program: Its objective and minimizer, compiled.
        model: The user's model.
        worker: The model that computes: the user's, or its copy.
        moving: Variables that training changes without a gradient.
        read: The other variables that the loss reads: they are neither trained nor of the model.
        replicas: The replicas that share the data, or None.
        points: The rows, or the current points.
        data: The data of the minimizer.

    Raises:
        ValueError: If shapes do not fit, the loss cannot be taken in batches, or the
            model has no copy.
    """

    def __init__(
        self, request: Request, data: TrainingData, validation: TrainingData | None = None
    ):
        sample, terms = data.sample(_SAMPLE), request.terms
        self.request, self._rows, self._written = request, data, ""
        self.model = self.worker = model = request.model
        if request.dtype:
            # The points of an objective need not be inputs of the model.
            self.worker = in_float64(model, sample[0] if terms is None else None)
        self.program = program = program_of(request, self.worker, data)
        self.objective = program.objective
        dtype = self.objective.dtype
        if dtype != "float64":
            warn_once(
                model,
                f"fit_lbfgs runs in {dtype}: line searches stall at a loss near 1e-8 and y'' is "
                'noisy. Pass dtype="float64", or build the model with it, to go further.',
            )
        if terms is None:
            checked = self._check(sample)
        self.replicas = replicas_of(self.worker)
        if program.residuals is not None:
            self._check_at_once()
            start = self.objective.position
            program.residuals.examine(perturbed(start), data.parts)
            # A variable of TensorFlow keeps the values at which an objective is evaluated.
            self.objective.assign(start)
        if terms is None:
            check_weights(model, sample)
            scales.warn_of_inputs(model, self.worker, sample[0])
            scales.warn_of_targets(model, *checked)
        else:
            scales.warn_of_terms(model, self.objective, terms.weights, data.parts)
        self.moving = [v for v, _ in self.objective.updates_in_training(sample)]
        # A variable may have a copy on each device.
        local = strategy_of(self.worker).experimental_local_results
        known = [each for v in self.objective.others for each in local(v.value)]
        known += self.objective.variables
        self.read = [v for v in program.read if not is_among(v, known)]
        # Seeds, which are integers, change as well.
        others = [v for v in model.non_trainable_variables if "float" in v.dtype]
        self._kept = [v for v in others if not is_among(v, self.moving)] + self.read
        self.move(data)
        # To trace an objective has checked it.
        if validation is not None and terms is None:
            self._check(validation.sample(_SAMPLE))

    def move(self, points: TrainingData) -> None:
        """Replaces the data by other points of the same form."""
        self.points = points
        batch_size = self.request.batch_size
        self.data = shard(points, self.objective, self.replicas, batch_size)
        if self.replicas and self.replicas.has_several_workers:
            weights = digest([*self.worker.variables, *self.objective.variables])
            self.replicas.check_same(data=points.digest, weights=weights)

    def _check(self, sample: Any) -> tuple:
        """Raises an error if a few rows do not fit the model, without compiling it.

        Returns the outputs for them, and what the losses compare.
        """
        x, y, sample_weight = sample
        outputs = shapes.outputs_of(self.worker, x)
        compared = shapes.check_targets(self.worker, outputs, y, sample_weight)
        self.program.examine(sample)
        return outputs, compared

    def _check_at_once(self) -> None:
        """Raises an error if rows are evaluated one batch, or one device, after another."""
        cut = [
            ("`batch_size`", self.request.batch_size is not None),
            ("a dataset that does not fit into memory", not self._rows.in_memory),
            ("a strategy of several devices", self.replicas is not None),
        ]
        if given := " and ".join(name for name, is_given in cut if is_given):
            raise ValueError(
                'method="gauss_newton" needs all rows at once, in memory on one device, received '
                f"{given}. Leave that out, or use another method."
            )

    def start(self) -> tf.Tensor:
        """Returns the current weights of the user's model."""
        if self.worker is not self.model:
            self.worker.set_weights(self.model.get_weights())
        self._written = self._digest()
        return self.objective.position

    def was_changed(self) -> bool:
        """Returns whether values were changed since the fit last wrote them.

        The values are those of weights, frozen variables, or variables that the loss reads.
        """
        return self.on_any_worker(self._digest() != self._written)[0]

    def _digest(self) -> str:
        return digest([*self.request.trained, *self._kept])

    def assign(self, position: tf.Tensor, averages: bool = True) -> None:
        """Writes weights, and optionally their moving averages, to the user's model."""
        self.objective.assign(position)
        if self.moving and averages:
            size = self.request.batch_size
            recalibrate(self.objective, self.moving, lambda: self._rows.batches(size))
        if self.worker is not self.model:
            self.model.set_weights(self.worker.get_weights())
        self._written = self._digest()

    def trained(self, position: tf.Tensor | None = None) -> list[np.ndarray]:
        """Returns the trained values in the user's dtypes, the current ones or those of a position."""
        variables = self.request.trained
        values = variables if position is None else self.objective.unflatten(position)
        return [np.asarray(value, dtype_of(v)) for v, value in zip(variables, values)]

    def on_any_worker(self, *flags: bool) -> list[bool]:
        """Returns which flags are set on some worker, on every worker the same."""
        if self.replicas and self.replicas.has_several_workers:
            return self.replicas.any_of(*flags)
        return list(flags)
