"""The arguments of a layer of this package for the constructor of Keras' layer."""

import functools
import inspect
from typing import Any

import keras

from keras_smooth import activations

# The arguments that layers of this package have in addition to those of Keras.
_ADDED = ("order", "sharpness")


def keras_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments for the constructor of the class of Keras.

    Names of activations, of Keras or of this package, are replaced by the functions.

    Args:
        given: The `locals()` of the constructor of a class whose base is a layer of Keras.

    Raises:
        TypeError: If an argument is used that the installed Keras does not have.
        ValueError: If the name of an activation is unknown.
    """
    kind = given["__class__"]
    keras_names, arguments = _defaults(kind.__base__), dict(given["kwargs"])
    for name, default in _defaults(kind).items():
        if name in keras_names:
            is_function = name.endswith("activation")
            arguments[name] = activations.get(given[name]) if is_function else given[name]
        elif name not in _ADDED and given[name] != default:
            raise TypeError(
                f"{kind.__name__} received {name}={given[name]!r}, which Keras "
                f"{keras.__version__} does not have. Leave it out, or use a newer Keras."
            )
    return arguments


@functools.cache
def _defaults(kind: type) -> dict[str, Any]:
    """Returns the parameters of the constructor of a class with their defaults."""
    _, *parameters = inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc]
    return {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
