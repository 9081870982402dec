"""The variables of a fit: those of Keras, whose values are replaced, and of TensorFlow."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

# Messages list at most so many names.
_MOST_NAMES = 8

# Of what a tf.function holds there is no gradient, and it stays as it was.
HELD = (
    "The loss calls a tf.function that was traced before and holds {weights} of that time. Call "
    "the plain Python function: fit_lbfgs compiles the whole loss, with all that it calls."
)

Variable: TypeAlias = keras.Variable | tf.Variable


def name_of(variable: Variable) -> str:
    """Returns the name by which a user knows a variable."""
    return variable.name if isinstance(variable, tf.Variable) else variable.path


def dtype_of(variable: Variable) -> str:
    """Returns the name of the dtype of a variable."""
    return tf.as_dtype(variable.dtype).name


def names_of(variables: Sequence[Variable]) -> str:
    """Returns the names of some variables for a sentence."""
    names = ", ".join(map(name_of, variables[:_MOST_NAMES]))
    more = len(variables) - _MOST_NAMES
    return f"{names} and {more} more" if more > 0 else names


def is_among(variable: Variable, variables: Iterable[Variable]) -> bool:
    """Returns whether a variable is in a list, by identity."""
    return any(variable is other for other in variables)


@contextlib.contextmanager
def explained_held_tensors() -> Iterator[None]:
    """Explains the error of a tf.function that holds tensors of another trace."""
    try:
        yield
    except TypeError as error:
        if "is out of scope" not in str(error):
            raise
        raise ValueError(HELD.format(weights="the weights")) from error


class OtherValues(keras.StatelessScope):
    """A scope in which variables have other values, and changes of variables are dropped.

    A variable of TensorFlow is read where it is: it is assigned, and keeps the value.

    Args:
        variables: Variables.
        values: Their values.

    Attributes:
        read: The variables of Keras that were read and have no other value.
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
        """Returns the other value of a variable, or None."""
        value = super().get_current_value(variable)
        if value is None and not is_among(variable, self.read):
            self.read.append(variable)
        return value
