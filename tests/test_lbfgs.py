"""fit_lbfgs: what it minimizes, how it ends, and the callbacks it runs."""

import gc
import math
import warnings
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import keras_smooth
from keras_smooth.lbfgs import Status
from keras_smooth.lbfgs.minimizers import Minimizer
from keras_smooth.lbfgs.objective import Objective


def fit(model, data, **arguments):
    arguments = {"verbose": 0, "epochs": 30, **arguments}
    return keras_smooth.fit_lbfgs(model, *data, **arguments)


# What is minimized.


def _loss_models():
    """Compiled models whose loss has different parts, with what numpy says of it."""
    x = np.random.default_rng(0).normal(size=(7, 2))
    y = np.random.default_rng(1).normal(size=(7, 1))

    def dense(**kwargs):
        return keras_smooth.Dense(1, kernel_initializer="ones", dtype="float64", **kwargs)

    def mse(weights=1.0):
        return np.mean(weights * (x.sum(axis=1, keepdims=True) - y) ** 2)

    class Penalty(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.mean(x**2))
            return x

    class Own(keras.Sequential):
        def compute_loss(
            self, x=None, y=None, y_pred=None, sample_weight=None, training=True
        ):
            return keras.ops.mean(keras.ops.abs(y - y_pred)) + keras.ops.mean(self(2 * x))

    weights = np.linspace(0.0, 2.0, 7)
    start = keras.Input((2,), dtype="float64")
    penalty = Penalty(dtype="float64")
    plain = [start, dense()]
    yield "mse", keras.Sequential(plain), "mse", None, (x, y), mse()
    yield "weights", keras.Sequential(plain), "mse", weights, (x, y), mse(weights[:, None])
    yield (
        "instance",
        keras.Sequential(plain),
        keras.losses.MeanSquaredError(dtype="float64"),
        None,
        (x, y),
        mse(),
    )
    yield (
        "function",
        keras.Sequential(plain),
        lambda a, b: keras.ops.mean((a - b) ** 2, -1),
        None,
        (x, y),
        mse(),
    )
    yield (
        "l2",
        keras.Sequential([start, dense(kernel_regularizer=keras.regularizers.L2(0.5))]),
        "mse",
        None,
        (x, y),
        mse() + 1.0,
    )
    yield (
        "add_loss",
        keras.Sequential([start, dense(), penalty]),
        "mse",
        None,
        (x, y),
        mse() + np.mean(x.sum(axis=1) ** 2),
    )
    yield (
        "add_loss only",
        keras.Sequential([start, dense(), penalty]),
        None,
        None,
        (x, y),
        np.mean(x.sum(axis=1) ** 2),
    )
    own = np.mean(np.abs(y - x.sum(axis=1, keepdims=True))) + 2 * np.mean(x.sum(axis=1))
    yield "compute_loss", Own(plain), None, None, (x, y), own
    inputs = {name: keras.Input((2,), name=name, dtype="float64") for name in ("a", "b")}
    outputs = {"p": dense()(inputs["a"]), "q": dense()(inputs["b"])}
    both = ({"a": x, "b": x}, {"p": y, "q": y})
    model = keras.Model(inputs, outputs)
    model_weights = {"p": 1.0, "q": 3.0}
    yield "dicts", model, ({"p": "mse", "q": "mse"}, model_weights), None, both, 4 * mse()


CASES = {name: case for name, *case in _loss_models()}


@pytest.mark.parametrize("name", CASES)
def test_objective_is_the_loss_to_the_last_digit(name):
    model, loss, sample_weight, data, expected = CASES[name]
    loss, loss_weights = loss if isinstance(loss, tuple) else (loss, None)
    model.compile(loss=loss, loss_weights=loss_weights)
    before = keras.config.floatx()
    objective = Objective(model)
    tensors = (
        keras.tree.map_structure(tf.constant, (*data, sample_weight))
        if (sample_weight is not None)
        else (*keras.tree.map_structure(tf.constant, data), None)
    )
    for wrap in (lambda f: f, tf.function):
        value, gradient = wrap(objective.value_and_gradient)(objective.position, tensors)
        # Keras' own compiled loss would round this to float32.
        assert float(value) == pytest.approx(expected, rel=1e-14)
        assert gradient.dtype == tf.float64
    assert keras.config.floatx() == before


def test_gradient_against_central_differences(make_model, gaussian_data):
    objective = Objective(make_model())
    data = (*map(tf.constant, gaussian_data), None)
    position = objective.position
    _, gradient = objective.value_and_gradient(position, data)
    step = 1e-6
    for i in (0, 11, 40):
        shift = tf.one_hot(i, len(position), dtype=tf.float64) * step
        upper, lower = (objective.value(position + s * shift, data) for s in (1, -1))
        np.testing.assert_allclose(
            gradient[i], (upper - lower) / (2 * step), rtol=1e-6, atol=1e-9
        )


def test_frozen_layers_stay(make_model, gaussian_data):
    model = make_model()
    model.layers[1].trainable = False
    model.compile(loss="mse")
    frozen = [w.numpy() for w in model.layers[1].weights]
    moved = model.layers[0].kernel.numpy()
    fit(model, gaussian_data)
    for before, after in zip(frozen, model.layers[1].weights):
        np.testing.assert_array_equal(before, after)
    assert np.any(moved != model.layers[0].kernel.numpy())


def test_dropout_keeps_one_mask_for_the_whole_run(gaussian_data):
    model = keras.Sequential([keras.Input((1,), dtype="float64")])
    model.add(keras_smooth.Dense(20, "tanh", dtype="float64"))
    model.add(keras.layers.Dropout(0.2, seed=1, dtype="float64"))
    model.add(keras_smooth.Dense(1, dtype="float64"))
    model.compile(loss="mse")
    objective = Objective(model)
    data = (*map(tf.constant, gaussian_data), None)
    values = {float(objective.value(objective.position, data)) for _ in range(3)}
    assert len(values) == 1
    assert not fit(model, gaussian_data).result.failed


# How it minimizes.


@pytest.mark.parametrize("method", ["lbfgs", "tfp_lbfgs", "bfgs"])
@pytest.mark.parametrize("jit_compile", [True, False], ids=["xla", "graph"])
def test_trains(make_model, gaussian_data, method, jit_compile):
    model = make_model()
    history = fit(model, gaussian_data, epochs=150, method=method, jit_compile=jit_compile)
    result = history.result
    assert result.fun < 1e-4
    assert history.history["loss"][-1] == result.fun
    # Not predict, which rounds arrays to float32.
    prediction = model(gaussian_data[0])
    assert np.mean((prediction - gaussian_data[1]) ** 2) == pytest.approx(
        result.fun, rel=1e-9
    )


@pytest.mark.parametrize("method", ["lbfgs", "tfp_lbfgs", "bfgs"])
def test_chunks_do_not_change_the_result(make_model, gaussian_data, method):
    results = []
    for steps in (40, 7, 1):
        model = make_model()
        results.append(
            fit(model, gaussian_data, epochs=40, method=method, steps_per_execution=steps)
        )
    losses = [history.result.fun for history in results]
    if method != "bfgs":
        assert losses[0] == losses[1] == losses[2]
    else:
        # bfgs evaluates anew at the start of a chunk, in another order of operations.
        assert losses == pytest.approx([losses[0]] * 3, rel=1e-3)
    assert [history.result.nit for history in results] == [40] * 3
    assert results[1].epoch == [6, 13, 20, 27, 34, 39]


def test_same_path_as_tfp_alone(make_model, gaussian_data):
    model = make_model()
    objective = Objective(model)
    data = (*map(tf.constant, gaussian_data), None)

    @tf.function(jit_compile=True, autograph=False)
    def alone(position):
        return tfp.optimizer.lbfgs_minimize(
            lambda p: objective.value_and_gradient(p, data), position,
            num_correction_pairs=50, tolerance=1e-10, x_tolerance=-1.0,
            f_relative_tolerance=-1.0, f_absolute_tolerance=-1.0, max_iterations=25,
        )  # fmt: skip

    expected = alone(objective.position)
    result = fit(
        model, gaussian_data, epochs=25, steps_per_execution=5, method="tfp_lbfgs"
    ).result
    # Only the first evaluation is compiled otherwise.
    assert result.fun == pytest.approx(float(expected.objective_value), rel=1e-6)
    assert result.nfev == int(expected.num_objective_evaluations)


def test_compiles_once_for_all_seeds(make_model, gaussian_data, monkeypatch):
    traces = []
    original = Objective.value_and_gradient

    def counted(self, position, data):
        traces.append(1)
        return original(self, position, data)

    monkeypatch.setattr(Objective, "value_and_gradient", counted)
    model = make_model()
    start = model.get_weights()
    first = fit(model, gaussian_data, epochs=5).result
    after_first = len(traces)
    model.set_weights(start)
    assert fit(model, gaussian_data, epochs=5).result.fun == first.fun
    assert len(traces) == after_first > 0


def test_compiles_again_after_compile(make_model, gaussian_data):
    model = make_model()
    start = model.get_weights()
    fit(model, gaussian_data, epochs=3)
    model.set_weights(start)
    model.compile(loss="mae")
    expected = np.mean(
        np.abs(model.predict(gaussian_data[0], verbose=0) - gaussian_data[1])
    )
    assert fit(model, gaussian_data, epochs=1).history["loss"][0] <= expected
    assert (
        Objective(model).value(
            Objective(model).position, (*map(tf.constant, gaussian_data), None)
        )
        > 0.9 * model.history.result.fun
    )


def test_keeps_no_model_alive(make_model, gaussian_data):
    model = make_model()
    fit(model, gaussian_data, epochs=2, callbacks=[])
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


# How it ends.


class Valley(keras.Model):
    """A model whose loss is a given function of one vector of weights."""

    def __init__(self, function, start):
        super().__init__()
        self.function = function
        self.w = self.add_weight(shape=(len(start),), dtype="float64", name="w")
        self.w.assign(start)
        self.built = True

    def call(self, x):
        return x

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.function(keras.ops.convert_to_tensor(self.w))


def minimize(function, start, **arguments):
    model = Valley(function, start)
    model.compile()
    history = fit(model, (np.zeros((1, 1)),), jit_compile=False, **arguments)
    return history.result, model.w.numpy()


def rosenbrock(w):
    return 100.0 * (w[1] - w[0] ** 2) ** 2 + (1.0 - w[0]) ** 2


def quadratic(w):
    return tf.reduce_sum((w - 3.0) ** 2)


def kink(w):
    return tf.reduce_sum(tf.where(w > 0.25, w, 0.75 - 2.0 * w))


def coarse(w):
    return tf.cast(rosenbrock(tf.cast(w, tf.float16)), tf.float64)


# Name: function, start, arguments, the status that it must end with.
ENDS = {
    "tolerance": (rosenbrock, [-1.2, 1.0], {"epochs": 200}, Status.TOLERANCE),
    "at the minimum already": (quadratic, [3.0, 3.0], {}, Status.TOLERANCE),
    "iteration limit": (rosenbrock, [-1.2, 1.0], {"epochs": 5}, Status.ITERATION_LIMIT),
    "negative objective": (lambda w: quadratic(w) - 1e3, [0.0, 9.0], {}, Status.TOLERANCE),
    # The slope is 1 or -2, never 0.
    "kink": (kink, [1.0, 3.0], {"epochs": 3000}, None),
    # Values and slopes of float16: no point is found to be better long before the minimum.
    "rounding": (coarse, [-1.2, 1.0], {"epochs": 300}, None),
    "NaN at the start": (lambda w: tf.reduce_sum(tf.math.log(w)), [-1.0], {}, Status.NON_FINITE),
    "NaN beyond the next step": (
        lambda w: tf.reduce_sum(1e3 * w + tf.where(w < 0.9, math.nan * w, 0.0 * w)), [1.0], {},
        Status.NON_FINITE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", ["lbfgs", "tfp_lbfgs", "bfgs"])
@pytest.mark.parametrize("name", ENDS)
def test_status(name, method):
    function, start, arguments, status = ENDS[name]
    result, w = minimize(function, start, method=method, **arguments)
    if status is None:
        assert result.status in (Status.LINE_SEARCH, Status.STALLED)
        assert result.failed
    else:
        assert result.status == status
        assert result.success == (status == Status.TOLERANCE)
    assert np.all(np.isfinite(w))
    if math.isfinite(float(function(tf.constant(start, tf.float64)))):
        assert result.fun <= float(function(tf.constant(start, tf.float64)))
        assert result.fun == float(function(tf.constant(w)))
    assert result.message.endswith(".") and len(result.message) > 20


@pytest.mark.parametrize("function", [kink, coarse])
def test_no_change_is_not_convergence(function):
    start = tf.constant([-1.2, 1.0], tf.float64)
    alone = tfp.optimizer.lbfgs_minimize(
        lambda w: tfp.math.value_and_gradient(function, w), start, max_iterations=300
    )
    gradient = float(tf.reduce_max(tf.abs(alone.objective_gradient)))
    result, _ = minimize(function, start, epochs=300)
    # TFP's own defaults call it converged, or failed, with a large gradient.
    assert gradient > 1e-3 and bool(alone.converged | alone.failed)
    assert not result.success and result.grad_norm > 1e-3


def test_dead_line_search_restarts_a_bounded_number_of_times(monkeypatch):
    """Every second line search is made to die."""
    original = Minimizer.advance

    def dying(self, state, num_iterations, tolerance, data):
        after = original(self, state, 2, tolerance, data)
        return after._replace(failed=tf.constant(True), converged=tf.constant(False))

    monkeypatch.setattr(Minimizer, "advance", dying)
    result, _ = minimize(rosenbrock, [-1.2, 1.0], epochs=100, max_restarts=3)
    assert result.status == Status.LINE_SEARCH
    assert result.restarts == 3
    assert "died at iteration 2, 4, 6" in result.message
    assert result.nit == 8
    monkeypatch.undo()
    none, _ = minimize(rosenbrock, [-1.2, 1.0], epochs=100)
    assert none.success and none.restarts == 0


# Callbacks.


def test_progress_and_history(make_model, gaussian_data, capsys):
    history = fit(make_model(), gaussian_data, epochs=20, steps_per_execution=10, verbose=2)
    printed = capsys.readouterr().out
    assert "Epoch 10/20" in printed and "Epoch 20/20" in printed and "loss:" in printed
    assert isinstance(history, keras.callbacks.History)
    assert history.model.history is history
    assert history.epoch == [9, 19]
    assert history.history["loss"][0] > history.history["loss"][1]


def test_monitor_sees_the_weights_of_the_chunk(make_model, gaussian_data):
    model = make_model()
    monitor = keras_smooth.DerivativeMonitor(
        gaussian_data[0], lambda x: keras.ops.exp(-keras.ops.square(x))
    )
    history = fit(model, gaussian_data, epochs=50, callbacks=[monitor])
    y, _, d2y = keras_smooth.derivatives(model, gaussian_data[0])
    assert history.history["y_mse"][-1] == pytest.approx(
        np.mean((y - gaussian_data[1]) ** 2)
    )
    assert history.history["d2y_mse"][-1] < history.history["d2y_mse"][0]


def test_callback_stops(make_model, gaussian_data):
    stop = keras.callbacks.EarlyStopping("loss", min_delta=1e9, patience=1)
    result = fit(
        make_model(), gaussian_data, epochs=40, steps_per_execution=4, callbacks=[stop]
    ).result
    assert result.status == Status.STOPPED and not result.success and not result.failed
    assert result.nit == 8


def test_target(make_model, gaussian_data):
    result = fit(make_model(), gaussian_data, epochs=500, target=1e-2).result
    assert result.status == Status.TARGET and result.success
    assert result.fun <= 1e-2 and result.nit < 500


def test_time_limit(make_model, gaussian_data):
    result = fit(make_model(), gaussian_data, epochs=500, max_seconds=0.0).result
    assert result.status == Status.TIME_LIMIT and not result.success and not result.failed
    assert result.nit == 5  # one chunk, a hundredth of the epochs


def test_a_line_search_that_dies_is_no_iteration():
    # Uphill in every direction: the slope says down, the value goes up.
    result, _ = minimize(lambda w: tf.reduce_sum(tf.stop_gradient(2.0 * w) - w), [1.0])
    assert result.failed and result.nit == 0 and result.restarts == 0


def test_throw():
    with pytest.raises(RuntimeError, match="inf or NaN"):
        minimize(*ENDS["NaN at the start"][:2], throw=True)
    assert minimize(rosenbrock, [-1.2, 1.0], epochs=200, throw=True)[0].success


def test_restored_best_weights_are_kept(make_model, gaussian_data):
    """The callback's word is the last: training does not overwrite what it restored."""
    model = make_model()
    first = []

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            first.append([w.copy() for w in self.model.get_weights()])
            logs["rising"] = float(len(first))

    stop = keras.callbacks.EarlyStopping(
        "rising", mode="min", patience=2, restore_best_weights=True
    )
    fit(model, gaussian_data, epochs=40, steps_per_execution=4, callbacks=[Keep(), stop])
    for kept, now in zip(first[0], model.get_weights()):
        np.testing.assert_array_equal(kept, now)


def test_interrupt_leaves_the_weights_of_the_last_chunk(make_model, gaussian_data):
    model = make_model()
    start = model.evaluate(*gaussian_data, verbose=0)

    def interrupt(epoch, logs):
        if epoch > 20:
            raise KeyboardInterrupt

    callback = keras.callbacks.LambdaCallback(on_epoch_end=interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(model, gaussian_data, epochs=40, steps_per_execution=4, callbacks=[callback])
    assert model.evaluate(*gaussian_data, verbose=0) < start


# Precision and bad input.


def test_warns_under_float32_once(make_model, gaussian_data):
    keras_smooth.lbfgs.fit._warned.clear()
    with pytest.warns(UserWarning, match="float32: line searches stall") as caught:
        for _ in range(2):
            result = fit(make_model(dtype="float32"), gaussian_data, epochs=30).result
    assert len([w for w in caught if "stall" in str(w.message)]) == 1
    assert result.fun < 0.1


def test_no_warning_under_float64(make_model, gaussian_data):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        fit(make_model(), gaussian_data, epochs=2)


class OwnLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)


def test_warns_of_a_loss_that_was_made_in_float32(make_model, gaussian_data):
    model = make_model()
    model.compile(loss=OwnLoss())
    with pytest.warns(UserWarning, match="loss computes in float32"):
        fit(model, gaussian_data, epochs=2)


def _uncompiled():
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])


def _unbuilt():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(loss="mse")
    return model


def _untrainable():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Activation("tanh")])
    model.compile(loss="mse")
    return model


X = np.ones((3, 1))


@pytest.mark.parametrize(
    ("model", "x", "y", "arguments", "words"),
    [
        (_uncompiled, X, X, {}, "model.compile"),
        (_unbuilt, X, X, {}, "Build it"),
        (_untrainable, X, X, {}, "no trainable weights"),
        (
            lambda: Valley(lambda w: tf.constant(1.0), [1.0]),
            X,
            X,
            {},
            "does not depend on these trainable weights",
        ),
        (None, X, X, {"epochs": 0}, "`epochs` must be 1 or more"),
        (None, X, X, {"steps_per_execution": 0}, "steps_per_execution"),
        (None, X, X, {"num_correction_pairs": 0}, "num_correction_pairs"),
        (
            None,
            X,
            X,
            {"method": "newton"},
            "Unknown method 'newton'. Known: lbfgs, tfp_lbfgs, bfgs",
        ),
        (None, np.array([[1.0], [np.nan], [2.0]]), X, {}, r"x\[\(1, 0\)\] is nan"),
        (None, X, np.array([[1.0], [1.0], [np.inf]]), {}, r"y\[\(2, 0\)\] is inf"),
        (None, X, X, {"sample_weight": np.array([1.0, np.nan, 1.0])}, "sample_weight"),
        (None, np.zeros((0, 1)), np.zeros((0, 1)), {}, "x is empty"),
    ],
)
def test_bad_input(make_model, model, x, y, arguments, words):
    model = model() if model else make_model()
    if isinstance(model, Valley):
        model.compile()
    with pytest.raises(ValueError, match=words):
        fit(model, (x, y), **arguments)
