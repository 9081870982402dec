"""One evaluation of derivatives: what is asked, by which engine, in which batches."""

import dataclasses
import functools
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_smooth.differentiation import declared_gradients, engines, tapes, taylor
from keras_smooth.differentiation.batches import in_batches
from keras_smooth.differentiation.points import Points
from keras_smooth.differentiation.traces import NotTraceableError, Traces
from keras_smooth.models import calls
from keras_smooth.presentation.warn import warn_once

# The functions of both engines for each task; "jacobian" is the same as "derivatives".
_FUNCTIONS: dict[str, dict[str, Callable]] = {
    "derivatives": {"jet": taylor.derivatives, "tape": tapes.derivatives},
    "jacobian": {"jet": taylor.derivatives, "tape": tapes.derivatives},
    "with_laplacian": {"jet": taylor.with_laplacian, "tape": tapes.with_laplacian},
    "laplacian": {
        "jet": taylor.laplacian,
        "tape": lambda *arguments: tapes.with_laplacian(*arguments)[2],
    },
    "directional": {"jet": taylor.along, "tape": tapes.along},
}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Derivatives that are asked for.

    Args:
        task: `"derivatives"`, `"jacobian"`, `"laplacian"`, `"with_laplacian"` or
            `"directional"`.
        model: Model, layer or function.
        points: Checked.
        order: Number of derivatives.
        engine: A name in `engines.ENGINES`.
        batch_size: Number of samples at a time; None is all.
        training: Whether layers run in training mode.
        directions: For `"directional"`, a tensor for each moving input.
    """

    task: str
    model: Callable
    points: Points
    order: int
    engine: str = "auto"
    batch_size: int | None = None
    training: bool = False
    directions: tuple[tf.Tensor, ...] = ()

    def result(self):
        """Returns what the functions of the task return.

        Raises:
            ValueError: If the outputs are not one for each sample.
        """
        if self._engine() == "tape" and self.batch_size is None:
            # The one call of the model that this makes is the user's.
            found = self._found()
        else:
            found = calls.without_trace(self._found)
            self.leave_trace()
        self._check_samples(found)
        return found

    @functools.cached_property
    def traces(self) -> Traces:
        """What the model computes."""
        return Traces(self.model, self.training)

    def leave_trace(self) -> None:
        """Leaves what one call of the model leaves: losses, metrics, seeds and state.

        Nothing is computed where the parts of a model are known to leave nothing.
        """
        if self.training or calls.may_leave_trace(self.model):
            tapes.call(self.model, self.points.x, self.training)

    def _found(self):
        engine = self._engine()
        try:
            return self._by(engine)
        except tapes.LostError as error:
            # What TensorFlow has no gradient of may have a rule.
            if self.engine == "auto" and engine == "tape" and self._can_use_jets():
                return dataclasses.replace(self, engine="jet")._found()
            # AutoGraph knows no other errors than those of Python.
            raise ValueError(str(error)) from error

    def _can_use_jets(self) -> bool:
        try:
            self.traces.at(self.points)
        except NotTraceableError:
            return False
        return 1 <= self.order <= engines.MAX_ORDER

    def _check_samples(self, found) -> None:
        """Raises where a model makes more or fewer samples of those that it is given."""
        given = self.points.flat[0].shape[0]
        first = found if self.task == "laplacian" else found[0]
        for leaf in keras.tree.flatten(first):
            if None not in (given, leaf.shape[0]) and leaf.shape[0] != given:
                raise ValueError(
                    f"The model returns {leaf.shape[0]} samples for {given}: derivatives are "
                    "of each sample's output by its own input, so that there has to be one "
                    "for each."
                )

    def candidates(self) -> list["Evaluation"]:
        """Returns the same by the engine that is asked for, for "auto" by either."""
        first = self._engine()
        names = [first]
        if self.engine == "auto" and self._can_use_jets():
            names = [first, "jet" if first == "tape" else "tape"]
        return [dataclasses.replace(self, engine=name) for name in names]

    def along_lines(self, propagate: Callable) -> tuple:
        """Returns the same from what something else than jets finds along lines."""
        arguments = self._arguments(self.directions, "jet")
        function = _FUNCTIONS[self.task]["jet"]
        return function(self.model, self.points, *arguments, propagate=propagate)

    def names(self) -> list[str]:
        """Returns the names of the entries of a result."""
        if self.task == "with_laplacian":
            return ["y", "dy", "laplacian"]
        return names(self.order)

    def _engine(self) -> str:
        """Returns the engine that is asked for, or for "auto" what suits the model."""
        if not self.order or self.engine == "tape":
            return "tape"
        try:
            right_to = self.traces.tapes_right_to(self.points)
        except NotTraceableError as error:
            warn_once(
                self.model,
                f"{self.traces.name}: {error}. Nested tapes compute its derivatives, which is "
                "slower.",
            )
            return "tape"
        if declared_gradients.change_first_derivative(self.traces, self.points):
            right_to = 0
        task = "laplacian" if self.task == "with_laplacian" else self.task
        dim = sum(self.points.dims)
        return engines.chosen(self.engine, task, dim, self.order, right_to)

    def _by(self, engine: str):
        def function(*flat):
            points = self.points.at(flat[:number])
            arguments = self._arguments(flat[number:], engine)
            return compute(self.model, points, *arguments, **settings)

        settings = {"propagate": functools.partial(taylor.propagate, traces=self.traces)}
        settings = settings if engine == "jet" else {}
        if self.batch_size is not None:
            # In a loop of a graph nothing may be left that is of one turn.
            function = functools.partial(calls.without_trace, function)

        compute, number = _FUNCTIONS[self.task][engine], len(self.points.flat)
        flat = (*self.points.flat, *self.directions)
        return in_batches(function, flat, self.batch_size)

    def _arguments(self, directions: tuple, engine: str) -> tuple:
        if "laplacian" in self.task:
            return (self.training,) if engine == "tape" else ()
        if self.task == "directional":
            return directions, self.order
        return (self.order, self.training) if engine == "tape" else (self.order,)


def names(order: int) -> list[str]:
    """Returns the names of the derivatives up to an order: y, dy, d2y, d3y, ..."""
    return ["y", "dy", *(f"d{k}y" for k in range(2, order + 1))][: order + 1]
