"""Warnings about inputs, targets and terms of a size at which a network does not learn."""

import functools
import re
import warnings

import keras
import numpy as np
import pytest
from lbfgs_nets import problem

import keras_smooth

L = keras.layers
X = np.linspace(-2.0, 2.0, 50)[:, None]
Y = np.exp(-(X**2))
FLOAT64 = {"dtype": "float64"}


def net(width=1, *more, loss="mse"):
    hidden = keras_smooth.Dense(8, "tanh", kernel_initializer=initializer(1), **FLOAT64)
    last = L.Dense(width, kernel_initializer=initializer(2), **FLOAT64)
    model = keras.Sequential([keras.Input((1,), **FLOAT64), hidden, last, *more])
    model.compile(loss=loss)
    return model


def initializer(seed):
    return keras.initializers.GlorotUniform(seed=seed)


def rescaled(scale, offset=0.0):
    return net(1, L.Rescaling(np.float64(scale), np.float64(offset), **FLOAT64))


def two_named_outputs():
    x = keras.Input((1,), **FLOAT64)
    heads = {name: L.Dense(1, name=name, **FLOAT64) for name in "ab"}
    model = keras.Model(x, {name: head(x) for name, head in heads.items()})
    heads["b"].trainable = False
    model.compile(loss={"a": "mse"}, jit_compile=False)
    return model


def derivative_net(loss="mse"):
    model = keras_smooth.DerivativeModel(net())
    model.compile(loss=loss)
    return model


def squared(y_true, y_pred):
    return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)


def classifier():
    model = keras.Sequential([keras.Input((1,), **FLOAT64)])
    model.add(L.Dense(1000, "softmax", **FLOAT64))
    model.compile(loss="sparse_categorical_crossentropy")
    return model


def derivative_targets(scale):
    return {"y": scale * Y, "dy": -2.0 * X * Y, "d2y": 1e4 * (4.0 * X**2 - 2.0) * Y}


# Name: model, targets.
FAR_TARGETS = {
    "tiny": (net, 1e-6 * Y),
    "huge": (net, 1e3 * Y),
    "far off": (net, 1e3 + Y),
    "flat": (net, 1.0 + 1e-4 * Y),
    "rows alone": (net, 1e-6 * Y[:, 0]),
    "a loss object": (functools.partial(net, loss=keras.losses.Huber()), 1e-6 * Y),
    "a function of Keras": (
        functools.partial(net, loss=keras.losses.mean_absolute_error),
        1e-6 * Y,
    ),
    "one column of two": (functools.partial(net, 2), np.hstack([Y, 1e-6 * Y])),
    "a named output": (two_named_outputs, {"a": 1e4 * Y, "b": Y}),
    "beside derivatives": (derivative_net, derivative_targets(1e-6)),
}
NEAR_TARGETS = {
    "its own size": (net, Y),
    "a tenth": (net, 0.1 * Y),
    "tenfold": (net, 10.0 * Y),
    "zeros": (net, 0.0 * Y),
    "a constant": (net, 0.0 * Y + 5.0),
    "rescaled": (functools.partial(rescaled, 1e3), 1e3 * Y),
    "rescaled and moved": (functools.partial(rescaled, 1e-3, 40.0), 40.0 + 1e-3 * Y),
    "an unknown loss": (functools.partial(net, loss=squared), 1e-6 * Y),
    "classes": (classifier, 999 * (X > 0).astype(int)),
    "large derivatives": (derivative_net, derivative_targets(1.0)),
    "a named output": (two_named_outputs, {"a": Y, "b": 1e4 * Y}),
}


def warnings_of(model, y, x=X, message="targets have mean", **arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        problem(model, x, y, **arguments)
    return [text for w in caught if message in (text := str(w.message))]


@pytest.mark.parametrize("name", FAR_TARGETS)
def test_targets_far_from_outputs_warn_once(name):
    make, y = FAR_TARGETS[name]
    model = make()
    assert len(warnings_of(model, y)) == 1
    assert not warnings_of(model, y)


def test_warning_about_targets_describes_their_column():
    y = np.hstack([Y, 1e-6 * Y])
    (message,) = warnings_of(net(2), y)
    mean, deviation = y[:, 1].mean(), y[:, 1].std()
    assert f"mean {mean:.3g} and standard deviation {deviation:.3g}, the" in message
    assert "Fit keras_smooth.standardized(model, x, y)" in message


@pytest.mark.parametrize("name", NEAR_TARGETS)
def test_targets_near_outputs_do_not_warn(name):
    make, y = NEAR_TARGETS[name]
    assert not warnings_of(make(), y)


def test_float64_copy_warns_once_for_its_model():
    x = keras.Input((1,))
    model = keras.Model(x, L.Dense(1)(x))
    model.compile(loss="mse")
    assert len(warnings_of(model, 1e-6 * Y, dtype="float64")) == 1
    assert not warnings_of(model, 1e-6 * Y, dtype="float64")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The targets have mean")
@pytest.mark.parametrize("name", ["tiny", "huge", "far off"])
def test_standardized_model_fits_the_second_derivative(name):
    """Without scales the second derivative is wrong. As advised it is right."""
    y = FAR_TARGETS[name][1]
    exact = (4.0 * X**2 - 2.0) * Y * (y.max() - y.min()) / (Y.max() - Y.min())
    model = keras_smooth.standardized(net(), X, y)
    model.compile(loss="mse")
    assert not warnings_of(model, y)
    keras_smooth.fit_lbfgs(model, X, y, epochs=300, jit_compile=False, verbose=0)
    values = np.asarray(keras_smooth.derivatives(model, X)[2])
    assert np.sqrt(np.mean((values - exact) ** 2)) < 0.01 * np.abs(exact).max()
    keras_smooth.fit_lbfgs(plain := net(), X, y, epochs=300, jit_compile=False, verbose=0)
    values = np.asarray(keras_smooth.derivatives(plain, X)[2])
    assert np.sqrt(np.mean((values - exact) ** 2)) > 0.1 * np.abs(exact).max()


INPUT_WARNING = "What reaches the layer"


def nested_net():
    return keras.Sequential([keras.Input((1,), **FLOAT64), net()])


def net_of_two_inputs():
    a, b = (keras.Input((1,), name=name, **FLOAT64) for name in "ab")
    hidden = L.Dense(8, "tanh", kernel_initializer=initializer(1), **FLOAT64)
    y = L.Dense(1, kernel_initializer=initializer(2), **FLOAT64)(
        hidden(L.Concatenate()([a, b]))
    )
    return keras.Model({"a": a, "b": b}, y)


def subclassed():
    class Net(keras.Model):
        def __init__(self):
            super().__init__(**FLOAT64)
            self.inner = net()

        def call(self, x):
            return self.inner(x)

    model = Net()
    model(X)
    return model


def normalized(x):
    layer = L.Normalization(**FLOAT64)
    layer.adapt(x)
    return keras.Sequential([keras.Input((1,), **FLOAT64), layer, net()])


def linear_net():
    return keras.Sequential([keras.Input((1,), **FLOAT64), L.Dense(1, **FLOAT64)])


def uncompiled_derivative_net():
    return keras_smooth.DerivativeModel(net())


def net_with_small_kernel():
    model = net()
    model.layers[0].kernel.assign(0.01 * model.layers[0].kernel)
    return model


WIDE, SHIFTED = 200.0 * X, 300.0 + X
# Name: model, inputs.
FAR_INPUTS = {
    "wide": (net, WIDE),
    "far off": (net, SHIFTED),
    "a model in a model": (nested_net, WIDE),
    "one of two": (net_of_two_inputs, {"a": X, "b": SHIFTED}),
    "subclassed": (subclassed, WIDE),
    "with derivatives": (uncompiled_derivative_net, WIDE),
}
NEAR_INPUTS = {
    "their own size": (net, X),
    "tenfold": (net, 10.0 * X),
    "normalized": (functools.partial(normalized, SHIFTED), SHIFTED),
    "standardized": (lambda: keras_smooth.standardized(net(), WIDE), WIDE),
    "a straight layer": (linear_net, WIDE),
    "weights that suit them": (net_with_small_kernel, WIDE),
    "two": (net_of_two_inputs, {"a": X, "b": X}),
}


@pytest.mark.parametrize("name", FAR_INPUTS)
def test_inputs_that_saturate_the_first_activation_warn_once(name):
    make, x = FAR_INPUTS[name]
    model = make()
    model.compile(loss="mse")
    y = derivative_targets(1.0) if make is uncompiled_derivative_net else Y
    assert len(warnings_of(model, y, x, INPUT_WARNING)) == 1
    assert not warnings_of(model, y, x, INPUT_WARNING)


def test_warning_about_inputs_describes_their_columns():
    """One column has a large mean and one a large deviation; the layer is called by keyword."""

    class Net(keras.Model):
        def __init__(self):
            super().__init__(**FLOAT64)
            self.inner = L.Dense(3, "tanh", **FLOAT64)
            self.last = L.Dense(1, **FLOAT64)

        def call(self, x):
            return self.last(self.inner(inputs=x))

    x = np.column_stack([np.full(4, 300.0), [-100.0, 100.0, -100.0, 100.0]])
    model = Net()
    model(x)
    kernel = np.array([[0.1, 0.2, 0.0], [0.0, 0.0, 0.01]])
    model.inner.kernel.assign(kernel)
    model.compile(loss="mse")
    (message,) = warnings_of(model, np.ones((4, 1)), x, INPUT_WARNING)
    # The arguments of the three units are 30, 60 and 1 in size, with the median 30.
    expected = "means up to 300 and standard deviations up to 100, .* arguments of 30 "
    assert re.search(expected, message)


@pytest.mark.parametrize("name", NEAR_INPUTS)
def test_inputs_that_do_not_saturate_do_not_warn(name):
    make, x = NEAR_INPUTS[name]
    model = make()
    model.compile(loss="mse")
    assert not warnings_of(model, Y, x, INPUT_WARNING)


def test_standardized_model_is_not_advised_to_standardize():
    """The Rescaling layers of the model were made for other data."""
    for y, x, message in [(Y, WIDE, INPUT_WARNING), (1e6 * Y, X, "targets have mean")]:
        model = keras_smooth.standardized(net(), X, Y)
        model.compile(loss="mse")
        (warning,) = warnings_of(model, y, x, message)
        assert "for other data" in warning and "standardized(model" not in warning


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:What reaches the layer")
@pytest.mark.parametrize("name", ["wide", "far off"])
def test_normalized_inputs_fit_the_second_derivative(name):
    """With a Normalization the second derivative is right. Without, it is far worse."""
    x = FAR_INPUTS[name][1]
    unit = (x.max() - x.min()) / (X.max() - X.min())
    exact = (4.0 * X**2 - 2.0) * Y / unit**2
    errors = []
    for model in (normalized(x), net()):
        model.compile(loss="mse")
        keras_smooth.fit_lbfgs(model, x, Y, epochs=300, jit_compile=False, verbose=0)
        values = np.asarray(keras_smooth.derivatives(model, x)[2])
        errors.append(np.sqrt(np.mean((values - exact) ** 2)) / np.abs(exact).max())
    assert errors[0] < 0.01 and errors[1] > 5 * errors[0]


def objective_of_sizes(**sizes):
    """Returns an objective whose terms have given sizes at the start."""

    def objective(model, x):
        return {
            name: size * keras.ops.mean((model(x) - 2.0) ** 2) / 4.0
            for name, size in sizes.items()
        }

    return objective


# Name: terms at the start, where the model is small, loss_weights, words of the warning or None.
TERMS = {
    "a stiff equation": ({"equation": 1e9, "start": 1.0}, {}, "'equation'.* 1e\\+09 times"),
    "one of three": ({"a": 1.0, "b": 3e5, "c": 10.0}, {}, "'b'.* 3e\\+04 times.*'c'"),
    "negative": ({"a": 1.0, "energy": -1e6}, {"energy": 1.0}, "'energy'"),
    "by weights": ({"a": 1.0, "b": 1.0}, {"a": 1e6}, r"'a'.*loss_weights={'a': 1e-06}"),
    "weights help": ({"equation": 1e9, "start": 1.0}, {"equation": 1e-9}, None),
    "near": ({"equation": 5e3, "start": 1.0}, {}, None),
    "met by the start": ({"equation": 1.0, "start": 0.0}, {}, None),
    "one": ({"equation": 1e9}, {}, None),
}


@pytest.mark.parametrize("name", TERMS)
def test_term_much_larger_than_the_others_warns_once(name):
    sizes, weights, message = TERMS[name]
    # The sum has no lower bound, so that it is not minimized here.
    model, objective = net(), objective_of_sizes(**sizes)
    messages = warnings_of(
        model, None, message="The term", objective=objective, loss_weights=weights
    )
    assert len(messages) == (message is not None)
    if message:
        assert re.search(message, messages[0])
        assert not warnings_of(model, None, message="The term", objective=objective)


def test_scalar_objective_does_not_warn_about_terms():
    objective = objective_of_sizes(a=1e9)
    messages = warnings_of(
        net(), None, message="The term", objective=lambda m, x: objective(m, x)["a"]
    )
    assert not messages
