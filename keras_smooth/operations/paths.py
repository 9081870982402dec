"""The operations between inputs and outputs: what depends on what."""

import math
from collections.abc import Iterator, Sequence

import tensorflow as tf

from keras_smooth.operations import registered, rows
from keras_smooth.operations.program import Program
from keras_smooth.operations.rows import WITHOUT_VALUES


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
        for name in _bodies(operation):
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


def _bodies(operation: tf.Operation) -> list[str]:
    if operation.type in ("Case", "StatelessCase"):
        return [each.name for each in operation.get_attr("branches")]
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
    called = (registered.tapes_right_to(name) for name in _bodies(operation))
    return min([rows.tapes_right_to(operation), *called])
