"""audit: verdicts on layers and models whose derivatives are known."""

import importlib
import io
import json
import os
import random
import re
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from audit_words import cause, mode_cause
from keras import ops
from representatives import representatives
from rich.console import Console

import keras_smooth
from keras_smooth import cli
from keras_smooth.auditing import claimed_sizes, model_files, progress

L = keras.layers


@keras.saving.register_keras_serializable(package="tests")
class Fault(L.Layer):
    """A smooth function whose derivative of some order is falsified on purpose."""

    def __init__(self, kind="wrong", size=1.0, **kwargs):
        super().__init__(**kwargs)
        self.kind, self.size = kind, size

    def get_config(self):
        return {**super().get_config(), "kind": self.kind, "size": self.size}

    def call(self, x):
        stopped = tf.stop_gradient(x)
        return {
            "none": lambda: ops.sin(stopped),
            # Value sin(x); in its slope, cos(x), the cosine is held fixed.
            "zero": lambda: ops.sin(stopped) + (x - stopped) * ops.cos(stopped) + 0 * x**2,
            "wrong": lambda: x + self.size * (x - stopped) + 0 * x,
            "nan": lambda: ops.sqrt(ops.square(x)),
            "bend": lambda: ops.softsign(x),
            "right": lambda: ops.sin(x),
        }[self.kind]()


KNOWN_FAULTS = [
    (lambda: Fault("none"), "wrong", 1),
    (lambda: Fault("zero"), "wrong", 2),
    (lambda: Fault("wrong"), "wrong", 1),
    # Far above the resolution of differences, and below it.
    (lambda: Fault("wrong", 3e-4), "wrong", 1),
    (lambda: Fault("wrong", 1e-12), "ok", 0),
    (lambda: Fault("nan"), "nan", 1),
    (lambda: Fault("bend"), "not smooth", 2),
    (lambda: Fault("right"), "ok", 0),
    (lambda: L.Activation("celu"), "wrong", 1),
    (lambda: L.LayerNormalization(), "wrong", 2),
    (lambda: L.GroupNormalization(2), "wrong", 2),
    (lambda: L.Dense(4, "softsign"), "not smooth", 2),
    (lambda: L.Dense(4, "relu"), "not smooth", 1),
    (lambda: L.Dense(4, "elu"), "not smooth", 2),
    (lambda: L.Lambda(lambda x: ops.maximum(x, 0.3) ** 2), "not smooth", 1),
    (lambda: L.Lambda(lambda x: ops.floor(x)), "not smooth", 1),
    (lambda: L.Discretization([-0.5, 0.5]), "not smooth", 1),
    (lambda: L.PReLU(), "not smooth", 1),
]


@pytest.mark.parametrize(("make", "expected", "order"), KNOWN_FAULTS)
def test_layers_with_known_faults_have_the_right_cause_and_order(make, expected, order):
    row = keras_smooth.audit(make()).rows[0]
    assert (cause(row), row.order) == (expected, order)
    assert bool(row.remedy) == (expected != "ok")


KINK_AT_0 = "has a kink at 0 and is straight on both sides, so y'' is 0 wherever it exists"
JUMP_OF_SECOND_AT_0 = "is straight for x > 0 and its second derivative jumps at 0"
PIECEWISE_LINEAR = "is made of straight pieces, so y'' is 0 wherever it exists"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: L.Dense(4, "relu"), f"relu {KINK_AT_0}"),
        (lambda: L.Dense(50, "relu"), f"relu {KINK_AT_0}"),
        (lambda: L.ReLU(), f"relu {KINK_AT_0}"),
        (lambda: L.ReLU(max_value=1.0), ""),
        (lambda: L.Dense(4, L.ReLU()), ""),
        (lambda: L.Dense(4, "elu"), f"elu {JUMP_OF_SECOND_AT_0}"),
        (lambda: L.Activation("hard_sigmoid"), f"hard_sigmoid {PIECEWISE_LINEAR}"),
        (lambda: keras_smooth.Dense(4, "leaky_relu", order=0), f"leaky_relu {KINK_AT_0}"),
    ],
)
def test_rough_activations_have_the_reason_of_the_registry(make, reason):
    for x in (None, np.random.default_rng(0).normal(size=(4, 3)).astype("float32")):
        model = keras.Sequential([keras.Input((3,)), make()])
        row = keras_smooth.audit(model, x).rows[0]
        assert row.cause == "not smooth" and row.reason.startswith(reason)


def test_rough_operations_have_a_reason():
    x = keras.Input((3,))
    model = keras.Model(x, ops.relu(x) + ops.abs(L.Dense(3)(x)))
    reasons = {row.layer: row.reason for row in keras_smooth.audit(model).rows}
    assert reasons["Relu"] == f"relu {KINK_AT_0}"
    assert "Abs has a kink" in reasons["Absolute"]


def test_kinks_of_a_pooling_are_not_those_of_activations_elsewhere():
    layers = L.Conv2D(4, 3, activation="relu"), L.MaxPooling2D()
    row = keras_smooth.audit(keras.Sequential([keras.Input((8, 8, 3)), *layers])).rows[1]
    assert row.cause == "not smooth" and row.reason == "MaxPool has a kink"


# Layers without faults, with sharp bends, large weights or tiny scales.
SMOOTH_LAYERS = {
    "dense": lambda: L.Dense(5, "tanh", kernel_initializer=keras.initializers.RandomNormal(stddev=5.0)),
    "steep": lambda: L.Lambda(lambda x: ops.tanh(1e3 * x)),
    "tiny": lambda: L.Lambda(lambda x: 1e-9 * ops.sin(x)),
    "offset": lambda: L.Lambda(lambda x: 1e4 + ops.sin(x)),
    "softmax": lambda: L.Softmax(),
    "rms": lambda: L.RMSNormalization(epsilon=1e-7),
    "dropout": lambda: L.Dropout(0.5),
    "affine": lambda: L.Dense(3),
    "sharp": lambda: keras_smooth.Activation(
        keras_smooth.activations.partial("sharp_softplus", sharpness=200.0)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH_LAYERS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_smooth_layers_have_no_fault(name, order):
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    row = keras_smooth.audit(SMOOTH_LAYERS[name](), x, order=order).rows[0]
    assert cause(row) == "ok", row


IMAGE_LAYERS = [
    (lambda: L.AutoContrast(), "not smooth", "inference"),
    (lambda: L.RandomContrast(0.5), "not smooth", "training"),
    (lambda: L.Solarization(), "not smooth", "training"),
    (lambda: L.RandomPosterization(4), "not smooth", "training"),
    (lambda: L.RandomRotation(0.2), "wrong", "training"),
    (lambda: L.RandomHue(0.5), "not smooth", "training"),
    (lambda: L.RandomFlip(), "ok", "inference"),
    (lambda: L.Resizing(5, 5, interpolation="bicubic"), "wrong", "inference"),
    (lambda: keras_smooth.layers.Resizing(5, 5, interpolation="bicubic"), "ok", "inference"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "verdict", "mode"), representatives(IMAGE_LAYERS, IMAGE_LAYERS[::3])
)
def test_image_layers_are_probed_at_pixel_values(make, verdict, mode):
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    row = keras_smooth.audit(make(), x).rows[0]
    assert (cause(row), row.mode) == (verdict, mode)


@pytest.mark.parametrize(
    "make",
    [
        lambda: L.AveragePooling3D(2),
        lambda: L.Lambda(lambda x: _wrong_derivative_in_float32(x)),
    ],
)
def test_float32_only_layers_are_compared_with_larger_tolerance(make):
    x = np.random.default_rng(0).normal(size=(4, 4, 4, 4, 2)).astype("float32")
    row = keras_smooth.audit(make(), x).rows[0]
    is_pooling = row.layer == "AveragePooling3D"
    assert cause(row) == ("ok" if is_pooling else "wrong")


def _softmax_in_float32(x):
    return x + ops.cast(ops.softmax(ops.cast(x, "float32")), "float64")


@pytest.mark.parametrize(
    ("function", "is_imprecise"),
    [
        (_softmax_in_float32, True),
        (lambda x: x + 0.1 * ops.cast(ops.sin(ops.cast(x, "float32")), "float64"), True),
        (lambda x: x + ops.softmax(x), False),
        (lambda x: ops.sin(1e4 * x), False),
        (lambda x: ops.sum(1e5 * x, -1, keepdims=True) - 1e5 * ops.sum(x), False),
    ],
)
def test_float64_layers_that_compute_in_float32_are_imprecise(function, is_imprecise):
    x = np.random.default_rng(0).normal(size=(4, 6))
    row = keras_smooth.audit(L.Lambda(function, dtype="float64"), x).rows[0]
    assert cause(row) == ("imprecise" if is_imprecise else "ok")
    assert ("float32" in row.reason) == is_imprecise


def _wrong_derivative_in_float32(x):
    x = ops.cast(x, "float32")
    return ops.sin(x) + 0.01 * (x - tf.stop_gradient(x))


def test_training_mode_is_audited():
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    row = keras_smooth.audit(L.BatchNormalization(), x).rows[0]
    assert (cause(row), row.order, row.mode) == ("wrong", 2, "training")


def _branched_model():
    x = keras.Input((4,))
    shared = L.Dense(4, "tanh", name="shared")
    nested = keras.Sequential(
        [keras.Input((4,)), L.LayerNormalization(name="inside")], name="nested"
    )
    left, right = shared(x), shared(ops.sin(x))
    return keras.Model(x, L.Add(name="sum")([nested(left), right]))


def test_nested_models_shared_layers_and_branches_have_rows():
    result = keras_smooth.audit(_branched_model())
    names = [row.name for row in result.rows]
    assert names.count("shared") == 1 and "nested/inside" in names and "sum" in names
    verdicts = {row.name: cause(row) for row in result.rows}
    assert {name for name, verdict in verdicts.items() if verdict != "ok"} == {
        "nested/inside"
    }
    assert cause(result.model) == "wrong" and not result.ok


class Subclassed(keras.Model):
    def __init__(self, units=3, loops=2, **kwargs):
        super().__init__(**kwargs)
        self.units, self.loops = units, loops
        self.first, self.second = (
            L.Dense(units, "relu", name="first"),
            L.Dense(1, name="second"),
        )

    def get_config(self):
        return {"units": self.units, "loops": self.loops}

    def call(self, x):
        return self.second(self.first(x))


# A function between two layers of a graph: the cause of the model, and the remedy of the
# faulty operation.
SMOOTHEN_REMEDY = "keras_smooth.smoothen"
GRAPH_OPERATIONS = {
    "absolute": (ops.abs, "not smooth", SMOOTHEN_REMEDY),
    "absolute, far from 0": (lambda h: ops.abs(h + 100.0), "not smooth", SMOOTHEN_REMEDY),
    "elu": (ops.elu, "not smooth", SMOOTHEN_REMEDY),
    "maximum": (lambda h: ops.maximum(h, 0.1), "not smooth", SMOOTHEN_REMEDY),
    "of TensorFlow": (
        L.Dense(4, tf.nn.relu6),
        "not smooth",
        f"use .*, or {SMOOTHEN_REMEDY}",
    ),
    "a jump": (ops.floor, "not smooth", "use a smooth function"),
    "a choice": (lambda h: ops.where(h > 0, h, 0.0), "not smooth", "use a smooth function"),
    "a factor of 0 or 1": (
        lambda h: h * ops.cast(h > 0.05, "float32"),
        "not smooth",
        "use a smooth",
    ),
    "an argmax": (
        lambda h: h * ops.cast(ops.argmax(h, -1, keepdims=True), "float32"),
        "not smooth",
        "use a smooth function",
    ),
    "a smooth choice": (
        lambda h: ops.where(h > 0, h + ops.log1p(ops.exp(-h)), ops.log1p(ops.exp(h))),
        "ok",
        None,
    ),
    # No sample that is drawn reaches 9.
    "a guard": (lambda h: ops.sqrt(ops.where(h < 9, h + 4, 1.0)), "unknown", None),
    "a logarithm": (lambda h: ops.log(h * h + 0.5), "ok", None),
    "of a lambda": (L.Lambda(lambda h: tf.math.log(h + 4.0)), "ok", None),
    "a power": (lambda h: (h * h + 0.5) ** 0.5, "ok", None),
}


@pytest.mark.parametrize("name", GRAPH_OPERATIONS)
def test_operations_in_a_graph_have_verdict_and_remedy(name):
    function, verdict, remedy = GRAPH_OPERATIONS[name]
    keras.utils.set_random_seed(0)
    x = keras.Input((4,))
    h = L.Dense(4, "tanh", bias_initializer="normal")(x)
    report = keras_smooth.audit(keras.Model(x, L.Dense(1)(function(h))))
    assert cause(report.model) == verdict, report
    faults = [row for row in report.rows if row.verdict == "faulty"]
    assert bool(faults) == (remedy is not None)
    assert all(re.search(remedy, row.remedy) for row in faults)


def test_subclassed_model_requires_x():
    model = Subclassed()
    with pytest.raises(ValueError, match="Pass x"):
        keras_smooth.audit(model)
    result = keras_smooth.audit(model, x=np.ones((2, 4), "float32"))
    assert [cause(row) for row in result.rows] == ["not smooth", "ok"]
    assert not model.built


class LayerWithMethod(L.Layer):
    """A layer of which a method is called instead of the layer itself."""

    def __init__(self, *layers, **arguments):
        super().__init__(**arguments)
        self.inner, self.unused = list(layers), L.Dense(1)

    def velocity(self, x):
        for layer in self.inner:
            x = layer.velocity(x) if isinstance(layer, LayerWithMethod) else layer(x)
        return x


class ModelThatCallsMethod(keras.Model):
    def __init__(self, part):
        super().__init__()
        self.part = part

    def call(self, x):
        return self.part.velocity(x)


def _tanh_layer():
    return L.Dense(4, "tanh", name="dense")


USED_BY_METHODS = {
    "layers": (lambda: [_tanh_layer(), L.Dense(1)], ["ok", "ok"], "proven"),
    "a wrong one": (
        lambda: [_tanh_layer(), L.LayerNormalization(), L.Dense(1)], ["ok", "wrong", "ok"], "faulty"
    ),
    "a model": (
        lambda: [keras.Sequential([_tanh_layer(), L.ReLU()]), L.Dense(1)],
        ["ok", "not smooth", "ok"],
        "faulty",
    ),
    "another method": (
        lambda: [LayerWithMethod(_tanh_layer()), L.Dense(1)], ["ok", "ok"], "proven"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", USED_BY_METHODS)
def test_layers_called_by_a_method_of_their_parent_have_rows(name, rng):
    make, verdicts, outcome = USED_BY_METHODS[name]
    model = ModelThatCallsMethod(LayerWithMethod(*make(), name="part"))
    result = keras_smooth.audit(model, rng.normal(size=(3, 2)).astype("float32"))
    assert [cause(row) for row in result.rows] == verdicts
    assert result.outcome == outcome
    assert all(row.name.startswith("part/") for row in result.rows)
    assert result.rows[0].name.endswith("/dense")


def test_layer_that_is_not_called_has_a_row():
    model = ModelWithoutConfig([L.Dense(1)])
    model.other = LayerWithMethod(L.Dense(1), name="other")
    rows = keras_smooth.audit(model, np.ones((2, 3), "float32")).rows
    assert [(cause(row), row.reason) for row in rows] == [
        ("ok", ""), ("not called", "")
    ]  # fmt: skip


class ModelWithoutConfig(keras.Model):
    """A model whose arguments are in no config, as most users write it."""

    def __init__(self, layers, **arguments):
        super().__init__(**arguments)
        self.all = layers

    def call(self, x):
        for layer in self.all:
            x = layer(x)
        return x


def test_model_without_config_is_built_on_x():
    model = ModelWithoutConfig([L.Dense(4, "tanh"), L.LayerNormalization(), L.Dense(1)])
    result = keras_smooth.audit(model, np.ones((2, 3), "float32"))
    assert [cause(row) for row in result.rows] == ["ok", "wrong", "ok"]
    assert result.inference == "faulty" and cause(result.model) == "wrong"


# Models without a config: a function after their layers, the dtype, and the outcome.
CUSTOM_CALLS = {
    "fine": (ops.sin, "float32", "proven"),
    "fine in float64": (ops.sin, "float64", "proven"),
    "wrong": (lambda y: y * tf.stop_gradient(y), "float32", "faulty"),
    "wrong in float64": (lambda y: y * tf.stop_gradient(y), "float64", "faulty"),
    "kink": (lambda y: ops.relu(y), "float32", "faulty"),
    "noise": (lambda y: y + tf.random.normal(y.shape), "float32", "proven"),
    "too few digits": (ops.sin, "float16", "faulty"),
}


@pytest.mark.parametrize("name", CUSTOM_CALLS)
def test_models_that_cannot_be_copied_are_audited_unchanged(name):
    class Own(ModelWithoutConfig):
        def call(self, x):
            return ops.cast(function(super().call(x)), dtype)

    function, dtype, outcome = CUSTOM_CALLS[name]
    keras.utils.set_random_seed(1)
    layers = [L.Dense(4, "tanh", dtype="float64" if dtype == "float64" else "float32")]
    # Keras casts inputs to the dtype of the model.
    model = Own([*layers, L.Dense(3, dtype=layers[0].dtype)], dtype=layers[0].dtype)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(layers[0].dtype)
    model(x)
    before = [weight.numpy() for weight in model.weights], sorted(vars(model))
    result = keras_smooth.audit(model, x)
    assert result.outcome == outcome, result
    assert result.rows[0].verdict == "proven"
    for old, weight in zip(before[0], model.weights, strict=True):
        np.testing.assert_array_equal(old, weight)
    assert before[1] == sorted(vars(model))


class Kink(L.Layer):
    """Applies a function in one mode or in both, and the sine otherwise."""

    def __init__(self, function, training=None, **kwargs):
        super().__init__(**kwargs)
        self.function, self.training_only = function, training

    def get_config(self):
        config = {"function": self.function, "training": self.training_only}
        return {**super().get_config(), **config}

    def call(self, x, training=None):
        if self.training_only is None or bool(training) == self.training_only:
            return self.function(x)
        return ops.sin(x)


def _kink_at_20(x):
    return ops.relu(x - 20) + x


def _with_shift_between(*layers):
    shift = L.Dense(
        3,
        "linear",
        kernel_initializer="identity",
        bias_initializer=lambda s, dtype=None: 20 * ops.ones(s, dtype),
    )
    return keras.Sequential([keras.Input((3,)), layers[0], shift, layers[1]])


def _layer_called_twice():
    layer, x = Kink(_kink_at_20), keras.Input((3,))
    return keras.Model(x, layer(layer(x) + 20))


# Models with a kink that only one call of a layer reaches, or with a weak kink.
HIDDEN_KINKS = {
    "the second of two alike": lambda: _with_shift_between(Kink(_kink_at_20), Kink(_kink_at_20)),
    "a Lambda": lambda: _with_shift_between(L.Lambda(_kink_at_20), L.Lambda(_kink_at_20)),
    "the second call of one": _layer_called_twice,
    "weak": lambda: _sequential_with_kink(lambda x: ops.sin(3 * x) + 0.05 * ops.relu(x - 0.3)),
    "weaker": lambda: _sequential_with_kink(lambda x: ops.exp(x) + 0.01 * ops.abs(x - 0.2)),
    "an activation": lambda: keras.Sequential(
        [keras.Input((3,)), L.Dense(4, lambda x: ops.cos(2 * x) + 0.05 * ops.relu(x - 0.3))]
    ),
}  # fmt: skip


def _sequential_with_kink(function):
    return keras.Sequential([keras.Input((3,)), Kink(function)])


@pytest.mark.parametrize("name", HIDDEN_KINKS)
def test_weak_or_distant_kinks_are_reported(name):
    keras.utils.set_random_seed(0)
    result = keras_smooth.audit(HIDDEN_KINKS[name]())
    assert cause(result.model) == "not smooth" and result.model.order == 1
    assert result.inference == "faulty"


@pytest.mark.parametrize(
    "function", [lambda x: ops.relu(x - 0.4) + x, lambda x: ops.abs(x), ops.floor]
)
@pytest.mark.parametrize("training", [True, False])
def test_kink_of_one_mode_is_a_fault_of_that_mode_only(function, training):
    model = keras.Sequential([keras.Input((3,)), Kink(function, training)])
    result = keras_smooth.audit(model)
    faulty, fine = ("training", "inference") if training else ("inference", "training")
    assert getattr(result, faulty) == "faulty" and getattr(result, fine) == "proven"
    assert mode_cause(result.rows[0], faulty) == "not smooth"


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.002, 0.03, 0.5])
def test_dropout_at_any_rate_has_no_fault(rate):
    layer = L.Dropout(rate, noise_shape=(None, 1), seed=1)
    row = keras_smooth.audit(layer, np.ones((4, 3), "float32")).rows[0]
    assert row.inference == row.training == "proven", row


def test_inference_and_training_have_separate_verdicts():
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    for layer in (L.BatchNormalization(), keras_smooth.layers.BatchNormalization()):
        result = keras_smooth.audit(keras.Sequential([L.Dense(3), layer, L.Dense(1)]), x)
        exact = isinstance(layer, keras_smooth.layers.BatchNormalization)
        assert result.inference == "proven"
        assert result.training == ("proven" if exact else "faulty")


def test_integer_inputs_beside_float_inputs_are_no_fault():
    number, word = keras.Input((2,)), keras.Input((1,), dtype="int32")
    embedded = L.Flatten()(L.Embedding(5, 3)(word))
    y = L.Dense(1)(L.Dense(4, "tanh")(L.Concatenate()([number, embedded])))
    result = keras_smooth.audit(keras.Model({"number": number, "word": word}, y))
    assert result.ok, str(result)


# dtypes of the layers, and of the input: the causes.
PRECISION = [
    (("float32", "float32"), "float32", ["ok", "ok"]),
    (("mixed_bfloat16", "mixed_bfloat16"), "float32", ["imprecise", "imprecise"]),
    (("float32", "bfloat16", "float32"), "float32", ["ok", "imprecise", "ok"]),
    (("float64", "float32", "float64"), "float64", ["ok", "imprecise", "ok"]),
    (("float64", "float64"), "float64", ["ok", "ok"]),
]


@pytest.mark.parametrize(("dtypes", "of_input", "verdicts"), PRECISION)
def test_layers_of_lower_precision_are_imprecise(dtypes, of_input, verdicts):
    keras.utils.set_random_seed(0)
    layers = [L.Dense(8, "tanh", dtype=dtype) for dtype in dtypes]
    result = keras_smooth.audit(
        keras.Sequential([keras.Input((3,), dtype=of_input), *layers])
    )
    assert [cause(row) for row in result.rows] == verdicts
    assert result.model.verdict == ("proven" if set(verdicts) == {"ok"} else "faulty")


CUSTOM_FUNCTIONS = {
    "stopped": (lambda x: x + 0.5 * tf.stop_gradient(x), "wrong", 1),
    "ramp": (ops.relu, "not smooth", 1),
    "half": (lambda x: x**2 + (x - tf.stop_gradient(x)) ** 2, "wrong", 2),
    "sine": (ops.sin, "ok", 0),
}


class _CustomCall:
    """Applies a custom function after the layers of a graph."""

    function_name = "sine"

    def call(self, x, training=None, mask=None):
        return CUSTOM_FUNCTIONS[self.function_name][0](
            super().call(x, training=training, mask=mask)
        )


class SequentialWithCall(_CustomCall, keras.Sequential):
    pass


class FunctionalWithCall(_CustomCall, keras.Model):
    pass


def _sequential_with_call():
    return SequentialWithCall([keras.Input((3,)), L.Dense(5, "tanh"), L.Dense(4, "tanh")])


def _functional_with_call():
    x = keras.Input((3,))
    return FunctionalWithCall(x, L.Dense(4, "tanh")(L.Dense(5, "tanh")(x)))


def _nested_in_functional(make):
    def nested():
        x = keras.Input((3,))
        return keras.Model(x, L.Dense(2)(make()(x)))

    return nested


def _nested_in_sequential(make):
    return lambda: keras.Sequential([keras.Input((3,)), make(), L.Dense(2)])


@pytest.mark.parametrize("compiled", representatives([False, True], [False]))
@pytest.mark.parametrize(
    "function_name", representatives(CUSTOM_FUNCTIONS, ["stopped", "sine"])
)
@pytest.mark.parametrize(
    "make",
    [
        _sequential_with_call, _functional_with_call,
        _nested_in_functional(_functional_with_call), _nested_in_sequential(_sequential_with_call),
    ],
)  # fmt: skip
def test_call_of_a_graph_model_subclass_is_audited(
    monkeypatch, make, function_name, compiled
):
    monkeypatch.setattr(_CustomCall, "function_name", function_name)
    keras.utils.set_random_seed(0)
    model = make()
    if compiled:
        model.compile("adam", "mse")
    result = keras_smooth.audit(model)
    _, verdict, order = CUSTOM_FUNCTIONS[function_name]
    assert {cause(row) for row in result.rows} == {"ok"}
    assert (cause(result.model), result.model.order) == (verdict, order)
    assert result.model.smoothness == (0 if function_name == "ramp" else np.inf)
    assert keras_smooth.smoothness(model) == result.model.smoothness


def test_layer_without_config_is_audited():
    class Bound(L.Layer):
        def __init__(self, table):
            super().__init__()
            self.table = table

        def call(self, x):
            return ops.sin(x) * self.table

    model = keras.Sequential([keras.Input((2,)), Bound(tf.constant(3.0))])
    row = keras_smooth.audit(model).rows[0]
    assert row.verdict == "proven"


def _state(model):
    return [
        [weight.numpy().tolist() for weight in model.variables],
        [(layer.name, layer.trainable, layer.dtype, sorted(vars(layer))) for layer in model.layers],
        random.getstate(),
        np.random.get_state()[1].tolist(),
        keras.config.floatx(), keras.config.dtype_policy().name, model.compiled,
    ]  # fmt: skip


def test_compiled_model_is_not_modified_during_an_audit(monkeypatch):
    model = keras.Sequential(
        [keras.Input((3,)), L.Dense(2, "tanh"), L.LayerNormalization()]
    )
    model.compile("adam", loss=lambda y, p: ops.mean((y - p) ** 2))
    outer = keras.Sequential([keras.Input((3,)), model, L.Dense(1)])
    assigned = []
    original = keras.Sequential.__setattr__

    def recording_setattr(self, name, value):
        assigned.extend([name] if self in (model, outer) else [])
        original(self, name, value)

    monkeypatch.setattr(keras.Sequential, "__setattr__", recording_setattr)
    assert cause(keras_smooth.audit(outer).model) == "wrong"
    assert cause(keras_smooth.audit(model).model) == "wrong"
    # Keras itself sets attributes when a model is called.
    assert not {"compiled", "dtype_policy", "layers"} & set(assigned)


def test_audit_does_not_change_the_model_or_global_state():
    model = keras.Sequential(
        [keras.Input((3,)), L.Dense(4, "tanh", trainable=False), L.BatchNormalization(), L.Dropout(0.5),
         L.LayerNormalization(), L.Dense(1)]
    )  # fmt: skip
    model.compile("adam", loss=lambda y, p: ops.mean((y - p) ** 2))
    before = _state(model)
    keras_smooth.audit(model)
    assert _state(model) == before


@pytest.mark.parametrize("dtype", ["float64", "mixed_float16", "mixed_bfloat16"])
def test_models_of_other_dtypes_have_their_faults_reported(dtype):
    x = np.random.default_rng(0).normal(size=(4, 6))
    model = keras.Sequential(
        [L.Dense(5, "tanh", dtype=dtype), L.LayerNormalization(dtype=dtype)]
    )
    model(x)
    first, second = keras_smooth.audit(model).rows
    assert cause(first) == ("ok" if dtype == "float64" else "imprecise")
    # Either is possible: it depends on the points, which differ between versions of Keras.
    assert cause(second) in ("wrong", "not smooth")


def test_model_of_integers_has_nothing_to_differentiate():
    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), L.Embedding(4, 2), L.Flatten()]
    )
    rows = keras_smooth.audit(model).rows
    assert [row.verdict for row in rows] == ["proven", "proven"]
    assert "nothing to differentiate" in rows[0].reason


# Inputs and preprocessing layers that pass integers to a network.
INTEGER_INPUTS = {
    "counts": lambda: (keras.Input((3,), dtype="int64"), lambda x: x),
    "a lookup of integers": lambda: (
        keras.Input((3,), dtype="int64"),
        L.IntegerLookup(vocabulary=[1, 2, 3], output_mode="multi_hot"),
    ),
    "a lookup of words": lambda: (
        keras.Input((1,), dtype="string"),
        L.StringLookup(vocabulary=["a", "b"], output_mode="one_hot"),
    ),
    "a hash": lambda: (
        keras.Input((1,), dtype="string"),
        L.Hashing(num_bins=4, output_mode="multi_hot"),
    ),
}


@pytest.mark.parametrize("name", INTEGER_INPUTS)
@pytest.mark.parametrize("activation", ["relu", "selu", "tanh"])
def test_network_after_integers_has_nothing_to_differentiate(name, activation):
    x, preprocessing = INTEGER_INPUTS[name]()
    y = L.Dense(1)(L.Dense(4, activation, name="hidden")(preprocessing(x)))
    report = keras_smooth.audit(keras.Model(x, y))
    (hidden,) = (row for row in report.rows if row.name == "hidden")
    assert (hidden.verdict, report.model.verdict) == ("proven", "proven")
    assert "nothing to differentiate" in report.model.reason


def test_token_model_can_be_audited_after_its_embeddings():
    tokens = keras.Input((6,), dtype="int32")
    x = L.Embedding(10, 4, name="embedding")(tokens)
    model = keras.Model(tokens, L.Dense(1)(L.LayerNormalization()(x)))
    model_row = keras_smooth.audit(model).model
    assert model_row.verdict == "proven" and "keras.Model(" in model_row.reason
    after_embedding = keras.Model(model.get_layer("embedding").output, model.outputs)
    assert cause(keras_smooth.audit(after_embedding).rows[0]) == "wrong"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: keras_smooth.audit(np.sin), TypeError, "model or layer"),
        (lambda: keras_smooth.audit(L.Dense(2), order=0), ValueError, "1 or more"),
        (lambda: keras_smooth.audit(L.Dense(2), order=1.5), TypeError, "integer"),
        (
            lambda: keras_smooth.audit(L.Dense(2), x=np.zeros((0, 2))),
            ValueError,
            "at least one point",
        ),
    ],
)
def test_wrong_arguments_raise(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_report_prints_as_table_and_json():
    result = keras_smooth.audit(_branched_model())
    lines = str(result).splitlines()
    assert lines[0] == "Up to order 2, inference: faulty and training: faulty."
    assert lines[1].startswith("layer") and "sum" in str(result)
    assert any(line.startswith("    To do: ") for line in lines)
    content = json.loads(result.to_json())
    assert content["ok"] is False and content["order"] == 2
    assert [row["verdict"] for row in content["rows"]] == [
        row.verdict for row in result.rows
    ]


def test_rows_with_equal_findings_are_one_line_of_the_table():
    layers = [L.Dense(3, "tanh", name=f"dense_{i}") for i in range(5)]
    model = keras.Sequential([keras.Input((3,)), *layers, L.LayerNormalization()])
    result = keras_smooth.audit(model)
    text = str(result)
    assert len(result.rows) == 6 and "dense_0 and 4 more" in text and "dense_1" not in text
    model.layers[0]._name = "a\x1b[31mb"
    assert "\x1b" not in str(keras_smooth.audit(model))


def _run_audit(capsys, *arguments):
    status = cli.main(["audit", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_command_exit_status_order_and_json(capsys, tmp_path):
    good, bad = tmp_path / "good.keras", tmp_path / "bad.keras"
    keras.Sequential([keras.Input((2,)), L.Dense(3, "tanh")]).save(good)
    keras.Sequential([keras.Input((2,)), L.Dense(3, "elu")]).save(bad)
    assert _run_audit(capsys, good)[0] == 0
    assert _run_audit(capsys, bad, "--order", 1)[0] == 0
    status, out, _ = _run_audit(capsys, bad, "--json")
    assert status == 1 and json.loads(out)["rows"][0]["cause"] == "not smooth"


@pytest.mark.slow
def test_command_options_mode_x_and_import(capsys, tmp_path, monkeypatch):
    model, values = tmp_path / "model.keras", tmp_path / "x.npy"
    keras.Sequential([keras.Input((2,)), L.BatchNormalization()]).save(model)
    np.save(values, np.random.default_rng(0).normal(size=(4, 2)))
    assert _run_audit(capsys, model, "--mode", "inference", "--x", values)[0] == 0
    assert _run_audit(capsys, model, "--mode", "training", "--x", values)[0] == 1
    assert _run_audit(capsys, model)[0] == 1
    status, _, err = _run_audit(capsys, model, "--x", tmp_path / "absent.npy")
    assert status == 2 and "absent.npy" in err
    (tmp_path / "own_layers_of_a_user.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable('own_layers_of_a_user')\n"
        "class Own(keras.layers.Layer):\n"
        "    def __init__(self, **kwargs):\n"
        "        super().__init__(**kwargs)\n"
        "        self._kept = keras.random.normal(())\n"
        "    def call(self, x):\n"
        "        return self._kept * (x - keras.ops.mean(x, axis=0))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    status, _, err = _run_audit(capsys, model, "--import", "absent_module")
    assert status == 2 and "absent_module" in err
    module = importlib.import_module("own_layers_of_a_user")
    saved = tmp_path / "own.keras"
    keras.Sequential([keras.Input((2,)), module.Own()]).save(saved)
    # The outputs mix samples, so that the derivatives cannot be examined.
    assert _run_audit(capsys, saved, "--import", "own_layers_of_a_user")[0] == 3


def _named_function(x):
    return x


@keras.saving.register_keras_serializable(package="not_imported")
class UnregisteredLayer(L.Layer):
    def call(self, x):
        return x


def _model_writer(layer):
    def write(path):
        keras.Sequential([keras.Input((2,)), layer()]).save(path)
        keras.saving.get_custom_objects().pop("not_imported>UnregisteredLayer", None)

    return write


def _write_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.txt", "no model")


# The name of a file, how it is written, and a pattern of the message.
UNREADABLE_FILES = {
    "missing": ("a.keras", lambda path: None, "No such file or directory"),
    "directory": ("a.keras", lambda path: path.mkdir(), "is a directory"),
    "fifo": ("a.keras", os.mkfifo, "device, FIFO or socket"),
    "empty": ("a.keras", lambda path: path.write_bytes(b""), "is empty"),
    "text": ("a.keras", lambda path: path.write_text("no model"), "is no zip archive"),
    "hdf5": ("a.h5", lambda path: path.write_bytes(b"\x89HDF\r\n"), "is an HDF5 file"),
    "another zip": ("a.keras", _write_zip, "without config.json"),
    "another name": ("a.zip", lambda path: _write_model_as_zip(path), "ends in .keras"),
    "own class": (
        "a.keras",
        _model_writer(UnregisteredLayer),
        "class 'UnregisteredLayer'.*--import MODULE",
    ),
    "own function": (
        "a.keras",
        _model_writer(lambda: L.Dense(2, _named_function)),
        "function '_named_function'.*--import MODULE",
    ),
    "lambda": ("a.keras", _model_writer(lambda: L.Lambda(lambda x: x)), "safe_mode=False"),
    "lambda as activation": (
        "a.keras",
        _model_writer(lambda: L.Dense(2, lambda x: x)),
        "a lambda as an activation",
    ),
    "damaged": ("a.keras", lambda path: _write_empty_config(path), "Cannot read"),
}


def _write_modified_model(change=None, weights=None, compression=zipfile.ZIP_STORED):
    """Returns a function that writes a model with a changed config or other weights."""

    def write(path):
        model = keras.Sequential([keras.Input((3,)), L.Dense(4, "tanh"), L.Dense(1)])
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(contents["config.json"])
        if change is not None:
            change(config["config"]["layers"])
        contents["config.json"] = json.dumps(config).encode()
        contents["model.weights.h5"] = weights or contents["model.weights.h5"]
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)

    return write


def _with_huge_units(layers):
    layers[1]["config"]["units"] = 10**9


def _with_huge_embedding(layers):
    words = {"input_dim": 10**9, "output_dim": 8, "name": "words"}
    layers[1] |= {"class_name": "Embedding", "config": words}


def _with_huge_inputs(layers):
    layers[0]["config"]["batch_shape"] = [None, 10**9, 3]


def _with_huge_repeats(layers):
    repeat = {"n": 10**9, "name": "repeat"}
    layers.insert(2, {"module": "keras.layers", "class_name": "RepeatVector",
                      "config": repeat, "registered_name": None})  # fmt: skip


def _huge_hdf5_dataset():
    file = io.BytesIO()
    with h5py.File(file, "w") as weights:
        weights.create_dataset("a", (3, 10**9), "f4", chunks=(3, 1000), compression="gzip")
    return file.getvalue()


UNREADABLE_FILES |= {
    "units": ("a.keras", _write_modified_model(_with_huge_units), "config claims .* bytes"),
    "words": ("a.keras", _write_modified_model(_with_huge_embedding), "config claims .* bytes"),
    "inputs": ("a.keras", _write_modified_model(_with_huge_inputs), "numbers of 4 samples"),
    "outputs": (
        "a.keras",
        _write_modified_model(_with_huge_repeats),
        "repeat makes 16,000,000,000 numbers",
    ),
    "claimed weights": (
        "a.keras",
        _write_modified_model(weights=_huge_hdf5_dataset()),
        "claims 12,000,000,000 bytes",
    ),
    "zeros": (
        "a.keras",
        _write_modified_model(weights=bytes(2**27), compression=zipfile.ZIP_DEFLATED),
        "claims 134,217,728 bytes",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: L.Dense(4, kernel_initializer="orthogonal"),
        lambda: L.Dense(4, kernel_initializer=keras.initializers.Constant(2.0)),
        lambda: L.Embedding(50_000, 20),
        lambda: L.GRU(3),
        lambda: L.Dense(4, dtype="bfloat16"),
    ],
)
def test_models_with_plausible_file_sizes_are_read(tmp_path, make, monkeypatch):
    monkeypatch.setattr(claimed_sizes, "_SMALL", 1024)
    inputs = keras.Input((6,) if not isinstance(make(), L.GRU) else (5, 6))
    model = keras.Sequential([inputs, make()])
    model.save(tmp_path / "model.keras")
    loaded = model_files.read_model(str(tmp_path / "model.keras"))
    for old, new in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def _write_model_as_zip(path):
    _model_writer(lambda: L.Dense(2))(path.with_suffix(".keras"))
    path.with_suffix(".keras").rename(path)


def _write_empty_config(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")


@pytest.mark.filterwarnings("default:The object being serialized includes a `lambda`")
@pytest.mark.parametrize("name", UNREADABLE_FILES)
def test_command_reports_why_a_model_cannot_be_read(capsys, tmp_path, name):
    file, write, message = UNREADABLE_FILES[name]
    write(tmp_path / file)
    status, out, err = _run_audit(capsys, tmp_path / file)
    assert status == 2 and out == "" and "Traceback" not in err
    assert str(tmp_path / file) in err and re.search(message, err), err
    (sentence,) = err.splitlines()
    assert len(sentence) < 400 and sentence.endswith(".")


def test_command_reports_why_inputs_cannot_be_read(capsys, tmp_path):
    keras.Sequential([keras.Input((2,)), L.Dense(2)]).save(tmp_path / "model.keras")
    os.mkfifo(tmp_path / "fifo.npy")
    (tmp_path / "text.npy").write_text("1 2 3")
    np.savez(tmp_path / "two.npz", np.ones((1, 2)), np.ones((1, 2)))
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object))
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**13, 2)}
    with open(tmp_path / "huge.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with open(tmp_path / "negative.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (-1, 2)})
    truncated = (tmp_path / "cut.npy", np.ones((4, 2)))
    np.save(*truncated)
    os.truncate(truncated[0], 140)
    no_array = "expected one array of numbers, as numpy.save writes it"
    for name, message in {
        "fifo.npy": "FIFO",
        "text.npy": no_array,
        "two.npz": no_array,
        "objects.npy": no_array,
        "huge.npy": no_array,
        "negative.npy": no_array,
        "cut.npy": no_array,
        "absent.npy": "No such file",
    }.items():
        file = tmp_path / name
        status, out, err = _run_audit(capsys, tmp_path / "model.keras", "--x", file)
        assert status == 2 and out == "" and message in err and str(file) in err


def test_progress_is_called_for_each_layer():
    calls = []
    model = keras.Sequential(
        [keras.Input((2,)), L.Dense(2, name="a"), L.Dense(2, name="b")]
    )
    keras_smooth.audit(model, progress=lambda *arguments: calls.append(arguments))
    assert calls == [("a", 1, 2), ("b", 2, 2)]


@pytest.mark.parametrize(
    ("terminal", "seconds", "is_shown"),
    [(True, 0, True), (True, 60, False), (False, 0, False)],
)
def test_progress_line_appears_in_terminals_for_long_audits(terminal, seconds, is_shown):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=60)
    with progress.line(console, seconds) as show:
        show("outer/[bold]", 3, 7)
    assert ("3 of 7: outer/[bold]" in console.file.getvalue()) == is_shown


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("MobileNetV2", marks=pytest.mark.slow),
        *(
            pytest.param(name, marks=pytest.mark.study)
            for name in ("ResNet50", "EfficientNetB0", "ConvNeXtTiny")
        ),
    ],
)
def test_keras_applications_have_only_known_faults(name):
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(32, 32, 3), classes=10
    )
    result = keras_smooth.audit(model)
    faults = {(row.layer, cause(row)) for row in result.rows if cause(row) != "ok"}
    assert faults <= {
        ("ReLU", "not smooth"), ("Activation", "not smooth"), ("MaxPooling2D", "not smooth"),
        ("BatchNormalization", "wrong"), ("LayerNormalization", "wrong"),
    }  # fmt: skip
    assert faults
    normalizations = [row for row in result.rows if "Normalization" in row.layer]
    assert all(
        (cause(row), row.order) == ("wrong", 2)
        for row in normalizations
        if row.layer != "Normalization"
    )


class CallsSharedLayer(keras.layers.Layer):
    """A layer that calls another layer, which the model may call as well."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return 2.0 * self.inner(x)


class ModelWithActivationLayer(keras.Model):
    def __init__(self, activation):
        super().__init__()
        self.activation = activation
        self.dense = keras.layers.Dense(3, activation=activation)

    def call(self, x):
        return self.dense(x)


SHARED_ACTIVATIONS = {
    "shared activation": lambda relu: [relu, keras.layers.Dense(3, activation=relu)],
    "user's layer": lambda relu: [keras.layers.Dense(3), relu, CallsSharedLayer(relu)],
    "activation of the model": lambda relu: [ModelWithActivationLayer(relu)],
}


@pytest.mark.parametrize("name", SHARED_ACTIVATIONS)
def test_layer_has_the_faults_of_the_layers_that_it_calls(name):
    model = keras.Sequential(
        [keras.Input((2,)), *SHARED_ACTIVATIONS[name](keras.layers.ReLU())]
    )
    report = keras_smooth.audit(model, np.random.default_rng(0).normal(size=(5, 2)))
    verdicts = {row.layer: (row.cause, row.smoothness) for row in report.rows}
    for row in ("ReLU", list(verdicts)[-1]):
        assert verdicts[row] == ("not smooth", 0)


@pytest.mark.parametrize(
    ("shape", "axis", "cause"),
    [((1,), -1, "measured"), ((3, 1), -1, "measured"), ((1, 1), (1, 2), "measured"),
     ((3,), -1, "wrong"), ((1, 3), (1, 2), "wrong")],
)  # fmt: skip
def test_layer_normalization_of_one_value_is_constant(shape, axis, cause):
    layer = keras.layers.LayerNormalization(axis=axis)
    model = keras.Sequential([keras.Input(shape), layer])
    report = keras_smooth.audit(model, np.random.default_rng(0).normal(size=(5, *shape)))
    assert report.rows[0].cause == cause
