"""Audits of graphs: what their operations never get is no fault of theirs, what they do is.

Poles, ends of domains, branch cuts, steps through booleans and integers, masks, and inputs
that cancel.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from audit_words import cause
from fresh_start import set_random_seed
from keras import ops

import keras_smooth

L = keras.layers


class OfTwo(L.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def get_config(self):
        return {**super().get_config(), "function": self.function}

    def call(self, x, y):
        return self.function(x, y)


def _model(function, size=3):
    x = keras.Input((size,))
    return keras.Model(x, function(x))


def _with_hidden(function):
    return _model(lambda x: function(x, L.Dense(3, "tanh")(x)))


def _of_sequences(*layers):
    return keras.Sequential([keras.Input((4, 2)), *layers])


RIGHT = {
    "root": lambda: _model(lambda x: ops.sqrt(1 + ops.square(x))),
    "root of one over": lambda: _model(lambda x: x * ops.rsqrt(1 + x * x)),
    "power": lambda: _model(lambda x: ops.power(2 + ops.sin(x), 0.7)),
    "logarithm": lambda: _model(lambda x: ops.log(1.5 + ops.sin(x))),
    "quotient": lambda: _model(lambda x: 1 / (2 + ops.cos(x))),
    "quotient of two": lambda: _with_hidden(lambda x, y: x / (y + 3)),
    "branch cut": lambda: _with_hidden(lambda x, y: ops.arctan2(x, y + 3)),
    "bounds far away": lambda: _model(lambda x: ops.clip(x, -1e3, 1e3)),
    "constant condition": lambda: _model(lambda x: ops.where(True, ops.sin(x), x)),
    "in a layer": lambda: _model(lambda x: L.Lambda(ops.log)(1 + ops.square(x))),
    "difference": lambda: _with_hidden(lambda x, y: x - y),
    "one number off": lambda: _model(lambda x: x - ops.logsumexp(x, -1, keepdims=True)),
    "cancels": lambda: _with_hidden(
        OfTwo(lambda x, y: ops.sin(x) * y - x * ops.sin(y))
    ),
    "mask": lambda: _of_sequences(L.Masking(), L.LSTM(2)),
    "mask at depth": lambda: _of_sequences(_of_sequences(L.Masking()), L.GRU(2)),
}  # fmt: skip
WRONG = {
    "root of a square": lambda: _model(lambda x: ops.sqrt(ops.square(x))),
    "comparison": lambda: _model(lambda x: x * ops.cast(x > 0.1, x.dtype)),
    "integers": lambda: _model(lambda x: x + ops.cast(ops.cast(3 * x, "int32"), x.dtype)),
    "place of the largest": lambda: _model(
        lambda x: x * ops.one_hot(ops.argmax(x, axis=-1), 3)
    ),
    "embedded": lambda: _model(lambda x: L.Embedding(3, 2)(ops.argmax(x, axis=-1))),
    "stairs": lambda: _model(lambda x: x + ops.floor(x)),
    "a choice by stairs": lambda: _model(lambda x: ops.where(ops.floor(x) > 0.5, x, 0 * x)),
    "a choice by signs": lambda: _model(
        lambda x: ops.where(ops.sign(x - 0.4) < 0, 1 + x, x)
    ),
    "a choice by a rounded value": lambda: _model(
        lambda x: ops.where(ops.round(2 * x) >= 1, ops.sin(x), x)
    ),
    "a choice by another choice": lambda: _model(
        lambda x: ops.where(ops.where(x > 0.2, x, x - 1) > 0.1, ops.exp(x), x)
    ),
    "branch cut": lambda: _with_hidden(lambda x, y: ops.arctan2(x, y - 0.2)),
    "bounds": lambda: _model(lambda x: ops.clip(x, -0.4, 1e3)),
    "kink behind a hidden layer": lambda: _with_hidden(lambda x, y: ops.abs(y)),
    "kink among large values": lambda: _model(
        lambda x: L.Lambda(lambda x: ops.tanh(x - 50) + ops.relu(x - 50))(x + 50)
    ),
    "kink among values of one side": lambda: _model(
        lambda x: L.Lambda(lambda x: ops.abs(x / 1e4 - 7.2))(7e4 + 5e3 * x)
    ),
}


def _points(model):
    x = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:]))
    if len(x.shape) == 3:
        x[0, 2:] = x[1, 1] = 0.0  # steps that a mask leaves out
    return x.astype("float32")


@pytest.mark.parametrize("name", RIGHT)
def test_what_an_operation_never_gets_is_no_fault(name):
    model = RIGHT[name]()
    result = keras_smooth.audit(model, _points(model))
    assert result.inference in ("proven", "checked"), result


@pytest.mark.parametrize("name", WRONG)
def test_what_only_a_whole_graph_shows_is_found(name):
    model = WRONG[name]()
    result = keras_smooth.audit(model, _points(model))
    assert result.inference == "faulty", result
    assert result.model.remedy


# Functions of one number whose pieces meet where inputs near 1, as weights take them on,
# do not come.
FAR_KINKS = {
    "fifth": lambda x: ops.maximum(x, 0.2) * x,
    "three": lambda x: ops.relu(x - 3) + x,
    "below zero": lambda x: ops.abs(x + 2.5) * x,
    "quadratic": lambda x: ops.square(ops.relu(x + 3)) + x,
}
STEEP = {"cube": lambda x: x**3 + x, "wave": ops.sin, "step": lambda x: ops.tanh(20 * x)}


def _audited(function, given=True):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), L.Dense(3, function), L.Dense(1)])
    x = 1 + 0.1 * np.random.default_rng(0).normal(size=(4, 2))
    return keras_smooth.audit(model, x if given else None).rows[0]


@pytest.mark.parametrize("name", FAR_KINKS)
def test_a_kink_where_the_samples_do_not_come_is_a_note_and_without_samples_a_fault(name):
    row = _audited(FAR_KINKS[name])
    assert cause(row) == "ok" and row.smoothness == 0
    assert "no sample comes to where" in row.reason
    assert _audited(FAR_KINKS[name], given=False).verdict == "faulty"


def _of_many(piece):
    """Returns a sum of more pieces than are looked for."""
    return lambda x: sum(piece(x - 5.0 * n) for n in range(1, 12)) + x**2


MANY = {
    "that no sample comes to": (_of_many(ops.relu), "proven"),
    "that join smoothly": (
        _of_many(lambda x: ops.where(x > -3.9, ops.sin(x), ops.sin(x))),
        "checked",
    ),
    "that join smoothly between samples": (
        lambda x: sum(ops.where(x > 1 + n / 99, x, x + 0.0) for n in range(-5, 6)),
        "checked",
    ),
    # Without rules for jets nobody can look at what is between samples.
    "beside an operation without a rule": (
        lambda x: ops.relu(x - 3.0) + tf.math.special.spence(x),
        "checked",
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MANY)
def test_more_pieces_than_are_looked_for_are_no_fault_in_either_mode(name, dtype):
    function, verdict = MANY[name]
    model = keras.Sequential(
        [keras.Input((2,), dtype=dtype), L.Lambda(function, dtype=dtype)]
    )
    x = 1 + 0.1 * np.random.default_rng(0).normal(size=(4, 2))
    report = keras_smooth.audit(model, x)
    assert (report.inference, report.training) == (verdict, verdict), report


def test_pieces_beyond_those_that_are_examined_are_not_faulty(monkeypatch):
    monkeypatch.setattr("keras_smooth.auditing.judgement._MAX_EXAMINED", 2)
    name = "that join smoothly between samples"
    model = keras.Sequential([keras.Input((2,)), L.Lambda(MANY[name][0])])
    x = 1 + 0.1 * np.random.default_rng(0).normal(size=(4, 2))
    row = keras_smooth.audit(model, x).rows[0]
    assert row.verdict == "not examined" and "only some operations" in row.reason


def _fixed_point(x):
    """Returns y = x + sin(y) / 20, by a loop that ends by what it has computed."""

    def turn(y, step):
        following = x + tf.sin(y) / 20.0
        return following, following - y

    def goes_on(y, step):
        return tf.reduce_max(tf.abs(step)) > 1e-12

    return tf.while_loop(goes_on, turn, [tf.zeros_like(x), tf.ones_like(x)])[0]


def _halves(x):
    """Returns a sum whose last term is not small."""

    def turn(y, step):
        return y + step * step, 0.5 * step

    return tf.while_loop(lambda y, s: tf.reduce_any(s > 0.46), turn, [0.0 * x, x + 1.0])[0]


COMPARED = {
    "a loop until nothing changes": (_fixed_point, False),
    "a loop that ends too early": (_halves, True),
    "a distance": (
        lambda x: tf.where(tf.abs(x - 2.0) < 0.5, (x - 1.5) ** 4 * (x - 2.5) ** 4, 0.0 * x),
        False,
    ),
    "the larger of two": (
        lambda x: tf.where(tf.maximum(x, 3.0 - x) > 2.0, x, x + 1.0),
        True,
    ),
}


@pytest.mark.parametrize("name", COMPARED)
def test_of_what_is_only_compared_the_comparison_tells(name):
    """No derivative goes through it, so that its own kinks are none of the function."""
    function, is_rough = COMPARED[name]
    model = keras.Sequential(
        [keras.Input((1,), dtype="float64"), L.Lambda(function, dtype="float64")]
    )
    report = keras_smooth.audit(model, np.array([[0.7], [1.9], [3.1], [2.3]]))
    assert (report.inference == "faulty", report.training == "faulty") == (
        is_rough,
        is_rough,
    )
    assert "Abs" not in report.rows[0].reason and "Max" not in report.rows[0].reason


WITHOUT_A_ROW = {
    "spence": lambda x: tf.math.special.spence(x + 2.0),
    "zeta": lambda x: tf.math.zeta(3.0, x + 2.0),
    "fresnel_cos": lambda x: tf.math.special.fresnel_cos(0.5 * x),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", WITHOUT_A_ROW)
def test_an_operation_without_a_row_is_measured_in_float64_in_a_float32_model(name, seed):
    """Of float32 alone, second derivatives near 0 would have too few digits."""
    set_random_seed(seed)
    layers = [L.Dense(4, "tanh"), L.Lambda(WITHOUT_A_ROW[name]), L.Dense(1)]
    model = keras.Sequential([keras.Input((2,)), *layers])
    x = np.random.default_rng(seed).uniform(-1.0, 1.0, (20, 2))
    report = keras_smooth.audit(model, x)
    assert (report.inference, report.training) == ("checked", "checked"), report


def _squared_distance(x):
    return tf.reduce_sum((x - CENTRE) ** 2, axis=-1, keepdims=True)


def _matern(r):
    """Of the smoothness 5/2: C^2 at r = 0, where its second derivatives are not 0."""
    return (1.0 + 5**0.5 * r + 5 / 3 * r**2) * tf.exp(-(5**0.5) * r)


def _root(r2):
    """Of 1 in the place of 0."""
    return tf.sqrt(tf.where(r2 > 0, r2, 1.0))


CENTRE = np.array([[0.1, 0.2]])
# Functions of the squared distance with a guard for 0, and the verdict at the centre.
GUARDS = {
    "maximum": (lambda r2: _matern(tf.sqrt(tf.maximum(r2, 1e-24))), "faulty"),
    "where": (lambda r2: _matern(tf.where(r2 > 0, _root(r2), 0.0)), "faulty"),
    "sinc": (lambda r2: tf.where(r2 > 0, tf.sin(_root(r2)) / _root(r2), 1.0), "faulty"),
    "maximum of a square": (lambda r2: tf.exp(-tf.maximum(r2, 1e-24)), "faulty"),
    "a sum": (lambda r2: tf.exp(-r2) * tf.sqrt(r2 + 1.0), "proven"),
    # The pieces go on in each other.
    "equal pieces": (lambda r2: tf.where(r2 > 0, tf.exp(-r2), tf.exp(-r2)), "proven"),
}


@pytest.mark.parametrize("others", [0, 5])
@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_at_a_sample_is_a_fault_where_the_function_goes_on(name, others, rng):
    function, verdict = GUARDS[name]
    layer = L.Lambda(lambda x: function(_squared_distance(x)), dtype="float64")
    beside = rng.uniform(-1.0, 1.0, (others, 2))
    row = keras_smooth.audit(layer, np.concatenate([CENTRE, beside])).rows[0]
    assert row.verdict == verdict if verdict == "faulty" else row.verdict != "faulty", row
    if verdict == "faulty":
        assert "holds at samples" in row.reason


@pytest.mark.parametrize("least, verdict", [(0.5, "checked"), (0.0, "faulty")])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.reduce_prod(x, -1, keepdims=True),
        lambda x: tf.math.cumprod(x, -1),
        lambda x: tf.math.cumprod(x, -1, exclusive=True, reverse=True),
        lambda x: tf.reduce_prod(tf.reshape(x, (-1, 1, 3)), [1, 2]),
    ],
)
def test_products_are_at_fault_where_a_factor_is_zero(function, least, verdict, rng):
    x = rng.uniform(0.5, 1.5, (4, 3))
    x[1, :2] = x[2, 1:] = least
    row = keras_smooth.audit(L.Lambda(function, dtype="float64"), x).rows[0]
    assert row.verdict == verdict, row


def _of_table(x):
    """Between the entries of a table, on straight lines."""
    place = tf.cast(4.0 * x, "int32")
    rest = 4.0 * x - tf.cast(place, x.dtype)
    table = tf.constant([0.0, 1.0, 4.0, 9.0, 16.0, 25.0, 36.0], x.dtype)
    return (1.0 - rest) * tf.gather(table, place) + rest * tf.gather(table, place + 1)


@pytest.mark.parametrize(
    "points, verdict", [((0.8, 0.9), "proven"), ((0.8, 1.1), "faulty")]
)
def test_a_table_has_kinks_at_its_entries(points, verdict):
    layer = L.Lambda(_of_table, dtype="float64")
    row = keras_smooth.audit(layer, np.reshape(points, (-1, 1)), order=1).rows[0]
    assert (row.verdict, row.smoothness) == (verdict, -1)


def _sine_over_angle(x):
    """By its series near 0, of which the fourth power is left out."""
    is_small = x**2 < 1e-8
    safe = ops.where(is_small, 1.0, x)
    return ops.where(is_small, 1 - x**2 / 6, ops.sin(safe) / safe)


def test_a_series_where_a_quotient_has_no_value_is_no_fault():
    layer = L.Lambda(_sine_over_angle, dtype="float64")
    x = np.array([[0.0, 0.3], [0.3, 0.0], [-0.2, 1e-3]])
    assert keras_smooth.audit(layer, x).inference == "checked"


@pytest.mark.parametrize("name", STEEP)
def test_a_steep_function_is_no_kink(name):
    assert _audited(STEEP[name]).verdict == "proven"


def _distance(r, i=0, j=1):
    return ops.norm(r[:, i] - r[:, j], axis=-1, keepdims=True)


def _root_of_squares(r):
    return ops.sqrt(ops.sum(ops.square(r[:, 0] - r[:, 1]), axis=-1, keepdims=True))


def _angle(r):
    a, b = r[:, 1] - r[:, 0], r[:, 2] - r[:, 0]
    cosine = ops.sum(a * b, axis=-1, keepdims=True)
    return cosine / (_distance(r) * _distance(r, 0, 2))


# Functions of three atoms, which are smooth wherever none is where another one is.
OF_ATOMS = {
    "Coulomb": lambda r: 1 / _distance(r),
    "Morse": lambda r: ops.square(1 - ops.exp(-_distance(r))),
    "root": _root_of_squares,
    "angle": _angle,
    "in a layer": lambda r: L.Lambda(_root_of_squares, dtype="float64")(r),
}


@pytest.mark.parametrize("name", OF_ATOMS)
def test_atoms_that_coincide_are_no_fault_where_x_has_none(name, rng):
    r = keras.Input((3, 3), dtype="float64")
    model = keras.Model(r, ops.tanh(OF_ATOMS[name](r)))
    apart = np.eye(3) + 0.2 * rng.normal(size=(4, 3, 3))
    assert keras_smooth.audit(model, apart).ok
    verified = keras_smooth.derivatives(model, apart, 2, verify=True, engine="tape")
    assert verified.verification.ok
    together = apart.copy()
    together[1, 0] = together[1, 1]
    assert keras_smooth.audit(model, together).outcome == "faulty"


class Guarded(L.Layer):
    """A distance of two lists of positions, whose slope is 0 where both are the same."""

    def call(self, ends):
        squares = ops.sum(ops.square(ends[0] - ends[1]), axis=-1, keepdims=True)
        apart = squares > 0
        return ops.where(apart, ops.sqrt(ops.where(apart, squares, 1.0)), 0.0)


class Together(L.Layer):
    """A product that is guarded where its inputs are equal in another way."""

    def call(self, ends):
        change = ends[0] - ends[1]
        return ops.where(change == 0, 0.0, ops.sin(change) * ends[0])


@pytest.mark.parametrize("layer", [Guarded, Together])
def test_generic_inputs_of_a_layer_are_not_equal(layer, rng):
    """What is special where two inputs are the same is no fault of those that are not."""
    r = keras.Input((3, 3), dtype="float64")
    model = keras.Model(r, layer(dtype="float64")([r[:, 0], r[:, 1]]))
    apart = np.eye(3) + 0.2 * rng.normal(size=(4, 3, 3))
    assert keras_smooth.audit(model, apart).ok
    together = apart.copy()
    together[1, 0] = together[1, 1]
    assert keras_smooth.audit(model, together).outcome == "faulty"


def test_a_note_is_in_the_table_and_the_fault_without_x_remains():
    model = _model(lambda x: ops.norm(ops.sin(x), axis=-1, keepdims=True))
    result = keras_smooth.audit(model, _points(model))
    assert result.ok
    assert "to the edge of the domain of" in str(result)
    assert not keras_smooth.audit(model).ok


class Distilled(L.Layer):
    """One head learns from the other; neither has a rough activation."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.teacher, self.student = L.Dense(3), L.Dense(3)

    def call(self, x):
        shares = tf.nn.softmax(self.teacher(x))
        return tf.nn.softmax_cross_entropy_with_logits(shares, self.student(x))[:, None]


def test_a_fault_is_not_that_of_activations_without_any():
    model = keras.Sequential([keras.Input((2,)), Distilled()])
    row = keras_smooth.audit(model).rows[0]
    assert (row.cause, row.order) == ("wrong", 2)
    assert row.remedy == 'engine="auto" or "jet" has it right'
