"""`fit_lbfgs(objective=...)`: a user's terms, points of any sizes, trained coefficients."""

import gc
import warnings
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from lbfgs_nets import X, Y, dense, net
from representatives import representatives

import keras_smooth
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.lbfgs.objective.terms import Terms
from keras_smooth.lbfgs.run.program import Program

INSIDE = np.random.default_rng(0).uniform(size=(12, 2))
EDGE = np.random.default_rng(1).uniform(size=(5, 2))
POINTS = {"inside": INSIDE, "edge": EDGE}


def uncompiled_net(dtype="float64"):
    """Returns a net that is not compiled."""
    layers = [dense(3, "tanh", 1, dtype=dtype), dense(1, seed=2, dtype=dtype)]
    return keras.Sequential([keras.Input((2,), dtype=dtype), *layers])


def poisson(model, points):
    residual = keras_smooth.laplacian(model, points["inside"]) + 1.0
    return {
        "equation": ops.mean(residual**2),
        "boundary": ops.mean(model(points["edge"]) ** 2),
    }


def fit(model, x=POINTS, objective=poisson, **arguments):
    arguments = {"verbose": 0, "epochs": 5, "jit_compile": False, **arguments}
    return keras_smooth.fit_lbfgs(model, x, objective=objective, **arguments)


class Poisson(keras.Model):
    """The same loss in `compute_loss`, as a reference."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        residual = keras_smooth.laplacian(self, x) + 1.0
        return ops.mean(residual**2) + 10.0 * ops.mean(
            self(ops.convert_to_tensor(EDGE)) ** 2
        )


# The loss.


def test_steps_equal_those_of_compute_loss():
    layers = uncompiled_net()
    model = Poisson(layers.inputs, layers.outputs[0])
    model.compile()
    expected = keras_smooth.fit_lbfgs(model, INSIDE, epochs=5, jit_compile=False, verbose=0)
    history = fit(uncompiled_net(), loss_weights={"boundary": 10.0})
    # The sums have another order. Measured: 1e-16 at the start, which five steps enlarge.
    assert history.result.fun == pytest.approx(expected.result.fun, rel=1e-12)


def test_terms_are_logged_without_their_weights(capsys):
    model = uncompiled_net()
    history = fit(model, loss_weights={"boundary": 10.0}, verbose=2)
    logs = history.history
    assert set(logs) == {"equation", "boundary", "loss"}
    total = np.add(logs["equation"], 10.0 * np.array(logs["boundary"]))
    np.testing.assert_allclose(total, logs["loss"], rtol=1e-14)
    terms = {name: float(term) for name, term in poisson(model, POINTS).items()}
    assert logs["boundary"][-1] == pytest.approx(terms["boundary"], rel=1e-14)
    assert logs["loss"][-1] == history.result.fun
    printed = capsys.readouterr().out
    assert "equation:" in printed and "boundary:" in printed


def mean_square(model, x):
    return sum(ops.mean(model(part) ** 2) for part in keras.tree.flatten(x))


STRUCTURES = {
    "array": INSIDE,
    "list": [INSIDE, EDGE],
    "tuple": (INSIDE, EDGE, EDGE[:1]),
    "nested": {"a": [INSIDE, {"b": EDGE}], "c": (EDGE,)},
    "float32 arrays": [INSIDE.astype("float32"), EDGE],
    "tensors": [tf.constant(INSIDE), tf.constant(EDGE)],
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_points_in_nested_structures(name):
    model = uncompiled_net()
    expected = np.sum(
        [np.mean(model(p) ** 2) for p in keras.tree.flatten(STRUCTURES[name])]
    )
    result = fit(model, STRUCTURES[name], mean_square, target=1e9).result
    # Points in float32 are rounded by 6e-8.
    rel = 1e-6 if "float32" in name else 1e-14
    assert result.fun == pytest.approx(expected, rel=rel)
    assert list(model.history.history) == ["loss"]


def test_points_include_scalars_and_integers():
    def function(model, x):
        points = tf.gather(x["all"], x["places"])
        return {"a": x["factor"] * ops.mean(model(points) ** 2)}

    model, indices = uncompiled_net(), np.array([3, 1, 4])
    x = {"all": INSIDE, "places": indices, "factor": np.array(2.5)}
    expected = 2.5 * np.mean(model(INSIDE[indices]) ** 2)
    assert fit(model, x, function, target=1e9).result.fun == pytest.approx(expected)


def loss_of_derivatives(model, x):
    first, second = keras_smooth.derivatives(model, x["line"])[1:]
    return ops.mean((second + first) ** 2)


def loss_of_directional(model, x):
    parts = keras_smooth.directional(model, x["inside"], [1.0, 0.5], 2)
    return {"u": ops.mean(parts[0] ** 2), "uxx": ops.mean(parts[2] ** 2)}


def loss_of_gradient(model, x):
    return {"slope": ops.mean(keras_smooth.gradient(model, x["inside"]) ** 2)}


def loss_of_hessian(model, x):
    return (
        ops.mean(keras_smooth.hessian(model, x["inside"]) ** 2)
        + poisson(model, x)["boundary"]
    )


def net_of_one_input():
    layers = [dense(3, "tanh", 1, dtype="float64"), dense(1, seed=2, dtype="float64")]
    return keras.Sequential([keras.Input((1,), dtype="float64"), *layers])


OPERATORS = {
    "laplacian": (uncompiled_net, poisson),
    "derivatives": (net_of_one_input, loss_of_derivatives),
    "directional": (uncompiled_net, loss_of_directional),
    "gradient": (uncompiled_net, loss_of_gradient),
    "hessian": (uncompiled_net, loss_of_hessian),
}


@pytest.mark.parametrize("name", representatives(OPERATORS, ["laplacian", "derivatives"]))
def test_operators_compiled_by_xla_equal_eager_ones(name):
    make, function = OPERATORS[name]
    model = make()
    x = {**POINTS, "line": INSIDE[:, :1]}
    # Derivatives do not depend on the last bias.
    model.layers[-1].bias.trainable = False
    if name not in ("laplacian", "directional", "hessian"):
        model.layers[-1].use_bias = False
    data = (keras.tree.map_structure(tf.constant, x), None, None)
    objective = Objective(model, Terms(function))
    trainable = [v for v in model.trainable_variables]
    assert objective.variables == trainable
    eager = objective.value_and_gradient(objective.position, data)
    compiled = tf.function(objective.value_and_gradient, jit_compile=True, autograph=False)
    for expected, value in zip(eager, compiled(objective.position, data)):
        # Sums of 12 terms of order one are rounded by a few times 2e-16.
        np.testing.assert_allclose(expected, value, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_compiled_fit_solves_a_differential_equation():
    """The solution of u'' = -u with u(0) = 0 and u'(0) = 1 is the sine."""

    def sine(model, x):
        u, _, d2u = keras_smooth.derivatives(model, x["inside"])
        u0, du0 = keras_smooth.derivatives(model, x["start"], 1)
        return {
            "inside": ops.mean((d2u + u) ** 2),
            "start": ops.sum(u0**2 + (du0 - 1.0) ** 2),
        }

    model = net_of_one_input()
    x = {"inside": np.linspace(0.0, 1.0, 20)[:, None], "start": np.zeros((1, 1))}
    result = fit(model, x, sine, epochs=300, jit_compile=True).result
    assert result.fun < 1e-6
    np.testing.assert_allclose(model(x["inside"]), np.sin(x["inside"]), atol=1e-3)


# Trained coefficients.


def linear_objective(slope, offset):
    def function(model, x):
        return {
            "data": ops.mean((slope * x["x"] + offset + 0.0 * model(x["x"]) - x["y"]) ** 2)
        }

    return function


def test_variables_are_trained_with_the_weights():
    slope = keras.Variable(0.0, dtype="float64", name="slope")
    offset = keras.Variable([0.0], dtype="float64", name="offset")
    x = {"x": INSIDE[:, :1], "y": 3.0 * INSIDE[:, :1] - 2.0}
    result = fit(
        net_of_one_input(),
        x,
        linear_objective(slope, offset),
        variables=[slope, offset],
        epochs=30,
    ).result
    assert result.success
    assert float(slope.numpy()) == pytest.approx(3.0, abs=1e-8)
    assert offset.numpy() == pytest.approx([-2.0], abs=1e-8)


def test_coefficient_that_is_a_weight_of_the_model_is_trained():
    class Law(keras.Model):
        def __init__(self):
            super().__init__(dtype="float64")
            self.head = dense(1, dtype="float64", use_bias=False)
            self.rate = self.add_weight(initializer="ones", name="rate")

        def call(self, x):
            return self.head(x)

    def function(model, x):
        return ops.mean((model(x) - 2.0 * x[:, :1]) ** 2) + (model.rate - 0.3) ** 2

    model = Law()
    model(INSIDE)
    assert fit(model, INSIDE, function, epochs=30).result.success
    assert float(model.rate.numpy()) == pytest.approx(0.3, abs=1e-8)


def test_model_without_weights_trains_variables():
    rate = keras.Variable(1.0, dtype="float64")
    model = keras.Sequential(
        [keras.Input((2,), dtype="float64"), keras.layers.Rescaling(1.0)]
    )

    def function(model, x):
        return ops.mean((rate * model(x) - 4.0 * x) ** 2)

    fit(model, INSIDE, function, variables=[rate], epochs=20)
    assert float(rate.numpy()) == pytest.approx(4.0, abs=1e-6)


# Copies in float64.


@pytest.mark.slow
def test_float32_model_with_dtype_float64_equals_float64_model():
    """The steps of the copy, and of the variable, are those of a float64 model."""
    results, rates = [], []
    for dtype in ("float32", "float64"):
        model, rate = uncompiled_net(dtype), keras.Variable(1.0, dtype="float64")
        if dtype == "float64":
            model.set_weights(uncompiled_net("float32").get_weights())

        def function(model, points, rate=rate):
            assert model.layers[0].dtype == "float64" == points["edge"].dtype.name
            return {**poisson(model, points), "rate": (rate - 0.3) ** 2}

        results.append(
            fit(model, objective=function, variables=[rate], dtype="float64").result
        )
        rates.append(float(rate.numpy()))
        assert {v.dtype for v in model.variables} == {dtype}
    assert results[0] == results[1] and rates[0] == rates[1]


@pytest.mark.slow
def test_subclassed_model_with_dtype_float64():
    @keras.saving.register_keras_serializable("test_lbfgs_objective")
    class Net(keras.Model):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.hidden = dense(3, "tanh", 1, dtype=self.dtype_policy)
            self.head = dense(1, seed=2, dtype=self.dtype_policy)

        def call(self, x):
            return self.head(self.hidden(x))

    model = Net()
    model(INSIDE.astype("float32"))
    other = uncompiled_net()
    other.set_weights(model.get_weights())
    # The points are not inputs of the model, so that the copy is built from input shapes.
    loss = fit(model, dtype="float64").result.fun
    # Tapes and jets differ by rounding. Measured: 2e-14.
    assert loss == pytest.approx(fit(other, dtype="float64").result.fun, rel=1e-11)


# Checkpoints, callbacks and programs.


class RaiseAtEpoch(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 8:
            raise MemoryError


def test_resumed_run_equals_uninterrupted_run(tmp_path):
    def outcome():
        weights = [np.asarray(v).tobytes() for v in (*model.variables, rate)]
        return weights, model.history.result, model.history.history

    def function(model, points):
        residual = rate * keras_smooth.laplacian(model, points["inside"]) + 1.0
        boundary = ops.mean(model(points["edge"]) ** 2)
        return {"equation": ops.mean(residual**2), "boundary": boundary}

    model, rate = uncompiled_net(), keras.Variable(0.5, dtype="float64")
    start = model.get_weights()
    arguments = {"objective": function, "variables": [rate], "epochs": 12}
    arguments |= {"steps_per_execution": 3, "loss_weights": {"boundary": 3.0}}
    fit(model, **arguments)
    uninterrupted = outcome()
    model.set_weights(start)
    rate.assign(0.5)
    with pytest.raises(MemoryError):
        fit(model, checkpoint=tmp_path, callbacks=[RaiseAtEpoch()], **arguments)
    model.set_weights(start)
    rate.assign(0.5)
    fit(model, checkpoint=tmp_path, **arguments)
    assert outcome() == uninterrupted
    changed = {**arguments, "loss_weights": {"boundary": 4.0}}
    model.set_weights(start)
    rate.assign(0.5)
    with pytest.raises(ValueError, match="of another loss"):
        fit(model, checkpoint=tmp_path, **changed)
    with pytest.raises(ValueError, match=": data of it"):
        fit(model, {**POINTS, "edge": EDGE + 1e-9}, checkpoint=tmp_path, **arguments)


@pytest.mark.slow
def test_callbacks_monitor_terms_derivatives_and_validation(tmp_path):
    model = uncompiled_net()
    monitor = keras_smooth.DerivativeMonitor(
        INSIDE, lambda x: ops.sum(x, 1, keepdims=True), 1
    )
    stop = keras.callbacks.EarlyStopping("boundary", min_delta=1e9, patience=1, mode="min")
    save = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="val_equation", mode="min", save_best_only=True
    )
    validation_points = {"inside": INSIDE[:3] + 0.1, "edge": EDGE[:2]}
    history = fit(
        model, epochs=6, validation_data=validation_points, callbacks=[monitor, stop, save]
    )
    names = ["equation", "boundary", "loss"]
    names = [*names, *(f"val_{name}" for name in names), "y_mse", "dy_mse"]
    assert set(history.history) == set(names) and history.result.nit == 2
    terms = {name: float(term) for name, term in poisson(model, validation_points).items()}
    for name in terms:
        assert history.history[f"val_{name}"][-1] == pytest.approx(terms[name], rel=1e-12)
    assert history.history["val_loss"][-1] == pytest.approx(sum(terms.values()), rel=1e-12)
    assert (tmp_path / "best.keras").exists()


@pytest.fixture
def programs(monkeypatch):
    """A list with one entry for each program that is compiled."""
    made = []
    original = Program.__init__

    def counted(self, *arguments):
        made.append(self)
        original(self, *arguments)

    monkeypatch.setattr(Program, "__init__", counted)
    return made


def test_objective_is_compiled_once_for_several_fits(programs):
    def function(model, points):
        return poisson(model, points)

    model = uncompiled_net()
    start = model.get_weights()
    losses = []
    for _ in range(3):
        model.set_weights(start)
        losses.append(fit(model, objective=function).history["loss"])
    assert len(programs) == 1 and losses[0] == losses[1] == losses[2]
    fit(model, objective=function, loss_weights={"equation": 2.0})
    assert len(programs) == 2


class Values:
    """Values that an objective may read from Python."""

    attribute = 1.0
    array = np.ones(20)
    tensor = tf.ones(20, "float64")


GLOBAL = {"value": 1.0}


def _reads_closure():
    value = 1.0

    def function(model, x):
        return ops.mean((model(x) - value) ** 2)

    def change():
        nonlocal value
        value = 2.0

    return function, change


def _reads_default_argument():
    def function(model, x, value=1.0):
        return ops.mean((model(x) - value) ** 2)

    return function, lambda: setattr(function, "__defaults__", (2.0,))


def _reads_global():
    def function(model, x):
        return ops.mean((model(x) - GLOBAL["value"]) ** 2)

    return function, lambda: GLOBAL.update(value=2.0)


def _reads_class_attribute():
    def function(model, x):
        return ops.mean((model(x) - Values.attribute) ** 2)

    return function, lambda: setattr(Values, "attribute", 2.0)


def _reads_instance_attribute():
    class Equation:
        value = 1.0

        def terms(self, model, x):
            return {"term": ops.mean((model(x) - self.value) ** 2)}

    equation = Equation()
    return equation.terms, lambda: setattr(equation, "value", 2.0)


def _reads_array_in_place():
    def function(model, x):
        return ops.mean((model(x)[:, 0] - Values.array) ** 2)

    return function, lambda: Values.array.fill(2.0)


def _reads_tensor():
    def function(model, x):
        return ops.mean((model(x)[:, 0] - Values.tensor) ** 2)

    return function, lambda: setattr(Values, "tensor", 2.0 * tf.ones(20, "float64"))


def _branches_on_global():
    def function(model, x):
        target = ops.sin(x) if GLOBAL.get("sine") else 1.0
        return ops.mean((model(x) - target) ** 2)

    return function, lambda: GLOBAL.update(sine=True)


def _reads_in_while_loop():
    scale = [1.0]

    def function(model, x):
        def add(i, total):
            return i + 1, total + scale[0] * ops.mean((model(x) - 1.0) ** 2)

        return tf.while_loop(lambda i, _: i < 3, add, (0, tf.zeros((), "float64")))[1]

    return function, lambda: scale.__setitem__(0, 2.0)


def _reads_in_custom_gradient():
    scale = [1.0]

    @tf.custom_gradient
    def square(u):
        return u**2, lambda upstream: upstream * scale[0] * 2.0 * u

    def function(model, x):
        return ops.mean(square(model(x)))

    return function, lambda: scale.__setitem__(0, 0.5)


CHANGES = [
    _reads_closure, _reads_default_argument, _reads_global, _reads_class_attribute,
    _reads_instance_attribute, _reads_array_in_place, _reads_tensor, _branches_on_global,
    _reads_in_while_loop, _reads_in_custom_gradient,
]  # fmt: skip


@pytest.mark.parametrize(
    "make", representatives(CHANGES, [_reads_closure, _reads_class_attribute])
)
def test_objective_is_compiled_again_if_a_value_it_reads_changes(make, programs):
    function, change = make()
    model, other = uncompiled_net(), uncompiled_net()
    start = model.get_weights()

    def losses(model):
        model.set_weights(start)
        return fit(model, X, objective=function, epochs=3).history["loss"]

    first = losses(model)
    assert losses(model) == first and len(programs) == 1
    change()
    changed = losses(model)
    assert len(programs) == 2 and changed != first
    # The other model has no program yet.
    assert changed == losses(other)


def test_points_of_two_shapes_are_compiled_again_after_a_change(programs):
    function, change = _reads_closure()
    model = uncompiled_net()
    start = model.get_weights()

    def loss(x):
        model.set_weights(start)
        return fit(model, x, objective=function, epochs=3).history["loss"][-1]

    first = loss(X), loss(X[:5])
    assert (loss(X), loss(X[:5])) == first and len(programs) == 1
    change()
    assert loss(X) != first[0] and loss(X[:5]) != first[1]


@pytest.mark.slow
def test_model_in_the_closure_of_an_objective_is_garbage_collected():
    def run():
        model = uncompiled_net()

        def function(_, points):
            return poisson(model, points)

        fit(model, objective=function)
        return weakref.ref(model)

    reference = run()
    gc.collect()
    assert reference() is None


class Equation:
    """An objective as a method, and as an object that can be called."""

    def terms(self, model, points):
        return poisson(model, points)

    __call__ = terms


@pytest.mark.slow
@pytest.mark.parametrize("make", [Equation, lambda: Equation().terms])
def test_methods_and_callable_objects_are_objectives(make):
    assert fit(uncompiled_net(), objective=make()).result == fit(uncompiled_net()).result


# Warnings and errors.


@pytest.mark.slow
def test_unused_losses_of_the_model_warn_once():
    models = {
        "compiled with": net(),
        "compute_loss": Poisson(*(lambda m: (m.inputs, m.outputs[0]))(uncompiled_net())),
        "regularizers": keras.Sequential(
            [
                keras.Input((2,), dtype="float64"),
                dense(1, kernel_regularizer="l2", dtype="float64"),
            ]
        ),
    }
    for message, model in models.items():
        with pytest.warns(UserWarning, match=f"minimizes `objective` alone.*{message}"):
            fit(model, objective=mean_square)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            fit(model, objective=mean_square)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = uncompiled_net()
        model.compile()
        fit(model, objective=mean_square)


def test_float32_term_warns():
    def function(model, points):
        return {
            **poisson(model, points),
            "more": tf.cast(ops.mean(model(EDGE)) ** 2, "float32"),
        }

    with pytest.warns(UserWarning, match="computes in float32.*constants and variables"):
        fit(uncompiled_net(), objective=function)


def variable(dtype="float64", **arguments):
    return keras.Variable(np.ones(2), dtype=dtype, name="rate", **arguments)


def returns(value):
    return {"objective": lambda model, points: value}


def constant(model, points):
    return {"a": ops.mean(points["inside"])}


# Name: arguments, class of the error, words of its message.
WRONG_ARGUMENTS = {
    "y": ({"y": Y}, ValueError, "`y` cannot be used with `objective`.*into x"),
    "weights of rows": ({"sample_weight": np.ones(20)}, ValueError, "`sample_weight` cannot"),
    "classes": ({"class_weight": {0: 1.0}}, ValueError, "`class_weight` cannot be used"),
    "batches": ({"batch_size": 4}, ValueError, "`batch_size` cannot be used with `obj"),
    "split": ({"validation_split": 0.5}, ValueError, "`validation_split` cannot"),
    "both": ({"y": Y, "batch_size": 4}, ValueError, "`y` and `batch_size` cannot"),
    "no function": ({"objective": "mse"}, TypeError, "must be a function.*received 'mse'"),
    "no x": ({"x": None}, ValueError, "x is None. Pass the points"),
    "dataset": (
        {"x": tf.data.Dataset.from_tensors(X)}, TypeError, "all its points at once, x must be arrays .* received <_TensorDataset",
    ),
    "numbers": ({"x": {"a": [1.0, 2.0]}}, TypeError, r"received 1.0 in it.*numpy.array"),
    "NaN": ({"x": {"a": INSIDE * np.nan}}, ValueError, r"x must be finite"),
    "empty": ({"x": {"a": INSIDE[:0]}}, ValueError, "x is empty"),
    "vector": (returns(tf.ones(3)), ValueError, r"must be a scalar, .*, but it has shape \(3,\)"),
    "vector term": (
        returns({"a": tf.ones(())[None]}), ValueError, "The term 'a' .*must be a scalar",
    ),
    "integers": (
        returns({"a": tf.ones((), tf.int32)}), TypeError, "'a' .*real floats, received int32",
    ),
    "nothing": (returns(None), TypeError, "must be a scalar, or a dict.*received None"),
    "list": (returns([tf.ones(())]), TypeError, "must be a scalar, or a dict of scalars"),
    "dict in a dict": (returns({"a": {"b": tf.ones(())}}), TypeError, "'a' .* received {'b'"),
    "no terms": (returns({}), ValueError, "returned an empty dict"),
    "name": (returns({1: tf.ones(())}), TypeError, "strings as names, received 1"),
    "name of the sum": (returns({"loss": tf.ones(())}), ValueError, "called 'loss'"),
    "name of validation": (returns({"val_a": tf.ones(())}), ValueError, "'val_a'.*another"),
    "constant": ({"objective": constant}, ValueError, "does not depend on the .*given"),
    "learning rates": (
        {"callbacks": [keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)]}, ValueError,
        "LearningRateScheduler, but L-BFGS has no learning rate",
    ),
    "unknown weight": (
        {"loss_weights": {"edge": 1.0}}, ValueError,
        "`loss_weights` has edge, which is no term.*equation, boundary",
    ),
    "weights of 0": (
        {"loss_weights": {"equation": 0.0, "boundary": 0}}, ValueError, "0 for all terms",
    ),
    "weight a word": ({"loss_weights": {"equation": "1"}}, TypeError, "equation.*a number.*'1'"),
    "weight NaN": ({"loss_weights": {"equation": np.nan}}, ValueError, "equation.*finite"),
    "weights a list": ({"loss_weights": [1.0]}, TypeError, "must be a dict with a number for each term"),
    "no variable": ({"variables": [tf.ones(2)]}, TypeError, "must be a list of keras.Variable"),
    "not in a list": ({"variables": variable()}, TypeError, "must be a list of keras.Variable"),
    "float32": (
        {"variables": [variable("float32")]}, ValueError,
        r'rate.* has dtype float32, but the fit computes in float64.*dtype="float64"',
    ),
    "float32 in float64": (
        {"variables": [variable("float32")], "dtype": "float64"}, ValueError,
        "has dtype float32, but the fit computes in float64",
    ),
    "integer": ({"variables": [variable("int32")]}, ValueError, "int32, which has no gradient"),
    "frozen": ({"variables": [variable(trainable=False)]}, ValueError, "is not trainable"),
}  # fmt: skip


@pytest.mark.parametrize("number", [0, 0.0, 1, True, np.float64(0.25)])
def test_python_number_is_a_term(number):
    def objective(model, points):
        return {
            "squares": ops.mean((model(points["inside"]) - 1.0) ** 2),
            "switched off": number,
        }

    def squares_only(model, points):
        return {"squares": ops.mean((model(points["inside"]) - 1.0) ** 2)}

    losses = []
    for function in (objective, squares_only):
        keras.utils.set_random_seed(0)
        history = fit(uncompiled_net(), objective=function, loss_weights={}, epochs=3)
        losses.append(np.array(history.history["loss"]))
    # A Python number does not change the dtype of the sum to float32.
    assert losses[0].dtype == np.float64
    np.testing.assert_allclose(losses[0] - float(number), losses[1], rtol=1e-13)


@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_wrong_arguments_raise(name):
    arguments, error, message = WRONG_ARGUMENTS[name]
    with pytest.raises(error, match=message):
        fit(uncompiled_net(), **arguments)


@pytest.mark.parametrize(
    "arguments", [{"loss_weights": {"a": 1.0}}, {"variables": [variable()]}]
)
def test_arguments_of_an_objective_raise_without_an_objective(arguments):
    with pytest.raises(ValueError, match="go with `objective`, which is None"):
        keras_smooth.fit_lbfgs(net(), X, Y, verbose=0, **arguments)
