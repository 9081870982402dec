"""One network: build, train from a seed, measure y, y', y''."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import initializers, layers
from keras_smooth.comparison.problems import Problem
from keras_smooth.comparison.settings import DEFAULT_INITIALIZER, DEPTH, WIDTH, Settings
from keras_smooth.comparison.training import train
from keras_smooth.differentiation.operators import derivatives

ORDER = 2


class Start(NamedTuple):
    """What a run of an activation begins with."""

    initializer: str
    seed: int


@dataclasses.dataclass(frozen=True)
class Run:
    """The result of one seed, a line of `results.json`.

    Args:
        activation: Its name.
        seed: Seed of the start and of the training points.
        success: Whether the optimizer did its work: it met its tolerance or used its
            iterations, and did not break off.
        status: As in `keras_smooth.OptimizeResult`.
        message: The status in words.
        signal: How much of the signal the start lets through: the standard deviation over
            the test points after the last hidden layer, as a fraction of the one after the
            first.
        nit: Iterations.
        nfev: Evaluations of loss and gradient.
        restarts: How often a dead line search was started again with empty memory.
        loss: Training loss at the end.
        y_mse: Mean squared error of y at the test points; None where not known.
        dy_mse: The same of y'.
        d2y_mse: The same of y''.
        seconds: Wall time of the run; the first of an activation includes compiling.
    """

    activation: str
    seed: int
    success: bool
    status: int
    message: str
    signal: float
    nit: int
    nfev: int
    restarts: int
    loss: float | None
    y_mse: float | None
    dy_mse: float | None
    d2y_mse: float | None
    seconds: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A run with the network's curves at the test points, None where lost."""

    run: Run
    curves: tuple[np.ndarray | None, ...]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The article's network, 8 x 20, that learns a problem.

    Args:
        settings: How it is built and trained.
        problem: What it learns.
    """

    settings: Settings
    problem: Problem

    def outcomes(
        self,
        activation: str,
        starts: Iterable[Start],
        report: Callable[[Start, int, float], None],
    ) -> Iterator[tuple[Start, Outcome]]:
        """Trains one activation from several starts; compiles once.

        Args:
            activation: Name of the activation.
            starts: Initializer and seed of each run.
            report: Called as `report(start, iteration, loss)` while a run goes on.
        """
        with tf.device(self.settings.device_name()):
            model = self.network(activation, Start(DEFAULT_INITIALIZER, seed=0))
            evaluate = tf.function(
                lambda x, order: derivatives(model, x, order), autograph=False
            )
            for start in starts:
                progress = functools.partial(report, start)
                yield start, self._outcome(model, evaluate, activation, start, progress)

    def network(self, activation: str, start: Start) -> keras.Model:
        """Returns the network as the seed decides it."""
        problem, dtype = self.problem, self.settings.dtype
        model = keras.Sequential([keras.Input((1,), dtype=dtype)])
        if problem.x_scale:
            center, half = problem.x_scale
            model.add(keras.layers.Rescaling(2 / half, -2 * center / half, dtype=dtype))
        for layer in range(DEPTH + 1):
            last = layer == DEPTH
            dense = layers.Dense(
                1 if last else WIDTH,
                activation=None if last else activation,
                order=0,
                dtype=dtype,
            )
            dense.kernel_initializer = _seeded(dense.activation, start, layer)
            model.add(dense)
        if problem.y_scale:
            mean, deviation = problem.y_scale
            model.add(keras.layers.Rescaling(deviation, mean, dtype=dtype))
        model.compile(loss=keras.losses.MeanSquaredError(dtype=dtype))
        return model

    def _outcome(self, model, evaluate, activation: str, start: Start, report) -> Outcome:
        """Trains a compiled network anew, from one start, and measures it."""
        started = time.perf_counter()
        problem = self.problem
        begun = self.network(activation, start)
        model.set_weights(begun.get_weights())
        signal = _signal(begun, problem.x)
        x, y = (column[:, None] for column in problem.draw(start.seed))
        end = train(model, x, y, self.settings, report)
        curves, lost = _curves(evaluate, problem.x)
        run = Run(
            activation=activation,
            seed=start.seed,
            signal=signal,
            message=" ".join(filter(None, [end.pop("message"), lost])),
            **end,
            **_errors(problem, curves),
            seconds=round(time.perf_counter() - started, 3),
        )
        return Outcome(run, curves)


def _seeded(activation: Callable, start: Start, layer: int):
    # Apart for all seeds and layers, and the same in every process.
    layer_seed = start.seed * (DEPTH + 1) + layer
    if start.initializer == DEFAULT_INITIALIZER:
        return initializers.default(activation, seed=layer_seed)
    template = keras.initializers.get(start.initializer)
    config = template.get_config()
    seeded = {"seed": layer_seed} if "seed" in config else {}
    return type(template).from_config({**config, **seeded})


def _signal(model: keras.Model, x: np.ndarray) -> float:
    """Returns how much of the signal is left after the last hidden layer."""
    value, deviations = x[:, None], []
    for layer in model.layers:
        value = layer(value)
        if isinstance(layer, layers.Dense):
            deviations.append(float(np.mean(np.std(value, axis=0))))
    # From zeros on, nothing gets through.
    return deviations[DEPTH - 1] / deviations[0] if deviations[0] else 0.0


def _curves(evaluate: Callable, x: np.ndarray) -> tuple[tuple, str]:
    """Returns y, y', y'' at x, None from the order on that is lost, and what was lost."""
    lost = ""
    for order in range(ORDER, 0, -1):
        try:
            return _padded(evaluate(x[:, None], order)), lost
        except ValueError as error:
            lost = str(error)
    return _padded(evaluate(x[:, None], 0)), lost


def _padded(values: tuple) -> tuple[np.ndarray | None, ...]:
    curves = [np.ravel(value) for value in values]
    return tuple(curves + [None] * (ORDER + 1 - len(curves)))


def _errors(problem: Problem, curves: tuple) -> dict[str, float | None]:
    names = ("y_mse", "dy_mse", "d2y_mse")
    return {name: _mse(*pair) for name, *pair in zip(names, problem.exact, curves)}


def _mse(exact: np.ndarray | None, value: np.ndarray | None) -> float | None:
    if exact is None or value is None:
        return None
    error = float(np.mean((value - exact) ** 2))
    return error if math.isfinite(error) else None
