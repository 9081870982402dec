"""The memory of a minimizer when new points are drawn: which parts to keep.

    python benchmarks/resample.py [--seeds 2] [--draws 8] [--every 250] --out resample.md

Burgers' equation as in examples/burgers.py, with a smaller net and 500 points that are drawn by
residual. `Resample` keeps a matrix and resets pairs; this script does the rest with the parts of
the minimizer. Of 100 pairs:

- "kept": the memory as it is, with the factors of its self-scaling;
- "kept, plain": its pairs with factors of 1;
- "newest 20 pairs, kept": those alone, with their factors;
- "scale only": an empty memory, whose first step is the identity's factor.
"""

import argparse
import inspect
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_smooth
from keras_smooth.lbfgs.data.data_reader import ReadOptions, read_points
from keras_smooth.lbfgs.minimizers import inverse_hessian
from keras_smooth.lbfgs.minimizers.inverse_hessian import Memory
from keras_smooth.lbfgs.minimizers.quasi_newton import State
from keras_smooth.lbfgs.request import Request
from keras_smooth.lbfgs.run.fit_problem import FitProblem
from keras_smooth.lbfgs.run.optimization_run import OptimizationRun

HEAD = """# The memory of the minimizer when new points are drawn

    {command}

Relative L2 errors of Burgers' equation after the same number of iterations. A quasi-Newton method stores
information about the Hessian as pairs of steps and gradient changes, or in a dense matrix, which may be kept
when `keras_smooth.Resample` draws new points. The docstring of `benchmarks/resample.py` explains the rows.
`keras_smooth.Resample` keeps a matrix, but no pairs.

| memory | errors, one for each seed |
| --- | --- |
"""
VISCOSITY = 0.01 / np.pi
NUM_POINTS = 500


def residual(model: keras.Model, points: np.ndarray) -> tf.Tensor:
    u, u_x, u_xx = keras_smooth.directional(model, points, [1.0, 0.0], 2)
    _, u_t = keras_smooth.directional(model, points, [0.0, 1.0])
    return (u_t + u * u_x - VISCOSITY * u_xx) / ops.sqrt(1.0 + 0.01 * u_x**2)


def logarithm(model: keras.Model, points: np.ndarray) -> tf.Tensor:
    return ops.log(ops.mean(residual(model, points) ** 2))


def net(width: int = 20) -> keras.Model:
    inputs = keras.Input((2,), dtype="float64")
    x, t = inputs[:, :1], inputs[:, 1:]
    hidden = 2.0 * inputs - 1.0
    for _ in range(3):
        hidden = keras_smooth.Dense(width, "tanh", dtype="float64")(hidden)
    odd = keras_smooth.Dense(1, dtype="float64")(hidden) * x / ops.sqrt(x**2 + 1e-4)
    return keras.Model(inputs, t * (1.0 - x) * odd - (1.0 - t) * ops.sin(np.pi * x))


def exact(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    nodes, weights = np.polynomial.hermite.hermgauss(100)
    start = np.pi * (x[..., None] - np.sqrt(4.0 * VISCOSITY * t[..., None]) * nodes)
    weights = weights * np.exp(-np.cos(start) / (2.0 * np.pi * VISCOSITY))
    return -np.sum(weights * np.sin(start), axis=-1) / np.sum(weights, axis=-1)


def plain(memory: Memory) -> Memory:
    products = tf.linalg.diag_part(memory.inverse)
    return memory._replace(diagonal=tf.math.divide_no_nan(tf.ones_like(products), products))


def newest(memory: Memory, count: int = 20) -> Memory:
    """The newest pairs alone, with their factors."""
    size, last = memory.diagonal.shape[0], int(memory.num_pairs)
    slots = [number % size for number in range(max(last - count, 0), last)]
    gradient = tf.zeros_like(memory.pairs[0])
    kept = inverse_hessian.empty(size, gradient)
    for slot in slots:
        step, change = memory.pairs[2 * slot], memory.pairs[2 * slot + 1]
        gradient += change
        kept = inverse_hessian.store(kept, step, change, gradient, tf.ones_like(change[0]))
    factors = tf.gather(memory.diagonal, slots)
    return kept._replace(diagonal=tf.pad(factors, [[0, size - len(slots)]]))


def scale_alone(memory: Memory) -> tf.Tensor:
    size, last = memory.diagonal.shape[0], int(memory.num_pairs)
    oldest = last % size if last >= size else 0
    return memory.diagonal[oldest] / memory.products[oldest, oldest]


# Method, and what is kept of its memory.
KEEP = {
    "pairs, reset": ("lbfgs", None),
    "pairs, kept": ("lbfgs", lambda memory: memory),
    "pairs, kept, plain": ("lbfgs", plain),
    "newest 20 pairs, kept": ("lbfgs", newest),
    "pairs, scale only": ("lbfgs", scale_alone),
    "Broyden's matrix, reset": ("broyden", None),
    "Broyden's matrix, kept": ("broyden", lambda memory: memory),
    "BFGS' matrix, reset": ("bfgs", None),
    "BFGS' matrix, kept": ("bfgs", lambda memory: memory),
}


def move(descent: OptimizationRun, minimization: FitProblem, keep: Callable | None) -> None:
    """Takes the new data of a minimization into a descent, with some memory of the old."""
    memory = descent.state.memory
    descent.continue_on_new_points()
    if keep is None:
        descent.restart_at(descent.best.position)
    elif isinstance(memory, Memory):
        descent.state = with_memory(descent.state, keep(memory))


def with_memory(state: State, memory: Memory | tf.Tensor) -> State:
    """Returns a state that has just begun, with pairs, or with the scale of its first step."""
    if not isinstance(memory, Memory):
        return state._replace(length=memory)
    memory = inverse_hessian.with_gradient(memory, state.objective_gradient)
    direction = -inverse_hessian.times_gradient(memory, state.objective_gradient)
    slope = tf.tensordot(direction, state.objective_gradient, 1)
    if slope >= 0.0:
        return state
    return state._replace(
        memory=memory,
        direction=direction,
        slope=slope,
        length=tf.ones_like(slope),
        is_newton=tf.constant(True),
    )


def error(name: str, model: keras.Model, seed: int, draws: int, every: int):
    """Returns the relative L2 error after so many draws."""
    method, keep = KEEP[name]
    generator = np.random.default_rng(seed)
    first = generator.uniform(size=(NUM_POINTS, 2))
    arguments = dict(
        objective=logarithm, method=method, num_correction_pairs=100, epochs=draws * every,
        tolerance=0.0,
    )  # fmt: skip
    parameters = inspect.signature(keras_smooth.fit_lbfgs).parameters.values()
    defaults = {each.name: each.default for each in parameters}
    request = Request(**{**defaults, **arguments, "model": model, "x": first})
    minimization = FitProblem(request, request.read()[0])
    start = minimization.start()
    descent = OptimizationRun(minimization, start)
    descent.advance(every)
    for number in range(1, draws):
        pool = generator.uniform(size=(20 * NUM_POINTS, 2))
        chosen = keras_smooth.choose_by_residual(
            pool, residual(model, pool), NUM_POINTS, generator
        )
        minimization.replace_points(read_points(chosen, ReadOptions("float64")))
        move(descent, minimization, keep)
        descent.advance((number + 1) * every)
    x, t = np.meshgrid(np.linspace(0.0, 1.0, 129), np.linspace(0.0, 1.0, 101))
    found = np.reshape(model(np.stack([x.ravel(), t.ravel()], axis=1)), x.shape)
    return np.linalg.norm(found - exact(x, t)) / np.linalg.norm(exact(x, t))


def page(rows: list[str], command: str) -> str:
    return HEAD.format(command=command) + "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--every", type=int, default=250)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    model, rows = net(), []
    starts = []
    for seed in range(arguments.seeds):
        keras.utils.set_random_seed(seed)
        starts.append(net().get_weights())
    for name in KEEP:
        errors = []
        for seed, start in enumerate(starts):
            model.set_weights(start)
            errors.append(error(name, model, seed, arguments.draws, arguments.every))
        cells = ", ".join(f"{value:.1e}" for value in errors)
        rows.append(f"| {name} | {cells} |")
        print(rows[-1], flush=True)
    command = (
        f"python benchmarks/resample.py --seeds {arguments.seeds} "
        f"--draws {arguments.draws} --every {arguments.every} --out benchmarks/resample.md"
    )
    arguments.out.write_text(page(rows, command))


if __name__ == "__main__":
    main()
