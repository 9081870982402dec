"""Derivatives by the jet engine against nested tapes, and against peers where installed.

    python benchmarks/derivatives.py [--short] [--dtype float64] [--points 10000]

Each row is a task on an 8x20 tanh net. A ratio is the median over rounds in which both
sides run one after the other in this process, of CPU time: below 1 the jet engine is
faster. The peers
are what a user would write with `tf.GradientTape`, and with the extra `bench` JAX and
PyTorch. 1,000,000 points go in batches of 10,000 on both sides.
"""

import argparse
import importlib.util
import resource
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import keras_smooth

BATCH = 10_000


def network(dim: int, dtype: str) -> keras.Model:
    """Returns the net that every row differentiates."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((dim,), dtype=dtype)])
    for _ in range(8):
        model.add(keras_smooth.Dense(20, "tanh", dtype=dtype))
    model.add(keras_smooth.Dense(1, dtype=dtype))
    return model


def nested(model: Callable, x: tf.Tensor, order: int) -> list:
    """Returns y, y', ... for one input, as a user writes it."""
    if order == 0:
        return [model(x)]
    with tf.GradientTape() as tape:
        tape.watch(x)
        entries = nested(model, x, order - 1)
    return [*entries, tape.gradient(entries[-1], x)]


def nested_laplacian(model: Callable, x: tf.Tensor) -> tf.Tensor:
    """Returns the Laplacian by one reverse sweep for each axis, as a user writes it."""
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = model(x)
        slopes = tf.unstack(inner.gradient(y, x), axis=1)
    return tf.add_n([outer.gradient(s, x)[:, i] for i, s in enumerate(slopes)])


def nested_hessian(model: Callable, x: tf.Tensor) -> tf.Tensor:
    """Returns the Hessian by `batch_jacobian` of the gradient, as a user writes it."""
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = model(x)
        slope = inner.gradient(y, x)
    return outer.batch_jacobian(slope, x)


# Name: dimension, what keras_smooth calls, what the user writes. Both take (model, x).
TASKS = {
    f"derivatives, order {order}": (
        1,
        lambda model, x, order=order: keras_smooth.derivatives(
            model, x, order, engine="jet"
        ),
        lambda model, x, order=order: nested(model, x, order),
    )
    for order in (2, 3, 4)
}
for _dim in (1, 3, 10, 100):
    TASKS[f"Laplacian, d = {_dim}"] = (_dim, keras_smooth.laplacian, nested_laplacian)
    TASKS[f"Hessian, d = {_dim}"] = (
        _dim,
        lambda model, x: keras_smooth.hessian(model, x, engine="jet"),
        nested_hessian,
    )
MODES = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "XLA": lambda f: tf.function(f, autograph=False, jit_compile=True),
}


def compiled(function: Callable, model: keras.Model, mode: str) -> Callable:
    """Returns a function of points that computes at most BATCH of them at a time."""
    part = MODES[mode](lambda x: function(model, x))

    def run(x):
        results = [part(x[i : i + BATCH]) for i in range(0, x.shape[0], BATCH)]
        flat = [keras.tree.flatten(result) for result in results]
        return [tf.concat(parts, axis=0)[-1:].numpy() for parts in zip(*flat)]

    return run


def seconds(function: Callable) -> float:
    """Returns the CPU time of a call: other programs on the machine do not count."""
    start = time.process_time()
    function()
    return time.process_time() - start


def compare(first: Callable, second: Callable, rounds: int) -> tuple[float, float, float]:
    """Returns the median seconds of both and the median of their ratios."""
    first(), second()
    pairs = [(seconds(first), seconds(second)) for _ in range(rounds)]
    medians = (statistics.median(times) for times in zip(*pairs))
    return *medians, statistics.median(a / b for a, b in pairs)


def agreement(ours: Callable, theirs: Callable, x: tf.Tensor) -> float:
    """Returns the largest difference of the last entries, relative to the largest."""
    a, b = (np.asarray(run(x)[-1]).ravel() for run in (ours, theirs))
    return float(np.abs(a - b).max() / np.abs(b).max())


def peak_mb() -> float:
    """Returns the largest resident memory of the process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def points(dim: int, number: int, dtype: str) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1.0, 1.0, (number, dim)).astype(dtype)


def row(name: str, mode: str, number: int, dtype: str, rounds: int) -> list[str]:
    """Returns one row of the table of nested tapes."""
    dim, ours, theirs = TASKS[name]
    model, x = network(dim, dtype), tf.constant(points(dim, number, dtype))
    sides = [compiled(function, model, mode) for function in (ours, theirs)]
    error = agreement(*sides, x[: min(number, 100)])
    fast, slow, ratio = compare(*(lambda run=run: run(x) for run in sides), rounds)
    numbers = [f"{value / number * 1e9:.0f}" for value in (fast, slow)]
    cells = [name, mode, f"{number:,}", dtype, *numbers, f"{ratio:.2f}"]
    return [*cells, f"{error:.0e}", f"{peak_mb():.0f}"]


def jax_sides(model: keras.Model, order: int, dtype: str) -> dict[str, Callable]:
    """Returns the same derivatives of the same net in JAX, nested and by its jet."""
    import jax
    import jax.numpy as jnp
    from jax.experimental import jet

    jax.config.update("jax_enable_x64", dtype == "float64")
    weights = [[np.asarray(w) for w in layer.weights] for layer in model.layers]

    def net(x):
        y = x[None]
        for kernel, bias in weights[:-1]:
            y = jnp.tanh(y @ kernel + bias)
        return (y @ weights[-1][0] + weights[-1][1])[0]

    def nested_jax(x):
        functions = [net]
        for _ in range(order):
            functions.append(jax.grad(functions[-1]))
        return [function(x) for function in functions]

    def taylor(x):
        y, series = jet.jet(net, (x,), ([1.0, *[0.0] * (order - 1)],))
        return [y, *series]

    sides = {"JAX nested": nested_jax, "JAX jet": taylor}
    return {name: jax.jit(jax.vmap(f)) for name, f in sides.items()}


def torch_sides(model: keras.Model, order: int, dtype: str) -> dict[str, Callable]:
    """Returns the same derivatives of the same net in PyTorch, by nested torch.func."""
    import torch

    weights = [
        [torch.tensor(np.asarray(w)) for w in layer.weights] for layer in model.layers
    ]

    def net(x):
        y = x[None]
        for kernel, bias in weights[:-1]:
            y = torch.tanh(y @ kernel + bias)
        return (y @ weights[-1][0] + weights[-1][1])[0]

    functions = [net]
    for _ in range(order):
        functions.append(torch.func.grad(functions[-1]))
    mapped = [torch.func.vmap(function) for function in functions]
    return {"torch.func": lambda x: [f(torch.from_numpy(x)) for f in mapped]}


def peer_rows(order: int, number: int, dtype: str, rounds: int) -> list[list[str]]:
    """Returns the rows against the peers that are installed."""
    model, x = network(1, dtype), points(1, number, dtype)
    ours = compiled(TASKS[f"derivatives, order {order}"][1], model, "XLA")
    sides = {}
    for package, make in (("jax", jax_sides), ("torch", torch_sides)):
        if importlib.util.find_spec(package):
            sides |= make(model, order, dtype)
    found = []
    for name, function in sides.items():
        argument = x[:, 0]

        def run(function=function, argument=argument):
            return [
                np.asarray(function(argument[i : i + BATCH])[-1][-1])
                for i in range(0, number, BATCH)
            ]

        fast, slow, ratio = compare(lambda: ours(tf.constant(x)), run, rounds)
        numbers = [f"{value / number * 1e9:.0f}" for value in (fast, slow)]
        cells = [f"derivatives, order {order}", name, f"{number:,}", dtype]
        found.append([*cells, *numbers, f"{ratio:.2f}"])
    return found


def table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a few rows, few points")
    parser.add_argument("--points", type=int, nargs="+", default=[100, 10_000])
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"])
    parser.add_argument("--modes", nargs="+", default=list(MODES))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    if arguments.short:
        arguments.points, arguments.dtype, arguments.rounds = [100], ["float64"], 3
        arguments.modes = ["graph"]
        arguments.tasks = ["derivatives, order 2", "Laplacian, d = 3", "Hessian, d = 3"]
    columns = ["task", "mode", "points", "dtype", "jet, ns a point", "tapes", "ratio"]
    columns += ["difference", "peak MB so far"]
    print(table(columns, []), end="")
    for dtype in arguments.dtype:
        for number in arguments.points:
            for name in arguments.tasks:
                for mode in arguments.modes:
                    cells = row(name, mode, number, dtype, arguments.rounds)
                    print("| " + " | ".join(cells) + " |", flush=True)
    if arguments.short:
        return
    peers = [
        cells
        for dtype in arguments.dtype
        for number in arguments.points
        for order in (2, 3, 4)
        for cells in peer_rows(order, number, dtype, arguments.rounds)
    ]
    columns = ["task", "peer", "points", "dtype", "jet, ns a point", "peer's", "ratio"]
    print(table(columns, peers))


if __name__ == "__main__":
    main()
