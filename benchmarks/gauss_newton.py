"""Where Gauss-Newton is ahead of the default method: the article's net, CPU seconds.

    python benchmarks/gauss_newton.py [--activations tanh sigmoid softplus] [--seeds 0]
                                      [--architectures 8x20] [--points 1000] [--seconds 20]

Prints a row for each fit: CPU seconds of one core, compilation included and the measuring left out,
until the mean square error of y'' is 1e-9, and loss and error when the time is over. Equations are
in equations_plain.py, with the optimizer "gauss_newton".
"""

import argparse
import os
import time

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(os.environ.get("CORE", "0")) % len(cores)]})

import article_net
import keras
import numpy as np

import keras_smooth

GOAL = 1e-9
# An iteration of Gauss-Newton costs a hundred evaluations.
METHODS = {"lbfgs": 25, "gauss_newton": 1}
HEAD = (
    "| net | weights | points | seed | method | s to 1e-9 | iterations | s | loss | y'' |"
)


class Watch(keras.callbacks.Callback):
    """Measures y'' after each chunk, with the clock stopped, and ends a fit in time."""

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds, self.begin = seconds, time.process_time()
        self.to_goal, self.spent, self.error = float("inf"), 0.0, float("inf")
        self.x = np.linspace(-2.0, 2.0, 2001)[:, None]
        self.exact = (4.0 * self.x**2 - 2.0) * np.exp(-(self.x**2))

    def on_epoch_end(self, epoch, logs=None):
        self.spent = time.process_time() - self.begin
        found = keras_smooth.derivatives(self.model, self.x)[2]
        self.error = float(np.mean((found - self.exact) ** 2))
        if self.error <= GOAL:
            self.to_goal = min(self.to_goal, self.spent)
        self.model.stop_training = self.spent >= self.seconds
        self.begin = time.process_time() - self.spent


def fitted(
    activation: str, architecture: str, points: int, seed: int, method: str, seconds: float
) -> str:
    """Returns the row of a fit to the first points."""
    model, _, rows = article_net.article(activation, seed, architecture=architecture)
    x, y = (column[:points] for column in rows.rest[:2])
    watch = Watch(seconds)
    result = keras_smooth.fit_lbfgs(
        model, x, y, method=method, epochs=10**6, tolerance=0.0, callbacks=[watch],
        steps_per_execution=METHODS[method], verbose=0,
    ).result  # fmt: skip
    cells = (
        f"{architecture} {activation}", model.count_params(), len(x), seed, method,
        f"{watch.to_goal:.1f}", result.nit, f"{watch.spent:.0f}", f"{result.fun:.1e}",
        f"{watch.error:.1e}",
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--activations", nargs="+", default=["tanh", "sigmoid", "softplus"])
    parser.add_argument("--architectures", nargs="+", default=["8x20"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    print(HEAD, "|" + " --- |" * HEAD.count(" |"), sep="\n", flush=True)
    for architecture in arguments.architectures:
        for activation in arguments.activations:
            for seed in arguments.seeds:
                for method in arguments.methods:
                    row = fitted(
                        activation,
                        architecture,
                        arguments.points,
                        seed,
                        method,
                        arguments.seconds,
                    )
                    print(row, flush=True)


if __name__ == "__main__":
    main()
