"""Partial derivatives by name against closed forms, nested tapes and Richardson's differences."""

import itertools
import math
from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from representatives import representatives
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


def wave_exact(word, x):
    """The derivative of the wave, which each x turns and doubles and each t negates."""
    num_x, num_t = word.count("x"), word.count("t")
    turned = np.sin(2 * x[:, :1] + num_x * np.pi / 2)
    return 2.0**num_x * (-1) ** num_t * turned * np.exp(-x[:, 1:])


# What equations need of a function of x and t.
EQUATIONS = {
    "advection": ["t", "x"],
    "heat": ["t", "x", "xx"],
    "mixed alone": ["xt"],
    "all of order 2": ["", "t", "x", "xx", "tx", "tt"],
    "Korteweg-de Vries": ["t", "x", "xxx"],
    "stream function": ["x", "t", "xxx", "xxt", "xtt", "ttt"],
    "Kuramoto-Sivashinsky": ["t", "x", "xx", "xxxx", "xt"],
    "plate": ["xxxx", "xxtt", "tttt", "tt"],
    "twice the same": ["x", "xt", "tx", "x"],
    "order 6": ["xxxxxx", "xxxttt"],
}


@pytest.mark.parametrize("wrap", representatives(WRAPS, ["eager", "graph"]))
@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize(
    "name", representatives(EQUATIONS, [name for name in EQUATIONS if name != "order 6"])
)
def test_closed_form(name, engine, wrap, rng):
    x, which = rng.normal(size=(5, 2)), EQUATIONS[name]
    values = WRAPS[wrap](
        lambda x: keras_smooth.partials(wave, x, which, names="xt", engine=engine)
    )(tf.constant(x))
    assert len(values) == 1 + len(which)
    for word, value in zip(["", *which], values, strict=True):
        exact = wave_exact(word, x)
        assert value.shape == exact.shape
        # Interpolation between directions of some terms of that size: 1e-15 each.
        tolerance = 1e-13 * 4.0 ** len(word)
        np.testing.assert_allclose(value, exact, atol=tolerance, err_msg=word)


def test_float32_has_its_digits(rng):
    x = rng.normal(size=(5, 2)).astype("float32")
    values = keras_smooth.partials(wave, x, ["xx", "xt", "xxxx"], names="xt")
    for word, value in zip(["", "xx", "xt", "xxxx"], values, strict=True):
        assert value.dtype == "float32"
        # Rounding of 1e-7 in sums of terms of size 16.
        np.testing.assert_allclose(value, wave_exact(word, x), atol=3e-5)


@pytest.mark.parametrize("engine", ["jet", "tape", "auto"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_nets_against_differences(engine, outputs, make_model, rng):
    model = make_model("tanh", dim=2, outputs=outputs)
    x = rng.normal(size=(4, 2))
    which = ["t", "xx", "xt", "xxt"]
    y, *values = keras_smooth.partials(model, x, which, names="xt", engine=engine)
    np.testing.assert_array_equal(y, model(x))
    for word, value in zip(which, values, strict=True):
        assert value.shape == (4, outputs)
        exact = _by_differences(model, x, word)
        # Richardson's extrapolation of differences of order 3 in float64.
        np.testing.assert_allclose(value, exact, atol=1e-6)


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
def test_batches(engine, batch_size, rng):
    x = rng.normal(size=(9, 2))
    options = {"names": "xt", "engine": engine}
    whole = keras_smooth.partials(wave, x, ["t", "xxt"], **options)
    parts = keras_smooth.partials(wave, x, ["t", "xxt"], batch_size=batch_size, **options)
    for value, part in zip(whole, parts, strict=True):
        # Sums in another order at most.
        np.testing.assert_allclose(part, value, rtol=1e-13, atol=1e-13)


def of_parts(x):
    return {"u": ops.sin(x["x"] * x["time"]) * x["mass"], "v": x["x"] * x["time"] ** 3}


# How partial derivatives are named, by what x is; and what is right, by x and t.
def _inputs(rng):
    return {name: rng.normal(size=(4, 1)) for name in ("mass", "time", "x")}


@pytest.mark.parametrize("engine", ["jet", "tape"])
def test_inputs_by_their_keys(engine, rng):
    data = _inputs(rng)
    t, x, mass = data["time"], data["x"], data["mass"]
    which = ["time", ("x", "time"), ("time", "time"), ("x",)]
    y, *values = keras_smooth.partials(of_parts, data, which, engine=engine)
    sin, cos = np.sin(x * t), np.cos(x * t)
    exact = [
        (mass * x * cos, 3 * x * t**2),
        (mass * (cos - x * t * sin), 3 * t**2),
        (-mass * x**2 * sin, 6 * x * t),
        (mass * t * cos, t**3),
    ]
    for value, (u, v) in zip(values, exact, strict=True):
        assert set(value) == {"u", "v"}
        np.testing.assert_allclose(value["u"], u, atol=1e-13)
        np.testing.assert_allclose(value["v"], v, atol=1e-13)


def test_names_of_the_columns_of_several_inputs(rng):
    data = {"space": rng.normal(size=(4, 2)), "t": rng.normal(size=(4, 1))}

    def u(x):
        return x["space"][:, :1] * x["space"][:, 1:] ** 2 * x["t"]

    which = ["xyt", (("space", 1), ("space", 1), "t")]
    _, xyt, yyt = keras_smooth.partials(u, data, which, names={"space": "xy"})
    np.testing.assert_allclose(xyt, 2 * data["space"][:, 1:], atol=1e-13)
    np.testing.assert_allclose(yyt, 2 * data["space"][:, :1], atol=1e-13)


def test_inputs_of_a_model_have_its_names(rng):
    a, b = (keras.Input((1,), name=name, dtype="float64") for name in "ab")
    model = keras.Model([a, b], a * b * b)
    data = [rng.normal(size=(4, 1)) for _ in range(2)]
    _, abb = keras_smooth.partials(model, data, ["bab"])
    np.testing.assert_allclose(abb, 2.0, rtol=1e-14)


def test_inputs_in_a_list_have_places(rng):
    data = [rng.normal(size=(4, 1)), rng.normal(size=(4, 2))]

    def u(x):
        return x[0] ** 2 * x[1][:, :1] * x[1][:, 1:]

    a, b = data
    which = [(0, 0), (0, (1, 1)), ((0, 0), (1, 0), (1, 1))]
    _, aa, ab, abb = keras_smooth.partials(u, data, which)
    np.testing.assert_allclose(aa, 2 * b[:, :1] * b[:, 1:], atol=1e-13)
    np.testing.assert_allclose(ab, 2 * a * b[:, :1], atol=1e-13)
    np.testing.assert_allclose(abb, 2 * a, atol=1e-13)
    with pytest.raises(ValueError, match="places from 0 to 1"):
        keras_smooth.partials(u, data, [(1,)])
    with pytest.raises(ValueError, match="of 0, 1, and the places in it"):
        keras_smooth.partials(u, data, [(2,)])


@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("batch_size", [None, 2])
def test_batches_of_any_size_in_one_function(engine, batch_size, rng):
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
        np.testing.assert_allclose(xt, wave_exact("xt", x), atol=1e-13)
        exact = x[:, :1] * wave_exact("xx", x) + wave_exact("t", x)
        np.testing.assert_allclose(value, exact, atol=1e-12)


def test_what_no_derivative_is_taken_by_is_held(rng):
    """Integers, and floats for which there is no gradient."""
    data = {"x": rng.normal(size=(4, 1)), "kind": np.array([[0], [1], [1], [0]])}

    def u(x):
        return ops.sin(x["x"]) * ops.cast(x["kind"] + 1, "float64")

    _, xx = keras_smooth.partials(u, data, ["xx"], engine="tape")
    np.testing.assert_allclose(xx, -np.sin(data["x"]) * (data["kind"] + 1), atol=1e-14)


@pytest.mark.parametrize(
    ("shape", "which", "exact"),
    [
        ((4,), [(0, 0)], lambda x: -np.sin(x)),
        ((4, 1), [(0, 0)], lambda x: -np.sin(x)[:, 0]),
        ((4, 2), [(1, 1)], lambda x: -np.sin(x)[:, 1]),
        ((4, 2, 3), [((1, 2), (1, 2))], lambda x: -np.sin(x)[:, 1, 2]),
        ((4, 2, 3), [((1, 2), (0, 2))], lambda x: np.zeros(4)),
    ],
)
def test_places_in_samples_of_any_shape(shape, which, exact, rng):
    x = rng.normal(size=shape)

    def u(x):
        return ops.sum(ops.sin(ops.reshape(x, (4, -1))), axis=1)

    _, value = keras_smooth.partials(u, x, which)
    np.testing.assert_allclose(value, exact(x), atol=1e-14)


def test_verified(rng):
    x = rng.normal(size=(6, 2))
    values = keras_smooth.partials(wave, x, ["xt", "xx", "xt"], names="xt", verify=True)
    assert values.verification.ok and len(values) == 4
    assert values.verification["xt"].bound < 1e-8


def test_a_wrong_derivative_is_not_verified(rng):
    def wrong(x):
        return x[:, :1] * x[:, 1:] * tf.stop_gradient(x[:, 1:])

    with pytest.raises(ValueError, match="could not be verified"):
        keras_smooth.partials(
            wrong, rng.normal(size=(6, 2)), ["xt"], names="xt", engine="tape", verify=True
        )


def test_auto_takes_jets_where_tapes_are_wrong(rng):
    """TensorFlow's second derivative of a resized image is lost."""
    i = keras.Input((2, 2, 1), dtype="float64")
    resized = keras.layers.Resizing(3, 3, dtype="float64")(ops.sin(i))
    model = keras.Model(i, ops.sum(resized * resized, axis=(1, 2)))
    x = rng.normal(size=(3, 2, 2, 1))
    which = [((0, 0, 0),), ((0, 0, 0), (1, 1, 0))]
    _, first, mixed = keras_smooth.partials(model, x, which)
    for value, exact in (
        (first, keras_smooth.gradient(model, x, engine="jet")[:, 0, 0]),
        (mixed, keras_smooth.hessian(model, x, engine="jet")[:, 0, 0, 0, 0, 1, 1]),
    ):
        # Keras resizes in float32.
        np.testing.assert_allclose(value, exact, rtol=1e-5)


def test_gradients_by_the_weights(make_model, rng):
    """Of a loss of partial derivatives, the same with both engines."""
    model, x = make_model("tanh", dim=2), rng.normal(size=(5, 2))

    def gradients(engine):
        with tf.GradientTape() as tape:
            _, t, xx, xt = keras_smooth.partials(
                model, x, ["t", "xx", "xt"], names="xt", engine=engine
            )
            loss = tf.reduce_sum((t - xx + 2 * xt) ** 2)
        # The last bias moves no derivative.
        return tape.gradient(loss, model.trainable_variables[:-1])

    for by_jets, by_tapes in zip(gradients("jet"), gradients("tape"), strict=True):
        np.testing.assert_allclose(by_jets, by_tapes, rtol=1e-9, atol=1e-11)


def test_the_same_after_saving(make_model, rng, tmp_path):
    model, x = make_model("tanh", dim=2), rng.normal(size=(5, 2))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for value, loaded in zip(
        *(keras_smooth.partials(m, x, ["xt", "xxx"], names="xt") for m in (model, again))
    ):
        np.testing.assert_array_equal(value, loaded)


def test_heat_equation_by_fit_lbfgs(rng):
    """u_t = u_xx with u = exp(-t) sin(x), from its values at the edges and the start."""
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
        off = model(data["edges"]) - data["values"]
        return {"equation": ops.mean((u_t - u_xx) ** 2), "edges": ops.mean(off**2)}

    keras_smooth.fit_lbfgs(model, data, objective=heat, epochs=400, verbose=0)
    x = rng.uniform([0.0, 0.0], [np.pi, 1.0], (100, 2))
    # The loss goes to 1e-8 and less: errors of some 1e-4.
    assert np.abs(model(x) - exact(x)).max() < 2e-3


WRONG = {
    "a name that is not there": (
        ["y"],
        "xt",
        ValueError,
        "'y', which does not consist of names",
    ),
    "no names": (["x"], None, ValueError, "x has no names"),
    "one word": ("xt", "xt", TypeError, "must be a list"),
    "nothing": ([], "xt", ValueError, "must have a partial derivative"),
    "y alone": ([""], "xt", ValueError, "must have a partial derivative"),
    "a number": ([3], "xt", TypeError, "words or tuples"),
    "a place too far": ([(0, 2)], "xt", ValueError, "places from 0 to 1"),
    "a negative place": ([(-1,)], "xt", ValueError, "places from 0 to 1"),
    "a truth": ([(True,)], "xt", TypeError, "places from 0 to 1"),
    "too few names": (["x"], "x", ValueError, "received 1 names"),
    "a name twice": (["x"], "xx", ValueError, "'x' twice"),
    "names of something else": (["x"], 3, TypeError, "`names` must be a string"),
    "a name of no letters": (["x"], ["x", ""], TypeError, "must hold names"),
    "a name and a word": (["xt"], ["xt", "x", "t"], ValueError, r"as in \('xt',\)"),
    "order 21": (["x" * 21], "xt", ValueError, "20 or less"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refused(name, rng):
    which, names, kind, words = WRONG[name]
    x = rng.normal(size=(4, 3 if name == "a name and a word" else 2))
    with pytest.raises(kind, match=words):
        keras_smooth.partials(lambda x: ops.sum(x, axis=1), x, which, names=names)


def test_jets_take_no_order_above_6(rng):
    with pytest.raises(ValueError, match="up to 6 derivatives, received 7"):
        keras_smooth.partials(
            wave, rng.normal(size=(4, 2)), ["xxxxxxt"], names="xt", engine="jet"
        )
    x = rng.normal(size=(2, 2))
    _, value = keras_smooth.partials(wave, x, ["xxxxxxt"], names="xt")
    np.testing.assert_allclose(value, wave_exact("xxxxxxt", x), rtol=1e-12)


def test_order_is_needed_of_what_mixes_samples(rng):
    with pytest.raises(ValueError, match="mixes samples"):
        keras_smooth.partials(
            lambda x: x - ops.mean(x, axis=0), rng.normal(size=(4, 2)), ["x"], names="xt"
        )


# Multi-indices, and how many directions are known to be needed at least.
DIRECTIONS = {
    "pure": ([(0, 0), (1, 1), (2, 2, 2)], 3),
    "mixed": ([(0, 1)], 2),
    "mixed beside pure": ([(0, 0), (0, 1), (1, 1)], 3),
    "all of order 3 in two": (
        [*itertools.combinations_with_replacement(range(2), 3)],
        4,
    ),
    "three different": ([(0, 1, 2)], 4),
    "xxt": ([(0, 0, 1)], 3),
    "xxtt": ([(0, 0, 1, 1)], 4),
    "xxtt beside pure": ([(0, 0, 0, 0), (1, 1, 1, 1), (0, 0, 1, 1)], 4),
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
def test_directions_are_few_and_their_weights_exact(name):
    indices, number = DIRECTIONS[name]
    sums = shared_directions(indices)
    assert len({v for own in sums.values() for v in own}) == number
    for index, own in sums.items():
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
                for v, weight in own.items()
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


# Forms, and the values that all passes carry.
PASSES = {
    "u_t and u_xx": ([{(1,): 1.0}, {(0, 0): 1.0}], 4),
    "Laplacian in 5": ([{(i, i): 1.0 for i in range(5)}], 7),
    "a matrix of rank 1": ([{(0, 0): 1.0, (0, 1): 2.0, (1, 1): 1.0}], 3),
    "a matrix of rank 2": ([{(0, 0): 1.0, (0, 1): 1.0, (1, 1): -1.0}], 4),
    "a gradient along one direction": ([{(0,): 1.0, (1,): 2.0, (2,): 3.0}], 2),
    "on axes that are there": ([{(0,): 1.0, (1,): 2.0}, {(0, 0): 1.0, (1, 1): 1.0}], 4),
    "biharmonic in 3": (
        [
            {
                (i, i, j, j): 1.0 if i == j else 2.0
                for i, j in itertools.combinations_with_replacement(range(3), 2)
            }
        ],
        20,
    ),
    "orders apart": (
        [{(1,): 1.0}, {(0, 0): 1.0}, {(0, 1): 1.0}, {(0, 0, 0, 0): 1.0}],
        9,
    ),
}


@pytest.mark.parametrize("name", PASSES)
def test_passes_carry_few_values(name):
    forms, number = PASSES[name]
    dim = 1 + max(axis for form in forms for index in form for axis in index)
    passes = passes_for(dim, tuple(tuple(form.items()) for form in forms))
    assert passes.num_entries == number


@pytest.mark.parametrize(
    ("indices", "sweeps"),
    [
        # xt and tt from u_t, and xxt from xt.
        ([(0, 1), (1, 1), (1,), (0, 0, 1)], [1, 1, 1]),
        # All from u_t, which is not asked for itself.
        ([(0, 3), (1, 3), (2, 3)], [1, 1]),
        ([(0, 0), (1, 1), (2, 2)], [1, 3]),
    ],
)
def test_tapes_sweep_few_derivatives(indices, sweeps):
    assert tapes.num_sweeps([((index, 1.0),) for index in indices]) == sweeps


def test_sweeps_cost_twice_as_much_with_each_order():
    """Far from what anybody measures: 40 values against six orders."""
    assert engines.jets_cost_less(40, [1] * 6)
    assert not engines.jets_cost_less(40, [1] * 5)


def test_of_as_many_values_those_of_lower_orders_are_used():
    """u_t and u_xxx: in one pass t would go to order 3 as well, for as many values."""
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


# What equations need of a net with one output, and what is the faster engine.
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
def test_auto_takes_the_engine_that_carries_less(name, make_model, rng):
    dim, which, engine, *outputs = CHOICES[name]
    x = rng.normal(size=(4, dim))
    plan = keras_smooth.plan(
        make_model("tanh", dim=dim, outputs=sum(outputs) or 1),
        x,
        which,
        names="xt" if dim == 2 else None,
    )
    assert plan.engine == engine


@pytest.mark.parametrize(("dim", "order"), [(1, 3), (2, 4), (3, 3), (4, 2)])
def test_all_partials_come_from_as_many_directions_as_the_highest_order_has(dim, order):
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
        # Sums of some whole numbers to 3^4, times fractions.
        identity = plan.table(k) @ np.stack(columns, axis=1)
        np.testing.assert_allclose(identity, np.eye(len(indices)), atol=1e-13)
