"""`fit_lbfgs` for all kinds of models: graphs with operations, nested models, subclasses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from lbfgs_nets import X, Y, dense, fit, loss_at_start

import keras_smooth

L = keras.layers
FLOAT64 = {"dtype": "float64"}


def input_tensor(name=None):
    return keras.Input((2,), name=name, **FLOAT64)


def hidden(seed=1, units=3):
    return dense(units, "tanh", seed, **FLOAT64)


def head(seed=2):
    return dense(1, None, seed, **FLOAT64)


def scaled_and_shifted():
    x = input_tensor()
    return keras.Model(x, head()(hidden()(2.0 * x - 1.0)))


def with_its_input_added():
    x = input_tensor()
    return keras.Model(x, head()(hidden()(x)) + x[:, :1])


def keras_operation():
    x = input_tensor()
    return keras.Model(x, head()(keras.ops.sin(hidden()(x))))


def operation_on_the_input():
    x = input_tensor()
    return keras.Model(x, head()(hidden()(keras.ops.exp(-x))))


def concatenated():
    x = input_tensor()
    return keras.Model(x, head()(keras.ops.concatenate([hidden()(x), x**2], axis=-1)))


def slices():
    x = input_tensor()
    return keras.Model(x, head()(hidden()(x[:, :1])) * x[:, 1:])


def residual_sum():
    x = input_tensor()
    h = hidden()(x)
    return keras.Model(x, head()(h + hidden(3)(h)))


def einsum():
    x = input_tensor()
    y = keras.ops.einsum("bi,bi->b", hidden()(x), hidden(3)(x))
    return keras.Model(x, keras.ops.expand_dims(y, -1))


def shared_layer():
    x, layer = input_tensor(), hidden(1, 2)
    return keras.Model(x, head()(layer(layer(x) * 2.0)))


def model_in_a_model():
    x = input_tensor()
    return keras.Model(x, with_its_input_added()(0.5 * x) ** 2)


def model_in_a_sequential():
    return keras.Sequential([input_tensor(), with_its_input_added(), head(4)])


def lambda_and_sum():
    x = input_tensor()
    return keras.Model(x, head()(L.Lambda(tf.sin, **FLOAT64)(x)) + 1.0)


class Subclass(keras.Model):
    def __init__(self):
        super().__init__(**FLOAT64)
        self.first, self.inner = hidden(), with_its_input_added()

    def call(self, x):
        return keras.ops.sum(self.first(2.0 * x), axis=-1, keepdims=True) + self.inner(x)


def subclass():
    model = Subclass()
    model(X)
    return model


class FunctionalSubclass(keras.Model):
    pass


def functional_subclass():
    x = input_tensor()
    return FunctionalSubclass(x, head()(hidden()(x / 2.0)))


ONE_OUTPUT = [
    scaled_and_shifted, with_its_input_added, keras_operation, operation_on_the_input,
    concatenated, slices, residual_sum, einsum, shared_layer, model_in_a_model,
    model_in_a_sequential, lambda_and_sum, subclass, functional_subclass,
]  # fmt: skip


def mean_square(outputs, targets):
    pairs = zip(keras.tree.flatten(outputs), keras.tree.flatten(targets))
    return sum(np.mean((np.asarray(output) - target) ** 2) for output, target in pairs)


def check_fit(model, x, y):
    start = mean_square(model(x), y)
    history = fit(model, x, y, epochs=3)
    end = mean_square(model(x), y)
    # The sums have another order.
    np.testing.assert_allclose(history.history["loss"][-1], end, rtol=1e-12)
    assert end < start


@pytest.mark.parametrize("make", ONE_OUTPUT)
def test_loss_and_gradient_equal_those_of_a_tape(make):
    model = make()
    model.compile(loss="mse", jit_compile=False)
    value, gradient = loss_at_start(model)
    with tf.GradientTape() as tape:
        expected = tf.reduce_mean((model(X) - Y) ** 2)
    parts = tape.gradient(expected, [v.value for v in model.trainable_variables])
    # The sums have another order.
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    expected = np.concatenate([np.ravel(part) for part in parts])
    np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("make", [concatenated, subclass])
def test_fit_reduces_a_compiled_loss(make):
    model = make()
    model.compile(loss="mse", jit_compile=False)
    check_fit(model, X, Y)


def product_of_two(names=(None, None)):
    a, b = map(input_tensor, names)
    h = hidden()(a) * hidden(3)(b)
    return [a, b], [head()(h), keras.ops.exp(head(4)(h))]


def test_fit_of_lists_of_inputs_and_outputs_reduces_the_loss():
    model = keras.Model(*product_of_two())
    model.compile(loss=["mse", "mse"], jit_compile=False)
    check_fit(model, [X, 2.0 * X], [Y, Y**2])


def test_fit_of_dicts_of_inputs_and_outputs_reduces_the_loss():
    inputs, outputs = product_of_two("ab")
    model = keras.Model(dict(zip("ab", inputs)), dict(zip("pq", outputs)))
    model.compile(loss={"p": "mse", "q": "mse"}, jit_compile=False)
    check_fit(model, {"a": X, "b": 2.0 * X}, {"p": Y, "q": Y**2})


def two_outputs(as_dicts):
    x = input_tensor()
    h = hidden()(x)
    outputs = [
        dense(1, None, seed, name=name, **FLOAT64)(h) for seed, name in enumerate("pq")
    ]
    return keras.Model(x, dict(zip("pq", outputs)) if as_dicts else outputs)


# Name: whether outputs are in a dict, losses, targets, the output without a loss.
SOME_LOSSES = {
    "a dict of one, targets of both": (True, {"p": "mse"}, {"p": Y, "q": Y}, "q"),
    "a dict of one, its targets": (True, {"p": "mse"}, {"p": Y}, "q"),
    "a dict with None": (True, {"p": None, "q": "mse"}, {"q": Y}, "p"),
    "a list with None": (False, ["mse", None], [Y, Y], "q"),
    "a list with None, its targets": (False, ["mse", None], [Y], "q"),
    "None first": (False, [None, "mse"], [Y, Y], "p"),
    "a list of one": (False, ["mse"], [Y], "q"),
    "a list of one, targets of both": (False, ["mse"], [Y, Y], "q"),
}


@pytest.mark.parametrize("name", SOME_LOSSES)
def test_output_without_a_loss_keeps_its_weights(name):
    as_dicts, loss, y, other = SOME_LOSSES[name]
    model = two_outputs(as_dicts)
    model.compile(loss=loss, jit_compile=False)
    head = model.get_layer(other)
    weights = head.get_weights()
    with pytest.warns(
        UserWarning, match=f"keep their values: {other}/kernel, {other}/bias"
    ):
        history = fit(model, X, y, epochs=3)
    evaluated = model.evaluate(X, y, batch_size=20, verbose=0)
    evaluated = evaluated[0] if isinstance(evaluated, list) else evaluated
    # Keras' own evaluate sums in float32.
    np.testing.assert_allclose(history.history["loss"][-1], evaluated, rtol=1e-5)
    assert all(map(np.array_equal, head.get_weights(), weights))


def test_negative_loss_weights_warn():
    model = two_outputs(True)
    losses = {"p": "mse", "q": "mse"}
    model.compile(loss=losses, loss_weights={"p": 1.0, "q": -0.1}, jit_compile=False)
    with pytest.warns(UserWarning, match="`loss_weights` of -0.1: .*without end"):
        fit(model, X, {"p": Y, "q": Y}, epochs=2)


@pytest.mark.slow
def test_derivative_model_of_a_functional_model_is_fitted():
    x = keras.Input((1,), **FLOAT64)
    net = keras.Model(x, head()(hidden()(2.0 * x)) + x)
    model = keras_smooth.DerivativeModel(net)
    model.compile(loss="mse", jit_compile=False)
    points = X[:, :1]
    y = {"d2y": -np.sin(points), "dy": np.cos(points), "y": np.sin(points)}
    start = model.evaluate(points, y, verbose=0)
    # Keras' own evaluate sums in float32.
    history = fit(model, points, y, epochs=3)
    end = model.evaluate(points, y, verbose=0)
    end = end[0] if isinstance(end, list) else end
    np.testing.assert_allclose(history.history["loss"][-1], end, rtol=1e-5)
    assert end < (start[0] if isinstance(start, list) else start)


def test_functional_model_is_fitted_in_float64():
    x = keras.Input((2,))
    model = keras.Model(x, dense(1, None, 2)(dense(3, "tanh", 1)(2.0 * x)) + x[:, 1:])
    model.compile(loss="mse", jit_compile=False)
    start = mean_square(model(X), Y)
    fit(model, epochs=3, dtype="float64")
    assert mean_square(model(X), Y) < start


class Pair(L.Layer):
    """A layer of layers, which is no model."""

    def __init__(self, dtype="float64"):
        super().__init__(dtype=dtype)
        self.first, self.last = (
            dense(3, "tanh", 1, dtype=dtype),
            dense(1, None, 2, dtype=dtype),
        )

    def call(self, x):
        return self.last(self.first(x))

    def get_config(self):
        return {"dtype": self.dtype_policy.name}


def poisson(model, x):
    return {"equation": keras.ops.mean((keras_smooth.laplacian(model, x) + 1.0) ** 2)}


def mean_of_outputs(model, x):
    return keras.ops.mean((model(keras.ops.expand_dims(x, -1)) - 1.0) ** 2)


# Name: layer, objective, arguments.
LAYERS = {
    "a layer of layers": (Pair, poisson, {}),
    "a dense layer": (lambda: dense(1, "tanh", **FLOAT64), poisson, {}),
    "a recurrent layer": (lambda: L.LSTM(2, **FLOAT64), mean_of_outputs, {}),
    "in float64": (lambda: Pair("float32"), poisson, {"dtype": "float64"}),
}


# The second derivative does not depend on the last bias.
IGNORE_UNUSED_BIAS = pytest.mark.filterwarnings(
    "ignore:The loss does not depend on these trainable weights"
)


@IGNORE_UNUSED_BIAS
@pytest.mark.parametrize("name", LAYERS)
def test_layer_is_fitted_with_an_objective(name, tmp_path):
    make, objective, arguments = LAYERS[name]
    layer = make()
    inputs = X[:, :, None] if objective is mean_of_outputs else X
    layer(inputs.astype(layer.compute_dtype))
    arguments |= {"objective": objective, "epochs": 4, "checkpoint": tmp_path}
    history = fit(layer, X, None, callbacks=[keras.callbacks.TerminateOnNaN()], **arguments)
    losses = history.history["loss"]
    assert losses[-1] < losses[0] and layer.history is history
    points = tf.constant(X, layer.compute_dtype)
    loss = sum(keras.tree.flatten(objective(layer, points)))
    # In float32 the weights of the copy are rounded.
    rtol = 1e-4 if layer.compute_dtype == "float32" else 1e-12
    np.testing.assert_allclose(losses[-1], float(loss), rtol=rtol)


@IGNORE_UNUSED_BIAS
def test_layer_has_the_steps_of_a_model_with_that_layer():
    layer, other = Pair(), Pair()
    layer(X), other(X)
    model = keras.Sequential([input_tensor(), other])
    losses = [
        fit(m, X, None, objective=poisson, epochs=4).history["loss"] for m in (layer, model)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-9)


WRONG_ARGUMENTS = {
    "not built": (Pair, {"objective": poisson}, ValueError, "has no weights yet"),
    "without an objective": (Pair, {}, TypeError, "is a layer, Pair, .* Pass `objective`"),
    "a function": (
        lambda: poisson,
        {"objective": poisson},
        TypeError,
        "a keras.layers.Layer",
    ),
    "a class": (lambda: Pair, {"objective": poisson}, TypeError, "a keras.layers.Layer"),
    "an operation": (lambda: keras.ops.sin, {"objective": poisson}, TypeError, "Layer"),
}


@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_unbuilt_layers_and_other_objects_raise(name):
    make, arguments, error, message = WRONG_ARGUMENTS[name]
    with pytest.raises(error, match=message):
        fit(make(), X, None, **arguments)
