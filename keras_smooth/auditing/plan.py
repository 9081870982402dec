"""The plan of an audit: findings from the table of operations, and what to examine at samples."""

import collections
import dataclasses
import enum
import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import registry
from keras_smooth.auditing.findings import Cause, Finding
from keras_smooth.auditing.traced import ModelTrace
from keras_smooth.models import calls, graph, references
from keras_smooth.operations import registered, rows, taped, walk
from keras_smooth.operations.program import Program
from keras_smooth.operations.signs import never_reaches_edge
from keras_smooth.operations.walk import State, Step

# Kinds of operations whose gradient may differ from the derivative of their function.
_DECLARING = frozenset(("IdentityN", "PreventGradient", "StopGradient"))
# Layers of Keras whose smoothness is examined at samples: they run a user's function, or have a
# kink at 0 only.
_DECIDED_BY_SAMPLES = (keras.layers.Lambda, keras.layers.UnitNormalization)
# Kinds of operations that may be between an input and the comparison that makes a mask of it.
_SHAPING = frozenset("Cast ExpandDims Identity Reshape Squeeze StridedSlice".split())
_EQUALITIES = frozenset(("Equal", "NotEqual"))


class Role(enum.Enum):
    """Why an operation is examined at samples."""

    # The operation has breakpoints, in a layer or function that is known not to be smooth.
    SETTLED = enum.auto()
    # The operation has breakpoints, in code of unknown smoothness.
    PIECES = enum.auto()
    # The operation is not defined everywhere.
    DOMAIN = enum.auto()
    # The operation is == or != in code of a user, for a mask or to guard single points.
    EQUALITY = enum.auto()


@dataclasses.dataclass(frozen=True)
class LayerStep(Step):
    """A step of the walk, with the layers that contain its operation.

    Args:
        layers: The layers, the outermost first.
        smoothness: k of the class C^k if the operation has breakpoints, else `math.inf`.
        role: Why the operation is examined at samples, or None.
    """

    layers: tuple[keras.Operation, ...]
    smoothness: float = math.inf
    role: Role | None = None


class Plan(walk.Walk):
    """The findings that follow from the table, and what to examine at samples or to measure.

    It is a walk along the operations of a program, which fills the lists of each layer. The keys
    are `id(layer)`, and `id(None)` for the model's own code.

    Args:
        traced: A model in one mode.
        order: The highest order.
        samples_only: Whether only the samples count.
        row_ids: `id(layer)` of all layers with a row.

    Attributes:
        program: The program of the trace, with the differentiable outputs if there are any.
        findings: Findings that need no samples, by layer.
        classes: The class C^k of each operation with breakpoints, by layer.
        examined: The operations to examine at samples, by layer.
        measured: The reasons to measure a layer, by layer.
        has_rules: Whether Taylor mode has a rule for each operation.
        has_masks: Whether a mask is computed from inputs. Then inputs that are 0 are held.
    """

    def __init__(
        self, traced: ModelTrace, order: int, samples_only: bool, row_ids: set[int]
    ) -> None:
        super().__init__()
        self.traced, self.order, self.samples_only = traced, order, samples_only
        self.row_ids = row_ids
        program = traced.trace.program
        # Outputs of integers and booleans are left out, if there are others.
        outputs = tuple(
            name
            for name in program.outputs
            if rows.is_differentiable(program.tensors[name].dtype)
        )
        self.program = dataclasses.replace(program, outputs=outputs or program.outputs)
        self.findings: dict[int, list[Finding]] = collections.defaultdict(list)
        self.classes: dict[int, list[float | None]] = collections.defaultdict(list)
        self.examined: dict[int, list[LayerStep]] = collections.defaultdict(list)
        self.measured: dict[int, list[str]] = collections.defaultdict(list)
        self.has_rules, self.has_masks = True, False
        # Whether the walk is in a function with a registered smoothness.
        self._is_known = False

    def filled(self) -> "Plan":
        """Returns the plan after the walk along its program."""
        self.has_masks = any(map(graph.may_make_mask, self.traced.layers))
        self.follow(self.program, walk.initial_states(self.traced.moving))
        return self

    @functools.cached_property
    def reached(self) -> set[int]:
        """`id(layer)` of the layers that receive a tensor that moves."""
        arguments = self.traced.arguments.items()
        return {key for key, names in arguments if self.moving & names}

    @functools.cached_property
    def is_random(self) -> bool:
        """Whether the program draws random numbers, which differ in each run."""
        nodes = walk.all_operations(self.program)
        return any("Random" in op.type and op.op_def.is_stateful for op in nodes)

    @functools.cached_property
    def size(self) -> int:
        """The bytes per number of the largest dtype among the outputs, at least 4."""
        outputs = (self.program.tensors[name] for name in self.program.outputs)
        return max(4, *(output.dtype.real_dtype.size for output in outputs), 0)

    def known_class_around(self, step: LayerStep) -> float | None:
        """Returns the known class of the innermost layer around an operation that has one."""
        known = (self._known_classes[id(layer)] for layer in reversed(step.layers))
        return next((k for k in known if k is not None), None)

    @functools.cached_property
    def _known_classes(self) -> dict[int, float | None]:
        """The known class of each layer, by `id(layer)`."""
        return {id(layer): known_class(layer) for layer in self.traced.layers}

    def without_notes(self) -> walk.Walk:
        return Plan(self.traced, self.order, self.samples_only, self.row_ids)

    def _with_layers(self, step: Step) -> LayerStep:
        """Returns a step with the layers that contain its operation."""
        layers = self.traced.layers_around(*step.enclosing, step.operation)
        return LayerStep(**vars(step), layers=layers)

    def _note(self, notes: dict[int, list], step: LayerStep, value: Any) -> None:
        """Adds a value for an operation to the notes on each layer that contains the operation.

        An operation of an inner layer, such as an activation, is in the outer layer as well. An
        operation that is in no layer with a row is also in the model's own code.
        """
        keys = set(map(id, step.layers))
        for key in keys | ({id(None)} if keys.isdisjoint(self.row_ids) else set()):
            notes[key].append(value)

    def visit_function(self, step: Step, name: str) -> Sequence[State] | None:
        facts, within = registered.facts(name), self._with_layers(step)
        if self.samples_only and facts.tapes_right_to < self.order:
            # The registered order is for all points. At the samples, higher orders may be right.
            reason = f"tapes are right to order {facts.tapes_right_to} at all points"
            self._note(self.measured, within, reason)
        else:
            self._note_gradient(within, facts.tapes_right_to, facts.jet is not None)
        if facts.smoothness is None:
            return None
        body = step.program.bodies(name)
        piece = _first_with_breakpoints(within, body)
        self._note_piece(piece, facts.smoothness)
        self._is_known, before = True, self._is_known
        states = self.follow(body, step.input_states, (*step.enclosing, step.operation))
        self._is_known = before
        return states

    def visit_operation(self, step: Step) -> Sequence[State]:
        operation, within = step.operation, self._with_layers(step)
        smooth = [rows.is_differentiable(output.dtype) for output in operation.outputs]
        moves = State.MOVES in step.input_states
        if moves and not any(smooth):
            if rows.tapes_right_to(operation, [True]) == 0:
                self._note_gradient(within, 0, by_jets=False)
                self.has_rules = False
                return [State.STEPS] * len(smooth)
            if self._makes_mask(within):
                return [State.HELD] * len(smooth)
            moving = [state == State.MOVES for state in step.input_states]
            if rows.smoothness(operation, moving) == math.inf:
                return [State.HELD] * len(smooth)
            self._note_piece(within, -1)
        if not moves or not any(smooth):
            return [State.STEPS] * len(smooth)
        self._note_operation(within)
        return [State.MOVES if is_smooth else State.STEPS for is_smooth in smooth]

    def _note_operation(self, step: LayerStep) -> None:
        """Adds the findings on an operation with derivatives to the plan, or how to find them."""
        operation, row = step.operation, rows.row(step.operation.type)
        # Integers and booleans are judged at the operations that compute them.
        pairs = zip(step.input_states, operation.inputs)
        inputs = [
            state == State.MOVES and rows.is_differentiable(x.dtype) for state, x in pairs
        ]
        k = rows.smoothness(operation, inputs)
        if k is not None and _uses_discrete_output(step):
            k = -1
        right_to = taped.right_order(operation, inputs, step.used)
        has_jet = row is not None and row.jet is not None
        if k is None or row is None or not (has_jet or row.control_flow):
            if right_to > 0:
                reason = f"{operation.type} is not in the table of operations"
                self._note(self.measured, step, reason)
                self._note(self.classes, step, None)
                self.has_rules = False
                return
        # If a tensor is only compared, its kinks do not count, but its jumps do.
        elif k >= 0 and not step.carries_derivatives:
            return
        elif k < math.inf and not _clips_beyond_dtype(operation):
            self._note_piece(step, k)
        self._note_gradient(step, right_to, has_jet)
        is_known = self._is_known or self.known_class_around(step) is not None
        is_known |= never_reaches_edge(operation, step.program.signs)
        if row is not None and row.domain is not None and not is_known:
            self._leave_to_samples(step, Role.DOMAIN)
        sizes = [x.dtype.real_dtype.size for x in operation.outputs if x.dtype.is_floating]
        if sizes and min(sizes) < self.size:
            words = f"it computes in {operation.outputs[0].dtype.name}"
            finding = Finding(Cause.IMPRECISE, reason=words)
            self._note(self.findings, step, finding)

    def _note_gradient(self, step: LayerStep, right_to: float, by_jets: bool) -> None:
        """Adds a finding or a measurement if derivatives by tapes may be wrong up to the order."""
        operation, row = step.operation, rows.row(step.operation.type)
        kind, first = operation.type, int(min(right_to, self.order)) + 1
        if first > self.order:
            return
        if row is not None and row.wrong_at is not None:
            reason = f"the derivatives of {kind} by tapes are wrong at some points"
        elif kind in _DECLARING and not _stops_mean_of_variance(operation):
            reason = f"{kind} declares another gradient than that of its function"
        else:
            subject = _name_in_words(operation)
            words = f"{subject} has no right gradient from order {first} on"
            finding = Finding(Cause.WRONG, first, words, by_jets)
            self._note(self.findings, step, finding)
            return
        self._note(self.measured, step, reason)

    def _leave_to_samples(self, step: LayerStep, role: Role, k: float = math.inf) -> None:
        examined = dataclasses.replace(step, smoothness=k, role=role)
        self._note(self.examined, step, examined)

    def _note_piece(self, step: LayerStep, k: float) -> None:
        """Adds an operation with breakpoints, unless its function has a registered smoothness."""
        if self._is_known:
            return
        of_layer = self.known_class_around(step)
        k = k if of_layer is None else of_layer
        self._note(self.classes, step, k)
        is_settled = of_layer is not None or self._is_in_keras_layer(step)
        if k < self.order:
            self._leave_to_samples(step, Role.SETTLED if is_settled else Role.PIECES, k)

    def _makes_mask(self, step: LayerStep) -> bool:
        """Returns whether an operation computes a mask, which is constant near x."""
        if step.operation.type not in _EQUALITIES:
            return False
        self.has_masks |= _is_input(step.operation.inputs[0])
        if self.has_masks and not self._is_in_keras_layer(step):
            self._leave_to_samples(step, Role.EQUALITY)
        return self.has_masks

    def _is_in_keras_layer(self, step: LayerStep) -> bool:
        """Returns whether the innermost layer is one of Keras', without a function of a user."""
        layer = step.layers[-1] if step.layers else None
        if not isinstance(layer, keras.layers.Layer) or type(layer) in _DECIDED_BY_SAMPLES:
            return False
        is_of_keras = type(layer).__module__.partition(".")[0] == "keras"
        functions = references.functions(layer)
        return is_of_keras and all(map(calls.is_determined_by_config, functions))


def known_class(layer: keras.Operation | None) -> float | None:
    """Returns the class C^k of a layer if it is registered or in the table of layers, else None."""
    if not isinstance(layer, keras.layers.Layer) or graph.is_composed(layer):
        return None
    registered = registry.registered_smoothness(layer)
    if registered is not None or type(layer) in _DECIDED_BY_SAMPLES:
        return registered
    return registry.smoothness(type(layer))


def words_on_activations(layer: keras.Operation, order: int) -> str:
    """Returns the words of the rows of a layer's own activations that are not smooth enough.

    Activations of inner layers do not count: their operations have the numbers of these layers.
    """
    activation = registry.as_activation(layer)
    functions: list = references.own_functions(layer, "activation")
    functions += [activation and activation.func, registry.function_of(layer)]
    known = [(registry.row(f), registry.registered_smoothness(f)) for f in functions if f]
    return "; ".join(
        f"{row.subject.__name__} {row.reason}"
        for row, k in known
        if row is not None and row.reason and k is not None and k < order
    )


def _uses_discrete_output(step: LayerStep) -> bool:
    """Returns whether integers or booleans that an operation returns are used, as indices."""
    pairs = zip(step.operation.outputs, step.used)
    return any(used and not rows.is_differentiable(output.dtype) for output, used in pairs)


def _first_with_breakpoints(step: LayerStep, body: Program) -> LayerStep:
    """Returns the first operation with breakpoints in a function, or the call of the function.

    Distances of samples are measured from these breakpoints.
    """
    enclosing = (*step.enclosing, step.operation)
    table_rows = ((operation, rows.row(operation.type)) for operation in body.operations)
    with_breakpoints = (
        operation for operation, row in table_rows if row and row.breakpoints
    )
    operation = next(with_breakpoints, None)
    if operation is None:
        return step
    return dataclasses.replace(step, operation=operation, program=body, enclosing=enclosing)


def _is_input(tensor: tf.Tensor) -> bool:
    """Returns whether a tensor is an input, or a slice, cast or reshape of one."""
    while tensor.op.type in _SHAPING:
        tensor = tensor.op.inputs[0]
    return bool(tensor.op.type == "Placeholder")


def _clips_beyond_dtype(operation: tf.Operation) -> bool:
    """Returns whether an operation clips at bounds that no number of its dtype exceeds."""
    if operation.type not in ("ClipByValue", "Maximum", "Minimum"):
        return False
    values = [tf.get_static_value(x) for x in operation.inputs]
    bounds = [np.abs(value) for value in values if value is not None]
    return bool(bounds) and min(map(np.min, bounds)) >= tf.float32.max


def _stops_mean_of_variance(operation: tf.Operation) -> bool:
    """Returns whether an operation stops the gradient of the mean in a variance.

    The derivative of a variance with respect to its mean is 0, so that the first derivative is
    right, but no higher one. The variance of one number is 0, and so are its derivatives.
    """
    mean = operation.inputs[0]
    if mean.op.type != "Mean" or _are_equally_many(mean, mean.op.inputs[0]):
        return False
    return all(use.type == "SquaredDifference" for use in operation.outputs[0].consumers())


def _are_equally_many(x: tf.Tensor, y: tf.Tensor) -> bool:
    """Returns whether two tensors are known to have equally many entries."""
    sizes = x.shape.num_elements(), y.shape.num_elements()
    return None not in sizes and sizes[0] == sizes[1]


def _name_in_words(operation: tf.Operation) -> str:
    if operation.type == "StopGradient":
        return "a variance, whose mean is held (StopGradient),"
    return "the function" if "Call" in operation.type else operation.type
