"""DerivativeModel: Keras' own compile, fit, evaluate, predict and save; fit_lbfgs."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from fresh_start import set_random_seed
from representatives import representatives

import keras_smooth


def targets(x):
    return {"y": np.sin(x), "dy": np.cos(x), "d2y": -np.sin(x)}


@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_outputs_equal_derivatives(make_model, points, engine, order):
    inner = make_model()
    outputs = keras_smooth.DerivativeModel(inner, order, engine=engine)(points)
    assert list(outputs) == ["y", "dy", "d2y", "d3y"][: order + 1]
    for value, expected in zip(
        outputs.values(), keras_smooth.derivatives(inner, points, order)
    ):
        # Rounding of two engines, measured as 4.4e-16.
        np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("engine", ["jet", "tape"])
def test_second_laplacian_returns_laplacian_as_d2y(make_model, engine, rng):
    inner, x = make_model(dim=3), rng.normal(size=(4, 3))
    outputs = keras_smooth.DerivativeModel(inner, engine=engine, second="laplacian")(x)
    assert [value.shape for value in outputs.values()] == [(4, 1), (4, 1, 3), (4, 1)]
    # Rounding of two engines, measured as 2.2e-16.
    tolerances = {"rtol": 1e-13, "atol": 1e-13}
    np.testing.assert_allclose(
        outputs["d2y"], keras_smooth.laplacian(inner, x), **tolerances
    )
    np.testing.assert_allclose(outputs["dy"], keras_smooth.jacobian(inner, x), **tolerances)


def test_fit_evaluate_and_predict_share_weights(make_model, points):
    inner = make_model()
    model = keras_smooth.DerivativeModel(inner)
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss={"y": "mse", "dy": "mse", "d2y": "mse"},
        loss_weights={"y": 1.0, "dy": 0.1, "d2y": 0.01},
        metrics={"y": ["mae"], "d2y": ["mae"]},
        jit_compile=False,
    )
    before = [np.array(weight) for weight in inner.get_weights()]
    history = model.fit(points, targets(points), epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert {"y_loss", "dy_loss", "d2y_loss", "y_mae", "d2y_mae"} <= set(history)
    assert any(np.any(a != b) for a, b in zip(before, inner.get_weights()))
    logs = model.evaluate(points, targets(points), return_dict=True, verbose=0)
    values = model.predict(points, verbose=0)
    error = np.mean(np.abs(values["d2y"] - targets(points)["d2y"]))
    # Keras averages metrics in float32; measured: 3.3e-8.
    assert logs["d2y_mae"] == pytest.approx(error, rel=1e-6)


def test_fit_with_loss_on_some_outputs(make_model, points):
    model = keras_smooth.DerivativeModel(make_model(), order=1)
    model.compile(loss={"y": "mse", "dy": None}, jit_compile=False)
    values = targets(points)
    history = model.fit(points, {"y": values["y"], "dy": values["dy"]}, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.slow
def test_fit_lbfgs_fits_derivatives(make_model, points):
    inner = make_model(width=10)
    model = keras_smooth.DerivativeModel(inner)
    model.compile(loss={"y": "mse", "dy": "mse", "d2y": "mse"})
    keras_smooth.fit_lbfgs(
        model, points, targets(points), epochs=200, verbose=0, jit_compile=False
    )
    d2y = keras_smooth.derivatives(inner, points)[2]
    # Measured: 1.1e-7; with only y in the loss, 6.7e-4.
    assert np.mean(np.square(d2y - targets(points)["d2y"])) < 1e-5


LOAD_SCRIPT = """
import sys, keras, keras_smooth, numpy as np
model = keras.models.load_model(sys.argv[1])
x = np.linspace(-2.0, 2.0, 21)[:, None]
np.savez(sys.argv[2], **{k: np.asarray(v) for k, v in model(x).items()}, order=model.order)
"""


@pytest.mark.slow
def test_model_loaded_in_another_process_has_equal_outputs(make_model, points, tmp_path):
    model = keras_smooth.DerivativeModel(make_model(), order=3, engine="tape")
    expected = model(points)
    model.save(tmp_path / "model.keras")
    code = [
        sys.executable,
        "-c",
        LOAD_SCRIPT,
        tmp_path / "model.keras",
        tmp_path / "found.npz",
    ]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([str(part) for part in code], check=True, env=environment)
    outputs = np.load(tmp_path / "found.npz")
    assert outputs["order"] == 3
    for key, value in expected.items():
        # Measured: 0; another process may round differently.
        np.testing.assert_allclose(outputs[key], value, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("eager", representatives([False, True], [True]))
@pytest.mark.parametrize(
    ("name", "reshape"),
    [
        ("dy", lambda dy: dy[:, :, :1]),
        ("d2y", lambda d2y: d2y[:, 0, :1]),
        ("d2y", lambda d2y: d2y[:, :, :1]),
        ("y", lambda y: np.concatenate([y, y], axis=1)),
    ],
)
def test_targets_that_would_be_broadcast_raise(make_model, eager, name, reshape):
    x = np.linspace(-1.0, 1.0, 15).reshape(5, 3)
    model = keras_smooth.DerivativeModel(make_model(dim=3))
    targets = {key: np.asarray(value) for key, value in model(x).items()}
    model.compile(loss=dict.fromkeys(targets, "mse"), run_eagerly=eager, jit_compile=False)
    # Keras rounds targets to float32; measured: 5e-16.
    assert model.evaluate(x, targets, verbose=0, return_dict=True)["loss"] < 1e-13
    broadcast_targets = {**targets, name: reshape(targets[name])}
    # After the second shape, Keras traces the targets with unknown shape or rank.
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="shape"):
        model.evaluate(x, broadcast_targets, verbose=0)
    model.compile(loss=dict.fromkeys(targets, "mse"), run_eagerly=eager, jit_compile=False)
    for method in (model.evaluate, model.fit):
        with pytest.raises(ValueError, match=f"targets of '{name}' have shape"):
            method(x, broadcast_targets, verbose=0)
    with pytest.raises(ValueError, match="shape"):
        keras_smooth.fit_lbfgs(model, x, broadcast_targets, epochs=1, verbose=0)


def test_flat_targets_are_accepted(make_model, points):
    model = keras_smooth.DerivativeModel(make_model(), order=1)
    model.compile(loss={"y": "mse", "dy": "mse"}, jit_compile=False)
    values = {key: np.ravel(value) for key, value in model(points).items()}
    # Keras rounds targets to float32; measured: 3e-16. If they were broadcast: 0.1.
    assert model.evaluate(points, values, verbose=0, return_dict=True)["loss"] < 1e-13


# So different that each order of the losses and weights has another sum.
OFFSETS = (0.1, 1.0, 10.0)


def shifted_targets(model, x):
    """Returns targets by name that differ from the outputs by 0.1, 1 and 10."""
    return {
        name: np.asarray(value) + offset
        for (name, value), offset in zip(model(x).items(), OFFSETS)
    }


def as_dataset(x, y, *weights):
    return (tf.data.Dataset.from_tensor_slices((x, y, *weights)).batch(len(x)),)


FORMS = {
    "dict": lambda x, y: (x, y),
    "tuple": lambda x, y: (x, tuple(y.values())),
    "list": lambda x, y: (x, list(y.values())),
    "dataset": lambda x, y: as_dataset(x, tuple(y.values())),
}
# Arguments of compile, and the loss for targets with the offsets above.
COMPILE_ARGUMENTS = {
    "one for all": ({"loss": "mse"}, 101.01),
    "one for all, weights": ({"loss": "mse", "loss_weights": [1, 0, 0]}, 0.01),
    "list": ({"loss": ["mae", "mse", None]}, 1.1),
    "list, weights": ({"loss": ["mse"] * 3, "loss_weights": [4, 2, 1]}, 102.04),
    "list, dict of weights": (
        {"loss": ["mse"] * 3, "loss_weights": {"d2y": 1, "dy": 2, "y": 4}},
        102.04,
    ),
    "dict": ({"loss": {"d2y": "mae", "y": "mse", "dy": None}}, 10.01),
    "dict, weights": ({"loss": {"d2y": "mae", "y": "mse"}, "loss_weights": (3, 0)}, 0.03),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", COMPILE_ARGUMENTS)
def test_lists_of_losses_and_weights_follow_order_of_outputs(
    make_model, points, form, kind
):
    arguments, expected = COMPILE_ARGUMENTS[kind]
    model = keras_smooth.DerivativeModel(make_model())
    model.compile(**arguments, run_eagerly=True)
    data = FORMS[form](points, shifted_targets(model, points))
    logs = model.evaluate(*data, batch_size=None, verbose=0, return_dict=True)
    # Keras averages in float32.
    assert logs["loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("metric", ["metrics", "weighted_metrics"])
def test_lists_of_metrics_follow_order_of_outputs(make_model, points, metric):
    model = keras_smooth.DerivativeModel(make_model())
    model.compile(loss="mse", **{metric: ["mae", "mse", ["mae", "mse"]]}, run_eagerly=True)
    targets = tuple(shifted_targets(model, points).values())
    logs = model.evaluate(points, targets, batch_size=21, verbose=0, return_dict=True)
    expected = {"y_mae": 0.1, "dy_mse": 1.0, "d2y_mae": 10.0, "d2y_mse": 100.0}
    # Keras averages in float32.
    assert {name: logs[name] for name in expected} == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_fit_with_lists_has_expected_logs(make_model, points, form):
    model = keras_smooth.DerivativeModel(make_model(), order=1)
    model.compile(
        keras.optimizers.SGD(0.0),
        loss=["mse", "mse"],
        loss_weights=[1, 0],
        run_eagerly=True,
    )
    data = FORMS[form](points, shifted_targets(model, points))
    logs = model.fit(*data, validation_data=data if len(data) == 2 else data[0], verbose=0)
    logs = {key: values[0] for key, values in logs.history.items()}
    # Keras averages in float32.
    expected = {"loss": 0.01, "y_loss": 0.01, "dy_loss": 1.0}
    expected |= {f"val_{key}": value for key, value in expected.items()}
    assert logs == pytest.approx(expected, rel=1e-5)
    history = keras_smooth.fit_lbfgs(
        model, *data, tolerance=1e9, verbose=0, jit_compile=False
    )
    # Rounding of 21 numbers of size 1 in float64.
    assert history.history["loss"][0] == pytest.approx(0.01, rel=1e-12)


@pytest.mark.parametrize(
    "argument", ["loss", "loss_weights", "metrics", "weighted_metrics", "y"]
)
def test_lists_of_wrong_length_raise(make_model, points, argument):
    model = keras_smooth.DerivativeModel(make_model())
    with pytest.raises(ValueError, match=f"`{argument}` has 2 .*outputs are y, dy, d2y"):
        if argument == "y":
            model.compile(loss="mse", run_eagerly=True)
            model.evaluate(points, (points, points), verbose=0)
        model.compile(**{"loss": "mse", argument: ["mse", "mse"]})


def elementwise(y_true, y_pred):
    return keras.ops.square(y_true - y_pred)


def by_row(y_true, y_pred):
    squares = keras.ops.square(y_true - y_pred)
    return keras.ops.mean(squares, axis=tuple(range(1, len(y_pred.shape))))


# As many samples as outputs, or as inputs: weights must not be broadcast over these axes.
WEIGHTED_MODELS = {
    "one input": ((1,), 1, "mse"),
    "as many inputs": ((4,), 1, "mse"),
    "as many outputs": ((2,), 4, "mse"),
    "both": ((4,), 4, "mse"),
    "elementwise": ((4,), 4, elementwise),
    "by row": ((4,), 4, by_row),
    "an object": ((3,), 2, keras.losses.MeanSquaredError()),
    "two axes": ((4, 3), 1, "mse"),
}


@pytest.mark.parametrize(
    "kind", representatives(list(WEIGHTED_MODELS), ["both", "two axes"])
)
def test_sample_weights_apply_to_samples(kind, rng):
    shape, outputs, loss = WEIGHTED_MODELS[kind]
    inner = keras.Sequential([keras.Input(shape, dtype="float64")])
    inner.add(keras.layers.Flatten(dtype="float64"))
    inner.add(keras.layers.Dense(outputs, "tanh", dtype="float64"))
    # The axes of d2y are those of dy, one of them twice: one kind shows that they are right.
    model = keras_smooth.DerivativeModel(inner, order=2 if kind == "both" else 1)
    x, weights = rng.normal(size=(4, *shape)), np.array([1.0, 2.0, 4.0, 8.0])
    y = {key: rng.normal(size=value.shape) for key, value in model(x).items()}
    expected = 0.0
    for key, value in model(x).items():
        sample_losses = np.mean(np.square(value - y[key]).reshape(4, -1), axis=1)
        expected += np.mean(weights * sample_losses)
    model.compile(loss=loss, run_eagerly=True)
    forms = {
        "array": (x, y, weights),
        "column": (x, y, weights[:, None]),
        "each": (x, y, dict.fromkeys(y, weights)),
        "tuples": (x, tuple(y.values()), (weights,) * len(y)),
    }
    losses = {
        form: model.evaluate(data[0], data[1], sample_weight=data[2], verbose=0)[0]
        for form, data in forms.items()
    }
    losses["dataset"] = model.evaluate(*as_dataset(*forms["tuples"]), verbose=0)[0]
    # Keras averages in float32.
    assert losses == pytest.approx(dict.fromkeys(losses, expected), rel=1e-6)
    history = keras_smooth.fit_lbfgs(
        model, x, y, sample_weight=weights, tolerance=1e9, verbose=0, jit_compile=False
    )
    # Rounding of sums of up to 600 numbers in float64.
    assert history.history["loss"][0] == pytest.approx(expected, rel=1e-10)


@pytest.mark.slow
# In a graph, Keras' trainer alone differs: one kind of shape shows that it reads them.
@pytest.mark.parametrize(
    ("dims", "eager"), [("3", False), ("1", True), ("4 3", True), ("1 3", True)]
)
def test_targets_may_have_shapes_of_gradient_and_hessian(dims, eager, rng):
    shape = tuple(map(int, dims.split()))
    inner = keras.Sequential([keras.Input(shape, dtype="float64")])
    inner.add(keras.layers.Flatten(dtype="float64"))
    inner.add(keras_smooth.Dense(1, "tanh", dtype="float64"))
    model = keras_smooth.DerivativeModel(inner)
    x = rng.normal(size=(5, *shape))
    targets = (
        np.ravel(inner(x)),
        np.asarray(keras_smooth.gradient(inner, x)),
        np.reshape(keras_smooth.hessian(inner, x), (5, *shape, *shape)),
    )
    model.compile(loss="mse", run_eagerly=eager, jit_compile=False)
    # Keras rounds targets to float32; if they were broadcast, the loss would be 0.1.
    assert model.evaluate(x, targets, verbose=0)[0] < 1e-13
    history = keras_smooth.fit_lbfgs(model, x, targets, verbose=0, jit_compile=False)
    assert history.history["loss"][0] < 1e-25
    monitor = keras_smooth.DerivativeMonitor(x, targets)
    monitor.set_model(model.model)
    monitor.on_train_begin()
    assert max(monitor.measure().values()) < 1e-25


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((5, 12), r"\(batch, 4, 3\).*targets.reshape\(-1, 1, 4, 3\)"),
        ((5, 4, 1), r"\(None, 1, 4, 3\).*\(batch, 4, 3\).*derivatives returns"),
    ],
)
def test_error_for_target_shape_names_expected_shapes(shape, words):
    inner = keras.Sequential([keras.Input((4, 3)), keras.layers.Flatten()])
    inner.add(keras.layers.Dense(1, "tanh"))
    model = keras_smooth.DerivativeModel(inner, order=1)
    model.compile(loss="mse")
    with pytest.raises(ValueError, match=f"targets of 'dy' have shape.*{words}"):
        model.evaluate(np.zeros((5, 4, 3)), (np.zeros(5), np.zeros(shape)), verbose=0)


def test_model_compiled_with_lists_is_loaded(make_model, points, tmp_path):
    model = keras_smooth.DerivativeModel(make_model())
    model.compile(loss=["mse", "mae", None], loss_weights=[2, 1, 0], jit_compile=False)
    targets = tuple(shifted_targets(model, points).values())
    model.fit(points, targets, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations) == 1
    loss_of_loaded, loss_of_saved = (
        compiled.evaluate(points, targets, verbose=0, return_dict=True)["loss"]
        for compiled in (loaded, model)
    )
    assert loss_of_loaded == pytest.approx(loss_of_saved, rel=1e-6)  # float32
    loaded.fit(points, targets, verbose=0)


def network_of_operations(x):
    hidden = keras.layers.Dense(4, "tanh")(2.0 * x)
    return keras.layers.Dense(1)(hidden + keras.ops.sin(hidden)) + x[:, :1]


def network_with_policy(name):
    def outputs(x):
        hidden = keras.layers.Dense(4, "tanh", dtype=name)(x)
        return keras.layers.Dense(1, dtype=name)(hidden)

    return outputs


# The structure of the inputs, and the outputs of the model.
INNER_MODELS = {
    "operations": (lambda x: x, network_of_operations),
    "a dict of one input": (lambda x: {"u": x}, network_of_operations),
    "a dict of one output": (lambda x: x, lambda x: {"v": network_of_operations(x)}),
    "mixed_float16": (lambda x: x, network_with_policy("mixed_float16")),
    "mixed_bfloat16": (lambda x: x, network_with_policy("mixed_bfloat16")),
}


# What is summed for a Laplacian depends on the dtype and not on the structure.
WITH_LAPLACIAN = ("a dict of one input", "mixed_float16")


@pytest.mark.parametrize(
    ("kind", "second"),
    representatives(
        [(kind, "hessian") for kind in INNER_MODELS]
        + [(kind, "laplacian") for kind in WITH_LAPLACIAN],
        [("a dict of one input", second) for second in ("hessian", "laplacian")],
    ),
)
def test_inner_models_of_many_kinds_are_trained_and_saved(kind, second, rng, tmp_path):
    structure, outputs = INNER_MODELS[kind]
    inputs = keras.Input((2,), name="u")
    inner = keras.Model(structure(inputs), outputs(inputs))
    model = keras_smooth.DerivativeModel(inner, second=second)
    model.compile(loss=["mse"] * 3, loss_weights=[1, 1, 1], jit_compile=False)
    x = structure(rng.normal(size=(8, 2)).astype("float32"))
    y = tuple(np.asarray(value, "float32") for value in model(x).values())
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    logs = model.fit(dataset, validation_data=(x, y), verbose=0).history
    # Rounding in float16 and bfloat16 differs between programs.
    assert logs["loss"][0] < (1e-3 if "mixed" in kind else 1e-10)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.isfinite(loaded.fit(x, y, verbose=0).history["loss"]).all()


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(dtype="float64")
        self.dense = keras.layers.Dense(1, "tanh", dtype="float64")

    def call(self, x):
        return self.dense(x)


# An earlier call could matter to a model without inputs of its own, the subclassed one.
@pytest.mark.parametrize(
    ("kind", "called"),
    representatives(
        [
            ("sequential", False),
            ("functional", True),
            ("subclassed", False),
            ("subclassed", True),
        ],
        [("sequential", False), ("subclassed", False)],
    ),
)
def test_exported_model_has_equal_outputs(make_model, tmp_path, kind, called):
    x = np.linspace(-1.0, 1.0, 10).reshape(5, 2)
    inner = make_model(dim=2) if kind == "sequential" else Subclassed()
    if kind == "functional":
        inputs = keras.Input((2,), dtype="float64")
        inner = keras.Model(inputs, make_model(dim=2)(inputs))
    inner(x)
    model = keras_smooth.DerivativeModel(inner)
    if called:
        model(x)
    model.export(tmp_path / "model", verbose=False)
    exported = tf.saved_model.load(tmp_path / "model")  # owns the variables
    served = exported.serve(tf.constant(x[:3]))
    for key, value in model(x[:3]).items():
        # Measured: 0; another program may round differently.
        np.testing.assert_allclose(served[key], value, rtol=1e-13, atol=1e-13)


def model_with_two_inputs_or_outputs(outputs: int) -> keras.Model:
    a, b = keras.Input((1,)), keras.Input((1,))
    return keras.Model([a, b], a + b) if outputs == 1 else keras.Model(a, [a, 2 * a])


@pytest.mark.parametrize(
    ("model", "arguments", "error", "words"),
    [
        (lambda x: x, {}, TypeError, "must be a Keras model"),
        (keras.Sequential([keras.layers.Dense(1)]), {}, ValueError, "not built"),
        (model_with_two_inputs_or_outputs(1), {}, ValueError, "one input.*with 2"),
        (model_with_two_inputs_or_outputs(2), {}, ValueError, "one output.*with 2"),
        (None, {"order": 0}, ValueError, "1 or more"),
        (None, {"order": 7, "engine": "jet"}, ValueError, "up to 6"),
        (None, {"engine": "forward"}, ValueError, "`engine` must be one of .*'forward'"),
        (None, {"second": "trace"}, ValueError, "'hessian', 'laplacian'"),
        (None, {"second": "laplacian", "order": 3}, ValueError, "order=2"),
    ],
)
def test_wrong_arguments_raise(make_model, model, arguments, error, words):
    with pytest.raises(error, match=words):
        keras_smooth.DerivativeModel(model or make_model(), **arguments)


class Structured(keras.Model):
    """A model with inputs of any structure and outputs in the structure of a function."""

    def __init__(self, structure=lambda y: y):
        super().__init__()
        self.dense, self.structure = keras.layers.Dense(1, "tanh"), structure

    def call(self, x):
        return self.structure(self.dense(keras.ops.concatenate(keras.tree.flatten(x))))


POINTS = np.ones((3, 2), "float32")
SEVERAL_INPUTS_OR_OUTPUTS = {
    "a tuple": (Structured(lambda y: (y, 2 * y)), POINTS, "one output.* 2"),
    "a dict": (Structured(lambda y: {"u": y, "p": y}), POINTS, "one output.* 2"),
    "inputs in a dict": (Structured(), {"a": POINTS, "b": POINTS}, "one input.* 2"),
    "inputs in a list": (Structured(), [POINTS, POINTS], "one input.* 2"),
}


@pytest.mark.parametrize("second", ["hessian", "laplacian"])
@pytest.mark.parametrize("name", SEVERAL_INPUTS_OR_OUTPUTS)
def test_subclassed_model_with_several_inputs_or_outputs_raises(name, second):
    inner, x, words = SEVERAL_INPUTS_OR_OUTPUTS[name]
    inner(x)
    model = keras_smooth.DerivativeModel(inner, second=second)
    with pytest.raises(ValueError, match=words):
        model(x)


@pytest.fixture
def surface_model():
    """A derivative model of order 1 with two inputs, its points and exact targets."""
    set_random_seed(0)
    inner = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)]
    )
    x = np.random.default_rng(0).normal(size=(8, 2)).astype("float32")
    targets = {"y": x[:, :1] * x[:, 1:], "dy": x[:, ::-1]}
    return keras_smooth.DerivativeModel(inner, 1), x, targets


UNKNOWN_KEYS = {
    "loss": {"loss": {"y": "mse", "forces": "mse"}},
    "loss_weights": {"loss": "mse", "loss_weights": {"y": 1.0, "zforces": 9.0}},
    "metrics": {"loss": "mse", "metrics": {"d2y": ["mae"]}},
    "weighted_metrics": {"loss": "mse", "weighted_metrics": {"e": ["mae"]}},
}


@pytest.mark.parametrize("argument", UNKNOWN_KEYS)
def test_unknown_output_name_in_compile_raises(surface_model, argument):
    with pytest.raises(
        ValueError, match=f"`{argument}` has the keys .* the outputs are y, dy"
    ):
        surface_model[0].compile(**UNKNOWN_KEYS[argument])


LOSS_WEIGHTS = {
    "both": ({"y": 2.0, "dy": 3.0}, 2.0, 3.0),
    "in another order": ({"dy": 3.0, "y": 2.0}, 2.0, 3.0),
    "one of them": ({"dy": 3.0}, 1.0, 3.0),
    "a list": ([2.0, 3.0], 2.0, 3.0),
}


@pytest.mark.parametrize(
    "loss", ["mse", {"dy": "mse", "y": "mse"}], ids=["one loss", "losses"]
)
@pytest.mark.parametrize("name", LOSS_WEIGHTS)
def test_loss_weights_are_matched_by_output_name(surface_model, name, loss):
    model, x, targets = surface_model
    weights, y_weight, dy_weight = LOSS_WEIGHTS[name]
    model.compile(loss=loss, loss_weights=weights, run_eagerly=True)
    logs = model.evaluate(x, targets, return_dict=True, verbose=0)
    y, dy = keras_smooth.derivatives(model.model, x, 1)
    squares = np.mean((y - targets["y"]) ** 2), np.mean((dy[:, 0] - targets["dy"]) ** 2)
    # Rounding of float32.
    assert logs["loss"] == pytest.approx(
        y_weight * squares[0] + dy_weight * squares[1], rel=1e-5
    )


WRONG_TARGETS = {
    "no y": lambda exact: {"dy": exact["dy"]},
    "one array": lambda exact: exact["y"],
    "an unknown key": lambda exact: {**exact, "forces": exact["dy"]},
}


@pytest.mark.parametrize("name", WRONG_TARGETS)
def test_targets_that_do_not_match_outputs_raise(surface_model, name):
    model, x, targets = surface_model
    model.compile(loss="mse")
    with pytest.raises(ValueError, match="the outputs"):
        model.fit(x, WRONG_TARGETS[name](targets), verbose=0)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("column_first", [False, True])
def test_targets_with_and_without_axes_of_length_one(
    surface_model, jit_compile, column_first
):
    model, x, targets = surface_model
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit_compile)
    forms = [targets, {"y": targets["y"][:, 0], "dy": targets["dy"][:, None]}]
    losses = [
        model.fit(x, y, verbose=0).history["loss"]
        for y in (forms if column_first else forms[::-1])
    ]
    dataset = tf.data.Dataset.from_tensor_slices((x, forms[0])).batch(8)
    losses.append([model.evaluate(dataset, verbose=0, return_dict=True)["loss"]])
    np.testing.assert_allclose(losses, losses[0][0] * np.ones((3, 1)), rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_wrong_targets_after_several_shapes_raise_or_return_nan(surface_model, jit_compile):
    model, x, targets = surface_model
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit_compile)
    model.fit(x, targets, verbose=0)
    model.fit(x, {**targets, "y": targets["y"][:, 0]}, verbose=0)
    wrong = {**targets, "y": np.ones((4, 2), "float32").repeat(2, 0)[:, :, None]}
    try:
        loss = model.fit(x, wrong, verbose=0).history["loss"]
    except (ValueError, tf.errors.OpError):
        return
    assert np.isnan(loss).all()
