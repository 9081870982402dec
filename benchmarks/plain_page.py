"""The page of equations_plain.py: text, tables and a figure of recorded runs."""

import json
import statistics
from pathlib import Path

import numpy as np
from plain_optimizers import OPTIMIZERS
from plain_problems import PROBLEMS, Problem

HEAD = """# Equations without prior knowledge

{commands}

All problems are solved by one template, which the docstring of `benchmarks/equations_plain.py` describes. It
uses no knowledge of the solution, and draws points by the residual. "The default" below is `fit_lbfgs` with
its default method.

## {seconds:.0f} seconds

The table has relative L2 errors after {seconds:.0f} CPU seconds of one core, including 5 to 10 seconds of compilation.
They are of seed 0, or medians over several runs if a cell has their number in brackets. Cells are empty where
nothing was run. "none yet" means that no error was noted until then. Runs are in `benchmarks/equations_plain.jsonl`. Runs of this table have
uniform points on the boundary; later runs, as most of `gauss_newton`, draw these by the residual, too.
The speed of the machine differs from day to day. Most runs of `bfgs`, SciPy's methods and Adam are of a day on
which an iteration of `gauss_newton` for Helmholtz' equation took 0.34 s; on another day it took 0.25 s, so that
95 iterations were made instead of 60, with the same errors after the same iterations.
"reference" is the change of the reference solution if its resolution is halved, or its rounding error. The
last columns are the lowest error of any run, and its ratio to the published error. Published errors are quoted from the papers, and were
reached with the methods in brackets, with other networks and times. Errors change by a factor of 3 from one
draw of points to the next, as the figure shows, so that smaller differences of one seed mean nothing.

{table}

![Errors over CPU seconds](images/equations_plain.png)

## Ten minutes

All runs of more than {short:.0f} seconds.

{table_of_long}

{tried}
"""
TRIED = """After 25 s, the default or `gauss_newton` has the lowest error of all columns on 12 of the 18 problems. For heat
in 10 dimensions, the cavity at Reynolds number 100, Kuramoto-Sivashinsky and advection, the last two of which
no optimizer solves in that time, others are up to 11 % lower. For Burgers with viscosity 0.01/pi, a run of
`"broyden"` that forgets its matrix at draws is 2.9 times lower, and for the cavity at Reynolds number 400,
which none solves, `"bfgs"` is 2.1 times lower.

Variations that were tried, with one seed each, except for Burgers' equation:

- More points. For Burgers with viscosity 0.01, the error of the default with 2,000 points is 5e-6 after 25 s
  and changes with each draw; with 8,000 it falls steadily, from 8e-6 after 31 s to 1.5e-6 after 69 s.
- Gauss-Newton from there, with the same 8,000 points: 9e-8 after 26 s more. From the beginning of a run, with
  2,000 points, its error after 25 s is larger than that of the default for Allen-Cahn and Korteweg-de Vries,
  and smaller where the solution is smooth. The default alone with 8,000 points was not run for ten minutes.
- Smaller damping of Gauss-Newton. Rounding of J'J, where J is the Jacobian, hides singular values of J below
  1e-8 of the largest one, so that smaller damping had no effect: for Burgers with viscosity 0.01, at errors
  below 1e-8, an iteration left 0.98 of the loss, whatever the damping, and would leave 0.82 if the equations
  were solved exactly. Since the equations are solved with a second factor
  (keras_smooth/lbfgs/minimizers/damped_system.py), the same run of 590 s ends at 6e-10 instead of 4.5e-9, and
  runs of 25 s on the heat equation, Poisson's equation in 2 dimensions and Helmholtz' equation end at 4e-11,
  4e-10 and 1.7e-6 instead of 1.6e-9, 1.8e-8 and 2.0e-5. Allen-Cahn and Korteweg-de Vries gain nothing in ten
  minutes: their damping is not that small.
- Poisson's equation with this second factor, on a busy machine: in 5 dimensions it ends at 1.5e-8 (seed 0,
  270 s), 2.5e-8 and 2.3e-9 (seeds 1 and 2, 480 s), where seed 0 ended at 1.2e-7 after 480 s before; in 10
  dimensions nothing changes. The first row of each, and those of Burgers with viscosity 0.01/pi, are from
  before this change.
- Samples of rows that grow sooner, in Gauss-Newton. Runs that continue from the weights of the default spent
  40 to 80 s on samples that were too small, for Korteweg-de Vries 70 s. Now the sample grows if a step lowers
  the logarithm of the loss of all rows by less than half as much as that of the sample's loss, and it has
  most rows after 15 s.
- Fewer traces of the residuals, of which the first call of Gauss-Newton made 17. Now it makes 4, and one for
  each term. The first iteration of Poisson's equation in 10 dimensions ends after 12 s instead of 21, and its
  error after 25 s is 1.1e-4 instead of 9.5e-2, in 5 dimensions 1.0e-3 instead of 3.5e-3.
- Two dampings in each iteration instead of three, in turn with a smaller and a larger one. Burgers with
  viscosity 0.01 and fixed points, from the weights of the default: 50 iterations instead of 46 in 70 s, and a
  loss of 4.3e-14 instead of 1.8e-14. Korteweg-de Vries: 29 instead of 25, and 8.7e-6 instead of 7.7e-6. Most of
  an iteration is spent on products of matrices, not on dampings.
- New points every 3 iterations, or in each one, instead of every 10: no change for Burgers with viscosity
  0.01.
- A wider network. Burgers with viscosity 0.01/pi, 941 weights and new points every 20 iterations has an error
  of 4e-7 after 200 s. With 2,011 weights and the same draws it reaches 2.3e-7 after 265 s, and 5e-8 after 319
  s, just after a draw. So later runs draw every 10 iterations. Burgers with viscosity 0.01 gained little from
  more weights before the damping was smaller: 3.4e-9 after 562 s, and 4.5e-9 after 590 s with 941 weights.
- Allen-Cahn with an exact initial condition, u = x^2 cos(pi x) + t N, where N is the network. As a function
  of period 2, the initial value has a kink at x = 1, which no smooth N removes and which residuals in the
  interior do not show. The relative error is then at least 5.2e-4, according to finite differences with that
  kink. So the initial condition is now a term of the loss, with the weight 100. The rows of {seconds:.0f} seconds still
  have the exact initial condition. If the points of this term are drawn by the residual, most of them are at
  the kink, and the error was 1.4e-4 after 596 s. On a grid of 512 points, as used by Urban et al., it is
  1.1e-5 after 603 s and falling. With 4,000 points instead of 8,000 it is between 8e-6 and 5e-5 from 300 s
  on, and changes with each draw.
- Korteweg-de Vries with the default for 140, 187 and 197 s before Gauss-Newton: 2.7e-5 after 424 s, 8.7e-5
  after 564 s, 2.6e-5 after 594 s. All of these were still falling. With 4,000 points: 4.7e-5 after 595 s.
"""
# Runs of more seconds are rows of their own.
SHORT = 60.0


def runs_of(record: Path) -> dict:
    """Returns the runs of a record by problem and optimizer."""
    runs: dict = {}
    for line in record.read_text().splitlines():
        run = json.loads(line)
        runs.setdefault(run["problem"], {}).setdefault(run["optimizer"], []).append(run)
    return runs


def error_at(run: dict, seconds: float) -> float:
    """Returns the latest error that was noted until some seconds, and a chunk more."""
    before = [error for spent, _, error in run["curve"] if spent <= seconds + 1.0]
    return before[-1] if before else float("nan")


def cell(runs: list, seconds: float) -> str:
    # Beside other processes, the first seconds are slow. An optimizer that begins with another one
    # divides the seconds that it is given, so that a longer run says nothing.
    runs = [run for run in runs if run["seconds"] == seconds and not run.get("busy")]
    if not runs:
        return ""
    error = statistics.median(error_at(run, seconds) for run in runs)
    if np.isnan(error):
        return "none yet"
    return f"{error:.1e}" + (f" ({len(runs)})" if len(runs) > 1 else "")


def row(problem: Problem, found: dict, optimizers: list[str], seconds: float) -> str:
    """Returns the row of a problem."""
    every = [run for runs in found.values() for run in runs]
    lowest, spent = min((error, spent) for run in every for spent, _, error in run["curve"])
    published = problem.published.partition(" ")[0]
    cells = [
        problem.title, str(every[0]["weights"]), f"{every[-1]['reference']:.0e}",
        *(cell(found.get(name, []), seconds) for name in optimizers),
        problem.published, f"{lowest:.1e} after {spent:.0f} s",
        f"{lowest / float(published):.2g}" if published else "",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def page(record: Path, out: Path) -> None:
    """Writes table and figure of a record."""
    runs = runs_of(record)
    every = [run for found in runs.values() for some in found.values() for run in some]
    seconds = min(run["seconds"] for run in every)
    optimizers = [
        name
        for name in OPTIMIZERS
        if any(cell(found.get(name, []), seconds) for found in runs.values())
    ]
    head = [
        "problem", "weights", "reference", *optimizers, "published", "lowest", "times published"
    ]  # fmt: skip
    rows = [
        row(PROBLEMS[name], runs[name], optimizers, seconds)
        for name in PROBLEMS
        if name in runs
    ]
    commands = "\n".join(sorted({f"    {run['command']}" for run in every}))
    out.write_text(
        HEAD.format(
            commands=commands, seconds=seconds, short=SHORT,
            tried=TRIED.format(seconds=seconds),
            table=table(head, rows), table_of_long=table_of_long(runs),
        )
    )  # fmt: skip
    draw_figure(runs, out.parent / "images" / "equations_plain.png")


def table(head: list[str], rows: list[str]) -> str:
    return "\n".join([f"| {' | '.join(head)} |", "|" + " --- |" * len(head), *rows])


def table_of_long(runs: dict) -> str:
    """Returns the table of the runs of more than a minute."""
    head = [
        "problem", "optimizer", "seed", "weights", "points", "error after 60 s",
        "error at the end", "after", "goal", "first noted below it after",
    ]  # fmt: skip
    rows = [
        row_of_long(problem, run)
        for name, problem in PROBLEMS.items()
        for some in runs.get(name, {}).values()
        for run in some
        if run["seconds"] > SHORT
    ]
    return table(head, rows)


def row_of_long(problem: Problem, run: dict) -> str:
    """Returns the row of a run of more than a minute."""
    spent, _, error = run["curve"][-1]
    below = [at for at, _, error in run["curve"] if error < (problem.goal or 0.0)]
    cells = [
        problem.title, run["optimizer"], str(run["seed"]), str(run["weights"]),
        str(run.get("points", problem.num_points)), f"{error_at(run, 60.0):.1e}",
        f"{error:.1e}", f"{spent:.0f} s", f"{problem.goal:.1e}" if problem.goal else "",
        f"{below[0]:.0f} s" if below else "",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def draw_figure(runs: dict, path: Path) -> None:
    """Draws the errors over time, a panel each problem."""
    import matplotlib.pyplot as plt

    names = [name for name in PROBLEMS if name in runs]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(3.2 * columns, 2.6 * rows),
        layout="constrained",
        squeeze=False,
    )
    for axis, name in zip(axes.flat, names):
        for number, optimizer in enumerate(OPTIMIZERS):
            for run in runs[name].get(optimizer, []):
                seconds, _, errors = zip(*run["curve"])
                axis.semilogy(seconds, errors, color=f"C{number}", linewidth=1)
        axis.set_title(PROBLEMS[name].title, fontsize=9)
        axis.tick_params(labelsize=7, which="both")
        axis.set_xlabel("CPU seconds", fontsize=8)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    lines = {
        name: plt.Line2D([], [], color=f"C{number}")
        for number, name in enumerate(OPTIMIZERS)
        if any(name in found for found in runs.values())
    }
    figure.legend(
        list(lines.values()), list(lines), loc="outside lower center", ncols=4, fontsize=8
    )
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=90)
