"""Figures: curves over exact curves with their error below, errors over time.

matplotlib is imported where a figure is made, and without pyplot: nothing global.
"""

from collections.abc import Mapping, Sequence

import numpy as np

TITLES = ("y", "y'", "y''", "y'''")


def new(width: float, height: float):
    """Returns an empty figure that belongs to no window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    return figure


def plain(text: str) -> str:
    """Returns text so that matplotlib shows it as it is, no formula and nothing hidden."""
    # Between two $ it would read a formula, and it leaves out labels that begin with _.
    return text.replace("$", r"\$").replace("_", " _", text.startswith("_"))


def curves(figure, x: np.ndarray, exact: Sequence, values: Sequence, label: str) -> None:
    """Draws y, y', y'' of a network over the exact curves, the errors below.

    Args:
        figure: A figure or subfigure.
        x: Points of shape `(n,)`, ascending.
        exact: Arrays of shape `(n,)`, one for each order.
        values: The network's, in the same form; None where a derivative is lost.
        label: Name of the network in the legend.
    """
    axes = figure.subplots(2, len(exact), sharex=True, squeeze=False, height_ratios=(3, 1))
    for (above, below), title, true, value in zip(axes.T, TITLES, exact, values):
        _curve(above, x, true, value, label)
        _error(below, x, true, value)
        above.set_title(title)
        below.set_xlabel("x")
    axes[1, 0].set_ylabel("error")
    axes[0, 0].legend(fontsize="small")


def _curve(axis, x, true, value, label: str) -> None:
    axis.plot(x, true, color="0.6", linewidth=3, label="exact")
    if value is None:
        axis.text(0.5, 0.5, "lost", transform=axis.transAxes, ha="center")
    else:
        axis.plot(x, value, color="C3", linewidth=1.2, label=plain(label))


def _error(axis, x, true, value) -> None:
    axis.axhline(0.0, color="0.8", linewidth=0.8)
    if value is not None:
        axis.plot(x, np.asarray(value) - true, color="C3", linewidth=1.0)
    axis.ticklabel_format(axis="y", scilimits=(-2, 2))


def errors(figure, epochs: np.ndarray, series: Mapping[str, np.ndarray]) -> None:
    """Draws errors over epochs on a logarithmic axis; exact zeros are left out."""
    axis = figure.subplots()
    for label, values in series.items():
        axis.plot(epochs, np.where(values > 0, values, np.nan), ".-", label=plain(label))
    axis.set_yscale("log")
    axis.set_xlabel("epoch")
    axis.set_ylabel("error")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
