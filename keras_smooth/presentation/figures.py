"""Figures: curves over exact curves with the error below, values over exact ones, errors over time.

matplotlib is imported where a figure is made, and without pyplot: nothing global.
"""

import importlib.util
from collections.abc import Mapping, Sequence

import numpy as np

TITLES = ("y", "y'", "y''", "y'''")
# Of more values than these a panel shows as many: nobody sees more, and they take seconds.
MOST_DOTS = 5000


def require_matplotlib() -> None:
    """Says how to install matplotlib, which figures need and nothing else does.

    Raises:
        ImportError: If it is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        # With its own version, NumPy stays as TensorFlow needs it: of themselves the packages
        # that matplotlib needs bring NumPy 2 in the place of 1.
        raise ImportError(
            "Figures need matplotlib, which is not installed. Install it with: pip install "
            f'"matplotlib>=3.8" "numpy=={np.__version__}"'
        )


def new(width: float, height: float):
    """Returns an empty figure that belongs to no window."""
    require_matplotlib()
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
        exact: Arrays of shape `(n,)`, or `(n, outputs)`, one for each order.
        values: The network's, in the same form; None where a derivative is lost.
        label: Name of the network in the legend.
    """
    axes = figure.subplots(2, len(exact), sharex=True, squeeze=False, height_ratios=(3, 1))
    for order, (true, value) in enumerate(zip(exact, values, strict=True)):
        above, below = axes[:, order]
        _curve(above, x, true, value, label)
        _error(below, x, true, value)
        above.set_title(TITLES[order] if order < len(TITLES) else f"y^({order})")
        below.set_xlabel("x")
    axes[1, 0].set_ylabel("error")
    axes[0, 0].legend(fontsize="small")


def _curve(axis, x, true, value, label: str) -> None:
    _lines(axis, x, true, "exact", color="0.6", linewidth=3)
    if value is None:
        axis.text(0.5, 0.5, "lost", transform=axis.transAxes, ha="center")
    else:
        _lines(axis, x, value, plain(label), color="C3", linewidth=1.2)


def _lines(axis, x, y, label: str, **style) -> None:
    """Draws y, or its columns, which share a line of the legend."""
    axis.plot(x, y, **style)[0].set_label(label)


def _error(axis, x, true, value) -> None:
    axis.axhline(0.0, color="0.8", linewidth=0.8)
    if value is not None:
        axis.plot(x, np.asarray(value) - true, color="C3", linewidth=1.0)
    axis.ticklabel_format(axis="y", scilimits=(-2, 2))


def agreement(figure, names: Sequence[str], pairs: Sequence) -> None:
    """Draws values of a network over the exact ones: right are those on the line.

    Args:
        figure: A figure or subfigure.
        names: Of the quantities, one a panel.
        pairs: Arrays of the same size, exact and the network's, one pair a quantity.
    """
    (axes,) = figure.subplots(1, len(pairs), squeeze=False)
    for axis, name, (true, value) in zip(axes, names, pairs, strict=True):
        true, value = np.ravel(true), np.ravel(value)
        ends = [true.min(), true.max()]
        axis.plot(ends, ends, color="0.6", linewidth=3, label="exact")
        if true.size > MOST_DOTS:
            some = np.random.default_rng(0).choice(true.size, MOST_DOTS, replace=False)
            true, value = true[some], value[some]
        axis.plot(true, value, ".", color="C3", markersize=3, label="network")
        axis.set_title(plain(name))
        axis.set_xlabel("exact")
    axes[0].set_ylabel("network")
    axes[0].legend(fontsize="small")


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
