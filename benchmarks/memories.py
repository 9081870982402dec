"""What a memory of fit_lbfgs gives the article's net: loss and y'' over CPU time.

    python benchmarks/memories.py [--activations tanh sigmoid softplus] [--methods lbfgs:300 broyden]
                                  [--iterations 1000] [--every 500]

The article's net and points, 8 x 20 units, 3,001 weights, float64, seed 0, one core. A method is
followed by its pairs if it has any. Seconds are CPU seconds without the first call. Prints a table
in Markdown.
"""

import argparse
import os
import time

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import article_net
import numpy as np

import keras_smooth
from keras_smooth.comparison import problems
from keras_smooth.lbfgs.minimizers import Minimizer


def rows(activation: str, method: str, iterations: int, every: int):
    """Yields iterations, CPU seconds, loss and mean squared error of y''."""
    model, objective, data = article_net.article(activation)
    name, _, pairs = method.partition(":")
    evaluate = article_net.evaluation(model, objective)
    minimizer = Minimizer(evaluate, name, int(pairs or 1))
    state = minimizer.begin(objective.position, data)
    state = minimizer.advance(state, 0, 0.0, data)  # compiles
    x = np.asarray(problems.load_problem("gaussian").draw(0)[0])[:, None]
    expected = (4.0 * x**2 - 2.0) * np.exp(-(x**2))
    seconds = 0.0
    for until in range(every, iterations + 1, every):
        before = time.process_time()
        state = minimizer.advance(state, every, 0.0, data)
        seconds += time.process_time() - before
        objective.assign(state.position)
        error = np.mean((keras_smooth.derivatives(model, x)[2] - expected) ** 2)
        yield until, seconds, float(state.objective_value), error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--activations", nargs="+", default=["tanh", "sigmoid", "softplus"])
    parser.add_argument("--methods", nargs="+", default=["lbfgs:300", "bfgs", "broyden"])
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--every", type=int, default=500)
    arguments = parser.parse_args()
    head = ["activation", "memory", "iterations", "CPU s", "loss", "MSE of y''"]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}", flush=True)
    for activation in arguments.activations:
        for method in arguments.methods:
            steps = rows(activation, method, arguments.iterations, arguments.every)
            for count, seconds, loss, error in steps:
                cells = [
                    activation,
                    method,
                    count,
                    f"{seconds:.1f}",
                    f"{loss:.1e}",
                    f"{error:.1e}",
                ]
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
