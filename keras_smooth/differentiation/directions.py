"""Few directions whose derivatives determine given partial derivatives, with exact weights.

The derivative of order k along v is the sum of k! / a! v^a times the partial derivative over
all multi-indices a of that order. So a partial derivative is a weighted sum of derivatives along
directions if its monomial is the same sum of k-th powers of linear forms. A pure derivative
needs only its axis. A mixed one needs several directions, which are shared between partial
derivatives as far as possible.

|k|^4, the symbol of the biharmonic operator, needs fewer directions: those of an icosahedron in
three dimensions, otherwise the corners of a regular simplex around 0 and the sums of two or three
corners. These are (d + 1) (d + 2) / 2 directions in d dimensions; pairs of axes need d^2.

References:
    Griewank, Utke and Walther, 2000, "Evaluating higher derivative tensors by forward
    propagation of univariate Taylor series", Mathematics of Computation 69: derivatives by
    interpolation over directions of integers. Carlini, Kummer, Oneto and Ventura, 2017,
    "On the real rank of monomials", Mathematische Zeitschrift 286: their number. Reznick,
    1992, "Sums of even powers of real linear forms", Memoirs of the American Mathematical
    Society 463: the least number, from spherical designs.
"""

import functools
import itertools
import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from keras_smooth.differentiation.multi_indices import MultiIndex

# A direction: pairs of an axis and the step along it, an integer.
Direction = tuple[tuple[int, int], ...]
# Up to this dimension, all directions of -1, 0 and 1 are tried; above, they are too many.
_MAX_DIM_OF_UNIT_STEPS = 3


def shared_directions(
    indices: Iterable[MultiIndex],
) -> dict[MultiIndex, dict[Direction, Fraction]]:
    """Returns each partial derivative as a weighted sum of derivatives along few directions.

    High orders come before low ones and pure derivatives before mixed ones, since directions
    that are used already cost nothing.
    """
    chosen: dict[frozenset, list[Direction]] = {}
    sums = {}
    for index in sorted(set(indices), key=lambda each: (-len(each), len(set(each)), each)):
        support = sorted(set(index))
        local_axis = {axis: i for i, axis in enumerate(support)}
        known = [
            tuple((local_axis[axis], step) for axis, step in direction)
            for size in range(1, len(support) + 1)
            for subset in itertools.combinations(support, size)
            for direction in chosen.get(frozenset(subset), ())
        ]
        exponents = tuple(index.count(axis) for axis in support)
        sums[index] = {}
        for local, weight in _sum_of_powers(exponents, tuple(known)):
            direction = tuple((support[i], step) for i, step in local)
            sums[index][direction] = weight
            of_same_axes = chosen.setdefault(frozenset(axis for axis, _ in direction), [])
            if direction not in of_same_axes:
                of_same_axes.append(direction)
    return sums


@functools.lru_cache(maxsize=4096)
def _sum_of_powers(
    exponents: tuple[int, ...], known: tuple[Direction, ...]
) -> list[tuple[Direction, Fraction]]:
    """Returns a monomial as a sum of powers of linear forms, few of which are new.

    Args:
        exponents: The exponents of the monomial.
        known: Linear forms that are used already and cost nothing.
    """
    # Polarization uses the steps e_i, e_i - 2, ..., -e_i along axis i, up to a common sign.
    starts = [_normalized(itertools.product(*(range(e, -e - 1, -2) for e in exponents)))]
    if len(exponents) <= _MAX_DIM_OF_UNIT_STEPS:
        starts.append(_normalized(itertools.product((1, 0, -1), repeat=len(exponents))))
        starts.append([*starts[0], *starts[1]])
    reduced = [_needed_directions(exponents, known, start) for start in starts]
    solutions = [new for new in reduced if new is not None]
    new = min(solutions, key=lambda each: (len(each), sum(map(_squared_length, each))))
    return _exact_weights(exponents, [*known, *new])


def _squared_length(direction: Direction) -> int:
    return sum(step * step for _, step in direction)


def _normalized(steps: Iterable[tuple[int, ...]]) -> list[Direction]:
    """Returns the distinct directions without their common factors and signs, short ones first."""
    directions = {}
    for row in filter(any, steps):
        is_negative = next(step for step in row if step) < 0
        divisor = -math.gcd(*row) if is_negative else math.gcd(*row)
        moved = ((i, step // divisor) for i, step in enumerate(row) if step)
        directions[tuple(moved)] = None
    return sorted(directions, key=_squared_length)


def _needed_directions(
    exponents: tuple[int, ...], known: tuple[Direction, ...], start: list[Direction]
) -> list[Direction] | None:
    """Returns the directions of `start` that a monomial needs in addition to the known ones."""
    new = [direction for direction in start if direction not in known]
    directions = [*known, *new]
    matrix = _power_coefficients(exponents, directions).astype(float)
    matrix /= np.linalg.norm(matrix, axis=0)
    target = np.array([float(row == exponents) for row in _monomials(exponents)])
    columns = list(range(len(directions)))
    if not _spans(matrix, target):
        return None
    for column in range(len(directions) - 1, len(known) - 1, -1):
        fewer = [other for other in columns if other != column]
        if fewer and _spans(matrix[:, fewer], target):
            columns = fewer
    return [directions[column] for column in columns if column >= len(known)]


def _spans(matrix: np.ndarray, target: np.ndarray) -> bool:
    """Returns whether a vector is a linear combination of columns."""
    weights = np.linalg.lstsq(matrix, target, rcond=None)[0]
    return bool(np.abs(matrix @ weights - target).max() < 1e-9)


@functools.cache
def _monomials(exponents: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Returns the exponents of all monomials of the same order in the same variables."""
    axes = range(len(exponents))
    rows = itertools.combinations_with_replacement(axes, sum(exponents))
    return [tuple(row.count(axis) for axis in axes) for row in rows]


def _power_coefficients(
    exponents: tuple[int, ...], directions: list[Direction]
) -> np.ndarray:
    """Returns the coefficients of powers of linear forms: integers, a column for each power."""
    order = sum(exponents)
    steps = np.zeros((len(directions), len(exponents)), dtype=object)
    for row, direction in zip(steps, directions):
        for axis, step in direction:
            row[axis] = step
    rows = [
        math.factorial(order)
        // math.prod(map(math.factorial, monomial))
        * np.prod(steps ** np.array(monomial), axis=1)
        for monomial in _monomials(exponents)
    ]
    return np.array(rows, dtype=object).reshape(-1, len(directions))


def _exact_weights(
    exponents: tuple[int, ...], directions: list[Direction]
) -> list[tuple[Direction, Fraction]]:
    """Returns the weights of the powers in a monomial, by Gauss-Jordan in exact fractions."""
    target = [row == exponents for row in _monomials(exponents)]
    powers = _power_coefficients(exponents, directions)
    rows = np.column_stack([powers, target]) * Fraction(1)
    pivots: list[int] = []
    for column in range(len(directions)):
        top = len(pivots)
        candidates = top + np.flatnonzero(rows[top:, column])
        if candidates.size:
            rows[[top, candidates[0]]] = rows[[candidates[0], top]]
            rows[top] /= rows[top, column]
            others = np.flatnonzero(rows[:, column])
            others = others[others != top]
            rows[others] -= np.outer(rows[others, column], rows[top])
            pivots.append(column)
    weights = zip(pivots, rows[:, -1])
    return [(directions[column], weight) for column, weight in weights if weight]


SumOfPowers = tuple[np.ndarray, np.ndarray]


@functools.cache
def squared_laplacian(dim: int) -> SumOfPowers:
    """Returns directions v and weights w with sum_v w (v . k)^4 = |k|^4.

    Args:
        dim: 1 or more.

    Returns:
        Arrays `(directions, dim)` and `(directions,)`, with the fewest directions known here.
    """
    if dim == 1:
        return np.ones((1, 1)), np.ones(1)
    sums = [_simplex(dim, 2)]
    if dim == 3:
        sums.append(_icosahedron())
    if dim == 5:
        sums.append(_simplex(dim, 3))
    return min(sums, key=lambda each: len(each[1]))


def _icosahedron() -> SumOfPowers:
    """Returns the sum over the six lines through opposite corners of an icosahedron."""
    golden = (1 + math.sqrt(5)) / 2
    corners = [
        np.roll([0.0, 1.0, sign * golden], shift) for sign in (1, -1) for shift in range(3)
    ]
    directions = np.array(corners)
    # The sum has to be 1 for a unit vector, such as the first axis.
    return directions, np.full(6, 1 / (np.ones(6) @ directions[:, 0] ** 4))


def _simplex(dim: int, size: int) -> SumOfPowers:
    """Returns the sum over corners of a regular simplex and over sums of two or three of them.

    Let k_i be the products of k with the corners, which sum to 0. The sums of fourth powers are
    combinations of (sum k_i^2)^2 = |k|^4 and of sum k_i^4, which the corners themselves cancel.
    """
    corners = _corners(dim)
    subsets = np.array(
        [
            corners[list(each)].sum(axis=0)
            for each in itertools.combinations(range(dim + 1), size)
        ]
    )
    directions = _without_opposites(np.vstack([subsets, corners]))
    powers = (directions @ _random_vectors(dim)) ** 4
    square = (_random_vectors(dim) ** 2).sum(axis=0) ** 2
    lengths = np.round((directions**2).sum(axis=1), 9)
    orbits = [lengths == length for length in np.unique(lengths)]
    columns = np.stack([powers[orbit].sum(axis=0) for orbit in orbits], axis=1)
    factors = np.linalg.lstsq(columns, square, rcond=None)[0]
    weights = sum(factor * orbit for factor, orbit in zip(factors, orbits))
    is_needed = np.abs(weights) > 1e-9
    return directions[is_needed], weights[is_needed]


def _corners(dim: int) -> np.ndarray:
    """Returns the corners of a regular simplex around 0, one row each."""
    # Helmert's matrix: its columns are an orthonormal basis of the vectors that sum to 0.
    rows = np.zeros((dim + 1, dim))
    for j in range(1, dim + 1):
        rows[:j, j - 1] = 1.0
        rows[j, j - 1] = -j
        rows[:, j - 1] /= math.sqrt(j * (j + 1))
    return rows


def _without_opposites(directions: np.ndarray) -> np.ndarray:
    """Returns one of each pair of opposite directions."""
    rounded = np.round(directions, 9) + 0.0
    signs = [row[np.flatnonzero(row)[0]] for row in rounded]
    lines = rounded * np.sign(signs)[:, None]
    return directions[np.sort(np.unique(lines, axis=0, return_index=True)[1])]


def _random_vectors(dim: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(dim, 12))
