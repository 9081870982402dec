"""smoothen: the same weights in smooth, exact layers."""

import functools
import json
import random
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from representatives import representatives

import keras_smooth
from keras_smooth import registry
from keras_smooth.smoothing import smooth_forms, straight_pieces

L = keras.layers


def _double(layers, dim):
    made = [keras.Input((dim,), dtype="float64")]
    return keras.Sequential(made + [layer(dtype="float64") for layer in layers])


def _net():
    keras.utils.set_random_seed(3)
    return _double(
        [
            lambda **kw: L.Dense(16, "tanh", **kw),
            lambda **kw: L.LayerNormalization(**kw),
            lambda **kw: L.Dense(1, **kw),
        ],
        1,
    )


# What is wrong by tapes is what is looked at.
@pytest.mark.filterwarnings("default:.*TensorFlow's derivatives of order 2 are stopped")
def test_layer_normalization_net_is_repaired():
    model, x = _net(), np.linspace(-1.0, 1.0, 21)[:, None]
    assert keras_smooth.audit(model).model.cause == "wrong"
    smooth = keras_smooth.smoothen(model)
    assert keras_smooth.audit(smooth).ok
    # A few roundings of float64.
    assert keras_smooth.output_change(model, smooth, x).largest < 1e-14
    step = 1e-4
    upper, lower = (keras_smooth.derivatives(smooth, x + s, 1)[1] for s in (step, -step))
    true = (upper - lower) / (2 * step)
    second, stock = (
        keras_smooth.derivatives(m, x, engine="tape")[2] for m in (smooth, model)
    )
    scale = np.abs(true).max()
    assert np.abs(second - true).max() < 1e-6 * scale
    assert np.abs(stock - true).max() > 1e-3 * scale


def _branched():
    keras.utils.set_random_seed(4)
    x = keras.Input((3,))
    shared = L.Dense(3, "relu", name="shared")
    y = L.LeakyReLU()(shared(shared(x)))
    y = L.Add()([y, L.ELU()(x), L.BatchNormalization()(x)])
    y = L.Reshape((3, 1))(L.ReLU(6.0)(y))
    y = L.TimeDistributed(L.Dense(2, "selu"))(y)
    y = L.Bidirectional(L.GRU(3, recurrent_activation="hard_sigmoid"))(y)
    nested = keras.Sequential(
        [keras.Input((6,)), L.Dense(4, "hard_tanh"), L.LayerNormalization()]
    )
    return keras.Model(x, nested(y) + 1.0)


@pytest.mark.slow
def test_branches_shared_nested_and_wrapped_layers(tmp_path, rng):
    model = _branched()
    model.compile("adam", "mse")
    x = rng.normal(size=(5, 3)).astype("float32")
    smooth = keras_smooth.smoothen(model, sharpness=100.0)
    assert keras_smooth.audit(smooth).ok
    assert smooth.compiled and smooth.loss == "mse"
    assert len(smooth.layers) == len(model.layers)
    smooth.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    # The same layers and weights: what was measured above holds for this one.
    np.testing.assert_array_equal(again(x), smooth(x))
    # A file knows lists only, no tuples.
    assert json.dumps(again.get_config()) == json.dumps(smooth.get_config())


def test_random_numbers_of_a_program_stay():
    """Initializers of new layers draw seeds from Python's generator."""

    def drawn(repair):
        keras.utils.set_random_seed(5)
        if repair:
            keras_smooth.smoothen(model)
        return random.random(), np.random.rand(), float(keras.random.uniform(()))

    model = keras.Sequential(
        [keras.Input((2,)), L.Dense(3, "relu"), L.Dropout(0.1), L.Dense(1)]
    )
    assert drawn(repair=True) == drawn(repair=False)


def test_the_model_itself_stays():
    model = _branched()
    before = [weight.numpy() for weight in model.weights]
    keras_smooth.smoothen(model)
    for old, new in zip(before, model.weights):
        np.testing.assert_array_equal(old, new)
    assert model.get_layer("shared").activation is keras.activations.relu


ROUGH = {
    row.subject.__name__: row.subject
    for row in registry.activation_rows()
    if (registry.smoothness(row.subject) or 0) < 2
    and row.subject.__module__.startswith("keras")
}
# No smooth function is near to a jump. Keras' sparsemax jumps by mistake.
JUMPS = [name for name in ROUGH if registry.smoothness(name) == -1 and name != "sparsemax"]
# Functions of the same shape, and how far off they are. Keras' sparsemax of (8, 5.6) has a
# sum of 2.4.
ALIKE = {"hard_silu": 0.143, "smelu": 0.097, "sparse_plus": 0.097, "sparsemax": 1.43}


@pytest.mark.parametrize("name", ROUGH)
def test_every_rough_activation_has_a_smooth_form(name):
    function, x = ROUGH[name], np.linspace(-8.0, 8.0, 801)[:, None] * [1.0, 0.7]
    assert (smooth_forms.of_function(function, 10.0) is None) == (name in JUMPS)
    if name in JUMPS:
        return
    true = np.asarray(function(x))
    gaps = []
    for sharpness in (10.0, 100.0, 1000.0):
        smooth = smooth_forms.of_function(function, sharpness)
        gaps.append(np.abs(np.asarray(smooth(x)) - true).max())
    # A ramp is off by log(2) / sharpness; four ramps at most, with slopes below 2.
    limits = [ALIKE[name]] * 3 if name in ALIKE else [0.4, 0.04, 0.004]
    assert np.all(np.array(gaps) < limits), gaps
    layer = keras_smooth.Activation(smooth, order=3)
    assert keras_smooth.smoothness(layer) == np.inf


def _tf_clip(x):
    return tf.clip_by_value(x, -0.25, 2.0) / 3.0


# Functions of straight pieces, and the slopes of the pieces.
STRAIGHT = {
    "keras": (keras.activations.relu6, [0, 1, 0]),
    "tensorflow": (tf.nn.relu, [0, 1]),
    "parameters": (
        keras_smooth.activations.partial("relu", negative_slope=0.25),
        [0.25, 1],
    ),
    "operation": (ops.abs, [-1, 1]),
    "lambda": (lambda x: tf.maximum(x, 0.125 * x), [0.125, 1]),
    "sum": (lambda x: 2.0 * tf.nn.relu(x - 1.0) - ops.abs(x + 3), [1, -1, 1]),
    "chosen": (lambda x: ops.where(x > 0, x, 0.5 * x), [0.5, 1]),
    "def": (_tf_clip, [0, 1 / 3, 0]),
    "line": (lambda x: 3 * x - 1, [3]),
}


@pytest.mark.parametrize("name", STRAIGHT)
def test_straight_pieces_are_measured(name):
    function, slopes = STRAIGHT[name]
    pieces = straight_pieces.measured_pieces(function)
    found = pieces["slope"] + np.append(0.0, np.cumsum(pieces["weights"]))
    # Rounded to 12 digits, each weight.
    np.testing.assert_allclose(found, slopes, atol=1e-11)


NOT_STRAIGHT = {
    "curved": tf.nn.elu,
    "a jump": lambda x: tf.where(x > 0, x + 1.0, x),
    "a jump of a multiple of the slope": lambda x: tf.floor(x),
    "far away": lambda x: tf.nn.relu(x - 50.0),
    "mixing": lambda x: tf.nn.relu(x - tf.reduce_mean(x)),
    "of rows": lambda x: tf.nn.relu(x - tf.reduce_mean(x, axis=-1, keepdims=True)),
    "another shape": lambda x: tf.nn.relu(x)[:1],
    "random": lambda x: tf.nn.relu(x) * tf.random.uniform(x.shape, dtype=x.dtype),
    "of float32": lambda x: tf.nn.relu(tf.cast(x, "float32")),
    "of two": lambda x, y: x,
}


@pytest.mark.parametrize("name", NOT_STRAIGHT)
def test_what_is_not_straight_is_left_alone(name):
    assert straight_pieces.measured_pieces(NOT_STRAIGHT[name]) is None


# Operations in a graph, and how far the sum of four outputs moves at sharpness 100.
OPERATIONS = {
    "absolute": (ops.abs, 8),
    "relu": (ops.relu, 4),
    "relu6": (ops.relu6, 8),
    "leaky_relu": (lambda x: ops.leaky_relu(x, 0.3), 4),
    "elu": (ops.elu, 4),
    "celu": (lambda x: ops.celu(x, 2.0), 4),
    "hard_tanh": (ops.hard_tanh, 8),
    "clip": (lambda x: ops.clip(x, -0.1, 0.2), 8),
    "maximum": (lambda x: ops.maximum(x, x[:, ::-1] - 0.1), 4),
    "minimum": (lambda x: ops.minimum(0.1, x) + ops.maximum(np.ones((1, 4)) / 9, x), 8),
    "largest": (lambda x: x + ops.max(x, axis=1, keepdims=True), 8),
    "smallest": (lambda x: x - ops.amin(x, axis=-1, keepdims=True), 8),
    "initial": (lambda x: x + ops.max(x, axis=1, keepdims=True, initial=0.05), 12),
    "range": (lambda x: x + ops.ptp(x, axis=1, keepdims=True), 16),
    "pooling": (lambda x: ops.max_pool(ops.reshape(x, (-1, 4, 1)), 2), 4),
}


def _operated(function, dtype="float64"):
    keras.utils.set_random_seed(5)
    x = keras.Input((1,), dtype=dtype)
    start = L.Dense(4, "tanh", bias_initializer="normal", dtype=dtype)(x)
    y = L.Flatten(dtype=dtype)(function(start))
    return keras.Model(x, L.Dense(1, kernel_initializer="ones", dtype=dtype)(y))


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_replaced(name):
    function, ramps = OPERATIONS[name]
    model = _operated(function)
    assert keras_smooth.smoothness(model) < 2
    smooth = keras_smooth.smoothen(model, sharpness=100.0)
    assert keras_smooth.smoothness(smooth) == np.inf
    x = np.linspace(-2.0, 2.0, 41)[:, None]
    # The ramps in the sum, each off by log(2) / sharpness at most.
    assert keras_smooth.output_change(model, smooth, x).largest < ramps * np.log(2) / 100
    step = 1e-5
    upper, lower = (keras_smooth.derivatives(smooth, x + s, 1)[1] for s in (step, -step))
    # Fourth derivatives up to sharpness^3 / 8, times step^2 / 6, of some ramps.
    true = np.asarray(upper - lower) / (2 * step)
    for engine in ("jet", "tape"):
        error = np.abs(keras_smooth.derivatives(smooth, x, engine=engine)[2] - true).max()
        assert error < 1e-4 * (1.0 + np.abs(true).max())


def test_a_saved_repair_is_proven_as_before(tmp_path):
    smooth = keras_smooth.smoothen(
        keras.Sequential([keras.Input((2,)), L.Dense(8, "relu"), L.LeakyReLU(), L.Dense(1)])
    )
    smooth.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert hash(again.layers[0].activation) == hash(smooth.layers[0].activation)
    assert keras_smooth.audit(again).outcome == "proven"


def test_replaced_operations_are_saved(tmp_path):
    function = lambda x: ops.minimum(ops.abs(x), ops.max(x, axis=1, keepdims=True))  # noqa: E731
    smooth = keras_smooth.smoothen(_operated(function, "float32"))
    smooth.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    x = np.linspace(-2.0, 2.0, 5)[:, None].astype("float32")
    np.testing.assert_array_equal(again(x), smooth(x))


def test_a_repaired_model_from_a_file_is_read_as_before(tmp_path):
    layers = [
        L.Dense(3, smooth_forms.of_function(ROUGH[name], 10.0), name=name)
        for name in ROUGH
        if name not in JUMPS
    ]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    # A model that cannot be traced would warn.
    np.testing.assert_array_equal(
        keras_smooth.hessian(again, x, engine="jet"),
        keras_smooth.hessian(model, x, engine="jet"),
    )
    assert keras_smooth.audit(again, x).outcome == keras_smooth.audit(model, x).outcome
    kept = [layer.activation for layer in again.layers]
    assert list(map(hash, kept)) == [hash(layer.activation) for layer in model.layers]


@pytest.mark.parametrize(
    "layer",
    [
        lambda: L.Dense(4, tf.nn.relu),
        lambda: L.Dense(4, ops.leaky_relu),
        lambda: L.Dense(4, lambda x: tf.nn.relu(x) / 2.0),
        lambda: L.Lambda(lambda x: ops.abs(x)),
        lambda: L.Lambda(lambda x, top: ops.clip(x, 0.0, top), arguments={"top": 0.3}),
        lambda: L.Activation(tf.nn.selu),
        lambda: L.Dense(4, functools.partial(keras.activations.elu, alpha=0.5)),
        lambda: L.Dense(4, functools.partial(tf.nn.leaky_relu, alpha=0.3)),
        lambda: L.Lambda(functools.partial(keras.activations.relu, max_value=0.4)),
        lambda: L.TimeDistributed(L.Lambda(lambda x: tf.abs(x))),
    ],
)
def test_functions_of_tensorflow_and_lambdas_are_replaced(layer):
    x = keras.Input((2, 4))
    model = keras.Model(x, layer()(x))
    smooth = keras_smooth.smoothen(model, sharpness=100.0)
    assert keras_smooth.smoothness(smooth) == np.inf
    # Weights are of size 1.
    assert 0 < smooth.output_change.largest < 0.02


def test_what_may_be_rough_is_named():
    x = keras.Input((4,))
    y = L.Dense(4, lambda x: tf.abs(x) * tf.sin(x), name="wave")(x)
    y = L.Lambda(lambda x: ops.max(x, axis=1, keepdims=True) * x, name="top")(y)
    model = keras.Model(x, ops.where(y > 0, y, 0.0) + L.Dense(4, tf.sin)(x))
    words = r"stay: wave \(Dense, C\^0, Abs\), top \(Lambda, C\^0, Max\), greater\S* \(Greater, C\^-1\)\."
    with pytest.warns(UserWarning, match=words):
        keras_smooth.smoothen(model)


def test_functions_of_weights_stay():
    def positive(weights):
        return tf.nn.relu(weights)

    layer = L.Dense(4, "relu", kernel_constraint=positive, bias_constraint="non_neg")
    model = keras.Sequential([keras.Input((2,)), layer])
    smooth = keras_smooth.smoothen(model).layers[0]
    assert smooth.kernel_constraint is positive
    assert isinstance(smooth.bias_constraint, keras.constraints.NonNeg)


def test_sharpness_trades_closeness_against_curvature():
    model = keras.Sequential([keras.Input((1,)), L.Dense(8, "relu"), L.Dense(1)])
    x = np.linspace(-1, 1, 101)[:, None].astype("float32")
    gaps, bends = [], []
    for sharpness in (5.0, 50.0):
        smooth = keras_smooth.smoothen(model, sharpness=sharpness)
        gaps.append(keras_smooth.output_change(model, smooth, x).largest)
        bends.append(np.abs(keras_smooth.derivatives(smooth, x)[2]).max())
    assert gaps[1] < gaps[0] and bends[1] > bends[0]


def _maxima():
    i = keras.Input((3,))
    h, g = L.Dense(3)(i), L.Dense(3)(i)
    return keras.Model(i, ops.maximum(h, g) + ops.relu(h))


def _shared_by_models():
    i, j, shared = keras.Input((3,)), keras.Input((3,)), L.Dense(3)
    inner = keras.Model(j, ops.minimum(shared(j), L.Dense(3)(j)))
    top = ops.amax(L.Dense(3)(i), axis=1, keepdims=True)
    return keras.Model(i, inner(i) + shared(i) + top)


def _shared_by_a_wrapper():
    i, shared = keras.Input((3, 3)), L.Dense(3, "relu")
    chosen = ops.fmax(shared(i), L.Dense(3)(i))
    return keras.Model(i, L.TimeDistributed(shared)(i) + chosen)


def _several_ends():
    i, j = keras.Input((3,)), keras.Input((3,))
    h, g = L.Dense(3)(i), L.Dense(3)(j)
    ends = [ops.ptp(h, axis=1), ops.fmax(0.1, g), ops.fmin(h, g) + L.Dense(3)(g)]
    return keras.Model({"i": i, "j": j}, ends)


def _nested_behind_maxima():
    """The copy may count no model more, by whose number a file finds weights."""
    i = keras.Input((3,))
    pair = [keras.Sequential([keras.Input((3,)), L.Dense(3, "relu")]) for _ in range(2)]
    return keras.Model(i, ops.maximum(pair[0](i), pair[1](ops.minimum(i, L.Dense(3)(i)))))


@keras.saving.register_keras_serializable("smoothing")
def _ramp(x):
    return ops.relu(x)


def _masked():
    """The mask of the Lambda has a branch of its own, which makes the first layer deeper."""
    i = keras.Input((2, 3))
    h = L.Lambda(_ramp)(L.Masking()(L.Dense(3)(i)))
    return keras.Model(i, L.Dense(3)(L.Dense(3)(L.Dense(3)(i))) + h)


ORDERS = {
    "maxima": _maxima,
    "shared by models": _shared_by_models,
    "shared by a wrapper": _shared_by_a_wrapper,
    "several ends": _several_ends,
    "nested": _nested_behind_maxima,
    "masked": _masked,
}


@pytest.mark.filterwarnings("ignore:These parts have no smooth replacement")
@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
@pytest.mark.parametrize("name", ORDERS)
def test_weights_keep_their_order(name, tmp_path, rng):
    model = ORDERS[name]()
    model.set_weights([rng.normal(size=weight.shape) for weight in model.weights])
    smooth = keras_smooth.smoothen(model)

    def assert_same(copy):
        pairs = zip(model.get_weights(), copy.get_weights(), strict=True)
        assert all(np.array_equal(*pair) for pair in pairs)

    assert_same(smooth)
    with_weights = [[e.name for e in m.layers if e.weights] for m in (model, smooth)]
    assert with_weights[0] == with_weights[1]
    for start, end in ((model, smooth), (smooth, model)):
        start.set_weights([2 * weight for weight in start.get_weights()])
        start.save_weights(tmp_path / "m.weights.h5")
        end.load_weights(tmp_path / "m.weights.h5")
        assert_same(smooth)


@pytest.mark.filterwarnings("ignore:These parts have no smooth replacement")
def test_a_smooth_lambda_hands_no_mask_on():
    i = keras.Input((4, 3))
    h = L.Lambda(_ramp)(L.Masking()(i))
    model = keras.Model(i, L.GlobalAveragePooling1D()(h))
    smooth = keras_smooth.smoothen(model, sharpness=1e4)
    x = np.float32([[[1, 2, 3], [0, 0, 0], [0, 0, 0], [4, 4, 4]]])
    # The zeros count in the mean; a ramp is off by log(2) / 1e4.
    np.testing.assert_allclose(smooth(x), [[1.25, 1.5, 1.75]], atol=1e-4)


def _looked_up():
    return [keras.Input((5,)), L.Embedding(10, 4), L.Flatten(), L.Dense(3, "relu")]


def _of_two(two):
    i, w = keras.Input((3,)), keras.Input((5,))
    words = L.Flatten()(L.Embedding(10, 4)(w))
    return keras.Model(two(i, w), L.Concatenate()([L.Dense(3, "relu")(i), words]))


# Models whose inputs are floats by their dtype, and indices by what looks them up.
OF_INDICES = {
    "sequential": lambda: keras.Sequential(_looked_up()),
    "second of two": lambda: _of_two(lambda i, w: [i, w]),
    "first of two": lambda: _of_two(lambda i, w: (w, i)),
    "nested": lambda: keras.Sequential([keras.Sequential(_looked_up()), L.Dense(1)]),
    "encoded": lambda: keras.Sequential(
        [keras.Input((5,)), L.CategoryEncoding(4, "multi_hot"), L.Dense(3, "relu")]
    ),
}


@pytest.mark.filterwarnings("ignore:These parts have no smooth replacement")
@pytest.mark.parametrize("name", OF_INDICES)
def test_inputs_are_drawn_that_a_model_takes(name):
    model = OF_INDICES[name]()
    smooth = keras_smooth.smoothen(model)
    assert smooth.output_change.largest < np.log(2) / 10.0 * 3
    assert keras_smooth.audit(model, order=1).model.cause == "rough"


def test_a_model_that_runs_on_no_numbers_needs_x():
    i = keras.Input((2,))
    model = keras.Model(i, L.Embedding(20, 1)(i - 100.0))
    with pytest.raises(ValueError, match="No numbers were found .* Pass x"):
        keras_smooth.smoothen(model)


def test_replacements_come_first():
    model = keras.Sequential(
        [keras.Input((2,)), L.Dense(3, "relu"), L.Dense(3, "hard_shrink")]
    )
    with pytest.raises(ValueError, match="hard_shrink.*replacements"):
        keras_smooth.smoothen(model)
    given = {"relu": "gelu", keras.activations.hard_shrink: "tanh_shrink"}
    smooth = keras_smooth.smoothen(model, x=np.ones((2, 2), "float32"), replacements=given)
    assert smooth.layers[0].activation is keras.activations.gelu
    assert smooth.layers[1].activation is keras.activations.tanh_shrink


def test_smooth_enough_activations_stay_and_faulty_ones_are_repaired():
    model = keras.Sequential(
        [keras.Input((2,)), L.Dense(3, "tanh"), L.Dense(3, "celu"), L.Dense(3, "elu")]
    )
    smooth = keras_smooth.smoothen(model, order=1)
    assert [layer.activation for layer in smooth.layers] == [
        keras.activations.tanh, keras_smooth.activations.celu, keras.activations.elu,
    ]  # fmt: skip


WORDS = tf.constant([["cat"], ["a cat sat"], ["bird"], ["mouse"]])
NUMBERS = tf.constant([[3], [1], [3], [7]], "int64")
FLOATS = tf.constant([[-1.0], [0.2], [0.7], [2.0]])


def _adapted(layer, x):
    layer.adapt(x[:3])
    return layer


@pytest.mark.parametrize(
    ("x", "first"),
    [
        (WORDS, lambda: _adapted(L.TextVectorization(output_mode="tf_idf"), WORDS)),
        (WORDS, lambda: _adapted(L.StringLookup(output_mode="one_hot"), WORDS)),
        (
            WORDS,
            lambda: _adapted(
                L.StringLookup(8, output_mode="tf_idf", pad_to_max_tokens=True), WORDS
            ),
        ),
        (
            WORDS,
            lambda: L.StringLookup(
                output_mode="tf_idf", vocabulary=["cat", "bird"], idf_weights=[1.0, 3.0]
            ),
        ),
        (NUMBERS, lambda: _adapted(L.IntegerLookup(output_mode="tf_idf"), NUMBERS)),
        (NUMBERS, lambda: L.CategoryEncoding(8, output_mode="one_hot")),
        (WORDS, lambda: L.Hashing(5, output_mode="one_hot")),
        (FLOATS, lambda: _adapted(L.Normalization(), FLOATS)),
        (FLOATS, lambda: L.Discretization([0.0, 1.0])),
    ],
)
@pytest.mark.filterwarnings("ignore:These parts have no smooth replacement")
def test_what_preprocessing_layers_have_learned_stays(x, first):
    model = keras.Sequential([keras.Input((1,), dtype=x.dtype.name), first()])
    model.add(L.Dense(3, "relu"))
    smooth = keras_smooth.smoothen(model)
    assert smooth.layers[1].activation is not keras.activations.relu
    for of in (model, smooth):
        of.pop()
    np.testing.assert_array_equal(smooth(x), model(x))


@pytest.mark.parametrize(
    ("order", "make"),
    [
        (0, lambda: L.ReLU(max_value=1.0)),
        (0, lambda: L.PReLU(alpha_initializer="ones")),
        (0, lambda: L.GlobalMaxPooling1D()),
        (1, lambda: L.ELU(1.0)),
    ],
)
def test_layers_that_are_smooth_enough_stay(order, make):
    model = keras.Sequential([keras.Input((4, 3)), make()])
    smooth = keras_smooth.smoothen(model, order=order)
    assert type(smooth.layers[0]) is type(model.layers[0])
    assert smooth.output_change.largest == 0.0


def test_what_stays_rough_is_named():
    model = keras.Sequential([keras.Input((4,)), L.Discretization([0.0], name="stairs")])
    with pytest.warns(UserWarning, match=r"stairs \(Discretization, C\^-1\)"):
        keras_smooth.smoothen(model)


def _stacked(dtype, shape, *layers):
    """A curve t -> y through an image of some shape and the layers."""
    keras.utils.set_random_seed(5)
    double = {"dtype": dtype}
    first = [L.Dense(int(np.prod(shape)), "tanh", **double), L.Reshape(shape, **double)]
    last = [L.Flatten(**double), L.Dense(1, kernel_initializer="ones", **double)]
    made = [keras.Input((1,), dtype=dtype)]
    return keras.Sequential([*made, *first, *(layer(double) for layer in layers), *last])


def _merged(dtype):
    keras.utils.set_random_seed(5)
    double = {"dtype": dtype}
    x = keras.Input((1,), dtype=dtype)
    a, b, c = (L.Dense(4, "tanh", bias_initializer="normal", **double)(x) for _ in range(3))
    y = L.Maximum(**double)([a, L.Minimum(**double)([b, c])])
    return keras.Model(x, L.Dense(1, kernel_initializer="ones", **double)(y))


def _tied(outputs, count):
    """How far the sum of some maxima moves at sharpness 100, all values being equal."""
    return 1.001 * outputs * np.log(count) / 100.0


# Models whose maxima or interpolations are replaced, and how far the outputs move. At t = 0
# all values are equal: 0.0416, 0.207 (windows at the rim are smaller), 0.0358, 0.0497,
# 0.0497, 0.0014 (without ties), 0.0416 were measured, and 7e-7 and 2e-7, where Keras
# computes in float32.
PIECES = {
    "max pooling1d": (lambda d: _stacked(d, (6, 2), lambda kw: L.MaxPooling1D(2, **kw)), _tied(6, 2)),
    "max pooling2d": (lambda d: _stacked(d, (5, 4, 2), lambda kw: L.MaxPooling2D(3, 2, "same", **kw)), _tied(12, 9)),
    "global 1d": (lambda d: _stacked(d, (6, 2), lambda kw: L.GlobalMaxPooling1D(**kw)), _tied(2, 6)),
    "global 2d": (lambda d: _stacked(d, (4, 3, 2), lambda kw: L.GlobalMaxPooling2D(**kw)), _tied(2, 12)),
    "global 3d": (lambda d: _stacked(d, (2, 3, 2, 2), lambda kw: L.GlobalMaxPooling3D(**kw)), _tied(2, 12)),
    "merged": (_merged, _tied(4, 3)),
    "prelu": (lambda d: _stacked(d, (3, 2), lambda kw: L.PReLU("ones", shared_axes=[1], **kw), lambda kw: L.PReLU(**kw)), _tied(6, 2)),
    "upsampling": (lambda d: _stacked(d, (3, 3, 1), lambda kw: L.UpSampling2D(2, interpolation="bicubic", **kw)), 2e-6),
    "resizing": (lambda d: _stacked(d, (4, 4, 1), lambda kw: L.Resizing(3, 5, interpolation="bicubic", **kw)), 2e-6),
}  # fmt: skip


@pytest.mark.parametrize("name", representatives(PIECES, [*PIECES][::3]))
def test_maxima_and_interpolations_are_replaced(name):
    make, moved = PIECES[name]
    model = make("float64")
    assert not keras_smooth.audit(model).ok
    smooth = keras_smooth.smoothen(model, sharpness=100.0)
    assert keras_smooth.audit(smooth).ok
    assert keras_smooth.smoothness(smooth) == np.inf
    x = np.linspace(-2.0, 2.0, 41)[:, None]
    assert keras_smooth.output_change(model, smooth, x).largest < moved
    for old, new in zip(model.weights, smooth.weights, strict=True):
        assert old.shape == new.shape
        np.testing.assert_array_equal(old, new)
    step = 1e-5
    upper, lower = (keras_smooth.derivatives(smooth, x + s, 1)[1] for s in (step, -step))
    true = (upper - lower) / (2 * step)
    # Fourth derivatives up to sharpness^3 / 8, times step^2 / 6.
    error = np.abs(keras_smooth.derivatives(smooth, x)[2] - true).max()
    assert error < 1e-5 * (1.0 + np.abs(true).max())


@pytest.mark.slow
def test_saved_maxima_load_in_another_process(tmp_path):
    models = [make("float32") for make, _ in PIECES.values()]
    models.append(_stacked("float32", (4, 4, 4, 1), lambda kw: L.MaxPooling3D(2, **kw)))
    x = np.linspace(-2.0, 2.0, 5)[:, None].astype("float32")
    for i, model in enumerate(models):
        smooth = keras_smooth.smoothen(model, sharpness=100.0)
        smooth.save(tmp_path / f"{i}.keras")
        np.save(tmp_path / f"{i}.npy", smooth(x))
    code = (
        "import sys, pathlib, keras, numpy as np, keras_smooth\n"
        "x = np.linspace(-2.0, 2.0, 5)[:, None].astype('float32')\n"
        "files = sorted(pathlib.Path(sys.argv[1]).glob('*.keras'))\n"
        "for file in files:\n"
        "    y = keras.models.load_model(file)(x)\n"
        "    np.testing.assert_array_equal(y, np.load(file.with_suffix('.npy')))\n"
        "print(len(files))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(models)


def test_layers_of_the_caller_come_first():
    model = keras.Sequential(
        [keras.Input((6, 1)), L.MaxPooling1D(3, name="a"), L.GlobalMaxPooling1D(name="b")]
    )
    given = {
        L.MaxPooling1D: L.AveragePooling1D,
        L.GlobalMaxPooling1D: lambda layer: keras_smooth.layers.SmoothGlobalMaxPooling1D(
            sharpness=3.0, name=layer.name
        ),
    }
    smooth = keras_smooth.smoothen(model, replacements=given)
    assert [layer.name for layer in smooth.layers] == ["a", "b"]
    assert type(smooth.layers[0]) is L.AveragePooling1D
    assert smooth.layers[0].pool_size == (3,) and smooth.layers[1].sharpness == 3.0


class _Own(keras.Model):
    def call(self, x):
        return x


class _OwnSequential(keras.Sequential):
    def call(self, x):
        return super().call(x) ** 2


@pytest.mark.parametrize(
    ("model", "arguments", "error", "words"),
    [
        (_Own(), {}, TypeError, "Sequential or Functional"),
        (_OwnSequential([keras.Input((2,))]), {}, TypeError, "`call` of its own"),
        (keras.Sequential([L.Dense(2)]), {}, ValueError, "built"),
        (
            keras.Sequential([keras.Input((2,)), L.Dense(1)]),
            {"sharpness": 0.0},
            ValueError,
            "above 0",
        ),
        (
            keras.Sequential([keras.Input((2,)), L.ReLU(threshold=1.0)]),
            {},
            ValueError,
            "jumps",
        ),
    ],
)
def test_bad_input(model, arguments, error, words):
    with pytest.raises(error, match=words):
        keras_smooth.smoothen(model, **arguments)


class Bent(keras.layers.Layer):
    """Has a kink in two inputs of unlike shapes, which it receives in one way of four."""

    def __init__(self, way):
        super().__init__()
        self.way, self.inside = way, L.Dense(2)

    def call(self, first, second=None):
        if self.way in ("list", "dict"):
            first, second = keras.tree.flatten(first)
        return ops.abs(self.inside(first)) * ops.sum(second, axis=-1, keepdims=True)

    def get_config(self):
        return {"way": self.way}


WAYS = {
    "arguments": lambda layer, a, b: layer(a, b),
    "list": lambda layer, a, b: layer([a, b]),
    "dict": lambda layer, a, b: layer({"a": a, "b": b}),
    "keyword": lambda layer, a, b: layer(a, second=b),
}


@pytest.mark.parametrize("way", WAYS)
def test_rough_layers_are_named_however_they_are_called(way):
    a, b = keras.Input((4,)), keras.Input((3,))
    model = keras.Model([a, b], L.Dense(1)(WAYS[way](Bent(way), a, b)))
    with pytest.warns(UserWarning, match=r"stay: bent\S* \(Bent, C\^0, Abs\)"):
        keras_smooth.smoothen(model)


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    """Its config tells the activation as `told` says."""

    def __init__(self, activation="relu", told="name", **options):
        super().__init__(**options)
        self.given, self.told = activation, told
        self.inside = L.Dense(4, activation)

    def build(self, shape):
        self.inside.build(shape)

    def call(self, x):
        return self.inside(x)

    def get_config(self):
        told = {
            "name": {"activation": self.given},
            "nothing": {},
            "function": {"activation": keras.activations.serialize(self.inside.activation)},
        }
        return {**super().get_config(), "told": self.told, **told[self.told]}


@pytest.mark.parametrize("told", ["name", "nothing", "function"])
def test_what_a_saved_model_forgets_is_told(told, tmp_path):
    model = keras.Sequential(
        [keras.Input((3,)), Block(told=told, name="block"), L.Dense(1)]
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        smooth = keras_smooth.smoothen(model)
    smooth.save(tmp_path / "smooth.keras")
    loaded = keras.saving.load_model(tmp_path / "smooth.keras")
    is_the_same = keras_smooth.smoothness(loaded) == keras_smooth.smoothness(smooth)
    said = [
        w
        for w in caught
        if "do not have their activations: block (Block)" in str(w.message)
    ]
    assert is_the_same == (told == "function") == (not said)


@keras.saving.register_keras_serializable("test_smoothing")
class ArrayInConfig(keras.layers.Layer):
    def __init__(self, scale, activation="relu", **options):
        super().__init__(**options)
        self.scale, self.activation = np.asarray(scale), keras.activations.get(activation)

    def call(self, x):
        return self.activation(x) * self.scale

    def get_config(self):
        own = {"scale": self.scale, "activation": self.activation}
        return {**own, **super().get_config()}


def test_a_config_may_have_an_array_beside_the_activation():
    model = keras.Sequential([keras.Input((2,)), ArrayInConfig([1.0, 2.0])])
    smooth = keras_smooth.smoothen(model, order=2)
    assert smooth.layers[0].activation is not keras.activations.relu
