"""The operations between inputs and outputs: what depends on what."""

import math
from collections.abc import Iterator, Sequence

import tensorflow as tf

from keras_smooth.operations import registered, rows
from keras_smooth.operations.program import Program, signature
from keras_smooth.operations.rows import WITHOUT_VALUES, Class
from keras_smooth.operations.signs import Sign, keeps_off_its_edge, of_outputs


def reached(program: Program, moving: Sequence[bool]) -> list[bool]:
    """Returns for each output whether the values of some inputs reach it.

    Args:
        program: Operations.
        moving: For each input whether it counts.
    """
    names = {name for name, moves in zip(program.inputs, moving, strict=True) if moves}
    for operation, inputs, outputs, _ in program.steps:
        if operation.type not in WITHOUT_VALUES and not names.isdisjoint(inputs):
            names.update(outputs)
    return [name in names for name in program.outputs]


def unchanged(body: Program) -> list[bool]:
    """Returns for each variable of a loop whether a step gives it back as it is."""
    sources = {name: name for name in body.inputs}
    for operation, inputs, outputs, _ in body.steps:
        if operation.type == "Identity" and inputs[0] in sources:
            sources[outputs[0]] = sources[inputs[0]]
    return [
        sources.get(output) == name
        for output, name in zip(body.outputs, body.inputs, strict=True)
    ]


def kept_in_variables(program: Program, moving: Sequence[bool]) -> tf.Operation | None:
    """Returns an operation that writes what depends on some inputs to a variable, if any."""
    names = {name for name, moves in zip(program.inputs, moving, strict=True) if moves}
    for operation, inputs, outputs, _ in program.steps:
        if operation.type in WITHOUT_VALUES or names.isdisjoint(inputs):
            continue
        names.update(outputs)
        if any(tensor.dtype == tf.resource for tensor in operation.inputs) and not outputs:
            return operation
    return None


def between(program: Program, moving: Sequence[bool]) -> Iterator[tf.Operation]:
    """Yields the operations that some inputs reach and that lead to the outputs.

    Those of the bodies of control flow come with them, whatever reaches these.
    """
    names = {name for name, moves in zip(program.inputs, moving, strict=True) if moves}
    for operation, inputs, outputs, _ in program.steps:
        if operation.type in WITHOUT_VALUES or names.isdisjoint(inputs):
            continue
        names.update(outputs)
        yield operation
        for name in bodies_of(operation):
            body = program.bodies(name)
            yield from between(body, [True] * len(body.inputs))


# Attributes that name the functions that an operation runs.
_BODIES = {
    "PartitionedCall": ("f",),
    "StatefulPartitionedCall": ("f",),
    "If": ("then_branch", "else_branch"),
    "StatelessIf": ("then_branch", "else_branch"),
    "While": ("cond", "body"),
    "StatelessWhile": ("cond", "body"),
}


def bodies_of(operation: tf.Operation) -> list[str]:
    if operation.type in ("Case", "StatelessCase"):
        return [each.name for each in operation.get_attr("branches")]
    if rows.row(operation.type) is None and signature(operation).function is None:
        # In the bodies of control flow a call of a function is an operation of its name.
        return [operation.type]
    return [operation.get_attr(name).name for name in _BODIES.get(operation.type, ())]


def tapes_right_to(program: Program, moving: Sequence[bool]) -> float:
    """Returns up to which order TensorFlow's derivatives are right on all of the way."""
    return min(map(_right_to, between(program, moving)), default=math.inf)


def wrong_by_tapes(
    program: Program, moving: Sequence[bool], order: int
) -> tf.Operation | None:
    """Returns the first operation of which TensorFlow's derivatives up to an order are not
    known to be right, if any."""
    on_the_way = between(program, moving)
    return next((each for each in on_the_way if _right_to(each) < order), None)


def _right_to(operation: tf.Operation) -> float:
    called = (registered.facts(name).tapes_right_to for name in bodies_of(operation))
    return min([rows.tapes_right_to(operation), *called])


def smoothness(program: Program, moving: Sequence[bool], at_edges: bool = False) -> Class:
    """Returns the class C^k of what a program computes: the least on the way.

    Args:
        program: Operations.
        moving: For each input whether it is differentiated by. Others are held.
        at_edges: Whether the edges of domains count, as 0 of a square root.

    Returns:
        k of the class C^k, -1 where it jumps or gives nothing but integers and booleans,
        None where an operation on the way is unknown.
    """
    known = {tensor.name: tensor for op in program.operations for tensor in op.outputs}
    if not any(rows.is_smooth(known[name].dtype) for name in program.outputs):
        return -1
    return rows.least(k for _, k in classes(program, moving, at_edges))


def classes(
    program: Program, moving: Sequence[bool], at_edges: bool = False
) -> list[tuple[tf.Operation, Class]]:
    """Returns the operations on the way from some inputs to the outputs, with their classes.

    Args:
        program: Operations.
        moving: For each input whether it is differentiated by. Others are held.
        at_edges: Whether the edges of domains count.
    """
    collected = _Classes(at_edges)
    collected.of(program, moving)
    return collected.found


def _needed(program: Program) -> set[str]:
    """Returns the tensors that outputs depend on.

    The maximum that is held within a log-sum-exp is none of them: whatever it is, it cancels.
    """
    needed = set(program.outputs)
    for operation, inputs, outputs, _ in reversed(program.steps_to_outputs):
        cancels = operation.type == "StopGradient" and (
            rows.tapes_right_to(operation) == math.inf
        )
        if not (cancels or needed.isdisjoint(outputs)):
            needed.update(inputs)
    return needed


class _Classes:
    """The classes of all operations on the way from some inputs to the outputs.

    Integers and booleans have none of their own: what they decide jumps, if they move.
    """

    def __init__(self, at_edges: bool) -> None:
        self.at_edges = at_edges
        self.found: list[tuple[tf.Operation, Class]] = []

    def of(self, program: Program, moving: Sequence[bool]) -> list[bool]:
        """Adds the classes of a program; returns for each output whether it moves."""
        names = {name for name, moves in zip(program.inputs, moving, strict=True) if moves}
        signs: dict[str, Sign] = {}
        needed = _needed(program)
        for operation, inputs, outputs, _ in program.steps_to_outputs:
            if needed.isdisjoint(outputs):
                continue
            known = [signs.get(name, Sign.UNKNOWN) for name in inputs]
            signs.update(dict.fromkeys(outputs, of_outputs(operation, known)))
            given = [name in names for name in inputs]
            if operation.type in WITHOUT_VALUES or not any(given):
                continue
            bodies = bodies_of(operation)
            edges = self.at_edges and not keeps_off_its_edge(operation, known)
            moved = (
                self._of_bodies(operation, bodies, program, given)
                if bodies
                else self._of_one(operation, given, edges)
            )
            names.update(name for name, moves in zip(outputs, moved) if moves)
        return [name in names for name in program.outputs]

    def _of_one(
        self, operation: tf.Operation, moving: list[bool], at_edges: bool
    ) -> list[bool]:
        k = rows.smoothness(operation, moving, at_edges)
        smooth = [rows.is_smooth(output.dtype) for output in operation.outputs]
        if any(smooth):
            self.found.append((operation, k))
        # Whether a number is finite, say, stays as it is near every point.
        return [is_smooth or k != math.inf for is_smooth in smooth]

    def _of_bodies(
        self, operation: tf.Operation, names: list[str], program: Program, moving: list
    ) -> list[bool]:
        bodies = [program.bodies(name) for name in names]
        if operation.type in ("While", "StatelessWhile"):
            return self._of_loop(operation, bodies, moving)
        if len(bodies) == 1:
            known = registered.facts(names[0]).smoothness
            if known is None:
                return self.of(bodies[0], moving)
            self.found.append((operation, known))
            return [True] * len(operation.outputs)
        decided, *given = moving
        columns = zip(*(self.of(body, given) for body in bodies))
        self._decide(operation, decided)
        return [decided or any(column) for column in columns]

    def _of_loop(
        self, operation: tf.Operation, bodies: list[Program], moving: list[bool]
    ) -> list[bool]:
        condition, body = bodies
        before: list[bool] = []
        while moving != before:
            before = moving
            moving = [a or b for a, b in zip(before, self.of(body, before))]
        self._decide(operation, any(self.of(condition, moving)))
        return moving

    def _decide(self, operation: tf.Operation, moves: bool) -> None:
        if moves:
            self.found.append((operation, -1))
