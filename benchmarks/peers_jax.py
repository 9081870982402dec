"""SciPy, changed copies of it, optax, optimistix and Levenberg-Marquardt over JAX, for
benchmarks/lbfgs.py."""

import contextlib
import importlib.util
import math
from collections.abc import Callable
from pathlib import Path

import equinox
import jax
import jax.numpy
import numpy as np
import optax
import optimistix
from peers_trace import CHUNK, Trace
from scipy import optimize

from keras_smooth.lbfgs.objective.objective import Objective

jax.config.update("jax_enable_x64", True)


def errors_of(shapes: list[tuple]) -> Callable:
    """Returns the errors of the same net in JAX, of the flat vector of weights."""

    def errors(position, x, y):
        place, value = 0, x
        for layer in range(0, len(shapes), 2):
            kernel, bias = shapes[layer], shapes[layer + 1]
            size = math.prod(kernel)
            weights = position[place : place + size].reshape(kernel)
            value = value @ weights + position[place + size : place + size + bias[0]]
            place += size + bias[0]
            if layer < len(shapes) - 2:
                value = jax.numpy.tanh(value)
        return (value - y)[:, 0]

    return errors


def loss_of(model) -> Callable:
    """Returns the same loss in JAX, of the flat vector of weights."""
    errors = errors_of(Objective(model).shapes)
    return lambda position, x, y: jax.numpy.mean(errors(position, x, y) ** 2)


def scipy_system(model, num_pairs: int) -> Callable:
    """SciPy's L-BFGS-B."""
    options = {"maxiter": 10**6, "maxfun": 10**7, "ftol": 0.0, "gtol": 0.0}
    options["maxcor"] = num_pairs

    def minimize(function, position, callback):
        optimize.minimize(
            function,
            position,
            jac=True,
            method="L-BFGS-B",
            callback=callback,
            options=options,
        )

    return _in_python(model, minimize, CHUNK)


def changed_scipy(file: str, formula: str) -> Callable:
    """Returns what builds the BFGS of a changed copy of a file of SciPy.

    Args:
        file: Name of the copy, in the folder that the user names.
        formula: Its `method_bfgs`: how it updates the dense inverse Hessian.
    """

    def system(model, folder: Path) -> Callable:
        changed = _beside_scipy(folder / file)

        def minimize(function, position, callback):
            function = changed.MemoizeJac(function)
            # As the scripts of its authors call it. One formula prints at each iteration.
            with contextlib.redirect_stdout(None):
                changed._minimize_bfgs(
                    function, position, jac=function.derivative, callback=callback,
                    gtol=0.0, maxiter=10**6, hess_inv0=np.eye(len(position)),
                    method_bfgs=formula,
                )  # fmt: skip

        return _in_python(model, minimize, 1)

    return system


def _beside_scipy(path: Path):
    """Returns a file as a module of SciPy, in the place of none that SciPy has."""
    spec = importlib.util.spec_from_file_location("scipy.optimize._changed", path)
    changed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(changed)
    return changed


def _in_python(model, minimize: Callable, every: int) -> Callable:
    """A minimizer of SciPy over an objective compiled by JAX, noted every so many iterations."""
    function = jax.jit(jax.value_and_grad(loss_of(model)))

    def run(x, y, position, trace: Trace) -> None:
        def value_and_gradient(weights):
            value, gradient = function(weights, x, y)
            trace.evaluations += 1
            return float(value), np.asarray(gradient)

        def callback(intermediate_result):
            trace.iterations += 1
            if trace.iterations % every == 0:
                trace.note(float(intermediate_result.fun), intermediate_result.x.copy)
            if trace.is_over:
                raise StopIteration

        minimize(value_and_gradient, position, callback)

    return run


def optax_system(model, num_pairs: int) -> Callable:
    """optax.lbfgs with its zoom line search, a chunk of iterations a call."""
    loss = loss_of(model)
    # Like fit_lbfgs, it is faster with a curvature of 0.5 than with its default of 0.9.
    search = optax.scale_by_zoom_linesearch(20, initial_guess_strategy="one", curv_rtol=0.5)
    solver = optax.lbfgs(memory_size=num_pairs, linesearch=search)

    @jax.jit
    def chunk(position, state, x, y):
        def of_position(weights):
            return loss(weights, x, y)

        value_and_grad = optax.value_and_grad_from_state(of_position)

        def step(carry, _):
            weights, state, evaluations = carry
            value, gradient = value_and_grad(weights, state=state)
            updates, state = solver.update(
                gradient, state, weights, value=value, grad=gradient, value_fn=of_position
            )
            evaluations += optax.tree.get(state, "num_linesearch_steps")
            return (optax.apply_updates(weights, updates), state, evaluations), None

        carry, _ = jax.lax.scan(step, (position, state, 0), length=CHUNK)
        return *carry, of_position(carry[0])

    def run(x, y, position, trace: Trace) -> None:
        state = solver.init(position)
        while not trace.is_over:
            position, state, evaluations, value = chunk(position, state, x, y)
            trace.iterations += CHUNK
            trace.evaluations += int(evaluations)
            trace.note(float(value), position.__array__)

    return run


def optimistix_system(model, num_pairs: int) -> Callable:
    """optimistix.LBFGS, whose step is one evaluation and whose search backtracks."""
    loss = loss_of(model)
    # Tolerances of 0: it never stops by itself.
    solver = optimistix.LBFGS(0.0, 0.0, history_length=num_pairs)

    def function(position, data):
        return loss(position, *data), None

    @equinox.filter_jit
    def init(position, data):
        shape = jax.ShapeDtypeStruct((), position.dtype)
        return solver.init(function, position, data, {}, shape, None, frozenset())

    @equinox.filter_jit
    def chunk(position, state, data):
        dynamic, static = equinox.partition(state, equinox.is_array)

        def step(carry, _):
            position, dynamic = carry
            state = equinox.combine(dynamic, static)
            position, state, _ = solver.step(
                function, position, data, {}, state, frozenset()
            )
            return (position, equinox.filter(state, equinox.is_array)), None

        (position, dynamic), _ = jax.lax.scan(step, (position, dynamic), length=CHUNK)
        return position, equinox.combine(dynamic, static), loss(position, *data)

    def run(x, y, position, trace: Trace) -> None:
        data = tuple(map(jax.numpy.asarray, (x, y)))
        position = jax.numpy.asarray(position)
        state = init(position, data)
        while not trace.is_over:
            position, state, value = chunk(position, state, data)
            trace.iterations = max(int(state.num_accepted_steps), 1)
            trace.evaluations += CHUNK
            trace.note(float(value), position.__array__)

    return run


def levenberg_marquardt(model, _) -> Callable:
    """Levenberg-Marquardt, whose linear system has as many unknowns as there are residuals.

    optimistix.LevenbergMarquardt solves one of residuals and weights together.
    """
    errors, loss = errors_of(Objective(model).shapes), loss_of(model)

    def error(position, x, y):
        return errors(position, x[None], y[None])[0]

    # A row of the Jacobian depends on one row of the data.
    rows = jax.vmap(jax.value_and_grad(error), (None, 0, 0))

    @jax.jit
    def step(position, damping, x, y):
        r, jacobian = (part / math.sqrt(len(x)) for part in rows(position, x, y))
        gram = jacobian @ jacobian.T + damping * jax.numpy.eye(len(r))
        after = position - jacobian.T @ jax.numpy.linalg.solve(gram, r)
        return after, loss(after, x, y)

    def run(x, y, position, trace: Trace) -> None:
        damping, value = 1e-3, float(loss(position, x, y))
        while not trace.is_over:
            after, lower = step(position, damping, x, y)
            trace.iterations += 1
            trace.evaluations += 1
            if float(lower) < value:
                position, value, damping = after, float(lower), max(damping / 3.0, 1e-15)
            else:
                damping *= 4.0
            trace.note(value, np.asarray(position).copy)

    return run
