"""What a short, fixed set of calls costs, remembered by version.

    python benchmarks/track.py [--short] [--record benchmarks/track.jsonl] [--figure FILE]

Each number is a ratio of CPU times in one process on one core, so that records of different
machines can be compared: of a call of this package to a reference that is written here with
TensorFlow alone and does not change. A record is added to a file of JSON lines, with version,
commit and date of the package that is imported: with `PYTHONPATH` that of an older checkout. What
an older version does not have is null. The figure shows all records by the date of their commits.
"""

import argparse
import compileall
import datetime
import importlib.util
import json
import os
import platform
import resource
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

_BEFORE = time.process_time()
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

_LIBRARIES = time.process_time() - _BEFORE
# As pip does when it installs a package: a checkout may not have been compiled.
compileall.compile_dir(
    Path(importlib.util.find_spec("keras_smooth").origin).parent, quiet=1
)
_BEFORE = time.process_time()
import keras_smooth  # noqa: E402

_OWN = time.process_time() - _BEFORE

ROOT = Path(__file__).parents[1]
X = np.linspace(-2.0, 2.0, 100)[:, None]
Y = np.exp(-(X**2))
MEMORIES = ("lbfgs", "broyden", "bfgs")
# The measures, and what each is compared with.
TITLES = {
    "derivatives_eager": "y, y', y'' outside of tf.function / nested tapes",
    "derivatives_graph": "y, y', y'' in tf.function / nested tapes",
    "audit": "audit / y, y', y'' by nested tapes",
    "first_call": "first call of fit_lbfgs / compiling the loss",
    **{
        f"iteration_{name}": f"iteration, {name} / evaluation of the loss"
        for name in MEMORIES
    },
    "import": "import / import of TensorFlow and Keras",
    "memory": "peak memory / TensorFlow with the loss compiled",
}


class Clock(keras.callbacks.Callback):
    """Notes the CPU time whenever a fit calls its callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = [time.process_time()]

    def on_epoch_end(self, epoch, logs=None) -> None:
        self.seconds.append(time.process_time())


def net(layers: int = 2) -> keras.Model:
    """Returns a network in float64 with the same weights each time."""
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(20, "tanh", dtype="float64") for _ in range(layers)]
    last = keras.layers.Dense(1, dtype="float64")
    model = keras.Sequential([keras.Input((1,), dtype="float64"), *hidden, last])
    model.compile(loss="mse")
    return model


def seconds(function: Callable, repeats: int) -> float:
    """Returns the least CPU time of several calls; one before them is not counted."""
    function()
    spent = []
    for _ in range(repeats):
        before = time.process_time()
        function()
        spent.append(time.process_time() - before)
    return min(spent)


def by_tapes(model: keras.Model, x: tf.Tensor) -> tuple:
    """Returns y, y', y'' by TensorFlow alone."""
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = model(x)
        dy = inner.gradient(y, x)
    return y, dy, outer.gradient(dy, x)


def derivatives(repeats: int) -> dict[str, float]:
    """Returns the ratios of derivatives of eight layers, one call and many in a graph."""
    model, x = net(8 if repeats > 1 else 2), tf.constant(X)
    tapes = seconds(lambda: by_tapes(model, x), repeats)
    graph_of_tapes = tf.function(lambda x: by_tapes(model, x), autograph=False)
    graph = tf.function(lambda x: keras_smooth.derivatives(model, x), autograph=False)
    many = tf.constant(np.repeat(X, 100, axis=0))
    return {
        "derivatives_eager": seconds(lambda: keras_smooth.derivatives(model, X), repeats)
        / tapes,
        "derivatives_graph": seconds(lambda: graph(many), repeats)
        / seconds(lambda: graph_of_tapes(many), repeats),
        "audit": _or_none(
            lambda: (
                seconds(lambda: keras_smooth.audit(model, X), max(repeats // 4, 1)) / tapes
            )
        ),
    }


class Reference:
    """The loss of the network and its gradient, compiled by TensorFlow alone."""

    def __init__(self, repeats: int) -> None:
        model, x, y = net(), tf.constant(X), tf.constant(Y)

        def value_and_gradient() -> tuple:
            with tf.GradientTape() as tape:
                value = tf.reduce_mean(tf.square(model(x) - y))
            return value, tape.gradient(value, model.trainable_variables)

        wakes_compiler = tf.function(lambda x: tf.sin(x), jit_compile=True)
        wakes_compiler(x)
        compiled = tf.function(value_and_gradient, jit_compile=True, autograph=False)
        before = time.process_time()
        compiled()
        self.compiling = time.process_time() - before
        self.evaluation = seconds(lambda: [compiled() for _ in range(20)], repeats) / 20


def fit(method: str, repeats: int) -> tuple[float, float]:
    """Returns the CPU seconds of the first call, and of an iteration with a full memory."""
    model, clock = net(), Clock()
    keras_smooth.fit_lbfgs(
        model, X, Y, method=method, num_correction_pairs=20, epochs=20 * (repeats + 1),
        steps_per_execution=20, callbacks=[clock], verbose=0,
    )  # fmt: skip
    chunks = np.diff(clock.seconds)
    return float(chunks[0]), float(min(chunks[1:], default=np.nan)) / 20


def fits(reference: Reference, repeats: int) -> dict[str, float | None]:
    """Returns the ratios of fits, one by each kind of memory."""
    ratios: dict[str, float | None] = {}
    for method in MEMORIES:
        spent = _or_none(lambda method=method: fit(method, repeats))
        first, iteration = spent or (None, None)
        if method == MEMORIES[0]:
            ratios["first_call"] = first and first / reference.compiling
        ratios[f"iteration_{method}"] = iteration and iteration / reference.evaluation
    return ratios


def _or_none(function: Callable):
    """Returns what a function returns, None where a version does not have what it calls."""
    try:
        return function()
    except (AttributeError, TypeError, ValueError, ImportError):
        return None


def peak() -> int:
    """Returns the largest memory that the process has had, in the system's units."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measures(repeats: int) -> dict[str, float | None]:
    """Returns the ratios of this version."""
    reference = Reference(repeats)
    before = peak()
    ratios = {**derivatives(repeats), **fits(reference, repeats)}
    ratios |= {"import": _OWN / _LIBRARIES, "memory": peak() / before}
    return {name: ratios[name] and float(f"{ratios[name]:.3g}") for name in TITLES}


def record(repeats: int) -> dict:
    """Returns the measures with what they are of."""
    folder = Path(keras_smooth.__file__).parent
    told = _or_none(
        lambda: subprocess.check_output(
            ["git", "-C", folder, "log", "-1", "--format=%h %cI"], text=True
        ).split()
    )
    commit, date = told or (
        None,
        datetime.datetime.now().astimezone().isoformat("T", "seconds"),
    )
    return {
        "version": keras_smooth.__version__,
        "commit": commit,
        "date": date,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "ratios": measures(repeats),
    }


def draw(records: list[dict], path: Path) -> None:
    """Draws each measure over the commits, in the order of their dates."""
    records = sorted(records, key=lambda row: datetime.datetime.fromisoformat(row["date"]))
    figure = Figure(figsize=(11, 8), layout="constrained")
    labels = [f"{row['version']}\n{row['date'][5:10]}" for row in records]
    for axis, (name, title) in zip(figure.subplots(3, 3).flat, TITLES.items()):
        ratios = [row["ratios"].get(name) for row in records]
        # A version without the measure leaves a gap.
        axis.plot([np.nan if ratio is None else ratio for ratio in ratios], "o-")
        axis.set_title(title.replace(" / ", "\n/ "), fontsize="small")
        axis.set_xticks(range(len(labels)), labels, rotation=90, fontsize="x-small")
        axis.set_ylim(0.0, 1.1 * max(filter(None, ratios)))
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", type=Path, default=ROOT / "benchmarks" / "track.jsonl")
    parser.add_argument(
        "--figure", type=Path, default=ROOT / "docs" / "images" / "track.png"
    )
    parser.add_argument(
        "--short", action="store_true", help="one repeat of each, small networks"
    )
    parser.add_argument("--draw", action="store_true", help="only draw what is recorded")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if not arguments.draw:
        with arguments.record.open("a") as file:
            file.write(json.dumps(record(1 if arguments.short else 20)) + "\n")
    draw(
        [json.loads(row) for row in arguments.record.read_text().splitlines()],
        arguments.figure,
    )


if __name__ == "__main__":
    main()
