"""One compiled minimizer for a model and its data's form, for as long as the model lives."""

import functools
import weakref

import keras
import tensorflow as tf

from keras_smooth.lbfgs import replicas, rows
from keras_smooth.lbfgs.minimizers import Minimizer
from keras_smooth.lbfgs.objective import Objective, loss_weights

_programs = weakref.WeakKeyDictionary()


def compiled(
    model: keras.Model,
    method: str,
    num_correction_pairs: int,
    jit_compile: bool,
    in_memory: bool,
) -> tuple[Objective, Minimizer]:
    """Returns the objective and the minimizer, made anew when the model was changed.

    Args:
        model: Built and compiled model.
        method: As for `Minimizer`.
        num_correction_pairs: As for `Minimizer`.
        jit_compile: Whether to compile with XLA.
        in_memory: Whether the data are tensors, or else a dataset.
    """
    key = (method, num_correction_pairs, jit_compile, in_memory)
    objective = Objective(model)
    # A new compilation has a new optimizer: layers may have changed since.
    signature = [
        model.optimizer, model.loss, loss_weights(model), *map(id, objective.variables)
    ]  # fmt: skip
    found = _programs.setdefault(model, {}).get(key)
    if found is None or found[0] != signature:
        minimizer = _minimizer(model, objective, *key)
        found = _programs[model][key] = (signature, objective, minimizer)
    return found[1:]


def _minimizer(
    model, objective, method, num_correction_pairs, jit_compile, in_memory
) -> Minimizer:
    strategy = replicas.strategy_of(model)
    function, whole = objective.value_and_gradient, jit_compile
    if strategy or not in_memory:
        # Neither a dataset nor a sum over devices can be inside a program of XLA: one
        # evaluation is such a program, and the loop around it is a graph.
        function = tf.function(function, jit_compile=jit_compile, autograph=False)
        whole = False
    if strategy:
        evaluate = functools.partial(replicas.evaluate, strategy, function)
    else:
        evaluate = functools.partial(rows.evaluate, function)
    return Minimizer(evaluate, method, num_correction_pairs, whole)
