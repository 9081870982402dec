"""verify=True: right derivatives pass with a valid error bound, and wrong ones raise."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from representatives import representatives

import keras_smooth
from keras_smooth.differentiation import differences, kinks
from keras_smooth.differentiation.agreements import Agreement
from keras_smooth.differentiation.verification import Verification

FLOAT64 = {"dtype": "float64"}


@pytest.fixture
def x():
    return np.linspace(-1.0, 1.0, 9)[:, None]


# Function, order, and its exact derivatives.
RIGHT = {
    "sin": (ops.sin, [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)]),
    "fast": (
        lambda x: ops.sin(30.0 * x),
        [
            lambda x: np.sin(30 * x),
            lambda x: 30 * np.cos(30 * x),
            lambda x: -900 * np.sin(30 * x),
        ],
    ),
    "steep": (lambda x: ops.exp(9.0 * x), [lambda x, k=k: 9**k * np.exp(9 * x) for k in range(4)]),
    "near the end of its domain": (
        lambda x: ops.log(x + 1.1),
        [lambda x: np.log(x + 1.1), lambda x: 1 / (x + 1.1), lambda x: -1 / (x + 1.1) ** 2],
    ),
    "affine": (lambda x: 2.0 * x + 0.0 * x**3, [lambda x: 2 * x, lambda x: 2 + 0 * x, lambda x: 0 * x]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", RIGHT)
def test_right_derivatives_are_verified_with_a_valid_bound(x, name, dtype):
    function, exact = RIGHT[name]
    x = x.astype(dtype)
    entries = keras_smooth.derivatives(function, x, len(exact) - 1, verify=True)
    verification = entries.verification
    assert verification.ok and verification.num_points == 9 and verification.dtype == dtype
    for entry, expected, agreement in zip(entries, exact, verification.agreements):
        assert agreement.bound <= agreement.limit
        # The bound holds up to the rounding of this comparison itself.
        rounding = np.finfo(dtype).eps * 100 * agreement.scale
        error = np.abs(entry - expected(x.astype("float64"))).max()
        assert error <= agreement.bound + rounding
    assert str(verification).count("agrees") == len(exact)


# The last column is 1 or 0 at every x, and its derivatives are differences of equal terms.
CONSTANT = {
    "one": lambda x: x / ops.sqrt(x * x),
    "zero": lambda x: ops.concatenate([ops.sin(x), x / ops.sqrt(x * x) - 1.0], -1),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("name", CONSTANT)
def test_constant_outputs_have_derivatives_of_the_size_of_rounding(name, engine, dtype):
    x = np.linspace(0.3, 2.0, 7, dtype=dtype)[:, None]
    values = keras_smooth.derivatives(CONSTANT[name], x, 2, engine=engine, verify=True)
    # Measured to 8 roundings.
    for derivative in values[1:]:
        np.testing.assert_allclose(derivative[:, -1], 0.0, atol=50 * np.finfo(dtype).eps)


def test_an_output_that_is_constant_has_no_other_derivative():
    @tf.custom_gradient
    def lie(x):
        return 0.0 * x, lambda upstream: 1e-9 * upstream

    x = np.linspace(0.3, 2.0, 7)[:, None]
    with pytest.raises(ValueError, match="differs by 1.0e-09"):
        keras_smooth.derivatives(
            lambda x: tf.concat([tf.sin(x), lie(x)], -1), x, 1, engine="tape", verify=True
        )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_wrong_derivative_beside_a_jump_is_not_verified(dtype):
    """The steps between two jumps are short, and rounding is large at short steps."""

    @tf.custom_gradient
    def straight_through(x):
        return tf.round(x), lambda upstream: upstream

    def function(x):
        return straight_through(tf.cast(x, dtype)) ** 2

    x = np.linspace(3.42, 3.45, 3, dtype=dtype)[:, None]
    with pytest.raises(ValueError, match="differs by 2.0e|not enough digits in float32"):
        keras_smooth.laplacian(function, x, engine="tape", verify=True)


@pytest.mark.filterwarnings("ignore:.*operations with kinks:UserWarning")
def test_constants_on_one_side_of_kinks_verify(rng):
    """A penalty, max(0, g)^2: its second derivative jumps at distances of all sizes."""
    x = rng.uniform(-2.0, 2.0, (40, 2))
    _, _, d2y = keras_smooth.derivatives(lambda x: ops.relu(x) ** 2, x, 2, verify=True)
    np.testing.assert_array_equal(ops.einsum("niii->ni", d2y), 2.0 * (x > 0.0))


@pytest.mark.parametrize("unit", [1e-4, 1e-2, 1e5])
def test_points_in_any_unit_are_verified(x, unit):
    entries = keras_smooth.derivatives(lambda x: ops.sin(x / unit), x * unit, verify=True)
    np.testing.assert_allclose(entries[2] * unit**2, -np.sin(x), atol=1e-12)
    assert entries.verification.ok


def test_bound_reflects_the_rounding_of_the_dtype(make_model, x):
    bounds = [
        keras_smooth.derivatives(make_model(dtype=dtype), x, verify=True)
        .verification["d2y"]
        .bound
        for dtype in ("float32", "float64")
    ]
    # Both are compared with differences in float64, so that the bound of float32 comes from
    # its derivatives alone. Measured: 3e-8 and 1e-12.
    assert bounds[1] < 1e-10 < 1e-9 < bounds[0] < 1e-6


OPERATORS = {
    "gradient": keras_smooth.gradient,
    "jacobian": keras_smooth.jacobian,
    "hessian": keras_smooth.hessian,
    "laplacian": keras_smooth.laplacian,
    "derivatives": keras_smooth.derivatives,
    "directional": lambda model, x, **options: keras_smooth.directional(
        model, x, np.array([1.0, -20.0, 0.5]), 2, **options
    ),
}


@pytest.mark.parametrize(
    "operator", representatives(OPERATORS, ["derivatives", "directional"])
)
def test_all_operators_accept_verify(make_model, operator):
    model, x = make_model(dim=3), np.random.default_rng(0).normal(size=(4, 3))
    plain, verified = (
        OPERATORS[operator](model, x, verify=verify) for verify in (False, True)
    )
    keras.tree.map_structure(np.testing.assert_array_equal, tuple(plain), tuple(verified))
    # A tuple has the attribute `verification`, and so has a tensor.
    assert verified.verification.ok and not hasattr(plain, "verification")
    assert verified.verification.num_points == 4


def test_each_tensor_of_a_structure_has_a_verification():
    x = {"x": np.ones((3, 1)), "t": np.ones((3, 2))}
    model = lambda z: ops.sin(z["x"]) * ops.sum(z["t"] ** 2, axis=1, keepdims=True)  # noqa: E731
    slopes = keras_smooth.gradient(model, x, verify=True)
    bounds = {name: slope.verification["dy"].bound for name, slope in slopes.items()}
    # Slopes of size 2: rounding divided by the smallest step.
    assert bounds.keys() == x.keys() and all(0 <= bound < 1e-9 for bound in bounds.values())
    laplacian = keras_smooth.laplacian(model, x, verify=True)
    assert laplacian.verification["laplacian"].bound < 1e-6


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_difference_estimates_never_report_zero_error_by_chance(dtype):
    """40,000 functions tanh(a x + b): by rounding, all degrees may agree on a wrong value."""
    rng, rounding = np.random.default_rng(0), float(np.finfo(dtype).eps)
    a, b, x = rng.uniform([[0.2], [-3.0], [-1.0]], [[3.0], [3.0], [1.0]], (3, 40_000))
    steps = 3.0 * 3.0 ** -np.arange(11.0)
    nodes = np.append(0.0, differences._nodes())
    lines = a * (steps[:, None, None] * nodes[:, None] + x) + b
    samples = np.tanh(lines).astype(dtype).astype("float64")[:, :, None]
    y = np.tanh(a * x + b)
    exact = {1: a * (1.0 - y**2), 2: -2.0 * y * (1.0 - y**2) * a**2}
    rows = differences.estimates(samples, steps, 2, rounding)
    for k, derivative in exact.items():
        value, error = rows[k].value, rows[k].error
        # verify=True requires half of the digits. Measured: 0.2 of this limit at most, and up
        # to 3 times the limit where an error was estimated as 0.
        limit = rounding**0.5 * np.abs(derivative).max()
        assert np.abs(value - derivative).max() < limit
        assert error.min() > 0.0 and error.max() < limit


def test_verification_repr_and_str():
    fields = {"scale": 1.0, "error": 1e-9, "limit": 1e-7, "worst": 2, "enough_digits": True}
    rows = [
        Agreement(name, difference=difference, **fields)
        for name, difference in (("y", 0.0), ("dy", 0.5))
    ]
    verification = Verification("jet", "float64", 9, tuple(rows))
    comparison = "ngine 'jet' against values of the model, 9 points, float64"
    assert repr(verification) == (
        f"<Verification: e{comparison}: y to 1.0e-09, dy differs by 5.0e-01 at point 2>"
    )
    assert str(verification).startswith(f"E{comparison}\n")


def test_several_inputs_are_verified():
    x, t = np.random.default_rng(1).normal(size=(2, 5, 1))
    entries = keras_smooth.derivatives(
        lambda z: ops.sin(z["x"]) * ops.exp(z["t"]), {"x": x, "t": t}, verify=True
    )
    assert entries.verification.ok
    np.testing.assert_allclose(entries[2]["x"]["t"], np.cos(x) * np.exp(t))


def with_wrong_gradient(function, slope):
    @tf.custom_gradient
    def function_with_wrong_gradient(x):
        return function(x), lambda upstream: upstream * slope(x)

    return function_with_wrong_gradient


WRONG_GRADIENTS = {
    "slope": (with_wrong_gradient(tf.sin, lambda x: 1.001 * tf.cos(x)), 1),
    "curvature": (
        with_wrong_gradient(
            tf.tanh, lambda x: tf.stop_gradient(1 - tf.tanh(x) ** 2) + 0 * x
        ),
        2,
    ),
    "straight through": (with_wrong_gradient(tf.round, lambda x: 1 + 0 * x), 1),
    "at one point": (
        with_wrong_gradient(tf.sin, lambda x: tf.cos(x) + tf.cast(x > 0.9, x.dtype)),
        1,
    ),
}


@pytest.mark.filterwarnings("ignore:.* declares another gradient")
@pytest.mark.parametrize("name", WRONG_GRADIENTS)
def test_wrong_gradients_raise(x, name):
    function, order = WRONG_GRADIENTS[name]
    with pytest.raises(ValueError, match="could not be verified"):
        keras_smooth.derivatives(function, x, order, engine="tape", verify=True)
    # Jets differentiate what is computed, except for `round`, whose derivative is lost.
    if name == "straight through":
        with pytest.raises(ValueError, match="order 1 is lost"):
            keras_smooth.derivatives(function, x, order, engine="jet", verify=True)
    else:
        keras_smooth.derivatives(function, x, order, engine="jet", verify=True)


@pytest.mark.parametrize("function", [tf.abs, tf.nn.relu, lambda x: tf.maximum(x, -x / 2)])
def test_point_at_a_kink_raises(x, function):
    with pytest.raises(ValueError, match=r"(?s)could not be verified.*at point 4"):
        keras_smooth.gradient(function, x, verify=True)
    # Next to the kink there is a derivative.
    keras_smooth.gradient(function, x + 0.02, verify=True)


@pytest.mark.parametrize(
    ("kind", "operator"),
    representatives(
        [
            (kind, operator)
            for kind in ("LayerNormalization", "GroupNormalization")
            for operator in ("derivatives", "hessian", "laplacian")
        ],
        [("GroupNormalization", "laplacian")],
    ),
)
def test_keras_normalization_is_right_by_jets_and_raises_by_tapes(operator, kind):
    """Nested tapes silently return a wrong y'' for these layers; jets return the right one."""
    layers = [keras.Input((4,), **FLOAT64), keras.layers.Dense(4, "tanh", **FLOAT64)]
    options = {"groups": 2} if kind == "GroupNormalization" else {}
    layers += [
        getattr(keras.layers, kind)(**FLOAT64, **options),
        keras.layers.Dense(1, **FLOAT64),
    ]
    model, x = keras.Sequential(layers), np.random.default_rng(2).normal(size=(3, 4))
    function = getattr(keras_smooth, operator)
    with pytest.raises(ValueError, match=r"(?s)d2y.*differs|laplacian.*differs"):
        function(model, x, engine="tape", verify=True)
    by_jets = function(model, x, engine="jet", verify=True)
    by_auto = function(model, x, verify=True)
    keras.tree.map_structure(np.testing.assert_array_equal, tuple(by_auto), tuple(by_jets))


ATOMS, WEIGHTS = 2, np.array([[1.0], [2.0], [-1.5]])
SEGMENTS = np.repeat(np.arange(3), ATOMS)


def branches_on_values(x):
    """Cannot be traced, and works for one batch only."""
    return ops.tanh(x * WEIGHTS) if float(x[0, 0]) < 1e9 else x


def bonds(x):
    """Bonds of molecules, given by the indices of their atoms in the whole batch."""
    atoms = ops.reshape(x["atoms"], (-1, 1))
    first, second = (ops.take(atoms, x["bonds"][:, k], axis=0) for k in range(2))
    return ops.exp(-ops.sum((first - second) ** 2, axis=1))


POSITIONS = np.random.default_rng(4).normal(size=(3, ATOMS, 1))
BONDS = ATOMS * np.arange(3)[:, None] + np.arange(ATOMS)
# Models that work for this batch only.
MODELS_OF_ONE_BATCH = {
    "a number for each sample": (lambda x: ops.tanh(x * WEIGHTS), WEIGHTS + 0.3),
    "not to be traced": (branches_on_values, WEIGHTS + 0.3),
    "the size of the batch": (
        lambda x: ops.reshape(ops.tanh(ops.reshape(x, (3 * ATOMS,))), (3, ATOMS, 1)),
        POSITIONS,
    ),
    "owners of atoms": (
        lambda x: tf.math.segment_sum(ops.tanh(ops.reshape(x, (-1, 1))), SEGMENTS),
        POSITIONS,
    ),
    "bonds of atoms": (bonds, {"atoms": POSITIONS, "bonds": BONDS}),
}


@pytest.mark.filterwarnings("ignore:.*cannot trace it")
@pytest.mark.parametrize("name", MODELS_OF_ONE_BATCH)
def test_models_that_work_for_one_batch_only_are_verified(name):
    function, x = MODELS_OF_ONE_BATCH[name]
    verification = keras_smooth.laplacian(function, x, verify=True).verification
    # Rounding divided by the smallest step. Measured: up to 2e-10.
    assert verification.ok and verification["laplacian"].bound < 1e-8


def relaxed(x):
    """The solution of y = cos(y) / 2 + x, by steps until all samples change by less than 0.1."""

    def step(y):
        return ops.cos(y) / 2 + x

    def changes(y):
        return tf.reduce_max(tf.abs(step(y) - y)) > 0.1

    return tf.while_loop(changes, lambda y: (step(y),), (0.0 * x + 0.5,))[0]


# The function of a sample is another one in a batch of many samples.
DECIDED_BY_THE_BATCH = {
    "a sum": lambda x: tf.cond(tf.reduce_sum(x) < 30.0, lambda: ops.cos(x), lambda: x**2),
    "the size": lambda x: tf.cond(tf.shape(x)[0] < 9, lambda: ops.exp(x), lambda: x**3),
    "the number of turns": relaxed,
    "a scale": lambda x: ops.tanh(x * (1.0 + tf.stop_gradient(tf.round(tf.norm(x) / 9)))),
}


@pytest.mark.parametrize("name", DECIDED_BY_THE_BATCH)
def test_models_that_decide_by_the_whole_batch_are_verified(name):
    x = np.linspace(0.55, 1.4, 4)[:, None]
    function = DECIDED_BY_THE_BATCH[name]
    verification = keras_smooth.derivatives(
        function, x, engine="jet", verify=True
    ).verification
    # Rounding divided by the smallest step. Measured: up to 3e-9.
    assert verification.ok and verification["d2y"].bound < 1e-6


def test_wrong_gradient_of_a_model_of_one_batch_raises():
    function = WRONG_GRADIENTS["slope"][0]
    with pytest.raises(ValueError, match="could not be verified"):
        keras_smooth.gradient(
            lambda x: function(x * WEIGHTS), WEIGHTS, engine="tape", verify=True
        )


def test_invalid_arguments_raise(make_model, x):
    for arguments, message in (
        ({"training": True}, "training=True"),
        ({"order": 0}, "1 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            keras_smooth.derivatives(make_model(), x, verify=True, **arguments)
    with pytest.raises(ValueError, match="outside of tf.function"):
        tf.function(lambda x: keras_smooth.derivatives(make_model(), x, verify=True))(x)


KINKS = {
    "relu": lambda: keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)]
    ),
    "maximum": lambda: (
        lambda x: ops.maximum(x[:, :1], 0.5 * x[:, 1:]) + 0.1 * x[:, 1:] ** 2
    ),
    "absolute": lambda: lambda x: ops.abs(x[:, :1]) * x[:, 1:],
    "pooling": lambda: lambda x: ops.max(x, axis=-1, keepdims=True),
    # Constant between the points and kinks at several distances.
    "clipped": lambda: lambda x: 3.0 + ops.relu6(9.0 * x[:, :1]) + ops.relu(x[:, 1:] - 0.7),
    "branches": lambda: lambda x: ops.where(x > 0.0, x, 0.3 * x)[:, :1],
    "small, in a wave": lambda: (
        lambda x: ops.sum(ops.sin(3.0 * x) + 0.01 * ops.relu(x), -1)
    ),
    # Equal at both points.
    "a hat": lambda: lambda x: ops.relu(1.0 - 4.0 * ops.abs(x[:, :1] + 0.1)),
}


@pytest.mark.parametrize("name", KINKS)
def test_kinks_between_the_points_warn_once(name):
    model, x = KINKS[name](), np.array([[0.31, -0.72], [-0.55, 0.43]])
    # The first derivative of a piecewise linear function is right away from its kinks.
    keras_smooth.gradient(model, x, verify=True)
    with pytest.warns(UserWarning, match="operations with kinks"):
        keras_smooth.hessian(model, x, verify=True)
    # It warns once for each model.
    keras_smooth.hessian(model, x, verify=True)


def huber(x):
    """Its first derivative is continuous. The kink of |x| is where |x| is not selected."""
    size = ops.abs(x)
    return ops.where(size <= 0.4, 0.5 * x**2, 0.4 * (size - 0.2))


def error_function(x):
    """The error function and its complement where it is near 1, as TFP computes it."""
    size = tf.abs(x)
    tail = tf.where(x > 0.0, 1.0 - tf.math.erfc(size), tf.math.erfc(size) - 1.0)
    return tf.where(size < 0.5, tf.math.erf(x), tail)


def symmetric_matrices(x):
    above = ops.stack([x[:, 0], x[:, 1]], axis=-1)
    return ops.stack([above, ops.stack([x[:, 1], 3.0 - x[:, 0]], axis=-1)], axis=-1)


# Functions whose first derivative is continuous between the points.
SMOOTH = {
    "elu": lambda x: ops.elu(x),
    "distance": lambda x: ops.sqrt(ops.sum(x**2, axis=-1, keepdims=True)),
    "guarded": lambda x: ops.where(x > 5.0, 0.0, x**2),
    "kink far below": lambda x: ops.relu(x + 4.0) * ops.sin(x),
    "wide bounds": lambda x: ops.clip(ops.tanh(x), -3.0, 3.0),
    "unit vectors": lambda x: x / ops.maximum(ops.norm(x, axis=-1, keepdims=True), 1e-6),
    "huber": huber,
    "error function": error_function,
    "phase": lambda x: tf.math.angle(tf.complex(x[:, 0], x[:, 1])),
    "angle": lambda x: tf.atan2(x[:, 1], x[:, 0]),
    "eigenvalues": lambda x: tf.linalg.eigvalsh(symmetric_matrices(x)),
    "singular values": lambda x: tf.linalg.svd(
        symmetric_matrices(x) + 4.0 * np.eye(2), compute_uv=False
    ),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_functions_without_kinks_between_the_points_do_not_warn(name):
    x = np.array([[0.31, -0.72], [-0.55, 0.43], [0.84, 0.29]])
    keras_smooth.hessian(SMOOTH[name], x, verify=True)


def test_kinks_that_cannot_be_searched_raise_no_error(monkeypatch):
    def fails(*arguments):
        raise ValueError("It fails.")

    monkeypatch.setattr(kinks, "lie_between", fails)
    keras_smooth.hessian(ops.relu, np.array([[0.5], [-0.5]]), verify=True)


def computes_with_numpy(x):
    return np.sin(x[:, :1]) * x[:, 1:]


def computes_with_its_array(x):
    return tf.constant(np.exp(x.numpy()))[:, :1] + x[:, 1:] ** 2


class Frozen(keras.layers.Layer):
    def call(self, x):
        return tf.tanh(x) * np.cosh(x)


HIDDEN_FROM_TAPES = {
    "NumPy": computes_with_numpy,
    "array": computes_with_its_array,
    "layer": Frozen(),
}


@pytest.mark.parametrize("engine", ["auto", "tape", "jet"])
@pytest.mark.parametrize("name", HIDDEN_FROM_TAPES)
@pytest.mark.filterwarnings("ignore:.*cannot trace it:UserWarning")
def test_numpy_computations_that_tapes_cannot_see_raise(name, engine):
    x = np.random.default_rng(0).uniform(0.2, 1.0, (5, 2))
    with pytest.raises(TypeError, match="keras.ops in the place of NumPy"):
        keras_smooth.jacobian(HIDDEN_FROM_TAPES[name], x, engine=engine)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore:.*cannot trace it:UserWarning")
def test_python_branches_on_values_are_differentiated(dtype):
    def model(x):
        return ops.sin(3.0 * x) if x.numpy().max() > 0.0 else ops.cos(x)

    x = np.linspace(0.1, 1.0, 7, dtype=dtype)[:, None]
    _, dy, d2y = keras_smooth.derivatives(model, x)
    # Rounding of float32: measured 4e-7 and 2e-6.
    np.testing.assert_allclose(
        dy, 3 * np.cos(3 * x), atol=2e-5 if dtype == "float32" else 1e-12
    )
    np.testing.assert_allclose(
        d2y, -9 * np.sin(3 * x), atol=2e-5 if dtype == "float32" else 1e-12
    )


def test_one_number_for_all_samples_raises(x):
    for engine in ("auto", "tape", "jet"):
        with pytest.raises(ValueError, match="one number for all samples"):
            keras_smooth.gradient(lambda x: ops.sum(x**2), x, engine=engine)


def newton_step(x):
    """The root of u^3 = x + 3 by one Newton step: only its first derivative is right."""
    u = tf.constant(np.cbrt(np.asarray(x) + 3.0))
    return u - (u**3 - x - 3.0) / (3.0 * u**2)


@pytest.mark.filterwarnings("ignore:.*cannot trace it:UserWarning")
def test_numpy_computations_are_compared_at_all_orders_and_points():
    x = np.linspace(-1.0, 1.0, 3001)[:, None]
    exact = (x + 3.0) ** (-2 / 3) / 3.0
    np.testing.assert_allclose(keras_smooth.gradient(newton_step, x), exact, rtol=1e-12)
    with pytest.raises(TypeError, match="order 2 is wrong.*keras.ops"):
        keras_smooth.derivatives(lambda x: newton_step(x) + x**2, x)
    with pytest.raises(TypeError, match="order 1 is wrong.*keras.ops"):
        keras_smooth.gradient(
            lambda x: x**2 + tf.constant(np.maximum(np.asarray(x) - 0.8, 0)), x
        )


@pytest.mark.filterwarnings("ignore:.*cannot trace it:UserWarning")
def test_numpy_is_named_in_errors_of_graphs_and_objectives(x):
    with pytest.raises(ValueError, match="keras.ops in the place of NumPy"):
        keras_smooth.gradient(lambda x: tf.constant(np.sin(x)), x)
    with pytest.raises(TypeError, match="keras.ops in the place of NumPy"):
        tf.function(lambda x: keras_smooth.gradient(computes_with_numpy, x))(
            np.ones((3, 2))
        )
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "tanh")])
    for objective in (
        lambda model, x: ops.mean(np.sin(model(x))),
        lambda model, x: ops.mean(model(x)) * float(x[0, 0]),
        lambda model, x: ops.mean(model(x) * x.numpy()),
    ):
        with pytest.raises(TypeError, match="keras.ops in the place of NumPy"):
            keras_smooth.fit_lbfgs(model, np.ones((3, 1)), objective=objective, verbose=0)


# Without a trace only nested tapes are left, and TensorFlow returns these derivatives wrong.
WRONG_BY_TAPES = {
    "labels that move": lambda x: tf.nn.softmax_cross_entropy_with_logits(tf.cos(x), x)[
        :, None
    ],
    "a variance": lambda x: tf.nn.moments(tf.sin(x), [1], keepdims=True)[1],
    "a gradient that is held": lambda x: tf.sin(x) * tf.stop_gradient(x),
}


@pytest.mark.filterwarnings("ignore:.*cannot trace it")
@pytest.mark.parametrize("engine", ["auto", "jet", "tape"])
@pytest.mark.parametrize("name", WRONG_BY_TAPES)
def test_wrong_derivative_of_an_untraceable_function_warns(name, engine):
    def function(x):
        return WRONG_BY_TAPES[name](x) if x[0, 0] > 0 else x

    x = np.random.default_rng(0).uniform(0.2, 1.0, (5, 2))
    with pytest.warns(
        UserWarning, match="order [12] is wrong by .*engine='jet', which does"
    ):
        keras_smooth.derivatives(function, x, 2, engine=engine)


@pytest.mark.filterwarnings("ignore:.*cannot trace it")
@pytest.mark.parametrize("engine", ["auto", "tape"])
def test_right_derivative_of_an_untraceable_function_does_not_warn(engine):
    def function(x):
        return tf.sin(x) * x[:, ::-1] if x[0, 0] > 0 else x

    x = np.random.default_rng(0).uniform(0.2, 1.0, (5, 2))
    # A warning is an error in the tests.
    keras_smooth.derivatives(function, x, 3, engine=engine)


class WithoutArguments(keras.Model):
    """A subclassed model as users write it, of which Keras cannot build a copy."""

    def __init__(self, activation, rnn=False):
        super().__init__()
        self.hidden = [keras.layers.Dense(8, activation) for _ in range(2)]
        self.rnn = keras.layers.LSTM(4) if rnn else None
        self.out, self.factor = keras.layers.Dense(1), tf.constant(0.7)

    def call(self, x):
        if self.rnn:
            x = self.rnn(ops.reshape(x, (-1, 2, 1)))
        for layer in self.hidden:
            x = layer(x)
        return self.out(x) * self.factor


# silu declares a gradient.
@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize(
    "arguments", [("tanh",), ("silu",), ("tanh", True)], ids=["tanh", "silu", "RNN"]
)
def test_float32_models_that_cannot_be_copied_are_verified(arguments, engine):
    keras.utils.set_random_seed(0)
    model, x = WithoutArguments(*arguments), np.linspace(-2.0, 2.0, 40).reshape(20, 2)
    model(x)
    before = [np.array(variable) for variable in model.variables]
    values = keras_smooth.derivatives(model, x, engine=engine, verify=True)
    # The differences are those of float64: float32 would leave two digits.
    row = values.verification["d2y"]
    assert row.bound < 1e-4 * row.scale and row.error < 1e-7 * row.scale
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.filterwarnings("ignore:.* declares another gradient")
def test_wrong_derivatives_of_models_that_cannot_be_copied_raise():
    @tf.custom_gradient
    def wrong(x):
        return tf.sin(x), lambda upstream: 1.001 * upstream * tf.cos(x)

    model, x = WithoutArguments(wrong), np.linspace(-2.0, 2.0, 40).reshape(20, 2)
    model(x)
    keras_smooth.derivatives(model, x, 1, engine="jet", verify=True)
    with pytest.raises(ValueError, match="could not be verified"):
        keras_smooth.derivatives(model, x, 1, engine="tape", verify=True)


@pytest.mark.parametrize("engine", ["jet", "tape"])
def test_steps_beyond_a_kink_do_not_overrule_constant_values(engine):
    """Near the first point y is constant along the second column, up to a kink at 0.1."""
    x = np.array([[1.9247802, 1.8288407], [1.5059369, -1.7657279]])
    values = keras_smooth.derivatives(
        lambda x: tf.reduce_max(x, axis=-1, keepdims=True) ** 3,
        x,
        engine=engine,
        verify=True,
    )
    exact = [[[6 * x[0, 0], 0.0], [0.0, 0.0]], [[6 * x[1, 0], 0.0], [0.0, 0.0]]]
    np.testing.assert_allclose(np.reshape(values[2], (2, 2, 2)), exact, rtol=1e-12)
