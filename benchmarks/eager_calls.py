"""What calls outside of `tf.function` cost: y, y', y'' of an 8 x 20 net at 100 points.

    python benchmarks/eager_calls.py

Prints milliseconds of CPU of the first call and of the tenth (the median of three around it).
A model of Keras' own layers is traced in the first; one with code of a user in each.
"""

import functools
import statistics
import time

import keras
import numpy as np

import keras_smooth


class Own(keras.Sequential):
    """A model with code of a user, which may read anything."""

    def call(self, *args, **kwargs):
        return super().call(*args, **kwargs)


def net(kind: type) -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(20, "tanh") for _ in range(8)]
    return kind([keras.Input((1,)), *layers, keras.layers.Dense(1)])


def milliseconds(function) -> list[float]:
    spent = []
    for _ in range(11):
        start = time.process_time()
        function()
        spent.append(1e3 * (time.process_time() - start))
    return [spent[0], statistics.median(spent[8:])]


def main() -> None:
    x = np.linspace(-1.0, 1.0, 100, dtype="float32")[:, None]
    print("| model | call | first | tenth |\n|---|---|---|---|")
    for kind in (keras.Sequential, Own):
        model = net(kind)
        for engine in ("jet", "tape"):
            call = functools.partial(keras_smooth.derivatives, model, x, engine=engine)
            row = milliseconds(call)
            print(
                f"| {kind.__name__} | derivatives, {engine} | {row[0]:.0f} | {row[1]:.0f} |"
            )
        row = milliseconds(functools.partial(keras_smooth.gradient, model, x))
        print(f"| {kind.__name__} | gradient | {row[0]:.0f} | {row[1]:.0f} |")


if __name__ == "__main__":
    main()
