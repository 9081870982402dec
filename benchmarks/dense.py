"""Whether a dense self-scaled BFGS would win against the limited memory of fit_lbfgs.

    python benchmarks/dense.py [--seeds 2] [--iterations 1200] [--cases NAME ...]

A prototype: symmetric storage of one triangle, in which BLAS reads and writes (dsymv, dsyr2;
SciPy has them), the factors of the scaling in one number beside it, and the line search of
fit_lbfgs. The matrix is multiplied by one vector an iteration, the latest gradient: its product
with the one before is known. "dense, XLA" is such a matrix in the loop of fit_lbfgs. The memory
is timed apart from the evaluations, so that the last column can say from which cost of an
evaluation on the dense matrix reaches a level first; one process on one core, CPU time. Prints a
table in Markdown.
"""

import argparse
import dataclasses
import math
import os
import statistics
import time
from collections.abc import Callable
from unittest import mock

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import article_net
import dense_hessian
import keras
import numpy as np
import resample
import tensorflow as tf
from scipy.linalg import blas

from keras_smooth.lbfgs import micro_batches
from keras_smooth.lbfgs.minimizers import Minimizer, limited_memory, line_search
from keras_smooth.lbfgs.minimizers.line_search import Place
from keras_smooth.lbfgs.objective import Objective
from keras_smooth.lbfgs.terms import Terms


def mean_of_squares(model: keras.Model, points) -> tf.Tensor:
    return keras.ops.mean(resample.residual(model, points) ** 2)


def burgers(seed: int) -> tuple:
    """Burgers' equation as in benchmarks/resample.py: 921 weights, 2,000 points."""
    keras.utils.set_random_seed(seed)
    model = resample.net()
    points = np.random.default_rng(seed).uniform(size=(2000, 2))
    objective = Objective(model, Terms(mean_of_squares))
    parts = (tf.constant(points), None, None)
    return model, objective, micro_batches.at_once(parts, "float64")


@dataclasses.dataclass
class Trace:
    """Evaluations and values after each iteration, and seconds of the memory."""

    evaluations: list[int] = dataclasses.field(default_factory=list)
    values: list[float] = dataclasses.field(default_factory=list)
    memory: float = 0.0

    def note(self, evaluations: int, value: float) -> None:
        self.evaluations.append(evaluations)
        self.values.append(value)

    def until(self, level: float) -> tuple[float, float]:
        """Returns iterations and evaluations to a level."""
        for i, value in enumerate(self.values):
            if value <= level:
                return i + 1, self.evaluations[i]
        return math.inf, math.inf


class Dense:
    """A dense inverse Hessian H = factor * matrix, of which the lower triangle is stored."""

    def __init__(self, num_weights: int):
        self.matrix = np.eye(num_weights, order="F")
        self.factor = 1.0
        self._is_empty = True

    def update(self, step, change, before, gradient, growth: float) -> np.ndarray:
        """Takes up a pair, and returns H times the gradient.

        Args:
            step: Change of the position.
            change: Change of the gradient.
            before: H times the gradient before.
            gradient: The gradient now.
            growth: 1 / tau, by which H is multiplied first.
        """
        curvature = step @ change
        if self._is_empty:
            self.factor, self._is_empty = curvature / (change @ change), False
            along, before = self.factor * gradient, self.factor * before
        else:
            along = self.factor * blas.dsymv(1.0, self.matrix, gradient, lower=1)
            self.factor *= growth
            along, before = growth * along, growth * before
        product = along - before
        ratio = (1.0 + change @ product / curvature) / (2.0 * curvature)
        other = product / curvature - ratio * step
        self.matrix = blas.dsyr2(
            -1.0 / self.factor, step, other, a=self.matrix, lower=1, overwrite_a=1
        )
        return along - step * (other @ gradient) - other * (step @ gradient)


def dense(evaluate: Callable, position: tf.Tensor, iterations: int) -> Trace:
    """Returns the trace of the prototype."""

    @tf.function(jit_compile=True, autograph=False)
    def search(position, value, gradient, direction, slope, length):
        start = Place(position, value, gradient)
        return line_search.search(evaluate, start, direction, slope, length)

    trace, hessian = Trace(), Dense(position.shape[0])
    place = Place(position, *evaluate(position))
    direction, evaluations = -place.gradient, 1
    slope = line_search.dot(direction, place.gradient)
    length = 1.0 / tf.maximum(tf.norm(place.gradient), 1.0)
    for i in range(iterations):
        found = search(*place, direction, slope, length)
        evaluations += int(found.num_trials)
        if not bool(found.found):
            break
        before = time.process_time()
        step = (found.place.position - place.position).numpy()
        gradient, old = found.place.gradient.numpy(), place.gradient.numpy()
        growth = 1.0
        if i:
            growth = max(
                -(float(found.length) ** 2) * float(slope) / (step @ (gradient - old)), 1.0
            )
        product = hessian.update(step, gradient - old, -direction.numpy(), gradient, growth)
        trace.memory += time.process_time() - before
        place, direction = found.place, tf.constant(-product)
        slope, length = line_search.dot(direction, place.gradient), tf.ones_like(slope)
        trace.note(evaluations, float(place.value))
    return trace


def limited(
    evaluate: Callable, position, iterations: int, pairs: int, cost: float
) -> Trace:
    """Returns the trace of fit_lbfgs, noted at each iteration.

    Args:
        evaluate: Of a position.
        position: Where it begins.
        iterations: To make.
        pairs: Of its memory.
        cost: Seconds of an evaluation.
    """
    minimizer = Minimizer(lambda point, _: evaluate(point), "lbfgs", pairs)
    state = minimizer.advance(minimizer.begin(position, ()), 1, 0.0, ())
    trace = Trace()
    while len(trace.values) < iterations and not bool(state.failed):
        trace.note(int(state.num_objective_evaluations), float(state.objective_value))
        state = minimizer.advance(state, 1, 0.0, ())
    # A call costs by itself: what the memory costs is seen where many are made at once.
    found, chunk = [], 20
    for _ in range(5):
        before, evaluations = time.process_time(), int(state.num_objective_evaluations)
        state = minimizer.advance(state, chunk, 0.0, ())
        seconds = time.process_time() - before
        found.append(seconds - cost * (int(state.num_objective_evaluations) - evaluations))
    trace.memory = max(min(found), 0.0) / chunk * len(trace.values)
    return trace


# A case, the levels of its objective, and sizes of the limited memory.
CASES = {
    "article": (
        lambda seed: article_net.article(seed=seed),
        (1e-10, 1e-12, 1e-14),
        (300, 600),
    ),
    "burgers": (burgers, (1e-4, 1e-6, 1e-7), (569, 921)),
}


def measure(name: str, seeds: int, iterations: int) -> None:
    """Prints the rows of a case."""
    build, levels, sizes = CASES[name]
    traces: dict = {}
    for seed in range(seeds):
        model, objective, data = build(seed)
        of_data = article_net.evaluation(model, objective)

        def evaluate(point, of_data=of_data, data=data):
            return of_data(point, data)

        position = objective.position
        cost = article_net.seconds_of(of_data, position, data)
        traces.setdefault("dense", []).append((cost, dense(evaluate, position, iterations)))
        with mock.patch.object(limited_memory, "inverse_hessian", dense_hessian):
            trace = limited(evaluate, position, iterations, 0, cost)
        traces.setdefault("dense, XLA", []).append((cost, trace))
        for pairs in sizes:
            trace = limited(evaluate, position, iterations, pairs, cost)
            traces.setdefault(f"{pairs} pairs", []).append((cost, trace))
    for level in levels:
        reference = _medians(traces["dense"], level)
        for label, found in traces.items():
            print(_row(name, level, label, _medians(found, level), reference), flush=True)


def _medians(found: list, level: float) -> tuple:
    """Returns medians: iterations and evaluations to a level, ms of evaluation and memory."""
    until = [trace.until(level) for _, trace in found]
    return (
        statistics.median(iterations for iterations, _ in until),
        statistics.median(evaluations for _, evaluations in until),
        statistics.median(1e3 * cost for cost, _ in found),
        statistics.median(1e3 * trace.memory / len(trace.values) for _, trace in found),
    )


def _row(name: str, level: float, label: str, found: tuple, reference: tuple) -> str:
    iterations, evaluations, cost, memory = found
    more = evaluations - reference[1]
    saved = reference[0] * reference[3] - iterations * memory
    gain = f"{max(saved / more, 0.0):.1f}" if more > 0 and math.isfinite(more) else ""
    seconds = 1e-3 * (evaluations * cost + iterations * memory)
    cells = [
        name, f"{level:.0e}", label, f"{iterations:.0f}", f"{evaluations:.0f}",
        f"{cost:.2f}", f"{memory:.2f}", f"{seconds:.2f}", gain,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |".replace("inf", "never")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=1200)
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    arguments = parser.parse_args()
    columns = [
        "case", "to", "memory", "iterations", "evaluations", "ms an evaluation",
        "ms of memory an iteration", "CPU s", "dense wins above, ms an evaluation",
    ]  # fmt: skip
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns), flush=True)
    for name in arguments.cases:
        measure(name, arguments.seeds, arguments.iterations)


if __name__ == "__main__":
    main()
