"""The program of a fit: objective and minimizer, compiled once and kept with the model.

A loss or an objective may read anything from Python, and an attribute of a layer may change. So
it is traced in every fit, and compiled again if the trace has changed. A program that XLA cannot
compile runs without XLA.
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
from keras_smooth.lbfgs.objective.exact_losses import compile_signature
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
# XLA raises these errors if it cannot compile. They may also occur without XLA, for other reasons.
_REFUSALS = (
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.UnimplementedError,
)


class ScaledData(NamedTuple):
    """The data of the minimizer of a program.

    Args:
        rows: The data of `FitProblem`.
        scale: Loss and gradient are divided by this number, `()`.
    """

    rows: Any
    scale: tf.Tensor


class Program:
    """The objective of a model and its minimizer.

    Args:
        model: Built model. It must be compiled if `terms` is None.
        terms: The user's objective, or None for the loss of the model.
        key: Method of the minimizer, its number of pairs, whether XLA compiles it, and whether
            the data is in memory.

    Attributes:
        objective: The objective.
        residuals: Its residuals, or None if the method does not need them.
        read_variables: The variables that the loss reads and does not change, in a fixed order.
        uses_xla: Whether XLA compiles it. Becomes False if XLA cannot compile it.
    """

    def __init__(
        self, model: keras.Model, terms: Terms | None, key: tuple[str, int, bool, bool]
    ):
        self.method, self.num_correction_pairs, jit_compile, in_memory = key
        self.objective = Objective(model, terms)
        self._traced: Any = traced(self.objective.value_and_gradient)
        needs_residuals = MINIMIZERS[self.method].NEEDS_RESIDUALS
        self.residuals = (
            Residuals(self.objective, self._traced) if needs_residuals else None
        )
        self._has_terms = terms is not None
        self.read_variables: list[tf.Variable] = []
        self._fingerprints: dict[str, str] = {}
        self._replicas = replicas_of(model)
        self._compiles_evaluation_only = self._replicas is not None or not in_memory
        # XLA takes ten times as long as TensorFlow to decompose a matrix, and compiles anew for
        # each number of rows.
        self.uses_xla = jit_compile and not needs_residuals and supports_xla(model)
        self._minimizer = self._make_minimizer(self.uses_xla)

    def is_current(self, data: Any) -> bool:
        """Returns whether the compiled objective is still that of model and loss.

        The objective is traced in a graph: in eager mode, a tf.function of the user would keep the
        values of the weights. The trace also has the variables that the objective reads.

        Args:
            data: The data of the fit, or a few rows of it.
        """
        data_form = str(micro_batches.shapes_and_dtypes(data))
        is_new = data_form not in self._fingerprints
        evaluate = self.objective.value_and_gradient
        function: Any = self._traced if is_new else traced(evaluate)
        trace = function.get_concrete_function(self.objective.position, data)
        latest = fingerprint(trace)
        if self._fingerprints.get(data_form, latest) != latest:
            return False
        definition = trace.graph.as_graph_def()
        if self.uses_xla and has_growing_list(definition):
            self._minimizer, self.uses_xla = self._make_minimizer(jit_compile=False), False
            _warn("it ignores a tf.TensorArray with dynamic_size=True")
        evaluate_once: Callable = functools.partial(function, self.objective.position)
        if self._has_terms:
            evaluate_once = self.objective.terms
        elif is_new and definition.library.function:
            # If a tf.function of the user keeps the weights of its first trace, a second trace fails.
            evaluate_once = functools.partial(traced(evaluate), self.objective.position)
        self._record_read_variables(trace, lambda: evaluate_once(data))
        # After an error, the next fit raises it again.
        self._fingerprints[data_form] = latest
        return True

    def _record_read_variables(self, trace: Any, evaluate: Callable[[], Any]) -> None:
        """Records the variables that a trace reads, in the order in which it reads them.

        Variables that an evaluation changes, such as the state of a generator, are left out.
        """
        # TensorFlow keeps variables in a set, whose order differs from process to process.
        positions = {id(tensor): i for i, tensor in enumerate(trace.captured_inputs)}
        variables = sorted(trace.variables, key=lambda v: positions[id(v.handle)])
        before = [digest([variable]) for variable in variables]
        evaluate()
        self.read_variables = [v for v, old in zip(variables, before) if digest([v]) == old]

    def minimize(self, name: str, *arguments: Any) -> Any:
        """Calls a method of `Minimizer`; without XLA once XLA could not compile one."""
        try:
            return getattr(self._minimizer, name)(*arguments)
        except _REFUSALS as error:
            if not self.uses_xla:
                raise
            without_xla = self._make_minimizer(jit_compile=False)
            result = getattr(without_xla, name)(*arguments)
            _warn(error.message.splitlines()[0][:160])
        self._minimizer, self.uses_xla = without_xla, False
        return result

    def _make_minimizer(self, jit_compile: bool) -> Minimizer:
        if self.residuals is None:
            function: Any = self._value_and_gradient(jit_compile)
        else:
            function = self._least_squares(self.residuals)
        # A program of XLA can contain neither a dataset nor a sum over devices. With one of them,
        # XLA compiles one evaluation only, and the loop around it is a graph.
        compiles_all = jit_compile and not self._compiles_evaluation_only
        return Minimizer(function, self.method, self.num_correction_pairs, compiles_all)

    def _value_and_gradient(self, jit_compile: bool) -> Callable:
        """Returns a function of position and `ScaledData`: value and gradient over all rows."""
        objective, function = self.objective, self._traced
        if self._compiles_evaluation_only:
            compiled = traced(objective.value_and_gradient, jit_compile=jit_compile)

            def function(position: tf.Tensor, data: tuple) -> Any:
                # A program of XLA cannot read a variable on another device.
                others = [tf.convert_to_tensor(v.value) for v in objective.others]
                return compiled(position, data, others)

        rows = self._replicas or micro_batches
        evaluate_all_rows = functools.partial(rows.evaluate_all_rows, function)

        def scaled(position: tf.Tensor, data: ScaledData) -> tuple:
            return tuple(v / data.scale for v in evaluate_all_rows(position, data.rows))

        return scaled

    def _least_squares(self, residuals: Residuals) -> LeastSquares:
        """Returns functions of `ScaledData`; squares of residuals are divided by the scale."""

        def value_and_gradient(position: tf.Tensor, data: ScaledData) -> tuple:
            return tuple(v / data.scale for v in self._traced(position, data.rows.rest))

        def value(position: tf.Tensor, data: ScaledData) -> tf.Tensor:
            values = residuals.values(position, data.rows.rest)
            return tf.reduce_sum(values**2) / data.scale

        def linearized(position: tf.Tensor, rows: tuple, data: ScaledData) -> tuple:
            terms = residuals.layout(data.rows.rest).terms
            values_and_jacobian = residuals.linearized(position, rows, terms)
            return tuple(values / data.scale**0.5 for values in values_and_jacobian)

        return LeastSquares(
            value_and_gradient,
            value,
            lambda size, seed, data: residuals.draw(data.rows.rest, size, seed),
            lambda position, rows, data: residuals.values(position, rows) / data.scale**0.5,
            linearized,
        )


def program_of(
    request: Request, model: keras.Model, data: TrainingData, sample: Any, outputs: Any
) -> Program:
    """Returns the program of a fit, which is made anew if the model has changed.

    Args:
        request: The request of the fit.
        model: The user's model or its copy.
        data: The data of the fit.
        sample: A few rows of the data, since a dataset may not fit into memory.
        outputs: The outputs of the model for these rows; not used for an objective.
    """
    terms, method = request.terms, request.method
    num_weights = sum(math.prod(variable.shape) for variable in request.trained)
    num_given, dtype = request.num_correction_pairs, request.compute_dtype
    num_pairs = num_pairs_of(method, num_given, data.num_rows, num_weights, dtype)
    key = method, num_pairs, request.jit_compile, data.in_memory
    # The layers of a model may change without a call of `compile`.
    signature = [*compile_signature(request.model), *map(id, model.trainable_variables)]
    if terms is not None:
        signature += terms.signature
    # The minimizer uses the same trace if it evaluates all rows at once.
    at_once = data.in_memory and request.batch_size is None
    traced_data = data.parts if at_once else sample
    programs = _programs.setdefault(model, {})
    known_signature, program = programs.get(key, (None, None))
    if known_signature != signature or not program.is_current(traced_data):
        # A loss that calls Python differs in each trace. XLA does not try to compile it again.
        uses_xla = program.uses_xla if known_signature == signature else request.jit_compile
        program = Program(model, terms, (method, num_pairs, uses_xla, data.in_memory))
        if terms is None:
            program.objective.build(sample, outputs)
        programs[key] = (signature, program)
        program.is_current(traced_data)
    return program


def has_growing_list(definition: Any) -> bool:
    """Returns whether the definition of a graph has a growing `tf.TensorArray`.

    XLA ignores values that are written beyond the end of such an array, without an error, so that
    the result would be wrong.
    """
    bodies = (body.node_def for body in definition.library.function)
    nodes = itertools.chain(definition.node, *bodies)
    grows = "resize_if_index_out_of_bounds"
    return any(n.op == "TensorListResize" or n.attr[grows].b for n in nodes)


def supports_xla(model: keras.Model) -> bool:
    """Returns False, with a warning, if `supports_jit` of a layer is False."""
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
