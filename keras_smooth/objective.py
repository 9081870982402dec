"""The loss of a compiled Keras model as a pure function of one vector of weights."""

import contextlib
import inspect
import math
import warnings
import weakref
from collections.abc import Callable

import keras
import tensorflow as tf


def accepts_training(call: Callable) -> bool:
    """Returns whether a `call` or `compute_loss` takes the argument `training`."""
    parameters = inspect.signature(call).parameters.values()
    return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)


class Objective:
    """What `fit` minimizes, over all data at once.

    The model is held weakly, so that whoever keeps an objective keeps no model alive.

    Args:
        model: A built and compiled Keras model.

    Raises:
        ValueError: If the model is not compiled or not built, or has no trainable
            weights of one floating dtype.
    """

    def __init__(self, model: keras.Model):
        _check(model)
        self._model = weakref.ref(model)
        self.variables = list(model.trainable_variables)
        self.shapes = [tuple(variable.shape) for variable in self.variables]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.dtype = self.variables[0].dtype
        self._warned = False
        self._twin = None
        if not _has_own_loss(model):
            self._twin = _twin(model, self.dtype)
            for loss in keras.tree.flatten(model.loss):
                if isinstance(loss, keras.losses.Loss) and loss.dtype != self.dtype:
                    self._warn_precision(loss.dtype)

    @property
    def position(self) -> tf.Tensor:
        """The trainable weights as one vector of shape `(n,)`."""
        return tf.concat([tf.reshape(v.value, (-1,)) for v in self.variables], axis=0)

    def assign(self, position: tf.Tensor) -> None:
        """Writes a vector of weights into the model."""
        for variable, value in zip(self.variables, self._unflatten(position)):
            variable.assign(value)

    def value(self, position: tf.Tensor, data: tuple) -> tf.Tensor:
        """Returns the loss on `data = (x, y, sample_weight)` at the weights `position`."""
        x, y, sample_weight = data
        model = self._model()
        mapping = list(zip(self.variables, self._unflatten(position)))
        # Changes of non-trainable state stay in the scope and are dropped: the seed of
        # Dropout does not advance, so that one mask holds for the whole run.
        scope = keras.StatelessScope(state_mapping=mapping, collect_losses=True)
        with _floatx(self.dtype), scope:
            y_pred = model(x, **_training(model.call))
            loss = self._loss(model, x, y, y_pred, sample_weight)
        if loss.dtype != self.dtype:
            self._warn_precision(loss.dtype.name)
        return tf.cast(loss, self.dtype)

    @tf.autograph.experimental.do_not_convert
    def value_and_gradient(self, position: tf.Tensor, data: tuple) -> tuple:
        """Returns the loss and its gradient, of shapes `()` and `(n,)`."""
        with tf.GradientTape() as tape:
            tape.watch(position)
            loss = self.value(position, data)
        gradient = tape.gradient(loss, position)
        if gradient is None:
            raise ValueError("The loss depends on none of the trainable weights.")
        return loss, gradient

    def _loss(self, model, x, y, y_pred, sample_weight) -> tf.Tensor:
        if _has_own_loss(model):
            training = _training(model.compute_loss)
            return model.compute_loss(x, y, y_pred, sample_weight, **training)
        terms = [tf.reduce_sum(loss) for loss in model.losses]
        if model.loss is not None:
            terms.append(self._twin.compute_loss(x, y, y_pred, sample_weight))
        return tf.add_n([tf.cast(term, self.dtype) for term in terms])

    def _warn_precision(self, dtype: str) -> None:
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"The weights are {self.dtype}, but the loss computes in {dtype}, as Keras' "
            "losses do unless told otherwise. Compile with the name of the loss, or with "
            f'dtype="{self.dtype}" in its constructor.',
            stacklevel=2,
        )

    def _unflatten(self, position: tf.Tensor) -> list[tf.Tensor]:
        parts = tf.split(position, self.sizes)
        return [tf.reshape(part, shape) for part, shape in zip(parts, self.shapes)]


def _has_own_loss(model: keras.Model) -> bool:
    return type(model).compute_loss is not keras.Model.compute_loss


def _twin(model: keras.Model, dtype: str) -> keras.Model:
    """Returns an empty model with the same compiled loss, computed in `dtype`.

    A compiled loss rounds its value to the floatx that held when `compile` was called,
    which is float32 also for most float64 models: too coarse for a line search.
    """
    twin = keras.Model()
    if hasattr(model, "output_names"):
        twin.output_names = model.output_names
    with _floatx(dtype):
        twin.compile(loss=model.loss, loss_weights=loss_weights(model))
    return twin


def loss_weights(model: keras.Model) -> list | dict | None:
    """Returns the weights of the losses that a model was compiled with."""
    return (model.get_compile_config() or {}).get("loss_weights")


@contextlib.contextmanager
def _floatx(dtype: str):
    """Lets losses that Keras makes meanwhile compute in `dtype`."""
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def _training(call: Callable) -> dict:
    return {"training": True} if accepts_training(call) else {}


def _check(model: keras.Model) -> None:
    if not model.compiled:
        raise ValueError(
            "The model has no loss yet. Call model.compile(loss=...) before fit_lbfgs."
        )
    if not model.built:
        raise ValueError(
            "The model has no weights yet. Build it with an Input or by calling it once."
        )
    dtypes = {variable.dtype for variable in model.trainable_variables}
    if len(dtypes) != 1 or not next(iter(dtypes)).startswith("float"):
        raise ValueError(
            "fit_lbfgs needs trainable weights of one floating dtype, received "
            f"{sorted(dtypes) or 'no trainable weights'}."
        )
