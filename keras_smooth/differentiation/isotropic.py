"""Few directions of which |k|^4, the symbol of the biharmonic operator, is a sum of powers.

An icosahedron in three dimensions; the corners of a regular simplex and the sums of two or three
of them, seen from its middle, in others: (d + 1) (d + 2) / 2 in d dimensions, where pairs of axes
are d^2.

References:
    Reznick, 1992, "Sums of even powers of real linear forms", Memoirs of the American
    Mathematical Society 463: how few there can be, from spherical designs.
"""

import functools
import itertools
import math

import numpy as np

Sum = tuple[np.ndarray, np.ndarray]


@functools.cache
def squared_laplacian(dim: int) -> Sum:
    """Returns directions v and weights w with sum_v w (v . k)^4 = |k|^4.

    Args:
        dim: 1 or more.

    Returns:
        Arrays `(directions, dim)` and `(directions,)`, the shortest of those known here.
    """
    if dim == 1:
        return np.ones((1, 1)), np.ones(1)
    sums = [_simplex(dim, 2)]
    if dim == 3:
        sums.append(_icosahedron())
    if dim == 5:
        sums.append(_simplex(dim, 3))
    return min(sums, key=lambda each: len(each[1]))


def _icosahedron() -> Sum:
    """The six lines through opposite corners."""
    golden = (1 + math.sqrt(5)) / 2
    corners = [
        np.roll([0.0, 1.0, sign * golden], shift) for sign in (1, -1) for shift in range(3)
    ]
    directions = np.array(corners)
    # The sum is 1 for a unit vector, such as the first one.
    return directions, np.full(6, 1 / (np.ones(6) @ directions[:, 0] ** 4))


def _simplex(dim: int, size: int) -> Sum:
    """Corners of a regular simplex and the sums of two or three of them.

    With corners k_i, whose sum is 0, the sums of fourth powers are combinations of
    (sum k_i^2)^2 = |k|^4 and sum k_i^4, which the corners themselves take away.
    """
    corners = _corners(dim)
    subsets = np.array(
        [
            corners[list(each)].sum(axis=0)
            for each in itertools.combinations(range(dim + 1), size)
        ]
    )
    directions = _lines(np.vstack([subsets, corners]))
    powers = (directions @ _samples(dim)) ** 4
    square = (_samples(dim) ** 2).sum(axis=0) ** 2
    lengths = np.round((directions**2).sum(axis=1), 9)
    orbits = [lengths == length for length in np.unique(lengths)]
    columns = np.stack([powers[orbit].sum(axis=0) for orbit in orbits], axis=1)
    factors = np.linalg.lstsq(columns, square, rcond=None)[0]
    weights = sum(factor * orbit for factor, orbit in zip(factors, orbits))
    kept = np.abs(weights) > 1e-9
    return directions[kept], weights[kept]


def _corners(dim: int) -> np.ndarray:
    """Returns the corners of a simplex, of which the k_i of a vector are the products."""
    # The columns are an orthonormal basis of what sums to 0: Helmert's matrix.
    rows = np.zeros((dim + 1, dim))
    for j in range(1, dim + 1):
        rows[:j, j - 1] = 1.0
        rows[j, j - 1] = -j
        rows[:, j - 1] /= math.sqrt(j * (j + 1))
    return rows


def _lines(directions: np.ndarray) -> np.ndarray:
    """Returns directions without those that are the negative of another."""
    rounded = np.round(directions, 9) + 0.0
    signs = [row[np.flatnonzero(row)[0]] for row in rounded]
    lines = rounded * np.sign(signs)[:, None]
    return directions[np.sort(np.unique(lines, axis=0, return_index=True)[1])]


def _samples(dim: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(dim, 12))
