"""The fits that one monitor watches in turn, with continued numbers of epochs."""

from collections.abc import Mapping
from typing import Any


class Fits:
    """The fits so far.

    Attributes:
        rows: Name and first epoch of each; those of one name that follow each other are one.
        last: The latest epoch that is over, as `epoch` returned it.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[str, int]] = []
        self.last = -1
        self._shift: int | None = None

    def begin(self) -> None:
        """Notes that the next epoch belongs to another fit."""
        self._shift = None

    def epoch(self, epoch: int, model: Any, parameters: Mapping | None) -> int:
        """Returns the number of an epoch, counted over all fits.

        Args:
            epoch: Its number in its fit.
            model: The model that is trained.
            parameters: Of the callbacks of the fit.
        """
        if self._shift is None:
            # An epoch of `fit_lbfgs` has the number of its last iteration.
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
    # Of `fit_lbfgs`; Keras' own `fit` gives none.
    if title := parameters.get("title"):
        return title
    optimizer = getattr(model, "optimizer", None)
    # With mixed precision, a LossScaleOptimizer wraps the optimizer.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return "fit" if optimizer is None else type(optimizer).__name__
