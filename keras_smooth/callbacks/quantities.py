"""Gradient norm and Laplacian, as functions of the derivatives of a measurement."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_smooth.checks import choice


class Quantity(NamedTuple):
    """A quantity that is a function of one derivative.

    Args:
        order: Order of the derivative.
        function: Function of the derivative, whose last axes are `(dim,)` or `(dim, dim)`.
    """

    order: int
    function: Callable

    def of(self, derivative: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Returns the quantity, `(batch, *outputs)`, from the derivative at the points x."""
        shape = x.shape[1:]
        dim = int(np.prod(shape))
        # If each sample of x is one number, derivatives have no axes of inputs.
        num_axes = self.order * (len(shape) if dim > 1 else 0)
        outputs = derivative.shape[: derivative.ndim - num_axes]
        return self.function(derivative.reshape(*outputs, *[dim] * self.order))


# Not lambdas, since a monitor refers to these functions and must be picklable.
QUANTITIES = {
    "gradient_norm": Quantity(1, functools.partial(np.linalg.norm, axis=-1)),
    "laplacian": Quantity(2, functools.partial(np.trace, axis1=-2, axis2=-1)),
}


def select_quantities(also: Sequence[str], x: Any, order: int) -> dict[str, Quantity]:
    """Returns the quantities with the names `also`.

    Raises:
        TypeError: If `also` is not a list or tuple.
        ValueError: If a name is unknown, a quantity needs a higher order, or x is not one array.
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
