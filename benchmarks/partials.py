"""What partial derivatives of an equation cost: by name, a call a term, and nested tapes.

    python benchmarks/partials.py [--rounds 11] [--iterations | --engines]

An 8 x 20 tanh net in float64 under XLA on one core. `partials` and `biharmonic` are ours; beside
them what was written before there were these, and nested tapes. Medians of CPU time of rounds in
which all run one after the other, and the median of the ratios within rounds; before that a
comparison of the numbers. With `--iterations` instead a loss of the residual of an equation and its
gradient by the weights, as an iteration of L-BFGS computes them. With `--engines` instead jets against tapes for what equations need,
from which the costs of sweeps in `differentiation/engines.py` are.
"""

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy as np
import tensorflow as tf
from derivative_tasks import MODES, network_of

import keras_smooth

# What `--engines` compares: the columns and the derivatives by them.
EQUATIONS = {
    "gradient": ("xt", ["x", "t"]),
    "heat": ("xt", ["t", "x", "xx"]),
    "wave": ("xt", ["tt", "xx"]),
    "all of order 2, d = 2": ("xt", ["x", "t", "xx", "xt", "tt"]),
    "all of order 2, d = 3": (
        "xyt",
        ["x", "y", "t", "xx", "xy", "xt", "yy", "yt", "tt"],
    ),
    "Navier-Stokes": ("xyt", ["t", "x", "y", "xx", "yy"]),
    "Korteweg-de Vries": ("xt", ["t", "x", "xxx"]),
    "Kuramoto-Sivashinsky": ("xt", ["t", "x", "xx", "xxxx"]),
    "stream function": ("xt", ["x", "t", "xxx", "xxt", "xtt", "ttt"]),
}
TERMS = ["t", "x", "xx", "xt", "xxxx"]


def terms(model: Callable) -> dict[str, Callable]:
    """Returns u, u_t, u_x, u_xx, u_xt and u_xxxx of two columns, x and t."""

    def by_operators(x):
        y, dy, d2y = keras_smooth.derivatives(model, x, 2)
        u_xxxx = keras_smooth.directional(model, x, [1.0, 0.0], 4)[4]
        return y, dy[..., 1], dy[..., 0], d2y[..., 0, 0], d2y[..., 0, 1], u_xxxx

    def by_tapes(x):
        with tf.GradientTape() as fourth:
            fourth.watch(x)
            with tf.GradientTape() as third:
                third.watch(x)
                with tf.GradientTape() as second:
                    second.watch(x)
                    with tf.GradientTape() as first:
                        first.watch(x)
                        y = model(x)
                    dy = first.gradient(y, x)
                    u_x = dy[:, :1]
                d2y = second.gradient(u_x, x)
                u_xx = d2y[:, :1]
            u_xxx = third.gradient(u_xx, x)[:, :1]
        return y, dy[:, 1:], u_x, u_xx, d2y[:, 1:], fourth.gradient(u_xxx, x)[:, :1]

    return {
        "partials": lambda x: keras_smooth.partials(model, x, TERMS, names="xt"),
        "derivatives and directional": by_operators,
        "nested tapes": by_tapes,
    }


def korteweg_de_vries(model: Callable) -> dict[str, Callable]:
    """Returns the residual u_t + 6 u u_x + u_xxx of two columns, x and t."""

    def residual(u, u_t, u_x, u_xxx):
        return u_t + 6.0 * u * u_x + u_xxx

    def by_operators(x):
        u, u_x, _, u_xxx = keras_smooth.directional(model, x, [1.0, 0.0], 3)
        return residual(u, keras_smooth.directional(model, x, [0.0, 1.0])[1], u_x, u_xxx)

    def by_tapes(x):
        (u, *_, u_xxx), du = along_x_by_tapes(model, x, 3)
        return residual(u, du[:, 1:], du[:, :1], u_xxx)

    return {
        "partials": lambda x: residual(
            *keras_smooth.partials(model, x, ["t", "x", "xxx"], names="xt")
        ),
        "directional": by_operators,
        "nested tapes": by_tapes,
    }


def kuramoto_sivashinsky(model: Callable) -> dict[str, Callable]:
    """Returns the residual u_t + 5 u u_x + 0.5 u_xx + 0.005 u_xxxx of two columns, x and t."""

    def residual(u, u_t, u_x, u_xx, u_xxxx):
        return u_t + 5.0 * u * u_x + 0.5 * u_xx + 0.005 * u_xxxx

    def by_operators(x):
        u, u_x, u_xx, _, u_xxxx = keras_smooth.directional(model, x, [1.0, 0.0], 4)
        u_t = keras_smooth.directional(model, x, [0.0, 1.0])[1]
        return residual(u, u_t, u_x, u_xx, u_xxxx)

    def by_tapes(x):
        (u, u_x, u_xx, _, u_xxxx), du = along_x_by_tapes(model, x, 4)
        return residual(u, du[:, 1:], u_x, u_xx, u_xxxx)

    return {
        "partials": lambda x: residual(
            *keras_smooth.partials(model, x, ["t", "x", "xx", "xxxx"], names="xt")
        ),
        "directional": by_operators,
        "nested tapes": by_tapes,
    }


def along_x_by_tapes(model: Callable, x: tf.Tensor, order: int) -> tuple:
    """Returns u, u_x, u_xx, ... by the first column of x, and the gradient of u."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        if order == 1:
            entries, du = [model(x)], None
        else:
            entries, du = along_x_by_tapes(model, x, order - 1)
    slope = tape.gradient(entries[-1], x)
    return [*entries, slope[:, :1]], slope if du is None else du


# What the momentum of a flow needs of a stream function.
STREAM = ["x", "y", "xt", "yt", "xx", "xy", "yy", "xxx", "xxy", "xyy", "yyy"]


def stream_function(model: Callable) -> dict[str, Callable]:
    """Returns both residuals of Navier and Stokes of x, y and t; the net has psi and p."""

    def residuals(p_x, p_y, x, y, xt, yt, xx, xy, yy, xxx, xxy, xyy, yyy):
        u, v = y, -x
        first = yt + u * xy + v * yy + p_x - 0.01 * (xxy + yyy)
        second = -xt - u * xx - v * xy + p_y + 0.01 * (xxx + xyy)
        return tf.stack([first, second], axis=1)

    def by_partials(x):
        _, *values = keras_smooth.partials(model, x, STREAM, names="xyt")
        return residuals(values[0][:, 1], values[1][:, 1], *(each[:, 0] for each in values))

    def by_operators(x):
        _, *orders = keras_smooth.derivatives(model, x, 3)

        def entry(word, output):
            places = tuple("xyt".index(letter) for letter in word)
            return orders[len(word) - 1][(slice(None), output, *places)]

        return residuals(entry("x", 1), entry("y", 1), *(entry(word, 0) for word in STREAM))

    def by_tapes(x):
        with tf.GradientTape(persistent=True) as third:
            third.watch(x)
            with tf.GradientTape(persistent=True) as second:
                second.watch(x)
                with tf.GradientTape(persistent=True) as first:
                    first.watch(x)
                    y = model(x)
                    psi, p = y[:, 0], y[:, 1]
                by_x, by_y, _ = tf.unstack(first.gradient(psi, x), axis=1)
                p_x, p_y, _ = tf.unstack(first.gradient(p, x), axis=1)
            xx, xy, xt = tf.unstack(second.gradient(by_x, x), axis=1)
            _, yy, yt = tf.unstack(second.gradient(by_y, x), axis=1)
        xxx, xxy, _ = tf.unstack(third.gradient(xx, x), axis=1)
        _, xyy, _ = tf.unstack(third.gradient(xy, x), axis=1)
        yyy = third.gradient(yy, x)[:, 1]
        return residuals(p_x, p_y, by_x, by_y, xt, yt, xx, xy, yy, xxx, xxy, xyy, yyy)

    return {
        "partials": by_partials,
        "derivatives": by_operators,
        "nested tapes": by_tapes,
    }


# Equation, how many columns x has, and how many outputs the net.
ITERATIONS = {
    "Korteweg-de Vries": (korteweg_de_vries, 2, 1),
    "Kuramoto-Sivashinsky": (kuramoto_sivashinsky, 2, 1),
    "Navier-Stokes, stream function": (stream_function, 3, 2),
}


def iterations(make: Callable, model: keras.Model) -> dict[str, Callable]:
    """Returns the loss of residuals with its gradient by the weights."""

    variables = [variable.value for variable in model.trainable_variables]

    def of_loss(residual: Callable) -> Callable:
        def loss_and_gradient(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(residual(x) ** 2)
            # Tapes have none by the last bias, which no derivative has.
            return loss, tape.gradient(loss, variables, unconnected_gradients="zero")

        return loss_and_gradient

    return {name: of_loss(residual) for name, residual in make(model).items()}


def biharmonic(model: Callable) -> dict[str, Callable]:
    """Returns the biharmonic operator of five columns."""

    def by_lines(x):
        """A directional derivative a pair of axes, and one an axis."""
        axes = np.eye(5)
        total = 0.0
        for i in range(5):
            total += -keras_smooth.directional(model, x, axes[i], 4)[4] / 3
            for j in range(i):
                for sign in (1, -1):
                    line = axes[i] + sign * axes[j]
                    total += keras_smooth.directional(model, x, line, 4)[4] / 6
        return total

    def laplacian(function: Callable, x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = function(x)
            slopes = tf.unstack(inner.gradient(y, x), axis=1)
        rows = [outer.gradient(slope, x)[:, i] for i, slope in enumerate(slopes)]
        return tf.add_n(rows)[:, None]

    return {
        "biharmonic": lambda x: keras_smooth.biharmonic(model, x),
        "laplacian of laplacian": lambda x: keras_smooth.laplacian(
            lambda x: keras_smooth.laplacian(model, x), x
        ),
        "directional a term": by_lines,
        "nested tapes": lambda x: laplacian(lambda x: laplacian(model, x), x),
    }


def engines(model: Callable, names: str, which: list[str]) -> dict[str, Callable]:
    """Returns the same by jets and by tapes."""
    return {
        engine: lambda x, engine=engine: keras_smooth.partials(
            model, x, which, names=names, engine=engine
        )
        for engine in ("jet", "tape")
    }


def measured(functions: dict[str, Callable], x: tf.Tensor, rounds: int) -> dict:
    """Returns for each function the seconds of all rounds."""
    compiled = {name: MODES["XLA"](function) for name, function in functions.items()}
    values = {name: function(x) for name, function in compiled.items()}
    first = tf.nest.flatten(next(iter(values.values())))
    for others in values.values():
        for value, other in zip(first, tf.nest.flatten(others), strict=True):
            scale = np.abs(value).max()
            np.testing.assert_allclose(np.ravel(other), np.ravel(value), atol=1e-8 * scale)
    seconds = {name: [] for name in compiled}
    for _ in range(rounds):
        for name, function in compiled.items():
            start = time.process_time()
            tf.nest.map_structure(lambda y: y.numpy(), function(x))
            seconds[name].append(time.process_time() - start)
    return seconds


def report(title: str, seconds: dict[str, list[float]]) -> None:
    """Prints medians and ratios to the first."""
    ours = next(iter(seconds.values()))
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(ours, times))
        print(
            f"| {title} | {name} | {1e3 * statistics.median(times):.1f} | {ratio:.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--engines", action="store_true")
    parser.add_argument("--iterations", action="store_true")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    def points(dim: int) -> tf.Tensor:
        rng = np.random.default_rng(0)
        return tf.constant(rng.normal(size=(options.points, dim)))

    def run(title: str, make: Callable, dim: int, outputs: int = 1) -> None:
        functions = make(network_of(dim, "float64", outputs))
        report(title, measured(functions, points(dim), options.rounds))

    print("| what | by | ms | first / this |\n| --- | --- | --- | --- |")
    if options.engines:
        for title, (names, which) in EQUATIONS.items():
            run(title, lambda model: engines(model, names, which), len(names))  # noqa: B023
        return
    if options.iterations:
        for title, (make, *sizes) in ITERATIONS.items():
            run(title, functools.partial(iterations, make), *sizes)
        return
    run("u, u_t, u_x, u_xx, u_xt, u_xxxx", terms, 2)
    run("biharmonic, d = 5", biharmonic, 5)


if __name__ == "__main__":
    main()
