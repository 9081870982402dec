"""Wrong numbers without an error: other instances of each class of bugs that was repaired.

The tables of test_copies.py, test_taylor.py, test_auditing.py, test_points.py and others have
more cases of most classes. The cases here were written after the repairs, to test that the
class is repaired and not only the reported case.
"""

import threading

import keras
import numpy as np
import pytest
import random_models
import tensorflow as tf
from audit_words import cause
from keras import ops
from lbfgs_nets import X, Y, fit, net
from test_comparison_report import unknown

import keras_smooth
from keras_smooth.comparison import problems, report

# Each class has a shorter test in the file of the code that it is about.
pytestmark = pytest.mark.slow

L = keras.layers
POINTS = np.random.default_rng(7).normal(size=(5, 3)).astype("float32")
SEQUENCES = np.random.default_rng(8).normal(size=(4, 4, 2)).astype("float32")
FLOAT64 = {"dtype": "float64"}
OPERATORS = (keras_smooth.derivatives, keras_smooth.hessian, keras_smooth.laplacian)


def _model(*layers, shape=(3,), **arguments):
    return keras.Sequential([keras.Input(shape, **arguments), *layers])


def _functional(function, *shape, dtype="float64"):
    x = keras.Input(shape or (3,), dtype=dtype)
    return keras.Model(x, function(x))


# Functions of a user that have the name of a function of Keras.


def gelu(x):
    return 3 * tf.math.erf(x)


def hard_sigmoid(x):
    return tf.math.sigmoid(7 * x) - 0.5


def square(x):
    return ops.cos(x)


NAMESAKES = {
    "in a convolution": lambda: (L.SeparableConv1D(2, 2, activation=gelu), SEQUENCES),
    "in gates": lambda: (L.GRU(2, recurrent_activation=hard_sigmoid), SEQUENCES),
    "in a Bidirectional": lambda: (L.Bidirectional(L.LSTM(2, activation=gelu)), SEQUENCES),
    "in a Lambda": lambda: (L.Lambda(square), POINTS),
    "in a block": lambda: (random_models.Block(2, gelu), POINTS),
    "in a layer of this package": lambda: (
        keras_smooth.Dense(2, hard_sigmoid, order=0),
        POINTS,
    ),
}


@pytest.mark.parametrize("name", NAMESAKES)
def test_functions_with_names_of_keras_functions_are_kept(name):
    layer, x = NAMESAKES[name]()
    model = _model(layer, shape=x.shape[1:])
    assert keras_smooth.smoothen(model, x).output_change.largest == 0.0
    assert keras_smooth.audit(model, x).inference == "proven"


# Layers with adapted statistics.


def _adapted(layer, data):
    layer.adapt(data)
    return layer


ADAPTED = {
    "per axis in a nested model": lambda: _model(
        _model(_adapted(L.Normalization(axis=-1), 5 * POINTS + 2)), L.Dense(2, "tanh")
    ),
    "one mean for all": lambda: _model(
        _adapted(L.Normalization(axis=None), 9 * POINTS - 4)
    ),
    "inverted": lambda: _model(_adapted(L.Normalization(invert=True), 2 * POINTS + 7)),
    "in attributes": lambda: _model(_adapted(random_models.Learned(), 4 * POINTS - 1)),
}


@pytest.mark.parametrize("name", ADAPTED)
def test_adapted_statistics_are_kept(name):
    model = ADAPTED[name]()
    before = model(POINTS).numpy()
    assert np.abs(before - POINTS.mean()).max() > 0.1
    assert keras_smooth.smoothen(model, POINTS).output_change.largest == 0.0
    result = keras_smooth.audit(model, POINTS)
    assert result.outcome == "proven", result
    np.testing.assert_array_equal(model(POINTS), before)


# Masks.


def _padded():
    x = SEQUENCES.astype("float64")
    x[0, 2:] = x[2, 1] = 0.0
    return x


MASKED = {
    "through layers that pass it on": lambda x: L.LSTM(2, **FLOAT64)(
        L.Dropout(0.5, **FLOAT64)(
            L.TimeDistributed(L.Dense(2, "tanh", **FLOAT64), **FLOAT64)(
                L.Masking(**FLOAT64)(x)
            )
        )
    ),
    "to attention": lambda x: L.MultiHeadAttention(1, 2, **FLOAT64)(
        L.Masking(**FLOAT64)(x), L.Masking(**FLOAT64)(x)
    ),
    "to an average in a nested model": lambda x: _model(
        L.Masking(**FLOAT64), L.GlobalAveragePooling1D(**FLOAT64), shape=(4, 2), **FLOAT64
    )(x),
    "of a shared model": lambda x: _product_of_two_calls(
        _model(L.Masking(**FLOAT64), L.GRU(2, **FLOAT64), shape=(4, 2), **FLOAT64), x
    ),
}


def _product_of_two_calls(part, x):
    return part(x) * part(2 * x)


@pytest.mark.parametrize("name", MASKED)
def test_masks_with_jets_are_those_of_keras(name):
    model, x = _functional(MASKED[name], 4, 2), _padded()
    v = np.where(x == 0, 0.0, 1.0)
    y, slope = keras_smooth.directional(model, x, v, engine="jet")
    # Rounding of float64; the error of differences is h^2 = 1e-10.
    np.testing.assert_allclose(y, model(x), atol=1e-14)
    difference = (np.asarray(model(x + 1e-5 * v)) - np.asarray(model(x - 1e-5 * v))) / 2e-5
    np.testing.assert_allclose(slope, difference, atol=1e-8)


# Audits.


class DistantKink(L.Layer):
    """A kink far from the inputs of the first call."""

    def call(self, x):
        return x + 0.1 * ops.relu(x - 30.0)


def _called_repeatedly(times):
    kink, shift = DistantKink(), L.Rescaling(1.0, 10.0)

    def function(x):
        for _ in range(times):
            x = shift(kink(x))
        return x

    return _functional(function)


def _called_in_two_branches():
    kink = DistantKink()
    return _functional(lambda x: kink(x) + kink(30.0 + x))


def _called_at_distance(part, x):
    return part(L.Rescaling(1.0, 30.0)(part(x)))


CALLS = {
    "the fourth call": lambda: _called_repeatedly(4),
    "the second of two branches": _called_in_two_branches,
    "inside a shared model": lambda: _functional(
        lambda x: _called_at_distance(_model(DistantKink(), **FLOAT64), x)
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_audit_examines_every_call_of_a_layer(name):
    model = CALLS[name]()
    x = 0.5 * np.random.default_rng(0).normal(size=(4, 3))
    rows = {row.layer: row for row in keras_smooth.audit(model, x).rows}
    assert rows["DistantKink"].cause == "not smooth"


class OnlyInTraining(L.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def get_config(self):
        return {**super().get_config(), "function": self.function}

    def call(self, x, training=None):
        return self.function(x) if training else ops.tanh(x)


FAULTS_IN_TRAINING = {
    "a maximum": lambda x: ops.maximum(x, 0.2) * x,
    "a step": lambda x: x + ops.floor(2 * x),
    "a slope that is stopped": lambda x: x * ops.stop_gradient(x),
}


@pytest.mark.parametrize("name", FAULTS_IN_TRAINING)
def test_audit_finds_faults_in_training_mode_only(name):
    result = keras_smooth.audit(_model(OnlyInTraining(FAULTS_IN_TRAINING[name])), POINTS)
    assert (result.inference, result.training) == ("proven", "faulty")


WEAK_KINKS = {
    "beside a wave": lambda x: ops.sin(5 * x) + 0.03 * ops.abs(x - 0.2),
    "on a slope of a hill": lambda x: 3 * ops.exp(-x * x) + 0.05 * ops.relu(x + 0.6),
    "in the second derivative": lambda x: (
        ops.cos(4 * x) + 0.05 * ops.abs(x - 0.1) * (x - 0.1)
    ),
}


@pytest.mark.parametrize("name", WEAK_KINKS)
def test_audit_finds_kinks_weaker_than_the_curvature(name):
    result = keras_smooth.audit(_model(L.Lambda(WEAK_KINKS[name])), POINTS)
    assert result.rows[0].cause == "not smooth"


# For equal inputs, the slope of these layers grows as epsilon becomes small. Two of them are
# wrong at order 2 for different inputs, since the gradient of the mean is stopped.
NORMALIZATIONS = {
    "LayerNormalization": (lambda e: L.LayerNormalization(epsilon=e), 2),
    "GroupNormalization": (lambda e: L.GroupNormalization(2, epsilon=e), 2),
    "without the mean": (lambda e: L.LayerNormalization(epsilon=e, rms_scaling=True), 0),
    "RMSNormalization": (lambda e: L.RMSNormalization(epsilon=e), 0),
    "exact": (lambda e: keras_smooth.layers.LayerNormalization(epsilon=e), 0),
    "exact groups": (lambda e: keras_smooth.layers.GroupNormalization(2, epsilon=e), 0),
    "written out": (
        lambda e: L.Lambda(
            lambda x: x * ops.rsqrt(ops.mean(x * x, axis=-1, keepdims=True) + e)
        ),
        0,
    ),
}


@pytest.mark.filterwarnings("default:You passed `rms_scaling=True`")
@pytest.mark.parametrize("epsilon", [1e-3, 1e-9, 1e-12])
@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_small_epsilon_is_not_a_fault(name, epsilon):
    make, order = NORMALIZATIONS[name]
    for seed in range(3):
        keras.utils.set_random_seed(seed)
        model = _model(L.Dense(6, "tanh"), make(epsilon))
        row = keras_smooth.audit(model, POINTS).rows[-1]
        assert (cause(row), row.order) == ("wrong" if order else "ok", order)


STEEP = {
    "waves": lambda x: ops.sin(x / 1e-12),
    "waves on a slope": lambda x: x + ops.cos(x / 1e-13),
    "waves of the sum": lambda x: ops.sin(ops.sum(x, axis=-1, keepdims=True) / 1e-12),
}


@pytest.mark.parametrize("name", STEEP)
def test_steep_smooth_functions_are_proven(name):
    model = _model(L.Lambda(STEEP[name], dtype="float64"), **FLOAT64)
    row = keras_smooth.audit(model, POINTS).rows[-1]
    assert row.verdict == "proven"


MIXING = {
    "mean": lambda x: ops.sin(x - ops.mean(x, axis=0)),
    "sum over the batch": lambda x: ops.tanh(x) / ops.sum(ops.square(x)),
    "neighbors": lambda x: x * ops.flip(x, axis=0),
    "products": lambda x: ops.matmul(ops.matmul(x, ops.transpose(x)), x),
}


@pytest.mark.parametrize("name", MIXING)
def test_functions_that_mix_samples_raise(name):
    function = MIXING[name]
    in_layer = _model(L.Dense(3, "tanh"), L.Lambda(function))
    assert keras_smooth.audit(in_layer, POINTS).inference == "not examined"
    for model in (function, in_layer, _functional(function)):
        for operator in (*OPERATORS, keras_smooth.jacobian):
            with pytest.raises(ValueError, match="mixes"):
                operator(model, POINTS)
        compiled = tf.function(
            lambda x, model=model: keras_smooth.derivatives(model, x, engine="tape"),
            autograph=False,
        )
        with pytest.raises(ValueError, match="mixes samples"):
            compiled(tf.constant(POINTS))


NOT_MIXING = {
    "softmax": ops.softmax,
    "a mean of a sample": lambda x: x * ops.mean(x * x, axis=-1, keepdims=True),
    "random numbers": lambda x: x * x + 0 * keras.random.normal(ops.shape(x)),
    "noise": lambda x: x * x * keras.random.normal(ops.shape(x)),
    "a batch of one size": lambda x: ops.reshape(ops.square(x), (5, 3)),
    "a boundary": lambda x: ops.sin(x) * (x - x[:, :1]),
}


@pytest.mark.parametrize("name", NOT_MIXING)
def test_functions_that_do_not_mix_samples_are_accepted(name):
    for model in (NOT_MIXING[name], _model(L.Dense(3, "tanh"), L.Lambda(NOT_MIXING[name]))):
        keras_smooth.derivatives(model, POINTS, engine="tape")


PRECISION = {
    "float16": lambda: _model(
        *(L.Dense(8, "gelu", dtype="mixed_float16") for _ in range(2))
    ),
    "a coarse wrapper": lambda: _model(
        L.Dense(3, **FLOAT64),
        L.SpectralNormalization(L.Dense(3, "tanh")),
        L.Dense(1, **FLOAT64),
        **FLOAT64,
    ),
    "a coarse function": lambda: _model(
        L.Dense(3, "tanh", **FLOAT64),
        L.Lambda(ops.sin, dtype="float32"),
        L.Dense(1, **FLOAT64),
        **FLOAT64,
    ),
}


@pytest.mark.parametrize("name", PRECISION)
def test_audit_finds_coarse_dtypes(name):
    rows = keras_smooth.audit(PRECISION[name](), POINTS.astype("float64")).rows
    assert "imprecise" in [row.cause for row in rows]


# DerivativeMonitor, targets and references.


@pytest.mark.parametrize(
    ("every", "chunk", "min_measurements"), [(4, 6, 2), (6, 5, 2), (5, 3, 2)]
)
def test_monitor_measures_repeatedly_for_any_chunk_size(every, chunk, min_measurements):
    monitor = keras_smooth.DerivativeMonitor(X, [np.zeros((20, 1))], order=0, every=every)
    fit(net(), epochs=12, steps_per_execution=chunk, callbacks=[monitor], tolerance=0.0)
    epochs = monitor.history["epoch"]
    assert len(epochs) >= min_measurements and np.all(np.diff(epochs) >= min(every, chunk))


@pytest.mark.parametrize(
    "constraint", ["unit_norm", keras.constraints.MinMaxNorm(), "max_norm"]
)
def test_constraints_raise_in_fit_lbfgs(constraint):
    constrained_layer = L.Conv1D(2, 1, kernel_constraint=constraint, **FLOAT64)
    model = net(L.Reshape((3, 1)), constrained_layer, L.Flatten())
    with pytest.raises(ValueError, match="constraint .*L-BFGS cannot keep"):
        fit(model)


@pytest.mark.parametrize(
    ("name", "shape"), [("y", (5, 1)), ("dy", (5, 1, 2)), ("d2y", (5, 2, 1, 2))]
)
def test_targets_that_would_be_broadcast_raise(make_model, name, shape):
    x = np.linspace(-1.0, 1.0, 10).reshape(5, 2)
    model = keras_smooth.DerivativeModel(make_model(dim=2, outputs=2))
    targets = {key: np.asarray(value) for key, value in model(x).items()}
    model.compile(loss=dict.fromkeys(targets, "mse"), run_eagerly=True)
    with pytest.raises(ValueError, match=f"targets of '{name}' have shape"):
        model.evaluate(x, {**targets, name: np.zeros(shape)}, verbose=0)


@pytest.mark.parametrize("shape", [(2, 20), (40,), (40, 1)])
def test_references_of_same_size_but_other_shape_raise(shape):
    with pytest.raises(ValueError, match="shape"):
        monitor = keras_smooth.DerivativeMonitor(X, [np.zeros(shape)], order=0)
        model = keras.Sequential([keras.Input((2,)), L.Dense(2)])
        model.compile(loss="mse")
        model.fit(X, np.zeros((20, 2)), callbacks=[monitor], verbose=0)


# Threads, changed data, files.


def test_threads_do_not_change_global_dtype_of_keras():
    models = [net(dtype="float32") for _ in range(3)]
    tasks = [
        lambda: fit(models[0], dtype="float64", epochs=2),
        lambda: keras_smooth.audit(models[1], X),
        lambda: keras_smooth.smoothen(models[2], X),
    ]
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert keras.config.floatx() == "float32"
        threads[0].join(0.01)
        threads[1].join(0.01)
        threads[2].join(0.01)
    assert L.Dense(1).dtype == "float32"


ROWS = np.stack([np.linspace(0, 1, 12), np.linspace(0, 1, 12) ** 2], axis=1)
CHANGED = {
    "one digit": ROWS + np.eye(12, 2) * 1e-12,
    "a row twice": ROWS[[0, *range(11)]],
    "columns swapped": ROWS[:, ::-1],
}


@pytest.mark.parametrize("name", CHANGED)
def test_changed_data_has_another_digest(name, tmp_path):
    digests = set()
    for index, rows in enumerate((ROWS, CHANGED[name])):
        path = tmp_path / f"{index}.csv"
        lines = [f"{x!r},{y!r}" for x, y in rows.tolist()]
        path.write_text("\n".join(["x,y", *lines]))
        digests.add(problems.load_problem(path).digest())
    assert len(digests) == 2


@pytest.mark.parametrize(
    "row", ["1,5,2,5", "1.000,5;2.5", "1'000,2", "0x1F,2", "1,2 ,3", "½,2"]
)
def test_ambiguous_numbers_in_csv_raise(row, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("x,y\n" + "".join(f"{k},{k * k}\n" for k in range(12)) + row + "\n")
    with pytest.raises(ValueError, match="line 14"):
        problems.load_problem(path)


STARTS = {
    "a bias": lambda m: m.layers[0].bias.assign([0.0, 1e-12, 0.0]),
    "a sign": lambda m: m.layers[1].kernel.assign(-m.layers[1].kernel),
    "another draw": lambda m: m.layers[0].kernel.assign(np.ones((2, 3))),
}


@pytest.mark.parametrize("name", STARTS)
def test_checkpoint_of_another_start_raises(name, tmp_path):
    fit(net(), epochs=2, checkpoint=tmp_path)
    model = net()
    STARTS[name](model)
    with pytest.raises(ValueError, match="from another start"):
        fit(model, epochs=2, checkpoint=tmp_path)


# Invalid arguments.

CUBE = _functional(lambda x: x**3, 1)
ONES = np.ones((4, 1))
INVALID_ARGUMENTS = {
    "complex points": lambda: keras_smooth.laplacian(CUBE, ONES + 1j),
    "complex direction": lambda: keras_smooth.directional(CUBE, ONES, [1j]),
    "complex targets": lambda: fit(net(), X, Y + 1j),
    "complex weights of rows": lambda: fit(net(), sample_weight=np.ones(20) * 1j),
    "one input too many": lambda: keras_smooth.gradient(CUBE, (ONES, ONES, ONES)),
    "an input by another name": lambda: keras_smooth.hessian(CUBE, {"z": ONES, "w": ONES}),
    "sharpness NaN": lambda: keras_smooth.smoothen(CUBE, sharpness=float("nan")),
    "sharpness below 0": lambda: keras_smooth.smoothen(CUBE, sharpness=-1.0),
    "infinite order": lambda: keras_smooth.smoothen(CUBE, order=float("inf")),
}


@pytest.mark.parametrize("name", INVALID_ARGUMENTS)
def test_invalid_arguments_raise_one_line_error(name):
    with pytest.raises((TypeError, ValueError)) as error:
        INVALID_ARGUMENTS[name]()
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "x", [tf.ragged.constant([[1.0, 2.0], [3.0]]), tf.sparse.from_dense([[1.0, 2.0, 3.0]])]
)
def test_ragged_and_sparse_inputs_raise(x):
    model = _model(L.Dense(3))
    for function in (*OPERATORS, keras_smooth.audit, keras_smooth.smoothen):
        with pytest.raises(TypeError, match="expected a dense array"):
            function(model, x)


def test_symbolic_inputs_raise():
    model, x = _model(L.Dense(3)), keras.Input((3,))
    for function in OPERATORS:
        with pytest.raises(
            TypeError, match="a KerasTensor, .* Functional model, .* a layer"
        ):
            function(model, x)


LOST = {
    "soft_shrink": lambda: _functional(L.Dense(1, "soft_shrink", **FLOAT64)),
    "in a recurrence": lambda: _functional(L.SimpleRNN(1, "hard_tanh", **FLOAT64), 2, 2),
    "after a rounding": lambda: _functional(
        lambda x: ops.sum(ops.round(x), -1, keepdims=True)
    ),
}


@pytest.mark.parametrize("name", LOST)
def test_lost_derivatives_raise_in_all_operators_and_engines(name):
    model = LOST[name]()
    x = np.random.default_rng(1).normal(size=(2, *model.input_shape[1:]))
    # Jets have the derivatives of linear pieces, but none after a rounding.
    engines = ("auto", "jet", "tape") if name == "after a rounding" else ("tape",)
    for operator in OPERATORS:
        for engine in engines:
            with pytest.raises(ValueError, match="is lost"):
                operator(model, x, engine=engine)


KNOWN_ERRORS = {
    "two smooth activations": {"tanh": (1e-4, 2e-4), "silu": (3e-4, 1e-4)},
    "one seed": {"sigmoid": (1e-4,), "gelu": (5e-4,)},
    "one with large errors": {
        "tanh": (1e-5, 1e-5),
        "softplus": (0.3, 0.2),
        "gelu": (2e-5, 1e-5),
    },
}


@pytest.mark.parametrize("name", KNOWN_ERRORS)
def test_unknown_results_are_reported_and_the_others_compared(name):
    errors = KNOWN_ERRORS[name]
    text = report.recommended(unknown(errors, dict.fromkeys(errors, 0.1))).text
    assert "is not known here" in text and "lost" not in text
    # Two seeds are too few for a stronger statement.
    assert "** leads" in text


# Operations of Keras that depend on the number of samples.

AMBIGUOUS_SUMS = {
    "as many samples as numbers": (
        lambda x: x * x + ops.sum(x**3, -1, keepdims=True),
        (3, 3),
    ),
    "as many as channels": (
        lambda x: x + ops.mean(x, (1, 2), keepdims=True) ** 2,
        (3, 2, 3),
    ),
    "two samples": (lambda x: x + ops.max(x * x, -1, keepdims=True), (2, 2)),
}


@pytest.mark.parametrize("engine", ["auto", "jet", "tape"])
@pytest.mark.parametrize("name", AMBIGUOUS_SUMS)
def test_addition_that_depends_on_number_of_samples_raises(name, engine):
    function, shape = AMBIGUOUS_SUMS[name]
    model = _functional(function, *shape[1:])
    x = np.random.default_rng(0).normal(size=shape)
    direction = np.ones_like(x)
    # With one more sample the sizes differ, and the model equals the formula.
    larger_batch = np.concatenate([x, x[:1]])
    expected = np.asarray(function(tf.constant(larger_batch)))
    np.testing.assert_allclose(model(larger_batch), expected, rtol=1e-12)
    keras_smooth.directional(
        model, larger_batch, direction=np.ones_like(larger_batch), engine=engine
    )
    with pytest.raises(ValueError, match="depends on the other samples"):
        keras_smooth.directional(model, x, direction=direction, engine=engine)
