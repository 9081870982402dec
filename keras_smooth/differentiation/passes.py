"""Passes through a model: groups of directions, their orders, and sums of derivatives.

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
    SumOfPowers,
    shared_directions,
    squared_laplacian,
)
from keras_smooth.differentiation.multi_indices import MultiIndex, of_order

# Pairs of a multi-index and its coefficient.
Form = tuple[tuple[MultiIndex, float], ...]
# A direction: pairs of an axis and the step along it.
Steps = tuple[tuple[int, float], ...]
# Eigenvalues below this fraction of the largest one count as 0.
_NEGLIGIBLE = 1e-14


@dataclasses.dataclass(frozen=True)
class Term:
    """A term of a form: a row of an entry of the jets of a pass, times a factor.

    Args:
        number: The index of the pass.
        order: The order of the entry, 0 for the primal.
        row: The index of the direction, or of the sum over directions.
        factor: The factor.
    """

    number: int
    order: int
    row: int
    factor: float


@dataclasses.dataclass(frozen=True)
class Pass:
    """Directions whose jets are computed in one forward pass.

    Args:
        directions: Array `(directions, numbers of a sample)`.
        order: Number of derivatives.
        sums: Array `(sums, directions)` of weights. The highest derivatives are carried as
            these sums over directions; None carries them along each direction.
    """

    directions: np.ndarray
    order: int
    sums: np.ndarray | None

    @property
    def num_entries(self) -> int:
        """The number of values that the pass carries, the point itself included."""
        return 1 + sum(map(self.num_rows, range(1, self.order + 1)))

    def num_rows(self, order: int) -> int:
        """Returns the number of derivatives of one order that the pass carries."""
        if order < self.order or self.sums is None:
            return len(self.directions)
        return len(self.sums)


@dataclasses.dataclass(frozen=True)
class Passes:
    """The passes that forms need, and each form as a sum of terms from their jets.

    Args:
        passes: The passes, in their order.
        terms: The terms of each form.
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
        return _dense_array(rows, self.passes[0].num_rows(order))


@functools.lru_cache(maxsize=64)
def all_partials(dim: int, order: int) -> Passes:
    """Returns the passes for all partial derivatives up to an order."""
    indices = [index for k in range(1, order + 1) for index in of_order(dim, k)]
    return passes_for(dim, partials(indices))


def partials(indices: Iterable[MultiIndex]) -> tuple[Form, ...]:
    """Returns a form for each partial derivative."""
    return tuple(((index, 1.0),) for index in indices)


@functools.lru_cache(maxsize=64)
def passes_for(dim: int, forms: tuple[Form, ...]) -> Passes:
    """Returns the passes for forms, which carry as few values as possible.

    Args:
        dim: Size of a sample.
        forms: Forms of any orders, one of which is above 0.
    """
    sums = along_directions(forms)
    orders: dict[Steps, int] = {}
    for form, directions in zip(forms, sums):
        for direction in directions:
            orders[direction] = max(_order(form), orders.get(direction, 0))
    candidates = [
        _passes_of_groups(dim, groups, forms, sums)
        for groups in _divisions(orders, sorted(set(orders.values()), reverse=True))
    ]
    # For equal numbers of values, more passes cost less: orders are lower, and XLA shares y.
    return min(candidates, key=lambda each: (each.num_entries, -len(each.passes)))


def _divisions(orders: dict[Steps, int], levels: list[int]) -> Iterator[list]:
    """Yields divisions of directions into passes: the order and the directions of each pass.

    Args:
        orders: The order that each direction needs.
        levels: The distinct orders, from high to low.
    """
    for num_lower in range(len(levels)):
        for lower in itertools.combinations(levels[1:], num_lower):
            ends = zip([levels[0], *lower], [*lower, 0])
            yield [
                (highest, [v for v, order in orders.items() if below < order <= highest])
                for highest, below in ends
            ]


def _order(form: Form) -> int:
    return len(form[0][0])


def along_directions(forms: Sequence[Form]) -> list[dict[Steps, float]]:
    """Returns each form as a weighted sum of derivatives along directions."""
    short_sums = [_short_sum(form) for form in forms]
    shared = shared_directions(
        index
        for form, short in zip(forms, short_sums)
        if short is None
        for index, _ in form
    )
    used = {direction for weights in shared.values() for direction in weights}

    def sum_of(form: Form, short: dict[Steps, float] | None) -> dict[Steps, float]:
        if short is None:
            return _sum_of_partials(form, shared)
        # A form of order 1 needs no direction of its own if its axes are used anyway.
        if _order(form) == 1 and all(((axis, 1),) in used for (axis,), _ in form):
            return {((axis, 1),): float(step) for (axis,), step in form}
        return short

    return list(map(sum_of, forms, short_sums))


def _sum_of_partials(form: Form, shared: Mapping) -> dict[Steps, float]:
    """Returns a form as the sum of its partial derivatives, each along shared directions."""
    weights: dict[Steps, Any] = {}
    for index, coefficient in form:
        for direction, weight in shared[index].items():
            weights[direction] = weights.get(direction, 0) + coefficient * weight
    return {each: float(weight) for each, weight in weights.items() if weight}


def _short_sum(form: Form) -> dict[Steps, float] | None:
    """Returns a form along fewer directions than its partial derivatives need, or None."""
    order = _order(form)
    if not order:
        return {}
    if len(form) == 1 or order not in _SHORT_SUMS:
        return None
    axes = sorted({axis for index, _ in form for axis in index})
    powers = _SHORT_SUMS[order](form, axes)
    if powers is None:
        return None
    return {
        tuple((axis, step) for axis, step in zip(axes, direction) if step): weight
        for direction, weight in zip(*(array.tolist() for array in powers))
    }


def _along_coefficients(form: Form, axes: list[int]) -> SumOfPowers | None:
    """Returns a form of order 1 as the derivative along one direction."""
    steps = dict(form)
    return np.array([[float(steps[(axis,)]) for axis in axes]]), np.ones(1)


def _eigenvectors(form: Form, axes: list[int]) -> SumOfPowers | None:
    """Returns a form of order 2 along the eigenvectors of its matrix with eigenvalues not 0."""
    if all(i == j for (i, j), _ in form):
        return None
    matrix = np.zeros((len(axes), len(axes)))
    for (i, j), coefficient in form:
        pair = axes.index(i), axes.index(j)
        matrix[pair] += float(coefficient) / 2
        matrix[pair[::-1]] += float(coefficient) / 2
    values, vectors = np.linalg.eigh(matrix)
    is_nonzero = np.abs(values) > _NEGLIGIBLE * np.abs(values).max()
    return vectors.T[is_nonzero], values[is_nonzero]


def _squared_laplacian(form: Form, axes: list[int]) -> SumOfPowers | None:
    """Returns a form of order 4 that is a multiple of the biharmonic operator, else None."""
    pairs = itertools.combinations_with_replacement(axes, 2)
    factor = form[0][1] * (1 if len(set(form[0][0])) == 1 else 0.5)
    expected = {(i, i, j, j): factor * (1 if i == j else 2) for i, j in pairs}
    if dict(form) != expected:
        return None
    directions, weights = squared_laplacian(len(axes))
    return directions, factor * weights


# Functions for `_short_sum`, by the order of a form.
_SHORT_SUMS = {1: _along_coefficients, 2: _eigenvectors, 4: _squared_laplacian}


def _passes_of_groups(
    dim: int, groups: list, forms: Sequence[Form], sums: list[dict[Steps, float]]
) -> Passes:
    """Returns a pass for each group of directions, and the terms of each form.

    Args:
        dim: Size of a sample.
        groups: Pairs of an order and directions.
        forms: The forms.
        sums: The weights of the directions of each form.
    """
    passes = []
    terms: list[list[Term]] = [
        [] if _order(form) else [Term(0, 0, 0, form[0][1])] for form in forms
    ]
    for number, (order, group) in enumerate(groups):
        row_of = {direction: row for row, direction in enumerate(group)}
        weights_of = [
            {row_of[v]: weight for v, weight in weights.items() if v in row_of}
            for weights in sums
        ]
        highest = [
            i for i, each in enumerate(weights_of) if each and _order(forms[i]) == order
        ]
        sum_rows = {index: row for row, index in enumerate(highest)}
        if order == 1 or len(highest) >= len(group):
            sum_rows = {}
        for index, form in enumerate(forms):
            rows = {sum_rows[index]: 1.0} if index in sum_rows else weights_of[index]
            terms[index] += [Term(number, _order(form), *each) for each in rows.items()]
        weights = _dense_array([weights_of[index] for index in sum_rows], len(group))
        directions = _dense_array(map(dict, group), dim)
        passes.append(Pass(directions, order, weights if sum_rows else None))
    return Passes(tuple(passes), tuple(map(tuple, terms)))


def _dense_array(rows: Iterable[dict[int, float]], size: int) -> np.ndarray:
    """Returns a dense array from the columns and values of the nonzero numbers of each row."""
    rows = list(rows)
    array = np.zeros((len(rows), size))
    for row, entries in zip(array, rows):
        row[list(entries)] = list(entries.values())
    return array
