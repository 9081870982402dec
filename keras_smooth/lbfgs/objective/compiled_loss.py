"""The loss of a compiled model as a function of model and data."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.checks import shown
from keras_smooth.differentiation.derivative_model import DerivativeModel
from keras_smooth.lbfgs.objective import exact_losses
from keras_smooth.models.own_call import accepts_training, entry


class CompiledLoss:
    """The loss of a model, in the dtype of the weights.

    It is `compile(loss=...)` with regularizers and `add_loss`; or an overridden `compute_loss`,
    which gets the compiled loss in that dtype where it calls `super().compute_loss`.

    Args:
        model: Built and compiled model.
        dtype: Of its weights.

    Attributes:
        dtypes: In which the losses of Keras and of the user compute, as far as that is known.
    """

    precision = (
        'Give a loss of your own dtype="{dtype}" in its constructor; where compute_loss calls '
        "keras.Model.compute_loss, call super().compute_loss, or begin the program with "
        'keras.config.set_floatx("{dtype}").'
    )

    def __init__(self, model: keras.Model, dtype: str):
        self._dtype, self._is_own = dtype, has_own_loss(model)
        self._twin: keras.Model | None = None
        self._kind: type | None = None
        self.dtypes: set[str] = set()
        if model.loss is None or self._is_own and exact_losses.is_exact(model):
            return
        self._twin = keras.Model()
        if hasattr(model, "output_names"):
            self._twin.output_names = model.output_names
        exact_losses.compile_exactly(self._twin, model, dtype)
        if self._is_own:
            self._kind = _with_loss(type(model), self._of_losses)
        else:
            losses = keras.tree.flatten(exact_losses.losses_as_compiled(self._twin))
            self.dtypes = {each.loss.dtype for each in losses if each is not None}

    def __call__(self, model: keras.Model, data: tuple) -> tf.Tensor:
        """Returns the loss on `data = (x, y, sample_weight)`."""
        return self.of_outputs(model, data, self.forward(model, data))

    def of_outputs(self, model: keras.Model, data: tuple, y_pred: Any) -> tf.Tensor:
        """Returns the loss of outputs."""
        if not self._is_own:
            return self._of_losses(model, data, y_pred)
        if self._kind is not None:
            # The same model, not a copy, under another class.
            state, model = vars(model), object.__new__(self._kind)
            object.__setattr__(model, "__dict__", state)
        loss = _computed(model, data, y_pred)
        if loss is None or keras.tree.is_nested(loss):
            raise TypeError(
                f"compute_loss of {type(model).__name__} must return a scalar, received "
                f"{shown(loss)}. Return the sum of its parts."
            )
        return tf.convert_to_tensor(loss)

    def _of_losses(self, model: keras.Model, data: tuple, y_pred: Any) -> tf.Tensor:
        y, sample_weight = paired(model, data[1], y_pred, data[2])
        terms = [tf.reduce_sum(loss) for loss in model.losses]
        if self._twin is not None:
            terms.append(self._twin.compute_loss(None, y, y_pred, sample_weight))
        # Layers add theirs when they are called: until then they are not known.
        if not terms:
            raise ValueError(
                "The model has no loss. Call model.compile(loss=...), or override compute_loss."
            )
        return tf.add_n([tf.cast(term, self._dtype) for term in terms])

    def residuals(self, model: keras.Model, data: tuple) -> list[tf.Tensor]:
        """Returns what a mean squared error squares, of each output with a loss.

        Raises:
            ValueError: If there are losses that are no squares.
        """
        if self._twin is None or self._is_own:
            raise ValueError(
                'method="gauss_newton" does not see what compute_loss and add_loss square. Pass '
                "an `objective` that returns residuals, or use another method."
            )
        y_pred = self.forward(model, data)
        # Values, outside of a graph. Those of 0 change nothing.
        if any(tf.get_static_value(loss) for loss in model.losses):
            raise ValueError(
                'method="gauss_newton" minimizes mean squares, but the model has regularizers or '
                "add_loss. Leave them out, pass an `objective` that returns residuals, or use "
                "another method."
            )
        y, sample_weight = paired(model, data[1], y_pred, data[2])
        return [_error(*each) for _, *each in self.compared(y, y_pred, sample_weight)]

    def compared(self, y: Any, y_pred: Any, sample_weight: Any) -> list[tuple]:
        """Returns loss, target, output and weights of each loss, in pairs as Keras makes them."""
        return exact_losses.compared(self._twin, y, y_pred, sample_weight)

    def forward(self, model: keras.Model, data: tuple) -> Any:
        """Calls the model as in training."""
        return model(data[0], **_training(entry(model)))


def paired(model: keras.Model, y: Any, y_pred: Any, sample_weight: Any) -> tuple:
    """Returns targets and weights, of a model of derivatives by the names of its outputs."""
    if isinstance(model, DerivativeModel):
        return model.paired(y, y_pred, sample_weight)
    return y, sample_weight


def has_own_loss(model: keras.layers.Layer) -> bool:
    """Returns whether the class of a model overrides `compute_loss`; that of a layer has none."""
    if not isinstance(model, keras.Model):
        return False
    # That of DerivativeModel is Keras' own, of targets in the form of the outputs.
    known = (keras.Model.compute_loss, DerivativeModel.compute_loss)
    return type(model).compute_loss not in known


def check_weights(model: keras.Model, data: tuple) -> None:
    """Raises an error if the losses of a model have weights that cannot be read.

    Args:
        model: Built and compiled model.
        data: A few rows `(x, y, sample_weight)`.
    """
    exact_losses.check_loss_weights(model)
    reason = model.loss is not None and exact_losses.compile_config(model)[1]
    if not reason:
        return
    # In floatx, as Keras computes: without weights both are the same to the last digits.
    loss = CompiledLoss(model, keras.config.floatx())
    # Keras makes trackers of several losses, where the variables of the model are.
    with model.distribute_strategy.scope(), keras.StatelessScope(collect_losses=True):
        y_pred = loss.forward(model, data)
        without = loss.of_outputs(model, data, y_pred)
        try:
            same = np.allclose(_computed(model, data, y_pred), without, rtol=1e-5, atol=0.0)
        # Keras adds no regularizers of float64 to losses of float32.
        except (TypeError, ValueError, AttributeError, tf.errors.OpError):
            same = False
    if not same:
        raise ValueError(
            f"The model is compiled with `loss_weights` that cannot be read: {reason}. Compile it "
            "again with its losses, and with functions (def) and objects that have a get_config "
            "alone."
        )


def _computed(model: keras.Model, data: tuple, y_pred: Any) -> Any:
    """Returns what `compute_loss` of a model makes of its outputs."""
    x, y, sample_weight = data
    return model.compute_loss(x, y, y_pred, sample_weight, **_training(model.compute_loss))


def _with_loss(kind: type, of_losses: Callable) -> type:
    """Returns a subclass of a class of models in which keras.Model's loss is another.

    Python looks a method up in all of the user's classes first, then here, and in
    keras.Model last.
    """

    class Below(keras.Model):
        def compute_loss(
            self,
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            return of_losses(self, (x, y, sample_weight), y_pred)

    return type(kind.__name__, (kind, Below), {"__module__": kind.__module__})


def _error(target: Any, output: tf.Tensor, weight: tf.Tensor | None) -> tf.Tensor:
    """Returns the error of an output, times the roots of the weights of rows."""
    target, output = exact_losses.of_one_rank(tf.cast(target, output.dtype), output)
    error = output - target
    if weight is None:
        return error
    missing = [1] * (len(error.shape) - len(weight.shape))
    weight = tf.reshape(weight, tf.concat([tf.shape(weight), missing], axis=0))
    return error * tf.sqrt(tf.cast(weight, error.dtype))


def _training(call: Callable) -> dict:
    return {"training": True} if accepts_training(call) else {}
