"""Functions that TensorFlow traces, with errors that explain why it cannot."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import tensorflow as tf

P = ParamSpec("P")
T = TypeVar("T")

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
# Words in errors of Python and TensorFlow about symbolic tensors that have no values.
_SYMBOL_WORDS = ("NumPy", "'numpy'", "SymbolicTensor")


def eager_only(function: Callable[P, T]) -> Callable[P, T]:
    """Decorates a function that computes with values, so that it cannot be part of a graph."""

    # AutoGraph would rewrite the function before its error.
    @tf.autograph.experimental.do_not_convert
    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        if not tf.executing_eagerly():
            raise ValueError(
                f"{function.__name__} was called in a graph, as in a tf.function or in the `call` "
                "of a layer. It computes with values, which a graph does not have. Call it "
                "outside."
            )
        return function(*args, **kwargs)

    return checked


def computes_with_values(error: Exception) -> bool:
    """Returns whether an error is due to Python code that needs values, which a graph lacks."""
    kinds = NotImplementedError | AttributeError | TypeError
    return isinstance(error, kinds) and any(word in str(error) for word in _SYMBOL_WORDS)


def explaining_error(error: Exception) -> Exception | None:
    """Returns an error that explains how Python uses values in a graph, or None for others."""
    if isinstance(error, tf.errors.OperatorNotAllowedInGraphError):
        return ValueError(PYTHON_DECIDES)
    return TypeError(PYTHON_COMPUTES) if computes_with_values(error) else None


def traced_if_possible(function: Callable, *arguments: Any) -> Callable:
    """Returns a function that is called many times as a `tf.function`.

    It is returned unchanged if TensorFlow cannot trace it for the arguments.
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

    TensorFlow warns if a function is traced too often. It counts traces of functions with the
    same code together, such as closures for several models. A partial has no code, so that
    its traces are counted separately.

    Args:
        function: Function of tensors.
        **options: Options of `tf.function`.
    """

    @functools.wraps(function)
    def with_explained_errors(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if reason := explaining_error(error):
                raise reason from error
            raise

    return tf.function(functools.partial(with_explained_errors), autograph=False, **options)
