"""Losses of any size: the steps are equal, and tolerances are relative to the start or absolute."""

import keras
import numpy as np
import pytest
from keras import ops
from lbfgs_nets import X, Y, dense, fit, same_weights

import keras_smooth
from keras_smooth import Status

POWERS = (2.0**-100, 2.0**66)


def net(dtype="float64"):
    layers = [dense(3, "tanh", 1, dtype=dtype), dense(1, seed=2, dtype=dtype)]
    return keras.Sequential([keras.Input((2,), dtype=dtype), *layers])


def linear_net(dtype="float64"):
    return keras.Sequential([keras.Input((2,), dtype=dtype), dense(1, dtype=dtype)])


def fit_of_size(size, make=net, **arguments):
    """Returns the model and the result of a fit whose loss is multiplied by a size."""
    model = make()

    def objective(model, x):
        y = ops.cast(Y, model.inputs[0].dtype)
        return size * ops.mean((model(x) - y) ** 2)

    return model, fit(model, X, None, objective=objective, **arguments).result


def slow_case(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.filterwarnings("ignore:fit_lbfgs runs in float32")
@pytest.mark.parametrize(
    ("method", "dtype"),
    [
        ("lbfgs", "float64"),
        ("lbfgs", "float32"),
        slow_case("bfgs", "float64"),
        slow_case("tfp_lbfgs", "float64"),
        slow_case("tfp_bfgs", "float64"),
    ],
)
def test_loss_times_a_power_of_two_gives_equal_bits(method, dtype):
    if method.startswith("tfp"):
        pytest.importorskip("tf_keras")
    arguments = {"make": lambda: net(dtype), "method": method, "epochs": 12}
    model, expected = fit_of_size(1.0, **arguments)
    assert expected.nit == 12 and expected.fun < 0.1
    for size in POWERS:
        scaled, result = fit_of_size(size, **arguments)
        assert same_weights(model, scaled)
        values = (result.fun / size, result.grad_norm / size, result.nfev, result.status)
        expected_values = (expected.fun, expected.grad_norm, expected.nfev, expected.status)
        assert values == expected_values


@pytest.mark.filterwarnings("ignore:fit_lbfgs runs in float32")
@pytest.mark.parametrize(
    ("dtype", "size", "decimals"),
    # Decimals of the weights. The squares have a condition number of about 3.
    [*(("float64", 10.0**k, 9) for k in (-30, -20, 20, 30)), ("float32", 1e-20, 3),
     ("float32", 1e20, 3)],
)  # fmt: skip
def test_losses_of_any_size_are_minimized(dtype, size, decimals):
    model, result = fit_of_size(size, lambda: linear_net(dtype), epochs=30)
    columns = np.column_stack([X, np.ones(len(X))])
    expected = np.linalg.lstsq(columns, Y[:, 0], rcond=None)[0]
    solution = np.concatenate([np.asarray(w, "float64").ravel() for w in model.weights])
    np.testing.assert_allclose(solution, expected, atol=10.0**-decimals)
    assert result.success or dtype == "float32"


def loss_and_gradient_at_start(make=linear_net):
    """Returns loss and largest entry of the gradient at the initial weights."""
    result = fit_of_size(1.0, make, tolerance=10.0)[1]
    assert result.nit == 0 and result.status == Status.TOLERANCE
    return result.fun, result.grad_norm


# Name: arguments, size of the loss, the expected status, whether the fit ends at its start.
FINAL_STATUS = {
    "parts of the gradient": ({"tolerance": 0.5}, 1e-20, Status.TOLERANCE, False),
    "the gradient": ({"tolerance": 0.5, "relative": False}, 1e-20, Status.TOLERANCE, True),
    "parts of the loss": ({"target": 0.9}, 1e-20, Status.TARGET, False),
    "the loss": (
        {"target": 0.9, "relative": False, "tolerance": 0.0}, 1e-20, Status.TARGET, True,
    ),
    "parts of a large loss": ({"target": 0.9}, 1e20, Status.TARGET, False),
    "no such loss": (
        {"target": 0.9, "relative": False}, 1e20, Status.TOLERANCE, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FINAL_STATUS)
def test_tolerance_and_target_are_relative_or_absolute(name):
    arguments, size, status, ends_at_start = FINAL_STATUS[name]
    arguments = {"steps_per_execution": 1, "epochs": 60, **arguments}
    if name == "no such loss":
        arguments["tolerance"] = 1e-10 * size
    loss, gradient = loss_and_gradient_at_start()
    result = fit_of_size(size, linear_net, **arguments)[1]
    assert (result.status, result.nit == 0) == (status, ends_at_start) and result.success
    if arguments.get("relative", True):
        assert result.fun <= arguments.get("target", 1.0) * loss * size
        assert result.grad_norm <= gradient * size


def test_resumed_run_keeps_its_relative_tolerance(tmp_path):
    """The tolerance is relative to the first start of the run, not to its current weights."""
    arguments = {"size": 1e-20, "checkpoint": tmp_path, "steps_per_execution": 2}
    _, uninterrupted = fit_of_size(1e-20, epochs=150, tolerance=1e-3, steps_per_execution=2)
    for epochs in (4, 8, 150):
        _, result = fit_of_size(make=net, epochs=epochs, tolerance=1e-3, **arguments)
    assert result == uninterrupted and result.status == Status.TOLERANCE


@pytest.mark.parametrize("method", ["lbfgs", "bfgs", "broyden", "tfp_lbfgs"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_fit_that_starts_at_the_minimum_succeeds(method, dtype):
    x = np.linspace(-1.0, 1.0, 50)
    model = keras.Sequential(
        [keras.Input((2,), dtype=dtype), keras.layers.Dense(1, dtype=dtype)]
    )
    model.compile(loss="mse")
    rows, y = np.c_[x, x**2], np.exp(x)[:, None]
    arguments = {"epochs": 200, "method": method, "verbose": 0, "jit_compile": False}
    # The loss at the minimum is not 0, so that rounding ends the run.
    keras_smooth.fit_lbfgs(model, rows, y, **arguments)
    second = keras_smooth.fit_lbfgs(model, rows, y, **arguments, throw=True).result
    assert second.success and second.status in (Status.ROUNDING, Status.TOLERANCE)
    exact = np.linalg.lstsq(np.c_[rows, np.ones(50)], y, rcond=None)[0]
    # The root of the precision of float32, times the condition number.
    np.testing.assert_allclose(
        np.ravel(model.get_weights()[0]),
        exact[:2, 0],
        rtol=1e-3 if dtype == "float32" else 1e-7,
    )


def test_fit_that_stalls_at_a_kink_does_not_end_with_status_rounding():
    def objective(model, x):
        # At a kink of a steep slope, no step is lower, and the gradient is large.
        w = model.trainable_variables[0].value
        return ops.sum(ops.abs(w)) + ops.sum(
            ops.abs(10.0 * w + 1e-3 * ops.roll(w, 1, axis=0))
        )

    model = keras.Sequential([keras.Input((3,), dtype="float64")])
    model.add(
        keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", dtype="float64")
    )
    model.trainable_variables[0].assign([[1e-9], [-1e-9], [1e-9]])
    for _ in range(2):
        result = keras_smooth.fit_lbfgs(
            model,
            np.ones((2, 3)),
            objective=objective,
            epochs=50,
            verbose=0,
            jit_compile=False,
        ).result
    assert result.status != Status.ROUNDING
