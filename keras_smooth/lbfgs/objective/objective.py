"""The loss of a fit as a pure function of one vector of weights."""

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.objective.compiled_loss import CompiledLoss
from keras_smooth.lbfgs.objective.terms import Terms
from keras_smooth.lbfgs.objective.variables import (
    HELD_TENSORS,
    SubstituteValues,
    is_among,
    names_of,
)
from keras_smooth.models.tracing import traced
from keras_smooth.presentation.warn import warn_once


class Objective:
    """The loss that a fit minimizes, as a function of the weights and all data.

    The objective holds the model by a weak reference, so that it keeps no model alive.

    Args:
        model: Built Keras model with trainable weights of one dtype. It must be compiled if
            `terms` is None.
        terms: The user's objective, or None for the loss of the model.

    Attributes:
        variables: The trained variables.
        others: The non-trainable variables of the model.
        dtype: The dtype of the trained variables.
    """

    def __init__(self, model: keras.Model, terms: Terms | None = None):
        self._model = weakref.ref(model)
        self.variables = [*model.trainable_variables, *(terms.variables if terms else ())]
        self.others = list(model.non_trainable_variables)
        self.shapes = [tuple(variable.shape) for variable in self.variables]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.dtype = tf.as_dtype(self.variables[0].dtype).name
        self._loss: Any = terms or CompiledLoss(model, self.dtype)
        for dtype in self._loss.dtypes:
            self._warn_precision(dtype)
        # One call assigns all weights, since separate calls cost as much as an iteration.
        self.assign = traced(self._assign_each)
        self._traced_terms = traced(self._named_terms)

    def build(self, data: tuple, outputs: Any) -> None:
        """Creates the variables of a compiled loss, before it is traced.

        Args:
            data: A few rows `(x, y, sample_weight)`.
            outputs: The outputs of the model for these rows.
        """
        self._loss.build(self._model(), data, outputs)

    @property
    def position(self) -> tf.Tensor:
        """The current values of the trained variables, as one vector of shape `(n,)`."""
        return tf.concat([tf.reshape(v, (-1,)) for v in self.variables], axis=0)

    def _assign_each(self, position: tf.Tensor) -> None:
        """Assigns a vector of weights to the trained variables."""
        for variable, value in zip(self.variables, self.unflatten(position)):
            variable.assign(value)

    def value(self, position: tf.Tensor, data: tuple) -> tf.Tensor:
        """Returns the loss on `data = (x, y, sample_weight)` at the weights `position`."""
        with self._substitute_values(self.unflatten(position)):
            return self._check_and_cast(self._loss(self._model(), data))

    @tf.autograph.experimental.do_not_convert
    def value_and_gradient(
        self, position: tf.Tensor, data: tuple, others: list | None = None
    ) -> tuple:
        """Returns the loss and its gradient, of shapes `()` and `(n,)`.

        Args:
            position: Values of the trained variables, `(n,)`.
            data: `(x, y, sample_weight)`.
            others: Values of the non-trainable variables, or None to read them.
        """
        weights = self.unflatten(position)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            with self._substitute_values(weights, others) as scope:
                loss = self._loss(self._model(), data)
        try:
            gradients = tape.gradient(loss, self.sources(weights))
        # An operation that TensorFlow recomputes for its gradient cannot be differentiated twice.
        except (LookupError, NotImplementedError, AttributeError) as error:
            raise ValueError(
                f"TensorFlow has no gradient of the loss by the weights ({error}). Replace that "
                "operation; the derivatives in an objective may be had with engine='jet'."
            ) from error
        self._check_gradients(gradients, scope.read, tape.watched_variables())
        # The gradient of an embedding is sparse before the conversion.
        pairs = zip(weights, gradients)
        dense = [
            tf.zeros_like(w) if g is None else tf.convert_to_tensor(g) for w, g in pairs
        ]
        flat = tf.concat([tf.reshape(gradient, (-1,)) for gradient in dense], axis=0)
        return self._check_and_cast(loss), flat

    def sources(self, weights: list[tf.Tensor]) -> list:
        """Returns the sources of a tape: tensors, and the variables of TensorFlow themselves."""
        pairs = zip(self.variables, weights)
        return [v if isinstance(v, tf.Variable) else weight for v, weight in pairs]

    def _check_gradients(self, gradients: list, read: list, watched: Sequence) -> None:
        """Checks which variables have gradients.

        Raises an error if a tf.function uses weights of an earlier trace, or no weight has a
        gradient. Warns of weights without a gradient, and of variables that are not trained.

        Args:
            gradients: Gradients by the trained variables; None if there is none.
            read: The variables of Keras that the loss reads and that are not substituted.
            watched: The variables of TensorFlow that the tape has watched.
        """
        of_keras = [v for v in self.variables if isinstance(v, keras.Variable)]
        held = [v for v in of_keras if is_among(v.value, watched)]
        if held:
            raise ValueError(HELD_TENSORS.format(weights=f"the weights {names_of(held)}"))
        lost = [v for v, g in zip(self.variables, gradients) if g is None]
        if len(lost) == len(self.variables):
            raise ValueError(
                "The loss does not depend on the trainable weights, so that they get no gradient: "
                f"{names_of(lost)}. Look for tf.stop_gradient in the model, and for a "
                "tf.function, as its `call` may be, which holds the weights of its first trace; "
                "an objective calls the model that it is given, which may be a copy."
            )
        if lost:
            warn_once(
                self._model(),
                "The loss does not depend on these trainable weights, so that they keep their "
                f"values: {names_of(lost)}. Freeze their layers with layer.trainable = False, or "
                "leave out a bias that only adds a constant (use_bias=False); else look for "
                "tf.stop_gradient in the model.",
            )
        # A tape also watches the variables of a function of a SavedModel, even if they are frozen.
        of_model = [variable.value for variable in (*read, *self.others)]
        known = [*of_model, *self.variables]
        untrained = [variable for variable in read if variable.trainable]
        untrained += [variable for variable in watched if not is_among(variable, known)]
        if untrained:
            warn_once(
                self._model(),
                f"The loss reads trainable variables that are not trained: {names_of(untrained)}. "
                "Pass them to fit_lbfgs in `variables`, or make them with trainable=False; an "
                "objective calls the model that it is given, which may be a copy.",
            )

    def residuals(self, weights: list[tf.Tensor], data: tuple) -> list[tf.Tensor]:
        """Returns the residuals of each term; the sum of their mean squares is the loss.

        Args:
            weights: Values of the trained variables.
            data: `(x, y, sample_weight)`.
        """
        with self._substitute_values(weights):
            return self._loss.residuals(self._model(), data)

    def updates_in_training(self, data: tuple) -> list[tuple[keras.Variable, tf.Tensor]]:
        """Returns the floating variables that a training step changes, with their new values."""
        floating = [v for v in self.others if v.dtype.startswith("float")]
        if not floating:
            return []
        with keras.StatelessScope() as scope:
            self._loss.forward(self._model(), data)
        pairs = [(v, scope.get_current_value(v)) for v in floating]
        return [(v, new) for v, new in pairs if new is not None]

    def terms(self, data: tuple) -> dict[str, float]:
        """Returns the named terms at the current weights."""
        terms = self._traced_terms(self.position, data)
        return {name: float(term) for name, term in terms.items() if name}

    def _named_terms(self, position: tf.Tensor, data: tuple) -> dict[str, tf.Tensor]:
        with self._substitute_values(self.unflatten(position)):
            return self._loss.named_terms(self._model(), data)

    def _substitute_values(
        self, weights: list[tf.Tensor], others: list | None = None
    ) -> SubstituteValues:
        # The scope drops changes of non-trainable variables. So the seed of Dropout does not
        # advance, and the whole run has one mask.
        variables = [*self.variables, *(self.others if others else ())]
        return SubstituteValues(variables, [*weights, *(others or ())])

    def _check_and_cast(self, loss: tf.Tensor) -> tf.Tensor:
        """Returns the loss in the dtype of the weights, after checking that it is a scalar."""
        if loss.shape.rank:
            raise ValueError(
                f"The loss must be a scalar, but it has shape {tuple(loss.shape)}. Compile with "
                'reduction="sum_over_batch_size" or "sum", or take the mean in compute_loss.'
            )
        self._warn_precision(loss.dtype.name)
        return tf.cast(loss, self.dtype)

    def unflatten(self, position: tf.Tensor) -> list[tf.Tensor]:
        """Returns a vector of weights in the shapes of the variables."""
        pieces = tf.split(position, self.sizes)
        return [tf.reshape(piece, shape) for piece, shape in zip(pieces, self.shapes)]

    def _warn_precision(self, dtype: str) -> None:
        if tf.as_dtype(dtype).size < tf.as_dtype(self.dtype).size:
            remedy = self._loss.precision.format(dtype=self.dtype)
            message = (
                f"The weights are {self.dtype}, but the loss computes in {dtype}, as all of Keras "
                f"does unless told otherwise. {remedy}"
            )
            warn_once(self, message, topic="precision")


def recalibrate(objective: Objective, variables: list, batches: Callable) -> None:
    """Sets each moving average to the value that it would approach at these weights.

    Args:
        objective: Objective whose weights were assigned to the model.
        variables: The moving averages.
        batches: Returns an iterator over the batches `(x, y, sample_weight)` of all rows.
    """
    values = [[np.asarray(variable) for variable in variables]]
    for _ in range(2):
        # One epoch of training.
        for batch in batches():
            for variable, value in objective.updates_in_training(batch):
                variable.assign(value)
        values.append([np.asarray(variable) for variable in variables])
    for variable, *three_values in zip(variables, *values):
        variable.assign(limit_of_average(*three_values))


def limit_of_average(
    start: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """Returns the limit of an exponential moving average of a constant, from three values.

    The steps of such a sequence shrink by a constant factor, so that Aitken's delta-squared process
    is exact. If the steps do not shrink, the sequence is no moving average, and the value after the
    first step is returned.
    """
    step, change = first - start, second - first
    shrinks = np.abs(change) < np.abs(step)
    ratio = np.where(shrinks, change / np.where(shrinks, step, 1.0), 0.0)
    return np.where(shrinks & (ratio >= 0.0), start + step / (1.0 - ratio), first)
