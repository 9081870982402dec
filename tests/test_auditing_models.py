"""Audits of models as people write them: verdicts that finite differences confirm.

If the verdict is about TensorFlow's derivatives, two nested tapes are compared with
Richardson's extrapolation of differences.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from audit_words import cause
from keras import ops

import keras_smooth

L = keras.layers
RNG = np.random.default_rng(0)
F64 = {"dtype": "float64"}


def points(*shape):
    return RNG.normal(size=shape)


class Custom(keras.Model):
    """A model whose call is a function of its layers and x."""

    def __init__(self, function, *layers):
        super().__init__(**F64)
        self.function, self.parts = function, list(layers)

    def call(self, x):
        return self.function(self.parts, x)


def between_layers(function, activation="tanh"):
    """Returns a model with a function between two layers."""
    return keras.Sequential(
        [keras.Input((3,), **F64), L.Dense(4, activation, **F64), L.Lambda(function, **F64),
         L.Dense(1, **F64)]
    )  # fmt: skip


def functional(function, *shape):
    x = keras.Input(shape, **F64)
    return keras.Model(x, function(x))


@tf.custom_gradient
def cube(x):
    return x**3, lambda g: g * 3 * x**2


@tf.custom_gradient
def cube_once(x):
    return x**3, lambda g: g * tf.stop_gradient(3 * x**2)


@tf.custom_gradient
def clipped(x):
    return tf.identity(x), lambda g: tf.clip_by_value(g, -0.1, 0.1)


def softplus(h):
    return tf.maximum(h, 0.0) + tf.math.log1p(tf.exp(-tf.abs(h)))


def shifted_softmax(h):
    powers = tf.exp(h - tf.stop_gradient(tf.reduce_max(h, -1, keepdims=True)))
    return powers / tf.reduce_sum(powers, -1, keepdims=True)


def distance(r):
    return ops.norm(r[:, 0] - r[:, 1], axis=-1, keepdims=True)


def cutoff(r):
    d = distance(r)
    return ops.where(d < 1.5, ops.cos(np.pi * d / 1.5) + 1, 0.0)


def guarded(parts, x):
    squares = tf.reduce_sum(x * x, -1, keepdims=True)
    is_positive = squares > 0
    return tf.where(is_positive, tf.sqrt(tf.where(is_positive, squares, 1.0)), 0.0)


def masked_attention(parts, x):
    dense, attention = parts
    mask = ops.any(ops.not_equal(x, 0.0), -1)
    h = dense(x)
    return attention(h, h, attention_mask=mask[:, None])


def molecule(parts, r):
    message, readout = parts
    num_molecules = tf.shape(r)[0]
    atoms = tf.reshape(r, (-1, 3))
    offsets = tf.repeat(3 * tf.range(num_molecules), 6)
    senders = tf.tile(tf.constant([1, 2, 0, 2, 0, 1]), [num_molecules]) + offsets
    receivers = tf.tile(tf.constant([0, 0, 1, 1, 2, 2]), [num_molecules]) + offsets
    d = tf.norm(tf.gather(atoms, senders) - tf.gather(atoms, receivers), axis=-1)
    h = tf.math.segment_sum(message(tf.exp(-d[:, None])), receivers)
    return tf.math.segment_sum(readout(h), tf.repeat(tf.range(num_molecules), 3))


def forces(parts, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        energy = parts[1](parts[0](x))
    return -tape.gradient(energy, x)


def relu_of_integers():
    integers, floats = keras.Input((2,), dtype="int32"), keras.Input((3,), **F64)
    embedded = L.Dense(4, "relu", **F64)(L.Flatten()(L.Embedding(5, 2, **F64)(integers)))
    y = L.Concatenate(**F64)([embedded, L.Dense(4, "tanh", **F64)(floats)])
    return keras.Model([integers, floats], L.Dense(1, **F64)(y))


TRIANGLES = np.eye(3) + 0.2 * points(10, 3, 3)
PADDED = np.concatenate([points(6, 3, 2), np.zeros((6, 2, 2))], axis=1)
WITH_ZEROS = points(10, 2)
WITH_ZEROS[0] = 0.0


def tanh_layers(*sizes):
    return [L.Dense(size, "tanh", **F64) for size in sizes]


# The model, its inputs; the verdict in inference mode, the cause and the order.
MODELS = {
    "raw operations": (
        lambda: Custom(lambda p, x: p[0](tf.sin(tf.einsum("bi,ij->bj", x, tf.eye(3, 5, dtype=x.dtype)))), *tanh_layers(4)),
        points(20, 3), "proven", "ok", 0),
    "a gradient that is declared, and right": (
        lambda: between_layers(cube), points(20, 3), "checked", "ok", 0),
    "one without a second": (
        lambda: between_layers(cube_once), points(20, 3), "faulty", "wrong", 2),
    "one that is another": (lambda: between_layers(clipped), points(20, 3), "faulty", "wrong", 1),
    "a gate that is stopped": (
        lambda: between_layers(lambda h: tf.sin(h) * tf.stop_gradient(tf.cos(h))),
        points(20, 3), "faulty", "wrong", 1),
    "straight through a rounding": (
        lambda: between_layers(lambda h: h + tf.stop_gradient(tf.round(h) - h)),
        points(20, 3), "faulty", "not smooth", 1),
    "a stop that changes nothing": (
        lambda: between_layers(shifted_softmax), points(20, 3), "checked", "ok", 0),
    "softplus by hand": (lambda: between_layers(softplus), points(30, 3), "checked", "ok", 0),
    "relu to the third": (
        lambda: between_layers(lambda h: tf.nn.relu(h) ** 3), points(30, 3), "checked", "ok", 0),
    "relu to the second": (
        lambda: between_layers(lambda h: tf.nn.relu(h) ** 2), points(30, 3), "faulty", "not smooth", 2),
    "an energy of pairs": (
        lambda: functional(lambda r: 1 / distance(r), 3, 3), TRIANGLES, "proven", "ok", 0),
    "a cutoff": (
        lambda: functional(cutoff, 3, 3), np.eye(3) + 0.4 * points(40, 3, 3), "faulty", "not smooth", 2),
    "a graph network": (
        lambda: Custom(molecule, *tanh_layers(6, 1)), TRIANGLES, "proven", "ok", 0),
    "a root at 0": (
        lambda: functional(lambda x: ops.sqrt(ops.sum(x * x, -1, keepdims=True)), 2),
        WITH_ZEROS, "faulty", "nan", 1),
    "a guard at 0": (lambda: Custom(guarded), WITH_ZEROS, "faulty", "not smooth", 1),
    "a guard elsewhere": (lambda: Custom(guarded), points(10, 2), "proven", "ok", 0),
    "attention with a mask of x": (
        lambda: Custom(masked_attention, *tanh_layers(4), L.MultiHeadAttention(2, 3, **F64)),
        PADDED, "proven", "ok", 0),
    "a masked recurrence": (
        lambda: keras.Sequential(
            [keras.Input((5, 2), **F64), L.Masking(**F64), L.LSTM(3, **F64)]),
        PADDED, "proven", "ok", 0),
    "relu behind integers": (
        relu_of_integers, [RNG.integers(0, 5, (10, 2)), points(10, 3)], "proven", "ok", 0),
    "forces": (lambda: Custom(forces, *tanh_layers(6, 1)), points(10, 3), "proven", "ok", 0),
    "the largest of a set": (
        lambda: functional(lambda x: ops.max(L.Dense(6, "tanh", **F64)(x), axis=1), 5, 2),
        points(20, 5, 2), "faulty", "not smooth", 1),
    "sorted": (lambda: functional(lambda x: ops.sort(x, -1), 5), points(20, 5), "faulty", "not smooth", 1),
    "a floor that cancels": (
        lambda: functional(lambda x: ops.sin(2 * np.pi * (x - ops.floor(x))), 3),
        points(20, 3), "checked", "ok", 0),
    "Huber's function": (
        lambda: functional(lambda x: ops.where(ops.abs(x) <= 1, 0.5 * x * x, ops.abs(x) - 0.5), 3),
        points(20, 3), "faulty", "not smooth", 2),
    "decisions of Python": (
        lambda: Custom(lambda p, x: p[0](x) * (1.0 if float(tf.reduce_sum(x)) < 1e9 else 2.0), *tanh_layers(2)),
        points(10, 3), "checked", "ok", 0),
    "a mean of the batch": (
        lambda: Custom(lambda p, x: p[0](x - tf.reduce_mean(x, 0)), *tanh_layers(2)),
        points(10, 3), "not examined", "mixed", 0),
    "complex outputs": (
        lambda: between_layers(lambda x: tf.complex(x, x * x)), points(10, 3), "not examined", "complex", 0),
    "one complex output of two": (
        lambda: Custom(lambda p, x: (p[0](x), tf.signal.rfft(p[0](x))), *tanh_layers(4)),
        points(10, 3), "not examined", "complex", 0),
    "complex numbers on the way": (
        lambda: between_layers(lambda x: tf.math.real(tf.complex(x, x * x) ** 2)),
        points(10, 3), "checked", "ok", 0),
    "functions of complex numbers": (
        lambda: between_layers(lambda x: tf.math.imag(
            tf.math.log(tf.complex(x + 5.0, x)) + tf.complex(x + 5.0, x * x) ** -1.5
        )),
        points(10, 3), "proven", "ok", 0),
    "bits of numbers": (
        lambda: between_layers(lambda x: x * tf.bitcast(tf.bitcast(x, "int64") + 1, x.dtype)),
        points(10, 3), "faulty", "wrong", 1),
    "a mean of channels": (
        lambda: between_layers(lambda x: channel_means(x)), points(10, 3), "faulty", "wrong", 1),
    "an operation without a row": (
        lambda: between_layers(tf.math.special.fresnel_sin), points(10, 3), "checked", "ok", 0),
}  # fmt: skip


def channel_means(x):
    """Returns the means that a batch normalization of the samples, as channels, computes."""
    image = tf.cast(tf.transpose(x)[None, None], "float32")
    ones = tf.ones_like(image[0, 0, 0])
    mean = tf.compat.v1.nn.fused_batch_norm(image, ones, ones)[1]
    return x + tf.cast(mean, x.dtype)[:, None]


@pytest.mark.parametrize("name", MODELS)
def test_models_have_the_expected_verdict_cause_and_order(name):
    keras.utils.set_random_seed(0)
    make, x, verdict, expected_cause, order = MODELS[name]
    model = make()
    model(x)
    report = keras_smooth.audit(model, x)
    assert (report.inference, cause(report.model), report.model.order) == (
        verdict,
        expected_cause,
        order,
    )


def tape_and_difference_derivatives(model, x):
    """Returns y' and y'' along a direction, by two tapes and by differences."""
    x = [tf.constant(array) for array in (x if isinstance(x, list) else [x])]
    rng = np.random.default_rng(1)
    # Zeros may be masked and stay zero.
    v = [np.where(np.asarray(a) == 0, 0.0, rng.normal(size=a.shape)) for a in x]

    def directional(t):
        moved = [a + t * b if a.dtype.is_floating else a for a, b in zip(x, v)]
        y = model(moved if len(moved) > 1 else moved[0], training=False)
        return tf.reduce_sum(tf.constant(weights_of(y)) * y)

    def weights_of(y):
        return np.random.default_rng(2).normal(size=y.shape)

    t = tf.constant(0.0, "float64")
    with tf.GradientTape() as outer:
        outer.watch(t)
        with tf.GradientTape() as inner:
            inner.watch(t)
            y = directional(t)
        slope = inner.gradient(y, t)
    second = outer.gradient(slope, t, unconnected_gradients="zero")

    def values(h):
        return [float(directional(tf.constant(s * h, "float64"))) for s in (-1, 0, 1)]

    def first_and_second(h):
        left, middle, right = values(h)
        return np.array([(right - left) / (2 * h), (right - 2 * middle + left) / h**2])

    extrapolated = (4 * first_and_second(1e-3) - first_and_second(2e-3)) / 3
    return np.array([float(slope), float(second)]), extrapolated


RIGHT_MODELS = [name for name, row in MODELS.items() if row[2] in ("proven", "checked")]
WRONG_MODELS = [name for name, row in MODELS.items() if row[3] == "wrong"]


@pytest.mark.parametrize("name", [*RIGHT_MODELS, *WRONG_MODELS])
def test_nested_tapes_agree_with_differences_as_the_verdict_says(name):
    keras.utils.set_random_seed(0)
    make, x, verdict, _, order = MODELS[name]
    model = make()
    model(x)
    by_tapes, by_differences = tape_and_difference_derivatives(model, x)
    # Steps of 1e-3 leave 1e-12 of y', and rounding 1e-9 of y''; kinks lie farther away.
    differs = np.abs(by_tapes - by_differences) > 1e-5 * (1 + np.abs(by_differences))
    assert list(differs) == ([False, False] if verdict != "faulty" else [order == 1, True])


class FunctionLayer(L.Layer):
    """A layer that calls a function."""

    def __init__(self, function):
        super().__init__(**F64)
        self.function = function

    def call(self, x):
        return self.function(x)


def _nonzero(x):
    return tf.where(x != 0, x, tf.ones_like(x))


def _spectrum(x):
    both = tf.concat([x, x * x], 1)
    return tf.abs(tf.signal.fft(tf.complex(both, tf.zeros_like(both))))


def _masked_mean(x):
    mask = tf.cast(x != 0, x.dtype)
    return tf.reduce_sum(tf.cos(x) * mask, 1, keepdims=True) / tf.reduce_sum(
        mask, 1, keepdims=True
    )


WITH_ZEROS = np.array([[0.0], [0.5], [-0.7], [1.3], [2.0]])
WITHOUT_ZEROS = WITH_ZEROS + 0.25
PADDED = np.array([[0.3, 0.0], [0.5, 0.2], [-0.7, 0.0], [1.3, 0.9]])
# Name: function, samples, verdict.
GUARDED_FUNCTIONS = {
    "a quotient, wrong at order 1": (
        lambda x: tf.where(x != 0, tf.math.expm1(x) / _nonzero(x), tf.ones_like(x)),
        WITH_ZEROS, "faulty",
    ),
    "a quotient, wrong at order 2": (
        lambda x: tf.where(x != 0, tf.sin(x) / _nonzero(x), tf.ones_like(x)), WITH_ZEROS, "faulty"
    ),
    "the last sample": (
        lambda x: tf.where(x != 0, tf.sin(x) / _nonzero(x), tf.ones_like(x)),
        WITH_ZEROS[::-1], "faulty",
    ),
    "equal": (
        lambda x: tf.where(tf.equal(x, 0.0), tf.ones_like(x), tf.sin(x) / _nonzero(x)),
        WITH_ZEROS, "faulty",
    ),
    "half a guard": (
        lambda x: tf.where(x != 0, tf.sin(x) / x, tf.ones_like(x)), WITH_ZEROS, "faulty"
    ),
    "no sample at the guard": (
        lambda x: tf.where(x != 0, tf.sin(x) / _nonzero(x), tf.ones_like(x)), WITHOUT_ZEROS, "proven"
    ),
    "a mask": (_masked_mean, PADDED, "proven"),
    # The gradient of the gradient is NaN.
    "a root": (
        lambda x: tf.where(x > 0, tf.sqrt(x), tf.zeros_like(x)), WITH_ZEROS, "faulty"
    ),
    "x log x": (lambda x: tf.math.xlogy(x, x), np.abs(WITH_ZEROS), "not examined"),
    "a quotient of nothing": (
        lambda x: tf.math.divide_no_nan(tf.sin(x), x), WITH_ZEROS, "not examined"
    ),
    "a modulus at its kink": (_spectrum, WITH_ZEROS[:3] + 1.0, "faulty"),
    "a root that is kept off its edge": (lambda x: tf.sqrt(x * x + 1e-12), WITH_ZEROS, "proven"),
}  # fmt: skip


@pytest.mark.parametrize("name", GUARDED_FUNCTIONS)
def test_guarded_functions_are_measured_at_the_guarded_samples(name):
    function, x, expected = GUARDED_FUNCTIONS[name]
    assert keras_smooth.audit(FunctionLayer(function), x).outcome == expected
