"""Callbacks of `fit_lbfgs`: those of Keras and `DerivativeMonitor`, and the files they write."""

import csv
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from lbfgs_nets import X, Y, at_start, dense, fit, net, same_weights

import keras_smooth
from keras_smooth.callbacks.fits import Fits
from keras_smooth.lbfgs import Status
from keras_smooth.lbfgs.minimizers import MINIMIZERS


class Recorder(keras.callbacks.Callback):
    """Keeps the weights and the logs of every epoch, and the order of all calls."""

    def __init__(self):
        super().__init__()
        self.weights, self.logs, self.calls = [], [], []

    def on_train_begin(self, logs=None):
        self.calls.append("train begin")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch} begin")

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(f"batch {batch}")

    def on_test_end(self, logs=None):
        self.calls.append("test")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch}")
        self.logs.append(dict(logs))
        self.weights.append(self.model.get_weights())

    def on_train_end(self, logs=None):
        self.calls.append("train end")


def train(*callbacks, model=None, **arguments):
    """Returns a model after five calls of the callbacks, and its history."""
    model = model or at_start()
    arguments = {"epochs": 20, "steps_per_execution": 4, **arguments}
    return model, fit(model, callbacks=list(callbacks), **arguments)


# The validation loss falls and then rises, as that of an overfitted net.
OVERFITTED = {"x": X[:8], "y": Y[:8], "validation_data": (X[8:], Y[8:]), "epochs": 60}


def test_callbacks_are_called_in_order():
    recorder = Recorder()
    _, history = train(recorder, epochs=6, initial_epoch=1, validation_data=(X, Y))
    assert recorder.calls == [
        "train begin",
        *("epoch 4 begin", "batch 0", "test", "epoch 4"),
        *("epoch 5 begin", "batch 0", "test", "epoch 5"),
        "train end",
    ]
    assert history.epoch == [4, 5] and history.result.nit == 5
    assert [logs["loss"] for logs in recorder.logs] == history.history["loss"]


def net_with_a_metric():
    return net(metrics=["mae"])


def test_history_has_an_entry_for_each_chunk():
    model, history = train(model=at_start(net_with_a_metric))
    assert isinstance(history, keras.callbacks.History)
    assert model.history is history and history.model is model
    assert history.epoch == [3, 7, 11, 15, 19]
    assert history.history["loss"] == sorted(history.history["loss"], reverse=True)


def regularized_net_of_two_outputs():
    """Keras fails for this model: it adds losses in float32 to those of float64 weights."""
    inputs = keras.Input((2,), dtype="float64")
    hidden = dense(4, "tanh", dtype="float64", kernel_regularizer="l2")(inputs)
    heads = {name: dense(1, dtype="float64", name=name)(hidden) for name in "ab"}
    model = keras.Model(inputs, heads)
    model.compile(loss={"a": "mse", "b": "mae"})
    return model


def broken_metric(y_true, y_pred):
    raise KeyError("a mistake of the user")


# Name: model, targets, words of the warning.
NOT_EVALUATED = {
    "two outputs, regularizer": (
        regularized_net_of_two_outputs, {"a": Y, "b": Y**2}, "set_floatx.'float64'."
    ),
    "broken metric": (lambda: net(metrics=[broken_metric]), Y, "a mistake of the user"),
}  # fmt: skip


@pytest.mark.parametrize("has_validation", [False, True])
@pytest.mark.parametrize("name", NOT_EVALUATED)
def test_model_that_keras_cannot_evaluate_is_fitted_with_a_warning(name, has_validation):
    make, y, pattern = NOT_EVALUATED[name]
    model = make()
    with pytest.warns(UserWarning, match="the logs have the loss alone") as warnings:
        history = fit(
            model, X, y, epochs=4, validation_data=(X, y) if has_validation else None
        )
    (message,) = {str(w.message) for w in warnings if "alone" in str(w.message)}
    assert re.search(pattern, message)
    assert list(history.history) == ["loss"] and len(history.history["loss"]) == 4
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_history_callback_of_the_user_is_returned():
    callback = keras.callbacks.History()
    _, history = train(callback)
    assert (
        history is callback
        and callback.result.nit == 20
        and len(callback.history["loss"]) == 5
    )


def test_run_that_ends_at_its_start_is_logged_once():
    recorder = Recorder()
    start = net()
    model, history = train(recorder, keras.callbacks.TerminateOnNaN(), tolerance=1e9)
    assert history.result.status == Status.TOLERANCE and history.result.nit == 0
    assert history.history == {"loss": [history.result.fun]}
    assert same_weights(model, start)


def test_early_stopping_ends_with_status_stopped():
    stop = keras.callbacks.EarlyStopping("loss", min_delta=1e9, patience=1)
    result = train(stop)[1].result
    assert result.status is Status.STOPPED and not result.success and not result.failed
    assert result.nit == 8 and stop.stopped_epoch == 7


def test_early_stopping_restores_the_best_weights():
    """The fit does not overwrite weights that the callback has restored at its end."""
    recorder = Recorder()
    stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    model, history = train(recorder, stop, **OVERFITTED)
    losses = history.history["val_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == best + 4 < 15 and stop.best_epoch == history.epoch[best]
    for expected, weight in zip(recorder.weights[best], model.get_weights()):
        np.testing.assert_array_equal(expected, weight)


class CallAt(keras.callbacks.Callback):
    """Calls a function of the model at one event: "begin", "before N" or the end of epoch N."""

    def __init__(self, call, function):
        super().__init__()
        self.call, self.function = call, function

    def on_train_begin(self, logs=None):
        self._call_if("begin")

    def on_epoch_begin(self, epoch, logs=None):
        self._call_if(f"before {epoch}")

    def on_epoch_end(self, epoch, logs=None):
        self._call_if(epoch)

    def _call_if(self, call):
        if call == self.call:
            self.function(self.model)


def halve_weights(model):
    model.set_weights([0.5 * weight for weight in model.get_weights()])


def halved_net():
    model = net()
    halve_weights(model)
    return model


def test_fit_starts_from_weights_set_in_on_train_begin():
    _, history = train(CallAt("begin", halve_weights))
    _, expected = train(model=halved_net())
    assert history.history["loss"] == expected.history["loss"]


@pytest.mark.parametrize("call", [7, "before 11"])
def test_fit_continues_from_weights_set_by_a_callback(call):
    """The memory is reset, so that the steps are those of a fit that starts there."""
    model, expected = train(epochs=8)
    losses = expected.history["loss"]
    halve_weights(model)
    losses = losses + train(model=model, epochs=12)[1].history["loss"]
    weights = model.get_weights()
    model, history = train(CallAt(call, halve_weights))
    assert history.history["loss"] == losses
    assert all(map(np.array_equal, model.get_weights(), weights))


def test_weights_set_in_the_last_call_are_kept_and_in_the_result():
    model, history = train(CallAt(19, halve_weights))
    loss = np.mean((model(X) - Y) ** 2)
    # The sums have another order.
    np.testing.assert_allclose(history.result.fun, loss, rtol=1e-12)
    assert history.history["loss"][-1] < loss


def test_converged_fit_continues_from_weights_set_by_a_callback():
    linear_net = keras.Sequential(
        [keras.Input((2,), dtype="float64"), dense(1, dtype="float64")]
    )
    linear_net.compile(loss="mse", jit_compile=False)
    first_fit = fit(linear_net, epochs=40, steps_per_execution=10, tolerance=1e-6)
    halve_weights(linear_net)
    history = train(
        CallAt(9, halve_weights),
        model=linear_net,
        epochs=40,
        steps_per_execution=10,
        tolerance=1e-6,
    )
    assert first_fit.result.nit < 10 and len(first_fit.epoch) == 1
    assert history[1].result.success and len(history[1].epoch) == 2


def test_callback_that_sets_equal_weights_changes_nothing():
    expected = train()[1].history["loss"]
    assert train(CallAt(7, lambda model: model.set_weights(model.get_weights())))[1].history[
        "loss"
    ] == expected  # fmt: skip


def test_float64_copy_continues_from_weights_set_by_a_callback():
    model, _ = train(CallAt(19, halve_weights), model=net(dtype="float32"), dtype="float64")
    other, _ = train(model=net(dtype="float32"), dtype="float64")
    halve_weights(other)
    assert all(map(np.array_equal, model.get_weights(), other.get_weights()))
    model, history = train(
        CallAt(7, halve_weights), model=net(dtype="float32"), dtype="float64"
    )
    np.testing.assert_allclose(
        history.result.fun, np.mean((model(X) - Y) ** 2), rtol=1e-4
    )  # float32


@pytest.mark.parametrize(
    ("kind", "dtype"), [(keras.Variable, "float64"), (tf.Variable, "int32")]
)
def test_objective_variable_changed_by_a_callback_changes_the_loss(kind, dtype):
    """A callback changes a variable that is not trained: the fit continues with the new loss."""
    target = kind(1, dtype=dtype, trainable=False)

    def objective(model, x):
        return keras.ops.mean((model(x) - keras.ops.cast(target, "float64")) ** 2)

    change = CallAt(7, lambda model: target.assign(2))
    model, history = train(change, model=net(), y=None, objective=objective, epochs=60)
    losses, end = history.history["loss"], np.mean((model(X) - 2.0) ** 2)
    assert losses[2] > losses[1]
    # The sums have another order.
    np.testing.assert_allclose(history.result.fun, end, rtol=1e-9)
    assert end < 1e-3


def mse_of(model):
    return np.mean((model(X) - Y) ** 2)


class ScaledLoss(keras.losses.Loss):
    def __init__(self, factor):
        super().__init__(dtype="float64")
        self.factor = factor

    def call(self, y_true, y_pred):
        return self.factor * keras.ops.mean((y_true - y_pred) ** 2, -1)


class Penalty(keras.regularizers.Regularizer):
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, weight):
        return keras.ops.cast(self.factor, weight.dtype) * keras.ops.sum(weight**2)


# Name: class of the variable, model that reads it, arguments, the loss if the variable is 2.
LOSSES_OF_A_VARIABLE = {
    "closure of a loss": (
        tf.Variable,
        lambda factor: net(loss=lambda y, z: factor * keras.ops.mean((y - z) ** 2, -1)),
        {}, lambda model: 2.0 * mse_of(model),
    ),
    "loss object, in batches": (
        keras.Variable, lambda factor: net(loss=ScaledLoss(factor)),
        {"batch_size": 7}, lambda model: 2.0 * mse_of(model),
    ),
    "regularizer, float64 copy": (
        keras.Variable,
        lambda factor: net(
            head=dense(1, kernel_regularizer=Penalty(factor)), dtype="float32"
        ),
        {"dtype": "float64"},
        lambda model: mse_of(model) + 2.0 * np.sum(model.layers[-1].kernel.numpy() ** 2),
    ),
    "closure of a layer, gauss_newton": (
        tf.Variable,
        lambda factor: net(keras.layers.Lambda(lambda x: factor * x, dtype="float64")),
        {"method": "gauss_newton"}, mse_of,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES_OF_A_VARIABLE)
def test_compiled_loss_reads_a_variable_changed_by_a_callback(name):
    kind, make, arguments, loss = LOSSES_OF_A_VARIABLE[name]
    factor = kind(0.5, dtype="float64", trainable=False)
    change = CallAt(7, lambda _: factor.assign(2.0))
    model, history = train(change, model=make(factor), **arguments)
    # Weights of the copy are rounded to float32. Measured: 1e-8.
    rtol = 1e-6 if "dtype" in arguments else 1e-12
    np.testing.assert_allclose(history.result.fun, loss(model), rtol=rtol)


def test_variable_assigned_by_the_loss_does_not_reset_the_memory():
    """Otherwise each chunk would start with an empty memory."""
    calls = tf.Variable(0, dtype="int64", trainable=False)

    def objective(model, x):
        calls.assign_add(1)
        unchanged = 1.0 + 0.0 * tf.cast(calls, "float64")
        return unchanged * keras.ops.mean((model(x) - 1.0) ** 2)

    def losses(chunk):
        model = net()
        return fit(
            model, y=None, objective=objective, epochs=12, steps_per_execution=chunk
        ).history["loss"]

    # The sums have another order.
    np.testing.assert_allclose(losses(1)[-1], losses(12)[-1], rtol=1e-9)
    assert int(calls) > 24


def test_frozen_weights_changed_by_a_callback_change_the_loss():
    model = net()
    model.layers[0].trainable = False
    model.compile(loss="mse", jit_compile=False)
    layer = model.layers[0]
    model, history = train(
        CallAt(7, lambda _: layer.kernel.assign(0.1 * layer.kernel)), model=model
    )
    np.testing.assert_allclose(history.result.fun, np.mean((model(X) - Y) ** 2), rtol=1e-12)


@pytest.mark.slow
def test_interrupted_run_resumes_after_a_callback_set_weights(tmp_path):
    _, expected = train(CallAt(7, halve_weights))
    model, _ = train(CallAt(7, halve_weights), epochs=12, checkpoint=tmp_path)
    model.set_weights(net().get_weights())
    _, history = train(model=model, checkpoint=tmp_path)
    assert history.history["loss"] == expected.history["loss"]


def test_stop_training_ends_only_the_current_fit():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    model, history = train(Stop())
    assert history.result.status == Status.STOPPED and history.result.nit == 4
    # The next fit is not stopped by the last one.
    assert train(model=model)[1].result.nit > 4


@pytest.mark.slow
def test_model_checkpoint_saves_each_chunk_and_the_best(tmp_path):
    each_epoch, best = tmp_path / "{epoch:02d}.keras", tmp_path / "best.weights.h5"
    recorder = Recorder()
    _, history = train(
        recorder,
        keras.callbacks.ModelCheckpoint(each_epoch),
        keras.callbacks.ModelCheckpoint(
            best, monitor="val_loss", save_best_only=True, save_weights_only=True
        ),
        **OVERFITTED,
    )
    names = [f"{epoch + 1:02d}.keras" for epoch in history.epoch]
    assert sorted(path.name for path in tmp_path.glob("*.keras")) == names
    for name, weights in zip(names, recorder.weights):
        loaded = keras.models.load_model(tmp_path / name)
        assert all(map(np.array_equal, loaded.get_weights(), weights))
    lowest = recorder.weights[int(np.argmin(history.history["val_loss"]))]
    fresh = net(optimizer="rmsprop")
    fresh.load_weights(best)
    assert all(map(np.array_equal, fresh.get_weights(), lowest))


def test_csv_logger_writes_the_history(tmp_path):
    path = tmp_path / "log.csv"
    _, history = train(keras.callbacks.CSVLogger(path), validation_data=(X, Y))
    with open(path) as file:
        lines = list(csv.DictReader(file))
    assert [int(line["epoch"]) for line in lines] == history.epoch
    for name in ("loss", "val_loss"):
        assert [float(line[name]) for line in lines] == history.history[name]


def scalars(directory):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory), size_guidance={"tensors": 0})
    events.Reload()
    return events.Tags(), {
        tag: [(event.step, float(_value(event))) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
        if tag.startswith("epoch") or tag.startswith("evaluation")
    }


def _value(event):
    from tensorboard.util import tensor_util

    return tensor_util.make_ndarray(event.tensor_proto)


def test_tensorboard_writes_the_history(tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path, histogram_freq=1)
    _, history = train(board, validation_data=(X, Y))
    for part, name in (("train", "loss"), ("validation", "val_loss")):
        tags, tags_and_values = scalars(tmp_path / part)
        steps, values = zip(*tags_and_values["epoch_loss"])
        assert list(steps) == history.epoch
        # TensorBoard stores float32.
        np.testing.assert_allclose(values, history.history[name], rtol=1e-6)
    tags, _ = scalars(tmp_path / "train")
    assert [tag for tag in tags["tensors"] if "kernel" in tag]


@pytest.mark.slow
def test_backup_and_restore_restores_the_weights(tmp_path):
    """BackupAndRestore restores the weights, and epochs are counted from 0 again."""
    directory = tmp_path / "backup"
    recorder = Recorder()

    def fail(epoch, logs):
        if epoch >= 11:
            raise OSError("power cut")

    with pytest.raises(OSError, match="power cut"):
        train(
            keras.callbacks.BackupAndRestore(directory),
            recorder,
            keras.callbacks.LambdaCallback(on_epoch_end=fail),
        )
    assert directory.exists()
    initial_weights = []

    class Record(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            initial_weights.append(self.model.get_weights())

    # A model of the same architecture with other initial weights.
    model = net()
    model.set_weights([w + 1.0 for w in model.get_weights()])
    _, history = train(keras.callbacks.BackupAndRestore(directory), Record(), model=model)
    assert all(map(np.array_equal, initial_weights[0], recorder.weights[-1]))
    assert history.epoch == [3, 7, 11, 15, 19]
    assert history.history["loss"][0] < recorder.logs[-1]["loss"]
    # There is no backup after the end of a fit.
    assert not directory.exists()


def test_terminate_on_nan_ends_a_fit_that_starts_with_nan():
    def logarithm(y_true, y_pred):
        return keras.ops.log(y_pred - 1e9)

    model, history = train(keras.callbacks.TerminateOnNaN(), model=net(loss=logarithm))
    assert history.result.status == Status.NON_FINITE
    assert np.isnan(history.history["loss"]).all() and len(history.history["loss"]) == 1
    assert model.stop_training
    assert same_weights(model, net())
    assert train(keras.callbacks.TerminateOnNaN())[1].result.nit == 20


def test_derivative_monitor_measures_the_weights_of_the_chunk(make_model, gaussian_data):
    model = make_model(width=4)
    monitor = keras_smooth.DerivativeMonitor(
        gaussian_data[0], lambda x: keras.ops.exp(-keras.ops.square(x))
    )
    history = fit(model, *gaussian_data, epochs=50, callbacks=[monitor])
    y, _, d2y = keras_smooth.derivatives(model, gaussian_data[0])
    assert history.history["y_mse"][-1] == pytest.approx(
        np.mean((y - gaussian_data[1]) ** 2)
    )
    assert history.history["d2y_mse"][-1] < history.history["d2y_mse"][0]


def test_callbacks_of_the_learning_rate_do_not_change_the_fit():
    """The optimizer of the model is not used."""
    rate = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=1)
    _, history = train(rate, plateau)
    assert history.result.fun == train()[1].result.fun
    assert len(history.history["learning_rate"]) == 5


def test_error_of_a_callback_leaves_the_best_weights():
    def fail(epoch, logs):
        if epoch > 10:
            raise ZeroDivisionError

    model = at_start()
    with pytest.raises(ZeroDivisionError):
        train(keras.callbacks.LambdaCallback(on_epoch_end=fail), model=model)
    loss = float(np.mean((model(X) - Y) ** 2))
    assert model.history.result.fun == pytest.approx(loss, rel=1e-12)
    assert model.history.result.nit == 12 and len(model.history.epoch) >= 2


def test_target_ends_with_status_target():
    result = train(target=1e-2, relative=False)[1].result
    assert result.status == Status.TARGET and result.success
    assert result.fun <= 1e-2 and result.nit < 20


def test_max_seconds_ends_with_status_time_limit():
    result = fit(at_start(), epochs=500, max_seconds=0.0).result
    assert result.status == Status.TIME_LIMIT and not result.success and not result.failed
    assert result.nit == 5  # one chunk, a hundredth of the epochs


def test_interrupt_leaves_the_weights_of_the_last_chunk():
    model = at_start()
    start = float(np.mean((model(X) - Y) ** 2))

    def interrupt(epoch, logs):
        if epoch > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(keras.callbacks.LambdaCallback(on_epoch_end=interrupt), model=model)
    assert float(np.mean((model(X) - Y) ** 2)) < start


def test_titles_of_methods_in_figures_are_unique():
    titles = {method: minimizer.TITLE for method, minimizer in MINIMIZERS.items()}
    assert len(set(titles.values())) == len(MINIMIZERS)
    recorder = Recorder()
    fit(at_start(), method="broyden", epochs=1, callbacks=[recorder])
    fits = Fits()
    fits.count(0, recorder.model, recorder.params)
    assert fits.name_of(0) == titles["broyden"] == "Broyden"
