"""The check whether the activations of a layer are smooth enough for its order."""

from collections.abc import Callable

from keras_smooth import registry
from keras_smooth.checks import whole_number
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.warn import warn_once


def checked_order(layer: object, order: int, *activations: Callable) -> int:
    """Returns the order of a layer after checking that its activations are smooth enough.

    Args:
        layer: The layer, for its class name in messages.
        order: Number of derivatives that will be computed; 0 allows any activation.
        *activations: Activation functions.

    Raises:
        TypeError: If `order` is not an integer.
        ValueError: If `order` is negative, or an activation is less smooth.
    """
    owner = type(layer).__name__
    order = whole_number(f"The `order` of {owner}", order, 0)
    for activation in activations:
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
