"""Partial derivatives by name against closed forms, nested tapes and Richardson's differences."""

import itertools
import math
from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from richardson import derivative

import keras_smooth
from keras_smooth.differentiation import engines, tapes
from keras_smooth.differentiation.directions import shared_directions, squared_laplacian
from keras_smooth.differentiation.passes import all_partials, passes_for

WRAPS = {
    "eager": lambda f: f,
    "graph": lambda f: tf.function(f, autograph=False),
    "xla": lambda f: tf.function(f, autograph=False, jit_compile=True),
}


def wave(x):
    """sin(2 x) exp(-t)."""
    return ops.sin(2 * x[:, :1]) * ops.exp(-x[:, 1:])


def exact_wave(word, x):
    """The derivative of the wave: each x shifts the sine and doubles, each t negates."""
    num_x, num_t = word.count("x"), word.count("t")
    shifted = np.sin(2 * x[:, :1] + num_x * np.pi / 2)
    return 2.0**num_x * (-1) ** num_t * shifted * np.exp(-x[:, 1:])


# Partial derivatives of a function of x and t in some equations.
EQUATIONS = {
    "advection": ["t", "x"],
    "heat": ["t", "x", "xx"],
    "only mixed": ["xt"],
    "all of order 2": ["", "t", "x", "xx", "tx", "tt"],
    "Korteweg-de Vries": ["t", "x", "xxx"],
    "stream function": ["x", "t", "xxx", "xxt", "xtt", "ttt"],
    "Kuramoto-Sivashinsky": ["t", "x", "xx", "xxxx", "xt"],
    "plate": ["xxxx", "xxtt", "tttt", "tt"],
    "twice the same": ["x", "xt", "tx", "x"],
    "order 6": ["xxxxxx", "xxxttt"],
}


def _cases_of_equations():
    """Yields every equation in eager mode and in a graph, and the two largest in XLA.

    XLA compiles the operations of the graph, which are the same for all equations.
    """
    largest = {"jet": "order 6", "tape": "Kuramoto-Sivashinsky"}
    for engine, name in itertools.product(largest, EQUATIONS):
        for wrap in ("eager", "graph"):
            mark = [pytest.mark.slow] if name == "order 6" else []
            yield pytest.param(name, engine, wrap, marks=mark)
    for engine, name in largest.items():
        yield pytest.param(name, engine, "xla", marks=pytest.mark.slow)


@pytest.mark.parametrize(("name", "engine", "wrap"), [*_cases_of_equations()])
def test_partials_equal_closed_form(name, engine, wrap, rng):
    x, indices = rng.normal(size=(5, 2)), EQUATIONS[name]
    values = WRAPS[wrap](
        lambda x: keras_smooth.partials(wave, x, indices, names="xt", engine=engine)
    )(tf.constant(x))
    assert len(values) == 1 + len(indices)
    for word, value in zip(["", *indices], values, strict=True):
        expected = exact_wave(word, x)
        assert value.shape == expected.shape
        # Rounding of 1e-15 in each term of the combination of directions.
        tolerance = 1e-13 * 4.0 ** len(word)
        np.testing.assert_allclose(value, expected, atol=tolerance, err_msg=word)


def test_partials_in_float32(rng):
    x = rng.normal(size=(5, 2)).astype("float32")
    values = keras_smooth.partials(wave, x, ["xx", "xt", "xxxx"], names="xt")
    for word, value in zip(["", "xx", "xt", "xxxx"], values, strict=True):
        assert value.dtype == "float32"
        # Rounding of 1e-7 in sums of terms of size 16.
        np.testing.assert_allclose(value, exact_wave(word, x), atol=3e-5)


@pytest.mark.parametrize("engine", ["jet", "tape", "auto"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_partials_of_networks_equal_differences(engine, outputs, make_model, rng):
    model = make_model("tanh", dim=2, outputs=outputs)
    x = rng.normal(size=(4, 2))
    indices = ["t", "xx", "xt", "xxt"]
    y, *values = keras_smooth.partials(model, x, indices, names="xt", engine=engine)
    np.testing.assert_array_equal(y, model(x))
    for word, value in zip(indices, values, strict=True):
        assert value.shape == (4, outputs)
        expected = _by_differences(model, x, word)
        # The error of extrapolated differences of order 3 in float64.
        np.testing.assert_allclose(value, expected, atol=1e-6)


def _by_differences(model, x, word):
    """A mixed derivative by polarization of derivatives along lines."""

    def along(direction):
        return derivative(
            lambda t: np.asarray(model(x + t * np.asarray(direction))), len(word)
        )[0]

    if word in ("t", "xx"):
        return along([1.0, 0.0] if word == "xx" else [0.0, 1.0])
    plus, minus = along([1.0, 1.0]), along([1.0, -1.0])
    if word == "xt":
        return (plus - minus) / 4
    return (plus - minus - 2 * along([0.0, 1.0])) / 6


@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("batch_size", [1, 4, 9])
def test_batches_equal_whole(engine, batch_size, rng):
    x = rng.normal(size=(9, 2))
    options = {"names": "xt", "engine": engine}
    whole = keras_smooth.partials(wave, x, ["t", "xxt"], **options)
    parts = keras_smooth.partials(wave, x, ["t", "xxt"], batch_size=batch_size, **options)
    for value, part in zip(whole, parts, strict=True):
        # Sums in another order at most.
        np.testing.assert_allclose(part, value, rtol=1e-13, atol=1e-13)


def two_outputs(x):
    return {"u": ops.sin(x["x"] * x["time"]) * x["mass"], "v": x["x"] * x["time"] ** 3}


# Names of partial derivatives for different structures of x.
def _inputs(rng):
    return {name: rng.normal(size=(4, 1)) for name in ("mass", "time", "x")}


@pytest.mark.parametrize("engine", ["jet", "tape"])
def test_partials_named_by_input_keys(engine, rng):
    data = _inputs(rng)
    t, x, mass = data["time"], data["x"], data["mass"]
    indices = ["time", ("x", "time"), ("time", "time"), ("x",)]
    y, *values = keras_smooth.partials(two_outputs, data, indices, engine=engine)
    sin, cos = np.sin(x * t), np.cos(x * t)
    expected = [
        (mass * x * cos, 3 * x * t**2),
        (mass * (cos - x * t * sin), 3 * t**2),
        (-mass * x**2 * sin, 6 * x * t),
        (mass * t * cos, t**3),
    ]
    for value, (u, v) in zip(values, expected, strict=True):
        assert set(value) == {"u", "v"}
        np.testing.assert_allclose(value["u"], u, atol=1e-13)
        np.testing.assert_allclose(value["v"], v, atol=1e-13)


def test_names_of_columns_of_several_inputs(rng):
    data = {"space": rng.normal(size=(4, 2)), "t": rng.normal(size=(4, 1))}

    def u(x):
        return x["space"][:, :1] * x["space"][:, 1:] ** 2 * x["t"]

    indices = ["xyt", (("space", 1), ("space", 1), "t")]
    _, xyt, yyt = keras_smooth.partials(u, data, indices, names={"space": "xy"})
    np.testing.assert_allclose(xyt, 2 * data["space"][:, 1:], atol=1e-13)
    np.testing.assert_allclose(yyt, 2 * data["space"][:, :1], atol=1e-13)


def test_partials_named_by_model_inputs(rng):
    a, b = (keras.Input((1,), name=name, dtype="float64") for name in "ab")
    model = keras.Model([a, b], a * b * b)
    data = [rng.normal(size=(4, 1)) for _ in range(2)]
    _, abb = keras_smooth.partials(model, data, ["bab"])
    np.testing.assert_allclose(abb, 2.0, rtol=1e-14)


def test_inputs_in_list_are_named_by_positions(rng):
    data = [rng.normal(size=(4, 1)), rng.normal(size=(4, 2))]

    def u(x):
        return x[0] ** 2 * x[1][:, :1] * x[1][:, 1:]

    a, b = data
    indices = [(0, 0), (0, (1, 1)), ((0, 0), (1, 0), (1, 1))]
    _, aa, ab, abb = keras_smooth.partials(u, data, indices)
    np.testing.assert_allclose(aa, 2 * b[:, :1] * b[:, 1:], atol=1e-13)
    np.testing.assert_allclose(ab, 2 * a * b[:, :1], atol=1e-13)
    np.testing.assert_allclose(abb, 2 * a, atol=1e-13)
    with pytest.raises(ValueError, match="places from 0 to 1"):
        keras_smooth.partials(u, data, [(1,)])
    with pytest.raises(ValueError, match="of 0, 1, and the places in it"):
        keras_smooth.partials(u, data, [(2,)])


@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_one_traced_function_accepts_any_batch_size(engine, batch_size, rng):
    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float64)], autograph=False)
    def run(x):
        options = {"names": "xt", "engine": engine, "batch_size": batch_size}
        operator = {"xx": lambda x: x[:, 0], "t": 1.0}
        return (
            *keras_smooth.partials(wave, x, ["xt"], **options),
            keras_smooth.linear_operator(wave, x, operator, **options),
        )

    for size in (3, 5):
        x = rng.normal(size=(size, 2))
        _, xt, value = run(x)
        np.testing.assert_allclose(xt, exact_wave("xt", x), atol=1e-13)
        expected = x[:, :1] * exact_wave("xx", x) + exact_wave("t", x)
        np.testing.assert_allclose(value, expected, atol=1e-12)


def test_integer_inputs_are_held(rng):
    """Integers have no gradient."""
    data = {"x": rng.normal(size=(4, 1)), "kind": np.array([[0], [1], [1], [0]])}

    def u(x):
        return ops.sin(x["x"]) * ops.cast(x["kind"] + 1, "float64")

    _, xx = keras_smooth.partials(u, data, ["xx"], engine="tape")
    np.testing.assert_allclose(xx, -np.sin(data["x"]) * (data["kind"] + 1), atol=1e-14)


@pytest.mark.parametrize(
    ("shape", "indices", "expected"),
    [
        ((4,), [(0, 0)], lambda x: -np.sin(x)),
        ((4, 1), [(0, 0)], lambda x: -np.sin(x)[:, 0]),
        ((4, 2), [(1, 1)], lambda x: -np.sin(x)[:, 1]),
        ((4, 2, 3), [((1, 2), (1, 2))], lambda x: -np.sin(x)[:, 1, 2]),
        ((4, 2, 3), [((1, 2), (0, 2))], lambda x: np.zeros(4)),
    ],
)
def test_positions_in_samples_of_any_shape(shape, indices, expected, rng):
    x = rng.normal(size=shape)

    def u(x):
        return ops.sum(ops.sin(ops.reshape(x, (4, -1))), axis=1)

    _, value = keras_smooth.partials(u, x, indices)
    np.testing.assert_allclose(value, expected(x), atol=1e-14)


def test_verified_partials(rng):
    x = rng.normal(size=(6, 2))
    values = keras_smooth.partials(wave, x, ["xt", "xx", "xt"], names="xt", verify=True)
    assert values.verification.ok and len(values) == 4
    assert values.verification["xt"].bound < 1e-8


def test_verification_of_wrong_derivative_raises(rng):
    def wrong(x):
        return x[:, :1] * x[:, 1:] * tf.stop_gradient(x[:, 1:])

    with pytest.raises(ValueError, match="could not be verified"):
        keras_smooth.partials(
            wrong, rng.normal(size=(6, 2)), ["xt"], names="xt", engine="tape", verify=True
        )


def test_auto_uses_jets_where_tapes_are_wrong(rng):
    """TensorFlow's second derivative of a resized image is lost."""
    i = keras.Input((2, 2, 1), dtype="float64")
    resized = keras.layers.Resizing(3, 3, dtype="float64")(ops.sin(i))
    model = keras.Model(i, ops.sum(resized * resized, axis=(1, 2)))
    x = rng.normal(size=(3, 2, 2, 1))
    indices = [((0, 0, 0),), ((0, 0, 0), (1, 1, 0))]
    _, first, mixed = keras_smooth.partials(model, x, indices)
    for value, expected in (
        (first, keras_smooth.gradient(model, x, engine="jet")[:, 0, 0]),
        (mixed, keras_smooth.hessian(model, x, engine="jet")[:, 0, 0, 0, 0, 1, 1]),
    ):
        # Keras resizes in float32.
        np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_gradients_by_weights(make_model, rng):
    """A loss of partial derivatives has the same gradients with both engines."""
    model, x = make_model("tanh", dim=2), rng.normal(size=(5, 2))

    def gradients(engine):
        with tf.GradientTape() as tape:
            _, t, xx, xt = keras_smooth.partials(
                model, x, ["t", "xx", "xt"], names="xt", engine=engine
            )
            loss = tf.reduce_sum((t - xx + 2 * xt) ** 2)
        # No derivative depends on the last bias.
        return tape.gradient(loss, model.trainable_variables[:-1])

    for by_jets, by_tapes in zip(gradients("jet"), gradients("tape"), strict=True):
        np.testing.assert_allclose(by_jets, by_tapes, rtol=1e-9, atol=1e-11)


def test_partials_of_loaded_model_are_equal(make_model, rng, tmp_path):
    model, x = make_model("tanh", dim=2), rng.normal(size=(5, 2))
    model.save(tmp_path / "model.keras")
    loaded_model = keras.models.load_model(tmp_path / "model.keras")
    for value, value_of_loaded in zip(
        *(
            keras_smooth.partials(network, x, ["xt", "xxx"], names="xt")
            for network in (model, loaded_model)
        )
    ):
        np.testing.assert_array_equal(value, value_of_loaded)


def test_heat_equation_is_solved_by_fit_lbfgs(rng):
    """u_t = u_xx with u = exp(-t) sin(x), from boundary and initial values."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((2,), dtype="float64")]
        + [keras_smooth.Dense(12, "tanh", dtype="float64") for _ in range(2)]
        + [keras_smooth.Dense(1, dtype="float64")]
    )

    def exact(x):
        return np.exp(-x[:, 1:]) * np.sin(x[:, :1])

    inside = rng.uniform([0.0, 0.0], [np.pi, 1.0], (150, 2))
    edges = rng.uniform([0.0, 0.0], [np.pi, 1.0], (60, 2))
    edges[:20, 0], edges[20:40, 0], edges[40:, 1] = 0.0, np.pi, 0.0
    data = {"inside": inside, "edges": edges, "values": exact(edges)}

    def heat(model, data):
        _, u_t, u_xx = keras_smooth.partials(model, data["inside"], ["t", "xx"], names="xt")
        error = model(data["edges"]) - data["values"]
        return {"equation": ops.mean((u_t - u_xx) ** 2), "edges": ops.mean(error**2)}

    keras_smooth.fit_lbfgs(model, data, objective=heat, epochs=400, verbose=0)
    x = rng.uniform([0.0, 0.0], [np.pi, 1.0], (100, 2))
    # The loss falls below 1e-8, which means errors of about 1e-4.
    assert np.abs(model(x) - exact(x)).max() < 2e-3


WRONG_ARGUMENTS = {
    "an unknown name": (
        ["y"],
        "xt",
        ValueError,
        "'y', which does not consist of names",
    ),
    "without names": (["x"], None, ValueError, "x has no names"),
    "one word": ("xt", "xt", TypeError, "must be a list"),
    "empty": ([], "xt", ValueError, "must have a partial derivative"),
    "only y": ([""], "xt", ValueError, "must have a partial derivative"),
    "a number": ([3], "xt", TypeError, "words or tuples"),
    "a position out of range": ([(0, 2)], "xt", ValueError, "places from 0 to 1"),
    "a negative position": ([(-1,)], "xt", ValueError, "places from 0 to 1"),
    "a boolean": ([(True,)], "xt", TypeError, "places from 0 to 1"),
    "too few names": (["x"], "x", ValueError, "received 1 name,"),
    "a name twice": (["x"], "xx", ValueError, "'x' twice"),
    "names of something else": (["x"], 3, TypeError, "`names` must be a string"),
    "an empty name": (["x"], ["x", ""], TypeError, "must hold names"),
    "a name and a word": (["xt"], ["xt", "x", "t"], ValueError, r"as in \('xt',\)"),
    "order 21": (["x" * 21], "xt", ValueError, "20 or less"),
}


@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_wrong_arguments_raise(name, rng):
    indices, names, kind, words = WRONG_ARGUMENTS[name]
    x = rng.normal(size=(4, 3 if name == "a name and a word" else 2))
    with pytest.raises(kind, match=words):
        keras_smooth.partials(lambda x: ops.sum(x, axis=1), x, indices, names=names)


def test_jets_above_order_6_raise(rng):
    with pytest.raises(ValueError, match="up to 6 derivatives, received 7"):
        keras_smooth.partials(
            wave, rng.normal(size=(4, 2)), ["xxxxxxt"], names="xt", engine="jet"
        )
    x = rng.normal(size=(2, 2))
    _, value = keras_smooth.partials(wave, x, ["xxxxxxt"], names="xt")
    np.testing.assert_allclose(value, exact_wave("xxxxxxt", x), rtol=1e-12)


def test_function_that_mixes_samples_raises(rng):
    with pytest.raises(ValueError, match="mixes samples"):
        keras_smooth.partials(
            lambda x: x - ops.mean(x, axis=0), rng.normal(size=(4, 2)), ["x"], names="xt"
        )


# Multi-indices, and the smallest known number of directions for them.
DIRECTIONS = {
    "pure": ([(0, 0), (1, 1), (2, 2, 2)], 3),
    "mixed": ([(0, 1)], 2),
    "mixed and pure": ([(0, 0), (0, 1), (1, 1)], 3),
    "all of order 3 in two": (
        [*itertools.combinations_with_replacement(range(2), 3)],
        4,
    ),
    "three different": ([(0, 1, 2)], 4),
    "xxt": ([(0, 0, 1)], 3),
    "xxtt": ([(0, 0, 1, 1)], 4),
    "xxtt and pure": ([(0, 0, 0, 0), (1, 1, 1, 1), (0, 0, 1, 1)], 4),
    "xxxt": ([(0, 0, 0, 1)], 4),
    "xxyz": ([(0, 0, 1, 2)], 6),
    "four different": ([(0, 1, 2, 3)], 8),
    "all of order 6 in two": (
        [*itertools.combinations_with_replacement(range(2), 6)],
        7,
    ),
    "orders share": ([(1,), (0,), (0, 0), (0, 1), (0, 0, 0, 0)], 3),
}


@pytest.mark.parametrize("name", DIRECTIONS)
def test_shared_directions_are_few_and_weights_exact(name):
    indices, number = DIRECTIONS[name]
    sums = shared_directions(indices)
    assert len({v for weights in sums.values() for v in weights}) == number
    for index, weights in sums.items():
        for monomial in itertools.combinations_with_replacement(
            sorted(set(index)), len(index)
        ):
            # The coefficient of a monomial in the sum of powers of linear forms.
            counts = [monomial.count(axis) for axis in set(monomial)]
            orderings = Fraction(np.prod([*range(1, len(index) + 1)], dtype=object)) / int(
                np.prod([np.prod([*range(1, c + 1)], dtype=object) for c in counts])
            )
            total = sum(
                weight * orderings * np.prod([dict(v).get(a, 0) for a in monomial])
                for v, weight in weights.items()
            )
            assert total == (monomial == index)


@pytest.mark.parametrize(
    ("dim", "number"),
    [(1, 1), (2, 3), (3, 6), (4, 15), (5, 16), (6, 28), (7, 28), (8, 45), (12, 91)],
)
def test_squared_laplacian_is_a_sum_of_few_powers(dim, number, rng):
    directions, weights = squared_laplacian(dim)
    assert len(weights) == number
    k = rng.normal(size=(dim, 20))
    # Rounding of the square roots in the directions.
    np.testing.assert_allclose(
        weights @ (directions @ k) ** 4, np.sum(k**2, axis=0) ** 2, rtol=1e-13
    )


# Forms, and the number of values in all passes.
PASSES = {
    "u_t and u_xx": ([{(1,): 1.0}, {(0, 0): 1.0}], 4),
    "Laplacian in 5": ([{(i, i): 1.0 for i in range(5)}], 7),
    "a matrix of rank 1": ([{(0, 0): 1.0, (0, 1): 2.0, (1, 1): 1.0}], 3),
    "a matrix of rank 2": ([{(0, 0): 1.0, (0, 1): 1.0, (1, 1): -1.0}], 4),
    "a gradient along one direction": ([{(0,): 1.0, (1,): 2.0, (2,): 3.0}], 2),
    "on axes that are needed anyway": (
        [{(0,): 1.0, (1,): 2.0}, {(0, 0): 1.0, (1, 1): 1.0}],
        4,
    ),
    "biharmonic in 3": (
        [
            {
                (i, i, j, j): 1.0 if i == j else 2.0
                for i, j in itertools.combinations_with_replacement(range(3), 2)
            }
        ],
        20,
    ),
    "several orders": (
        [{(1,): 1.0}, {(0, 0): 1.0}, {(0, 1): 1.0}, {(0, 0, 0, 0): 1.0}],
        9,
    ),
}


@pytest.mark.parametrize("name", PASSES)
def test_number_of_values_in_passes(name):
    forms, number = PASSES[name]
    dim = 1 + max(axis for form in forms for index in form for axis in index)
    passes = passes_for(dim, tuple(tuple(form.items()) for form in forms))
    assert passes.num_entries == number


@pytest.mark.parametrize(
    ("indices", "sweeps"),
    [
        # xt and tt from u_t, and xxt from xt.
        ([(0, 1), (1, 1), (1,), (0, 0, 1)], [1, 1, 1]),
        # All from u_t, which is not requested itself.
        ([(0, 3), (1, 3), (2, 3)], [1, 1]),
        ([(0, 0), (1, 1), (2, 2)], [1, 3]),
    ],
)
def test_number_of_sweeps_of_tapes(indices, sweeps):
    assert tapes.num_sweeps([((index, 1.0),) for index in indices]) == sweeps


def test_cost_of_sweeps_doubles_with_each_order():
    """40 values compared with one sweep of each order, 2 + 4 + ... in cost."""
    assert engines.jets_cost_less(40, [1] * 6)
    assert not engines.jets_cost_less(40, [1] * 5)


def test_plan_prefers_lower_orders_for_equal_number_of_values():
    """u_t and u_xxx: one pass has as many values, but computes t to order 3 as well."""
    plan = keras_smooth.plan(wave, np.ones((3, 2)), ["t", "x", "xxx"], names="xt")
    assert dict(zip(plan.directions, plan.orders)) == {"x": 3, "t": 1}
    assert plan.num_values == 6


def test_plan_is_printed(rng):
    plan = keras_smooth.plan(
        wave, rng.normal(size=(5, 2)), ["t", "xt", "xxxx"], names="xt", engine="jet"
    )
    assert str(plan).splitlines()[0] == (
        "Engine 'jet'; by jets 3 directions in 2 passes, 9 values"
    )
    assert plan.directions == ("x", "t", "x + t") and plan.orders == (4, 2, 2)
    assert "xt, xxxx" in repr(plan) and "<table" in plan._repr_html_()


# Dimension, partial derivatives and the faster engine for a network with one output.
CHOICES = {
    "gradient of ten": (10, [(i,) for i in range(10)], "tape"),
    "three gradients of ten": (10, [(i,) for i in range(2)], "jet", 3),
    "heat": (2, EQUATIONS["heat"], "jet"),
    "Hessian of ten": (
        10,
        [*itertools.combinations_with_replacement(range(10), 2)],
        "tape",
    ),
    "Kuramoto-Sivashinsky": (2, EQUATIONS["Kuramoto-Sivashinsky"], "jet"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_auto_uses_engine_of_lower_cost(name, make_model, rng):
    dim, indices, engine, *outputs = CHOICES[name]
    x = rng.normal(size=(4, dim))
    plan = keras_smooth.plan(
        make_model("tanh", dim=dim, outputs=sum(outputs) or 1),
        x,
        indices,
        names="xt" if dim == 2 else None,
    )
    assert plan.engine == engine


@pytest.mark.parametrize(("dim", "order"), [(1, 3), (2, 4), (3, 3), (4, 2)])
def test_all_partials_use_minimal_number_of_directions(dim, order):
    plan = all_partials(dim, order)
    (lines,) = plan.passes
    assert len(lines.directions) == math.comb(dim + order - 1, order)
    for k in range(1, order + 1):
        # The derivative of the monomial of each multi-index along a direction, k! v^a / a!,
        # so that a table of partial derivatives makes the identity of them.
        indices = list(itertools.combinations_with_replacement(range(dim), k))
        columns = [
            len(set(itertools.permutations(index)))
            * np.prod(lines.directions[:, list(index)], axis=1)
            for index in indices
        ]
        # Rounding of sums of integers up to 3^4, times fractions.
        identity = plan.table(k) @ np.stack(columns, axis=1)
        np.testing.assert_allclose(identity, np.eye(len(indices)), atol=1e-13)
