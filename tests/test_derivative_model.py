"""DerivativeModel: Keras' own compile, fit, evaluate, predict and save; fit_lbfgs."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from representatives import representatives

import keras_smooth


def targets(x):
    return {"y": np.sin(x), "dy": np.cos(x), "d2y": -np.sin(x)}


@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_outputs_are_the_derivatives(make_model, points, engine, order):
    inner = make_model()
    found = keras_smooth.DerivativeModel(inner, order, engine=engine)(points)
    assert list(found) == ["y", "dy", "d2y", "d3y"][: order + 1]
    for value, exact in zip(found.values(), keras_smooth.derivatives(inner, points, order)):
        # Measured: 4.4e-16, rounding of two engines.
        np.testing.assert_allclose(value, exact, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("engine", ["jet", "tape"])
def test_laplacian_in_the_place_of_the_hessian(make_model, engine, rng):
    inner, x = make_model(dim=3), rng.normal(size=(4, 3))
    found = keras_smooth.DerivativeModel(inner, engine=engine, second="laplacian")(x)
    assert [value.shape for value in found.values()] == [(4, 1), (4, 1, 3), (4, 1)]
    # Measured: 2.2e-16, rounding of two engines.
    near = {"rtol": 1e-13, "atol": 1e-13}
    np.testing.assert_allclose(found["d2y"], keras_smooth.laplacian(inner, x), **near)
    np.testing.assert_allclose(found["dy"], keras_smooth.jacobian(inner, x), **near)


def test_fit_evaluate_predict_share_the_weights(make_model, points):
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
    found = model.evaluate(points, targets(points), return_dict=True, verbose=0)
    values = model.predict(points, verbose=0)
    error = np.mean(np.abs(values["d2y"] - targets(points)["d2y"]))
    # Measured: 3.3e-8. Keras averages metrics in float32.
    assert found["d2y_mae"] == pytest.approx(error, rel=1e-6)


def test_loss_on_some_of_the_outputs(make_model, points):
    model = keras_smooth.DerivativeModel(make_model(), order=1)
    model.compile(loss={"y": "mse", "dy": None}, jit_compile=False)
    both = targets(points)
    history = model.fit(points, {"y": both["y"], "dy": both["dy"]}, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.slow
def test_fit_lbfgs_learns_from_derivatives(make_model, points):
    inner = make_model(width=10)
    model = keras_smooth.DerivativeModel(inner)
    model.compile(loss={"y": "mse", "dy": "mse", "d2y": "mse"})
    keras_smooth.fit_lbfgs(model, points, targets(points), epochs=200, verbose=0)
    d2y = keras_smooth.derivatives(inner, points)[2]
    # Measured: 1.1e-7; with y alone in the loss it is 6.7e-4.
    assert np.mean(np.square(d2y - targets(points)["d2y"])) < 1e-5


LOAD = """
import sys, keras, keras_smooth, numpy as np
model = keras.models.load_model(sys.argv[1])
x = np.linspace(-2.0, 2.0, 21)[:, None]
np.savez(sys.argv[2], **{k: np.asarray(v) for k, v in model(x).items()}, order=model.order)
"""


@pytest.mark.slow
def test_save_and_load_in_another_process(make_model, points, tmp_path):
    model = keras_smooth.DerivativeModel(make_model(), order=3, engine="tape")
    expected = model(points)
    model.save(tmp_path / "model.keras")
    code = [sys.executable, "-c", LOAD, tmp_path / "model.keras", tmp_path / "found.npz"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([str(part) for part in code], check=True, env=environment)
    found = np.load(tmp_path / "found.npz")
    assert found["order"] == 3
    for key, value in expected.items():
        # Measured: 0; another process may round otherwise.
        np.testing.assert_allclose(found[key], value, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("eager", representatives([False, True], [True]))
@pytest.mark.parametrize(
    ("name", "reshape"),
    [
        ("dy", lambda dy: dy[:, 0]),  # (n, 3), as gradient returns it, for (n, 1, 3)
        ("d2y", lambda d2y: d2y[:, 0]),
        ("d2y", lambda d2y: d2y[:, :, :1]),
        ("dy", lambda dy: dy.transpose(0, 2, 1)),
    ],
)
def test_targets_that_would_be_broadcast_are_refused(make_model, eager, name, reshape):
    x = np.linspace(-1.0, 1.0, 15).reshape(5, 3)
    model = keras_smooth.DerivativeModel(make_model(dim=3))
    fitting = {key: np.asarray(value) for key, value in model(x).items()}
    model.compile(loss=dict.fromkeys(fitting, "mse"), run_eagerly=eager)
    # Measured: 5e-16. Keras rounds targets to float32.
    assert model.evaluate(x, fitting, verbose=0, return_dict=True)["loss"] < 1e-13
    wrong = {**fitting, name: reshape(fitting[name])}
    # Keras has generalized over shapes by now, up to an unknown rank.
    with pytest.raises(ValueError, match="shape"):
        model.evaluate(x, wrong, verbose=0)
    model.compile(loss=dict.fromkeys(fitting, "mse"), run_eagerly=eager)
    for method in (model.evaluate, model.fit):
        with pytest.raises(ValueError, match=f"targets of '{name}' have shape"):
            method(x, wrong, verbose=0)
    with pytest.raises(ValueError, match="shape"):
        keras_smooth.fit_lbfgs(model, x, wrong, epochs=1, verbose=0)


def test_flat_targets_of_one_number_fit(make_model, points):
    model = keras_smooth.DerivativeModel(make_model(), order=1)
    model.compile(loss={"y": "mse", "dy": "mse"}, jit_compile=False)
    values = {key: np.ravel(value) for key, value in model(points).items()}
    # Measured: 3e-16. Keras rounds targets to float32; broadcast, it would be 0.1.
    assert model.evaluate(points, values, verbose=0, return_dict=True)["loss"] < 1e-13


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(dtype="float64")
        self.dense = keras.layers.Dense(1, "tanh", dtype="float64")

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize(
    "kind",
    representatives(
        ["sequential", "functional", "subclassed"], ["sequential", "subclassed"]
    ),
)
@pytest.mark.parametrize("called", representatives([False, True], [False]))
def test_export(make_model, tmp_path, kind, called):
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
    exported = tf.saved_model.load(tmp_path / "model")  # It owns the variables.
    served = exported.serve(tf.constant(x[:3]))
    for key, value in model(x[:3]).items():
        # Measured: 0; another program may round otherwise.
        np.testing.assert_allclose(served[key], value, rtol=1e-13, atol=1e-13)


def two(outputs: int) -> keras.Model:
    a, b = keras.Input((1,)), keras.Input((1,))
    return keras.Model([a, b], a + b) if outputs == 1 else keras.Model(a, [a, 2 * a])


@pytest.mark.parametrize(
    ("model", "arguments", "error", "words"),
    [
        (lambda x: x, {}, TypeError, "must be a Keras model"),
        (keras.Sequential([keras.layers.Dense(1)]), {}, ValueError, "not built"),
        (two(1), {}, ValueError, "one input.*with 2"),
        (two(2), {}, ValueError, "one output.*with 2"),
        (None, {"order": 0}, ValueError, "1 or more"),
        (None, {"order": 7, "engine": "jet"}, ValueError, "up to 6"),
        (None, {"engine": "forward"}, ValueError, "`engine` must be one of .*'forward'"),
        (None, {"second": "trace"}, ValueError, "'hessian', 'laplacian'"),
        (None, {"second": "laplacian", "order": 3}, ValueError, "order=2"),
    ],
)
def test_bad_arguments(make_model, model, arguments, error, words):
    with pytest.raises(error, match=words):
        keras_smooth.DerivativeModel(model or make_model(), **arguments)


class Structured(keras.Model):
    """Of any structure of inputs, and of outputs as a function says."""

    def __init__(self, structure=lambda y: y):
        super().__init__()
        self.dense, self.structure = keras.layers.Dense(1, "tanh"), structure

    def call(self, x):
        return self.structure(self.dense(keras.ops.concatenate(keras.tree.flatten(x))))


POINTS = np.ones((3, 2), "float32")
SEVERAL = {
    "a tuple": (Structured(lambda y: (y, 2 * y)), POINTS, "one output.* 2"),
    "a dict": (Structured(lambda y: {"u": y, "p": y}), POINTS, "one output.* 2"),
    "a list of one": (Structured(lambda y: [y]), POINTS, "one output.* 1"),
    "inputs in a dict": (Structured(), {"a": POINTS, "b": POINTS}, "one input.* 2"),
    "inputs in a list": (Structured(), [POINTS, POINTS], "one input.* 2"),
}


@pytest.mark.parametrize("second", ["hessian", "laplacian"])
@pytest.mark.parametrize("name", SEVERAL)
def test_ends_of_a_subclassed_model_are_counted_when_it_is_called(name, second):
    inner, x, words = SEVERAL[name]
    inner(x)
    model = keras_smooth.DerivativeModel(inner, second=second)
    with pytest.raises(ValueError, match=words):
        model(x)
