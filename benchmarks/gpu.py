"""CPU against GPU: derivatives, audit, fit_lbfgs and a run of compare.

    python benchmarks/gpu.py [--short]

prints a table of seconds of wall time on each device, and how many times faster the GPU is. The
first call traces and compiles; the next is the best of some more. Where TensorFlow sees no GPU,
the table has the CPU alone and says so.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

import keras_smooth
from keras_smooth.comparison import problems
from keras_smooth.comparison.runs.experiment import Experiment
from keras_smooth.comparison.settings import RunId, Settings

CPU, GPU = "CPU:0", "GPU:0"
NO_GPU = (
    "TensorFlow sees no GPU here: its column is empty. Install keras-smooth[gpu] on a machine "
    "that has one."
)
HEAD = ("what", "CPU, first", "CPU, next", "GPU, first", "GPU, next", "GPU is faster")
ARTICLE, WIDE = (8, 20), (4, 200)  # hidden layers and their units
NUM_NEXT = 2

Call = Callable[[], object]
Row = tuple[str, Callable[[], Call]]


def rows(short: bool) -> Iterator[Row]:
    """Gives what is measured: a title, and what makes a call on the device that is set."""
    points, epochs = (1_000, 5) if short else (20_000, 20)
    for shape in (ARTICLE, WIDE):
        title = _title(shape)
        for dtype in ("float64", "float32"):
            yield (
                f"derivatives of {points} points, {title}, {dtype}",
                _derivatives(shape, dtype, points),
            )
        for number in sorted({1000, points}):
            yield (
                f"fit_lbfgs, {epochs} iterations, {number} points, {title}",
                _fit(shape, number, epochs),
            )
        yield (
            f"audit, {title}",
            lambda shape=shape: lambda: keras_smooth.audit(_network(shape)),
        )
    yield f"a run of compare, {epochs} iterations", _compare(epochs)


def _title(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _network(shape: tuple[int, int], dtype: str = "float64") -> keras.Model:
    depth, width = shape
    hidden = [keras_smooth.Dense(width, "tanh", dtype=dtype) for _ in range(depth)]
    last = keras_smooth.Dense(1, dtype=dtype)
    model = keras.Sequential([keras.Input((1,), dtype=dtype), *hidden, last])
    model.compile(loss=keras.losses.MeanSquaredError(dtype=dtype))
    return model


def _data(number: int, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).uniform(-2.0, 2.0, (number, 1)).astype(dtype)
    return x, np.exp(-(x**2))


def _derivatives(shape, dtype: str, number: int) -> Callable[[], Call]:
    def make() -> Call:
        model, x = _network(shape, dtype), tf.constant(_data(number, dtype)[0])
        compiled = tf.function(
            lambda x: keras_smooth.derivatives(model, x), jit_compile=True, autograph=False
        )
        return lambda: [value.numpy() for value in compiled(x)]

    return make


def _fit(shape, number: int, epochs: int) -> Callable[[], Call]:
    def make() -> Call:
        model, (x, y) = _network(shape), _data(number)
        weights = model.get_weights()

        def call() -> object:
            model.set_weights(weights)
            return keras_smooth.fit_lbfgs(
                model, x, y, epochs=epochs, steps_per_execution=epochs, verbose=0
            )

        return call

    return make


def _compare(epochs: int) -> Callable[[], Call]:
    """A run as compare makes it, by a worker that has compiled its program or has not."""

    def make() -> Call:
        device = _device_now()
        settings = Settings(activations=("tanh",), epochs=epochs, device=device[:3].lower())
        experiment = Experiment(settings, problems.load_problems(settings.problem))
        run = RunId("tanh", settings.main, 0)
        return lambda: experiment.execute([run], lambda event: None)

    return make


def _device_now() -> str:
    return GPU if GPU in tf.constant(0.0).device else CPU


def seconds(make: Callable[[], Call], device: str) -> list[float]:
    """Returns the seconds of the first call on a device, and of the best of the next."""
    with tf.device(device):
        call = make()
        times = [_seconds_of(call) for _ in range(1 + NUM_NEXT)]
    return [times[0], min(times[1:])]


def _seconds_of(call: Call) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="small sizes, for a look")
    asked = parser.parse_args()
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name")
        print(f"{name}; float32 products in TensorFloat-32 unless it is turned off\n")
    else:
        print(f"{NO_GPU}\n")
    print("| " + " | ".join(HEAD) + " |")
    print("| " + " | ".join(["---"] * len(HEAD)) + " |")
    for title, make in rows(asked.short):
        on_cpu = seconds(make, CPU)
        on_gpu = seconds(make, GPU) if gpus else []
        cells = [f"{value:.3g}" for value in (*on_cpu, *on_gpu)]
        cells += [f"{on_cpu[1] / on_gpu[1]:.2g}"] if gpus else ["", "", ""]
        print(f"| {title} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
