"""Limits of verified derivatives, which depend on each number's size and on y's rounding."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from verification_study import study

import keras_smooth
from keras_smooth.differentiation.agreements import Measured, agree

SINGLE, DOUBLE = 2.0**-23, 2.0**-52


def compared(values, finer=None, k=1, digits=DOUBLE, **fields):
    """Returns how values agree with differences, which are 1 by default.

    Args:
        values, finer, k: As for `agree`.
        digits: Rounding of the dtype of `values`.
        fields: Fields of `Measured`; the defaults of `rounding` and `size` are error and value.
    """
    fields = {"value": 1.0, "error": 0.0, "variation": 0.0, "steepest": 0.0} | fields
    fields = {"size": np.abs(fields["value"]), "rounding": fields["error"]} | fields
    values = np.atleast_2d(values).astype(float)
    rows = {name: np.broadcast_to(field, values.shape) for name, field in fields.items()}
    finer = None if finer is None else np.broadcast_to(finer, values.shape)
    return agree("dy", k, values, Measured(**rows), digits, finer)


VERIFIED, DIFFERS, FEW_DIGITS, CANNOT_TELL = "verified", "differs", "few digits", "unknown"


def outcome(row):
    if row.ok:
        return VERIFIED
    if not row.enough_digits:
        return FEW_DIGITS
    return DIFFERS if row.difference > 3 * row.error else CANNOT_TELL


# Arguments of `compared`, and the expected outcome. Each limit is tested from both sides.
LIMITS = {
    "half of the digits": (dict(values=1 + 1.4e-8), VERIFIED),
    "more than half of the digits": (dict(values=1 + 1.6e-8), DIFFERS),
    "half of the digits of float32": (dict(values=1 + 3.4e-4, digits=SINGLE), VERIFIED),
    "more than half of the digits of float32": (
        dict(values=1 + 3.6e-4, digits=SINGLE),
        DIFFERS,
    ),
    "fewer digits of d3y": (dict(values=1 + 5e-7, k=3), VERIFIED),
    "too few digits of d3y": (dict(values=1 + 6e-7, k=3), DIFFERS),
    "float16 never less than two digits": (
        dict(values=1 + 2.1e-3, digits=2.0**-10),
        DIFFERS,
    ),
    "error of two digits": (dict(values=1.0, error=2.9e-3), VERIFIED),
    "error of less than two digits": (dict(values=1.0, error=3.1e-3), FEW_DIGITS),
    "large error that is not from rounding": (
        dict(values=1.0, error=3.1e-3, rounding=1e-6),
        CANNOT_TELL,
    ),
    "0 where nothing moves": (dict(values=0.0, value=0.0, error=1e-3), VERIFIED),
    "not 0 where nothing moves": (dict(values=1e-4, value=0.0, error=1e-3), FEW_DIGITS),
    "off by one error": (dict(values=1.0 + 2e-3, error=2e-3), VERIFIED),
    "1 % beside such an error": (
        dict(values=1.01 - 2e-3, error=2e-3),
        FEW_DIGITS,
    ),
    "100 % beside such an error": (dict(values=2.0, error=2e-3), DIFFERS),
    "through 0": (dict(values=0.0, value=0.0, size=1.0, error=2.9e-4), VERIFIED),
    "through 0, blurred": (dict(values=0.0, value=0.0, size=1.0, error=3.1e-4), FEW_DIGITS),
    "1 % near 0": (dict(values=0.0101, value=0.01, size=1.0), DIFFERS),
    "rounding of an engine near 0": (
        dict(values=1e-5, value=0.0, size=1.0, digits=SINGLE),
        VERIFIED,
    ),
    "more than the rounding of an engine near 0": (
        dict(values=2e-5, value=0.0, size=1.0, digits=SINGLE),
        DIFFERS,
    ),
    "0 all around": (
        dict(values=0.0, value=2e-5, size=9e-5, error=2.9e-5, variation=0.1),
        VERIFIED,
    ),
    "0 with a too large error": (
        dict(values=0.0, value=2e-5, size=9e-5, error=3.1e-5, variation=0.1),
        FEW_DIGITS,
    ),
    "not 0 all around": (
        dict(values=2e-5, value=2e-5, size=1.3e-4, error=3e-5, variation=1.0),
        FEW_DIGITS,
    ),
    "not 0 where 0 is": (
        dict(values=1e-2, value=2e-5, size=9e-5, error=2.9e-5, variation=0.1),
        DIFFERS,
    ),
    "0 beside steep parts": (
        dict(values=0.0, value=0.0, error=9e-13, steepest=1.0),
        VERIFIED,
    ),
    "0 beside less steep ones": (
        dict(values=0.0, value=0.0, error=1.1e-12, steepest=1.0, variation=1e-15),
        FEW_DIGITS,
    ),
    "constant": (dict(values=0.0, value=0.0), VERIFIED),
    "seemingly constant": (dict(values=1e-3, value=0.0, rounding=1e-2), FEW_DIGITS),
    "constant, and its derivative is not 0": (
        dict(values=1.0, value=0.0, rounding=1e-2),
        DIFFERS,
    ),
    # The second sample is small, and the error of the differences is larger than it is.
    "unresolved beside a large one": (
        dict(values=[[1.0], [0.0]], value=[[1.0], [4e-10]], error=[[0.0], [5e-10]]),
        VERIFIED,
    ),
    "unresolved, and not small": (
        dict(values=[[1.0], [0.0]], value=[[1.0], [6e-10]], error=[[0.0], [5e-10]]),
        FEW_DIGITS,
    ),
    "small, resolved and wrong": (
        dict(values=[[1.0], [0.0]], value=[[1.0], [4e-10]], error=[[0.0], [1e-12]]),
        DIFFERS,
    ),
    "small, resolved and rounded": (
        dict(values=[[1.0], [2e-14]], value=[[1.0], [0.0]], error=[[0.0], [1e-20]]),
        VERIFIED,
    ),
    "small, resolved and not rounded": (
        dict(values=[[1.0], [3e-14]], value=[[1.0], [0.0]], error=[[0.0], [1e-20]]),
        DIFFERS,
    ),
    "unresolved beside one without differences": (
        dict(values=[[1.0], [0.0]], value=[[1.0], [0.0]], error=[[np.inf], [1e-10]]),
        CANNOT_TELL,
    ),
    "float32 rounds to 0 beside a large one": (
        dict(
            values=[[1.0], [0.0]],
            value=[[1.0], [1e-5]],
            finer=[[1.0], [1e-5]],
            digits=SINGLE,
        ),
        VERIFIED,
    ),
    "float32 rounds to 0, not small": (
        dict(
            values=[[1.0], [0.0]],
            value=[[1.0], [2e-5]],
            finer=[[1.0], [2e-5]],
            digits=SINGLE,
        ),
        FEW_DIGITS,
    ),
    "no differences": (dict(values=1.0, error=np.inf, size=np.nan), CANNOT_TELL),
    "no differences, and infinite variation": (
        dict(values=0.0, value=0.0, error=np.inf, variation=np.inf),
        CANNOT_TELL,
    ),
    "no number": (dict(values=np.nan), DIFFERS),
    "float32, float64 agrees": (
        dict(values=1 + 3.4e-4, finer=1.0, digits=SINGLE),
        VERIFIED,
    ),
    "float16 too coarse": (
        dict(values=1 + 2.1e-3, finer=1.0, digits=2.0**-10),
        FEW_DIGITS,
    ),
    "float32 too coarse": (dict(values=1.1, finer=1.0, digits=SINGLE), FEW_DIGITS),
    "float64 agrees within the error only": (
        dict(values=1.0, finer=1 + 3e-8, error=1e-8, digits=SINGLE),
        FEW_DIGITS,
    ),
    "float32 hides what float64 shows": (
        dict(values=1.0, finer=1 + 1e-7, digits=SINGLE),
        DIFFERS,
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_agreement_has_the_expected_outcome(name):
    arguments, expected = LIMITS[name]
    assert outcome(compared(**arguments)) == expected


def test_each_number_is_compared_by_its_own_size():
    """A wrong number is detected among a million times larger ones, at any index."""
    value = np.array([[1e6, 1.0], [1.0, 1e6]])
    assert compared(value, value=value).ok
    for index in np.ndindex(2, 2):
        values = value.copy()
        values[index] *= 1.01
        row = compared(values, value=value)
        assert outcome(row) == DIFFERS and row.worst == index[0]
        assert row.difference == pytest.approx(0.01 * value[index])


def test_agreement_reports_the_worst_number():
    value = np.ones((3, 1))
    # Not enough digits, a small error, a large error.
    error = np.array([[0.5], [0.0], [0.0]])
    row = compared(value + [[0.0], [0.01], [0.1]], value=value, error=error)
    assert (row.worst, row.enough_digits) == (2, True)
    assert row.difference == pytest.approx(0.1) and row.error == 0.0
    # A wrong number comes before one that cannot be decided, whatever the factors.
    error[2] = 1e-3
    row = compared(value + [[0.0], [0.0], [0.1]], value=value, error=error)
    assert (row.worst, row.enough_digits) == (2, True)
    # An exact 0 is ignored, and does not lead to a division by 0.
    row = compared([[0.0], [1.1]], value=[[0.0], [1.0]])
    assert (row.worst, row.ok) == (1, False)
    # If all agree it is the one with the largest bound, so that `bound` holds for all.
    row = compared(value + [[0.0], [1e-9], [2e-9]], value=value)
    assert row.ok and row.worst == 2 and row.bound == pytest.approx(2e-9)
    assert row.scale == 1 + 2e-9


@tf.custom_gradient
def wrong_curvature(x):
    return tf.sin(x), lambda upstream: upstream * (tf.cos(tf.stop_gradient(x)) + 0 * x)


def steep_and_flat(x):
    """Has a right derivative where it is steep, and one that is wrong by a half below 0."""
    y = tf.exp(9.0 * x)
    share = 0.5 * tf.cast(x < 0, x.dtype)
    return y + share * (y - tf.stop_gradient(y))


def with_large_output(function, offset):
    """Returns a function with two outputs, of which the second is large and right."""
    return lambda x: tf.concat([function(x), offset * tf.exp(x)], axis=1)


# Function, order, dtype.
WRONG = {
    "product, float32": (lambda x: 101325.0 + x * tf.stop_gradient(x), 1, "float32"),
    "product, float64": (lambda x: 1e9 + x * tf.stop_gradient(x), 1, "float64"),
    "product in order 2": (lambda x: 1e9 + x * x * tf.stop_gradient(x), 2, "float64"),
    "curvature": (lambda x: 1e6 + wrong_curvature(x), 2, "float64"),
    "curvature, float32": (lambda x: 1e3 + wrong_curvature(x), 2, "float32"),
    "1 %": (lambda x: 1e7 + 1.01 * tf.sin(x) - 0.01 * tf.stop_gradient(tf.sin(x)), 1, "float64"),
    "flat beside steep": (steep_and_flat, 1, "float64"),
    "flat beside steep, float32": (steep_and_flat, 2, "float32"),
    "beside a large output": (with_large_output(wrong_curvature, 1e9), 2, "float64"),
    "beside a large output, float32": (with_large_output(wrong_curvature, 1e9), 2, "float32"),
    "far away": (lambda x: 1e9 + tf.stop_gradient(tf.sin(x)) + 0 * x, 1, "float64"),
}  # fmt: skip


def only_float32(x):
    if x.dtype != "float32":
        raise TypeError("It computes in float32.")
    return x


X = np.array([[-2.0], [0.3], [1.2]])


@pytest.mark.parametrize("name", WRONG)
def test_wrong_derivatives_raise_whatever_the_size_of_y(name):
    function, order, dtype = WRONG[name]
    with pytest.raises(ValueError, match="differs by"):
        # Tapes, since jets differentiate what is computed and are right here.
        keras_smooth.derivatives(
            function, X.astype(dtype), order, engine="tape", verify=True
        )


@pytest.mark.parametrize("name", [name for name in WRONG if "float32" in name])
def test_wrong_derivatives_of_float32_functions_raise(name):
    function, order, dtype = WRONG[name]
    with pytest.raises(ValueError, match="differs by|not enough digits in float32"):
        keras_smooth.derivatives(
            lambda x: function(only_float32(x)),
            X.astype(dtype),
            order,
            engine="tape",
            verify=True,
        )


# Function and order. Float64 has enough digits for all, and float32 is compared in float64.
RIGHT = {
    "offset": (lambda x: 1e9 + tf.sin(x), 2),
    "linear": (lambda x: 1e9 + 3.0 * x + 0.0 * x**3, 3),
    "constant": (lambda x: 5.0 + 0.0 * x**3, 2),
    "odd at 0": (lambda x: tf.sin(x - tf.cast(0.3, x.dtype)), 2),
    "even at 0": (lambda x: tf.cos(x - tf.cast(0.3, x.dtype)), 1),
    "steep and flat": (lambda x: tf.exp(9.0 * x), 2),
    "flat beside a step": (lambda x: 0.3 + tf.exp(-10.0 * (x - 0.6) ** 2), 1),
    "beside a large output": (with_large_output(tf.sin, 1e9), 2),
    "through 0 at a point": (lambda x: 100.0 * (x - 1.2) ** 3 * (x - 0.3), 2),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", RIGHT)
def test_right_derivatives_pass_whatever_the_size_of_y(name, dtype):
    function, order = RIGHT[name]
    entries = keras_smooth.derivatives(function, X.astype(dtype), order, verify=True)
    assert entries.verification.ok and entries.verification.dtype == dtype


def saturated(activation, dtype):
    """Returns a net of which most units are saturated at most points."""
    normal = keras.initializers.RandomNormal
    model = keras.Sequential([keras.Input((2,), dtype=dtype)])
    for seed, stddev in enumerate((3.0, 1.0)):
        kernel = normal(stddev=stddev, seed=seed)
        model.add(
            keras.layers.Dense(20, activation, kernel_initializer=kernel, dtype=dtype)
        )
    model.add(
        keras.layers.Dense(1, kernel_initializer=normal(stddev=1.0, seed=2), dtype=dtype)
    )
    return model


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_derivatives_of_saturated_networks_are_verified(activation, dtype, rng):
    model, x = saturated(activation, dtype), 10 * rng.normal(size=(100, 2))
    for operator in (keras_smooth.gradient, keras_smooth.hessian, keras_smooth.laplacian):
        row = operator(model, x, verify=True).verification.agreements[-1]
        # Many derivatives are smaller than the error of the differences.
        assert row.ok and row.bound < 1e-5 * row.scale


def resized(x):
    """Returns x, by an operation whose result is in float32 whatever the dtype of x."""
    images = tf.image.resize(tf.reshape(only_float32(x), (-1, 1, 1, 1)), (2, 2))
    return tf.reshape(images[:, 0, 0], tf.shape(x))


# Function, dtype and the remedy.
NOT_ENOUGH = {
    "float32": (lambda x: 1e6 + tf.sin(resized(x)), "float32: use float64"),
    "float32, all lost": (lambda x: 1e9 + tf.sin(resized(x)), "float32: use float64"),
    "float64": (lambda x: 1e14 + tf.sin(x), "float64: .*subtract a constant from y"),
    "unseen": (lambda x: 1e9 + 1e-9 * tf.sin(x), "float64: .*subtract a constant from y"),
}


@pytest.mark.parametrize("name", NOT_ENOUGH)
def test_derivatives_lost_in_rounding_raise_with_a_remedy(name):
    function, remedy = NOT_ENOUGH[name]
    dtype = remedy.split(":")[0]
    with pytest.raises(ValueError, match=f"(?s)not enough digits in {remedy}"):
        keras_smooth.gradient(function, X.astype(dtype), verify=True)


@pytest.mark.parametrize("offset", [1e6, 1e9])
def test_offset_in_float32_is_left_out_by_operations_in_float64(offset):
    values = keras_smooth.gradient(
        lambda x: offset + tf.sin(only_float32(x)), X.astype("float32"), verify=True
    )
    np.testing.assert_allclose(values, np.cos(X), rtol=1e-6)
    assert values.verification["dy"].bound < 1e-4


def test_float32_inside_a_float64_function_is_detected():
    """The dtype of y does not show a rounding inside the model; the scatter of y does."""

    def rounded(x, share=0.0):
        y = tf.cast(tf.sin(tf.cast(x, "float32")), "float64")
        return y + share * (y - tf.stop_gradient(y))

    error = keras_smooth.gradient(rounded, X, verify=True).verification["dy"].error
    # Measured: 2e-7, where float64 has 1e-14.
    assert 1e-8 < error < 1e-5
    with pytest.raises(ValueError, match="differs by"):
        keras_smooth.gradient(lambda x: rounded(x, 0.01), X, engine="tape", verify=True)


def test_float32_layer_is_named_where_y_is_float64():
    layers = [
        keras.layers.Dense(4, "tanh", dtype=dtype) for dtype in ("float32", "float64")
    ]
    layers[0].build((None, 1))
    model = keras.Sequential([keras.Input((1,), dtype="float64"), *layers])
    with pytest.raises(ValueError, match="3 points, float32(?s:.*)in float32: use float64"):
        keras_smooth.derivatives(model, X, verify=True)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tape", "jet"])
def test_deep_networks_in_float32_are_verified(engine, rng):
    layers = [keras.layers.Dense(20, "tanh") for _ in range(8)]
    model = keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1)])
    x = rng.uniform(-1, 1, (50, 2))
    entries = keras_smooth.derivatives(model, x, engine=engine, verify=True)
    # Rounding of float32, which only the derivatives have. Measured: 2e-7.
    assert all(row.bound < 1e-5 for row in entries.verification.agreements)
    assert entries.verification.dtype == "float32"


@pytest.mark.slow
def test_random_functions_are_verified_or_refused():
    """A short form of `tests/verification_study.py`."""
    unexpected = []
    counts = study(60, 7, unexpected.append)
    assert not unexpected
    verified = sum(
        n
        for (_, quality, result), n in counts.items()
        if (quality, result) == ("right", VERIFIED)
    )
    refused = sum(n for (_, quality, _), n in counts.items() if quality == "wrong")
    assert verified >= 20 and refused >= 20
