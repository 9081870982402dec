"""What a comparison of thousands of runs costs beside the runs: time and memory of the driver.

    python benchmarks/many_runs.py [--numbers 1000 4000 16000] [--executor here ray]

The runs have no length: what is measured is all that is done with a run once it has ended, on
disk and in memory, each number in a process of its own; for Ray also what a task costs.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEGABYTE = 1024  # of what getrusage counts
NUM_ACTIVATIONS = 4


class Here:
    """An executor whose runs end as they begin."""

    def execute(self, experiment, programs, handle):
        for runs in programs:
            experiment.execute(runs, handle)


def without_length():
    """Returns an experiment that finds the same for every run, at once."""
    import numpy as np

    from keras_smooth.comparison import problems
    from keras_smooth.comparison.runs import learning
    from keras_smooth.comparison.runs.events import Finished
    from keras_smooth.comparison.runs.experiment import Experiment, errors
    from keras_smooth.comparison.runs.record import Record, Run

    problem = problems.load_problem("gaussian")
    curves = tuple(exact + 0.1 for exact in problem.exact)
    known = errors(problem, curves)
    column = np.random.default_rng(0).uniform(size=learning.NUM_POINTS).round(6).tolist()
    curve = {name: column for name in learning.COLUMNS}
    curve |= {"iteration": list(range(learning.NUM_POINTS))}

    class WithoutLength(Experiment):
        def execute(self, runs, handle):
            for each in runs:
                run = Run(
                    each.activation, each.seed, True, 1, "No length.", 0.5, 1000, 1100, 0,
                    1e-9, **known, seconds=1.0,
                )  # fmt: skip
                learned = {name: [*curve[name]] for name in curve}
                handle(Finished(each, Record(run, curves, learned)))

    return WithoutLength


def measure(executor: str, number: int) -> dict:
    """Returns what a comparison of so many runs costs in this process."""
    from keras_smooth.comparison import comparing, executors, problems
    from keras_smooth.comparison.records import resuming, store
    from keras_smooth.comparison.settings import Settings

    settings = Settings(
        activations=("tanh", "softplus", "gelu", "silu"), seeds=number // NUM_ACTIVATIONS
    )
    learned = problems.load_problems("gaussian")
    comparing.Experiment = without_length()
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        results = comparing.initial_results(settings, learned, out, resume=False)
        chosen = Here() if executor == "here" else executors.chosen_executor(None, "ray")
        before = resource.getrusage(resource.RUSAGE_SELF)
        started = time.perf_counter()
        comparing.execute_missing(results, chosen, out, lambda event: None)
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_SELF)
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        started = time.perf_counter()
        assert len(resuming.read(settings, learned, out).records) == number
        read = time.perf_counter() - started
        json_size = (out / store.RESULTS).stat().st_size
    return {
        "executor": executor,
        "runs": number,
        "wall ms a run": round(1e3 * seconds / number, 2),
        "CPU ms a run": round(
            1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            / number, 2,
        ),
        "MB more memory": round((after.ru_maxrss - before.ru_maxrss) / MEGABYTE),
        "MB of files": round(size / 1e6),
        "MB of results.json": round(json_size / 1e6),
        "seconds to resume": round(read, 1),
    }  # fmt: skip


def apart(executor: str, number: int) -> dict:
    """Returns the measurement of a new process."""
    command = [sys.executable, __file__, "--one", executor, str(number)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--numbers", nargs="+", type=int, default=[1000, 4000, 16000])
    parser.add_argument("--executor", nargs="+", default=["here"], choices=["here", "ray"])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.one[0], int(asked.one[1]))))
        return
    rows = [apart(name, number) for name in asked.executor for number in asked.numbers]
    print("| " + " | ".join(rows[0]) + " |")
    print("| " + " | ".join(["---"] * len(rows[0])) + " |")
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")


if __name__ == "__main__":
    main()
