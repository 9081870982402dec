"""The operations on the paths from inputs to outputs.

In each function, `moving` has a boolean for each of the first inputs of a program. It is true if the
program is differentiated with respect to the input: the input moves. Other inputs are held constant,
such as the tensors that a function captures, which follow its arguments.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from keras_smooth.operations import registered, rows
from keras_smooth.operations.program import Program, without_identity
from keras_smooth.operations.rows import OF_SHAPES_ONLY, Class
from keras_smooth.operations.signs import never_reaches_edge
from keras_smooth.operations.walk import State, Step, Walk, initial_states, steps


def dependent_outputs(program: Program, moving: Sequence[bool]) -> list[bool]:
    """Returns for each output of a program whether it depends on an input that moves."""
    return [state != State.HELD for state in Walk().follow(program, initial_states(moving))]


def unchanged_variables(body: Program) -> list[bool]:
    """Returns for each variable of a loop whether the body of the loop leaves it unchanged."""
    sources = [without_identity(body.tensors[name]).name for name in body.outputs]
    return [source == name for source, name in zip(sources, body.inputs, strict=True)]


def assignment_that_moves(program: Program, moving: Sequence[bool]) -> tf.Operation | None:
    """Returns an operation that assigns a value that moves to a variable, or None."""
    names = {name for name, moves in zip(program.inputs, moving) if moves}
    for operation, inputs, outputs, _ in program.instructions:
        if operation.type in OF_SHAPES_ONLY or names.isdisjoint(inputs):
            continue
        names.update(outputs)
        if any(tensor.dtype == tf.resource for tensor in operation.inputs) and not outputs:
            return operation
    return None


def on_paths(program: Program, moving: Sequence[bool]) -> list[tf.Operation]:
    """Returns the operations on the paths from inputs that move to the outputs.

    The operations of a body follow the operation that runs the body.
    """
    return [step.operation for step in steps(program, moving)]


def smoothness(program: Program, moving: Sequence[bool], at_edges: bool = False) -> Class:
    """Returns the class C^k of a program: the smallest class on any path.

    Args:
        program: The program.
        moving: For each input whether it moves.
        at_edges: Whether the edges of domains count, such as 0 for a square root.

    Returns:
        k of the class C^k. It is -1 if the program jumps, or returns only integers and
        booleans, and None if an operation on a path is unknown.
    """
    outputs = [program.tensors[name] for name in program.outputs]
    if not any(rows.is_differentiable(output.dtype) for output in outputs):
        return -1
    return rows.smallest_class(k for _, k in classes(program, moving, at_edges))


def classes(
    program: Program, moving: Sequence[bool], at_edges: bool = False
) -> list[tuple[tf.Operation, Class]]:
    """Returns the operations on the paths to the outputs, with the class of each.

    Args:
        program: The program.
        moving: For each input whether it moves.
        at_edges: Whether the edges of domains count.
    """
    walk = _ClassWalk(at_edges)
    walk.follow(program, initial_states(moving))
    return walk.classes


class _ClassWalk(Walk):
    """Collects the classes of all operations on the paths.

    An operation that returns only integers and booleans has no class. But if they move, the
    operation that uses them has a jump.
    """

    def __init__(self, at_edges: bool) -> None:
        super().__init__()
        self.at_edges = at_edges
        self.classes: list[tuple[tf.Operation, Class]] = []

    def without_notes(self) -> Walk:
        return _ClassWalk(self.at_edges)

    def visit_operation(self, step: Step) -> Sequence[State]:
        operation = step.operation
        edges = self.at_edges and not never_reaches_edge(operation, step.program.signs)
        moving = [state != State.HELD for state in step.input_states]
        k = rows.smoothness(operation, moving, edges)
        smooth = [rows.is_differentiable(output.dtype) for output in operation.outputs]
        if any(smooth):
            self.classes.append((operation, k))
        # Discrete outputs of class infinity, as of IsFinite, are constant near each point.
        steps = State.HELD if k == math.inf else State.STEPS
        return [State.MOVES if is_smooth else steps for is_smooth in smooth]

    def visit_function(self, step: Step, name: str) -> Sequence[State] | None:
        known = registered.facts(name).smoothness
        if known is None:
            return None
        self.classes.append((step.operation, known))
        return [State.MOVES] * len(step.operation.outputs)

    def visit_decision(self, step: Step) -> None:
        self.classes.append((step.operation, -1))
