"""The check of the activations of a layer with an order."""

import functools
from collections.abc import Callable

from keras_smooth import registry
from keras_smooth.checks import whole_number
from keras_smooth.presentation.warn import warn


def checked_order(layer: object, order: int, *activations: Callable) -> int:
    """Returns the order of a layer, if its activations can be differentiated as often.

    Args:
        layer: The layer, for its class name in messages.
        order: Number of derivatives that will be taken; 0 allows every activation.
        *activations: Activation functions.

    Raises:
        TypeError: If `order` is not an integer.
        ValueError: If it is negative, or an activation is less smooth.
    """
    owner = type(layer).__name__
    order = whole_number(f"The `order` of {owner}", order, 0)
    for activation in activations:
        known = registry.registered_smoothness(activation)
        if not order or known is not None and known >= order:
            continue
        if known is not None:
            raise ValueError(_rough(owner, activation, known, order))
        if (registry.smoothness(activation) or 0) < order:
            # A function may be smoother than its operations show.
            _warn_unknown(owner, _name(activation), order)
    return order


def _rough(owner: str, activation: Callable, smoothness: float, order: int) -> str:
    name, row = _name(activation), registry.row(activation)
    kind = f"of class C^{smoothness}" if smoothness >= 0 else "not continuous"
    reason = f" ({name} {row.reason})" if row and row.reason else ""
    smooth = ", ".join(registry.recommended(order))
    return (
        f"{owner} received activation={name!r}, which is {kind}, but order={order} asks "
        f"for C^{order}{reason}. Take a smooth activation ({smooth}), or allow the loss "
        f"with order={max(smoothness, 0)}."
    )


def _name(activation: Callable) -> str:
    return getattr(activation, "__name__", type(activation).__name__)


@functools.cache
def _warn_unknown(owner: str, name: str, order: int) -> None:
    warn(
        f"{owner} cannot tell whether activation {name!r} has {order} derivatives. Say so "
        "with keras_smooth.register_smoothness(function, smoothness)."
    )
