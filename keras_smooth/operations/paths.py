"""The operations between inputs and outputs: what depends on what."""

from collections.abc import Sequence

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
