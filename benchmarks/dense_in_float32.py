"""Whether a dense inverse Hessian bears rounding and kinks as a limited memory does.

    python benchmarks/dense_in_float32.py [--seeds 6] [--epochs 800]

y = exp(-x^2) by 2 x 15 units, 286 weights, which both can have: 285 pairs and the matrix. No
tolerance, so that every run goes on until its iterations or its line searches end. Prints a table
in Markdown.
"""

import argparse
import statistics
import warnings

import keras
import numpy as np

import keras_smooth

MEMORIES = {"285 pairs": {"num_correction_pairs": 285}, "dense": {"method": "bfgs"}}


def net(activation: str, dtype: str) -> keras.Model:
    model = keras.Sequential([keras.Input((1,), dtype=dtype)])
    for _ in range(2):
        model.add(keras_smooth.Dense(15, activation, order=0, dtype=dtype))
    model.add(keras_smooth.Dense(1, dtype=dtype))
    model.compile(loss="mse")
    return model


def results(activation: str, dtype: str, memory: str, seeds: int, epochs: int) -> list:
    """Returns how the runs of all seeds ended."""
    x = np.linspace(-2.0, 2.0, 300)[:, None]
    model, found = net(activation, dtype), []
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        # Starts of one model, which is compiled once.
        model.set_weights(net(activation, dtype).get_weights())
        history = keras_smooth.fit_lbfgs(
            model, x, np.exp(-(x**2)), epochs=epochs, tolerance=0.0, verbose=0,
            **MEMORIES[memory],
        )  # fmt: skip
        found.append(history.result)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=800)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    columns = [
        "activation",
        "dtype",
        "memory",
        "median loss",
        "worst",
        "restarts",
        "broke off",
    ]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", flush=True)
    for activation in ("tanh", "relu", "selu", "elu"):
        for dtype in ("float64", "float32"):
            for memory in MEMORIES:
                found = results(
                    activation, dtype, memory, arguments.seeds, arguments.epochs
                )
                losses = [result.fun for result in found]
                print(
                    f"| {activation} | {dtype} | {memory} | {statistics.median(losses):.1e} "
                    f"| {max(losses):.1e} | {sum(result.restarts for result in found)} "
                    f"| {sum(result.failed for result in found)} of {len(found)} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
