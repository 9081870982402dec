"""One evaluation of derivatives: task, engine and batches."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth import operations
from keras_smooth.checks import whole_number
from keras_smooth.differentiation import declared_gradients, engines, taylor
from keras_smooth.differentiation.lost import LostError
from keras_smooth.differentiation.points import Points
from keras_smooth.differentiation.tasks import Task
from keras_smooth.differentiation.traces import NotTraceableError, Traces
from keras_smooth.models import calls
from keras_smooth.operations.program import layer_path
from keras_smooth.presentation.warn import warn_once


def in_batches(function: Callable, arguments: tuple, batch_size: int | None) -> Any:
    """Applies a function of tensors `(batch, ...)` to `batch_size` samples at a time.

    The last batch is filled up with copies of the first sample, so that all have the
    same shape and a compiled function is compiled once.
    """
    if batch_size is None:
        return function(*arguments)
    size = arguments[0].shape[0] or tf.shape(arguments[0])[0]
    batch_size = whole_number("`batch_size`", batch_size, 1)
    batch_size = min(batch_size, size) if isinstance(size, int) else batch_size
    number = -(-size // batch_size)

    def split(x: Any) -> Any:
        filling = tf.repeat(x[:1], number * batch_size - size, axis=0)
        filled = tf.concat([x, filling], axis=0)
        return tf.reshape(filled, (number, batch_size, *x.shape[1:]))

    def join(y: Any) -> Any:
        return tf.reshape(y, (-1, *y.shape[2:]))[:size]

    batches = tuple(split(x) for x in arguments)
    return keras.tree.map_structure(join, _mapped(function, batches))


def _mapped(function: Callable, batches: tuple) -> tf.Tensor:
    if tf.executing_eagerly():
        results = [function(*batch) for batch in zip(*map(tf.unstack, batches))]
        return keras.tree.map_structure(lambda *ys: tf.stack(ys), *results)
    specs = [tf.TensorSpec(x.shape[1:], x.dtype) for x in batches]
    # Traced for its shapes only, since XLA cannot compile the gradient of a loop over it.
    traced = tf.function(function, autograph=False).get_concrete_function(*specs)
    signature = keras.tree.map_structure(
        lambda y: tf.TensorSpec(y.shape, y.dtype), traced.structured_outputs
    )
    return tf.map_fn(
        lambda batch: function(*batch), batches, fn_output_signature=signature,
        parallel_iterations=1,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A request of derivatives.

    Args:
        task: The task.
        model: Model, layer or function.
        points: Checked.
        engine: A name in `engines.ENGINES`.
        batch_size: Number of samples at a time; None is all.
        training: Whether layers run in training mode.
        directions: Tensors of samples that the task takes beside the points, for each
            moving input one.
    """

    task: Task
    model: Callable
    points: Points
    engine: str = "auto"
    batch_size: int | None = None
    training: bool = False
    directions: tuple[tf.Tensor, ...] = ()

    def __post_init__(self) -> None:
        engines.checked_engine(self.engine)

    @property
    def order(self) -> int:
        return self.task.order

    def result(self) -> Any:
        """Returns what the functions of the task return.

        Raises:
            ValueError: If the outputs are not one for each sample.
        """
        if self.chosen_engine == "tape" and self.batch_size is None:
            # Side effects of the model happen once, as in one call of the user.
            values = self._values()
        else:
            values = calls.without_trace(self._values)
            self.leave_trace()
        self._check_samples(values)
        return values

    def warn_of_tapes(self) -> None:
        """Warns if nested tapes are used but do not have the true derivatives.

        That is on request, or above the orders of jets.
        """
        if self.engine != "tape" and self.order <= engines.MAX_ORDER:
            return
        consequences = [f"engine={self.engine!r} returns them"]
        # A graph is mostly a loss, which is differentiated once more.
        if self.engine == "tape" and not tf.executing_eagerly():
            consequences.append("so are gradients of a loss of what engine='tape' returns")
        for order, consequence in enumerate(consequences, self.order):
            place = self._wrong_by_tapes(order)
            if place is not None:
                warn_once(
                    self.model,
                    f"{self.traces.name}: TensorFlow's derivatives of order {order} are stopped, "
                    f"replaced or at some points wrong at {place}, and {consequence}. Up to "
                    f"order {engines.MAX_ORDER}, engine='jet' has those of what the model "
                    "computes.",
                )
                return

    def _wrong_by_tapes(self, order: int) -> str | None:
        """Returns the place where TensorFlow's derivatives up to an order may be wrong, or None."""
        try:
            operation = self.traces.of_program(
                operations.first_wrong_by_tapes, self.points, order
            )
        # Without a trace, nothing is known.
        except NotTraceableError:
            return None
        return operation and f"{operation.type} in {layer_path(operation)}"

    @functools.cached_property
    def traces(self) -> Traces:
        """The traces of the model."""
        return Traces(self.model, self.training)

    def leave_trace(self) -> None:
        """Calls the model once for its side effects: losses, metrics, seeds and state.

        Nothing is computed where the parts of a model are known to leave nothing.
        """
        if self.training or calls.may_leave_trace(self.model):
            self.traces.called(self.points.x)

    def _values(self) -> Any:
        engine = self.chosen_engine
        try:
            values = self._by(engine)
            is_ours = engine == "tape" != self.engine
            return self._without_gradient(values) if is_ours and self.order else values
        except LostError as error:
            # Operations without a gradient of TensorFlow may have a rule.
            if self.engine == "auto" and engine == "tape" and self._can_use_jets():
                return dataclasses.replace(self, engine="jet")._values()
            # AutoGraph can only re-raise errors of Python.
            raise ValueError(str(error)) from error

    def _without_gradient(self, derivatives: Any) -> Any:
        """Returns derivatives that raise an error when differentiated, if that would be wrong.

        An example is the first derivative by tapes of LayerNormalization.
        """
        place = self._wrong_by_tapes(self.order + 1)
        if place is None:
            return derivatives
        message = (
            f"TensorFlow's derivatives of order {self.order + 1} are wrong at {place}. For a "
            "loss of derivatives use engine='jet'."
        )

        def refusing(tensor: tf.Tensor) -> tf.Tensor:
            return tf.raw_ops.PreventGradient(input=tensor, message=message)

        y, *values = derivatives
        return y, *keras.tree.map_structure(refusing, values)

    def _can_use_jets(self) -> bool:
        try:
            self.traces.at(self.points)
        except NotTraceableError:
            return False
        return 1 <= self.order <= engines.MAX_ORDER

    def _check_samples(self, values: Any) -> None:
        """Raises an error if a model returns more or fewer samples than it receives."""
        given = self.points.flat[0].shape[0]
        for leaf in keras.tree.flatten(values[0]):
            # NumPy's shapes have no rank.
            if tf.TensorShape(leaf.shape).rank == 0:
                raise ValueError(
                    "The model returns one number for all samples. Return one for each, as by "
                    "keras.ops.sum(..., axis=-1): derivatives are those of each sample."
                )
            if None not in (given, leaf.shape[0]) and leaf.shape[0] != given:
                raise ValueError(
                    f"The model returns {leaf.shape[0]} samples for {given}: derivatives are "
                    "of each sample's output by its own input, one for each."
                )

    def candidates(self) -> list["Evaluation"]:
        """Returns the evaluations by the requested engine, or for "auto" by either."""
        first = self.chosen_engine
        both = [first, "jet" if first == "tape" else "tape"]
        is_free = self.engine == "auto" and self._can_use_jets()
        return [dataclasses.replace(self, engine=name) for name in both[: 1 + is_free]]

    def along_lines(self, propagate: Callable) -> tuple:
        """Returns the result with another function in place of Taylor mode along lines."""
        return self.task.jet(propagate, self.points, *self.directions, **self.task.options)

    @functools.cached_property
    def chosen_engine(self) -> str:
        """Returns the requested engine, or for "auto" the one that suits the model."""
        if not self.order or self.engine == "tape":
            return "tape"
        try:
            right_to = self.traces.of_program(operations.tapes_right_to, self.points)
        except NotTraceableError as error:
            warn_once(
                self.model,
                f"{self.traces.name}: {error}. Nested tapes compute its derivatives, which is "
                "slower.",
            )
            return "tape"
        if declared_gradients.change_first_derivative(self.traces, self.points):
            right_to = 0
        dim = sum(self.points.dims)
        return engines.chosen(self.engine, self._jets_are_faster, dim, self.order, right_to)

    def _jets_are_faster(self) -> bool:
        # XLA compiles loops of jets, whose number of steps is known, but not those of tapes.
        if not tf.executing_eagerly():
            way = self.traces.of_program(operations.on_paths, self.points)
            if any("While" in operation.type for operation in way):
                return True
        outputs = keras.tree.flatten(self.traces.at(self.points).structure)
        # An unknown size counts as one number.
        sizes = [y.shape[1:].num_elements() or 1 for y in outputs if y is not None]
        return self.task.jets_are_faster(sum(self.points.dims), sum(sizes))

    def _by(self, engine: str) -> Any:
        number = len(self.points.flat)

        def function(*flat: tf.Tensor) -> Any:
            points, directions = self.points.at(flat[:number]), flat[number:]
            if engine == "tape":
                return self.task.tape(self.traces, points, *directions, **self.task.options)
            at = dataclasses.replace(self, points=points, directions=directions)
            return at.along_lines(functools.partial(taylor.propagate, self.traces))

        if self.batch_size is not None:
            # Tensors of one iteration of a loop must not be kept.
            function = functools.partial(calls.without_trace, function)
        return in_batches(function, (*self.points.flat, *self.directions), self.batch_size)
