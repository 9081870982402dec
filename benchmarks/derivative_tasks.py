"""What benchmarks/derivatives.py measures: the net, the jet engine, tapes and peers.

Every function takes points `(batch, d)` and returns the derivatives of an 8 x 20 tanh net
as its own package's user writes them.
"""

import importlib.util
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import keras_smooth
from keras_smooth.differentiation.evaluation import in_batches

HIDDEN = 8
ORDERS = {f"order {order}": order for order in (2, 3, 4)}
# How many points of each dimension go through the net at a time, about 10,000 / d.
DIMS = {1: 10_000, 3: 2_500, 10: 1_000, 100: 100}
# The dimension of each task's points.
TASKS = (
    dict.fromkeys(ORDERS, 1)
    | {f"Laplacian, d = {dim}": dim for dim in DIMS}
    | {f"Hessian, d = {dim}": dim for dim in DIMS}
)
MODES = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "XLA": lambda f: tf.function(f, autograph=False, jit_compile=True),
}


def network(task: str, dtype: str) -> keras.Model:
    """Returns the net of a task, always from the same start."""
    return network_of(TASKS[task], dtype)


def network_of(dim: int, dtype: str, outputs: int = 1) -> keras.Model:
    """Returns the net for points of a dimension, always from the same start."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((dim,), dtype=dtype)])
    for _ in range(HIDDEN):
        model.add(keras_smooth.Dense(20, "tanh", dtype=dtype))
    model.add(keras_smooth.Dense(outputs, dtype=dtype))
    return model


def part_size(task: str, number: int) -> int:
    """Returns how many points go through the net at a time."""
    return min(DIMS[TASKS[task]], number)


def operator(name: str, model: keras.Model, dim: int, order: int, engine: str) -> Callable:
    """Returns an operator of keras_smooth with one of its engines, of points."""
    arguments = {
        "derivatives": (order,),
        "directional": ([1.0] * dim, order),
    }.get(name, ())
    return lambda x: getattr(keras_smooth, name)(model, x, *arguments, engine=engine)


def jet(task: str, model: keras.Model, batch_size: int | None) -> Callable:
    """Returns what a user of keras_smooth writes."""
    options = {"engine": "jet", "batch_size": batch_size}
    if task.startswith("Laplacian"):
        return lambda x: keras_smooth.laplacian(model, x, **options)
    order = ORDERS.get(task, 2)
    return lambda x: keras_smooth.derivatives(model, x, order, **options)


def tapes(task: str, model: keras.Model, batch_size: int | None) -> Callable:
    """Returns what a user of TensorFlow writes, in the same loop over batches."""

    def once(x):
        if task.startswith("Laplacian"):
            return _taped_laplacian(model, x)
        if task.startswith("Hessian"):
            return _taped_hessian(model, x)
        return tuple(_taped(model, x, ORDERS[task]))

    return lambda x: in_batches(once, (x,), batch_size)


def _taped(model: Callable, x: tf.Tensor, order: int) -> list:
    if order == 0:
        return [model(x)]
    with tf.GradientTape() as tape:
        tape.watch(x)
        entries = _taped(model, x, order - 1)
    return [*entries, tape.gradient(entries[-1], x)]


def _taped_laplacian(model: Callable, x: tf.Tensor) -> tf.Tensor:
    """One reverse sweep over the gradient for each axis."""
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = model(x)
        slopes = tf.unstack(inner.gradient(y, x), axis=1)
    return tf.add_n([outer.gradient(s, x)[:, i] for i, s in enumerate(slopes)])


def _taped_hessian(model: Callable, x: tf.Tensor) -> tuple:
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = model(x)
        slope = inner.gradient(y, x)
    return y, slope, outer.batch_jacobian(slope, x)


def peers(task: str, model: keras.Model, size: int) -> dict[str, tuple]:
    """Returns for each peer that is installed its function and how it takes an array."""
    weights = [[np.asarray(w) for w in layer.weights] for layer in model.layers]
    makers = {"jax": _jax, "torch": _torch}
    found = {}
    for package, make in makers.items():
        if importlib.util.find_spec(package):
            found |= make(task, weights, size)
    return found


def _jax(task: str, weights: list, size: int) -> dict[str, tuple]:
    import jax.experimental.jet
    import jax.numpy

    jax.config.update("jax_enable_x64", True)
    weights = [[jax.numpy.asarray(w) for w in pair] for pair in weights]

    def net(x):
        for kernel, bias in weights[:-1]:
            x = jax.numpy.tanh(x @ kernel + bias)
        return (x @ weights[-1][0] + weights[-1][1])[0]

    def nested(x):
        functions = [lambda s: net(s[None])]
        for _ in range(ORDERS[task]):
            functions.append(jax.grad(functions[-1]))
        return [function(x[0]) for function in functions]

    def laplacian(x):
        return jax.numpy.trace(jax.hessian(net)(x))

    def taylor(x):
        series = [jax.numpy.ones_like(x), *[jax.numpy.zeros_like(x)] * (ORDERS[task] - 1)]
        y, series = jax.experimental.jet.jet(net, (x,), (series,))
        return [y, *series]

    if task.startswith("Laplacian"):
        sides = {"JAX, trace of jax.hessian": jax.vmap(laplacian)}
    else:
        sides = {"JAX, nested jax.grad": jax.vmap(nested)}
        sides["JAX, jax.experimental.jet"] = jax.vmap(taylor)
        if ORDERS[task] == 2:
            sides["JAX, Taylor by hand"] = lambda x: _by_hand(weights, x)

    def in_parts(side):
        return jax.jit(lambda x: jax.lax.map(side, x.reshape(-1, size, x.shape[1])))

    return {name: (in_parts(side), jax.numpy.asarray) for name, side in sides.items()}


def _by_hand(weights: list, x) -> tuple:
    """y, y', y'' of the net, written out: tanh' = 1 - tanh^2."""
    import jax.numpy

    first, second = jax.numpy.ones_like(x), jax.numpy.zeros_like(x)
    for kernel, bias in weights[:-1]:
        x, first, second = (
            jax.numpy.tanh(x @ kernel + bias),
            first @ kernel,
            second @ kernel,
        )
        slope = 1.0 - x * x
        second = slope * (second - 2.0 * x * first * first)
        first = slope * first
    kernel, bias = weights[-1]
    return x @ kernel + bias, first @ kernel, second @ kernel


def _torch(task: str, weights: list, size: int) -> dict[str, tuple]:
    import torch

    torch.set_num_threads(1)
    weights = [[torch.tensor(w) for w in pair] for pair in weights]

    def net(x):
        for kernel, bias in weights[:-1]:
            x = torch.tanh(x @ kernel + bias)
        return (x @ weights[-1][0] + weights[-1][1])[0]

    def nested(x):
        functions = [lambda s: net(s[None])]
        for _ in range(ORDERS[task]):
            functions.append(torch.func.grad(functions[-1]))
        return [function(x[0]) for function in functions]

    def laplacian(x):
        return torch.trace(torch.func.hessian(net)(x))

    trace = torch.func.vmap(laplacian)
    derivatives = torch.func.vmap(nested)
    wanted = trace if task.startswith("Laplacian") else lambda x: derivatives(x)[-1]

    def in_parts(x):
        return torch.cat([wanted(part) for part in torch.split(x, size)])

    return {"torch.func": (in_parts, torch.tensor)}
