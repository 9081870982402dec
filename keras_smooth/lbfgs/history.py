"""The `History` of `fit_lbfgs`, which notebooks show as a table and curves."""

from collections.abc import Sequence

import keras

from keras_smooth.lbfgs.result import OptimizeResult
from keras_smooth.presentation import svg
from keras_smooth.presentation.counts import counted
from keras_smooth.presentation.tables import ShownAsTable, Table

# Largest number of curves in a picture, including the loss.
_MAX_CURVES = 6


class History(ShownAsTable, keras.callbacks.History):
    """The logs of a fit, and how it ended.

    Attributes:
        epoch: Indices of the last iterations before the calls of the callbacks.
        history: A dict of lists: the values of each log at these calls.
        result: The `OptimizeResult`, once the fit has ended.
    """

    result: OptimizeResult | None = None

    def __repr__(self) -> str:
        end = "" if self.result is None else f": {self.result.message}"
        logs, epochs = counted(len(self.history), "log"), counted(len(self.epoch), "epoch")
        return f"<History of {logs} at {epochs}{end}>"

    def _table(self) -> Table:
        if self.result is not None:
            return self.result._table()
        last = [(name, f"{float(log[-1]):.6g}") for name, log in self.history.items()]
        return Table(head=(), rows=last)

    def _pictures(self) -> Sequence[str]:
        names = ["loss", *(name for name in self.history if name != "loss")][:_MAX_CURVES]
        complete = [name for name in names if len(self.history[name]) == len(self.epoch)]
        curves = {name: svg.Curve(self.epoch, self.history[name]) for name in complete}
        return [svg.chart("logs", curves, "epoch", logarithmic=True)]
