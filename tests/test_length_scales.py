"""verify=True if x is large or small relative to the length on which a function changes."""

import math

import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_smooth


def net(u):
    return ops.tanh(1.3 * u - 0.4) - 0.7 * ops.tanh(0.8 * u + 0.9) + 0.2 * ops.tanh(2.1 * u)


FUNCTIONS = {"sin": ops.sin, "tanh": ops.tanh, "exp": ops.exp, "net": net}
# Points at distances of half the length on which the function changes, and a single point.
UNITS = {"a length": np.linspace(-1.1, 1.3, 5)[:, None], "one point": np.array([[0.3]])}
# Shifts and lengths, if a length has at least 1e5 numbers of float64.
SCALES = [
    (shift, length)
    for shift in (0.0, 1e3, 1e5, 1e6)
    for length in (1e-9, 1e-6, 1e-3, 1.0, 1e3, 1e6)
    if length >= 1e5 * np.spacing(shift)
]


def scaled(function, scale):
    """Returns a function of the scaled x, with derivatives of all orders for tapes."""
    shift, length = scale
    return lambda x: function((x - shift) / length) + 0.0 * x**4


def outcome(function, x, order=2, **options):
    """Returns "verified", "wrong" or "unknown"."""
    try:
        keras_smooth.derivatives(function, x, order, verify=True, **options)
    except ValueError as error:
        assert "could not be verified" in str(error)
        return "wrong" if "differs by" in str(error) else "unknown"
    return "verified"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_correct_derivatives_are_verified_at_all_scales(name, units, dtype):
    """All orders up to 3 at once."""
    outcomes = {
        scale: outcome(
            scaled(FUNCTIONS[name], scale),
            (scale[0] + scale[1] * UNITS[units]).astype(dtype),
            3,
        )
        for scale in SCALES
        # float32 rounds x before the shift is subtracted.
        if scale[1] >= 1e5 * np.spacing(np.asarray(scale[0], dtype))
    }
    assert set(outcomes.values()) == {"verified"}, outcomes


@tf.custom_gradient
def wrong_by_ten_percent(u):
    """All derivatives are off by 10 %."""
    return tf.tanh(u), lambda upstream: 1.1 * upstream * (1 - tf.tanh(u) ** 2)


@tf.custom_gradient
def lost_from_order_2(u):
    """The derivatives from order 2 on are 0."""
    return tf.tanh(u), lambda upstream: upstream * tf.stop_gradient(1 - tf.tanh(u) ** 2)


@pytest.mark.filterwarnings("ignore:.*stopped, replaced or at some points wrong")
@pytest.mark.filterwarnings("ignore:.*declares another gradient")
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("wrong", [wrong_by_ten_percent, lost_from_order_2])
def test_wrong_derivatives_raise_at_all_scales(wrong, units):
    outcomes = {
        (shift, length): outcome(
            scaled(wrong, (shift, length)), shift + length * UNITS[units], engine="tape"
        )
        for shift, length in SCALES
    }
    assert set(outcomes.values()) == {"wrong"}, outcomes


UNRESOLVED = {
    "every number": (ops.sin, 1e15 + np.arange(5.0)[:, None]),
    "every few numbers": (lambda x: ops.sin(x * 1e14), UNITS["a length"]),
}


@pytest.mark.parametrize("name", UNRESOLVED)
def test_function_that_changes_within_a_few_spacings_is_unknown(name):
    assert outcome(*UNRESOLVED[name]) == "unknown"


COLUMNS = [(1.0, 1e-6), (1e3, 1e-3), (1e6, 1.0), (350.0, 1e-6), (1.0, 1e5)]


@pytest.mark.filterwarnings("ignore:.*stopped, replaced or at some points wrong")
@pytest.mark.filterwarnings("ignore:.*declares another gradient")
@pytest.mark.parametrize("lengths", COLUMNS, ids=str)
def test_columns_of_different_scales_are_verified(lengths, rng):
    x = rng.uniform(-1, 1, (6, 2)) * lengths

    def of_columns(function):
        return lambda x: (
            function(
                ops.sum(x / np.array(lengths) * [1.0, 0.7], axis=1, keepdims=True) + 0.1
            )
            + 0.0 * ops.sum(x, axis=1, keepdims=True) ** 4
        )

    assert outcome(of_columns(ops.tanh), x) == "verified"
    keras_smooth.laplacian(of_columns(ops.tanh), x, verify=True)
    for wrong in (wrong_by_ten_percent, lost_from_order_2):
        assert outcome(of_columns(wrong), x, engine="tape") == "wrong"


@pytest.mark.filterwarnings("ignore:.*stopped, replaced or at some points wrong")
@pytest.mark.filterwarnings("ignore:.*declares another gradient")
@pytest.mark.parametrize("lengths", COLUMNS, ids=str)
def test_small_wrong_derivative_among_large_ones_raises(lengths, rng):
    x = np.sort(rng.uniform(0.2, 1.0, (6, 2)), axis=0) * lengths

    def function(x):
        y = lost_from_order_2(x[:, :1] / lengths[0]) + ops.tanh(x[:, 1:] / lengths[1])
        return y + 0.0 * ops.sum(x, axis=1, keepdims=True) ** 4

    assert outcome(function, x, engine="tape") == "wrong"


def test_flat_columns_among_steep_ones_are_verified(rng):
    """Vectorized functions round by position, so that constants change by a rounding."""
    lengths = np.array([1.0, 1.0, 1e-6])

    def function(x):
        u = x / lengths
        steep = 1e6 * ops.tanh(u[:, 2:])
        lost_digits = ops.sin(u[:, :1]) + ops.exp(u[:, 2:]) - ops.exp(u[:, 2:] / 1.000001)
        return ops.concatenate([ops.sin(u[:, :1]), steep, lost_digits], axis=1)

    x = rng.uniform(-1, 1, (6, 3)) * lengths
    assert [outcome(function, x, order) for order in (1, 2, 3)] == 3 * ["verified"]


DATA = {
    "nm": (0.0, 1e-6),
    "unix time": (1.7e9, 1.0),
    "Julian day": (2.46e6, 1.0),
    "UTM": (5e6, 10.0),
}


@pytest.mark.parametrize("name", DATA)
def test_standardized_models_are_verified(make_model, name):
    shift, length = DATA[name]
    u = np.linspace(0.0, 1.0, 9)[:, None]
    x = shift + length * u
    model = keras_smooth.standardized(make_model(), x, np.sin(4.0 * u))
    assert outcome(model, x) == "verified"


class NeedsValues(layers.Layer):
    """A layer that cannot be traced, and changes on one length."""

    def __init__(self, shift, length):
        super().__init__(dtype="float64")
        self.shift, self.length = shift, length

    def call(self, x):
        if tf.is_symbolic_tensor(x) or bool(tf.reduce_any(tf.math.is_nan(x))):
            raise ValueError("It needs numbers.")
        return ops.tanh((x - self.shift) / self.length)


@pytest.mark.parametrize(("shift", "length"), [(1e5, 1.0), (0.0, 1e-7), (0.0, 1e6)])
def test_audit_of_a_layer_that_cannot_be_traced_is_checked(shift, length):
    x = shift + length * np.linspace(-1.0, 1.0, 9)[:, None]
    layer = NeedsValues(shift, length)
    layer(tf.constant(x))
    row = keras_smooth.audit(layer, x).rows[0]
    assert row.inference == row.training == "checked"


@pytest.mark.filterwarnings("ignore:.*has kinks")
@pytest.mark.filterwarnings("ignore:.*operations with kinks:UserWarning")
def test_rounding_inside_a_function_does_not_hide_its_slope():
    """Steps below a rounding to 2^-20 see straight pieces, which do not show the slope."""

    def rounded(x):
        y = tf.sin(x)
        return y + tf.stop_gradient(tf.round(y * 2.0**20) / 2.0**20 - y)

    x = np.array([[0.3], [math.pi / 4]])
    assert outcome(rounded, x, 1, engine="tape") == "verified"
