"""The function of keras.ops for an operation in a graph, and its arguments."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

# Functions whose class of operations is named differently.
_CLASSES = {
    "abs": "absolute",
    "batch_normalization": "batchnorm",
    "conj": "conjugate",
    "hard_swish": "hardsilu",
    "layer_normalization": "layernorm",
    "rms_normalization": "rmsnorm",
    "swish": "silu",
}
# The classes of operations have no public name. Functions are found by the names of the classes.
_FUNCTIONS: dict[str, list[Callable]] = {}
for _module in (ops, ops.image, keras.activations):
    for _name, _function in inspect.getmembers(_module, inspect.isroutine):
        _class = _CLASSES.get(_name, _name.replace("_", ""))
        _FUNCTIONS.setdefault(_class, []).append(_function)

# Other names of parameters in the configs of an older Keras, such as 3.10.
_OLDER_NAMES = {"threshold_value": "threshold", "value": "default_value"}


def function_of(operation: keras.Operation) -> Callable | None:
    """Returns the function that builds an operation, or None if it is not an operation of Keras.

    It accepts the arguments of the operation: `keras.activations.relu` has some that
    `keras.ops.relu` does not have.
    """
    kind = type(operation)
    if kind.__module__.partition(".")[0] != "keras":
        return None
    functions = _FUNCTIONS.get(kind.__name__.lower(), [])
    return next((f for f in functions if not _unknown_arguments(operation, f)), None)


def settings(operation: keras.Operation, function: Callable) -> dict[str, Any]:
    """Returns the arguments of an operation in a graph, without tensors and defaults.

    The keys are the names of the function's parameters.
    """
    parameters = inspect.signature(function).parameters
    return {
        name: value
        for name, value in _arguments(operation, function).items()
        if not (name in parameters and _equal(value, parameters[name].default))
    }


def _arguments(operation: keras.Operation, function: Callable) -> dict[str, Any]:
    """Returns the arguments of an operation by the names of a function's parameters."""
    parameters = inspect.signature(function).parameters
    return {
        name if name in parameters else _OLDER_NAMES.get(name, name): value
        for name, value in operation.get_config().items()
        if name in parameters or name != "name"
    }


def _unknown_arguments(operation: keras.Operation, function: Callable) -> set[str]:
    """Returns the names of the arguments of an operation that a function does not have."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return set()
    return set(_arguments(operation, function)) - set(parameters)


def _equal(value: object, default: object) -> bool:
    return value is default or type(value) is type(default) and value == default
