"""Compiled losses in the dtype of the weights.

`compile` makes a loss that rounds its value to the floatx of that moment. This is float32 for most
float64 models too, and too coarse for a line search. floatx is global, so that changing it would
affect other threads. Therefore Keras gets losses whose value is 1, which rounding does not change,
and loss weights that are the exact values of the losses, by which it multiplies them. Keras still
decides which loss belongs to which output.

In the public API, only the compile config of a model has the weights of its losses. Keras makes no
such config if a loss, a metric, the optimizer or its schedule has no config. In this case
`compiled_loss.check_weights` finds out from values of the loss whether there are weights.
"""

import re
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.models import copies
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.warn import warn_once


def compile_exactly(model: keras.Model, other: keras.Model, dtype: str) -> None:
    """Compiles a model with the losses of another one, computed in `dtype`."""
    if other.loss is None:
        model.compile(optimizer=other.optimizer)
        return
    losses = keras.tree.map_structure(
        lambda loss: None if loss is None else _UnitLoss(loss, dtype),
        losses_as_compiled(other),
    )
    flat, numbers = keras.tree.flatten(losses), loss_weights(other)
    numbers = len(flat) * [None] if numbers is None else keras.tree.flatten(numbers)
    if len(numbers) != len(flat):
        raise ValueError(
            f"The model is compiled with {counted(len(flat), 'loss', 'losses')}, but with "
            f"{counted(len(numbers), 'number')} in loss_weights."
        )
    weights = list(map(_ExactValue, flat, numbers))
    # For a single loss, Keras uses a weight only if it is in a list.
    if keras.tree.is_nested(losses):
        weights = keras.tree.pack_sequence_as(losses, weights)
    model.compile(optimizer=other.optimizer, loss=losses, loss_weights=weights)


def is_compiled_exactly(model: keras.Model) -> bool:
    """Returns whether a model was compiled by `compile_exactly`."""
    losses = keras.tree.flatten(losses_as_compiled(model))
    return any(isinstance(loss, _UnitLoss) for loss in losses)


def is_compiled(model: keras.layers.Layer) -> bool:
    """Returns whether a model has been compiled; False for a layer."""
    return isinstance(model, keras.Model) and model.compiled


def compile_signature(model: keras.Model) -> list:
    """Returns objects that are the same until a model is compiled again."""
    if not is_compiled(model):
        return []
    return [model.optimizer, model.loss, loss_weights(model)]


def losses_as_compiled(model: keras.Model) -> Any:
    """Returns the losses of a model in the structure in which they were passed.

    TensorFlow wraps lists, tuples and dicts, which are then other structures for Keras.
    """

    def unwrapped(structure: Any) -> Any:
        if isinstance(structure, dict):
            return {key: unwrapped(value) for key, value in structure.items()}
        if not isinstance(structure, list | tuple):
            return structure
        values = [unwrapped(value) for value in structure]
        return values if isinstance(structure, list) else tuple(values)

    return unwrapped(model.loss)


def compared_tensors(
    model: keras.Model, y: Any, y_pred: Any, sample_weight: Any
) -> list[tuple]:
    """Returns loss, target, output and weights of each loss, paired as Keras pairs them.

    The losses are not computed. Each is a `_UnitLoss`, with the attributes `loss` and
    `keras_name`.

    Args:
        model: Compiled by `compile_exactly`.
        y: Targets.
        y_pred: Outputs.
        sample_weight: Weights of the targets, or None.
    """
    losses = [loss for loss in keras.tree.flatten(losses_as_compiled(model)) if loss]
    record: list[tuple] = []
    for loss in losses:
        loss.record = record
    try:
        model.compute_loss(None, y, y_pred, sample_weight)
    finally:
        for loss in losses:
            loss.record = None
    return record


class _UnitLoss(keras.losses.Loss):
    """A loss that returns 1, and stores its exact value for its `_ExactValue`.

    Args:
        loss: A loss, as it was passed to `compile`.
        dtype: The dtype in which it is computed, unless it is a user's loss with its own dtype.

    Attributes:
        loss: The loss that is computed.
        keras_name: The name of the loss in Keras in lower case; "" for a user's own loss.
        exact_value: The latest exact value, or None.
        record: A list to which the arguments of a call are appended, instead of computing the
            loss; or None.
    """

    def __init__(self, loss: Any, dtype: str):
        self.loss, self.keras_name = _loss_in_dtype(loss, dtype), _name_in_keras(loss)
        super().__init__(name=self.loss.name)
        self.exact_value: Any = None
        self.record: list[tuple] | None = None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        scalar = tf.ones((), self.dtype)
        if self.record is None:
            self.exact_value = self.loss(y_true, y_pred, sample_weight)
        else:
            self.record.append((self, y_true, y_pred, sample_weight))
            self.exact_value = scalar
        return scalar


class _ExactValue:
    """A loss weight that TensorFlow converts to the weight times the exact value of the loss."""

    def __init__(self, loss: _UnitLoss, weight: float | None):
        self._loss, self._weight = loss, weight

    def __tf_tensor__(self, dtype: Any = None, name: Any = None) -> Any:
        # The loss drops the tensor, which would keep its whole graph alive.
        value, self._loss.exact_value = self._loss.exact_value, None
        return value if self._weight is None else value * self._weight


class _LossInDtype(keras.losses.Loss):
    """A loss that computes a function of targets and outputs in a dtype.

    A loss of Keras is not made again from its config, since the configs of Huber and
    CosineSimilarity lack delta and axis (Keras 3.10.0 to 3.15.1).
    """

    def __init__(self, function: Callable, name: str, dtype: str, **reduction: Any):
        # The name of a TensorFlow scope has only these characters, unlike "<lambda>".
        name = re.sub("[^A-Za-z0-9_]", "", name) or "loss"
        super().__init__(name=name, dtype=dtype, **reduction)
        self._function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(y_true, y_pred)


def _loss_in_dtype(loss: Any, dtype: str) -> keras.losses.Loss:
    """Returns a loss that computes in `dtype`; a user's own loss object keeps its dtype."""
    if isinstance(loss, str) and loss.lower() in ("crossentropy", "ce"):
        return _LossInDtype(_with_matched_ranks(None), loss, dtype)
    resolved = keras.losses.get(loss)
    if not isinstance(resolved, keras.losses.Loss):
        name = loss if isinstance(loss, str) else getattr(resolved, "__name__", "loss")
        return _LossInDtype(_with_matched_ranks(resolved), name, dtype)
    if type(resolved).__module__.split(".")[0] != "keras":
        return resolved
    return _LossInDtype(resolved.call, resolved.name, dtype, reduction=resolved.reduction)


def _name_in_keras(loss: Any) -> str:
    """Returns the name of a loss of Keras in lower case, or "" for a user's own loss."""
    if isinstance(loss, str):
        return loss.lower()
    kind = loss if hasattr(loss, "__name__") else type(loss)
    is_of_keras = (getattr(kind, "__module__", None) or "").startswith("keras.")
    return kind.__name__.lower() if is_of_keras else ""


def _with_matched_ranks(function: Callable | None) -> Callable:
    """Returns a loss function that first matches ranks; None stands for a crossentropy."""

    def with_matched_ranks(y_true: Any, y_pred: Any) -> Any:
        loss_function = function or _crossentropy(y_true, y_pred)
        if not keras.tree.is_nested(y_true) and not keras.tree.is_nested(y_pred):
            y_true, y_pred = match_ranks(y_true, y_pred)
        return loss_function(y_true, y_pred)

    return with_matched_ranks


def _crossentropy(y_true: Any, y_pred: Any) -> Any:
    """Returns the crossentropy that Keras uses for targets and outputs of these shapes."""
    if y_pred.shape[-1] == 1:
        return keras.losses.binary_crossentropy
    if len(y_true.shape) < len(y_pred.shape) or y_true.shape[-1] == 1:
        return keras.losses.sparse_categorical_crossentropy
    return keras.losses.categorical_crossentropy


def match_ranks(left: Any, right: Any) -> Any:
    """Returns two tensors with the same rank, if only one of them has a last axis of length 1.

    This axis is removed, except that a tensor of shape `(n,)` is reshaped to `(n, 1)`.
    """
    if len(left.shape) == len(right.shape) + 1:
        return match_ranks(right, left)[::-1]
    if len(right.shape) == len(left.shape) + 1 and right.shape[-1] == 1:
        if len(left.shape) == 1:
            return left[:, None], right
        return left, tf.squeeze(right, axis=-1)
    return left, right


def loss_weights(model: keras.Model) -> list | tuple | dict | float | None:
    """Returns the weights of the losses of a model, None if there are none or they are unknown.

    Raises:
        TypeError: If a weight is no number.
    """
    weights = compile_config(model)[0].get("loss_weights")
    if any(isinstance(weight, str) for weight in keras.tree.flatten(weights)):
        raise TypeError(
            "The model is compiled with `loss_weights` that are variables or tensors, expected "
            "numbers: pass float(weight), and compile again when it changes."
        )
    return weights


def check_loss_weights(model: keras.Model) -> None:
    """Checks the weights of the losses of a model, and warns of a negative one.

    Raises:
        ValueError: If all weights are 0, or one is not finite.
    """
    weights = [w for w in keras.tree.flatten(loss_weights(model)) if w is not None]
    if not np.all(np.isfinite(weights)):
        raise ValueError(
            f"The model is compiled with `loss_weights` {weights}, expected finite numbers."
        )
    if weights and not any(weights):
        raise ValueError(
            "The model is compiled with `loss_weights` that are all 0, so that there is nothing "
            "to fit. Give one loss a weight above 0."
        )
    if min(weights, default=0) < 0:
        message = (
            f"The model is compiled with `loss_weights` of {min(weights)}: a loss that has no "
            "upper bound, as most of Keras have none, has no minimum with a negative weight, and "
            "the fit follows it without end."
        )
        warn_once(model, message, topic="negative loss_weights")


def compile_config(model: keras.Model) -> tuple[dict, str]:
    """Returns the config of the last call of `compile`, and why it lacks the losses, or ""."""
    try:
        with warnings.catch_warnings():
            # Keras warns that lambdas cannot be saved, but this config is not saved.
            warnings.filterwarnings("ignore", message=".*includes a `lambda`")
            # A subclass may override get_compile_config for other arguments.
            config = keras.Model.get_compile_config(model) or {}
    # The user's own code can raise any error; the error is the reason.
    except Exception as error:
        return {}, f"Keras makes no config of what it has ({copies.brief(error)})"
    has_loss = config.get("loss") is not None
    return config, "" if has_loss else "the last call of compile had no loss"
