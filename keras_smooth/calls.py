"""What a layer's own methods can be called with."""

import inspect
from collections.abc import Callable


def accepts_training(call: Callable) -> bool:
    """Returns whether a `call` or `compute_loss` takes the argument `training`."""
    parameters = inspect.signature(call).parameters.values()
    return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)
