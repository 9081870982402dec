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

PYTHON_COMPUTES = (
    "Python computes with values, which TensorFlow does not see. Use keras.ops in the place of "
    "NumPy and math, such as keras.ops.sin for np.sin, and no `.numpy()` or `float()` of what "
    "depends on x."
)
# What Python and TensorFlow say of symbols in the place of values.
_OF_SYMBOLS = ("NumPy", "'numpy'", "SymbolicTensor")


def computes_with_values(error: Exception) -> bool:
    """Returns whether an error is that of a graph in which Python asks for values."""
    kinds = NotImplementedError | AttributeError | TypeError
    return isinstance(error, kinds) and any(word in str(error) for word in _OF_SYMBOLS)


def explained(error: Exception) -> Exception | None:
    """Returns the error that says what Python does with values in a graph, None of others."""
    if isinstance(error, tf.errors.OperatorNotAllowedInGraphError):
        return ValueError(PYTHON_DECIDES)
    return TypeError(PYTHON_COMPUTES) if computes_with_values(error) else None


def traced_if_possible(function: Callable, *arguments: Any) -> Callable:
    """Returns a function that is called many times as a `tf.function`.

    The function itself is returned if TensorFlow cannot trace it with some arguments.
    """
    compiled = traced(function)
    try:
        compiled(*arguments)
    # Tracing can raise any error.
    except Exception:
        return function
    return compiled


def traced(function: Callable, **options: Any) -> Any:
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
        except Exception as error:
            if reason := explained(error):
                raise reason from error
            raise

    return tf.function(functools.partial(told), autograph=False, **options)
