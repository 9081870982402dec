"""Damped Gauss-Newton: steps against dense algebra, Jacobians against differences, errors."""

import logging
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
from keras_smooth.lbfgs.minimizers import (
    LeastSquares,
    Minimizer,
    damped_system,
    gauss_newton,
)
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.lbfgs.objective.residuals import Residuals
from keras_smooth.lbfgs.objective.sharding import perturbed
from keras_smooth.lbfgs.objective.terms import ResidualTerms
from keras_smooth.models.tracing import traced

GAUSS_NEWTON = {"method": "gauss_newton", "jit_compile": False, "verbose": 0}


# The step.


def random_system(num_residuals, num_weights):
    rng = np.random.default_rng(num_residuals)
    jacobian = rng.normal(size=(num_residuals, num_weights))
    residuals = rng.normal(size=num_residuals)
    return jacobian, residuals


def system_of(residuals, jacobian, damping=0.0):
    return damped_system.DampedSystem(
        *map(tf.constant, (residuals, jacobian, np.asarray(damping, residuals.dtype)))
    )


# More weights than residuals (the dual), fewer (the normal equations), and as many.
@pytest.mark.parametrize("size", [(5, 9), (9, 5), (7, 7)])
@pytest.mark.parametrize("damping", [1e-6, 1.0, 1e6])
def test_step_solves_the_damped_least_squares_problem(size, damping):
    jacobian, residuals = random_system(*size)
    below = math.sqrt(damping) * np.eye(size[1])
    expected = np.linalg.lstsq(
        np.concatenate([jacobian, below]),
        -np.concatenate([residuals, np.zeros(size[1])]),
        rcond=None,
    )[0]
    damped = system_of(residuals, jacobian)
    value, step, count = damped.solve(
        lambda step: residuals + tf.linalg.matvec(jacobian, step),
        tf.constant(damping, tf.float64),
    )
    assert float(value) == pytest.approx(
        np.sum((residuals + jacobian @ step.numpy()) ** 2), rel=1e-12
    )
    # The normal equations square the condition number, which is below 1e4 with damping: 1e-16 * 1e8.
    np.testing.assert_allclose(step, expected, rtol=1e-7, atol=1e-8)
    # A linear function needs no correction.
    assert int(count) == 2


@pytest.mark.parametrize("num_rows", [1, 2, 7, 8, 50])
@pytest.mark.parametrize("is_known", [True, False])
def test_gram_matrix_by_halves_is_the_product(num_rows, is_known):
    matrix = np.random.default_rng(num_rows).normal(size=(num_rows, 30))
    specification = tf.TensorSpec([num_rows if is_known else None, 30], tf.float64)
    gram = tf.function(damped_system._gram, input_signature=[specification])(matrix).numpy()
    # Rounding of sums of 30 products, which are at most 60.
    np.testing.assert_allclose(gram, matrix @ matrix.T, rtol=0, atol=1e-13)


# The smallest singular value, as a fraction of the largest one. In float64 its square is 1e-4 of
# what rounding changes in J'J, in float32 it is 1e-3 of that.
SMALLEST_SINGULAR_VALUE = {"float64": 1e-10, "float32": 1e-5}


@pytest.mark.parametrize("dtype", SMALLEST_SINGULAR_VALUE)
@pytest.mark.parametrize("size", [(12, 30), (30, 12), (12, 12)])
def test_small_damping_resolves_small_singular_values(size, dtype):
    rng = np.random.default_rng(0)
    left = np.linalg.qr(rng.normal(size=(size[0], 12)))[0]
    right = np.linalg.qr(rng.normal(size=(size[1], 12)))[0]
    values = np.geomspace(1.0, SMALLEST_SINGULAR_VALUE[dtype], 12)
    jacobian = ((left * values) @ right.T).astype(dtype)
    # The exact step is -right @ weights, and each of its coordinates has the same size.
    weights = np.resize([1.0, -1.0], 12)
    residuals = ((left * values) @ weights).astype(dtype)
    damping = 0.01 * SMALLEST_SINGULAR_VALUE[dtype] ** 2
    damped = system_of(residuals, jacobian, damping)
    assert float(damped.smallest_damping) < damping
    _, step, count = damped.solve(
        lambda step: residuals + tf.linalg.matvec(jacobian, step),
        tf.constant(damping, dtype),
    )
    # The damping leaves 1e-2. The rounding of the Jacobian itself moves the last coordinate by
    # its precision over the smallest value: 1e-6 in float64, 1e-2 in float32.
    np.testing.assert_allclose(right.T @ step.numpy(), -weights, atol=0.05)
    assert int(count) <= 4


@pytest.mark.parametrize("entry", [math.nan, math.inf, 0.0])
@pytest.mark.parametrize("size", [(3, 5), (5, 3)])
# Without a previous step, and after one whose damping was below the rounding of J'J.
@pytest.mark.parametrize("damping", [0.0, 1e-18])
def test_jacobian_of_nan_inf_or_zeros_gives_a_zero_step(entry, size, damping):
    residuals = np.ones(size[0])
    damped = system_of(residuals, np.full(size, entry), damping)
    value, step, _ = damped.solve(
        lambda step: residuals + entry * tf.reduce_sum(step), damped.first_damping
    )
    assert float(value) == (size[0] if entry == 0.0 else math.inf)
    np.testing.assert_array_equal(step, np.zeros(size[1]))


@pytest.mark.parametrize(
    "loss_ratio, sample_ratio, share, expected",
    [
        # A step that lowers the loss by more than its share of the cost.
        (0.3, 1e-6, 0.5, False),
        # The sample is fitted. The other rows are not.
        (0.99, 1e-6, 0.1, True),
        # From good weights, a step lowers both by little, but that of the sample by more.
        (0.994, 0.976, 0.028, True),
        # Both are lowered equally: damping is the limit, and more rows would not help.
        (0.994, 0.993, 0.028, False),
    ],
)
def test_sample_grows_if_it_limits_the_step(loss_ratio, sample_ratio, share, expected):
    ratios = (tf.constant(ratio, tf.float64) for ratio in (loss_ratio, sample_ratio))
    assert bool(gauss_newton._is_limited_by_sample(*ratios, share)) is expected


def test_corrections_solve_for_nonlinear_residuals():
    jacobian, residuals = random_system(5, 9)
    damping = tf.constant(1e-6, tf.float64)

    def residuals_after(step):
        linear = tf.linalg.matvec(jacobian, step)
        return residuals + linear + 0.03 * linear**2

    damped = system_of(residuals, jacobian)
    value, step, count = damped.solve(residuals_after, damping)
    _, uncorrected, _ = damped.solve(
        lambda s: residuals + tf.linalg.matvec(jacobian, s), damping
    )
    # With 9 weights, 5 residuals can be 0, except for the damping: 1e-6 squared.
    assert float(tf.reduce_sum(residuals_after(uncorrected) ** 2)) > 1e-4
    assert float(value) == float(tf.reduce_sum(residuals_after(step) ** 2)) < 1e-10
    assert 3 < int(count) <= 12


# The minimizer.


def least_squares(function):
    def residuals(position, rows, data):
        return function(position)

    def value(position, data):
        return tf.reduce_sum(function(position) ** 2)

    def draw(size, seed, data):
        return (), tf.constant(1.0)

    def value_and_gradient(position, data):
        with tf.GradientTape() as tape:
            tape.watch(position)
            value = tf.reduce_sum(function(position) ** 2)
        return value, tape.gradient(value, position)

    def linearized(position, rows, data):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(position)
            values = function(position)
        return values, tape.jacobian(values, position, experimental_use_pfor=False)

    return LeastSquares(value_and_gradient, value, draw, residuals, linearized)


def final_state(function, start, num_iterations, tolerance=1e-6, dtype="float64"):
    minimizer = Minimizer(least_squares(function), "gauss_newton", 1, jit_compile=False)
    state = minimizer.begin(tf.constant(start, dtype), ())
    return minimizer.advance(state, num_iterations, tolerance, ())


@pytest.mark.parametrize(
    "problem", representatives(PROBLEMS, PROBLEMS[::7]), ids=lambda problem: problem.name
)
def test_problems_of_more_garbow_and_hillstrom_are_solved(problem):
    state = final_state(problem.residuals, problem.start, 1000)
    assert problem.is_minimum(float(state.objective_value))
    # Residuals r are rounded by 1e-16 of their terms, and their squares by 2e-16 r.
    value = pytest.approx(float(problem(state.position)), rel=1e-9, abs=1e-22)
    assert float(state.objective_value) == value


def test_evaluations_are_counted():
    counted = tf.Variable(0)

    def function(x):
        counted.assign_add(1)
        return PROBLEMS[0].residuals(x)

    state = final_state(function, PROBLEMS[0].start, 5, 0.0)
    assert int(state.num_objective_evaluations) == int(counted) > 5


def test_samples_with_strings_count_as_finite():
    """x contains strings if a model begins with a lookup layer."""

    def draw(size, seed, data):
        return data, tf.constant(1.0)

    functions = least_squares(PROBLEMS[0].residuals)._replace(draw=draw)
    minimizer = Minimizer(functions, "gauss_newton", 1, jit_compile=False)
    start = tf.constant(PROBLEMS[0].start, "float64")
    assert not minimizer.sees_non_finite(start, tf.constant(["a", "b"]))


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
INDEXED_POINTS = {**POINTS, "index": np.array([1, 5, 6])}
DATA_OF_TWO_NETS = ({"a": X, "b": X[::-1]}, {"p": Y, "q": 2.0 * Y})


def recurrent(kind=keras.layers.GRU, **arguments):
    seeded = {name: keras.initializers.GlorotUniform(seed=i) for i, name in enumerate(
        ("kernel_initializer", "recurrent_initializer"))}  # fmt: skip
    layer = kind(2, dtype="float64", **seeded, **arguments)
    model = keras.Sequential(
        [keras.Input((4, 2), dtype="float64"), layer, dense(1, seed=2, dtype="float64")]
    )
    model.compile(loss="mse")
    return model


def with_a_while_loop(model, x):
    u = model(x["inside"])
    return tf.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * u + 1.0), (0, u))[1]


def with_map_fn(model, x):
    return tf.map_fn(lambda row: model(row[None])[0] ** 2, x["inside"])


def with_rows_of_another_term(model, x):
    u = model(x["inside"])
    return {"all": u - 0.3, "some": tf.gather(u, x["index"]) - 1.0}


def with_a_mean_of_another_term(model, x):
    u = model(x["inside"])
    return {"all": u - 0.3, "start": model(x["start"]) - tf.reduce_mean(u) - 1.0}


def with_a_condition(model, x):
    error = model(x["inside"]) - 0.3
    return tf.cond(tf.reduce_mean(x["inside"]) > 0.4, lambda: error, lambda: 2.0 * error)


def with_masked_rows(model, x):
    error = model(x["inside"]) - 0.3
    return {"all": error, "right": tf.boolean_mask(error, x["inside"][:, 0] > 0.4)}


def with_a_row_of_columns(model, x):
    return tf.transpose(model(x["inside"]) - 0.3)


def with_own_points(model, x):
    own_points = tf.constant(POINTS["inside"] ** 2)
    return model(x["inside"]) - 2.0 * model(own_points)


def three_heads(loss, as_dict=True):
    """Returns a compiled model whose outputs are not in the order of their names."""
    x = keras.Input((2,), dtype="float64")
    heads = {
        name: dense(1, "tanh", seed, dtype="float64", name=name)(x)
        for seed, name in enumerate("zpq")
    }
    model = keras.Model(x, heads if as_dict else list(heads.values()))
    model.compile(loss=loss)
    return model


def derivative_model(loss):
    model = keras_smooth.DerivativeModel(oscillator_net(), order=2)
    model.compile(loss=loss)
    return model


SEQUENCES = np.random.default_rng(2).normal(size=(5, 4, 2))
SUMS = SEQUENCES.sum(axis=(1, 2))[:, None]
SINE = {
    "y": np.sin(POINTS["inside"]), "dy": np.cos(POINTS["inside"]), "d2y": -np.sin(POINTS["inside"])
}  # fmt: skip


def two_outputs():
    model = two_nets()
    model.compile(loss={"p": "mse", "q": "mse"}, jit_compile=False)
    return model


# Name: model, objective, data, how each term is differentiated.
OBJECTIVES_AND_METHODS = {
    "mse": (net, None, (X, Y, None), ["rows"]),
    "targets without an axis": (net, None, (X, Y[:, 0], None), ["rows"]),
    "sample weights": (net, None, (X, Y, WEIGHTS), ["rows"]),
    "two outputs": (two_outputs, None, (*DATA_OF_TWO_NETS, None), ["rows", "rows"]),
    "several units": (
        lambda: net(head=dense(3, seed=2, dtype="float64")), None, (X, np.sin(X @ np.ones((2, 3))), None),
        ["rows"],
    ),
    "rows that are not alone": (
        lambda: net(keras.layers.BatchNormalization(dtype="float64")), None, (X, Y, None), ["entries"],
    ),
    "an equation": (oscillator_net, oscillator, (POINTS, None, None), ["rows", "rows"]),
    "a GRU": (recurrent, None, (SEQUENCES, SUMS, None), ["loop"]),
    "an LSTM with weights": (
        lambda: recurrent(keras.layers.LSTM), None, (SEQUENCES, SUMS, WEIGHTS[:5]), ["loop"],
    ),
    "a simple RNN": (
        lambda: recurrent(keras.layers.SimpleRNN), None, (SEQUENCES, SUMS, None), ["loop"],
    ),
    "a while loop": (oscillator_net, with_a_while_loop, (POINTS, None, None), ["loop"]),
    "map_fn": (oscillator_net, with_map_fn, (POINTS, None, None), ["loop"]),
    "a loss on the first output": (
        lambda: three_heads({"z": "mse"}), None, (X, {"z": Y}, None), ["rows"],
    ),
    "a loss on the last output": (
        lambda: three_heads({"q": "mse"}), None, (X, {"q": Y}, {"q": WEIGHTS}), ["rows"],
    ),
    "losses on two of three outputs": (
        lambda: three_heads({"z": "mse", "p": "mse"}), None, (X, {"z": Y, "p": 2.0 * Y}, None),
        ["rows", "rows"],
    ),
    "a list of losses with None": (
        lambda: three_heads(["mse", None, "mse"], False), None, (X, [Y, 3.0 * Y, 2.0 * Y], None),
        ["rows", "rows"],
    ),
    "y and its second derivative": (
        lambda: derivative_model({"y": "mse", "d2y": "mse"}), None,
        (POINTS["inside"], {name: SINE[name] for name in ("y", "d2y")}, None), ["rows", "rows"],
    ),
    "all derivatives": (
        lambda: derivative_model("mse"), None, (POINTS["inside"], SINE, None), ["rows"] * 3,
    ),
    "one target for three units": (
        lambda: net(head=dense(3, seed=2, dtype="float64")), None, (X, Y, None), ["rows"],
    ),
    "rows of another term": (
        oscillator_net, with_rows_of_another_term, (INDEXED_POINTS, None, None), ["rows", "rows"],
    ),
    "a mean of another term": (
        oscillator_net, with_a_mean_of_another_term, (POINTS, None, None), ["rows", "rows"],
    ),
    "a condition": (oscillator_net, with_a_condition, (POINTS, None, None), ["entries"]),
    "masked rows": (
        oscillator_net, with_masked_rows, (POINTS, None, None), ["rows", "entries"],
    ),
    "a row of columns": (
        oscillator_net, with_a_row_of_columns, ({"inside": POINTS["inside"]}, None, None),
        ["entries"],
    ),
    "own points": (oscillator_net, with_own_points, (POINTS, None, None), ["entries"]),
    "an integral": (oscillator_net, with_an_integral, (POINTS, None, None), ["rows", "entries"]),
}  # fmt: skip


def residuals_of(objective):
    return Residuals(objective, objective.value_and_gradient)


def linearize(residuals, position, data, rows=None):
    """Returns residuals and Jacobian of the data, or of a sample `rows`, computed in a graph."""
    terms = residuals.layout(data).terms
    # TensorFlow counts retraces by code object; `traced` makes a function that is counted alone.
    compiled = traced(residuals.linearized)
    return compiled(position, data if rows is None else rows, terms)


def as_tensors(data):
    return tf.nest.map_structure(lambda a: None if a is None else tf.constant(a), data)


@pytest.mark.filterwarnings("ignore:The loss does not depend on these trainable weights")
@pytest.mark.parametrize("name", OBJECTIVES_AND_METHODS)
def test_jacobian_equals_gradient_and_central_differences(name):
    make, function, data, methods = OBJECTIVES_AND_METHODS[name]
    model, data = make(), as_tensors(data)
    weights = {"equation": 4.0} if name == "an equation" else None
    terms = None if function is None else ResidualTerms(function, weights)
    objective = Objective(model, terms)
    residuals, position = residuals_of(objective), perturbed(objective.position)
    residuals.examine(position, data)
    terms = residuals.layout(data).terms
    assert [term.method for term in terms] == methods
    values, jacobian = linearize(residuals, position, data)
    value, gradient = objective.value_and_gradient(position, data)
    assert float(tf.reduce_sum(values**2)) == pytest.approx(float(value), rel=1e-12)
    # Both are sums of some hundred products, which are rounded.
    product = 2.0 * tf.linalg.matvec(jacobian, values, transpose_a=True)
    np.testing.assert_allclose(product, gradient, rtol=1e-10, atol=1e-12)
    direction = tf.constant(np.random.default_rng(3).normal(size=len(position)))
    shifted = [residuals.values(position + h * direction, data) for h in (1e-6, -1e-6)]
    # Errors of central differences: the third derivative times 1e-12, and rounding 1e-16 / 1e-6.
    np.testing.assert_allclose(
        tf.linalg.matvec(jacobian, direction),
        (shifted[0] - shifted[1]) / 2e-6,
        rtol=1e-5,
        atol=1e-8,
    )


@pytest.mark.filterwarnings("ignore:The loss does not depend on these trainable weights")
@pytest.mark.parametrize("name", OBJECTIVES_AND_METHODS)
def test_residuals_and_jacobian_of_a_sample_are_rows_of_all_data(name):
    make, function, data, methods = OBJECTIVES_AND_METHODS[name]
    model, data = make(), as_tensors(data)
    objective = Objective(model, function and ResidualTerms(function, None))
    residuals, position = residuals_of(objective), perturbed(objective.position)
    residuals.examine(position, data)
    rows, share = residuals.draw(data, tf.constant(3), tf.constant(1))
    if "entries" in methods or "of another term" in name:
        assert rows is data and share == 1.0
        return
    assert share < 1.0 == residuals.draw(data, tf.constant(99), tf.constant(1))[1]
    whole_and_sample = [
        tf.concat([values[:, None], jacobian], axis=1)
        for values, jacobian in (
            linearize(residuals, position, data), linearize(residuals, position, data, rows)
        )
    ]  # fmt: skip
    sizes = [
        [term.shape[0] for term in objective.residuals(objective.variables, part)]
        for part in (data, rows)
    ]
    assert sizes[1] == [min(3, size) for size in sizes[0]]
    for whole, sample in zip(*map(split_by_term, whole_and_sample, sizes)):
        # Residuals are divided by the root of the number of rows.
        sample = sample * math.sqrt(len(sample) / len(whole))
        distances = np.abs(whole[:, None] - sample).max(axis=-1).min(axis=0)
        # The sums are the same, computed in batches of another size.
        assert distances.max() <= 1e-12 * np.abs(whole).max()
        assert len(np.unique(np.round(sample, 9), axis=0)) == len(sample)


def split_by_term(rows, sizes):
    """Splits rows into groups, one for each term; a term with k units has k rows for each row."""
    ends = np.cumsum(sizes) * (len(rows) // sum(sizes))
    return np.split(np.asarray(rows), ends[:-1])


def objective_of_a_fixed_number_of_rows(model, x):
    u = model(x["inside"])
    return u * np.ones((u.shape[0] + 0, 1)) - 0.3


def test_objective_of_a_fixed_number_of_rows_is_not_sampled():
    model, data = oscillator_net(), as_tensors((POINTS, None, None))
    objective = Objective(model, ResidualTerms(objective_of_a_fixed_number_of_rows, None))
    residuals = residuals_of(objective)
    residuals.examine(perturbed(objective.position), data)
    layout = residuals.layout(data)
    assert layout.terms[0].method == "rows" and layout.most_rows == 0
    assert residuals.draw(data, tf.constant(3), tf.constant(1))[0] is data


def jacobian_of(model, data):
    objective = Objective(model)
    residuals, position = residuals_of(objective), perturbed(objective.position)
    residuals.examine(position, data)
    return linearize(residuals, position, data)[1]


def test_jacobian_of_a_loop_equals_that_of_unrolled_rows_without_warnings():
    logged = []
    handler = logging.Handler()
    handler.emit = logged.append
    tf.get_logger().addHandler(handler)
    try:
        data = as_tensors((SEQUENCES, SUMS, None))
        loop, rows = (jacobian_of(recurrent(unroll=u), data) for u in (False, True))
    finally:
        tf.get_logger().removeHandler(handler)
    # The sums have another order.
    np.testing.assert_allclose(loop, rows, rtol=1e-12, atol=1e-14)
    assert not logged


def test_jacobian_of_spectral_normalization_equals_gradient():
    inner = dense(3, "tanh", dtype="float64")
    model = net(keras.layers.SpectralNormalization(inner, dtype="float64"))
    objective, data = Objective(model), as_tensors((X, Y, None))
    residuals, position = residuals_of(objective), perturbed(objective.position)
    residuals.examine(position, data)
    values, jacobian = linearize(residuals, position, data)
    # Keras stops the gradient of its power iteration, so that differences are no reference.
    np.testing.assert_allclose(
        2.0 * tf.linalg.matvec(jacobian, values, transpose_a=True),
        objective.value_and_gradient(position, data)[1],
        rtol=1e-10,
        atol=1e-12,
    )


# The fit.


def test_loss_is_below_that_of_lbfgs_after_as_many_epochs():
    losses = {}
    for method in ("lbfgs", "gauss_newton"):
        history = fit_lbfgs(
            at_start(), X, Y, epochs=40, method=method, jit_compile=False, verbose=0
        )
        losses[method] = history.result.fun
    assert losses["gauss_newton"] < 0.01 * losses["lbfgs"]


# The first sample has a third of 300 rows, so that its solution is not that of all rows.
@pytest.mark.parametrize("num_rows", [5, 30, 300])
def test_fit_solves_weighted_linear_least_squares(num_rows):
    rng = np.random.default_rng(num_rows)
    x, weights = rng.normal(size=(num_rows, 8)), rng.uniform(0.1, 2.0, num_rows)
    y = x @ np.arange(1.0, 9.0)[:, None] + rng.normal(size=(num_rows, 1))
    model = keras.Sequential([keras.Input((8,), dtype="float64")])
    model.add(dense(1, use_bias=False, dtype="float64"))
    model.compile(loss="mse")
    result = fit_lbfgs(model, x, y, sample_weight=weights, epochs=50, **GAUSS_NEWTON).result
    root = np.sqrt(weights)[:, None]
    assert result.status == Status.TOLERANCE and result.restarts == 0
    solution = model.get_weights()[0]
    if num_rows < 8:
        np.testing.assert_allclose(x @ solution, y, atol=1e-8)
        return
    expected = np.linalg.lstsq(root * x, root * y, rcond=None)[0]
    # A gradient of 1e-10 times some tens, divided by a curvature near 1.
    np.testing.assert_allclose(solution, expected, rtol=1e-8, atol=1e-9)


def gaussian_fit(seed=0):
    """Returns a net and 600 rows; a sample of the rows determines the weights."""
    layers = [dense(12, "tanh", seed, dtype="float64"), dense(1, seed=9, dtype="float64")]
    model = keras.Sequential([keras.Input((1,), dtype="float64"), *layers])
    model.compile(loss="mse")
    x = np.random.default_rng(seed).uniform(-2.0, 2.0, (600, 1))
    return model, x, np.exp(-(x**2))


def test_fit_of_samples_converges_as_that_of_all_rows(monkeypatch):
    losses = {}
    for first in (20, 600):
        monkeypatch.setattr(gauss_newton, "FIRST_ROWS", first)
        model, x, y = gaussian_fit()
        losses[first] = fit_lbfgs(model, x, y, epochs=60, **GAUSS_NEWTON).result.fun
    assert max(losses.values()) < 1e-12


def test_memory_limit_of_the_jacobian_limits_the_sample(monkeypatch):
    # With 37 weights, a Jacobian of 600 rows is above the limit, and that of a sample of 60 is not.
    monkeypatch.setattr("keras_smooth.lbfgs.objective.residuals.MAX_BYTES", 60 * 37 * 8)
    model, x, y = gaussian_fit()
    objective, data = Objective(model), as_tensors((x, y, None))
    residuals = residuals_of(objective)
    residuals.examine(perturbed(objective.position), data)
    assert residuals.layout(data).most_rows == 60
    result = fit_lbfgs(model, x, y, epochs=40, **GAUSS_NEWTON).result
    assert result.fun < 1e-6 and result.status in (Status.ITERATION_LIMIT, Status.STALLED)
    mean = np.mean((model.predict(x, verbose=0) - y) ** 2)
    assert result.fun == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "rows of another term",
        "a condition",
        "masked rows",
        "a row of columns",
        "own points",
    ],
)
def test_objectives_that_use_all_rows_are_minimized(name):
    make, function, (points, *_), _ = OBJECTIVES_AND_METHODS[name]
    history = fit_lbfgs(make(), points, objective=function, epochs=30, **GAUSS_NEWTON)
    losses = history.history["loss"]
    assert not history.result.failed and losses[-1] < 0.9 * losses[0]


def test_row_with_many_residuals_is_differentiated_in_one_trace():
    inputs = keras.Input((1,), dtype="float64")
    model = keras.Model(inputs, dense(60, "tanh", dtype="float64")(inputs))
    model.compile(loss="mse")
    data = as_tensors((POINTS["inside"], np.zeros((7, 60)), None))
    objective = Objective(model)
    residuals = residuals_of(objective)
    residuals.examine(objective.position, data)
    jacobian = residuals._jacobian(0, residuals.layout(data).terms[0])
    num_operations = len(
        jacobian.get_concrete_function(objective.position, data).graph.get_operations()
    )
    # Some 400. With one gradient for each residual there are 60 times as many.
    assert num_operations < 2000


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


def test_objective_with_derivatives_is_called_few_times_in_a_first_fit():
    num_calls = 0

    def objective(model, x):
        nonlocal num_calls
        num_calls += 1
        return oscillator(model, x)

    model = oscillator_net()
    fit_lbfgs(model, POINTS, objective=objective, epochs=5, **GAUSS_NEWTON)
    num_terms = len(oscillator(model, as_tensors(POINTS)))
    # Once for its loss and gradient, its terms, its values, and the values of a sample, and once for
    # the Jacobian of each term.
    assert num_calls == 4 + num_terms


def growth(rate, capital):
    """Returns an objective whose solution is capital exp(rate x), with two unknowns."""

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

    # A fit that ends at its start restores the initial values.
    assert fit(target=1e9).nit == 0 and (float(rate), float(capital)) == (0.1, 1.0)
    assert fit().success
    assert (float(rate), float(capital)) == pytest.approx((0.7, 2.0), rel=1e-8)


def rosenbrock(model, x):
    w = model.trainable_variables[0][:, 0]
    return tf.stack([10.0 * (w[1] - w[0] ** 2), 1.0 - w[0]]) * math.sqrt(2.0)


def two_unknowns(start):
    layer = keras.layers.Dense(1, use_bias=False, dtype="float64")
    model = keras.Sequential([keras.Input((2,), dtype="float64"), layer])
    model.set_weights([np.array(start)[:, None]])
    return model


def exponentials(model, x):
    """Returns residuals that cannot all be 0; at the minimum, rounding leaves a gradient."""
    w = model.trainable_variables[0][:, 0]
    return tf.stack([tf.exp(w[0]) - 2.0, tf.exp(w[0]) - 3.1, w[1] - 0.3])


def errors_of(model, x):
    return model(x) - Y


def at_rosenbrocks_start():
    return two_unknowns([-1.2, 1.0])


# Name: objective, model, arguments, the expected status.
FINAL_STATUS = {
    "tolerance": (rosenbrock, at_rosenbrocks_start, {}, Status.TOLERANCE),
    "at the minimum already": (rosenbrock, lambda: two_unknowns([1.0, 1.0]), {}, Status.TOLERANCE),
    "iteration limit": (errors_of, at_start, {"epochs": 2}, Status.ITERATION_LIMIT),
    "target": (errors_of, at_start, {"target": 1e-2}, Status.TARGET),
    "stalled": (exponentials, at_rosenbrocks_start, {"tolerance": 0.0}, Status.STALLED),
    "an array of one number": (
        lambda model, x: {"all": rosenbrock(model, x), "number": (model(x)[0, 0] - 1.0)[None]},
        lambda: two_unknowns([1.0, 0.5]), {}, Status.TOLERANCE,
    ),
    "NaN at the start": (
        lambda model, x: tf.math.log(rosenbrock(model, x)), at_rosenbrocks_start, {}, Status.NON_FINITE,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:fit_lbfgs minimizes `objective` alone")
@pytest.mark.parametrize("name", FINAL_STATUS)
def test_fit_ends_with_expected_status(name):
    objective, make, arguments, status = FINAL_STATUS[name]
    result = fit_lbfgs(
        make(), X, objective=objective, **{"epochs": 200, **arguments, **GAUSS_NEWTON}
    ).result
    assert result.status == status
    assert result.success == (status in (Status.TOLERANCE, Status.TARGET))


# Errors.


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(5)


def custom_loss():
    class OwnLoss(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **kwargs):
            return tf.reduce_mean((y - y_pred) ** 2)

    model = OwnLoss([keras.Input((2,), dtype="float64"), dense(1, dtype="float64")])
    model.compile(loss="mse")
    return model


WRONG_ARGUMENTS = {
    "another loss": (lambda: net(loss="mae"), {}, "the mean squared error is"),
    "a regularizer": (
        lambda: net(dense(3, dtype="float64", kernel_regularizer="l2")), {},
        "the model has regularizers or add_loss",
    ),
    "batches": (net, {"batch_size": 5}, "all rows at once.*`batch_size`"),
    "scalars": (
        net, {"y": None, "objective": lambda model, x: tf.reduce_mean(model(x) ** 2)},
        r"The objective must be an array of residuals.*Return the residual itself.*number\[None\]",
    ),
    "a named scalar": (
        net, {"y": None, "objective": lambda model, x: {"a": model(x), "b": 0.0 * model(x)[0, 0]}},
        "The term 'b' of the objective must be an array",
    ),
    "complex numbers": (
        net, {"y": None, "objective": lambda model, x: tf.complex(model(x), model(x))},
        "The objective must be .* real floats, received complex128.*imaginary parts",
    ),
    "integers": (
        net, {"y": None, "objective": lambda model, x: {"a": model(x), "b": tf.constant([1, 2])}},
        "The term 'b' of the objective must be .* real floats, received int32",
    ),
    "no residuals": (
        net, {"y": None, "objective": lambda model, x: {"a": model(x), "b": model(x)[:0]}},
        r"The term 'b' of the objective .* is empty, of shape \(0, 1\)",
    ),
    "random numbers": (
        net, {"y": None, "objective": lambda model, x: model(x) - tf.random.normal((20, 1), dtype=x.dtype)},
        "at the next. The loss differs from call to call",
    ),
    "a tiny regularizer": (
        lambda: net(dense(3, dtype="float64", kernel_regularizer=keras.regularizers.L2(1e-12))), {},
        "the model has regularizers",
    ),
    "a loss of its own": (lambda: custom_loss(), {}, "does not see what compute_loss"),
    "a negative weight": (
        net, {"y": None, "objective": lambda model, x: {"a": model(x)}, "loss_weights": {"a": -1.0}},
        "`loss_weights` must be 0 or more",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:fit_lbfgs minimizes `objective` alone")
@pytest.mark.filterwarnings("ignore:.*negative")
@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_unsupported_arguments_raise(name):
    make, arguments, message = WRONG_ARGUMENTS[name]
    with pytest.raises((TypeError, ValueError), match=message):
        fit_lbfgs(make(), **{"x": X, "y": Y, **arguments, **GAUSS_NEWTON})


def test_matrix_above_the_limit_raises_an_error_with_its_size(monkeypatch):
    monkeypatch.setattr("keras_smooth.lbfgs.objective.residuals.MAX_ROWS", 12)
    batch_normalization = keras.layers.BatchNormalization(dtype="float64")
    with pytest.raises(ValueError, match="20 residuals by 19 weights.*matrix of 19 rows"):
        fit_lbfgs(net(batch_normalization), X, Y, **GAUSS_NEWTON)


# Name: objective, words of the warning, the expected status.
WARNINGS = {
    "float32": (
        lambda model, x: tf.cast(errors_of(model, x), "float32"), "the loss computes in float32",
        Status.ITERATION_LIMIT,
    ),
    "NaN in a term": (
        lambda model, x: {"a": errors_of(model, x), "b": tf.math.log(model(x) - 1e3)},
        "these terms of the objective are inf or NaN: b", Status.NON_FINITE,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:fit_lbfgs minimizes `objective` alone")
@pytest.mark.parametrize("name", WARNINGS)
def test_float32_and_nan_residuals_warn(name):
    objective, message, status = WARNINGS[name]
    with pytest.warns(UserWarning, match=message):
        result = fit_lbfgs(net(), X, objective=objective, epochs=3, **GAUSS_NEWTON).result
    assert result.status == status


@pytest.mark.filterwarnings("ignore:fit_lbfgs minimizes `objective` alone")
@pytest.mark.parametrize("method", ["lbfgs", "bfgs", "tfp_lbfgs"])
def test_random_loss_ends_with_status_random(method):
    def objective(model, x):
        return tf.reduce_mean(
            (errors_of(model, x) - tf.random.normal((20, 1), dtype=x.dtype)) ** 2
        )

    arguments = {**GAUSS_NEWTON, "method": method}
    result = fit_lbfgs(net(), X, objective=objective, epochs=200, **arguments).result
    assert result.status == Status.RANDOM and result.failed
    assert "differs from call to call" in result.message
