"""`fit_lbfgs` changes no global state of Keras, and raises clear errors if it cannot fit."""

import functools
import threading
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from lbfgs_nets import X, Y, at_start, dense, fit, net, two_nets
from representatives import representatives

from keras_smooth.lbfgs.data.data_reader import with_class_weights

# Global state of Keras.


class PenalizedModel(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        return loss + keras.ops.mean(y_pred**2)


def penalized_model():
    layers = net()
    model = PenalizedModel(layers.inputs, layers.outputs[0])
    model.compile(loss="mse")
    return model


def failing(y_true, y_pred):
    raise MemoryError


# Name: model, arguments, whether the fit raises an error.
FITS = {
    "float64": (net, {}, None),
    "copy": (lambda: net(dtype="float32"), {"dtype": "float64"}, None),
    "own loss": (penalized_model, {}, None),
    "instance": (lambda: net(loss=keras.losses.Huber()), {}, None),
    "failing": (lambda: net(loss=failing), {}, MemoryError),
    "bad data": (net, {"y": Y[:3]}, ValueError),
}


@pytest.fixture
def no_global_changes(monkeypatch):
    def raise_error(*_):
        raise AssertionError("a global of Keras was set")

    for name in ("set_floatx", "set_dtype_policy", "set_epsilon"):
        monkeypatch.setattr(keras.config, name, raise_error)
    monkeypatch.setattr(keras.backend, "set_floatx", raise_error)


@pytest.mark.parametrize("name", FITS)
def test_fit_sets_no_global_state_of_keras(name, no_global_changes):
    make, arguments, error = FITS[name]
    if error is None:
        assert fit(make(), epochs=2, **arguments).result.nit == 2
    else:
        with pytest.raises(error):
            fit(make(), **arguments)


@pytest.mark.slow
def test_fits_in_threads_equal_single_fits(no_global_changes):
    """Each fit has the same result as alone, to the last digit, also beside fits that fail."""
    names = [name for name, row in FITS.items() if row[2] is None]
    expected = {name: fit(FITS[name][0](), **FITS[name][1]).result.fun for name in names}
    models = [(name, FITS[name][0]()) for name in [*names, "failing", "bad data"] * 2]
    results, dtypes = [], set()

    def job(name, model):
        try:
            results.append((name, fit(model, **FITS[name][1]).result.fun))
        except (MemoryError, ValueError):
            results.append((name, None))
        dtypes.add(keras.config.floatx())
        dtypes.add(keras.layers.Dense(1).dtype)

    threads = [threading.Thread(target=job, args=pair) for pair in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results, key=str) == sorted(
        ((name, expected.get(name)) for name, _ in models), key=str
    )
    assert dtypes == {"float32"} == {keras.config.floatx()}


# Models that XLA cannot compile.


class ComputedInPython(keras.layers.Layer):
    """A layer that computes in Python."""

    def call(self, x):
        twice = tf.numpy_function(lambda array: 2.0 * array, [x], x.dtype)
        return x + tf.ensure_shape(tf.stop_gradient(twice - 2.0 * x), x.shape)


class GrowingList(keras.layers.Layer):
    """A loop that writes beyond the end of a list, which XLA ignores without an error."""

    def call(self, x):
        states = tf.TensorArray(x.dtype, 0, dynamic_size=True, element_shape=x.shape)
        _, _, states = tf.while_loop(
            lambda i, state, states: i < 3,
            lambda i, state, states: (
                i + 1,
                tf.tanh(state + x),
                states.write(i, tf.tanh(state + x)),
            ),
            (0, x, states),
        )
        return tf.reduce_sum(states.stack(), axis=0)


class WithoutXla(keras.layers.Layer):
    """A layer with `supports_jit = False`, as some layers of Keras have it."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.supports_jit = False

    def call(self, x):
        return 2.0 * x


def spectral():
    return keras.layers.SpectralNormalization(
        dense(3, "tanh", dtype="float64"), dtype="float64"
    )


def printing(y_true, y_pred):
    tf.py_function(lambda: None, [], [])
    return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)


def growing():
    """The list comes before all weights, since XLA cannot compile its gradient after them."""
    layers = [GrowingList(dtype="float64"), dense(1, dtype="float64")]
    model = keras.Sequential([keras.Input((2,), dtype="float64"), *layers])
    model.compile(loss="mse")
    return model


# Name: model, data; in memory, as a stream of batches, and as points of an objective.
NOT_FOR_XLA = {
    "Python": lambda: net(ComputedInPython(dtype="float64")),
    "supports_jit=False": lambda: net(WithoutXla(dtype="float64")),
    "a list that grows": growing,
    "spectral": lambda: net(spectral()),
    "loss": lambda: net(loss=printing),
}


# XLA takes seconds to fail. A layer with `supports_jit = False` is not compiled.
@pytest.mark.parametrize(
    "name", representatives(NOT_FOR_XLA, ["supports_jit=False", "a list that grows"])
)
def test_model_that_xla_cannot_compile_runs_without_it_and_warns_once(name):
    model = NOT_FOR_XLA[name]()
    start = [np.array(v) for v in model.variables]

    def run(jit_compile):
        for variable, value in zip(model.variables, start):
            variable.assign(value)
        return fit(model, jit_compile=jit_compile).result.fun

    expected = run(False)
    with pytest.warns(UserWarning, match="XLA cannot compile.*jit_compile=False"):
        assert run(True) == expected
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert run(True) == expected


@pytest.mark.slow
def test_streams_and_objectives_that_xla_cannot_compile_warn():
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(7)
    with pytest.warns(UserWarning, match="XLA cannot compile"):
        history = fit(
            net(ComputedInPython(dtype="float64")),
            stream,
            None,
            batch_size=6,
            jit_compile=True,
        )
    assert history.result.nit == 5

    def function(model, x):
        return keras.ops.mean(ComputedInPython(dtype="float64")(model(x)) ** 2)

    model = net(loss=None)
    with pytest.warns(UserWarning, match="XLA cannot compile"):
        assert fit(model, X, None, objective=function, jit_compile=True).result.nit == 5


def test_runtime_error_of_a_layer_is_raised_without_a_warning():
    class Broken(keras.layers.Layer):
        def call(self, x):
            tf.debugging.assert_less(tf.reduce_max(tf.abs(x)), tf.constant(0.5, x.dtype))
            return x

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(tf.errors.InvalidArgumentError):
            fit(net(Broken(dtype="float64")), jit_compile=True)


# Models that cannot be trained.


def constrained_net(**arguments):
    return net(dense(3, dtype="float64", **arguments))


CONSTRAINTS = {
    "kernel": ({"kernel_constraint": "non_neg"}, "kernel has the constraint NonNeg"),
    "bias": ({"bias_constraint": keras.constraints.MaxNorm(1.0)}, "bias has .* MaxNorm"),
    "own": (
        {"kernel_constraint": lambda w: keras.ops.clip(w, 0.0, 1.0)}, "the constraint function",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_raise(name):
    arguments, message = CONSTRAINTS[name]
    model = constrained_net(**arguments)
    with pytest.raises(ValueError, match=f"{message}.*L-BFGS cannot keep"):
        fit(model)
    # The constraint of a frozen weight is no error.
    model.layers[1].trainable = False
    model.compile(loss="mse")
    assert fit(model).result.nit == 5


def test_constraint_of_a_variable_raises():
    rate = keras.Variable(1.0, dtype="float64")
    rate.constraint = keras.constraints.NonNeg()
    with pytest.raises(ValueError, match="NonNeg.*L-BFGS cannot keep"):
        fit(net(loss=None), X, None, objective=lambda m, x: rate, variables=[rate])


# Data that does not match the model: the error is one sentence.


def subclassed_model(dtype="float64"):
    """Returns a subclassed model, whose input shapes are unknown."""

    class Net(keras.Model):
        def __init__(self):
            super().__init__(dtype=dtype)
            self.head = dense(1, dtype=dtype)

        def call(self, x):
            return self.head(x)

    model = Net()
    model(X)
    model.compile(loss="mse")
    return model


def images():
    layers = [keras.layers.Conv2D(2, 3, dtype="float64"), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((4, 4, 1), dtype="float64"), *layers])
    model.compile(loss="mse")
    return model


def steps():
    model = keras.Sequential(
        [keras.Input((5, 2), dtype="float64"), dense(1, dtype="float64")]
    )
    model.compile(loss="mse")
    return model


def ones(*shape):
    return np.ones((20, *shape))


def columns():
    return net(head=dense(3, dtype="float64"))


LISTED = functools.partial(two_nets, as_dicts=False)
PAIR, TARGETS = {"a": X, "b": X}, {"p": Y, "q": Y}
WORDS = np.array([["a", "b"]] * 20)
NO_NUMBERS = "must be arrays of numbers or a dataset"

# Name: model, data, class of the error, words of its message.
MISMATCHES = {
    "one input for two": (two_nets, (X, TARGETS), ValueError, "1 array, .* 2 inputs: a, b"),
    "three for two": (LISTED, ([X, X, X], [Y, Y]), ValueError, "3 arrays, .* 2 inputs"),
    "two for one": (net, ([X, X], Y), ValueError, "2 arrays, but the model has 1 input:"),
    "two for a subclass": (subclassed_model, ([X, X], Y), ValueError, "cannot be called on x of shape"),
    "dict for one": (net, ({"a": X}, Y), ValueError, "0 arrays with the keys a, but the model has 1 input"),
    "key": (two_nets, ({"a": X, "z": X}, TARGETS), ValueError, "1 array with the keys a, z, but .* 2 inputs: a, b"),
    "complex x": (net, (X + 1j, Y), TypeError, "x must be real, received complex128"),
    "complex y": (net, (X, (Y + 1j).astype("complex64")), TypeError, "y must be real"),
    "complex weights": (net, (X, Y, ones() * 1j), TypeError, "sample_weight must be real"),
    "complex in a dict": (two_nets, ({"a": X, "b": 1j * X}, TARGETS), TypeError, "x must be r"),
    "two weights": (net, (X, Y, ones(2)), ValueError, r"\(None, 2\), expected \(None,\)"),
    "square of weights": (net, (X, Y, ones(20)), ValueError, r"has shape \(None, 20\)"),
    "one weight too deep": (net, (X, Y, ones(1, 1)), ValueError, r"\(None, 1, 1\), expected"),
    "weights of steps": (steps, (ones(5, 2), ones(5, 1), ones(3)), ValueError, r"\(None, 5\)"),
    "weights of two": (two_nets, (PAIR, TARGETS, ones(3)), ValueError, r"expected \(None,\)"),
    "dict of targets": (net, (X, {"y": Y}), ValueError, r"y is {'y': \*}, the outputs are \*"),
    "targets of two": (net, (X, {"a": Y, "b": Y}), ValueError, r"y is {'a': \*, 'b': \*}, the outputs are \*"),
    "one target for two": (two_nets, (PAIR, Y), ValueError, r"y is \*, the outputs are {'p': \*, 'q': \*}"),
    "rows for columns": (columns, (X, Y[:, 0]), ValueError, r"\(None, 3\), the targets have \(None,\)"),
    "a column for columns": (columns, (X, Y), ValueError, r"\(None, 3\), the targets have \(None, 1\)"),
    "other keys": (two_nets, (PAIR, {"p": Y, "z": Y}), ValueError, r"y is {'p': \*, 'z': \*}, the outputs are {'p'"),
    "no target": (two_nets, (PAIR, {"p": Y, "q": None}), ValueError, "need one structure"),
    "too wide": (net, (ones(3), Y), ValueError, r"x has shape \(None, 3\), .* needs \(None, 2\)"),
    "too wide by name": (two_nets, ({"a": X, "b": ones(3)}, TARGETS), ValueError, "the input b of the model needs"),
    "too high": (images, (ones(5, 4, 1), ones(8)), ValueError, r"needs \(None, 4, 4, 1\)"),
    "too deep": (net, (ones(2, 2), Y), ValueError, r"x has shape \(None, 2, 2\), .* needs \(None, 2\)"),
    "too wide for a subclass": (subclassed_model, (ones(3), Y), ValueError, "cannot be .* axis -1 .* value 2"),
    "words": (net, (WORDS, Y), TypeError, f"x {NO_NUMBERS}"),
    "objects": (net, (X.astype(object), Y), TypeError, "received array.*Convert it"),
    "words as targets": (net, (X, WORDS[:, :1]), TypeError, f"y {NO_NUMBERS}"),
    "words as weights": (net, (X, Y, WORDS[:, 0]), TypeError, f"sample_weight {NO_NUMBERS}"),
    "bytes": (net, (WORDS.astype("S"), Y), TypeError, NO_NUMBERS),
    "tensors of words": (net, (tf.constant(WORDS), Y), TypeError, NO_NUMBERS),
    "sparse": (net, (tf.sparse.from_dense(X), Y), TypeError, "dense arrays, received a Sparse"),
    "ragged": (net, (tf.RaggedTensor.from_tensor(X), Y), TypeError, r"Ragged.*x.to_tensor\(\)"),
    "records": (net, (X, ones().astype([("a", "f8")])), TypeError, f"y {NO_NUMBERS}"),
    "dates": (net, (X, ones(1).astype("datetime64[D]")), TypeError, f"y {NO_NUMBERS}"),
    "a generator": (
        net, ((row for row in X), Y), TypeError,
        f"{NO_NUMBERS}, received <generator object <genexpr> at 0x[0-9a-f]+>. Conv.* Of a gen.* times.$",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISMATCHES)
def test_data_that_does_not_match_the_model_raises_a_short_error(name):
    make, data, error, message = MISMATCHES[name]
    x, y, sample_weight = (*data, None)[:3]
    with pytest.raises(error, match=message) as caught:
        fit(make(), x, y, sample_weight=sample_weight)
    assert len(str(caught.value)) < 300 and "\n\n" not in str(caught.value)


def inputs_of_two_widths():
    """Returns a model with a list of inputs, which is not in the order of their names."""
    inputs = [
        keras.Input((n,), name=name, dtype="float64") for name, n in (("b", 2), ("a", 1))
    ]
    joined = keras.layers.Concatenate(dtype="float64")(inputs)
    model = keras.Model(inputs, dense(1, dtype="float64")(joined))
    model.compile(loss="mse", jit_compile=False)
    return model


MATCHES = {
    "column of weights": (net, (X, Y, np.linspace(0, 1, 20)[:, None])),
    "weights of steps": (steps, (ones(5, 2), ones(5, 1), ones(5))),
    "one weight for all steps": (steps, (ones(5, 2), ones(5, 1), ones(1))),
    "more keys": (two_nets, ({**PAIR, "c": X}, TARGETS)),
    "in a list": (net, ([X], [Y])),
    "by names, of a list": (inputs_of_two_widths, ({"b": X, "a": X[:, :1], "c": X}, Y)),
    "no last axis": (images, (ones(4, 4), ones(8))),
}


@pytest.mark.parametrize(
    "name",
    representatives(
        MATCHES, ["weights of steps", "more keys", "in a list", "by names, of a list"]
    ),
)
def test_data_that_matches_the_model_is_accepted(name):
    make, data = MATCHES[name]
    x, y, sample_weight = (*data, None)[:3]
    assert fit(make(), x, y, sample_weight=sample_weight, epochs=1).result.nit == 1


TEXTS = np.array([["a"], ["b"], ["c"], ["a"]])
INTEGERS = np.array([[1], [2], [7], [1]])


def adapted(layer, x):
    layer.adapt(x)
    return layer


def lookup(kind, **arguments):
    return getattr(keras.layers, kind)(output_mode="one_hot", **arguments)


def tf_idf():
    return adapted(keras.layers.TextVectorization(output_mode="tf_idf"), TEXTS[:, 0])


@pytest.mark.parametrize(
    ("x", "make_layer"),
    [
        (TEXTS, lambda: lookup("StringLookup", vocabulary=["a", "b"])),
        (TEXTS, tf_idf),
        (INTEGERS, lambda: adapted(lookup("IntegerLookup"), INTEGERS)),
    ],
    ids=["words", "tf-idf", "integers"],
)
@pytest.mark.parametrize(
    ("dtype", "fitted_in"),
    [("float64", None), ("float64", "float64"), ("float32", "float64")],
)
def test_model_of_strings_or_integers_is_fitted(x, make_layer, dtype, fitted_in):
    inputs = keras.Input((1,), dtype="string" if x is TEXTS else "int64")
    model = keras.Sequential([inputs, make_layer(), dense(1, dtype=dtype)])
    model.compile(loss="mse")
    y = np.arange(4.0)[:, None]
    result = fit(model, x, y, epochs=20, dtype=fitted_in).result
    # Two equal rows have the targets 0 and 3, so that the minimum is their variance.
    assert result.fun == pytest.approx(2 * 1.5**2 / 4, rel=1e-6)


# Class weights.

CLASSES = (X[:, 0] > 0.0).astype(int) + (X[:, 1] > 0.5)
BY_CLASS = {0: 0.5, 2: 3.0}
ROW_WEIGHTS = np.array([BY_CLASS.get(label, 1.0) for label in CLASSES])


def classifier():
    model = keras.Sequential([keras.Input((2,), dtype="float64")])
    model.add(dense(3, "softmax", dtype="float64"))
    model.compile(loss="sparse_categorical_crossentropy", jit_compile=False)
    return model


# Various targets with the same classes.
TARGETS = {
    "classes": CLASSES,
    "column": CLASSES[:, None],
    "floats": CLASSES[:, None].astype(float),
    "one-hot": np.eye(3)[CLASSES],
}


@pytest.mark.parametrize("name", TARGETS)
def test_class_weight_is_a_weight_of_each_row(name):
    x, y = map(tf.constant, (X, TARGETS[name]))
    row_weights = with_class_weights((x, y, None), BY_CLASS, "float64")[2]
    np.testing.assert_array_equal(row_weights, ROW_WEIGHTS)


def test_class_weight_equals_sample_weight_in_memory_and_in_batches():
    expected = fit(at_start(classifier), X, CLASSES, sample_weight=ROW_WEIGHTS).result
    assert fit(at_start(classifier), X, CLASSES, class_weight=BY_CLASS).result == expected
    stream = tf.data.Dataset.from_tensor_slices((X, CLASSES)).batch(7)
    for batch_size in (None, 6):
        history = fit(
            at_start(classifier), stream, None, batch_size=batch_size, class_weight=BY_CLASS
        )
        assert history.result.fun == pytest.approx(expected.fun, rel=1e-12)


@pytest.mark.slow
def test_class_weight_equals_that_of_keras():
    model = classifier()
    start = fit(model, X, CLASSES, class_weight=BY_CLASS, target=1e9).result.fun
    logs = model.evaluate(
        X, CLASSES, sample_weight=ROW_WEIGHTS, verbose=0, return_dict=True
    )
    model.compile(keras.optimizers.SGD(0.0), model.loss, jit_compile=False)
    arguments = {"class_weight": BY_CLASS, "verbose": 0, "batch_size": 20}
    keras_fit = model.fit(X, CLASSES, **arguments).history
    # Keras computes in float32.
    assert start == pytest.approx(keras_fit["loss"][0], rel=1e-6)
    assert start == pytest.approx(logs["loss"], rel=1e-6)


BAD_CLASS_WEIGHTS = {
    "list": ([1.0, 2.0], TypeError, "must be a dict with a number for each class"),
    "word": ({"a": 1.0}, TypeError, "must be integers, received 'a'"),
    "None": ({0: None}, TypeError, "class_weight.0.* a number, received None"),
    "NaN": ({1: np.nan}, ValueError, "class_weight.1.* finite, received nan"),
    "below 0": ({0: 1.0, 1: -2.0}, ValueError, "class_weight.1.* 0 or more, received -2.0"),
    "none above 0": ({k: 0.0 for k in range(20)}, ValueError, "weights of all rows are 0"),
}


@pytest.mark.parametrize("name", BAD_CLASS_WEIGHTS)
def test_wrong_class_weights_raise(name):
    class_weight, error, message = BAD_CLASS_WEIGHTS[name]
    with pytest.raises(error, match=message):
        fit(classifier(), X, CLASSES, class_weight=class_weight)


def test_class_weight_with_sample_weight_or_two_outputs_raises():
    with pytest.raises(
        ValueError, match="`class_weight` and `sample_weight` are given both"
    ):
        fit(classifier(), X, CLASSES, class_weight=BY_CLASS, sample_weight=ROW_WEIGHTS)
    with pytest.raises(ValueError, match="`class_weight` needs one array of targets"):
        fit(two_nets(), PAIR, TARGETS, class_weight=BY_CLASS)


# Advice.


def model_with_weight(dtype, dtype_of_layers="float64"):
    class Rated(keras.Model):
        def __init__(self):
            super().__init__(dtype=dtype_of_layers)
            self.head = dense(1, dtype=dtype_of_layers)
            self.rate = self.add_weight(initializer="ones", name="rate", dtype=dtype)

        def call(self, x):
            return self.head(x) * keras.ops.cast(self.rate, x.dtype)

    model = Rated()
    model(X)
    model.compile(loss="mse")
    return model


def mixed_layers():
    return net(dense(3, dtype="float32"))


MIXED_DTYPES = {
    "weight": (lambda: model_with_weight("float32"), "rate is float32, most are float64"),
    "wide weight": (
        lambda: model_with_weight("float64", "float32"),
        "rate is float64, most are f",
    ),
    "layer": (mixed_layers, "kernel is float32, most are float64"),
}


@pytest.mark.parametrize("name", MIXED_DTYPES)
def test_weights_of_two_dtypes_raise_an_error_that_names_one(name):
    make, message = MIXED_DTYPES[name]
    with pytest.raises(ValueError, match=f'{message}.*Make all with dtype="float64"'):
        fit(make())


def test_float64_loss_of_a_float32_model_does_not_warn():
    class Fine(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*the loss computes")
        fit(net(loss=Fine(dtype="float64"), dtype="float32"), epochs=2)
