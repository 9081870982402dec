"""The operations of a model for inputs of given shapes, traced once for each shape."""

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
from keras_smooth.models.checked_inputs import first_line
from keras_smooth.models.identity import identity
from keras_smooth.models.tracing import computes_with_values, explaining_error

# Traces by model. Tracing costs as much as derivatives at a few hundred points.
_stored_traces: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_MAX_STORED = 8


class NotTraceableError(ValueError):
    """A model that TensorFlow cannot trace.

    Args:
        reason: The reason.
        hides_values: Whether Python computes with values, as NumPy does, which tapes miss.
    """

    def __init__(self, reason: str, hides_values: bool = False) -> None:
        super().__init__(reason)
        self.hides_values = hides_values


@dataclasses.dataclass
class Traces:
    """The operations of a model in one mode, for each shape of its inputs.

    Args:
        model: Model, layer or function.
        training: Whether layers run in training mode.
    """

    model: Callable
    training: bool = False
    _traces_or_errors: dict = dataclasses.field(default_factory=dict, init=False)

    @property
    def name(self) -> str:
        """The name of the model or function in messages."""
        model = self.model
        return str(getattr(model, "name", getattr(model, "__name__", repr(model))))

    def at(self, points: Points) -> operations.Trace:
        """Returns the operations for inputs with the shapes of the points.

        Raises:
            NotTraceableError: If the model cannot be traced.
        """
        trace_or_error = self._trace_or_error(points)
        if isinstance(trace_or_error, tuple):
            raise NotTraceableError(*trace_or_error)
        return trace_or_error

    def _trace_or_error(self, points: Points) -> operations.Trace | tuple[str, bool]:
        """Returns the operations, or the arguments of the error if there are none."""
        key = tuple((tuple(x.shape), x.dtype) for x in points.flat)
        if key not in self._traces_or_errors:
            try:
                self._traces_or_errors[key] = self._stored_or_new_trace(points, key)
            # A stored error would keep its frames, and the tensors in them, alive.
            except NotTraceableError as error:
                self._traces_or_errors[key] = str(error), error.hides_values
        return self._traces_or_errors[key]

    def _stored_or_new_trace(self, points: Points, key: tuple) -> operations.Trace:
        """Returns a stored trace if the model is known to be unchanged, else a new one."""
        model_identity = identity(self.model) if tf.executing_eagerly() else None
        if model_identity is None:
            return self._new_trace(points)
        outline = keras.tree.map_structure(lambda x: None, points.x)
        key = (model_identity, self.training, registry.rows.version(), key, repr(outline))
        stored = _stored_traces.setdefault(self.model, {})
        if key not in stored:
            for oldest in list(stored)[: max(0, len(stored) + 1 - _MAX_STORED)]:
                stored.pop(oldest, None)
            stored[key] = self._new_trace(points)
        return stored[key]

    def exist(self, points: Points) -> bool:
        """Returns whether TensorFlow can trace the model for the shapes of the points."""
        return not isinstance(self._trace_or_error(points), tuple)

    def hides_values(self, points: Points) -> bool:
        """Returns whether Python computes with values, as NumPy does, which tapes miss.

        If Python only branches on values, tapes record all that the model computes.
        """
        trace_or_error = self._trace_or_error(points)
        return isinstance(trace_or_error, tuple) and trace_or_error[1]

    def call(self, x: Any) -> Any:
        """Returns the outputs of the model.

        Raises:
            TypeError: If an output is not a dense tensor of real numbers.
        """
        return self._checked_outputs(own_call.call(self.model, x, self.training))

    def _checked_outputs(self, y: Any) -> Any:
        for leaf in keras.tree.flatten(y):
            if isinstance(leaf, tf.RaggedTensor | tf.SparseTensor | tf.IndexedSlices):
                raise TypeError(
                    f"{self.name} returned a {type(leaf).__name__}; derivatives need a "
                    "dense tensor. Return one, as by tf.sparse.to_dense(y) or y.to_tensor()."
                )
            dtype = tf.as_dtype(leaf.dtype)
            if dtype.is_complex:
                raise TypeError(
                    f"{self.name} returned {dtype.name}; derivatives are those of "
                    "real numbers. Return keras.ops.real(y) and keras.ops.imag(y), as two columns "
                    "or two outputs."
                )
            if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
                raise TypeError(
                    f"{self.name} returned a tensor of {dtype.name}; derivatives need numbers. "
                    "Return tensors of floats only."
                )
        return y

    def _new_trace(self, points: Points) -> operations.Trace:
        """Traces the model, with the errors of `at`."""
        outputs = []

        def function(*flat: tf.Tensor) -> Any:
            x = keras.tree.pack_sequence_as(points.x, list(flat))
            outputs.append(own_call.call(model, x, self.training))
            return outputs[-1]

        try:
            with registry.reading.marked_parts(self.model, rules.rule_of) as model:
                traced = calls.without_side_effects(operations.trace, function, points.flat)
        # Tracing can raise any error.
        except Exception as error:
            # An outer graph cannot call the model either.
            if not tf.executing_eagerly() and (reason := explaining_error(error)):
                raise reason from error
            raise NotTraceableError(
                f"TensorFlow cannot trace it ({type(error).__name__}: {first_line(error)})",
                computes_with_values(error),
            ) from error
        self._checked_outputs(outputs[-1])
        all_move = [True] * len(points.flat)
        if operations.assignment_that_moves(traced.program, all_move) is not None:
            raise NotTraceableError("It writes what depends on x to a variable")
        return traced

    def apply_to_program(self, function: Callable, points: Points, *arguments: Any) -> Any:
        """Returns the result of a function of the program and of its moving inputs.

        It is computed once for a trace.

        Args:
            function: A function such as `operations.on_paths`.
            points: The inputs of the model.
            *arguments: Further arguments of the function, which are hashable.
        """
        traced = self.at(points)
        moving = [index in points.places for index in range(len(points.flat))]
        key = function, tuple(moving), arguments
        if key not in traced.results:
            traced.results[key] = function(traced.program, moving, *arguments)
        return traced.results[key]

    def known(self, function: Callable, points: Points, *arguments: Any) -> Any:
        """As `apply_to_program`, but the result is None if the model cannot be traced."""
        if not self.exist(points):
            return None
        return self.apply_to_program(function, points, *arguments)

    def propagated(
        self,
        points: Points,
        directions: Sequence[tf.Tensor],
        order: int,
        watch: Callable | None = None,
        **sums: Any,
    ) -> list:
        """Returns the outputs of the program as jets along x + t v, for each direction v.

        Args:
            points: The points x where the lines begin.
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
        inputs = [*points.flat_with(jets), *traced.captured]
        return operations.evaluate(traced.program, inputs, watch)
