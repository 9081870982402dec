"""The panels of `DerivativeMonitor.plot` below the learning curves, one function for each kind."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_smooth.checks import choice, real_array, shown, whole_number
from keras_smooth.presentation import figures

# Number of points of a slice.
_NUM_POINTS = 201


class Values(NamedTuple):
    """Exact values and values of the network at points.

    Args:
        x: Points, `(batch, ...)`, or a structure of arrays.
        names: Names of the quantities: y, its derivatives, and those of `also`.
        pairs: For each quantity, the exact values and those of the network, `(batch, ...)`.
    """

    x: np.ndarray
    names: Sequence[str]
    pairs: Sequence[tuple[np.ndarray, np.ndarray]]

    def select_entries(self, entries: Mapping[str, Any] | None) -> "Values":
        """Returns selected entries, each as a separate quantity.

        Args:
            entries: A dict from names of quantities to the index of an entry of a sample, or
                to a list of indices. None selects all quantities.

        Raises:
            TypeError: If `entries` is not a dict, or empty.
            ValueError: If a name or an index is unknown.
        """
        if entries is None:
            return self
        if not isinstance(entries, Mapping) or not entries:
            raise TypeError(
                '`entries` must be a dict such as {"dy": 0, "d2y": [(0, 0), (0, 1)]}, received '
                f"{shown(entries)}."
            )
        names, pairs = [], []
        for name, indices in entries.items():
            choice("`entries`", name, self.names)
            true, value = self.pairs[self.names.index(name)]
            for index in indices if isinstance(indices, list) else [indices]:
                entry_index = _entry_index(name, index, true.shape[1:])
                names.append(f"{name}[{', '.join(map(str, entry_index))}]")
                in_all_samples: Any = (slice(None), *entry_index)
                pairs.append((true[in_all_samples], value[in_all_samples]))
        return Values(self.x, names, pairs)


def _entry_index(name: str, index: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the index of an entry as a tuple, with the 0 of a single output if it is left out."""
    entry_index = tuple(index) if isinstance(index, tuple | list) else (index,)
    if len(entry_index) == len(shape) - 1 and shape[0] == 1:
        entry_index = (0, *entry_index)
    fits = len(entry_index) == len(shape) and all(
        isinstance(i, int | np.integer) and -n <= i < n for i, n in zip(entry_index, shape)
    )
    if not fits:
        raise ValueError(
            f"`entries`: {name} of a sample has shape {shape}, and {shown(index)} is no index of "
            "one of its entries."
        )
    return entry_index


def choose_panels(
    values: Values, along: Any, at: Any, entries: Any, slice_values: Callable
) -> tuple:
    """Returns a function that draws panels on a figure, and their number.

    Args:
        values: All values that can be drawn.
        along: As in `DerivativeMonitor.plot`.
        at: As in `DerivativeMonitor.plot`.
        entries: As in `DerivativeMonitor.plot`.
        slice_values: As in `_slice`.
    """
    if along is not None or at is not None:
        along = _check_along(along, at, values.x)
    if at is not None:
        if entries is not None:
            raise ValueError("`entries` is for samples: leave it out beside `at`.")
        sliced, title = _slice(values.x, along, at, slice_values)
        draw = functools.partial(curves, values=sliced, word=f"x[{along}]", title=title)
        return draw, len(sliced.pairs)
    is_curve = isinstance(values.x, np.ndarray) and values.x.size == len(values.x)
    if is_curve and along is None and entries is None:
        return functools.partial(curves, values=values), len(values.names)
    values = values.select_entries(entries)
    draw = functools.partial(figures.agreement, names=values.names, pairs=values.pairs)
    if along is not None:
        draw = functools.partial(samples, values=values, along=along)
    return draw, len(values.names)


def _check_along(along: Any, at: Any, x: Any) -> int | str:
    """Returns `along` of `DerivativeMonitor.plot` if it is valid for these points."""
    if not isinstance(x, np.ndarray):
        raise ValueError("`along` needs x as one array.")
    if isinstance(along, str) and along == "samples" and at is None:
        return along
    number, dim = whole_number("`along`", along, least=0), x[0].size
    if number >= dim:
        raise ValueError(
            f"`along` must be below the number of inputs, {dim}; received {number}."
        )
    return number


def curves(figure: Any, values: Values, word: str = "x", title: str = "") -> None:
    """Draws the values as curves over one input."""
    order = np.argsort(values.x, axis=None)

    def in_order(arrays: Any) -> list[np.ndarray]:
        return [np.reshape(array, (len(order), -1))[order] for array in arrays]

    exact, network = map(in_order, zip(*values.pairs))
    figures.curves(figure, np.ravel(values.x)[order], exact, network, "network", word)
    if title:
        figure.suptitle(title, fontsize="small")


def samples(figure: Any, values: Values, along: int | str) -> None:
    """Draws the values at the samples over a column of x, or sorted by the exact values.

    Args:
        figure: A figure or subfigure.
        values: The values to draw.
        along: The number of a column of x; or `"samples"`, which sorts the values of each panel
            by the exact ones.
    """
    is_sorted = along == "samples"
    label = "value, in the order of the exact ones" if is_sorted else f"x[{along}]"
    shape = (-1, 1) if is_sorted else (len(values.x), -1)
    panels = []
    for name, (true, value) in zip(values.names, values.pairs, strict=True):
        true, value = true.reshape(shape), value.reshape(shape)
        flat = true if is_sorted else values.x.reshape(shape)
        numbers = flat[:, 0 if is_sorted else int(along)]
        order = np.argsort(numbers, kind="stable")
        positions = np.arange(len(order)) if is_sorted else numbers[order]
        panels.append((name, positions, true[order], value[order]))
    figures.beside(figure, panels, label)


def _slice(
    x: np.ndarray, along: int, at: Any, slice_values: Callable
) -> tuple[Values, str]:
    """Returns the values over one input while the others are fixed, and the title of the figure.

    Args:
        x: The points of the monitor, `(batch, ...)`.
        along: The number of the input.
        at: A point with the values of the other inputs, or `"median"`.
        slice_values: `slice_values(points, direction)` returns two lists, of exact values and of
            those of the network: y and its derivatives along the direction.

    Raises:
        ValueError: If `at` does not have the shape of a sample.
    """
    flat = x.reshape(len(x), -1)
    fixed_point = np.median(flat, axis=0)
    if not isinstance(at, str):
        numbers = real_array("`at`", at)
        if numbers.size != x[0].size:
            raise ValueError(
                f'`at` must be "median" or of the shape of a sample, {x.shape[1:]}; received '
                f"shape {numbers.shape}."
            )
        fixed_point = np.ravel(numbers).astype(x.dtype)
    points = np.repeat(fixed_point[None], _NUM_POINTS, axis=0)
    points[:, along] = np.linspace(flat[:, along].min(), flat[:, along].max(), _NUM_POINTS)
    direction = np.zeros_like(fixed_point)
    direction[along] = 1.0
    shape = x.shape[1:]
    exact_and_network = slice_values(points.reshape(-1, *shape), direction.reshape(shape))
    fixed_inputs = [f"x[{i}] = {v:.3g}" for i, v in enumerate(fixed_point) if i != along]
    title = f"at {', '.join(fixed_inputs)}" if len(fixed_inputs) <= 5 else ""
    return Values(points[:, along], (), list(zip(*exact_and_network))), title
