"""What becomes of y'' where inputs or targets are large, small or far from 0.

    python benchmarks/scales.py

fits y = m + s * exp(-x^2) with x = t + u * z, z in [-2, 2], by `fit_lbfgs`, with a network as it is
and with the same one in `keras_smooth.standardized`, and prints the mean squared errors of y'' in
units of s / u^2, medians over the seeds; docs/limits.md has the table.
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
    starts = [net(seed).get_weights() for seed in range(arguments.seeds)]
    print("| data | as it is | how it ended | warned | standardized | how it ended |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, ((scale, mean), (unit, middle)) in ROWS.items():
        z = np.linspace(-2.0, 2.0, 400)[:, None]
        x, y = middle + unit * z, mean + scale * np.exp(-(z**2))
        exact = (4.0 * z**2 - 2.0) * np.exp(-(z**2))
        plain, inner = net(0), net(0)
        wrapped = keras_smooth.standardized(inner, x, y)
        cells = []
        for network, model in ((plain, plain), (inner, wrapped)):
            model.compile(loss="mse")
            runs = []
            for start in starts:
                network.set_weights(start)
                ended, warned = run(model, x, y, arguments.epochs)
                found = np.asarray(keras_smooth.derivatives(model, x)[2])
                error = np.mean((found * unit**2 / scale - exact) ** 2)
                runs.append((error, ended, warned))
            errors, ends, warned = zip(*runs)
            said = "yes" if any(warned) else ""
            cells += [
                f"{statistics.median(errors):.1e}",
                ", ".join(sorted(set(ends))),
                said,
            ]
        # Nothing is said of the standardized one.
        print(f"| {' | '.join([name, *cells[:5]])} |", flush=True)
        assert not cells[5], name


def net(seed: int) -> keras.Model:
    """Returns the network as it is before a fit."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((1,), dtype="float64")])
    for _ in range(8):
        model.add(keras_smooth.Dense(20, "tanh", dtype="float64"))
    model.add(keras_smooth.Dense(1, dtype="float64"))
    return model


def run(model: keras.Model, x: np.ndarray, y: np.ndarray, epochs: int) -> tuple[str, bool]:
    """Returns how a fit ended, and whether it warned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = keras_smooth.fit_lbfgs(model, x, y, epochs=epochs, verbose=0)
    said = " ".join(str(each.message) for each in caught)
    warned = "targets have mean" in said or "What reaches the layer" in said
    return history.result.status.name, warned


if __name__ == "__main__":
    main()
