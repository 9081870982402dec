"""Activations by name, and with fixed parameters that can be saved."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_smooth import registry
from keras_smooth.activations.rows import EXACT_FORMS
from keras_smooth.checks import refused, shown


@keras.saving.register_keras_serializable(package="keras_smooth", name="partial")
class partial:
    """An activation with fixed parameters, which can be saved in a model.

    Args:
        function: The name of an activation, or the function.
        **parameters: Its parameters, numbers or tuples of numbers.

    Raises:
        TypeError: If the function does not have one of the parameters.

    Example:

    >>> import keras_smooth
    >>> siren = keras_smooth.activations.partial("sin", w0=30.0)
    >>> layer = keras_smooth.Dense(256, activation=siren)
    >>> siren
    partial(sin, w0=30.0)
    """

    def __init__(self, function: str | Callable, **parameters: float) -> None:
        self.function = get(function)
        # In files, tuples become lists, which are not hashable.
        self.parameters = {name: _hashable(value) for name, value in parameters.items()}
        try:
            inspect.signature(self.function).bind(None, **parameters)
        except TypeError as error:
            raise TypeError(
                f"{self.function.__name__}{inspect.signature(self.function)} does not "
                f"accept {parameters}: {error}."
            ) from None

    @property
    def __name__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.parameters.items())
        return f"{self.function.__name__}({values})"

    def __call__(self, x: Any) -> Any:
        return self.function(x, **self.parameters)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, partial) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"partial({self.__name__.replace('(', ', ', 1)}"

    def _key(self) -> tuple:
        return self.function, tuple(sorted(self.parameters.items()))

    def get_config(self) -> dict:
        """Returns the config that Keras saves, with the function's config and its parameters."""
        function = keras.activations.serialize(self.function)
        return {"function": function, **self.parameters}

    @classmethod
    def from_config(cls, config: dict) -> "partial":
        return cls(**config)


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value


def get(identifier: str | Callable | dict | None) -> Callable:
    """Returns an activation by its name or config. A function is returned as it is.

    Args:
        identifier: A name (of this package, else of Keras), a function, a dict that
            `keras.activations.serialize` returned, or None for the identity.

    Returns:
        The activation function.

    Raises:
        ValueError: If the name is unknown, with a list of the nearest names, or the dict invalid.
        TypeError: If `identifier` is none of these.

    Example:

    >>> import keras, keras_smooth
    >>> keras_smooth.activations.get("snake") is keras_smooth.activations.snake
    True
    >>> keras_smooth.activations.get("tanh") is keras.activations.tanh
    True
    """
    if isinstance(identifier, str):
        return registry.named(identifier)
    if isinstance(identifier, Mapping):
        return _from_config(identifier)
    if identifier is not None and not callable(identifier) or isinstance(identifier, type):
        expected = "a name, a function, a config or None"
        raise TypeError(refused("An activation", expected, identifier))
    return keras.activations.get(identifier)


def _from_config(config: Any) -> Callable:
    try:
        return keras.activations.get(config)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "The config of an activation must be what keras.activations.serialize writes, "
            f"received {shown(config)}: {str(error).splitlines()[0][:200]}"
        ) from error


def exact_form(function: Callable) -> Callable:
    """Returns the exact form of an activation of Keras, or the function itself."""
    exact = EXACT_FORMS.get(registry.activation_of(function))
    _, parameters = registry.unbound(function)
    if exact is None:
        return function
    return partial(exact, **parameters) if parameters else exact
