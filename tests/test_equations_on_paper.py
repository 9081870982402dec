"""Differential equations: residuals of exact solutions are 0, and those of networks agree."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_smooth


@dataclasses.dataclass(frozen=True)
class Equation:
    """A differential equation.

    Args:
        columns: Number of inputs.
        solution: Exact solution, a function of x.
        residual: Function of a model, x and the engine.
        outputs: Number of outputs of the solution.
    """

    columns: int
    solution: Callable
    residual: Callable
    outputs: int = 1


def columns(x):
    return [x[:, i : i + 1] for i in range(x.shape[1])]


def soliton(x):
    x, t = columns(x)
    return 2 * 0.49 / ops.square(ops.cosh(0.7 * (x - 4 * 0.49 * t)))


def korteweg_de_vries(u, x, engine):
    u, u_t, u_x, u_xxx = keras_smooth.partials(
        u, x, ["t", "x", "xxx"], names="xt", engine=engine
    )
    return u_t + 6 * u * u_x + u_xxx


VISCOSITY = 0.3


def taylor_green(x):
    x, y, t = columns(x)
    return ops.cos(2 * x) * ops.cos(y) * ops.exp(-5 * VISCOSITY * t)


def stream_function(psi, x, engine):
    """Navier-Stokes: the vorticity -lap(psi) is advected by the flow and diffuses."""
    which = ["x", "y", "xxt", "yyt", "xxx", "xyy", "xxy", "yyy"]
    _, p_x, p_y, p_xxt, p_yyt, p_xxx, p_xyy, p_xxy, p_yyy = keras_smooth.partials(
        psi, x, which, names="xyt", engine=engine
    )
    plate = {"xxxx": 1.0, "xxyy": 2.0, "yyyy": 1.0}
    diffusion = keras_smooth.linear_operator(psi, x, plate, names="xyt", engine=engine)
    advection = p_y * (p_xxx + p_xyy) - p_x * (p_xxy + p_yyy)
    return p_xxt + p_yyt + advection - VISCOSITY * diffusion


def standing(x):
    x, t = columns(x)
    return ops.sin(x) * ops.cos(2 * t)


def kuramoto_sivashinsky(u, x, engine):
    which = ["t", "x", "xx", "xxxx"]
    u, u_t, u_x, u_xx, u_xxxx = keras_smooth.partials(
        u, x, which, names="xt", engine=engine
    )
    x, t = columns(x)
    force = ops.sin(x) * (ops.cos(x) * ops.cos(2 * t) ** 2 - 2 * ops.sin(2 * t))
    return u_t + u * u_x + u_xx + u_xxxx - force


def drum(x):
    x, y, t = columns(x)
    return ops.sin(3 * x) * ops.sin(4 * y) * ops.cos(10 * t)


def waves(u, x, engine):
    operator = {"tt": 1.0, "xx": -4.0, "yy": -4.0}
    return keras_smooth.linear_operator(u, x, operator, names="xyt", engine=engine)


RATE, VOLATILITY = 0.05, 0.2


def call_option(x):
    """Price of an option with strike 1; x has the logarithm of the price, and the time."""
    s, t = columns(x)
    s, remaining = ops.exp(s), 2.0 - t / 10
    d = (ops.log(s) + (RATE + VOLATILITY**2 / 2) * remaining) / (
        VOLATILITY * ops.sqrt(remaining)
    )
    probabilities = [
        (1 + ops.erf(each / 2**0.5)) / 2
        for each in (d, d - VOLATILITY * ops.sqrt(remaining))
    ]
    return s * probabilities[0] - ops.exp(-RATE * remaining) * probabilities[1]


def black_scholes(u, x, engine):
    def of_price(x):  # Points have the logarithm of the price.
        return u(ops.concatenate([ops.log(x[:, :1]), x[:, 1:]], axis=1))

    prices = np.concatenate([np.exp(x[:, :1]), x[:, 1:]], axis=1)
    operator = {
        "t": 10.0,
        "ss": lambda x: VOLATILITY**2 / 2 * x[:, :1] ** 2,
        "s": lambda x: RATE * x[:, 0],
        "": -RATE,
    }
    return keras_smooth.linear_operator(
        of_price, prices, operator, names="st", engine=engine
    )


DIFFUSION = np.array([[1.0, 0.3, 0.0], [0.3, 0.5, -0.2], [0.0, -0.2, 0.8]])


def gaussian(x):
    precision = np.linalg.inv(DIFFUSION)
    return ops.exp(-ops.sum(x * ops.matmul(x, precision), axis=1, keepdims=True) / 2)


def fokker_planck(p, x, engine):
    """0 = div(x p) + D : grad grad p."""
    matrix = {(i, j): DIFFUSION[i, j] for i in range(3) for j in range(3)}
    drift = {(i,): x[:, i] for i in range(3)}
    operator = {**matrix, **drift, "": 3.0}
    return keras_smooth.linear_operator(p, x, operator, engine=engine)


def plane_wave(x):
    """The fields E = e cos(k . x - t) and B = k x E with |k| = 1, concatenated."""
    e, k = np.array([0.0, 0.6, 0.8]), np.array([0.0, -0.8, 0.6])
    phase = ops.cos(ops.matmul(x[:, :3], k[:, None]) - x[:, 3:])
    return ops.concatenate([phase * e, phase * np.cross(k, e)], axis=1)


def maxwell(fields, x, engine):
    """curl E = -B_t, curl B = E_t, and no charges."""
    data = {"x": x[:, :3], "t": x[:, 3:]}

    def field(index):
        def part(data):
            joined = ops.concatenate([data["x"], data["t"]], axis=1)
            return fields(joined)[:, 3 * index : 3 * index + 3]

        return part

    e, b = field(0), field(1)
    e_t, b_t = (
        keras_smooth.partials(each, data, ["t"], names={"x": "xyz"}, engine=engine)[1]
        for each in (e, b)
    )
    options = {"wrt": "x", "engine": engine}
    return ops.concatenate(
        [
            keras_smooth.curl(e, data, **options) + b_t,
            keras_smooth.curl(b, data, **options) - e_t,
            keras_smooth.divergence(e, data, **options),
            keras_smooth.divergence(b, data, **options),
        ],
        axis=1,
    )


def displacement(x):
    x, y, z = columns(x)
    return ops.concatenate([x * y * z, ops.sin(x) * y, x * z**2], axis=1)


def elasticity(u, x, engine):
    """mu lap(u) + (lambda + mu) grad(div(u)) = f."""
    pairs = [(i, j) for i in range(3) for j in range(3)]
    _, *second = keras_smooth.partials(u, x, pairs, engine=engine)
    grad_div = [sum(second[3 * i + j][:, j : j + 1] for j in range(3)) for i in range(3)]
    laplacian = keras_smooth.vector_laplacian(u, x, engine=engine)
    x, y, z = columns(x)
    # Derivatives of `displacement`, by hand.
    exact_laplacian = [0 * x, -ops.sin(x) * y, 2 * x]
    exact_grad_div = [ops.cos(x) + 2 * z, z, y + 2 * x]
    value = 0.5 * laplacian + 2.0 * ops.concatenate(grad_div, axis=1)
    force = [0.5 * a + 2.0 * b for a, b in zip(exact_laplacian, exact_grad_div)]
    return value - ops.concatenate(force, axis=1)


def free_particles(x):
    return ops.sum(x[:, :2] ** 2, axis=1, keepdims=True) / (2 * (3.0 + x[:, 2:]))


def hamilton_jacobi(s, x, engine):
    _, s_t, s_x, s_y = keras_smooth.partials(
        s, x, ["t", "x", "y"], names="xyt", engine=engine
    )
    return s_t + (s_x**2 + s_y**2) / 2


def ripple(x):
    return ops.sin(ops.sum(x * np.array([1.0, 2.0, 2.0]), axis=1, keepdims=True))


def helmholtz(u, x, engine):
    operator = {"xx": 1.0, "yy": 1.0, "zz": 1.0, "": 9.0}
    return keras_smooth.linear_operator(u, x, operator, names="xyz", engine=engine)


EQUATIONS = {
    "Korteweg-de Vries": Equation(2, soliton, korteweg_de_vries),
    "Navier-Stokes": Equation(3, taylor_green, stream_function),
    "Kuramoto-Sivashinsky": Equation(2, standing, kuramoto_sivashinsky),
    "wave": Equation(3, drum, waves),
    "Black-Scholes": Equation(2, call_option, black_scholes),
    "Fokker-Planck": Equation(3, gaussian, fokker_planck),
    "Maxwell": Equation(4, plane_wave, maxwell, 6),
    "elasticity": Equation(3, displacement, elasticity, 3),
    "Hamilton-Jacobi": Equation(3, free_particles, hamilton_jacobi),
    "Helmholtz": Equation(3, ripple, helmholtz),
}


@pytest.mark.parametrize("engine", ["jet", "auto"])
@pytest.mark.parametrize("name", EQUATIONS)
def test_residuals_of_exact_solutions_are_zero(name, engine, rng):
    equation = EQUATIONS[name]
    x = rng.uniform(-1, 1, (7, equation.columns))
    residual = np.asarray(equation.residual(equation.solution, x, engine))
    # Terms of up to 1000, of fourth order.
    np.testing.assert_allclose(residual, np.zeros_like(residual), atol=3e-12)
    # The square of the solution is not a solution.
    other = np.asarray(equation.residual(lambda x: equation.solution(x) ** 2, x, engine))
    assert np.abs(other).max() > 1e-3


@pytest.mark.parametrize("name", EQUATIONS)
def test_residuals_of_networks_and_their_gradients_agree(name, rng):
    """Jets and tapes have the same residuals and the same gradients by the weights."""
    equation = EQUATIONS[name]
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((equation.columns,), dtype="float64"),
            keras.layers.Dense(6, "tanh", dtype="float64"),
            keras.layers.Dense(6, "tanh", dtype="float64"),
            keras.layers.Dense(equation.outputs, dtype="float64"),
        ]
    )
    x = rng.uniform(-1, 1, (5, equation.columns))

    def residual_and_gradients(engine):
        with tf.GradientTape() as tape:
            residual = equation.residual(model, x, engine)
            loss = tf.reduce_mean(residual**2)
        weights = [variable.value for variable in model.trainable_variables]
        zero = tf.UnconnectedGradients.ZERO
        gradients = tape.gradient(loss, weights, unconnected_gradients=zero)
        return residual, *gradients

    for by_jets, by_tapes in zip(
        residual_and_gradients("jet"), residual_and_gradients("tape"), strict=True
    ):
        # The numbers have size 10.
        np.testing.assert_allclose(by_jets, by_tapes, rtol=1e-9, atol=1e-10)
