"""The loss of a compiled model, as a function of model and data."""

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
    """The loss of a compiled model, in the dtype of its weights.

    The loss is that of `compile(loss=...)` plus regularizers and `add_loss`, or what an overridden
    `compute_loss` returns. In an overridden method, `super().compute_loss` computes the compiled
    loss in the dtype of the weights.

    Args:
        model: Built and compiled model.
        dtype: The dtype of its weights.

    Attributes:
        dtypes: The dtypes in which the losses compute; empty with an overridden `compute_loss`.
    """

    precision = (
        'Give a loss of your own dtype="{dtype}" in its constructor; where compute_loss calls '
        "keras.Model.compute_loss, call super().compute_loss, or begin the program with "
        'keras.config.set_floatx("{dtype}").'
    )

    def __init__(self, model: keras.Model, dtype: str):
        self._dtype, self._has_own_loss = dtype, has_own_loss(model)
        self._loss_model: keras.Model | None = None
        self._exact_class: type | None = None
        self.dtypes: set[str] = set()
        is_exact = self._has_own_loss and exact_losses.is_compiled_exactly(model)
        if model.loss is None or is_exact:
            return
        self._loss_model = keras.Model()
        if hasattr(model, "output_names"):
            self._loss_model.output_names = model.output_names
        exact_losses.compile_exactly(self._loss_model, model, dtype)
        if self._has_own_loss:
            self._exact_class = _with_base_loss(type(model), self._sum_of_losses)
        else:
            losses = keras.tree.flatten(exact_losses.losses_as_compiled(self._loss_model))
            self.dtypes = {loss.loss.dtype for loss in losses if loss is not None}

    def build(self, model: keras.Model, data: tuple, y_pred: Any) -> None:
        """Creates the trackers of several losses, for the outputs `y_pred` of a few rows.

        Keras creates them when it first pairs outputs and losses. If this happened in a trace,
        TensorFlow would trace the function again.
        """
        if self._loss_model is None or self._has_own_loss:
            return
        y, sample_weight = pair_targets(model, data[1], y_pred, data[2])
        with model.distribute_strategy.scope():
            self.compared_tensors(y, y_pred, sample_weight)

    def __call__(self, model: keras.Model, data: tuple) -> tf.Tensor:
        """Returns the loss on `data = (x, y, sample_weight)`."""
        return self.loss_of_outputs(model, data, self.forward(model, data))

    def loss_of_outputs(self, model: keras.Model, data: tuple, y_pred: Any) -> tf.Tensor:
        """Returns the loss of the outputs `y_pred`."""
        if not self._has_own_loss:
            return self._sum_of_losses(model, data, y_pred)
        if self._exact_class is not None:
            # The same state as an object of the other class, without copying the model.
            state, model = vars(model), object.__new__(self._exact_class)
            object.__setattr__(model, "__dict__", state)
        loss = _call_compute_loss(model, data, y_pred)
        if loss is None or keras.tree.is_nested(loss):
            raise TypeError(
                f"compute_loss of {type(model).__name__} must return a scalar, received "
                f"{shown(loss)}. Return the sum of its parts."
            )
        return tf.convert_to_tensor(loss)

    def _sum_of_losses(self, model: keras.Model, data: tuple, y_pred: Any) -> tf.Tensor:
        """Returns the compiled loss plus regularizers and `add_loss`."""
        y, sample_weight = pair_targets(model, data[1], y_pred, data[2])
        terms = [tf.reduce_sum(loss) for loss in model.losses]
        if self._loss_model is not None:
            terms.append(self._loss_model.compute_loss(None, y, y_pred, sample_weight))
        # Layers add losses when they are called, so that this cannot be checked earlier.
        if not terms:
            raise ValueError(
                "The model has no loss. Call model.compile(loss=...), or override compute_loss."
            )
        return tf.add_n([tf.cast(term, self._dtype) for term in terms])

    def residuals(self, model: keras.Model, data: tuple) -> list[tf.Tensor]:
        """Returns the residuals of a mean squared error, for each output with a loss.

        Raises:
            ValueError: If there are losses that are not mean squared errors.
        """
        if self._loss_model is None or self._has_own_loss:
            raise ValueError(
                'method="gauss_newton" does not see what compute_loss and add_loss square. Pass '
                "an `objective` that returns residuals, or use another method."
            )
        y_pred = self.forward(model, data)
        # Losses have a static value outside of a graph only. A loss of 0 changes nothing.
        if any(tf.get_static_value(loss) for loss in model.losses):
            raise ValueError(
                'method="gauss_newton" minimizes mean squares, but the model has regularizers or '
                "add_loss. Leave them out, pass an `objective` that returns residuals, or use "
                "another method."
            )
        y, sample_weight = pair_targets(model, data[1], y_pred, data[2])
        compared = self.compared_tensors(y, y_pred, sample_weight)
        return [_weighted_error(*tensors) for _, *tensors in compared]

    def compared_tensors(self, y: Any, y_pred: Any, sample_weight: Any) -> list[tuple]:
        """Returns loss, target, output and weights of each loss, paired as Keras pairs them."""
        return exact_losses.compared_tensors(self._loss_model, y, y_pred, sample_weight)

    def forward(self, model: keras.Model, data: tuple) -> Any:
        """Calls the model in training mode, and returns its outputs."""
        return model(data[0], **_training_argument(entry(model)))


def pair_targets(model: keras.Model, y: Any, y_pred: Any, sample_weight: Any) -> tuple:
    """Returns targets and weights; those of a `DerivativeModel` by the names of its outputs."""
    if isinstance(model, DerivativeModel):
        return model.paired(y, y_pred, sample_weight)
    return y, sample_weight


def has_own_loss(model: keras.layers.Layer) -> bool:
    """Returns whether the class of a model overrides `compute_loss`; False for a layer."""
    if not isinstance(model, keras.Model):
        return False
    # The method of DerivativeModel calls that of Keras, with targets paired with the outputs.
    keras_methods = (keras.Model.compute_loss, DerivativeModel.compute_loss)
    return type(model).compute_loss not in keras_methods


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
    # Keras computes in floatx. Without weights, both losses are equal up to rounding.
    loss = CompiledLoss(model, keras.config.floatx())
    # Keras creates trackers for several losses, in the strategy scope of the model's variables.
    with model.distribute_strategy.scope(), keras.StatelessScope(collect_losses=True):
        y_pred = loss.forward(model, data)
        unweighted = loss.loss_of_outputs(model, data, y_pred)
        try:
            of_keras = _call_compute_loss(model, data, y_pred)
            has_no_weights = np.allclose(of_keras, unweighted, rtol=1e-5, atol=0.0)
        # Keras cannot add regularizers in float64 to losses in float32.
        except (TypeError, ValueError, AttributeError, tf.errors.OpError):
            has_no_weights = False
    if not has_no_weights:
        raise ValueError(
            f"The model is compiled with `loss_weights` that cannot be read: {reason}. Compile it "
            "again with its losses, and with functions (def) and objects that have a get_config "
            "alone."
        )


def _call_compute_loss(model: keras.Model, data: tuple, y_pred: Any) -> Any:
    """Returns `model.compute_loss` of data and outputs."""
    x, y, sample_weight = data
    return model.compute_loss(
        x, y, y_pred, sample_weight, **_training_argument(model.compute_loss)
    )


def _with_base_loss(kind: type, sum_of_losses: Callable) -> type:
    """Returns a subclass in which `super().compute_loss` of the user's class is `sum_of_losses`.

    Python looks up the method in the user's classes first, then in `BaseLoss`, and in
    `keras.Model` last.
    """

    class BaseLoss(keras.Model):
        def compute_loss(
            self,
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            return sum_of_losses(self, (x, y, sample_weight), y_pred)

    return type(kind.__name__, (kind, BaseLoss), {"__module__": kind.__module__})


def _weighted_error(target: Any, output: tf.Tensor, weight: tf.Tensor | None) -> tf.Tensor:
    """Returns the error of an output, times the square roots of the sample weights."""
    target, output = exact_losses.match_ranks(tf.cast(target, output.dtype), output)
    error = output - target
    if weight is None:
        return error
    missing_axes = [1] * (len(error.shape) - len(weight.shape))
    weight = tf.reshape(weight, tf.concat([tf.shape(weight), missing_axes], axis=0))
    return error * tf.sqrt(tf.cast(weight, error.dtype))


def _training_argument(call: Callable) -> dict:
    return {"training": True} if accepts_training(call) else {}
