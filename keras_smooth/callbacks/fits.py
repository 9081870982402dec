"""The consecutive fits of a monitor, over which epochs are counted."""

from collections.abc import Mapping
from typing import Any


class Fits:
    """The fits in which a monitor was a callback so far.

    Attributes:
        rows: Name and first epoch of each fit; consecutive fits with one name are one row.
        last: The latest epoch that has ended, counted over all fits.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[str, int]] = []
        self.last = -1
        self._shift: int | None = None

    def begin(self) -> None:
        """Begins another fit, with the next epoch that is counted."""
        self._shift = None

    def count(self, epoch: int, model: Any, parameters: Mapping | None) -> int:
        """Returns the number of an epoch, counted over all fits.

        Args:
            epoch: The number of the epoch in its fit.
            model: The model that is trained.
            parameters: The parameters that the fit has set for callbacks.
        """
        if self._shift is None:
            # `fit_lbfgs` passes the number of the last iteration of a chunk as the epoch.
            first = (parameters or {}).get("initial_epoch", epoch)
            self._shift = max(self.last + 1 - first, 0)
            name = _name(model, parameters or {})
            if not self.rows or self.rows[-1][0] != name:
                self.rows.append((name, first + self._shift))
        return epoch + self._shift

    def name_of(self, epoch: int) -> str:
        """Returns the name of the fit to which an epoch belongs."""
        return next((name for name, first in reversed(self.rows) if first <= epoch), "")


def _name(model: Any, parameters: Mapping) -> str:
    """Returns the name of a fit: that of its minimizer or optimizer."""
    # `fit_lbfgs` sets a title; Keras' own `fit` does not.
    if title := parameters.get("title"):
        return title
    optimizer = getattr(model, "optimizer", None)
    # In mixed precision, a LossScaleOptimizer wraps the optimizer.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return "fit" if optimizer is None else type(optimizer).__name__
