"""Copies of layers and models have the functions, state and outputs of the originals."""

import functools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from representatives import representatives

import keras_smooth
from keras_smooth.models import calls, copies, references

L = keras.layers
X = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
SEQUENCES = np.random.default_rng(1).normal(size=(4, 5, 6)).astype("float32")
WORDS = tf.constant([["a"], ["b"], ["c"], ["b"]])


def softplus(x):
    """Differs from Keras' function of this name."""
    return tf.math.softplus(5 * x) / 5


def tanh(x):
    return tf.tanh(x) * 2


class Positive(keras.constraints.Constraint):
    """Not registered with Keras."""

    def __call__(self, w):
        return ops.relu(w)


class Chain(L.Layer):
    """Has functions in a list and in a dict, serialized as Keras recommends."""

    def __init__(self, functions, table, **kwargs):
        super().__init__(**kwargs)
        self.functions, self.table = list(functions), dict(table)

    def get_config(self):
        serialized = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "functions": [serialized(function) for function in self.functions],
            "table": {key: serialized(function) for key, function in self.table.items()},
        }

    @classmethod
    def from_config(cls, config):
        deserialize = keras.saving.deserialize_keras_object
        functions = [deserialize(function) for function in config.pop("functions")]
        table = {
            key: deserialize(function) for key, function in config.pop("table").items()
        }
        return cls(functions, table, **config)

    def call(self, x):
        for function in self.functions:
            x = function(x)
        return self.table["last"](x)


class Raw(L.Layer):
    """Has a function object in its config, not serialized."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def get_config(self):
        return {**super().get_config(), "function": self.function}

    def call(self, x):
        return self.function(x)


class Named(L.Layer):
    """Has in its config the name of a function, as a key of a table of the class."""

    TABLE = {"softplus": softplus}

    def __init__(self, name_of_function, **kwargs):
        super().__init__(**kwargs)
        self.function = self.TABLE[name_of_function]

    def get_config(self):
        return {**super().get_config(), "name_of_function": self.function.__name__}

    def call(self, x):
        return self.function(x)


class Scaled(L.Layer):
    """Stores what `adapt` learns in attributes, not in variables."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale, self.shift = 1.0, np.zeros(6)

    def adapt(self, x):
        self.scale, self.shift = float(np.std(x)), np.mean(x, axis=0)

    def call(self, x):
        return (x - self.shift) / self.scale


class Within(L.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scaled, self.dense = Scaled(), [L.Dense(3, softplus), L.Dense(2)]

    def call(self, x):
        return self.dense[1](self.dense[0](self.scaled(x)))


def _adapted(layer, data=3 * X + 1):
    layer.adapt(data)
    return layer


def _within():
    layer = Within()
    layer.scaled.adapt(3 * X + 1)
    return layer


def _lora():
    layer = L.Dense(4)
    layer.build((None, 6))
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones((2, 4)))
    return layer


def _quantized():
    layer = L.Dense(4)
    layer.build((None, 6))
    layer.quantize("int8")
    return layer


FUNCTIONS = {
    "name of Keras": lambda: (L.Dense(3, softplus), X),
    "lambda": lambda: (L.Dense(3, lambda x: x**2), X),
    "partial": lambda: (L.Dense(3, functools.partial(keras.activations.elu, alpha=0.3)), X),
    "of TensorFlow": lambda: (L.Dense(3, tf.math.sin), X),
    "convolution": lambda: (L.Conv1D(3, 2, activation=tanh), SEQUENCES),
    "gates": lambda: (L.LSTM(3, activation=tanh, recurrent_activation=softplus), SEQUENCES),
    "cells": lambda: (L.RNN([L.LSTMCell(3, activation=tanh), L.GRUCell(2)]), SEQUENCES),
    "wrapped": lambda: (L.TimeDistributed(L.Dense(3, lambda x: tf.sin(x))), SEQUENCES),
    "directions": lambda: (L.Bidirectional(L.GRU(3, activation="tanh")), SEQUENCES),
    "Lambda": lambda: (L.Lambda(lambda x: x**2 + 1), X),
    "structures": lambda: (Chain([softplus, tf.sin], {"last": lambda x: 2 * x}), X),
    "raw": lambda: (Raw(lambda x: softplus(x)), X),
    "named": lambda: (Named("softplus"), X),
    "others": lambda: (
        L.Dense(
            3,
            kernel_initializer=keras.initializers.RandomNormal(seed=3),
            bias_initializer=lambda shape, dtype=None: ops.ones(shape, dtype),
            kernel_constraint=Positive(),
            kernel_regularizer=lambda w: ops.sum(w),
        ),
        X,
    ),
    "partial of ours": lambda: (
        L.Dense(3, keras_smooth.activations.partial("sin", w0=3.0)),
        X,
    ),
}
STATE = {
    "layer as activation": lambda: (L.Dense(3, L.ReLU(max_value=0.5)), X),
    "weights in it": lambda: (L.Dense(3, L.PReLU(alpha_initializer="ones")), X),
    "gates": lambda: (L.LSTM(3, activation=L.LeakyReLU(0.1)), SEQUENCES),
    "normalization": lambda: (_adapted(L.Normalization()), X),
    "bins": lambda: (_adapted(L.Discretization(num_bins=4)), X),
    "words": lambda: (_adapted(L.StringLookup(output_mode="one_hot"), WORDS), WORDS),
    "numbers": lambda: (
        _adapted(L.IntegerLookup(output_mode="one_hot"), np.array([[1], [5]])),
        tf.constant([[5], [1]]),
    ),
    "texts": lambda: (
        _adapted(L.TextVectorization(output_mode="tf_idf"), WORDS[:, 0]),
        WORDS,
    ),
    "attributes": lambda: (_adapted(Scaled()), X),
    "within": lambda: (_within(), X),
    "lora": lambda: (_lora(), X),
    "quantized": lambda: (_quantized(), X),
    "spectral": lambda: (L.SpectralNormalization(L.Dense(3, softplus)), X),
}


def _call(layer, x):
    x = tf.convert_to_tensor(x)
    return calls.Call((x,), {}, layer(x))


def _compared_copy(layer, dtype, call):
    copy = copies.copy_in(dtype, layer, *copies.arguments_in(dtype, call))
    copies.fill_and_compare(layer, copy, dtype, call)
    return copy


@pytest.mark.parametrize("name", FUNCTIONS)
def test_copy_has_the_same_function_objects(name):
    layer, x = FUNCTIONS[name]()
    call = _call(layer, x)
    before = references.functions(layer)
    copy = _compared_copy(layer, "float64", call)
    after = references.functions(layer)
    assert all(a is b for a, b in zip(before, after, strict=True))
    copied = references.functions(copy)
    assert before and all(a is b for a, b in zip(before, copied, strict=True))


@pytest.mark.parametrize(
    "name", representatives([*FUNCTIONS, *STATE], [*FUNCTIONS, *STATE][::3])
)
@pytest.mark.parametrize("dtype", ["float64", None])
def test_copy_has_the_same_outputs(name, dtype):
    layer, x = {**FUNCTIONS, **STATE}[name]()
    call = _call(layer, x)
    if dtype:
        copy = _compared_copy(layer, dtype, call)
    else:
        copy = copies.fresh_copy(layer)
        copies.build(copy, *call.arguments())
        copies.fill_and_compare(layer, copy, None, call)
    outputs = copy(*copies.arguments_in(dtype, call)[0])
    # Roundings of float32 in sums of a dozen terms of size one.
    tolerance = 2e-6 if dtype else 0.0
    if call.output.dtype.is_floating:
        np.testing.assert_allclose(outputs, call.output, rtol=0, atol=tolerance)
    else:
        np.testing.assert_array_equal(outputs, call.output)


def _shared_by_models():
    inputs, inner_inputs, shared = keras.Input((6,)), keras.Input((6,)), L.Dense(6, "tanh")
    inner = keras.Model(inner_inputs, shared(inner_inputs) * L.Dense(6)(inner_inputs))
    return keras.Model(inputs, inner(inputs) + shared(inputs))


def _shared_by_wrappers():
    inputs, shared = keras.Input((5, 6)), L.Dense(6)
    both = L.TimeDistributed(shared)(inputs) + L.TimeDistributed(shared)(ops.sin(inputs))
    return keras.Model(inputs, both + L.Dense(6)(inputs) + shared(inputs))


def _shared_by_sequentials():
    inputs, shared = keras.Input((6,)), L.Dense(6)
    pair = [keras.Sequential([keras.Input((6,)), shared, L.Dense(6)]) for _ in range(2)]
    return keras.Model(inputs, pair[1](inputs) - pair[0](inputs))


@pytest.mark.parametrize("dtype", [None, "float64"])
@pytest.mark.parametrize(
    "make", [_shared_by_models, _shared_by_wrappers, _shared_by_sequentials]
)
def test_copy_keeps_shared_layers_shared_and_in_order(make, dtype):
    model = make()
    copy = copies.fresh_copy(model, dtype)
    names = [[layer.name for layer in m.layers if layer.weights] for m in (model, copy)]
    assert names[0] == names[1]
    shapes = [[tuple(w.shape) for w in m.weights] for m in (model, copy)]
    assert shapes[0] == shapes[1]


class Forgetful(L.Layer):
    """Has a config without the number that it computes with."""

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self._kept = tf.constant(factor)

    def get_config(self):
        return super().get_config()

    def call(self, x):
        return x * tf.cast(self._kept, x.dtype)


def _forgetful_model(size):
    return keras.Sequential([keras.Input((6,)), Forgetful(2.0 + size, name="forgetful")])


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-4])
def test_copy_with_other_outputs_raises(size):
    layer = Forgetful(2.0 + size, name="forgetful")
    with pytest.raises(copies.CannotCopy, match="forgetful.*get_config"):
        _compared_copy(layer, "float64", _call(layer, X))
    model = _forgetful_model(size)
    with pytest.raises(ValueError, match="get_config"):
        keras_smooth.smoothen(model)
    row = keras_smooth.audit(model).rows[0]
    # The audit reads the layer itself, not a copy.
    assert row.verdict == "proven"
    model.add(L.Dense(1))
    model.compile(loss="mse")
    with pytest.raises(ValueError, match="get_config"):
        keras_smooth.fit_lbfgs(model, X, X[:, :1], dtype="float64", verbose=0)


@pytest.mark.parametrize("first", [L.Dense(8, softplus), _adapted(L.Normalization())])
def test_fit_in_float64_updates_the_model_itself(first):
    model = keras.Sequential([keras.Input((6,)), first, L.Dense(3, tanh), L.Dense(1)])
    model.compile(loss="mse")
    y = np.sin(X[:, :1])
    history = keras_smooth.fit_lbfgs(
        model, X, y, epochs=5, dtype="float64", jit_compile=False, verbose=0
    )
    expected = float(np.mean((model(X) - y) ** 2))
    # The weights are rounded to float32, six digits of a loss of order 0.1.
    assert history.result.fun == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_function_with_the_name_of_a_keras_activation_is_audited_itself():
    @tf.custom_gradient
    def tanh(x):
        y = tf.tanh(x)
        return y, lambda g: g * tf.stop_gradient(1 - y**2)

    model = keras.Sequential([keras.Input((6,)), L.Dense(3, tanh)])
    assert keras_smooth.audit(model).inference == "faulty"


@pytest.mark.parametrize("factor", [0.2, (0.1, 0.3), 0.0])
def test_random_shear_is_copied_though_keras_rejects_its_config(factor):
    shear = keras.layers.RandomShear(factor, factor, seed=1)
    copy = copies.fresh_copy(shear)
    assert copy.get_config() == shear.get_config()
    x = np.arange(16.0, dtype="float32").reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(copy(x, training=True), shear(x, training=True))
    model = keras.Sequential([keras.Input((4, 4, 1)), shear])
    smooth = keras_smooth.smoothen(model)
    np.testing.assert_allclose(smooth(x, training=False), x)


@pytest.mark.filterwarnings("error:The loss reads trainable variables")
def test_saved_model_layer_stays_in_smoothen_and_must_be_frozen_to_fit(tmp_path):
    inside = keras.Sequential([keras.Input((6,)), L.Dense(3, "relu")])
    inside.export(tmp_path / "inside", verbose=False)
    loaded = L.TFSMLayer(tmp_path / "inside", call_endpoint="serve")
    model = keras.Sequential([keras.Input((6,)), loaded, L.Dense(4, "relu"), L.Dense(1)])
    loaded.weights[0].assign(2.0 * loaded.weights[0])
    with pytest.warns(UserWarning, match=r"stay: \S+ \(TFSMLayer, C\^0, Relu\)"):
        smooth = keras_smooth.smoothen(model)
    assert keras_smooth.output_change(model, smooth, X).relative < 1.0
    model.compile(loss="mse")
    with pytest.raises(ValueError, match="SavedModel .*: freeze it"):
        keras_smooth.fit_lbfgs(model, X, X[:, :1], epochs=2, verbose=0, jit_compile=False)
    loaded.trainable = False
    before = [np.copy(weight) for weight in loaded.get_weights()]
    model.compile(loss="mse")
    keras_smooth.fit_lbfgs(model, X, X[:, :1], epochs=2, verbose=0, jit_compile=False)
    for old, new in zip(before, loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_lambdas_are_copied_without_a_warning():
    model = keras.Sequential([keras.Input((6,)), L.Dense(3, lambda x: ops.sin(x))])
    model.add(L.Lambda(lambda x: x**2))
    model.compile(loss="mse")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*lambda.*")
        assert keras_smooth.audit(model).inference == "proven"
        keras_smooth.smoothen(model)
        keras_smooth.fit_lbfgs(
            model, X, X[:, :3], epochs=1, dtype="float64", jit_compile=False, verbose=0
        )


@keras.saving.register_keras_serializable("copies")
class MakesItsLayers(L.Layer):
    """Makes layers in Keras' default dtype, which are not in its config."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = L.Dense(6, "tanh")
        self.rest = [L.Dropout(0.5), keras.Sequential([L.Dense(6, "gelu"), L.ReLU()])]

    def build(self, shape):
        self.first.build(shape)
        for part in self.rest:
            part.build(shape)

    def call(self, x):
        x = self.first(x)
        for part in self.rest:
            x = part(x)
        return x


@keras.saving.register_keras_serializable("copies")
class MakesNestedLayers(MakesItsLayers):
    """Such a layer inside such a layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = MakesItsLayers()


@pytest.mark.parametrize("kind", [MakesItsLayers, MakesNestedLayers])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_copy_has_its_dtype_in_layers_that_are_not_in_the_config(kind, dtype):
    layer = kind()
    layer(X)
    copy = copies.copy_in(dtype, layer, (X.astype(dtype),), {})
    copies.state.copy_state(layer, copy)
    assert {weight.dtype for weight in copy.trainable_weights} == {dtype}
    # A few rounding errors of numbers of size 1.
    np.testing.assert_allclose(copy(X), _in_numpy(copy, X), atol=TOLERANCE[dtype])
    # The original is unchanged.
    assert {weight.dtype for weight in layer.trainable_weights} == {"float32"}


TOLERANCE = {"float64": 1e-15, "float32": 1e-6}


def _in_numpy(layer, x):
    """Returns the outputs of the layer, computed by NumPy in float64."""
    if isinstance(layer.first, MakesItsLayers):
        y = _in_numpy(layer.first, x)
    else:
        y = np.tanh(
            x.astype("float64") @ layer.first.kernel.numpy() + layer.first.bias.numpy()
        )
    dense = layer.rest[1].layers[0]
    y = y @ dense.kernel.numpy() + dense.bias.numpy()
    return np.maximum(y * (1 + tf.math.erf(y / np.sqrt(2)).numpy()) / 2, 0.0)
