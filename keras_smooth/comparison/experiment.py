"""One network: build, train from a seed, measure y, y', y''."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import initializers, layers
from keras_smooth.comparison import problems
from keras_smooth.comparison.settings import DEFAULT_INITIALIZER, DEPTH, WIDTH, Settings
from keras_smooth.differentiation.operators import derivatives
from keras_smooth.lbfgs import Status, fit_lbfgs

NUM_REPORTS = 100
ORDER = 2

Start = tuple[str, int]  # name of the initializer, seed


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


def outcomes(
    settings: Settings,
    activation: str,
    starts: Iterable[Start],
    report: Callable[[Start, int, float], None],
) -> Iterator[tuple[Start, Outcome]]:
    """Trains one activation from several starts; compiles once.

    Args:
        settings: The comparison.
        activation: Name of the activation.
        starts: Name of the initializer and seed of each run.
        report: Called as `report(start, iteration, loss)` while a run goes on.
    """
    problem = problems.load(settings.problem)
    with tf.device(settings.device_name()):
        model = build(problem, activation, DEFAULT_INITIALIZER, settings.dtype, seed=0)
        evaluate = tf.function(
            lambda x, order: derivatives(model, x, order), autograph=False
        )
        for initializer, seed in starts:
            started = time.perf_counter()
            start = build(problem, activation, initializer, settings.dtype, seed)
            model.set_weights(start.get_weights())
            signal = _signal(start, problem.x)
            progress = functools.partial(report, (initializer, seed))
            end = _train(model, problem, settings, seed, progress)
            curves, lost = _curves(evaluate, problem.x)
            seconds = time.perf_counter() - started
            run = Run(
                activation=activation,
                seed=seed,
                signal=signal,
                message=" ".join(filter(None, [end.pop("message"), lost])),
                **end,
                **_errors(problem, curves),
                seconds=round(seconds, 3),
            )
            yield (initializer, seed), Outcome(run, curves)


def build(
    problem: problems.Problem, activation: str, initializer: str, dtype: str, seed: int
) -> keras.Model:
    """Returns the article's network, 8 x 20, with a start that the seed decides."""
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
        dense.kernel_initializer = _seeded(dense, initializer, seed, layer)
        model.add(dense)
    if problem.y_scale:
        mean, deviation = problem.y_scale
        model.add(keras.layers.Rescaling(deviation, mean, dtype=dtype))
    model.compile(loss=keras.losses.MeanSquaredError(dtype=dtype))
    return model


def _seeded(dense, initializer: str, seed: int, layer: int):
    # Apart for all seeds and layers, and the same in every process.
    layer_seed = seed * (DEPTH + 1) + layer
    if initializer == DEFAULT_INITIALIZER:
        return initializers.default(dense.activation, seed=layer_seed)
    template = keras.initializers.get(initializer)
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
    return deviations[DEPTH - 1] / deviations[0]


def _train(model, problem, settings: Settings, seed: int, report: Callable) -> dict:
    """Trains and returns success, status, message, nit, nfev and loss."""
    x, y = (column[:, None] for column in problem.draw(seed))
    if settings.optimizer == "adam":
        return _train_adam(model, x, y, settings, report)
    chunk = math.ceil(settings.iterations / NUM_REPORTS)
    progress = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: report(epoch + 1, logs["loss"])
    )
    result = fit_lbfgs(
        model,
        x,
        y,
        epochs=settings.iterations,
        method=settings.optimizer,
        tolerance=0.0,  # Every run gets the same number of iterations.
        steps_per_execution=chunk,
        callbacks=[progress],
        verbose=0,
    ).result
    return {
        "success": not result.failed,
        "status": result.status,
        "message": result.message,
        "nit": result.nit,
        "nfev": result.nfev,
        "restarts": result.restarts,
        "loss": result.fun,
    }


def _train_adam(model, x, y, settings: Settings, report: Callable) -> dict:
    """Full-batch Adam, a chunk of steps in one call of the compiled function."""
    chunk = _divisor(settings.iterations, math.ceil(settings.iterations / NUM_REPORTS))
    model.compile(
        optimizer=keras.optimizers.Adam(), loss=model.loss, steps_per_execution=chunk
    )
    progress = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: report((epoch + 1) * chunk, logs["loss"])
    )
    # As a dataset: Keras would round float64 arrays to float32.
    batch = tf.data.Dataset.from_tensors((x, y)).map(
        lambda *pair: [tf.cast(part, settings.dtype) for part in pair]
    )
    model.fit(
        batch.repeat(),
        epochs=settings.iterations // chunk,
        steps_per_epoch=chunk,
        callbacks=[progress],
        verbose=0,
    )
    loss = float(model.evaluate(batch, verbose=0))
    finite = math.isfinite(loss)
    return {
        "success": finite,
        "status": int(Status.ITERATION_LIMIT if finite else Status.NON_FINITE),
        "message": "Adam took all its steps." if finite else "The loss is not finite.",
        "nit": settings.iterations,
        "nfev": settings.iterations,
        "restarts": 0,
        "loss": loss,
    }


def _divisor(number: int, limit: int) -> int:
    return next(k for k in range(limit, 0, -1) if number % k == 0)


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


def _errors(problem: problems.Problem, curves: tuple) -> dict[str, float | None]:
    names = ("y_mse", "dy_mse", "d2y_mse")
    return {name: _mse(*pair) for name, *pair in zip(names, problem.exact, curves)}


def _mse(exact: np.ndarray | None, value: np.ndarray | None) -> float | None:
    if exact is None or value is None:
        return None
    error = float(np.mean((value - exact) ** 2))
    return error if math.isfinite(error) else None
