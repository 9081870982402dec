"""Equations by one template without prior knowledge, for several optimizers.

    python benchmarks/equations_plain.py [--problems NAME ...] [--optimizers NAME ...]
                                         [--seconds 60] [--seeds 0] [--record FILE] [--page]

The template: a net of 3 hidden layers of tanh; coordinates scaled to [-1, 1], or cosine and sine of
one period where the equation is periodic; initial and Dirichlet values by factors of the network,
or, for Allen-Cahn, heat and Poisson, by a term of the loss; the mean square of the plain residual; as
many points as a row says, uniform at first, drawn anew by residual every 500 iterations (20 of
Gauss-Newton, 10 where it goes on from weights of fit_lbfgs); float64.
No knowledge of a solution is used. Seconds are CPU seconds of one core, with compilation and
drawing, but without the measurement of errors. SciPy's methods (`pip install scipy`) have to start
again at each draw. Runs are appended to the record as lines of JSON; --page writes the table and
the figure of all runs of the record, docs/equations_plain.md.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

# One core, before any of the libraries counts them.
if hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(os.environ.get("CORE", "0")) % len(cores)]})

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_smooth
from keras_smooth.lbfgs.minimizers import quasi_newton

ROOT = Path(__file__).parent.parent
EVERY, CHUNK, POOL = 500, 50, 10
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


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the relative L2 error."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


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


# Optimizers: functions of a run.


class Run:
    """A problem, a start and a clock without what is measured.

    Attributes:
        curve: CPU seconds, iterations and relative error, one after another.
    """

    def __init__(self, problem: Problem, seed: int, seconds: float):
        self.problem, self.seconds = problem, seconds
        self.points, self.values, self.reference_error = problem.reference()
        keras.utils.set_random_seed(seed)
        self.model = problem.net()
        self.start = problem.draw(problem.num_points, np.random.default_rng(seed))
        self.curve: list[tuple[float, int, float]] = []
        self._begin = time.process_time()

    @property
    def spent(self) -> float:
        return time.process_time() - self._begin

    def note(self, nit: int, share: float = 1.0) -> bool:
        """Notes the error, and returns whether the time, or a share of it, is over."""
        spent = self.spent
        found = self.model(self.points, training=False).numpy()
        self.curve.append((round(spent, 2), nit, relative(found, self.values)))
        self._begin = time.process_time() - spent
        return spent >= share * self.seconds

    def drawn(
        self, model: keras.Model, points: dict, generator: np.random.Generator
    ) -> dict:
        """Returns other points, by the residuals of a model."""
        pool = self.problem.draw(POOL * len(points["equation"]), generator)
        residuals = _compiled_residuals(self.problem, model)(
            tf.nest.map_structure(tf.constant, pool)
        )
        return {
            name: keras_smooth.choose_by_residual(
                pool[name], residuals[name], len(points[name]), generator
            )
            for name in pool
        }


_residuals: dict = {}


def _compiled_residuals(problem: Problem, model: keras.Model) -> Callable:
    key = (problem.title, id(model))
    if key not in _residuals:
        _residuals[key] = tf.function(lambda points: problem.residuals(model, points))
    return _residuals[key]


class Watch(keras.callbacks.Callback):
    """Notes errors after chunks, and stops a fit whose share of the time is over."""

    def __init__(self, run: Run, share: float):
        super().__init__()
        self.run, self.share = run, share
        self.before = run.curve[-1][1] if run.curve else 0

    def on_epoch_end(self, epoch, logs=None):
        if self.run.note(self.before + epoch + 1, self.share):
            self.model.stop_training = True


def by_fit_lbfgs(
    run: Run,
    keep: bool = True,
    every: int = EVERY,
    chunk: int = CHUNK,
    share: float = 1.0,
    **arguments: Any,
) -> None:
    """fit_lbfgs, with the memory of a method kept over draws or begun anew at each."""
    watch = Watch(run, share)
    never = {name: 2.0 for name in quasi_newton.MIN_COSINE}
    least = quasi_newton.MIN_COSINE if keep else never
    with mock.patch.object(quasi_newton, "MIN_COSINE", least):
        history = keras_smooth.fit_lbfgs(
            run.model,
            run.start,
            resample=keras_smooth.Resample(run.drawn, every=every),
            epochs=10**6,
            steps_per_execution=chunk,
            tolerance=0.0,
            callbacks=[watch],
            verbose=0,
            **{"objective": run.problem.objective, **arguments},
        )
    run.note(watch.before + history.result.nit)


def by_gauss_newton(run: Run, every: int = 20, chunk: int = 5) -> None:
    """Gauss-Newton, an iteration of which costs a hundred evaluations."""
    by_fit_lbfgs(
        run,
        every=every,
        chunk=chunk,
        method="gauss_newton",
        objective=run.problem.residuals,
    )


def by_fit_lbfgs_then_gauss_newton(run: Run) -> None:
    """A third of the time fit_lbfgs, and then Gauss-Newton."""
    by_fit_lbfgs(run, share=1.0 / 3.0)
    run.start = run.drawn(run.model, run.start, np.random.default_rng(0))
    by_gauss_newton(run, every=10, chunk=2)


def by_adam_then_lbfgs(run: Run) -> None:
    """A third of the time Adam at 1e-3, and then fit_lbfgs."""
    optimizer = keras.optimizers.Adam(1e-3)
    variables = run.model.trainable_variables
    optimizer.build(variables)

    @tf.function(jit_compile=True)
    def several(points):
        for _ in tf.range(CHUNK):
            with tf.GradientTape() as tape:
                loss = sum(run.problem.objective(run.model, points).values())
            optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)

    points = tf.nest.map_structure(tf.constant, run.start)
    while run.spent < run.seconds / 3.0:
        several(points)
        run.note(int(optimizer.iterations))
    by_fit_lbfgs(run)


def by_scipy(run: Run, method: str, changed: str | None = None) -> None:
    """A method of SciPy over the same objective, compiled by XLA.

    Args:
        run: What is solved.
        method: Name of the method.
        changed: That of an update of the changed SciPy of Urban et al., which keeps its matrix over
            draws: github.com/jorgeurban/self_scaled_algorithms_pinns, whose two files replace those
            of SciPy 1.12 (and NumPy 1.26).
    """
    import scipy.optimize

    variables = run.model.trainable_variables
    shapes = [tuple(v.shape) for v in variables]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    @tf.function(jit_compile=True)
    def evaluate(points):
        with tf.GradientTape() as tape:
            loss = sum(run.problem.objective(run.model, points).values())
        gradients = tape.gradient(loss, [v.value for v in variables])
        return loss, tf.concat([tf.reshape(g, [-1]) for g in gradients], 0)

    def assign(vector):
        for variable, values, shape in zip(variables, np.split(vector, ends[:-1]), shapes):
            variable.assign(values.reshape(shape))

    points, nit, generator, matrix = run.start, 0, np.random.default_rng(0), None
    position = np.concatenate([v.numpy().ravel() for v in variables])
    while True:
        tensors = tf.nest.map_structure(tf.constant, points)

        def value_and_gradient(vector, tensors=tensors):
            assign(vector)
            return tuple(part.numpy() for part in evaluate(tensors))

        count = itertools.count(nit + 1)

        def after_iteration(vector, count=count):
            done = next(count)
            if done % CHUNK == 0:
                assign(vector)
                if run.note(done):
                    raise StopIteration

        options = {"maxiter": EVERY, "gtol": 0.0}
        if method == "L-BFGS-B":
            options |= {"maxcor": 50, "ftol": 0.0, "maxfun": 10**6}
        if changed:
            options |= {"method_bfgs": changed, "hess_inv0": matrix}
        result = scipy.optimize.minimize(
            value_and_gradient, position, jac=True, method=method, options=options,
            callback=after_iteration,
        )  # fmt: skip
        position, nit = result.x, next(count) - 1
        if changed:
            matrix = positive(result.hess_inv)
        assign(position)
        if run.note(nit):
            return
        points = run.drawn(run.model, points, generator)


def positive(matrix: np.ndarray) -> np.ndarray | None:
    """Returns a matrix as Urban et al. keep it: symmetric, or None if it is not positive."""
    matrix = (matrix + matrix.T) / 2.0
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    return matrix


OPTIMIZERS = {
    "fit_lbfgs": by_fit_lbfgs,
    "broyden, begun anew at draws": functools.partial(
        by_fit_lbfgs, method="broyden", keep=False
    ),
    "bfgs": functools.partial(by_fit_lbfgs, method="bfgs"),
    "gauss_newton": by_gauss_newton,
    "fit_lbfgs, then gauss_newton": by_fit_lbfgs_then_gauss_newton,
    "lbfgs, 100 pairs": functools.partial(by_fit_lbfgs, num_correction_pairs=100),
    "Adam, then fit_lbfgs": by_adam_then_lbfgs,
    "SciPy L-BFGS-B": functools.partial(by_scipy, method="L-BFGS-B"),
    "SciPy BFGS": functools.partial(by_scipy, method="BFGS"),
    "SciPy of Urban et al., SSBroyden2": functools.partial(
        by_scipy, method="BFGS", changed="SSBroyden2"
    ),
}


# The page.

HEAD = """# Equations without prior knowledge

{commands}

All problems are solved by one template, which the docstring of `benchmarks/equations_plain.py` describes. It
uses no knowledge of the solution, and draws points by the residual. "The default" below is `fit_lbfgs` with
its default method.

## {seconds:.0f} seconds

The table has relative L2 errors after {seconds:.0f} CPU seconds of one core, including 5 to 10 seconds of compilation.
They are of seed 0, or medians over several runs if a cell has their number in brackets. Cells are empty where
nothing was run. "none yet" means that no error was noted until then. Runs are in `benchmarks/equations_plain.jsonl`. Runs of this table have
uniform points on the boundary; later runs, as most of `gauss_newton`, draw these by the residual, too.
The speed of the machine differs from day to day. Most runs of `bfgs`, SciPy's methods and Adam are of a day on
which an iteration of `gauss_newton` for Helmholtz' equation took 0.34 s; on another day it took 0.25 s, so that
95 iterations were made instead of 60, with the same errors after the same iterations.
"reference" is the change of the reference solution if its resolution is halved, or its rounding error. The
last columns are the lowest error of any run, and its ratio to the published error. Published errors are quoted from the papers, and were
reached with the methods in brackets, with other networks and times. Errors change by a factor of 3 from one
draw of points to the next, as the figure shows, so that smaller differences of one seed mean nothing.

{table}

![Errors over CPU seconds](images/equations_plain.png)

## Ten minutes

All runs of more than {short:.0f} seconds.

{table_of_long}

{tried}
"""
TRIED = """After 25 s, the default or `gauss_newton` has the lowest error of all columns on 12 of the 18 problems. For heat
in 10 dimensions, the cavity at Reynolds number 100, Kuramoto-Sivashinsky and advection, the last two of which
no optimizer solves in that time, others are up to 11 % lower. For Burgers with viscosity 0.01/pi, a run of
`"broyden"` that forgets its matrix at draws is 2.9 times lower, and for the cavity at Reynolds number 400,
which none solves, `"bfgs"` is 2.1 times lower.

Variations that were tried, with one seed each, except for Burgers' equation:

- More points. For Burgers with viscosity 0.01, the error of the default with 2,000 points is 5e-6 after 25 s
  and changes with each draw; with 8,000 it falls steadily, from 8e-6 after 31 s to 1.5e-6 after 69 s.
- Gauss-Newton from there, with the same 8,000 points: 9e-8 after 26 s more. From the beginning of a run, with
  2,000 points, its error after 25 s is larger than that of the default for Allen-Cahn and Korteweg-de Vries,
  and smaller where the solution is smooth. The default alone with 8,000 points was not run for ten minutes.
- Smaller damping of Gauss-Newton. Rounding of J'J, where J is the Jacobian, hides singular values of J below
  1e-8 of the largest one, so that smaller damping had no effect: for Burgers with viscosity 0.01, at errors
  below 1e-8, an iteration left 0.98 of the loss, whatever the damping, and would leave 0.82 if the equations
  were solved exactly. Since the equations are solved with a second factor
  (keras_smooth/lbfgs/minimizers/damped_system.py), the same run of 590 s ends at 6e-10 instead of 4.5e-9, and
  runs of 25 s on the heat equation, Poisson's equation in 2 dimensions and Helmholtz' equation end at 4e-11,
  4e-10 and 1.7e-6 instead of 1.6e-9, 1.8e-8 and 2.0e-5. Allen-Cahn and Korteweg-de Vries gain nothing in ten
  minutes: their damping is not that small.
- Poisson's equation with this second factor, on a busy machine: in 5 dimensions it ends at 1.5e-8 (seed 0,
  270 s), 2.5e-8 and 2.3e-9 (seeds 1 and 2, 480 s), where seed 0 ended at 1.2e-7 after 480 s before; in 10
  dimensions nothing changes. The first row of each, and those of Burgers with viscosity 0.01/pi, are from
  before this change.
- Samples of rows that grow sooner, in Gauss-Newton. Runs that continue from the weights of the default spent
  40 to 80 s on samples that were too small, for Korteweg-de Vries 70 s. Now the sample grows if a step lowers
  the logarithm of the loss of all rows by less than half as much as that of the sample's loss, and it has
  most rows after 15 s.
- Fewer traces of the residuals, of which the first call of Gauss-Newton made 17. Now it makes 4, and one for
  each term. The first iteration of Poisson's equation in 10 dimensions ends after 12 s instead of 21, and its
  error after 25 s is 1.1e-4 instead of 9.5e-2, in 5 dimensions 1.0e-3 instead of 3.5e-3.
- Two dampings in each iteration instead of three, in turn with a smaller and a larger one. Burgers with
  viscosity 0.01 and fixed points, from the weights of the default: 50 iterations instead of 46 in 70 s, and a
  loss of 4.3e-14 instead of 1.8e-14. Korteweg-de Vries: 29 instead of 25, and 8.7e-6 instead of 7.7e-6. Most of
  an iteration is spent on products of matrices, not on dampings.
- New points every 3 iterations, or in each one, instead of every 10: no change for Burgers with viscosity
  0.01.
- A wider network. Burgers with viscosity 0.01/pi, 941 weights and new points every 20 iterations has an error
  of 4e-7 after 200 s. With 2,011 weights and the same draws it reaches 2.3e-7 after 265 s, and 5e-8 after 319
  s, just after a draw. So later runs draw every 10 iterations. Burgers with viscosity 0.01 gained little from
  more weights before the damping was smaller: 3.4e-9 after 562 s, and 4.5e-9 after 590 s with 941 weights.
- Allen-Cahn with an exact initial condition, u = x^2 cos(pi x) + t N, where N is the network. As a function
  of period 2, the initial value has a kink at x = 1, which no smooth N removes and which residuals in the
  interior do not show. The relative error is then at least 5.2e-4, according to finite differences with that
  kink. So the initial condition is now a term of the loss, with the weight 100. The rows of {seconds:.0f} seconds still
  have the exact initial condition. If the points of this term are drawn by the residual, most of them are at
  the kink, and the error was 1.4e-4 after 596 s. On a grid of 512 points, as used by Urban et al., it is
  1.1e-5 after 603 s and falling. With 4,000 points instead of 8,000 it is between 8e-6 and 5e-5 from 300 s
  on, and changes with each draw.
- Korteweg-de Vries with the default for 140, 187 and 197 s before Gauss-Newton: 2.7e-5 after 424 s, 8.7e-5
  after 564 s, 2.6e-5 after 594 s. All of these were still falling. With 4,000 points: 4.7e-5 after 595 s.
"""
# Runs of more seconds are rows of their own.
SHORT = 60.0


def runs_of(record: Path) -> dict:
    """Returns the runs of a record by problem and optimizer."""
    runs: dict = {}
    for line in record.read_text().splitlines():
        run = json.loads(line)
        runs.setdefault(run["problem"], {}).setdefault(run["optimizer"], []).append(run)
    return runs


def error_at(run: dict, seconds: float) -> float:
    """Returns the latest error that was noted until some seconds, and a chunk more."""
    before = [error for spent, _, error in run["curve"] if spent <= seconds + 1.0]
    return before[-1] if before else float("nan")


def cell(runs: list, seconds: float) -> str:
    # Beside other processes, the first seconds are slow. An optimizer that begins with another one
    # divides the seconds that it is given, so that a longer run says nothing.
    runs = [run for run in runs if run["seconds"] == seconds and not run.get("busy")]
    if not runs:
        return ""
    error = statistics.median(error_at(run, seconds) for run in runs)
    if np.isnan(error):
        return "none yet"
    return f"{error:.1e}" + (f" ({len(runs)})" if len(runs) > 1 else "")


def row(problem: Problem, found: dict, optimizers: list[str], seconds: float) -> str:
    """Returns the row of a problem."""
    every = [run for runs in found.values() for run in runs]
    lowest, spent = min((error, spent) for run in every for spent, _, error in run["curve"])
    published = problem.published.partition(" ")[0]
    cells = [
        problem.title, str(every[0]["weights"]), f"{every[-1]['reference']:.0e}",
        *(cell(found.get(name, []), seconds) for name in optimizers),
        problem.published, f"{lowest:.1e} after {spent:.0f} s",
        f"{lowest / float(published):.2g}" if published else "",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def page(record: Path, out: Path) -> None:
    """Writes table and figure of a record."""
    runs = runs_of(record)
    every = [run for found in runs.values() for some in found.values() for run in some]
    seconds = min(run["seconds"] for run in every)
    optimizers = [
        name
        for name in OPTIMIZERS
        if any(cell(found.get(name, []), seconds) for found in runs.values())
    ]
    head = [
        "problem", "weights", "reference", *optimizers, "published", "lowest", "times published"
    ]  # fmt: skip
    rows = [
        row(PROBLEMS[name], runs[name], optimizers, seconds)
        for name in PROBLEMS
        if name in runs
    ]
    commands = "\n".join(sorted({f"    {run['command']}" for run in every}))
    out.write_text(
        HEAD.format(
            commands=commands, seconds=seconds, short=SHORT,
            tried=TRIED.format(seconds=seconds),
            table=table(head, rows), table_of_long=table_of_long(runs),
        )
    )  # fmt: skip
    draw_figure(runs, out.parent / "images" / "equations_plain.png")


def table(head: list[str], rows: list[str]) -> str:
    return "\n".join([f"| {' | '.join(head)} |", "|" + " --- |" * len(head), *rows])


def table_of_long(runs: dict) -> str:
    """Returns the table of the runs of more than a minute."""
    head = [
        "problem", "optimizer", "seed", "weights", "points", "error after 60 s",
        "error at the end", "after", "goal", "first noted below it after",
    ]  # fmt: skip
    rows = [
        row_of_long(problem, run)
        for name, problem in PROBLEMS.items()
        for some in runs.get(name, {}).values()
        for run in some
        if run["seconds"] > SHORT
    ]
    return table(head, rows)


def row_of_long(problem: Problem, run: dict) -> str:
    """Returns the row of a run of more than a minute."""
    spent, _, error = run["curve"][-1]
    below = [at for at, _, error in run["curve"] if error < (problem.goal or 0.0)]
    cells = [
        problem.title, run["optimizer"], str(run["seed"]), str(run["weights"]),
        str(run.get("points", problem.num_points)), f"{error_at(run, 60.0):.1e}",
        f"{error:.1e}", f"{spent:.0f} s", f"{problem.goal:.1e}" if problem.goal else "",
        f"{below[0]:.0f} s" if below else "",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def draw_figure(runs: dict, path: Path) -> None:
    """Draws the errors over time, a panel each problem."""
    import matplotlib.pyplot as plt

    names = [name for name in PROBLEMS if name in runs]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(3.2 * columns, 2.6 * rows),
        layout="constrained",
        squeeze=False,
    )
    for axis, name in zip(axes.flat, names):
        for number, optimizer in enumerate(OPTIMIZERS):
            for run in runs[name].get(optimizer, []):
                seconds, _, errors = zip(*run["curve"])
                axis.semilogy(seconds, errors, color=f"C{number}", linewidth=1)
        axis.set_title(PROBLEMS[name].title, fontsize=9)
        axis.tick_params(labelsize=7, which="both")
        axis.set_xlabel("CPU seconds", fontsize=8)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    lines = {
        name: plt.Line2D([], [], color=f"C{number}")
        for number, name in enumerate(OPTIMIZERS)
        if any(name in found for found in runs.values())
    }
    figure.legend(
        list(lines.values()), list(lines), loc="outside lower center", ncols=4, fontsize=8
    )
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=90)


def thinned(curve: list) -> list:
    """Returns the notes of a minute, after it the first one of each five seconds, and the last."""
    before = [(0.0, 0, 0.0), *curve]
    return [
        note
        for last, note in zip(before, curve)
        if note[0] < 60.0 or last[0] // 5 < note[0] // 5 or note is curve[-1]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument(
        "--optimizers", nargs="+", choices=OPTIMIZERS, default=list(OPTIMIZERS)
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--points", type=int, help="others than the number of a row")
    parser.add_argument("--width", type=int, help="another than that of a row")
    parser.add_argument("--record", type=Path, default=Path(__file__).with_suffix(".jsonl"))
    parser.add_argument(
        "--busy",
        action="store_true",
        help="other processes run: left out of the 25 s table",
    )
    parser.add_argument("--page", action="store_true", help="write the page of the record")
    arguments = parser.parse_args()
    if arguments.page:
        page(arguments.record, ROOT / "docs" / "equations_plain.md")
        return
    changes = {"num_points": arguments.points, "width": arguments.width}
    changes = {name: number for name, number in changes.items() if number}
    command = f"python benchmarks/equations_plain.py --seconds {arguments.seconds:g}"
    for option in ("points", "width"):
        if getattr(arguments, option):
            command += f" --{option} {getattr(arguments, option)}"
    for name in arguments.problems:
        problem = dataclasses.replace(PROBLEMS[name], **changes)
        for optimizer in arguments.optimizers:
            for seed in arguments.seeds:
                run = Run(problem, seed, arguments.seconds)
                OPTIMIZERS[optimizer](run)
                spent, nit, error = run.curve[-1]
                print(
                    name, optimizer, seed, f"{error:.2e}", nit, f"{spent:.0f} s", flush=True
                )
                line = {
                    "problem": name, "optimizer": optimizer, "seed": seed, "command": command,
                    "seconds": arguments.seconds, "reference": run.reference_error,
                    "weights": run.model.count_params(), "points": problem.num_points,
                    "curve": thinned(run.curve), "busy": arguments.busy,
                }  # fmt: skip
                with arguments.record.open("a") as file:
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
