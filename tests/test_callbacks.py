"""DerivativeMonitor: its numbers, and each callback that is to see them."""

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_smooth

KEYS = ["y_mse", "dy_mse", "d2y_mse"]


def gaussian(x):
    return ops.exp(-(x**2))


def exact(x):
    y = np.exp(-(x**2))
    return y, -2 * x * y, (4 * x**2 - 2) * y


def fit(model, data, callbacks, epochs=3, **arguments):
    return model.fit(
        *data,
        epochs=epochs,
        batch_size=len(data[0]),
        verbose=0,
        callbacks=callbacks,
        **arguments,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_errors_are_those_of_plain_numpy(make_model, gaussian_data, dtype):
    model = make_model(dtype=dtype)
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    history = fit(model, gaussian_data, [monitor])
    values = keras_smooth.derivatives(model, gaussian_data[0])
    for key, value, true in zip(KEYS, values, exact(gaussian_data[0])):
        # Graph and eager round differently; float32 curves are of order 1.
        expected = np.mean((np.float64(value) - true) ** 2)
        assert history.history[key][-1] == pytest.approx(
            expected, rel=1e-4 if dtype == "float32" else 1e-10
        )


def test_arrays_and_callable_give_the_same(make_model, gaussian_data):
    x = gaussian_data[0]
    by_array = keras_smooth.DerivativeMonitor(x, exact(x), prefix="array_")
    by_function = keras_smooth.DerivativeMonitor(x, gaussian)
    logs = fit(make_model(), gaussian_data, [by_array, by_function]).history
    for key in KEYS:
        np.testing.assert_allclose(logs[f"array_{key}"], logs[key], rtol=1e-9)


@pytest.mark.parametrize(
    ("metric", "ending", "function"),
    [
        ("mse", "mse", lambda e: np.mean(e**2)),
        ("mae", "mae", lambda e: np.mean(np.abs(e))),
        ("mean_absolute_error", "mean_absolute_error", lambda e: np.mean(np.abs(e))),
        (keras.metrics.RootMeanSquaredError, "root_mean_squared_error", lambda e: np.sqrt(np.mean(e**2))),
        (keras.metrics.RootMeanSquaredError(name="rmse"), "rmse", lambda e: np.sqrt(np.mean(e**2))),
    ],
    ids=["mse", "mae", "full name", "class", "instance"],
)  # fmt: skip
def test_metrics(make_model, gaussian_data, metric, ending, function):
    model, x = make_model(), gaussian_data[0]
    logs = fit(
        model, gaussian_data, [keras_smooth.DerivativeMonitor(x, gaussian, metric=metric)]
    ).history
    d2y = keras_smooth.derivatives(model, x)[2]
    # An instance made by the user computes in float32.
    assert logs[f"d2y_{ending}"][-1] == pytest.approx(function(d2y - exact(x)[2]), rel=1e-5)


def test_every_repeats_the_last_value_and_history_holds_the_measured(
    make_model, gaussian_data
):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian, every=3)
    logs = fit(make_model(), gaussian_data, [monitor], epochs=8).history
    assert list(monitor.history["epoch"]) == [0, 3, 6]
    assert len(logs["d2y_mse"]) == 8
    np.testing.assert_array_equal(
        np.array(logs["d2y_mse"])[[0, 3, 6]], monitor.history["d2y_mse"]
    )
    assert logs["d2y_mse"][1] == logs["d2y_mse"][2] == logs["d2y_mse"][0]


@pytest.mark.parametrize("order", [0, 1, 3])
def test_order(make_model, gaussian_data, order):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian, order=order)
    logs = fit(make_model(), gaussian_data, [monitor], epochs=1).history
    assert set(logs) == {"loss"} | set((KEYS + ["d3y_mse"])[: order + 1])


def test_several_inputs_and_outputs(make_model):
    x = np.random.default_rng(0).normal(size=(6, 2))

    def saddle(x):
        return ops.concatenate(
            [x[:, :1] * x[:, 1:], ops.sum(x**2, axis=1, keepdims=True)], axis=1
        )

    monitor = keras_smooth.DerivativeMonitor(x, saddle)
    fit(make_model(dim=2, outputs=2), (x, np.asarray(saddle(x))), [monitor])
    assert [v.shape for v in monitor.values()] == [(6, 2), (6, 2, 2), (6, 2, 2, 2)]
    assert monitor.plot().axes


# Each callback in turn sees the keys.


def test_progress_bar(make_model, gaussian_data, capsys):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    make_model().fit(*gaussian_data, verbose=2, callbacks=[monitor])
    printed = capsys.readouterr().out
    assert all(f"{key}: " in printed for key in KEYS)


def test_csv_logger(make_model, gaussian_data, tmp_path):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian, every=2)
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    logs = fit(make_model(), gaussian_data, [monitor, logger]).history
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    for key in KEYS:
        assert [float(row[key]) for row in rows] == logs[key]


def test_tensorboard(make_model, gaussian_data, tmp_path):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    board = keras.callbacks.TensorBoard(tmp_path)
    fit(make_model(), gaussian_data, [monitor, board])
    tags = set()
    for path in tmp_path.rglob("*tfevents*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            tags |= {value.tag for value in event.summary.value}
    assert {f"epoch_{key}" for key in KEYS} <= tags


def test_early_stopping(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    stopping = keras.callbacks.EarlyStopping(
        "d2y_mse", mode="min", min_delta=1e9, patience=1
    )
    logs = fit(make_model(), gaussian_data, [monitor, stopping], epochs=9).history
    assert len(logs["loss"]) == 2


def test_model_checkpoint(make_model, gaussian_data, tmp_path):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    checkpoint = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "{epoch}-{d2y_mse:.6f}.keras"),
        monitor="d2y_mse",
        mode="min",
        save_best_only=True,
    )
    logs = fit(make_model(), gaussian_data, [monitor, checkpoint], epochs=4).history
    best = int(np.argmin(logs["d2y_mse"]))
    path = tmp_path / f"{best + 1}-{logs['d2y_mse'][best]:.6f}.keras"
    loaded = keras.models.load_model(path)
    d2y = keras_smooth.derivatives(loaded, gaussian_data[0])[2]
    error = np.mean((d2y - exact(gaussian_data[0])[2]) ** 2)
    assert error == pytest.approx(logs["d2y_mse"][best], rel=1e-9)


def test_reduce_lr_on_plateau(make_model, gaussian_data):
    model = make_model()
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    plateau = keras.callbacks.ReduceLROnPlateau(
        "d2y_mse", mode="min", min_delta=1e9, patience=1, factor=0.5
    )
    fit(model, gaussian_data, [monitor, plateau], epochs=3)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01 * 0.5**2)


def test_beside_validation_data(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    logs = fit(
        make_model(), gaussian_data, [monitor], validation_data=gaussian_data
    ).history
    assert set(logs) == {"loss", "val_loss", *KEYS}


def test_logs_are_plain_numbers(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    json.dumps(fit(make_model(), gaussian_data, [monitor]).history)


# What goes wrong.


def test_warns_once_when_a_derivative_is_zero_everywhere(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    with pytest.warns(UserWarning, match="order 2 is 0 at every point") as caught:
        logs = fit(make_model("relu"), gaussian_data, [monitor]).history
    assert len([w for w in caught if "order 2" in str(w.message)]) == 1
    assert logs["d2y_mse"][0] == pytest.approx(np.mean(exact(gaussian_data[0])[2] ** 2))


def test_lost_derivative_is_an_error(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    with pytest.raises(ValueError, match="order 2 is lost"):
        fit(make_model("hard_tanh"), gaussian_data, [monitor])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"every": 0}, "every"),
        ({"order": 1}, "needs 2 exact arrays"),
        ({"order": 3}, "needs 4 exact arrays"),
        ({"metric": "accuracies"}, "accuracies"),
    ],
)
def test_bad_argument(points, change, words):
    with pytest.raises(ValueError, match=words):
        keras_smooth.DerivativeMonitor(points, exact(points), **change)


def test_reference_of_another_length(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], exact(gaussian_data[0][:-1]))
    with pytest.raises(ValueError, match=r"shape \(20, 1\).*\(21, 1\)"):
        fit(make_model(), gaussian_data, [monitor])


def test_flat_reference_does_not_broadcast(make_model, gaussian_data):
    x = gaussian_data[0]
    flat = keras_smooth.DerivativeMonitor(
        x, [part[:, 0] for part in exact(x)], prefix="flat_"
    )
    column = keras_smooth.DerivativeMonitor(x, exact(x))
    logs = fit(make_model(), gaussian_data, [flat, column]).history
    assert logs["flat_d2y_mse"] == logs["d2y_mse"]


def test_plot(make_model, gaussian_data, tmp_path):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    with pytest.raises(ValueError, match="measured"):
        monitor.plot()
    fit(make_model(), gaussian_data, [monitor])
    figure = monitor.plot()
    figure.savefig(tmp_path / "plot.png")
    # Errors over epochs, and three columns of a curve above its error.
    assert len(figure.axes) == 1 + 2 * 3


def test_a_second_fit_with_another_model(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    first, second = make_model(), make_model("sigmoid")
    fit(first, gaussian_data, [monitor])
    logs = fit(second, gaussian_data, [monitor]).history
    d2y = keras_smooth.derivatives(second, gaussian_data[0])[2]
    assert logs["d2y_mse"][-1] == pytest.approx(
        np.mean((d2y - exact(gaussian_data[0])[2]) ** 2), rel=1e-9
    )
