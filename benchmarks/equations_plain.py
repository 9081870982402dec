"""Equations by one template without prior knowledge, for several optimizers.

    python benchmarks/equations_plain.py [--problems NAME ...] [--optimizers NAME ...]
                                         [--seconds 60] [--seeds 0] [--record FILE] [--page]

The template: a net of 3 hidden layers of tanh; coordinates scaled to [-1, 1], or cosine and sine of
one period where the equation is periodic; initial and Dirichlet values by factors of the network,
or, for Allen-Cahn, heat and Poisson, by a term of the loss; the mean square of the plain residual; as
many points as a row says, uniform at first, drawn anew by residual every 500 iterations (20 of
Gauss-Newton, 10 where it goes on from weights of fit_lbfgs); float64.
No knowledge of a solution is used. Seconds are CPU seconds of one core, with compilation and
drawing, but without the measurement of errors. SciPy's methods (`pip install scipy`) have to start
again at each draw. Runs are appended to the record as lines of JSON; --page writes the table and
the figure of all runs of the record, docs/equations_plain.md.
"""

import argparse
import dataclasses
import json
import os
from pathlib import Path

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(os.environ.get("CORE", "0")) % len(cores)]})

from plain_optimizers import OPTIMIZERS, Run
from plain_page import page
from plain_problems import PROBLEMS

ROOT = Path(__file__).parent.parent


def thinned(curve: list) -> list:
    """Returns the notes of a minute, after it the first one of each five seconds, and the last."""
    before = [(0.0, 0, 0.0), *curve]
    return [
        note
        for last, note in zip(before, curve)
        if note[0] < 60.0 or last[0] // 5 < note[0] // 5 or note is curve[-1]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument(
        "--optimizers", nargs="+", choices=OPTIMIZERS, default=list(OPTIMIZERS)
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--points", type=int, help="others than the number of a row")
    parser.add_argument("--width", type=int, help="another than that of a row")
    parser.add_argument("--record", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    parser.add_argument(
        "--busy",
        action="store_true",
        help="other processes run: left out of the 25 s table",
    )
    parser.add_argument("--page", action="store_true", help="write the page of the record")
    arguments = parser.parse_args()
    if arguments.page:
        page(arguments.record, ROOT / "docs" / "equations_plain.md")
        return
    changes = {"num_points": arguments.points, "width": arguments.width}
    changes = {name: number for name, number in changes.items() if number}
    command = f"python benchmarks/equations_plain.py --seconds {arguments.seconds:g}"
    for option in ("points", "width"):
        if getattr(arguments, option):
            command += f" --{option} {getattr(arguments, option)}"
    for name in arguments.problems:
        problem = dataclasses.replace(PROBLEMS[name], **changes)
        for optimizer in arguments.optimizers:
            for seed in arguments.seeds:
                run = Run(problem, seed, arguments.seconds)
                OPTIMIZERS[optimizer](run)
                spent, nit, error = run.curve[-1]
                print(
                    name, optimizer, seed, f"{error:.2e}", nit, f"{spent:.0f} s", flush=True
                )
                line = {
                    "problem": name, "optimizer": optimizer, "seed": seed, "command": command,
                    "seconds": arguments.seconds, "reference": run.reference_error,
                    "weights": run.model.count_params(), "points": problem.num_points,
                    "curve": thinned(run.curve), "busy": arguments.busy,
                }  # fmt: skip
                with arguments.record.open("a") as file:
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
