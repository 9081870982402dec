"""Every rule against nested tapes over the layer itself, in float64."""

import dataclasses
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

# Layer, shapes of a sample of its inputs.
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

# Order 3 by nested tapes takes 3^3 sweeps: too many where one is slow.
HIGHEST = {"bidirectional lstm": 2, "gru": 2, "conv1d groups": 2}


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


def curve(terms, t):
    return sum(term * t**k / math.factorial(k) for k, term in enumerate(terms))


def along(x):
    """Returns the curves of a jet: t of shape (directions * batch,) to points."""
    entries, axes = terms(x), (1,) * (x.shape.rank - 1)
    return lambda t: curve(entries, tf.reshape(t, (-1, *axes)))


def reference(function, xs, order=ORDER):
    """Returns the entries of all directions by nested tapes over t."""
    paths = [along(x) for x in xs]
    t = tf.zeros([xs[0].directions * xs[0].shape[0]], tf.float64)
    return tapes.nested_tapes(
        lambda t: function(*(path(t) for path in paths)),
        t,
        order,
        tapes.AlongLine(_TrueZero(), order),
    )


class _TrueZero:
    """Paths on which tapes are right: where they find nothing there is 0."""

    @staticmethod
    def are_right(order):
        return True

    @staticmethod
    def checked(row, order, like, output, inputs):
        return tf.zeros_like(like) if row is None else row


def components(function, t, order):
    """Returns the entries by one gradient a component: slow, and with nothing of ours."""
    if order == 0:
        return [function(t)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(t)
        values = components(function, t, order - 1)
        columns = tf.unstack(values[-1], axis=1)
    return [*values, tf.stack([tape.gradient(column, t) for column in columns], axis=1)]


@pytest.mark.parametrize("name", representatives(["dense", "gru"], ["dense"]))
def test_reference(name, rng):
    make, shape = LAYERS[name]
    layer, (x,) = float64(make), random_jets(rng, [shape], order=3)
    path = along(x)
    slow = components(lambda t: layer(path(t)), tf.zeros([4], tf.float64), 3)
    for fast, exact in zip(reference(layer, [x], 3), slow, strict=True):
        np.testing.assert_allclose(fast, exact, rtol=1e-12, atol=1e-12)


def elementwise(function, x, order):
    """Returns the entries of an elementwise function by one sweep an order: each has its t."""
    entries = terms(x)

    def nested(t, order):
        if order == 0:
            return [function(curve(entries, t))]
        with tf.GradientTape() as tape:
            tape.watch(t)
            below = nested(t, order - 1)
        slope = tape.gradient(below[-1], t)
        return [*below, tf.zeros_like(t) if slope is None else slope]

    return nested(tf.zeros_like(entries[0]), order)


def assert_agrees(y, function, xs, order=ORDER):
    assert_entries(y, reference(function, xs, order))


def assert_entries(y, exact):
    for direction in range(y.directions):
        ours = [entry[direction] for entry in y.series]
        true = [np.split(entry, y.directions)[direction] for entry in exact]
        np.testing.assert_allclose(y.primal, true[0], rtol=1e-13, atol=1e-13)
        for entry, value in zip(ours, true[1:]):
            assert_entry(entry, value)


def assert_entry(entry, value):
    scale = np.abs(value).max() + 1.0
    # The bound, relative to the largest entry.
    np.testing.assert_allclose(entry / scale, value / scale, rtol=0, atol=1e-10)


def float64(make):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        return make()
    finally:
        keras.config.set_dtype_policy(policy)


def randomize(layer):
    """Gives biases and scales other values than 0 and 1."""
    for index, weight in enumerate(layer.weights):
        if "seed" not in weight.path:
            noise = np.random.default_rng(index).uniform(0.2, 0.8, weight.shape)
            weight.assign(np.asarray(weight) * 0.5 + noise * 0.5)


def reference_of(case):
    """Returns the function that tapes differentiate: Keras' softsign has no y'' for them."""
    keras_softsign = case.row.subject is keras.activations.softsign
    return activations.softsign if keras_softsign else case.function


def calling(layer):
    return lambda *xs: layer(list(xs) if len(xs) > 1 else xs[0])


def carrying(layer):
    return lambda *xs: apply(layer, list(xs) if len(xs) > 1 else xs[0])


def moved(x, s, order):
    """Returns the jet of order `order` of the curve t -> x(s + t) of the first direction."""
    s = tf.reshape(s, (-1,) + (1,) * (x.shape.rank - 1))
    terms = [x.primal] + [entry[0] for entry in x.series]
    entries = [
        sum(v * s**k / math.factorial(k) for k, v in enumerate(terms[n:]))
        for n in range(order + 1)
    ]
    return Jet(entries[0], [entry[None] for entry in entries[1:]])


def assert_each_order_is_the_derivative_of_the_last(carry, function, xs):
    """Checks entry n of a rule against one tape over its entry n - 1 along the curve.

    Entry 0 is the function itself, so that by induction all orders stand on tapes; nested
    ones would take 3^n tapes. That a rule of a lower order gives the same is checked too.
    """
    y, order = carry(*xs), xs[0].order

    def below(s):
        z = carry(*(moved(x, s, order - 1) for x in xs))
        start = function(*(moved(x, s, 0).primal for x in xs))
        return tf.stack([start, *(z.entry(n)[0] for n in range(1, order))], axis=1)

    values, slopes = tapes.nested_tapes(
        below, tf.zeros([2], tf.float64), 1, tapes.AlongLine(_TrueZero(), 1)
    )
    for n in range(1, order + 1):
        assert_entry(y.entry(n)[0], slopes[:, n - 1])
        if n < order:
            assert_entry(y.entry(n)[0], values[:, n])


def assert_rule(carry, function, xs):
    """Checks a rule against nested tapes to order 2, and order by order above."""
    assert_agrees(carry(*xs), function, xs, 2)
    assert_each_order_is_the_derivative_of_the_last(carry, function, xs)


@pytest.mark.parametrize("name", representatives(ACTIVATIONS, [*ACTIVATIONS][::4]))
def test_activation_to_order_4(name, rng):
    case, (x,) = ACTIVATIONS[name], random_jets(rng, [(4,)], 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = apply(case.function, x)
    if case.row.mixes:
        assert_agrees(y, reference_of(case), [x], 4)
    else:
        assert_entries(y, elementwise(reference_of(case), x, 4))


# A few are slow to leave out: rules are made of the same arithmetic.
RECOMMENDED = [name for name, case in ACTIVATIONS.items() if case.row.recommended]


@pytest.mark.parametrize("name", representatives(ACTIVATIONS, [*RECOMMENDED, "keras glu"]))
def test_activation_to_order_6(name, rng):
    case = ACTIVATIONS[name]
    assert_each_order_is_the_derivative_of_the_last(
        lambda x: apply(case.function, x),
        reference_of(case),
        random_jets(rng, [(4,)], 6),
    )


# TensorFlow has a gradient of grouped convolutions on CPU under XLA alone, which compiles.
COMPILED = "conv1d groups"


@pytest.mark.parametrize("name", representatives(LAYERS, set(LAYERS) - {COMPILED}))
def test_layer(name, rng):
    make, *shapes = LAYERS[name]
    order = HIGHEST.get(name, 3)
    xs = random_jets(rng, shapes, order)
    layer = float64(make)
    carry, function = carrying(layer), calling(layer)
    function(*(x.primal for x in xs))
    randomize(layer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_rule(carry, function, xs)


# Layers whose second derivative by nested tapes is wrong or lost in Keras.
ABOVE_TAPES = {
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
        [n for n in LAYERS | ABOVE_TAPES if n not in HIGHEST],
        ["dense", "conv2d", "max pooling1d", "maximum", "attention", "layer normalization"],
    ),
)
def test_layer_to_order_6(name, rng):
    make, *shapes = (LAYERS | ABOVE_TAPES)[name]
    xs, layer = random_jets(rng, shapes, order=6), float64(make)
    function = calling(layer)
    function(*(x.primal for x in xs))
    randomize(layer)
    assert_each_order_is_the_derivative_of_the_last(carrying(layer), function, xs)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_upsampling_interpolates_every_entry(interpolation, rng):
    ours, theirs = (
        float64(lambda kind=kind: kind(2, interpolation=interpolation))
        for kind in (keras_smooth.layers.UpSampling2D, layers.UpSampling2D)
    )
    (x,) = random_jets(rng, [(3, 3, 2)], order=6)
    exact, found = apply(ours, x), apply(theirs, x)
    for k in range(1, 7):
        # Keras' layer rounds to float32, which has 7 digits.
        np.testing.assert_allclose(found.entry(k), exact.entry(k), atol=1e-5)


def test_multi_head_attention_to_order_6(rng):
    layer = float64(lambda: layers.MultiHeadAttention(2, 3))
    (x,) = random_jets(rng, [(3, 4)], order=6)
    layer(x.primal, x.primal)
    assert_each_order_is_the_derivative_of_the_last(
        lambda x: apply(layer, x, x), lambda x: layer(x, x), [x]
    )


@pytest.mark.parametrize(
    "name", ["dense", "conv1d", "softmax", "attention", "multiply", "gru", "max pooling1d"]
)
def test_collapsed_layer_is_the_sum_over_directions(name, rng):
    make, *shapes = LAYERS[name]
    xs = random_jets(rng, shapes, order=2, directions=3)
    layer = float64(make)
    collapsed = [
        Jet(x.primal, [x.series[0], tf.reduce_sum(x.series[1], 0, keepdims=True)], True)
        for x in xs
    ]
    full, total = (apply(layer, zs if len(zs) > 1 else zs[0]) for zs in (xs, collapsed))
    np.testing.assert_allclose(total.entry(1), full.entry(1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        total.entry(2)[0], np.sum(full.entry(2), axis=0), rtol=1e-10, atol=1e-10
    )


# Two sums of three directions; a direction that has no weight in one.
WEIGHTS = np.array([[1.0, -0.5, 2.0], [0.0, 3.0, 1.0]])


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize(
    "name",
    representatives(
        LAYERS, ["dense", "conv1d", "softmax", "attention", "multiply", "gru", "lstm"]
    ),
)
def test_sums_of_weighted_directions(name, order, rng):
    """All layers carry sums of the last derivatives as they carry these."""
    make, *shapes = LAYERS[name]
    xs = random_jets(rng, shapes, order=order, directions=3)
    layer = float64(make)
    # Built outside of the trace, whose tensors it might keep.
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
    full, sums = (apply(layer, zs if len(zs) > 1 else zs[0]) for zs in (xs, summed))
    for k in range(1, order):
        np.testing.assert_allclose(sums.entry(k), full.entry(k), rtol=1e-12, atol=1e-12)
    exact = np.tensordot(WEIGHTS, full.entry(order), 1)
    # The same terms in another order.
    scale = 1.0 + np.abs(exact).max()
    np.testing.assert_allclose(sums.entry(order) / scale, exact / scale, atol=1e-11)


def _normalized(x, axes, scale, shift, epsilon):
    mean = ops.mean(x, axes, keepdims=True)
    variance = ops.mean(ops.square(x - mean), axes, keepdims=True)
    return (x - mean) / ops.sqrt(variance + epsilon) * scale + shift


@pytest.mark.parametrize("axis", [-1, (1, 2)])
def test_layer_normalization_is_exact_where_tapes_are_not(axis, rng):
    layer = float64(lambda: layers.LayerNormalization(axis=axis))
    xs = random_jets(rng, [(3, 4)], order=3)
    layer(xs[0].primal)
    randomize(layer)
    scale, shift = np.asarray(layer.gamma), np.asarray(layer.beta)
    y = apply(layer, xs[0])
    np.testing.assert_allclose(y.primal, layer(xs[0].primal), rtol=1e-12)
    assert_agrees(
        y, lambda x: _normalized(x, axis, scale, shift, layer.epsilon), xs, order=3
    )


def test_group_normalization(rng):
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
    assert_agrees(y, function, xs, order=3)


@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention(causal, rng):
    layer = float64(lambda: layers.MultiHeadAttention(2, 3))
    xs = random_jets(rng, [(3, 4)], order=2)
    arguments = {"use_causal_mask": True} if causal else {}
    layer(xs[0].primal, xs[0].primal)
    y = apply(layer, xs[0], xs[0], **arguments)
    assert_agrees(y, lambda x: layer(x, x, **arguments), xs, order=2)


def test_embedding_of_constants_and_of_jets(rng):
    layer = float64(lambda: layers.Embedding(5, 3))
    assert apply(layer, tf.constant([[1, 2]])).shape == (1, 2, 3)
    # A number of a row is an integer: nothing moves behind it.
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


GRAPHS = {
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


@pytest.mark.parametrize("name", GRAPHS)
def test_graph(name, rng):
    function, *shapes = GRAPHS[name]
    model, xs = functional(function, *shapes), random_jets(rng, shapes, order=3)
    assert_rule(carrying(model), calling(model), xs)


@pytest.mark.parametrize(
    "name",
    representatives([*GRAPHS], ["branches", "operations"]),
)
def test_graph_to_order_6(name, rng):
    function, *shapes = GRAPHS[name]
    model, xs = functional(function, *shapes), random_jets(rng, shapes, order=6)
    assert_each_order_is_the_derivative_of_the_last(carrying(model), calling(model), xs)


@pytest.mark.parametrize("axis", [-1, (1, 2)])
def test_layer_normalization_as_an_operation_with_a_scale(axis, rng):
    scale, shift = rng.normal(size=(2, 4) if axis == -1 else (2, 3, 4))
    model = functional(
        lambda x: ops.layer_normalization(x, scale, shift, axis=axis, epsilon=0.01), (3, 4)
    )
    (x,) = random_jets(rng, [(3, 4)], order=2)
    y = apply(model, x)
    assert_agrees(y, lambda x: _normalized(x, axis, scale, shift, 0.01), [x], order=2)


# Calls with arguments, inside a graph.
CALLS = {
    "training=False": (lambda x: layers.Dropout(0.5)(x, training=False), (3,)),
    "batch norm": (lambda x: layers.BatchNormalization()(x, training=False), (3,)),
    "inner model": (lambda x: keras.Sequential([layers.Dense(2, "tanh")])(x, training=False), (3,)),
    "softmax with mask": (lambda x: layers.Softmax()(x, mask=np.array([[True, False, True]])), (3,)),
    "rnn with mask": (lambda x: layers.SimpleRNN(2)(x, mask=ops.ones_like(x[:, :, 0]) > 0), (3, 2)),
    "attention": (lambda x: layers.MultiHeadAttention(1, 2)(x, value=ops.sin(x), use_causal_mask=True), (3, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_call_with_arguments(name, rng):
    function, *shapes = CALLS[name]
    model = functional(function, *shapes)
    (x,) = random_jets(rng, shapes, order=2)
    assert_agrees(apply(model, x), model, [x], order=2)


MIXING = {
    "mean of the batch": lambda x: x - ops.mean(x, axis=0),
    "folded batch": lambda x: ops.reshape(x, (2, 9)) ** 2,
    "sums over samples": lambda x: ops.cumsum(x, axis=0) ** 2,
    "sorted samples": lambda x: ops.softmax(ops.transpose(x)),
}


@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_samples_is_refused(name, engine):
    model = functional(MIXING[name], (3,))
    with pytest.raises(ValueError, match="mixes|samples for 6"):
        keras_smooth.derivatives(model, np.eye(6, 3), 2, engine=engine)


# What each sample is made of becomes samples of a batch, and is put together again.
FOLDING = {
    "steps": (lambda x: ops.reshape(
        layers.Dense(2, "tanh")(ops.reshape(x, (-1, 2))), (-1, 4, 2)), (4, 2)),
    "rows of an image": (lambda x: ops.reshape(
        layers.SimpleRNN(3)(ops.reshape(x, (-1, 3, 2))), (-1, 2, 3)), (2, 3, 2)),
    "numbers": (lambda x: ops.reshape(ops.sin(ops.reshape(x, (-1, 1))) ** 2, (-1, 4)), (4,)),
}  # fmt: skip


@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("name", FOLDING)
def test_a_reshape_that_folds_the_batch(name, engine, rng):
    function, *shapes = FOLDING[name]
    model, x = functional(function, *shapes), rng.normal(size=(5, *shapes[0]))
    found = keras_smooth.derivatives(model, x, 2, engine=engine)
    # Each sample alone shares no fold with others.
    for at in range(5):
        alone = keras_smooth.derivatives(model, x[at : at + 1], 2, engine="tape")
        for value, exact in zip(found, alone, strict=True):
            np.testing.assert_allclose(value[at], exact[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("engine", ["jet", "tape"])
def test_a_model_that_returns_another_number_of_samples_is_refused(engine):
    model = functional(lambda x: ops.sin(ops.reshape(x, (-1, 6))), (3,))
    with pytest.raises(ValueError, match="returns 2 samples for 4"):
        keras_smooth.derivatives(model, np.ones((4, 3)), 2, engine=engine)


@pytest.mark.parametrize("engine", ["jet", "tape"])
def test_samples_that_are_mixed_between_two_reshapes_are_refused(engine):
    def mixed(x):
        return ops.reshape(ops.cumsum(ops.reshape(x, (-1, 6)), axis=1) ** 2, (-1, 3))

    x = np.arange(12.0).reshape(4, 3)
    with pytest.raises(ValueError, match="mixes samples"):
        keras_smooth.derivatives(functional(mixed, (3,)), x, 2, engine=engine)


@pytest.mark.parametrize("engine", ["auto", "jet", "tape"])
def test_the_mode_inside_a_graph_is_that_of_the_call(engine):
    def make(x):
        inner = keras.Model(x, layers.BatchNormalization(name="norm")(x, training=True))
        return keras.Sequential([inner])(ops.sin(x))

    model, x = functional(make, (3,)), np.eye(3)
    # As in `predict`, the mode of the call counts.
    y, *_ = keras_smooth.derivatives(model, x, 2, engine=engine)
    np.testing.assert_allclose(y, model(x, training=False), rtol=1e-12)
    with pytest.raises(ValueError, match="mixes samples.*norm"):
        keras_smooth.derivatives(model, x, 2, engine=engine, training=True)


def test_the_walk_leaves_the_model_as_it_is(rng):
    model = functional(_branches, (3,))
    nodes = [layer.name for layer in model.layers]
    output = model.layers[-1].output
    apply(model, random_jets(rng, [(3,)], order=1)[0])
    assert [layer.name for layer in model.layers] == nodes
    assert model.layers[-1].output is output


def test_masks_go_with_jets(rng):
    def make():
        return keras.Sequential(
            [keras.Input((3, 2)), layers.Masking(), layers.SimpleRNN(2)]
        )

    model = float64(make)
    x = random_jets(rng, [(3, 2)], order=2)[0]
    x = Jet(tf.concat([x.primal[:, :2], tf.zeros((2, 1, 2), x.dtype)], axis=1), x.series)
    assert_agrees(apply(model, x), model, [x], order=2)


def test_subclassed_model(rng):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2, "tanh", dtype="float64")

        def call(self, x):
            return ops.square(self.dense(x))

    model = Own()
    xs = random_jets(rng, [(3,)], order=3)
    model(xs[0].primal)
    assert_agrees(apply(model, xs[0]), model, xs, order=3)


def test_register_jet_rule_for_a_layer_and_a_function(rng):
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
    assert_agrees(y, lambda x: cubed(2.0 * x), xs)


def test_register_jet_rule_for_an_operation(rng):
    taken = []

    def rule(operation, x):
        taken.append(operation.type)
        return keras_smooth.jet.sin(x) / keras_smooth.jet.cos(x)

    before = operations.row("Tan").jet
    keras_smooth.register_jet_rule("Tan", rule)
    try:
        model = functional(lambda x: ops.tan(0.3 * x) + x, (3,))
        (x,) = random_jets(rng, [(3,)], order=3)
        assert_agrees(apply(model, x), model, [x], order=3)
    finally:
        operations.rows.add_column("Tan", jet=before)
    assert taken == ["Tan"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((3, len), "function or a class of layers"), ((len, 3), "`rule` must be a function")],
)
def test_register_jet_rule_refuses(arguments, words):
    with pytest.raises(TypeError, match=words):
        keras_smooth.register_jet_rule(*arguments)


def test_non_differentiable_layer_is_named():
    model = keras.Sequential(
        [keras.Input((1,)), layers.Dense(2), layers.Discretization([0.0], name="bins")]
    )
    with pytest.raises(ValueError, match=r"lost.*bins"):
        keras_smooth.derivatives(model, np.ones((2, 1)), 1, engine="jet")


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A function with a hash by its values, of which one has none."""

    factors: list

    def __call__(self, x):
        return self.factors[0] * tf.tanh(x)


def test_functions_without_a_hash_are_differentiated_and_audited():
    activation, x = Scaled([2.0]), np.linspace(-1.0, 1.0, 5)[:, None]
    with pytest.raises(TypeError):
        hash(activation)
    _, dy = keras_smooth.derivatives(activation, x, 1, engine="jet")
    np.testing.assert_allclose(dy, 2.0 / np.cosh(x) ** 2, rtol=1e-13)  # Rounding.
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3, activation)])
    assert keras_smooth.audit(model, x).outcome == "proven"
    assert keras_smooth.smoothness(model) == np.inf
