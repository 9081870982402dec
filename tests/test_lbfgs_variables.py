"""Variables of a fit: unknowns besides the weights, other models, variables without gradients."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from lbfgs_nets import X, Y, dense, fit, net

import keras_smooth

ops = keras.ops
FLOAT64 = {"dtype": "float64"}
POINTS = np.linspace(0.0, 1.0, 20)[:, None]
UNTRAINED = "trainable variables that are not trained: "
WITHOUT_GRADIENT = "so that they keep their values: "


def uncompiled_net(seed=1, name=None):
    layers = [dense(4, "tanh", seed, **FLOAT64), dense(1, None, seed + 1, **FLOAT64)]
    return keras.Sequential([keras.Input((1,), **FLOAT64), *layers], name=name)


def solve(objective, model=None, **arguments):
    return fit(model or uncompiled_net(), POINTS, None, objective=objective, **arguments)


def warnings_of(message, objective, **arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solve(objective, **arguments)
    return [text for w in caught if message in (text := str(w.message))]


def growth(rate, offsets):
    """Returns the objective of u' = rate u with data exp(x / 2), an inverse problem."""

    def objective(model, x):
        u, du = keras_smooth.derivatives(model, x, 1)
        first, second = offsets[0], offsets[1]
        residual = du[:, 0] - rate * u + first + 2.0 * second
        return ops.mean(residual**2) + ops.mean((u - ops.exp(0.5 * x)) ** 2)

    return objective


# With so few weights, "lbfgs" has the memory of "broyden".
@pytest.mark.parametrize(
    ("method", "jit_compile"),
    [("lbfgs", False), ("bfgs", False), pytest.param("bfgs", True, marks=pytest.mark.slow)],
)
def test_tf_variable_is_trained_like_a_keras_variable(method, jit_compile):
    results = []
    for kind in (keras.Variable, tf.Variable):
        unknowns = kind(1.0, dtype="float64"), kind(np.zeros(2), dtype="float64")
        history = solve(
            growth(*unknowns), variables=list(unknowns), epochs=20, method=method,
            jit_compile=jit_compile,
        )  # fmt: skip
        results.append([history.result.fun, *map(np.asarray, unknowns)])
    for of_keras, of_tensorflow in zip(*results):
        np.testing.assert_array_equal(of_keras, of_tensorflow)
    assert np.all(results[0][1] != 1.0) and np.all(results[0][2] != 0.0)


def test_tf_variable_converges_to_the_solution():
    """The least-squares solution of k x + r = 2 x + 1 / 4 is k = 2 and r = 1 / 4."""
    rate = tf.Variable(1.0, dtype="float64")
    linear_net = keras.Sequential([keras.Input((1,), **FLOAT64)])
    linear_net.add(keras.layers.Dense(1, use_bias=False, **FLOAT64))

    def objective(model, x):
        return ops.mean((model(x) + rate - 2.0 * x - 0.25) ** 2)

    solve(objective, linear_net, variables=[rate], epochs=30)
    # The gradient is below 1e-10, and the curvature about 1.
    solution = [float(rate), float(linear_net.layers[0].kernel[0, 0])]
    np.testing.assert_allclose(solution, [0.25, 2.0], atol=1e-8)


def test_run_with_tf_variables_resumes_from_a_checkpoint(tmp_path):
    def run(*epochs):
        rate = tf.Variable(1.0, dtype="float64")
        offsets = tf.Variable(np.zeros(2), dtype="float64")
        model = uncompiled_net()
        for number in epochs:
            history = solve(
                growth(rate, offsets), model, variables=[rate, offsets], epochs=number,
                checkpoint=tmp_path / str(epochs), steps_per_execution=5,
            )  # fmt: skip
        return [history.result.fun, float(rate), *np.asarray(offsets)]

    assert run(10, 20) == run(20)


class Unknown:
    rate = tf.Variable(1.0, dtype="float64", name="rate_of_an_object")


OTHER_MODEL = uncompiled_net(3, name="another_model")
KERAS_VARIABLE = keras.Variable(1.0, dtype="float64", name="rate_of_keras")


def reads_a_model(model, x):
    return ops.mean((model(x) - OTHER_MODEL(x)) ** 2)


def reads_derivatives(model, x):
    return ops.mean((model(x) - keras_smooth.derivatives(OTHER_MODEL, x, 1)[1]) ** 2)


def reads_an_attribute(model, x):
    return ops.mean((model(x) - Unknown.rate) ** 2)


def reads_a_global(model, x):
    return ops.mean((model(x) - KERAS_VARIABLE) ** 2)


def reads_in_a_function(model, x):
    return ops.mean((model(x) - tf.function(lambda: Unknown.rate * 2.0)()) ** 2)


# Name: objective, names of the variables that are not trained.
UNTRAINED_VARIABLES = {
    "weights of another model": (
        reads_a_model,
        "another_model/.*kernel.*another_model/.*bias",
    ),
    "derivatives of another model": (
        reads_derivatives,
        "another_model/.*kernel.*another_model/.*kernel",
    ),
    "a variable of TensorFlow": (reads_an_attribute, "rate_of_an_object"),
    "a variable of Keras": (reads_a_global, "rate_of_keras"),
    "in a function of TensorFlow": (reads_in_a_function, "rate_of_an_object"),
}


@pytest.mark.parametrize("name", UNTRAINED_VARIABLES)
def test_untrained_variables_of_an_objective_warn_once(name):
    objective, names = UNTRAINED_VARIABLES[name]
    model = uncompiled_net()
    with pytest.warns(UserWarning, match=UNTRAINED + names):
        solve(objective, model)
    assert not warnings_of(UNTRAINED, objective, model=model)


def test_objective_that_calls_the_model_instead_of_its_copy_warns():
    model = keras.Sequential([keras.Input((1,)), dense(3, "tanh"), dense(1, seed=2)])

    def objective(copy, x):
        return ops.mean((copy(x) - ops.cast(model(ops.cast(x, "float32")), "float64")) ** 2)

    with pytest.warns(UserWarning, match=UNTRAINED + ".*may be a copy"):
        solve(objective, model, dtype="float64")


def test_frozen_and_trained_variables_do_not_warn():
    frozen_model = uncompiled_net(3)
    frozen_model.trainable = False
    frozen_tf_variable = tf.Variable(1.0, dtype="float64", trainable=False)
    frozen_keras_variable = keras.Variable(1.0, dtype="float64", trainable=False)
    trained_variable = tf.Variable(1.0, dtype="float64")
    trained_model = uncompiled_net(5)

    def objective(model, x):
        u = model(x) - trained_model(x) - trained_variable
        return ops.mean(
            (u - frozen_model(x) - frozen_tf_variable * frozen_keras_variable) ** 2
        )

    variables = [trained_variable, *trained_model.trainable_variables]
    assert not warnings_of(UNTRAINED, objective, variables=variables)
    assert not warnings_of(
        UNTRAINED, lambda model, x: ops.mean(keras_smooth.laplacian(model, x) ** 2)
    )


def test_compiled_loss_does_not_warn_of_untrained_variables():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(net(keras.layers.BatchNormalization(**FLOAT64), metrics=["mae"]))
    assert not [w for w in caught if UNTRAINED in str(w.message)]


@pytest.mark.parametrize("is_traced", [True, False])
@pytest.mark.parametrize("is_compiled", [True, False])
def test_tf_function_that_holds_weights_raises(is_compiled, is_traced):
    """A tf.function keeps the weights of its first trace, which may be before or in the fit."""
    residual = tf.function(lambda model, x: keras_smooth.laplacian(model, x) + model(x))

    class WithResidual(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, *others, **options):
            return ops.mean(residual(self, x) ** 2 + y_pred)

    model = WithResidual(uncompiled_net().layers) if is_compiled else uncompiled_net()
    model.build((None, 1))
    if is_traced:
        residual(model, tf.constant(POINTS))
    weights = model.weights[0].path if is_traced else "of that time"

    def objective(net, x):
        return ops.mean(residual(net, x) ** 2 + net(x))

    if is_compiled:
        model.compile()
    # A second fit raises it, too.
    for _ in range(2):
        with pytest.raises(
            ValueError, match=f"calls a tf.function .* the weights {weights}"
        ):
            fit(model, POINTS, POINTS) if is_compiled else solve(objective, model)


WRONG_VARIABLES = {
    "a weight of the model": (lambda model: model.trainable_variables[:1], "trained anyway"),
    "float32": (lambda model: [tf.Variable(1.0)], "float32, but the fit computes in float64"),
    "frozen": (
        lambda model: [tf.Variable(np.ones(1), trainable=False)], "is not trainable",
    ),
    "twice": (lambda model: 2 * [Unknown.rate], "is in `variables` twice"),
    "not finite": (lambda model: [tf.Variable(np.array([np.nan]))], "must be finite"),
    "constrained": (
        lambda model: [tf.Variable(np.ones(1), constraint=tf.abs)], "has the constraint",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_VARIABLES)
def test_wrong_variables_raise(name):
    make, message = WRONG_VARIABLES[name]
    model = uncompiled_net()
    with pytest.raises(ValueError, match=message):
        solve(reads_an_attribute, model, variables=make(model))


def loss_of_gradient(model, x):
    """An objective of derivatives alone, in which the last bias has no gradient."""
    return ops.mean((keras_smooth.gradient(model, x)[:, 0] - ops.cos(x)) ** 2)


def loss_of_laplacian(model, x):
    return ops.mean((keras_smooth.laplacian(model, x) + ops.sin(x)) ** 2)


@pytest.mark.parametrize("objective", [loss_of_gradient, loss_of_laplacian])
def test_weight_without_a_gradient_keeps_its_value_and_warns_once(objective):
    model = uncompiled_net()
    bias = model.layers[-1].bias
    bias.assign([0.7])
    with pytest.warns(
        UserWarning, match=f"{WITHOUT_GRADIENT}.*{bias.path}.*use_bias=False"
    ):
        losses = solve(objective, model, epochs=20).history["loss"]
    assert losses[-1] < losses[0] and float(bias[0]) == 0.7
    assert not warnings_of(WITHOUT_GRADIENT, objective, model=model)


@pytest.mark.filterwarnings("ignore:The loss does not depend on these trainable weights")
def test_weight_without_a_gradient_does_not_change_the_steps():
    with_bias, without_bias = uncompiled_net(), uncompiled_net()
    without_bias.layers[-1].bias.trainable = False
    losses = [
        solve(loss_of_laplacian, model, epochs=10).history["loss"]
        for model in (with_bias, without_bias)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The loss does not depend on these trainable weights")
@pytest.mark.parametrize("method", ["bfgs", "tfp_lbfgs"])
def test_weight_without_a_gradient_keeps_its_value_in_other_methods(method):
    if method.startswith("tfp"):
        pytest.importorskip("tf_keras")
    model = uncompiled_net()
    model.layers[-1].bias.assign([0.7])
    solve(loss_of_laplacian, model, epochs=10, method=method)
    assert float(model.layers[-1].bias[0]) == 0.7


class KernelLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.sum(self.layers[-1].kernel ** 2)


def test_weight_without_a_gradient_in_compute_loss_keeps_its_value():
    x = keras.Input((2,), **FLOAT64)
    head = dense(1, **FLOAT64)
    model = KernelLoss(x, head(dense(3, "tanh", 1, **FLOAT64)(x)))
    model.compile(jit_compile=False)
    hidden_weights = model.layers[1].get_weights()
    with pytest.warns(UserWarning, match=f"{WITHOUT_GRADIENT}.*dense.*bias"):
        fit(model, X, Y, epochs=20)
    np.testing.assert_allclose(np.asarray(head.kernel), 0.0, atol=1e-9)
    assert all(map(np.array_equal, hidden_weights, model.layers[1].get_weights()))


def test_objective_that_depends_on_no_weight_raises():
    with pytest.raises(ValueError, match="does not depend on the trainable weights"):
        solve(lambda model, x: ops.mean(x))
