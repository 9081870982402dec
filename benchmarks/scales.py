"""What becomes of y'' where inputs or targets are large, small or far from 0.

    python benchmarks/scales.py

fits y = m + s * exp(-x^2) with x = t + u * z, z in [-2, 2], by `fit_lbfgs` and prints the mean
squared error of y'' in units of s / u^2, medians over the seeds; docs/limits.md has the table.
"""

import argparse
import statistics
import warnings

import keras
import numpy as np

import keras_smooth

# Of y: its scale and its mean. Of x: the same.
ROWS = {
    "as they are": ((1.0, 0.0), (1.0, 0.0)),
    "y of 1e-6": ((1e-6, 0.0), (1.0, 0.0)),
    "y of 1e-3": ((1e-3, 0.0), (1.0, 0.0)),
    "y of 0.1": ((0.1, 0.0), (1.0, 0.0)),
    "y of 10": ((10.0, 0.0), (1.0, 0.0)),
    "y of 100": ((100.0, 0.0), (1.0, 0.0)),
    "y of 1000": ((1e3, 0.0), (1.0, 0.0)),
    "y around 10": ((1.0, 10.0), (1.0, 0.0)),
    "y around 1000": ((1.0, 1e3), (1.0, 0.0)),
    "x of 0.001": ((1.0, 0.0), (1e-3, 0.0)),
    "x of 0.1": ((1.0, 0.0), (0.1, 0.0)),
    "x of 10": ((1.0, 0.0), (10.0, 0.0)),
    "x of 100": ((1.0, 0.0), (100.0, 0.0)),
    "x around 10": ((1.0, 0.0), (1.0, 10.0)),
    "x around 100": ((1.0, 0.0), (1.0, 100.0)),
}


def main() -> None:
    """Prints one line of a Markdown table for each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1000)
    arguments = parser.parse_args()
    print("| data | MSE of y'' | how the fits ended | warned |\n| --- | --- | --- | --- |")
    for name, (of_y, of_x) in ROWS.items():
        runs = [
            run(seed, arguments.epochs, *of_y, *of_x) for seed in range(arguments.seeds)
        ]
        errors, ends, warned = zip(*runs)
        ended = ", ".join(sorted(set(ends)))
        said = "yes" if any(warned) else ""
        print(
            f"| {name} | {statistics.median(errors):.1e} | {ended} | {said} |", flush=True
        )


def run(
    seed: int, epochs: int, scale: float, mean: float, unit: float, middle: float
) -> tuple[float, str, bool]:
    """Returns the error of y'', how the fit ended, and whether it warned."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((1,), dtype="float64")])
    for _ in range(8):
        model.add(keras_smooth.Dense(20, "tanh", dtype="float64"))
    model.add(keras_smooth.Dense(1, dtype="float64"))
    model.compile(loss="mse")
    z = np.linspace(-2.0, 2.0, 400)[:, None]
    y = np.exp(-(z**2))
    x = middle + unit * z
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = keras_smooth.fit_lbfgs(
            model, x, mean + scale * y, epochs=epochs, verbose=0
        )
    found = np.asarray(keras_smooth.derivatives(model, x)[2])
    error = np.mean((found * unit**2 / scale - (4.0 * z**2 - 2.0) * y) ** 2)
    said = " ".join(str(each.message) for each in caught)
    warned = "targets have mean" in said or "What reaches the layer" in said
    return float(error), keras_smooth.Status(history.result.status).name, warned


if __name__ == "__main__":
    main()
