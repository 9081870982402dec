"""Damped Gauss-Newton: steps against dense algebra, Jacobians against differences, refusals."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from lbfgs_nets import WEIGHTS, X, Y, at_start, dense, net, two_nets
from more_garbow_hillstrom import PROBLEMS
from representatives import representatives

import keras_smooth
from keras_smooth import Status, fit_lbfgs
from keras_smooth.lbfgs.minimizers import LeastSquares, Minimizer, gauss_newton
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.lbfgs.objective.residuals import Residuals
from keras_smooth.lbfgs.objective.sharding import moved
from keras_smooth.lbfgs.objective.terms import ResidualTerms

GAUSS_NEWTON = {"method": "gauss_newton", "jit_compile": False, "verbose": 0}


# The step.


def system(num_residuals, num_weights):
    rng = np.random.default_rng(num_residuals)
    jacobian = rng.normal(size=(num_residuals, num_weights))
    residuals = rng.normal(size=num_residuals)
    return jacobian, residuals


# More weights, the dual; more residuals, the normal equations; as many.
@pytest.mark.parametrize("size", [(5, 9), (9, 5), (7, 7)])
@pytest.mark.parametrize("damping", [1e-6, 1.0, 1e6])
def test_step_solves_the_damped_least_squares_problem(size, damping):
    jacobian, residuals = system(*size)
    below = math.sqrt(damping) * np.eye(size[1])
    expected = np.linalg.lstsq(
        np.concatenate([jacobian, below]), -np.concatenate([residuals, np.zeros(size[1])])
    )[0]
    solved = gauss_newton.DampedSystem(tf.constant(residuals), tf.constant(jacobian))
    value, step, count = solved.solve(
        lambda step: residuals + tf.linalg.matvec(jacobian, step),
        tf.constant(damping, tf.float64),
    )
    # The normal equations square the condition, which is below 1e4 with the damping: 1e-16 * 1e8.
    np.testing.assert_allclose(step, expected, rtol=1e-7, atol=1e-8)
    assert float(value) == pytest.approx(
        np.sum((residuals + jacobian @ step.numpy()) ** 2), rel=1e-12
    )
    # Of a linear function there is nothing to correct.
    assert int(count) == 2


def test_corrections_find_what_the_linear_model_misses():
    jacobian, residuals = system(5, 9)
    damping = tf.constant(1e-6, tf.float64)

    def after(step):
        linear = tf.linalg.matvec(jacobian, step)
        return residuals + linear + 0.03 * linear**2

    solved = gauss_newton.DampedSystem(tf.constant(residuals), tf.constant(jacobian))
    value, step, count = solved.solve(after, damping)
    _, plain, _ = solved.solve(lambda s: residuals + tf.linalg.matvec(jacobian, s), damping)
    # With 9 weights 5 residuals can be 0, but for the damping: 1e-6 squared.
    assert float(tf.reduce_sum(after(plain) ** 2)) > 1e-4 and float(value) < 1e-10
    assert float(value) == float(tf.reduce_sum(after(step) ** 2)) and 3 < int(count) <= 12


# The method.


def least_squares(function):
    def residuals(position, data):
        return function(position)

    def value_and_gradient(position, data):
        with tf.GradientTape() as tape:
            tape.watch(position)
            value = tf.reduce_sum(function(position) ** 2)
        return value, tape.gradient(value, position)

    def linearized(position, data):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(position)
            found = function(position)
        return found, tape.jacobian(found, position, experimental_use_pfor=False)

    return LeastSquares(value_and_gradient, residuals, linearized)


def solved(function, start, num_iterations, tolerance=1e-6, dtype="float64"):
    minimizer = Minimizer(least_squares(function), "gauss_newton", 1, jit_compile=False)
    state = minimizer.begin(tf.constant(start, dtype), ())
    return minimizer.advance(state, num_iterations, tolerance, ())


@pytest.mark.parametrize(
    "problem", representatives(PROBLEMS, PROBLEMS[::7]), ids=lambda problem: problem.name
)
def test_solves_the_problems_of_more_garbow_and_hillstrom(problem):
    state = solved(problem.residuals, problem.start, 1000)
    assert problem.is_minimum(float(state.objective_value))
    # Residuals are rounded by 1e-16 of their parts, their squares by twice that times them.
    value = pytest.approx(float(problem(state.position)), rel=1e-9, abs=1e-22)
    assert float(state.objective_value) == value


def test_evaluations_are_counted():
    counted = tf.Variable(0)

    def function(x):
        counted.assign_add(1)
        return PROBLEMS[0].residuals(x)

    state = solved(function, PROBLEMS[0].start, 5, 0.0)
    assert int(state.num_objective_evaluations) == int(counted) > 5


# Residuals and their Jacobian.


def oscillator(model, x):
    u, _, d2u = keras_smooth.derivatives(model, x["inside"])
    start, slope = keras_smooth.derivatives(model, x["start"], 1)
    return {"equation": d2u + u, "start": tf.concat([start, slope - 1.0], axis=1)}


def with_an_integral(model, x):
    u = model(x["inside"])
    return {
        "mean": tf.reshape(tf.reduce_mean(u) - 0.3, (1,)),
        "centered": u - tf.reduce_mean(u),
    }


def oscillator_net():
    layers = [dense(4, "tanh", 1, dtype="float64"), dense(1, seed=2, dtype="float64")]
    return keras.Sequential([keras.Input((1,), dtype="float64"), *layers])


POINTS = {"inside": np.linspace(0.0, 1.0, 7)[:, None], "start": np.zeros((1, 1))}
TWO = ({"a": X, "b": X[::-1]}, {"p": Y, "q": 2.0 * Y})


def squares():
    model = two_nets()
    model.compile(loss={"p": "mse", "q": "mse"})
    return model


# Name: model, objective, data, which residuals belong to a row each.
OBJECTIVES = {
    "mse": (net, None, (X, Y, None), [True]),
    "targets without an axis": (net, None, (X, Y[:, 0], None), [True]),
    "sample weights": (net, None, (X, Y, WEIGHTS), [True]),
    "two outputs": (squares, None, (*TWO, None), [True, True]),
    "several units": (
        lambda: net(head=dense(3, seed=2, dtype="float64")), None, (X, np.sin(X @ np.ones((2, 3))), None),
        [True],
    ),
    "rows that are not alone": (
        lambda: net(keras.layers.BatchNormalization(dtype="float64")), None, (X, Y, None), [False],
    ),
    "an equation": (oscillator_net, oscillator, (POINTS, None, None), [True, True]),
    "an integral": (oscillator_net, with_an_integral, (POINTS, None, None), [True, False]),
}  # fmt: skip


def as_tensors(data):
    return tf.nest.map_structure(lambda a: None if a is None else tf.constant(a), data)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_jacobian(name):
    make, function, data, by_rows = OBJECTIVES[name]
    model, data = make(), as_tensors(data)
    weights = {"equation": 4.0} if name == "an equation" else None
    terms = None if function is None else ResidualTerms(function, weights)
    objective = Objective(model, terms)
    residuals, position = Residuals(objective), moved(objective.position)
    residuals.examine(position, data)
    assert list(residuals._by_rows.values()) == [by_rows]
    values, jacobian = tf.function(residuals.linearized, autograph=False)(position, data)
    value, gradient = objective.value_and_gradient(position, data)
    assert float(tf.reduce_sum(values**2)) == pytest.approx(float(value), rel=1e-12)
    # Both are sums of some hundred products: rounding.
    found = 2.0 * tf.linalg.matvec(jacobian, values, transpose_a=True)
    np.testing.assert_allclose(found, gradient, rtol=1e-10, atol=1e-12)
    direction = tf.constant(np.random.default_rng(3).normal(size=len(position)))
    along = [residuals.values(position + h * direction, data) for h in (1e-6, -1e-6)]
    # Central differences: the third derivative times 1e-12, rounding 1e-16 / 1e-6.
    np.testing.assert_allclose(
        tf.linalg.matvec(jacobian, direction),
        (along[0] - along[1]) / 2e-6,
        rtol=1e-5,
        atol=1e-8,
    )


# The fit.


def test_reaches_what_lbfgs_does_in_fewer_iterations():
    losses = {}
    for method in ("lbfgs", "gauss_newton"):
        history = fit_lbfgs(
            at_start(), X, Y, epochs=40, method=method, jit_compile=False, verbose=0
        )
        losses[method] = history.result.fun
    assert losses["gauss_newton"] < 0.01 * losses["lbfgs"]


def test_with_xla_it_is_the_same():
    fits = [
        fit_lbfgs(
            at_start(), X, Y, epochs=4, **{**GAUSS_NEWTON, "jit_compile": jit_compile}
        )
        for jit_compile in (True, False)
    ]
    assert fits[0].result.fun == pytest.approx(fits[1].result.fun, rel=1e-6)


def test_terms_are_logged_as_mean_squares_without_weights():
    model = oscillator_net()
    history = fit_lbfgs(
        model,
        POINTS,
        objective=oscillator,
        loss_weights={"start": 9.0},
        epochs=5,
        **GAUSS_NEWTON,
    ).history
    terms = oscillator(model, as_tensors(POINTS))
    means = {name: float(tf.reduce_mean(term**2)) for name, term in terms.items()}
    assert {name: history[name][-1] for name in means} == pytest.approx(means, rel=1e-9)
    assert history["loss"][-1] == pytest.approx(means["equation"] + 9.0 * means["start"])


def growth(rate, capital):
    """The solution capital exp(rate x), whose unknowns are variables."""

    def objective(model, x):
        model(x["x"])
        return capital * tf.exp(rate * x["x"]) - x["y"]

    return objective


@pytest.mark.filterwarnings("ignore:The loss does not depend on these trainable weights")
@pytest.mark.parametrize("kind", [keras.Variable, tf.Variable])
def test_variables_are_trained(kind):
    rate, capital = (kind(value, dtype="float64") for value in (0.1, 1.0))
    x = np.linspace(0.0, 1.0, 9)[:, None]

    def fit(**arguments):
        return fit_lbfgs(
            oscillator_net(), {"x": x, "y": 2.0 * np.exp(0.7 * x)}, epochs=50,
            objective=growth(rate, capital), variables=[rate, capital],
            **arguments, **GAUSS_NEWTON,
        ).result  # fmt: skip

    # A fit that has nothing to do begins, and ends, where they were.
    assert fit(target=1e9).nit == 0 and (float(rate), float(capital)) == (0.1, 1.0)
    assert fit().success
    assert (float(rate), float(capital)) == pytest.approx((0.7, 2.0), rel=1e-8)


def rosenbrock(model, x):
    w = model.trainable_variables[0][:, 0]
    return tf.stack([10.0 * (w[1] - w[0] ** 2), 1.0 - w[0]]) * math.sqrt(2.0)


def plane(start):
    layer = keras.layers.Dense(1, use_bias=False, dtype="float64")
    model = keras.Sequential([keras.Input((2,), dtype="float64"), layer])
    model.set_weights([np.array(start)[:, None]])
    return model


def exponentials(model, x):
    """Residuals that cannot all be 0: at the lowest place rounding leaves a gradient."""
    w = model.trainable_variables[0][:, 0]
    return tf.stack([tf.exp(w[0]) - 2.0, tf.exp(w[0]) - 3.1, w[1] - 0.3])


def errors(model, x):
    return model(x) - Y


def at_rosenbrocks_start():
    return plane([-1.2, 1.0])


# Name: objective, model, arguments, the status that it must end with.
ENDS = {
    "tolerance": (rosenbrock, at_rosenbrocks_start, {}, Status.TOLERANCE),
    "at the minimum already": (rosenbrock, lambda: plane([1.0, 1.0]), {}, Status.TOLERANCE),
    "iteration limit": (errors, at_start, {"epochs": 2}, Status.ITERATION_LIMIT),
    "target": (errors, at_start, {"target": 1e-2}, Status.TARGET),
    "stalled": (exponentials, at_rosenbrocks_start, {"tolerance": 0.0}, Status.STALLED),
    "NaN at the start": (
        lambda model, x: tf.math.log(rosenbrock(model, x)), at_rosenbrocks_start, {}, Status.NON_FINITE,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:fit_lbfgs minimizes `objective` alone")
@pytest.mark.parametrize("name", ENDS)
def test_status(name):
    objective, make, arguments, status = ENDS[name]
    result = fit_lbfgs(
        make(), X, objective=objective, **{"epochs": 200, **arguments, **GAUSS_NEWTON}
    ).result
    assert result.status == status
    assert result.success == (status in (Status.TOLERANCE, Status.TARGET))


# What it refuses.


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(5)


REFUSALS = {
    "another loss": (lambda: net(loss="mae"), {}, "the mean squared error is"),
    "a regularizer": (
        lambda: net(dense(3, dtype="float64", kernel_regularizer="l2")), {},
        "without loss_weights, regularizers",
    ),
    "batches": (net, {"batch_size": 5}, "all rows at once.*`batch_size`"),
    "scalars": (
        net, {"y": None, "objective": lambda model, x: tf.reduce_mean(model(x) ** 2)},
        r"The objective must be an array of residuals.*Return the residual itself",
    ),
    "a named scalar": (
        net, {"y": None, "objective": lambda model, x: {"a": model(x), "b": 0.0 * model(x)[0, 0]}},
        "The term 'b' of the objective must be an array",
    ),
    "a negative weight": (
        net, {"y": None, "objective": lambda model, x: {"a": model(x)}, "loss_weights": {"a": -1.0}},
        "`loss_weights` must be 0 or more",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:fit_lbfgs minimizes `objective` alone")
@pytest.mark.filterwarnings("ignore:.*negative")
@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name):
    make, arguments, words = REFUSALS[name]
    with pytest.raises(ValueError, match=words):
        fit_lbfgs(make(), **{"x": X, "y": Y, **arguments, **GAUSS_NEWTON})


def test_too_large_a_matrix_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr("keras_smooth.lbfgs.objective.residuals.MOST_ROWS", 12)
    with pytest.raises(ValueError, match="20 residuals by 13 weights.*matrix of 13 rows"):
        fit_lbfgs(net(), X, Y, **GAUSS_NEWTON)
