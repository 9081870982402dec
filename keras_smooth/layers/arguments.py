"""Arguments that an older Keras does not have."""

import functools
import inspect
from typing import Any

import keras


def installed(kind: type, **arguments: Any) -> dict[str, Any]:
    """Returns the arguments that the installed Keras has.

    Args:
        kind: Class of this package, the subclass of a layer of Keras.
        **arguments: Arguments that some version of Keras does not have.

    Raises:
        TypeError: If one that the installed Keras does not have is asked for.
    """
    known = _defaults(kind.__base__)
    missing = {name: value for name, value in arguments.items() if name not in known}
    for name, value in missing.items():
        if value != _defaults(kind)[name]:
            raise TypeError(
                f"{kind.__name__} received {name}={value!r}, which Keras "
                f"{keras.__version__} does not have. Leave it out, or take a newer Keras."
            )
    return {name: value for name, value in arguments.items() if name in known}


@functools.cache
def _defaults(kind: type) -> dict[str, Any]:
    parameters = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    return {name: parameter.default for name, parameter in parameters.items()}
