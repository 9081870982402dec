"""Jets of layers and activations against nested tapes of the layer itself, in float64."""

import dataclasses
import functools
import math
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from activation_cases import ACTIVATIONS
from applied_to_jets import apply
from keras import layers, ops
from representatives import representatives

import keras_smooth
from keras_smooth import activations, operations
from keras_smooth.differentiation import tapes
from keras_smooth.jet import Jet

ORDER = 3

# Function that makes the layer, shapes of a sample of each of its inputs.
LAYERS = {
    "dense": (lambda: layers.Dense(3, "tanh"), (4,)),
    "dense rank 3": (lambda: layers.Dense(3, "silu", use_bias=False), (5, 4)),
    "our dense": (lambda: keras_smooth.Dense(3, "snake"), (4,)),
    "our activation": (lambda: keras_smooth.Activation("snake"), (4,)),
    "activation": (lambda: layers.Activation("mish"), (4,)),
    "einsum dense": (lambda: layers.EinsumDense("bij,jk->bik", (5, 3), bias_axes="k", activation="tanh"), (5, 4)),
    "conv1d": (lambda: layers.Conv1D(3, 2, activation="tanh"), (6, 2)),
    "conv1d causal": (lambda: layers.Conv1D(3, 3, padding="causal", dilation_rate=2), (6, 2)),
    "conv1d groups": (lambda: layers.Conv1D(2, 2, groups=2, strides=2, padding="same"), (4, 2)),
    "conv2d": (lambda: layers.Conv2D(3, 2, strides=2, padding="same", activation="tanh"), (5, 4, 2)),
    "conv3d": (lambda: layers.Conv3D(2, 2, activation="sigmoid"), (3, 3, 3, 1)),
    "depthwise1d": (lambda: layers.DepthwiseConv1D(2, depth_multiplier=2, activation="tanh"), (6, 2)),
    "depthwise2d": (lambda: layers.DepthwiseConv2D(2, activation="tanh"), (4, 4, 2)),
    "separable1d": (lambda: layers.SeparableConv1D(3, 2, activation="tanh"), (6, 2)),
    "separable2d": (lambda: layers.SeparableConv2D(3, 2, activation="tanh"), (4, 4, 2)),
    "transposed1d": (lambda: layers.Conv1DTranspose(3, 2, strides=2, activation="tanh"), (4, 2)),
    "transposed2d": (lambda: layers.Conv2DTranspose(3, 2, strides=2, activation="tanh"), (3, 3, 2)),
    "transposed3d": (lambda: layers.Conv3DTranspose(2, 2, activation="tanh"), (2, 2, 2, 1)),
    "average pooling1d": (lambda: layers.AveragePooling1D(2), (6, 2)),
    "average pooling2d": (lambda: layers.AveragePooling2D(2), (4, 4, 2)),
    # AveragePooling3D has no float64 kernel on the CPU.
    "global average1d": (lambda: layers.GlobalAveragePooling1D(), (6, 2)),
    "global average2d": (lambda: layers.GlobalAveragePooling2D(), (4, 4, 2)),
    "max pooling1d": (lambda: layers.MaxPooling1D(2), (6, 2)),
    "max pooling2d": (lambda: layers.MaxPooling2D(2), (4, 4, 2)),
    "global max": (lambda: layers.GlobalMaxPooling1D(), (6, 2)),
    "flatten": (lambda: layers.Flatten(), (3, 2)),
    "reshape": (lambda: layers.Reshape((-1, 2)), (6,)),
    "permute": (lambda: layers.Permute((2, 1)), (3, 2)),
    "repeat": (lambda: layers.RepeatVector(3), (2,)),
    "padding": (lambda: layers.ZeroPadding1D(2), (3, 2)),
    "padding2d": (lambda: layers.ZeroPadding2D(1), (3, 3, 2)),
    "cropping": (lambda: layers.Cropping1D(1), (4, 2)),
    "cropping2d": (lambda: layers.Cropping2D(1), (4, 4, 2)),
    "upsampling1d": (lambda: layers.UpSampling1D(2), (3, 2)),
    "upsampling2d": (lambda: layers.UpSampling2D(2), (3, 3, 2)),
    "dropout": (lambda: layers.Dropout(0.5), (4,)),
    "noise": (lambda: layers.GaussianNoise(0.5), (4,)),
    "identity": (lambda: layers.Identity(), (4,)),
    "rescaling": (lambda: layers.Rescaling(3.0, offset=1.0), (4,)),
    "normalization": (lambda: layers.Normalization(mean=1.0, variance=4.0), (4,)),
    "batch normalization": (lambda: layers.BatchNormalization(), (4,)),
    "rms normalization": (lambda: layers.RMSNormalization(), (4,)),
    "unit normalization": (lambda: layers.UnitNormalization(), (4,)),
    "elu": (lambda: layers.ELU(1.5), (4,)),
    "leaky relu": (lambda: layers.LeakyReLU(0.1), (4,)),
    "prelu": (lambda: layers.PReLU(), (4,)),
    "relu": (lambda: layers.ReLU(max_value=1.0), (4,)),
    "softmax": (lambda: layers.Softmax(), (4,)),
    "add": (lambda: layers.Add(), (3, 2), (3, 2)),
    "add broadcast": (lambda: layers.Add(), (3, 1), (1, 2)),
    "subtract": (lambda: layers.Subtract(), (3,), (3,)),
    "average": (lambda: layers.Average(), (3,), (3,), (3,)),
    "multiply": (lambda: layers.Multiply(), (3,), (3,), (3,)),
    "multiply broadcast": (lambda: layers.Multiply(), (3, 1), (1, 2)),
    "maximum": (lambda: layers.Maximum(), (3,), (3,)),
    "minimum": (lambda: layers.Minimum(), (3,), (3,)),
    "concatenate": (lambda: layers.Concatenate(), (3,), (2,)),
    "dot": (lambda: layers.Dot(axes=1), (3,), (3,)),
    "dot matrices": (lambda: layers.Dot(axes=(2, 1)), (2, 3), (3, 4)),
    "attention": (lambda: layers.Attention(), (3, 2), (4, 2)),
    "attention scaled": (lambda: layers.Attention(use_scale=True), (3, 2), (4, 2), (4, 2)),
    "attention concat": (lambda: layers.Attention(score_mode="concat"), (3, 2), (4, 2)),
    "additive attention": (lambda: layers.AdditiveAttention(), (3, 2), (4, 2)),
    "bidirectional lstm": (lambda: layers.Bidirectional(layers.LSTM(2)), (2, 2)),
    "gru": (lambda: layers.GRU(2), (2, 2)),
    "time distributed": (lambda: layers.TimeDistributed(layers.Dense(2, "tanh")), (3, 2)),
}  # fmt: skip

# Order 3 by nested tapes takes 3^3 sweeps, too many for slow layers.
MAX_ORDERS = {"bidirectional lstm": 2, "gru": 2, "conv1d groups": 2}


def random_jets(rng, shapes, order=ORDER, batch=2, directions=2):
    def entry(*lead):
        return lambda shape: tf.constant(rng.normal(size=(*lead, batch, *shape)))

    return [
        Jet(entry()(shape), [entry(directions)(shape) for _ in range(order)])
        for shape in shapes
    ]


def terms(x):
    """Returns the entries of a jet with its directions one after another in the batch."""
    primal = tf.concat([x.primal] * x.directions, axis=0)
    return [primal, *(tf.concat(tf.unstack(entry), axis=0) for entry in x.series)]


def taylor_polynomial(terms, t):
    return sum(term * t**k / math.factorial(k) for k, term in enumerate(terms))


def curves(x):
    """Returns the curves of a jet: t of shape (directions * batch,) to points."""
    entries, axes = terms(x), (1,) * (x.shape.rank - 1)
    return lambda t: taylor_polynomial(entries, tf.reshape(t, (-1, *axes)))


def derivatives_by_tapes(function, xs, order=ORDER):
    """Returns the entries of all directions by nested tapes over t."""
    lines = [curves(x) for x in xs]
    t = tf.zeros([xs[0].directions * xs[0].shape[0]], tf.float64)
    return tapes.nested_tapes(
        lambda t: function(*(path(t) for path in lines)),
        t,
        order,
        functools.partial(tapes.line_step, _TrueZero(), order),
    )


class _TrueZero:
    """Replaces the checks of tapes where they are right: no gradient means 0."""

    @staticmethod
    def are_right(order):
        return True

    @staticmethod
    def checked(row, order, like, output, inputs):
        return tf.zeros_like(like) if row is None else row


def derivatives_by_component(function, t, order):
    """Returns the entries by one gradient for each component, without this package."""
    if order == 0:
        return [function(t)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(t)
        values = derivatives_by_component(function, t, order - 1)
        components = tf.unstack(values[-1], axis=1)
    return [
        *values,
        tf.stack([tape.gradient(component, t) for component in components], axis=1),
    ]


@pytest.mark.parametrize("name", representatives(["dense", "gru"], ["dense"]))
def test_reference_by_tapes_equals_gradients_of_components(name, rng):
    make, shape = LAYERS[name]
    layer, (x,) = float64(make), random_jets(rng, [shape], order=3)
    line = curves(x)
    slow = derivatives_by_component(lambda t: layer(line(t)), tf.zeros([4], tf.float64), 3)
    for fast, expected in zip(derivatives_by_tapes(layer, [x], 3), slow, strict=True):
        np.testing.assert_allclose(fast, expected, rtol=1e-12, atol=1e-12)


def elementwise_derivatives(function, x, order):
    """Returns the entries of an elementwise function by one sweep an order: t has x's shape."""
    entries = terms(x)

    def nested(t, order):
        if order == 0:
            return [function(taylor_polynomial(entries, t))]
        with tf.GradientTape() as tape:
            tape.watch(t)
            lower = nested(t, order - 1)
        slope = tape.gradient(lower[-1], t)
        return [*lower, tf.zeros_like(t) if slope is None else slope]

    return nested(tf.zeros_like(entries[0]), order)


def assert_equals_tapes(y, function, xs, order=ORDER):
    assert_entries(y, derivatives_by_tapes(function, xs, order))


def assert_entries(y, expected):
    for direction in range(y.directions):
        entries = [entry[direction] for entry in y.series]
        references = [np.split(entry, y.directions)[direction] for entry in expected]
        np.testing.assert_allclose(y.primal, references[0], rtol=1e-13, atol=1e-13)
        for entry, value in zip(entries, references[1:]):
            assert_entry(entry, value)


def assert_entry(entry, expected):
    scale = np.abs(expected).max() + 1.0
    # Rounding, relative to the largest entry.
    np.testing.assert_allclose(entry / scale, expected / scale, rtol=0, atol=1e-10)


def float64(make):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        return make()
    finally:
        keras.config.set_dtype_policy(policy)


def randomize(layer):
    """Sets biases and scales to other values than 0 and 1."""
    for index, weight in enumerate(layer.weights):
        if "seed" not in weight.path:
            noise = np.random.default_rng(index).uniform(0.2, 0.8, weight.shape)
            weight.assign(np.asarray(weight) * 0.5 + noise * 0.5)


def reference_of(case):
    """Returns the function that tapes differentiate: they have no y'' of Keras' softsign."""
    keras_softsign = case.row.subject is keras.activations.softsign
    return activations.softsign if keras_softsign else case.function


def call_on_tensors(layer):
    return lambda *xs: layer(list(xs) if len(xs) > 1 else xs[0])


def call_on_jets(layer):
    return lambda *xs: apply(layer, list(xs) if len(xs) > 1 else xs[0])


def shifted_jet(x, s, order):
    """Returns the jet of order `order` of the curve t -> x(s + t) of the first direction."""
    s = tf.reshape(s, (-1,) + (1,) * (x.shape.rank - 1))
    terms = [x.primal] + [entry[0] for entry in x.series]
    entries = [
        sum(v * s**k / math.factorial(k) for k, v in enumerate(terms[n:]))
        for n in range(order + 1)
    ]
    return Jet(entries[0], [entry[None] for entry in entries[1:]])


def assert_entries_by_induction(on_jets, function, xs):
    """Checks entry n of a jet against one tape over its entry n - 1 along the curve.

    Entry 0 is the function itself, so that by induction all orders are checked by tapes;
    nested ones would take 3^n tapes. Jets of a lower order must have the same entries.
    """
    y, order = on_jets(*xs), xs[0].order

    def lower_entries(s):
        z = on_jets(*(shifted_jet(x, s, order - 1) for x in xs))
        start = function(*(shifted_jet(x, s, 0).primal for x in xs))
        return tf.stack([start, *(z.entry(n)[0] for n in range(1, order))], axis=1)

    values, slopes = tapes.nested_tapes(
        lower_entries,
        tf.zeros([2], tf.float64),
        1,
        functools.partial(tapes.line_step, _TrueZero(), 1),
    )
    for n in range(1, order + 1):
        assert_entry(y.entry(n)[0], slopes[:, n - 1])
        if n < order:
            assert_entry(y.entry(n)[0], values[:, n])


def assert_rule(on_jets, function, xs):
    """Checks a rule against nested tapes to order 2, and order by order above."""
    assert_equals_tapes(on_jets(*xs), function, xs, 2)
    assert_entries_by_induction(on_jets, function, xs)


@pytest.mark.parametrize("name", representatives(ACTIVATIONS, [*ACTIVATIONS][::4]))
def test_activation_to_order_4_equals_tapes(name, rng):
    case, (x,) = ACTIVATIONS[name], random_jets(rng, [(4,)], 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = apply(case.function, x)
    if case.row.mixes:
        assert_equals_tapes(y, reference_of(case), [x], 4)
    else:
        assert_entries(y, elementwise_derivatives(reference_of(case), x, 4))


# The others are marked slow: their rules use the same arithmetic.
RECOMMENDED = [name for name, case in ACTIVATIONS.items() if case.row.recommended]


@pytest.mark.parametrize("name", representatives(ACTIVATIONS, [*RECOMMENDED, "keras glu"]))
def test_activation_to_order_6_by_induction(name, rng):
    case = ACTIVATIONS[name]
    assert_entries_by_induction(
        lambda x: apply(case.function, x),
        reference_of(case),
        random_jets(rng, [(4,)], 6),
    )


# On CPU, TensorFlow has a gradient of grouped convolutions only under XLA, which is slow.
GROUPED = "conv1d groups"


@pytest.mark.parametrize("name", representatives(LAYERS, set(LAYERS) - {GROUPED}))
def test_layer_to_order_3_equals_tapes(name, rng):
    make, *shapes = LAYERS[name]
    order = MAX_ORDERS.get(name, 3)
    xs = random_jets(rng, shapes, order)
    layer = float64(make)
    on_jets, function = call_on_jets(layer), call_on_tensors(layer)
    function(*(x.primal for x in xs))
    randomize(layer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_rule(on_jets, function, xs)


# Layers whose second derivative by nested tapes is wrong or lost in Keras.
WRONG_BY_TAPES = {
    "layer normalization": (lambda: layers.LayerNormalization(), (3, 4)),
    "group normalization": (lambda: layers.GroupNormalization(2), (3, 4)),
    "our layer normalization": (lambda: keras_smooth.layers.LayerNormalization(), (3, 4)),
    "our group normalization": (lambda: keras_smooth.layers.GroupNormalization(2), (3, 4)),
    "our batch normalization": (lambda: keras_smooth.layers.BatchNormalization(), (4,)),
    "our unit normalization": (lambda: keras_smooth.layers.UnitNormalization(), (4,)),
    "our bilinear upsampling2d": (lambda: keras_smooth.layers.UpSampling2D(2, interpolation="bilinear"), (3, 3, 2)),
    "our bicubic upsampling2d": (lambda: keras_smooth.layers.UpSampling2D(2, interpolation="bicubic"), (3, 3, 2)),
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    representatives(
        [n for n in LAYERS | WRONG_BY_TAPES if n not in MAX_ORDERS],
        ["dense", "conv2d", "max pooling1d", "maximum", "attention", "layer normalization"],
    ),
)
def test_layer_to_order_6_by_induction(name, rng):
    make, *shapes = (LAYERS | WRONG_BY_TAPES)[name]
    xs, layer = random_jets(rng, shapes, order=6), float64(make)
    function = call_on_tensors(layer)
    function(*(x.primal for x in xs))
    randomize(layer)
    assert_entries_by_induction(call_on_jets(layer), function, xs)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_upsampling_of_keras_equals_exact_layer_within_float32(interpolation, rng):
    exact_layer, keras_layer = (
        float64(lambda kind=kind: kind(2, interpolation=interpolation))
        for kind in (keras_smooth.layers.UpSampling2D, layers.UpSampling2D)
    )
    (x,) = random_jets(rng, [(3, 3, 2)], order=6)
    expected, actual = apply(exact_layer, x), apply(keras_layer, x)
    for k in range(1, 7):
        # Keras' layer rounds to float32, which has 7 digits.
        np.testing.assert_allclose(actual.entry(k), expected.entry(k), atol=1e-5)


def test_multi_head_attention_to_order_6_by_induction(rng):
    layer = float64(lambda: layers.MultiHeadAttention(2, 3))
    (x,) = random_jets(rng, [(3, 4)], order=6)
    layer(x.primal, x.primal)
    assert_entries_by_induction(lambda x: apply(layer, x, x), lambda x: layer(x, x), [x])


@pytest.mark.parametrize(
    "name", ["dense", "conv1d", "softmax", "attention", "multiply", "gru", "max pooling1d"]
)
def test_collapsed_entry_is_sum_over_directions(name, rng):
    make, *shapes = LAYERS[name]
    xs = random_jets(rng, shapes, order=2, directions=3)
    layer = float64(make)
    collapsed = [
        Jet(x.primal, [x.series[0], tf.reduce_sum(x.series[1], 0, keepdims=True)], True)
        for x in xs
    ]
    separate, total = (apply(layer, zs if len(zs) > 1 else zs[0]) for zs in (xs, collapsed))
    np.testing.assert_allclose(total.entry(1), separate.entry(1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        total.entry(2)[0], np.sum(separate.entry(2), axis=0), rtol=1e-10, atol=1e-10
    )


# Two weighted sums of three directions; one of the weights is 0.
WEIGHTS = np.array([[1.0, -0.5, 2.0], [0.0, 3.0, 1.0]])


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize(
    "name",
    representatives(
        LAYERS, ["dense", "conv1d", "softmax", "attention", "multiply", "gru", "lstm"]
    ),
)
def test_weighted_entry_is_weighted_sum_over_directions(name, order, rng):
    """Layers map sums of the highest derivatives as they map each of these."""
    make, *shapes = LAYERS[name]
    xs = random_jets(rng, shapes, order=order, directions=3)
    layer = float64(make)
    # Built outside of the trace, since a layer may keep tensors of it.
    primals = [x.primal for x in xs]
    layer(primals if len(primals) > 1 else primals[0])
    summed = [
        Jet(
            x.primal,
            [*x.series[:-1], tf.tensordot(WEIGHTS, x.series[-1], 1)],
            True,
            weights=WEIGHTS,
        )
        for x in xs
    ]
    separate, sums = (apply(layer, zs if len(zs) > 1 else zs[0]) for zs in (xs, summed))
    for k in range(1, order):
        np.testing.assert_allclose(sums.entry(k), separate.entry(k), rtol=1e-12, atol=1e-12)
    expected = np.tensordot(WEIGHTS, separate.entry(order), 1)
    # Rounding: the same terms in another order.
    scale = 1.0 + np.abs(expected).max()
    np.testing.assert_allclose(sums.entry(order) / scale, expected / scale, atol=1e-11)


def _normalized(x, axes, scale, shift, epsilon):
    mean = ops.mean(x, axes, keepdims=True)
    variance = ops.mean(ops.square(x - mean), axes, keepdims=True)
    return (x - mean) / ops.sqrt(variance + epsilon) * scale + shift


@pytest.mark.parametrize("axis", [-1, (1, 2)])
def test_layer_normalization_equals_its_formula(axis, rng):
    layer = float64(lambda: layers.LayerNormalization(axis=axis))
    xs = random_jets(rng, [(3, 4)], order=3)
    layer(xs[0].primal)
    randomize(layer)
    scale, shift = np.asarray(layer.gamma), np.asarray(layer.beta)
    y = apply(layer, xs[0])
    np.testing.assert_allclose(y.primal, layer(xs[0].primal), rtol=1e-12)
    assert_equals_tapes(
        y, lambda x: _normalized(x, axis, scale, shift, layer.epsilon), xs, order=3
    )


def test_group_normalization_equals_its_formula(rng):
    layer = float64(lambda: layers.GroupNormalization(2))
    xs = random_jets(rng, [(3, 4)], order=3)
    layer(xs[0].primal)
    randomize(layer)
    scale, shift = np.asarray(layer.gamma), np.asarray(layer.beta)

    def function(x):
        groups = tf.reshape(x, (-1, 3, 2, 2))
        groups = _normalized(groups, (1, 3), 1.0, 0.0, layer.epsilon)
        return tf.reshape(groups, (-1, 3, 4)) * scale + shift

    y = apply(layer, xs[0])
    np.testing.assert_allclose(y.primal, layer(xs[0].primal), rtol=1e-12)
    assert_equals_tapes(y, function, xs, order=3)


@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention_to_order_2_equals_tapes(causal, rng):
    layer = float64(lambda: layers.MultiHeadAttention(2, 3))
    xs = random_jets(rng, [(3, 4)], order=2)
    arguments = {"use_causal_mask": True} if causal else {}
    layer(xs[0].primal, xs[0].primal)
    y = apply(layer, xs[0], xs[0], **arguments)
    assert_equals_tapes(y, lambda x: layer(x, x, **arguments), xs, order=2)


def test_embedding_of_jets_is_constant(rng):
    layer = float64(lambda: layers.Embedding(5, 3))
    assert apply(layer, tf.constant([[1, 2]])).shape == (1, 2, 3)
    # Its input is converted to integers, so that the output has no derivatives.
    assert not isinstance(apply(layer, random_jets(rng, [(2,)], order=1)[0]), Jet)


def functional(function, *shapes):
    def make():
        inputs = [keras.Input(shape, dtype="float64") for shape in shapes]
        return keras.Model(inputs, function(*inputs))

    return float64(make)


def _branches(x):
    shared = layers.Dense(3, "tanh")
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(4, "silu"), layers.Dense(3)])
    y = shared(x)
    y = layers.Add()([shared(inner(y)), y])
    return layers.Concatenate()([y, layers.Multiply()([x, y])])


FUNCTIONAL_MODELS = {
    "branches": (_branches, (3,)),
    "operations": (
        lambda x: ops.sin(x) * 2.0 + x**3 / (ops.exp(x) + 2.0) - ops.square(x) ** 2,
        (3,),
    ),
    "slices": (lambda x: ops.concatenate([x[:, :1] * x[:, 1:], -x], axis=-1), (3,)),
    "sums": (lambda x: ops.sum(ops.tanh(x), axis=-1, keepdims=True) + ops.mean(x, axis=1, keepdims=True), (3,)),
    "shapes": (lambda x: ops.transpose(ops.reshape(x, (-1, 2, 3)), (0, 2, 1)), (6,)),
    "matmul": (lambda x: ops.matmul(ops.silu(x), np.eye(3)), (3,)),
    "constant": (lambda x: 1.0 / (2.0 + ops.cos(x)) + np.arange(3.0), (3,)),
    "two inputs": (lambda x, y: ops.exp(x) * y, (3,), (1,)),
    "zeros and ones": (lambda x: x * ops.ones_like(x) ** 2 + ops.zeros_like(x), (3,)),
    "where": (lambda x: ops.where(x > 0.1, ops.sin(x), x**2), (3,)),
    "where a constant": (lambda x: ops.where(ops.less(x, 0.0), 0.0, ops.exp(x)), (3,)),
    "comparison": (lambda x: x * ops.cast(ops.logical_and(x > 0, x < 2), "float64"), (3,)),
    "constant branch": (lambda x: layers.Add()([x, layers.Dense(3)(ops.ones_like(x))]), (3,)),
    "constant factor": (lambda x: layers.Multiply()([ops.ones_like(x) * 2.0, x]), (3,)),
    "without a rule": (lambda x: ops.arctan(x) + ops.sigmoid(x), (3,)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONAL_MODELS)
def test_functional_model_to_order_3(name, rng):
    function, *shapes = FUNCTIONAL_MODELS[name]
    model, xs = functional(function, *shapes), random_jets(rng, shapes, order=3)
    assert_rule(call_on_jets(model), call_on_tensors(model), xs)


@pytest.mark.parametrize(
    "name",
    representatives([*FUNCTIONAL_MODELS], ["branches", "operations"]),
)
def test_functional_model_to_order_6_by_induction(name, rng):
    function, *shapes = FUNCTIONAL_MODELS[name]
    model, xs = functional(function, *shapes), random_jets(rng, shapes, order=6)
    assert_entries_by_induction(call_on_jets(model), call_on_tensors(model), xs)


@pytest.mark.parametrize("axis", [-1, (1, 2)])
def test_ops_layer_normalization_with_scale(axis, rng):
    scale, shift = rng.normal(size=(2, 4) if axis == -1 else (2, 3, 4))
    model = functional(
        lambda x: ops.layer_normalization(x, scale, shift, axis=axis, epsilon=0.01), (3, 4)
    )
    (x,) = random_jets(rng, [(3, 4)], order=2)
    y = apply(model, x)
    assert_equals_tapes(y, lambda x: _normalized(x, axis, scale, shift, 0.01), [x], order=2)


# Layers called with arguments in a Functional model.
CALLS = {
    "training=False": (lambda x: layers.Dropout(0.5)(x, training=False), (3,)),
    "batch norm": (lambda x: layers.BatchNormalization()(x, training=False), (3,)),
    "inner model": (lambda x: keras.Sequential([layers.Dense(2, "tanh")])(x, training=False), (3,)),
    "softmax with mask": (lambda x: layers.Softmax()(x, mask=np.array([[True, False, True]])), (3,)),
    "rnn with mask": (lambda x: layers.SimpleRNN(2)(x, mask=ops.ones_like(x[:, :, 0]) > 0), (3, 2)),
    "attention": (lambda x: layers.MultiHeadAttention(1, 2)(x, value=ops.sin(x), use_causal_mask=True), (3, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_functional_model_with_call_arguments(name, rng):
    function, *shapes = CALLS[name]
    model = functional(function, *shapes)
    (x,) = random_jets(rng, shapes, order=2)
    assert_equals_tapes(apply(model, x), model, [x], order=2)


MIXING = {
    "mean of the batch": lambda x: x - ops.mean(x, axis=0),
    "folded batch": lambda x: ops.reshape(x, (2, 9)) ** 2,
    "sums over samples": lambda x: ops.cumsum(x, axis=0) ** 2,
    "sorted samples": lambda x: ops.softmax(ops.transpose(x)),
}


@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("name", MIXING)
def test_functions_that_mix_samples_raise(name, engine):
    model = functional(MIXING[name], (3,))
    with pytest.raises(ValueError, match="mixes|samples for 6"):
        keras_smooth.derivatives(model, np.eye(6, 3), 2, engine=engine)


# The parts of each sample become samples of a larger batch, and are joined again.
FOLDING = {
    "steps": (lambda x: ops.reshape(
        layers.Dense(2, "tanh")(ops.reshape(x, (-1, 2))), (-1, 4, 2)), (4, 2)),
    "rows of an image": (lambda x: ops.reshape(
        layers.SimpleRNN(3)(ops.reshape(x, (-1, 2, 2))), (-1, 2, 3)), (2, 2, 2)),
    "numbers": (lambda x: ops.reshape(ops.sin(ops.reshape(x, (-1, 1))) ** 2, (-1, 4)), (4,)),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("name", FOLDING)
def test_reshape_into_the_batch_and_back(name, engine, rng):
    function, *shapes = FOLDING[name]
    model, x = functional(function, *shapes), rng.normal(size=(3, *shapes[0]))
    whole = keras_smooth.derivatives(model, x, 2, engine=engine)
    # A single sample cannot be mixed with others.
    for index in range(3):
        single = keras_smooth.derivatives(model, x[index : index + 1], 2, engine="tape")
        for value, expected in zip(whole, single, strict=True):
            np.testing.assert_allclose(value[index], expected[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("engine", ["jet", "tape"])
def test_model_that_returns_another_batch_size_raises(engine):
    model = functional(lambda x: ops.sin(ops.reshape(x, (-1, 6))), (3,))
    with pytest.raises(ValueError, match="returns 2 samples for 4"):
        keras_smooth.derivatives(model, np.ones((4, 3)), 2, engine=engine)


@pytest.mark.parametrize("engine", ["jet", "tape"])
def test_samples_mixed_between_two_reshapes_raise(engine):
    def mixed(x):
        return ops.reshape(ops.cumsum(ops.reshape(x, (-1, 6)), axis=1) ** 2, (-1, 3))

    x = np.arange(12.0).reshape(4, 3)
    with pytest.raises(ValueError, match="mixes samples"):
        keras_smooth.derivatives(functional(mixed, (3,)), x, 2, engine=engine)


@pytest.mark.parametrize("engine", ["auto", "jet", "tape"])
def test_training_mode_inside_model_is_that_of_outer_call(engine):
    def make(x):
        inner = keras.Model(x, layers.BatchNormalization(name="norm")(x, training=True))
        return keras.Sequential([inner])(ops.sin(x))

    model, x = functional(make, (3,)), np.eye(3)
    # As in `predict`, the mode of the outer call counts.
    y, *_ = keras_smooth.derivatives(model, x, 2, engine=engine)
    np.testing.assert_allclose(y, model(x, training=False), rtol=1e-12)
    with pytest.raises(ValueError, match="mixes samples.*norm"):
        keras_smooth.derivatives(model, x, 2, engine=engine, training=True)


def test_jets_do_not_change_the_model(rng):
    model = functional(_branches, (3,))
    nodes = [layer.name for layer in model.layers]
    output = model.layers[-1].output
    apply(model, random_jets(rng, [(3,)], order=1)[0])
    assert [layer.name for layer in model.layers] == nodes
    assert model.layers[-1].output is output


def test_masks_are_passed_on_with_jets(rng):
    def make():
        return keras.Sequential(
            [keras.Input((3, 2)), layers.Masking(), layers.SimpleRNN(2)]
        )

    model = float64(make)
    x = random_jets(rng, [(3, 2)], order=2)[0]
    x = Jet(tf.concat([x.primal[:, :2], tf.zeros((2, 1, 2), x.dtype)], axis=1), x.series)
    assert_equals_tapes(apply(model, x), model, [x], order=2)


def test_subclassed_model(rng):
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2, "tanh", dtype="float64")

        def call(self, x):
            return ops.square(self.dense(x))

    model = Subclassed()
    xs = random_jets(rng, [(3,)], order=3)
    model(xs[0].primal)
    assert_equals_tapes(apply(model, xs[0]), model, xs, order=3)


def test_register_jet_rule_for_layer_and_function(rng):
    class Doubled(layers.Layer):
        def call(self, x):
            return 2.0 * x

    def cubed(x):
        return x * x * x

    keras_smooth.register_jet_rule(Doubled, lambda layer, x: 2.0 * x)
    keras_smooth.register_jet_rule(cubed, lambda x: keras_smooth.jet.power(x, 3))
    xs = random_jets(rng, [(3,)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = apply(cubed, apply(Doubled(dtype="float64"), xs[0]))
    assert_equals_tapes(y, lambda x: cubed(2.0 * x), xs)


def test_register_jet_rule_for_operation(rng):
    called_with = []

    def rule(operation, x):
        called_with.append(operation.type)
        return keras_smooth.jet.sin(x) / keras_smooth.jet.cos(x)

    registered = operations.row("Tan").jet
    keras_smooth.register_jet_rule("Tan", rule)
    try:
        model = functional(lambda x: ops.tan(0.3 * x) + x, (3,))
        (x,) = random_jets(rng, [(3,)], order=3)
        assert_equals_tapes(apply(model, x), model, [x], order=3)
    finally:
        operations.rows.add_column("Tan", jet=registered)
    assert called_with == ["Tan"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((3, len), "function or a class of layers"), ((len, 3), "`rule` must be a function")],
)
def test_register_jet_rule_with_wrong_arguments_raises(arguments, words):
    with pytest.raises(TypeError, match=words):
        keras_smooth.register_jet_rule(*arguments)


def test_error_names_layer_without_derivative():
    model = keras.Sequential(
        [keras.Input((1,)), layers.Dense(2), layers.Discretization([0.0], name="bins")]
    )
    with pytest.raises(ValueError, match=r"lost.*bins"):
        keras_smooth.derivatives(model, np.ones((2, 1)), 1, engine="jet")


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A function whose hash uses its fields, of which one is not hashable."""

    factors: list

    def __call__(self, x):
        return self.factors[0] * tf.tanh(x)


def test_unhashable_functions_are_differentiated_and_audited():
    activation, x = Scaled([2.0]), np.linspace(-1.0, 1.0, 5)[:, None]
    with pytest.raises(TypeError):
        hash(activation)
    _, dy = keras_smooth.derivatives(activation, x, 1, engine="jet")
    np.testing.assert_allclose(dy, 2.0 / np.cosh(x) ** 2, rtol=1e-13)  # Rounding.
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3, activation)])
    assert keras_smooth.audit(model, x).outcome == "proven"
    assert keras_smooth.smoothness(model) == np.inf
