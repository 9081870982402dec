"""Compiled losses in the dtype of the weights.

`compile` makes a loss that rounds its value to the floatx of that moment, float32 also for
most float64 models: too coarse for a line search. floatx is global, so that to change it
would change what other threads do meanwhile. Therefore Keras gets losses whose value is 1,
which it rounds without harm, and multiplies each by a weight: that is where the exact value
goes. Which loss is of which output stays Keras' affair.

The config of a model alone has the weights of its losses, in public. Keras makes none where a
loss, a metric, the optimizer or its schedule has none, of which `fit` needs none: then
`compiled_loss.check_weights` tries whether there are no weights.
"""

import re
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.models import copies
from keras_smooth.presentation.warn import warn_once


def compile_exactly(model: keras.Model, other: keras.Model, dtype: str) -> None:
    """Compiles a model with the loss of another, computed in `dtype`."""
    if other.loss is None:
        model.compile(optimizer=other.optimizer)
        return
    losses = keras.tree.map_structure(
        lambda loss: None if loss is None else _Around(loss, dtype),
        losses_as_compiled(other),
    )
    flat, given = keras.tree.flatten(losses), loss_weights(other)
    given = len(flat) * [None] if given is None else keras.tree.flatten(given)
    if len(given) != len(flat):
        raise ValueError(
            f"The model is compiled with {len(flat)} losses, but with {len(given)} loss_weights."
        )
    weights = list(map(_Weight, flat, given))
    # Keras uses the weight of a single loss from a list only.
    if keras.tree.is_nested(losses):
        weights = keras.tree.pack_sequence_as(losses, weights)
    model.compile(optimizer=other.optimizer, loss=losses, loss_weights=weights)


def is_exact(model: keras.Model) -> bool:
    """Returns whether a model was compiled here."""
    losses = keras.tree.flatten(losses_as_compiled(model))
    return any(isinstance(loss, _Around) for loss in losses)


def is_compiled(model: keras.layers.Layer) -> bool:
    """Returns whether a model has been compiled; a layer cannot be."""
    return isinstance(model, keras.Model) and model.compiled


def compilation(model: keras.Model) -> list:
    """Returns what tells one call of `compile` from the next."""
    if not is_compiled(model):
        return []
    return [model.optimizer, model.loss, loss_weights(model)]


def losses_as_compiled(model: keras.Model) -> Any:
    """Returns the losses of a model in the structure that they were passed in.

    TensorFlow keeps lists, tuples and dicts in wrappers of its own, which are other
    structures to Keras.
    """

    def unwrapped(structure: Any) -> Any:
        if isinstance(structure, dict):
            return {key: unwrapped(value) for key, value in structure.items()}
        if not isinstance(structure, list | tuple):
            return structure
        values = [unwrapped(value) for value in structure]
        return values if isinstance(structure, list) else tuple(values)

    return unwrapped(model.loss)


def compared(model: keras.Model, y: Any, y_pred: Any, sample_weight: Any) -> list[tuple]:
    """Returns loss, target, output and weights of each loss, in pairs as Keras makes them.

    The losses are not computed. They have the attributes `loss`, which is in the dtype of the
    model, and `own_name`.

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


class _Around(keras.losses.Loss):
    """A loss of value 1 that keeps its true value for its weight.

    Args:
        loss: A loss as it was compiled.
        dtype: In which it is computed, unless it is the user's and has its own.

    Attributes:
        loss: The loss that is computed.
        own_name: Name of a function or class of Keras in lower case, or "".
        latest: The latest value.
        record: A list that gets what the loss compares, in place of a value, or None.
    """

    def __init__(self, loss: Any, dtype: str):
        self.loss, self.own_name = _resolved(loss, dtype), _own_name(loss)
        super().__init__(name=self.loss.name)
        self.latest: Any = None
        self.record: list[tuple] | None = None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        scalar = tf.ones((), self.dtype)
        if self.record is None:
            self.latest = self.loss(y_true, y_pred, sample_weight)
        else:
            self.record.append((self, y_true, y_pred, sample_weight))
            self.latest = scalar
        return scalar


class _Weight:
    """A weight times the latest true value of a loss, as soon as TensorFlow asks for it."""

    def __init__(self, loss: _Around, weight: float | None):
        self._loss, self._weight = loss, weight

    def __tf_tensor__(self, dtype: Any = None, name: Any = None) -> Any:
        # Not kept: a tensor holds the whole graph that it is of.
        value, self._loss.latest = self._loss.latest, None
        return value if self._weight is None else value * self._weight


class _InDtype(keras.losses.Loss):
    """A loss of a function of targets and outputs that computes in a dtype.

    A loss of Keras is not made from its config: in those of Huber and CosineSimilarity Keras
    leaves out delta and axis (3.10.0 to 3.15.1).
    """

    def __init__(self, function: Callable, name: str, dtype: str, **reduction: Any):
        # A scope of TensorFlow has no other letters: not those of "<lambda>".
        name = re.sub("[^A-Za-z0-9_]", "", name) or "loss"
        super().__init__(name=name, dtype=dtype, **reduction)
        self._function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(y_true, y_pred)


def _resolved(loss: Any, dtype: str) -> keras.losses.Loss:
    """Returns a loss that computes in `dtype`, or in its own if it is the user's."""
    if isinstance(loss, str) and loss.lower() in ("crossentropy", "ce"):
        return _InDtype(_by_rows(None), loss, dtype)
    known = keras.losses.get(loss)
    if not isinstance(known, keras.losses.Loss):
        name = loss if isinstance(loss, str) else getattr(known, "__name__", "loss")
        return _InDtype(_by_rows(known), name, dtype)
    if type(known).__module__.split(".")[0] != "keras":
        return known
    return _InDtype(known.call, known.name, dtype, reduction=known.reduction)


def _own_name(loss: Any) -> str:
    if isinstance(loss, str):
        return loss.lower()
    kind = loss if hasattr(loss, "__name__") else type(loss)
    own = (getattr(kind, "__module__", None) or "").startswith("keras.")
    return kind.__name__.lower() if own else ""


def _by_rows(function: Callable | None) -> Callable:
    """Returns a function of targets and outputs of one rank; None chooses a crossentropy."""

    def with_one_rank(y_true: Any, y_pred: Any) -> Any:
        chosen = function or _crossentropy(y_true, y_pred)
        if not keras.tree.is_nested(y_true) and not keras.tree.is_nested(y_pred):
            y_true, y_pred = of_one_rank(y_true, y_pred)
        return chosen(y_true, y_pred)

    return with_one_rank


def _crossentropy(y_true: Any, y_pred: Any) -> Any:
    """Returns the one that Keras uses for targets and outputs of these shapes."""
    if y_pred.shape[-1] == 1:
        return keras.losses.binary_crossentropy
    if len(y_true.shape) < len(y_pred.shape) or y_true.shape[-1] == 1:
        return keras.losses.sparse_categorical_crossentropy
    return keras.losses.categorical_crossentropy


def of_one_rank(left: Any, right: Any) -> Any:
    """Returns two tensors without the last axis of 1 that only one of them has.

    Against rows alone, (n,), the other is made (n, 1).
    """
    if len(left.shape) == len(right.shape) + 1:
        return of_one_rank(right, left)[::-1]
    if len(right.shape) == len(left.shape) + 1 and right.shape[-1] == 1:
        if len(left.shape) == 1:
            return left[:, None], right
        return left, tf.squeeze(right, axis=-1)
    return left, right


def loss_weights(model: keras.Model) -> list | tuple | dict | float | None:
    """Returns the weights of the losses of a model, None if there are none or unread.

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
    """Raises an error if no loss has a weight, and warns if one has a negative weight.

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
            # Keras warns of lambdas in configs that are saved; this one is not.
            warnings.filterwarnings("ignore", message=".*includes a `lambda`")
            # The model's own may be of other arguments.
            config = keras.Model.get_compile_config(model) or {}
    # Whatever the user's own code raises is the reason.
    except Exception as error:
        return {}, f"Keras makes no config of what it has ({copies.brief(error)})"
    has_loss = config.get("loss") is not None
    return config, "" if has_loss else "the last call of compile had no loss"
