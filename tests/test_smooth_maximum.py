"""Smooth layers are close to Keras' layers, and have the same shapes and right derivatives."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from representatives import representatives

import keras_smooth
from keras_smooth import layers
from keras_smooth.auditing import report
from keras_smooth.auditing.findings import Cause, Finding

# Arguments, shapes of a sample of the inputs, the largest number of compared values.
CASES_OF = {
    "MaxPooling1D": [
        ({}, [(7, 2)], 2),
        ({"pool_size": 3, "strides": 2, "padding": "same"}, [(6, 2)], 3),
    ],
    "MaxPooling2D": [
        ({"pool_size": (3, 2), "strides": (2, 1)}, [(6, 5, 2)], 6),
        ({"pool_size": 3, "strides": 2, "padding": "same"}, [(6, 5, 2)], 9),
        ({"pool_size": 2, "strides": 3, "padding": "same"}, [(7, 5, 2)], 4),
        ({"data_format": "channels_first"}, [(2, 5, 4)], 4),
    ],
    "MaxPooling3D": [({"padding": "same"}, [(3, 4, 5, 1)], 8)],
    "GlobalMaxPooling1D": [({}, [(6, 2)], 6)],
    "GlobalMaxPooling2D": [
        ({"keepdims": True}, [(3, 4, 2)], 12),
        ({"data_format": "channels_first"}, [(2, 3, 4)], 12),
    ],
    "GlobalMaxPooling3D": [({}, [(2, 3, 2, 1)], 12)],
    "Maximum": [({}, [(4,), (4,), (4,)], 3), ({}, [(3, 4), (4,)], 2)],
    "Minimum": [({}, [(4,), (1,)], 2)],
    "PReLU": [({"alpha_initializer": "ones", "shared_axes": [1]}, [(3, 4)], 2)],
}
# Every smooth layer of the package must have a case.
CASES = [
    (stock.__name__, *case)
    for stock in layers.SMOOTH_FORMS
    for case in CASES_OF[stock.__name__]
]
IDS = [f"{name}-{i}" for i, (name, *_) in enumerate(CASES)]


def _pair(rng, name, arguments, shapes, dtype="float64", sharpness=10.0):
    """Returns Keras' layer and ours with the same random weights, and inputs."""
    xs = [rng.normal(size=(3, *shape)).astype(dtype) for shape in shapes]
    xs = xs if len(xs) > 1 else xs[0]
    # MaxPooling3D has no float64 kernel in TensorFlow.
    single = "float32" if name == "MaxPooling3D" else dtype
    stock = getattr(keras.layers, name)(dtype=single, **arguments)
    ours = getattr(layers, f"Smooth{name}")(dtype=dtype, **arguments, sharpness=sharpness)
    for layer in (stock, ours):
        layer(xs)
    weights = [rng.uniform(0.0, 0.5, w.shape) for w in stock.get_weights()]
    for layer in (stock, ours):
        layer.set_weights(weights)
    return stock, ours, xs


@pytest.mark.parametrize("dtype", ["float64", "float32", "mixed_float16"])
@pytest.mark.parametrize(("name", "arguments", "shapes", "count"), CASES, ids=IDS)
def test_outputs_are_near_those_of_keras(name, arguments, shapes, count, dtype, rng):
    variables = "float32" if dtype == "mixed_float16" else dtype
    stock, ours, xs = _pair(rng, name, arguments, shapes, variables, sharpness=20.0)
    config = {**ours.get_config(), "dtype": dtype}
    ours = type(ours).from_config(config)
    ours(xs)
    ours.set_weights(stock.get_weights())
    expected, outputs = stock(xs), ours(xs)
    assert outputs.dtype == ours.compute_dtype and outputs.shape == expected.shape
    change = np.asarray(tf.cast(outputs, "float64") - tf.cast(expected, "float64"))
    sign = -1 if name == "Minimum" else 1
    # float16 rounds numbers of size 4 by 2e-3, and weights by 1e-4.
    rounding_dtype = "float32" if name == "MaxPooling3D" and dtype == "float64" else dtype
    rounding = {"float64": 1e-14, "float32": 1e-6, "mixed_float16": 4e-3}[rounding_dtype]
    assert np.all(sign * change >= -rounding)
    assert np.abs(change).max() <= np.log(count) / 20.0 + rounding


@pytest.mark.parametrize("value", [-1e300, -1e4, 1e4, 1e300])
@pytest.mark.parametrize(
    ("name", "arguments", "shapes", "count"),
    [row for row in CASES if row[0] != "MaxPooling3D"],
)
def test_large_values_neither_overflow_nor_vanish(
    name, arguments, shapes, count, value, rng
):
    stock, ours, xs = _pair(rng, name, arguments, shapes)
    xs = keras.tree.map_structure(lambda x: x * abs(value) + value, xs)
    expected, outputs = np.asarray(stock(xs)), np.asarray(ours(xs))
    scale = np.abs(xs[0]).max()
    # Rounding of a sum of values of that size, and ties of the smaller ones.
    assert np.abs(outputs - expected).max() < 1e-14 * scale + np.log(count) / 10


@pytest.mark.parametrize(
    ("point", "engine"),
    representatives([("random", "jet"), ("ties", "tape")], [("random", "jet")]),
)
@pytest.mark.parametrize(("name", "arguments", "shapes", "count"), CASES, ids=IDS)
@pytest.mark.filterwarnings("ignore:There is no jet rule")
def test_three_derivatives_agree_with_differences(
    name, arguments, shapes, count, point, engine, rng
):
    _, ours, xs = _pair(rng, name, arguments, shapes)
    t = keras.Input((1,), dtype="float64")
    several = isinstance(xs, list)
    parts = [
        _line(np.full(x.shape[1:], 0.7) if point == "ties" else x[0], i)(t)
        for i, x in enumerate(xs if several else [xs])
    ]
    y = keras.layers.Flatten(dtype="float64")(ours(parts if several else parts[0]))
    y = keras.layers.Dense(1, kernel_initializer="ones", dtype="float64")(y)
    model = keras.Model(t, y)
    at, step = np.array([[0.0]]), 1e-4
    entries = keras_smooth.derivatives(model, at, order=3, engine=engine)
    upper, lower = (
        keras_smooth.derivatives(model, at + s, order=2, engine="tape")
        for s in (step, -step)
    )
    for k in (1, 2, 3):
        expected = (upper[k - 1] - lower[k - 1]) / (2 * step)
        scale = np.abs(expected).max() + 1.0
        # The error of the differences, with fifth derivatives of size sharpness^4 / 8.
        assert np.abs(entries[k] - expected).max() < 2e-6 * scale


@keras.saving.register_keras_serializable(package="tests")
class _Straight(keras.layers.Layer):
    def __init__(self, base, direction, **kwargs):
        super().__init__(**kwargs)
        self.base, self.direction = tf.constant(base), tf.constant(direction)

    def call(self, t):
        shape = (-1,) + (1,) * len(self.base.shape)
        return self.base + tf.reshape(t, shape) * self.direction


def _line(base, seed):
    direction = np.random.default_rng(seed + 1).normal(size=base.shape)
    return _Straight(base, 0.3 * direction, dtype="float64")


@pytest.mark.parametrize(
    ("name", "size"),
    [("MaxPooling2D", 2), ("MaxPooling2D", 3), ("GlobalMaxPooling2D", None)],
)
@pytest.mark.parametrize("padding", representatives(["valid", "same"], ["same"]))
def test_images_of_unknown_size_are_pooled(name, size, padding, rng):
    arguments = {} if size is None else {"pool_size": size, "padding": padding}
    x = keras.Input((None, None, 2))
    stock, ours = (
        keras.Model(x, layer(x))
        for layer in (
            getattr(keras.layers, name)(**arguments),
            getattr(layers, f"Smooth{name}")(**arguments, sharpness=1e3),
        )
    )
    assert ours.output_shape == stock.output_shape
    for shape in ((1, 5, 6, 2), (2, 4, 7, 2)):
        values = rng.normal(size=shape).astype("float32")
        # log(42) / 1000.
        np.testing.assert_allclose(ours(values), stock(values), atol=4e-3)
        np.testing.assert_allclose(ours.predict(values, verbose=0), ours(values), rtol=1e-6)


@pytest.mark.parametrize("sharpness", [0.0, -1.0, np.inf, np.nan])
def test_sharpness_that_is_not_positive_raises(sharpness):
    with pytest.raises(ValueError, match="`sharpness` of SmoothMaximum must be"):
        layers.SmoothMaximum(sharpness=sharpness)


@pytest.mark.parametrize("stock", layers.SMOOTH_FORMS, ids=lambda kind: kind.__name__)
def test_audit_recommends_every_smooth_layer(stock):
    smooth = layers.SMOOTH_FORMS[stock]
    assert smooth.__name__ in report.remedy(stock(), Finding(Cause.NOT_SMOOTH, 1), 2)
