"""`fit_lbfgs`: the loss that it minimizes, its steps, and the status with which it ends."""

import functools
import gc
import math
import pickle
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import keras_smooth
from keras_smooth.lbfgs import Status
from keras_smooth.lbfgs.data.micro_batches import map_tensors
from keras_smooth.lbfgs.minimizers import Minimizer
from keras_smooth.lbfgs.objective.objective import Objective
from keras_smooth.lbfgs.run.optimization_run import Sizes


def fit(model, data, **arguments):
    arguments = {"verbose": 0, "epochs": 30, "jit_compile": False, **arguments}
    return keras_smooth.fit_lbfgs(model, *data, **arguments)


# The loss.


def _loss_models():
    """Returns compiled models with various losses, each with its loss computed by NumPy."""
    x = np.random.default_rng(0).normal(size=(7, 2))
    y = np.random.default_rng(1).normal(size=(7, 1))

    def squared(a, b):
        return keras.ops.mean((a - b) ** 2, -1)

    def dense(**kwargs):
        return keras_smooth.Dense(1, kernel_initializer="ones", dtype="float64", **kwargs)

    def mse(weights=1.0):
        return np.mean(weights * (x.sum(axis=1, keepdims=True) - y) ** 2)

    class Penalty(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.mean(x**2))
            return x

    class CustomLoss(keras.Sequential):
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
    instance = keras.losses.MeanSquaredError(dtype="float64")
    yield "instance", keras.Sequential(plain), instance, None, (x, y), mse()
    yield "function", keras.Sequential(plain), squared, None, (x, y), mse()
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
    custom = np.mean(np.abs(y - x.sum(axis=1, keepdims=True))) + 2 * np.mean(x.sum(axis=1))
    yield "compute_loss", CustomLoss(plain), None, None, (x, y), custom
    inputs = {name: keras.Input((2,), name=name, dtype="float64") for name in ("a", "b")}
    outputs = {"p": dense()(inputs["a"]), "q": dense()(inputs["b"])}
    both = ({"a": x, "b": x}, {"p": y, "q": y})
    model = keras.Model(inputs, outputs)
    model_weights = {"p": 1.0, "q": 3.0}
    yield "dicts", model, ({"p": "mse", "q": "mse"}, model_weights), None, both, 4 * mse()


CASES = {name: case for name, *case in _loss_models()}


@pytest.mark.parametrize("name", CASES)
def test_objective_equals_the_loss_without_float32_rounding(name):
    model, loss, sample_weight, data, expected = CASES[name]
    loss, loss_weights = loss if isinstance(loss, tuple) else (loss, None)
    model.compile(loss=loss, loss_weights=loss_weights, jit_compile=False)
    before = keras.config.floatx()
    objective = Objective(model)
    tensors = map_tensors(tf.constant, (*data, sample_weight))
    for wrap in (lambda f: f, tf.function):
        value, gradient = wrap(objective.value_and_gradient)(objective.position, tensors)
        # Keras' own compiled loss would round this to float32.
        assert float(value) == pytest.approx(expected, rel=1e-14)
        assert gradient.dtype == tf.float64
    assert keras.config.floatx() == before


def test_gradient_equals_central_differences(make_model, gaussian_data):
    # The objective does not keep the model.
    model = make_model()
    objective = Objective(model)
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


@pytest.mark.slow
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


# The steps.


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


# TFP's line search takes seconds to trace.
TFP_METHODS = [slow("tfp_lbfgs"), slow("tfp_bfgs")]


# Tests below train with TFP's methods without XLA.
@pytest.mark.parametrize(
    ("method", "jit_compile"),
    [
        ("lbfgs", True),
        ("bfgs", True),
        slow("tfp_lbfgs", True),
        slow("tfp_bfgs", True),
        ("lbfgs", False),
    ],
)
def test_fit_reduces_the_loss(make_model, gaussian_data, method, jit_compile):
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


@pytest.mark.parametrize("method", ["lbfgs", "bfgs", *TFP_METHODS])
def test_chunks_do_not_change_the_result(make_model, gaussian_data, method):
    model, results, epochs = make_model(width=3), [], []
    start, options = model.get_weights(), {"epochs": 20, "method": method}
    for steps in (20, 7, 1):
        # All share one program, whose argument is the number of steps.
        model.set_weights(start)
        history = fit(model, gaussian_data, steps_per_execution=steps, **options)
        results.append(history.result)
        epochs.append(history.epoch)
    losses = [result.fun for result in results]
    if method != "tfp_bfgs":
        assert losses[0] == losses[1] == losses[2]
    else:
        # At the start of a chunk, tfp_bfgs evaluates again, with operations in another order.
        assert losses == pytest.approx([losses[0]] * 3, rel=1e-3)
    assert [result.nit for result in results] == [20] * 3
    assert epochs[1] == [6, 13, 19]


@pytest.mark.slow
def test_tfp_lbfgs_equals_lbfgs_minimize_of_tfp(make_model, gaussian_data):
    model = make_model(width=3)
    objective = Objective(model)
    data = (*map(tf.constant, gaussian_data), None)

    gradient = objective.value_and_gradient(objective.position, data)[1]
    scale = Sizes(1.0, float(tf.reduce_max(tf.abs(gradient)))).scale("float64")

    @tf.function(autograph=False)
    def lbfgs_minimize(position):
        return tfp.optimizer.lbfgs_minimize(
            lambda p: [v / scale for v in objective.value_and_gradient(p, data)], position,
            num_correction_pairs=50, tolerance=1e-10, x_tolerance=-1.0,
            f_relative_tolerance=-1.0, f_absolute_tolerance=-1.0, max_iterations=25,
        )  # fmt: skip

    expected = lbfgs_minimize(objective.position)
    result = fit(
        model, gaussian_data, epochs=25, steps_per_execution=5, method="tfp_lbfgs"
    ).result
    # The first evaluation is in another program.
    assert result.fun == pytest.approx(scale * float(expected.objective_value), rel=1e-6)
    # One more evaluation determines the scale.
    assert result.nfev == int(expected.num_objective_evaluations) + 1


@pytest.mark.parametrize("has_several_losses", [False, True])
def test_loss_is_traced_once_in_each_of_several_fits(
    make_model, gaussian_data, monkeypatch, has_several_losses
):
    traces = []
    original = Objective.value_and_gradient

    def counted(self, position, data):
        if not tf.executing_eagerly():
            traces.append(1)
        return original(self, position, data)

    monkeypatch.setattr(Objective, "value_and_gradient", counted)
    model, data = make_model(), gaussian_data
    if has_several_losses:
        x, y = gaussian_data
        model, data = keras_smooth.DerivativeModel(model, order=1), (x, {"y": y, "dy": y})
        model.compile(loss="mse")
    start = model.get_weights()
    first = fit(model, data, epochs=5).result
    after_first = len(traces)
    model.set_weights(start)
    assert fit(model, data, epochs=5).result.fun == first.fun
    # The trace shows whether the loss has changed, and all of the minimizer uses it.
    assert (after_first, len(traces)) == (1, 2)


@pytest.mark.slow
def test_program_is_compiled_again_after_compile(make_model, gaussian_data):
    model = make_model()
    start = model.get_weights()
    fit(model, gaussian_data, epochs=3)
    model.set_weights(start)
    model.compile(loss="mae")
    expected = np.mean(
        np.abs(model.predict(gaussian_data[0], verbose=0) - gaussian_data[1])
    )
    assert fit(model, gaussian_data, epochs=1).history["loss"][0] <= expected
    objective = Objective(model)
    value = objective.value(objective.position, (*map(tf.constant, gaussian_data), None))
    assert float(value) == pytest.approx(model.history.result.fun, rel=1e-12)


@pytest.mark.parametrize("dtype", [None, "float64"])
def test_program_follows_an_activation_that_is_replaced(dtype):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4, "tanh")])
    model.compile(loss="mse")
    x, y = np.linspace(-1.0, 1.0, 8)[:, None], np.full((8, 4), 0.5)
    keywords = {"epochs": 2, "jit_compile": False, "verbose": 0, "dtype": dtype}
    keras_smooth.fit_lbfgs(model, x, y, **keywords)
    model.layers[0].activation = keras.activations.softplus
    history = keras_smooth.fit_lbfgs(model, x, y, **keywords)
    assert history.result.fun == pytest.approx(np.mean((model(x) - y) ** 2), rel=1e-5)


def test_program_follows_a_number_that_the_loss_reads_from_python():
    target = [0.0]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss=lambda y, output: keras.ops.mean((output - target[0]) ** 2))
    x = np.linspace(-1.0, 1.0, 8)[:, None]
    for target[0] in (1.0, 2.0):
        keras_smooth.fit_lbfgs(model, x, x, epochs=20, jit_compile=False, verbose=0)
        np.testing.assert_allclose(model(x), target[0], atol=1e-3)


@pytest.mark.slow
def test_model_is_garbage_collected_after_a_fit(make_model, gaussian_data):
    model = make_model()
    fit(model, gaussian_data, epochs=2, callbacks=[])
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


# The status at the end.


class FunctionModel(keras.Model):
    """A model whose loss is a given function of one vector of weights."""

    def __init__(self, function, size):
        super().__init__()
        self.function = function
        self.w = self.add_weight(shape=(size,), dtype="float64", name="w")
        self.built = True

    def call(self, x):
        return x

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.function(keras.ops.convert_to_tensor(self.w))


@functools.cache
def function_model(function, size):
    """Returns a compiled model, the same for all fits of a function, which share a trace."""
    model = FunctionModel(function, size)
    model.compile()
    return model


def minimize(function, start, **arguments):
    model = function_model(function, len(start))
    model.w.assign(start)
    history = fit(model, (np.zeros((1, 1)),), **arguments)
    return history.result, model.w.numpy()


def rosenbrock(w):
    return 100.0 * (w[1] - w[0] ** 2) ** 2 + (1.0 - w[0]) ** 2


def quadratic(w):
    return tf.reduce_sum((w - 3.0) ** 2)


def kink(w):
    return tf.reduce_sum(tf.where(w > 0.25, w, 0.75 - 2.0 * w))


def coarse(w):
    return tf.cast(rosenbrock(tf.cast(w, tf.float16)), tf.float64)


# Name: function, start, arguments, the expected status.
FINAL_STATUS = {
    "tolerance": (rosenbrock, [-1.2, 1.0], {"epochs": 200}, Status.TOLERANCE),
    "at the minimum already": (quadratic, [3.0, 3.0], {}, Status.TOLERANCE),
    "iteration limit": (rosenbrock, [-1.2, 1.0], {"epochs": 5}, Status.ITERATION_LIMIT),
    "negative objective": (lambda w: quadratic(w) - 1e3, [0.0, 9.0], {}, Status.TOLERANCE),
    # The slope is 1 or -2, and never 0.
    "kink": (kink, [1.0, 3.0], {"epochs": 3000}, None),
    # With values and slopes in float16, no step is lower long before the minimum.
    "rounding": (coarse, [-1.2, 1.0], {"epochs": 300}, None),
    # Each step is lower and none is flat. The weights keep their values. The message says why.
    "no lower bound": (lambda w: tf.reduce_sum(w), [1.0, 2.0], {}, Status.LINE_SEARCH),
    "NaN at the start": (lambda w: tf.reduce_sum(tf.math.log(w)), [-1.0], {}, Status.NON_FINITE),
    "NaN beyond the next step": (
        lambda w: tf.reduce_sum(1e3 * w + tf.where(w < 0.9, math.nan * w, 0.0 * w)), [1.0], {},
        Status.NON_FINITE,
    ),
}  # fmt: skip


# TFP's methods compile for seconds, so that each has cases of different kinds only.
TFP_CASES = {
    "tfp_lbfgs": ["kink", "NaN at the start", "NaN beyond the next step"],
    "tfp_bfgs": ["tolerance", "rounding", "NaN beyond the next step"],
}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, method) for method in ("lbfgs", "bfgs") for name in FINAL_STATUS),
        *(slow(name, method) for method, names in TFP_CASES.items() for name in names),
    ],
)
def test_fit_ends_with_expected_status(name, method):
    function, start, arguments, status = FINAL_STATUS[name]
    result, w = minimize(function, start, method=method, **arguments)
    # A path may end exactly at the minimum, where the rounded slope is 0.
    if status is None and result.grad_norm > 0.0:
        assert result.status in (Status.LINE_SEARCH, Status.STALLED)
        assert result.failed
    elif status is None:
        assert result.status == Status.TOLERANCE
    else:
        assert result.status == status
        assert result.success == (status == Status.TOLERANCE)
    assert np.all(np.isfinite(w))
    if math.isfinite(float(function(tf.constant(start, tf.float64)))):
        assert result.fun <= float(function(tf.constant(start, tf.float64)))
        assert result.fun == float(function(tf.constant(w)))
    assert result.message.endswith(".") and len(result.message) > 20
    assert "float64" not in result.message  # It is in float64 already.


@pytest.mark.parametrize("status", Status)
def test_float64_is_advised_only_if_float32_limits_the_fit(status):
    is_limited_by_rounding = status in (Status.LINE_SEARCH, Status.STALLED)
    assert status.in_dtype("float64") == status.message and "float64" not in status.message
    assert ("float64" in status.in_dtype("float32")) == is_limited_by_rounding


@pytest.mark.parametrize(("method", "starts"), [
    *((method, [1.6, 1e-3, 100.0]) for method in ("lbfgs", "bfgs")),
    slow("tfp_lbfgs", [1.6]), slow("tfp_bfgs", [1.6]),
])  # fmt: skip
def test_nan_in_a_line_search_shrinks_the_step(method, starts):
    """The function x - 10 log x has its minimum at 10, and is NaN below 0."""
    num_negative = tf.Variable(0, trainable=False)

    def function(w):
        num_negative.assign_add(tf.reduce_sum(tf.cast(w < 0.0, tf.int32)))
        return tf.reduce_sum(w - 10.0 * tf.math.log(w))

    # At a start near 0, the gradient is 1e4.
    result, w = minimize(function, starts, method=method, epochs=200, relative=False)
    # With a gradient of 1e-10, the error of x is ten times as large. TFP's search fails at 1e-8.
    np.testing.assert_allclose(w, 10.0, rtol=1e-7)
    assert result.fun < 0.0
    if method in ("lbfgs", "bfgs"):
        assert result.success and int(num_negative) > 0


@pytest.mark.slow
def test_fit_that_ends_at_a_kink_does_not_report_success():
    start = tf.constant([-1.2, 1.0], tf.float64)
    result_of_tfp = tf.function(tfp.optimizer.lbfgs_minimize, autograph=False)(
        lambda w: tfp.math.value_and_gradient(kink, w), start, max_iterations=300
    )
    gradient = float(tf.reduce_max(tf.abs(result_of_tfp.objective_gradient)))
    result, _ = minimize(kink, start, epochs=300)
    # TFP's defaults would report convergence, or a failure, with a large gradient.
    assert gradient > 1e-3 and bool(result_of_tfp.converged | result_of_tfp.failed)
    assert not result.success and result.grad_norm > 1e-3


def test_failed_line_search_restarts_at_most_max_restarts_times(monkeypatch):
    """Every second line search is made to fail."""
    original = Minimizer.advance

    def failing(self, state, num_iterations, tolerance, data):
        after = original(self, state, 2, tolerance, data)
        return after._replace(failed=tf.constant(True), converged=tf.constant(False))

    monkeypatch.setattr(Minimizer, "advance", failing)
    result, _ = minimize(rosenbrock, [-1.2, 1.0], epochs=100, max_restarts=3)
    assert result.status == Status.LINE_SEARCH
    assert result.restarts == 3
    assert "died at iteration 2, 4, 6" in result.message
    assert result.nit == 8
    monkeypatch.undo()
    unpatched, _ = minimize(rosenbrock, [-1.2, 1.0], epochs=100)
    assert unpatched.success and unpatched.restarts == 0


def test_failed_line_search_is_not_counted_as_an_iteration():
    # The value increases in every direction, although the slope is negative.
    result, _ = minimize(lambda w: tf.reduce_sum(tf.stop_gradient(2.0 * w) - w), [1.0])
    assert result.failed and result.nit == 0 and result.restarts == 0


def test_throw_raises_if_the_fit_fails():
    with pytest.raises(RuntimeError, match="inf or NaN"):
        minimize(*FINAL_STATUS["NaN at the start"][:2], throw=True)
    assert minimize(rosenbrock, [-1.2, 1.0], epochs=200, throw=True)[0].success


PICKLED = ["result.OptimizeResult", "result.Status", "resample.Resample"]


@pytest.mark.parametrize("name", PICKLED)
def test_pickles_of_version_0_2_0_can_be_loaded(name):
    module, kind = name.split(".")
    pickled = f"ckeras_smooth.lbfgs.{module}\n{kind}\n.".encode()
    assert pickle.loads(pickled) is getattr(keras_smooth, kind)
