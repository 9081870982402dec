"""The loss of a compiled Keras model as a pure function of one vector of weights."""

import contextlib
import math
import warnings
import weakref
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_smooth.models.calls import accepts_training


class Objective:
    """What `fit` minimizes, over all data at once.

    The model is held weakly, so that whoever keeps an objective keeps no model alive.

    Args:
        model: A built and compiled Keras model with trainable weights of one dtype.
    """

    def __init__(self, model: keras.Model):
        self._model = weakref.ref(model)
        self.variables = list(model.trainable_variables)
        self.others = list(model.non_trainable_variables)
        self.shapes = [tuple(variable.shape) for variable in self.variables]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.dtype = self.variables[0].dtype
        self._warned = False
        self._twin = None
        if not has_own_loss(model):
            self._twin = _twin(model, self.dtype)
            for loss in keras.tree.flatten(self._twin.loss):
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
        return self._value(self._unflatten(position), data)

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
        weights = self._unflatten(position)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = self._value(weights, data, others)
        gradients = tape.gradient(loss, weights)
        self._check_gradients(gradients)
        # An embedding's gradient is sparse until it is made a tensor.
        parts = [tf.reshape(tf.convert_to_tensor(part), (-1,)) for part in gradients]
        return loss, tf.concat(parts, axis=0)

    def moving_state(self, data: tuple) -> list[tuple[keras.Variable, tf.Tensor]]:
        """Returns the floating state that a step of training would change, and to what."""
        model = self._model()
        with keras.StatelessScope() as scope:
            model(data[0], **_training(model.call))
        pairs = [(v, scope.get_current_value(v)) for v in model.non_trainable_variables]
        return [
            (v, new) for v, new in pairs if new is not None and v.dtype.startswith("float")
        ]

    def _value(
        self, weights: list[tf.Tensor], data: tuple, others: list | None = None
    ) -> tf.Tensor:
        model = self._model()
        x, y, sample_weight = data
        # Changes of non-trainable state stay in the scope and are dropped: the seed of
        # Dropout does not advance, so that one mask holds for the whole run.
        mapping = [*zip(self.variables, weights), *zip(self.others, others or [])]
        scope = keras.StatelessScope(state_mapping=mapping, collect_losses=True)
        with floatx(self.dtype), scope:
            y_pred = model(x, **_training(model.call))
            loss = self._loss(model, x, y, y_pred, sample_weight)
        if loss.shape.rank:
            raise ValueError(
                f"The loss must be a scalar, but it has shape {tuple(loss.shape)}. Compile "
                'with reduction="sum_over_batch_size" or "sum", or take the mean in '
                "compute_loss."
            )
        if loss.dtype != self.dtype:
            self._warn_precision(loss.dtype.name)
        return tf.cast(loss, self.dtype)

    def _loss(self, model, x, y, y_pred, sample_weight) -> tf.Tensor:
        if has_own_loss(model):
            training = _training(model.compute_loss)
            loss = model.compute_loss(x, y, y_pred, sample_weight, **training)
            return tf.convert_to_tensor(loss)
        terms = [tf.reduce_sum(loss) for loss in model.losses]
        if model.loss is not None:
            terms.append(self._twin.compute_loss(x, y, y_pred, sample_weight))
        return tf.add_n([tf.cast(term, self.dtype) for term in terms])

    def _check_gradients(self, gradients: list) -> None:
        names = [v.path for v, g in zip(self.variables, gradients) if g is None]
        if names:
            raise ValueError(
                "The loss does not depend on these trainable weights, so that they get no "
                f"gradient: {', '.join(names)}. Freeze their layers with "
                "layer.trainable = False, or look for tf.stop_gradient in the model."
            )

    def _warn_precision(self, dtype: str) -> None:
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"The weights are {self.dtype}, but the loss computes in {dtype}, as Keras' "
            "losses do unless told otherwise. Give a loss of your own "
            f'dtype="{self.dtype}" in its constructor; where compute_loss calls that of '
            f'keras.Model, call keras.config.set_floatx("{self.dtype}") before compile.',
            stacklevel=2,
        )

    def _unflatten(self, position: tf.Tensor) -> list[tf.Tensor]:
        parts = tf.split(position, self.sizes)
        return [tf.reshape(part, shape) for part, shape in zip(parts, self.shapes)]


def has_own_loss(model: keras.Model) -> bool:
    """Returns whether the class of a model overrides `compute_loss`."""
    return type(model).compute_loss is not keras.Model.compute_loss


def loss_weights(model: keras.Model) -> list | dict | None:
    """Returns the weights of the losses that a model was compiled with."""
    return (model.get_compile_config() or {}).get("loss_weights")


def compile_like(model: keras.Model, other: keras.Model, dtype: str) -> None:
    """Compiles a model with the loss of another, computed in `dtype`.

    A compiled loss rounds its value to the floatx that held when `compile` was called,
    which is float32 also for most float64 models: too coarse for a line search. The
    optimizer tells one compilation from the next.
    """
    with floatx(dtype):
        loss = keras.tree.map_structure(_anew, other.loss)
        model.compile(
            optimizer=other.optimizer, loss=loss, loss_weights=loss_weights(other)
        )


def _twin(model: keras.Model, dtype: str) -> keras.Model:
    """Returns an empty model with the same compiled loss, computed in `dtype`."""
    twin = keras.Model()
    if hasattr(model, "output_names"):
        twin.output_names = model.output_names
    compile_like(twin, model, dtype)
    return twin


def _anew(loss):
    """Returns a loss of Keras' own made under the present floatx, any other as it is."""
    if not isinstance(loss, keras.losses.Loss) or not _is_keras(type(loss)):
        return loss
    return type(loss).from_config(loss.get_config())


def _is_keras(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "keras"


@contextlib.contextmanager
def floatx(dtype: str):
    """Lets losses that Keras makes meanwhile compute in `dtype`."""
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def _training(call: Callable) -> dict:
    return {"training": True} if accepts_training(call) else {}
