"""Multi-indices, each of which denotes a partial derivative.

A multi-index is a sorted tuple of axes, one for each differentiation. An axis is an index into
the flattened sample of all moving inputs. With x of shape `(batch, 2)`, `(0, 1, 1)` is the
derivative with respect to the first column once and to the second one twice.
"""

import dataclasses
import itertools
import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_smooth.checks import shown
from keras_smooth.differentiation.points import Points
from keras_smooth.models.checked_inputs import listed
from keras_smooth.presentation.counts import counted

MultiIndex = tuple[int, ...]

_NOTATION = (
    'Write "xxt" for names of one letter, ("time", "x1") for longer ones, or a tuple of '
    "integers such as (0, 0, 1)."
)


def of_order(dim: int, order: int) -> list[MultiIndex]:
    """Returns the multi-indices of all partial derivatives of one order, sorted."""
    return list(itertools.combinations_with_replacement(range(dim), order))


@dataclasses.dataclass(frozen=True)
class Axes:
    """The axes of the flattened sample of all moving inputs, and their names.

    Args:
        names: The axis of each name.
        shapes: The shape of a sample of each moving input, by its key in x.
    """

    names: dict[str, int]
    shapes: dict[Any, tuple[int, ...]]

    def restricted(
        self, points: Points, indices: list[MultiIndex]
    ) -> tuple[Points, "Axes", list[MultiIndex]]:
        """Returns points at which only the inputs that occur in multi-indices move.

        The axes of these inputs, and the multi-indices, renumbered for them, are returned
        with the points.
        """
        axes = _axes_by_input(self.shapes)
        used = {axis for index in indices for axis in index}
        inputs = [i for i, input_axes in enumerate(axes) if not used.isdisjoint(input_axes)]
        moving = [axis for i in inputs for axis in axes[i]]
        to_new = {axis: new for new, axis in enumerate(moving)}
        names = {name: to_new[axis] for name, axis in self.names.items() if axis in to_new}
        shapes = [pair for i, pair in enumerate(self.shapes.items()) if i in inputs]
        restricted = [tuple(to_new[axis] for axis in index) for index in indices]
        return points.moving_only(inputs), Axes(names, dict(shapes)), restricted

    def parsed(self, which: Any, argument: str = "`which`") -> MultiIndex:
        """Returns the multi-index of a word or a tuple.

        Raises:
            TypeError: If `which` is neither.
            ValueError: If it contains a name or axis that does not exist.
        """
        if isinstance(which, str):
            return tuple(sorted(self._axes_of_word(which, argument)))
        if not isinstance(which, tuple | list):
            raise TypeError(
                f"{argument} must hold words or tuples, received {shown(which)}. {_NOTATION}"
            )
        return tuple(sorted(self._axis(axis, argument) for axis in which))

    def name(self, axis: int) -> str:
        """Returns the name of an axis, or its number as text if it has none."""
        names = {i: name for name, i in self.names.items()}
        return names.get(axis, str(axis))

    def word(self, index: MultiIndex) -> str:
        """Returns the word of a multi-index, such as "xxt"."""
        words = list(map(self.name, index))
        if all(len(word) == 1 and not word.isdigit() for word in words):
            return "".join(words)
        return f"({', '.join(words)})"

    def _axes_of_word(self, word: str, argument: str) -> list[int]:
        """Returns the axes of a word, which is one name or consists of names of one letter."""
        has_known_letters = all(letter in self.names for letter in word)
        if word in self.names:
            if has_known_letters and len(word) > 1:
                raise ValueError(
                    f"{argument}: {word!r} is a name and a word of the names "
                    f"{listed(word)}. Give a tuple of names, as in ({word!r},)."
                )
            return [self.names[word]]
        if not has_known_letters:
            raise ValueError(f"{argument}: {self._unknown_name_message(word)}")
        return [self.names[letter] for letter in word]

    def _unknown_name_message(self, word: str) -> str:
        if not self.names:
            return f"received {word!r}, but x has no names. Pass them, as names='xt'. {_NOTATION}"
        names = f"the names are {listed(self.names)}. {_NOTATION}"
        return f"received {word!r}, which does not consist of names; {names}"

    def _axis(self, axis: Any, argument: str) -> int:
        """Returns an axis from its name, its index, or its input and index."""
        if isinstance(axis, str):
            if axis not in self.names:
                raise ValueError(f"{argument}: {self._unknown_name_message(axis)}")
            return self.names[axis]
        key, index = next(iter(self.shapes)), axis
        if len(self.shapes) > 1:
            key, *index = axis if isinstance(axis, tuple | list) and axis else [axis]
            if isinstance(key, bool) or key not in self.shapes:
                raise ValueError(
                    f"{argument}: received {shown(axis)}; with several inputs a number of a "
                    f"sample is a name or a tuple of an input, of {listed(self.shapes)}, and "
                    "the places in it."
                )
            shape = self.shapes[key]
            index = index or ([0] * len(shape) if math.prod(shape) == 1 else [])
        input_axes = _axes_by_input(self.shapes)[list(self.shapes).index(key)]
        return input_axes[_raveled(index, self.shapes[key], axis, argument)]


def _axes_by_input(shapes: Mapping) -> list[range]:
    """Returns the axes of each input."""
    ends = [0, *itertools.accumulate(map(math.prod, shapes.values()))]
    return [range(*pair) for pair in itertools.pairwise(ends)]


def _raveled(index: Any, shape: tuple[int, ...], axis: Any, argument: str) -> int:
    """Returns the position in a flattened sample of an index, or of a tuple of indices."""
    indices = index if isinstance(index, tuple | list) else [index]
    try:
        if any(isinstance(i, bool) for i in indices):
            raise TypeError
        numbers = tuple(map(operator.index, indices))
        return int(np.ravel_multi_index(numbers, shape or (1,)))
    except (TypeError, ValueError, OverflowError) as error:
        last = ", ".join(str(size - 1) for size in shape) or "0"
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"{argument}: received {shown(axis)}; the numbers of a sample of shape {shape} "
            f"have places from 0 to {last if len(shape) < 2 else f'({last})'}. {_NOTATION}"
        ) from None


def named_axes(points: Points, names: Any) -> Axes:
    """Returns the axes of the moving inputs with their names.

    Args:
        points: Checked inputs.
        names: A name for each column of x, as a string of letters or a list; for several
            inputs a dict of such names. An input with one number a sample is named by its
            key unless it has another name.

    Raises:
        TypeError: If `names` holds anything but names.
        ValueError: If the names do not fit x.
    """
    shapes = {
        key: tuple(x.shape[1:]) for key, x in zip(points.names, points.moving, strict=True)
    }
    if names is not None and not isinstance(names, Mapping) and len(shapes) == 1:
        names = {next(iter(shapes)): names}
    if names is not None and not (
        isinstance(names, Mapping) and names and set(names) <= set(shapes)
    ):
        raise ValueError(
            f"`names` must be a dict with the inputs {listed(shapes)} as keys, received "
            f"{shown(names)}."
        )
    axes: dict[str, int] = {}
    names = names or {}
    for (key, shape), input_axes in zip(shapes.items(), _axes_by_input(shapes)):
        names_of_input = _checked_names(names[key], shape) if key in names else []
        if not names_of_input and len(input_axes) == 1 and isinstance(key, str):
            names_of_input = [key]
        for axis, name in zip(input_axes, names_of_input):
            if name in axes:
                raise ValueError(f"`names` has {name!r} twice; expected different names.")
            axes[name] = axis
    return Axes(axes, shapes)


def _checked_names(names: Any, shape: tuple[int, ...]) -> list[str]:
    if not isinstance(names, str | list | tuple):
        raise TypeError(
            "`names` must be a string of letters, as in names='xt', or a list of names; "
            f"received {shown(names)}."
        )
    names = list(names)
    for name in names:
        if not isinstance(name, str) or not name:
            raise TypeError(f"`names` must hold names, received {shown(name)}.")
    if len(shape) > 1 or len(names) != math.prod(shape):
        raise ValueError(
            f"`names` must name each column of x of shape (batch, columns); received "
            f"{counted(len(names), 'name')}, {shown(names)}, for samples of shape {shape}. For samples "
            "of other shapes use tuples of places in the place of names."
        )
    return names


def checked_which(axes: Axes, which: Any) -> list[MultiIndex]:
    """Returns the multi-indices of a list of partial derivatives.

    Raises:
        TypeError: If `which` is not a list of words and tuples.
        ValueError: If it contains no partial derivative, or one that does not exist.
    """
    if not isinstance(which, list | tuple):
        raise TypeError(
            f"`which` must be a list of partial derivatives, received {shown(which)}. {_NOTATION}"
        )
    indices = [axes.parsed(derivative) for derivative in which]
    if not any(indices):
        raise ValueError(
            f"`which` must have a partial derivative, received {shown(which)}. {_NOTATION}"
        )
    return indices
