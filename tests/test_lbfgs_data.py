"""Data of `fit_lbfgs`: each kind gives the result of arrays, and batches that of one batch."""

import functools
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from lbfgs_nets import WEIGHTS, X, Y, at_start, fit, net, request, two_nets
from representatives import representatives

from keras_smooth.lbfgs.data import data_reader, micro_batches
from keras_smooth.lbfgs.data.data_reader import ReadOptions, read_data
from keras_smooth.lbfgs.data.training_data import TrainingData
from keras_smooth.lbfgs.run.fit_problem import FitProblem

# The order of the sums over batches changes the last digits in each of a few iterations. Measured:
# 2e-16.
ROUNDING = 1e-12


class Batches(keras.utils.PyDataset):
    """A dataset of batches of seven rows, and a smaller last one."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return 3

    def __getitem__(self, i):
        part = slice(7 * i, 7 * i + 7)
        return keras.tree.map_structure(lambda array: array[part], self.parts)


def dataset(*parts):
    return tf.data.Dataset.from_tensor_slices(parts).batch(7)


def tensors(*parts):
    return keras.tree.map_structure(tf.constant, parts)


DICTS = ({"a": X, "b": X + 1.0}, {"p": Y, "q": Y**2})
LISTS = ([X, X + 1.0], [Y, Y**2])
TUPLES = tuple(map(tuple, LISTS))
DICT_WEIGHTS = {"p": WEIGHTS, "q": WEIGHTS**2}
LIST_WEIGHTS = [WEIGHTS, WEIGHTS**2]

# Name: function that makes the model, arrays, sample weights as an argument.
REFERENCES = {
    "one": (net, (X, Y), None),
    "weights": (net, (X, Y), WEIGHTS),
    "two": (two_nets, DICTS, None),
    "two weights": (two_nets, DICTS, DICT_WEIGHTS),
}
LISTED = functools.partial(two_nets, as_dicts=False)

# Name: name of the reference, function that makes the model, x with y, sample weights.
DATA_FORMS = {
    "tensors": ("one", net, tensors(X, Y), None),
    "y of rank 1": ("one", net, (X, Y[:, 0]), None),
    "dataset": ("one", net, (dataset(X, Y), None), None),
    "PyDataset": ("one", net, (Batches(X, Y), None), None),
    "column of weights": ("weights", net, (X, Y), WEIGHTS[:, None]),
    "dataset, weights": ("weights", net, (dataset(X, Y, WEIGHTS), None), None),
    "lists": ("two", LISTED, LISTS, None),
    "tuples": ("two", LISTED, TUPLES, None),
    "y by name": ("two", LISTED, (LISTS[0], DICTS[1]), None),
    "dataset of tuples": ("two", LISTED, (dataset(*TUPLES), None), None),
    "PyDataset of lists": ("two", LISTED, (Batches(*LISTS), None), None),
    "lists, weights": ("two weights", LISTED, LISTS, LIST_WEIGHTS),
    "dataset, dict of weights": (
        "two weights", two_nets, (dataset(*DICTS, DICT_WEIGHTS), None), None,
    ),
    "PyDataset, list of weights": (
        "two weights", LISTED, (Batches(*LISTS, LIST_WEIGHTS), None), None,
    ),
}  # fmt: skip


@functools.cache
def reference(name):
    make, data, sample_weight = REFERENCES[name]
    return fit(at_start(make), *data, sample_weight=sample_weight).result.fun


STREAMS = (
    "dataset", "PyDataset", "dataset of tuples", "dataset, dict of weights",
    "PyDataset, list of weights",
)  # fmt: skip
# Two outputs take a second to trace, and with weights several seconds.
FAST = [
    ("tensors", None), ("y of rank 1", None), ("dataset", None), ("PyDataset", None),
    ("lists", None), ("dataset", 6),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "batch_size"),
    representatives(
        [*((name, None) for name in DATA_FORMS), *((name, 6) for name in STREAMS)], FAST
    ),
)
def test_all_forms_of_data_give_the_loss_of_arrays(name, batch_size):
    expected, make, data, sample_weight = DATA_FORMS[name]
    model = at_start(make)
    result = fit(model, *data, sample_weight=sample_weight, batch_size=batch_size).result
    assert result.fun == pytest.approx(reference(expected), rel=ROUNDING)


class Energy(keras.Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return keras.ops.mean((y_pred - keras.ops.sum(x, axis=1, keepdims=True)) ** 2)


def model_with_compute_loss():
    model = Energy([keras.Input((2,), dtype="float64"), *net().layers])
    model.compile()
    return model


def test_model_with_compute_loss_is_fitted_without_y():
    expected = fit(at_start(model_with_compute_loss), X, None).result.fun
    stream = tf.data.Dataset.from_tensor_slices(X).batch(7)
    for data, batch_size in ((stream, None), (stream, 6), (Batches(X), 6)):
        loss = fit(
            at_start(model_with_compute_loss), data, None, batch_size=batch_size
        ).result.fun
        assert loss == pytest.approx(expected, rel=ROUNDING)


# In batches.


def squared(y_true, y_pred):
    return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)


LOSSES = {
    "average": "mse",
    "sum": keras.losses.MeanSquaredError(reduction="sum"),
    "function": squared,
}


def fit_problem(model, data, batch_size):
    return FitProblem(request(model, batch_size=batch_size), data)


@pytest.mark.parametrize(
    ("loss", "batch_size"),
    representatives(
        [(loss, size) for loss in LOSSES for size in (1, 6, 10, 99)],
        [("average", 1), ("average", 6), ("sum", 6), ("sum", 10), ("function", 99)],
    ),
)
def test_value_and_gradient_in_batches_equal_those_of_one_batch(loss, batch_size):
    def evaluate(fit_problem):
        function = tf.function(fit_problem.objective.value_and_gradient, autograph=False)
        return micro_batches.evaluate_all_rows(
            function, fit_problem.objective.position, fit_problem.data
        )

    model = net(loss=LOSSES[loss])
    arrays = read_data(X, Y, WEIGHTS, ReadOptions("float64", batch_size))
    stream = read_data(
        dataset(X, Y, WEIGHTS), None, None, ReadOptions("float64", batch_size)
    )
    expected = evaluate(fit_problem(model, arrays, None))
    for data in (arrays, stream):
        values = evaluate(fit_problem(model, data, batch_size))
        for expected_value, value in zip(expected, values):
            # Sums of 20 terms of order one are rounded by a few times 2e-16.
            np.testing.assert_allclose(expected_value, value, rtol=1e-13, atol=1e-14)


@pytest.mark.slow
def test_batches_compiled_by_xla_give_the_same_loss():
    losses = [
        fit(net(), *data, batch_size=6, jit_compile=True).result.fun
        for data in ((X, Y), (dataset(X, Y), None))
    ]
    assert losses == pytest.approx([reference("one")] * 2, rel=ROUNDING)


def zero_head(layer):
    """A last layer of zeros: at the start, the loss does not depend on the layers before it."""
    model = net(layer)
    model.layers[-1].kernel.assign(np.zeros((3, 1)))
    return model


BY_WEIGHT = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")

NOT_AVERAGES = {
    "batch normalization": (lambda: net(keras.layers.BatchNormalization(dtype="float64")), {}),
    "dropout": (lambda: net(keras.layers.Dropout(0.2, seed=1, dtype="float64")), {}),
    "behind a head of zeros": (
        lambda: zero_head(keras.layers.BatchNormalization(dtype="float64")), {},
    ),
    "divided by the weights": (lambda: net(loss=BY_WEIGHT), {"sample_weight": WEIGHTS}),
    "sum beside a penalty": (
        lambda: net(
            keras.layers.Dense(3, kernel_regularizer="l2", dtype="float64"),
            loss=LOSSES["sum"],
        ), {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_AVERAGES)
def test_batches_of_a_loss_that_is_no_average_raise(name):
    make, arguments = NOT_AVERAGES[name]
    with pytest.raises(
        ValueError, match="neither an average nor a sum over rows.*leave out `batch_size`"
    ):
        fit(make(), batch_size=6, **arguments)


@pytest.mark.parametrize("weights", [np.zeros(80), np.ones(80)], ids=["zeros", "ones"])
def test_equal_weights_in_the_first_rows_do_not_hide_the_reduction(weights):
    """Only the first 64 rows of a dataset are examined."""
    x, y = (np.tile(array, (5, 1)) for array in (X, Y))
    data = dataset(x, y, np.concatenate([weights, np.linspace(0.0, 2.0, 20)]))
    read = read_data(data, None, None, ReadOptions("float64", 13))
    # A total of 0 rows stands for a sum.
    assert float(fit_problem(net(loss=LOSSES["sum"]), read, 13).data.total) == 0.0
    assert float(fit_problem(net(), read, 13).data.total) == 100.0
    with pytest.raises(ValueError, match="neither an average"):
        fit_problem(net(loss=BY_WEIGHT), read, 13)


# Validation and metrics.


def metrics(model, x, y, size=20):
    """Returns the result of `evaluate` for float64 data."""
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(size)
    return model.evaluate(data, verbose=0, return_dict=True)


HELD_OUT = (X + 0.5, Y - 0.1)

VALIDATIONS = {
    "arrays": {"validation_data": HELD_OUT},
    "weights": {"validation_data": (*HELD_OUT, np.ones(20)), "batch_size": 20},
    "dataset": {"validation_data": dataset(*HELD_OUT)},
    "PyDataset in batches": {"validation_data": Batches(*HELD_OUT), "batch_size": 6},
    "instead of the split": {"validation_data": HELD_OUT, "validation_split": 0.5},
}


def net_with_a_metric():
    return net(metrics=["mae"])


@pytest.mark.parametrize("name", representatives(VALIDATIONS, ["weights", "dataset"]))
def test_validation_and_metrics_equal_those_of_evaluate(name):
    model = at_start(net_with_a_metric)
    logs = fit(model, epochs=2, **VALIDATIONS[name]).history
    assert set(logs) == {"loss", "mae", "val_loss", "val_mae"}
    # Keras sums its metrics in float32.
    expected = metrics(model, X, Y)
    assert logs["mae"][-1] == pytest.approx(expected["mae"], rel=1e-6)
    assert logs["loss"][-1] == pytest.approx(expected["loss"], rel=1e-6)
    expected = metrics(model, *HELD_OUT)
    assert logs["val_mae"][-1] == pytest.approx(expected["mae"], rel=1e-6)
    assert logs["val_loss"][-1] == pytest.approx(expected["loss"], rel=1e-6)


def aligned(array):
    """Returns a copy at an address at which TensorFlow may use NumPy's memory."""
    memory = np.zeros(array.nbytes + 64, np.uint8)
    offset = -memory.ctypes.data % 64
    copy = memory[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[:] = array
    return copy


@pytest.mark.slow
def test_evaluate_does_not_overwrite_the_arrays_of_a_stream():
    arrays = aligned(X), aligned(Y)
    stream = read_data(Batches(*arrays), None, None, ReadOptions("float64", 6)).parts
    model = net(metrics=["mae"], jit_compile="auto")
    # Without copies, ten evaluations nearly always overwrite targets with differences.
    for _ in range(20):
        model.evaluate(stream, verbose=0)
    np.testing.assert_array_equal(arrays[0], X)
    np.testing.assert_array_equal(arrays[1], Y)


@pytest.mark.parametrize("batch_size", [None, 6])
def test_dataset_of_unknown_length_with_many_batches_warns(batch_size, monkeypatch):
    monkeypatch.setattr(data_reader, "_MANY_BATCHES", 2)
    unknown = dataset(X, Y).filter(lambda x, y: True)
    options = ReadOptions("float64", batch_size)
    with pytest.warns(UserWarning, match=r"yielded 2 batches.*cut it with .take\(n\)"):
        assert read_data(unknown, None, None, options).num_rows == 20
    read_data(dataset(X, Y), None, None, options)


def test_split_holds_out_the_last_rows():
    model = at_start()
    logs = fit(model, validation_split=0.25).history
    expected = metrics(model, X[15:], Y[15:])["loss"]
    assert fit(at_start(), X[:15], Y[:15]).result.fun == logs["loss"][-1]
    assert logs["val_loss"][-1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_logs_have_a_loss_for_each_output():
    logs = fit(two_nets(), *DICTS, sample_weight=DICT_WEIGHTS, epochs=3).history
    assert set(logs) == {"loss", "p_loss", "q_loss"}
    total = np.add(logs["p_loss"], logs["q_loss"])
    np.testing.assert_allclose(total, logs["loss"], rtol=1e-6)  # float32


# Memory.

MEMORY = """
import json, resource
import keras, numpy as np, tensorflow as tf
from keras_smooth import fit_lbfgs

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def arrays(size):
    x = np.linspace(-1.0, 1.0, 2 * size).reshape(size, 2)
    return x, x[:, :1]

def batch(i):
    x = tf.reshape(tf.linspace(tf.zeros([], tf.float64), 1.0, 2000), (1000, 2))
    return x, x[:, :1]

def stream(size):
    return tf.data.Dataset.range(size // 1000).map(batch), None

def grown(data):
    model = keras.Sequential([keras.Input((2,), dtype="float64")])
    model.add(keras.layers.Dense(64, "tanh", dtype="float64"))
    model.add(keras.layers.Dense(1, dtype="float64"))
    model.compile(loss="mse")
    peaks = []
    for size in (10**4, 10**6):
        fit_lbfgs(model, *data(size), batch_size=1000, epochs=1, verbose=0, jit_compile=False)
        peaks.append(peak())
    return peaks[1] - peaks[0]

print(json.dumps([grown(stream), grown(arrays)]))
"""


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_number_of_rows():
    """Compares the peak memory of 10^6 rows with that of 10^4, in MiB, in batches of 1000 rows."""
    process = subprocess.run(
        [sys.executable, "-c", MEMORY],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert process.returncode == 0, process.stderr[-2000:]
    stream, in_memory = json.loads(process.stdout.splitlines()[-1])
    # The activations of one layer for all rows need 488 MiB, and the data 23 MiB. Measured: 1 and 61.
    assert stream < 20
    # In memory are the caller's arrays, tensors, stacked batches, and the check for finite numbers.
    assert in_memory < 5 * 23


def dataset(*parts):
    return tf.data.Dataset.from_tensor_slices(parts).batch(8)


# Ranks of y in training and in validation, and the container of the validation data.
RANKS = {
    "a column, then rows": (Y, Y[:, 0], tuple),
    "rows, then a column": (Y[:, 0], Y, tuple),
    "a column, then rows of a dataset": (Y, Y[:, 0], dataset),
    "rows, then a column of a dataset": (Y[:, 0], Y, dataset),
    "columns": (Y, Y, tuple),
}


@pytest.mark.parametrize("name", RANKS)
def test_validation_targets_of_another_rank_give_equal_metrics(name):
    """Training and validation data use one compiled `evaluate` of Keras."""
    y, held_out, container = RANKS[name]
    validation = container((X, held_out)) if container is tuple else container(X, held_out)
    history = fit(net(metrics=["mae"]), X, y, validation_data=validation, epochs=2).history
    for key in ("loss", "mae"):
        # Keras computes metrics in float32.
        np.testing.assert_allclose(history[f"val_{key}"], history[key], rtol=1e-5)


# Sample weights in validation and in training, for two targets.
WEIGHTS_OF_TWO = {
    "in validation": (LIST_WEIGHTS, None),
    "in training": (None, LIST_WEIGHTS),
    "in neither": (None, None),
}


@pytest.mark.parametrize("name", WEIGHTS_OF_TWO)
def test_validation_targets_get_the_rank_of_training_targets(name):
    """The ranks of targets are adapted, even if only one of both parts has sample weights."""
    validation_weights, training_weights = WEIGHTS_OF_TWO[name]
    rows = (X, [Y[:, 0], Y[:, 0]], validation_weights)
    columns = (X, [Y, Y], training_weights)
    held_out, data = (
        TrainingData(micro_batches.map_tensors(tf.constant, parts), 20)
        for parts in (rows, columns)
    )
    _, targets, _ = held_out.with_ranks_of(data).parts
    assert [array.shape for array in targets] == [(20, 1)] * 2


@pytest.mark.parametrize("weighted", ["training", "validation"])
def test_sample_weights_in_training_or_in_validation_alone(weighted):
    weights = {"training": (), "validation": (), weighted: (WEIGHTS,)}
    held_out = (X, Y[:, 0], *weights["validation"])
    batches = dataset(X, Y, *weights["training"])
    model = at_start(net)
    history = fit(model, batches, None, batch_size=20, validation_data=held_out).history
    expected = model.evaluate(X, Y, sample_weight=None, verbose=0)
    if weighted == "validation":
        expected = np.average((model.predict(X, verbose=0) - Y)[:, 0] ** 2 * WEIGHTS)
    # Keras computes losses in float32.
    np.testing.assert_allclose(history["val_loss"][-1], expected, rtol=1e-5)
