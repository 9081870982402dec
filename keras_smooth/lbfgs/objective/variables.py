"""The variables of a fit: those of Keras, whose values are substituted, and those of TensorFlow."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

# Largest number of names in a message.
_MAX_NAMES = 8

# Tensors of another trace have no gradient, and their values never change.
HELD_TENSORS = (
    "The loss calls a tf.function that was traced before and holds {weights} of that time. Call "
    "the plain Python function: fit_lbfgs compiles the whole loss, with all that it calls. A "
    "layer of a SavedModel calls such functions: freeze it with layer.trainable = False."
)

Variable: TypeAlias = keras.Variable | tf.Variable


def name_of(variable: Variable) -> str:
    """Returns the name by which a user knows a variable."""
    return variable.name if isinstance(variable, tf.Variable) else variable.path


def dtype_of(variable: Variable) -> str:
    """Returns the name of the dtype of a variable."""
    return tf.as_dtype(variable.dtype).name


def names_of(variables: Sequence[Variable]) -> str:
    """Returns the names of the first variables, and the number of others, for a sentence."""
    names = ", ".join(map(name_of, variables[:_MAX_NAMES]))
    more = len(variables) - _MAX_NAMES
    return f"{names} and {more} more" if more > 0 else names


def is_among(variable: Variable, variables: Iterable[Variable]) -> bool:
    """Returns whether variables include this one, compared by identity."""
    return any(variable is other for other in variables)


@contextlib.contextmanager
def explained_held_tensors() -> Iterator[None]:
    """Adds advice to the error about tensors of another trace; a context or a decorator."""
    try:
        yield
    except TypeError as error:
        if "is out of scope" not in str(error):
            raise
        raise ValueError(HELD_TENSORS.format(weights="the weights")) from error


class SubstituteValues(keras.StatelessScope):
    """A scope in which variables have substitute values, and changes of variables are dropped.

    A variable of TensorFlow cannot be substituted: the value is assigned to it, permanently.

    Args:
        variables: Variables.
        values: Their substitute values.

    Attributes:
        read: The variables of Keras that were read and have no substitute value.
    """

    def __init__(self, variables: Iterable[Variable], values: Iterable[tf.Tensor]):
        mapping = []
        for variable, value in zip(variables, values):
            if isinstance(variable, tf.Variable):
                variable.assign(value)
            else:
                mapping.append((variable, value))
        super().__init__(state_mapping=mapping, collect_losses=True)
        self.read: list[keras.Variable] = []

    def get_current_value(self, variable: keras.Variable) -> Any:
        """Returns the substitute value of a variable, or None."""
        value = super().get_current_value(variable)
        if value is None and not is_among(variable, self.read):
            self.read.append(variable)
        return value
