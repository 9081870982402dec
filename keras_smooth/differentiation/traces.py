"""The operations of a model at points, traced once for each shape."""

import dataclasses
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_smooth import operations, registry
from keras_smooth.differentiation import rules
from keras_smooth.differentiation.points import Points
from keras_smooth.jet import Jet
from keras_smooth.models import calls, own_call
from keras_smooth.models.identity import identity
from keras_smooth.models.tracing import computes_with_values, explained

# Tracing costs as much as derivatives at some hundred points.
_kept: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_MOST_KEPT = 8


class NotTraceableError(ValueError):
    """An error that says that TensorFlow cannot trace a model.

    Args:
        reason: Why.
        hides_values: Whether Python computes with values, as NumPy does, unseen by tapes.
    """

    def __init__(self, reason: str, hides_values: bool = False) -> None:
        super().__init__(reason)
        self.hides_values = hides_values


@dataclasses.dataclass
class Traces:
    """The operations of a model in one mode, for each shape.

    Args:
        model: Model, layer or function.
        training: Whether layers run in training mode.
    """

    model: Callable
    training: bool = False

    def __post_init__(self) -> None:
        self._known: dict[tuple, Any] = {}

    @property
    def name(self) -> str:
        """The name of the model or function in messages."""
        model = self.model
        return str(getattr(model, "name", getattr(model, "__name__", repr(model))))

    def at(self, points: Points) -> operations.Trace:
        """Returns the operations for inputs of the shapes of some points.

        Raises:
            NotTraceableError: If the model cannot be traced.
        """
        key = tuple((tuple(x.shape), x.dtype) for x in points.flat)
        if key not in self._known:
            try:
                self._known[key] = self._kept_or_traced(points, key)
            # Of an error the frames, with the tensors in them, would live as long as this.
            except NotTraceableError as error:
                self._known[key] = str(error), error.hides_values
        known = self._known[key]
        if isinstance(known, tuple):
            raise NotTraceableError(*known)
        return known

    def _kept_or_traced(self, points: Points, key: tuple) -> operations.Trace:
        """Returns a kept trace if the model is known to compute the same, or a new one."""
        known = identity(self.model) if tf.executing_eagerly() else None
        if known is None:
            return self._traced(points)
        outline = keras.tree.map_structure(lambda x: None, points.x)
        key = (known, self.training, registry.rows.version(), key, repr(outline))
        kept = _kept.setdefault(self.model, {})
        if key not in kept:
            for old in list(kept)[: max(0, len(kept) + 1 - _MOST_KEPT)]:
                kept.pop(old, None)
            kept[key] = self._traced(points)
        return kept[key]

    def hides_values(self, points: Points) -> bool:
        """Returns whether Python computes with values, as NumPy does, unseen by tapes.

        Of a model in which Python only decides by values, tapes see all that is computed.
        """
        try:
            self.at(points)
        except NotTraceableError as error:
            return error.hides_values
        return False

    def called(self, x: Any) -> Any:
        """Calls the model.

        Raises:
            TypeError: If it returns what has no derivatives by real numbers.
        """
        return self._checked(own_call.call(self.model, x, self.training))

    def _checked(self, y: Any) -> Any:
        for leaf in keras.tree.flatten(y):
            if isinstance(leaf, tf.RaggedTensor | tf.SparseTensor | tf.IndexedSlices):
                raise TypeError(
                    f"{self.name} returned a {type(leaf).__name__}; derivatives need a dense tensor."
                )
            if tf.as_dtype(leaf.dtype).is_complex:
                raise TypeError(
                    f"{self.name} returned {tf.as_dtype(leaf.dtype).name}; derivatives are those of "
                    "real numbers. Return keras.ops.real(y) and keras.ops.imag(y), as two columns "
                    "or two outputs."
                )
        return y

    def _traced(self, points: Points) -> operations.Trace:
        outputs = []

        def function(*flat: tf.Tensor) -> Any:
            x = keras.tree.pack_sequence_as(points.x, list(flat))
            outputs.append(own_call.call(model, x, self.training))
            return outputs[-1]

        try:
            with registry.reading.named(self.model, rules.rule_of) as model:
                traced = calls.without_trace(operations.trace, function, points.flat)
        # Tracing can raise any error.
        except Exception as error:
            # An outer graph cannot call the model either.
            if not tf.executing_eagerly() and (reason := explained(error)):
                raise reason from error
            first = str(error).strip().partition("\n")[0]
            raise NotTraceableError(
                f"TensorFlow cannot trace it ({type(error).__name__}: {first})",
                computes_with_values(error),
            ) from error
        self._checked(outputs[-1])
        moving = [*[True] * len(points.flat), *[False] * len(traced.captured)]
        if operations.kept_in_variables(traced.program, moving) is not None:
            raise NotTraceableError("It writes what depends on x to a variable")
        return traced

    def moving(self, points: Points) -> list[bool]:
        """Returns for each input of the program whether derivatives are taken by it."""
        captured = self.at(points).captured
        inputs = [place in points.places for place in range(len(points.flat))]
        return [*inputs, *[False] * len(captured)]

    def of_program(self, function: Callable, points: Points, *arguments: Any) -> Any:
        """Returns a function of the program, and of which of its inputs move.

        Args:
            function: Such as `operations.between`.
            points: The inputs.
            *arguments: Further ones of the function.
        """
        return function(self.at(points).program, self.moving(points), *arguments)

    def propagated(
        self,
        points: Points,
        directions: Sequence[tf.Tensor],
        order: int,
        watch: Callable | None = None,
        **sums: Any,
    ) -> list:
        """Returns the outputs of the program for straight lines x + t v through points.

        Args:
            points: Where the lines begin.
            directions: For each moving input a tensor `(directions, batch or 1, ...)`.
            order: Number of derivatives, 1 or more.
            watch: As for `operations.evaluate`.
            **sums: As for `Jet`.
        """
        traced = self.at(points)
        jets = [
            Jet(x, [v, *[None] * (order - 1)], **sums)
            for x, v in zip(points.moving, directions, strict=True)
        ]
        inputs = [*points.filled(jets), *traced.captured]
        return operations.evaluate(traced.program, inputs, watch)

    def reached(self, points: Points) -> list[bool]:
        """Returns for each output whether the inputs that move lead to it."""
        reached = self.of_program(operations.reached, points)
        return [reached[place] for place in self.at(points).places if place >= 0]
