"""Recurrences with jets in their loops, and unrolled: seconds to compile, milliseconds to run.

    TF_NUM_INTRAOP_THREADS=1 python benchmarks/loops.py

Each row is the Laplacian of 8 steps of 2 numbers, or its gradient by the weights, at 200 points.
CPU time; the median of five calls. Look at the ratios.
"""

import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import keras_smooth

LAYERS = {"LSTM": keras.layers.LSTM, "GRU": keras.layers.GRU}
CALLS = 5


def seconds(function: Callable) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def measured(model: keras.Model, x: tf.Tensor, by_weights: bool, compiled: bool) -> tuple:
    """Returns the seconds of the first call, and the median of the calls after it."""

    def value() -> tf.Tensor:
        return tf.reduce_mean(keras_smooth.laplacian(model, x) ** 2)

    def gradients() -> list:
        with tf.GradientTape() as tape:
            loss = value()
        return tape.gradient(loss, model.trainable_variables[:-1])

    function = tf.function(gradients if by_weights else value, jit_compile=compiled)
    first = seconds(function)
    return first, statistics.median(seconds(function) for _ in range(CALLS))


def main() -> None:
    x = tf.constant(np.random.default_rng(0).normal(size=(200, 8, 2)), tf.float32)
    print(f"{'':42}{'loop':>8}{'':11}{'unrolled':>8}")
    for name, layer in LAYERS.items():
        for by_weights in (False, True):
            for compiled in (True, False):
                cells = ""
                for unroll in (False, True):
                    model = keras.Sequential(
                        [
                            keras.Input((8, 2)),
                            layer(8, unroll=unroll),
                            keras.layers.Dense(1),
                        ]
                    )
                    first, later = measured(model, x, by_weights, compiled)
                    cells += f"{first:8.2f} s {1e3 * later:6.2f} ms"
                what = "its gradient by weights" if by_weights else "Laplacian"
                print(
                    f"{name:6}{what:26}{'XLA' if compiled else 'graph':8}{cells}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
