"""Derivatives that tapes do not return: zeros if no path leads to y, and lost derivatives."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_smooth import operations, registry
from keras_smooth.differentiation.points import Points
from keras_smooth.differentiation.traces import Traces
from keras_smooth.models import graph
from keras_smooth.models.tracing import PYTHON_COMPUTES


class LostError(ValueError):
    """A derivative that TensorFlow cannot compute."""


@dataclasses.dataclass(frozen=True)
class Paths:
    """The paths from the moving inputs of a model to its outputs.

    Args:
        traces: The traces of the model.
        points: Its inputs.
        together: Whether all inputs move together, as along a line.
    """

    traces: Traces
    points: Points
    together: bool = False

    def checked(
        self, row: Any, order: int, like: tf.Tensor, output: int, inputs: Sequence[int]
    ) -> tf.Tensor:
        """Returns a gradient, or zeros if no path leads from the inputs to the output.

        Args:
            row: A gradient, None, or the error that TensorFlow raised instead.
            order: The order of the derivative.
            like: A tensor of the shape of the zeros.
            output: The index of the output.
            inputs: The indices of the inputs with respect to which it is differentiated.

        Raises:
            LostError: If there is no gradient, but a path leads from the inputs to the output.
        """
        if isinstance(row, Exception):
            raise LostError(lost_message(self.traces.model, order, row.args[0])) from row
        if row is not None:
            return row
        if self._is_zero(order, output, inputs):
            return tf.zeros_like(like)
        if self.traces.hides_values(self.points):
            raise LostError(f"The derivative of order {order} is lost. {PYTHON_COMPUTES}")
        cause = "TensorFlow finds no path from x to it"
        raise LostError(lost_message(self.traces.model, order, cause))

    def are_right(self, order: int) -> bool:
        """Returns whether tapes are known to be right up to an order, away from breakpoints."""
        right_to = self.traces.known(operations.tapes_right_to, self.points)
        return self._smoothness() is not None and right_to is not None and right_to >= order

    def _smoothness(self) -> float | None:
        """Returns the class C^k of the model, None if unknown."""
        registered = registry.registered_smoothness(self.traces.model)
        if registered is not None:
            return registered
        # The operations are those for inputs of these shapes; other shapes may have others.
        return self.traces.known(operations.smoothness, self.points, True)

    def _is_zero(self, order: int, output: int, inputs: Sequence[int]) -> bool:
        """Returns whether a derivative for which tapes return None is known to be 0."""
        smoothness = self._smoothness()
        # Tapes also return None if a gradient is stopped or declared.
        if smoothness is not None and smoothness >= order and self.are_right(max(order, 2)):
            return True
        if not self.traces.exist(self.points):
            return False
        moved = [self.points.moving_only([i]) for i in set(inputs)]
        reached = (
            self.traces.apply_to_program(operations.dependent_outputs, points)[output]
            for points in ([self.points] if self.together else moved)
        )
        return not all(reached)


def lost_message(model: object, order: int, cause: object) -> str:
    """Returns the message of an error for a lost derivative, with the layers and advice."""
    smooth = ", ".join(registry.recommended(order))
    layers = graph.inner(model) if graph.is_graph(model) else []
    suspects = [layer for layer in layers if not registry.has_derivatives(layer, order)]
    return (
        f"The derivative of order {order} is lost: {cause}. To look at: "
        f"{', '.join(map(_described, suspects or [model]))}. Use smooth activations "
        f"({smooth}), and softsign of keras_smooth.activations. If the derivative is truly 0, add "
        "0 * x**order to the output."
    )


def _described(layer: object) -> str:
    smoothness = registry.smoothness(layer)
    name = getattr(layer, "name", None) or getattr(layer, "__name__", "the function itself")
    kind = "unknown smoothness" if smoothness is None else f"C^{smoothness}"
    return f"{name} ({type(layer).__name__}, {kind})"
