"""The problems of equations_plain.py: equations, their template and their reference solutions."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_smooth

# Samples of a start that give its Fourier modes: those of a kink fall off as their square only.
FINEST = 2**17
CAVITY_DEGREE = 26
LETTERS = "abcdefghij"


@dataclasses.dataclass(frozen=True)
class Problem:
    """A row of the benchmark.

    Args:
        title: In words.
        names: Of the coordinates, a letter each.
        low, high: The box of the coordinates.
        which: Partial derivatives that the equation needs, as for `keras_smooth.partials`.
        residual: Of u, these derivatives and the columns of the points.
        form: u of the network's output and the columns of the points.
        reference: Returns points, u there and its relative error.
        published: The best published error, and what it was reached with.
        goal: The error that ten minutes are to reach.
        periodic: Coordinates in which the equation is periodic over the box.
        dirichlet: u at points on the faces of the box, for a term of the loss.
        faces: The coordinates whose lower, and whose upper faces have such values.
        fixed_faces: Points on these faces that are the same at all draws, None for random ones.
        weight: Of the term of the faces.
        width: Units of a hidden layer.
        num_points: Points of the equation.
        num_outputs: Components of u.
        coefficient: Where the logarithm of an unknown coefficient begins, None if all are known;
            the residual has the coefficient as its last argument.
        observed: Observations of u as rows of coordinates and u, for a term of the loss.
    """

    title: str
    names: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    which: tuple[str, ...]
    residual: Callable
    form: Callable
    reference: Callable
    published: str = ""
    goal: float | None = None
    periodic: str = ""
    dirichlet: Callable | None = None
    faces: tuple[str, str] = ("", "")
    fixed_faces: np.ndarray | None = None
    weight: float = 1.0
    width: int = 20
    num_points: int = 2000
    num_outputs: int = 1
    coefficient: float | None = None
    observed: Callable | None = None

    def uniform(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Returns random points of the box."""
        return generator.uniform(self.low, self.high, (count, len(self.low)))

    def on_faces(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Returns points of the faces with Dirichlet values, as many random ones on each."""
        if self.fixed_faces is not None:
            return self.fixed_faces
        faces = [(name, bound) for bound in (0, 1) for name in self.faces[bound]]
        points = self.uniform(count, generator)
        for number, (name, bound) in enumerate(faces):
            column = self.names.index(name)
            points[number :: len(faces), column] = (self.low, self.high)[bound][column]
        return points

    def draw(self, count: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Returns the points of each term of the loss, uniform."""
        points = {"equation": self.uniform(count, generator)}
        if self.dirichlet:
            points["faces"] = self.on_faces(count // 4, generator)
        if self.observed:
            points["observations"] = self.observed()
        return points

    def net(self) -> keras.Model:
        """Returns the network of the template."""
        inputs = keras.Input((len(self.names),), dtype="float64")
        columns, features = columns_of(inputs), []
        for name, column, low, high in zip(self.names, columns, self.low, self.high):
            scaled = (2.0 * column - low - high) / (high - low)
            waves = [ops.cos(np.pi * scaled), ops.sin(np.pi * scaled)]
            features += waves if name in self.periodic else [scaled]
        hidden = ops.concatenate(features, axis=1) if len(features) > 1 else features[0]
        for _ in range(3):
            hidden = keras_smooth.Dense(self.width, "tanh", dtype="float64")(hidden)
        output = keras_smooth.Dense(self.num_outputs, dtype="float64")(hidden)
        if self.coefficient is not None:
            output = Coefficient(self.coefficient, name="coefficient")(output)
        return keras.Model(inputs, self.form(output, *columns))

    def residual_of(self, model: keras.Model, points: Any) -> Any:
        """Returns the residual of the equation at points, a row each."""
        values = keras_smooth.partials(model, points, list(self.which), names=self.names)
        columns = columns_of(tf.convert_to_tensor(points))
        if self.coefficient is not None:
            columns.append(ops.exp(model.get_layer("coefficient").logarithm))
        return self.residual(*values, *columns)

    def residuals(self, model: keras.Model, points: dict) -> dict:
        """Returns what is squared in the terms of the loss."""
        residuals = {"equation": self.residual_of(model, points["equation"])}
        if self.dirichlet:
            expected = self.dirichlet(*columns_of(points["faces"]))
            residuals["faces"] = self.weight**0.5 * (model(points["faces"]) - expected)
        if self.observed:
            coordinates, values = (
                points["observations"][:, :-1],
                points["observations"][:, -1:],
            )
            residuals["observations"] = model(coordinates) - values
        return residuals

    def objective(self, model: keras.Model, points: dict) -> dict:
        """Returns the terms of the loss."""
        residuals = self.residuals(model, points)
        return {name: ops.mean(residual**2) for name, residual in residuals.items()}


class Coefficient(keras.layers.Layer):
    """Returns its inputs; its weight is the logarithm of an unknown coefficient."""

    def __init__(self, start: float, **arguments: Any):
        super().__init__(dtype="float64", **arguments)
        self.logarithm = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(start), name="logarithm"
        )

    def call(self, inputs: Any) -> Any:
        return inputs


def columns_of(points: Any) -> list:
    return [points[:, i : i + 1] for i in range(points.shape[1])]


# Reference solutions. Each comes with what twice as fine a computation changes, relative.


def relative(computed: np.ndarray, expected: np.ndarray) -> float:
    """Returns the relative L2 error."""
    return float(np.linalg.norm(computed - expected) / np.linalg.norm(expected))


def grid(low, high, sizes) -> np.ndarray:
    axes = [np.linspace(*of_axis) for of_axis in zip(low, high, sizes)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(sizes))


def closed(function: Callable, low, high, sizes: tuple[int, ...]) -> tuple:
    """A closed form on a grid, or at 10,000 random points where there are many dimensions."""
    generator = np.random.default_rng(12345)
    points = (
        grid(low, high, sizes)
        if sizes
        else generator.uniform(low, high, (10_000, len(low)))
    )
    return points, np.asarray(function(*columns_of(points))), 1e-15


def cole_hopf(viscosity: float) -> tuple:
    """Burgers' equation from -sin(pi x): Basdevant et al., 1986, by Gauss and Hermite."""
    points = grid((-1.0, 0.0), (1.0, 1.0), (257, 51))
    x, t = points.T

    def solution(count):
        nodes, weights = np.polynomial.hermite.hermgauss(count)
        start = np.pi * (x[:, None] - np.sqrt(4.0 * viscosity * t[:, None]) * nodes)
        weights = weights * np.exp(-np.cos(start) / (2.0 * np.pi * viscosity))
        return -np.sum(weights * np.sin(start), axis=1) / np.sum(weights, axis=1)

    u = solution(200)
    return points, u[:, None], relative(solution(100), u)


def spectral(low, high, end, start, symbol, change, num_modes, num_steps, rows=16) -> tuple:
    """A periodic equation u_t = L u + N(u), by Fourier modes and Runge-Kutta steps of order 4.

    What is linear is solved exactly (integrating factor), and a third of the modes is left out of
    products.

    Args:
        low, high, end: The interval of x, and the time at which it ends.
        start: u(x, 0).
        symbol: L of the wave numbers.
        change: N of u and its x-derivative.
        num_modes, num_steps: Of the finer one of two computations.
        rows: Times at which u is compared.
    """

    def axis(count):
        return low + (high - low) * np.arange(count) / count

    modes_of_start = np.fft.fft(start(axis(FINEST)).astype(complex)) / FINEST

    def solution(modes, steps):
        numbers = np.fft.fftfreq(modes, 1.0 / modes)
        wave = 2.0 * np.pi / (high - low) * numbers
        kept = np.abs(np.fft.fftfreq(modes)) < 1.0 / 3.0
        step = end / steps
        half = np.exp(symbol(wave) * step / 2.0)

        def added(u):
            values, slopes = np.fft.ifft(u), np.fft.ifft(1j * wave * u)
            return step * kept * np.fft.fft(change(values, slopes))

        u, found = modes * modes_of_start[numbers.astype(int)], [start(axis(256))]
        for number in range(1, steps + 1):
            first = added(u)
            second = added(half * (u + first / 2.0))
            third = added(half * u + second / 2.0)
            fourth = added(half * (half * u + third))
            u = half**2 * (u + first / 6.0) + half * (second + third) / 3.0 + fourth / 6.0
            if number % (steps // rows) == 0:
                found.append(np.fft.ifft(u)[:: modes // 256])
        return np.array(found)

    fine = solution(num_modes, num_steps)
    error = relative(solution(num_modes // 2, num_steps // 2), fine)
    t, x = np.meshgrid(np.linspace(0.0, end, rows + 1), axis(256), indexing="ij")
    return np.stack([x.ravel(), t.ravel()], axis=1), fine.reshape(-1, 1), error


def observed_burgers(viscosity: float, noise: float, count: int) -> np.ndarray:
    """Returns observations of Burgers' equation with normal noise, as rows of x, t and u."""
    points, values, _ = cole_hopf(viscosity)
    generator = np.random.default_rng(2026)
    chosen = generator.choice(len(points), count, replace=False)
    noisy = values[chosen] + noise * np.std(values) * generator.normal(size=(count, 1))
    return np.concatenate([points[chosen], noisy], axis=1)


def cavity(reynolds: float) -> tuple:
    """The stream function of a cavity whose lid has the speed 16 x^2 (1 - x)^2.

    By Galerkin's method, since fourth derivatives are singular at the corners: the function of the
    boundary values, and products of x^2 (1 - x)^2 T_i(2 x - 1) in x and y, to which Newton's method
    finds the factors, at ever larger Reynolds numbers.
    """
    # Powers of x would lose all digits at such degrees.
    series = np.polynomial.Chebyshev
    identity = series.identity([0.0, 1.0])
    bump = (identity * (1.0 - identity)) ** 2

    def tables(functions, at):
        return [
            np.stack([f.deriv(k)(at) if k else f(at) for f in functions]) for k in range(3)
        ]

    def solution(count):
        basis = [bump * series.basis(i, [0.0, 1.0]) for i in range(count)]
        nodes, weights = np.polynomial.legendre.leggauss(2 * count)
        weights = np.outer(weights, weights).ravel() / 4.0
        table, of_speed, of_rise = (
            tables(functions, (nodes + 1.0) / 2.0)
            for functions in (basis, [16.0 * bump], [identity**2 * (identity - 1.0)])
        )
        orders = ((1, 0), (0, 1), (2, 0), (0, 2))
        x, y, xx, yy = (np.kron(table[i], table[j]) for i, j in orders)
        lid = [np.outer(of_speed[i], of_rise[j]).ravel() for i, j in orders]
        laplacian, stiffness = xx + yy, (weights * (xx + yy)) @ (xx + yy).T
        factors = np.zeros(count**2)
        numbers = [number for number in (1.0, 100.0, 200.0, 400.0) if number <= reynolds]
        for number in numbers:
            for _ in range(20):
                u_x, u_y = factors @ x + lid[0], factors @ y + lid[1]
                u_laplacian = factors @ laplacian + lid[2] + lid[3]
                along = weights * (u_y * x - u_x * y)
                residual = (
                    along @ u_laplacian + laplacian @ (weights * u_laplacian) / number
                )
                turned = (weights * u_laplacian * x) @ y.T
                jacobian = along @ laplacian.T + turned - turned.T + stiffness / number
                step = np.linalg.solve(jacobian, residual)
                factors = factors - step
                if np.abs(step).max() < 1e-12 * np.abs(factors).max():
                    break
        axis = np.linspace(0.0, 1.0, 101)
        at_axis = tables(basis, axis)[0]
        of_lid = np.outer(16.0 * bump(axis), axis**2 * (axis - 1.0))
        return (at_axis.T @ factors.reshape(count, count) @ at_axis + of_lid).reshape(-1, 1)

    points, fine = grid((0.0, 0.0), (1.0, 1.0), (101, 101)), solution(CAVITY_DEGREE)
    return points, fine, relative(solution(CAVITY_DEGREE - 6), fine)


def real(reference: tuple) -> tuple:
    points, values, error = reference
    return points, values.real, error


def components(reference: tuple) -> tuple:
    points, values, error = reference
    return points, np.concatenate([values.real, values.imag], axis=1), error


# The rows.


def sech(x: Any) -> Any:
    """2 / cosh(x) with the images that make it periodic over 10."""
    module = np if isinstance(x, np.ndarray) else ops
    return sum(2.0 / module.cosh(x - 10.0 * shift) for shift in (-2, -1, 0, 1, 2))


def burgers(viscosity: float, **others: Any) -> Problem:
    return Problem(
        title=f"Burgers, viscosity {viscosity:.3g}",
        names="xt", low=(-1.0, 0.0), high=(1.0, 1.0), periodic="x",
        which=("t", "x", "xx"),
        residual=lambda u, u_t, u_x, u_xx, x, t: u_t + u * u_x - viscosity * u_xx,
        form=lambda n, x, t: t * n - ops.sin(np.pi * x),
        reference=functools.partial(cole_hopf, viscosity),
        **others,
    )  # fmt: skip


def navier_stokes(reynolds: float, **others: Any) -> Problem:
    def residual(psi, x, y, xxx, xyy, xxy, yyy, xxxx, xxyy, yyyy, *_):
        return y * (xxx + xyy) - x * (xxy + yyy) - (xxxx + 2.0 * xxyy + yyyy) / reynolds

    def form(n, x, y):
        wall = 16.0 * (x * (1.0 - x)) ** 2
        return wall * y**2 * (y - 1.0) + wall * (y * (1.0 - y)) ** 2 * n

    return Problem(
        title=f"cavity, Reynolds number {reynolds:.0f}",
        names="xy", low=(0.0, 0.0), high=(1.0, 1.0),
        which=("x", "y", "xxx", "xyy", "xxy", "yyy", "xxxx", "xxyy", "yyyy"),
        residual=residual, form=form,
        reference=functools.partial(cavity, reynolds),
        **others,
    )  # fmt: skip


def heat(dim: int, **others: Any) -> Problem:
    names = LETTERS[:dim]
    low, high = (0.0,) * (dim + 1), (1.0,) * (dim + 1)

    def exact(*columns, module=np):
        *space, t = columns
        return module.exp(-t) * sum(module.sin(np.pi * x) for x in space) / dim

    def residual(u, u_t, *others):
        return u_t - sum(others[:dim]) / np.pi**2

    return Problem(
        title=f"heat in {dim} dimension{'s' if dim > 1 else ''}",
        names=names + "t", low=low, high=high, which=("t", *(2 * name for name in names)),
        residual=residual,
        form=lambda n, *columns: n,
        reference=functools.partial(closed, exact, low, high, (101, 101) if dim == 1 else ()),
        dirichlet=functools.partial(exact, module=ops), faces=(names + "t", names),
        **others,
    )  # fmt: skip


def poisson(
    dim: int, exact: Callable, negative_laplacian: Callable, **others: Any
) -> Problem:
    names, low, high = LETTERS[:dim], (0.0,) * dim, (1.0,) * dim
    return Problem(
        title=f"Poisson in {dim} dimensions",
        names=names, low=low, high=high, which=tuple(2 * name for name in names),
        residual=lambda u, *rest: sum(rest[:dim]) + negative_laplacian(*rest[dim:], module=ops),
        form=lambda n, *columns: n,
        reference=functools.partial(
            closed, functools.partial(exact, module=np), low, high, (101, 101) if dim == 2 else ()
        ),
        dirichlet=functools.partial(exact, module=ops), faces=(names, names),
        **others,
    )  # fmt: skip


def sines(x, y, module):
    return module.sin(np.pi * x) * module.sin(np.pi * y)


def cosines(*columns, module):
    return sum(module.cos(np.pi * x) for x in columns)


def times(factor: float, function: Callable) -> Callable:
    return lambda *columns, module: factor * function(*columns, module=module)


def products(*columns, module):
    return sum(x * y for x, y in zip(columns[::2], columns[1::2]))


def two_modes(x, t, module=np):
    pi = np.pi
    first = module.sin(pi * x) * module.cos(2.0 * pi * t)
    return first + 0.5 * module.sin(4.0 * pi * x) * module.cos(8.0 * pi * t)


def helmholtz(x, y, module=np):
    return module.sin(np.pi * x) * module.sin(4.0 * np.pi * y)


def schroedinger_residual(h, h_t, h_xx, x, t):
    u, v = h[:, :1], h[:, 1:]
    square = u**2 + v**2
    return ops.concatenate(
        [
            -h_t[:, 1:] + 0.5 * h_xx[:, :1] + square * u,
            h_t[:, :1] + 0.5 * h_xx[:, 1:] + square * v,
        ],
        axis=1,
    )


KIYANI = "Kiyani et al., 2025, dense self-scaled Broyden"
PIRATE = "PirateNets, 2024, Adam on a GPU"
PROBLEMS = {
    "burgers": burgers(
        0.01 / np.pi, goal=1e-7, published=f"1.6e-8 ({KIYANI}, 50,000 iterations)"
    ),
    "burgers_001": burgers(
        0.01, goal=1e-9, published="8e-14 (DSGNAR, 2026, sketched Gauss-Newton, 346 s of an H100)"
    ),
    "allen_cahn": Problem(
        title="Allen-Cahn", names="xt", low=(-1.0, 0.0), high=(1.0, 1.0), periodic="x",
        which=("t", "xx"),
        residual=lambda u, u_t, u_xx, x, t: u_t - 1e-4 * u_xx + 5.0 * (u**3 - u),
        # As a function of period 2 the start has a kink, which a factor t would keep for all times,
        # and points drawn by residual would all be there: so a grid, as Urban et al. have it.
        form=lambda n, x, t: n,
        dirichlet=lambda x, t: x**2 * ops.cos(np.pi * x), faces=("t", ""), weight=100.0,
        fixed_faces=grid((-1.0, 0.0), (1.0 - 2.0 / 512.0, 0.0), (512, 1)),
        reference=lambda: real(spectral(
            -1.0, 1.0, 1.0, lambda x: x**2 * np.cos(np.pi * x),
            lambda k: 5.0 - 1e-4 * k**2, lambda u, _: -5.0 * u**3, 2048, 3200,
        )),
        width=30, goal=9.4e-7, published=f"9.4e-7 ({KIYANI})",
    ),
    "korteweg_de_vries": Problem(
        title="Korteweg-de Vries from cos(pi x)", names="xt", low=(-1.0, 0.0), high=(1.0, 1.0),
        periodic="x", which=("t", "x", "xxx"),
        residual=lambda u, u_t, u_x, u_xxx, x, t: u_t + u * u_x + 0.022**2 * u_xxx,
        form=lambda n, x, t: ops.cos(np.pi * x) + t * n,
        reference=lambda: real(spectral(
            -1.0, 1.0, 1.0, lambda x: np.cos(np.pi * x),
            lambda k: 1j * 0.022**2 * k**3, lambda u, u_x: -u * u_x, 512, 16_000,
        )),
        width=30, goal=1e-5, published=f"4.3e-4 ({PIRATE})",
    ),
    "kuramoto_sivashinsky": Problem(
        title="Kuramoto-Sivashinsky", names="xt", low=(-1.0, 0.0), high=(1.0, 1.0),
        periodic="x", which=("t", "x", "xx", "xxxx"),
        residual=lambda u, u_t, u_x, u_xx, u_xxxx, x, t: (
            u_t + 5.0 * u * u_x + 0.5 * u_xx + 0.005 * u_xxxx
        ),
        form=lambda n, x, t: t * n - ops.sin(np.pi * x),
        reference=lambda: real(spectral(
            -1.0, 1.0, 1.0, lambda x: -np.sin(np.pi * x),
            lambda k: 0.5 * k**2 - 0.005 * k**4, lambda u, u_x: -5.0 * u * u_x, 512, 16_000,
        )),
        width=30, published="3.5e-4 (Wang et al., 2022, in windows of time)",
    ),
    "schroedinger": Problem(
        title="nonlinear Schroedinger", names="xt", low=(-5.0, 0.0), high=(5.0, np.pi / 2.0),
        periodic="x", which=("t", "xx"), residual=schroedinger_residual,
        form=lambda n, x, t: ops.concatenate([sech(x), 0.0 * x], axis=1) + t * n,
        reference=lambda: components(spectral(
            -5.0, 5.0, np.pi / 2.0, sech,
            lambda k: -0.5j * k**2, lambda h, _: 1j * np.abs(h) ** 2 * h, 512, 16_000,
        )),
        num_outputs=2,
        published="2.0e-3 (Raissi et al., 2019, without images)",
    ),
    "advection": Problem(
        title="advection with speed 50", names="xt", low=(0.0, 0.0), high=(2.0 * np.pi, 1.0),
        periodic="x", which=("t", "x"),
        residual=lambda u, u_t, u_x, x, t: u_t + 50.0 * u_x,
        form=lambda n, x, t: ops.sin(x) + t * n,
        reference=functools.partial(
            closed, lambda x, t: np.sin(x - 50.0 * t), (0.0, 0.0), (2.0 * np.pi, 1.0), (101, 201)
        ),
    ),
    "wave": Problem(
        title="wave with two modes", names="xt", low=(0.0, 0.0), high=(1.0, 1.0),
        which=("tt", "xx"),
        residual=lambda u, u_tt, u_xx, x, t: u_tt - 4.0 * u_xx,
        form=lambda n, x, t: (
            ops.sin(np.pi * x) + 0.5 * ops.sin(4.0 * np.pi * x) + t**2 * x * (1.0 - x) * n
        ),
        reference=functools.partial(closed, two_modes, (0.0, 0.0), (1.0, 1.0), (101, 101)),
    ),
    "heat_1": heat(1),
    "heat_4": heat(4),
    "heat_10": heat(10, num_points=1000),
    "poisson_2": poisson(2, sines, times(2.0 * np.pi**2, sines)),
    "poisson_5": poisson(
        5, cosines, times(np.pi**2, cosines), goal=1e-6,
        published="5.6e-8 (energy natural gradients, 3000 s of a GPU)",
    ),
    "poisson_10": poisson(
        10, products, times(0.0, products), num_points=1000, goal=1e-4,
        published="2.2e-5 (Hessian-free, 6000 s)",
    ),
    "helmholtz": Problem(
        title="Helmholtz, sin(pi x) sin(4 pi y)", names="xy", low=(-1.0, -1.0), high=(1.0, 1.0),
        which=("xx", "yy"),
        residual=lambda u, u_xx, u_yy, x, y: (
            u_xx + u_yy + u + (17.0 * np.pi**2 - 1.0) * helmholtz(x, y, ops)
        ),
        form=lambda n, x, y: (1.0 - x**2) * (1.0 - y**2) * n,
        reference=functools.partial(closed, helmholtz, (-1.0, -1.0), (1.0, 1.0), (101, 101)),
        published="1.5e-3 (Wang, Teng and Perdikaris, 2021)",
    ),
    "cavity_100": navier_stokes(100.0, num_points=1000),
    "cavity_400": navier_stokes(400.0, num_points=1000),
    "burgers_inverse": dataclasses.replace(
        burgers(0.01 / np.pi),
        title="Burgers, viscosity unknown, 2000 values with 1 % noise",
        residual=lambda u, u_t, u_x, u_xx, x, t, viscosity: u_t + u * u_x - viscosity * u_xx,
        coefficient=np.log(0.05),
        observed=functools.partial(observed_burgers, 0.01 / np.pi, 0.01, 2000),
    ),
}  # fmt: skip
