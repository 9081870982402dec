"""Differential operators of one network in several libraries, in float64 on one core.

    python benchmarks/operators.py [--rounds 9] [--peers PYTHON] [--write docs/operators_timed.md]

Each library and each of ours runs in a process of its own with the same weights and points; in
each round all run once, one after the other. The numbers are compared first. Seconds are CPU
time, and a ratio is the median over rounds of ours divided by the other. The peak is the memory
of a process beyond what it had before the operator was compiled and run.

`--peers` names the interpreter of an environment with jax, folx, torch, jet-for-pytorch and
deepxde; what is not installed there is left out. `benchmarks/operators_worker.py` has what a
user of each library would write.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

WORKER = Path(__file__).parent / "operators_worker.py"
# Operator, numbers a point, points, outputs of the network.
TASKS = {
    "gradient and Laplacian, d = 10": ("laplacian", 10, 1_000, 1),
    "gradient and Laplacian, d = 50": ("laplacian", 50, 200, 1),
    "gradient and Laplacian, d = 100": ("laplacian", 100, 100, 1),
    "biharmonic, d = 2": ("biharmonic", 2, 10_000, 1),
    "biharmonic, d = 5": ("biharmonic", 5, 2_000, 1),
    "u, u_t, u_x, u_xx, u_xt, u_xxxx": ("partials", 2, 10_000, 1),
    "divergence, d = 50": ("divergence", 50, 200, 50),
}
OURS = "keras_smooth"
LIBRARIES = (
    OURS,
    "nested tapes",
    "JAX nested",
    "jax.experimental.jet",
    "folx",
    "torch.func",
    "torch-jet",
    "DeepXDE",
)
IN_TENSORFLOW = {OURS, "nested tapes"}
HIDDEN, WIDTH = 8, 20


def parameters(dim: int, num_outputs: int) -> dict[str, np.ndarray]:
    """Returns the weights of a tanh network, Glorot normal."""
    rng = np.random.default_rng(0)
    sizes = [dim, *[WIDTH] * HIDDEN, num_outputs]
    arrays = {}
    for layer, (rows, columns) in enumerate(zip(sizes, sizes[1:])):
        scale = np.sqrt(2 / (rows + columns))
        arrays[f"kernel_{layer}"] = scale * rng.normal(size=(rows, columns))
        arrays[f"bias_{layer}"] = 0.1 * rng.normal(size=columns)
    return arrays


class Worker:
    """A process that runs an operator of a library each time it is asked."""

    def __init__(self, python: str, library: str, operator: str, file: str) -> None:
        environment = os.environ | {
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "OMP_NUM_THREADS": "1",
            "DDE_BACKEND": "pytorch",
            "JAX_PLATFORMS": "cpu",
        }
        self.process = subprocess.Popen(
            [python, str(WORKER), library, operator, file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.first = self._read()

    def _read(self) -> dict:
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": "the process ended"}

    def run(self) -> float:
        """Returns the CPU seconds of a run."""
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return self._read()["seconds"]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def compare(task: str, rounds: int, peers: str) -> list[dict]:
    """Returns a row for each library that has the operator."""
    operator, dim, number, num_outputs = TASKS[task]
    points = np.random.default_rng(1).normal(size=(number, dim))
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/network.npz"
        np.savez(file, points=points, **parameters(dim, num_outputs))
        workers = {}
        for library in LIBRARIES:
            python = sys.executable if library in IN_TENSORFLOW else peers
            worker = Worker(python, library, operator, file) if python else None
            if worker and "values" in worker.first:
                workers[library] = worker
            elif worker:
                print(f"{task}, {library}: {worker.first['error']}", file=sys.stderr)
                worker.close()
    expected = workers[OURS].first["values"]
    for library, worker in workers.items():
        np.testing.assert_allclose(
            worker.first["values"], expected, rtol=1e-9, atol=1e-10, err_msg=library
        )
    seconds: dict[str, list[float]] = {library: [] for library in workers}
    for _ in range(rounds):
        for library, worker in workers.items():
            seconds[library].append(worker.run())
    for worker in workers.values():
        worker.close()
    return [
        {
            "task": task,
            "library": library,
            "version": workers[library].first["version"],
            "ms": 1e3 * statistics.median(times),
            "ratio": statistics.median(a / b for a, b in zip(seconds[OURS], times)),
            "compile": workers[library].first["seconds"],
            "MB": workers[library].first["MB"],
        }
        for library, times in seconds.items()
    ]


def table(rows: list[dict]) -> str:
    lines = [
        "| operator | library | ms | ours / this | first call, s | peak, MB |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['task']} | {row['library']} | {row['ms']:.1f} | {row['ratio']:.2f} | "
        f"{row['compile']:.1f} | {row['MB']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peers", default="", help="interpreter with the other libraries")
    parser.add_argument("--task", choices=TASKS, help="this one only")
    parser.add_argument("--write", type=Path, help="page of the documentation to write")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = []
    for task in [options.task] if options.task else TASKS:
        new = compare(task, options.rounds, options.peers)
        print(table(new), flush=True)
        rows += new
    if options.write:
        versions = sorted({row["version"] for row in rows})
        options.write.write_text(
            "# Operators, timed against other libraries\n\n"
            "    python benchmarks/operators.py --peers PYTHON --write docs/operators_timed.md\n\n"
            f"An {HIDDEN} x {WIDTH} tanh network in float64 on one core, in CPU time: medians of\n"
            f"{options.rounds} rounds in which all run one after the other. A ratio below 1 means\n"
            "that keras_smooth is faster. The first call traces and compiles. TensorFlow is compiled\n"
            "by XLA and JAX by `jax.jit`; PyTorch and DeepXDE run eagerly, torch-jet with its\n"
            "simplified, that is collapsed, graph. The gradient and the Laplacian are two calls in\n"
            "keras_smooth, and one in folx and torch-jet. A library without a row for an operator\n"
            f"does not have it.\n\nVersions: {', '.join(versions)}.\n\n"
            + table(rows) + "\n"
        )  # fmt: skip


if __name__ == "__main__":
    main()
