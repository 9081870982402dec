"""One compiled minimizer for a model and its data's form, for as long as the model lives."""

import functools
import weakref
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_smooth.lbfgs import micro_batches, replicas
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
    several = replicas.of(model)

    function, whole = objective.value_and_gradient, jit_compile
    if several or not in_memory:
        # Neither a dataset nor a sum over devices can be inside a program of XLA: one
        # evaluation is such a program, and the loop around it is a graph.
        function, whole = _one_evaluation(objective, jit_compile), False
    if several:
        evaluate = functools.partial(several.evaluate, function)
    else:
        evaluate = functools.partial(micro_batches.evaluate, function)
    return Minimizer(evaluate, method, num_correction_pairs, whole)


def _one_evaluation(objective: Objective, jit_compile: bool) -> Callable:
    compiled = tf.function(
        objective.value_and_gradient, jit_compile=jit_compile, autograph=False
    )

    def evaluate(position, data):
        # A program of XLA cannot read a variable that is on another device.
        others = [tf.convert_to_tensor(v.value) for v in objective.others]
        return compiled(position, data, others)

    return evaluate
