"""The row of an activation, next to its function."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_smooth import registry

# Function of Keras and the function of this package.
EXACT_FORMS: dict[Callable, Callable] = {}


def activation_row(
    smoothness: float,
    joints: Sequence[float] = (),
    reason: str = "",
    exact_of: Callable | None = None,
) -> Callable[[Callable], Callable]:
    """Registers a function of single numbers for saving, and as a row of the registry.

    Args:
        smoothness: k of the class C^k.
        joints: Where pieces of the function meet.
        reason: What happens there.
        exact_of: The function of Keras that has the same values, and whose derivatives are
            wrong.

    Returns:
        A decorator.

    Raises:
        ValueError: If another function has the name; the table stays as it is.
    """

    def register(function: Any) -> Any:
        name = function.__name__
        if registry.has_name(name):
            raise ValueError(
                f"There is an activation named {name!r} already. Give the function in "
                f"{function.__module__} another name."
            )
        keras.saving.register_keras_serializable(package="keras_smooth")(function)
        registry.add(
            registry.Row(function, smoothness, joints=tuple(joints), reason=reason)
        )
        registry.name(function)
        if exact_of is not None:
            EXACT_FORMS[exact_of] = function
        return function

    return register
