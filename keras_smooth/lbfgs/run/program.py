"""One compiled minimizer for a model and the form of its data, kept with the model.

A loss of `compile` is compiled until the model is compiled again, as for `fit`. An objective
is a function of the user, which may read anything from Python: it is traced for every
fit, and compiled again if the trace has changed.
"""

import functools
import math
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.lbfgs.data.training_data import TrainingData
from keras_smooth.lbfgs.minimizers import (
    LeastSquares,
    Minimizer,
    needs_residuals,
    num_pairs_of,
)
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.lbfgs.objective.replicas import replicas_of
from keras_smooth.lbfgs.objective.residuals import Residuals
from keras_smooth.lbfgs.objective.terms import Terms
from keras_smooth.lbfgs.request import Request
from keras_smooth.lbfgs.run.without_xla import (
    MinimizerWithoutXla,
    refusing_lists_that_grow,
    supports_xla,
)
from keras_smooth.models.identity import fingerprint
from keras_smooth.models.tracing import traced

_programs = weakref.WeakKeyDictionary()


class ProgramKey(NamedTuple):
    """The key of a program among those of one model.

    Args:
        method: Of the minimizer.
        num_correction_pairs: Its memory.
        jit_compile: Whether XLA compiles it.
        in_memory: Whether the data are tensors, or else a dataset.
    """

    method: str
    num_correction_pairs: int
    jit_compile: bool
    in_memory: bool


def key_of(request: Request, data: TrainingData) -> ProgramKey:
    """Returns the key of a fit, with a memory for its size if the request has none."""
    num_weights = sum(math.prod(variable.shape) for variable in request.trained)
    num_pairs = num_pairs_of(
        request.method,
        request.num_correction_pairs,
        data.num_rows,
        num_weights,
        request.compute_dtype,
    )
    return ProgramKey(request.method, num_pairs, request.jit_compile, data.in_memory)


class ScaledData(NamedTuple):
    """What the minimizer of a program gets as data.

    Args:
        rows: The data.
        scale: What loss and gradient are divided by, `()`.
    """

    rows: Any
    scale: tf.Tensor


class Program:
    """The objective of a model and its minimizer.

    Args:
        model: Built model, compiled if there are no terms.
        terms: What is minimized in place of the loss of the model, or None.
        key: What the minimizer is.

    Attributes:
        objective: What is minimized.
        minimizer: What minimizes it.
        residuals: What it squares, or None if that is not needed.
        read: The variables that an objective reads and that are not trained.
    """

    def __init__(self, model: keras.Model, terms: Terms | None, key: ProgramKey):
        self.objective = Objective(model, terms)
        of_residuals = needs_residuals(key.method)
        self.residuals = Residuals(self.objective) if of_residuals else None
        self._traced: Any = traced(self.objective.value_and_gradient)
        self._has_terms = terms is not None
        self.read: list[tf.Variable] = []
        self._fingerprints: dict[str, str] = {}
        self._key = key
        self._replicas = replicas_of(model)
        jit_compile = key.jit_compile and supports_xla(model)
        self.minimizer: Any = MinimizerWithoutXla(self._minimizer, jit_compile)

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
        if self.residuals is not None:
            return self._least_squares(self.residuals, jit_compile)
        objective, whole = self.objective, jit_compile
        is_evaluated_alone = self._replicas or not self._key.in_memory
        is_traced = self._has_terms and not is_evaluated_alone
        function: Any = self._traced if is_traced else objective.value_and_gradient
        if jit_compile:
            function = refusing_lists_that_grow(function)
        if is_evaluated_alone:
            # Neither a dataset nor a sum over devices can be inside a program of XLA: one
            # evaluation is such a program, and the loop around it is a graph.
            compiled = traced(function, jit_compile=jit_compile)
            whole = False

            def function(position: tf.Tensor, data: tuple) -> Any:
                # A program of XLA cannot read a variable that is on another device.
                others = [tf.convert_to_tensor(v.value) for v in objective.others]
                return compiled(position, data, others)

        place = self._replicas or micro_batches
        over_all_rows = functools.partial(place.over_all_rows, function)

        def scaled(position: tf.Tensor, data: ScaledData) -> tuple:
            return tuple(v / data.scale for v in over_all_rows(position, data.rows))

        return Minimizer(scaled, self._key.method, self._key.num_correction_pairs, whole)

    def _least_squares(self, residuals: Residuals, jit_compile: bool) -> Minimizer:
        # XLA takes ten times as long as TensorFlow to decompose a matrix: it compiles evaluations,
        # and the loop around them is a graph.
        def compiled(function: Callable) -> Any:
            if jit_compile:
                function = refusing_lists_that_grow(function)
            return traced(function, jit_compile=jit_compile)

        value_and_gradient = compiled(self.objective.value_and_gradient)
        values, linearized = compiled(residuals.values), compiled(residuals.linearized)

        # The squares of residuals are in units of the scale.
        def scaled(computed: Any, data: ScaledData, power: float) -> Any:
            unit = data.scale**power
            return tf.nest.map_structure(lambda value: value / unit, computed)

        functions = LeastSquares(
            value_and_gradient=lambda position, data: scaled(
                value_and_gradient(position, data.rows.rest), data, 1.0
            ),
            value=lambda position, data: scaled(
                tf.reduce_sum(values(position, data.rows.rest) ** 2), data, 1.0
            ),
            draw=lambda size, seed, data: residuals.draw(data.rows.rest, size, seed),
            residuals=lambda position, rows, data: scaled(
                values(position, rows), data, 0.5
            ),
            linearized=lambda position, rows, data: scaled(
                linearized(position, rows, residuals.layout(data.rows.rest).terms),
                data,
                0.5,
            ),
        )
        return Minimizer(functions, self._key.method, self._key.num_correction_pairs, False)


def program_of(
    model: keras.Model,
    compilation: list,
    terms: Terms | None,
    key: ProgramKey,
    data: Any,
) -> Program:
    """Returns the program of a model, made anew when the model was changed.

    Args:
        model: Built model.
        compilation: What tells one call of `compile` from the next: layers may have
            changed in between.
        terms: As for `Program`.
        key: As for `Program`.
        data: What the objective is evaluated on.
    """
    signature = [*compilation, *map(id, model.trainable_variables)]
    if terms is not None:
        signature += terms.signature
    programs = _programs.setdefault(model, {})
    known, program = programs.get(key, (None, None))
    if known != signature or not program.computes(data):
        program = Program(model, terms, key)
        programs[key] = (signature, program)
        program.computes(data)
    return program


def _spec(leaf: Any) -> Any:
    return None if leaf is None else tf.TensorSpec(leaf.shape, leaf.dtype)
