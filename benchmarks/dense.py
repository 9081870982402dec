"""Where the dense matrix of method="bfgs" wins against the limited memory of fit_lbfgs.

    python benchmarks/dense.py [--seeds 3] [--iterations 900] [--cases NAME ...]

Both in the same loop, with the same line search: the article's net, and Burgers' equation on nets
of several widths. The memory is timed apart from the evaluations, so that the last column can say
from which cost of an evaluation on the dense matrix reaches a level first; one process on one
core, CPU time, medians. Prints a table in Markdown.
"""

import argparse
import dataclasses
import functools
import math
import os
import statistics
import time
from collections.abc import Callable

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import article_net
import keras
import numpy as np
import resample
import tensorflow as tf

from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.lbfgs.minimizers import Minimizer
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.lbfgs.objective.terms import Terms

CHUNK = 20


def mean_of_squares(model: keras.Model, points) -> tf.Tensor:
    return keras.ops.mean(resample.residual(model, points) ** 2)


def burgers(seed: int, width: int = 20) -> tuple:
    """Burgers' equation as in benchmarks/resample.py, on 2,000 points."""
    keras.utils.set_random_seed(seed)
    model = resample.net(width)
    points = np.random.default_rng(seed).uniform(size=(2000, 2))
    objective = Objective(model, Terms(mean_of_squares))
    parts = (tf.constant(points), None, None)
    return model, objective, micro_batches.as_one_batch(parts, "float64")


@dataclasses.dataclass
class Trace:
    """Evaluations and values after each iteration, and the seconds of the memory in one."""

    evaluations: list[int] = dataclasses.field(default_factory=list)
    values: list[float] = dataclasses.field(default_factory=list)
    memory: float = 0.0

    def until(self, level: float) -> tuple[float, float]:
        """Returns iterations and evaluations to a level."""
        for i, value in enumerate(self.values):
            if value <= level:
                return i + 1, self.evaluations[i]
        return math.inf, math.inf


def trace(
    evaluate: Callable, position, iterations: int, method: str, pairs: int, cost: float
) -> Trace:
    """Returns the trace of a method, noted at each iteration.

    Args:
        evaluate: Of a position.
        position: Where it begins.
        iterations: To make.
        method: A name of `MINIMIZERS`.
        pairs: Of its memory.
        cost: Seconds of an evaluation.
    """
    minimizer = Minimizer(lambda point, _: evaluate(point), method, pairs)
    state = minimizer.advance(minimizer.begin(position, ()), 1, 0.0, ())
    found = Trace()
    while len(found.values) < iterations and not bool(state.failed):
        found.evaluations.append(int(state.num_objective_evaluations))
        found.values.append(float(state.objective_value))
        state = minimizer.advance(state, 1, 0.0, ())
    # A call costs by itself: what the memory costs is seen where many are made at once.
    state, took = minimizer.begin(position, ()), []
    while int(state.num_iterations) < iterations and not bool(state.failed):
        before, evaluations = time.process_time(), int(state.num_objective_evaluations)
        state = minimizer.advance(state, CHUNK, 0.0, ())
        seconds = time.process_time() - before
        took.append(seconds - cost * (int(state.num_objective_evaluations) - evaluations))
    found.memory = max(statistics.median(took), 0.0) / CHUNK
    return found


def article(architecture: str = "8x20") -> Callable:
    """Returns the article's net, of an architecture, as a function of the seed."""
    return lambda seed: article_net.article(seed=seed, architecture=architecture)


# A case, the levels of its objective, and sizes of the limited memory: fewer pairs than weights, for
# as many are the dense matrix.
FITS = (1e-10, 1e-12, 1e-14)
BURGERS = (1e-4, 1e-6, 1e-7)
CASES = {
    "article": (article(), FITS, (300, 600)),
    "article 2x10": (article("2x10"), FITS, (140,)),
    "article 2x20": (article("2x20"), FITS, (480,)),
    "article 3x20": (article("3x20"), FITS, (581, 900)),
    "burgers 10": (functools.partial(burgers, width=10), BURGERS, (260,)),
    "burgers 20": (burgers, BURGERS, (569, 920)),
    "burgers 30": (functools.partial(burgers, width=30), BURGERS, (300, 600)),
    "burgers 40": (functools.partial(burgers, width=40), BURGERS, (300, 600)),
}


def measure(name: str, seeds: int, iterations: int) -> None:
    """Prints the rows of a case."""
    build, levels, sizes = CASES[name]
    traces: dict = {}
    num_weights = 0
    for seed in range(seeds):
        model, objective, data = build(seed)
        of_data = article_net.evaluation(model, objective)

        def evaluate(point, of_data=of_data, data=data):
            return of_data(point, data)

        position = objective.position
        num_weights = position.shape[0]
        cost = article_net.seconds_of(of_data, position, data)
        rows = [("bfgs", "bfgs", 1)] + [(f"{n} pairs", "lbfgs", n) for n in sizes]
        for label, method, pairs in rows:
            found = trace(evaluate, position, iterations, method, pairs, cost)
            traces.setdefault(label, []).append((cost, found))
    for level in levels:
        reference = _medians(traces["bfgs"], level)
        for label, found in traces.items():
            row = _row(level, label, _medians(found, level), reference)
            print(f"| {name} | {num_weights:,} | {row} |", flush=True)


def _medians(found: list, level: float) -> tuple:
    """Returns medians: iterations and evaluations to a level, ms of evaluation and memory."""
    until = [trace.until(level) for _, trace in found]
    return (
        statistics.median(iterations for iterations, _ in until),
        statistics.median(evaluations for _, evaluations in until),
        statistics.median(1e3 * cost for cost, _ in found),
        statistics.median(1e3 * trace.memory for _, trace in found),
    )


def _row(level: float, label: str, found: tuple, reference: tuple) -> str:
    iterations, evaluations, cost, memory = found
    more = evaluations - reference[1]
    saved = reference[0] * reference[3] - iterations * memory
    gain = f"{max(saved / more, 0.0):.1f}" if more > 0 and math.isfinite(more) else ""
    seconds = 1e-3 * (evaluations * cost + iterations * memory)
    cells = [
        f"{level:.0e}", label, f"{iterations:.0f}", f"{evaluations:.0f}",
        f"{cost:.2f}", f"{memory:.2f}", f"{seconds:.2f}", gain,
    ]  # fmt: skip
    return " | ".join(cells).replace("inf", "never")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=900)
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    arguments = parser.parse_args()
    columns = [
        "case", "weights", "to", "memory", "iterations", "evaluations", "ms an evaluation",
        "ms of memory an iteration", "CPU s", "dense wins above, ms an evaluation",
    ]  # fmt: skip
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns), flush=True)
    for name in arguments.cases:
        measure(name, arguments.seeds, arguments.iterations)


if __name__ == "__main__":
    main()
