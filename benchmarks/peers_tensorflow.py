"""fit_lbfgs and the minimizers of TFP, for benchmarks/lbfgs.py."""

import functools
from collections.abc import Callable

import tensorflow as tf
from peers_trace import CHUNK, Trace

from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.lbfgs.minimizers import Minimizer
from keras_smooth.lbfgs.objective.objective import Objective


def keras_system(method: str) -> Callable:
    """Returns what builds a method of fit_lbfgs, without callbacks."""
    return functools.partial(_system, method)


def _system(method: str, model, num_pairs: int) -> Callable:
    evaluate = functools.partial(
        micro_batches.evaluate_all_rows, Objective(model).value_and_gradient
    )
    minimizer = Minimizer(evaluate, method, num_pairs)

    def run(x, y, position, trace: Trace) -> None:
        parts = (tf.constant(x), tf.constant(y), None)
        data = micro_batches.as_one_batch(parts, "float64")
        state = minimizer.begin(tf.constant(position), data)
        while not trace.is_over:
            before = int(state.num_iterations), int(state.num_objective_evaluations)
            state = minimizer.advance(state, CHUNK, 0.0, data)
            trace.iterations += int(state.num_iterations) - before[0]
            trace.evaluations += int(state.num_objective_evaluations) - before[1]
            trace.note(float(state.objective_value), state.position.numpy)
            if bool(state.failed):
                if int(state.num_iterations) == 0:
                    return
                state = minimizer.begin(state.position, data)

    return run
