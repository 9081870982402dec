"""The walk along the operations of a program and of its bodies."""

import dataclasses
import enum
import math
from collections.abc import Iterator, Sequence

import tensorflow as tf

from keras_smooth.operations import rows
from keras_smooth.operations.program import Program, signature
from keras_smooth.operations.rows import WITHOUT_VALUES


class State(enum.IntEnum):
    """How a tensor depends on the inputs. Several together have the largest state."""

    HELD = 0
    # Piecewise constant, as integers and booleans are.
    STEPS = 1
    # With derivatives.
    MOVES = 2


def states_of(moving: Sequence[bool]) -> list[State]:
    """Returns the states of inputs of which it is known whether they are differentiated by."""
    return [State.MOVES if moves else State.HELD for moves in moving]


@dataclasses.dataclass(frozen=True)
class Step:
    """An operation that depends on a moving input and leads to the outputs.

    Args:
        operation: What it is.
        program: What it is an operation of.
        given: The states of its inputs.
        around: The operations that have it in their bodies, the outermost first.
        used: For each of its outputs whether it leads to the outputs of the program.
        derived: Whether derivatives of the outputs go through it. What is only compared has
            none of them.
    """

    operation: tf.Operation
    program: Program
    given: tuple[State, ...]
    around: tuple[tf.Operation, ...]
    used: tuple[bool, ...]
    derived: bool

    @property
    def top(self) -> tf.Operation:
        """What runs it in the outermost program: an operation with it in its body, or it."""
        return (*self.around, self.operation)[0]


class Walk:
    """Follows what moves from the inputs of a program to its outputs.

    A subclass overrides what it makes of an operation, of a function that the program calls
    and of what decides between bodies.

    A loop is followed until another turn changes nothing, and then once more for the notes.
    """

    def __init__(self) -> None:
        # Names of the tensors that depend on the inputs, in all programs.
        self.moving: set[str] = set()
        # The operations on the way, whether they have bodies or not.
        self.steps: list[Step] = []

    def operation(self, step: Step) -> Sequence[State]:
        """Returns the states of the outputs of an operation without bodies."""
        return [State.MOVES] * len(step.operation.outputs)

    def function(self, step: Step, name: str) -> Sequence[State] | None:
        """Returns the states of the outputs of a function, None where its body tells them."""
        return None

    def decision(self, step: Step) -> None:
        """Notes that what moves decides which body runs, or how often."""

    def quiet(self) -> "Walk":
        """Returns a walk by the same rules whose notes are not kept."""
        return type(self)()

    def along(
        self,
        program: Program,
        given: Sequence[State],
        around: tuple[tf.Operation, ...] = (),
    ) -> list[State]:
        """Visits the operations of a program; returns the states of its outputs.

        Args:
            program: Operations.
            given: The states of its inputs.
            around: The operations that have the program in their bodies.
        """
        states = dict(zip(program.inputs, given, strict=True))
        self.moving |= {name for name, state in states.items() if state}
        needed, derived = _needed(program), _derived(program)
        for operation, inputs, outputs, _ in program.instructions_to_outputs:
            if operation.type in WITHOUT_VALUES or needed.isdisjoint(outputs):
                continue
            before = tuple(states.get(name, State.HELD) for name in inputs)
            if not any(before):
                continue
            used = tuple(name in needed for name in outputs)
            is_derived = not derived.isdisjoint(outputs)
            step = Step(operation, program, before, around, used, is_derived)
            self.steps.append(step)
            names = bodies_of(operation)
            after = self._bodies(step, names) if names else self.operation(step)
            states.update(zip(outputs, after))
            self.moving |= {name for name, state in zip(outputs, after) if state}
        return [states.get(name, State.HELD) for name in program.outputs]

    def _bodies(self, step: Step, names: Sequence[str]) -> Sequence[State]:
        bodies = [step.program.bodies(name) for name in names]
        around = (*step.around, step.operation)
        if "While" in step.operation.type:
            condition, body = bodies
            states = self._after_some_turns(body, step.given, around)
            if any(self.along(condition, states, around)):
                self.decision(step)
            self.along(body, states, around)
            return states
        if len(bodies) == 1:
            known = self.function(step, names[0])
            return self.along(bodies[0], step.given, around) if known is None else known
        decides, *given = step.given
        if decides:
            self.decision(step)
        least = State.STEPS if decides else State.HELD
        columns = zip(*(self.along(body, given, around) for body in bodies))
        return [max(*column, least) for column in columns]

    def _after_some_turns(
        self, body: Program, states: Sequence[State], around: tuple[tf.Operation, ...]
    ) -> Sequence[State]:
        """Returns the states of the variables of a loop from which on no turn changes them."""
        quiet, before = self.quiet(), None
        while states != before:
            before = states
            states = tuple(map(max, before, quiet.along(body, before, around)))
        return states


def steps(program: Program, moving: Sequence[bool]) -> list[Step]:
    """Returns the operations on the way from some inputs of a program to its outputs."""
    walk = Walk()
    walk.along(program, states_of(moving))
    return walk.steps


def all_operations(program: Program) -> Iterator[tf.Operation]:
    """Yields the operations that lead to the outputs of a program, and those in bodies."""
    for operation, *_ in program.instructions_to_outputs:
        yield operation
        for name in bodies_of(operation):
            yield from all_operations(program.bodies(name))


def _needed(program: Program) -> set[str]:
    """Returns the tensors that outputs depend on.

    The maximum that is held within a log-sum-exp is none of them: whatever it is, it cancels.
    """
    needed = set(program.outputs)
    for operation, inputs, outputs, _ in reversed(program.instructions_to_outputs):
        cancels = operation.type == "StopGradient" and (
            rows.tapes_right_to(operation, [True]) == math.inf
        )
        if not (cancels or needed.isdisjoint(outputs)):
            needed.update(inputs)
    return needed


def _derived(program: Program) -> set[str]:
    """Returns the tensors through which derivatives of the outputs go."""
    derived = set(program.outputs)
    for operation, inputs, outputs, _ in reversed(program.instructions_to_outputs):
        smooth = {
            name for name, x in zip(outputs, operation.outputs) if rows.is_smooth(x.dtype)
        }
        if not derived.isdisjoint(smooth):
            derived.update(
                name for name, x in zip(inputs, operation.inputs) if rows.is_smooth(x.dtype)
            )
    return derived


# Attributes that name the functions that an operation runs, with state or without.
_BODIES = {
    "PartitionedCall": ("f",),
    "If": ("then_branch", "else_branch"),
    "Case": ("branches",),
    "While": ("cond", "body"),
}


def bodies_of(operation: tf.Operation) -> list[str]:
    """Returns the names of the functions that an operation runs."""
    if rows.row(operation.type) is None and signature(operation).function is None:
        # In the bodies of control flow a call of a function is an operation of its name.
        return [operation.type]
    kind = operation.type.removeprefix("Stateless").removeprefix("Stateful")
    attributes = [operation.get_attr(name) for name in _BODIES.get(kind, ())]
    return [each.name for each in tf.nest.flatten(attributes)]
