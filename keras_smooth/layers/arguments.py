"""The arguments of a layer of this package for the constructor of Keras' layer."""

import functools
import inspect
from typing import Any

import keras

from keras_smooth import activations

# What layers of this package have beside the arguments of Keras.
_OWN = ("order", "sharpness")


def keras_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments for the constructor of the class of Keras.

    Activations are functions in them, and those of the names of this package are known.

    Args:
        given: The `locals()` of the constructor of a class whose base is a layer of Keras.

    Raises:
        TypeError: If one that the installed Keras does not have is asked for.
        ValueError: If there is no activation of a name.
    """
    kind = given["__class__"]
    known, arguments = _defaults(kind.__base__), dict(given["kwargs"])
    for name, default in _defaults(kind).items():
        if name in known:
            is_function = name.endswith("activation")
            arguments[name] = activations.get(given[name]) if is_function else given[name]
        elif name not in _OWN and given[name] != default:
            raise TypeError(
                f"{kind.__name__} received {name}={given[name]!r}, which Keras "
                f"{keras.__version__} does not have. Leave it out, or take a newer Keras."
            )
    return arguments


@functools.cache
def _defaults(kind: type) -> dict[str, Any]:
    _, *parameters = inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc]
    return {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
