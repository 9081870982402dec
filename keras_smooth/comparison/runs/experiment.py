"""The experiment: builds a network from a seed, trains it, and measures y, y', y''."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import activations, initializers, layers
from keras_smooth.comparison.options import DEFAULT_INITIALIZER
from keras_smooth.comparison.problems import Problem
from keras_smooth.comparison.runs import training
from keras_smooth.comparison.runs.events import Finished, Handle, Progress
from keras_smooth.comparison.runs.learning import ERRORS, LearningMonitor
from keras_smooth.comparison.runs.record import Record, Run
from keras_smooth.comparison.settings import RunId, Settings
from keras_smooth.differentiation.operators import derivatives

ORDER = 2


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Trains networks of equal hidden layers on problems, and measures them.

    Args:
        settings: The settings of networks and training.
        problems: The problems, by their names in `settings`.
    """

    settings: Settings
    problems: Mapping[str, Problem]
    _compiled: dict = dataclasses.field(default_factory=dict, repr=False)

    def execute(self, runs: Sequence[RunId], handle: Handle) -> None:
        """Executes runs that share one compiled program, and reports their events.

        Args:
            runs: Runs that differ in initializer and seed only.
            handle: A function that is called with each `Event`.
        """
        with tf.device(self.settings.device_name()):
            for run in runs:
                program = run.program()
                # Only the last program is kept.
                if program not in self._compiled:
                    self._compiled.clear()
                    problem = self.problems[run.variant.problem]
                    self._compiled[program] = _NetworkCurves(self.network(run), problem)
                handle(Finished(run, self._record(self._compiled[program], run, handle)))

    def network(self, run: RunId) -> keras.Model:
        """Returns the network of a run with its initial weights."""
        problem, dtype = self.problems[run.variant.problem], run.variant.dtype
        depth, _ = self.settings.depth_and_width()
        stack = [keras.Input((problem.dim,), dtype=dtype)]
        if problem.x_scale:
            center, half = problem.x_scale
            stack.append(_rescaling(2 / half, -2 * center / half, dtype))
        stack += [self._dense(run, layer) for layer in range(depth + 1)]
        if problem.y_scale:
            mean, deviation = problem.y_scale
            stack.append(_rescaling(deviation, mean, dtype))
        # All layers are passed at once: each later `add` would build the layers before it again.
        model = keras.Sequential(stack)
        model.compile(loss=keras.losses.MeanSquaredError(dtype=dtype))
        return model

    def _dense(self, run: RunId, layer: int) -> layers.Dense:
        """Returns a layer with its seeded initializer; the last layer is linear."""
        depth, width = self.settings.depth_and_width()
        last = layer == depth
        linear = activations.get("linear")
        function = linear if last else self.settings.function(run.activation)
        return layers.Dense(
            1 if last else width,
            activation=function,
            order=0,
            dtype=run.variant.dtype,
            kernel_initializer=_initializer(
                run.variant.initializer,
                function,
                # This seed differs between seeds and layers, and is the same in every process.
                seed=run.seed * (depth + 1) + layer,
            ),
            # By default, names, which messages show, count the layers of the whole process.
            name="output" if last else f"hidden_{layer + 1}",
        )

    def _record(self, measurement: "_NetworkCurves", run: RunId, handle: Handle) -> Record:
        """Trains the compiled network from the initial weights of a run, and measures it."""
        started = time.perf_counter()
        model, problem = measurement.model, measurement.problem
        initial = self.network(run)
        model.set_weights(initial.get_weights())
        signal = _signal(initial, problem.x)
        x, y = (column.reshape(len(column), -1) for column in problem.draw(run.seed))
        epochs = self.settings.num_iterations(run.variant.method)
        learning = LearningMonitor(lambda: errors(problem, measurement.curves()), epochs)

        def measure_and_report(iteration: int, loss: float) -> None:
            learning.after(iteration, loss)
            handle(Progress(run, iteration, loss))

        train = training.by_adam if run.variant.method == "adam" else training.by_lbfgs
        end = train(model, (x, y), epochs, run.variant, measure_and_report)
        learning.at_end(end["nit"], end["loss"])
        curves = measurement.curves()
        numbers = Run(
            activation=run.activation,
            seed=run.seed,
            signal=signal,
            message=" ".join(filter(None, [end.pop("message"), measurement.lost])),
            **end,
            **errors(problem, curves),
            seconds=round(time.perf_counter() - started, 3),
        )
        return Record(numbers, curves, learning.curve)


def _rescaling(scale: float, offset: float, dtype: str) -> keras.layers.Layer:
    # TensorFlow would first convert Python floats to float32. If x is large compared with its
    # range, this would move all points out of the range.
    numbers = np.float64(scale), np.float64(offset)
    return keras.layers.Rescaling(*numbers, dtype=dtype)


def _initializer(name: str, activation: Callable, seed: int) -> keras.Initializer:
    if name == DEFAULT_INITIALIZER:
        return initializers.default(activation, seed=seed)
    template = keras.initializers.get(name)
    config = template.get_config()
    seeded = {"seed": seed} if "seed" in config else {}
    return type(template).from_config({**config, **seeded})


def _signal(model: keras.Model, x: np.ndarray) -> float:
    """Returns the fraction of the signal that is left after the last hidden layer."""
    value, deviations = x.reshape(len(x), -1), []
    for layer in model.layers:
        value = layer(value)
        if isinstance(layer, layers.Dense):
            deviations.append(float(np.mean(np.std(value, axis=0))))
    first, last = deviations[0], deviations[-2]
    # If the first layer is constant, the signal is 0.
    return last / first if first else 0.0


class _NetworkCurves:
    """A compiled function for y, y', y'' of a network at the test points, if they are not lost.

    Attributes:
        model: The network.
        problem: The problem that it learns.
        lost: Why a derivative is lost; empty if none is.
    """

    def __init__(self, model: keras.Model, problem: Problem):
        self.model = model
        self.lost = ""
        self.problem = problem
        self._x = tf.constant(problem.x.reshape(len(problem.x), -1))
        self._evaluate = self._compiled()

    def curves(self) -> tuple[np.ndarray | None, ...]:
        """Returns y, y', y'' with the current weights; None from the first lost order on."""
        # A single input has no axis in the derivatives.
        inputs = () if self.problem.dim == 1 else (self.problem.dim,)
        curves = [
            np.reshape(value, (-1, *(inputs * order)))
            for order, value in enumerate(self._evaluate(self._x))
        ]
        return tuple(curves + [None] * (ORDER + 1 - len(curves)))

    def _compiled(self, order: int = ORDER) -> Callable:
        function = tf.function(lambda x: derivatives(self.model, x, order), autograph=False)
        try:
            return function.get_concrete_function(self._x)
        except ValueError as error:
            if order == 0:
                raise
            self.lost = str(error)
            return self._compiled(order - 1)


def errors(problem: Problem, curves: tuple) -> dict[str, Any]:
    """Returns the mean squared errors of y, y', y''; None if unknown, lost or not finite.

    In d dimensions, the mean is also over all entries of the gradient or the Hessian.
    """
    by_name: dict[str, Any] = dict.fromkeys(ERRORS)
    for name, exact, value in zip(ERRORS, problem.exact, curves):
        if exact is not None and value is not None:
            error = float(np.mean((value - exact) ** 2))
            by_name[name] = error if math.isfinite(error) else None
    return by_name
