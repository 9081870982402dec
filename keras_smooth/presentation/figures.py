"""Figures: curves over exact curves with the error below, values over exact ones, errors over time.

matplotlib is imported where a figure is made, and without pyplot: nothing global.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

TITLES = ("y", "y'", "y''", "y'''")
# A panel shows at most so many values: more cannot be seen, and drawing them takes seconds.
MOST_DOTS = 5000


def require_matplotlib() -> None:
    """Raises an error with the command that installs matplotlib, which only figures need.

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


def new(width: float, height: float) -> Any:
    """Returns an empty figure that belongs to no window."""
    return _picture().hidden(width, height)


def shown(width: float, height: float) -> Any:
    """Returns an empty figure that a notebook shows, and a script in a window if it can."""
    return _picture().shown(width, height)


def _picture() -> ModuleType:
    require_matplotlib()
    return importlib.import_module("keras_smooth.presentation.picture")


def plain(text: str) -> str:
    """Returns text escaped for matplotlib, so that no part is a formula or is hidden."""
    # matplotlib reads a formula between two $, and leaves out labels that begin with _.
    return text.replace("$", r"\$").replace("_", " _", text.startswith("_"))


def curves(
    figure: Any,
    x: np.ndarray,
    exact: Sequence,
    values: Sequence,
    label: str,
    word: str = "x",
) -> None:
    """Draws y, y', y'' of a network over the exact curves, the errors below.

    Args:
        figure: A figure or subfigure.
        x: Points of shape `(n,)`, ascending.
        exact: Arrays of shape `(n,)`, or `(n, outputs)`, one for each order.
        values: The network's, in the same form; None where a derivative is lost.
        label: Name of the network in the legend.
        word: What x is.
    """
    names = [TITLES[k] if k < len(TITLES) else f"y^({k})" for k in range(len(exact))]
    panels = [(name, x, *pair) for name, *pair in zip(names, exact, values, strict=True)]
    styles = {"color": "0.6", "linewidth": 3}, {"color": "C3", "linewidth": 1.2}
    _with_errors(figure, panels, label, word, *styles)


def _with_errors(
    figure: Any, panels: Sequence, label: str, word: str, exact: dict, network: dict
) -> None:
    """Draws panels of a name, x, the exact values and those of a network, the errors below."""
    axes = figure.subplots(
        2, len(panels), sharex="col", squeeze=False, height_ratios=(3, 1)
    )
    for (above, below), (name, x, true, value) in zip(axes.T, panels):
        # Columns share one entry of the legend.
        above.plot(x, true, **exact)[0].set_label("exact")
        below.axhline(0.0, color="0.8", linewidth=0.8)
        if value is None:
            above.text(0.5, 0.5, "lost", transform=above.transAxes, ha="center")
        else:
            above.plot(x, value, **network)[0].set_label(plain(label))
            below.plot(x, np.asarray(value) - true, **network)
        below.ticklabel_format(axis="y", scilimits=(-2, 2))
        above.set_title(plain(name))
        below.set_xlabel(plain(word))
    axes[1, 0].set_ylabel("error")
    axes[0, 0].legend(fontsize="small")


def agreement(figure: Any, names: Sequence[str], pairs: Sequence) -> None:
    """Draws values of a network against the exact ones; correct values are on the line.

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
        some = _some(true.size, 1)
        axis.plot(true[some], value[some], ".", color="C3", markersize=3, label="network")
        axis.set_title(plain(name))
        axis.set_xlabel("exact")
    axes[0].set_ylabel("network")
    axes[0].legend(fontsize="small")


def beside(
    figure: Any, names: Sequence[str], places: Sequence, pairs: Sequence, word: str
) -> None:
    """Draws values of a network and the exact ones over a number of each sample.

    Args:
        figure: A figure or subfigure.
        names: Of the quantities, one a column; the errors are below.
        places: Arrays `(batch,)`, ascending, the number of each sample, one a quantity.
        pairs: Arrays `(batch, numbers)`, exact and the network's, one pair a quantity.
        word: What the number is.
    """
    panels = []
    for name, at, (true, value) in zip(names, places, pairs, strict=True):
        some = _some(len(at), true.shape[1])
        panels.append((name, at[some], true[some], value[some]))
    exact = {"marker": "o", "color": "0.6", "markersize": 5, "linestyle": ""}
    network = {"marker": ".", "color": "C3", "markersize": 3, "linestyle": ""}
    _with_errors(figure, panels, "network", word, exact, network)


def _some(num_samples: int, num_numbers: int) -> np.ndarray:
    """Returns the indices of the samples that a panel shows, in order."""
    most = max(MOST_DOTS // num_numbers, 1)
    if num_samples <= most:
        return np.arange(num_samples)
    return np.sort(np.random.default_rng(0).choice(num_samples, most, replace=False))


def errors(
    figure: Any,
    epochs: np.ndarray,
    series: Mapping[str, np.ndarray],
    fits: Sequence[tuple[str, int]] = (),
) -> None:
    """Draws errors over epochs on a logarithmic axis; exact zeros are left out.

    Args:
        figure: A figure or subfigure.
        epochs: The epochs of the measurements.
        series: Errors by their names.
        fits: Name and first epoch of each fit. There is a line between two fits.
    """
    axis = figure.subplots()
    for label, values in series.items():
        axis.plot(epochs, np.where(values > 0, values, np.nan), ".-", label=plain(label))
    axis.set_yscale("log")
    axis.set_xlabel("epoch")
    axis.set_ylabel("error")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
    if len(fits) < 2:
        return
    # A line where a fit begins, and its name above its epochs.
    ends = [first for _, first in fits[1:]] + [int(epochs[-1]) + 1]
    for number, ((name, first), end) in enumerate(zip(fits, ends, strict=True)):
        if number:
            axis.axvline(first - 0.5, color="0.4", linewidth=1.0, linestyle="--")
        axis.annotate(
            plain(name),
            ((max(first, 0) + end - 1) / 2, 1.0),
            xycoords=axis.get_xaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize="small",
        )
