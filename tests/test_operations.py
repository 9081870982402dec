"""Functions of keras.ops: their class, their tapes and their traced operations."""

import functools
import inspect
import math

import keras
import numpy as np
import one_sided
import pytest
import tensorflow as tf
from keras import ops
from keras_functions import SAMPLED
from representatives import representatives
from richardson import derivative

import keras_smooth
from keras_smooth import registry

DIFFERENTIABLE = {
    name: row for name, row in SAMPLED.items()
    if row.sample.places() and row.smoothness is not None
}  # fmt: skip


# Of two generic sums, for as many results as the largest sample has, and more.
FACTORS = np.random.default_rng(0).uniform(0.5, 1.0, (2, 1000))


class OperationLine:
    """A function of keras.ops along a line t -> point + t direction, as a function of t.

    Args:
        row: Row of the function.
        at: The value of all entries of the point; None for a generic point.
    """

    def __init__(self, row, at=None):
        self.row = row
        slots = row.sample.places()
        self.points = [
            slot.point(seed) if at is None else np.full(slot.shape, at)
            for seed, slot in enumerate(slots)
        ]
        self.directions = [slot.direction(seed) for seed, slot in enumerate(slots)]

    def tensors(self, t, points=None):
        """Returns two generic sums of all results at t, each with the kinks of all results."""
        lines = zip(points or self.points, self.directions)
        args, kwargs = self.row.sample.filled([p + t * d for p, d in lines])
        values = self.row.subject(*args, **kwargs)
        flat = tf.concat([_flat(v) for v in keras.tree.flatten(values)], axis=0)
        # A graph may not know how many results there are.
        return tf.linalg.matvec(tf.constant(FACTORS)[:, : tf.shape(flat)[0]], flat)

    @property
    def noise(self) -> float:
        """The factor by which it rounds more coarsely than float64."""
        return 1e7 if self.row.single else 1.0

    def __call__(self, ts: np.ndarray) -> np.ndarray:
        return np.stack([self.tensors(tf.constant(t, tf.float64)).numpy() for t in ts])


def _flat(value) -> tf.Tensor:
    value = tf.reshape(tf.convert_to_tensor(value), [-1])
    if value.dtype.is_complex:
        value = tf.concat([tf.math.real(value), tf.math.imag(value)], axis=0)
    return tf.cast(value, tf.float64)


def measured_class(line: OperationLine) -> float:
    """Returns the class at t = 0 by one-sided interpolation, the lowest of all results."""
    nodes = np.polynomial.chebyshev.chebpts1(one_sided.DEGREE + 1)
    right = one_sided.WIDTH * (1 + nodes) / 2
    sides = {1: (right, line(right)), -1: (-right[::-1], line(-right[::-1]))}
    center = line(np.zeros(1))[0]
    classes = []
    for component in range(len(center)):

        def function(x, component=component):
            ts, values = sides[1 if x[0] > 0 else -1]
            np.testing.assert_allclose(ts, x, atol=1e-12)
            return values[:, component]

        limit = one_sided.limits(function, 0.0, 1, 0)[0]
        if abs(limit - center[component]) > 1e-8 * line.noise**0.5 * (1 + abs(limit)):
            return -1
        # In float32, second differences are only rounding.
        max_order = 3 if line.noise == 1.0 else 1
        classes.append(one_sided.smoothness(function, [0.0], max_order, line.noise))
    return min(classes, default=math.inf)


def every_sixth(names):
    """Returns cases of which only every sixth runs without the slow tests."""
    names = list(names)
    return representatives(names, names[::6])


# A function that jumps and has no known breakpoints may jump anywhere.
@pytest.mark.parametrize(
    "name",
    every_sixth(n for n, r in DIFFERENTIABLE.items() if r.breakpoints or r.smoothness >= 0),
)
def test_functions_are_smooth_at_generic_point(name):
    assert measured_class(OperationLine(DIFFERENTIABLE[name])) == math.inf


@pytest.mark.parametrize(
    "name", [n for n, row in DIFFERENTIABLE.items() if row.breakpoints]
)
def test_registered_class_at_joints(name):
    row = DIFFERENTIABLE[name]
    assert (
        min(measured_class(OperationLine(row, at)) for at in row.breakpoints)
        == row.smoothness
    )


# Points at which the domain of an elementwise function may end, or its pieces may meet.
POSSIBLE_EDGES = np.arange(-3.0, 3.25, 0.5)
WIDTHS = 2.0 ** -np.arange(3, 9)


def class_from_one_side(function, end, side) -> float:
    """Returns how many derivatives have a limit at a point, from one side.

    Differences of order k over smaller and smaller steps converge if there are k derivatives
    and grow if not. At the smallest step, third ones round to 3e-6. Poles are excluded.
    """
    with np.errstate(all="ignore"):
        if not np.isfinite(function(np.array([end]))).all():
            return math.inf
        for k in (1, 2, 3):
            signs = [(-1) ** (k - i) * math.comb(k, i) for i in range(k + 1)]
            points = end + side * WIDTHS[:, None] * np.arange(k + 1)
            values = function(points.ravel()).reshape(points.shape)
            if not np.isfinite(values).all():
                return math.inf
            changes = np.abs(np.diff(values @ signs / WIDTHS**k))
            if changes[-1] > changes[-2] + 1e-5 * (1 + np.abs(values).max()):
                return k - 1
    return math.inf


def lowest_class_at_edges(function) -> float:
    return min(
        class_from_one_side(function, end, side)
        for end in POSSIBLE_EDGES
        for side in (1, -1)
    )


def _is_elementwise(row) -> bool:
    """Returns whether a function maps each number to a number."""
    slots = row.sample.places()
    if row.mixes or len(slots) != 1 or len(slots[0].shape) != 2:
        return False
    point = slots[0].point()
    permutation = np.random.default_rng(0).permutation(point.size)
    try:
        results = [_result(row, x) for x in (point, point.ravel()[permutation])]
    # It needs rows or an axis.
    except Exception:
        return False
    same = results[0].shape == point.shape and results[1].shape == (point.size,)
    is_float = results[0].dtype == np.float64
    return same and is_float and np.array_equal(results[0].ravel()[permutation], results[1])


def _result(row, x) -> np.ndarray:
    args, kwargs = row.sample.filled([tf.constant(x)])
    return np.asarray(row.subject(*args, **kwargs))


ELEMENTWISE = [
    name for name, row in DIFFERENTIABLE.items()
    if not row.breakpoints and _is_elementwise(row)
]  # fmt: skip


def test_elementwise_functions_are_recognized():
    assert {"numpy.sqrt", "numpy.log", "numpy.arccos", "math.rsqrt"} <= set(ELEMENTWISE)
    assert len(ELEMENTWISE) > 40


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_registered_class_at_edges_of_domain(name):
    row = SAMPLED[name]

    measured = lowest_class_at_edges(functools.partial(_result, row))
    assert measured == row.smoothness


POWERS = {-1: math.inf, -0.5: math.inf, 0.5: 0, 1: math.inf, 1.5: 1, 2.0: math.inf, 2.5: 2}


@pytest.mark.parametrize("exponent", POWERS)
def test_smoothness_of_powers(exponent):
    x = keras.Input((2,), dtype="float64")
    declared = keras_smooth.smoothness(keras.Model(x, x**exponent))
    assert declared == POWERS[exponent]
    assert lowest_class_at_edges(lambda x: np.float_power(x, exponent)) == declared


# Models whose class depends on the arguments of the operations.
MODELS = {
    "power of a number": (lambda x: 2.0**x, math.inf),
    "power of two tensors": (lambda x: ops.power(x, ops.sin(x)), None),
    "to integers and back": (lambda x: ops.cast(ops.cast(x, "int32"), x.dtype), -1),
    "to booleans": (lambda x: x * ops.cast(x > 0.1, x.dtype), -1),
    "to another float": (lambda x: ops.cast(x, "float32"), math.inf),
    "saturated": (lambda x: ops.cast(ops.saturate_cast(x, "uint8"), x.dtype), -1),
    "root of a square": (lambda x: ops.sqrt(ops.square(x)), 0),
    "unit": (keras.layers.UnitNormalization(), 0),
    "cosine": (lambda x: keras.layers.Dot(1, normalize=True)([x, ops.sin(x)]), 0),
    "product": (lambda x: keras.layers.Dot(1)([x, ops.sin(x)]), math.inf),
    "factors": (lambda x: ops.qr(ops.reshape(x, (-1, 2, 1)))[0], -1),
}


@pytest.mark.parametrize("name", MODELS)
def test_smoothness_depends_on_arguments(name):
    function, expected = MODELS[name]
    assert keras_smooth.smoothness(_functional(function)) == expected


def derivatives_by_tapes(line: OperationLine, order: int) -> list:
    """Returns the results and their derivatives at t = 0 by tapes, None if lost."""
    t = tf.constant(0.0, tf.float64)

    def nested(order):
        if order == 0:
            return [tf.unstack(line.tensors(t))]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(t)
            entries = nested(order - 1)
        return [*entries, [v if v is None else tape.gradient(v, t) for v in entries[-1]]]

    return nested(order)


# TensorFlow raises since it has no gradient, for softsign of the second order.
WITHOUT_GRADIENT = {
    "core.slice_update", "linalg.lu_factor", "nn.softsign", "numpy.unique"
}  # fmt: skip
# Their second derivatives by tapes are wrong: the gradient of a mean is stopped.
WRONG_SECOND_ORDER = {"nn.layer_normalization", "nn.moments"}
# Sparsemax is wrong, see its row; a decoder's score has no gradient, and colours of this
# sample are next to a kink.
EXCLUDED = {"nn.sparsemax", "nn.ctc_decode", "image.hsv_to_rgb"}


@pytest.mark.parametrize(
    "name", every_sixth(n for n in DIFFERENTIABLE if n not in EXCLUDED)
)
def test_tapes_are_right_at_generic_point_or_raise(name):
    """A generic point lies on one piece of a piecewise function."""
    line = OperationLine(DIFFERENTIABLE[name])
    # In float32, second differences are only rounding.
    order = 2 if line.noise == 1.0 else 1
    if name in WRONG_SECOND_ORDER:
        order = 1
    try:
        by_tapes = derivatives_by_tapes(line, order)
    except LookupError:
        assert name in WITHOUT_GRADIENT
        return
    nodes = one_sided.WIDTH * np.polynomial.chebyshev.chebpts1(2 * one_sided.DEGREE)
    values = line(nodes)
    for k in (1, 2)[:order]:
        for component, value in enumerate(by_tapes[k]):
            fit = np.polynomial.Chebyshev.fit(nodes, values[:, component], 11)
            exact = fit.deriv(k)(0.0)
            # None means 0, since the row of the function has a class.
            value = 0.0 if value is None else float(value)
            assert abs(value - exact) < line.noise * one_sided.TOLERANCE[k] * (
                1 + abs(exact)
            ), k


# Functions for which the traced operations have another class than the registry.
TRACED_CLASSES = {
    # They are built from pieces, which join smoothly.
    "numpy.geomspace": -1,
    "numpy.nancumprod": -1,
    # A kink at the end of a tiny interval around 0, and one at a tie.
    "nn.normalize": 0,
    "math.top_k": 0,
    # They have an operation of unknown class.
    **dict.fromkeys(
        [
            "image.hsv_to_rgb", "image.rgb_to_hsv", "math.segment_prod", "nn.ctc_decode",
            "numpy.unique",
        ]
    ),
}  # fmt: skip
# TensorFlow or Keras cannot trace them with these arguments.
NOT_TRACED = {
    "core.slice_update", "numpy.corrcoef", "numpy.exp2", "numpy.isin", "numpy.kron"
}  # fmt: skip


def read(row):
    """Returns the smoothness of the traced operations of a function."""
    symbols = [tf.TensorSpec(slot.shape, "float64") for slot in row.sample.places()]
    args, kwargs = row.sample.filled(symbols)
    return registry.reading.read_call(row.subject, args, kwargs)


@pytest.mark.parametrize("name", [n for n in DIFFERENTIABLE if n not in NOT_TRACED])
def test_class_of_traced_operations(name):
    row = DIFFERENTIABLE[name]
    assert read(row).smoothness == TRACED_CLASSES.get(name, row.smoothness)


def test_every_function_of_keras_ops_has_a_sample():
    modules = [ops, *(value for _, value in inspect.getmembers(ops, inspect.ismodule))]
    functions = {
        f"{module.__name__}.{name}": function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isroutine)
        if not name.startswith("_")
    }
    assert len(functions) > 300
    sampled = {row.subject for row in SAMPLED.values()}
    assert [name for name, function in functions.items() if function not in sampled] == []


def operations_in_graph(row) -> list:
    """Returns the operations of the Keras graph that a function builds from symbolic inputs."""
    symbols = [slot.symbol() for slot in row.sample.places()]
    args, kwargs = row.sample.filled(symbols)
    outputs = keras.tree.flatten(row.subject(*args, **kwargs))
    outputs = [value for value in outputs if keras.backend.is_keras_tensor(value)]
    graph = keras.Function(symbols, outputs) if outputs else None
    operations = graph.operations if graph else []
    return [op for op in operations if not isinstance(op, keras.layers.Layer)]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_function_of_operation_in_graph(name):
    row = DIFFERENTIABLE[name]
    for operation in operations_in_graph(row):
        registered = registry.function_of(operation)
        assert registered is not None
        # It may be registered by another name.
        assert (
            registered is row.subject
            or "patches" in name
            or registered in (ops.abs, ops.conj)
        )


def _two_inputs():
    x, t = (keras.Input((1,), name=name, dtype="float64") for name in "xt")
    dense = keras.layers.Dense(1, "tanh", dtype="float64")
    return keras.Model({"x": x, "t": t}, ops.sin(x) + t * dense(x))


def _functional(function):
    x = keras.Input((2,), dtype="float64")
    return keras.Model(x, function(x))


# Models whose second derivatives are exactly 0, where TensorFlow finds no path.
AFFINE = {
    "affine": lambda x: 2.0 * keras.layers.Dense(1, dtype="float64")(x) + 1.0,
    "sum": lambda x: ops.sum(x, axis=-1, keepdims=True),
    "concatenation": lambda x: ops.concatenate([x, ops.zeros_like(x)], axis=-1),
    "product with a constant": lambda x: ops.multiply(x, np.array([2.0, 3.0])),
    "reshape": lambda x: ops.reshape(x, (-1, 2, 1)) / 3.0,
}


@pytest.mark.parametrize("engine", ["tape", "jet"])
@pytest.mark.parametrize("name", AFFINE)
def test_affine_models_have_second_derivative_zero(name, engine):
    model, x = _functional(AFFINE[name]), np.ones((3, 2))
    values = keras_smooth.derivatives(model, x, 2, engine=engine)
    assert not np.any(values[2]) and np.any(values[1])


def test_affine_input_has_second_derivative_zero():
    points = {name: np.linspace(0.1, 1.0, 3)[:, None] for name in "xt"}
    second = keras_smooth.derivatives(_two_inputs(), points, 2, engine="tape")[2]
    assert not np.any(second["t"]["t"]) and np.all(second["x"]["t"])
    # Jets compute it from sums along lines, whose terms cancel up to rounding.
    second = keras_smooth.derivatives(_two_inputs(), points, 2, engine="jet")[2]
    np.testing.assert_allclose(second["t"]["t"], 0.0, atol=1e-15)


# Jets ignore the stopped gradient and warn about it once.
@pytest.mark.filterwarnings("ignore:.*declares another gradient")
@pytest.mark.parametrize("engine", ["tape", "jet"])
@pytest.mark.parametrize("function", [ops.round, ops.floor, ops.stop_gradient])
def test_rounding_and_stopped_gradients_raise_lost(function, engine):
    if (function, engine) == (ops.stop_gradient, "jet"):
        # Jets differentiate the computed function.
        x = np.ones((3, 2)) / 3
        model = _functional(function)
        dy = keras_smooth.directional(model, x, np.ones(2), 1, engine=engine)[1]
        exact, error = derivative(lambda t: np.asarray(model(x + t)), 1)
        np.testing.assert_allclose(dy, exact, atol=1e-9 + 30 * error)
        return
    with pytest.raises(ValueError, match="order 1 is lost"):
        keras_smooth.derivatives(
            _functional(function), np.ones((3, 2)) / 3, 1, engine=engine
        )
