"""Exact layers have the outputs of Keras' layers, and right derivatives."""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_table import required
from representatives import representatives

import keras_smooth
from keras_smooth import layers
from keras_smooth.auditing import report
from keras_smooth.auditing.findings import Cause, Finding

# Arguments and shapes of a sample for layers that need more than one case or arguments.
SPECIAL = {
    "LayerNormalization": [
        ({}, (6,)),
        ({"axis": [1, 2], "center": False}, (5, 6)),
        ({"axis": 1, "scale": False}, (5, 6)),
    ],
    "GroupNormalization": [
        ({"groups": 3}, (4, 4, 6)),
        ({"groups": -1}, (4, 6)),
        ({"groups": 2, "axis": 1}, (4, 3, 6)),
    ],
    "BatchNormalization": [
        ({}, (6,)),
        ({"axis": 1, "scale": False, "center": False}, (4, 3, 6)),
    ],
    "UpSampling2D": [
        ({"interpolation": "bilinear"}, (3, 4, 2)),
        ({"size": (2, 3), "interpolation": "bicubic"}, (3, 4, 2)),
        ({"data_format": "channels_first", "interpolation": "bicubic"}, (2, 3, 4)),
    ],
    "Resizing": [
        ({"height": 5, "width": 2, "interpolation": "bicubic"}, (3, 4, 2)),
        ({"interpolation": "lanczos3", "data_format": "channels_first"}, (2, 3, 4)),
        ({"height": 2, "antialias": True}, (4, 5, 2)),
        ({"height": 2, "width": 6, "crop_to_aspect_ratio": True}, (4, 5, 2)),
    ],
    "UnitNormalization": [({"axis": [1, 2]}, (5, 6))],
    "RandomRotation": [
        ({"seed": 0, "factor": 0.4, "fill_mode": mode, **more}, (4, 5, 3))
        for mode, more in [
            ("reflect", {}),
            ("wrap", {}),
            ("nearest", {"interpolation": "nearest"}),
            ("constant", {"fill_value": 0.5}),
        ]
    ],
    "RandomTranslation": [
        ({"seed": 0, "height_factor": (-1.0, 1.0)}, (4, 5, 3)),
        ({"seed": 0, "fill_mode": "wrap", "data_format": "channels_first"}, (3, 4, 5)),
    ],
    "RandomZoom": [
        ({"seed": 0}, (4, 5, 3)),
        ({"seed": 0, "width_factor": 0.9, "data_format": "channels_first"}, (3, 4, 5)),
    ],
    "RandomShear": [({"seed": 0, "x_factor": 0.9, "y_factor": (0.1, 0.5)}, (4, 5, 3))],
    "RandomPerspective": [
        ({"seed": 0}, (4, 5, 3)),
        ({"seed": 0, "fill_value": 0.5, "data_format": "channels_first"}, (3, 4, 5)),
    ],
    "RandomHue": [
        ({"seed": 0, "value_range": (-4, 4)}, (4, 5, 3)),
        ({"seed": 0, "factor": 1.0, "data_format": "channels_first"}, (3, 4, 5)),
    ],
    "RandomSaturation": [
        ({"seed": 0, "factor": 0.9}, (4, 5, 3)),
        ({"seed": 0, "data_format": "channels_first"}, (3, 4, 5)),
    ],
}
RANDOM = [name for name in SPECIAL if name.startswith("Random")]
# Name, arguments and shape of a sample of every exact layer of the package.
EXACT = [
    (kind.__name__, {**required(kind), **arguments}, shape)
    for kind in layers.EXACT_FORMS.values()
    for arguments, shape in SPECIAL.get(kind.__name__, [({}, (4, 4, 6))])
]
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(EXACT)]
# The audit has one case of each random layer; all are compared with differences below.
SMOOTH = [
    i for i, row in enumerate(EXACT)
    if keras_smooth.smoothness(getattr(layers, row[0])) == np.inf
    and (row[0] not in RANDOM or row[0] != EXACT[i - 1][0])
]  # fmt: skip
# Layers with a wrong second derivative in Keras, which stops a gradient in their moments.
MOMENTS = ["LayerNormalization", "GroupNormalization", "BatchNormalization"]


def _pair(rng, name, arguments, shape, dtype):
    """Keras' layer and ours with the same random weights, and inputs."""
    x = rng.normal(size=(5, *shape)).astype(dtype)
    pair = [
        getattr(module, name)(dtype=dtype, **arguments) for module in (keras.layers, layers)
    ]
    for layer in pair:
        layer(x)
    weights = [rng.uniform(0.5, 2.0, w.shape) for w in pair[0].get_weights()]
    for layer in pair:
        layer.set_weights(weights)
    return *pair, x


def _call(layer, x, training):
    if "training" in inspect.signature(layer.call).parameters:
        return layer(x, training=training)
    return layer(x)


# Rounding of a dozen operations; Keras computes images in float32 for all dtypes. What a layer
# does in training does not depend on the dtype, and random layers do nothing else.
@pytest.mark.parametrize(
    ("dtype", "tolerance", "training"),
    representatives(
        [("float64", 1e-14, True), ("float64", 1e-14, False), ("float32", 2e-6, True)],
        [("float64", 1e-14, True)],
    ),
)
@pytest.mark.parametrize(
    ("name", "arguments", "shape"), representatives(EXACT, EXACT[::2]), ids=IDS
)
def test_outputs_and_weights_are_those_of_keras(
    name, arguments, shape, dtype, tolerance, training, rng
):
    stock, exact, x = _pair(rng, name, arguments, shape, dtype)
    if name in ("UpSampling2D", "Resizing"):
        tolerance = 2e-6
    elif name in RANDOM:
        # Coordinates of size 5 are rounded to float32, and pixels differ by as much.
        tolerance = 1e-5
    # One graph for both layers, since tracing takes most of the time. It is the same for all
    # dtypes.
    for wrap in (lambda f: f, tf.function) if dtype == "float64" else (lambda f: f,):
        outputs = wrap(lambda v: [_call(layer, v, training) for layer in (stock, exact)])(x)
        np.testing.assert_allclose(outputs[1], outputs[0], rtol=tolerance, atol=tolerance)
    assert [w.path.split("/")[-1] for w in exact.weights] == [
        w.path.split("/")[-1] for w in stock.weights
    ]
    for a, b in zip(exact.weights, stock.weights):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert exact.get_config().keys() == stock.get_config().keys()
    assert exact.compute_output_shape(x.shape) == stock.compute_output_shape(x.shape)


@pytest.mark.parametrize("name", MOMENTS)
def test_half_precision_agrees_with_keras(name, rng):
    arguments = {"groups": 2} if name.startswith("Group") else {}
    stock, exact, x = _pair(rng, name, arguments, (4, 6), "float32")
    half = [
        type(layer).from_config({**layer.get_config(), "dtype": "mixed_float16"})
        for layer in (stock, exact)
    ]
    outputs = [_call(layer, x, True) for layer in half]
    assert outputs[1].dtype == tf.float16
    # Three digits are what float16 has.
    np.testing.assert_allclose(outputs[1], outputs[0], atol=4e-3)


@pytest.mark.parametrize(
    "index",
    representatives(SMOOTH, [i for i in SMOOTH if EXACT[i][0] not in RANDOM[1:]]),
    ids=[IDS[i] for i in SMOOTH],
)
def test_derivatives_are_proven_to_order_3(index, rng):
    name, arguments, shape = EXACT[index]
    _, exact, x = _pair(rng, name, arguments, shape, "float32")
    row = keras_smooth.audit(exact, x, order=3).rows[0]
    if arguments.get("crop_to_aspect_ratio"):  # It uses Keras' code, and audit reports it.
        assert (row.cause, row.order) == ("wrong", 2)
        return
    assert row.verdict == "proven"


def _difference_of_slopes(layer, x, direction, step=1e-5):
    def slope(t):
        t = tf.constant(t, tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(t)
            y = tf.reduce_sum(_call(layer, x + t * direction, True) ** 3)
        return float(tape.gradient(y, t))

    return (slope(step) - slope(-step)) / (2 * step)


def _second(layer, x, direction):
    t = tf.constant(0.0, tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(t)
        with tf.GradientTape() as inner:
            inner.watch(t)
            y = tf.reduce_sum(_call(layer, x + t * direction, True) ** 3)
        slope = inner.gradient(y, t)
    return float(outer.gradient(slope, t))


@pytest.mark.parametrize("name", MOMENTS)
def test_second_derivative_is_right_and_that_of_keras_is_wrong(name, rng):
    arguments = {"groups": 2} if name.startswith("Group") else {}
    stock, exact, x = _pair(rng, name, arguments, (6,), "float64")
    direction = rng.normal(size=x.shape)
    expected = _difference_of_slopes(exact, x, direction)
    # step^2 times the fourth derivative is 1e-8 of the second, rounding less than that.
    assert abs(_second(exact, x, direction) - expected) < 1e-6 * abs(expected)
    assert abs(_second(stock, x, direction) - expected) > 1e-3 * abs(expected)


def test_unit_normalization_has_finite_derivatives_at_zero():
    zero = np.zeros((1, 3))
    derivatives = keras_smooth.derivatives(layers.UnitNormalization(dtype="float64"), zero)
    assert all(np.isfinite(part).all() for part in derivatives)


@pytest.mark.parametrize("name", ["renorm", "synchronized"])
def test_batch_normalization_raises_for_arguments_without_exact_form(name):
    with pytest.raises(ValueError, match=name):
        layers.BatchNormalization(**{name: True})


def test_exact_layers_are_saved_and_loaded(tmp_path, rng):
    x = keras.Input((4, 4, 6))
    y = x
    for name in (
        "LayerNormalization",
        "GroupNormalization",
        "BatchNormalization",
        "UpSampling2D",
    ):
        y = getattr(layers, name)(**({"groups": 2} if name.startswith("Group") else {}))(y)
    y = layers.Conv2D(2, 3, activation="snake")(y)
    model = keras.Model(x, y)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    points = rng.normal(size=(2, 4, 4, 6)).astype("float32")
    np.testing.assert_array_equal(loaded(points), model(points))
    assert [type(layer) for layer in loaded.layers] == [
        type(layer) for layer in model.layers
    ]


def _along_a_line(name, arguments, shape, rng, module):
    """A function of t through an image layer with its random numbers fixed."""
    layer = getattr(module, name)(dtype="float64", **arguments)
    x, direction, weight = rng.uniform(0.1, 0.9, (3, 2, *shape))
    numbers = layer.get_random_transformation(tf.constant(x), training=True)

    def function(t):
        y = layer.transform_images(x + t * direction, numbers, training=True)
        return tf.reduce_sum(weight * y**3)

    return function


def _two_derivatives(function, at):
    t = tf.constant(at, tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(t)
        with tf.GradientTape() as inner:
            inner.watch(t)
            y = function(t)
        slope = inner.gradient(y, t)
        if slope is None:
            return None
    return float(y), float(slope), float(outer.gradient(slope, t))


IMAGES = [row for row in EXACT if row[0] in RANDOM]


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    representatives(IMAGES, IMAGES[::4]),
    ids=[IDS[EXACT.index(row)] for row in IMAGES],
)
def test_derivatives_of_random_images_agree_with_differences(name, arguments, shape, rng):
    function = _along_a_line(name, arguments, shape, rng, layers)
    step = 1e-5
    upper, lower = (_two_derivatives(function, s) for s in (step, -step))
    _, slope, second = _two_derivatives(function, 0.0)
    # step^2 times the next derivatives, which are of the size of these.
    assert slope == pytest.approx((upper[0] - lower[0]) / (2 * step), rel=1e-7)
    assert second == pytest.approx((upper[1] - lower[1]) / (2 * step), rel=1e-6)
    stock = _along_a_line(name, arguments, shape, np.random.default_rng(0), keras.layers)
    keras_derivatives = _two_derivatives(stock, 0.0)
    assert keras_derivatives is None or keras_derivatives[1] != pytest.approx(
        slope, rel=1e-3
    )


@pytest.mark.parametrize("factor", [0.3, (0.1, 0.2), [0.0, 0.5]])
def test_random_shear_is_restored_from_its_config(factor, rng):
    layer = layers.RandomShear(factor, factor, seed=1)
    restored = layers.RandomShear.from_config(layer.get_config())
    assert restored.get_config() == layer.get_config()
    x = rng.uniform(size=(2, 4, 5, 1)).astype("float32")
    np.testing.assert_array_equal(restored(x, training=True), layer(x, training=True))


def test_gray_images_have_finite_derivatives():
    x = tf.constant(0.5, tf.float64, (1, 2, 2, 3))
    for kind in (layers.RandomHue, layers.RandomSaturation):
        layer = kind(0.5, value_range=(0, 1), seed=0, dtype="float64")
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        np.testing.assert_allclose(y, x, rtol=1e-14)
        assert np.isfinite(tape.gradient(y, x)).all()


@pytest.mark.slow
def test_images_in_a_dataset_agree_with_keras(rng):
    images = rng.uniform(size=(6, 4, 5, 3)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices(images).batch(2)
    for name in ("RandomZoom", "RandomPerspective", "RandomSaturation"):
        kind = getattr(layers, name)
        exact = kind(**{**required(kind), "seed": 0})
        keras_layer = getattr(keras.layers, name)(**{**required(kind), "seed": 0})
        for x in (data, data.unbatch()):
            outputs, expected = (
                np.stack([*x.map(lambda v, layer=layer: layer(v, training=True))])
                for layer in (exact, keras_layer)
            )
            # Keras computes images in float32.
            np.testing.assert_allclose(outputs, expected, atol=2e-6)


@pytest.mark.filterwarnings("error:There is no jet rule")
@pytest.mark.parametrize("module", [keras.layers, layers], ids=["keras", "ours"])
def test_jets_of_random_layers_are_those_of_inference(module, rng):
    kinds = [getattr(module, name) for name in RANDOM]
    model = keras.Sequential(
        [
            keras.Input((2, 3, 3), dtype="float64"),
            *(kind(**required(kind), dtype="float64") for kind in kinds),
            keras.layers.Flatten(dtype="float64"),
            keras_smooth.Dense(1, "tanh", dtype="float64"),
        ]
    )
    x = rng.uniform(size=(2, 2, 3, 3))
    jets, tapes = (
        keras_smooth.derivatives(model, x, order=1, engine=engine)
        for engine in ("jet", "tape")
    )
    np.testing.assert_allclose(jets[0], model(x, training=False), rtol=1e-13)
    np.testing.assert_allclose(jets[1], tapes[1], rtol=1e-13)


# The exact UnitNormalization has a pole, so that it has no smooth replacement.
@pytest.mark.filterwarnings("ignore:These parts have no smooth replacement")
@pytest.mark.parametrize("stock", layers.EXACT_FORMS, ids=lambda kind: kind.__name__)
def test_smoothen_and_audit_use_exact_layers(stock):
    exact = layers.EXACT_FORMS[stock]
    assert layers.exact_form(stock) is exact is layers.exact_form(exact)
    inner = stock(**required(stock), name="inner")
    model = keras.Sequential([keras.Input((4, 4, 32)), inner])
    assert type(keras_smooth.smoothen(model).layers[0]) is exact
    assert (
        report.remedy(inner, Finding(Cause.WRONG, 2), 2)
        == f"keras_smooth.layers.{exact.__name__}"
    )


def test_activation_by_position_is_checked():
    assert layers.LSTM(3, "snake").activation is keras_smooth.activations.snake
    with pytest.raises(ValueError, match="relu"):
        layers.GRU(3, "relu")
