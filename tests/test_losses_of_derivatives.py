"""Gradients of losses of derivatives, where TensorFlow's own gradients are wrong or lost."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth

FLOAT64 = {"dtype": "float64"}
L = keras.layers


class Recomputed(L.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = L.Dense(3, "tanh", dtype=self.dtype_policy)

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return tf.recompute_grad(self.inner)(x)


# Layers that tapes have right at order 1, and wrong or lost at order 2.
LAYERS = {
    "a mean that is held": lambda: L.LayerNormalization(epsilon=0.1, **FLOAT64),
    "groups": lambda: L.GroupNormalization(1, epsilon=0.1, **FLOAT64),
    "no second gradient": lambda: L.Activation("softsign", **FLOAT64),
    "computed again": lambda: Recomputed(**FLOAT64),
}


def _model(layer, dim=2):
    return keras.Sequential(
        [L.Input((dim,), **FLOAT64), L.Dense(3, "tanh", **FLOAT64), layer,
         L.Dense(1, **FLOAT64)]
    )  # fmt: skip


def _loss(model, x):
    return tf.reduce_mean((keras_smooth.gradient(model, x) - 0.5) ** 2)


def _by_differences(model, x, direction, step=1e-4):
    weights = model.trainable_variables
    start = [np.asarray(w) for w in weights]

    def at(size):
        for weight, value, v in zip(weights, start, direction):
            weight.assign(value + size * v)
        return float(_loss(model, x))

    slope = (at(step) - at(-step)) / (2 * step)
    at(0.0)
    return slope


@pytest.mark.parametrize("name", LAYERS)
def test_gradient_of_a_loss_of_derivatives_agrees_with_differences(name, rng):
    model, x = _model(LAYERS[name]()), rng.normal(size=(4, 2))
    weights = model.trainable_variables
    direction = [rng.normal(size=w.shape) for w in weights]
    with tf.GradientTape() as tape:
        loss = _loss(model, x)
    gradients = tape.gradient(loss, weights)
    pairs = zip(gradients, direction)
    slope = sum(float(tf.reduce_sum(g * v)) for g, v in pairs if g is not None)
    # The error of the differences is the square of their step.
    assert slope == pytest.approx(_by_differences(model, x, direction), rel=1e-5)


LARGE = 40  # inputs of a sample, more than `auto` uses jets for here


@pytest.mark.parametrize("caller", ["tape", "fit_lbfgs", "fit"])
def test_wrong_gradient_of_a_loss_by_tapes_raises(caller, rng):
    model, x = _model(LAYERS["a mean that is held"](), LARGE), rng.normal(size=(3, LARGE))
    assert np.all(np.isfinite(keras_smooth.gradient(model, x)))
    with pytest.raises((LookupError, ValueError), match="StopGradient.*engine='jet'"):
        if caller == "tape":
            with tf.GradientTape() as tape:
                loss = _loss(model, x)
            tape.gradient(loss, model.trainable_variables)
        elif caller == "fit_lbfgs":
            keras_smooth.fit_lbfgs(model, x, objective=_loss, verbose=0, jit_compile=False)
        else:
            trained = keras_smooth.DerivativeModel(model, order=1)
            trained.compile("sgd", {"dy": "mse"}, jit_compile=False)
            trained.fit(x, {"dy": np.zeros_like(x)}, verbose=0)


def test_engine_tape_warns_where_its_derivatives_are_wrong(rng):
    x = rng.normal(size=(3, 2))
    model = _model(LAYERS["a mean that is held"]())
    keras_smooth.derivatives(model, x, 1, engine="tape")  # right, and without a warning
    message_start = "order 2 are .* wrong at StopGradient.*, and "
    message_of_derivatives, message_of_losses = (
        message_start + "engine='tape' returns them",
        message_start + "so are gradients of a loss",
    )
    with pytest.warns(UserWarning, match=message_of_derivatives) as warned:
        keras_smooth.hessian(model, x, engine="tape")
        keras_smooth.hessian(model, x, engine="tape")
    assert len(warned) == 1
    # In a graph the first derivatives are right, but gradients of a loss of them are not.
    for operator, message in (
        (keras_smooth.gradient, message_of_losses),
        (keras_smooth.hessian, message_of_derivatives),
    ):
        in_a_graph = _model(LAYERS["a mean that is held"]())
        with pytest.warns(UserWarning, match=message):
            tf.function(lambda x: operator(in_a_graph, x, engine="tape"))(x)  # noqa: B023


RIGHT = {
    "silu": lambda: L.Activation("silu", **FLOAT64),
    "logsumexp": lambda: L.Lambda(
        lambda x: tf.reduce_logsumexp(x, -1, keepdims=True), **FLOAT64
    ),
    "logsumexp of all": lambda: L.Lambda(
        lambda x: x * tf.reduce_logsumexp(x, -1)[:, None], **FLOAT64
    ),
    "log_softmax": lambda: L.Activation("log_softmax", **FLOAT64),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", RIGHT)
def test_right_derivatives_by_tapes_do_not_warn(name, rng):
    model, x = _model(RIGHT[name]()), rng.normal(size=(3, 2))
    tapes, jets = (
        keras_smooth.derivatives(model, x, 3, engine=engine) for engine in ("tape", "jet")
    )
    for tape_entry, jet_entry in zip(tapes, jets):
        np.testing.assert_allclose(tape_entry, jet_entry, rtol=1e-9, atol=1e-12)


def test_stopped_maximum_outside_of_logsumexp_warns(rng):
    model = _model(L.Lambda(lambda x: x / tf.stop_gradient(
        tf.reduce_max(x, -1, keepdims=True)), **FLOAT64))  # fmt: skip
    with pytest.warns(UserWarning, match="StopGradient"):
        keras_smooth.hessian(model, rng.normal(size=(3, 2)), engine="tape")


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "tf.function"])
@pytest.mark.parametrize("engine", ["auto", "tape", "jet"])
def test_stopped_gradient_of_a_weight_is_zero_for_every_engine(engine, compiled):
    x, held, trained = (
        tf.constant([[0.5], [2.0]], "float64"),
        tf.Variable(3.0),
        tf.Variable(2.0),
    )

    def model(x):
        held_weight = tf.stop_gradient(tf.cast(held, x.dtype))
        return held_weight * tf.cast(trained, x.dtype) * x**3

    def gradients():
        with tf.GradientTape() as tape:
            d2y = keras_smooth.derivatives(model, x, 2, engine=engine)[2]
            loss = tf.reduce_sum(d2y)
        return tape.gradient(loss, [held, trained], unconnected_gradients="zero")

    by_held, by_trained = (tf.function(gradients) if compiled else gradients)()
    # The sum of 6 x is 15.
    assert float(by_held) == 0.0 and float(by_trained) == pytest.approx(45.0, rel=1e-6)
