"""What an iteration of fit_lbfgs costs beside the objective, and what bounds it.

    python benchmarks/iterations.py [--weights 3000 30000] [--pairs 10 50 100 200 300] [--article]

Self-scaled L-BFGS on a function whose evaluation costs next to nothing, float64, one process on
one core, CPU time. An iteration reads the steps and changes of the memory twice, which is the
column MB: the rate is that over the time, beside the rate at which NumPy multiplies the same
matrix by a vector. --article has the article's net instead, and what of an iteration its
evaluations are. Prints a table in Markdown.
"""

import argparse
import os
import statistics
import time

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import article_net
import numpy as np
import tensorflow as tf

from keras_smooth.lbfgs.minimizers import Minimizer

MEGABYTE = 1e6
REPEATS, CHUNK = 5, 20


def valley(position: tf.Tensor, data: tuple) -> tuple:
    """A long valley with waves, which takes thousands of iterations."""
    (curvatures,) = data
    value = 0.5 * tf.tensordot(curvatures * position, position, 1)
    gradient = curvatures * position + tf.cos(position)
    return value + tf.tensordot(tf.sin(position), tf.ones_like(position), 1), gradient


def milliseconds(minimizer: Minimizer, state, data: tuple, num_iterations: int) -> tuple:
    """Returns the state after some iterations, and what each took."""
    before = time.process_time()
    after = minimizer.advance(state, num_iterations, 0.0, data)
    seconds = time.process_time() - before
    done = int(after.num_iterations) - int(state.num_iterations)
    if done < num_iterations:
        raise RuntimeError(f"Only {done} of {num_iterations} iterations were made.")
    return after, 1e3 * seconds / num_iterations


def rate_of_numpy(num_rows: int, num_weights: int) -> float:
    """Returns the gigabytes a second that a product of a matrix and a vector reads."""
    matrix, vector = np.ones((num_rows, num_weights)), np.ones(num_weights)
    found = []
    for _ in range(REPEATS):
        before = time.process_time()
        for _ in range(CHUNK):
            matrix @ vector
        found.append((time.process_time() - before) / CHUNK)
    return matrix.nbytes / min(found) / 1e9


def measure(num_weights: int, num_pairs: int) -> list[str]:
    """Returns the row of one size."""
    data = (tf.constant(np.geomspace(1.0, 1e8, num_weights)),)
    minimizer = Minimizer(valley, "lbfgs", num_pairs)
    state = minimizer.begin(tf.ones(num_weights, tf.float64), data)
    minimizer.advance(state, 0, 0.0, data)  # compiles
    state, quarter = milliseconds(minimizer, state, data, max(num_pairs // 4, 1))
    state, _ = milliseconds(minimizer, state, data, num_pairs)
    full = []
    for _ in range(REPEATS):
        state, found = milliseconds(minimizer, state, data, CHUNK)
        full.append(found)
    megabytes = 2 * 2 * num_pairs * num_weights * 8 / MEGABYTE
    return [
        f"{num_weights:,}",
        str(num_pairs),
        # A call costs a millisecond by itself, which few iterations do not hide.
        f"{quarter:.2f}" if num_pairs // 4 >= CHUNK // 2 else "",
        f"{min(full):.2f}",
        f"{megabytes:.1f}",
        f"{megabytes / min(full):.1f}",
        f"{rate_of_numpy(2 * num_pairs, num_weights):.1f}",
    ]


def head(*columns: str) -> None:
    """Prints the head of a table."""
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns), flush=True)


def measure_article(num_pairs: int) -> list[str]:
    """Returns the row of one memory with the article's net, when the memory is full."""
    model, objective, data = article_net.article()
    evaluate = article_net.evaluation(model, objective)
    cost = 1e3 * article_net.seconds_of(evaluate, objective.position, data)
    minimizer = Minimizer(evaluate, "lbfgs", num_pairs)
    state = minimizer.begin(objective.position, data)
    state = minimizer.advance(state, num_pairs + CHUNK, 0.0, data)
    found, evaluations = [], int(state.num_objective_evaluations)
    for _ in range(4 * REPEATS):
        state, took = milliseconds(minimizer, state, data, CHUNK)
        found.append(took)
    evaluations = int(state.num_objective_evaluations) - evaluations
    rate = evaluations / len(found) / CHUNK
    return [
        str(num_pairs),
        f"{min(found):.2f}",
        f"{statistics.median(found):.2f}",
        f"{rate:.2f}",
        f"{cost:.2f}",
        f"{100 * min(rate * cost / min(found), 1.0):.0f} %",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=int, nargs="+", default=[3000, 30_000, 300_000])
    parser.add_argument("--pairs", type=int, nargs="+", default=[10, 50, 100, 200, 300])
    parser.add_argument("--most-bytes", type=int, default=2**28, help="of the memory")
    parser.add_argument("--article", action="store_true")
    arguments = parser.parse_args()
    if arguments.article:
        head(
            "pairs", "ms an iteration, lowest", "median", "evaluations an iteration",
            "ms an evaluation, lowest", "share of evaluations",
        )  # fmt: skip
        for num_pairs in arguments.pairs:
            print("| " + " | ".join(measure_article(num_pairs)) + " |", flush=True)
        return
    head(
        "weights", "pairs", "ms, first quarter of the memory", "ms, full memory", "MB",
        "GB/s", "GB/s of NumPy",
    )  # fmt: skip
    for num_weights in arguments.weights:
        for num_pairs in arguments.pairs:
            if 2 * num_pairs * num_weights * 8 <= arguments.most_bytes:
                print("| " + " | ".join(measure(num_weights, num_pairs)) + " |", flush=True)


if __name__ == "__main__":
    main()
