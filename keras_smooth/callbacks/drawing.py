"""The panels of `DerivativeMonitor.plot` below the learning curves, a function for each."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_smooth.callbacks.quantities import QUANTITIES
from keras_smooth.checks import choice, real_array, shown, whole_number
from keras_smooth.presentation import figures

# Points of a slice.
_NUM_POINTS = 201


class Values(NamedTuple):
    """Exact values and values of the network at points.

    Args:
        x: Points, `(batch, ...)`.
        names: Names of the quantities: y, its derivatives, and others that are compared.
        pairs: Exact and of the network, `(batch, ...)`, one pair a quantity.
    """

    x: np.ndarray
    names: Sequence[str]
    pairs: Sequence[tuple[np.ndarray, np.ndarray]]

    def chosen(self, entries: Mapping[str, Any] | None) -> "Values":
        """Returns some entries only, each as a quantity.

        Args:
            entries: By the name of a quantity the index of an entry of a sample, or a list of
                such; None leaves all of them together.

        Raises:
            TypeError: If it is no dict.
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
                place = _place(name, index, true.shape[1:])
                names.append(f"{name}[{', '.join(map(str, place))}]")
                of_samples: Any = (slice(None), *place)
                pairs.append((true[of_samples], value[of_samples]))
        return Values(self.x, names, pairs)


def _place(name: str, index: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the index of an entry; that of a single output need not be named."""
    place = tuple(index) if isinstance(index, tuple | list) else (index,)
    if len(place) == len(shape) - 1 and shape[0] == 1:
        place = (0, *place)
    fits = len(place) == len(shape) and all(
        isinstance(i, int | np.integer) and -n <= i < n for i, n in zip(place, shape)
    )
    if not fits:
        raise ValueError(
            f"`entries`: {name} of a sample has shape {shape}, and {shown(index)} is no index of "
            "one of its entries."
        )
    return place


def chosen(values: Values, along: Any, at: Any, entries: Any, lines: Callable) -> tuple:
    """Returns what draws on a figure, and the number of its panels; see `plot` of the monitor.

    Args:
        values: All there is to draw.
        along: As for `plot`.
        at: As for `plot`.
        entries: As for `plot`.
        lines: As for `along_a_slice`.
    """
    if along is not None or at is not None:
        along = _checked_along(along, at, values.x)
    if at is not None:
        if entries is not None:
            raise ValueError("`entries` is for samples: leave it out beside `at`.")
        order = sum(name not in QUANTITIES for name in values.names)
        draw = functools.partial(along_a_slice, x=values.x, along=along, at=at, lines=lines)
        return draw, order
    is_curve = isinstance(values.x, np.ndarray) and values.x.size == len(values.x)
    if is_curve and along is None and entries is None:
        return functools.partial(curves, values=values), len(values.names)
    values = values.chosen(entries)
    draw = functools.partial(figures.agreement, names=values.names, pairs=values.pairs)
    if along is not None:
        draw = functools.partial(samples, values=values, along=along)
    return draw, len(values.names)


def _checked_along(along: Any, at: Any, x: Any) -> int | str:
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


def curves(figure: Any, values: Values) -> None:
    """Draws curves over the only input."""
    order = np.argsort(values.x, axis=None)

    def in_order(arrays: Any) -> list[np.ndarray]:
        return [array.reshape(len(array), -1)[order] for array in arrays]

    exact, network = map(in_order, zip(*values.pairs))
    figures.curves(figure, np.ravel(values.x)[order], exact, network, "network")


def samples(figure: Any, values: Values, along: int | str) -> None:
    """Draws the samples in the order of a column of x, or of what is exact.

    Args:
        figure: A figure or subfigure.
        values: What is drawn.
        along: The number of a column of x; or `"samples"`, which sorts each panel's numbers.
    """
    is_sorted = along == "samples"
    word = "value, in the order of the exact ones" if is_sorted else f"x[{along}]"
    shape = (-1, 1) if is_sorted else (len(values.x), -1)
    places, pairs = [], []
    for true, own in values.pairs:
        true, own = true.reshape(shape), own.reshape(shape)
        flat = true if is_sorted else values.x.reshape(shape)
        numbers = flat[:, 0 if is_sorted else int(along)]
        order = np.argsort(numbers, kind="stable")
        places.append(np.arange(len(order)) if is_sorted else numbers[order])
        pairs.append((true[order], own[order]))
    figures.beside(figure, values.names, places, pairs, word)


def along_a_slice(figure: Any, x: np.ndarray, along: int, at: Any, lines: Callable) -> None:
    """Draws curves along one input, the others held.

    Args:
        figure: A figure or subfigure.
        x: The points of the monitor, `(batch, ...)`.
        along: The number of the input.
        at: The others, in the shape of a sample, or `"median"`.
        lines: Returns the exact values and those of the network of y and its
            derivatives along a direction, from points and the direction.

    Raises:
        ValueError: If `at` does not have the shape of a sample.
    """
    flat = x.reshape(len(x), -1)
    held = np.median(flat, axis=0)
    if not isinstance(at, str):
        numbers = real_array("`at`", at)
        if numbers.size != x[0].size:
            raise ValueError(
                f'`at` must be "median" or of the shape of a sample, {x.shape[1:]}; received '
                f"shape {numbers.shape}."
            )
        held = np.ravel(numbers).astype(x.dtype)
    points = np.repeat(held[None], _NUM_POINTS, axis=0)
    points[:, along] = np.linspace(flat[:, along].min(), flat[:, along].max(), _NUM_POINTS)
    direction = np.zeros_like(held)
    direction[along] = 1.0
    shape = x.shape[1:]

    def in_columns(arrays: Any) -> list[np.ndarray]:
        return [np.reshape(array, (_NUM_POINTS, -1)) for array in arrays]

    both = lines(points.reshape(-1, *shape), direction.reshape(shape))
    exact, network = map(in_columns, both)
    figures.curves(figure, points[:, along], exact, network, "network", f"x[{along}]")
    others = [f"x[{i}] = {v:.3g}" for i, v in enumerate(held) if i != along]
    if len(others) <= 5:
        figure.suptitle(f"at {', '.join(others)}", fontsize="small")
