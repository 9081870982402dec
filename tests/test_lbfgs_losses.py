"""What `compile` takes as a loss, against the mean written out."""

import functools

import keras
import numpy as np
import pytest
from lbfgs_nets import X, Y, dense, fit, net
from representatives import representatives

SQUARE = keras.losses.mean_squared_error


def squared(y_true, y_pred):
    return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)


def nested():
    def größe(y_true, y_pred):
        return squared(y_true, y_pred)

    return größe


class Losses:
    def squared(self, y_true, y_pred):
        return squared(y_true, y_pred)

    @staticmethod
    def fixed(y_true, y_pred):
        return squared(y_true, y_pred)


# All of them the mean of squares, by functions of all kinds.
FUNCTIONS = {
    "a function": lambda: squared,
    "a function of Keras": lambda: SQUARE,
    "a lambda": lambda: lambda y, p: (y - p) ** 2,
    "a lambda that takes the mean": lambda: lambda y, p: keras.ops.mean((y - p) ** 2),
    "a nested function": nested,
    "a method": lambda: Losses().squared,
    "a static method": lambda: Losses.fixed,
    "a lambda in a list": lambda: [lambda y, p: (y - p) ** 2],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_all_kinds_are_losses(name):
    model = net(loss=FUNCTIONS[name]())
    result = fit(model).result
    expected = np.mean((Y - np.asarray(model(X))) ** 2)
    assert result.fun == pytest.approx(expected, rel=1e-14)
    assert result.nit == 5


CLASSES = np.eye(3)[np.random.default_rng(3).integers(0, 3, 20)]
NUMBERS = CLASSES.argmax(axis=1)
IN_3 = (3, "softmax", CLASSES)

# Name of a class of Keras: arguments that are not its defaults; units, activation, targets.
ARGUMENTS = {
    "Huber": ({"delta": 0.3}, (1, None, 3.0 * Y)),
    "CosineSimilarity": ({"axis": 0}, (3, None, CLASSES)),
    "MeanSquaredError": ({"reduction": "sum"}, (1, None, Y)),
    "Hinge": ({"reduction": "mean_with_sample_weight"}, (1, None, np.sign(Y))),
    "BinaryCrossentropy": ({"from_logits": True, "label_smoothing": 0.2}, (1, None, Y > 0)),
    "BinaryFocalCrossentropy": (
        {"apply_class_balancing": True, "alpha": 0.4, "gamma": 1.0}, (1, "sigmoid", Y > 0),
    ),
    "CategoricalCrossentropy": ({"label_smoothing": 0.1}, IN_3),
    "CategoricalFocalCrossentropy": ({"alpha": [0.2, 0.3, 0.5], "gamma": 1.0}, IN_3),
    "SparseCategoricalCrossentropy": (
        {"from_logits": True, "ignore_class": 1}, (3, None, NUMBERS),
    ),
    "Dice": ({"axis": (0,)}, IN_3),
    "Tversky": ({"alpha": 0.2, "beta": 0.7}, IN_3),
    "Circle": ({"gamma": 2.0, "margin": 0.3}, (3, None, NUMBERS)),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", representatives(ARGUMENTS, ["Huber", "CosineSimilarity", "MeanSquaredError"])
)
def test_losses_of_keras_keep_their_arguments(name):
    arguments, (units, activation, y) = ARGUMENTS[name]
    kind = getattr(keras.losses, name)
    model = net(head=dense(units, activation, 2, dtype="float64"), loss=kind(**arguments))
    result = fit(model, X, y).result
    expected = kind(**arguments, dtype="float64")(y, model(X))
    assert result.fun == pytest.approx(float(expected), rel=1e-14)
    assert result.nit > 0


# Keras makes no config of these, in which alone the weights of losses are.
WITHOUT_CONFIG = {
    "a partial": lambda: functools.partial(SQUARE),
    "an object": lambda: type("Call", (), {"__call__": lambda self, y, p: squared(y, p)})(),
}


@pytest.mark.parametrize("name", WITHOUT_CONFIG)
def test_what_has_no_config_is_refused_with_a_remedy(name):
    with pytest.raises(TypeError, match="keras.losses.Loss"):
        fit(net(loss=WITHOUT_CONFIG[name]()))


def heads(**losses):
    x = keras.Input((2,), dtype="float64")
    named = {name: keras.layers.Dense(1, name=name, dtype="float64") for name in "ab"}
    model = keras.Model(x, {name: head(x) for name, head in named.items()})
    for name, head in named.items():
        head.trainable = losses.get(name) is not None
    model.compile(loss=losses)
    return model


PARTS = {
    "one loss": ({"a": "mse"}, {"a": Y}),
    "one loss, all targets": ({"a": "mse"}, {"a": Y, "b": Y}),
    "one loss, no target": ({"b": "mse"}, {"a": None, "b": Y}),
    "none for one": ({"a": "mse", "b": None}, {"a": Y}),
    "both": ({"a": "mse", "b": "mse"}, {"a": Y, "b": Y}),
}


@pytest.mark.parametrize("name", PARTS)
def test_outputs_without_a_loss_need_no_targets(name):
    losses, y = PARTS[name]
    model = heads(**losses)
    result = fit(model, X, y).result
    outputs = model(X)
    named = [each for each, loss in losses.items() if loss is not None]
    expected = sum(np.mean((y[each] - np.asarray(outputs[each])) ** 2) for each in named)
    assert result.fun == pytest.approx(expected, rel=1e-14)


def test_a_target_of_a_part_is_checked_as_all_are():
    with pytest.raises(ValueError, match="output has shape"):
        fit(heads(a="mse"), X, {"a": np.hstack([Y, Y])})
