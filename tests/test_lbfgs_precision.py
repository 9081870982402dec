"""Precision of `fit_lbfgs`: float32 models in float64, half precision, losses that round."""

import warnings

import keras
import numpy as np
import pytest
from lbfgs_nets import X, Y, dense, fit, net

from keras_smooth.lbfgs import Status


def dtypes_of(model):
    return {variable.dtype for variable in model.variables}


class Net(keras.Model):
    """A model without `get_config`."""

    def __init__(self, width):
        super().__init__()
        self.width = width
        self.hidden = dense(width, "tanh", 1, dtype=self.dtype_policy)
        self.head = dense(1, seed=2, dtype=self.dtype_policy)

    def call(self, x):
        return self.head(self.hidden(x))


class OwnLoss(Net):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean((y - y_pred) ** 2) + 1e-3 * keras.ops.mean(y_pred**2)


@keras.saving.register_keras_serializable("test_lbfgs_precision")
class Configured(OwnLoss):
    def __init__(self, width, **arguments):
        keras.Model.__init__(self, **arguments)
        self.width = width
        self.hidden = dense(width, "tanh", 1, dtype=self.dtype_policy)
        self.head = dense(1, seed=2, dtype=self.dtype_policy)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


class PlusPenalty(Configured):
    """A model that adds a penalty to the compiled loss, as in the guide of Keras."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = keras.Model.compute_loss(self, x, y, y_pred, sample_weight, training)
        return loss + 1e-3 * keras.ops.cast(keras.ops.mean(y_pred**2), loss.dtype)


def built(kind, loss=None):
    model = kind(3)
    model(X.astype("float32"))
    model.compile(loss=loss)
    return model


def mixed_net(policy):
    model = keras.Sequential(
        [
            keras.Input((2,)),
            dense(3, "tanh", 1, dtype=policy),
            dense(1, seed=2, dtype=policy),
        ]
    )
    model.compile(loss="mse")
    return model


@pytest.mark.slow
def test_float64_converges_where_float32_stalls():
    """The targets are outputs of the same net, so that the minimum of the loss is 0."""
    teacher = net(dtype="float32")
    teacher.set_weights([1.5 * w + 0.1 for w in teacher.get_weights()])
    y = np.asarray(teacher(X))
    coarse = fit(net(dtype="float32"), X, y, epochs=400).result
    model = net(dtype="float32")
    fine = fit(model, X, y, epochs=400, dtype="float64").result
    # Measured: 4e-15 and 1e-15, from rounded targets.
    assert fine.success and coarse.fun > fine.fun
    assert coarse.status in (Status.LINE_SEARCH, Status.STALLED)
    assert dtypes_of(model) == {"float32"}
    # Rounding the weights changes outputs of order one by 1e-7. Measured: 8e-15.
    assert float(np.mean((model(X) - y) ** 2)) < 1e-12


def test_float64_copy_has_the_steps_of_a_float64_model():
    model, other = net(dtype="float32"), net()
    other.set_weights(model.get_weights())
    assert fit(model, dtype="float64").result.fun == fit(other).result.fun
    for weight, expected in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(weight, expected.astype("float32"))
    # A float64 model needs no copy.
    start = [w.astype("float64") for w in model.get_weights()]
    results = []
    for dtype in (None, "float64"):
        other.set_weights(start)
        results.append(fit(other, dtype=dtype).result.fun)
    assert results[0] == results[1]


HALF_PRECISION = ["mixed_float16", "mixed_bfloat16", "float16"]


@pytest.mark.parametrize("policy", HALF_PRECISION)
def test_half_precision_raises_an_error_with_the_remedy(policy):
    with pytest.raises(ValueError, match=r'computes in b?float16.*dtype="float64"'):
        fit(mixed_net(policy))


@pytest.mark.slow
def test_mixed_precision_model_is_fitted_in_float64():
    model, other = mixed_net("mixed_float16"), net(dtype="float32")
    result = fit(model, dtype="float64").result
    assert result.fun == fit(other, dtype="float64").result.fun
    assert dtypes_of(model) == {"float32"}
    assert model.layers[0].compute_dtype == "float16"
    for weight, expected in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(weight, expected)


def test_weights_of_two_dtypes_are_fitted_in_float64_only():
    model = keras.Sequential([keras.Input((2,)), dense(3, "tanh", 1, dtype="float64")])
    model.add(dense(1, seed=2, dtype="float32"))
    model.compile(loss="mse")
    with pytest.raises(ValueError, match='float32, float64.*dtype="float64"'):
        fit(model)
    result = fit(model, dtype="float64").result
    assert dtypes_of(model) == {"float32", "float64"}
    assert float(np.mean((model(X) - Y) ** 2)) == pytest.approx(result.fun, rel=1e-5)


def test_subclassed_model_with_compute_loss_is_fitted_in_float64():
    model = built(Configured)
    result = fit(model, epochs=20, dtype="float64").result
    y_pred = np.asarray(model(X.astype("float32")), "float64")
    expected = np.mean((Y - y_pred) ** 2) + 1e-3 * np.mean(y_pred**2)
    assert result.fun == pytest.approx(expected, rel=1e-5)
    assert dtypes_of(model) == {"float32"}


@pytest.mark.parametrize(("kind", "loss"), [(Net, "mse"), (OwnLoss, None)])
def test_model_without_get_config_raises_in_float64(kind, loss):
    with pytest.raises(ValueError, match="needs a copy of (Net|OwnLoss).*get_config"):
        fit(built(kind, loss), dtype="float64")
    assert fit(built(kind, loss)).result.nit == 5


@pytest.mark.slow
def test_frozen_layers_keep_their_weights_until_unfrozen():
    model = net(dtype="float32")
    start = model.get_weights()
    for trainable in (False, True, False):
        model.set_weights(start)
        model.layers[0].trainable = trainable
        model.compile(loss="mse")
        fit(model, dtype="float64")
        is_unchanged = np.array_equal(start[0], model.get_weights()[0])
        assert is_unchanged != trainable
        assert not np.array_equal(start[2], model.get_weights()[2])


# Warnings and errors.


def test_float32_warns_once():
    model = net(dtype="float32")
    with pytest.warns(UserWarning, match="float32: line searches stall") as caught:
        for _ in range(2):
            fit(model)
    assert len([w for w in caught if "stall" in str(w.message)]) == 1


LOSSES = {
    "name": "mse",
    "instance": keras.losses.MeanSquaredError(),
    "with arguments": keras.losses.Huber(delta=0.5),
    "of several digits": keras.losses.MeanSquaredError(dtype="float64"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_keras_compute_in_float64_without_a_warning(name):
    model = net(loss=LOSSES[name])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning, message=".*float32")
        result = fit(model, epochs=2).result
    function = keras.losses.get(LOSSES[name])
    kind = type(function) if isinstance(function, keras.losses.Loss) else None
    config = function.get_config() if kind else {}
    exact = kind.from_config({**config, "dtype": "float64"}) if kind else function
    expected = float(keras.ops.mean(exact(Y, model(X))))
    assert result.fun == pytest.approx(expected, rel=1e-14)


class Rounded(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)


@pytest.mark.slow
def test_custom_loss_object_of_float32_warns():
    with pytest.warns(UserWarning, match="loss computes in float32"):
        fit(net(loss=Rounded()), epochs=2)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning, message=".*float32")
        fit(net(loss=Rounded(dtype="float64")), epochs=2)


@keras.saving.register_keras_serializable("test_lbfgs_precision")
class PlusSuper(keras.Model):
    """A model that adds a penalty to the compiled loss, by `super().compute_loss`."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        return loss + 1e-3 * keras.ops.mean(keras.ops.cast(self(2.0 * x), loss.dtype) ** 2)


class PlusMore(PlusSuper):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 2.0 * super().compute_loss(x, y, y_pred, sample_weight, training)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("kind", "factor"), [(PlusSuper, 1.0), (PlusMore, 2.0)])
def test_super_compute_loss_returns_the_loss_in_float64(kind, factor, dtype):
    layers = net(dtype=dtype)
    model = kind(layers.inputs, layers.outputs[0])
    model.compile(loss="mse")
    other = net()
    other.set_weights(layers.get_weights())
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning, message=".*float32")
        # At the start, since trained weights are rounded to float32 afterwards.
        result = fit(model, target=1e9, dtype="float64").result
    exact = np.mean((Y - other(X)) ** 2) + 1e-3 * np.mean(np.asarray(other(2.0 * X)) ** 2)
    assert result.fun == pytest.approx(factor * exact, rel=1e-14)


@pytest.mark.slow
def test_compute_loss_of_keras_model_warns_until_floatx_is_float64():
    """With `set_floatx`, as the warning advises, the loss is computed in float64."""

    def model():
        model = PlusPenalty(3, dtype="float64")
        model(X)
        return model

    coarse, fine, copied = model(), model(), built(PlusPenalty, "mse")
    fine.set_weights(copied.get_weights())
    coarse.compile(loss="mse")
    with pytest.warns(UserWarning, match="super.*set_floatx"):
        fit(coarse, epochs=2)
    keras.config.set_floatx("float64")
    try:
        fine.compile(loss="mse")
        with warnings.catch_warnings():
            warnings.filterwarnings("error", category=UserWarning, message=".*float32")
            results = [fit(fine).result, fit(copied, dtype="float64").result]
    finally:
        keras.config.set_floatx("float32")
    y_pred = np.asarray(fine(X))
    expected = np.mean((Y - y_pred) ** 2) + 1e-3 * np.mean(y_pred**2)
    assert [result.fun for result in results] == pytest.approx([expected] * 2, rel=1e-14)
