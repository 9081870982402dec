"""A model and its data in the form that a minimizer needs, and how weights are written back."""

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


class FitProblem:
    """The objective, minimizer and data of a fit; it also writes weights to the model.

    Args:
        request: The request of the fit.
        data: Rows, or points of an objective.
        validation: Validation data, or None.

    Attributes:
        request: The request.
        program: The compiled objective and minimizer.
        model: The user's model.
        fitted_model: The model whose loss is computed: the user's model or its copy.
        moving_averages: Floating variables that training changes without a gradient.
        read_variables: Variables that the loss reads, but that are neither trained nor part of
            the model.
        replicas: The replicas that share the data, or None.
        points: The rows, or the current points.
        data: The data in the form that the minimizer needs.

    Raises:
        ValueError: If shapes do not fit, the loss cannot be computed in batches, or the model
            cannot be copied.
    """

    def __init__(
        self, request: Request, data: TrainingData, validation: TrainingData | None = None
    ):
        sample, terms = data.sample(), request.terms
        self.request, self.points, self._digest_as_written = request, data, ""
        self.model = self.fitted_model = model = request.model
        if request.dtype:
            # The points of an objective need not be inputs of the model.
            self.fitted_model = in_float64(model, sample[0] if terms is None else None)
        outputs, compared = (None, []) if terms else self._check_sample(sample)
        self.program = program = program_of(
            request, self.fitted_model, data, sample, outputs
        )
        self.objective = program.objective
        dtype = self.objective.dtype
        if dtype != "float64":
            warn_once(
                model,
                f"fit_lbfgs runs in {dtype}: line searches stall at a loss near 1e-8 and y'' is "
                'noisy. Pass dtype="float64", or build the model with it, to go further.',
            )
        self.replicas = replicas_of(self.fitted_model)
        if program.residuals is not None:
            self._check_at_once()
            start = self.objective.position
            program.residuals.examine(perturbed(start), data.parts)
            # Evaluating the objective has changed the variables of TensorFlow.
            self.objective.assign(start)
        if terms is None:
            check_weights(model, sample)
            scales.warn_of_inputs(model, self.fitted_model, sample[0])
            scales.warn_of_targets(model, outputs, compared)
        else:
            scales.warn_of_terms(model, self.objective, terms.weights, data.parts)
        self.moving_averages = [v for v, _ in self.objective.updates_in_training(sample)]
        # A variable may have one copy for each device.
        local = strategy_of(self.fitted_model).experimental_local_results
        own_variables = [copy for v in self.objective.others for copy in local(v.value)]
        own_variables += self.objective.variables
        self.read_variables = [
            v for v in program.read_variables if not is_among(v, own_variables)
        ]
        # Seeds also change, but are integers.
        others = [v for v in model.non_trainable_variables if "float" in v.dtype]
        frozen = [v for v in others if not is_among(v, self.moving_averages)]
        self._watched_variables = frozen + self.read_variables
        self.replace_points(data)
        # Tracing has checked an objective already.
        if validation is not None and terms is None:
            self._check_sample(validation.sample())

    def replace_points(self, points: TrainingData) -> None:
        """Replaces the data by points with the same shapes and dtypes."""
        self.points = points
        batch_size = self.request.batch_size
        self.data = shard(points, self.objective, self.replicas, batch_size)
        if self.replicas and self.replicas.has_several_workers:
            weights = digest([*self.fitted_model.variables, *self.objective.variables])
            self.replicas.check_same(data=points.digest, weights=weights)

    def _check_sample(self, sample: Any) -> tuple:
        """Raises an error if a few rows do not fit the model, without compiling it.

        Returns:
            The outputs of the rows; loss, target, output and weights of each loss.
        """
        x, y, sample_weight = sample
        outputs = shapes.outputs_of(self.fitted_model, x)
        compared = shapes.check_targets(self.fitted_model, outputs, y, sample_weight)
        return outputs, compared

    def _check_at_once(self) -> None:
        """Raises an error if the rows are split into batches, or among devices."""
        splits = [
            ("`batch_size`", self.request.batch_size is not None),
            ("a dataset that does not fit into memory", not self.points.in_memory),
            ("a strategy of several devices", self.replicas is not None),
        ]
        if received := " and ".join(name for name, is_split in splits if is_split):
            raise ValueError(
                'method="gauss_newton" needs all rows at once, in memory on one device, received '
                f"{received}. Leave that out, or use another method."
            )

    def start(self) -> tf.Tensor:
        """Returns the current weights of the user's model."""
        if self.fitted_model is not self.model:
            self.fitted_model.set_weights(self.model.get_weights())
        self._digest_as_written = self._digest()
        return self.objective.position

    def was_changed(self) -> bool:
        """Returns whether a variable was changed since the fit last wrote the weights.

        It compares weights, frozen variables, and other variables that the loss reads.
        """
        return self.on_any_worker(self._digest() != self._digest_as_written)[0]

    def _digest(self) -> str:
        return digest([*self.request.trained, *self._watched_variables])

    def assign(self, position: tf.Tensor, averages: bool = True) -> None:
        """Writes weights, and optionally the moving averages for them, to the user's model."""
        self.objective.assign(position)
        if self.moving_averages and averages:
            size = self.request.batch_size
            recalibrate(
                self.objective, self.moving_averages, lambda: self.points.batches(size)
            )
        if self.fitted_model is not self.model:
            self.model.set_weights(self.fitted_model.get_weights())
        self._digest_as_written = self._digest()

    def trained_values(self, position: tf.Tensor | None = None) -> list[np.ndarray]:
        """Returns the current trained values, or those at a position, in the user's dtypes."""
        variables = self.request.trained
        values = variables if position is None else self.objective.unflatten(position)
        return [np.asarray(value, dtype_of(v)) for v, value in zip(variables, values)]

    def on_any_worker(self, *flags: bool) -> list[bool]:
        """Returns, for each flag, whether any worker has set it; the same on every worker."""
        if self.replicas and self.replicas.has_several_workers:
            return self.replicas.any_of(*flags)
        return list(flags)
