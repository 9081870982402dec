"""Limits of verified derivatives: each number by its own size and by the rounding of y."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from verification_study import study

import keras_smooth
from keras_smooth.differentiation.agreements import Measured, agree

SINGLE, DOUBLE = 2.0**-23, 2.0**-52


def compared(found, finer=None, k=1, digits=DOUBLE, **fields):
    """Returns how numbers agree with differences, which are 1 unless told otherwise.

    Args:
        found, finer, k: As for `agree`.
        digits: Rounding of the dtype of `found`.
        fields: Of `Measured`; `rounding` is the error and `size` the value if not given.
    """
    fields = {"value": 1.0, "error": 0.0, "variation": 0.0, "steepest": 0.0} | fields
    fields = {"size": np.abs(fields["value"]), "rounding": fields["error"]} | fields
    found = np.atleast_2d(found).astype(float)
    rows = {name: np.broadcast_to(field, found.shape) for name, field in fields.items()}
    finer = None if finer is None else np.broadcast_to(finer, found.shape)
    return agree("dy", k, found, Measured(**rows), digits, finer)


VERIFIED, DIFFERS, FEW_DIGITS, CANNOT_TELL = "verified", "differs", "few digits", "unknown"


def outcome(row):
    if row.ok:
        return VERIFIED
    if not row.enough_digits:
        return FEW_DIGITS
    return DIFFERS if row.difference > 3 * row.error else CANNOT_TELL


# Arguments of `compared`, and what comes of them. Each limit is met from both sides.
LIMITS = {
    "half of the digits": (dict(found=1 + 1.4e-8), VERIFIED),
    "more than half of the digits": (dict(found=1 + 1.6e-8), DIFFERS),
    "half of the digits of float32": (dict(found=1 + 3.4e-4, digits=SINGLE), VERIFIED),
    "more in float32": (dict(found=1 + 3.6e-4, digits=SINGLE), DIFFERS),
    "d3y has fewer": (dict(found=1 + 5e-7, k=3), VERIFIED),
    "and not fewer than that": (dict(found=1 + 6e-7, k=3), DIFFERS),
    "float16 never less than two digits": (
        dict(found=1 + 2.1e-3, digits=2.0**-10),
        DIFFERS,
    ),
    "error of two digits": (dict(found=1.0, error=2.9e-3), VERIFIED),
    "error of less": (dict(found=1.0, error=3.1e-3), FEW_DIGITS),
    "that is not from rounding": (
        dict(found=1.0, error=3.1e-3, rounding=1e-6),
        CANNOT_TELL,
    ),
    "0 where nothing moves": (dict(found=0.0, value=0.0, error=1e-3), VERIFIED),
    "anything else there": (dict(found=1e-4, value=0.0, error=1e-3), FEW_DIGITS),
    "off by one error": (dict(found=1.0 + 2e-3, error=2e-3), VERIFIED),
    "1 % beside such an error": (dict(found=1.01 - 2e-3, error=2e-3), FEW_DIGITS),
    "100 % beside such an error": (dict(found=2.0, error=2e-3), DIFFERS),
    "through 0": (dict(found=0.0, value=0.0, size=1.0, error=2.9e-4), VERIFIED),
    "through 0, blurred": (dict(found=0.0, value=0.0, size=1.0, error=3.1e-4), FEW_DIGITS),
    "1 % near 0": (dict(found=0.0101, value=0.01, size=1.0), DIFFERS),
    "rounding of an engine near 0": (
        dict(found=1e-5, value=0.0, size=1.0, digits=SINGLE),
        VERIFIED,
    ),
    "more than that": (dict(found=2e-5, value=0.0, size=1.0, digits=SINGLE), DIFFERS),
    "0 all around": (
        dict(found=0.0, value=2e-5, size=9e-5, error=2.9e-5, variation=0.1),
        VERIFIED,
    ),
    "0 beside too little": (
        dict(found=0.0, value=2e-5, size=9e-5, error=3.1e-5, variation=0.1),
        FEW_DIGITS,
    ),
    "not 0 all around": (
        dict(found=2e-5, value=2e-5, size=1.3e-4, error=3e-5, variation=1.0),
        FEW_DIGITS,
    ),
    "not 0 where 0 is": (
        dict(found=1e-2, value=2e-5, size=9e-5, error=2.9e-5, variation=0.1),
        DIFFERS,
    ),
    "0 beside steep parts": (
        dict(found=0.0, value=0.0, error=9e-13, steepest=1.0),
        VERIFIED,
    ),
    "0 beside less steep ones": (
        dict(found=0.0, value=0.0, error=1.1e-12, steepest=1.0, variation=1e-15),
        FEW_DIGITS,
    ),
    "constant": (dict(found=0.0, value=0.0), VERIFIED),
    "seemingly constant": (dict(found=1e-3, value=0.0, rounding=1e-2), FEW_DIGITS),
    "constant, and said to be not": (dict(found=1.0, value=0.0, rounding=1e-2), DIFFERS),
    "no differences": (dict(found=1.0, error=np.inf, size=np.nan), CANNOT_TELL),
    "none, and endless variation": (
        dict(found=0.0, value=0.0, error=np.inf, variation=np.inf),
        CANNOT_TELL,
    ),
    "no number": (dict(found=np.nan), DIFFERS),
    "float32, float64 agrees": (
        dict(found=1 + 3.4e-4, finer=1.0, digits=SINGLE),
        VERIFIED,
    ),
    "float16 too coarse": (
        dict(found=1 + 2.1e-3, finer=1.0, digits=2.0**-10),
        FEW_DIGITS,
    ),
    "float32 too coarse": (dict(found=1.1, finer=1.0, digits=SINGLE), FEW_DIGITS),
    "float32 hides what float64 shows": (
        dict(found=1.0, finer=1 + 1e-7, digits=SINGLE),
        DIFFERS,
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits(name):
    arguments, expected = LIMITS[name]
    assert outcome(compared(**arguments)) == expected


def test_each_number_has_its_own_limit():
    """One that is off is found beside a million times larger ones, in any order."""
    value = np.array([[1e6, 1.0], [1.0, 1e6]])
    assert compared(value, value=value).ok
    for place in np.ndindex(2, 2):
        found = value.copy()
        found[place] *= 1.01
        row = compared(found, value=value)
        assert outcome(row) == DIFFERS and row.worst == place[0]
        assert row.difference == pytest.approx(0.01 * value[place])


def test_what_is_told_is_the_worst():
    value = np.ones((3, 1))
    # Without digits, off by little, off by much.
    error = np.array([[0.5], [0.0], [0.0]])
    row = compared(value + [[0.0], [0.01], [0.1]], value=value, error=error)
    assert (row.worst, row.enough_digits) == (2, True)
    assert row.difference == pytest.approx(0.1) and row.error == 0.0
    # What is wrong comes before what cannot be told, by whatever factor.
    error[2] = 1e-3
    row = compared(value + [[0.0], [0.0], [0.1]], value=value, error=error)
    assert (row.worst, row.enough_digits) == (2, True)
    # What is exactly 0 has no part in it, and divides nothing by 0.
    row = compared([[0.0], [1.1]], value=[[0.0], [1.0]])
    assert (row.worst, row.ok) == (1, False)
    # Where all agree it is the largest bound, and so `bound` holds for all.
    row = compared(value + [[0.0], [1e-9], [2e-9]], value=value)
    assert row.ok and row.worst == 2 and row.bound == pytest.approx(2e-9)
    assert row.scale == 1 + 2e-9


@tf.custom_gradient
def curvature_off(x):
    return tf.sin(x), lambda upstream: upstream * (tf.cos(tf.stop_gradient(x)) + 0 * x)


def steep_and_flat(x):
    """Right where it is steep, and off by a half below 0."""
    y = tf.exp(9.0 * x)
    share = 0.5 * tf.cast(x < 0, x.dtype)
    return y + share * (y - tf.stop_gradient(y))


def beside(function, offset):
    """Returns two outputs, of which a right one is large."""
    return lambda x: tf.concat([function(x), offset * tf.exp(x)], axis=1)


# Function, order, dtype.
WRONG = {
    "product, float32": (lambda x: 101325.0 + x * tf.stop_gradient(x), 1, "float32"),
    "product, float64": (lambda x: 1e9 + x * tf.stop_gradient(x), 1, "float64"),
    "product in order 2": (lambda x: 1e9 + x * x * tf.stop_gradient(x), 2, "float64"),
    "curvature": (lambda x: 1e6 + curvature_off(x), 2, "float64"),
    "curvature, float32": (lambda x: 1e3 + curvature_off(x), 2, "float32"),
    "1 %": (lambda x: 1e7 + 1.01 * tf.sin(x) - 0.01 * tf.stop_gradient(tf.sin(x)), 1, "float64"),
    "flat beside steep": (steep_and_flat, 1, "float64"),
    "flat beside steep, float32": (steep_and_flat, 2, "float32"),
    "beside a large output": (beside(curvature_off, 1e9), 2, "float64"),
    "beside a large output, float32": (beside(curvature_off, 1e9), 2, "float32"),
    "far away": (lambda x: 1e9 + tf.stop_gradient(tf.sin(x)) + 0 * x, 1, "float64"),
}  # fmt: skip


def only_float32(x):
    if x.dtype != "float32":
        raise TypeError("It computes in float32.")
    return x


X = np.array([[-2.0], [0.3], [1.2]])


@pytest.mark.parametrize("name", WRONG)
def test_no_size_of_y_hides_a_wrong_derivative(name):
    function, order, dtype = WRONG[name]
    with pytest.raises(ValueError, match="differs by"):
        # Jets differentiate what is computed, so that they are right here.
        keras_smooth.derivatives(
            function, X.astype(dtype), order, engine="tape", verify=True
        )


@pytest.mark.parametrize("name", [name for name in WRONG if "float32" in name])
def test_nor_where_only_float32_can_be_had(name):
    function, order, dtype = WRONG[name]
    with pytest.raises(ValueError, match="differs by|not enough digits in float32"):
        keras_smooth.derivatives(
            lambda x: function(only_float32(x)),
            X.astype(dtype),
            order,
            engine="tape",
            verify=True,
        )


# Function and order; all have the digits in float64, and float32 is compared in it.
RIGHT = {
    "offset": (lambda x: 1e9 + tf.sin(x), 2),
    "linear": (lambda x: 1e9 + 3.0 * x + 0.0 * x**3, 3),
    "constant": (lambda x: 5.0 + 0.0 * x**3, 2),
    "odd at 0": (lambda x: tf.sin(x - tf.cast(0.3, x.dtype)), 2),
    "even at 0": (lambda x: tf.cos(x - tf.cast(0.3, x.dtype)), 1),
    "steep and flat": (lambda x: tf.exp(9.0 * x), 2),
    "flat beside a step": (lambda x: 0.3 + tf.exp(-10.0 * (x - 0.6) ** 2), 1),
    "beside a large output": (beside(tf.sin, 1e9), 2),
    "through 0 at a point": (lambda x: 100.0 * (x - 1.2) ** 3 * (x - 0.3), 2),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", RIGHT)
def test_right_ones_pass_whatever_the_size_of_y(name, dtype):
    function, order = RIGHT[name]
    found = keras_smooth.derivatives(function, X.astype(dtype), order, verify=True)
    assert found.verification.ok and found.verification.dtype == dtype


# Function, dtype and the remedy.
NOT_ENOUGH = {
    "float32": (lambda x: 1e6 + tf.sin(only_float32(x)), "float32: use float64"),
    "float32, all lost": (lambda x: 1e9 + tf.sin(only_float32(x)), "float32: use float64"),
    "float64": (lambda x: 1e14 + tf.sin(x), "float64: .*subtract a constant from y"),
    "unseen": (lambda x: 1e9 + 1e-9 * tf.sin(x), "float64: .*subtract a constant from y"),
}


@pytest.mark.parametrize("name", NOT_ENOUGH)
def test_what_rounding_leaves_no_digits_of_is_not_verified(name):
    function, remedy = NOT_ENOUGH[name]
    dtype = remedy.split(":")[0]
    with pytest.raises(ValueError, match=f"(?s)not enough digits in {remedy}"):
        keras_smooth.gradient(function, X.astype(dtype), verify=True)


def test_float32_within_float64_is_seen():
    """The dtype of y tells nothing of a rounding within: the scatter of its values does."""

    def inside(x, share=0.0):
        y = tf.cast(tf.sin(tf.cast(x, "float32")), "float64")
        return y + share * (y - tf.stop_gradient(y))

    error = keras_smooth.gradient(inside, X, verify=True).verification["dy"].error
    # Measured: 2e-7, where float64 leaves 1e-14.
    assert 1e-8 < error < 1e-5
    with pytest.raises(ValueError, match="differs by"):
        keras_smooth.gradient(lambda x: inside(x, 0.01), X, engine="tape", verify=True)


def test_a_coarser_layer_is_the_reason_where_y_is_in_float64():
    layers = [
        keras.layers.Dense(4, "tanh", dtype=dtype) for dtype in ("float32", "float64")
    ]
    layers[0].build((None, 1))
    model = keras.Sequential([keras.Input((1,), dtype="float64"), *layers])
    with pytest.raises(ValueError, match="3 points, float32(?s:.*)in float32: use float64"):
        keras_smooth.derivatives(model, X, verify=True)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tape", "jet"])
def test_deep_nets_in_float32(engine, rng):
    layers = [keras.layers.Dense(20, "tanh") for _ in range(8)]
    model = keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1)])
    x = rng.uniform(-1, 1, (50, 2))
    found = keras_smooth.derivatives(model, x, engine=engine, verify=True)
    # Rounding of float32 in its derivatives alone. Measured: 2e-7.
    assert all(row.bound < 1e-5 for row in found.verification.agreements)
    assert found.verification.dtype == "float32"


@pytest.mark.slow
def test_functions_that_are_drawn():
    """The short form of `tests/verification_study.py`."""
    told = []
    counts = study(60, 7, told.append)
    assert not told
    verified = sum(
        n for (_, word, end), n in counts.items() if (word, end) == ("right", VERIFIED)
    )
    refused = sum(n for (_, word, _), n in counts.items() if word == "wrong")
    assert verified >= 20 and refused >= 20
