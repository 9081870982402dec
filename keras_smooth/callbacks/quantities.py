"""Gradient norm and Laplacian, from the derivatives that are measured."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_smooth.checks import choice


class Quantity(NamedTuple):
    """A function of a derivative.

    Args:
        order: Of the derivative that it is a function of.
        function: Of that derivative, with `(dim,)` or `(dim, dim)` as its last axes.
    """

    order: int
    function: Callable

    def of(self, derivative: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Returns the quantity, `(batch, *outputs)`, of a derivative at points."""
        shape = x.shape[1:]
        dim = int(np.prod(shape))
        # A single input has no axis in the derivatives.
        num_axes = self.order * (len(shape) if dim > 1 else 0)
        outputs = derivative.shape[: derivative.ndim - num_axes]
        return self.function(derivative.reshape(*outputs, *[dim] * self.order))


# No lambdas: a monitor, which holds these, can be pickled.
QUANTITIES = {
    "gradient_norm": Quantity(1, functools.partial(np.linalg.norm, axis=-1)),
    "laplacian": Quantity(2, functools.partial(np.trace, axis1=-2, axis2=-1)),
}


def quantities_of(also: Sequence[str], x: Any, order: int) -> dict[str, Quantity]:
    """Returns the quantities of some names.

    Raises:
        TypeError: If the names are no sequence of strings.
        ValueError: If one is unknown, needs a higher order, or x is not one array.
    """
    if not isinstance(also, list | tuple):
        raise TypeError(f"`also` must be a list of names, received {also!r}.")
    for name in also:
        needed = QUANTITIES[choice("`also`", name, QUANTITIES)].order
        if order < needed:
            raise ValueError(
                f"`also`: {name!r} needs order={needed} or more, received order={order}."
            )
    if also and not isinstance(x, np.ndarray):
        raise ValueError(
            "`also` needs x as one array: of several inputs there is more than one gradient."
        )
    return {name: QUANTITIES[name] for name in also}
