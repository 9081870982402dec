"""Derivatives by the jet engine against nested tapes, JAX and torch.func.

    python benchmarks/derivatives.py [--short] [--folder docs]

Writes derivatives.md and derivatives.png into the folder. One core, CPU time; a ratio is the
median over rounds in which both sides run one after the other in this process, below 1 the
jet engine is faster. The peak of the memory is measured in a process of its own for each
row. JAX and PyTorch run where they are installed (pip install 'keras-smooth[bench]').
"""

import argparse
import dataclasses
import functools
import importlib.metadata
import itertools
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import derivative_tasks
import keras
import numpy as np
import tensorflow as tf

import keras_smooth
from keras_smooth.differentiation import engines, tasks
from keras_smooth.presentation import figures

FEW, MANY, LOT, MILLION = 100, 10_000, 100_000, 1_000_000
NARROW = [name for name, dim in derivative_tasks.TASKS.items() if dim <= 10]
# Tasks, modes, dtypes, numbers of points.
SOME = ["order 2", "order 4", "Laplacian, d = 3", "Laplacian, d = 10", "Hessian, d = 3"]
GRID = (
    (["order 2", "order 4", "Laplacian, d = 10"], ["XLA"], ["float64"], MILLION),
    (["Laplacian, d = 100"], ["XLA"], ["float64"], LOT),
    (NARROW, ["XLA"], ["float64"], MANY),
    (SOME, ["eager", "graph"], ["float64"], MANY),
    (SOME, ["XLA"], ["float32"], MANY),
    (["order 2"], ["eager", "graph"], ["float64"], MILLION),
    (["order 2"], ["XLA"], ["float32"], MILLION),
    (SOME, ["XLA"], ["float64"], FEW),
    (["order 2", "Laplacian, d = 100", "Hessian, d = 100"], ["eager"], ["float64"], FEW),
)
PEERS = (
    (["order 2", "order 3", "order 4", "Laplacian, d = 10"], MANY),
    (["order 2"], MILLION),
)
# Task, points, whether in batches.
MEMORY = (
    ("order 2", MILLION, True),
    ("order 2", MILLION, False),
    ("Laplacian, d = 10", MILLION, True),
    ("Hessian, d = 3", MILLION, True),
)
# Operator, order, dimensions: both of the package's own engines, and which is taken.
CHOICES = (
    ("derivatives", 1, (1, 3)),
    ("derivatives", 2, (1, 2, 3, 10)),
    ("derivatives", 3, (1, 2, 3, 4, 6)),
    ("derivatives", 4, (2,)),
    ("jacobian", 1, (1, 3, 10)),
    ("laplacian", 2, (1, 3, 10)),
    ("directional", 2, (1, 3, 10)),
    ("directional", 4, (3,)),
)
TASKS = {
    "derivatives": tasks.derivatives,
    "jacobian": tasks.derivatives,
    "laplacian": lambda order: tasks.laplacian(1),
    "directional": tasks.directional,
}
SKIPPED = (
    ("Hessian, d = 10", MILLION, "the result alone takes 0.9 GB"),
    ("Hessian, d = 100", MANY, "5050 directions and a result of 0.8 GB: use tapes"),
    ("Laplacian, d = 100", MILLION, "100 s a round by tapes: 100,000 points instead"),
    ("Laplacian, d = 100, eager", MANY, "65 s a round by tapes: 100 points instead"),
    ("the rest at this number", MILLION, "batches of the same size: see 10,000 points"),
    ("the rest in eager and graph mode", MANY, "like its neighbours of the same kind"),
)
SHORT_GRID = (
    (["order 2", "Laplacian, d = 3"], ["graph"], ["float64"], FEW),
    (["Laplacian, d = 10"], ["eager"], ["float32"], FEW),
)
SHORT_CHOICES = (("derivatives", 2, (1,)), ("jacobian", 1, (3,)))
SHORT_PEERS = ((["order 2"], FEW),)
SHORT_MEMORY = (("order 2", FEW, True),)
# A row runs so many rounds, and after so many seconds no further one but for the least.
ROUNDS, LEAST, SECONDS = 7, 3, 2.0


@dataclasses.dataclass
class Timing:
    """One comparison: CPU seconds a point, their ratio, the relative difference."""

    task: str
    against: str
    points: int
    dtype: str
    jet: float
    other: float
    ratio: float
    difference: float

    def cells(self) -> list[str]:
        times = [f"{1e9 * value:,.0f}" for value in (self.jet, self.other)]
        found = [f"{self.ratio:.2f}", f"{self.difference:.0e}"]
        return [self.task, self.against, f"{self.points:,}", self.dtype, *times, *found]


def points(task: str, number: int, dtype: str) -> np.ndarray:
    """Returns points in [-1, 1]^d."""
    generator = np.random.default_rng(0)
    return generator.uniform(-1.0, 1.0, (number, derivative_tasks.TASKS[task])).astype(
        dtype
    )


def wait(result) -> np.ndarray:
    """Returns the highest derivative, when it is there."""
    return np.asarray(keras.tree.flatten(result)[-1])


def seconds(function: Callable, x) -> float:
    """Returns the CPU time of a call: other programs do not count."""
    start = time.process_time()
    wait(function(x))
    return time.process_time() - start


def rounds(sides: list[tuple]) -> list[tuple[float, float]]:
    """Returns the seconds of both sides, one after the other, for several rounds."""
    found = []
    while len(found) < ROUNDS and (len(found) < LEAST or sum(map(sum, found)) < SECONDS):
        found.append(tuple(seconds(*side) for side in sides))
    return found


def compared(task, against, number, dtype, ours, theirs) -> Timing:
    """Returns a row; a side is a function and how it takes an array."""
    array = points(task, number, dtype)
    sides = [(function, take(array)) for function, take in (ours, theirs)]
    first, second = (wait(function(x)).ravel() for function, x in sides)
    difference = float(np.abs(first - second).max() / np.abs(second).max())
    found = rounds(sides)
    jet, other = (statistics.median(times) / number for times in zip(*found))
    ratio = statistics.median(a / b for a, b in found)
    return Timing(task, against, number, dtype, jet, other, ratio, difference)


def tape_rows(grid: tuple) -> Iterator[Timing]:
    """Yields the rows against nested tapes in the same mode."""
    for names, modes, dtypes, number in grid:
        for task, mode, dtype in itertools.product(names, modes, dtypes):
            model, size = (
                derivative_tasks.network(task, dtype),
                derivative_tasks.part_size(task, number),
            )
            pair = (
                derivative_tasks.jet(task, model, size),
                derivative_tasks.tapes(task, model, size),
            )
            sides = (
                (derivative_tasks.MODES[mode](function), tf.constant) for function in pair
            )
            yield compared(task, f"tapes, {mode}", number, dtype, *sides)


def peer_rows(grid: tuple) -> Iterator[Timing]:
    """Yields the rows of the jet engine under XLA against JAX and PyTorch."""
    for names, number in grid:
        for task in names:
            model, size = (
                derivative_tasks.network(task, "float64"),
                derivative_tasks.part_size(task, number),
            )
            ours = (
                derivative_tasks.MODES["XLA"](derivative_tasks.jet(task, model, size)),
                tf.constant,
            )
            for name, theirs in derivative_tasks.peers(task, model, size).items():
                yield compared(task, name, number, "float64", ours, theirs)


def choice_rows(grid: tuple) -> Iterator[list[str]]:
    """Yields the ratio of the package's own engines, and which of them "auto" takes."""
    for operator, order, dims in grid:
        for dim, mode in itertools.product(dims, ("eager", "XLA")):
            model = derivative_tasks.network_of(dim, "float64")
            array = np.random.default_rng(0).uniform(-1.0, 1.0, (FEW * 10, dim))
            sides = [
                (
                    derivative_tasks.MODES[mode](
                        derivative_tasks.operator(operator, model, dim, order, engine)
                    ),
                    tf.constant(array),
                )
                for engine in ("jet", "tape")
            ]
            for side in sides:
                seconds(*side)
            ratio = statistics.median(a / b for a, b in rounds(sides))
            faster = functools.partial(TASKS[operator](order).jets_are_faster, dim, 1)
            auto = engines.chosen_engine("auto", faster, dim, order, math.inf)
            yield [operator, str(order), str(dim), mode, f"{ratio:.2f}", auto]


def peak() -> float:
    """Returns the largest resident memory of this process so far, in MB; Linux tells."""
    # Not resource.getrusage: a child inherits the peak of the process that started it.
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["VmHWM"].split()[0]) / 1024


def memory_here(task: str, number: int, batched: bool, engine: str) -> float:
    """Returns the MB that a call takes above model and points, XLA's compiler included."""
    model = derivative_tasks.network(task, "float64")
    shape = (number, derivative_tasks.TASKS[task])
    x = tf.random.stateless_uniform(shape, (0, 1), -1.0, 1.0, tf.float64)
    size = derivative_tasks.part_size(task, number) if batched else None
    function = {"jet": derivative_tasks.jet, "tapes": derivative_tasks.tapes}[engine](
        task, model, size
    )
    model(x[:10])
    before = peak()
    wait(derivative_tasks.MODES["XLA"](function)(x))
    return peak() - before


def memory_rows(grid: tuple) -> Iterator[list[str]]:
    """Yields the peak memory of both engines, each in a process of its own."""
    for task, number, batched in grid:
        cells = []
        for engine in ("jet", "tapes"):
            command = [sys.executable, __file__, *sys.argv[1:], "--memory", task]
            command += [str(number), str(int(batched)), engine]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            cells.append(f"{float(done.stdout.split()[-1]):,.0f}")
        size = f"{derivative_tasks.part_size(task, number):,}" if batched else "None"
        yield [task, f"{number:,}", size, *cells]


def table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def shown(rows: Iterator) -> list:
    """Returns rows, each of which it prints when it is there."""
    found = []
    for row in rows:
        print("| " + " | ".join(getattr(row, "cells", lambda row=row: row)()) + " |")
        sys.stdout.flush()
        found.append(row)
    return found


def page(
    against_tapes: list[Timing], choices: list, against_peers: list[Timing], memory: list
) -> str:
    """Returns the page of the documentation."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("tensorflow", "keras", "jax", "torch")
        if importlib.util.find_spec(name)
    )
    columns = ["task", "against", "points", "dtype", "jet, ns a point", "other"]
    columns += ["ratio", "difference"]
    tables = [
        table(columns, [row.cells() for row in rows])
        for rows in (against_tapes, against_peers)
    ]
    memory_columns = ["task", "points", "batch_size", "jet, MB", "tapes, MB"]
    skipped = [[task, f"{number:,}", why] for task, number, why in SKIPPED]
    return PAGE.format(
        version=f"keras_smooth {keras_smooth.__version__}",
        versions=versions,
        tapes=tables[0],
        choices=table(
            ["operator", "order", "d", "mode", "jet / tape", "auto uses"], choices
        ),
        peers=tables[1],
        memory=table(memory_columns, memory),
        skipped=table(["task", "points", "left out because"], skipped),
    )


PAGE = """# The cost of derivatives

    python benchmarks/derivatives.py

A tanh network with 8 layers of 20 units on one core, CPU time, one run with {version}
({versions}).

`ratio` is the time of Taylor mode (`engine="jet"`) divided by the time of the other method: below 1, Taylor
mode is faster. Both run one after the other in several rounds, of which this is the median. `difference` is
the largest difference between the highest derivatives, relative to the largest derivative. Both methods
evaluate the points in batches of about 10,000 / d, where d is the number of inputs. This is a good
`batch_size` for a CPU: larger batches do not fit into the caches. Other programs ran on the machine at the
same time, so compare the two methods in a row, not different rows. At order 2 both are limited by the memory,
and the ratio depends on the load of the machine.

![Time for each point over the points, the order and the dimension](derivatives.png)

`order n` is `derivatives(model, x, n)` for one input, `Laplacian` is `laplacian(model, x)`, and
`Hessian` is y, y' and y'' by `derivatives(model, x, 2)` for d inputs.

## Compared with nested tapes

Nested `tf.GradientTape`, as TensorFlow's guide writes them, in the same mode.

{tapes}
## What `engine="auto"` uses

The table has the CPU time of `engine="jet"` divided by that of `engine="tape"`, at 1,000 points in float64.
`"auto"` chooses for compiled code, as in fits and long runs, from the number of operations of each engine.
For all derivatives of order k with respect to d inputs, jets carry k values along
(d + k - 1)! / (k! (d - 1)!) directions. Tapes make one backward pass for each output and one for each of its
derivatives below order k. For one output, as here, `"auto"` uses jets at order 2 for one input, at order 3
for up to four inputs, and for Laplacians and derivatives along directions. For several outputs it uses jets
for more inputs, up to 32, as for the Hessian of three outputs with respect to three inputs. Without XLA, the
overhead of a call is larger than this difference.

A loss of derivatives is differentiated once more, with respect to the weights. If TensorFlow's derivative is
right at the requested order and wrong at the next one, as for the first derivative behind
`LayerNormalization`, `"auto"` uses Taylor mode for up to 32 numbers per sample. Beyond that it uses tapes,
whose result raises an error if it is differentiated; `engine="jet"` is right there, too.

{choices}
## Compared with JAX and PyTorch

{peers}
## Memory

The peak memory of a process, including the XLA compiler but not the model and the points.

{memory}
## Left out

{skipped}"""


def figure(rows: list[Timing], peers: list[Timing]):
    """Returns time over points, over the order and over the dimension."""
    canvas = figures.new(12.0, 4.0)
    left, middle, right = canvas.subplots(1, 3)
    rows = [row for row in rows if row.dtype == "float64"]
    for mode in derivative_tasks.MODES:
        chosen = [r for r in rows if r.task == "order 2" and r.against == f"tapes, {mode}"]
        _lines(left, mode, [r.points for r in chosen], chosen, "points")
    compiled = [r for r in rows if r.against == "tapes, XLA" and r.points in (MANY, LOT)]
    for names, axis, label in (
        ([f"order {k}" for k in (2, 3, 4)], middle, "order"),
        ([f"Laplacian, d = {d}" for d in derivative_tasks.DIMS], right, "dimension"),
    ):
        chosen = [row for row in compiled if row.task in names]
        places = [float(row.task.split()[-1]) for row in chosen]
        _lines(axis, "XLA", places, chosen, label)
    for name in sorted({row.against for row in peers if row.points == MANY}):
        for axis, kind in ((middle, "order"), (right, "Laplacian")):
            chosen = [r for r in peers if r.against == name and r.points == MANY]
            chosen = [r for r in chosen if r.task.startswith(kind)]
            places = [float(row.task.split()[-1]) for row in chosen]
            if places:
                axis.plot(places, [1e9 * r.other for r in chosen], "x:", label=name)
    for axis, title in zip((left, middle, right), ("order 2, d = 1", "d = 1", "Laplacian")):
        if axis.has_data():
            axis.set(xscale="log", yscale="log", title=title, ylabel="ns a point")
            axis.grid(alpha=0.3, which="both")
            axis.legend(fontsize="x-small")
    for axis, places in ((middle, [2, 3, 4]), (right, list(derivative_tasks.DIMS))):
        axis.minorticks_off()
        axis.set_xticks(places, map(str, places))
    return canvas


def _lines(axis, mode: str, places: list, rows: list[Timing], label: str) -> None:
    """Draws both engines over something, in one colour a mode."""
    pairs = sorted(zip(places, rows), key=lambda pair: pair[0])
    if not pairs:
        return
    places = [place for place, _ in pairs]
    color = f"C{list(derivative_tasks.MODES).index(mode)}"
    for name, style, values in (
        ("jet", "o-", [1e9 * row.jet for _, row in pairs]),
        ("tapes", "s--", [1e9 * row.other for _, row in pairs]),
    ):
        axis.plot(places, values, style, color=color, label=f"{name}, {mode}")
    axis.set_xlabel(label)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="few rows, points and layers")
    parser.add_argument("--folder", type=Path, default=Path("docs"))
    parser.add_argument("--memory", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.short:
        derivative_tasks.HIDDEN = 2
    if arguments.memory:
        task, number, batched, engine = arguments.memory
        print(memory_here(task, int(number), batched == "1", engine))
        return
    grids = (SHORT_GRID, SHORT_CHOICES, SHORT_PEERS, SHORT_MEMORY)
    grids = grids if arguments.short else (GRID, CHOICES, PEERS, MEMORY)
    makers = (tape_rows, choice_rows, peer_rows, memory_rows)
    rows = [shown(make(grid)) for make, grid in zip(makers, grids)]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    (arguments.folder / "derivatives.md").write_text(page(*rows))
    figure(rows[0], rows[2]).savefig(arguments.folder / "derivatives.png")


if __name__ == "__main__":
    main()
