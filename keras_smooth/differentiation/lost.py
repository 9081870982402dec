"""Derivatives that tapes do not find: known zeros, and lost ones."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_smooth import registry
from keras_smooth.differentiation.points import Points
from keras_smooth.differentiation.traces import NotTraceableError, Traces
from keras_smooth.models import graph
from keras_smooth.models.tracing import PYTHON_COMPUTES


class LostError(ValueError):
    """An error that says that TensorFlow does not have a derivative."""


@dataclasses.dataclass(frozen=True)
class Ways:
    """The paths from the moving inputs of a model to its outputs.

    Args:
        traces: The traces of the model.
        points: Its inputs.
        together: Whether all inputs count as one, as along a line.
    """

    traces: Traces
    points: Points
    together: bool = False

    def checked(
        self, row: Any, order: int, like: tf.Tensor, output: int, inputs: Sequence[int]
    ) -> tf.Tensor:
        """Returns a gradient, or zeros if it is 0, or raises an error if it is lost.

        Args:
            row: A gradient, None, or the error that there was in its place.
            order: Of the derivative.
            like: What zeros have the shape of.
            output: Place of the output.
            inputs: The places of those inputs by which it is derived.

        Raises:
            LostError: If there is none, though something leads from the inputs to the output.
        """
        if isinstance(row, Exception):
            raise LostError(lost(self.traces.model, order, row.args[0])) from row
        if row is not None:
            return row
        if self._is_zero(order, output, inputs):
            return tf.zeros_like(like)
        if self.traces.hides_values(self.points):
            raise LostError(f"The derivative of order {order} is lost. {PYTHON_COMPUTES}")
        cause = "TensorFlow finds no path from x to it"
        raise LostError(lost(self.traces.model, order, cause))

    def are_right(self, order: int) -> bool:
        """Returns whether tapes are known to be right up to an order, as far as pieces go."""
        known = registry.smoothness(self.traces.model) is not None
        return known and registry.tapes_right_to(self.traces.model) >= order

    def _is_zero(self, order: int, output: int, inputs: Sequence[int]) -> bool:
        """Returns whether a derivative of which there is nothing to see is known to be 0."""
        smoothness = registry.smoothness(self.traces.model)
        # Tapes may leave out what a stopped or declared gradient hides.
        if smoothness is not None and smoothness >= order and self.are_right(max(order, 2)):
            return True
        try:
            moved = [self.points.moved_by([i]) for i in set(inputs)]
            moved = [self.points] if self.together else moved
            return not all(self.traces.reached(each)[output] for each in moved)
        except NotTraceableError:
            return False


def lost(model: object, order: int, cause: object) -> str:
    """Returns the message of a lost derivative, with the layers and the advice."""
    smooth = ", ".join(registry.recommended(order))
    layers = graph.inner(model) if graph.is_graph(model) else []
    rough = [layer for layer in layers if not registry.has_derivatives(layer, order)]
    return (
        f"The derivative of order {order} is lost: {cause}. To look at: "
        f"{', '.join(map(_named, rough or [model]))}. Replace rough activations by smooth ones "
        f"({smooth}) and keras.activations.softsign by the one of keras_smooth. If the "
        "derivative is truly 0, add 0 * x**order to the output."
    )


def _named(layer: object) -> str:
    smoothness = registry.smoothness(layer)
    name = getattr(layer, "name", None) or getattr(layer, "__name__", "the function itself")
    kind = "unknown smoothness" if smoothness is None else f"C^{smoothness}"
    return f"{name} ({type(layer).__name__}, {kind})"
