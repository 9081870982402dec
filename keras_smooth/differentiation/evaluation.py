"""One evaluation of derivatives: a task for a model at points, its engine and its batches."""

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
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.warn import warn_once


def in_batches(function: Callable, arguments: tuple, batch_size: int | None) -> Any:
    """Applies a function of tensors `(batch, ...)` to `batch_size` samples at a time.

    The last batch is filled up with copies of the first sample, so that all batches have the
    same shape and a compiled function is compiled once.
    """
    if batch_size is None:
        return function(*arguments)
    size = arguments[0].shape[0] or tf.shape(arguments[0])[0]
    batch_size = whole_number("`batch_size`", batch_size, 1)
    batch_size = min(batch_size, size) if isinstance(size, int) else batch_size
    num_batches = -(-size // batch_size)

    def split(x: Any) -> Any:
        filling = tf.repeat(x[:1], num_batches * batch_size - size, axis=0)
        filled = tf.concat([x, filling], axis=0)
        return tf.reshape(filled, (num_batches, batch_size, *x.shape[1:]))

    def join(y: Any) -> Any:
        return tf.reshape(y, (-1, *y.shape[2:]))[:size]

    batches = tuple(split(x) for x in arguments)
    return keras.tree.map_structure(join, _stacked_results(function, batches))


def _stacked_results(function: Callable, batches: tuple) -> Any:
    """Returns the results of a function for all batches, stacked along a new first axis."""
    if tf.executing_eagerly():
        results = [function(*batch) for batch in zip(*map(tf.unstack, batches))]
        return keras.tree.map_structure(lambda *ys: tf.stack(ys), *results)
    specs = [tf.TensorSpec(x.shape[1:], x.dtype) for x in batches]
    # Only the shapes of the trace are used: XLA cannot compile the gradient of a loop over it.
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
    """Derivatives of a model at points, to be computed by an engine.

    Args:
        task: The set of derivatives to compute.
        model: Model, layer or function.
        points: Validated points.
        engine: A name in `engines.ENGINES`.
        batch_size: Number of samples at a time; None is all.
        training: Whether layers run in training mode.
        directions: Directions, for tasks that need them: one tensor for each moving input,
            with its shape.
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
        """Returns the values of the task by the engine.

        Raises:
            ValueError: If the model does not return one output for each sample.
        """
        if self.chosen_engine == "tape" and self.batch_size is None:
            # Tapes call the model once, so that side effects occur as in one call of the user.
            values = self._values()
        else:
            values = calls.without_side_effects(self._values)
            self.cause_side_effects()
        self._check_samples(values)
        return values

    def warn_of_tapes(self) -> None:
        """Warns if nested tapes are used and TensorFlow's derivatives may be wrong.

        Then tapes are used only if they are requested, or if the order is too high for jets.
        """
        if self.engine != "tape" and self.order <= engines.MAX_ORDER:
            return
        consequences = [f"engine={self.engine!r} returns them"]
        # A graph usually computes a loss, which is differentiated once more.
        if self.engine == "tape" and not tf.executing_eagerly():
            consequences.append("so are gradients of a loss of what engine='tape' returns")
        for order, consequence in enumerate(consequences, self.order):
            location = self._wrong_by_tapes(order)
            if location is not None:
                warn_once(
                    self.model,
                    f"{self.traces.name}: TensorFlow's derivatives of order {order} are stopped, "
                    f"replaced or at some points wrong at {location}, and {consequence}. Up to "
                    f"order {engines.MAX_ORDER}, engine='jet' has those of what the model "
                    "computes.",
                )
                return

    def _wrong_by_tapes(self, order: int) -> str | None:
        """Returns the first operation with wrong derivatives by tapes, as text, or None."""
        operation = self.traces.known(operations.first_wrong_by_tapes, self.points, order)
        return operation and f"{operation.type} in {layer_path(operation)}"

    @functools.cached_property
    def traces(self) -> Traces:
        """The traces of the model."""
        return Traces(self.model, self.training)

    def cause_side_effects(self) -> None:
        """Calls the model once for its side effects: losses, metrics, seeds and state.

        The call is left out for models that are known to have no side effects.
        """
        if self.training or calls.may_have_side_effects(self.model):
            self.traces.call(self.points.x)

    def _values(self) -> Any:
        """Returns the values by the chosen engine; "auto" uses jets if tapes lose any."""
        tapes_are_our_choice = self.chosen_engine == "tape" != self.engine
        try:
            values = self._values_by_chosen_engine()
            if tapes_are_our_choice and self.order:
                return self._without_wrong_gradient(values)
            return values
        except LostError as error:
            # Operations for which TensorFlow has no gradient may have a rule of jets.
            if tapes_are_our_choice and self._can_use_jets():
                return dataclasses.replace(self, engine="jet")._values()
            # AutoGraph can re-raise only built-in exceptions.
            raise ValueError(str(error)) from error

    def _without_wrong_gradient(self, derivatives: Any) -> Any:
        """Returns derivatives whose own gradient raises an error if it would be wrong.

        An example is the gradient of the first derivative of LayerNormalization by tapes.
        """
        location = self._wrong_by_tapes(self.order + 1)
        if location is None:
            return derivatives
        message = (
            f"TensorFlow's derivatives of order {self.order + 1} are wrong at {location}. For a "
            "loss of derivatives use engine='jet'."
        )

        def refusing(tensor: tf.Tensor) -> tf.Tensor:
            return tf.raw_ops.PreventGradient(input=tensor, message=message)

        y, *values = derivatives
        return y, *keras.tree.map_structure(refusing, values)

    def _can_use_jets(self) -> bool:
        return 1 <= self.order <= engines.MAX_ORDER and self.traces.exist(self.points)

    def _check_samples(self, values: Any) -> None:
        """Raises an error if a model returns more or fewer samples than it receives."""
        num_samples = self.points.flat[0].shape[0]
        for leaf in keras.tree.flatten(values[0]):
            # The shape of a NumPy array is a tuple, without a rank.
            if tf.TensorShape(leaf.shape).rank == 0:
                raise ValueError(
                    "The model returns one number for all samples. Return one for each, as by "
                    "keras.ops.sum(..., axis=-1): derivatives are those of each sample."
                )
            if None not in (num_samples, leaf.shape[0]) and leaf.shape[0] != num_samples:
                raise ValueError(
                    f"The model returns {counted(leaf.shape[0], 'sample')} for {num_samples}: "
                    "derivatives are of each sample's output by its own input, one for each."
                )

    def candidates(self) -> list["Evaluation"]:
        """Returns the evaluation by the chosen engine, and for "auto" also by the other."""
        first = self.chosen_engine
        both = [first, "jet" if first == "tape" else "tape"]
        is_free = self.engine == "auto" and self._can_use_jets()
        return [dataclasses.replace(self, engine=name) for name in both[: 1 + is_free]]

    def along_lines(self, propagate: Callable) -> tuple:
        """Returns the values of the task from jets along lines, computed by `propagate`."""
        return self.task.jet(propagate, self.points, *self.directions, **self.task.options)

    @functools.cached_property
    def chosen_engine(self) -> str:
        """The requested engine, or for "auto" the one that suits the model."""
        if not self.order or self.engine == "tape":
            return "tape"
        try:
            right_to = self.traces.apply_to_program(operations.tapes_right_to, self.points)
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
        return engines.chosen_engine(
            self.engine, self._jets_are_faster, dim, self.order, right_to
        )

    def _jets_are_faster(self) -> bool:
        # XLA compiles loops of jets, which have a known number of steps, but not those of tapes.
        if not tf.executing_eagerly():
            differentiated = self.traces.apply_to_program(operations.on_paths, self.points)
            if any("While" in operation.type for operation in differentiated):
                return True
        outputs = keras.tree.flatten(self.traces.at(self.points).structure)
        # An unknown size counts as one number.
        sizes = [y.shape[1:].num_elements() or 1 for y in outputs if y is not None]
        return self.task.jets_are_faster(sum(self.points.dims), sum(sizes))

    def _values_by_chosen_engine(self) -> Any:
        """Returns the values of the task, batch by batch."""
        num_inputs = len(self.points.flat)

        def function(*flat: tf.Tensor) -> Any:
            points, directions = self.points.at(flat[:num_inputs]), flat[num_inputs:]
            if self.chosen_engine == "tape":
                return self.task.tape(self.traces, points, *directions, **self.task.options)
            batch = dataclasses.replace(self, points=points, directions=directions)
            return batch.along_lines(functools.partial(taylor.propagate, self.traces))

        if self.batch_size is not None:
            # The model must not store tensors of the body of a loop.
            function = functools.partial(calls.without_side_effects, function)
        return in_batches(function, (*self.points.flat, *self.directions), self.batch_size)
