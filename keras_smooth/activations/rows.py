"""The decorator that adds the row of an activation next to its function."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_smooth import registry

# The exact function of this package for each function of Keras.
EXACT_FORMS: dict[Callable, Callable] = {}


def activation_row(
    smoothness: float,
    breakpoints: Sequence[float] = (),
    reason: str = "",
    exact_of: Callable | None = None,
    kinds: str = "",
) -> Callable[[Callable], Callable]:
    """Returns a decorator that registers an elementwise function for saving and adds its row.

    Args:
        smoothness: k of the class C^k.
        breakpoints: The points at which the pieces of the function join.
        reason: The fault at these points, the end of a sentence that begins with the name.
        exact_of: The function of Keras with the same values, but wrong derivatives.
        kinds: See `keras_smooth.registry.rows.Row`.

    Raises:
        ValueError: If there is an activation of this name; nothing is registered then.
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
            registry.Row(
                function,
                smoothness,
                breakpoints=tuple(breakpoints),
                reason=reason,
                kinds=kinds,
            )
        )
        registry.register_name(function)
        if exact_of is not None:
            EXACT_FORMS[exact_of] = function
        return function

    return register
