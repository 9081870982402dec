"""Weights of rows from weights of classes, as in Keras' `fit`."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import checks


def check_class_weight(class_weight: Any) -> None:
    """Raises an error unless weights of classes are a dict of finite numbers, 0 or more."""
    if class_weight is None:
        return
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            "`class_weight` must be a dict of weights by class, as {0: 1.0, 1: 5.0}, "
            f"received {class_weight!r:.80}."
        )
    for label, weight in class_weight.items():
        if isinstance(label, bool) or not isinstance(label, (int, np.integer)):
            raise TypeError(
                f"The classes in `class_weight` must be integers, received {label!r}."
            )
        checks.finite_number(f"`class_weight[{label}]`", weight, 0)


def weighted(parts: tuple, class_weight: Mapping[int, float], dtype: str) -> tuple:
    """Returns `(x, y, sample_weight)` with the weight of each row's class.

    Args:
        parts: `(x, y, None)`; y are classes, `(n,)` or `(n, 1)`, or one-hot rows.
        class_weight: Weights by class, 1 for a class that is not there.
        dtype: Of the weights of rows.

    Raises:
        ValueError: If there are weights of rows already, or not one y.
    """
    x, y, sample_weight = parts
    if sample_weight is not None:
        raise ValueError(
            "`class_weight` and `sample_weight` are given both, expected one of them: "
            "multiply the weights of rows by those of their classes."
        )
    if y is None or keras.tree.is_nested(y):
        raise ValueError(
            "`class_weight` needs one array of targets, received "
            f"{'none' if y is None else type(y).__name__}. Pass `sample_weight`, with an "
            "array for each output."
        )
    if y.shape.rank > 1 and y.shape[-1] > 1:
        labels = tf.argmax(y, axis=-1, output_type=tf.int32)
    else:
        column = y if y.shape.rank == 1 else tf.squeeze(y, axis=-1)
        labels = tf.cast(tf.round(column) if y.dtype.is_floating else column, tf.int32)
    weights = tf.ones(tf.shape(labels), dtype)
    for label, weight in class_weight.items():
        weights = tf.where(labels == label, tf.constant(weight, dtype), weights)
    return x, y, weights
