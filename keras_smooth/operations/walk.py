"""The walk through the operations of a program and of its bodies."""

import dataclasses
import enum
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import tensorflow as tf

from keras_smooth.operations import rows
from keras_smooth.operations.program import Program, signature
from keras_smooth.operations.rows import OF_SHAPES_ONLY


class State(enum.IntEnum):
    """How a tensor depends on the inputs. A tensor of several states has the largest."""

    # The tensor does not depend on them.
    HELD = 0
    # The tensor depends on them and is piecewise constant, such as integers and booleans.
    STEPS = 1
    # The tensor depends on them and has derivatives.
    MOVES = 2


def initial_states(moving: Iterable[bool]) -> list[State]:
    """Returns the state MOVES for each input that moves, and HELD for the others."""
    return [State.MOVES if moves else State.HELD for moves in moving]


@dataclasses.dataclass(frozen=True)
class Step:
    """An operation on a path from a moving input to an output of the program.

    Args:
        operation: The operation.
        program: The program, or body, to which it belongs.
        input_states: The states of its inputs.
        enclosing: The operations in whose bodies it is, the outermost first.
        used: For each of its outputs whether an output of the program depends on it.
        carries_derivatives: Whether derivatives of the program's outputs depend on its
            derivatives. They do not if its outputs are only compared, for example.
    """

    operation: tf.Operation
    program: Program
    input_states: tuple[State, ...]
    enclosing: tuple[tf.Operation, ...]
    used: tuple[bool, ...]
    carries_derivatives: bool

    @property
    def top(self) -> tf.Operation:
        """The outermost of the enclosing operations, or the operation itself."""
        return (*self.enclosing, self.operation)[0]


class Walk:
    """Computes the states of all tensors of a program, from the states of its inputs.

    A subclass may override how the walk handles an operation, a called function, and a value that
    decides which body runs, and may record results in its attributes.

    The body of a loop is visited by another walk, whose results are discarded, until the states
    no longer change, and then once more.
    """

    def __init__(self) -> None:
        # Names of the tensors that depend on the inputs, in all programs.
        self.moving: set[str] = set()
        # The operations on the paths, with and without bodies.
        self.steps: list[Step] = []

    def visit_operation(self, step: Step) -> Sequence[State]:
        """Returns the states of the outputs of an operation without bodies."""
        return [State.MOVES] * len(step.operation.outputs)

    def visit_function(self, step: Step, name: str) -> Sequence[State] | None:
        """Returns the states of the outputs of a function, or None to visit its body."""
        return None

    def visit_decision(self, step: Step) -> None:
        """Called if a value that depends on the inputs decides which body runs, or how often."""

    def without_notes(self) -> "Walk":
        """Returns a new walk of the same kind, whose results are to be discarded."""
        return type(self)()

    def follow(
        self,
        program: Program,
        input_states: Sequence[State],
        enclosing: tuple[tf.Operation, ...] = (),
        used: Sequence[bool] | None = None,
    ) -> list[State]:
        """Visits the operations of a program; returns the states of its outputs.

        Args:
            program: The program, or a body.
            input_states: The states of its first inputs; the others are held.
            enclosing: The operations in whose bodies it is, the outermost first.
            used: Whether each output is used; all by default. Operations that lead to none that
                is used are not visited.
        """
        states = dict(zip(program.inputs, input_states))
        self.moving |= {name for name, state in states.items() if state}
        needed, derived = _tensors_needed(program, used), _tensors_derived(program)
        for operation, inputs, outputs, _ in program.instructions_to_outputs:
            if operation.type in OF_SHAPES_ONLY or needed.isdisjoint(outputs):
                continue
            before = tuple(
                State.HELD if rows.is_empty(x) else states.get(name, State.HELD)
                for name, x in zip(inputs, operation.inputs)
            )
            if not any(before):
                continue
            used = tuple(name in needed for name in outputs)
            is_derived = not derived.isdisjoint(outputs)
            step = Step(operation, program, before, enclosing, used, is_derived)
            self.steps.append(step)
            names = body_names(operation)
            after = self._visit_bodies(step, names) if names else self.visit_operation(step)
            states.update(zip(outputs, after))
            self.moving |= {name for name, state in zip(outputs, after) if state}
        return [states.get(name, State.HELD) for name in program.outputs]

    def _visit_bodies(self, step: Step, names: Sequence[str]) -> Sequence[State]:
        bodies = [step.program.bodies(name) for name in names]
        enclosing = (*step.enclosing, step.operation)
        if "While" in step.operation.type:
            condition, body = bodies
            states = self.steady_states(body, step.input_states, enclosing)
            if any(self.follow(condition, states, enclosing)):
                self.visit_decision(step)
            self.follow(body, states, enclosing, _variables_used(body, step.used))
            return states
        if len(bodies) == 1:
            known = self.visit_function(step, names[0])
            if known is not None:
                return known
            return self.follow(bodies[0], step.input_states, enclosing)
        decides, *values = step.input_states
        if decides:
            self.visit_decision(step)
        least = State.STEPS if decides else State.HELD
        columns = zip(*(self.follow(body, values, enclosing) for body in bodies))
        return [max(*column, least) for column in columns]

    def steady_states(
        self,
        body: Program,
        states: Sequence[State],
        enclosing: tuple[tf.Operation, ...] = (),
    ) -> Sequence[State]:
        """Returns the states of the variables of a loop after any number of iterations."""
        walk = self.without_notes()
        return fixed_point(
            lambda states: list(map(max, states, walk.follow(body, states, enclosing))),
            list(states),
        )


def fixed_point(function: Callable, values: list) -> list:
    """Returns the values after which a function returns the same values, by iteration."""
    before = None
    while values != before:
        before, values = values, function(values)
    return values


def steps(program: Program, moving: Sequence[bool]) -> list[Step]:
    """Returns the operations on the paths from the moving inputs of a program to its outputs."""
    walk = Walk()
    walk.follow(program, initial_states(moving))
    return walk.steps


def all_operations(program: Program) -> Iterator[tf.Operation]:
    """Yields the operations on which the outputs of a program depend, also those in bodies."""
    for operation, *_ in program.instructions_to_outputs:
        yield operation
        for name in body_names(operation):
            yield from all_operations(program.bodies(name))


def _variables_used(body: Program, used: Sequence[bool]) -> list[bool]:
    """Returns whether each variable of a loop leads to one that is used after the loop.

    A variable that only ends the loop does not, such as the change of a fixed-point iteration.
    """

    def step(used: list[bool]) -> list[bool]:
        needed = _tensors_needed(body, used)
        return [is_used or name in needed for is_used, name in zip(used, body.inputs)]

    return fixed_point(step, list(used))


def _tensors_needed(program: Program, used: Sequence[bool] | None = None) -> set[str]:
    """Returns the names of the tensors on which the outputs depend that are used.

    The maximum that a log-sum-exp subtracts and adds again cancels and is not among them.
    """
    outputs = program.outputs
    names = {
        name for name, is_used in zip(outputs, used or [True] * len(outputs)) if is_used
    }
    return _leading_to(names, program, lambda operation, x: not _cancels(operation))


def _cancels(operation: tf.Operation) -> bool:
    return (
        operation.type == "StopGradient"
        and rows.tapes_right_to(operation, [True]) == math.inf
    )


def _tensors_derived(program: Program) -> set[str]:
    """Returns the names of the tensors on whose derivatives those of the outputs depend."""
    names = set(program.outputs)
    return _leading_to(names, program, lambda operation, x: rows.is_differentiable(x.dtype))


def _leading_to(names: set[str], program: Program, counts: Callable) -> set[str]:
    """Returns names of tensors with those of all tensors that lead to one of them.

    Args:
        names: Names of tensors.
        program: The program.
        counts: `counts(operation, x)` returns whether an operation leads from or to a tensor.
    """
    for operation, inputs, outputs, _ in reversed(program.instructions_to_outputs):
        leads = zip(outputs, operation.outputs)
        if any(name in names and counts(operation, x) for name, x in leads):
            pairs = zip(inputs, operation.inputs)
            names.update(name for name, x in pairs if counts(operation, x))
    return names


# By kind, without Stateful or Stateless, the attributes with the functions that it runs.
_BODY_ATTRIBUTES = {
    "PartitionedCall": ("f",),
    "If": ("then_branch", "else_branch"),
    "Case": ("branches",),
    "While": ("cond", "body"),
}


def body_names(operation: tf.Operation) -> list[str]:
    """Returns the names of the functions that an operation runs."""
    if rows.row(operation.type) is None and signature(operation).function is None:
        # In a body, the type of an operation that calls a function is the function's name.
        return [operation.type]
    kind = operation.type.removeprefix("Stateless").removeprefix("Stateful")
    attributes = [operation.get_attr(name) for name in _BODY_ATTRIBUTES.get(kind, ())]
    return [function.name for function in tf.nest.flatten(attributes)]
