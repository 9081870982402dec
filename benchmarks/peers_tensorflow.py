"""fit_lbfgs and the minimizers of TFP, for benchmarks/lbfgs.py."""

import functools
from collections.abc import Callable

import tensorflow as tf
from peers_trace import CHUNK, Trace

from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.lbfgs.minimizers import num_pairs_of
from keras_smooth.lbfgs.run.program import Program, ScaledData

ROWS = 1000
# An iteration of Gauss-Newton costs some tens of evaluations.
CHUNKS = {"gauss_newton": 1}


def keras_system(method: str) -> Callable:
    """Returns what builds a method of fit_lbfgs, without callbacks."""
    return functools.partial(_system, method)


def _system(method: str, model, num_pairs: int | None) -> Callable:
    num_pairs = num_pairs_of(method, num_pairs, ROWS, model.count_params(), "float64")
    program = Program(model, None, (method, num_pairs, True, True))
    chunk = CHUNKS.get(method, CHUNK)

    def run(x, y, position, trace: Trace) -> None:
        parts = (tf.constant(x), tf.constant(y), None)
        rows = micro_batches.as_one_batch(parts, "float64")
        data = ScaledData(rows, tf.constant(1.0, "float64"))
        if program.residuals is not None:
            program.residuals.examine(tf.constant(position), rows.rest)
        state = program.minimize("begin", tf.constant(position), data)
        while not trace.is_over:
            before = int(state.num_iterations), int(state.num_objective_evaluations)
            state = program.minimize("advance", state, chunk, 0.0, data)
            trace.iterations += int(state.num_iterations) - before[0]
            trace.evaluations += int(state.num_objective_evaluations) - before[1]
            trace.note(float(state.objective_value), state.position.numpy)
            if bool(state.failed):
                if int(state.num_iterations) == 0:
                    return
                state = program.minimize("begin", state.position, data)

    return run
