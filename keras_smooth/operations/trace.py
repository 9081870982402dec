"""The operations of a model or function, as TensorFlow traces them."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.operations import bodies
from keras_smooth.operations.program import Program


# Compared by identity, since facts are kept for each trace.
@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """A traced function.

    Args:
        program: Its operations.
        captured: The tensors and variables that it uses beside its arguments.
        structure: Its outputs, graph tensors, in the structure that it returns.
        places: For each leaf of that structure the place in the program's outputs, or -1
            for None.
    """

    program: Program
    captured: tuple[Any, ...]
    structure: Any
    places: tuple[int, ...]

    def packed(self, outputs: Sequence) -> Any:
        """Returns outputs of the program in the structure that the function returns."""
        leaves = [None if place < 0 else outputs[place] for place in self.places]
        return keras.tree.pack_sequence_as(self.structure, leaves)


def trace(function: Callable, arguments: Sequence[tf.Tensor]) -> Trace:
    """Traces a function of tensors.

    Args:
        function: Of as many tensors as there are arguments.
        arguments: Tensors, of which the shapes and dtypes matter.

    Returns:
        The operations of the function, in the mode and with the weights of this moment.

    Raises:
        TypeError, ValueError: What TensorFlow raises for a function that cannot be traced,
            as one in which Python decides by values (tf.errors.OperatorNotAllowedInGraphError).

    Example:

    >>> import tensorflow as tf
    >>> from keras_smooth.operations.trace import trace
    >>> traced = trace(lambda x: tf.tanh(x) * 2.0, [tf.zeros((3, 1))])
    >>> [operation.type for operation, *_ in traced.program.instructions]
    ['Tanh', 'Const', 'Mul', 'Identity']
    """
    specifications = [tf.TensorSpec(x.shape, x.dtype) for x in arguments]
    # A partial has no code of its own: TensorFlow counts each trace by itself.
    compiled = tf.function(functools.partial(function), autograph=False)
    concrete = compiled.get_concrete_function(*specifications)
    with concrete.graph.as_default():
        structure = keras.tree.map_structure(
            lambda leaf: None if leaf is None else tf.convert_to_tensor(leaf),
            concrete.structured_outputs,
        )
    # A tape follows a variable that is read, not its handle.
    variables = {id(getattr(v, "handle", None)): v for v in concrete.variables}
    leaves, numbers = keras.tree.flatten(structure), itertools.count()
    tensors = [leaf for leaf in leaves if leaf is not None]
    return Trace(
        program=Program(
            inputs=tuple(tensor.name for tensor in concrete.inputs),
            outputs=tuple(tensor.name for tensor in tensors),
            operations=tuple(concrete.graph.get_operations()),
            bodies=bodies.library(concrete.graph),
        ),
        captured=tuple(variables.get(id(x), x) for x in concrete.captured_inputs),
        structure=structure,
        places=tuple(-1 if leaf is None else next(numbers) for leaf in leaves),
    )


def openings(structure: Any, is_open: Callable) -> tuple[list, Callable]:
    """Returns some leaves of a structure, and a function that puts others in their places.

    Args:
        structure: Any; such as args and kwargs.
        is_open: Returns of a leaf whether it is one of them.
    """
    leaves = keras.tree.flatten(structure)
    places = [place for place, leaf in enumerate(leaves) if is_open(leaf)]

    def filled(values: Sequence) -> Any:
        new = list(leaves)
        for place, value in zip(places, values, strict=True):
            new[place] = value
        return keras.tree.pack_sequence_as(structure, new)

    return [leaves[place] for place in places], filled
