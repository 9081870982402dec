"""Functions that TensorFlow traces, each counted by itself."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def traced(function: Callable, **options: Any) -> Callable:
    """Returns a function as a `tf.function`, without autograph.

    TensorFlow warns of what is traced too often, and counts together all functions of one code,
    as those that are made anew for each model. A partial has no code: each counts alone.

    Args:
        function: Function of tensors.
        **options: Those of `tf.function`.
    """
    return tf.function(functools.partial(function), autograph=False, **options)
