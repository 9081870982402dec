"""Random Keras models, each from a seed, of various layers, operations, nesting and inputs.

A part of a model is a row of a table: a function of a `Draw` and a symbolic tensor of a
certain rank, which returns another tensor. `random_model` composes such parts.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_smooth

L = keras.layers
VECTOR, SEQUENCE, IMAGE = 2, 3, 4  # ranks
SAMPLES, STEPS, SIDE, WORDS = 3, 4, 4, 5


# Custom functions, some of them with the names of Keras' activations.


def softplus(x):
    return tf.math.softplus(5 * x) / 5


def tanh(x):
    return 2 * tf.tanh(x)


def relu(x):
    """Is smooth, in spite of its name."""
    return x * ops.sigmoid(3 * x)


def bump(x):
    return ops.exp(-ops.square(x))


def scaled_sine(x, w0=1.0):
    return ops.sin(w0 * x)


@tf.custom_gradient
def first_order_only(x):
    """Returns sin(x), with a gradient that is stopped in higher orders."""
    return tf.sin(x), lambda upstream: upstream * tf.stop_gradient(tf.cos(x))


@tf.custom_gradient
def twice_the_slope(x):
    return tf.sin(x), lambda upstream: 2 * upstream * tf.cos(x)


# Custom layers.


class Polynomial(L.Layer):
    """x + factor x^2."""

    def __init__(self, factor=0.3, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}

    def call(self, x):
        return x + self.factor * x**2


class Block(L.Layer):
    """A hidden layer with a function of any kind and a skip connection."""

    def __init__(self, units, function, **kwargs):
        super().__init__(**kwargs)
        self.units, self.function = units, function
        self.hidden = L.Dense(units, function, dtype=self.dtype_policy)

    def build(self, shape):
        self.outer = L.Dense(shape[-1], dtype=self.dtype_policy)
        self.hidden.build(shape)
        self.outer.build((*shape[:-1], self.units))

    def get_config(self):
        return {**super().get_config(), "units": self.units, "function": self.function}

    def call(self, x):
        return x + self.outer(self.hidden(x))


class Learned(L.Layer):
    """Stores what `adapt` learns in attributes, not in variables."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mean, self.deviation = 0.0, 1.0

    def adapt(self, x):
        self.mean, self.deviation = float(np.mean(x)), float(np.std(x))

    def call(self, x):
        return (x - self.mean) / self.deviation


class Warmer(L.Layer):
    """Computes another function in training."""

    def call(self, x, training=False):
        return ops.sin(2 * x) if training else ops.sin(x)


class FarKink(L.Layer):
    def __init__(self, kink=0.7, **kwargs):
        super().__init__(**kwargs)
        self.kink = kink

    def get_config(self):
        return {**super().get_config(), "kink": self.kink}

    def call(self, x):
        return x + 0.3 * ops.relu(x - self.kink)


class SkipsZeros(L.Layer):
    """Makes a mask, as Masking does."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, x, previous_mask=None):
        return ops.any(ops.not_equal(x, 0.0), axis=-1)

    def call(self, x):
        return x * 1.0


class Net(keras.Model):
    """A subclassed model that can be copied."""

    def __init__(self, units, function, **kwargs):
        super().__init__(**kwargs)
        self.units, self.function = units, function
        self.first = L.Dense(units, function, dtype=self.dtype_policy)
        self.second = L.Dense(2, dtype=self.dtype_policy)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "function": self.function}

    def call(self, x):
        return self.second(self.first(x)) + ops.sum(x, axis=-1, keepdims=True)


class Draw:
    """Random choices for one model, and their counts.

    Args:
        seed: Seed of all choices. Models of one seed are the same in every dtype.
        dtype: "float32" or "float64".
        faults: Probability of a part that has kinks or wrong derivatives.

    Attributes:
        used: Counts of the rows of the tables that were chosen.
    """

    def __init__(self, seed: int, dtype: str, faults: float):
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype
        self.faults = faults
        self.used = collections.Counter()
        self.inputs = 0

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def one_of(self, rows: dict) -> Any:
        """Returns a random row of a table, and counts it."""
        name = list(rows)[self.number(0, len(rows) - 1)]
        self.used[name] += 1
        return rows[name]

    def units(self) -> int:
        return self.number(2, 4)

    def function(self) -> Any:
        """Returns a smooth activation, or a faulty one with the probability `faults`."""
        rows = FAULTY_FUNCTIONS if self.chance(self.faults) else FUNCTIONS
        activation = self.one_of(rows)
        return activation(self) if isinstance(activation, _PerModel) else activation

    def keras(self, name: str, *args, **kwargs) -> L.Layer:
        return getattr(L, name)(*args, dtype=self.dtype, **kwargs)

    def ours(self, name: str, *args, **kwargs) -> L.Layer:
        return getattr(keras_smooth.layers, name)(*args, dtype=self.dtype, **kwargs)

    def input(self, *shape: int, dtype: str | None = None):
        self.inputs += 1
        return keras.Input(shape, dtype=dtype or self.dtype, name=f"input_{self.inputs}")

    def data(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape).astype("float32")

    def call(self, layer: L.Layer, *args):
        """Calls a layer, sometimes with `training=False`."""
        if not self.chance(0.1):
            return layer(*args)
        self.used["training=False"] += 1
        return layer(*args, training=False)


class _PerModel:
    """An activation that is made anew for each model."""

    def __init__(self, make: Callable):
        self.make = make

    def __call__(self, draw: Draw) -> Callable:
        return self.make(draw)


FUNCTIONS = {
    "tanh": "tanh", "gelu": "gelu", "silu": "silu", "softplus": "softplus",
    "sigmoid": "sigmoid", "exponential of tanh": lambda x: ops.exp(ops.tanh(x)),
    "mish": "mish", "log_sigmoid": "log_sigmoid", "softmax": "softmax", "linear": None,
    "user's softplus": softplus, "user's tanh": tanh, "user's relu": relu,
    "user's bump": bump, "lambda": lambda x: ops.sin(2 * x) + 0.1 * x,
    "partial": functools.partial(scaled_sine, w0=1.5),
    "partial of Keras": functools.partial(keras.activations.gelu, approximate=True),
    "tf.math": tf.math.sin,
    "sin of ours": _PerModel(lambda d: keras_smooth.activations.partial("sin", w0=2.0)),
    "layer as function": _PerModel(lambda d: d.keras("Activation", "silu")),
}  # fmt: skip
FAULTY_FUNCTIONS = {
    "relu": "relu", "elu": "elu", "selu": "selu", "leaky_relu": "leaky_relu",
    "relu6": "relu6", "celu": "celu", "softsign": "softsign", "hard_silu": "hard_silu",
    "hard_sigmoid": "hard_sigmoid", "tf.nn.relu": tf.nn.relu,
    "first order only": first_order_only, "twice the slope": twice_the_slope,
    "ReLU as function": _PerModel(lambda d: d.keras("ReLU")),
    "lambda with a kink": lambda x: ops.maximum(x, 0.2) * x,
}  # fmt: skip


def _adapted(layer: L.Layer, data: np.ndarray) -> L.Layer:
    layer.adapt(data)
    return layer


def _same(function: Callable) -> Callable:
    """Returns a row that applies a function of the tensor alone."""
    return lambda draw, x: function(x)


def _with_other(function: Callable) -> Callable:
    """Returns a row that combines a tensor and the output of a layer for it."""

    def row(draw, x):
        other = draw.keras("Dense", x.shape[-1], draw.function())(x)
        return function(draw, x, other)

    return row


def _merged(name: str, **kwargs) -> Callable:
    return _with_other(lambda draw, x, y: draw.keras(name, **kwargs)([x, y]))


ANY_RANK = {
    "Dense": lambda d, x: d.call(d.keras("Dense", d.units(), d.function()), x),
    "keras_smooth.Dense": lambda d, x: d.call(d.ours("Dense", d.units(), "tanh"), x),
    "Activation": lambda d, x: d.keras("Activation", d.function())(x),
    "Softmax": lambda d, x: d.keras("Softmax")(x),
    "Dropout": lambda d, x: d.call(d.keras("Dropout", 0.3, seed=1), x),
    "GaussianNoise": lambda d, x: d.call(d.keras("GaussianNoise", 0.3, seed=1), x),
    "AlphaDropout": lambda d, x: d.call(d.keras("AlphaDropout", 0.3, seed=1), x),
    "BatchNormalization": lambda d, x: d.call(d.keras("BatchNormalization"), x),
    "keras_smooth.BatchNormalization": lambda d, x: d.ours("BatchNormalization")(x),
    "RMSNormalization": lambda d, x: d.keras("RMSNormalization", epsilon=0.1)(x),
    "keras_smooth.LayerNormalization": lambda d, x: d.ours("LayerNormalization")(x),
    "keras_smooth.UnitNormalization": lambda d, x: d.ours("UnitNormalization")(x + 2.0),
    "Rescaling": lambda d, x: d.keras("Rescaling", 0.7, 0.1)(x),
    "Identity": lambda d, x: d.keras("Identity")(x),
    "ActivityRegularization": lambda d, x: d.keras("ActivityRegularization", l2=0.1)(x),
    "Normalization": lambda d, x: _adapted(
        d.keras("Normalization"), 2 * d.data(8, *x.shape[1:]) + 1
    )(x),
    "user's Polynomial": lambda d, x: Polynomial(dtype=d.dtype)(x),
    "user's Block": lambda d, x: Block(d.units(), d.function(), dtype=d.dtype)(x),
    "user's Learned": lambda d, x: _adapted(Learned(dtype=d.dtype), 3 * d.data(9) + 1)(x),
    "user's Warmer": lambda d, x: d.call(Warmer(dtype=d.dtype), x),
    "Lambda": lambda d, x: d.keras("Lambda", lambda x: ops.cos(x) * x)(x),
    "Lambda of a function": lambda d, x: d.keras("Lambda", bump)(x),
    "Add": _merged("Add"), "Multiply": _merged("Multiply"), "Average": _merged("Average"),
    "Subtract": _merged("Subtract"), "Concatenate": _merged("Concatenate"),
    "ops.sin": _same(ops.sin), "ops.tanh": _same(ops.tanh), "ops.square": _same(ops.square),
    "ops.exp": _same(lambda x: ops.exp(-ops.square(x))), "ops.erf": _same(ops.erf),
    "ops.sqrt": _same(lambda x: ops.sqrt(1.0 + ops.square(x))),
    "ops.log1p": _same(lambda x: ops.log1p(ops.square(x))),
    "ops.power": _same(lambda x: ops.power(1.5 + ops.square(x), 0.7)),
    "ops.arctan": _same(ops.arctan), "ops.logaddexp": _same(lambda x: ops.logaddexp(x, 0.2)),
    "ops.arctan2": _same(lambda x: ops.arctan2(x, 2.0 + ops.cos(x))),
    "ops.sum": _same(lambda x: x - ops.sum(ops.sin(x), axis=-1, keepdims=True)),
    "ops.mean": _same(lambda x: x * ops.mean(x, axis=-1, keepdims=True)),
    "ops.var": _same(lambda x: x + ops.var(x, axis=-1, keepdims=True)),
    "ops.logsumexp": _same(lambda x: x - ops.logsumexp(x, axis=-1, keepdims=True)),
    "ops.softmax": _same(lambda x: ops.softmax(x)),
    "ops.cumsum": _same(lambda x: ops.cumsum(x, axis=-1)),
    "ops.flip": _same(lambda x: ops.flip(x, axis=-1) * x),
    "ops.roll": _same(lambda x: ops.roll(x, 1, axis=-1) * x),
    "ops.zeros_like": _same(lambda x: ops.sin(x) + ops.zeros_like(x)),
    "ops.ones_like": _same(lambda x: x * ops.ones_like(x) * 0.5),
    "ops.concatenate": _same(lambda x: ops.concatenate([x, ops.sin(x)], axis=-1)),
    "ops.stack": _same(lambda x: ops.mean(ops.stack([x, ops.cos(x)], axis=-1), axis=-1)),
    "ops.split": _same(lambda x: ops.split(ops.concatenate([x, x * x], axis=-1), 2, -1)[1]),
    "ops.slice": _same(lambda x: x[..., :1] * x),
    "ops.expand_dims": _same(lambda x: ops.squeeze(ops.expand_dims(x, 1) * 2.0, 1)),
    "ops.where of a constant": _same(
        lambda x: ops.where(ops.convert_to_tensor(True), ops.sin(x), x)
    ),
    "ops.matmul": _same(lambda x: ops.matmul(x, np.eye(x.shape[-1], dtype=x.dtype) + 0.25)),
    "ops.einsum": _same(lambda x: ops.einsum("...i,...i->...", x, x)[..., None] + x),
    "ops.arange": _same(lambda x: x * ops.arange(1, x.shape[-1] + 1, dtype=x.dtype) / 4),
    "ops.clip far away": _same(lambda x: ops.clip(x, -1e3, 1e3)),
    "ops.rsqrt": _same(lambda x: x * ops.rsqrt(1.0 + ops.square(x))),
    "ops.divide": _same(lambda x: x / (2.0 + ops.sin(x))),
    "ops.negative": _same(lambda x: -x), "ops.expm1": _same(lambda x: ops.expm1(0.3 * x)),
    "ops.sinc": _same(lambda x: ops.sin(x) / (1.0 + x * x)),
    "ops.prod": _same(lambda x: x + ops.prod(ops.tanh(x), axis=-1, keepdims=True)),
    "ops.moveaxis": _same(lambda x: ops.moveaxis(ops.moveaxis(x, -1, 1), 1, -1) * 1.5),
}  # fmt: skip
ANY_RANK_FAULTY = {
    "LayerNormalization": lambda d, x: d.keras("LayerNormalization")(x),
    "GroupNormalization": lambda d, x: d.keras("GroupNormalization", 1)(x),
    "ReLU": lambda d, x: d.keras("ReLU")(x), "PReLU": lambda d, x: d.keras("PReLU")(x),
    "LeakyReLU": lambda d, x: d.keras("LeakyReLU")(x), "ELU": lambda d, x: d.keras("ELU")(x),
    "user's FarKink": lambda d, x: FarKink(d.rng.uniform(-1, 2), dtype=d.dtype)(x),
    "Maximum": _merged("Maximum"), "Minimum": _merged("Minimum"),
    "Activation faulty": lambda d, x: d.keras("Activation", d.one_of(
        {k: v for k, v in FAULTY_FUNCTIONS.items() if not isinstance(v, _PerModel)}))(x),
    "ops.abs": _same(ops.abs), "ops.maximum": _same(lambda x: ops.maximum(x, 0.1 * x)),
    "ops.relu": _same(ops.relu), "ops.floor": _same(lambda x: x + ops.floor(x)),
    "ops.where": _same(lambda x: ops.where(x > 0.1, ops.sin(x), 2.0 * x)),
    "ops.cast": _same(lambda x: x * ops.cast(x > 0, x.dtype)),
    "ops.clip": _same(lambda x: ops.clip(x, -0.4, 0.5)),
    "ops.sign": _same(lambda x: x + 0.1 * ops.sign(x)),
    "ops.max": _same(lambda x: x - ops.max(x, axis=-1, keepdims=True)),
    "ops.sort": _same(lambda x: ops.sort(x, axis=-1) * x),
    "ops.stop_gradient": _same(lambda x: x * ops.stop_gradient(x)),
    "ops.norm": _same(lambda x: x / (1.0 + ops.norm(x, axis=-1, keepdims=True))),
}  # fmt: skip
if hasattr(ops, "layer_normalization"):  # Keras 3.10 lacks it
    ANY_RANK_FAULTY["ops.layer_normalization"] = _same(ops.layer_normalization)
VECTORS = {
    "EinsumDense": lambda d, x: d.keras("EinsumDense", "ab,bc->ac", d.units(), bias_axes="c")(x),
    "SpectralNormalization": lambda d, x: d.call(
        d.keras("SpectralNormalization", d.keras("Dense", d.units(), d.function())), x
    ),
    "RepeatVector": lambda d, x: d.keras("RepeatVector", 3)(x),
    "Reshape": lambda d, x: d.keras("Reshape", (-1, 1))(x),
    "ops.reshape": _same(lambda x: ops.reshape(x, (-1, x.shape[-1], 1))),
    "Dot": _with_other(lambda d, x, y: d.keras("Concatenate")([d.keras("Dot", 1)([x, y]), x])),
    "ops.outer": _same(lambda x: x[:, :, None] * ops.sin(x)[:, None, :]),
    "user's Net": lambda d, x: Net(d.units(), d.function(), dtype=d.dtype)(x),
    "BilinearForm": _same(lambda x: ops.sum(x[:, :, None] * x[:, None, :], axis=1)),
}  # fmt: skip
SEQUENCES = {
    "Conv1D": lambda d, x: d.keras("Conv1D", 3, 2, padding="same", activation=d.function())(x),
    "SeparableConv1D": lambda d, x: d.keras("SeparableConv1D", 2, 2, padding="same")(x),
    "DepthwiseConv1D": lambda d, x: d.keras("DepthwiseConv1D", 2, padding="same")(x),
    "Conv1DTranspose": lambda d, x: d.keras("Conv1DTranspose", 2, 2)(x),
    "LSTM": lambda d, x: d.call(d.keras("LSTM", 3, return_sequences=d.chance(0.5)), x),
    "LSTM with functions": lambda d, x: d.keras(
        "LSTM", 2, activation=d.function(), recurrent_activation="sigmoid")(x),
    "GRU": lambda d, x: d.call(d.keras("GRU", 3, return_sequences=d.chance(0.5)), x),
    "SimpleRNN": lambda d, x: d.keras("SimpleRNN", 3, activation=d.function())(x),
    "keras_smooth.LSTM": lambda d, x: d.ours("LSTM", 3)(x),
    "RNN": lambda d, x: d.keras("RNN", d.keras("StackedRNNCells", [
        d.keras("GRUCell", 2), d.keras("SimpleRNNCell", 3)]))(x),
    "Bidirectional": lambda d, x: d.keras("Bidirectional", d.keras("GRU", 2))(x),
    "TimeDistributed": lambda d, x: d.keras(
        "TimeDistributed", d.keras("Dense", d.units(), d.function()))(x),
    "TimeDistributed model": lambda d, x: d.keras("TimeDistributed", keras.Sequential(
        [keras.Input((x.shape[-1],), dtype=d.dtype), d.keras("Dense", 2, d.function())]))(x),
    "MultiHeadAttention": lambda d, x: d.call(d.keras("MultiHeadAttention", 2, 2), x, x),
    "GroupQueryAttention": lambda d, x: d.keras("GroupQueryAttention", 2, 4, 2)(x, x),
    "Attention": lambda d, x: d.keras("Attention", use_scale=True)([x, x]),
    "AdditiveAttention": lambda d, x: d.keras("AdditiveAttention")([x, x]),
    "AveragePooling1D": lambda d, x: d.keras("AveragePooling1D", 2, padding="same")(x),
    "GlobalAveragePooling1D": lambda d, x: d.keras("GlobalAveragePooling1D")(x),
    "UpSampling1D": lambda d, x: d.keras("UpSampling1D", 2)(x),
    "ZeroPadding1D": lambda d, x: d.keras("ZeroPadding1D", 1)(x),
    "Cropping1D": lambda d, x: d.keras("Cropping1D", (1, 0))(d.keras("ZeroPadding1D", 1)(x)),
    "Permute": lambda d, x: d.keras("Permute", (2, 1))(x),
    "Flatten": lambda d, x: d.keras("Flatten")(x),
    "SpatialDropout1D": lambda d, x: d.call(d.keras("SpatialDropout1D", 0.3), x),
    "Masking and LSTM": lambda d, x: d.keras("LSTM", 3)(d.keras("Masking")(x)),
    "Masking and pooling": lambda d, x: d.keras("GlobalAveragePooling1D")(d.keras("Masking")(x)),
    "Masking at depth": lambda d, x: d.keras("GRU", 2)(keras.Sequential(
        [keras.Input(x.shape[1:], dtype=d.dtype), d.keras("Masking")])(x)),
    "Masking and Bidirectional": lambda d, x: d.keras(
        "Bidirectional", d.keras("LSTM", 2))(d.keras("Masking")(x)),
    "user's mask": lambda d, x: d.keras("LSTM", 2)(SkipsZeros(dtype=d.dtype)(x)),
    "ops.matmul of sequences": _same(lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1)))),
    "ops.transpose": _same(lambda x: ops.transpose(x, (0, 2, 1))),
    "ops.take": _same(lambda x: ops.take(x, [0, -1], axis=1)),
    "ops.reshape folding": lambda d, x: ops.reshape(d.keras("Dense", 2, d.function())(
        ops.reshape(x, (-1, x.shape[-1]))), (-1, x.shape[1], 2)),
    "keras_smooth.Conv1D": lambda d, x: d.ours("Conv1D", 2, 2, activation="tanh", padding="same")(x),
}  # fmt: skip
SEQUENCES_FAULTY = {
    "MaxPooling1D": lambda d, x: d.keras("MaxPooling1D", 2, padding="same")(x),
    "GlobalMaxPooling1D": lambda d, x: d.keras("GlobalMaxPooling1D")(x),
    "Conv1D with a fault": lambda d, x: d.keras("Conv1D", 2, 2, activation="relu", padding="same")(x),
}  # fmt: skip
IMAGES = {
    "Conv2D": lambda d, x: d.keras("Conv2D", 2, 2, activation=d.function())(_padded(d, x)),
    "Conv2D dilated": lambda d, x: d.keras("Conv2D", 2, 2, padding="same", dilation_rate=2)(x),
    "SeparableConv2D": lambda d, x: d.keras("SeparableConv2D", 2, 2, padding="same")(x),
    "DepthwiseConv2D": lambda d, x: d.keras("DepthwiseConv2D", 2, padding="same")(x),
    "Conv2DTranspose": lambda d, x: d.keras("Conv2DTranspose", 2, 2)(x),
    "AveragePooling2D": lambda d, x: d.keras("AveragePooling2D", 2, padding="same")(x),
    "GlobalAveragePooling2D": lambda d, x: d.keras("GlobalAveragePooling2D")(x),
    "UpSampling2D": lambda d, x: d.keras("UpSampling2D", 2)(x),
    "UpSampling2D bilinear": lambda d, x: d.keras("UpSampling2D", 2, interpolation="bilinear")(x),
    "Resizing": lambda d, x: d.keras("Resizing", 3, 5)(x),
    "ZeroPadding2D": lambda d, x: d.keras("ZeroPadding2D", 1)(x),
    "Cropping2D": lambda d, x: d.keras("Cropping2D", 1)(_padded(d, x)),
    "Permute 2D": lambda d, x: d.keras("Permute", (2, 3, 1))(x),
    "Flatten 2D": lambda d, x: d.keras("Flatten")(x),
    "Reshape to a sequence": lambda d, x: d.keras("Reshape", (-1, x.shape[-1]))(x),
    "TimeDistributed Conv1D": lambda d, x: d.keras(
        "TimeDistributed", d.keras("Conv1D", 2, 1, activation=d.function()))(x),
    "SpatialDropout2D": lambda d, x: d.call(d.keras("SpatialDropout2D", 0.3), x),
    "ConvLSTM1D": lambda d, x: d.keras("ConvLSTM1D", 2, 2, padding="same")(x),
    "ops.average_pool": _same(lambda x: ops.average_pool(x, 2, padding="same")),
}  # fmt: skip
IMAGES_FAULTY = {
    "MaxPooling2D": lambda d, x: d.keras("MaxPooling2D", 2, padding="same")(x),
    "GlobalMaxPooling2D": lambda d, x: d.keras("GlobalMaxPooling2D")(x),
}
BY_RANK = {VECTOR: VECTORS, SEQUENCE: SEQUENCES, IMAGE: IMAGES}
FAULTY_BY_RANK = {VECTOR: {}, SEQUENCE: SEQUENCES_FAULTY, IMAGE: IMAGES_FAULTY}


def _padded(draw: Draw, x):
    return draw.keras("ZeroPadding2D", 1)(x)


def step(draw: Draw, x):
    """Returns the output of one random part for a tensor."""
    rank = len(x.shape)
    if draw.chance(draw.faults):
        rows = {**ANY_RANK_FAULTY, **FAULTY_BY_RANK[rank]}
    else:
        rows = BY_RANK[rank] if draw.chance(0.5) else ANY_RANK
    return draw.one_of(rows)(draw, x)


def _steps(draw: Draw, x, number: int):
    for _ in range(number):
        x = draw.one_of(TOPOLOGY)(draw, x) if draw.chance(0.25) else step(draw, x)
    return x


def _inner(draw: Draw, x, number: int) -> keras.Model:
    inputs = keras.Input(x.shape[1:], dtype=draw.dtype)
    return keras.Model(inputs, _steps(draw, inputs, number))


def _nested(draw: Draw, x):
    return draw.call(_inner(draw, x, 2), x)


def _twice(draw: Draw, x):
    """A shared layer or model, called with values of two kinds."""
    shared = _inner(draw, x, 1) if draw.chance(0.5) else draw.keras(
        "Dense", x.shape[-1], draw.function())  # fmt: skip
    return ops.concatenate([shared(x), shared(ops.sin(x))], axis=-1)


def _repeated(draw: Draw, x):
    shared = draw.keras("Dense", x.shape[-1], draw.function())
    return shared(Polynomial(dtype=draw.dtype)(shared(x)))


def _sequential(draw: Draw, x):
    hidden = draw.keras("Dense", draw.units(), draw.function())
    return keras.Sequential([hidden, draw.keras("Dropout", 0.2), draw.keras("Dense", 2)])(x)


def _skip(draw: Draw, x):
    return x + draw.keras("Dense", x.shape[-1])(draw.keras("Dense", 3, draw.function())(x))


TOPOLOGY = {"nested model": _nested, "shared part": _twice, "repeated layer": _repeated,
            "nested Sequential": _sequential, "skip connection": _skip}  # fmt: skip


def _vector(draw):
    size = draw.number(1, 3)
    return draw.input(size), draw.data(SAMPLES, size)


def _sequence(draw):
    data = draw.data(SAMPLES, STEPS, 2)
    if draw.chance(0.5):
        data[0, 2:] = 0.0  # steps that a mask skips
        data[1, 1] = 0.0
    return draw.input(STEPS, 2), data


def _image(draw):
    return draw.input(SIDE, SIDE, 2), draw.data(SAMPLES, SIDE, SIDE, 2)


def _words(draw):
    words = draw.rng.integers(0, WORDS, (SAMPLES, STEPS)).astype("int32")
    return draw.input(STEPS, dtype="int32"), words


INPUTS = {"vectors": _vector, "sequences": _sequence, "images": _image}


def _embedded(draw: Draw, x):
    """Words to a vector, with or without a mask."""
    masked = draw.chance(0.5)
    draw.used["Embedding with a mask" if masked else "Embedding"] += 1
    return draw.keras("GRU", 3)(draw.keras("Embedding", WORDS, 2, mask_zero=masked)(x))


def _flat(draw: Draw, x):
    return x if len(x.shape) == VECTOR else draw.keras("Flatten")(x)


@dataclasses.dataclass(frozen=True)
class RandomModel:
    """A random model and inputs.

    Args:
        seed: Seed of the model.
        dtype: Dtype of its layers.
        model: The built Keras model.
        x: Inputs in the structure of the model's inputs.
        used: Counts of the rows of the tables that were chosen.
    """

    seed: int
    dtype: str
    model: keras.Model
    x: Any
    used: collections.Counter


def random_model(seed: int, dtype: str = "float64") -> RandomModel:
    """Returns the model of a seed, which is the same in every dtype except for rounding.

    Half of the models have no part with kinks or wrong derivatives.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    faults = [0.0, 0.3][seed % 2]
    draw = Draw(seed, dtype, faults)
    if draw.chance(0.1):
        model, x = _sequential_model(draw)
    else:
        model, x = _functional_model(draw)
    _change_weights(draw, model)
    return RandomModel(seed, dtype, model, x, draw.used)


def _sequential_model(draw: Draw) -> tuple[keras.Model, Any]:
    draw.used["Sequential"] += 1
    tensor, data = _vector(draw)
    layers = [draw.keras("Dense", draw.units(), draw.function()) for _ in range(2)]
    layers += [Polynomial(dtype=draw.dtype), draw.keras("BatchNormalization")]
    if draw.chance(draw.faults):
        layers.append(FarKink(0.4, dtype=draw.dtype))
    return keras.Sequential([tensor, *layers, draw.keras("Dense", 2)]), data


def _functional_model(draw: Draw) -> tuple[keras.Model, Any]:
    tensor, data = draw.one_of(INPUTS)(draw)
    inputs, values = [tensor], [data]
    y = _flat(draw, _steps(draw, tensor, draw.number(1, 4)))
    if draw.chance(0.15):
        draw.used["second input"] += 1
        tensor, data = _vector(draw)
        inputs, values = [*inputs, tensor], [*values, data]
        y = ops.concatenate([y, _flat(draw, _steps(draw, tensor, 1))], axis=-1)
    if draw.chance(0.15):
        tensor, data = _words(draw)
        inputs, values = [*inputs, tensor], [*values, data]
        y = ops.concatenate([y, _embedded(draw, tensor)], axis=-1)
    y = draw.keras("Dense", 2)(y) if draw.chance(0.9) or y.shape[-1] > 4 else y
    if draw.chance(0.1):
        draw.used["outputs as a dict"] += 1
        y = {"one": y, "two": ops.sin(y[:, :1])}
    structure = _structured(draw, inputs, values)
    return keras.Model(structure[0], y), structure[1]


def _structured(draw: Draw, inputs: list, values: list) -> tuple:
    if len(inputs) == 1:
        return inputs[0], values[0]
    if draw.chance(0.5):
        draw.used["inputs as a list"] += 1
        return inputs, values
    draw.used["inputs as a dict"] += 1
    names = [tensor.name for tensor in inputs]
    return dict(zip(names, inputs)), dict(zip(names, values))


def _change_weights(draw: Draw, model: keras.Model) -> None:
    """Changes all weights, so that no bias is 0 and no gain is 1."""
    for weight in model.trainable_variables:
        weight.assign(np.asarray(weight) + 0.2 * draw.data(*weight.shape))


def in_float64(random: RandomModel) -> RandomModel:
    """Returns the model of the same seed in float64, with the variables of this one."""
    twin = random_model(random.seed, "float64")
    pairs = zip(random.model.variables, twin.model.variables, strict=True)
    for variable, twin_variable in pairs:
        twin_variable.assign(variable.value)
    for layer in all_layers(twin.model):
        if isinstance(layer, L.Normalization):
            layer.finalize_state()
    return twin


def all_layers(model: keras.Model) -> list[L.Layer]:
    """Returns all layers of a model, including those of nested models and of layers."""
    layers = []
    for layer in getattr(model, "layers", []) or []:
        layers += [layer, *all_layers(layer)]
    return layers
