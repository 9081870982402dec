"""One compiled minimizer for a model and its data's form, for as long as the model lives.

A loss of `compile` is compiled until the model is compiled again, as for `fit`. An objective
is a function of the user's own, which may read anything from Python: it is traced for every
fit, and compiled again where the trace is another.
"""

import functools
import weakref
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.lbfgs import micro_batches
from keras_smooth.lbfgs.data import Data, ObjectivePoints
from keras_smooth.lbfgs.fingerprints import fingerprint
from keras_smooth.lbfgs.minimizers import Minimizer
from keras_smooth.lbfgs.objective import Objective
from keras_smooth.lbfgs.options import Options
from keras_smooth.lbfgs.replicas import replicas_of
from keras_smooth.lbfgs.terms import Terms
from keras_smooth.lbfgs.without_xla import MinimizerWithoutXla, supports_xla
from keras_smooth.models.tracing import traced

_programs = weakref.WeakKeyDictionary()


class Program:
    """The objective of a model and its minimizer.

    Args:
        model: Built model, compiled where there are no terms.
        terms: What is minimized in place of the loss of the model, or None.
        options: Of the fit.
        in_memory: Whether the data are tensors, or else a dataset.

    Attributes:
        objective: What is minimized.
        minimizer: What minimizes it.
        read: The variables that an objective reads and that are not trained.
    """

    def __init__(
        self, model: keras.Model, terms: Terms | None, options: Options, in_memory: bool
    ):
        self.objective = Objective(model, terms)
        self._traced: Any = traced(self.objective.value_and_gradient)
        self._has_terms = terms is not None
        self.read: list[tf.Variable] = []
        self._fingerprints: dict[str, str] = {}
        self._options = options
        self._replicas = replicas_of(model)
        self._in_memory = in_memory
        jit_compile = options.jit_compile and supports_xla(model)
        self.minimizer = MinimizerWithoutXla(self._minimizer, jit_compile)

    def computes(self, data: Any) -> bool:
        """Returns whether an objective still computes what it is compiled to.

        Args:
            data: What it is evaluated on.
        """
        if not self._has_terms:
            return True
        form = str(tf.nest.map_structure(_spec, data))
        is_new = form not in self._fingerprints
        again: Any = self._traced if is_new else traced(self.objective.value_and_gradient)
        trace = again.get_concrete_function(self.objective.position, data)
        self.read = list(trace.variables)
        now = fingerprint(trace)
        return self._fingerprints.setdefault(form, now) == now

    def _minimizer(self, jit_compile: bool) -> Minimizer:
        function, whole = self.objective.value_and_gradient, jit_compile
        if self._has_terms:
            function = self._traced
        if self._replicas or not self._in_memory:
            # Neither a dataset nor a sum over devices can be inside a program of XLA: one
            # evaluation is such a program, and the loop around it is a graph.
            function, whole = _one_evaluation(self.objective, jit_compile), False
        place = self._replicas or micro_batches
        return Minimizer(
            functools.partial(place.over_all_rows, function),
            self._options.method,
            self._options.num_correction_pairs,
            whole,
        )


def program_of(
    model: keras.Model,
    compilation: list,
    terms: Terms | None,
    options: Options,
    data: Data | ObjectivePoints,
) -> Program:
    """Returns the program of a model, made anew when the model was changed.

    Args:
        model: Built model.
        compilation: What tells one call of `compile` from the next: layers may have
            changed in between.
        terms: As for `Program`.
        options: As for `Program`.
        data: The data of the fit.
    """
    key = (*options.identity.values(), options.jit_compile, data.in_memory)
    signature = [*compilation, *map(id, model.trainable_variables)]
    if terms is not None:
        signature += terms.signature
    programs = _programs.setdefault(model, {})
    found, program = programs.get(key, (None, None))
    if found != signature or not program.computes(data.parts):
        program = Program(model, terms, options, data.in_memory)
        programs[key] = (signature, program)
        program.computes(data.parts)
    return program


def _one_evaluation(objective: Objective, jit_compile: bool) -> Callable:
    compiled = traced(objective.value_and_gradient, jit_compile=jit_compile)

    def evaluate(position, data):
        # A program of XLA cannot read a variable that is on another device.
        others = [tf.convert_to_tensor(v.value) for v in objective.others]
        return compiled(position, data, others)

    return evaluate


def _spec(leaf: Any) -> Any:
    return None if leaf is None else tf.TensorSpec(leaf.shape, leaf.dtype)
