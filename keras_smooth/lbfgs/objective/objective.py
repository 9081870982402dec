"""The loss of a Keras model as a pure function of one vector of weights."""

import math
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.objective.compiled_loss import CompiledLoss
from keras_smooth.lbfgs.objective.terms import Terms
from keras_smooth.lbfgs.objective.variables import HELD, OtherValues, is_among, names_of
from keras_smooth.models.tracing import traced
from keras_smooth.presentation.warn import warn_once


class Objective:
    """What `fit` minimizes, over all data at once.

    The model is held weakly, so that an objective keeps no model alive.

    Args:
        model: Built Keras model with trainable weights of one dtype; compiled, if there
            are no terms.
        terms: What is minimized in place of the loss of the model, or None.

    Attributes:
        variables: What is trained.
        others: The other variables of the model.
        dtype: Of the trained variables.
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
        # All weights in one call: one by one they cost as much as an iteration.
        self.assign = traced(self._assign_each)
        self._traced_terms = traced(self._named_terms)

    @property
    def position(self) -> tf.Tensor:
        """The trainable weights as one vector of shape `(n,)`."""
        return tf.concat([tf.reshape(v, (-1,)) for v in self.variables], axis=0)

    def _assign_each(self, position: tf.Tensor) -> None:
        """Writes a vector of weights into the model."""
        for variable, value in zip(self.variables, self.unflatten(position)):
            variable.assign(value)

    def value(self, position: tf.Tensor, data: tuple) -> tf.Tensor:
        """Returns the loss on `data = (x, y, sample_weight)` at the weights `position`."""
        with self._scope(self.unflatten(position)):
            return self._checked(self._loss(self._model(), data))

    @tf.autograph.experimental.do_not_convert
    def value_and_gradient(
        self, position: tf.Tensor, data: tuple, others: list | None = None
    ) -> tuple:
        """Returns the loss and its gradient, of shapes `()` and `(n,)`.

        Args:
            position: Trainable weights, `(n,)`.
            data: `(x, y, sample_weight)`.
            others: Values of all other variables, or None to read them.
        """
        weights = self.unflatten(position)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            with self._scope(weights, others) as scope:
                loss = self._loss(self._model(), data)
        try:
            gradients = tape.gradient(loss, self.sources(weights))
        # What is computed again for its gradient cannot be differentiated twice.
        except (LookupError, NotImplementedError, AttributeError) as error:
            raise ValueError(
                f"TensorFlow has no gradient of the loss by the weights ({error}). Replace that "
                "operation; the derivatives in an objective may be had with engine='jet'."
            ) from error
        self._look(gradients, scope.read, tape.watched_variables())
        # An embedding's gradient is sparse until it is made a tensor.
        pairs = zip(weights, gradients)
        dense = [
            tf.zeros_like(w) if g is None else tf.convert_to_tensor(g) for w, g in pairs
        ]
        flat = tf.concat([tf.reshape(each, (-1,)) for each in dense], axis=0)
        return self._checked(loss), flat

    def sources(self, weights: list[tf.Tensor]) -> list:
        """Returns what a tape differentiates by: the weights, but variables of TensorFlow."""
        pairs = zip(self.variables, weights)
        return [v if isinstance(v, tf.Variable) else weight for v, weight in pairs]

    def _look(self, gradients: list, read: list, watched: Sequence) -> None:
        """Raises an error if weights are held, or none has a gradient; warns of the untrained."""
        of_keras = [v for v in self.variables if isinstance(v, keras.Variable)]
        held = [v for v in of_keras if is_among(v.value, watched)]
        if held:
            raise ValueError(HELD.format(weights=f"the weights {names_of(held)}"))
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
        # What the model has frozen, a tape watches in a function of a SavedModel.
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
        """Returns the residuals of each term, whose mean squares add up to the loss.

        Args:
            weights: Values of what is trained.
            data: `(x, y, sample_weight)`.
        """
        with self._scope(weights):
            return self._loss.residuals(self._model(), data)

    def after_training(self, data: tuple) -> list[tuple[keras.Variable, tf.Tensor]]:
        """Returns the floating variables that a step of training would move, and to what."""
        floating = [v for v in self.others if v.dtype.startswith("float")]
        if not floating:
            return []
        with keras.StatelessScope() as scope:
            self._loss.forward(self._model(), data)
        pairs = [(v, scope.get_current_value(v)) for v in floating]
        return [(v, new) for v, new in pairs if new is not None]

    def terms(self, data: tuple) -> dict[str, float]:
        """Returns the terms by name, if they have names, at the weights that are set."""
        terms = self._traced_terms(self.position, data)
        return {name: float(term) for name, term in terms.items() if name}

    def _named_terms(self, position: tf.Tensor, data: tuple) -> dict[str, tf.Tensor]:
        with self._scope(self.unflatten(position)):
            return self._loss.named(self._model(), data)

    def _scope(self, weights: list[tf.Tensor], others: list | None = None) -> OtherValues:
        # Changes of non-trainable variables stay in the scope and are dropped: the seed of
        # Dropout does not advance, so that one mask holds for the whole run.
        variables = [*self.variables, *(self.others if others else ())]
        return OtherValues(variables, [*weights, *(others or ())])

    def _checked(self, loss: tf.Tensor) -> tf.Tensor:
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
            words = (
                f"The weights are {self.dtype}, but the loss computes in {dtype}, as all of Keras "
                f"does unless told otherwise. {remedy}"
            )
            warn_once(self, words, topic="precision")


def recalibrate(objective: Objective, variables: list, batches: Callable) -> None:
    """Gives every moving average the value that it would approach at these weights.

    Args:
        objective: Objective whose weights are in the model.
        variables: The moving averages.
        batches: Returns an iterator over the batches `(x, y, sample_weight)` of all rows.
    """
    values = [[np.asarray(variable) for variable in variables]]
    for _ in range(2):
        # One epoch of training.
        for batch in batches():
            for variable, value in objective.after_training(batch):
                variable.assign(value)
        values.append([np.asarray(variable) for variable in variables])
    for variable, *three in zip(variables, *values):
        variable.assign(limit(*three))


def limit(start: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns where a sequence goes that is an exponential average of a constant.

    Its steps shrink by one factor, the momentum (Aitken's delta-squared process, exact
    here). Where they do not shrink it is no average, and the first step is the answer.
    """
    step, change = first - start, second - first
    shrinks = np.abs(change) < np.abs(step)
    ratio = np.where(shrinks, change / np.where(shrinks, step, 1.0), 0.0)
    return np.where(shrinks & (ratio >= 0.0), start + step / (1.0 - ratio), first)
