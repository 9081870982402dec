"""The optimizers of equations_plain.py: functions of a run, which notes its errors."""

import functools
import itertools
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from plain_problems import Problem, relative

import keras_smooth
from keras_smooth.lbfgs.minimizers import quasi_newton

EVERY, CHUNK, POOL = 500, 50, 10


class Run:
    """A problem, a start and a clock without what is measured.

    Attributes:
        curve: CPU seconds, iterations and relative error, one after another.
    """

    def __init__(self, problem: Problem, seed: int, seconds: float):
        self.problem, self.seconds = problem, seconds
        self.points, self.values, self.reference_error = problem.reference()
        keras.utils.set_random_seed(seed)
        self.model = problem.net()
        self.start = problem.draw(problem.num_points, np.random.default_rng(seed))
        self.curve: list[tuple[float, int, float]] = []
        self._begin = time.process_time()

    @property
    def spent(self) -> float:
        return time.process_time() - self._begin

    def note(self, nit: int, share: float = 1.0) -> bool:
        """Notes the error, and returns whether the time, or a share of it, is over."""
        spent = self.spent
        found = self.model(self.points, training=False).numpy()
        self.curve.append((round(spent, 2), nit, relative(found, self.values)))
        self._begin = time.process_time() - spent
        return spent >= share * self.seconds

    def drawn(
        self, model: keras.Model, points: dict, generator: np.random.Generator
    ) -> dict:
        """Returns other points, by the residuals of a model."""
        pool = self.problem.draw(POOL * len(points["equation"]), generator)
        residuals = _compiled_residuals(self.problem, model)(
            tf.nest.map_structure(tf.constant, pool)
        )
        return {
            name: keras_smooth.choose_by_residual(
                pool[name], residuals[name], len(points[name]), generator
            )
            for name in pool
        }


_residuals: dict = {}


def _compiled_residuals(problem: Problem, model: keras.Model) -> Callable:
    key = (problem.title, id(model))
    if key not in _residuals:
        _residuals[key] = tf.function(lambda points: problem.residuals(model, points))
    return _residuals[key]


class Watch(keras.callbacks.Callback):
    """Notes errors after chunks, and stops a fit whose share of the time is over."""

    def __init__(self, run: Run, share: float):
        super().__init__()
        self.run, self.share = run, share
        self.before = run.curve[-1][1] if run.curve else 0

    def on_epoch_end(self, epoch, logs=None):
        if self.run.note(self.before + epoch + 1, self.share):
            self.model.stop_training = True


def by_fit_lbfgs(
    run: Run,
    keep: bool = True,
    every: int = EVERY,
    chunk: int = CHUNK,
    share: float = 1.0,
    **arguments: Any,
) -> None:
    """fit_lbfgs, with the memory of a method kept over draws or begun anew at each."""
    watch = Watch(run, share)
    never = {name: 2.0 for name in quasi_newton.MIN_COSINE}
    least = quasi_newton.MIN_COSINE if keep else never
    with mock.patch.object(quasi_newton, "MIN_COSINE", least):
        history = keras_smooth.fit_lbfgs(
            run.model,
            run.start,
            resample=keras_smooth.Resample(run.drawn, every=every),
            epochs=10**6,
            steps_per_execution=chunk,
            tolerance=0.0,
            callbacks=[watch],
            verbose=0,
            **{"objective": run.problem.objective, **arguments},
        )
    run.note(watch.before + history.result.nit)


def by_gauss_newton(run: Run, every: int = 20, chunk: int = 5) -> None:
    """Gauss-Newton, an iteration of which costs a hundred evaluations."""
    by_fit_lbfgs(
        run,
        every=every,
        chunk=chunk,
        method="gauss_newton",
        objective=run.problem.residuals,
    )


def by_fit_lbfgs_then_gauss_newton(run: Run) -> None:
    """A third of the time fit_lbfgs, and then Gauss-Newton."""
    by_fit_lbfgs(run, share=1.0 / 3.0)
    run.start = run.drawn(run.model, run.start, np.random.default_rng(0))
    by_gauss_newton(run, every=10, chunk=2)


def by_adam_then_lbfgs(run: Run) -> None:
    """A third of the time Adam at 1e-3, and then fit_lbfgs."""
    optimizer = keras.optimizers.Adam(1e-3)
    variables = run.model.trainable_variables
    optimizer.build(variables)

    @tf.function(jit_compile=True)
    def several(points):
        for _ in tf.range(CHUNK):
            with tf.GradientTape() as tape:
                loss = sum(run.problem.objective(run.model, points).values())
            optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)

    points = tf.nest.map_structure(tf.constant, run.start)
    while run.spent < run.seconds / 3.0:
        several(points)
        run.note(int(optimizer.iterations))
    by_fit_lbfgs(run)


def by_scipy(run: Run, method: str, changed: str | None = None) -> None:
    """A method of SciPy over the same objective, compiled by XLA.

    Args:
        run: What is solved.
        method: Name of the method.
        changed: That of an update of the changed SciPy of Urban et al., which keeps its matrix over
            draws: github.com/jorgeurban/self_scaled_algorithms_pinns, whose two files replace those
            of SciPy 1.12 (and NumPy 1.26).
    """
    import scipy.optimize

    variables = run.model.trainable_variables
    shapes = [tuple(v.shape) for v in variables]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    @tf.function(jit_compile=True)
    def evaluate(points):
        with tf.GradientTape() as tape:
            loss = sum(run.problem.objective(run.model, points).values())
        gradients = tape.gradient(loss, [v.value for v in variables])
        return loss, tf.concat([tf.reshape(g, [-1]) for g in gradients], 0)

    def assign(vector):
        for variable, values, shape in zip(variables, np.split(vector, ends[:-1]), shapes):
            variable.assign(values.reshape(shape))

    points, nit, generator, matrix = run.start, 0, np.random.default_rng(0), None
    position = np.concatenate([v.numpy().ravel() for v in variables])
    while True:
        tensors = tf.nest.map_structure(tf.constant, points)

        def value_and_gradient(vector, tensors=tensors):
            assign(vector)
            return tuple(part.numpy() for part in evaluate(tensors))

        count = itertools.count(nit + 1)

        def after_iteration(vector, count=count):
            done = next(count)
            if done % CHUNK == 0:
                assign(vector)
                if run.note(done):
                    raise StopIteration

        options = {"maxiter": EVERY, "gtol": 0.0}
        if method == "L-BFGS-B":
            options |= {"maxcor": 50, "ftol": 0.0, "maxfun": 10**6}
        if changed:
            options |= {"method_bfgs": changed, "hess_inv0": matrix}
        result = scipy.optimize.minimize(
            value_and_gradient, position, jac=True, method=method, options=options,
            callback=after_iteration,
        )  # fmt: skip
        position, nit = result.x, next(count) - 1
        if changed:
            matrix = positive(result.hess_inv)
        assign(position)
        if run.note(nit):
            return
        points = run.drawn(run.model, points, generator)


def positive(matrix: np.ndarray) -> np.ndarray | None:
    """Returns a matrix as Urban et al. keep it: symmetric, or None if it is not positive."""
    matrix = (matrix + matrix.T) / 2.0
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    return matrix


OPTIMIZERS = {
    "fit_lbfgs": by_fit_lbfgs,
    "broyden, begun anew at draws": functools.partial(
        by_fit_lbfgs, method="broyden", keep=False
    ),
    "bfgs": functools.partial(by_fit_lbfgs, method="bfgs"),
    "gauss_newton": by_gauss_newton,
    "fit_lbfgs, then gauss_newton": by_fit_lbfgs_then_gauss_newton,
    "lbfgs, 100 pairs": functools.partial(by_fit_lbfgs, num_correction_pairs=100),
    "Adam, then fit_lbfgs": by_adam_then_lbfgs,
    "SciPy L-BFGS-B": functools.partial(by_scipy, method="L-BFGS-B"),
    "SciPy BFGS": functools.partial(by_scipy, method="BFGS"),
    "SciPy of Urban et al., SSBroyden2": functools.partial(
        by_scipy, method="BFGS", changed="SSBroyden2"
    ),
}
