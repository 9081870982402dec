"""Functions in a user's own code that are recognized by their operations.

In a layer of a user, only operations show that `keras.ops.hypot` was called. The kinks of these
operations cancel, but TensorFlow's derivatives at them are wrong. Exact derivatives are written
by hand.
"""

import concurrent.futures
import functools
import gc
import math
import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from looped import each

import keras_smooth
from keras_smooth import registry
from keras_smooth.operations import recognition, registered

LOG_2 = math.log(2.0)


def log_add_exp(x, y):
    """Like the function of TensorFlow Probability."""
    return tf.maximum(x, y) + tf.nn.softplus(-tf.abs(x - y))


# For each name a function of one number, a point at which TensorFlow's derivatives are wrong or
# missing, and y', y'', y''' there.
CASES = {
    "logaddexp of x and 0": (lambda x: ops.logaddexp(x, 0.0), 0.0, (0.5, 0.25, 0.0)),
    "logaddexp of 2 x and x": (lambda x: ops.logaddexp(2 * x, x), 0.0, (1.5, 0.25, 0.0)),
    "logaddexp of three": (
        lambda x: ops.logaddexp(ops.logaddexp(x, 0.0), 2 * x),
        0.0,
        (1.0, 2 / 3, 0.0),
    ),
    "logaddexp2": (
        lambda x: ops.logaddexp2(x, ops.zeros_like(x)),
        0.0,
        (0.5, LOG_2 / 4, 0.0),
    ),
    "softplus by maximum": (
        lambda x: ops.maximum(x, 0.0) + ops.log1p(ops.exp(-ops.abs(x))),
        0.0,
        (0.5, 0.25, 0.0),
    ),
    "softplus by TensorFlow, other order": (
        lambda x: tf.math.log1p(tf.exp(-tf.abs(x))) + tf.maximum(tf.zeros((), x.dtype), x),
        0.0,
        (0.5, 0.25, 0.0),
    ),
    "softplus by log": (
        lambda x: ops.log(1 + ops.exp(-ops.abs(x))) + ops.maximum(x, 0),
        0.0,
        (0.5, 0.25, 0.0),
    ),
    "softplus by relu and log": (
        lambda x: ops.relu(x) + ops.log(ops.exp(-ops.abs(x)) + 1.0),
        0.0,
        (0.5, 0.25, 0.0),
    ),
    "softplus by relu": (
        lambda x: tf.nn.relu(x) + tf.math.log1p(tf.exp(-tf.abs(x))),
        0.0,
        (0.5, 0.25, 0.0),
    ),
    "softplus of equal tensors through an identity": (
        lambda x: ops.maximum(tf.sin(tf.identity(x)), 0.0)
        + tf.math.log1p(tf.exp(-tf.abs(tf.sin(x)))),
        0.0,
        (0.5, 0.25, -0.5),
    ),
    "log_add_exp of equal tensors": (
        lambda x: tf.maximum(-x, x) + tf.nn.softplus(-tf.abs(-x - x)),
        0.0,
        (0.0, 1.0, 0.0),
    ),
    "logaddexp of more axes": (
        lambda x: ops.logaddexp(x, np.zeros((2, 1, 1)))[0], 0.0, (0.5, 0.25, 0.0)
    ),
    "log_add_exp": (lambda x: log_add_exp(x, 3 * x), 0.0, (2.0, 1.0, 0.0)),
    # The derivatives of sqrt(x^2 + 1).
    "hypot of equal": (
        lambda x: ops.hypot(x, 1.0),
        1.0,
        (1 / math.sqrt(2), 1 / math.sqrt(8), -3 / math.sqrt(32)),
    ),
    "hypot beside 0": (lambda x: ops.hypot(x, ops.ones_like(x)), 0.0, (0.0, 1.0, 0.0)),
    "sinc": (lambda x: ops.sinc(x), 0.0, (0.0, -(math.pi**2) / 3, 0.0)),
    # By operations, half of the digits of y'' and all of y''' are lost here.
    "sinc near 0": (
        lambda x: ops.sinc(x),
        1e-4,
        (-math.pi**2 / 3e4, -math.pi**2 / 3, math.pi**4 / 5e4),
    ),
    "ldexp": (lambda x: ops.ldexp(x, np.array(3)), 0.0, (8.0, 0.0, 0.0)),
    "ldexp of int8": (lambda x: ops.ldexp(x, np.array(3, "int8")), 0.0, (8.0, 0.0, 0.0)),
    "ldexp of int32": (lambda x: ops.ldexp(x, tf.constant(2)), 0.0, (4.0, 0.0, 0.0)),
    "CELU": (lambda x: ops.celu(x), 0.0, (1.0,)),
}  # fmt: skip


class Own(keras.layers.Layer):
    """A layer of a user, whose code is not known: 0.5 x is added, so that it has other operations."""

    def __init__(self, function, dtype):
        super().__init__(dtype=dtype)
        self.function = function

    def call(self, x):
        return self.function(x) + 0.5 * x


def in_map(function, x):
    return tf.map_fn(function, x)


def in_loop(function, x):
    """Applies a function once, in the body of a loop that ends by values."""
    step = lambda i, y: (i + 1, function(x))  # noqa: E731
    return tf.while_loop(lambda i, y: i < 1, step, (tf.constant(0), tf.zeros_like(x)))[1]


def in_branch(function, x):
    return tf.cond(tf.reduce_sum(x) < 1e9, lambda: function(x), lambda: tf.exp(x))


def in_function(function, x):
    return tf.function(function)(x)


SURROUNDINGS = {
    "map_fn": in_map,
    "while_loop": in_loop,
    "cond": in_branch,
    "tf.function": in_function,
}


def own_model(function, dtype="float64"):
    return keras.Sequential([keras.Input((1,), dtype=dtype), Own(function, dtype)])


def check(derivatives, exact, tolerance):
    """Compares y', y'', y''' of the second sample. 0.5 x is part of the function."""
    expected = np.array(exact) + np.eye(1, len(exact))[0] * 0.5
    computed = [np.array(d).reshape(3)[1] for d in derivatives[1 : 1 + len(exact)]]
    np.testing.assert_allclose(computed, expected, rtol=tolerance, atol=tolerance)


def points(point, dtype="float64"):
    return np.array([[point - 0.7], [point], [point + 0.3]], dtype)


@pytest.mark.parametrize("name", CASES)
def test_derivatives_in_own_code_are_exact(name):
    function, point, exact = CASES[name]
    model, x = own_model(function), points(point)
    derivatives = keras_smooth.derivatives(model, x, order=3)
    np.testing.assert_array_equal(derivatives[0], model(x))
    # Rounding of derivatives of order 3.
    check(derivatives, exact, 1e-7)


@pytest.mark.parametrize("surrounding", SURROUNDINGS)
@pytest.mark.parametrize("name", ["logaddexp of x and 0", "hypot of equal", "sinc"])
def test_derivatives_in_bodies_are_exact(name, surrounding):
    function, point, exact = CASES[name]
    function = functools.partial(SURROUNDINGS[surrounding], function)
    derivatives = keras_smooth.derivatives(own_model(function), points(point), order=3)
    check(derivatives, exact, 1e-7)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("shape", [(None, 1), None])
def test_derivatives_in_a_graph_are_exact(shape, compiled):
    function = lambda x: ops.sinc(x) + ops.logaddexp(x, 0.0)  # noqa: E731
    if shape is None and compiled:
        shape = (3, 1)
    specification = [tf.TensorSpec(shape, tf.float64)]

    @tf.function(input_signature=specification, jit_compile=compiled)
    def run(x):
        x = tf.ensure_shape(x, (None, 1))
        return keras_smooth.derivatives(function, x, order=2)

    _, first, second = run(tf.constant(points(0.0)))
    np.testing.assert_allclose(np.array(first).reshape(3)[1], 0.5, rtol=1e-12)
    exact = 0.25 - math.pi**2 / 3
    np.testing.assert_allclose(np.array(second).reshape(3)[1], exact, rtol=1e-12)


def test_derivatives_in_float32_are_exact():
    model, x = own_model(CASES["hypot of equal"][0], "float32"), points(1.0, "float32")
    # Ten times the rounding of float32.
    check(keras_smooth.derivatives(model, x, order=3), CASES["hypot of equal"][2], 2e-6)


def functions_of_one_tensor():
    """Yields the functions in the registry whose smoothness is known and that take one tensor."""
    for row in registry.all_rows():
        function = row.subject
        if not isinstance(function, type) and not callable(row.smoothness):
            if registry.reading._number_of_arguments(function) == 1:
                yield function


@each("function", list(functions_of_one_tensor()))
def test_class_in_own_code_is_that_of_the_function(function):
    expected = keras_smooth.smoothness(function)
    own = keras_smooth.smoothness(lambda x: function(x) * 2.0)
    assert own == expected


@pytest.mark.parametrize("number", [3, 1000, 1001])
def test_derivatives_of_many_samples_are_exact(number):
    """TensorFlow makes constants of 1000 numbers or more by another operation."""
    x = np.zeros((number, 1))
    second = keras_smooth.derivatives(lambda x: ops.sinc(x), x, order=2)[2]
    np.testing.assert_allclose(np.ravel(second), -(math.pi**2) / 3, rtol=1e-12)


# Constants that are larger than the argument.
ENLARGED = {
    "softsign": lambda x: x / (ops.ones((1, 4), x.dtype) + ops.abs(x)),
    "softplus": lambda x: (
        ops.maximum(x, ops.zeros((1, 4), x.dtype)) + ops.log1p(ops.exp(-ops.abs(x)))
    ),
}


@pytest.mark.parametrize("shape", [(3, 1), (None, 1), None])
@pytest.mark.parametrize("name", ENLARGED)
def test_constants_that_enlarge_the_result_are_kept(name, shape):
    function = ENLARGED[name]
    x = tf.constant([[0.3], [-0.5], [1.2]], tf.float64)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float64)], autograph=False)
    def run(x):
        x = tf.ensure_shape(x, (None, 1)) if shape is None else x
        return keras_smooth.derivatives(lambda x: function(x), x, order=1)

    y, dy = run(x)
    np.testing.assert_array_equal(y, function(x))
    with tf.GradientTape() as tape:
        tape.watch(x)
        sums = tf.reduce_sum(function(x))
    np.testing.assert_allclose(np.sum(dy, axis=1), tape.gradient(sums, x)[:, 0])


# Functions of x at points at which formulas without scaling lose digits, overflow or are 0 / 0:
# y, y' and y'' there.
EXTREME = {
    "logaddexp of -1e9": (lambda x: ops.logaddexp(x, -1e9), 0.3, (0.3, 1, 0)),
    "logaddexp of -inf": (lambda x: ops.logaddexp(x, float("-inf")), 0.3, (0.3, 1, 0)),
    "logaddexp of 1e9": (lambda x: ops.logaddexp(1e9, x), 0.3, (1e9, 0, 0)),
    "logaddexp2 of -1e9": (lambda x: ops.logaddexp2(x, -1e9), 0.3, (0.3, 1, 0)),
    "hypot of 4e20": (lambda x: ops.hypot(x, 4e20), 3e20, (5e20, 0.6, 0)),
    # The squares of its derivatives overflow, but not those of y.
    "small hypot": (lambda x: ops.hypot(x, 0.0), 1e-25, (1e-25, 1)),
    "hypot of 0": (lambda x: ops.hypot(x - x, x - x) + x**2, 0.3, (0.09, 0.6, 2)),
}


@pytest.mark.parametrize("compiled", [None, False, True])
@pytest.mark.parametrize("name", EXTREME)
def test_extreme_arguments_have_finite_derivatives(name, compiled):
    function, point, exact = EXTREME[name]
    x = tf.constant([[point], [point]], tf.float32)

    def run(x):
        return keras_smooth.derivatives(lambda x: function(x), x, order=len(exact) - 1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = run if compiled is None else tf.function(run, jit_compile=compiled)
        values = np.array([np.ravel(value)[0] for value in run(x)])
    # Ten roundings of float32.
    np.testing.assert_allclose(values[: len(exact)], exact, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize(
    "name", ["logaddexp of 2 x and x", "hypot of equal", "sinc", "CELU"]
)
def test_derivatives_in_short_dtypes_are_right(name, dtype):
    function, point, exact = CASES[name]
    x = tf.constant([[point]], dtype)
    values = keras_smooth.derivatives(lambda x: function(x), x, order=2)[1:]
    computed = [float(np.ravel(tf.cast(value, "float32"))[0]) for value in values]
    # A few roundings of bfloat16.
    np.testing.assert_allclose(computed[: len(exact)], exact[:2], rtol=2e-2, atol=2e-2)


def test_function_is_traced_once_for_all_its_calls():
    def chained(x):
        y = x
        for number in range(5):
            y = ops.logaddexp(y, float(number))
        return y

    num_traces = []
    for _ in range(3):
        keras_smooth.derivatives(lambda x: chained(x), np.array([[0.3]]), order=1)
        num_traces.append(recognition._traced_call.cache_info().misses)
    assert num_traces[0] == num_traces[2]
    facts = [name for name in registered._facts if "keras_smooth_rule" in name]
    assert len(facts) <= len(recognition._functions)


def test_other_dtypes_beside_recognized_functions_are_traced():
    def function(x):
        return x / (1.0 + ops.abs(x)) + tf.cast(
            tf.cast(x, tf.dtypes.experimental.float8_e4m3fn), x.dtype
        )

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert keras_smooth.smoothness(function) is not None


DIFFERENT = {
    "another slope": lambda x: ops.maximum(x, 0.0) + ops.log1p(ops.exp(-ops.abs(2 * x))),
    "another sign": lambda x: ops.maximum(x, 0.0) - ops.log1p(ops.exp(-ops.abs(x))),
    "another constant": lambda x: ops.maximum(x, 0.1) + ops.log1p(ops.exp(-ops.abs(x))),
    "several constants": lambda x: (
        ops.maximum(x, [0.0, 1.0]) + ops.log1p(ops.exp(-ops.abs(x)))
    ),
    "hypot of other numbers": lambda x: (
        ops.maximum(ops.abs(x), 1.0)
        * ops.sqrt(1.0 + ops.square(ops.minimum(ops.abs(x), 2.0)))
    ),
    # log1p is elsewhere.
    "another function": lambda x: (
        ops.maximum(x, 0.0) + ops.expm1(ops.exp(-ops.abs(x))) + ops.log1p(ops.square(x))
    ),
    "other difference": lambda x: ops.maximum(x, 1.0) + ops.softplus(-ops.abs(x - 2.0)),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_similar_functions_are_not_recognized(name):
    function = DIFFERENT[name]
    model = keras.Sequential([keras.Input((2,), dtype="float64"), Own(function, "float64")])
    assert keras_smooth.smoothness(model) == 0
    # Between kinks, tapes are right.
    x = tf.constant([[0.3, 0.45]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = model(x)
    by_tape = tape.gradient(y, x)
    by_jets = tf.reduce_sum(keras_smooth.derivatives(model, x, order=1)[1], 1)
    np.testing.assert_allclose(np.array(by_jets).ravel(), np.array(by_tape).ravel())


def verdicts_at(model, x):
    """Returns the verdicts of the layers of a model at samples, for y''."""
    return {
        str(row.verdict) for row in keras_smooth.audit(model, np.array(x), order=2).rows
    }


def test_audit_names_the_cause_at_a_tie_and_finds_none_elsewhere():
    model = own_model(lambda x: ops.logaddexp(x, 0.0))
    assert verdicts_at(model, [[0.4], [0.7]]) == {"checked"}
    report = keras_smooth.audit(model, np.array([[0.0], [0.7]]), order=2)
    assert "TensorFlow's own derivative is wrong" in str(report)
    assert 'engine="auto" or "jet" has it right' in str(report)


def test_pieces_in_own_code_are_judged_at_the_samples():
    model = own_model(lambda x: ops.cbrt(x))
    assert verdicts_at(model, [[0.5], [0.7]]) == {"proven"}
    assert verdicts_at(model, [[0.0], [0.7]]) == {"faulty"}


@pytest.mark.parametrize("factor", [0.0, 1.0])
@pytest.mark.parametrize("name", ["soft_shrink", "sparse_plus", "celu"])
def test_kinks_between_samples_are_examined_in_recognized_functions(name, factor):
    model = own_model(lambda x: x**2 + factor * getattr(ops, name)(x))
    # The samples are on both sides of all kinks.
    report = keras_smooth.audit(model, np.array([[-2.2], [1.7], [-1.9], [2.3]]), order=2)
    assert report.inference == ("faulty" if factor else "checked"), report


def test_tapes_warn_in_own_code():
    model = own_model(lambda x: ops.logaddexp(x, 0.0))
    with pytest.warns(UserWarning, match="TensorFlow's derivatives of order 1 are"):
        keras_smooth.derivatives(model, points(0.0), order=1, engine="tape")


class LoopOfCelu(keras.layers.Layer):
    """The body of its loop calls an inner layer, whose facts belong to the whole trace."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1, "celu", kernel_initializer="ones")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        def step(i, y):
            return i + 1, self.dense(y)

        return tf.while_loop(lambda i, y: i < 2, step, (0, x))[1]


def test_facts_of_layers_in_loops_are_kept():
    model = keras.Sequential([keras.Input((1,)), LoopOfCelu()])
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, first = keras_smooth.derivatives(model, np.zeros((1, 1), "float32"), order=1)
    # TensorFlow's derivative of CELU at 0 is 2.
    assert np.array(first).item() == 1.0


def test_another_thread_may_call_a_layer_while_its_model_is_traced():
    """The call of the layer is another one meanwhile."""
    calls, ready = [], threading.Event()

    class Watched(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1, "celu", kernel_initializer="ones")

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x):
            if ready.is_set():
                with concurrent.futures.ThreadPoolExecutor(1) as executor:
                    calls.append(executor.submit(self.dense, np.ones((1, 1))).result())
            return self.dense(x)

    model = keras.Sequential([keras.Input((1,)), Watched()])
    ready.set()
    keras_smooth.derivatives(model, np.zeros((1, 1), "float32"), order=1)
    assert calls and all(float(np.ravel(y)[0]) == 1.0 for y in calls)


def test_repeated_calls_keep_no_graphs():
    class Mixed(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1, "celu")

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x):
            return self.dense(x) + ops.hypot(x, 1.0) + tf.map_fn(ops.sinc, x)

    model = keras.Sequential([keras.Input((1,)), Mixed()])
    x = np.array([[0.3], [0.7]], "float32")

    def kept():
        keras_smooth.derivatives(model, x, order=2)
        gc.collect()
        graphs = [each for each in gc.get_objects() if isinstance(each, tf.Graph)]
        return len(registered._facts), len(graphs)

    kept()
    assert kept() == kept()
