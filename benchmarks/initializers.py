"""The default start of keras_smooth.Dense against Glorot's, on the article's network.

    python benchmarks/initializers.py --out DIRECTORY [--seeds 20] [--jobs 2]

For each activation: 8x20 net, 1000 L-BFGS iterations, float64, the same training points
for both starts. Writes `initializers.md`; an interrupted study continues where it stopped.
"""

import argparse
import os
from pathlib import Path

import keras_smooth
from keras_smooth.initializers import gain

ACTIVATIONS = ("tanh", "sigmoid", "softplus", "silu", "gelu", "mish", "squareplus", "sin")
STARTS = ("default", "glorot_uniform")
ITERATIONS = 1000


def study(directory: Path, activations: list[str], seeds: int, jobs: int) -> dict:
    """Returns the comparison of each start, run now or found in the directory."""
    return {
        start: keras_smooth.compare(
            activations,
            seeds=seeds,
            epochs=ITERATIONS,
            method="lbfgs",
            initializer=start,
            jobs=jobs,
            out=directory / start,
            resume=True,
        )
        for start in STARTS
    }


def row(found: dict, index: int) -> list[str]:
    """Returns one row of the table."""
    activation = found["default"].summary[index].activation
    cells = [activation, f"{gain(activation):.4g}"]
    for start in STARTS:
        line = found[start].summary[index]
        runs = found[start].results.runs(activation)
        cells += [
            f"{line.d2y_mse:.2e}",
            f"{max(run.d2y_mse for run in runs):.1e}",
            str(sum(run.restarts for run in runs)),
            str(sum(run.nit < ITERATIONS or run.failed for run in runs)),
        ]
    ratio = (
        found["default"].summary[index].d2y_mse / found[STARTS[1]].summary[index].d2y_mse
    )
    return [*cells, f"{ratio:.3g}"]


def table(found: dict, activations: list[str], seeds: int) -> str:
    """Returns the study as Markdown."""
    columns = ["activation", "gain"]
    for start in ("default", "Glorot"):
        columns += [f"{start}: median", "worst", "restarts", "stops"]
    rows = [[*columns, "ratio of medians"], ["---"] * (len(columns) + 1)]
    rows += [row(found, index) for index in range(len(activations))]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in rows)
    return (
        f"MSE of y'' after {ITERATIONS} iterations, {seeds} seeds. Restarts: failed line "
        "searches, over all seeds. Stops: runs that ended\nbefore the last iteration.\n\n"
        f"{text}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--activations", nargs="+", default=list(ACTIVATIONS))
    arguments = parser.parse_args()
    activations, seeds = arguments.activations, arguments.seeds
    found = study(arguments.out, activations, seeds, arguments.jobs)
    text = table(found, activations, seeds)
    (arguments.out / "initializers.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
