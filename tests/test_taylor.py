"""Operators with the engine "jet" against nested tapes and closed forms; wrong arguments."""

import functools
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from representatives import representatives
from richardson import derivative

import keras_smooth
from keras_smooth.differentiation import engines

WRAPS = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "xla": lambda f: tf.function(f, autograph=False, jit_compile=True),
}
FLOAT64 = {"dtype": "float64"}


def gaussian_bump(dim):
    """Returns a model of exp(-|x|^2), and its exact gradient, Hessian and Laplacian."""
    x = keras.Input((dim,), **FLOAT64)
    y = ops.exp(-ops.sum(ops.square(x), axis=-1, keepdims=True))

    def exact(x):
        y = np.exp(-np.sum(x**2, axis=1))
        hessian = 4 * x[:, :, None] * x[:, None, :] - 2 * np.eye(dim)
        hessian = y[:, None, None] * hessian
        return -2 * x * y[:, None], hessian, np.trace(hessian, axis1=1, axis2=2)

    return keras.Model(x, y), exact


@pytest.mark.parametrize("wrap", representatives(WRAPS, ["eager", "graph"]))
@pytest.mark.parametrize("engine", ["tape", "jet"])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_operators_equal_closed_form(wrap, engine, batch_size, rng):
    model, exact = gaussian_bump(3)
    x = rng.normal(size=(9, 3))
    options = {"engine": engine, "batch_size": batch_size}
    operators = (keras_smooth.gradient, keras_smooth.hessian, keras_smooth.laplacian)
    gradient, hessian, laplacian = WRAPS[wrap](
        lambda x: [operator(model, x, **options) for operator in operators]
    )(tf.constant(x))
    # Rounding of float64 in a dozen operations of order 1.
    np.testing.assert_allclose(gradient, exact(x)[0], atol=1e-13)
    np.testing.assert_allclose(hessian[:, 0], exact(x)[1], atol=1e-13)
    np.testing.assert_allclose(laplacian[:, 0], exact(x)[2], atol=1e-13)


# Nested tapes double their work with each order and each output.
@pytest.mark.parametrize(
    ("dim", "order", "outputs"),
    representatives([(1, 6, 1), (2, 3, 2), (3, 2, 2), (2, 4, 1)], [(1, 6, 1), (3, 2, 2)]),
)
def test_derivatives_by_jets_equal_tapes(make_model, dim, order, outputs, rng):
    model = make_model("tanh", dim=dim, outputs=outputs, width=4)
    x = rng.normal(size=(3, dim))
    by_jets = tf.function(
        lambda x: keras_smooth.derivatives(model, x, order, engine="jet"), autograph=False
    )(x)
    # In a graph, tapes of high order take most of their time to be traced.
    by_tapes = keras_smooth.derivatives(model, x, order, engine="tape")
    assert [value.shape for value in by_jets] == [value.shape for value in by_tapes]
    for value, expected in zip(by_jets, by_tapes):
        # Rounding, relative to the largest entry.
        scale = np.abs(expected).max()
        np.testing.assert_allclose(value / scale, expected / scale, atol=1e-10)


def test_samples_with_several_axes(make_model, rng):
    model = keras.Sequential(
        [keras.Input((2, 2), **FLOAT64), keras.layers.Flatten(**FLOAT64)]
    )
    model.add(keras_smooth.Dense(3, "tanh", **FLOAT64))
    x = rng.normal(size=(4, 2, 2))
    by_jets, by_tapes = (
        keras_smooth.derivatives(model, x, 2, engine=e) for e in ("jet", "tape")
    )
    assert by_jets[2].shape == by_tapes[2].shape == (4, 3, 2, 2, 2, 2)
    np.testing.assert_allclose(by_jets[2], by_tapes[2], atol=1e-13)
    assert keras_smooth.jacobian(model, x).shape == (4, 3, 2, 2)
    np.testing.assert_allclose(
        keras_smooth.laplacian(model, x), np.einsum("bmijij->bm", by_tapes[2]), atol=1e-13
    )


def test_shapes_for_one_input_and_one_output(make_model, points):
    model = make_model()
    assert keras_smooth.gradient(model, points).shape == (21, 1)
    assert keras_smooth.jacobian(model, points, engine="jet").shape == (21, 1)
    assert keras_smooth.hessian(model, points).shape == (21, 1)
    assert keras_smooth.laplacian(model, points).shape == (21, 1)


def test_structured_output_with_both_engines(rng):
    x = keras.Input((2,), **FLOAT64)
    model = keras.Model(x, {"a": ops.sin(x), "b": [ops.square(x)]})
    points = rng.normal(size=(3, 2))
    for engine in ("jet", "tape"):
        d2y = keras_smooth.derivatives(model, points, 2, engine=engine)[2]
        np.testing.assert_allclose(d2y["a"][:, 0, 0, 0], -np.sin(points[:, 0]), atol=1e-14)
        np.testing.assert_allclose(d2y["b"][0][:, 1, 1, 1], 2.0, atol=1e-14)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "hard_sigmoid"])
def test_piecewise_linear_activations_equal_tapes(make_model, points, activation):
    """Almost everywhere, as documented, if TensorFlow has a gradient."""
    model = make_model(activation)
    y, dy, d2y = keras_smooth.derivatives(model, points, engine="jet")
    # Rounding: the two engines multiply the same slopes in the opposite order.
    np.testing.assert_allclose(dy, keras_smooth.jacobian(model, points), atol=1e-14)
    assert np.any(dy) and not np.any(d2y)


OPERATORS = {
    "derivatives": lambda model, x, engine: keras_smooth.derivatives(
        model, x, engine=engine
    ),
    "hessian": lambda model, x, engine: keras_smooth.hessian(model, x, engine=engine),
    "laplacian": lambda model, x, engine: keras_smooth.laplacian(model, x, engine=engine),
    "directional": lambda model, x, engine: keras_smooth.directional(
        model, x, [1.0], 2, engine=engine
    ),
    "DerivativeModel": lambda model, x, engine: keras_smooth.DerivativeModel(
        model, engine=engine
    )(x),
}


def keras_model(activation):
    """Returns a model of Keras' layers, which accept an activation of any smoothness."""
    return keras.Sequential(
        [
            keras.Input((1,), **FLOAT64),
            keras.layers.Dense(3, activation, **FLOAT64),
            keras.layers.Dense(1, **FLOAT64),
        ]
    )


@pytest.mark.parametrize("activation", ["hard_tanh", "soft_shrink", "softsign"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_jets_have_second_derivatives_that_tapes_lose(points, operator, activation):
    """TensorFlow has no y'' of these activations; that of a linear piece is 0."""
    model, x = keras_model(activation), points[:2]
    with pytest.raises(ValueError, match=r"order 2 is lost.*dense\S* \(Dense, C\^"):
        OPERATORS[operator](model, x, "tape")
    for engine in ("auto", "jet"):
        d2y = OPERATORS[operator](model, x, engine)
        d2y = d2y["d2y"] if isinstance(d2y, dict) else d2y
        d2y = d2y[2] if isinstance(d2y, tuple) else d2y
        exact, error = derivative(lambda t: np.asarray(model(x + t)), 2, 1e-3, 6)
        # Differences of values of order 1 at steps of 1e-3 and less.
        np.testing.assert_allclose(np.reshape(d2y, (2, 1)), exact, atol=1e-5 + 30 * error)


FUNCTIONS = {
    "activation": keras.activations.hard_tanh,
    "clip": lambda x: keras.ops.clip(x, -1.0, 1.0),
    "product": lambda x: 2.0 * x,
    "composite": lambda x: keras.activations.hard_tanh(3.0 * x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("operator", sorted(OPERATORS.keys() - {"DerivativeModel"}))
def test_linear_pieces_have_second_derivative_zero(points, operator, name):
    # Tapes have no second gradient of a clip, even if it is 0.
    if name != "product":
        with pytest.raises(ValueError, match="order 2 is lost"):
            OPERATORS[operator](FUNCTIONS[name], points[:2], "tape")
    for engine in ("auto", "jet", *["tape"] * (name == "product")):
        result = OPERATORS[operator](FUNCTIONS[name], points[:2], engine)
        assert not np.any(result[2] if isinstance(result, tuple) else result)


@pytest.mark.parametrize("activation", ["softsign", "hard_tanh", "soft_shrink"])
def test_first_derivatives_exist_where_second_ones_are_lost(points, activation):
    model, points = keras_model(activation), points[:3]
    slopes = [
        keras_smooth.directional(model, points, [1.0], 1, engine=engine)[1]
        for engine in ("jet", "tape")
    ]
    for slope in slopes:
        # Rounding: the two engines multiply the same slopes in the opposite order.
        np.testing.assert_allclose(slope, keras_smooth.jacobian(model, points), atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_of_derivatives_is_that_of_the_model(make_model, points, dtype):
    values = keras_smooth.derivatives(make_model(dtype=dtype), points, engine="jet")
    assert {value.dtype.name for value in values} == {dtype}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "mixed_bfloat16"])
def test_half_precision_in_graph(dtype):
    x = tf.constant([[0.5, -0.25], [1.0, 0.75]])
    dense = keras.layers.Dense(1, "tanh", dtype=dtype)
    model = keras.Sequential([keras.Input((2,), dtype=x.dtype), dense])
    for operator in (
        keras_smooth.laplacian,
        lambda model, x: keras_smooth.directional(model, x, [1.0, 0.5], 2)[2],
        lambda model, x: keras_smooth.hessian(model, x, engine="jet"),
    ):
        in_graph = tf.function(lambda x, operator=operator: operator(model, x))(x)
        # Rounding in another order: bfloat16 has 8 bits, and two derivatives lose some.
        np.testing.assert_allclose(
            tf.cast(in_graph, "float32"),
            tf.cast(operator(model, x), "float32"),
            atol=0.05,
        )


def test_float32_agrees_with_float64(make_model, points):
    model_in_float64 = make_model(dtype="float64")
    model_in_float32 = make_model(dtype="float32")
    model_in_float32.set_weights(model_in_float64.get_weights())
    pairs = zip(
        *(
            keras_smooth.derivatives(model, points, 3, engine="jet")
            for model in (model_in_float32, model_in_float64)
        )
    )
    for value, expected in pairs:
        # float32 has 7 digits; three layers and three orders lose two of them.
        np.testing.assert_allclose(value, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("engine", ["tape", "jet"])
@pytest.mark.parametrize("one_per_sample", [True, False])
def test_directional_equals_jacobian_and_hessian(make_model, engine, one_per_sample, rng):
    model = make_model(dim=3, outputs=2, width=4)
    x, v = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    v = v if one_per_sample else v[0]
    y, dy, d2y = keras_smooth.directional(model, x, v, 2, engine=engine, batch_size=2)
    jacobian, hessian = keras_smooth.jacobian(model, x), keras_smooth.hessian(model, x)
    v = np.broadcast_to(v, x.shape)
    np.testing.assert_allclose(y, model(x), atol=1e-14)
    np.testing.assert_allclose(dy, np.einsum("bmi,bi->bm", jacobian, v), atol=1e-12)
    np.testing.assert_allclose(d2y, np.einsum("bmij,bi,bj->bm", hessian, v, v), atol=1e-12)


@pytest.mark.parametrize(
    ("wrap", "batch_size"),
    representatives(
        [(wrap, size) for wrap in WRAPS for size in (None, 3)],
        [("eager", 3), ("graph", None)],
    ),
)
def test_gradients_by_weights_through_laplacian(make_model, wrap, batch_size, rng):
    model = make_model(dim=2, width=4)
    x = tf.constant(rng.normal(size=(5, 2)))

    def gradients(engine):
        def compute(x):
            with tf.GradientTape() as tape:
                value = keras_smooth.laplacian(
                    model, x, engine=engine, batch_size=batch_size
                )
                loss = tf.reduce_mean(value**2)
            return tape.gradient(loss, model.trainable_variables)

        return compute

    by_jets, by_tapes = WRAPS[wrap](gradients("jet"))(x), tf.function(gradients("tape"))(x)
    for value, expected in zip(by_jets, by_tapes):
        if value is None:  # the last bias, on which no derivative depends
            assert expected is None or not np.any(expected)
            continue
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)


def wide_input_model(body):
    """Returns a model with nine inputs, several times as many as the units of its layers."""
    x = keras.Input((9,), **FLOAT64)
    return keras.Model(x, body(x))


def dense(units, activation="tanh"):
    return keras_smooth.Dense(units, activation, **FLOAT64)


def _with_user_rule(x):
    class Cubed(keras.layers.Layer):
        def call(self, x):
            return x * x * x

    # A rule that returns a jet without its basis.
    keras_smooth.register_jet_rule(
        Cubed, lambda layer, x: keras_smooth.jet.Jet(
            (z := keras_smooth.jet.power(x, 3)).primal, z.series, z.collapsed
        )
    )  # fmt: skip
    return dense(1)(Cubed(**FLOAT64)(dense(3)(x)))


NARROW_BODIES = {
    "narrow": lambda x: dense(2, None)(dense(3, "gelu")(dense(3)(x))),
    "linear layers": lambda x: dense(2)(dense(4, None)(x)),
    "two branches": lambda x: dense(3)(x) * dense(3, "silu")(x) + dense(3)(x),
    "skip": lambda x: dense(2)(keras.layers.Concatenate(**FLOAT64)([dense(3)(x), x])),
    "maximum": lambda x: keras.layers.Maximum(**FLOAT64)([dense(3)(x), dense(3)(x)]),
    "attention": lambda x: keras.layers.Attention(**FLOAT64)(
        [ops.reshape(dense(4)(x), (-1, 2, 2))] * 2
    ),
    "normalized": lambda x: keras.layers.RMSNormalization(**FLOAT64)(dense(3)(x)),
    "tapes": lambda x: keras.layers.TimeDistributed(dense(2), **FLOAT64)(
        ops.reshape(dense(4)(x), (-1, 2, 2))
    ),
    "user rule": _with_user_rule,
}


@pytest.mark.filterwarnings("ignore:There is no jet rule")
@pytest.mark.parametrize(
    "name", representatives(NARROW_BODIES, ["narrow", "skip", "attention", "user rule"])
)
def test_laplacian_through_layers_narrower_than_x(name, rng):
    model, x = wide_input_model(NARROW_BODIES[name]), rng.normal(size=(3, 9))
    y, dy, d2y = keras_smooth.differentiation.operators.with_laplacian(model, x)
    np.testing.assert_allclose(y, model(x), rtol=1e-13)
    _, slopes, hessian = keras_smooth.derivatives(model, x)
    np.testing.assert_allclose(dy, slopes, atol=1e-12)
    expected = np.trace(hessian, axis1=-2, axis2=-1)
    scale = np.abs(hessian).max()
    # Rounding, relative to the largest second derivative.
    np.testing.assert_allclose(d2y / scale, expected / scale, atol=1e-10)
    np.testing.assert_array_equal(keras_smooth.laplacian(model, x), d2y)


@pytest.mark.parametrize("singular", [False, True])
def test_gradients_by_weights_of_wide_laplacian(singular, rng):
    """Also if the first kernel is singular, where a factorization would fail."""
    model, x = (
        wide_input_model(NARROW_BODIES["narrow"]),
        tf.constant(rng.normal(size=(3, 9))),
    )
    if singular:
        kernel = model.layers[1].kernel
        kernel.assign(kernel * [1.0, 0.0, 0.0])

    def gradients(engine):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras_smooth.laplacian(model, x, engine=engine) ** 2)
        return tape.gradient(loss, model.trainable_variables[:-1])

    for value, expected in zip(gradients("jet"), gradients("tape")):
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_poisson_equation_in_compute_loss_is_solved():
    """u'' = -pi^2 sin(pi x), with an operator inside a user's compute_loss."""

    class Poisson(keras.Model):
        def __init__(self):
            super().__init__()
            self.net = keras.Sequential([keras.Input((1,), **FLOAT64)])
            self.net.add(keras_smooth.Dense(10, "tanh", **FLOAT64))
            self.net.add(keras_smooth.Dense(1, **FLOAT64))
            self.built = True

        def call(self, x):
            return self.net(x)

        def compute_loss(
            self, x=None, y=None, y_pred=None, sample_weight=None, training=True
        ):
            residual = keras_smooth.laplacian(self.net, x) + np.pi**2 * ops.sin(np.pi * x)
            edge = self.net(tf.constant([[-1.0], [1.0]], tf.float64))
            return ops.mean(ops.square(residual)) + 10 * ops.mean(ops.square(edge))

    keras.utils.set_random_seed(0)
    model, x = Poisson(), np.linspace(-1.0, 1.0, 40)[:, None]
    model.compile(loss="mse")
    keras_smooth.fit_lbfgs(
        model, x, np.sin(np.pi * x), epochs=300, jit_compile=False, verbose=0
    )
    # 300 iterations with ten units reach this; a wrong gradient leaves an error of 1.
    assert np.abs(model(x) - np.sin(np.pi * x)).max() < 1e-2


@pytest.mark.slow
def test_jit_compiled_fit_of_derivative_model(make_model, points):
    model = keras_smooth.DerivativeModel(make_model())
    model.compile(loss="mse", jit_compile=True)
    targets = {"y": points, "dy": 1 + 0 * points, "d2y": 0 * points}
    assert np.isfinite(model.fit(points, targets, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("engine", ["tape", "jet"])
def test_batches_equal_whole(make_model, points, engine):
    model = make_model()
    whole = keras_smooth.derivatives(model, points, 2, engine=engine)
    for batch_size in (1, 8, 21, 100):
        parts = keras_smooth.derivatives(
            model, points, 2, engine=engine, batch_size=batch_size
        )
        for part, value in zip(parts, whole):
            np.testing.assert_allclose(part, value, rtol=1e-12, atol=1e-13)


def test_batches_with_unknown_number_of_samples(make_model, points):
    model = make_model()
    function = tf.function(
        lambda x: keras_smooth.laplacian(model, x, batch_size=8),
        input_signature=[tf.TensorSpec((None, 1), tf.float64)],
        autograph=False,
    )
    np.testing.assert_allclose(
        function(points), keras_smooth.laplacian(model, points), atol=1e-13
    )


@pytest.mark.slow
def test_million_points_in_batches_need_less_than_200_mb(make_model):
    model = make_model(width=20)
    x = tf.constant(np.linspace(-1.0, 1.0, 1_000_000)[:, None])
    function = tf.function(
        lambda x: keras_smooth.derivatives(model, x, engine="jet", batch_size=10_000),
        autograph=False,
        jit_compile=True,
    )
    function(x[:20_000])
    function(x)
    before = _peak_mb(reset=True)
    function(x)
    assert _peak_mb() - before < 200


def _peak_mb(reset: bool = False) -> float:
    """Returns the largest resident memory since the last reset, known on Linux only."""
    if not os.path.exists("/proc/self/clear_refs"):
        pytest.skip("no /proc to read the memory from")
    if reset:
        try:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        except PermissionError:
            pytest.skip("the peak of the memory cannot be reset here")
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["VmHWM"].split()[0]) / 1024


def two_inputs():
    a, b = keras.Input((1,)), keras.Input((1,))
    return keras.Model([a, b], a * b)


@pytest.fixture(scope="module")
def two_dim_model():
    """A model of two inputs for the tests of errors, none of which changes a model."""
    return keras.Sequential([keras.Input((2,), **FLOAT64), dense(3), dense(1, None)])


WRONG_ARGUMENTS = {
    "integer x": ({"x": np.ones((2, 2), int)}, TypeError, "floats.*int64"),
    "empty x": ({"x": np.ones((0, 2))}, ValueError, r"shape \(0, 2\)"),
    "wrong width": ({"x": np.ones((2, 3))}, ValueError, r"expects points.*\(2, 3\)"),
    "wrong rank": ({"x": np.ones((2, 2, 1))}, ValueError, r"expects points.*\(2, 2, 1\)"),
    "unknown engine": (
        {"engine": "taylor"},
        ValueError,
        "`engine` must be one of .*'tape', 'jet'; received 'taylor'",
    ),
    "unbuilt": (
        {"model": keras.Sequential([keras.layers.Dense(1)])},
        ValueError,
        "not built",
    ),
    "not a model": ({"model": 3}, TypeError, "received 3"),
    "scalar x": ({"x": np.float64(1.0)}, ValueError, r"shape \(\)"),
    "boolean x": ({"x": np.ones((2, 2), bool)}, TypeError, "floats.*bool"),
    "two inputs": ({"model": two_inputs()}, ValueError, "takes 2 inputs.*received 1"),
    "structure": ({"x": {"a": np.ones((2, 1))}}, ValueError, "takes the inputs .*'a'"),
    "batch size 0": ({"batch_size": 0}, ValueError, "1 or more, received 0"),
    "batch size 1.5": ({"batch_size": 1.5}, TypeError, "integer"),
}


@pytest.mark.parametrize("wrap", ["eager", "graph"])
@pytest.mark.parametrize(
    "operator", ["derivatives", "gradient", "jacobian", "hessian", "laplacian"]
)
@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_wrong_arguments_raise(two_dim_model, operator, name, wrap):
    change, error, words = WRONG_ARGUMENTS[name]
    arguments = {"model": two_dim_model, "x": np.ones((2, 2)), "engine": "jet", **change}
    model, x = arguments.pop("model"), arguments.pop("x")
    with pytest.raises(error, match=words):
        WRAPS[wrap](lambda x: getattr(keras_smooth, operator)(model, x, **arguments))(x)


@pytest.mark.parametrize("wrap", ["eager", "graph"])
@pytest.mark.parametrize("engine", ["tape", "jet"])
def test_error_names_layer_with_wrong_input_shape(wrap, engine):
    layer = keras.layers.Dense(2, name="narrow")
    layer.build((None, 3))
    function = WRAPS[wrap](lambda x: keras_smooth.laplacian(layer, x, engine=engine))
    with pytest.raises(ValueError, match=r"narrow.*-1 .* 3.*\(2, 4\)"):
        function(np.ones((2, 4)))


@pytest.mark.parametrize("wrap", ["eager", "graph"])
@pytest.mark.parametrize("engine", ["tape", "jet"])
@pytest.mark.parametrize("operator", ["derivatives", "laplacian", "gradient"])
def test_error_names_layer_without_derivative(wrap, engine, operator):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "tanh")])
    model.add(keras.layers.Lambda(lambda x: tf.round(x), name="rounding"))
    function = getattr(keras_smooth, operator)
    with pytest.raises(ValueError, match="order 1 is lost.*rounding"):
        WRAPS[wrap](lambda x: function(model, x, engine=engine))(np.ones((2, 1)))


@pytest.mark.parametrize(
    ("order", "error", "words"),
    [(0, ValueError, "1 or more"), (7, ValueError, "up to 6"), (1.5, TypeError, "integer")],
)
@pytest.mark.parametrize("wrap", ["eager", "graph"])
def test_wrong_order_raises(make_model, points, order, error, words, wrap):
    model = make_model()
    with pytest.raises(error, match=words):
        WRAPS[wrap](
            lambda x: keras_smooth.directional(model, x, [1.0], order, engine="jet")
        )(points)


def test_direction_of_wrong_shape_raises(make_model, points):
    with pytest.raises(ValueError, match=r"shape of x, \(21, 1\)"):
        keras_smooth.directional(make_model(), points, np.ones(3))


def test_gradient_of_several_outputs_raises(make_model, points):
    with pytest.raises(ValueError, match="one output number"):
        keras_smooth.gradient(make_model(outputs=2), points)


def test_training_argument_reaches_layers(rng):
    class Doubled(keras.layers.Layer):
        def call(self, x, training=None):
            return ops.sin(2.0 * x) if training else ops.sin(x)

    x = rng.normal(size=(3, 1))
    for engine in ("auto", "jet", "tape"):
        dy = keras_smooth.derivatives(
            Doubled(**FLOAT64), x, 2, engine=engine, training=True
        )[1]
        np.testing.assert_allclose(dy, 2.0 * np.cos(2.0 * x), rtol=1e-13)


@pytest.mark.parametrize(
    ("dim", "outputs", "order", "tapes_right_to", "engine"),
    [
        (1, 1, 2, np.inf, "jet"),
        (1, 1, 6, np.inf, "jet"),
        (1, 1, 7, np.inf, "tape"),
        (1, 1, 1, np.inf, "tape"),
        (1, 1, 1, 0, "jet"),
        (1, 1, 1, 1, "jet"),
        (32, 1, 1, 1, "jet"),
        (33, 1, 1, 1, "tape"),
        (2, 1, 2, np.inf, "tape"),
        (2, 1, 2, 1, "jet"),
        (2, 1, 3, np.inf, "jet"),
        (10, 1, 3, np.inf, "tape"),
        (10, 1, 1, np.inf, "tape"),
        # Tapes sweep for each output.
        (1, 2, 1, np.inf, "jet"),
        (8, 16, 1, np.inf, "jet"),
        (8, 8, 1, np.inf, "tape"),
        (3, 3, 2, np.inf, "jet"),
        (12, 12, 2, np.inf, "jet"),
        (6, 2, 3, np.inf, "jet"),
        (33, 1000, 2, np.inf, "tape"),
    ],
)
def test_auto_uses_faster_engine_that_is_right(dim, outputs, order, tapes_right_to, engine):
    """The table of docs/derivatives.md."""
    are_faster = functools.partial(engines.jets_are_faster, order, dim, outputs)
    assert engines.chosen_engine("auto", are_faster, dim, order, tapes_right_to) == engine
    assert engines.chosen_engine("jet", are_faster, dim, order, tapes_right_to) == "jet"


def test_order_7_with_jets_raises(make_model, points):
    with pytest.raises(ValueError, match="up to 6"):
        keras_smooth.derivatives(make_model(), points, 7, engine="jet")


def test_output_independent_of_x_has_derivative_zero(points):
    """No path leads from x to the output."""
    assert not np.any(
        keras_smooth.laplacian(lambda x: tf.ones((21, 1), tf.float64), points)
    )


def layer_with_rule(rule):
    """Returns a new class of layers whose jets are not those of its call, cosine."""

    class Cosine(keras.layers.Layer):
        def call(self, x):
            return ops.cos(x)

    keras_smooth.register_jet_rule(Cosine, rule)
    return Cosine(**FLOAT64)


WRONG_RULES = {
    "another function": lambda layer, x: keras_smooth.jet.sin(x),
    "a factor": lambda layer, x: keras_smooth.jet.cos(x) * 1.001,
    "for some of the points": lambda layer, x: (
        keras_smooth.jet.cos(x) + tf.cast(x.primal > 1.5, x.dtype) * 0.01
    ),
    "NaN": lambda layer, x: keras_smooth.jet.cos(x) * np.nan,
}
COSINE = {
    "derivatives": (lambda model, x: keras_smooth.derivatives(model, x)[2], -1),
    "hessian": (lambda model, x: keras_smooth.hessian(model, x, engine="jet"), -1),
    "laplacian": (keras_smooth.laplacian, -1),
    "directional": (lambda model, x: keras_smooth.directional(model, x, [1.0], 4)[4], 1),
}


def sequential(layer):
    return keras.Sequential([keras.Input((1,), **FLOAT64), layer])


def nested(layer):
    return sequential(sequential(layer))


@pytest.mark.parametrize(
    ("name", "operator", "make"),
    [
        *((name, "derivatives", sequential) for name in WRONG_RULES),
        *(("another function", operator, nested) for operator in COSINE),
        ("a factor", "laplacian", lambda layer: layer),
    ],
)
def test_rule_of_another_function_warns_and_is_not_used(points, name, operator, make):
    model, (function, sign) = make(layer_with_rule(WRONG_RULES[name])), COSINE[operator]
    with pytest.warns(UserWarning, match="returns another value than its function"):
        result = function(model, points)
    # Rounding of float64.
    np.testing.assert_allclose(np.squeeze(result), sign * np.cos(points[:, 0]), atol=1e-13)


@pytest.mark.parametrize(
    ("name", "operator"),
    representatives(
        [
            *((name, "laplacian") for name in WRONG_RULES),
            *(("a factor", name) for name in COSINE),
        ],
        [("a factor", "laplacian"), ("NaN", "laplacian")],
    ),
)
def test_rule_of_another_function_returns_nan_in_graph(points, name, operator):
    model, (function, _) = sequential(layer_with_rule(WRONG_RULES[name])), COSINE[operator]
    compute, x = lambda x: function(model, x), tf.constant(points)
    for wrap in ("graph", "xla"):
        assert np.isnan(WRAPS[wrap](compute)(x)).all()


def test_changed_activation_is_used_in_next_call(points):
    model = keras.Sequential([keras.Input((1,), **FLOAT64)])
    model.add(keras.layers.Dense(3, "tanh", **FLOAT64))
    for activation in ("tanh", "tanh", "sigmoid", "sigmoid", "sigmoid", "gelu"):
        model.layers[0].activation = keras.activations.get(activation)
        by_jets, by_tapes = (
            keras_smooth.derivatives(model, points, engine=e) for e in ("jet", "tape")
        )
        np.testing.assert_allclose(by_jets[2], by_tapes[2], atol=1e-13)


def samples_with_masked_steps(mask_value=0.0):
    """Returns three samples of four steps; two samples have masked steps."""
    x = np.random.default_rng(4).normal(size=(3, 4, 2))
    x[0, 2:], x[1, 3:] = mask_value, mask_value
    return x


class _OwnMask(keras.layers.Layer):
    """A layer with its own compute_mask."""

    def call(self, x):
        return 1.0 * x

    def compute_mask(self, x, mask=None):
        return ops.any(ops.abs(x) > 0, axis=-1)


MASKED = {
    "below the top": lambda i, rnn: rnn(
        keras.Sequential([keras.Input((4, 2), **FLOAT64), keras.layers.Masking(**FLOAT64)])(i)
    ),
    "two levels below": lambda i, rnn: rnn(
        keras.Sequential([keras.Input((4, 2), **FLOAT64), keras.Sequential(
            [keras.Input((4, 2), **FLOAT64), keras.layers.Masking(**FLOAT64)]
        )])(i)
    ),
    "in a wrapper": lambda i, rnn: keras.layers.Bidirectional(rnn, **FLOAT64)(
        keras.layers.Masking(**FLOAT64)(i)
    ),
    "of a user's layer": lambda i, rnn: rnn(_OwnMask(**FLOAT64)(i)),
    "of a user's layer below": lambda i, rnn: rnn(
        keras.Sequential([keras.Input((4, 2), **FLOAT64), _OwnMask(**FLOAT64)])(i)
    ),
}  # fmt: skip


@pytest.mark.parametrize("engine", representatives(["jet", "auto"], ["jet"]))
@pytest.mark.parametrize("name", MASKED)
def test_masks_at_any_depth(name, engine):
    i = keras.Input((4, 2), **FLOAT64)
    y = MASKED[name](i, keras.layers.SimpleRNN(3, **FLOAT64))
    model, x = keras.Model(i, y), tf.constant(samples_with_masked_steps())
    by_engine, by_tapes = (
        keras_smooth.directional(model, x, np.ones((4, 2)), 2, engine=e)
        for e in (engine, "tape")
    )
    np.testing.assert_allclose(by_engine[0], model(x), atol=1e-13)
    np.testing.assert_allclose(by_engine[2], by_tapes[2], atol=1e-12)


def test_weights_of_stateless_scope_are_used(make_model, points):
    model = make_model("tanh")

    def y():
        return keras_smooth.derivatives(model, points, 2, engine="jet")[0]

    before = y()
    mapping = [(weight, 2.0 * weight.value) for weight in model.weights]
    with keras.StatelessScope(state_mapping=mapping):
        doubled = y()
    np.testing.assert_array_equal(y(), before)
    model.set_weights([2.0 * weight for weight in model.get_weights()])
    # Rounding of a few operations of order 1.
    np.testing.assert_allclose(y(), doubled, rtol=1e-14)
