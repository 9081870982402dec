"""The table of problems: functions with exact derivatives, written out by hand.

To add a problem, add a row. In one dimension, y, y', y'' are functions of x of shape `(n,)`. In d
dimensions, x has shape `(n, d)`, and the values have shape `(n,)`, `(n, d)` and `(n, d, d)`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_smooth.comparison.options import gaussian_dim


@dataclasses.dataclass(frozen=True)
class ExactProblem:
    """A row of the table.

    Args:
        name: Its name.
        formula: Its formula, in ASCII.
        domain: Lower and upper bound of each coordinate.
        y: The function.
        dy: Its first derivative, or its gradient.
        d2y: Its second derivative, or its Hessian.
        dim: Number of coordinates.
    """

    name: str
    formula: str
    domain: tuple[float, float]
    y: Callable
    dy: Callable
    d2y: Callable
    dim: int = 1


def _gaussian(dim: int) -> ExactProblem:
    # With this width, the function is not negligible in most of the domain.
    c = 2.0 / dim

    def y(x: np.ndarray) -> np.ndarray:
        return np.exp(-c * np.sum(x**2, axis=1))

    def dy(x: np.ndarray) -> np.ndarray:
        return -2.0 * c * x * y(x)[:, None]

    def d2y(x: np.ndarray) -> np.ndarray:
        outer = 4.0 * c**2 * x[:, :, None] * x[:, None, :]
        return (outer - 2.0 * c * np.eye(dim)) * y(x)[:, None, None]

    width = "" if dim == 2 else f"{c:.3g} "
    return ExactProblem(
        f"gaussian_{dim}d", f"exp(-{width}|x|^2)", (-2.0, 2.0), y, dy, d2y, dim
    )


# Franke, A Critical Comparison of Some Methods for Interpolation of Scattered Data (1979): a sum
# of terms a exp(-g), where g is the sum of (9 x + b)^n / c over both coordinates and n is 1 or 2.
# A row contains a, and (b, n, c) for each coordinate.
_FRANKE = (
    (0.75, (-2.0, 2, 4.0), (-2.0, 2, 4.0)),
    (0.75, (1.0, 2, 49.0), (1.0, 1, 10.0)),
    (0.5, (-7.0, 2, 4.0), (-3.0, 2, 4.0)),
    (-0.2, (-4.0, 2, 1.0), (-7.0, 2, 1.0)),
)


def _franke(x: np.ndarray, order: int) -> np.ndarray:
    total = np.zeros((len(x),) + (2,) * order)
    for a, *powers in _FRANKE:
        b, n, c = np.transpose(powers)
        u = 9 * x + b
        term = a * np.exp(-(np.where(n == 2, u * u, u) / c).sum(axis=1))
        dg, d2g = 9 * np.where(n == 2, 2 * u, 1) / c, 81 * n * (n - 1) / c
        if order == 0:
            total += term
        elif order == 1:
            total -= term[:, None] * dg
        else:
            outer = dg[:, :, None] * dg[:, None, :]
            total += term[:, None, None] * (outer - d2g * np.eye(2))
    return total


def _himmelblau(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the two terms of Himmelblau's function before they are squared, each `(n,)`."""
    return x[:, 0] ** 2 + x[:, 1] - 11.0, x[:, 0] + x[:, 1] ** 2 - 7.0


def _himmelblau_gradient(x: np.ndarray) -> np.ndarray:
    u, v = _himmelblau(x)
    return np.stack([4.0 * x[:, 0] * u + 2.0 * v, 2.0 * u + 4.0 * x[:, 1] * v], 1) / 200.0


def _himmelblau_hessian(x: np.ndarray) -> np.ndarray:
    u, v = _himmelblau(x)
    mixed = 4.0 * (x[:, 0] + x[:, 1])
    first = np.stack([4.0 * u + 8.0 * x[:, 0] ** 2 + 2.0, mixed], axis=1)
    second = np.stack([mixed, 4.0 * v + 8.0 * x[:, 1] ** 2 + 2.0], axis=1)
    return np.stack([first, second], axis=1) / 200.0


# The functions y, y' and y'' of one coordinate, by name, formula and domain.
_IN_ONE_DIMENSION = {
    ("gaussian", "exp(-x^2)", (-2.0, 2.0)): (
        lambda x: np.exp(-(x**2)),
        lambda x: -2.0 * x * np.exp(-(x**2)),
        # The article prints (4x^2 - x) exp(-x^2), a misprint.
        lambda x: (4.0 * x**2 - 2.0) * np.exp(-(x**2)),
    ),
    ("sine", "sin(pi x)", (-2.0, 2.0)): (
        lambda x: np.sin(np.pi * x),
        lambda x: np.pi * np.cos(np.pi * x),
        lambda x: -(np.pi**2) * np.sin(np.pi * x),
    ),
    ("runge", "1 / (1 + 25 x^2)", (-1.0, 1.0)): (
        lambda x: 1.0 / (1.0 + 25.0 * x**2),
        lambda x: -50.0 * x / (1.0 + 25.0 * x**2) ** 2,
        lambda x: (3750.0 * x**2 - 50.0) / (1.0 + 25.0 * x**2) ** 3,
    ),
    ("front", "tanh(5 x)", (-2.0, 2.0)): (
        lambda x: np.tanh(5.0 * x),
        lambda x: 5.0 * (1.0 - np.tanh(5.0 * x) ** 2),
        lambda x: -50.0 * np.tanh(5.0 * x) * (1.0 - np.tanh(5.0 * x) ** 2),
    ),
    ("morse", "(1 - exp(-x))^2", (-0.5, 3.5)): (
        lambda x: (1.0 - np.exp(-x)) ** 2,
        lambda x: 2.0 * np.exp(-x) * (1.0 - np.exp(-x)),
        lambda x: 2.0 * np.exp(-x) * (2.0 * np.exp(-x) - 1.0),
    ),
    ("chirp", "sin(3 x^2)", (0.0, 2.5)): (
        lambda x: np.sin(3.0 * x**2),
        lambda x: 6.0 * x * np.cos(3.0 * x**2),
        lambda x: 6.0 * np.cos(3.0 * x**2) - 36.0 * x**2 * np.sin(3.0 * x**2),
    ),
    ("polynomial", "x^5 - 3 x^3 + x", (-2.0, 2.0)): (
        lambda x: x**5 - 3.0 * x**3 + x,
        lambda x: 5.0 * x**4 - 9.0 * x**2 + 1.0,
        lambda x: 20.0 * x**3 - 18.0 * x,
    ),
    ("oscillation", "exp(-x / 2) cos(4 x)", (0.0, 6.0)): (
        lambda x: np.exp(-x / 2.0) * np.cos(4.0 * x),
        lambda x: np.exp(-x / 2.0) * (-0.5 * np.cos(4.0 * x) - 4.0 * np.sin(4.0 * x)),
        lambda x: np.exp(-x / 2.0) * (4.0 * np.sin(4.0 * x) - 15.75 * np.cos(4.0 * x)),
    ),
}
EXACT_PROBLEMS = (
    *(ExactProblem(*key, *functions) for key, functions in _IN_ONE_DIMENSION.items()),
    _gaussian(2),
    ExactProblem(
        "franke",
        "Franke's function of x1 and x2",
        (0.0, 1.0),
        lambda x: _franke(x, 0),
        lambda x: _franke(x, 1),
        lambda x: _franke(x, 2),
        dim=2,
    ),
    ExactProblem(
        "himmelblau",
        "((x1^2 + x2 - 11)^2 + (x1 + x2^2 - 7)^2) / 200",
        (-5.0, 5.0),
        lambda x: sum(square**2 for square in _himmelblau(x)) / 200.0,
        _himmelblau_gradient,
        _himmelblau_hessian,
        dim=2,
    ),
    _gaussian(5),
)


def named(name: str) -> ExactProblem | None:
    """Returns a row by its name; a name such as gaussian_7d gives a Gaussian in any dimension."""
    if dim := gaussian_dim(name):
        return _gaussian(dim)
    return next((row for row in EXACT_PROBLEMS if row.name == name), None)
