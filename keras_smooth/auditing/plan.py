"""What the table of operations says about a trace, and what samples have to decide."""

import dataclasses
import enum
import functools
import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import registry
from keras_smooth.auditing.findings import Cause, Finding
from keras_smooth.auditing.traced import Traced, numbers_of
from keras_smooth.models import calls, graph, references
from keras_smooth.operations import registered, rows, taped, walk
from keras_smooth.operations.program import Program
from keras_smooth.operations.signs import keeps_off_its_edge
from keras_smooth.operations.walk import State, Step

# Operations that declare another gradient than that of their function.
_DECLARING = frozenset(("IdentityN", "PreventGradient", "StopGradient"))
# Layers of Keras of which samples tell whether they are smooth: their code is the user's, or
# they have a kink at 0 alone.
_TOLD_BY_SAMPLES = (keras.layers.Lambda, keras.layers.UnitNormalization)
# Operations, apart from the inputs, from which a mask may be made.
_SHAPING = frozenset("Cast ExpandDims Identity Reshape Squeeze StridedSlice".split())
_EQUALITIES = frozenset(("Equal", "NotEqual"))

# Of the layers that an operation is in, the outermost first.
Numbers = tuple[int, ...]


class Role(enum.Enum):
    """What samples have to decide about an operation."""

    # Its pieces meet somewhere, in a layer or function that is known to be rough.
    SETTLED = enum.auto()
    # Its pieces meet somewhere, in code of which no more is known.
    PIECES = enum.auto()
    # It is not defined everywhere.
    DOMAIN = enum.auto()
    # A comparison of user's code that makes a mask, or guards single points.
    EQUALITY = enum.auto()


@dataclasses.dataclass(frozen=True)
class LayerStep(Step):
    """A step of the walk, with the layers that it is in.

    Args:
        parts: The numbers of the layers, the outermost first.
        smoothness: k of the class C^k, of pieces; `math.inf` where it has none.
        role: What samples decide about it, if anything.
    """

    parts: Numbers
    smoothness: float = math.inf
    role: Role | None = None


@dataclasses.dataclass
class Plan:
    """The reading of a trace.

    Args:
        traced: The trace.
        program: Its operations that lead to outputs with derivatives.
        order: The highest order.
        nearby: Whether only the samples count.
        findings: What is known without samples: numbers of layers and a finding each.
        classes: The class C^k of operations of pieces: numbers of layers, and k of each.
        steps: What samples have to decide.
        measured: What no row tells: the numbers of the layers, and why.
        reached: `id(layer)` of the layers that get something that moves.
        is_random: Whether each run gives other numbers.
        has_rules: Whether Taylor mode has a rule for each operation.
        has_masks: Whether a mask is made of the inputs: what is 0 there is held.
    """

    traced: Traced
    program: Program
    order: int
    nearby: bool
    findings: list[tuple[Numbers, Finding]] = dataclasses.field(default_factory=list)
    classes: list[tuple[Numbers, float | None]] = dataclasses.field(default_factory=list)
    steps: list[LayerStep] = dataclasses.field(default_factory=list)
    measured: list[tuple[Numbers, str]] = dataclasses.field(default_factory=list)
    reached: set[int] = dataclasses.field(default_factory=set)
    is_random: bool = False
    has_rules: bool = True
    has_masks: bool = False

    @functools.cached_property
    def size(self) -> int:
        """The bytes of a number of the outputs, at least those of float32."""
        outputs = set(self.program.outputs)
        tensors = (t for op in self.program.operations for t in op.outputs)
        return max(4, *(t.dtype.real_dtype.size for t in tensors if t.name in outputs), 0)

    def known_of(self, step: LayerStep) -> float | None:
        """Returns the class of the innermost layer around an operation that has one."""
        layers = (self.traced.parts[number] for number in reversed(step.parts))
        return next((k for k in map(known_class, layers) if k is not None), None)


def plan(traced: Traced, order: int, nearby: bool) -> Plan:
    """Reads a trace.

    Args:
        traced: A model in one mode.
        order: The highest order.
        nearby: Whether only the samples count.
    """
    program = traced.program
    tensors = {tensor.name: tensor for op in program.operations for tensor in op.outputs}
    # Without outputs of integers and booleans, if there are others.
    outputs = tuple(n for n in program.outputs if rows.is_smooth(tensors[n].dtype))
    program = dataclasses.replace(program, outputs=outputs or program.outputs)
    made = Plan(traced, program, order, nearby)
    made.has_masks = any(map(graph.makes_masks, traced.parts))
    every = walk.all_operations(program)
    made.is_random = any(op.op_def.is_stateful and "Random" in op.type for op in every)
    reader = _Reader(made)
    reader.along(program, walk.states_of(traced.moving))
    moving, given = reader.moving, traced.arguments.items()
    made.reached = {id(traced.parts[n]) for n, names in given if moving & {*names}}
    return made


class _Reader(walk.Walk):
    """Fills a plan along the operations of a program."""

    def __init__(self, made: Plan) -> None:
        super().__init__()
        self.plan = made
        # Whether it is in a function with a registered smoothness.
        self.is_known = False

    def quiet(self) -> walk.Walk:
        plan = self.plan
        return _Reader(Plan(plan.traced, plan.program, plan.order, plan.nearby))

    def function(self, step: Step, name: str) -> Sequence[State] | None:
        facts, within = registered.facts(name), _in_layers(step)
        if self.plan.nearby and facts.tapes_right_to < self.plan.order:
            # A registered class holds at all points, of which few are special.
            reason = f"tapes are right to order {facts.tapes_right_to} at all points"
            self._measure(within, reason)
        else:
            self._gradient(within, facts.tapes_right_to, facts.jet is not None)
        if facts.smoothness is None:
            return None
        body = step.program.bodies(name)
        self._piece(_first_of_pieces(within, body), facts.smoothness, known=True)
        self.is_known, before = True, self.is_known
        states = self.along(body, step.given, (*step.around, step.operation))
        self.is_known = before
        return states

    def operation(self, step: Step) -> Sequence[State]:
        operation, within = step.operation, _in_layers(step)
        smooth = [rows.is_smooth(output.dtype) for output in operation.outputs]
        moves = State.MOVES in step.given
        if moves and not any(smooth):
            if rows.tapes_right_to(operation, [True]) == 0:
                self._gradient(within, 0, by_jets=False)
                self.plan.has_rules = False
                return [State.STEPS] * len(smooth)
            if self._is_of_masks(within):
                return [State.HELD] * len(smooth)
            moving = [state == State.MOVES for state in step.given]
            if rows.smoothness(operation, moving) == math.inf:
                return [State.HELD] * len(smooth)
            self._piece(within, -1)
        if not moves or not any(smooth):
            return [State.STEPS] * len(smooth)
        self._read(within)
        return [State.MOVES if is_smooth else State.STEPS for is_smooth in smooth]

    def _read(self, step: LayerStep) -> None:
        """Reads an operation with derivatives by something that moves."""
        operation, row = step.operation, rows.row(step.operation.type)
        # Decisions by integers and booleans are judged where these come from.
        pairs = zip(step.given, operation.inputs)
        inputs = [state == State.MOVES and rows.is_smooth(x.dtype) for state, x in pairs]
        k = rows.smoothness(operation, inputs)
        right_to = taped.of_operation(operation, inputs, step.used)
        has_jet = row is not None and row.jet is not None
        if k is None or row is None or not (has_jet or row.program):
            if right_to > 0:
                self._measure(step, f"{operation.type} is not in the table of operations")
                self.plan.classes.append((step.parts, None))
                self.plan.has_rules = False
                return
        # A comparison tells where the pieces of what it compares meet, unless that jumps.
        elif k >= 0 and not step.derived:
            return
        elif k < math.inf and not _is_of_bounds(operation):
            self._piece(step, k)
        self._gradient(step, right_to, has_jet)
        is_known = self.is_known or self.plan.known_of(step) is not None
        is_known |= keeps_off_its_edge(operation, step.program.signs)
        if row is not None and row.domain is not None and not is_known:
            self._leave_to_samples(step, Role.DOMAIN)
        sizes = [x.dtype.real_dtype.size for x in operation.outputs if x.dtype.is_floating]
        if sizes and min(sizes) < self.plan.size:
            words = f"it computes in {operation.outputs[0].dtype.name}"
            self._note(step, Finding(Cause.IMPRECISE, reason=words))

    def _gradient(self, step: LayerStep, right_to: float, by_jets: bool) -> None:
        """Notes an operation for which TensorFlow lacks a derivative."""
        operation, row = step.operation, rows.row(step.operation.type)
        kind, first = operation.type, int(min(right_to, self.plan.order)) + 1
        if first > self.plan.order:
            return
        if row is not None and row.wrong_at is not None:
            reason = f"the derivatives of {kind} by tapes are wrong at some points"
        elif kind in _DECLARING and not _is_mean_of_moments(operation):
            reason = f"{kind} declares another gradient than that of its function"
        else:
            words = f"{_named(operation)} has no right gradient from order {first} on"
            self._note(step, Finding(Cause.WRONG, first, words, by_jets))
            return
        self._measure(step, reason)

    def _measure(self, step: LayerStep, reason: str) -> None:
        self.plan.measured.append((step.parts, reason))

    def _note(self, step: LayerStep, finding: Finding) -> None:
        self.plan.findings.append((step.parts, finding))

    def _leave_to_samples(self, step: LayerStep, role: Role, k: float = math.inf) -> None:
        self.plan.steps.append(dataclasses.replace(step, smoothness=k, role=role))

    def _piece(self, step: LayerStep, k: float, known: bool = False) -> None:
        """Notes an operation with breakpoints, unless its layer is known to be smooth enough."""
        if self.is_known:
            return
        of_layer = self.plan.known_of(step)
        k = k if of_layer is None else of_layer
        self.plan.classes.append((step.parts, k))
        is_settled = of_layer is not None or known or self._is_in_stock(step)
        if k < self.plan.order:
            self._leave_to_samples(step, Role.SETTLED if is_settled else Role.PIECES, k)

    def _is_of_masks(self, step: LayerStep) -> bool:
        """Returns whether an operation makes a mask: what is left out stays so near x."""
        if step.operation.type not in _EQUALITIES:
            return False
        self.plan.has_masks |= _is_input(step.operation.inputs[0])
        if self.plan.has_masks and not self._is_in_stock(step):
            self._leave_to_samples(step, Role.EQUALITY)
        return self.plan.has_masks

    def _is_in_stock(self, step: LayerStep) -> bool:
        """Returns whether it is in a layer of Keras, without a function of the user."""
        layer = self.plan.traced.parts[step.parts[-1]] if step.parts else None
        if not isinstance(layer, keras.layers.Layer) or type(layer) in _TOLD_BY_SAMPLES:
            return False
        is_of_keras = type(layer).__module__.partition(".")[0] == "keras"
        functions = references.functions(layer)
        return is_of_keras and all(map(calls.is_told_by_config, functions))


def _in_layers(step: Step) -> LayerStep:
    """Returns a step with the layers that it is in."""
    runs = (*step.around, step.operation)
    numbers = tuple(number for each in runs for number in numbers_of(each))
    return LayerStep(**vars(step), parts=numbers)


def known_class(layer: keras.Operation) -> float | None:
    """Returns the class C^k of a layer of which more is known than its operations tell."""
    if not isinstance(layer, keras.layers.Layer) or graph.is_composed(layer):
        return None
    registered = registry.registered_smoothness(layer)
    if registered is not None or type(layer) in _TOLD_BY_SAMPLES:
        return registered
    return registry.smoothness(type(layer))


def words_of(layer: keras.Operation, order: int) -> str:
    """Returns where the activations of a layer are not smooth enough, as far as is known."""
    activation = registry.as_activation(layer) or (None,)
    functions = [*references.functions(layer, "activation"), activation[0]]
    functions.append(registry.function_of(layer))
    known = [(registry.row(f), registry.registered_smoothness(f)) for f in functions if f]
    return "; ".join(
        f"{row.subject.__name__} {row.reason}"
        for row, k in known
        if row is not None and row.reason and k is not None and k < order
    )


def _first_of_pieces(step: LayerStep, body: Program) -> LayerStep:
    """Returns the first operation of pieces in a function, which tells where samples lie."""
    around = (*step.around, step.operation)
    for each in body.operations:
        row = rows.row(each.type)
        if row is not None and row.breakpoints is not None:
            return dataclasses.replace(step, operation=each, program=body, around=around)
    return step


def _is_input(tensor: tf.Tensor) -> bool:
    """Returns whether a tensor has unchanged numbers of an input."""
    while tensor.op.type in _SHAPING:
        tensor = tensor.op.inputs[0]
    return bool(tensor.op.type == "Placeholder")


def _is_of_bounds(operation: tf.Operation) -> bool:
    """Returns whether an operation cuts off what no number of its dtype is beyond."""
    if operation.type not in ("ClipByValue", "Maximum", "Minimum"):
        return False
    values = [tf.get_static_value(x) for x in operation.inputs]
    bounds = [np.abs(value) for value in values if value is not None]
    return bool(bounds) and min(map(np.min, bounds)) >= tf.float32.max


def _is_mean_of_moments(operation: tf.Operation) -> bool:
    """Returns whether a gradient is stopped at the mean of a variance.

    The derivative of a variance by the mean is 0 there: one derivative is right, and no more.
    """
    consumers = operation.outputs[0].consumers()
    return operation.inputs[0].op.type == "Mean" and all(
        each.type == "SquaredDifference" for each in consumers
    )


def _named(operation: tf.Operation) -> str:
    if operation.type == "StopGradient":
        return "a variance, whose mean is held (StopGradient),"
    return "the function" if "Call" in operation.type else operation.type
