"""Figures: curves with exact curves and errors, values against exact values, errors over epochs.

matplotlib is only imported when a figure is made, and without pyplot, which has global state.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

TITLES = ("y", "y'", "y''", "y'''")
# The largest number of dots in a panel: more cannot be distinguished, and take seconds to draw.
MAX_DOTS = 5000


def require_matplotlib() -> None:
    """Raises an error with the command that installs matplotlib, which only figures need.

    Raises:
        ImportError: If it is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        # The installed version of NumPy is kept, since TensorFlow needs it. Otherwise the
        # requirements of matplotlib would replace NumPy 1 by NumPy 2.
        raise ImportError(
            "Figures need matplotlib, which is not installed. Install it with: pip install "
            f'"matplotlib>=3.8" "numpy=={np.__version__}"'
        )


def new(width: float, height: float) -> Any:
    """Returns an empty figure that belongs to no window."""
    return _picture().hidden(width, height)


def shown(width: float, height: float) -> Any:
    """Returns an empty figure that is shown in a notebook, or in a window if there is a screen."""
    return _picture().shown(width, height)


def _picture() -> ModuleType:
    require_matplotlib()
    return importlib.import_module("keras_smooth.presentation.picture")


def plain(text: str) -> str:
    """Returns text escaped for matplotlib."""
    # matplotlib shows text between two $ as a formula, and hides labels that begin with _.
    return text.replace("$", r"\$").replace("_", " _", text.startswith("_"))


def curves(
    figure: Any,
    x: np.ndarray,
    exact: Sequence,
    values: Sequence,
    label: str,
    word: str = "x",
) -> None:
    """Draws y, y', y'' of a network over the exact curves, and the errors below.

    Args:
        figure: A figure or subfigure.
        x: Points of shape `(n,)`, ascending.
        exact: Arrays of shape `(n,)`, or `(n, outputs)`, one for each order.
        values: The network's values, in the same form; None for a lost derivative.
        label: Name of the network in the legend.
        word: The label of the x axis.
    """
    names = [TITLES[k] if k < len(TITLES) else f"y^({k})" for k in range(len(exact))]
    panels = [(name, x, *pair) for name, *pair in zip(names, exact, values, strict=True)]
    _with_errors(figure, panels, label, word, linewidth=(3, 1.2))


def _with_errors(
    figure: Any, panels: Sequence, label: str, word: str, **styles: tuple
) -> None:
    """Draws panels of (name, x, exact values, values of a network), and the errors below.

    Each of the styles is a pair, for the exact values and for those of the network.
    """
    axes = figure.subplots(
        2, len(panels), sharex="col", squeeze=False, height_ratios=(3, 1)
    )
    styles["color"] = "0.6", "C3"
    exact, network = ({key: pair[i] for key, pair in styles.items()} for i in (0, 1))
    for (above, below), (name, x, true, value) in zip(axes.T, panels):
        # The columns of y share one entry of the legend.
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
        names: The names of the quantities, one for each panel.
        pairs: Pairs of arrays of the same size, the exact values and the network's, one pair
            for each quantity.
    """
    (axes,) = figure.subplots(1, len(pairs), squeeze=False)
    for axis, name, (true, value) in zip(axes, names, pairs, strict=True):
        true, value = np.ravel(true), np.ravel(value)
        ends = [true.min(), true.max()]
        axis.plot(ends, ends, color="0.6", linewidth=3, label="exact")
        shown = _shown_samples(true.size, 1)
        axis.plot(true[shown], value[shown], ".", color="C3", markersize=3, label="network")
        axis.set(title=plain(name), xlabel="exact")
    axes[0].set_ylabel("network")
    axes[0].legend(fontsize="small")


def beside(figure: Any, panels: Sequence[tuple], word: str) -> None:
    """Draws values of a network and the exact ones over one quantity of each sample.

    Args:
        figure: A figure or subfigure.
        panels: For each column the name of its quantity; the positions of the samples on the x
            axis, an array `(batch,)`, ascending; and two arrays `(batch, numbers)`, the exact
            values and the network's. The errors are below.
        word: The label of the x axis.
    """
    limited = []
    for name, *arrays in panels:
        shown = _shown_samples(*arrays[1].shape)
        limited.append((name, *(array[shown] for array in arrays)))
    styles = {"marker": ("o", "."), "markersize": (5, 3), "linestyle": ("", "")}
    _with_errors(figure, limited, "network", word, **styles)


def _shown_samples(num_samples: int, num_numbers: int) -> np.ndarray:
    """Returns the indices of the samples that a panel shows, in order."""
    limit = max(MAX_DOTS // num_numbers, 1)
    if num_samples <= limit:
        return np.arange(num_samples)
    return np.sort(np.random.default_rng(0).choice(num_samples, limit, replace=False))


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
        fits: Name and first epoch of each fit. A line separates two fits.
    """
    axis = figure.subplots()
    for label, values in series.items():
        axis.plot(epochs, np.where(values > 0, values, np.nan), ".-", label=plain(label))
    axis.set(yscale="log", xlabel="epoch", ylabel="error")
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
    if len(fits) < 2:
        return
    # Draw a line where a fit begins, and its name above its epochs.
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
