"""What the first call of fit_lbfgs is made of, and what else could be compiled.

    python benchmarks/first_call.py [--pairs 300]

The article's net, float64, one process on one core, CPU time. Each part is traced and compiled
by itself: the evaluation, the line search of a function that costs nothing, the memory, the whole
loop without an evaluation, and all together. Then two other ways: a loop that is a graph of
TensorFlow around a compiled evaluation, and the evaluation compiled by JAX, as for SciPy. Prints
a table in Markdown.
"""

import argparse
import functools
import os
import time
from collections.abc import Callable

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import article_net
import tensorflow as tf

from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.lbfgs.minimizers import Minimizer, inverse_hessian, line_search

# Iterations to a training MSE of 1e-9, about.
SOME = 120


def seconds(function: Callable, *arguments) -> tuple:
    """Returns what a call took, and what it returned."""
    before = time.process_time()
    returned = function(*arguments)
    return time.process_time() - before, returned


def compiled(function: Callable, *arguments) -> float:
    """Returns the seconds of tracing, compiling and a call."""
    program = tf.function(function, jit_compile=True, autograph=False)
    return seconds(program, *arguments)[0]


def free(position: tf.Tensor, _=None) -> tuple:
    """Value and gradient of a function that costs nothing."""
    return line_search.dot(position, position), 2.0 * position


def minimizer_of(evaluate: Callable, position, data, pairs: int, whole: bool) -> tuple:
    """Returns the seconds of the first call, of 120 iterations, and of one with full memory."""
    minimizer = Minimizer(evaluate, "lbfgs", pairs, whole)
    first, state = seconds(minimizer.begin, position, data)
    more, state = seconds(minimizer.advance, state, 1, 0.0, data)
    some, state = seconds(minimizer.advance, state, SOME - 1, 0.0, data)
    state = minimizer.advance(state, pairs, 0.0, data)
    found = []
    for _ in range(5):
        took, state = seconds(minimizer.advance, state, 20, 0.0, data)
        found.append(took / 20)
    return first + more, some, min(found)


def show(
    name: str, first: float, some: float | None = None, one: float | None = None
) -> None:
    """Prints a row."""
    cells = [name, f"{first:.2f}", "" if some is None else f"{some:.2f}"]
    cells.append("" if one is None else f"{1e3 * one:.1f}")
    print("| " + " | ".join(cells) + " |", flush=True)


def of_jax(model, objective, data) -> float:
    """Returns the seconds in which JAX compiles the same evaluation."""
    import jax
    import peers_jax

    x, y, _ = data.rest
    function = jax.jit(jax.value_and_grad(peers_jax.loss_of(model)))
    arguments = [part.numpy() for part in (objective.position, x, y)]
    return seconds(lambda: function(*arguments)[1].block_until_ready())[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=300)
    pairs = parser.parse_args().pairs
    model, objective, data = article_net.article()
    evaluate = article_net.evaluation(model, objective)
    position = objective.position
    one = tf.ones((), position.dtype)
    memory = inverse_hessian.empty(pairs, position)
    compiled(lambda x: tf.linalg.matvec(x, x[0]), memory.inverse)  # wakes the compiler
    columns = f"| part | first call, s | {SOME} iterations, s | ms with full memory |"
    print(columns + "\n|" + " --- |" * 4, flush=True)
    show("evaluation", compiled(evaluate, position, data))

    def search(position, value, gradient):
        start = line_search.Evaluation(position, value, gradient)
        slope = -line_search.dot(gradient, gradient)
        return line_search.search(free, start, -gradient, slope, value)

    show("line search", compiled(search, position, one, position))

    def filled(count):
        # A count that is an argument is a constant to the compiler, which leaves out the rest.
        return memory._replace(num_pairs=tf.cast(count, tf.int32))

    def store(count, vector):
        return inverse_hessian.store(filled(count), vector, vector, vector, count)

    def direction(count, vector, along):
        latest = filled(count)._replace(along=along)
        return inverse_hessian.times_gradient(latest, vector)

    show("storing a pair", compiled(store, one, position))
    show("direction", compiled(direction, one, position, memory.along))
    show("loop without evaluation", *minimizer_of(free, position, (), pairs, True)[:1])
    show("all", *minimizer_of(evaluate, position, data, pairs, True))
    alone = tf.function(objective.value_and_gradient, jit_compile=True, autograph=False)
    around = functools.partial(micro_batches.evaluate_all_rows, alone)
    show("graph around an evaluation", *minimizer_of(around, position, data, pairs, False))
    try:
        show("evaluation by JAX", of_jax(model, objective, data))
    except ImportError as error:
        print(f"Without JAX: {error}")


if __name__ == "__main__":
    main()
