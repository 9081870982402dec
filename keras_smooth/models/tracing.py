"""Functions that TensorFlow traces, each counted by itself."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

PYTHON_DECIDES = (
    "TensorFlow cannot trace the model: its Python code decides by the values of tensors, with "
    "`if`, `while` or `for`, and in a graph these have none. Use tf.cond, keras.ops.where or "
    "keras.ops.while_loop there."
)


def traced(function: Callable, **options: Any) -> Callable:
    """Returns a function as a `tf.function`, without autograph.

    TensorFlow warns of what is traced too often, and counts together all functions of one code,
    as those that are made anew for each model. A partial has no code: each counts alone.

    Args:
        function: Function of tensors.
        **options: Those of `tf.function`.
    """

    @functools.wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except tf.errors.OperatorNotAllowedInGraphError as error:
            raise ValueError(PYTHON_DECIDES) from error

    return tf.function(functools.partial(told), autograph=False, **options)
