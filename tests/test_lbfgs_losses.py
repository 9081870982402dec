"""All kinds of losses that `compile` accepts, compared with their formulas."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from lbfgs_nets import WEIGHTS, X, Y, dense, fit, loss_at_start, net
from representatives import representatives

SQUARE = keras.losses.mean_squared_error


def squared(y_true, y_pred):
    return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)


def nested_function():
    def größe(y_true, y_pred):
        return squared(y_true, y_pred)

    return größe


class Losses:
    def squared(self, y_true, y_pred):
        return squared(y_true, y_pred)

    @staticmethod
    def fixed(y_true, y_pred):
        return squared(y_true, y_pred)


# The mean squared error, as functions and objects of all kinds.
FUNCTIONS = {
    "a function": lambda: squared,
    "a function of Keras": lambda: SQUARE,
    "a lambda": lambda: lambda y, p: (y - p) ** 2,
    "a lambda that takes the mean": lambda: lambda y, p: keras.ops.mean((y - p) ** 2),
    "a nested function": nested_function,
    "a method": lambda: Losses().squared,
    "a static method": lambda: Losses.fixed,
    "a lambda in a list": lambda: [lambda y, p: (y - p) ** 2],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_loss_functions_and_methods_equal_the_mean_squared_error(name):
    model = net(loss=FUNCTIONS[name]())
    expected = np.mean((Y - np.asarray(model(X))) ** 2)
    assert loss_at_start(model)[0] == pytest.approx(expected, rel=1e-14)


CLASSES = np.eye(3)[np.random.default_rng(3).integers(0, 3, 20)]
NUMBERS = CLASSES.argmax(axis=1)
SOFTMAX_OF_3 = (3, "softmax", CLASSES)

# Name of a class of Keras: arguments other than its defaults, units, activation, targets.
ARGUMENTS = {
    "Huber": ({"delta": 0.3}, (1, None, 3.0 * Y)),
    "CosineSimilarity": ({"axis": 0}, (3, None, CLASSES)),
    "MeanSquaredError": ({"reduction": "sum"}, (1, None, Y)),
    "Hinge": ({"reduction": "mean_with_sample_weight"}, (1, None, np.sign(Y))),
    "BinaryCrossentropy": ({"from_logits": True, "label_smoothing": 0.2}, (1, None, Y > 0)),
    "BinaryFocalCrossentropy": (
        {"apply_class_balancing": True, "alpha": 0.4, "gamma": 1.0}, (1, "sigmoid", Y > 0),
    ),
    "CategoricalCrossentropy": ({"label_smoothing": 0.1}, SOFTMAX_OF_3),
    "CategoricalFocalCrossentropy": ({"alpha": [0.2, 0.3, 0.5], "gamma": 1.0}, SOFTMAX_OF_3),
    "SparseCategoricalCrossentropy": (
        {"from_logits": True, "ignore_class": 1}, (3, None, NUMBERS),
    ),
    "Dice": ({"axis": (0,)}, SOFTMAX_OF_3),
    "Tversky": ({"alpha": 0.2, "beta": 0.7}, SOFTMAX_OF_3),
    "Circle": ({"gamma": 2.0, "margin": 0.3}, (3, None, NUMBERS)),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", representatives(ARGUMENTS, ["Huber", "CosineSimilarity", "MeanSquaredError"])
)
def test_losses_of_keras_keep_their_arguments(name):
    arguments, (units, activation, y) = ARGUMENTS[name]
    loss_class = getattr(keras.losses, name)
    model = net(
        head=dense(units, activation, 2, dtype="float64"), loss=loss_class(**arguments)
    )
    expected = loss_class(**arguments, dtype="float64")(y, model(X))
    value, gradient = loss_at_start(model, X, y)
    assert value == pytest.approx(float(expected), rel=1e-14)
    assert np.any(gradient)


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1


# Keras cannot make a config of these, so that `loss_weights` cannot be read.
WITHOUT_CONFIG = {
    "a partial": lambda: {"loss": [functools.partial(SQUARE)]},
    "an object": lambda: {
        "loss": [type("Call", (), {"__call__": lambda self, y, p: squared(y, p)})()]
    },
    "a class": lambda: {"loss": [keras.losses.MeanSquaredError]},
    "a schedule": lambda: {"loss": ["mse"], "optimizer": keras.optimizers.Adam(Schedule())},
    "a metric": lambda: {"loss": ["mse"], "metrics": [keras.metrics.MeanAbsoluteError]},
}


@pytest.mark.parametrize("name", WITHOUT_CONFIG)
def test_compile_without_config_is_accepted_only_without_loss_weights(name):
    model = net(**WITHOUT_CONFIG[name]())
    expected = np.mean((Y - np.asarray(model(X))) ** 2)
    assert loss_at_start(model)[0] == pytest.approx(expected, rel=1e-14)
    with pytest.raises(
        ValueError, match="`loss_weights` that cannot be read.*Compile it again"
    ):
        fit(net(**WITHOUT_CONFIG[name](), loss_weights=[2.0]))


class CustomCompile(keras.Sequential):
    def compile(self, weight):
        super().compile(loss=["mse"], loss_weights=[weight], jit_compile=False)

    def get_compile_config(self):
        return {"weight": 3.0}


def custom_compile():
    model = CustomCompile([keras.Input((2,), dtype="float64"), *net().layers])
    model.compile(3.0)
    return model


def without_a_loss(**arguments):
    model = net(loss=["mse"], **arguments)
    model.compile(optimizer="sgd", jit_compile=False)
    return model


# Arguments of `compile`: the factor of the loss, or words of an error.
FACTORS = {
    "a number": (lambda: net(loss_weights=3.0), 3.0),
    "of NumPy": (lambda: net(loss=["mse"], loss_weights=[np.float32(3.0)]), 3.0),
    "a compile of ones own": (custom_compile, 3.0),
    "compiled again without a loss": (without_a_loss, 1.0),
    "and with weights": (
        lambda: without_a_loss(loss_weights=[3.0]), "the last call of compile had no loss",
    ),
    "a variable": (
        lambda: net(loss=["mse"], loss_weights=[keras.Variable(3.0)]), "expected numbers",
    ),
    "a tensor": (
        lambda: net(loss=["mse"], loss_weights=[tf.constant(3.0)]), "expected numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FACTORS)
def test_loss_weights_multiply_the_loss_or_raise(name):
    make, expected = FACTORS[name]
    model = make()
    if isinstance(expected, str):
        with pytest.raises((TypeError, ValueError), match=expected):
            fit(model)
        return
    error = np.mean((Y - np.asarray(model(X))) ** 2)
    assert loss_at_start(model)[0] == pytest.approx(expected * error, rel=1e-14)


class AddLoss(keras.layers.Layer):
    def call(self, x):
        self.add_loss(keras.ops.mean((x - 1.0) ** 2))
        return x


def test_add_loss_of_a_layer_is_minimized():
    model = net(loss=None, head=AddLoss(dtype="float64"))
    result = fit(model, X, None).result
    expected = np.mean((np.asarray(model(X)) - 1.0) ** 2)
    assert result.fun == pytest.approx(expected, rel=1e-14)
    assert result.nit == 5


@pytest.mark.parametrize("name", ["compute_loss", "train_step"])
def test_methods_assigned_to_the_model_raise(name):
    model = net()
    setattr(model, name, lambda *_, **__: keras.ops.mean(model(X) ** 2))
    with pytest.raises(ValueError, match=f"{name} was set on the model itself"):
        fit(model)


def test_renamed_ctc_loss_accepts_targets_of_another_shape():
    """The targets of CTC have another shape than the outputs."""
    layers = [keras.Input((6, 2), dtype="float64"), dense(4, dtype="float64")]
    model = keras.Sequential(layers)
    model.compile(loss=keras.losses.CTC(name="mine"), jit_compile=False)
    x = np.random.default_rng(0).normal(size=(20, 6, 2))
    y = np.random.default_rng(1).integers(1, 4, (20, 3))
    assert fit(model, x, y).result.nit == 5


def heads(**losses):
    x = keras.Input((2,), dtype="float64")
    named = {name: keras.layers.Dense(1, name=name, dtype="float64") for name in "ab"}
    model = keras.Model(x, {name: head(x) for name, head in named.items()})
    for name, head in named.items():
        head.trainable = losses.get(name) is not None
    model.compile(loss=losses, jit_compile=False)
    return model


SOME_LOSSES = {
    "one loss": ({"a": "mse"}, {"a": Y}),
    "one loss, all targets": ({"a": "mse"}, {"a": Y, "b": Y}),
    "one loss, no target": ({"b": "mse"}, {"a": None, "b": Y}),
    "none for one": ({"a": "mse", "b": None}, {"a": Y}),
    "both": ({"a": "mse", "b": "mse"}, {"a": Y, "b": Y}),
}


@pytest.mark.parametrize("name", SOME_LOSSES)
def test_outputs_without_a_loss_need_no_targets(name):
    losses, y = SOME_LOSSES[name]
    model = heads(**losses)
    outputs = model(X)
    named = [output for output, loss in losses.items() if loss is not None]
    expected = sum(
        np.mean((y[output] - np.asarray(outputs[output])) ** 2) for output in named
    )
    assert loss_at_start(model, X, y)[0] == pytest.approx(expected, rel=1e-14)


def model_of_nested_outputs(loss, **arguments):
    """Returns a model whose three outputs and losses have the same nested structure."""
    x = keras.Input((2,), dtype="float64")
    heads = [dense(1, seed=seed, dtype="float64")(x) for seed in range(3)]
    model = keras.Model(x, keras.tree.pack_sequence_as(loss, heads))
    model.compile(loss=loss, jit_compile=False, **arguments)
    return model


STRUCTURES = {
    "lists": ["mse", ["mse", "mse"]],
    "lists and dicts": ["mse", {"k": "mse", "l": "mse"}],
    "tuples": ("mse", ("mse", "mse")),
    "tuples and dicts": ("mse", {"k": "mse", "l": "mse"}, ),
    "dicts": {"a": "mse", "b": {"c": "mse", "d": "mse"}},
    "dicts and lists": {"a": "mse", "b": ["mse", "mse"]},
}  # fmt: skip


@pytest.mark.parametrize("dtype", [None, "float64"])
@pytest.mark.parametrize("name", representatives(STRUCTURES, ["lists", "tuples and dicts"]))
def test_nested_losses_equal_the_weighted_sum(name, dtype):
    loss = STRUCTURES[name]
    weights = keras.tree.pack_sequence_as(loss, [1.0, 2.0, 3.0])
    y = keras.tree.pack_sequence_as(loss, [Y, 2.0 * Y, Y**2])
    model = model_of_nested_outputs(loss, loss_weights=weights)
    flat = [keras.tree.flatten(structure) for structure in (weights, y, model(X))]
    expected = sum(w * np.mean((t - np.asarray(p)) ** 2) for w, t, p in zip(*flat))
    value, _ = loss_at_start(model, X, y, dtype=dtype)
    assert value == pytest.approx(expected, rel=1e-14)
    # A fit has the loss of each output in its logs.
    if dtype is None:
        assert fit(model, X, y).result.fun < value


IMAGES = np.random.default_rng(4).normal(size=(20, 4, 4, 1))


def images(loss):
    convolution = keras.layers.Conv2D(
        1, 3, padding="same", activation="sigmoid", dtype="float64"
    )
    model = keras.Sequential([keras.Input((4, 4, 1), dtype="float64"), convolution])
    model.compile(loss=loss, jit_compile=False)
    return model


# Losses over other axes, and None if they have one number for each row, or words of the error.
AXES = {
    "dice": (keras.losses.Dice(axis=(1, 2, 3)), WEIGHTS, None),
    "cosines": (keras.losses.CosineSimilarity(axis=(1, 2, 3)), WEIGHTS, None),
    "a weight for each pixel": (
        keras.losses.Dice(axis=(1, 2, 3)), np.ones((20, 4, 4)), r"expected \(None,\)",
    ),
    "no single rows": (
        keras.losses.Dice(axis=(0, 1, 2)), WEIGHTS, "the loss dice is none of single rows",
    ),
    "one number": (
        keras.losses.Tversky(), WEIGHTS,
        r"the loss tversky is none of single rows: of \d+ rows it has shape \(\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AXES)
def test_sample_weights_of_losses_with_an_axis(name):
    loss, weights, message = AXES[name]
    model, y = images(loss), (IMAGES > 0.0).astype("float64")
    if message:
        with pytest.raises(ValueError, match=message):
            fit(model, IMAGES, y, sample_weight=weights)
        return
    expected = np.mean(weights * np.asarray(loss.call(y, model(IMAGES))))
    value, _ = loss_at_start(model, IMAGES, y, sample_weight=weights)
    assert value == pytest.approx(expected, rel=1e-13)


def test_sample_weights_of_outputs_in_another_order_are_accepted():
    """Losses are given by name; outputs, targets and weights are in different orders."""
    x = keras.Input((4, 4, 1), dtype="float64")
    mean = keras.layers.GlobalAveragePooling2D(name="b", dtype="float64")(x)
    same = keras.layers.Conv2D(1, 1, name="a", dtype="float64")(x)
    model = keras.Model(x, [dense(1, name="c", dtype="float64")(mean), same])
    model.compile(loss={"a": "mae", "c": "mse"}, jit_compile=False)
    y, weights = [Y, IMAGES], [WEIGHTS, np.ones((20, 4, 4))]
    assert fit(model, IMAGES, y, sample_weight=weights).result.nit > 0


def test_sample_weights_of_another_structure_raise_without_arrays():
    weights, y = {"a": np.ones(20)}, {"a": Y, "b": Y}
    with pytest.raises(ValueError, match=r"y is \{'a': \*, 'b': \*\}.*is \{'a': \*\}\.$"):
        fit(heads(a="mse", b="mse"), X, y, sample_weight=weights)


def test_targets_of_some_outputs_are_checked():
    with pytest.raises(ValueError, match="output has shape"):
        fit(heads(a="mse"), X, {"a": np.hstack([Y, Y])})
