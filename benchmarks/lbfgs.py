"""fit_lbfgs compared with other optimizers on the same network, full batch.

    python benchmarks/lbfgs.py runs.jsonl [--seeds 16] [--systems NAME ...]
                               [--modified-scipy FOLDER] [--figure FILE]

The article's net, 8 x 20 tanh, its 1000 points, float64, from the default start of
keras_smooth.Dense: the same objective and initial weights for all. One process on one core, CPU
time: each system has its seconds, and is compared with the others after 8 of them. fit_lbfgs
without a number of pairs has its default for this network, a dense matrix.

Runs that the file has are not made again, so that several processes can share the work with
--systems. What is not part of TensorFlow runs where it is installed (pip install
'keras-smooth[bench]'). FOLDER has files of other people, which this script does not fetch:
modified_optimize.py of github.com/jorgeurban/self_scaled_algorithms_pinns and _optimize.py of
github.com/EliKiani/Optimizing_the_Optimizer_PINNs. Both are loaded beside SciPy, which stays as
it is. Prints a table in Markdown and draws the loss over time.
"""

import argparse
import dataclasses
import functools
import importlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np
import tensorflow as tf
from peers_trace import Trace

from keras_smooth.comparison import problems
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.settings import RunId, Settings
from keras_smooth.differentiation.operators import derivatives
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.presentation import figures

COMPARED = 8.0
LEVELS = (1e-8, 1e-9, 1e-10, 1e-12, 1e-14)
ACTIVATION = "tanh"
# Of a system with another memory than its first.
OTHER_SEEDS = 4


@dataclasses.dataclass(frozen=True)
class System:
    """A row of the table of systems.

    Args:
        file: The script beside this one that has it, without its ending.
        name: What builds it there, from a model and its memory.
        arguments: Of a builder that is made first.
        pairs: Sizes of its memory.
        seconds: CPU time of a run.
        seeds: How many at most, with the first of these sizes.
    """

    file: str
    name: str
    arguments: tuple = ()
    pairs: tuple = (50,)
    seconds: float = COMPARED
    seeds: int = 16

    @property
    def build(self) -> Callable:
        found = getattr(importlib.import_module(self.file), self.name)
        return found(*self.arguments) if self.arguments else found


def dense(name: str, *arguments: str) -> System:
    """A row whose iteration costs a few hundred times what a limited memory costs."""
    file = "peers_jax" if name == "changed_scipy" else "peers_tensorflow"
    return System(file, name, arguments, (None,), 90.0, 4)


SYSTEMS = {
    "fit_lbfgs": System("peers_tensorflow", "keras_system", ("lbfgs",), (None, 300, 50)),
    **{
        f'fit_lbfgs, method="{method}"': System(
            "peers_tensorflow", "keras_system", (method,), (None,)
        )
        for method in ("bfgs", "gauss_newton")
    },
    "SciPy L-BFGS-B over JAX": System("peers_jax", "scipy_system", pairs=(50, 300)),
    "optax.lbfgs": System("peers_jax", "optax_system"),
    "optimistix.LBFGS": System("peers_jax", "optimistix_system"),
    "TFP lbfgs_minimize": System("peers_tensorflow", "keras_system", ("tfp_lbfgs",)),
    "torch.optim.LBFGS": System("peers_torch", "torch_system"),
    "DeepXDE (PyTorch)": System("peers_torch", "deepxde_system"),
    "Levenberg-Marquardt in JAX": System(
        "peers_jax", "levenberg_marquardt", pairs=(None,), seconds=40.0, seeds=3
    ),
    "TFP bfgs_minimize": dense("keras_system", "tfp_bfgs"),
    "Urban's SciPy, SSBFGS_AB": dense("changed_scipy", "modified_optimize.py", "SSBFGS_AB"),
    "Urban's SciPy, SSBroyden2": dense(
        "changed_scipy", "modified_optimize.py", "SSBroyden2"
    ),
    "Kiyani's SciPy, SSBroyden1": dense("changed_scipy", "_optimize.py", "SSBroyden1"),
}


def measure(name: str, memory, folder: Path | None, seeds: list[int]) -> Iterator[dict]:
    """Yields what came of each seed of a system."""
    system = SYSTEMS[name]
    problem = problems.load_problem("gaussian")
    settings = Settings(activations=(ACTIVATION,))
    experiment = Experiment(settings, {problem.name: problem})

    def start(seed: int) -> tuple:
        model = experiment.network(RunId(ACTIVATION, settings.main, seed))
        x, y = (column[:, None] for column in problem.draw(seed))
        return model, (x, y, Objective(model).position.numpy())

    model, first = start(0)
    # Imports are not part of the first call.
    run = system.build(model, folder if system.name == "changed_scipy" else memory)
    before = time.process_time()
    run(*first, Trace(0.0, COMPARED))
    latency = time.process_time() - before
    objective = Objective(model)

    def curvature_error(position: np.ndarray) -> float:
        objective.assign(tf.constant(position))
        d2y = np.ravel(derivatives(model, problem.x[:, None])[2])
        return float(np.mean((d2y - problem.exact[2]) ** 2))

    for seed in seeds:
        given = start(seed)[1]
        trace = Trace(system.seconds, COMPARED)
        run(*given, trace)
        yield {
            "system": name,
            "pairs": memory,
            "seed": seed,
            "latency": latency,
            "iterations": trace.iterations,
            "evaluations": trace.evaluations,
            "seconds": [round(second, 4) for second in trace.seconds],
            "losses": trace.losses,
            "d2y_mse": curvature_error(trace.at_comparison),
            "d2y_mse_at_end": curvature_error(trace.at_end),
        }


def groups(runs: list[dict]) -> Iterator[tuple]:
    """Yields the name, the memory and the runs of each system and memory that has runs."""
    for name, system in SYSTEMS.items():
        for memory in system.pairs:
            chosen = [r for r in runs if (r["system"], r["pairs"]) == (name, memory)]
            if chosen:
                yield name, memory, chosen


def until(run: dict, level: float) -> float:
    """Returns the CPU seconds to a level, without the first call."""
    pairs = zip(run["seconds"], run["losses"])
    return next((seconds for seconds, loss in pairs if loss <= level), math.inf)


def spread(values: list[float], form: str) -> str:
    """Returns the median of numbers and their range."""
    median, low, high = statistics.median(values), min(values), max(values)
    if low == high:
        return "never" if math.isinf(low) else format(low, form)
    return f"{median:{form}} ({low:{form}} to {high:{form}})".replace("inf", "never")


def table(runs: list[dict]) -> str:
    """Returns a row for each system and memory."""
    columns = [
        "system", "pairs", "seeds", "first call, s", "ms an iteration",
        "evaluations an iteration", *(f"s to MSE {level:.0e}" for level in LEVELS),
        f"MSE of y'' after {COMPARED:.0f} s", "and after its time",
    ]  # fmt: skip
    rows = [columns, ["---"] * len(columns)]
    for name, memory, chosen in groups(runs):
        seconds = SYSTEMS[name].seconds
        at_end = spread([run["d2y_mse_at_end"] for run in chosen], ".1e")
        rows.append([
            name,
            str(memory or ""),
            str(len(chosen)),
            f"{min(run['latency'] for run in chosen):.1f}",
            spread([1e3 * r["seconds"][-1] / r["iterations"] for r in chosen], ".2f"),
            f"{statistics.median(r['evaluations'] / r['iterations'] for r in chosen):.2f}",
            *(spread([until(run, level) for run in chosen], ".2f") for level in LEVELS),
            spread([run["d2y_mse"] for run in chosen], ".1e"),
            f"{seconds:.0f} s: {at_end}" if seconds > COMPARED else "",
        ])  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def figure(runs: list[dict]):
    """Returns the median loss of each system over its CPU time, all on one axis."""
    canvas = figures.new(9.0, 5.5)
    axis = canvas.subplots()
    for i, (name, memory, chosen) in enumerate(groups(runs)):
        label = f"{name}, {memory} pairs" if memory else name
        seconds = np.geomspace(0.03, SYSTEMS[name].seconds, 200)
        losses = np.array([_so_far(run, seconds) for run in chosen])
        style = {"color": f"C{i % 10}", "linestyle": ("-", "--")[i // 10]}
        if i == 0:
            low, high = losses.min(axis=0), losses.max(axis=0)
            axis.fill_between(seconds, low, high, color=style["color"], alpha=0.15)
            style["linewidth"] = 2.5
        axis.plot(seconds, np.median(losses, axis=0), label=label, **style)
    axis.set(xscale="log", yscale="log", ylabel="training MSE, median of the seeds")
    axis.set_xlabel("CPU seconds after the first call, one core")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="x-small", loc="lower left")
    return canvas


def _so_far(run: dict, seconds: np.ndarray) -> np.ndarray:
    """Returns the lowest loss until each time; NaN before the first note."""
    lowest = np.concatenate([[np.nan], np.minimum.accumulate(run["losses"])])
    return lowest[np.searchsorted(run["seconds"], seconds, side="right")]


def missing(runs: list[dict], name: str, memory, most: int) -> list[int]:
    """Returns the seeds of a system and memory that have no run."""
    done = {r["seed"] for r in runs if (r["system"], r["pairs"]) == (name, memory)}
    system = SYSTEMS[name]
    seeds = system.seeds if memory == system.pairs[0] else OTHER_SEEDS
    return [seed for seed in range(min(seeds, most)) if seed not in done]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="file of the runs, a line each")
    parser.add_argument("--seeds", type=int, default=16, help="at most, for any system")
    parser.add_argument("--systems", nargs="*", default=list(SYSTEMS))
    parser.add_argument("--modified-scipy", type=Path, help="folder of changed files")
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    read = functools.partial(_read, arguments.runs)
    for name in arguments.systems:
        if SYSTEMS[name].name == "changed_scipy" and arguments.modified_scipy is None:
            continue
        for memory in SYSTEMS[name].pairs:
            seeds = missing(read(), name, memory, arguments.seeds)
            if not seeds:
                continue
            try:
                for run in measure(name, memory, arguments.modified_scipy, seeds):
                    with arguments.runs.open("a") as file:
                        file.write(json.dumps(run) + "\n")
            except ImportError as error:
                print(f"{name} is left out: {error}")
    print(table(read()))
    if arguments.figure:
        figure(read()).savefig(arguments.figure)


def _read(path: Path) -> list[dict]:
    return (
        [json.loads(line) for line in path.read_text().splitlines()]
        if path.exists()
        else []
    )


if __name__ == "__main__":
    main()
