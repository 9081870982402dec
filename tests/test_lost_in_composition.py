"""Operations whose gradient has no gradient in TensorFlow, such as bilinear interpolation.

They are linear, so that their own y'' is right, but layers after them silently lose y''.
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
# For central differences of step 1e-2, of values that TensorFlow interpolates in float32.
TOLERANCE = 1e-3


def model_with(part, units=2):
    model = keras.Sequential([keras.Input((2, 2, 1), dtype="float64")])
    model.add(L.Activation("tanh", dtype="float64"))
    model.add(part)
    model.add(L.Flatten(dtype="float64"))
    model.add(keras_smooth.Dense(units, "tanh", dtype="float64"))
    return model


def model_with_another_path(part):
    """Returns a model that adds another path to the lost one, so that no derivative is None."""
    model = model_with(part)
    x = keras.Input((2, 2, 1), dtype="float64")
    other = L.Dense(2, "tanh", dtype="float64")(L.Flatten(dtype="float64")(x))
    return keras.Model(x, L.Add(dtype="float64")([model(x), other]))


def slope_by_differences(model, step=1e-2):
    def values(t):
        return np.asarray(model(X + t * V), "float64")

    difference, wide_difference = (values(t) - values(-t) for t in (step, 2 * step))
    return (8 * difference - wide_difference) / (12 * step)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "make",
    [model_with, model_with_another_path, lambda part: model_with(part, 40)],
    ids=["alone", "beside", "wide"],
)
def test_first_derivatives_by_tapes_are_right(name, compiled, make):
    model = make(PARTS[name]())
    if compiled and model.output_shape[-1] > 16:
        pytest.skip("in a graph only a few outputs are taken one by one")

    def evaluate(x):
        return keras_smooth.directional(model, x, V, 1, engine="tape")

    _, slope = (tf.function(evaluate, autograph=False) if compiled else evaluate)(
        tf.constant(X)
    )
    expected = slope_by_differences(model)
    np.testing.assert_allclose(slope, expected, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("name", PARTS)
def test_audit_reports_lost_second_derivatives(name):
    report = keras_smooth.audit(model_with(PARTS[name]()), X)
    (row,) = [row for row in report.rows if row.verdict != "proven"]
    assert (row.cause, row.order) == ("wrong", 2) and report.inference == "faulty"
    assert "ResizeBilinear has no right gradient from order 2 on" in row.reason
    if name != "Lambda":
        assert f"keras_smooth.layers.{name}" in row.remedy
    # The first derivative is right, with the precision of float32.
    causes = {
        row.cause for row in keras_smooth.audit(model_with(PARTS[name]()), X, order=1).rows
    }
    assert causes == {"", "imprecise"}


@pytest.mark.parametrize("name", ["UpSampling2D", "Resizing"])
def test_smoothen_replaces_the_layers_by_exact_ones(name):
    model = model_with(PARTS[name]())
    smooth = keras_smooth.smoothen(model, X)
    assert keras_smooth.audit(smooth, X).inference == "proven"
    entries = keras_smooth.derivatives(smooth, X, 2, engine="tape", verify=True)
    assert entries.verification.ok


def test_audit_proves_layers_that_lose_nothing():
    for kind, size in ((L.UpSampling2D, 2), (L.AveragePooling2D, 2), (L.ZeroPadding2D, 1)):
        assert (
            keras_smooth.audit(model_with(kind(size, dtype="float64")), X).inference
            == "proven"
        )


def test_auto_uses_jets_where_nested_tapes_are_wrong():
    model = model_with(L.UpSampling2D(2, interpolation="bilinear", dtype="float64"), 1)
    jets = keras_smooth.derivatives(model, X, 2, engine="jet")
    for entry, expected in zip(keras_smooth.derivatives(model, X, 2), jets, strict=True):
        np.testing.assert_array_equal(entry, expected)


def flat(x):
    return tf.reshape(x, (x.shape[0], -1))


# Functions that compute this for images only; for other shapes they have other operations.
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
def test_first_derivatives_of_a_function_of_images_are_right(name):
    def function(x):
        return OF_IMAGES[name](x) if len(x.shape) == 4 else tf.sin(x)

    _, slope = keras_smooth.directional(function, tf.constant(X), V, 1, engine="tape")
    expected = slope_by_differences(function)
    np.testing.assert_allclose(slope, expected, atol=TOLERANCE * np.abs(expected).max())


def test_second_derivatives_of_a_function_of_images_are_finite():
    """Two backward passes for each order need derivatives of order 4, which are NaN here."""

    def function(x):
        return flat(tf.math.cumulative_logsumexp(x, 1))[:, :2] if len(x.shape) == 4 else x

    second = keras_smooth.directional(function, tf.constant(X), V, 2, engine="tape")[2]
    exact, error = derivative(lambda t: np.asarray(function(tf.constant(X + t * V))), 2)
    np.testing.assert_allclose(second, exact, atol=1e-9 + 30 * error)
