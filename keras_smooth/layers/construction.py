"""The construction of a layer of this package by the constructor of Keras' layer."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

from keras_smooth import activations, registry
from keras_smooth.checks import finite_number, whole_number
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.warn import warn_once

# The arguments that layers of this package have in addition to those of Keras.
_ADDED = ("order", "sharpness")


def construct(parent: Any, given: dict[str, Any]) -> None:
    """Calls the constructor of Keras' layer, and sets the argument that this package adds.

    Args:
        parent: The `super()` of the constructor of a class whose base is a layer of Keras.
        given: The `locals()` of this constructor.

    Raises:
        TypeError: If an argument is used that the installed Keras does not have, or the added
            argument is no number.
        ValueError: If an activation is unknown or less smooth than `order`, or the added
            argument is out of range.
    """
    layer, arguments = given["self"], keras_arguments(given)
    parent.__init__(**arguments)
    if "order" in given:
        names = [name for name in arguments if name.endswith("activation")]
        functions = [getattr(layer, name) for name in names]
        layer.order = _checked_order(layer, given["order"], functions)
    if "sharpness" in given:
        name = f"The `sharpness` of {type(layer).__name__}"
        layer.sharpness = finite_number(name, given["sharpness"], 0.0, above=True)


def keras_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments for the constructor of the class of Keras.

    Names of activations, of Keras or of this package, are replaced by the functions.

    Args:
        given: The `locals()` of the constructor of a class whose base is a layer of Keras.
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


def _checked_order(layer: object, order: int, functions: list[Callable]) -> int:
    """Returns the order of a layer after checking that its activations are smooth enough.

    Args:
        layer: The layer, for its class name in messages.
        order: Number of derivatives that will be computed; 0 allows any activation.
        functions: Activation functions.
    """
    owner = type(layer).__name__
    order = whole_number(f"The `order` of {owner}", order, 0)
    for activation in functions:
        smoothness = registry.registered_smoothness(activation)
        if not order or smoothness is not None and smoothness >= order:
            continue
        name = getattr(activation, "__name__", type(activation).__name__)
        if smoothness is not None:
            row = registry.row(activation)
            kind = f"of class C^{smoothness}" if smoothness >= 0 else "not continuous"
            reason = f" ({name} {row.reason})" if row and row.reason else ""
            smooth = ", ".join(registry.recommended(order))
            raise ValueError(
                f"{owner} received activation={name!r}, which is {kind}, but order={order} "
                f"asks for C^{order}{reason}. Use a smooth activation ({smooth}), or allow "
                f"the loss with order={max(smoothness, 0)}."
            )
        # A function may be smoother than its operations show.
        if (registry.smoothness(activation) or 0) < order:
            warn_once(
                activation,
                f"{owner} cannot tell whether activation {name!r} has "
                f"{counted(order, 'derivative')}. "
                "Say so with keras_smooth.register_smoothness(function, smoothness).",
            )
    return order
