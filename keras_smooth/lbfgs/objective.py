"""The loss of a Keras model as a pure function of one vector of weights."""

import functools
import math
import weakref
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_smooth.lbfgs.advice import advice
from keras_smooth.lbfgs.losses import loss_of
from keras_smooth.lbfgs.terms import Terms
from keras_smooth.models.tracing import traced


class Objective:
    """What `fit` minimizes, over all data at once.

    The model is held weakly, so that whoever keeps an objective keeps no model alive.

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
        self.dtype = self.variables[0].dtype
        self._loss = terms or loss_of(model, self.dtype)
        for dtype in self._loss.dtypes:
            _warn_precision(self, dtype, self._loss.precision)

    @property
    def position(self) -> tf.Tensor:
        """The trainable weights as one vector of shape `(n,)`."""
        return tf.concat([tf.reshape(v.value, (-1,)) for v in self.variables], axis=0)

    def assign(self, position: tf.Tensor) -> None:
        """Writes a vector of weights into the model."""
        self._assignment(position)

    @functools.cached_property
    def _assignment(self) -> Callable:
        """All weights in one call: one by one they cost as much as an iteration."""

        def assign(position: tf.Tensor) -> None:
            for variable, value in zip(self.variables, self.unflatten(position)):
                variable.assign(value)

        return traced(assign)

    def value(self, position: tf.Tensor, data: tuple) -> tf.Tensor:
        """Returns the loss on `data = (x, y, sample_weight)` at the weights `position`."""
        return self._value(self.unflatten(position), data)

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
            loss = self._value(weights, data, others)
        gradients = tape.gradient(loss, weights)
        self._check_gradients(gradients)
        # An embedding's gradient is sparse until it is made a tensor.
        parts = [tf.reshape(tf.convert_to_tensor(part), (-1,)) for part in gradients]
        return loss, tf.concat(parts, axis=0)

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
        terms = self._compiled_terms(self.position, data)
        return {name: float(term) for name, term in terms.items() if name}

    @functools.cached_property
    def _compiled_terms(self):
        def terms(position, data):
            with self._scope(self.unflatten(position)):
                return self._loss.named(self._model(), data)

        return traced(terms)

    def _scope(self, weights: list[tf.Tensor], others: list | None = None):
        # Changes of non-trainable variables stay in the scope and are dropped: the seed of
        # Dropout does not advance, so that one mask holds for the whole run.
        mapping = [*zip(self.variables, weights), *zip(self.others, others or [])]
        return keras.StatelessScope(state_mapping=mapping, collect_losses=True)

    def _value(
        self, weights: list[tf.Tensor], data: tuple, others: list | None = None
    ) -> tf.Tensor:
        with self._scope(weights, others):
            loss = self._loss(self._model(), data)
        if loss.shape.rank:
            raise ValueError(
                f"The loss must be a scalar, but it has shape {tuple(loss.shape)}. Compile "
                'with reduction="sum_over_batch_size" or "sum", or take the mean in '
                "compute_loss."
            )
        _warn_precision(self, loss.dtype.name, self._loss.precision)
        return tf.cast(loss, self.dtype)

    def _check_gradients(self, gradients: list) -> None:
        names = [v.path for v, g in zip(self.variables, gradients) if g is None]
        if names:
            raise ValueError(
                "The loss does not depend on these trainable weights, so that they get no "
                f"gradient: {', '.join(names)}. Freeze their layers with "
                "layer.trainable = False, leave out a bias that only adds a constant "
                "(use_bias=False), or look for tf.stop_gradient in the model; an objective "
                "calls the model that it is given, which may be a copy."
            )

    def unflatten(self, position: tf.Tensor) -> list[tf.Tensor]:
        """Returns a vector of weights in the shapes of the variables."""
        parts = tf.split(position, self.sizes)
        return [tf.reshape(part, shape) for part, shape in zip(parts, self.shapes)]


@advice
def _warn_precision(objective: Objective, dtype: str, remedy: str) -> str | None:
    if tf.as_dtype(dtype).size >= tf.as_dtype(objective.dtype).size:
        return None
    return (
        f"The weights are {objective.dtype}, but the loss computes in {dtype}, as all of "
        f"Keras does unless told otherwise. {remedy}".format(dtype=objective.dtype)
    )
