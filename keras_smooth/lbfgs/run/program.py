"""One compiled minimizer for a model and the form of its data, kept with the model.

A loss of `compile` is compiled until the model is compiled again, as for `fit`. An objective
is a function of the user, which may read anything from Python: it is traced for every
fit, and compiled again if the trace has changed. What XLA cannot compile runs without it.
"""

import functools
import itertools
import math
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_smooth.lbfgs.data import micro_batches
from keras_smooth.lbfgs.data.training_data import TrainingData
from keras_smooth.lbfgs.minimizers import MINIMIZERS, LeastSquares, Minimizer, num_pairs_of
from keras_smooth.lbfgs.objective.exact_losses import compilation
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.lbfgs.objective.residuals import Residuals
from keras_smooth.lbfgs.objective.sharding import replicas_of
from keras_smooth.lbfgs.objective.terms import Terms
from keras_smooth.lbfgs.request import Request
from keras_smooth.models import graph
from keras_smooth.models.identity import digest, fingerprint
from keras_smooth.models.tracing import traced
from keras_smooth.presentation.warn import warn

_programs = weakref.WeakKeyDictionary()
# XLA refuses with these errors. An error that occurs without XLA as well is not a refusal.
_REFUSALS = (
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.UnimplementedError,
)


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
        key: Method and memory of the minimizer, whether XLA compiles it, and whether the data are
            tensors, or else a dataset.

    Attributes:
        objective: What is minimized.
        residuals: What it squares, or None if that is not needed.
        read: The variables that the loss reads and that are not trained.
    """

    def __init__(
        self, model: keras.Model, terms: Terms | None, key: tuple[str, int, bool, bool]
    ):
        self.method, self.num_correction_pairs, jit_compile, in_memory = key
        self.objective = Objective(model, terms)
        of_residuals = MINIMIZERS[self.method].NEEDS_RESIDUALS
        self.residuals = Residuals(self.objective) if of_residuals else None
        self._traced: Any = traced(self.objective.value_and_gradient)
        self._has_terms = terms is not None
        self.read: list[tf.Variable] = []
        self._fingerprints: dict[str, str] = {}
        self._replicas = replicas_of(model)
        self._is_evaluated_alone = self._replicas is not None or not in_memory
        # XLA takes ten times as long as TensorFlow to decompose a matrix, and compiles anew for
        # each number of rows.
        self._jit_compile = jit_compile and not of_residuals and supports_xla(model)
        self._minimizer = self._made(self._jit_compile)

    def computes(self, data: Any) -> bool:
        """Returns whether an objective still computes what it is compiled to.

        Args:
            data: What it is evaluated on.
        """
        if not self._has_terms:
            return True
        form = str(micro_batches.form(data))
        is_new = form not in self._fingerprints
        again: Any = self._traced if is_new else traced(self.objective.value_and_gradient)
        trace = again.get_concrete_function(self.objective.position, data)
        now = fingerprint(trace)
        is_same = self._fingerprints.setdefault(form, now) == now
        if is_same:
            self._note(trace, lambda: self.objective.terms(data))
        return is_same

    def examine(self, sample: Any) -> None:
        """Evaluates a few rows in a graph, and notes which variables the loss reads.

        Not in eager mode: a tf.function of the user would keep the values of the weights.
        """
        arguments = self.objective.position, sample
        trace = self._traced.get_concrete_function(*arguments)
        self._note(trace, lambda: self._traced(*arguments))

    def _note(self, trace: Any, evaluate: Callable[[], Any]) -> None:
        """Notes which variables a trace reads, in the order in which it reads them.

        Without those that an evaluation changes, as the state of random numbers may be.
        """
        # TensorFlow keeps them in a set, whose order differs from process to process.
        places = {id(tensor): place for place, tensor in enumerate(trace.captured_inputs)}
        variables = sorted(trace.variables, key=lambda v: places[id(v.handle)])
        before = [digest([variable]) for variable in variables]
        evaluate()
        self.read = [v for v, was in zip(variables, before) if digest([v]) == was]

    def minimize(self, name: str, *arguments: Any) -> Any:
        """Calls a method of `Minimizer`, without XLA from the first time that XLA refuses."""
        try:
            return getattr(self._minimizer, name)(*arguments)
        except _REFUSALS as error:
            if not self._jit_compile:
                raise
            slower = self._made(jit_compile=False)
            result = getattr(slower, name)(*arguments)
            _warn(error.message.splitlines()[0][:160])
        self._minimizer, self._jit_compile = slower, False
        return result

    def _made(self, jit_compile: bool) -> Minimizer:
        if self.residuals is None:
            function: Any = self._of_rows(jit_compile)
        else:
            function = self._least_squares(self.residuals)
        # A dataset cannot be inside a program of XLA, and neither can a sum over devices: there
        # one evaluation is such a program, and the loop around it is a graph.
        whole = jit_compile and not self._is_evaluated_alone
        return Minimizer(function, self.method, self.num_correction_pairs, whole)

    def _of_rows(self, jit_compile: bool) -> Callable:
        """Returns value and gradient over all rows as a function of position and `ScaledData`."""
        objective, alone = self.objective, self._is_evaluated_alone
        is_traced = self._has_terms and not alone
        function: Any = self._traced if is_traced else objective.value_and_gradient
        if jit_compile:
            function = refusing_lists_that_grow(function)
        if alone:
            compiled = traced(function, jit_compile=jit_compile)

            def function(position: tf.Tensor, data: tuple) -> Any:
                # A program of XLA cannot read a variable that is on another device.
                others = [tf.convert_to_tensor(v.value) for v in objective.others]
                return compiled(position, data, others)

        place = self._replicas or micro_batches
        over_all_rows = functools.partial(place.over_all_rows, function)

        def scaled(position: tf.Tensor, data: ScaledData) -> tuple:
            return tuple(v / data.scale for v in over_all_rows(position, data.rows))

        return scaled

    def _least_squares(self, residuals: Residuals) -> LeastSquares:
        """Returns functions of `ScaledData`, of which squares of residuals are in units."""

        def value_and_gradient(position: tf.Tensor, data: ScaledData) -> tuple:
            return tuple(v / data.scale for v in self._traced(position, data.rows.rest))

        def value(position: tf.Tensor, data: ScaledData) -> tf.Tensor:
            values = residuals.values(position, data.rows.rest)
            return tf.reduce_sum(values**2) / data.scale

        def linearized(position: tf.Tensor, rows: tuple, data: ScaledData) -> tuple:
            terms = residuals.layout(data.rows.rest).terms
            both = residuals.linearized(position, rows, terms)
            return tuple(values / data.scale**0.5 for values in both)

        return LeastSquares(
            value_and_gradient,
            value,
            lambda size, seed, data: residuals.draw(data.rows.rest, size, seed),
            lambda position, rows, data: residuals.values(position, rows) / data.scale**0.5,
            linearized,
        )


def program_of(request: Request, model: keras.Model, data: TrainingData) -> Program:
    """Returns the program of a fit, made anew when its model was changed.

    Args:
        request: Of the fit, with a memory for its size if the request has none.
        model: The user's, or its copy.
        data: What the objective is evaluated on.
    """
    terms, method = request.terms, request.method
    num_weights = sum(math.prod(variable.shape) for variable in request.trained)
    given, dtype = request.num_correction_pairs, request.compute_dtype
    num_pairs = num_pairs_of(method, given, data.num_rows, num_weights, dtype)
    key = method, num_pairs, request.jit_compile, data.in_memory
    # Layers may have changed between two calls of `compile`.
    signature = [*compilation(request.model), *map(id, model.trainable_variables)]
    if terms is not None:
        signature += terms.signature
    programs = _programs.setdefault(model, {})
    known, program = programs.get(key, (None, None))
    if known != signature or not program.computes(data.parts):
        program = Program(model, terms, key)
        programs[key] = (signature, program)
        program.computes(data.parts)
    return program


def refusing_lists_that_grow(function: Callable) -> Callable:
    """Returns a function that refuses XLA if a `tf.TensorArray` in it has a dynamic size.

    XLA ignores what is written behind the end of such an array, without an error, so that the
    numbers would be wrong.

    Args:
        function: Function of tensors that returns tensors, called while it is traced.
    """

    @functools.wraps(function)
    def checked(*args: Any) -> Any:
        values = function(*args)
        graph = tf.nest.flatten(values)[0].graph.as_graph_def()
        bodies = (body.node_def for body in graph.library.function)
        nodes = itertools.chain(graph.node, *bodies)
        grows = "resize_if_index_out_of_bounds"
        if any(n.op == "TensorListResize" or n.attr[grows].b for n in nodes):
            raise tf.errors.InvalidArgumentError(
                None, None, "it ignores a tf.TensorArray with dynamic_size=True"
            )
        return values

    return checked


def supports_xla(model: keras.Model) -> bool:
    """Returns whether no layer says that XLA cannot compile it; warns if one does."""
    for path, layer in graph.walk(model):
        if not getattr(layer, "supports_jit", True):
            _warn(f"the layer {path} of class {type(layer).__name__} does not support it")
            return False
    return True


def _warn(reason: str) -> None:
    warn(
        f"XLA cannot compile this model ({reason}): fit_lbfgs runs without it, which is slower. "
        "Pass jit_compile=False to ask for that, or leave out the layer."
    )
