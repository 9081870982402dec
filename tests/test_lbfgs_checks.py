"""Errors of `fit_lbfgs` for wrong input, which are raised before anything is compiled."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from lbfgs_nets import X, Y, dense, fit, net, two_nets

from keras_smooth.lbfgs.minimizers import Minimizer


@pytest.fixture(autouse=True)
def raise_if_compiled(monkeypatch):
    def begin(self, position, data):
        raise AssertionError("compiled before the error")

    monkeypatch.setattr(Minimizer, "begin", begin)


def test_fixture_raises_if_a_minimizer_begins():
    with pytest.raises(AssertionError, match="compiled before"):
        fit(net())


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def dataset(*parts):
    return tf.data.Dataset.from_tensor_slices(parts)


class Endless(keras.utils.PyDataset):
    num_batches = None

    def __getitem__(self, i):
        return X, Y


class Single(keras.utils.PyDataset):
    """A dataset of single samples instead of batches."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i], Y[i, 0]


# Name: arguments, class of the error, words of its message.
ARGUMENTS = {
    "epochs 0": ({"epochs": 0}, ValueError, "`epochs` must be 1 or more, received 0"),
    "epochs below 0": ({"epochs": -3}, ValueError, "`epochs` must be 1 or more"),
    "epochs a float": ({"epochs": 5.0}, TypeError, "`epochs` must be an integer.* 5.0"),
    "epochs a word": ({"epochs": "5"}, TypeError, "`epochs` must be an integer"),
    "epochs a bool": ({"epochs": True}, TypeError, "`epochs` must be an integer"),
    "epochs None": ({"epochs": None}, TypeError, "`epochs` must be an integer"),
    "initial_epoch": (
        {"initial_epoch": 5}, ValueError, "`initial_epoch` must be below `epochs`.* 5 and 5",
    ),
    "initial_epoch below 0": ({"initial_epoch": -1}, ValueError, "0 or more, received -1"),
    "method": (
        {"method": "newton"}, ValueError,
        "`method` must be one of 'lbfgs', 'broyden', 'bfgs', 'gauss_newton', 'tfp_lbfgs', 'tfp_bfgs'; received 'newton'",
    ),
    "dtype": ({"dtype": "float32"}, ValueError, "`dtype` must be one of 'float64'; received 'float32'"),
    "batch_size 0": ({"batch_size": 0}, ValueError, "`batch_size` must be 1 or more"),
    "batch_size": ({"batch_size": 2.5}, TypeError, "`batch_size` must be an integer"),
    "steps": ({"steps_per_execution": 0}, ValueError, "steps_per_execution"),
    "pairs": ({"num_correction_pairs": 0}, ValueError, "num_correction_pairs"),
    "restarts": ({"max_restarts": -1}, ValueError, "max_restarts"),
    "tolerance": ({"tolerance": -1e-9}, ValueError, "`tolerance` must be 0 or more"),
    "tolerance NaN": ({"tolerance": np.nan}, ValueError, "`tolerance` must be finite"),
    "tolerance None": ({"tolerance": None}, TypeError, "`tolerance` must be a number"),
    "target": ({"target": "low"}, TypeError, "`target` must be a number"),
    "seconds": ({"max_seconds": -1}, ValueError, "`max_seconds` must be 0 or more"),
    "split 1": ({"validation_split": 1.0}, ValueError, "must be below 1"),
    "split of nothing": (
        {"validation_split": 0.99}, ValueError, "leaves no rows to train or to validate on",
    ),
    "split of a stream": (
        {"x": dataset(X, Y).batch(7), "y": None, "batch_size": 5, "validation_split": 0.5},
        ValueError, "Pass `validation_data`",
    ),
    "validation of x alone": (
        {"validation_data": X}, ValueError, "must be .x, y., .* received type ndarray",
    ),
    "validation without y": (
        {"validation_data": (X,)}, ValueError, "or a dataset, received type tuple of length 1",
    ),
    "validation without weights above 0": (
        {"validation_data": (X, Y, np.zeros(20))}, ValueError,
        "In validation_data: .*all rows are 0",
    ),
    "validation NaN": (
        {"validation_data": (X, changed(Y, (3, 0), np.nan))}, ValueError,
        r"In validation_data: y must be finite, but y\[\(3, 0\)\] is nan",
    ),
    "validation too narrow": (
        {"validation_data": (X[:, :1], Y)}, ValueError, r"x has shape \(None, 1\), .* needs \(None, 2\)",
    ),
    "validation of other rows": (
        {"validation_data": (X, Y[:4])}, ValueError, "In validation_data: .*same number",
    ),
    "endless validation": (
        {"validation_data": dataset(X, Y).batch(7).repeat()}, ValueError, "endless",
    ),
}  # fmt: skip

DATA = {
    "x NaN": ((changed(X, (1, 0), np.nan), Y), ValueError, r"x\[\(1, 0\)\] is nan"),
    "y infinite": ((X, changed(Y, (2, 0), np.inf)), ValueError, r"y\[\(2, 0\)\] is inf"),
    "weights NaN": (
        (X, Y, changed(np.ones(20), 1, np.nan)), ValueError, r"sample_weight\[\(1,\)\] is nan",
    ),
    "weights below 0": (
        (X, Y, changed(np.ones(20), 9, -0.5)), ValueError,
        r"a loss with a negative weight has no minimum, but sample_weight\[\(9,\)\] is -0.5",
    ),
    "weights below 0 in a dataset": (
        (dataset(X, Y, changed(np.ones(20), 9, -0.5)).batch(7),), ValueError,
        r"sample_weight\[\(9,\)\] is -0.5",
    ),
    "no weights above 0": ((X, Y, np.zeros(20)), ValueError, "weights of all rows are 0"),
    "no weights above 0 in a dataset": (
        (dataset(X, Y, np.zeros((20, 1))).batch(7),), ValueError, "weights of all rows are 0",
    ),
    "NaN in the second batch": (
        (dataset(changed(X, (9, 1), np.nan), Y).batch(7),), ValueError,
        r"x\[\(9, 1\)\] is nan",
    ),
    "empty": ((np.zeros((0, 2)), np.zeros((0, 1))), ValueError, "x is empty.*(0, 2)"),
    "empty dataset": ((dataset(X, Y).batch(7).take(0),), ValueError, "dataset is empty"),
    "rows differ": (
        (X, Y[:5]), ValueError, r"same number of rows.* x \(20, 2\), y \(5, 1\)",
    ),
    "rows of a dict differ": (
        (X, {"a": Y, "b": Y[:5]}), ValueError, r"same number of rows.*y\['a'\] .*y\['b'\] \(5",
    ),
    "weights of other rows": ((X, Y, np.ones(3)), ValueError, "same number of rows"),
    "x too narrow": ((X[:, :1], Y), ValueError, r"x has shape \(None, 1\), .* needs \(None, 2\)"),
    "y too wide": (
        (X, np.tile(Y, (1, 3))), ValueError,
        r"output has shape \(None, 1\), the targets have \(None, 3\)",
    ),
    "no x": ((None, Y), ValueError, "x is None. Pass the inputs"),
    "no y": ((X,), ValueError, "y is None, but the model is compiled with a loss"),
    "dataset without y": (
        (tf.data.Dataset.from_tensor_slices(X).batch(7),), ValueError, "y is None",
    ),
    "endless dataset": (
        (dataset(X, Y).batch(7).repeat(),), ValueError, r"endless.*\.repeat\(\).*\.take\(n\)",
    ),
    "endless PyDataset": ((Endless(),), ValueError, "endless"),
    "PyDataset of samples": ((Single(),), ValueError, "first batch.*y must be an array with rows"),
    "dataset of rows": ((dataset(X, Y),), ValueError, "first batch.*tf.data.Dataset.batch"),
    "y beside a dataset": (
        (dataset(X, Y).batch(7), Y), TypeError, "BatchDataset and y .* beside it",
    ),
    "weights beside a dataset": (
        (dataset(X, Y).batch(7), None, np.ones(20)), TypeError, "sample_weight beside it",
    ),
    "generator": ((iter([(X, Y)]),), TypeError, "numbers or a dataset, received"),
    "numbers in lists": ((X.tolist(), Y), ValueError, "Lists stand for several inputs"),
    "word": (("data", Y), ValueError, "x must be an array with rows"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARGUMENTS)
def test_wrong_arguments_raise_before_compiling(name):
    arguments, error, message = ARGUMENTS[name]
    with pytest.raises(error, match=message):
        fit(net(), **arguments)


@pytest.mark.parametrize("batch_size", [None, 6])
@pytest.mark.parametrize("name", DATA)
def test_wrong_data_raises_before_compiling(name, batch_size):
    data, error, message = DATA[name]
    x, y, sample_weight = (*data, None, None)[:3]
    with pytest.raises(error, match=message):
        fit(net(), x, y, sample_weight=sample_weight, batch_size=batch_size)


def test_first_non_finite_entry_is_in_the_error():
    x = changed(changed(X, (7, 1), np.nan), (3, 0), -np.inf)
    with pytest.raises(ValueError, match=r"x\[\(3, 0\)\] is -inf"):
        fit(net(), x)


TWO_X, TWO_Y = {"a": X, "b": X}, {"p": Y, "q": Y}

SEVERAL = {
    "input missing": (({"a": X}, TWO_Y, None), "1 array with the keys a, but .* 2 inputs: a, b"),
    "target missing": ((TWO_X, {"p": Y}, None), "need one structure"),
    "target too wide": (
        (TWO_X, {"p": Y, "q": np.tile(Y, (1, 2))}, None), r"targets have \(None, 2\)",
    ),
    "weights missing": (
        (TWO_X, TWO_Y, {"p": np.ones(20)}), r"`sample_weight` is {'p': \*}",
    ),
    "rows differ": (({"a": X, "b": X[:4]}, TWO_Y, None), r"x\['a'\] \(20, 2\), x\['b'\] \(4, 2\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_wrong_data_of_several_inputs_raises(name):
    (x, y, sample_weight), message = SEVERAL[name]
    with pytest.raises(ValueError, match=message):
        fit(two_nets(), x, y, sample_weight=sample_weight)


# TensorFlow Probability.

# Version of TensorFlow: the packages that fit it.
COMMANDS = {
    "2.16.2": 'pip install --no-deps "tensorflow-probability~=0.24.0" "tf_keras~=2.16.0"',
    "2.18.1": 'pip install --no-deps "tf_keras~=2.18.0"',
    "2.21.0-rc1": 'pip install --no-deps "tf_keras~=2.21.0"',
}


@pytest.mark.parametrize("method", ["tfp_lbfgs", "tfp_bfgs"])
@pytest.mark.parametrize("version", COMMANDS)
def test_missing_tf_keras_raises_an_error_with_the_command(version, method, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    monkeypatch.setattr(tf, "__version__", version)
    with pytest.raises(ImportError) as caught:
        fit(net(), method=method)
    assert "tf_keras is not installed" in str(caught.value)
    assert str(caught.value).endswith(f"{version} with: {COMMANDS[version]}")


def test_failing_tf_keras_raises_an_error_with_the_command(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("tensorflow_probability")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorflow_probability", None)
    with pytest.raises(ImportError, match='pip install --no-deps .*"tf_keras~=2[.]'):
        fit(net(), method="tfp_lbfgs")


# Models.


def uncompiled():
    return keras.Sequential([keras.Input((2,)), dense(1)])


def unbuilt():
    return compiled(keras.Sequential([dense(1)]))


def compiled(model, loss="mse"):
    model.compile(loss=loss)
    return model


def frozen():
    model = net()
    model.trainable = False
    return compiled(model)


def not_finite():
    model = net()
    model.layers[1].bias.assign([np.nan])
    return model


class Counter(keras.layers.Layer):
    def __init__(self, trainable):
        super().__init__(dtype="float64")
        self.count = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=trainable, name="count"
        )

    def call(self, x):
        return x


class OwnStep(keras.Sequential):
    def train_step(self, data):
        return {"loss": 0.0}


class Parts(keras.Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return {"loss": keras.ops.mean(y_pred**2)}


class Nothing(keras.Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return None


def small(kind):
    return kind(
        [keras.Input((2,), dtype="float64"), dense(1, dtype="float64", name="only")]
    )


def stopped():
    x = keras.Input((2,), dtype="float64")
    end = keras.layers.Lambda(tf.stop_gradient, dtype="float64")
    return compiled(keras.Model(x, end(dense(1, dtype="float64")(x))))


MODELS = {
    "no model": (lambda: 3, TypeError, "`model` must be a keras.Model or a keras.layers.Layer, received 3"),
    "not compiled": (uncompiled, ValueError, "model.compile"),
    "not built": (unbuilt, ValueError, "Build it"),
    "loss weights of 0": (
        lambda: net(loss_weights=[0.0]), ValueError, "`loss_weights` that are all 0",
    ),
    "loss weights of NaN": (
        lambda: net(loss_weights=[float("nan")]), ValueError, "nan.*expected finite numbers",
    ),
    "no loss": (lambda: net(loss=None), ValueError, "has no loss"),
    "no weights": (
        lambda: compiled(keras.Sequential([keras.Input((2,)), keras.layers.ReLU()])),
        ValueError, "no trainable weights",
    ),
    "frozen": (frozen, ValueError, "no trainable weights.*layer.trainable = True"),
    "weights NaN": (not_finite, ValueError, r"weights must be finite.*bias\[\(0,\)\] is nan"),
    "integer weight": (
        lambda: net(Counter(True)), ValueError, "count has dtype int32.*trainable=False",
    ),
    "no gradient": (
        stopped, ValueError, r"no gradient: .*kernel, .*bias\. Look for tf.stop_gradient",
    ),
    "loss of parts": (
        lambda: compiled(small(Parts)), TypeError, "compute_loss of Parts must return a scalar, received {'loss'",
    ),
    "nothing as the loss": (
        lambda: compiled(small(Nothing)), TypeError, "must return a scalar, received None",
    ),
    "train_step": (
        lambda: compiled(small(OwnStep)), ValueError,
        "OwnStep overrides train_step.*compute_loss",
    ),
    "no reduction": (
        lambda: net(loss=keras.losses.MeanSquaredError(reduction=None)), ValueError,
        r"must be a scalar, but it has shape \(20,\).*reduction",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_wrong_models_raise(name):
    make, error, message = MODELS[name]
    with pytest.raises(error, match=message):
        fit(make())


def test_integer_weight_that_is_not_trained_is_accepted(monkeypatch):
    monkeypatch.undo()
    assert fit(net(Counter(False))).result.nit == 5


def test_failed_check_does_not_change_the_model():
    model = net()
    before = model.get_weights()
    with pytest.raises(ValueError):
        fit(model, X, Y[:4])
    assert all(map(np.array_equal, before, model.get_weights()))
    assert keras.config.floatx() == "float32"
