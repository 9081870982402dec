"""Passes through a model: groups of directions, their orders, and sums.

The requested derivatives are forms: sums of partial derivatives of one order with constant
coefficients. A single partial derivative is a form, and so is a Laplacian.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_smooth.differentiation.directions import (
    Sum,
    shared_directions,
    squared_laplacian,
)
from keras_smooth.differentiation.multi_indices import MultiIndex, of_order

# Pairs of a multi-index and its coefficient.
Form = tuple[tuple[MultiIndex, float], ...]
# A direction: the places of the numbers that it moves, and how far.
Steps = tuple[tuple[int, float], ...]
# Eigenvalues below this fraction of the largest one count as 0.
_NOTHING = 1e-14


@dataclasses.dataclass(frozen=True)
class Term:
    """A part of a form: an entry of the jets of a pass, with its factor.

    Args:
        number: Of the pass.
        order: Of the entry, 0 for the value itself.
        row: Its place among the directions, or among the sums.
        factor: By which it counts.
    """

    number: int
    order: int
    row: int
    factor: float


@dataclasses.dataclass(frozen=True)
class Pass:
    """Directions that go through a model together.

    Args:
        directions: Array `(directions, numbers of a sample)`.
        order: Number of derivatives.
        sums: Array `(sums, directions)`: the sums over the directions that stand in the
            place of the last derivatives; None keeps these.
    """

    directions: np.ndarray
    order: int
    sums: np.ndarray | None

    @property
    def num_entries(self) -> int:
        """How many values go through the model, the point itself among them."""
        return 1 + sum(map(self.num_rows, range(1, self.order + 1)))

    def num_rows(self, order: int) -> int:
        """How many derivatives of one order go through the model."""
        if order < self.order or self.sums is None:
            return len(self.directions)
        return len(self.sums)


@dataclasses.dataclass(frozen=True)
class Passes:
    """The passes that forms need, and how each form is made of their jets.

    Args:
        passes: In the order in which they are made.
        terms: For each form.
    """

    passes: tuple[Pass, ...]
    terms: tuple[tuple[Term, ...], ...]

    @property
    def num_entries(self) -> int:
        return sum(each.num_entries for each in self.passes)

    def table(self, order: int) -> np.ndarray:
        """Returns the matrix from the entries of the first pass to the forms of one order."""
        forms = [terms for terms in self.terms if terms[0].order == order]
        rows = [{term.row: term.factor for term in terms} for terms in forms]
        return _dense(rows, self.passes[0].num_rows(order))


@functools.lru_cache(maxsize=64)
def all_partials(dim: int, order: int) -> Passes:
    """Returns the passes for all partial derivatives up to an order."""
    indices = [index for k in range(1, order + 1) for index in of_order(dim, k)]
    return passes_for(dim, partials(indices))


def partials(indices: Iterable[MultiIndex]) -> tuple[Form, ...]:
    """Returns the form of each of some partial derivatives."""
    return tuple(((index, 1.0),) for index in indices)


@functools.lru_cache(maxsize=64)
def passes_for(dim: int, forms: tuple[Form, ...]) -> Passes:
    """Returns the passes for forms, with as few values through the model as possible.

    Args:
        dim: How many numbers a sample has.
        forms: Of any orders, one of which is above 0.
    """
    sums = along_directions(forms)
    needed: dict[Steps, int] = {}
    for form, directions in zip(forms, sums):
        for direction in directions:
            needed[direction] = max(_order(form), needed.get(direction, 0))
    made = [
        _made(dim, groups, forms, sums)
        for groups in _divided(needed, sorted(set(needed.values()), reverse=True))
    ]
    # Of as many values those of lower orders cost less, and programs have y of passes once.
    return min(made, key=lambda each: (each.num_entries, -len(each.passes)))


def _divided(needed: dict[Steps, int], levels: list[int]) -> Iterator[list]:
    """Yields ways to divide directions into passes: the order of each and its directions."""
    for number in range(len(levels)):
        for rest in itertools.combinations(levels[1:], number):
            ends = zip([levels[0], *rest], [*rest, 0])
            yield [
                (first, [v for v, order in needed.items() if below < order <= first])
                for first, below in ends
            ]


def _order(form: Form) -> int:
    return len(form[0][0])


def along_directions(forms: Sequence[Form]) -> list[dict[Steps, float]]:
    """Returns forms as sums of derivatives along directions."""
    known_sums = [_of_its_own(form) for form in forms]
    shared = shared_directions(
        index for form, own in zip(forms, known_sums) if own is None for index, _ in form
    )
    known = {direction for own in shared.values() for direction in own}

    def sum_of(form: Form, own: dict[Steps, float] | None) -> dict[Steps, float]:
        if own is None:
            return _combined(form, shared)
        if _order(form) == 1 and all(((axis, 1),) in known for (axis,), _ in form):
            return {((axis, 1),): float(step) for (axis,), step in form}
        return own

    return list(map(sum_of, forms, known_sums))


def _combined(form: Form, shared: Mapping) -> dict[Steps, float]:
    weights: dict[Steps, Any] = {}
    for index, coefficient in form:
        for direction, weight in shared[index].items():
            weights[direction] = weights.get(direction, 0) + coefficient * weight
    return {each: float(weight) for each, weight in weights.items() if weight}


def _of_its_own(form: Form) -> dict[Steps, float] | None:
    """Returns a form by fewer directions than its partial derivatives have, if that is known."""
    order = _order(form)
    if not order:
        return {}
    if len(form) == 1 or order not in _OWN:
        return None
    axes = sorted({axis for index, _ in form for axis in index})
    powers = _OWN[order](form, axes)
    if powers is None:
        return None
    return {
        tuple((axis, step) for axis, step in zip(axes, direction) if step): weight
        for direction, weight in zip(*(array.tolist() for array in powers))
    }


def _gradient(form: Form, axes: list[int]) -> Sum | None:
    """A form of order 1 is the derivative along one direction."""
    steps = dict(form)
    return np.array([[float(steps[(axis,)]) for axis in axes]]), np.ones(1)


def _eigenvectors(form: Form, axes: list[int]) -> Sum | None:
    """A form of order 2 is diagonal in as many directions as its matrix has ranks."""
    if all(i == j for (i, j), _ in form):
        return None
    matrix = np.zeros((len(axes), len(axes)))
    for (i, j), coefficient in form:
        pair = axes.index(i), axes.index(j)
        matrix[pair] += float(coefficient) / 2
        matrix[pair[::-1]] += float(coefficient) / 2
    values, vectors = np.linalg.eigh(matrix)
    counts = np.abs(values) > _NOTHING * np.abs(values).max()
    return vectors.T[counts], values[counts]


def _squared_laplacian(form: Form, axes: list[int]) -> Sum | None:
    """A form of order 4 that is a multiple of the biharmonic operator."""
    pairs = itertools.combinations_with_replacement(axes, 2)
    factor = form[0][1] * (1 if len(set(form[0][0])) == 1 else 0.5)
    wanted = {(i, i, j, j): factor * (1 if i == j else 2) for i, j in pairs}
    if dict(form) != wanted:
        return None
    directions, weights = squared_laplacian(len(axes))
    return directions, factor * weights


# By the order of a form.
_OWN = {1: _gradient, 2: _eigenvectors, 4: _squared_laplacian}


def _made(
    dim: int, groups: list, forms: Sequence[Form], sums: list[dict[Steps, float]]
) -> Passes:
    """Returns passes, each with an order and directions."""
    passes = []
    terms: list[list[Term]] = [
        [] if _order(form) else [Term(0, 0, 0, form[0][1])] for form in forms
    ]
    for number, (order, group) in enumerate(groups):
        row_of = {direction: row for row, direction in enumerate(group)}
        inside = [
            {row_of[v]: weight for v, weight in own.items() if v in row_of} for own in sums
        ]
        last = [i for i, own in enumerate(inside) if own and _order(forms[i]) == order]
        summed = {form: row for row, form in enumerate(last)}
        if order == 1 or len(last) >= len(group):
            summed = {}
        for place, form in enumerate(forms):
            rows = inside[place] if place not in summed else {summed[place]: 1.0}
            terms[place] += [Term(number, _order(form), *each) for each in rows.items()]
        weights = _dense([inside[place] for place in summed], len(group))
        directions = _dense(map(dict, group), dim)
        passes.append(Pass(directions, order, weights if summed else None))
    return Passes(tuple(passes), tuple(map(tuple, terms)))


def _dense(rows: Iterable[dict[int, float]], size: int) -> np.ndarray:
    """Returns an array from the places and values of what is not 0 in each row."""
    rows = list(rows)
    array = np.zeros((len(rows), size))
    for row, entries in zip(array, rows):
        row[list(entries)] = list(entries.values())
    return array
