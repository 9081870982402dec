"""The rule of shapes, documented in the docstring of `keras_smooth`, for all operators."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops, tree

import keras_smooth

SIZE = 5

# Shapes of samples of x, and of y.
INPUTS = {
    "(batch, d)": (3,),
    "(batch, atoms, 3)": (2, 3),
    "(batch, 1)": (1,),
    "(batch, 1, 1)": (1, 1),
    "(batch,)": (),
    "a dict": {"x": (2,), "t": (1,)},
    "a tuple": ((1,), ()),
}
OUTPUTS = {
    "(batch,)": (),
    "(batch, 1)": (1,),
    "(batch, k)": (2,),
    # Three axes of few numbers: tapes have a sweep for each number of y.
    "(batch, h, w)": (1, 2, 1),
    "a dict": {"u": (1,), "v": (2,)},
}


def leaves(shapes):
    """Returns shapes in the order in which Keras flattens a structure of them."""
    if isinstance(shapes, dict):
        return [shapes[key] for key in sorted(shapes)]
    return list(shapes) if shapes and isinstance(shapes[0], tuple) else [shapes]


def structured(shapes, make):
    """Returns the results of `make` for each shape, in the structure of the shapes."""
    if isinstance(shapes, dict):
        return {key: make(shape) for key, shape in shapes.items()}
    if shapes and isinstance(shapes[0], tuple):
        return tuple(map(make, shapes))
    return make(shapes)


def function_to(outputs):
    """Returns a function of all numbers of a sample, whose outputs have these shapes."""

    def function(x):
        parts = [ops.reshape(part, (SIZE, -1)) for part in tree.flatten(x)]
        total = ops.sum(ops.sin(ops.concatenate(parts, axis=1)), axis=1, keepdims=True)

        def output(shape):
            factors = np.arange(1.0, 1.0 + math.prod(shape))
            return ops.reshape(total * factors, (SIZE, *shape))

        return structured(outputs, output)

    return function


def shapes_of_derivatives(y, x, order):
    """The rule: the shape of y, followed by that of a sample of x once for each order."""
    axes = [() if math.prod(shape) == 1 else shape for shape in leaves(x)]
    return [
        (SIZE, *out, *itertools.chain(*axes_of_order))
        for out in leaves(y)
        for axes_of_order in itertools.product(axes, repeat=order)
    ]


def like_y(y, x):
    return shapes_of_derivatives(y, x, 0)


def like_x(y, x):
    return [(SIZE, *shape) for shape in leaves(x)]


def index_of_first_number(x):
    """Returns a list with the multi-index of the first number of a sample."""
    shape = leaves(x)[0]
    key = {dict: [sorted(x)[0]]}.get(type(x), [0]) if len(leaves(x)) > 1 else []
    return (tuple([*key, *([0] * len(shape) or [0] * (not key))]),)


# Operators, and the shapes of their results.
OPERATORS = {
    "derivatives": (
        lambda f, x, _, engine: keras_smooth.derivatives(f, x, 2, engine=engine),
        lambda y, x: [
            shape for order in range(3) for shape in shapes_of_derivatives(y, x, order)
        ],
    ),
    "jacobian": (
        lambda f, x, _, engine: keras_smooth.jacobian(f, x, engine=engine),
        lambda y, x: shapes_of_derivatives(y, x, 1),
    ),
    "hessian": (
        lambda f, x, _, engine: keras_smooth.hessian(f, x, engine=engine),
        lambda y, x: shapes_of_derivatives(y, x, 2),
    ),
    "directional": (
        lambda f, x, _, engine: keras_smooth.directional(f, x, x, 2, engine=engine)[2],
        like_y,
    ),
    "advection": (
        lambda f, x, _, engine: keras_smooth.advection(f, x, x, engine=engine),
        like_y,
    ),
    "partials": (
        lambda f, x, by, engine: keras_smooth.partials(f, x, [by * 2], engine=engine)[1],
        like_y,
    ),
    "linear_operator": (
        lambda f, x, by, engine: keras_smooth.linear_operator(
            f, x, {by: 2.0, by * 2: np.ones(SIZE)}, engine=engine
        ),
        like_y,
    ),
    "laplacian": (
        lambda f, x, _, engine: keras_smooth.laplacian(f, x, engine=engine),
        like_y,
    ),
    "biharmonic": (lambda f, x, _, engine: keras_smooth.biharmonic(f, x), like_y),
    "gradient": (
        lambda f, x, _, engine: keras_smooth.gradient(f, x, engine=engine),
        like_x,
    ),
    "hessian_vector_product": (
        lambda f, x, _, engine: keras_smooth.hessian_vector_product(f, x, x, engine=engine),
        like_x,
    ),
}
OF_ONE_NUMBER = ("gradient", "hessian_vector_product")


def shapes_of(value):
    return [tuple(leaf.shape) for leaf in tree.flatten(value)]


@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("y", OUTPUTS)
@pytest.mark.parametrize("x", INPUTS)
def test_all_operators_follow_the_rule(x, y, engine, rng):
    x, y = INPUTS[x], OUTPUTS[y]
    points = structured(x, lambda shape: rng.normal(size=(SIZE, *shape)))
    function, index = function_to(y), index_of_first_number(x)
    for name, (operator, expected) in OPERATORS.items():
        if name in OF_ONE_NUMBER and (len(leaves(y)) > 1 or math.prod(leaves(y)[0]) > 1):
            with pytest.raises(ValueError, match=f"{name} needs one output number"):
                operator(function, points, index, engine)
            continue
        value = operator(function, points, index, engine)
        assert shapes_of(value) == expected(y, x), name


# Vector fields: axes of y that are summed over stay with size 1.
FIELDS = {
    "divergence (batch, d)": ("divergence", (3,), (1,)),
    "divergence (batch, 1)": ("divergence", (1,), (1,)),
    "divergence (batch,)": ("divergence", (), ()),
    "divergence (batch, atoms, 3)": ("divergence", (2, 3), (1, 1)),
    "curl (batch, 2)": ("curl", (2,), (1,)),
    "curl (batch, 3)": ("curl", (3,), (3,)),
    "vector_laplacian (batch, d)": ("vector_laplacian", (4,), (4,)),
    "vector_laplacian (batch, atoms, 3)": ("vector_laplacian", (2, 3), (2, 3)),
}


@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("name", FIELDS)
def test_operators_of_vector_fields_follow_the_rule(name, engine, rng):
    operator, shape, expected = FIELDS[name]
    x = rng.normal(size=(SIZE, *shape))
    value = getattr(keras_smooth, operator)(ops.sin, x, engine=engine)
    assert value.shape == (SIZE, *expected)


@pytest.mark.parametrize("x", [(3,), (2, 3), (1,), (1, 3)], ids=str)
@pytest.mark.parametrize("y", [(), (1,), (2,)], ids=str)
def test_operators_of_one_order_agree(x, y, rng):
    points = rng.normal(size=(SIZE, *x))
    function = function_to(y)
    _, slopes, curvature = keras_smooth.derivatives(function, points, 2)
    jacobian, hessian = (
        operator(function, points)
        for operator in (keras_smooth.jacobian, keras_smooth.hessian)
    )
    # Some rounding, since they may come from different engines.
    np.testing.assert_allclose(jacobian, slopes, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(hessian, curvature, rtol=1e-12, atol=1e-14)
    if math.prod(y) == 1:
        gradient = keras_smooth.gradient(function, points)
        np.testing.assert_allclose(np.ravel(gradient), np.ravel(slopes), atol=1e-14)


@pytest.mark.parametrize("energies", [(), (1,)], ids=str)
def test_forces_are_valid_targets_of_derivative_models_and_monitors(energies, rng):
    """Springs to the origin: E = |x|^2 / 2 with forces -x, an array (batch, atoms, 3)."""
    inner = keras.Sequential(
        [keras.Input((2, 3), dtype="float64"), Springs(dtype="float64")]
    )
    x = rng.normal(size=(SIZE, 2, 3))
    energy, forces = np.reshape((x**2).sum(axis=(1, 2)) / 2, (SIZE, *energies)), -x
    np.testing.assert_allclose(-keras_smooth.gradient(inner, x), forces, atol=1e-14)
    model = keras_smooth.DerivativeModel(inner, order=1)
    # With the wrong sign they are the forces of another energy.
    for dy, is_right in ((-forces, True), (-forces[:, None], True), (forces, False)):
        model.compile(loss={"y": "mse", "dy": "mse"}, jit_compile=False)
        loss = model.evaluate(x, {"y": energy, "dy": dy}, verbose=0, return_dict=True)[
            "loss"
        ]
        monitor = keras_smooth.DerivativeMonitor(x, (energy, dy), order=1)
        monitor.set_model(inner)
        monitor.on_train_begin()
        errors = max(monitor.measure().values())
        # Keras rounds targets to float32, and the monitor rounds in float64.
        assert (loss < 1e-12 and errors < 1e-25) == is_right


class Springs(keras.layers.Layer):
    """Returns the energy of springs to the origin."""

    def call(self, x):
        return ops.sum(x**2, axis=(1, 2))[:, None] / 2


@pytest.mark.parametrize(
    "combined",
    [tf.multiply, tf.subtract, tf.divide, tf.maximum, lambda x, y: tf.pow(tf.exp(x), y)],
)
def test_operations_that_broadcast_as_many_groups_of_axes_as_tensorflow_can(combined, rng):
    first, second = np.divmod(np.arange(16), 4)

    def by_broadcasting(x):
        return combined(x[:, :, None, :, None], tf.exp(x)[:, None, :, None, :])

    def by_gathering(x):
        flat = tf.reshape(tf.transpose(x, (0, 2, 1)), (-1, 4))
        pairs = combined(
            tf.gather(flat, first, axis=1), tf.gather(tf.exp(flat), second, axis=1)
        )
        return tf.transpose(tf.reshape(pairs, (-1, 2, 2, 2, 2)), (0, 2, 4, 1, 3))

    x = rng.normal(size=(3, 2, 2))
    results = [
        keras_smooth.derivatives(function, x, engine="jet")
        for function in (by_broadcasting, by_gathering)
    ]
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(results[0][0], by_broadcasting(tf.constant(x)))


@pytest.mark.parametrize("part", [0.5, np.arange(3.0), np.ones((1, 1, 3))])
@pytest.mark.parametrize("is_real", [True, False])
def test_complex_numbers_with_a_part_of_another_rank(part, is_real, rng):
    def product(x, other):
        z = tf.complex(x, other) if is_real else tf.complex(other, x)
        z = z * tf.exp(z)
        return tf.math.real(z) + tf.math.imag(z)

    x, part = tf.constant(rng.normal(size=(4, 2, 3))), tf.constant(part, tf.float64)
    results = [
        keras_smooth.derivatives(function, x, engine="jet")
        for function in (
            lambda x: product(x, part),
            lambda x: product(x, tf.broadcast_to(part, x.shape)),
        )
    ]
    for actual, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(actual, expected)
