"""`DerivativeMonitor`: its numbers, its figures, and the callbacks that use its logs."""

import contextlib
import copy
import csv
import json
import math
import pickle
import sys
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from representatives import representatives

import keras_smooth
from keras_smooth.presentation import figures

KEYS = ["y_mse", "dy_mse", "d2y_mse"]


def gaussian(x):
    # With x**2, TensorFlow's third derivative would be NaN at 0.
    return ops.exp(-ops.square(x))


def exact(x):
    y = np.exp(-(x**2))
    return y, -2 * x * y, (4 * x**2 - 2) * y


def fit(model, data, callbacks, epochs=3, **arguments):
    """Fits eagerly, since a few steps take less time than a trace of the training step."""
    model.run_eagerly = True
    return model.fit(
        *data,
        epochs=epochs,
        batch_size=len(data[0]),
        verbose=0,
        callbacks=callbacks,
        **arguments,
    )


@pytest.mark.parametrize("dtype", representatives(["float32", "float64"], ["float64"]))
def test_errors_equal_those_of_numpy(make_model, gaussian_data, dtype):
    model = make_model(dtype=dtype)
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    history = fit(model, gaussian_data, [monitor])
    values = keras_smooth.derivatives(model, gaussian_data[0])
    for key, value, true in zip(KEYS, values, exact(gaussian_data[0])):
        # Graph and eager operations round differently; curves in float32 are of order 1.
        expected = np.mean((np.float64(value) - true) ** 2)
        assert history.history[key][-1] == pytest.approx(
            expected, rel=1e-4 if dtype == "float32" else 1e-10
        )


class Table:
    """A table with the interface that pandas and polars have in common."""

    def __init__(self, **columns):
        self._data = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return self._data[name]


@pytest.mark.slow
def test_all_forms_of_reference_give_equal_errors(make_model, gaussian_data):
    x = gaussian_data[0]
    arrays = dict(zip(("y", "dy", "d2y"), exact(x)))
    flat = {name: array[:, 0] for name, array in arrays.items()}
    forms = {
        "tuple": tuple(arrays.values()),
        "list": list(arrays.values()),
        "flat": tuple(flat.values()),
        "numbers": [array.tolist() for array in arrays.values()],
        "stacked": np.stack(list(arrays.values())),
        "tensors": [tf.constant(array) for array in arrays.values()],
        "dict": arrays,
        "table": Table(x=x[:, 0], **flat),
        "function": gaussian,
    }
    monitors = [
        keras_smooth.DerivativeMonitor(x, form, prefix=f"{name}_")
        for name, form in forms.items()
    ]
    logs = fit(make_model(), gaussian_data, monitors, epochs=1).history
    for name in forms:
        for key in KEYS:
            # Derivatives of a function are rounded differently.
            np.testing.assert_allclose(
                logs[f"{name}_{key}"], logs[f"tuple_{key}"], rtol=1e-9
            )


METRICS = [
    ("mse", "mse", lambda e: np.mean(e**2)),
    ("mae", "mae", lambda e: np.mean(np.abs(e))),
    ("mean_absolute_error", "mean_absolute_error", lambda e: np.mean(np.abs(e))),
    (keras.metrics.RootMeanSquaredError, "root_mean_squared_error", lambda e: np.sqrt(np.mean(e**2))),
    (keras.metrics.RootMeanSquaredError(name="rmse"), "rmse", lambda e: np.sqrt(np.mean(e**2))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "ending", "function"),
    representatives(METRICS, METRICS[:1]),
    ids=["mse", "mae", "full name", "class", "instance"],
)  # fmt: skip
def test_metrics_equal_numpy_formulas(make_model, gaussian_data, metric, ending, function):
    model, x = make_model(), gaussian_data[0]
    logs = fit(
        model, gaussian_data, [keras_smooth.DerivativeMonitor(x, gaussian, metric=metric)]
    ).history
    d2y = keras_smooth.derivatives(model, x)[2]
    # An instance that the user makes computes in float32.
    assert logs[f"d2y_{ending}"][-1] == pytest.approx(function(d2y - exact(x)[2]), rel=1e-5)


def test_metric_function_works_for_float32_model_and_float64_reference():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3, "tanh")])
    model.add(keras.layers.Dense(1))
    model.compile(loss="mse", jit_compile=False)
    x = np.linspace(-1.0, 1.0, 9)[:, None]

    def largest(y_true, y_pred):
        return keras.ops.max(keras.ops.abs(y_true - y_pred))

    monitor = keras_smooth.DerivativeMonitor(x, gaussian, order=0, metric=largest)
    logs = model.fit(x, exact(x)[0], epochs=1, verbose=0, callbacks=[monitor]).history
    expected = np.max(np.abs(exact(x)[0] - np.asarray(model(x))))
    assert logs["y_largest"][-1] == pytest.approx(expected, rel=1e-5)  # outputs of float32


@pytest.mark.parametrize(
    ("every", "initial", "expected"),
    representatives(
        [(1, 0, [0, 1, 2, 3]), (3, 0, [0, 3, 6]), (4, 3, [3, 7]), (50, 2, [2])],
        [(4, 3, [3, 7])],
    ),
)
def test_every_selects_the_epochs_of_fit(
    make_model, gaussian_data, every, initial, expected
):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian, every=every)
    model, epochs = make_model(), max(4, expected[-1] + 2) if every > 1 else 4
    logs = fit(model, gaussian_data, [monitor], epochs, initial_epoch=initial).history
    assert list(monitor.history["epoch"]) == expected
    assert len(logs["loss"]) == epochs - initial
    # Epochs without a measurement have no such logs.
    np.testing.assert_array_equal(logs["d2y_mse"], monitor.history["d2y_mse"])


@pytest.mark.parametrize(
    ("every", "chunk", "expected"),
    representatives(
        [
            (10, 10, [9, 19, 29]),
            (10, 5, [4, 14, 24]),
            (7, 3, [2, 11, 20, 29]),
            (1, 15, [14, 29]),
        ],
        [(7, 3, [2, 11, 20, 29])],
    ),
)
def test_every_selects_the_epochs_of_fit_lbfgs(
    make_model, gaussian_data, every, chunk, expected
):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian, every=every)
    history = keras_smooth.fit_lbfgs(
        make_model(), *gaussian_data, epochs=30, steps_per_execution=chunk, tolerance=0.0,
        callbacks=[monitor], verbose=0, jit_compile=False,
    )  # fmt: skip
    assert list(monitor.history["epoch"]) == expected
    np.testing.assert_array_equal(history.history["d2y_mse"], monitor.history["d2y_mse"])


@pytest.mark.slow
def test_patience_counts_measurements(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian, every=3)
    stopping = keras.callbacks.EarlyStopping(
        "d2y_mse", mode="min", min_delta=1e9, patience=2
    )
    with pytest.warns(UserWarning, match="d2y_mse.* not available"):
        logs = fit(make_model(), gaussian_data, [monitor, stopping], epochs=20).history
    # Epoch 0 is the best; the measurements of epochs 3 and 6 are no improvement.
    assert len(logs["loss"]) == 7


@pytest.mark.parametrize("order", representatives([0, 1, 3], [3]))
def test_order_sets_the_keys_of_the_logs(make_model, gaussian_data, order):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian, order=order)
    logs = fit(make_model(), gaussian_data, [monitor], epochs=1).history
    assert set(logs) == {"loss"} | set((KEYS + ["d3y_mse"])[: order + 1])


@pytest.mark.slow
def test_values_have_shapes_of_several_inputs_and_outputs(make_model):
    x = np.random.default_rng(0).normal(size=(6, 2))

    def saddle(x):
        return ops.concatenate(
            [x[:, :1] * x[:, 1:], ops.sum(x**2, axis=1, keepdims=True)], axis=1
        )

    monitor = keras_smooth.DerivativeMonitor(x, saddle)
    fit(make_model(dim=2, outputs=2), (x, np.asarray(saddle(x))), [monitor])
    assert [v.shape for v in monitor.values()] == [(6, 2), (6, 2, 2), (6, 2, 2, 2)]
    assert monitor.plot().axes


@pytest.mark.parametrize("shape", [(6, 1), (6, 3), (6, 2, 2)], ids=str)
def test_gradient_norm_and_laplacian_equal_formulas(make_model, shape, rng):
    x = rng.normal(size=shape)

    def bowl(x):
        # The squared distance from 0, with the factors 3 and 1.
        squares = ops.sum(ops.reshape(ops.square(x), (6, -1)), axis=1, keepdims=True)
        return ops.concatenate([3.0 * squares, squares], axis=1)

    model = keras.Sequential([keras.Input(shape[1:], dtype="float64")])
    model.add(keras.layers.Flatten(dtype="float64"))
    model.add(keras_smooth.Dense(2, "tanh", dtype="float64"))
    model.compile(loss="mse", jit_compile=False)
    monitor = keras_smooth.DerivativeMonitor(
        x, bowl, also=["gradient_norm", "laplacian"], metric="mae"
    )
    logs = fit(model, (x, np.zeros((6, 2))), [monitor], epochs=1).history
    # The derivatives of tanh of a row of weights, as formulas.
    kernel, bias = (np.asarray(weight) for weight in model.layers[1].weights)
    tanh = np.tanh(x.reshape(6, -1) @ kernel + bias)
    slope, squares = 1.0 - tanh**2, np.sum(kernel**2, axis=0)
    factor, dim = np.array([3.0, 1.0]), x[0].size
    norm = np.linalg.norm(x.reshape(6, -1), axis=1, keepdims=True) * 2.0 * factor
    expected = {
        "gradient_norm_mae": np.abs(slope * np.sqrt(squares) - norm),
        "laplacian_mae": np.abs(-2.0 * tanh * slope * squares - 2.0 * dim * factor),
    }
    for key, errors in expected.items():
        assert logs[key][-1] == pytest.approx(np.mean(errors), rel=1e-10), key


# Callbacks of Keras that read the keys.


def test_progress_bar_shows_the_keys(make_model, gaussian_data, capsys):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    make_model().fit(*gaussian_data, verbose=2, callbacks=[monitor])
    printed = capsys.readouterr().out
    assert all(f"{key}: " in printed for key in KEYS)


def test_csv_logger_writes_the_keys(make_model, gaussian_data, tmp_path):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian, every=2)
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    logs = fit(make_model(), gaussian_data, [monitor, logger]).history
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    for key in KEYS:
        assert [float(row[key]) for row in rows[::2]] == logs[key]
        assert [row[key] for row in rows[1::2]] == ["NA"]


@pytest.mark.slow
def test_tensorboard_writes_the_keys(make_model, gaussian_data, tmp_path):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    board = keras.callbacks.TensorBoard(tmp_path)
    fit(make_model(), gaussian_data, [monitor, board])
    tags = set()
    for path in tmp_path.rglob("*tfevents*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            tags |= {value.tag for value in event.summary.value}
    assert {f"epoch_{key}" for key in KEYS} <= tags


def events(folder):
    """Returns the steps of each tag written for TensorBoard, and the last images."""
    steps, images = {}, {}
    for path in sorted(folder.rglob("*tfevents*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                steps.setdefault(value.tag, []).append(event.step)
                images[value.tag] = list(value.tensor.string_val)
    return steps, images


@pytest.mark.slow
def test_log_dir_has_scalars_and_figures(make_model, gaussian_data, tmp_path):
    monitor = keras_smooth.DerivativeMonitor(
        gaussian_data[0], gaussian, prefix="a_", log_dir=tmp_path
    )
    fit(make_model(), gaussian_data, [monitor], epochs=6)
    steps, images = events(tmp_path)
    # Figures are drawn at the measurements 1, 2, 4 and the last.
    assert steps == {f"a_{key}": [*range(6)] for key in KEYS} | {
        "a_derivatives": [0, 1, 3, 5]
    }
    width, height, png = images["a_derivatives"]
    picture = tf.io.decode_png(png)
    assert picture.shape[:2] == (int(height), int(width)) and len(np.unique(picture)) > 10


class Notebook:
    """IPython as in a notebook: a shell with a kernel, and displays that can be updated."""

    version_info = (9, 0)  # matplotlib asks for it

    def __init__(self):
        self.shown = []
        self.display = types.SimpleNamespace(display=self._show)

    def get_ipython(self):
        return types.SimpleNamespace(kernel="a kernel")

    def _show(self, picture, display_id):
        assert display_id
        pictures = [picture._repr_png_()]
        self.shown.append(pictures)
        return types.SimpleNamespace(update=lambda p: pictures.append(p._repr_png_()))


@pytest.mark.slow
def test_live_updates_one_figure_per_fit(make_model, gaussian_data, monkeypatch):
    notebook = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monitor = keras_smooth.DerivativeMonitor(
        gaussian_data[0], gaussian, live=True, figure_every=2
    )
    for epochs in (4, 1):
        fit(make_model(), gaussian_data, [monitor], epochs=epochs)
    # One figure for each fit, drawn at epochs 0, 2 and 3, and at the only epoch.
    assert [len(pictures) for pictures in notebook.shown] == [3, 1]
    assert all(p.startswith(b"\x89PNG") for pictures in notebook.shown for p in pictures)


def test_live_outside_of_a_notebook_warns(make_model, gaussian_data):
    with pytest.warns(UserWarning, match="not a notebook"):
        monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian, live=True)
    fit(make_model(), gaussian_data, [monitor], epochs=1)


def test_early_stopping_monitors_a_key(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    stopping = keras.callbacks.EarlyStopping(
        "d2y_mse", mode="min", min_delta=1e9, patience=1
    )
    logs = fit(make_model(), gaussian_data, [monitor, stopping], epochs=9).history
    assert len(logs["loss"]) == 2


@pytest.mark.slow
def test_model_checkpoint_monitors_a_key(make_model, gaussian_data, tmp_path):
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


@pytest.mark.slow
def test_reduce_lr_on_plateau_monitors_a_key(make_model, gaussian_data):
    model = make_model()
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    plateau = keras.callbacks.ReduceLROnPlateau(
        "d2y_mse", mode="min", min_delta=1e9, patience=1, factor=0.5
    )
    fit(model, gaussian_data, [monitor, plateau], epochs=3)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01 * 0.5**2)


@pytest.mark.slow
def test_keys_are_added_to_those_of_validation(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    logs = fit(
        make_model(), gaussian_data, [monitor], validation_data=gaussian_data
    ).history
    assert set(logs) == {"loss", "val_loss", *KEYS}


@pytest.mark.slow
def test_logs_are_plain_numbers(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    json.dumps(fit(make_model(), gaussian_data, [monitor]).history)


# Errors and warnings.


def test_derivative_that_is_zero_everywhere_warns_once(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    with pytest.warns(UserWarning, match="order 2 is 0 at every point") as warnings:
        logs = fit(make_model("relu"), gaussian_data, [monitor]).history
    assert len([w for w in warnings if "order 2" in str(w.message)]) == 1
    assert logs["d2y_mse"][0] == pytest.approx(np.mean(exact(gaussian_data[0])[2] ** 2))


def test_lost_derivative_raises(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    model = keras.Sequential([make_model("tanh"), keras.layers.Lambda(ops.round)])
    model.compile(loss="mse")
    with pytest.raises(ValueError, match="order 1 is lost"):
        fit(model, gaussian_data, [monitor])


X = np.linspace(-2.0, 2.0, 21)[:, None]
EXACT = exact(X)
ZEROS = np.zeros((21, 2)), np.zeros((21, 2, 3)), np.zeros((21, 2, 3, 3))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"every": 0}, ValueError, "`every` must be 1 or more"),
        ({"every": 1.5}, TypeError, "`every` must be an integer"),
        ({"figure_every": 0}, ValueError, "`figure_every` must be 1 or more"),
        ({"figure_every": 1.5}, TypeError, "`figure_every` must be an integer"),
        ({"also": "laplacian"}, TypeError, "`also` must be a list of names"),
        ({"also": [["laplacian"]]}, TypeError, "`also` must be one of .* received"),
        ({"also": None}, TypeError, "`also` must be a list of names"),
        ({"also": ["curl"]}, ValueError, "one of 'gradient_norm', 'laplacian'; received 'curl'"),
        ({"also": ["laplacian"], "order": 1, "reference": EXACT[:2]}, ValueError,
         "'laplacian' needs order=2 or more, received order=1"),
        ({"also": ["laplacian"], "x": {"a": X, "b": X}, "reference": lambda x: x["a"] * x["b"]},
         ValueError, "`also` needs x as one array"),
        ({"also": ["laplacian"], "reference": lambda x: (ops.sin(x), ops.exp(x))}, ValueError,
         "y is one array"),
        ({"live": "yes"}, TypeError, "`live` must be True or False"),
        ({"log_dir": 3}, TypeError, "`log_dir` must be a path"),
        ({"order": 1}, ValueError, r"order=1 needs 2 exact arrays \(y, dy\), received 3"),
        ({"order": 3}, ValueError, "needs 4 exact arrays"),
        ({"order": -1}, ValueError, "`order` must be 0 or more"),
        ({"order": 2.0}, TypeError, "`order` must be an integer"),
        ({"metric": "accuracies"}, ValueError, "accuracies"),
        ({"x": None}, TypeError, "`x` must hold real numbers"),
        ({"x": "points"}, TypeError, "`x` must hold real numbers"),
        ({"x": []}, ValueError, "at least one"),
        ({"x": X[:0]}, ValueError, "at least one"),
        ({"x": np.arange(21)[:, None]}, TypeError, "must hold floats .* int64"),
        ({"x": X + 1j}, TypeError, "`x` must hold real numbers, received complex128"),
        ({"x": np.where(X > 0, np.nan, X)}, ValueError, "`x` must be finite, but 10 of"),
        ({"x": np.array([None, 1.0])}, TypeError, "`x` must hold real numbers"),
        ({"x": [[1.0], [2.0, 3.0]]}, ValueError, "`x` cannot be made an array"),
        ({"reference": None}, TypeError, "`reference` must be a function, or arrays"),
        ({"reference": "gaussian"}, TypeError, "`reference` must be a function, or arrays"),
        ({"reference": 3.0}, TypeError, "`reference` must be a function, or arrays"),
        ({"reference": {"y": 1, "dy": 2}}, ValueError, "needs 3 exact .* received y, dy"),
        ({"reference": dict(zip(("y", "dy", "d2"), EXACT))}, ValueError, "y, dy, d2"),
        ({"reference": Table(x=X, y=X)}, ValueError, "y, dy, d2y.*received x, y"),
        ({"reference": (X, X, None)}, TypeError, "d2y, must hold real numbers"),
        ({"reference": (X, X * 1j, X)}, TypeError, "dy, must hold real numbers"),
        ({"reference": (X, np.full_like(X, np.inf), X)}, ValueError, "dy, must be finite"),
        ({"reference": lambda x: np.exp(x)}, TypeError, "made of keras.ops"),
        ({"reference": lambda x: x * np.sin(x)}, TypeError, "made of keras.ops"),
        ({"reference": lambda x: math.exp(x)}, TypeError, "made of keras.ops"),
        ({"reference": lambda x: x * x.numpy()}, TypeError, "made of keras.ops"),
        ({"reference": lambda x: ops.sqrt(x + 2.0)}, ValueError, "not finite"),
        ({"reference": exact(X[:-1])}, ValueError, r"y has shape \(20, 1\)"),
        ({"reference": tuple(a.T for a in EXACT)}, ValueError, r"y has shape \(1, 21\)"),
        ({"reference": (X, X, X[:-1])}, ValueError, r"d2y has shape \(20, 1\)"),
        ({"x": ZEROS[1][:, 0], "reference": (ZEROS[0], ZEROS[1].transpose(0, 2, 1), ZEROS[2])},
         ValueError, r"dy has shape \(21, 3, 2\).*must be \(21, 2, 3\)"),
        ({"x": ZEROS[1][:, 0], "reference": (ZEROS[0], ZEROS[1], ZEROS[2][:, :, 0])},
         ValueError, r"d2y has shape \(21, 2, 3\).*must be \(21, 2, 3, 3\)"),
    ],
)  # fmt: skip
def test_constructor_raises_for_wrong_arguments(change, error, message):
    with pytest.raises(error, match=message):
        keras_smooth.DerivativeMonitor(**{"x": X, "reference": EXACT, **change})


@pytest.mark.parametrize(
    ("outputs", "exact_y"),
    [(2, np.zeros((21, 3))), (1, np.zeros((21, 2))), (2, np.zeros(21))],
)
def test_reference_of_wrong_shape_raises_before_training(make_model, outputs, exact_y):
    monitor = keras_smooth.DerivativeMonitor(X, (exact_y,) * 3)
    model = make_model(outputs=outputs)
    before = model.get_weights()[0]
    with pytest.raises(ValueError, match=rf"y has shape .*\(21, {outputs}\)"):
        fit(model, (X, np.zeros((21, outputs))), [monitor])
    np.testing.assert_array_equal(model.get_weights()[0], before)


def test_reference_of_equal_size_but_other_shape_raises(make_model):
    # (21, 2, 3) and (21, 6) have 126 numbers each, but are not the same shape.
    monitor = keras_smooth.DerivativeMonitor(X, [np.zeros((21, 2, 3))] * 3)
    with pytest.raises(ValueError, match=r"\(21, 2, 3\), but .* \(21, 6\)"):
        fit(make_model(outputs=6), (X, np.zeros((21, 6))), [monitor])


DICT, LIST = (lambda u, v: {"u": u, "v": v}), (lambda u, v: [u, v])


@pytest.mark.parametrize(
    ("outputs", "names", "words"),
    [
        (DICT, ("u", "v"), None),
        (DICT, ("p", "q"), r"names \['p', 'q'\].*named \['u', 'v'\]"),
        (LIST, ("u", "v"), r"names \['u', 'v'\].*a list, without names"),
    ],
)
def test_names_of_reference_are_those_of_the_outputs(outputs, names, words):
    x = keras.Input((1,), dtype="float64")
    model = keras.Model(x, outputs(ops.sin(x), ops.cos(x)))
    monitor = keras_smooth.DerivativeMonitor(
        np.linspace(-1, 1, 5)[:, None], lambda x: dict(zip(names, (ops.sin(x), ops.cos(x))))
    )
    monitor.set_model(model)
    with pytest.raises(ValueError, match=words) if words else contextlib.nullcontext():
        monitor.on_train_begin()


def measured_monitor(model, x, reference, **options):
    """Returns a monitor that has measured the model in one epoch."""
    monitor = keras_smooth.DerivativeMonitor(x, reference, **options)
    monitor.set_model(model)
    monitor.on_train_begin()
    monitor.on_epoch_end(0)
    return monitor


def test_plot_draws_errors_and_a_column_per_order(make_model, tmp_path):
    with pytest.raises(ValueError, match="measured"):
        keras_smooth.DerivativeMonitor(X, gaussian).plot()
    figure = measured_monitor(make_model(), X, gaussian).plot()
    figure.savefig(tmp_path / "plot.png")
    # Errors over epochs, and three columns with a curve above its error.
    assert len(figure.axes) == 1 + 2 * 3


def two_waves(x):
    return [ops.sin(x), ops.cos(2.0 * x)]


TWO_OUTPUTS = {
    "columns": (lambda y: y, lambda x: ops.concatenate(two_waves(x), axis=1)),
    "list": (lambda y: [y[:, :1], y[:, 1:]], two_waves),
}


@pytest.mark.parametrize("form", TWO_OUTPUTS)
def test_plot_has_a_line_for_each_output(make_model, rng, form):
    split, reference = TWO_OUTPUTS[form]
    inner = make_model(outputs=2)
    model = keras.Model(inner.inputs, split(inner.outputs[0]))
    # The points are not sorted. The curves are.
    _, y, dy, *_ = measured_monitor(model, rng.permutation(X), reference).plot().axes
    sin, cos, network_sin, network_cos = (line.get_ydata() for line in y.get_lines())
    # Rounding of sums of a few numbers of order 1.
    np.testing.assert_allclose(sin, np.ravel(np.sin(X)), atol=1e-14)
    np.testing.assert_allclose(cos, np.ravel(np.cos(2.0 * X)), atol=1e-14)
    np.testing.assert_allclose(
        np.stack([network_sin, network_cos], 1), inner(X), atol=1e-14
    )
    slope = dy.get_lines()[1].get_ydata()
    np.testing.assert_allclose(slope, np.ravel(-2.0 * np.sin(2.0 * X)), atol=1e-14)


def test_plot_titles_high_orders(make_model):
    _, *axes = measured_monitor(make_model(), X, gaussian, order=4).plot().axes
    assert [axis.get_title() for axis in axes[:5]] == ["y", "y'", "y''", "y'''", "y^(4)"]
    assert [len(axis.get_lines()) for axis in axes[:5]] == [2] * 5


def test_plot_of_several_inputs_draws_dots(make_model, rng, monkeypatch):
    monkeypatch.setattr(figures, "MAX_DOTS", 30)
    model, x = make_model(dim=2), rng.normal(size=(11, 2))
    exact = keras_smooth.derivatives(model, x)
    _, *panels = measured_monitor(model, x, exact, also=["laplacian"]).plot().axes
    assert [panel.get_title() for panel in panels] == ["y", "dy", "d2y", "laplacian"]
    dots = [panel.get_lines()[1].get_xydata() for panel in panels]
    assert [len(xy) for xy in dots] == [11, 22, 30, 11]
    # The reference has the values of the model.
    for xy in dots:
        np.testing.assert_allclose(*xy.T, rtol=1e-12, atol=1e-14)
    laplacian = np.ravel(keras_smooth.laplacian(model, x))
    np.testing.assert_allclose(dots[-1][:, 1], laplacian, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_second_fit_measures_another_model(make_model, gaussian_data):
    monitor = keras_smooth.DerivativeMonitor(gaussian_data[0], gaussian)
    first, second = make_model(), make_model("sigmoid")
    fit(first, gaussian_data, [monitor])
    logs = fit(second, gaussian_data, [monitor]).history
    d2y = keras_smooth.derivatives(second, gaussian_data[0])[2]
    assert logs["d2y_mse"][-1] == pytest.approx(
        np.mean((d2y - exact(gaussian_data[0])[2]) ** 2), rel=1e-9
    )


# Copies in this process, and by pickle.

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda monitor: pickle.loads(pickle.dumps(monitor)),
}


def largest_error(y_true, y_pred):
    return ops.max(ops.abs(y_true - y_pred))


OPTIONS = {
    "name": lambda folder: {"metric": "mae"},
    "class": lambda folder: {"metric": keras.metrics.MeanAbsoluteError},
    "object": lambda folder: {"metric": keras.metrics.MeanAbsoluteError()},
    "function": lambda folder: {"metric": largest_error},
    "quantities": lambda folder: {"also": ["gradient_norm", "laplacian"]},
    "log_dir": lambda folder: {"log_dir": folder},
}


@pytest.mark.parametrize("kind", representatives(list(OPTIONS), ["function", "log_dir"]))
def test_copies_after_a_fit_are_independent(make_model, gaussian_data, tmp_path, kind):
    monitor = keras_smooth.DerivativeMonitor(
        gaussian_data[0], gaussian, **OPTIONS[kind](tmp_path)
    )
    model = make_model()
    fit(model, gaussian_data, [monitor], epochs=2)
    copies = {way: make_copy(monitor) for way, make_copy in COPIES.items()}
    for way, copied in copies.items():
        assert repr(copied) == repr(monitor), way
        with pytest.raises(ValueError, match="no model yet"):
            copied.measure()
    # In one fit: none of them counts what another measures.
    fit(model, gaussian_data, [*copies.values()], epochs=1)
    assert len(monitor.history["epoch"]) == 2
    values_of_original = monitor.measure()
    for way, copied in copies.items():
        assert len(copied.history["epoch"]) == 3, way
        # A user's metric in float32, in two programs.
        assert copied.measure() == pytest.approx(values_of_original, rel=1e-6), way


A, B = np.linspace(-1.0, 1.0, 5)[:, None], np.linspace(0.5, 2.0, 5)[:, None]
ZERO = np.zeros((5, 1))
# Functions of two inputs, with second derivatives by aa, ab and bb, of which some are 0.
FUNCTIONS_OF_A_DICT = {
    "sum": (lambda x: ops.sin(x["a"]) + ops.cos(x["b"]), (-np.sin(A), ZERO, -np.cos(B))),
    "product": (lambda x: ops.sin(x["a"]) * x["b"], (-np.sin(A) * B, np.cos(A), ZERO)),
    "of one": (lambda x: ops.exp(x["b"]), (ZERO, ZERO, np.exp(B))),
    "squares": (lambda x: x["a"] * x["a"] + x["b"] * x["b"], (2 + ZERO, ZERO, 2 + ZERO)),
}


@pytest.mark.filterwarnings("ignore:There is no jet rule")
@pytest.mark.parametrize("kind", FUNCTIONS_OF_A_DICT)
def test_reference_of_a_dict_has_zero_second_derivatives(kind):
    function, (aa, ab, bb) = FUNCTIONS_OF_A_DICT[kind]
    values = keras_smooth.DerivativeMonitor({"a": A, "b": B}, function).reference[2]
    expected = np.concatenate([aa, ab, ab, bb])
    # Computed from derivatives along three directions, with rounding of numbers of size 10.
    np.testing.assert_allclose(np.reshape(values, (-1, 1)), expected, atol=1e-13)


@pytest.mark.filterwarnings("ignore:There is no jet rule")
@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.round(x["a"] * x["b"]),
        lambda x: (
            ops.cast(ops.cast(100 * ops.sin(x["b"]), "int32"), "float64")
            + ops.floor(x["a"])
        ),
    ],
)
def test_reference_of_a_dict_that_loses_derivatives_raises(function):
    with pytest.raises(ValueError, match="`reference`: The derivative of order . is lost"):
        keras_smooth.DerivativeMonitor({"a": A, "b": B}, function)


# Several fits with one monitor.


def monitor_of_three_fits(make_model, gaussian_data, **arguments):
    """Returns a monitor that was a callback of fits by Adam, L-BFGS and BFGS, and the model."""
    monitor, model = keras_smooth.DerivativeMonitor(X, gaussian, **arguments), make_model()
    lbfgs = {"callbacks": [monitor], "verbose": 0, "jit_compile": False}
    fit(model, gaussian_data, [monitor], epochs=3)
    keras_smooth.fit_lbfgs(
        model, *gaussian_data, epochs=20, steps_per_execution=10, **lbfgs
    )
    keras_smooth.fit_lbfgs(model, *gaussian_data, method="bfgs", epochs=2, **lbfgs)
    return monitor, model


def test_epochs_continue_over_several_fits(make_model, gaussian_data):
    monitor, model = monitor_of_three_fits(make_model, gaussian_data)
    assert monitor.fits == [("Adam", 0), ("L-BFGS", 3), ("BFGS", 23)]
    assert list(monitor.history["epoch"]) == [0, 1, 2, 12, 22, 23, 24]
    # Epochs of a fit with `initial_epoch` are unchanged, also in a copy.
    fit(model, gaussian_data, [monitor], epochs=42, initial_epoch=40)
    fit(model, gaussian_data, [copy.deepcopy(monitor)], epochs=1)
    assert monitor.fits[3:] == [("Adam", 40)]
    fit(model, gaussian_data, [monitor], epochs=2)
    assert list(monitor.history["epoch"][7:]) == [40, 41, 42, 43]
    assert len(monitor.fits) == 4
    best = monitor.history["epoch"][monitor.history["d2y_mse"].argmin()]
    method = "Adam" if best >= 40 else "BFGS" if best >= 23 else "L-BFGS"
    assert f"of epoch {best} ({method})." in str(monitor)


def test_epochs_continue_in_a_resumed_run(make_model, gaussian_data, tmp_path):
    monitor, model = keras_smooth.DerivativeMonitor(X, gaussian), make_model()
    for epochs in (6, 9):
        keras_smooth.fit_lbfgs(
            model, *gaussian_data, epochs=epochs, steps_per_execution=3, verbose=0,
            jit_compile=False, callbacks=[monitor], checkpoint=tmp_path, tolerance=0.0,
        )  # fmt: skip
    assert list(monitor.history["epoch"]) == [2, 5, 8]


def test_plot_marks_and_names_each_fit(make_model, gaussian_data):
    monitor, _ = monitor_of_three_fits(make_model, gaussian_data)
    errors = monitor.plot().axes[0]
    assert [text.get_text() for text in errors.texts] == ["Adam", "L-BFGS", "BFGS"]
    lines = [line.get_xdata()[0] for line in errors.get_lines()[3:]]
    assert lines == [2.5, 22.5]
    assert not list(measured_monitor(make_model(), X, gaussian).plot().axes[0].texts)


# Figures of many inputs.


def ridge(x):
    return ops.sin(x[:, :1]) * x[:, 1:2] + ops.square(x[:, 2:])


@pytest.fixture(scope="module")
def monitor_of_three_inputs():
    x = np.random.default_rng(0).normal(size=(11, 3))
    return measured_monitor(
        keras.layers.Lambda(ridge, dtype="float64"), x, ridge, also=["laplacian"]
    )


ENTRIES = {"y": 0, "dy": [0, (0, 1)], "d2y": (2, 2), "laplacian": 0}
PANELS = ["y[0]", "dy[0, 0]", "dy[0, 1]", "d2y[0, 2, 2]", "laplacian[0]"]


def test_plot_draws_selected_entries(monitor_of_three_inputs):
    panels = monitor_of_three_inputs.plot(entries=ENTRIES).axes[1:]
    assert [panel.get_title() for panel in panels] == PANELS
    x = monitor_of_three_inputs.x
    expected = [ridge(x), np.cos(x[:, :1]) * x[:, 1:2], np.sin(x[:, :1])]
    for panel, values in zip(panels, expected):
        np.testing.assert_allclose(
            panel.get_lines()[1].get_xdata(), np.ravel(values), rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("along", [1, "samples"])
def test_plot_along_an_input_sorts_the_samples(monitor_of_three_inputs, along):
    axes = monitor_of_three_inputs.plot(along=along, entries=ENTRIES).axes[1:]
    assert [axis.get_title() for axis in axes[:5]] == PANELS
    x, slope = monitor_of_three_inputs.x, axes[1].get_lines()
    cosines = np.cos(x[:, 0]) * x[:, 1]
    order = np.argsort(cosines if along == "samples" else x[:, 1])
    np.testing.assert_allclose(slope[0].get_ydata(), cosines[order], rtol=1e-12)
    positions = np.arange(11) if along == "samples" else x[order, 1]
    np.testing.assert_array_equal(slope[1].get_xdata(), positions)
    # All entries of a quantity can also be drawn together.
    whole = monitor_of_three_inputs.plot(along=along).axes[2].get_lines()
    assert sum(line.get_ydata().size for line in whole if line.get_color() == "C3") == 33


@pytest.mark.parametrize("at", ["median", [0.5, 0.25, -0.5]], ids=["median", "point"])
def test_plot_along_an_input_at_a_point_draws_a_slice(monitor_of_three_inputs, at):
    axes = monitor_of_three_inputs.plot(along=0, at=at).axes[1:4]
    x = monitor_of_three_inputs.x
    second = np.median(x[:, 1]) if at == "median" else at[1]
    for axis, function in zip(axes[1:], (np.cos, lambda x: -np.sin(x))):
        exact, network = axis.get_lines()
        points = exact.get_xdata()
        assert (points.min(), points.max()) == (x[:, 0].min(), x[:, 0].max())
        for line in (exact, network):
            np.testing.assert_allclose(
                line.get_ydata(), second * function(points), atol=1e-12
            )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"along": 3}, ValueError, "`along` must be below the number of inputs, 3; received 3"),
        ({"along": "rows"}, TypeError, "`along` must be an integer"),
        ({"at": "median"}, TypeError, "`along` must be an integer"),
        ({"along": "samples", "at": "median"}, TypeError, "`along` must be an integer"),
        ({"along": 0, "at": [1.0]}, ValueError, r"of the shape of a sample, \(3,\)"),
        ({"along": 0, "at": "median", "entries": {"y": 0}}, ValueError, "leave it out"),
        ({"entries": ["y"]}, TypeError, "`entries` must be a dict such as"),
        ({"entries": {"d3y": 0}}, ValueError, "one of 'y', 'dy', 'd2y', 'laplacian'; received 'd3y'"),
        ({"entries": {"dy": (0, 3)}}, ValueError, r"shape \(1, 3\), and \(0, 3\) is no index"),
        ({"entries": {"dy": "x"}}, ValueError, "'x' is no index"),
    ],
)  # fmt: skip
def test_plot_raises_for_wrong_arguments(
    monitor_of_three_inputs, arguments, error, message
):
    with pytest.raises(error, match=message):
        monitor_of_three_inputs.plot(**arguments)


def test_plot_of_a_slice_without_a_reference_function_raises(make_model):
    monitor = measured_monitor(
        make_model(dim=2), ZEROS[1][:, 0, :2], [np.zeros((21, 1))], order=0
    )
    with pytest.raises(ValueError, match="pass a function as `reference`"):
        monitor.plot(along=0, at="median")


def test_error_in_a_figure_warns_and_the_fit_continues(
    make_model, gaussian_data, tmp_path, monkeypatch
):
    def broken(*_):
        raise RuntimeError("no fonts")

    monkeypatch.setattr(figures, "curves", broken)
    monitor = keras_smooth.DerivativeMonitor(X, gaussian, log_dir=tmp_path)
    with pytest.warns(UserWarning, match="could not be drawn: RuntimeError: no fonts"):
        fit(make_model(), gaussian_data, [monitor], epochs=3)


def test_monitor_measures_the_network_in_a_derivative_model(make_model):
    x = np.linspace(-1.0, 1.0, 9)[:, None]
    y, dy, _ = exact(x)
    network = make_model()
    model = keras_smooth.DerivativeModel(network, order=1)
    model.compile("adam", "mse")
    monitor = keras_smooth.DerivativeMonitor(x, gaussian)
    fit(model, (x, {"y": y, "dy": dy}), [monitor], epochs=2)
    values = keras_smooth.derivatives(network, x, order=2)
    expected = [
        np.mean((np.array(v).reshape(-1, 1) - e) ** 2) for v, e in zip(values, exact(x))
    ]
    latest = [monitor.history[key][-1] for key in KEYS]
    np.testing.assert_allclose(latest, expected, rtol=1e-6)
