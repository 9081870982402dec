"""Problems of More, Garbow and Hillstrom with standard starts and published minima.

References:
    More, Garbow and Hillstrom, 1981, "Testing unconstrained optimization software", ACM
    Transactions on Mathematical Software 7, sections 3.1 to 3.35. The numbers in the names
    are theirs. In problem 11 the exponent is |y - x2|^x3 / x1, which their text misprints.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class MinimizationProblem:
    """A sum of squares: residuals of x, a start, and the values of its known minima."""

    name: str
    residuals: Callable
    start: tuple[float, ...]
    minima: tuple[float, ...]

    def __call__(self, x):
        return tf.reduce_sum(tf.square(self.residuals(x)))

    def is_minimum(self, value: float) -> bool:
        """Returns whether a value is one of the published minima, which have six digits."""
        tolerance = 2e-6 * (1 + len(self.start))
        return any(
            abs(value - minimum) < tolerance * max(abs(minimum), 1.0)
            for minimum in self.minima
        )


def _numbers(count: int, x) -> tf.Tensor:
    """Returns 1, 2, ..., count in the dtype of x."""
    return tf.range(1, count + 1, dtype=x.dtype)


def _constants(values, x) -> tf.Tensor:
    return tf.constant(values, x.dtype)


def rosenbrock(x):
    return tf.stack([10.0 * (x[1] - x[0] ** 2), 1.0 - x[0]])


def freudenstein_roth(x):
    return tf.stack(
        [
            -13.0 + x[0] + ((5.0 - x[1]) * x[1] - 2.0) * x[1],
            -29.0 + x[0] + ((x[1] + 1.0) * x[1] - 14.0) * x[1],
        ]
    )


def powell_badly_scaled(x):
    return tf.stack([1e4 * x[0] * x[1] - 1.0, tf.exp(-x[0]) + tf.exp(-x[1]) - 1.0001])


def brown_badly_scaled(x):
    return tf.stack([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2.0])


def beale(x):
    y = _constants([1.5, 2.25, 2.625], x)
    return y - x[0] * (1.0 - tf.stack([x[1], x[1] ** 2, x[1] ** 3]))


def jennrich_sampson(x):
    i = _numbers(10, x)
    return 2.0 + 2.0 * i - (tf.exp(i * x[0]) + tf.exp(i * x[1]))


def helical_valley(x):
    # Their theta is atan(x2 / x1) / (2 pi), with 1/2 added for negative x1.
    half = tf.where(x[0] < 0.0, _constants(0.5, x), _constants(0.0, x))
    theta = tf.atan(x[1] / x[0]) / (2.0 * math.pi) + half
    radius = tf.sqrt(x[0] ** 2 + x[1] ** 2)
    return tf.stack([10.0 * (x[2] - 10.0 * theta), 10.0 * (radius - 1.0), x[2]])


_BARD = (
    0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39,
)  # fmt: skip


def bard(x):
    u = _numbers(15, x)
    v = 16.0 - u
    return _constants(_BARD, x) - (x[0] + u / (v * x[1] + tf.minimum(u, v) * x[2]))


_GAUSSIAN = (0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521)


def gaussian(x):
    t = (8.0 - _numbers(15, x)) / 2.0
    y = _constants((*_GAUSSIAN, 0.3989, *_GAUSSIAN[::-1]), x)
    return x[0] * tf.exp(-x[1] * (t - x[2]) ** 2 / 2.0) - y


_MEYER = (
    34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744,
    8261, 7030, 6005, 5147, 4427, 3820, 3307, 2872,
)  # fmt: skip


def meyer(x):
    t = 45.0 + 5.0 * _numbers(16, x)
    return x[0] * tf.exp(x[1] / (t + x[2])) - _constants(_MEYER, x)


def gulf(x):
    t = _numbers(99, x) / 100.0
    y = 25.0 + (-50.0 * tf.math.log(t)) ** (2.0 / 3.0)
    return tf.exp(-(tf.abs(y - x[1]) ** x[2]) / x[0]) - t


def box(x):
    t = _numbers(10, x) / 10.0
    return tf.exp(-t * x[0]) - tf.exp(-t * x[1]) - x[2] * (tf.exp(-t) - tf.exp(-10.0 * t))


def powell_singular(x):
    a, b, c, d = tf.unstack(tf.reshape(x, (-1, 4)), axis=1)
    return tf.concat(
        [
            a + 10.0 * b,
            math.sqrt(5.0) * (c - d),
            (b - 2.0 * c) ** 2,
            math.sqrt(10.0) * (a - d) ** 2,
        ],
        axis=0,
    )


def wood(x):
    return tf.stack(
        [
            10.0 * (x[1] - x[0] ** 2),
            1.0 - x[0],
            math.sqrt(90.0) * (x[3] - x[2] ** 2),
            1.0 - x[2],
            math.sqrt(10.0) * (x[1] + x[3] - 2.0),
            (x[1] - x[3]) / math.sqrt(10.0),
        ]
    )


_KOWALIK_Y = (
    0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246,
)  # fmt: skip
_KOWALIK_U = (4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625)


def kowalik_osborne(x):
    u = _constants(_KOWALIK_U, x)
    return _constants(_KOWALIK_Y, x) - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def brown_dennis(x):
    t = _numbers(20, x) / 5.0
    return (x[0] + t * x[1] - tf.exp(t)) ** 2 + (x[2] + x[3] * tf.sin(t) - tf.cos(t)) ** 2


_OSBORNE_1 = (
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751,
    0.718, 0.685, 0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490,
    0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406,
)  # fmt: skip


def osborne_1(x):
    t = 10.0 * (_numbers(33, x) - 1.0)
    model = x[0] + x[1] * tf.exp(-t * x[3]) + x[2] * tf.exp(-t * x[4])
    return _constants(_OSBORNE_1, x) - model


def biggs(x):
    t = _numbers(13, x) / 10.0
    y = tf.exp(-t) - 5.0 * tf.exp(-10.0 * t) + 3.0 * tf.exp(-4.0 * t)
    return (
        x[2] * tf.exp(-t * x[0]) - x[3] * tf.exp(-t * x[1]) + x[5] * tf.exp(-t * x[4]) - y
    )


def watson(x):
    n = x.shape[0]
    t = (np.arange(1, 30) / 29.0)[:, None]
    powers = t ** np.arange(n)
    slopes = np.arange(1, n) * t ** np.arange(n - 1)
    first = tf.linalg.matvec(_constants(slopes, x), x[1:])
    second = tf.linalg.matvec(_constants(powers, x), x)
    rest = tf.stack([x[0], x[1] - x[0] ** 2 - 1.0])
    return tf.concat([first - second**2 - 1.0, rest], axis=0)


def extended_rosenbrock(x):
    odd, even = tf.unstack(tf.reshape(x, (-1, 2)), axis=1)
    return tf.concat([10.0 * (even - odd**2), 1.0 - odd], axis=0)


def penalty_1(x):
    small = math.sqrt(1e-5) * (x - 1.0)
    return tf.concat([small, [tf.reduce_sum(x**2) - 0.25]], axis=0)


def penalty_2(x):
    n, root = x.shape[0], math.sqrt(1e-5)
    i = _numbers(n, x)
    y = tf.exp(i[1:] / 10.0) + tf.exp((i[1:] - 1.0) / 10.0)
    chain = root * (tf.exp(x[1:] / 10.0) + tf.exp(x[:-1] / 10.0) - y)
    single = root * (tf.exp(x[1:] / 10.0) - math.exp(-0.1))
    last = tf.reduce_sum((n - i + 1.0) * x**2) - 1.0
    return tf.concat([[x[0] - 0.2], chain, single, [last]], axis=0)


def variably_dimensioned(x):
    total = tf.reduce_sum(_numbers(x.shape[0], x) * (x - 1.0))
    return tf.concat([x - 1.0, [total, total**2]], axis=0)


def trigonometric(x):
    n = x.shape[0]
    i = _numbers(n, x)
    return n - tf.reduce_sum(tf.cos(x)) + i * (1.0 - tf.cos(x)) - tf.sin(x)


def brown_almost_linear(x):
    n = x.shape[0]
    linear = x[:-1] + tf.reduce_sum(x) - (n + 1.0)
    return tf.concat([linear, [tf.reduce_prod(x) - 1.0]], axis=0)


def _neighbors(x):
    padded = tf.pad(x, [[1, 1]])
    return padded[:-2], padded[2:]


def discrete_boundary_value(x):
    h = 1.0 / (x.shape[0] + 1)
    t = _numbers(x.shape[0], x) * h
    before, after = _neighbors(x)
    return 2.0 * x - before - after + h**2 * (x + t + 1.0) ** 3 / 2.0


def discrete_integral_equation(x):
    h = 1.0 / (x.shape[0] + 1)
    t = _numbers(x.shape[0], x) * h
    cubes = (x + t + 1.0) ** 3
    below = tf.cumsum(t * cubes)
    above = tf.cumsum((1.0 - t) * cubes, reverse=True, exclusive=True)
    return x + h * ((1.0 - t) * below + t * above) / 2.0


def broyden_tridiagonal(x):
    before, after = _neighbors(x)
    return (3.0 - 2.0 * x) * x - before - 2.0 * after + 1.0


def broyden_banded(x):
    n = x.shape[0]
    i, j = np.indices((n, n))
    band = (j != i) & (j >= i - 5) & (j <= i + 1)
    return (
        x * (2.0 + 5.0 * x**2)
        + 1.0
        - tf.linalg.matvec(_constants(band * 1.0, x), x * (1.0 + x))
    )


def linear_full_rank(x, num_residuals=20):
    short = x - 2.0 / num_residuals * tf.reduce_sum(x) - 1.0
    rest = tf.fill(
        [num_residuals - x.shape[0]], -2.0 / num_residuals * tf.reduce_sum(x) - 1.0
    )
    return tf.concat([short, rest], axis=0)


def linear_rank_1(x, num_residuals=20):
    return _numbers(num_residuals, x) * tf.reduce_sum(_numbers(x.shape[0], x) * x) - 1.0


def linear_rank_1_with_zeros(x, num_residuals=20):
    inner = tf.reduce_sum(_numbers(x.shape[0], x)[1:-1] * x[1:-1])
    middle = (_numbers(num_residuals - 2, x)) * inner - 1.0
    return tf.concat([[-1.0], middle, [-1.0]], axis=0)


def chebyquad(x):
    n = x.shape[0]
    first, second = tf.ones_like(x), 2.0 * x - 1.0
    residuals = []
    for degree in range(1, n + 1):
        integral = -1.0 / (degree**2 - 1) if degree % 2 == 0 else 0.0
        residuals.append(tf.reduce_mean(second) - integral)
        first, second = second, 2.0 * (2.0 * x - 1.0) * second - first
    return tf.stack(residuals)


def _ramp(n):
    return tuple(np.arange(1, n + 1) / (n + 1))


def _boundary(n):
    t = np.arange(1, n + 1) / (n + 1)
    return tuple(t * (t - 1.0))


# Sources of the minima: the sections of the paper; for 32 to 34 with m = 20, n = 10 they
# are m - n, m (m - 1) / (2 (2m + 1)) and (m^2 + 3m - 6) / (2 (2m - 3)).
PROBLEMS = (
    MinimizationProblem("01 Rosenbrock", rosenbrock, (-1.2, 1.0), (0.0,)),
    MinimizationProblem(
        "02 Freudenstein and Roth", freudenstein_roth, (0.5, -2.0), (0.0, 48.98425),
    ),
    MinimizationProblem("03 Powell badly scaled", powell_badly_scaled, (0.0, 1.0), (0.0,)),
    MinimizationProblem("04 Brown badly scaled", brown_badly_scaled, (1.0, 1.0), (0.0,)),
    MinimizationProblem("05 Beale", beale, (1.0, 1.0), (0.0,)),
    MinimizationProblem("06 Jennrich and Sampson", jennrich_sampson, (0.3, 0.4), (124.36218,)),
    MinimizationProblem("07 helical valley", helical_valley, (-1.0, 0.0, 0.0), (0.0,)),
    MinimizationProblem("08 Bard", bard, (1.0, 1.0, 1.0), (8.214877e-3, 17.4286)),
    MinimizationProblem("09 Gaussian", gaussian, (0.4, 1.0, 0.0), (1.12793e-8,)),
    MinimizationProblem("10 Meyer", meyer, (0.02, 4000.0, 250.0), (87.94586,)),
    MinimizationProblem("11 Gulf research", gulf, (5.0, 2.5, 0.15), (0.0,)),
    MinimizationProblem("12 Box", box, (0.0, 10.0, 20.0), (0.0,)),
    MinimizationProblem("13 Powell singular", powell_singular, (3.0, -1.0, 0.0, 1.0), (0.0,)),
    MinimizationProblem("14 Wood", wood, (-3.0, -1.0, -3.0, -1.0), (0.0,)),
    MinimizationProblem(
        "15 Kowalik and Osborne", kowalik_osborne, (0.25, 0.39, 0.415, 0.39), (3.075056e-4,),
    ),
    MinimizationProblem(
        "16 Brown and Dennis", brown_dennis, (25.0, 5.0, -5.0, -1.0), (85822.2,),
    ),
    MinimizationProblem(
        "17 Osborne 1", osborne_1, (0.5, 1.5, -1.0, 0.01, 0.02), (5.464895e-5,),
    ),
    MinimizationProblem(
        "18 Biggs EXP6", biggs, (1.0, 2.0, 1.0, 1.0, 1.0, 1.0), (0.0, 5.65565e-3),
    ),
    MinimizationProblem("20 Watson", watson, (0.0,) * 6, (2.287670e-3,)),
    MinimizationProblem("21 extended Rosenbrock", extended_rosenbrock, (-1.2, 1.0) * 5, (0.0,)),
    MinimizationProblem(
        "22 extended Powell", powell_singular, (3.0, -1.0, 0.0, 1.0) * 3, (0.0,),
    ),
    MinimizationProblem("23 penalty I", penalty_1, (1.0, 2.0, 3.0, 4.0), (2.249978e-5,)),
    MinimizationProblem("24 penalty II", penalty_2, (0.5,) * 4, (9.376293e-6,)),
    MinimizationProblem(
        "25 variably dimensioned", variably_dimensioned,
        tuple(1 - np.arange(1, 11) / 10), (0.0,),
    ),
    MinimizationProblem("26 trigonometric", trigonometric, (0.1,) * 10, (0.0, 2.795056e-5)),
    MinimizationProblem("27 Brown almost linear", brown_almost_linear, (0.5,) * 10, (0.0, 1.0)),
    MinimizationProblem(
        "28 discrete boundary value", discrete_boundary_value, _boundary(10), (0.0,),
    ),
    MinimizationProblem(
        "29 discrete integral equation", discrete_integral_equation, _boundary(10), (0.0,),
    ),
    MinimizationProblem("30 Broyden tridiagonal", broyden_tridiagonal, (-1.0,) * 10, (0.0,)),
    MinimizationProblem("31 Broyden banded", broyden_banded, (-1.0,) * 10, (0.0,)),
    MinimizationProblem("32 linear, full rank", linear_full_rank, (1.0,) * 10, (10.0,)),
    MinimizationProblem("33 linear, rank 1", linear_rank_1, (1.0,) * 10, (4.634146,)),
    MinimizationProblem(
        "34 linear, rank 1, zeros", linear_rank_1_with_zeros, (1.0,) * 10, (6.135135,),
    ),
    MinimizationProblem("35 Chebyquad", chebyquad, _ramp(8), (3.516874e-3,)),
)  # fmt: skip
