"""What calls cost beside an older version, in alternating processes: a table in Markdown.

    git worktree add ../older ddcdf07     # version 0.2.0
    python benchmarks/beside.py ../older [--rows TEXT ...] [--short]

Each version has a process of its own, with its checkout first on PYTHONPATH. Both make the same
calls in turn, a few rounds for each row, on one core in CPU time. A ratio is the median over the
rounds of this version's time divided by the older one's; below 1, this version is faster. The
models are the same; only calls that both versions have are compared.
"""

import argparse
import compileall
import functools
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import keras
import numpy as np
import tensorflow as tf

_BEFORE = time.process_time()
import keras_smooth  # noqa: E402

_IMPORT = time.process_time() - _BEFORE

import derivative_tasks  # noqa: E402

ROOT = Path(__file__).parents[1]
ROUNDS, SHORT_ROUNDS, STARTS = 7, 1, 5
FEW, MANY = 100, 10_000


def points(number: int, *shape: int) -> np.ndarray:
    """Returns points in [-1, 1], always the same."""
    return np.random.default_rng(0).uniform(-1.0, 1.0, (number, *shape))


def task(name: str, mode: str, number: int) -> Callable:
    """Returns a call of Taylor mode as in docs/derivatives.md."""
    model = derivative_tasks.network(name, "float64")
    size = derivative_tasks.part_size(name, number)
    function = derivative_tasks.MODES[mode](derivative_tasks.jet(name, model, size))
    x = tf.constant(points(number, derivative_tasks.TASKS[name]))
    return lambda: function(x)


def second_directional(layers: Callable, *shape: int) -> Callable:
    """Returns a call that differentiates a model of layers twice along a direction."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape, dtype="float64")
    model = keras.Model(inputs, layers(inputs))
    x, direction = tf.constant(points(16, *shape)), tf.constant(np.ones(shape))
    return lambda: keras_smooth.directional(model, x, direction, 2, engine="jet")


def attention(x):
    layer = keras.layers.MultiHeadAttention(2, 8, dtype="float64")
    return keras.layers.Dense(1, dtype="float64")(layer(x, x))


def convnext_block(x):
    for _ in range(2):
        y = keras.layers.DepthwiseConv2D(7, padding="same", dtype="float64")(x)
        y = keras.layers.LayerNormalization(dtype="float64")(y)
        y = keras.layers.Dense(32, "gelu", dtype="float64")(y)
        x = x + keras.layers.Dense(8, dtype="float64")(y)
    return x


def pair_interactions(positions):
    """A SchNet in small: filters of distances between all atoms."""
    pairs = positions[:, :, None] - positions[:, None]
    distances = keras.ops.sqrt(keras.ops.sum(pairs**2, axis=-1, keepdims=True) + 1e-3)
    filters = keras.layers.Dense(16, "softplus", dtype="float64")(distances)
    features = keras.layers.Dense(16, dtype="float64")(positions)
    messages = keras.ops.sum(filters * features[:, None], axis=2)
    return keras.layers.Dense(1, dtype="float64")(messages)


def fresh_audit(build: Callable[[], keras.Model]) -> Callable:
    """Returns audits of models that are new each time, whose building is not counted."""
    models = [build() for _ in range(ROUNDS + 1)]
    return lambda: keras_smooth.audit(models.pop())


def thirty_two_layers() -> keras.Model:
    layers = [keras.layers.Dense(8, "tanh") for _ in range(32)]
    return keras.Sequential([keras.Input((4,)), *layers])


def grouped_convolution() -> keras.Model:
    layer = keras.layers.Conv2D(8, 3, groups=2, activation="tanh")
    return keras.Sequential([keras.Input((8, 8, 4)), layer])


def dropping_lstm() -> keras.Model:
    layer = keras.layers.LSTM(8, recurrent_dropout=0.2)
    return keras.Sequential([keras.Input((5, 3)), layer])


def application(name: str) -> keras.Model:
    return getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3))


LAYERS = {
    "LSTM": (lambda x: keras.layers.LSTM(16, dtype="float64")(x), 10, 4),
    "GRU": (lambda x: keras.layers.GRU(16, dtype="float64")(x), 10, 4),
    "attention": (attention, 8, 6),
    "ConvNeXt block": (convnext_block, 8, 8, 8),
    "interactions of pairs, as in SchNet": (pair_interactions, 6, 3),
}
AUDITED = {
    "32 Dense layers": thirty_two_layers,
    "grouped convolution": grouped_convolution,
    "LSTM with recurrent dropout": dropping_lstm,
    "MobileNetV2, 32 x 32": functools.partial(application, "MobileNetV2"),
    "ResNet50, 32 x 32": functools.partial(application, "ResNet50"),
    "EfficientNetB0, 32 x 32": functools.partial(application, "EfficientNetB0"),
}
# The name of each row, and what makes its call.
ROWS: dict[str, Callable[[], Callable]] = {
    **{
        f"{name}, {mode}, {number:,} points": functools.partial(task, name, mode, number)
        for name, modes, number in (
            ("order 2", ("eager",), FEW),
            ("order 2", ("eager", "graph", "XLA"), MANY),
            ("order 3", ("XLA",), MANY),
            ("order 4", ("eager", "graph", "XLA"), MANY),
            ("Laplacian, d = 3", ("eager", "graph", "XLA"), MANY),
            ("Laplacian, d = 10", ("eager", "graph", "XLA"), MANY),
            ("Laplacian, d = 100", ("eager",), FEW),
            ("Hessian, d = 3", ("eager", "graph", "XLA"), MANY),
            ("Hessian, d = 10", ("XLA",), MANY),
        )
        for mode in modes
    },
    **{
        f"second derivative along a direction, {name}": functools.partial(
            second_directional, *row
        )
        for name, row in LAYERS.items()
    },
    **{
        f"audit, {name}": functools.partial(fresh_audit, build)
        for name, build in AUDITED.items()
    },
}


def worker() -> None:
    """Answers each line: the name of a row makes its call, an empty line repeats it."""
    warnings.simplefilter("ignore")
    print(_IMPORT, flush=True)
    call = None
    for line in sys.stdin:
        if name := line.rstrip("\n"):
            call = ROWS[name]()
        before = time.process_time()
        call()
        print(time.process_time() - before, flush=True)


class Version:
    """A process with one of the two versions."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(folder), "--worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env=environment,
        )  # fmt: skip
        self.seconds_of_import = float(self._process.stdout.readline())

    def seconds(self, line: str = "") -> float:
        """Returns the CPU time of a call, which a line has made before."""
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def table_row(name: str, pairs: list[tuple[float, float]]) -> str:
    """Returns a row of the table from the seconds of both versions in each round."""
    ratio = statistics.median(new / old for new, old in pairs)
    medians = (statistics.median(times) for times in zip(*pairs))
    return " | ".join(
        [f"| {name}", *(f"{1e3 * time:,.1f}" for time in medians), f"{ratio:.2f} |"]
    )


def compare(folder: Path, names: list[str], rounds: int) -> None:
    """Prints the rows of this version and the one in a folder."""
    print("| call | this version, ms | older, ms | ratio |\n| --- | --- | --- | --- |")
    for version in (ROOT, folder):
        # As pip does when it installs a package.
        compileall.compile_dir(version / "keras_smooth", quiet=1)
    starts = STARTS if rounds > 1 else 1
    imports = []
    for number in range(starts):
        versions = [Version(ROOT), Version(folder)]
        imports.append(tuple(version.seconds_of_import for version in versions))
        if number < starts - 1:
            for version in versions:
                version.close()
    print(table_row("import keras_smooth", imports), flush=True)
    for name in names:
        first = tuple(version.seconds(name) for version in versions)
        pairs = [tuple(v.seconds() for v in versions) for _ in range(rounds)]
        print(table_row(f"{name}, first call", [first]))
        print(table_row(name, pairs), flush=True)
    for version in versions:
        version.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="A checkout of the older version.")
    parser.add_argument("--rows", nargs="+", default=[""], help="Parts of names of rows.")
    parser.add_argument("--short", action="store_true", help="One round.")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker()
    else:
        chosen = [name for name in ROWS if any(text in name for text in options.rows)]
        compare(options.folder.resolve(), chosen, SHORT_ROUNDS if options.short else ROUNDS)
