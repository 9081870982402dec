"""What was chosen in fit_lbfgs, beside the alternatives: scaling, memory and curvature.

    python benchmarks/choices.py [--scalings self plain] [--pairs 50 100 300]
                                 [--curvatures 0.1 0.5 0.9] [--problems NAME ...] [--seeds 1]

All combinations of them on the article's net with six activations, two equations, a fit with
noise, each for some CPU seconds on one core without the first call, and on the problems of More,
Garbow and Hillstrom. "plain" is L-BFGS as it is usual: no factors, and the scale of the newest
pair. Curvature is the condition by which the line search ends. Prints a table in Markdown: the
value of the objective that was reached, of several seeds the median and the range, and evaluations
an iteration; of the problems how many end at a minimum, how many at a gradient of 1e-6, and all
evaluations.
"""

import argparse
import dataclasses
import functools
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import article_net
import keras
import numpy as np
import resample
import tensorflow as tf

import keras_smooth
from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.lbfgs.minimizers import (
    MINIMIZERS,
    Minimizer,
    inverse_hessian,
    line_search,
    updates,
)
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.lbfgs.objective.terms import Terms

sys.path.append(str(Path(__file__).parent.parent / "tests"))
import more_garbow_hillstrom

CHUNK = 20
ACTIVATIONS = ("tanh", "sigmoid", "softplus", "sin", "elu", "relu")
TOLERANCE, MAX_ITERATIONS = 1e-6, 3000


def burgers(seed: int) -> tuple:
    """Burgers' equation as in benchmarks/resample.py."""
    keras.utils.set_random_seed(seed)
    model = resample.net()
    points = np.random.default_rng(seed).uniform(size=(1000, 2))
    return model, Objective(model, Terms(resample.logarithm)), _at_once(points)


def poisson_loss(model: keras.Model, points) -> tf.Tensor:
    waves = keras.ops.sin(np.pi * points[:, :1]) * keras.ops.sin(np.pi * points[:, 1:])
    residual = keras_smooth.laplacian(model, points) + 2.0 * np.pi**2 * waves
    return keras.ops.log(keras.ops.mean(residual**2))


def poisson(seed: int) -> tuple:
    """Poisson's equation as in examples/poisson.py."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((2,), dtype="float64")
    x, y = inputs[:, :1], inputs[:, 1:]
    hidden = 2.0 * inputs - 1.0
    for _ in range(2):
        hidden = keras_smooth.Dense(16, "sin", dtype="float64")(hidden)
    u = x * (1.0 - x) * y * (1.0 - y) * keras_smooth.Dense(1, dtype="float64")(hidden)
    model = keras.Model(inputs, u)
    axis = 0.5 - 0.5 * np.cos(np.pi * (np.arange(16) + 0.5) / 16)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return model, Objective(model, Terms(poisson_loss)), _at_once(points)


def _at_once(points: np.ndarray) -> micro_batches.Rows:
    return micro_batches.as_one_batch((tf.constant(points), None, None), "float64")


FITS: dict[str, Callable] = {
    **{name: functools.partial(article_net.article, name) for name in ACTIVATIONS},
    "noise": functools.partial(article_net.article, "tanh", noise=0.1),
    "burgers": burgers,
    "poisson": poisson,
}


def plain_scale(memory) -> tf.Tensor:
    """The identity's factor, from the newest pair."""
    newest = (memory.num_pairs - 1) % memory.diagonal.shape[0]
    scale = memory.diagonal[newest] / memory.products[newest, newest]
    return tf.where(memory.num_pairs > 0, scale, tf.ones_like(scale))


def plain(store: Callable) -> Callable:
    """Returns a function that stores a pair with a factor of 1."""

    def plain_store(memory, step, change, gradient, ratio):
        return store(memory, step, change, gradient, tf.ones_like(ratio))

    return plain_store


def patches_of(scaling: str, curvature: float) -> list:
    """Returns the patches with which programs that are made have these choices."""
    stack = [mock.patch.object(line_search, "CURVATURE", curvature)]
    if scaling == "plain":
        store = plain(inverse_hessian.store)
        stack.append(mock.patch.object(inverse_hessian, "store", store))
        stack.append(mock.patch.object(inverse_hessian, "_scale", plain_scale))
        plain_lbfgs = dataclasses.replace(
            MINIMIZERS["lbfgs"], update=lambda b, h: updates.bfgs(tf.ones_like(b), h)
        )
        stack.append(mock.patch.dict(MINIMIZERS, lbfgs=plain_lbfgs))
    return stack


def fits(name: str, pairs: int, seeds: int, seconds: float) -> list[tuple[float, float]]:
    """Returns the lowest value after so many CPU seconds, and evaluations an iteration.

    All seeds are starts of one program, which is compiled once.
    """
    model, objective, data = FITS[name](seed=0)
    evaluate = article_net.evaluation(model, objective)
    minimizer = Minimizer(evaluate, "lbfgs", min(pairs, objective.position.shape[0]))
    state = minimizer.begin(objective.position, data)
    minimizer.advance(state, 0, 0.0, data)  # compiles
    found = []
    for seed in range(seeds):
        _, start, data = FITS[name](seed=seed)
        found.append(fit(minimizer, start.position, data, seconds))
    return found


def fit(minimizer: Minimizer, position, data, seconds: float) -> tuple[float, float]:
    """Returns that of one start."""
    started = time.process_time()
    state = minimizer.begin(position, data)
    lowest, iterations, evaluations = float(state.objective_value), 0, 0
    while time.process_time() - started < seconds:
        before = int(state.num_iterations), int(state.num_objective_evaluations)
        state = minimizer.advance(state, CHUNK, 0.0, data)
        iterations += int(state.num_iterations) - before[0]
        evaluations += int(state.num_objective_evaluations) - before[1]
        lowest = min(lowest, float(state.objective_value))
        if bool(state.failed):
            if int(state.num_iterations) == 0:
                break
            state = minimizer.begin(state.position, data)
    return lowest, evaluations / max(iterations, 1)


def table_of_problems(pairs: int) -> tuple[int, int, int]:
    """Returns how many of the 34 problems end at a minimum, and at a gradient of 1e-6; evaluations."""
    at_minimum, solved, evaluations = 0, 0, 0
    for problem in more_garbow_hillstrom.PROBLEMS:

        def evaluate(point, _, problem=problem):
            with tf.GradientTape() as tape:
                tape.watch(point)
                value = problem(point)
            return value, tape.gradient(value, point)

        # Without XLA: 34 programs for a few milliseconds each.
        minimizer = Minimizer(evaluate, "lbfgs", pairs, jit_compile=False)
        state = minimizer.begin(tf.constant(problem.start, tf.float64), ())
        left, lowest = MAX_ITERATIONS, float(state.objective_value)
        while left > 0 and not bool(state.converged):
            state = minimizer.advance(state, left, TOLERANCE, ())
            left -= max(int(state.num_iterations), 1)
            evaluations += int(state.num_objective_evaluations)
            if bool(state.failed):
                # A new start that finds nothing lower has met rounding.
                if not float(state.objective_value) < lowest:
                    break
                lowest = float(state.objective_value)
                state = minimizer.begin(state.position, ())
        at_minimum += problem.is_minimum(float(state.objective_value))
        solved += bool(state.converged)
    return at_minimum, solved, evaluations


def row(choice: tuple, names: list[str], seeds: int, seconds: float) -> list[str]:
    """Returns the cells of one combination."""
    scaling, pairs, curvature = choice
    cells = [scaling, str(pairs), str(curvature)]
    patches = patches_of(scaling, curvature)
    for patch in patches:
        patch.start()
    try:
        for name in names:
            if name == "table":
                cells.append("{}, {}, {}".format(*table_of_problems(pairs)))
                continue
            values, rates = zip(*fits(name, pairs, seeds, seconds))
            spread = f"{min(values):.2g} to {max(values):.2g}; " if seeds > 1 else ""
            rate = statistics.median(rates)
            cells.append(f"{statistics.median(values):.3g} ({spread}{rate:.2f})")
    finally:
        for patch in patches:
            patch.stop()
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scalings", nargs="+", default=["self", "plain"])
    parser.add_argument("--pairs", type=int, nargs="+", default=[50, 100, 300])
    parser.add_argument("--curvatures", type=float, nargs="+", default=[0.1, 0.5, 0.9])
    parser.add_argument("--problems", nargs="+", default=[*FITS, "table"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    columns = ["scaling", "pairs", "curvature", *arguments.problems]
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns), flush=True)
    choices = (arguments.scalings, arguments.pairs, arguments.curvatures)
    for choice in itertools.product(*choices):
        cells = row(choice, arguments.problems, arguments.seeds, arguments.seconds)
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
