"""Loads a problem: a row of the table, data, or a function of the user."""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from keras_smooth.checks import path, real_array, refused, shown
from keras_smooth.comparison.options import check_problem
from keras_smooth.comparison.problems import columns, exact
from keras_smooth.comparison.problems.exact import ExactProblem
from keras_smooth.differentiation import reference_values
from keras_smooth.models import identity

NUM_TRAINING_POINTS = 1000
NUM_TEST_STEPS = 100
# Number of test points along each of two coordinates. In more dimensions, this is their number on
# the diagonal, and NUM_SCATTERED that of random ones.
NUM_GRID_TICKS = 21
NUM_SCATTERED = 200
MIN_ROWS = 10
# y, y', y'' must be smaller than this and larger than its reciprocal, so that their squares, which
# are computed in float64, are finite.
MAX_SIZE = {"float64": 1e100, "float32": 1e30}
# The least number of floating-point numbers in the range of a column, in the dtype of the network.
MIN_NUMBERS = 1000
HELD_OUT_EVERY = 5
OWN_DATA = "own data"
OWN_FUNCTION = "own function"
DOMAIN = (-2.0, 2.0)


@dataclasses.dataclass(frozen=True)
class Problem:
    """Training points and test points with exact values.

    Args:
        name: Name in the table, or the path of the file.
        formula: The function or the data, in words or ASCII.
        draw: Function of a seed that returns training points x and y. y has the shape `(n,)`.
            x has the same shape or, in d dimensions, `(n, d)`.
        x: Test points of shape `(m,)`, ascending, or `(m, d)`.
        exact: y, y', y'' at the test points, in d dimensions y, its gradient and its
            Hessian; None for each that is not known.
        x_scale: Center and half width of x, which the network maps to [-2, 2]; None
            leaves x unchanged.
        y_scale: Mean and standard deviation of y, to which the network scales its output;
            None leaves the output unchanged.
        diagonal: In d dimensions, the indices of the test points on the diagonal of the domain,
            in order, for curves along it.
    """

    name: str
    formula: str
    draw: Callable[[int], tuple[np.ndarray, np.ndarray]]
    x: np.ndarray
    exact: tuple[np.ndarray | None, ...]
    x_scale: tuple[float, float] | None = None
    y_scale: tuple[float, float] | None = None
    diagonal: np.ndarray | None = None

    @property
    def dim(self) -> int:
        """Number of coordinates of a point."""
        return 1 if self.diagonal is None else self.x.shape[1]

    @property
    def y(self) -> np.ndarray:
        """The exact y at the test points, which is known for each problem."""
        return cast(np.ndarray, self.exact[0])

    @property
    def known_order(self) -> int:
        """Order of the highest derivative whose exact values are known."""
        return max(i for i, values in enumerate(self.exact) if values is not None)

    def line(self) -> np.ndarray:
        """Returns the x axis of curves: x, or lengths along the diagonal."""
        if self.diagonal is None:
            return self.x
        return self.x[self.diagonal].sum(axis=1) / np.sqrt(self.dim)

    def along_line(self, values: tuple) -> tuple[np.ndarray | None, ...]:
        """Returns y and its derivatives along `line`, from y, gradient and Hessian."""
        if self.diagonal is None:
            return values
        num, length = len(self.diagonal), np.sqrt(self.dim)
        return tuple(
            None
            if value is None
            else value[self.diagonal].reshape(num, -1).sum(axis=1) / length**order
            for order, value in enumerate(values)
        )

    def shown(self) -> str:
        """Returns the name as text; the name of a file may have bytes that are not UTF-8."""
        return self.name.encode(errors="backslashreplace").decode()

    def digest(self) -> str:
        """Returns a hash of all test points and of the training points of seed 0."""
        known = [entry for entry in self.exact if entry is not None]
        return identity.digest([self.x, *known, *self.draw(0)])


def _problem_of_row(row: ExactProblem) -> Problem:
    """Returns the problem of a row of the table."""
    shape = NUM_TRAINING_POINTS if row.dim == 1 else (NUM_TRAINING_POINTS, row.dim)

    def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
        x = np.random.default_rng(seed).uniform(*row.domain, shape)
        return x, row.y(x)

    x, diagonal = _test_points(row)
    low, high = row.domain
    return Problem(
        name=row.name,
        formula=row.formula,
        draw=draw,
        x=x,
        exact=tuple(function(x) for function in (row.y, row.dy, row.d2y)),
        x_scale=None if row.dim == 1 else ((low + high) / 2, (high - low) / 2),
        diagonal=diagonal,
    )


def _test_points(row: ExactProblem) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns test points, and the indices of those on the diagonal of the domain."""
    if row.dim == 1:
        return np.linspace(*row.domain, NUM_TEST_STEPS + 1), None
    ticks = np.linspace(*row.domain, NUM_GRID_TICKS)
    if row.dim == 2:
        grid = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
        return grid, np.arange(NUM_GRID_TICKS) * (NUM_GRID_TICKS + 1)
    # A grid would have too many points.
    others = np.random.default_rng(0).uniform(*row.domain, (NUM_SCATTERED, row.dim))
    on_diagonal = np.repeat(ticks[:, None], row.dim, axis=1)
    return np.concatenate([on_diagonal, others]), np.arange(NUM_GRID_TICKS)


def load_problem(
    source: Any, domain: Sequence[float] = DOMAIN, noise: float = 0.0
) -> Problem:
    """Returns a problem of the table, of a file, of arrays or of a function.

    Args:
        source: A name; a path; arrays, as a tuple `(x, y)`, `(x, y, dy)`,
            `(x, y, dy, d2y)` or as a mapping or table with these keys; or a function of a
            tensor, made of `keras.ops`.
        domain: The lower and upper bound of x for a function.
        noise: Standard deviation of the errors that are added to y for training, as a fraction
            of that of y. The test points have no errors.

    Raises:
        TypeError: If the source is none of these.
        ValueError: If the name is unknown, or the data cannot be used.
    """
    problem = _problem_without_noise(source, domain)
    if not noise:
        return problem

    def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = problem.draw(seed)
        # The seed makes the errors independent of the random points.
        errors = np.random.default_rng([seed, 1]).normal(size=y.shape)
        return x, y + noise * y.std() * errors

    return dataclasses.replace(problem, draw=draw)


def load_problems(
    source: Any, domain: Sequence[float] = DOMAIN, noise: float = 0.0
) -> dict[str, Problem]:
    """Returns problems by name: of a list of names and paths, or one as in `load_problem`."""
    several = isinstance(source, Sequence) and not isinstance(source, str)
    if not (several and source and all(isinstance(item, str | Path) for item in source)):
        source = [source]
    problems = [load_problem(item, domain, noise) for item in source]
    return {problem.name: problem for problem in problems}


def _problem_of_function(function: Callable, domain: Sequence[float]) -> Problem:
    """Returns the problem of a user's function, with its exact derivatives."""

    def derivative(x: np.ndarray, order: int) -> np.ndarray:
        try:
            return np.ravel(
                reference_values.reference_values(function, x[:, None], order)[order]
            )
        except (TypeError, ValueError) as error:
            reason = str(error).removeprefix("`reference`").removeprefix(":").strip()
            raise type(error)(f"problem: {reason}") from error

    y, dy, d2y = (functools.partial(derivative, order=order) for order in range(3))
    formula = f"{getattr(function, '__name__', OWN_FUNCTION)}(x)"
    bounds = real_array("domain", domain).astype(float)
    if bounds.shape != (2,) or not np.isfinite(bounds).all() or bounds[0] >= bounds[1]:
        raise ValueError(refused("domain", "two finite numbers, the lower first", domain))
    low, high = bounds.tolist()
    problem = _problem_of_row(ExactProblem(OWN_FUNCTION, formula, (low, high), y, dy, d2y))
    x_scale = (low + high) / 2, (high - low) / 2
    return dataclasses.replace(problem, x_scale=x_scale, y_scale=_scale_of(problem.y))


def _scale_of(y: np.ndarray) -> tuple[float, float]:
    return float(y.mean()), float(y.std()) or 1.0


def _problem_without_noise(source: Any, domain: Sequence[float]) -> Problem:
    if callable(source):
        return _problem_of_function(source, domain)
    if isinstance(source, str | os.PathLike):
        name = os.fspath(path("problem", source))
        check_problem(name)
        if row := exact.named(name):
            return _problem_of_row(row)
        file = Path(name)
        return _problem_of_data(name, f"the data of {file.name}", columns.read(file))
    if hasattr(source, "columns"):  # A table of pandas or polars.
        known = [name for name in columns.NAMES if name in source.columns]
        source = {name: source[name] for name in known or source.columns}
    if isinstance(source, Mapping | Sequence):
        return _problem_of_data(OWN_DATA, OWN_DATA, _columns_of_arrays(source))
    expected = "a name, the path of a file, a function, or arrays x, y and maybe dy, d2y"
    raise TypeError(refused("problem", expected, source))


def _columns_of_arrays(source: Mapping | Sequence) -> dict[str, np.ndarray]:
    is_named = isinstance(source, Mapping)
    names = list(source) if is_named else list(columns.NAMES[: len(source)])
    is_known = {"x", "y"} <= {*names} <= {*columns.NAMES}
    if not is_known or len(names) < len(source):
        received = f"the keys {shown(names)}" if is_named else f"{len(source)} of them"
        raise ValueError(
            "problem must have x, y and optionally dy, d2y, as keys or in this order; "
            f"received {received}."
        )
    if not isinstance(source, Mapping):
        source = dict(zip(names, source))
    ordered = [name for name in columns.NAMES if name in source]
    data = {name: _column(f"problem: {name}", source[name]) for name in ordered}
    if len({*map(len, data.values())}) > 1:
        sizes = {name: len(column) for name, column in data.items()}
        raise ValueError(f"problem must have arrays of one length, received {sizes}.")
    return data


def _column(name: str, values: Any) -> np.ndarray:
    column = real_array(name, values)
    if column.ndim == 0 or column.size != len(column):
        expected = "of shape (n,) or (n, 1), since your own data can have one input only"
        raise ValueError(refused(name, expected, column.shape))
    return column.reshape(-1).astype(float)


def _problem_of_data(name: str, formula: str, data: dict[str, np.ndarray]) -> Problem:
    _check_data(name, data)
    order = np.lexsort(tuple(data.values())[::-1])
    data = {key: column[order] for key, column in data.items()}
    x, y = data["x"], data["y"]
    exact = (y, data.get("dy"), data.get("d2y"))
    test, points = np.ones(len(x), bool), (x, y)
    # Networks are trained on y only, so the errors of y' and y'' need no held-out points.
    if len(data) == 2:
        test = _held_out(x)
        points = x[~test], y[~test]
    return Problem(
        name=name,
        formula=formula,
        draw=lambda seed: points,
        x=x[test],
        exact=tuple(None if entry is None else entry[test] for entry in exact),
        x_scale=(float(x[0] + x[-1]) / 2, float(x[-1] - x[0]) / 2),
        y_scale=_scale_of(points[1]),
    )


def _held_out(x: np.ndarray) -> np.ndarray:
    """Returns the mask of points that are held out from training.

    The end points are never held out, since nothing is known beyond them. Points with the same x
    are all held out, or none of them.
    """
    _, ranks = np.unique(x, return_inverse=True)
    held_out = ranks % HELD_OUT_EVERY == HELD_OUT_EVERY // 2
    held_out[ranks == ranks[-1]] = False
    return held_out


def _check_data(name: str, data: dict[str, np.ndarray]) -> None:
    if (num := len(np.unique(data["x"]))) < MIN_ROWS:
        raise ValueError(f"{name} has {num} different x; at least {MIN_ROWS} are needed.")
    for key, column in data.items():
        # `argmax` returns the index of a NaN if there is one.
        largest = column[np.abs(column).argmax()]
        if not abs(largest) < MAX_SIZE["float64"]:
            limit = f"{MAX_SIZE['float64']:.0e}"
            raise ValueError(
                f"{name}: {key} must be below {limit}, received {largest}: choose other units."
            )


def check_precision(learned: Mapping[str, Problem], dtypes: Sequence[str]) -> None:
    """Raises a ValueError if a dtype has too few numbers for a problem."""
    for problem, dtype in itertools.product(learned.values(), dtypes):
        x, y = problem.x, problem.y
        for key, column in {"x": x, "y": y}.items():
            rounding = np.finfo(dtype).eps * np.abs(column).max()
            if 0 < np.ptp(column) < MIN_NUMBERS * rounding:
                raise ValueError(
                    f"{problem.shown()}: {dtype} has too few numbers between {key} = "
                    f"{column.min()} and {column.max()}. Subtract a constant from {key}"
                    f"{'' if dtype == 'float64' else ', or use float64'}."
                )
        largest = MAX_SIZE[dtype]
        for order, derivative in enumerate(("y", "y'", "y''")):
            with np.errstate(divide="ignore", over="ignore"):
                size = np.ptp(y) / np.ptp(x) ** order
            if size and not 1.0 / largest < size < largest:
                raise ValueError(
                    f"{problem.shown()}: by the ranges of x and y, {derivative} is of the size "
                    f"{size:.0e}; in {dtype} it must be between {1.0 / largest:.0e} and "
                    f"{largest:.0e}. Choose other units."
                )
