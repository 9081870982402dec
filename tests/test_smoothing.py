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
from keras_smooth.smoothing import piecewise_linear, smooth_forms

L = keras.layers


def _float64_model(layers, dim):
    inputs = [keras.Input((dim,), dtype="float64")]
    return keras.Sequential(inputs + [layer(dtype="float64") for layer in layers])


def _normalized_model():
    keras.utils.set_random_seed(3)
    return _float64_model(
        [
            lambda **kw: L.Dense(16, "tanh", **kw),
            lambda **kw: L.LayerNormalization(**kw),
            lambda **kw: L.Dense(1, **kw),
        ],
        1,
    )


# The test is about derivatives that are wrong by tapes.
@pytest.mark.filterwarnings("default:.*TensorFlow's derivatives of order 2 are stopped")
def test_layer_normalization_net_is_repaired():
    model, x = _normalized_model(), np.linspace(-1.0, 1.0, 21)[:, None]
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
    loaded = keras.models.load_model(tmp_path / "model.keras")
    # The same layers and weights, so that the audit above holds for the loaded model.
    np.testing.assert_array_equal(loaded(x), smooth(x))
    # JSON has lists instead of tuples.
    assert json.dumps(loaded.get_config()) == json.dumps(smooth.get_config())


def test_global_random_state_is_not_changed():
    """Initializers of new layers draw seeds from Python's generator."""

    def draw(repair):
        keras.utils.set_random_seed(5)
        if repair:
            keras_smooth.smoothen(model)
        return random.random(), np.random.rand(), float(keras.random.uniform(()))

    model = keras.Sequential(
        [keras.Input((2,)), L.Dense(3, "relu"), L.Dropout(0.1), L.Dense(1)]
    )
    assert draw(repair=True) == draw(repair=False)


def test_original_model_is_not_changed():
    model = _branched()
    before = [weight.numpy() for weight in model.weights]
    keras_smooth.smoothen(model)
    for old, new in zip(before, model.weights):
        np.testing.assert_array_equal(old, new)
    assert model.get_layer("shared").activation is keras.activations.relu


ROUGH_ACTIVATIONS = {
    row.subject.__name__: row.subject
    for row in registry.activation_rows()
    if (registry.smoothness(row.subject) or 0) < 2
    and row.subject.__module__.startswith("keras")
}
# A jump has no smooth approximation. Keras' sparsemax has a jump by mistake.
WITH_JUMPS = [
    name
    for name in ROUGH_ACTIVATIONS
    if registry.smoothness(name) == -1 and name != "sparsemax"
]
# Smooth functions of a similar shape, and their largest errors. Keras' sparsemax of (8, 5.6)
# has a sum of 2.4.
ERRORS_OF_SIMILAR_FORMS = {
    "hard_silu": 0.143,
    "smelu": 0.097,
    "sparse_plus": 0.097,
    "sparsemax": 1.43,
}


@pytest.mark.parametrize("name", ROUGH_ACTIVATIONS)
def test_every_rough_activation_has_a_smooth_form(name):
    function, x = ROUGH_ACTIVATIONS[name], np.linspace(-8.0, 8.0, 801)[:, None] * [1.0, 0.7]
    assert (smooth_forms.of_function(function, 10.0) is None) == (name in WITH_JUMPS)
    if name in WITH_JUMPS:
        return
    true = np.asarray(function(x))
    errors = []
    for sharpness in (10.0, 100.0, 1000.0):
        smooth = smooth_forms.of_function(function, sharpness)
        errors.append(np.abs(np.asarray(smooth(x)) - true).max())
    # A ramp has an error of log(2) / sharpness; four ramps at most, with slopes below 2.
    limits = (
        [ERRORS_OF_SIMILAR_FORMS[name]] * 3
        if name in ERRORS_OF_SIMILAR_FORMS
        else [0.4, 0.04, 0.004]
    )
    assert np.all(np.array(errors) < limits), errors
    layer = keras_smooth.Activation(smooth, order=3)
    assert keras_smooth.smoothness(layer) == np.inf


def _tf_clip(x):
    return tf.clip_by_value(x, -0.25, 2.0) / 3.0


# Piecewise linear functions, and the slopes of the pieces.
PIECEWISE_LINEAR = {
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


@pytest.mark.parametrize("name", PIECEWISE_LINEAR)
def test_slopes_of_piecewise_linear_functions_are_measured(name):
    function, slopes = PIECEWISE_LINEAR[name]
    pieces = piecewise_linear.measured_pieces(function)
    measured_slopes = pieces["slope"] + np.append(0.0, np.cumsum(pieces["weights"]))
    # Each weight is rounded to 12 digits.
    np.testing.assert_allclose(measured_slopes, slopes, atol=1e-11)


NOT_PIECEWISE_LINEAR = {
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


@pytest.mark.parametrize("name", NOT_PIECEWISE_LINEAR)
def test_functions_not_piecewise_linear_are_rejected(name):
    assert piecewise_linear.measured_pieces(NOT_PIECEWISE_LINEAR[name]) is None


# Operations in a graph, and the number of ramps in the sum of four outputs.
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


def _model_with_operation(function, dtype="float64"):
    keras.utils.set_random_seed(5)
    x = keras.Input((1,), dtype=dtype)
    hidden = L.Dense(4, "tanh", bias_initializer="normal", dtype=dtype)(x)
    y = L.Flatten(dtype=dtype)(function(hidden))
    return keras.Model(x, L.Dense(1, kernel_initializer="ones", dtype=dtype)(y))


@pytest.mark.parametrize("name", OPERATIONS)
def test_rough_operations_are_replaced_by_smooth_ones(name):
    function, ramps = OPERATIONS[name]
    model = _model_with_operation(function)
    assert keras_smooth.smoothness(model) < 2
    smooth = keras_smooth.smoothen(model, sharpness=100.0)
    assert keras_smooth.smoothness(smooth) == np.inf
    x = np.linspace(-2.0, 2.0, 41)[:, None]
    # Each ramp in the sum has an error of log(2) / sharpness at most.
    assert keras_smooth.output_change(model, smooth, x).largest < ramps * np.log(2) / 100
    step = 1e-5
    upper, lower = (keras_smooth.derivatives(smooth, x + s, 1)[1] for s in (step, -step))
    # Fourth derivatives up to sharpness^3 / 8, times step^2 / 6, of some ramps.
    true = np.asarray(upper - lower) / (2 * step)
    for engine in ("jet", "tape"):
        error = np.abs(keras_smooth.derivatives(smooth, x, engine=engine)[2] - true).max()
        assert error < 1e-4 * (1.0 + np.abs(true).max())


def test_saved_smooth_model_has_the_same_verdict(tmp_path):
    smooth = keras_smooth.smoothen(
        keras.Sequential([keras.Input((2,)), L.Dense(8, "relu"), L.LeakyReLU(), L.Dense(1)])
    )
    smooth.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert hash(loaded.layers[0].activation) == hash(smooth.layers[0].activation)
    assert keras_smooth.audit(loaded).outcome == "proven"


def test_replaced_operations_are_saved_and_loaded(tmp_path):
    function = lambda x: ops.minimum(ops.abs(x), ops.max(x, axis=1, keepdims=True))  # noqa: E731
    smooth = keras_smooth.smoothen(_model_with_operation(function, "float32"))
    smooth.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = np.linspace(-2.0, 2.0, 5)[:, None].astype("float32")
    np.testing.assert_array_equal(loaded(x), smooth(x))


def test_loaded_smooth_model_has_the_same_derivatives_and_verdict(tmp_path):
    layers = [
        L.Dense(3, smooth_forms.of_function(ROUGH_ACTIVATIONS[name], 10.0), name=name)
        for name in ROUGH_ACTIVATIONS
        if name not in WITH_JUMPS
    ]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    # A model that cannot be traced would warn.
    np.testing.assert_array_equal(
        keras_smooth.hessian(loaded, x, engine="jet"),
        keras_smooth.hessian(model, x, engine="jet"),
    )
    assert keras_smooth.audit(loaded, x).outcome == keras_smooth.audit(model, x).outcome
    activations = [layer.activation for layer in loaded.layers]
    assert list(map(hash, activations)) == [
        hash(layer.activation) for layer in model.layers
    ]


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


def test_operations_without_smooth_form_warn_with_their_layer():
    x = keras.Input((4,))
    y = L.Dense(4, lambda x: tf.abs(x) * tf.sin(x), name="wave")(x)
    y = L.Lambda(lambda x: ops.max(x, axis=1, keepdims=True) * x, name="top")(y)
    model = keras.Model(x, ops.where(y > 0, y, 0.0) + L.Dense(4, tf.sin)(x))
    message = r"stay: wave \(Dense, C\^0, Abs\), top \(Lambda, C\^0, Max\), greater\S* \(Greater, C\^-1\)\."
    with pytest.warns(UserWarning, match=message):
        keras_smooth.smoothen(model)


def test_constraints_of_weights_are_not_replaced():
    def positive(weights):
        return tf.nn.relu(weights)

    layer = L.Dense(4, "relu", kernel_constraint=positive, bias_constraint="non_neg")
    model = keras.Sequential([keras.Input((2,)), layer])
    smooth = keras_smooth.smoothen(model).layers[0]
    assert smooth.kernel_constraint is positive
    assert isinstance(smooth.bias_constraint, keras.constraints.NonNeg)


def test_larger_sharpness_is_closer_and_has_larger_curvature():
    model = keras.Sequential([keras.Input((1,)), L.Dense(8, "relu"), L.Dense(1)])
    x = np.linspace(-1, 1, 101)[:, None].astype("float32")
    changes, curvatures = [], []
    for sharpness in (5.0, 50.0):
        smooth = keras_smooth.smoothen(model, sharpness=sharpness)
        changes.append(keras_smooth.output_change(model, smooth, x).largest)
        curvatures.append(np.abs(keras_smooth.derivatives(smooth, x)[2]).max())
    assert changes[1] < changes[0] and curvatures[1] > curvatures[0]


def _maximum_model():
    i = keras.Input((3,))
    h, g = L.Dense(3)(i), L.Dense(3)(i)
    return keras.Model(i, ops.maximum(h, g) + ops.relu(h))


def _layer_shared_by_models():
    i, j, shared = keras.Input((3,)), keras.Input((3,)), L.Dense(3)
    inner = keras.Model(j, ops.minimum(shared(j), L.Dense(3)(j)))
    top = ops.amax(L.Dense(3)(i), axis=1, keepdims=True)
    return keras.Model(i, inner(i) + shared(i) + top)


def _layer_shared_by_wrapper():
    i, shared = keras.Input((3, 3)), L.Dense(3, "relu")
    chosen = ops.fmax(shared(i), L.Dense(3)(i))
    return keras.Model(i, L.TimeDistributed(shared)(i) + chosen)


def _several_outputs():
    i, j = keras.Input((3,)), keras.Input((3,))
    h, g = L.Dense(3)(i), L.Dense(3)(j)
    outputs = [ops.ptp(h, axis=1), ops.fmax(0.1, g), ops.fmin(h, g) + L.Dense(3)(g)]
    return keras.Model({"i": i, "j": j}, outputs)


def _nested_models_in_maximum():
    """The copy may create no further models: files find weights by the number of a model."""
    i = keras.Input((3,))
    pair = [keras.Sequential([keras.Input((3,)), L.Dense(3, "relu")]) for _ in range(2)]
    return keras.Model(i, ops.maximum(pair[0](i), pair[1](ops.minimum(i, L.Dense(3)(i)))))


@keras.saving.register_keras_serializable("smoothing")
def _ramp(x):
    return ops.relu(x)


def _masked_model():
    """The mask of the Lambda has a branch of its own, which makes the first layer deeper."""
    i = keras.Input((2, 3))
    h = L.Lambda(_ramp)(L.Masking()(L.Dense(3)(i)))
    return keras.Model(i, L.Dense(3)(L.Dense(3)(L.Dense(3)(i))) + h)


WEIGHT_ORDER_MODELS = {
    "maxima": _maximum_model,
    "shared by models": _layer_shared_by_models,
    "shared by a wrapper": _layer_shared_by_wrapper,
    "several ends": _several_outputs,
    "nested": _nested_models_in_maximum,
    "masked": _masked_model,
}


@pytest.mark.filterwarnings("ignore:These parts have no smooth replacement")
@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask")
@pytest.mark.parametrize("name", WEIGHT_ORDER_MODELS)
def test_weights_have_the_order_of_the_original_model(name, tmp_path, rng):
    model = WEIGHT_ORDER_MODELS[name]()
    model.set_weights([rng.normal(size=weight.shape) for weight in model.weights])
    smooth = keras_smooth.smoothen(model)

    def assert_same(copy):
        pairs = zip(model.get_weights(), copy.get_weights(), strict=True)
        assert all(np.array_equal(*pair) for pair in pairs)

    assert_same(smooth)
    names = [
        [layer.name for layer in each_model.layers if layer.weights]
        for each_model in (model, smooth)
    ]
    assert names[0] == names[1]
    for source, target in ((model, smooth), (smooth, model)):
        source.set_weights([2 * weight for weight in source.get_weights()])
        source.save_weights(tmp_path / "m.weights.h5")
        target.load_weights(tmp_path / "m.weights.h5")
        assert_same(smooth)


@pytest.mark.filterwarnings("ignore:These parts have no smooth replacement")
def test_smooth_lambda_does_not_propagate_a_mask():
    i = keras.Input((4, 3))
    h = L.Lambda(_ramp)(L.Masking()(i))
    model = keras.Model(i, L.GlobalAveragePooling1D()(h))
    smooth = keras_smooth.smoothen(model, sharpness=1e4)
    x = np.float32([[[1, 2, 3], [0, 0, 0], [0, 0, 0], [4, 4, 4]]])
    # The zeros count in the mean; a ramp has an error of log(2) / 1e4.
    np.testing.assert_allclose(smooth(x), [[1.25, 1.5, 1.75]], atol=1e-4)


def _embedding_layers():
    return [keras.Input((5,)), L.Embedding(10, 4), L.Flatten(), L.Dense(3, "relu")]


def _two_input_model(combine):
    i, indices = keras.Input((3,)), keras.Input((5,))
    words = L.Flatten()(L.Embedding(10, 4)(indices))
    return keras.Model(combine(i, indices), L.Concatenate()([L.Dense(3, "relu")(i), words]))


# Models whose inputs have the dtype of floats and are used as indices.
INDEX_MODELS = {
    "sequential": lambda: keras.Sequential(_embedding_layers()),
    "second of two": lambda: _two_input_model(lambda i, w: [i, w]),
    "first of two": lambda: _two_input_model(lambda i, w: (w, i)),
    "nested": lambda: keras.Sequential([keras.Sequential(_embedding_layers()), L.Dense(1)]),
    "encoded": lambda: keras.Sequential(
        [keras.Input((5,)), L.CategoryEncoding(4, "multi_hot"), L.Dense(3, "relu")]
    ),
}


@pytest.mark.filterwarnings("ignore:These parts have no smooth replacement")
@pytest.mark.parametrize("name", INDEX_MODELS)
def test_random_inputs_are_valid_indices_for_lookups(name):
    model = INDEX_MODELS[name]()
    smooth = keras_smooth.smoothen(model)
    assert smooth.output_change.largest < np.log(2) / 10.0 * 3
    assert keras_smooth.audit(model, order=1).model.cause == "not smooth"


def test_model_that_accepts_no_random_inputs_requires_x():
    i = keras.Input((2,))
    model = keras.Model(i, L.Embedding(20, 1)(i - 100.0))
    with pytest.raises(ValueError, match="No numbers were found .* Pass x"):
        keras_smooth.smoothen(model)


def test_replacements_of_activations_take_precedence():
    model = keras.Sequential(
        [keras.Input((2,)), L.Dense(3, "relu"), L.Dense(3, "hard_shrink")]
    )
    with pytest.raises(ValueError, match="hard_shrink.*replacements"):
        keras_smooth.smoothen(model)
    replacements = {"relu": "gelu", keras.activations.hard_shrink: "tanh_shrink"}
    smooth = keras_smooth.smoothen(
        model, x=np.ones((2, 2), "float32"), replacements=replacements
    )
    assert smooth.layers[0].activation is keras.activations.gelu
    assert smooth.layers[1].activation is keras.activations.tanh_shrink


def test_only_rough_or_faulty_activations_are_replaced():
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
    ("x", "make_layer"),
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
def test_state_of_preprocessing_layers_is_copied(x, make_layer):
    model = keras.Sequential([keras.Input((1,), dtype=x.dtype.name), make_layer()])
    model.add(L.Dense(3, "relu"))
    smooth = keras_smooth.smoothen(model)
    assert smooth.layers[1].activation is not keras.activations.relu
    for each_model in (model, smooth):
        each_model.pop()
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
def test_layers_smooth_enough_for_the_order_are_not_replaced(order, make):
    model = keras.Sequential([keras.Input((4, 3)), make()])
    smooth = keras_smooth.smoothen(model, order=order)
    assert type(smooth.layers[0]) is type(model.layers[0])
    assert smooth.output_change.largest == 0.0


def test_layer_that_stays_rough_warns():
    model = keras.Sequential([keras.Input((4,)), L.Discretization([0.0], name="stairs")])
    with pytest.warns(UserWarning, match=r"stairs \(Discretization, C\^-1\)"):
        keras_smooth.smoothen(model)


def _image_model(dtype, shape, *layers):
    """A curve t -> y through an image of some shape and the layers."""
    keras.utils.set_random_seed(5)
    options = {"dtype": dtype}
    first = [L.Dense(int(np.prod(shape)), "tanh", **options), L.Reshape(shape, **options)]
    last = [L.Flatten(**options), L.Dense(1, kernel_initializer="ones", **options)]
    inputs = [keras.Input((1,), dtype=dtype)]
    return keras.Sequential([*inputs, *first, *(layer(options) for layer in layers), *last])


def _merging_model(dtype):
    keras.utils.set_random_seed(5)
    options = {"dtype": dtype}
    x = keras.Input((1,), dtype=dtype)
    a, b, c = (
        L.Dense(4, "tanh", bias_initializer="normal", **options)(x) for _ in range(3)
    )
    y = L.Maximum(**options)([a, L.Minimum(**options)([b, c])])
    return keras.Model(x, L.Dense(1, kernel_initializer="ones", **options)(y))


def _bound(outputs, count):
    """Returns the change of a sum of maxima at sharpness 100, if all values are equal."""
    return 1.001 * outputs * np.log(count) / 100.0


# Models whose maxima or interpolations are replaced, and bounds of the change. At t = 0
# all values are equal: 0.0416, 0.207 (windows at the rim are smaller), 0.0358, 0.0497,
# 0.0497, 0.0014 (without ties), 0.0416 were measured, and 7e-7 and 2e-7, where Keras
# computes in float32.
PIECEWISE_LAYERS = {
    "max pooling1d": (lambda d: _image_model(d, (6, 2), lambda kw: L.MaxPooling1D(2, **kw)), _bound(6, 2)),
    "max pooling2d": (lambda d: _image_model(d, (5, 4, 2), lambda kw: L.MaxPooling2D(3, 2, "same", **kw)), _bound(12, 9)),
    "global 1d": (lambda d: _image_model(d, (6, 2), lambda kw: L.GlobalMaxPooling1D(**kw)), _bound(2, 6)),
    "global 2d": (lambda d: _image_model(d, (4, 3, 2), lambda kw: L.GlobalMaxPooling2D(**kw)), _bound(2, 12)),
    "global 3d": (lambda d: _image_model(d, (2, 3, 2, 2), lambda kw: L.GlobalMaxPooling3D(**kw)), _bound(2, 12)),
    "merged": (_merging_model, _bound(4, 3)),
    "prelu": (lambda d: _image_model(d, (3, 2), lambda kw: L.PReLU("ones", shared_axes=[1], **kw), lambda kw: L.PReLU(**kw)), _bound(6, 2)),
    "upsampling": (lambda d: _image_model(d, (3, 3, 1), lambda kw: L.UpSampling2D(2, interpolation="bicubic", **kw)), 2e-6),
    "resizing": (lambda d: _image_model(d, (4, 4, 1), lambda kw: L.Resizing(3, 5, interpolation="bicubic", **kw)), 2e-6),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", representatives(PIECEWISE_LAYERS, [*PIECEWISE_LAYERS][::3])
)
def test_maxima_and_interpolations_are_replaced(name):
    make, largest_change = PIECEWISE_LAYERS[name]
    model = make("float64")
    assert not keras_smooth.audit(model).ok
    smooth = keras_smooth.smoothen(model, sharpness=100.0)
    assert keras_smooth.audit(smooth).ok
    assert keras_smooth.smoothness(smooth) == np.inf
    x = np.linspace(-2.0, 2.0, 41)[:, None]
    assert keras_smooth.output_change(model, smooth, x).largest < largest_change
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
    models = [make("float32") for make, _ in PIECEWISE_LAYERS.values()]
    models.append(_image_model("float32", (4, 4, 4, 1), lambda kw: L.MaxPooling3D(2, **kw)))
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
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) == len(models)


def test_replacements_of_layers_take_precedence():
    model = keras.Sequential(
        [keras.Input((6, 1)), L.MaxPooling1D(3, name="a"), L.GlobalMaxPooling1D(name="b")]
    )
    replacements = {
        L.MaxPooling1D: L.AveragePooling1D,
        L.GlobalMaxPooling1D: lambda layer: keras_smooth.layers.SmoothGlobalMaxPooling1D(
            sharpness=3.0, name=layer.name
        ),
    }
    smooth = keras_smooth.smoothen(model, replacements=replacements)
    assert [layer.name for layer in smooth.layers] == ["a", "b"]
    assert type(smooth.layers[0]) is L.AveragePooling1D
    assert smooth.layers[0].pool_size == (3,) and smooth.layers[1].sharpness == 3.0


class _SubclassedModel(keras.Model):
    def call(self, x):
        return x


class _SubclassedSequential(keras.Sequential):
    def call(self, x):
        return super().call(x) ** 2


@pytest.mark.parametrize(
    ("model", "arguments", "error", "message"),
    [
        (_SubclassedModel(), {}, TypeError, "Sequential or Functional"),
        (_SubclassedSequential([keras.Input((2,))]), {}, TypeError, "`call` of its own"),
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
def test_unsupported_models_and_wrong_sharpness_raise(model, arguments, error, message):
    with pytest.raises(error, match=message):
        keras_smooth.smoothen(model, **arguments)


class KinkOfTwoInputs(keras.layers.Layer):
    """Has a kink in two inputs of different shapes, and is called in one of four forms."""

    def __init__(self, call_form):
        super().__init__()
        self.call_form, self.inside = call_form, L.Dense(2)

    def call(self, first, second=None):
        if self.call_form in ("list", "dict"):
            first, second = keras.tree.flatten(first)
        return ops.abs(self.inside(first)) * ops.sum(second, axis=-1, keepdims=True)

    def get_config(self):
        return {"call_form": self.call_form}


CALLS = {
    "arguments": lambda layer, a, b: layer(a, b),
    "list": lambda layer, a, b: layer([a, b]),
    "dict": lambda layer, a, b: layer({"a": a, "b": b}),
    "keyword": lambda layer, a, b: layer(a, second=b),
}


@pytest.mark.parametrize("call_form", CALLS)
def test_not_smooth_layers_warn_for_every_form_of_call(call_form):
    a, b = keras.Input((4,)), keras.Input((3,))
    model = keras.Model(
        [a, b], L.Dense(1)(CALLS[call_form](KinkOfTwoInputs(call_form), a, b))
    )
    with pytest.warns(
        UserWarning, match=r"stay: kink_of_two_inputs\S* \(KinkOfTwoInputs, C\^0, Abs\)"
    ):
        keras_smooth.smoothen(model)


@keras.saving.register_keras_serializable("tests")
class LayerWithDense(keras.layers.Layer):
    """Has its activation in its config in the form of `in_config`."""

    def __init__(self, activation="relu", in_config="name", **options):
        super().__init__(**options)
        self.activation_name, self.in_config = activation, in_config
        self.inside = L.Dense(4, activation)

    def build(self, shape):
        self.inside.build(shape)

    def call(self, x):
        return self.inside(x)

    def get_config(self):
        entries = {
            "name": {"activation": self.activation_name},
            "nothing": {},
            "function": {"activation": keras.activations.serialize(self.inside.activation)},
        }
        return {
            **super().get_config(),
            "in_config": self.in_config,
            **entries[self.in_config],
        }


@pytest.mark.parametrize("in_config", ["name", "nothing", "function"])
def test_activation_missing_from_a_config_warns(in_config, tmp_path):
    model = keras.Sequential(
        [keras.Input((3,)), LayerWithDense(in_config=in_config, name="block"), L.Dense(1)]
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        smooth = keras_smooth.smoothen(model)
    smooth.save(tmp_path / "smooth.keras")
    loaded = keras.saving.load_model(tmp_path / "smooth.keras")
    is_equally_smooth = keras_smooth.smoothness(loaded) == keras_smooth.smoothness(smooth)
    messages = [
        warning
        for warning in caught
        if "do not have their activations: block (LayerWithDense)" in str(warning.message)
    ]
    assert is_equally_smooth == (in_config == "function") == (not messages)


@keras.saving.register_keras_serializable("test_smoothing")
class ArrayInConfig(keras.layers.Layer):
    def __init__(self, scale, activation="relu", **options):
        super().__init__(**options)
        self.scale, self.activation = np.asarray(scale), keras.activations.get(activation)

    def call(self, x):
        return self.activation(x) * self.scale

    def get_config(self):
        config = {"scale": self.scale, "activation": self.activation}
        return {**config, **super().get_config()}


def test_layer_with_an_array_in_its_config_is_smoothened():
    model = keras.Sequential([keras.Input((2,)), ArrayInConfig([1.0, 2.0])])
    smooth = keras_smooth.smoothen(model, order=2)
    assert smooth.layers[0].activation is not keras.activations.relu


# Functions with arguments, as operations of a graph, and their arguments.
ARGUMENTS = {
    "relu": [{"max_value": 0.5}, {"negative_slope": 0.3}, {"max_value": 1.0, "negative_slope": 0.1}],
    "leaky_relu": [{"negative_slope": 0.4}],
    "elu": [{"alpha": 0.5}],
    "celu": [{"alpha": 2.0}],
    "soft_shrink": [{"threshold": 0.3}],
    "squareplus": [{"b": 0.0}],
}  # fmt: skip
_FUNCTIONS_WITH_ARGUMENTS = [(name, a) for name, rows in ARGUMENTS.items() for a in rows]


@pytest.mark.parametrize(("name", "arguments"), _FUNCTIONS_WITH_ARGUMENTS)
def test_arguments_of_activations_in_a_graph_are_kept(name, arguments):
    inputs = keras.Input((1,), dtype="float64")
    function = getattr(keras.activations, name)
    model = keras.Model(inputs, function(inputs, **arguments))
    x = np.linspace(-3.0, 3.0, 41)[:, None]
    smooth = keras_smooth.smoothen(model, sharpness=1e4)
    assert keras_smooth.smoothness(smooth) >= 2
    # A smooth ramp differs by log(2) / sharpness, and a sum of two by twice as much.
    np.testing.assert_allclose(smooth(x), model(x), atol=2e-4)


def test_activation_in_a_graph_has_the_class_of_its_arguments():
    inputs = keras.Input((1,))
    jumps = keras.Model(inputs, keras.activations.relu(inputs, threshold=0.5))
    assert keras_smooth.smoothness(jumps) == -1
    with pytest.warns(UserWarning, match="no smooth replacement"):
        smooth = keras_smooth.smoothen(jumps)
    np.testing.assert_array_equal(smooth(X), jumps(X))


X = np.linspace(-3.0, 3.0, 7, dtype="float32")[:, None]


def _quartic(y_true, y_pred):
    return ops.mean((y_true - y_pred) ** 4)


class QuarticLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return _quartic(y_true, y_pred)


LOSSES = {
    "Huber with delta": keras.losses.Huber(0.3),
    "function": _quartic,
    "lambda": lambda y_true, y_pred: ops.mean(y_true - y_pred),
    "own class": QuarticLoss(),
    "by output": {"last": _quartic},
}


@pytest.mark.parametrize("name", LOSSES)
def test_smooth_model_has_the_same_loss(name):
    inputs = keras.Input((1,))
    hidden = L.Dense(4, "softplus")(inputs)
    model = keras.Model(inputs, {"last": L.Dense(1, name="last")(hidden)})
    model.compile("adam", loss=LOSSES[name])
    smooth = keras_smooth.smoothen(model)
    data = X, {"last": 5.0 + X}
    expected = model.evaluate(*data, verbose=0)
    assert smooth.evaluate(*data, verbose=0) == pytest.approx(expected, rel=1e-6)
    assert type(smooth.optimizer) is type(model.optimizer)
    assert smooth.optimizer is not model.optimizer


def test_model_whose_metric_cannot_be_copied_is_smoothened_with_a_warning():
    inner = keras.Sequential([keras.Input((1,)), L.Dense(4, "relu")])
    inner.compile(loss=_quartic, metrics=[_quartic])
    with pytest.warns(UserWarning, match="not compiled, .*_quartic"):
        assert not keras_smooth.smoothen(inner).compiled
    # A compiled model inside is not compiled again.
    outer = keras.Sequential([keras.Input((1,)), inner, L.Dense(1)])
    assert keras_smooth.smoothness(keras_smooth.smoothen(outer)) == np.inf


def _sub_model_on_the_same_input(layer, i, j):
    return layer(i) + keras.Model(i, layer(i))(j)


def _sub_model_twice(layer, i, j):
    y, sub = layer(i), keras.Model(i, layer(i))
    return y * sub(j) - sub(i)


@pytest.mark.parametrize("function", [_sub_model_on_the_same_input, _sub_model_twice])
@pytest.mark.parametrize("names", [("i", "j"), (None, None)])
def test_models_that_share_inputs_are_saved_and_loaded(function, names, tmp_path):
    i, j = (keras.Input((3,), name=name) for name in names)
    model = keras.Model([i, j], function(L.Dense(3, "relu"), i, j))
    smooth = keras_smooth.smoothen(model)
    assert [each.name for each in smooth.layers] == [each.name for each in model.layers]
    assert [each.name for each in smooth.inputs] == [each.name for each in model.inputs]
    smooth.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = [np.random.default_rng(seed).normal(size=(5, 3)) for seed in (0, 1)]
    np.testing.assert_array_equal(loaded(x), smooth(x))


@pytest.mark.parametrize("x", [None, np.zeros((7, 6, 4), "float32")])
def test_model_of_a_fixed_batch_size_is_smoothened(x):
    inputs = keras.Input((6, 4), batch_size=7)
    model = keras.Sequential([inputs, L.LSTM(3, activation="relu", stateful=True)])
    smooth = keras_smooth.smoothen(model, x)
    assert smooth.output_change.largest < 0.5
    assert keras_smooth.smoothness(smooth) == np.inf
