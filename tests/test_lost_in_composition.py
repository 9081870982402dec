"""Operations whose gradient has itself no gradient in TensorFlow, as that of bilinear images.

They are linear, so that alone nothing is missing; what follows them loses y'' without a word.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from richardson import derivative

import keras_smooth

L = keras.layers
RNG = np.random.default_rng(0)
X, V = RNG.normal(size=(2, 3, 2, 2, 1))
PARTS = {
    "UpSampling2D": lambda: L.UpSampling2D(2, interpolation="bilinear", dtype="float64"),
    "Resizing": lambda: L.Resizing(3, 3, dtype="float64"),
    "Lambda": lambda: L.Lambda(lambda x: tf.image.resize(x, (3, 3)), dtype="float64"),
}
# Of values that TensorFlow interpolates in float32, by central differences of step 1e-2.
TOLERANCE = 1e-3


def net(part, units=2):
    model = keras.Sequential([keras.Input((2, 2, 1), dtype="float64")])
    model.add(L.Activation("tanh", dtype="float64"))
    model.add(part)
    model.add(L.Flatten(dtype="float64"))
    model.add(keras_smooth.Dense(units, "tanh", dtype="float64"))
    return model


def beside(part):
    """The lost path beside another one, so that no derivative is None."""
    model = net(part)
    x = keras.Input((2, 2, 1), dtype="float64")
    other = L.Dense(2, "tanh", dtype="float64")(L.Flatten(dtype="float64")(x))
    return keras.Model(x, L.Add(dtype="float64")([model(x), other]))


def slope_by_differences(model, step=1e-2):
    def values(t):
        return np.asarray(model(X + t * V), "float64")

    one, two = (values(t) - values(-t) for t in (step, 2 * step))
    return (8 * one - two) / (12 * step)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "made", [net, beside, lambda part: net(part, 40)], ids=["alone", "beside", "wide"]
)
def test_slopes_by_tapes_lose_nothing(name, compiled, made):
    model = made(PARTS[name]())
    if compiled and model.output_shape[-1] > 16:
        pytest.skip("in a graph only a few outputs are taken one by one")

    def evaluate(x):
        return keras_smooth.directional(model, x, V, 1, engine="tape")

    _, found = (tf.function(evaluate, autograph=False) if compiled else evaluate)(
        tf.constant(X)
    )
    expected = slope_by_differences(model)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("name", PARTS)
def test_audit_finds_what_is_lost_behind_them(name):
    report = keras_smooth.audit(net(PARTS[name]()), X)
    (row,) = [row for row in report.rows if row.verdict != "proven"]
    assert (row.cause, row.order) == ("wrong", 2) and report.inference == "faulty"
    assert "ResizeBilinear has no right gradient from order 2 on" in row.reason
    if name != "Lambda":
        assert f"keras_smooth.layers.{name}" in row.remedy
    # One derivative is there, to the digits of float32.
    causes = {row.cause for row in keras_smooth.audit(net(PARTS[name]()), X, order=1).rows}
    assert causes == {"", "imprecise"}


@pytest.mark.parametrize("name", ["UpSampling2D", "Resizing"])
def test_smoothen_repairs_it(name):
    model = net(PARTS[name]())
    smooth = keras_smooth.smoothen(model, X)
    assert keras_smooth.audit(smooth, X).inference == "proven"
    found = keras_smooth.derivatives(smooth, X, 2, engine="tape", verify=True)
    assert found.verification.ok


def test_what_loses_nothing_stays_proven():
    for kind, size in ((L.UpSampling2D, 2), (L.AveragePooling2D, 2), (L.ZeroPadding2D, 1)):
        assert keras_smooth.audit(net(kind(size, dtype="float64")), X).inference == "proven"


def test_auto_takes_jets_where_nested_tapes_are_wrong():
    model = net(L.UpSampling2D(2, interpolation="bilinear", dtype="float64"), 1)
    jets = keras_smooth.derivatives(model, X, 2, engine="jet")
    for found, expected in zip(keras_smooth.derivatives(model, X, 2), jets, strict=True):
        np.testing.assert_array_equal(found, expected)


def flat(x):
    return tf.reshape(x, (x.shape[0], -1))


# What a function computes of images only: of its operations for other shapes nothing follows.
OF_IMAGES = {
    "bilinear": lambda x: (
        flat(tf.sin(tf.image.resize(tf.tanh(x), (3, 3))))
        + tf.cast(flat(tf.tanh(x))[:, :1], "float32")
    ),
    "behind a product": lambda x: flat(
        tf.image.resize(x * x, (3, 3)) * tf.cast(x[:, :1, :1], "float32")
    ),
}


@pytest.mark.parametrize("name", OF_IMAGES)
def test_slopes_of_a_function_that_depends_on_the_shape_lose_nothing(name):
    def function(x):
        return OF_IMAGES[name](x) if len(x.shape) == 4 else tf.sin(x)

    _, found = keras_smooth.directional(function, tf.constant(X), V, 1, engine="tape")
    expected = slope_by_differences(function)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * np.abs(expected).max())


def test_numbers_of_a_function_that_depends_on_the_shape_are_finite():
    """Two sweeps an order need derivatives of order 4, of which TensorFlow has NaN."""

    def function(x):
        return flat(tf.math.cumulative_logsumexp(x, 1))[:, :2] if len(x.shape) == 4 else x

    found = keras_smooth.directional(function, tf.constant(X), V, 2, engine="tape")[2]
    exact, error = derivative(lambda t: np.asarray(function(tf.constant(X + t * V))), 2)
    np.testing.assert_allclose(found, exact, atol=1e-9 + 30 * error)
