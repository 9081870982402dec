"""Models as users write them, in every form that Keras accepts.

Each model is one row. `tests/test_zoo.py` calls every public function with each of them.
"""

import dataclasses
import fnmatch
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops, tree

import keras_smooth

SAMPLES = 4
WORDS = 5


class Layers:
    """Keras' layers in one dtype: `L.Dense(3)` is `keras.layers.Dense(3, dtype=...)`."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def __getattr__(self, name: str) -> Callable:
        return functools.partial(getattr(keras.layers, name), dtype=self.dtype)

    def Input(self, *shape: int | None, **arguments: Any) -> Any:
        dtype = keras.dtype_policies.get(self.dtype).variable_dtype
        return keras.Input(shape, **{"dtype": dtype, **arguments})


@dataclasses.dataclass(frozen=True)
class Row:
    """A model and the expected results.

    Args:
        make: Returns the model, built from `Layers`.
        x: The inputs of the model.
        dtype: Dtype of the layers. The exact derivatives are those of a copy in float64.
        refused: Columns, or patterns of columns, that raise, and a word of the message.
        smoothness: Smoothness of the model; None if it cannot be traced.
        audit: Outcome of `audit`, the worse verdict of both modes.
        step: Step of the differences that give the exact derivatives.
        is_graph: Whether it is Sequential or Functional, as `smoothen` requires.
        fitted: Whether Keras can fit it, as `DerivativeMonitor` requires.
        rounds_as: Dtype that sets the tolerance, if a part of the model has a coarser one.
        saved: Whether Keras can save and load it.
        differs_in_training: Whether its outputs differ in training, as with Dropout.
        compiled: Arguments of `compile`.
    """

    make: Callable[[Layers], Any]
    x: Any
    dtype: str = "float64"
    refused: Mapping[str, str] = dataclasses.field(default_factory=dict)
    smoothness: float | None = math.inf
    audit: str = "proven"
    step: float = 0.1
    is_graph: bool = True
    fitted: bool = True
    rounds_as: str | None = None
    saved: bool = True
    differs_in_training: bool = False
    compiled: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def reason(self, column: str) -> str | None:
        """Returns a word of the message if a column has to refuse the model."""
        matching = (w for p, w in self.refused.items() if fnmatch.fnmatch(column, p))
        return next(matching, None)


ZOO: dict[str, Row] = {}


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=(SAMPLES, *shape)) * 0.7


def integers(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(1, WORDS, (SAMPLES, *shape)).astype("int32")


def row(x: Any, **expected: Any) -> Callable:
    """Adds a model under the name of the function that makes it."""

    def add(make: Callable) -> Callable:
        ZOO[make.__name__.replace("_", " ")] = Row(make, x, **expected)
        return make

    return add


def graphs(table: Mapping[str, Any], x: Any, **expected: Any) -> None:
    """Adds Functional models of one input, each given as a function of layers and a tensor."""
    for name, function in table.items():
        function, graph_expected = (
            function if isinstance(function, tuple) else (function, {})
        )
        ZOO[name] = Row(
            _graph(function, np.shape(x)[1:]), x, **{**expected, **graph_expected}
        )


def _graph(function: Callable, shape: tuple) -> Callable:
    def make(L: Layers) -> keras.Model:
        x = L.Input(*shape)
        return keras.Model(x, function(L, x))

    return make


def subclassed(x: Any, **expected: Any) -> Callable:
    """Adds a subclassed model."""

    def add(kind: type) -> type:
        name = kind.__name__[0] + "".join(
            f" {letter.lower()}" if letter.isupper() else letter
            for letter in kind.__name__[1:]
        )
        kind = keras.saving.register_keras_serializable("zoo")(kind)
        row_arguments = {"is_graph": False, **expected}
        ZOO[name.lower()] = Row(lambda L: kind(dtype=L.dtype), x, **row_arguments)
        return kind

    return add


# Sequential models.

COARSE = {"verify": "float64", "fit_lbfgs *": "float64"}
STACKS: dict[str, tuple] = {
    # Name: the layers, the inputs, the expected results.
    "dense": (lambda L: [L.Dense(3, "tanh"), L.Dense(2)], floats(2)),
    "one number to one": (lambda L: [L.Dense(3, "tanh"), L.Dense(1)], floats(1)),
    "float32": (
        lambda L: [L.Dense(3, "tanh"), L.Dense(1)], floats(2), dict(dtype="float32")),
    "mixed_float16": (
        lambda L: [L.Dense(3, "tanh"), L.Dense(1)], floats(2),
        dict(dtype="mixed_float16", audit="faulty",
             refused={k: v for k, v in COARSE.items() if k != "verify"})),
    "mixed_bfloat16": (
        lambda L: [L.Dense(3, "tanh"), L.Dense(1)], floats(2),
        dict(dtype="mixed_bfloat16", audit="faulty", refused=COARSE)),
    "linear": (lambda L: [L.Dense(2)], floats(3)),
    "relu": (
        lambda L: [L.Dense(3, "relu"), L.Dense(1)], floats(2),
        dict(smoothness=0, audit="faulty", step=1e-3)),
    "normalized batches": (
        lambda L: [L.Dense(3), L.BatchNormalization(), L.Activation("tanh"), L.Dense(1)],
        floats(2), dict(differs_in_training=True, audit="faulty",
                        refused={"DerivativeModel": "training=True"})),
    "normalized layers": (
        lambda L: [L.Dense(3, "tanh"), L.LayerNormalization(), L.Dense(1)], floats(2),
        dict(audit="faulty", refused={"derivatives tape": "StopGradient"}, step=0.02)),
    "adapted inputs": (
        lambda L: [_adapted(L, floats(2)), L.Dense(3, "tanh"), L.Dense(1)], floats(2)),
    "dropout": (
        lambda L: [L.Dense(3, "tanh"), L.Dropout(0.3), L.GaussianNoise(0.1), L.Dense(1)],
        floats(2), dict(differs_in_training=True)),
    "kernel regularizers": (
        lambda L: [L.Dense(3, "tanh", kernel_regularizer="l2"),
                   L.Dense(1, kernel_regularizer="l2", bias_regularizer="l2")],
        floats(2), dict(dtype="float32")),
    "activity regularizers": (
        lambda L: [L.Dense(3, "tanh", activity_regularizer="l2"),
                   L.ActivityRegularization(0.0, 0.1), L.Dense(1)],
        floats(2), dict(dtype="float32")),
    "a constraint": (
        lambda L: [L.Dense(3, "tanh", kernel_constraint="max_norm"), L.Dense(1)], floats(2),
        dict(refused={"fit_lbfgs loss": "constraint", "fit_lbfgs objective": "constraint"})),
    "a frozen layer": (
        lambda L: [L.Dense(3, "tanh", trainable=False), L.Dense(1)], floats(2)),
    "convolution of images": (
        lambda L: [L.Conv2D(2, 2, activation="tanh"), L.GlobalAveragePooling2D()],
        floats(3, 2, 1)),
    "max pooling": (
        lambda L: [L.Conv1D(2, 1, activation="tanh"), L.MaxPooling1D(2, padding="same"),
                   L.Flatten(), L.Dense(1)], floats(3, 1),
        dict(smoothness=0, audit="faulty", step=1e-3)),
    "recurrence both ways": (
        lambda L: [L.Bidirectional(L.LSTM(2)), L.Dense(1)], floats(2, 1)),
    "recurrence of stacked cells": (
        lambda L: [L.RNN(L.StackedRNNCells([L.LSTMCell(2), L.GRUCell(3)])), L.Dense(1)],
        floats(2, 1)),
    # Its outputs jump where a sample becomes 0.
    "masked recurrence": (
        lambda L: [L.Masking(), L.LSTM(2), L.Dense(1)], floats(2, 1),
        dict(smoothness=-1)),
    "own layers of the package": (
        lambda L: [keras_smooth.Dense(3, "logish", dtype=L.dtype),
                   keras_smooth.Activation("sin", dtype=L.dtype), L.Dense(1)], floats(2)),
    "images to images": (
        lambda L: [L.Conv2D(1, 2, padding="same", activation="softplus")], floats(2, 2, 1)),
    "a Lambda": (lambda L: [L.Dense(3), L.Lambda(tf.sin), L.Dense(1)], floats(2),
                 dict(saved=False)),
}  # fmt: skip


def _adapted(L: Layers, x: np.ndarray) -> keras.Layer:
    layer = L.Normalization()
    layer.adapt(x)
    return layer


def _stack(layers: Callable, shape: tuple) -> Callable:
    return lambda L: keras.Sequential([L.Input(*shape), *layers(L)])


for _name, (_layers, _x, *_expected) in STACKS.items():
    ZOO[_name] = Row(_stack(_layers, _x.shape[1:]), _x, **dict(*_expected))


@row(floats(2))
def Sequential_without_Input(L):
    return keras.Sequential([L.Dense(3, "tanh"), L.Dense(1)])


@row(floats(3, 1), saved=False)
def a_stateful_recurrence(L):
    x = keras.Input(batch_shape=(SAMPLES, 3, 1), dtype=L.dtype)
    return keras.Model(x, L.Dense(1)(L.GRU(2, stateful=True)(x)))


@row(floats(2))
def a_fixed_batch_size(L):
    x = keras.Input(batch_shape=(SAMPLES, 2), dtype=L.dtype)
    return keras.Model(x, L.Dense(1)(L.Dense(3, "tanh")(x)))


@row(floats(2), dtype="float32")
def low_rank_adaptation(L):
    model = keras.Sequential([L.Input(2), L.Dense(4, "tanh"), L.Dense(1)])
    model.layers[0].enable_lora(2)
    return model


# Quantized models are step functions, without meaningful derivatives.
QUANTIZED = {
    "derivatives *": "quantized", "gradient": "quantized", "jacobian": "quantized",
    "hessian": "quantized", "laplacian": "quantized", "directional": "quantized",
    "verify": "quantized", "tf.function *": "quantized", "fit_lbfgs objective": "quantized",
    "DerivativeModel": "quantized", "DerivativeMonitor": "quantized", "saved": "quantized",
    "by the weights": "quantized",
}  # fmt: skip


@row(floats(2), dtype="float32", refused=QUANTIZED, smoothness=-1, audit="faulty")
def quantized_to_int8(L):
    model = keras.Sequential([L.Input(2), L.Dense(4, "tanh"), L.Dense(1)])
    model.quantize("int8")
    return model


# Keras returns new values of the scales in the place of their gradients.
FLOAT8 = {**QUANTIZED, "fit_lbfgs loss": "float8"}


@row(floats(2), dtype="float32", refused=FLOAT8, smoothness=-1, audit="faulty")
def quantized_to_float8(L):
    model = keras.Sequential([L.Input(2), L.Dense(4, "tanh"), L.Dense(1)])
    model.quantize("float8")
    return model


# Functional models of one input: operations, branches, nested models.


def _net(L, x, units=1):
    return L.Dense(units)(L.Dense(3, "tanh")(x))


def _residual(L, x):
    for _ in range(2):
        x = x + L.Dense(2)(L.Dense(3, "tanh")(x))
    return L.Dense(1)(x)


def _shared(L, x):
    layer = L.Dense(2, "tanh")
    return L.Dense(1)(layer(layer(x)))


def _inside(L, x):
    inside = L.Input(2)
    model = keras.Model(inside, inside + _net(L, inside, 2))
    return L.Dense(1)(model(model(x)))


def _transformer(L, x):
    h = x + L.MultiHeadAttention(1, 2)(x, x)
    h = h + L.Dense(2)(L.Dense(3, "gelu")(h))
    return L.Dense(1)(L.Flatten()(h))


def _frozen_model(L, x):
    inside = keras.Sequential([L.Input(2), L.Dense(3, "tanh"), L.Dropout(0.5)])
    inside.trainable = False
    return L.Dense(1)(inside(x, training=False))


graphs(
    {
        "arithmetic": lambda L, x: 2.0 * L.Dense(2)(L.Dense(3, "tanh")(x) * 2 - 0.5) / 3 + x,
        "residual sums": _residual,
        "slices": lambda L, x: L.Dense(1)(L.Dense(3, "tanh")(x[:, :1])) * x[:, 1:],
        "boundary values built in": lambda L, x: x[:, :1] * (1 - x[:, :1]) * _net(L, x),
        "operations of keras.ops": lambda L, x: ops.sin(_net(L, x)) + ops.exp(-ops.square(x)),
        "concatenation": lambda L, x: L.Dense(1)(L.Concatenate()([L.Dense(2, "tanh")(x), x])),
        "shared layers": _shared,
        "models in models": _inside,
        "a scalar a sample": lambda L, x: _net(L, x)[:, 0],
        "matrices": lambda L, x: ops.matmul(ops.reshape(L.Dense(4, "tanh")(x), (-1, 2, 2)),
                                            ops.expand_dims(x, -1)),
        "a choice by value": (lambda L, x: ops.where(x > 5.0, x, ops.sin(_net(L, x, 2))),
                              dict(smoothness=-1)),
        "the larger of two": (lambda L, x: ops.maximum(_net(L, x), _net(L, x)),
                              dict(smoothness=0, audit="faulty", step=1e-3)),
        # In `fit`, Keras passes training=True even if the call in the graph has False.
        "a frozen model inside": (_frozen_model, dict(differs_in_training=True)),
        "several outputs in a dict": lambda L, x: {"u": _net(L, x), "p": _net(L, x, 2)},
        "outputs in a nest": lambda L, x: {"flow": (_net(L, x), _net(L, x)), "p": _net(L, x, 2)},
        "the input as an output": lambda L, x: {"x": x, "u": _net(L, x)},
    },
    floats(2),
)  # fmt: skip
graphs(
    {
        "attention": _transformer,
    },
    floats(2, 2),
)


# Functional models of several inputs.


def _several(*shapes):
    # Inputs of one shape get different numbers, or the twin towers would have equal outputs.
    return tuple(np.roll(floats(*shape), i, axis=0) for i, shape in enumerate(shapes))


@row(list(_several((2,), (1,))))
def inputs_in_a_list(L):
    a, b = L.Input(2), L.Input(1)
    return keras.Model([a, b], _net(L, ops.concatenate([a, b * 2], axis=-1)))


@row(dict(zip("tx", _several((1,), (1,)))))
def inputs_in_a_dict(L):
    t, x = L.Input(1, name="t"), L.Input(1, name="x")
    u = _net(L, L.Concatenate()([t, x]))
    return keras.Model({"t": t, "x": x}, {"u": u * x + t, "heat": u})


@row(dict(p=list(_several((1,), (1,))), q=floats(2)))
def inputs_in_a_nest(L):
    p, q = [L.Input(1), L.Input(1)], L.Input(2)
    y = _net(L, ops.concatenate([*p, q], axis=-1))
    return keras.Model({"p": p, "q": q}, y)


@row(dict(p=dict(a=floats(1), b=floats(2)), q=floats(1)))
def dicts_in_a_dict(L):
    a, b, q = L.Input(1, name="a"), L.Input(2, name="b"), L.Input(1, name="q")
    y = ops.concatenate([a * q, b * q], axis=-1)
    return keras.Model({"p": {"a": a, "b": b}, "q": q}, _net(L, y))


@row(list(_several((3,), (1,))))
def an_operator_network(L):
    function, point = L.Input(3), L.Input(1)
    branch, trunk = L.Dense(2, "tanh")(function), L.Dense(2, "tanh")(point)
    return keras.Model([function, point], L.Dot(axes=1)([branch, trunk]))


@row(list(_several((2,), (2,))))
def twins_that_share_weights(L):
    a, b = L.Input(2), L.Input(2)
    tower = keras.Sequential([L.Input(2), L.Dense(3, "tanh"), L.Dense(2)])
    return keras.Model([a, b], ops.sum((tower(a) - tower(b)) ** 2, -1, keepdims=True))


@row(dict(x=floats(2), kind=integers(1)))
def integers_beside_floats(L):
    x, kind = L.Input(2, name="x"), L.Input(1, name="kind", dtype="int32")
    embedded = L.Flatten()(L.Embedding(WORDS, 2)(kind))
    return keras.Model({"x": x, "kind": kind}, _net(L, L.Concatenate()([x, embedded])))


@row(dict(x=floats(2), words=integers(3)))
def masked_words_beside_floats(L):
    x, words = L.Input(2, name="x"), L.Input(3, name="words", dtype="int32")
    h = L.GRU(2)(L.Embedding(WORDS, 2, mask_zero=True)(words))
    return keras.Model({"x": x, "words": words}, _net(L, L.Concatenate()([x, h])))


NO_FLOATS = {
    pattern: "hold" for pattern in (
        "derivatives *", "gradient", "jacobian", "hessian", "laplacian", "directional",
        "verify", "tf.function *", "fit_lbfgs objective", "Derivative*", "saved",
        "by the weights")
}  # fmt: skip


@row(integers(3), refused=NO_FLOATS, smoothness=-1)
def words_alone(L):
    words = L.Input(3, dtype="int32")
    return keras.Model(words, L.Dense(1)(L.Flatten()(L.Embedding(WORDS, 2)(words))))


@row(dict(x=floats(2), on=integers(1) % 2 == 1))
def a_switch_beside_floats(L):
    x, on = L.Input(2, name="x"), L.Input(1, name="on", dtype="bool")
    return keras.Model({"x": x, "on": on}, ops.where(on, _net(L, x), _net(L, x)))


# Custom layers between two Dense layers.


@keras.saving.register_keras_serializable("zoo")
class Raw(keras.layers.Layer):
    """Calls TensorFlow directly, without `keras.ops`."""

    def call(self, x):
        return tf.math.log1p(tf.exp(tf.gather(x, [2, 0, 1], axis=1))) * tf.norm(
            x, axis=-1, keepdims=True
        )


@tf.custom_gradient
def _stable_softplus(x):
    def gradient(upstream):
        return upstream * tf.sigmoid(x)

    return tf.math.softplus(x), gradient


@keras.saving.register_keras_serializable("zoo")
class CustomGradient(keras.layers.Layer):
    def call(self, x):
        return _stable_softplus(x)


@keras.saving.register_keras_serializable("zoo")
class Recomputed(keras.layers.Layer):
    """Saves memory: the inner layer is computed again for the gradient."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(3, "tanh", dtype=self.dtype_policy)

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return tf.recompute_grad(self.inner)(x)


@keras.saving.register_keras_serializable("zoo")
class Weighted(keras.layers.Layer):
    """Adds weights and a loss."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        self.add_loss(0.1 * ops.mean(ops.square(self.scale)))
        return ops.tanh(self.scale * x)


@keras.saving.register_keras_serializable("zoo")
class Loop(keras.layers.Layer):
    """Has a loop of TensorFlow, such as the steps of an integrator."""

    def call(self, x):
        step = lambda i, h: (i + 1, h + 0.1 * tf.sin(h))  # noqa: E731
        return tf.while_loop(lambda i, h: i < 3, step, (0, x), maximum_iterations=3)[1]


@keras.saving.register_keras_serializable("zoo")
class Mapped(keras.layers.Layer):
    """Computes sample by sample."""

    def call(self, x):
        return tf.map_fn(lambda sample: tf.tanh(sample) * tf.reduce_sum(sample**2), x)


@keras.saving.register_keras_serializable("zoo")
class Force(keras.layers.Layer):
    """The negative gradient of an energy, by a tape in the layer."""

    def build(self, shape):
        self.stiffness = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            energy = tf.reduce_sum(self.stiffness * tf.sin(x) * tf.square(x), axis=-1)
        return -tape.gradient(energy, x)


@keras.saving.register_keras_serializable("zoo")
class SumOverSegments(keras.layers.Layer):
    """Reshapes the atoms of all samples into one array, and sums them for each sample."""

    def call(self, x):
        atoms = tf.reshape(tf.sin(x), (-1, 1))
        segments = tf.repeat(tf.range(tf.shape(x)[0]), x.shape[1])
        return tf.math.segment_sum(atoms, segments)


@keras.saving.register_keras_serializable("zoo")
class GatheredRows(keras.layers.Layer):
    """Pairs of atoms, gathered from the rows of all samples."""

    def call(self, x):
        rows = tf.tile(tf.range(tf.shape(x)[0])[:, None], (1, 2))
        pairs = tf.gather(x, rows)
        return tf.tanh(pairs[:, 0] * pairs[:, 1])


@keras.saving.register_keras_serializable("zoo")
class MixedSamples(keras.layers.Layer):
    def call(self, x):
        return x - tf.reduce_mean(tf.sin(x), axis=0)


@keras.saving.register_keras_serializable("zoo")
class Rounded(keras.layers.Layer):
    def call(self, x):
        return tf.sin(x) + tf.round(10 * x) / 10


@keras.saving.register_keras_serializable("zoo")
class Outside(keras.layers.Layer):
    """Calls a Python function, which has no gradient in TensorFlow."""

    def call(self, x):
        return tf.ensure_shape(tf.numpy_function(np.tanh, [x], x.dtype), x.shape)


@keras.saving.register_keras_serializable("zoo")
class Flagged(keras.layers.Layer):
    """Has Python control flow that depends on Python values."""

    def __init__(self, powers=(1, 2), **kwargs):
        super().__init__(**kwargs)
        self.powers = list(powers)

    def call(self, x, training=False):
        for power in self.powers:
            if power > 1:
                x = x + ops.sin(x) ** power
        return x if not training else x * 1.0

    def get_config(self):
        return {**super().get_config(), "powers": self.powers}


LOST = {
    pattern: "lost" for pattern in (
        "derivatives *", "gradient", "jacobian", "hessian", "laplacian", "directional",
        "verify", "tf.function *", "fit_lbfgs objective", "Derivative*", "saved",
        "by the weights")
}  # fmt: skip
MIXED = dict.fromkeys(LOST, "samples")
CUSTOM_LAYERS = {
    # Name: the layer, the expected results.
    "raw calls of TensorFlow": (Raw, dict(smoothness=0)),
    "a custom gradient": (CustomGradient, dict(audit="checked")),
    "a recomputed gradient": (
        Recomputed,
        dict(refused={"derivatives tape": "recompute_grad"}, audit="faulty"),
    ),
    "a layer with weights and a loss": (Weighted, dict(dtype="float32")),
    "a loop of TensorFlow": (Loop, {}),
    "a map over samples": (Mapped, {}),
    "a tape inside": (Force, {}),
    "sums over segments": (SumOverSegments, {}),
    "gathered rows": (GatheredRows, {}),
    "Python flags": (Flagged, {}),
    "a mean over the batch": (
        MixedSamples,
        dict(refused={**MIXED, "DerivativeMonitor": "mixes"}, audit="not examined"),
    ),
    "a rounding": (Rounded, dict(smoothness=-1, audit="faulty", step=1e-3)),
    "Python outside": (
        Outside,
        # A fit trains the layers after it, and names the weights before it, which stay.
        dict(smoothness=None, refused=LOST, audit="faulty"),
    ),
}
for _name, (_kind, _expected) in CUSTOM_LAYERS.items():
    ZOO[_name] = Row(
        lambda L, kind=_kind: keras.Sequential(
            [L.Input(2), L.Dense(3, "tanh"), kind(dtype=L.dtype), L.Dense(1)]
        ),
        floats(2),
        **_expected,
    )


@row(floats(3))
def segments_as_the_last_layer(L):
    x = L.Input(3)
    return keras.Model(x, SumOverSegments(dtype=L.dtype)(L.Dense(3, "tanh")(x)))


# Subclassed models.


class Base(keras.Model):
    """Has two layers and no `get_config`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        L = Layers(self.dtype_policy)
        self.hidden, self.last = L.Dense(3, "tanh"), L.Dense(1)

    def call(self, x):
        return self.last(self.hidden(x))


@subclassed(floats(2))
class SubclassedWithoutConfig(keras.Model):
    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        L = Layers(self.dtype_policy)
        self.stack = [L.Dense(units, "tanh"), L.Dense(units, "tanh"), L.Dense(1)]

    def call(self, x):
        for layer in self.stack:
            x = layer(x)
        return x


@subclassed(floats(2), dtype="float32")
class SubclassedWithConfig(SubclassedWithoutConfig):
    def get_config(self):
        return {**super().get_config(), "units": self.units}


# The shapes of its inputs are unknown.
@subclassed(
    floats(2), smoothness=None, refused={"saved": "not built", "standardized": "symbolic"}
)
class CallOverridden(Base):
    """Overrides `__call__`, as code for older versions does; Keras cannot build it."""

    def __call__(self, x, training=None, mask=None):
        return self.last(self.hidden(tf.convert_to_tensor(x)))


@subclassed(floats(2), saved=False)
class FlowOnPythonValues(Base):
    depth = 2

    def call(self, x, training=False):
        for number in range(self.depth):
            x = x + self.hidden(x)[:, :2] if number % 2 == 0 else ops.sin(x)
        return self.last(self.hidden(x))


@subclassed(
    floats(2),
    audit="checked",
    compiled={"run_eagerly": True},
    refused={
        "tf.function *": "tf.cond",
        "fit_lbfgs *": "tf.cond",
        "DerivativeMonitor": "tf.cond",
        "saved": "not built",
        "standardized": "symbolic",
    },
    smoothness=None,
)
class FlowOnTensorValues(Base):
    def call(self, x):
        h = self.hidden(x)
        if tf.reduce_sum(h) > 1e3:
            h = h * 0.0
        return self.last(h)


@subclassed(floats(2), refused={"fit_lbfgs loss": "train_step"})
class OwnTrainStep(Base):
    def train_step(self, data):
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        self.optimizer.apply(
            tape.gradient(loss, self.trainable_variables), self.trainable_variables
        )
        return {"loss": loss}


@subclassed(floats(2))
class OwnLoss(Base):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(
            ops.square(ops.sin(ops.cast(y, y_pred.dtype)) - y_pred)
        ) + 0.1 * ops.mean(y_pred**2)


@subclassed(floats(2), dtype="float32")
class LossInTheCall(Base):
    def call(self, x):
        y = super().call(x)
        self.add_loss(0.1 * ops.mean(ops.square(y)))
        return y


@subclassed(dict(x=floats(2), t=floats(1)))
class InputsByName(Base):
    def call(self, inputs):
        u = super().call(ops.concatenate([inputs["x"], inputs["t"]], axis=-1))
        return {"u": u, "flux": u * inputs["t"]}


@subclassed(floats(2), differs_in_training=True)
class TrainingAsArgument(Base):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dropout = Layers(self.dtype_policy).Dropout(0.5)

    def call(self, x, training=False):
        return self.last(self.dropout(self.hidden(x), training=training))


@subclassed(floats(2))
class TiedWeights(keras.Model):
    """An autoencoder that decodes with the transposed kernel."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = Layers(self.dtype_policy).Dense(3, "tanh")

    def call(self, x):
        return ops.matmul(self.hidden(x), ops.transpose(self.hidden.kernel))


@subclassed(floats(2))
class Potential(Base):
    """Returns the negative gradient of a learned energy."""

    def call(self, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            energy = super().call(x)
        return -tape.gradient(energy, x)


@subclassed(floats(2))
class TuplesOfOutputs(Base):
    def call(self, x):
        h = self.hidden(x)
        return self.last(h), h


class InheritedGraph(keras.Model):
    """A subclass of a Functional model."""

    def __init__(self, x, y, **kwargs):
        super().__init__(x, y, **kwargs)


@row(floats(2), saved=False)
def a_subclass_of_Functional(L):
    x = L.Input(2)
    return InheritedGraph(x, _net(L, x) + x[:, :1])


@row(floats(1), is_graph=False, smoothness=None, refused={"standardized": "Standardize"})
def a_model_of_derivatives(L):
    inner = keras.Sequential([L.Input(1), L.Dense(3, "tanh"), L.Dense(1)])
    return keras_smooth.DerivativeModel(inner, order=1)


@row(floats(2))
def a_loaded_model(L):
    x = L.Input(2)
    model = keras.Model(x, _net(L, x) * x[:, :1])
    return keras.Model.from_config(model.get_config())


@row(floats(2), is_graph=False, fitted=False, saved=False)
def a_layer(L):
    return L.Dense(2, "tanh")


# Models as in research code.


@row(floats(3, 2), step=0.02, audit="faulty", differs_in_training=True,
     refused={"derivatives tape": "StopGradient"})  # fmt: skip
def a_transformer_block(L):
    x = L.Input(3, 2)
    h = L.Dense(4)(x)
    a = L.MultiHeadAttention(2, 2, dropout=0.1)(h, h, use_causal_mask=True)
    h = L.LayerNormalization(epsilon=0.1)(h + a)
    h = L.LayerNormalization(epsilon=0.1)(h + L.Dense(4)(L.Dense(5, "gelu")(h)))
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling1D()(h)))


@row(floats(3, 2))
def layers_by_time(L):
    x = L.Input(3, 2)
    h = L.TimeDistributed(L.Dense(3, "tanh"))(x)
    h = L.EinsumDense("btd,de->bte", (None, 2), bias_axes="e", activation="silu")(h)
    return keras.Model(x, L.Dense(1)(L.GlobalAveragePooling1D()(h)))


@row(list(_several((2,), (2,))))
def a_submodel_with_two_outputs(L):
    inside = L.Input(2)
    h = L.Dense(3, "tanh")(inside)
    coder = keras.Model(inside, {"mean": L.Dense(2)(h), "scale": L.Dense(2, "softplus")(h)})
    a, b = L.Input(2), L.Input(2)
    first, second = coder(a), coder(b)
    distance = (first["mean"] - second["mean"]) ** 2 / (first["scale"] + second["scale"])
    return keras.Model([a, b], {"distance": distance, "first": first["mean"]})


# TensorFlow resizes only in float32, and has no second derivative of resizing.
@row(floats(4, 4, 1) * 3, dtype="float32", audit="faulty", step=0.8,
     refused={"derivatives tape": "Resizing", "verify": "float64"})  # fmt: skip
def rescaled_and_resized_images(L):
    x = L.Input(4, 4, 1)
    h = L.Resizing(3, 3)(L.Rescaling(0.25, 0.1)(x))
    h = L.Conv2D(2, 2, activation="tanh")(h)
    return keras.Model(x, L.Dense(1)(L.Flatten()(h)))


@row(floats(2), dtype="float32", rounds_as="mixed_bfloat16", audit="faulty", refused=COARSE)
def a_coarse_submodel(L):
    policy = "mixed_bfloat16" if L.dtype == "float32" else L.dtype
    coarse = Layers(policy)
    inside = keras.Sequential([coarse.Dense(3, "tanh"), coarse.Dense(3, "tanh")])
    x = L.Input(2)
    return keras.Model(x, L.Dense(1)(inside(x)))


@row(floats(2))
def Sequentials_in_a_graph(L):
    x = L.Input(2)
    branches = [keras.Sequential([L.Dense(3, "tanh"), L.Dense(2)]) for _ in range(2)]
    return keras.Model(x, L.Dense(1)(ops.multiply(*(branch(x) for branch in branches))))


@row(dict(x=floats(2), place=np.array([["sea"], ["land"], ["sea"], ["ice"]])))
def text_beside_floats(L):
    x, place = L.Input(2, name="x"), L.Input(1, name="place", dtype="string")
    number = keras.layers.StringLookup(vocabulary=["sea", "land"])(place)
    h = L.Flatten()(L.Embedding(3, 2)(number))
    return keras.Model({"x": x, "place": place}, _net(L, L.Concatenate()([x, h])))


@row(floats(3), smoothness=0)
def Fourier_features(L):
    x = L.Input(3)
    kernel = keras.initializers.RandomNormal(seed=1)
    phase = L.Dense(4, kernel_initializer=kernel, use_bias=False, trainable=False)(x)
    h = ops.concatenate([ops.sin(phase), ops.cos(phase)], axis=-1)
    radius = ops.norm(x, axis=-1, keepdims=True)
    return keras.Model(x, (1 - radius**2) * _net(L, h))


@row(list(_several((2,), (1,))))
def a_network_that_gives_weights(L):
    code, point = L.Input(2), L.Input(1)
    kernel = ops.reshape(L.Dense(9, "tanh")(code), (-1, 3, 3))
    h = ops.tanh(ops.einsum("bi,bij->bj", L.Dense(3, "tanh")(point), kernel))
    return keras.Model([code, point], L.Dense(1)(h))


@row(floats(2))
def a_mixture_of_densities(L):
    x = L.Input(2)
    share = ops.log_softmax(L.Dense(3)(x))
    mean, scale = L.Dense(3)(x), L.Dense(3, "softplus")(x) + 0.5
    logs = share - ((x[:, :1] - mean) / scale) ** 2 / 2 - ops.log(scale)
    return keras.Model(x, ops.logsumexp(logs, axis=-1, keepdims=True))


@row(floats(3), smoothness=0, step=0.05, audit="faulty", differs_in_training=True)
def a_wrapped_layer(L):
    x = L.Input(3)
    h = L.SpectralNormalization(L.Dense(3, "tanh"))(x)
    return keras.Model(x, L.Dense(1)(L.UnitNormalization()(h)))


@keras.saving.register_keras_serializable("zoo")
class Scanned(keras.layers.Layer):
    """Computes running values over time, as a filter does."""

    def call(self, x):
        steps = tf.transpose(x, (1, 0, 2))
        states = tf.scan(lambda h, z: tf.tanh(0.5 * h + z), steps, tf.zeros_like(steps[0]))
        return tf.transpose(states, (1, 0, 2))


@keras.saving.register_keras_serializable("zoo")
class ScannedByKeras(keras.layers.Layer):
    def call(self, x):
        def step(h, z):
            h = ops.tanh(0.5 * h + z)
            return h, h

        steps = ops.transpose(x, (1, 0, 2))
        _, states = ops.scan(step, ops.zeros_like(steps[0]), steps)
        return ops.transpose(states, (1, 0, 2))


@keras.saving.register_keras_serializable("zoo")
class Flow(keras.layers.Layer):
    """A neural differential equation, integrated by a Runge-Kutta method."""

    def __init__(self, steps=3, **kwargs):
        super().__init__(**kwargs)
        self.steps = steps
        self.field = keras.layers.Dense(2, "tanh", dtype=self.dtype_policy)

    def build(self, shape):
        self.field.build(shape)

    def call(self, x):
        h = 1.0 / self.steps

        def step(_, x):
            return x + h * self.field(x + h / 2 * self.field(x))

        return ops.fori_loop(0, self.steps, step, x)

    def get_config(self):
        return {**super().get_config(), "steps": self.steps}


@keras.saving.register_keras_serializable("zoo")
class Chosen(keras.layers.Layer):
    """Chooses one of two branches for all samples by the value of a weight."""

    def build(self, shape):
        self.switch = self.add_weight(shape=(), initializer="ones", trainable=False)

    def call(self, x):
        return ops.cond(self.switch > 0, lambda: ops.sin(x), lambda: x)


@keras.saving.register_keras_serializable("zoo")
class Atoms(keras.layers.Layer):
    """Sums the atoms of each sample, by segment ids over the whole batch."""

    def call(self, x):
        size = ops.shape(x)[0]
        atoms = ops.reshape(ops.sin(x) * x, (-1, 1))
        segments = ops.repeat(ops.arange(size), x.shape[1])
        return ops.segment_sum(atoms, segments, num_segments=size)


@keras.saving.register_keras_serializable("zoo")
class Solved(keras.layers.Layer):
    """Solves a linear system for each sample."""

    def call(self, x):
        matrix = ops.einsum("bi,bj->bij", x, x) + 2 * tf.eye(x.shape[1], dtype=x.dtype)
        return ops.solve(matrix, ops.tanh(x)[..., None])[..., 0]


@keras.saving.register_keras_serializable("zoo")
class Experts(keras.layers.Layer):
    """Combines the two of three experts that have the largest gate values."""

    def build(self, shape):
        self.gate = self.add_weight(shape=(shape[-1], 3))
        self.expert = self.add_weight(shape=(3, shape[-1], 2))

    def call(self, x):
        values, indices = ops.top_k(ops.matmul(x, self.gate), 2)
        outputs = ops.tanh(ops.einsum("bi,eij->bej", x, self.expert))
        chosen = tf.gather(outputs, indices, batch_dims=1)
        return ops.sum(ops.softmax(values)[..., None] * chosen, axis=1)


RESEARCH = {
    "a scan of TensorFlow": (Scanned, floats(3, 2), {}),
    "a scan of Keras": (ScannedByKeras, floats(3, 2), {}),
    "a neural differential equation": (Flow, floats(2), {}),
    "a way by a weight": (Chosen, floats(2), {}),
    "atoms by segments": (Atoms, floats(3), {}),
    "a linear system": (Solved, floats(2), {}),
    "a mixture of experts": (
        Experts,
        floats(2),
        dict(smoothness=-1, audit="faulty", step=1e-3),
    ),
}
for _name, (_kind, _x, _expected) in RESEARCH.items():
    ZOO[_name] = Row(
        lambda L, kind=_kind, shape=_x.shape[1:]: keras.Sequential(
            [
                L.Input(*shape),
                L.Dense(2, "tanh"),
                kind(dtype=L.dtype),
                L.Flatten(),
                L.Dense(1),
            ]
        ),
        _x,
        **_expected,
    )


@subclassed(floats(2), smoothness=-1, fitted=False, saved=False, audit="not examined",
            refused={"fit_lbfgs *": "tf.function"})  # fmt: skip
class CompiledCall(Base):
    """Has a compiled `call` with control flow of AutoGraph, which Keras cannot fit."""

    @tf.function
    def call(self, x):
        h = self.hidden(x)
        if tf.reduce_sum(h) > 1e3:
            h = h * 0.0
        return self.last(h)


@subclassed(floats(2), saved=False)
class VariablesOfTensorflow(Base):
    """Has a `tf.Variable`, which Keras neither trains nor saves."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scale = tf.Variable(tf.ones((), self.dtype_policy.variable_dtype))

    def call(self, x):
        return super().call(x * self.scale)


@subclassed(floats(2))
class MetricsOfItsOwn(Base):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.tracker = keras.metrics.Mean(name="size")
        self.blocks = {"first": [self.hidden], "last": self.last}

    def call(self, x):
        for layer in self.blocks["first"]:
            x = layer(x)
        self.tracker.update_state(ops.mean(ops.abs(x)))
        return self.blocks["last"](x)


def build_model(row: Row, dtype: str | None = None) -> Any:
    """Returns the built model of a row, with weights unlike initial ones."""
    keras.utils.set_random_seed(1)
    model = row.make(Layers(dtype or row.dtype))
    model(tree.map_structure(tf.constant, in_dtype(row.x, dtype or row.dtype)))
    rng = np.random.default_rng(3)
    for weight in model.variables:
        if weight.trainable or "moving" in weight.path:
            if weight.dtype.startswith("float"):
                weight.assign(
                    np.asarray(weight) + 0.2 * np.abs(rng.normal(size=weight.shape))
                )
    return model


def in_dtype(x: Any, dtype: str) -> Any:
    """Returns inputs with their floats cast to the dtype of a model's variables."""
    dtype = keras.dtype_policies.get(dtype).variable_dtype
    return tree.map_structure(lambda a: a.astype(dtype) if a.dtype.kind == "f" else a, x)


def variables_of(model: Any) -> list[keras.Variable]:
    """Returns the variables of a model and the states of its recurrent layers."""
    states = (getattr(layer, "states", None) for layer in getattr(model, "layers", ()))
    state_variables = [
        s for s in tree.flatten(list(states)) if isinstance(s, keras.Variable)
    ]
    return [*model.variables, *state_variables]
