"""The trace of a model or function: its operations, as TensorFlow records them."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.operations import bodies
from keras_smooth.operations.program import Program
from keras_smooth.operations.recognition import with_recognized_calls
from keras_smooth.operations.registered import facts_of_calls


# Traces are compared by identity, since results are cached by trace.
@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """A traced function.

    Args:
        program: Its operations.
        captured: The tensors and variables that it uses in addition to its arguments.
        structure: The structure of graph tensors that it returns.
        places: For each leaf of `structure` its index among the program's outputs, or -1
            if the leaf is None.
        results: What was computed from the program, by function and arguments.
    """

    program: Program
    captured: tuple[Any, ...]
    structure: Any
    places: tuple[int, ...]
    results: dict[tuple, Any] = dataclasses.field(default_factory=dict)

    def packed(self, outputs: Sequence) -> Any:
        """Returns outputs of the program in the structure that the function returns."""
        leaves = [None if index < 0 else outputs[index] for index in self.places]
        return keras.tree.pack_sequence_as(self.structure, leaves)


def trace(function: Callable, arguments: Sequence[tf.Tensor]) -> Trace:
    """Traces a function of tensors.

    Args:
        function: A function of as many tensors as there are arguments.
        arguments: Tensors. Only their shapes and dtypes are used.

    Returns:
        The trace. It has the captured variables themselves, not their present values.

    Raises:
        TypeError, ValueError: TensorFlow's error for a function that cannot be traced, for
            example because Python decides by the values of tensors
            (tf.errors.OperatorNotAllowedInGraphError).

    Example:

    >>> import tensorflow as tf
    >>> from keras_smooth.operations.trace import trace
    >>> traced = trace(lambda x: tf.tanh(x) * 2.0, [tf.zeros((3, 1))])
    >>> [operation.type for operation, *_ in traced.program.instructions]
    ['Tanh', 'Const', 'Mul', 'Identity']
    """
    specifications = [tf.TensorSpec(x.shape, x.dtype) for x in arguments]
    # TensorFlow warns of many traces of one code object. A partial has no code object.
    compiled = tf.function(functools.partial(function), autograph=False)
    with facts_of_calls() as store:
        concrete = compiled.get_concrete_function(*specifications)
    store(concrete.graph)
    with concrete.graph.as_default():
        structure = keras.tree.map_structure(
            lambda leaf: None if leaf is None else tf.convert_to_tensor(leaf),
            concrete.structured_outputs,
        )
    # Variables instead of their handles, since a tape records only reads of a variable.
    variables = {id(getattr(v, "handle", None)): v for v in concrete.variables}
    leaves, numbers = keras.tree.flatten(structure), itertools.count()
    tensors = [leaf for leaf in leaves if leaf is not None]
    program = Program(
        inputs=tuple(tensor.name for tensor in concrete.inputs),
        outputs=tuple(tensor.name for tensor in tensors),
        operations=tuple(concrete.graph.get_operations()),
        bodies=bodies.body_lookup(concrete.graph),
    )
    return Trace(
        program=with_recognized_calls(program, concrete.graph),
        captured=tuple(variables.get(id(x), x) for x in concrete.captured_inputs),
        structure=structure,
        places=tuple(-1 if leaf is None else next(numbers) for leaf in leaves),
    )
