"""Audits of graphs: an operation is faulty only at values that it receives.

Poles, edges of domains, branch cuts, steps through booleans and integers, masks, and inputs
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


class FunctionOfTwo(L.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def get_config(self):
        return {**super().get_config(), "function": self.function}

    def call(self, x, y):
        return self.function(x, y)


def _functional_model(function, size=3):
    x = keras.Input((size,))
    return keras.Model(x, function(x))


def _with_hidden_layer(function):
    return _functional_model(lambda x: function(x, L.Dense(3, "tanh")(x)))


def _sequence_model(*layers):
    return keras.Sequential([keras.Input((4, 2)), *layers])


SMOOTH_MODELS = {
    "root": lambda: _functional_model(lambda x: ops.sqrt(1 + ops.square(x))),
    "root of one over": lambda: _functional_model(lambda x: x * ops.rsqrt(1 + x * x)),
    "power": lambda: _functional_model(lambda x: ops.power(2 + ops.sin(x), 0.7)),
    "logarithm": lambda: _functional_model(lambda x: ops.log(1.5 + ops.sin(x))),
    "quotient": lambda: _functional_model(lambda x: 1 / (2 + ops.cos(x))),
    "quotient of two": lambda: _with_hidden_layer(lambda x, y: x / (y + 3)),
    "branch cut": lambda: _with_hidden_layer(lambda x, y: ops.arctan2(x, y + 3)),
    "bounds far away": lambda: _functional_model(lambda x: ops.clip(x, -1e3, 1e3)),
    "constant condition": lambda: _functional_model(lambda x: ops.where(True, ops.sin(x), x)),
    "in a layer": lambda: _functional_model(lambda x: L.Lambda(ops.log)(1 + ops.square(x))),
    "difference": lambda: _with_hidden_layer(lambda x, y: x - y),
    "one number off": lambda: _functional_model(lambda x: x - ops.logsumexp(x, -1, keepdims=True)),
    "cancels": lambda: _with_hidden_layer(
        FunctionOfTwo(lambda x, y: ops.sin(x) * y - x * ops.sin(y))
    ),
    "mask": lambda: _sequence_model(L.Masking(), L.LSTM(2)),
    "mask at depth": lambda: _sequence_model(_sequence_model(L.Masking()), L.GRU(2)),
}  # fmt: skip
ROUGH_MODELS = {
    "root of a square": lambda: _functional_model(lambda x: ops.sqrt(ops.square(x))),
    "comparison": lambda: _functional_model(lambda x: x * ops.cast(x > 0.1, x.dtype)),
    "integers": lambda: _functional_model(
        lambda x: x + ops.cast(ops.cast(3 * x, "int32"), x.dtype)
    ),
    "place of the largest": lambda: _functional_model(
        lambda x: x * ops.one_hot(ops.argmax(x, axis=-1), 3)
    ),
    "sorted by places": lambda: _functional_model(
        lambda x: ops.take_along_axis(x, ops.argsort(x, axis=-1), -1) * np.arange(3.0)
    ),
    "ranks": lambda: _functional_model(
        lambda x: x * ops.cast(ops.argsort(ops.argsort(x, axis=-1), axis=-1), x.dtype)
    ),
    "places of the two largest": lambda: _functional_model(
        lambda x: ops.take_along_axis(ops.sin(x), ops.top_k(x, 2)[1], -1)
    ),
    "gates of the largest": lambda: _functional_model(
        lambda x: x * ops.one_hot(ops.top_k(x, 1)[1][:, 0], 3)
    ),
    "embedded": lambda: _functional_model(
        lambda x: L.Embedding(3, 2)(ops.argmax(x, axis=-1))
    ),
    "stairs": lambda: _functional_model(lambda x: x + ops.floor(x)),
    "a choice by stairs": lambda: _functional_model(
        lambda x: ops.where(ops.floor(x) > 0.5, x, 0 * x)
    ),
    "a choice by signs": lambda: _functional_model(
        lambda x: ops.where(ops.sign(x - 0.4) < 0, 1 + x, x)
    ),
    "a choice by a rounded value": lambda: _functional_model(
        lambda x: ops.where(ops.round(2 * x) >= 1, ops.sin(x), x)
    ),
    "a choice by another choice": lambda: _functional_model(
        lambda x: ops.where(ops.where(x > 0.2, x, x - 1) > 0.1, ops.exp(x), x)
    ),
    "branch cut": lambda: _with_hidden_layer(lambda x, y: ops.arctan2(x, y - 0.2)),
    "bounds": lambda: _functional_model(lambda x: ops.clip(x, -0.4, 1e3)),
    "kink behind a hidden layer": lambda: _with_hidden_layer(lambda x, y: ops.abs(y)),
    "kink among large values": lambda: _functional_model(
        lambda x: L.Lambda(lambda x: ops.tanh(x - 50) + ops.relu(x - 50))(x + 50)
    ),
    "kink among values of one side": lambda: _functional_model(
        lambda x: L.Lambda(lambda x: ops.abs(x / 1e4 - 7.2))(7e4 + 5e3 * x)
    ),
}


def _points(model):
    x = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:]))
    if len(x.shape) == 3:
        x[0, 2:] = x[1, 1] = 0.0  # time steps that are masked
    return x.astype("float32")


@pytest.mark.parametrize("name", SMOOTH_MODELS)
def test_operations_kept_off_their_rough_points_are_no_fault(name):
    model = SMOOTH_MODELS[name]()
    result = keras_smooth.audit(model, _points(model))
    assert result.inference in ("proven", "checked"), result


@pytest.mark.parametrize("name", ROUGH_MODELS)
def test_faults_that_only_the_whole_graph_shows_are_reported(name):
    model = ROUGH_MODELS[name]()
    result = keras_smooth.audit(model, _points(model))
    assert result.inference == "faulty", result
    assert result.model.remedy


# Functions whose pieces meet at values that a Dense layer does not reach from inputs
# near 1.
DISTANT_KINKS = {
    "fifth": lambda x: ops.maximum(x, 0.2) * x,
    "three": lambda x: ops.relu(x - 3) + x,
    "below zero": lambda x: ops.abs(x + 2.5) * x,
    "quadratic": lambda x: ops.square(ops.relu(x + 3)) + x,
}
STEEP_FUNCTIONS = {
    "cube": lambda x: x**3 + x,
    "wave": ops.sin,
    "step": lambda x: ops.tanh(20 * x),
}


def _audit_row(function, with_samples=True):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), L.Dense(3, function), L.Dense(1)])
    x = 1 + 0.1 * np.random.default_rng(0).normal(size=(4, 2))
    return keras_smooth.audit(model, x if with_samples else None).rows[0]


@pytest.mark.parametrize("name", DISTANT_KINKS)
def test_kink_that_no_sample_reaches_is_a_fault_only_without_samples(name):
    row = _audit_row(DISTANT_KINKS[name])
    assert cause(row) == "ok" and row.smoothness == 0
    assert "no sample comes to where" in row.reason
    assert _audit_row(DISTANT_KINKS[name], with_samples=False).verdict == "faulty"


# Comparisons that no sample drawn at random changes.
DISTANT_JUMPS = {
    "choice": lambda x: ops.where(x > 90.0, 2 * x, x),
    "factor": lambda x: x * ops.cast(x < -90.0, x.dtype) + x,
    "relu with a threshold": lambda x: keras.activations.relu(x, threshold=90.0) + x,
    "of a bounded value": lambda x: ops.where(ops.tanh(x) > 0.999999, 2 * x, x),
}


@pytest.mark.parametrize("name", DISTANT_JUMPS)
def test_jump_that_no_drawn_sample_reaches_is_not_examined(name):
    model = _functional_model(DISTANT_JUMPS[name])
    report = keras_smooth.audit(model)
    assert report.inference == "not examined", report
    assert any("pass x" in row.reason for row in report.rows)
    assert keras_smooth.audit(model, np.full((2, 3), 0.4)).inference == "proven"


def _sum_of_pieces(piece):
    """Returns a sum of more pieces than the audit searches."""
    return lambda x: sum(piece(x - 5.0 * n) for n in range(1, 12)) + x**2


MANY_PIECES = {
    "that no sample comes to": (_sum_of_pieces(ops.relu), "proven"),
    "that join smoothly": (
        _sum_of_pieces(lambda x: ops.where(x > -3.9, ops.sin(x), ops.sin(x))),
        "checked",
    ),
    "that join smoothly between samples": (
        lambda x: sum(ops.where(x > 1 + n / 99, x, x + 0.0) for n in range(-5, 6)),
        "checked",
    ),
    # Without rules for jets the values between samples cannot be examined.
    "beside an operation without a rule": (
        lambda x: ops.relu(x - 3.0) + tf.math.special.spence(x),
        "checked",
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MANY_PIECES)
def test_more_pieces_than_are_searched_are_no_fault_in_either_mode(name, dtype):
    function, verdict = MANY_PIECES[name]
    model = keras.Sequential(
        [keras.Input((2,), dtype=dtype), L.Lambda(function, dtype=dtype)]
    )
    x = 1 + 0.1 * np.random.default_rng(0).normal(size=(4, 2))
    report = keras_smooth.audit(model, x)
    assert (report.inference, report.training) == (verdict, verdict), report


def test_pieces_above_the_limit_are_not_examined(monkeypatch):
    monkeypatch.setattr("keras_smooth.auditing.judgement._MAX_EXAMINED", 2)
    name = "that join smoothly between samples"
    model = keras.Sequential([keras.Input((2,)), L.Lambda(MANY_PIECES[name][0])])
    x = 1 + 0.1 * np.random.default_rng(0).normal(size=(4, 2))
    row = keras_smooth.audit(model, x).rows[0]
    assert row.verdict == "not examined" and "only some operations" in row.reason


def _fixed_point(x):
    """Returns y = x + sin(y) / 20, by a loop that ends once y no longer changes."""

    def body(y, step):
        updated = x + tf.sin(y) / 20.0
        return updated, updated - y

    def condition(y, step):
        return tf.reduce_max(tf.abs(step)) > 1e-12

    return tf.while_loop(condition, body, [tf.zeros_like(x), tf.ones_like(x)])[0]


def _fixed_point_with_largest_change(x):
    """Returns `_fixed_point(x)`, by a loop one of whose variables only ends it."""

    def body(y, change):
        updated = x + tf.sin(y) / 20.0
        return updated, tf.reduce_max(tf.abs(updated - y))

    start = [tf.zeros_like(x), tf.ones([], x.dtype)]
    return tf.while_loop(lambda y, change: change > 1e-12, body, start)[0]


def _loop_that_ends_early(x):
    """Returns a sum whose last term is not small."""

    def body(y, step):
        return y + step * step, 0.5 * step

    return tf.while_loop(lambda y, s: tf.reduce_any(s > 0.46), body, [0.0 * x, x + 1.0])[0]


COMPARISONS = {
    "a loop until nothing changes": (_fixed_point, False),
    "a loop with the change as a variable": (_fixed_point_with_largest_change, False),
    "a loop that ends too early": (_loop_that_ends_early, True),
    "a distance": (
        lambda x: tf.where(tf.abs(x - 2.0) < 0.5, (x - 1.5) ** 4 * (x - 2.5) ** 4, 0.0 * x),
        False,
    ),
    "the larger of two": (
        lambda x: tf.where(tf.maximum(x, 3.0 - x) > 2.0, x, x + 1.0),
        True,
    ),
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_kinks_of_compared_values_are_no_fault(name):
    """No derivative passes through a comparison; only a jump at it is a fault."""
    function, is_faulty = COMPARISONS[name]
    model = keras.Sequential(
        [keras.Input((1,), dtype="float64"), L.Lambda(function, dtype="float64")]
    )
    report = keras_smooth.audit(model, np.array([[0.7], [1.9], [3.1], [2.3]]))
    assert (report.inference == "faulty", report.training == "faulty") == (
        is_faulty,
        is_faulty,
    )
    assert "Abs" not in report.rows[0].reason and "Max" not in report.rows[0].reason


WITHOUT_RULES = {
    "spence": lambda x: tf.math.special.spence(x + 2.0),
    "zeta": lambda x: tf.math.zeta(3.0, x + 2.0),
    "fresnel_cos": lambda x: tf.math.special.fresnel_cos(0.5 * x),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", WITHOUT_RULES)
def test_operation_without_rules_is_measured_in_float64(name, seed):
    """In float32, second derivatives near 0 would have too few digits."""
    set_random_seed(seed)
    layers = [L.Dense(4, "tanh"), L.Lambda(WITHOUT_RULES[name]), L.Dense(1)]
    model = keras.Sequential([keras.Input((2,)), *layers])
    x = np.random.default_rng(seed).uniform(-1.0, 1.0, (20, 2))
    report = keras_smooth.audit(model, x)
    assert (report.inference, report.training) == ("checked", "checked"), report


def _squared_distance(x):
    return tf.reduce_sum((x - CENTRE) ** 2, axis=-1, keepdims=True)


def _matern(r):
    """Matern function of smoothness 5/2: C^2 at r = 0, with second derivatives other than 0."""
    return (1.0 + 5**0.5 * r + 5 / 3 * r**2) * tf.exp(-(5**0.5) * r)


def _guarded_root(r2):
    """The square root, of 1 instead of 0."""
    return tf.sqrt(tf.where(r2 > 0, r2, 1.0))


CENTRE = np.array([[0.1, 0.2]])
# Functions of the squared distance with a guard for 0, and the verdict at the centre.
GUARDS = {
    "maximum": (lambda r2: _matern(tf.sqrt(tf.maximum(r2, 1e-24))), "faulty"),
    "where": (lambda r2: _matern(tf.where(r2 > 0, _guarded_root(r2), 0.0)), "faulty"),
    "sinc": (
        lambda r2: tf.where(r2 > 0, tf.sin(_guarded_root(r2)) / _guarded_root(r2), 1.0),
        "faulty",
    ),
    "maximum of a square": (lambda r2: tf.exp(-tf.maximum(r2, 1e-24)), "faulty"),
    "a sum": (lambda r2: tf.exp(-r2) * tf.sqrt(r2 + 1.0), "proven"),
    # Both pieces are the same function.
    "equal pieces": (lambda r2: tf.where(r2 > 0, tf.exp(-r2), tf.exp(-r2)), "proven"),
}


@pytest.mark.parametrize("num_others", [0, 5])
@pytest.mark.parametrize("name", GUARDS)
def test_guard_at_a_sample_is_a_fault_unless_its_pieces_are_equal(name, num_others, rng):
    function, verdict = GUARDS[name]
    layer = L.Lambda(lambda x: function(_squared_distance(x)), dtype="float64")
    other_samples = rng.uniform(-1.0, 1.0, (num_others, 2))
    row = keras_smooth.audit(layer, np.concatenate([CENTRE, other_samples])).rows[0]
    assert row.verdict == verdict if verdict == "faulty" else row.verdict != "faulty", row
    if verdict == "faulty":
        assert "holds at samples" in row.reason


@pytest.mark.parametrize("smallest, verdict", [(0.5, "checked"), (0.0, "faulty")])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: tf.reduce_prod(x, -1, keepdims=True),
        lambda x: tf.math.cumprod(x, -1),
        lambda x: tf.math.cumprod(x, -1, exclusive=True, reverse=True),
        lambda x: tf.reduce_prod(tf.reshape(x, (-1, 1, 3)), [1, 2]),
    ],
)
def test_products_are_faulty_if_a_factor_is_zero(function, smallest, verdict, rng):
    x = rng.uniform(0.5, 1.5, (4, 3))
    x[1, :2] = x[2, 1:] = smallest
    row = keras_smooth.audit(L.Lambda(function, dtype="float64"), x).rows[0]
    assert row.verdict == verdict, row


def _interpolated_table(x):
    """Linear interpolation between the entries of a table."""
    index = tf.cast(4.0 * x, "int32")
    fraction = 4.0 * x - tf.cast(index, x.dtype)
    table = tf.constant([0.0, 1.0, 4.0, 9.0, 16.0, 25.0, 36.0], x.dtype)
    return (1.0 - fraction) * tf.gather(table, index) + fraction * tf.gather(
        table, index + 1
    )


@pytest.mark.parametrize(
    "points, verdict", [((0.8, 0.9), "proven"), ((0.8, 1.1), "faulty")]
)
def test_linear_interpolation_has_kinks_at_the_table_entries(points, verdict):
    layer = L.Lambda(_interpolated_table, dtype="float64")
    row = keras_smooth.audit(layer, np.reshape(points, (-1, 1)), order=1).rows[0]
    assert (row.verdict, row.smoothness) == (verdict, -1)


def _sine_over_angle(x):
    """sin(x) / x, near 0 by its series without the fourth power."""
    is_small = x**2 < 1e-8
    safe = ops.where(is_small, 1.0, x)
    return ops.where(is_small, 1 - x**2 / 6, ops.sin(safe) / safe)


def test_series_at_a_removable_singularity_is_no_fault():
    layer = L.Lambda(_sine_over_angle, dtype="float64")
    x = np.array([[0.0, 0.3], [0.3, 0.0], [-0.2, 1e-3]])
    assert keras_smooth.audit(layer, x).inference == "checked"


@pytest.mark.parametrize("name", STEEP_FUNCTIONS)
def test_steep_function_has_no_kink(name):
    assert _audit_row(STEEP_FUNCTIONS[name]).verdict == "proven"


def _distance(r, i=0, j=1):
    return ops.norm(r[:, i] - r[:, j], axis=-1, keepdims=True)


def _distance_by_root(r):
    return ops.sqrt(ops.sum(ops.square(r[:, 0] - r[:, 1]), axis=-1, keepdims=True))


def _angle(r):
    a, b = r[:, 1] - r[:, 0], r[:, 2] - r[:, 0]
    cosine = ops.sum(a * b, axis=-1, keepdims=True)
    return cosine / (_distance(r) * _distance(r, 0, 2))


# Functions of three atoms, which are smooth unless two atoms coincide.
ATOM_FUNCTIONS = {
    "Coulomb": lambda r: 1 / _distance(r),
    "Morse": lambda r: ops.square(1 - ops.exp(-_distance(r))),
    "root": _distance_by_root,
    "angle": _angle,
    "in a layer": lambda r: L.Lambda(_distance_by_root, dtype="float64")(r),
}


@pytest.mark.parametrize("name", ATOM_FUNCTIONS)
def test_coinciding_atoms_are_a_fault_only_if_x_has_them(name, rng):
    r = keras.Input((3, 3), dtype="float64")
    model = keras.Model(r, ops.tanh(ATOM_FUNCTIONS[name](r)))
    distinct = np.eye(3) + 0.2 * rng.normal(size=(4, 3, 3))
    assert keras_smooth.audit(model, distinct).ok
    verified = keras_smooth.derivatives(model, distinct, 2, verify=True, engine="tape")
    assert verified.verification.ok
    coinciding = distinct.copy()
    coinciding[1, 0] = coinciding[1, 1]
    assert keras_smooth.audit(model, coinciding).outcome == "faulty"


class GuardedDistance(L.Layer):
    """A distance of two lists of positions, whose slope is 0 where both are the same."""

    def call(self, inputs):
        squares = ops.sum(ops.square(inputs[0] - inputs[1]), axis=-1, keepdims=True)
        is_distinct = squares > 0
        return ops.where(is_distinct, ops.sqrt(ops.where(is_distinct, squares, 1.0)), 0.0)


class GuardedProduct(L.Layer):
    """A product with another kind of guard for equal inputs."""

    def call(self, inputs):
        difference = inputs[0] - inputs[1]
        return ops.where(difference == 0, 0.0, ops.sin(difference) * inputs[0])


@pytest.mark.parametrize("layer", [GuardedDistance, GuardedProduct])
def test_guard_for_equal_inputs_is_a_fault_only_if_x_has_them(layer, rng):
    """A guard for equal inputs does not matter for inputs that differ."""
    r = keras.Input((3, 3), dtype="float64")
    model = keras.Model(r, layer(dtype="float64")([r[:, 0], r[:, 1]]))
    distinct = np.eye(3) + 0.2 * rng.normal(size=(4, 3, 3))
    assert keras_smooth.audit(model, distinct).ok
    coinciding = distinct.copy()
    coinciding[1, 0] = coinciding[1, 1]
    assert keras_smooth.audit(model, coinciding).outcome == "faulty"


def test_singularity_that_x_avoids_is_a_note_and_without_x_a_fault():
    model = _functional_model(lambda x: ops.norm(ops.sin(x), axis=-1, keepdims=True))
    result = keras_smooth.audit(model, _points(model))
    assert result.ok
    assert "to the edge of the domain of" in str(result)
    assert not keras_smooth.audit(model).ok


class Distilled(L.Layer):
    """One head learns from the other; neither has an activation that is not smooth."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.teacher, self.student = L.Dense(3), L.Dense(3)

    def call(self, x):
        shares = tf.nn.softmax(self.teacher(x))
        return tf.nn.softmax_cross_entropy_with_logits(shares, self.student(x))[:, None]


def test_remedy_of_a_layer_without_activations_names_the_engines():
    model = keras.Sequential([keras.Input((2,)), Distilled()])
    row = keras_smooth.audit(model).rows[0]
    assert (row.cause, row.order) == ("wrong", 2)
    assert row.remedy == 'engine="auto" or "jet" has it right'


HIDDEN_NAN = {
    "power": (lambda x: tf.where(x > 0, x**1.5, tf.zeros_like(x)), 1),
    # TensorFlow's first derivative of a root multiplies by 0 where the root is not selected.
    "root": (lambda x: tf.where(x > 0, tf.sqrt(x), tf.zeros_like(x)), 2),
}


@pytest.mark.parametrize("name", HIDDEN_NAN)
def test_gradients_that_are_nan_where_a_selection_hides_it_are_a_fault(name, rng):
    function, order = HIDDEN_NAN[name]
    layer = L.Lambda(function, dtype="float64")
    model = keras.Sequential([keras.Input((1,), dtype="float64"), layer])
    x = rng.normal(size=(20, 1))
    (row,) = keras_smooth.audit(model, x).rows
    assert (row.cause, row.order) == ("nan", order)
    with pytest.warns(UserWarning, match="its derivatives of order"):
        by_tape = keras_smooth.derivatives(model, x, order, engine="tape")
    assert np.isnan(by_tape[order]).any()
    assert keras_smooth.audit(model, np.abs(x)).outcome == "proven"
