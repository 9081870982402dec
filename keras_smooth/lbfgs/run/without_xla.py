"""Fits that XLA cannot compile run without it, with one warning."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.lbfgs.minimizers import Minimizer
from keras_smooth.models import graph
from keras_smooth.presentation.warn import warn

# XLA refuses with these errors. An error that occurs without XLA as well is not a refusal.
_REFUSALS = (
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.UnimplementedError,
)


class MinimizerWithoutXla:
    """A minimizer that is compiled by XLA until XLA refuses.

    Args:
        make: Returns a minimizer, compiled by XLA or not.
        jit_compile: Whether to try.
    """

    def __init__(self, make: Callable[[bool], Minimizer], jit_compile: bool):
        self._make = make
        self._jit_compile = jit_compile
        self._minimizer = make(jit_compile)

    def begin(self, *arguments: Any) -> Any:
        """See `Minimizer`."""
        return self._tried("begin", arguments)

    def move(self, *arguments: Any) -> Any:
        """See `Minimizer`."""
        return self._tried("move", arguments)

    def advance(self, *arguments: Any) -> Any:
        """See `Minimizer`."""
        return self._tried("advance", arguments)

    def sees_non_finite(self, *arguments: Any) -> bool:
        """See `Minimizer`."""
        return self._tried("sees_non_finite", arguments)

    def _tried(self, name: str, arguments: tuple) -> Any:
        try:
            return getattr(self._minimizer, name)(*arguments)
        except _REFUSALS as error:
            if not self._jit_compile:
                raise
            slower = self._make(False)
            result = getattr(slower, name)(*arguments)
            _warn(error.message.splitlines()[0][:160])
        self._minimizer, self._jit_compile = slower, False
        return result


def refusing_lists_that_grow(function: Callable) -> Callable:
    """Returns a function that refuses XLA if a `tf.TensorArray` in it has a dynamic size.

    XLA ignores what is written behind the end of such an array, without an error, so that the
    numbers would be wrong.

    Args:
        function: Function of tensors that returns tensors, called while it is traced.
    """

    @functools.wraps(function)
    def checked(*args: Any) -> Any:
        values = function(*args)
        graph = tf.nest.flatten(values)[0].graph.as_graph_def()
        bodies = (body.node_def for body in graph.library.function)
        if any(map(_grows_a_list, itertools.chain(graph.node, *bodies))):
            raise tf.errors.InvalidArgumentError(
                None, None, "it ignores a tf.TensorArray with dynamic_size=True"
            )
        return values

    return checked


def _grows_a_list(node: Any) -> bool:
    grows = "resize_if_index_out_of_bounds"
    return node.op == "TensorListResize" or grows in node.attr and node.attr[grows].b


def supports_xla(model: keras.Model) -> bool:
    """Returns whether no layer says that XLA cannot compile it; warns if one does."""
    for path, layer in graph.walk(model):
        if not getattr(layer, "supports_jit", True):
            _warn(f"the layer {path} of class {type(layer).__name__} does not support it")
            return False
    return True


def _warn(reason: str) -> None:
    warn(
        f"XLA cannot compile this model ({reason}): fit_lbfgs runs without it, which is "
        "slower. Pass jit_compile=False to ask for that, or leave out the layer."
    )
