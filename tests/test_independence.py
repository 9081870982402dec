"""Models that mix samples are refused, in the mode in which they mix them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_smooth
from keras_smooth import operations

F64 = {"dtype": "float64"}


class Centered(layers.Layer):
    """Subtracts the mean of the batch in training mode only."""

    def call(self, x, training=False):
        return x - ops.mean(x, axis=0) if training else x


class HoldsBatchNormalization(layers.Layer):
    """A custom layer that contains a BatchNormalization."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.BatchNormalization(**F64)

    def call(self, x, training=False):
        return self.norm(x, training=training)


class Noise(layers.Layer):
    """Adds a random number of TensorFlow's or Keras' generator in training mode."""

    def __init__(self, of_keras, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(1) if of_keras else None

    def call(self, x, training=False):
        if not training:
            return x
        if self.seeds is None:
            return x + tf.random.normal((1,), dtype=x.dtype)
        return x + keras.random.normal(ops.shape(x), seed=self.seeds, dtype=x.dtype)


def frozen(layer):
    layer.trainable = False
    return layer


def network(layer):
    dense = (layers.Dense(n, "tanh", **F64) for n in (4, 1))
    first, last = dense
    return keras.Sequential([keras.Input((2,), **F64), first, layer, last])


MIXING = {
    "BatchNormalization": (layers.BatchNormalization, "batch_norm.*`trainable=False`"),
    "keras_smooth's": (keras_smooth.layers.BatchNormalization, "batch_norm.*LayerNormal"),
    "in a model": (
        lambda **f: keras.Sequential([layers.BatchNormalization(name="inner", **f)]),
        "Mean in sequential[_0-9]*/inner[_0-9]*/.*`trainable=False`",
    ),
    "a user's": (Centered, "mixes samples in training mode"),
    "in a user's": (HoldsBatchNormalization, "mixes samples in training mode"),
}
APART = {
    "frozen": lambda: frozen(layers.BatchNormalization(**F64)),
    "frozen in a user's": lambda: frozen(HoldsBatchNormalization(**F64)),
    "Dropout": lambda: layers.Dropout(0.3, **F64),
    "GaussianNoise": lambda: layers.GaussianNoise(0.3, **F64),
    "Keras' random numbers": lambda: Noise(True, **F64),
    "TensorFlow's random numbers": lambda: Noise(False, **F64),
    "LayerNormalization": lambda: keras_smooth.layers.LayerNormalization(**F64),
}


@pytest.fixture
def x(rng):
    return rng.normal(size=(16, 2))


@pytest.mark.parametrize("kind", MIXING)
def test_layers_that_mix_samples_in_training_raise_in_training_only(kind, x):
    make, message = MIXING[kind]
    model = network(make(**F64))
    keras_smooth.derivatives(model, x, 1)
    with pytest.raises(ValueError, match=message):
        keras_smooth.derivatives(model, x, 1, training=True)

    # XLA removes assertions from a graph.
    @tf.function(autograph=False, jit_compile=True)
    def compiled(x):
        return keras_smooth.derivatives(model, x, 1, training=True)

    with pytest.raises(ValueError, match=message):
        compiled(tf.constant(x))


@pytest.mark.parametrize("kind", ["BatchNormalization", "a user's"])
def test_derivative_model_of_a_layer_that_mixes_samples_raises_in_fit(kind, x):
    make, message = MIXING[kind]
    model = keras_smooth.DerivativeModel(network(make(**F64)), order=1)
    model.compile(loss="mse")
    targets = {"y": x[:, :1], "dy": x[:, None]}
    model.evaluate(x, targets, verbose=0)
    with pytest.raises(ValueError, match=message):
        model.fit(x, targets, verbose=0)


@pytest.mark.parametrize("kind", APART)
def test_layers_that_keep_samples_apart_in_training_are_accepted(kind, x):
    for _ in range(3):
        dy = keras_smooth.derivatives(network(APART[kind]()), x, 1, training=True)[1]
        assert dy.shape == (16, 1, 2) and np.any(dy)


@pytest.mark.parametrize("distance", [1, 2, 4, 6, 8])
def test_mixing_of_distant_samples_raises(distance, rng):
    partners = np.arange(16) ^ distance
    x = rng.normal(size=(16, 2))
    with pytest.raises(ValueError, match="mixes samples"):
        keras_smooth.gradient(
            lambda x: tf.reduce_sum(x * tf.gather(tf.sin(x), partners), -1), x
        )


@pytest.mark.parametrize("index", [2, -1])
def test_dependence_on_one_sample_raises_for_any_batch_size(index, x):
    def less_one_sample(x):
        y = tf.reduce_sum(tf.sin(x), axis=1)
        return y - y[index]

    @tf.function(input_signature=[tf.TensorSpec((None, 2), "float64")], autograph=False)
    def slopes(x):
        return keras_smooth.gradient(less_one_sample, x)

    with pytest.raises(ValueError, match="mixes samples"):
        slopes(x)


class LessFirstSamples(layers.Layer):
    """Subtracts the first samples, a slice of as many entries as a variable says."""

    def build(self, shape):
        self.number = tf.Variable(1, trainable=False)

    def call(self, x):
        y = ops.tanh(x)
        return y - ops.slice(y, (0, 0), (self.number, 2))


def test_slice_of_an_unknown_number_of_samples_raises(x):
    model = LessFirstSamples(**F64)
    model(x)

    @tf.function(input_signature=[tf.TensorSpec((None, 2), "float64")], autograph=False)
    def slopes(x):
        return keras_smooth.jacobian(model, x)

    with pytest.raises(ValueError, match="mixes samples"):
        slopes(x)


def test_slice_of_all_samples_is_known_to_be_separate_for_any_batch_size():
    axes = []

    @tf.function(input_signature=[tf.TensorSpec((None, 2), "float64")], autograph=False)
    def read(x):
        axes.extend(axes_of(lambda x: tf.slice(tf.sin(x), [0, 1], [-1, 1]), x))

    read.get_concrete_function()
    assert axes == [0]


def test_sample_axis_is_known_for_images_of_unknown_size():
    axes = []

    @tf.function(
        input_signature=[tf.TensorSpec((None, None, None, 2048), "float32")],
        autograph=False,
    )
    def read(x):
        traced = operations.trace(lambda x: tf.reduce_mean(x, axis=(1, 2)), [x])
        axes.extend(operations.axes_of_samples(traced.program, [0]))

    read.get_concrete_function()
    assert axes == [0]


def by_rows(x):
    """A dense layer as Keras computes it for a sequence: the samples and steps are one axis."""
    batch, steps, features = x.shape
    kernel = tf.reshape(tf.range(3.0 * features, dtype=x.dtype), (features, 3))
    rows = tf.tanh(tf.reshape(x, (batch * steps, features)) @ kernel)
    return tf.reshape(rows, (batch, steps, 3))


def time_major(x):
    return tf.transpose(by_rows(tf.transpose(x, (1, 0, 2))), (1, 0, 2))


def in_a_grid(x):
    """Samples between two merged axes, of which one is split off again."""
    columns = tf.reshape(tf.transpose(x, (1, 0, 2)), (-1, 2))
    return tf.transpose(tf.reshape(tf.exp(columns), (6, 16, 4)), (1, 0, 2))


def flat_images(x):
    rows = tf.reshape(x, (16 * 6, 4))
    return tf.reshape(tf.reduce_max(tf.nn.softmax(rows), axis=1), (16, 3, 2))


def with_itself(layer):
    return lambda x: layer(x, x)


def merged_in_a_loop(x):
    def body(i, y):
        return i + 1, tf.reshape(tf.sin(tf.reshape(y, (96, 4))), (16, 6, 4))

    return tf.while_loop(lambda i, y: i < 3, body, (0, x))[1]


EVERY = np.arange(24) % 3
# Functions of an array (16, 6, 4) that treat samples separately, although a reshape merges them
# with steps, and functions that mix them then.
SEPARATE = {
    "rows": lambda: by_rows,
    "steps first": lambda: time_major,
    "grid": lambda: in_a_grid,
    "images": lambda: flat_images,
    "loop": lambda: merged_in_a_loop,
    "Dense": lambda: layers.Dense(3, "tanh", **F64),
    "attention": lambda: with_itself(layers.MultiHeadAttention(2, 4, **F64)),
    "LSTM": lambda: layers.LSTM(3, **F64),
    "GRU": lambda: layers.Bidirectional(layers.GRU(3, **F64), **F64),
    "repeated": lambda: layers.UpSampling1D(2, **F64),
    "sorted": lambda: lambda x: ops.sort(x, axis=1),
    "singular values": lambda: lambda x: tf.linalg.svd(x, compute_uv=False),
    "eigenvalues": lambda: lambda x: tf.linalg.eigvalsh(tf.matmul(x, x, transpose_b=True)),
    "segments": lambda: (
        lambda x: tf.transpose(
            tf.math.segment_sum(tf.transpose(x, (1, 0, 2)), [0, 0, 0, 1, 1, 2]), (1, 0, 2)
        )
    ),
    "segments of entries": lambda: (
        lambda x: tf.transpose(
            tf.math.unsorted_segment_sum(
                tf.transpose(x, (1, 2, 0)), tf.reshape(EVERY, (6, 4)), 3
            )
        )
    ),
}
MIXING_ROWS = {
    "sum": lambda x: tf.reshape(x, (96, 4)) - tf.reduce_sum(tf.reshape(x, (96, 4)), axis=0),
    "reversed": lambda x: tf.reshape(tf.reverse(tf.reshape(x, (96, 4)), [0]), (16, 6, 4)),
    "rolled": lambda x: tf.reshape(tf.roll(tf.reshape(x, (96, 4)), 1, 0), (16, 6, 4)),
    "another order": lambda x: tf.reshape(
        tf.reshape(x, (96, 4)) * tf.reshape(tf.transpose(x, (1, 0, 2)), (96, 4)), x.shape
    ),
    "split elsewhere": lambda x: tf.reduce_sum(tf.reshape(x, (6, 16, 4)), axis=0),
    "segments": lambda x: (
        x + tf.reduce_sum(tf.math.segment_sum(x, np.arange(16) // 4), axis=0)
    ),
    "other rows": lambda x: tf.reshape(tf.reshape(x, (96, 4))[::-1] ** 2, (16, 6, 4)),
}


def axes_of(function, x):
    traced = operations.trace(function, [x])
    return operations.axes_of_samples(traced.program, [0, *[None] * len(traced.captured)])


def moved_rows(function, x):
    """Returns the rows of the output that change if sample 5 changes."""
    moved = x.copy()
    moved[5] += 0.1
    before, after = (np.asarray(function(tf.constant(each))) for each in (x, moved))
    rows = np.reshape(before != after, (16, -1))
    return set(np.flatnonzero(rows.any(axis=1)))


@pytest.mark.parametrize("name", SEPARATE)
def test_samples_in_merged_axes_are_known_to_be_separate(name, rng):
    function, x = SEPARATE[name](), rng.normal(size=(16, 6, 4))
    assert moved_rows(function, x) == {5}
    assert axes_of(function, tf.constant(x)) == [0]


def test_axis_that_stays_merged_is_known(rng):
    x = rng.normal(size=(16, 6, 4))

    def function(x):
        return tf.sin(tf.reshape(x, (96, 4)))

    assert moved_rows(function, x) == {5}
    assert axes_of(function, tf.constant(x)) == [(0, 1, 6)]


@pytest.mark.parametrize("shape", [(16, 0), (0, 4, 16), (0,), (4, 0, 4)])
def test_reshapes_without_entries_depend_on_no_sample(shape):
    assert axes_of(lambda x: tf.reshape(x, shape), tf.zeros((16, 0, 4))) == [None]


@pytest.mark.parametrize("name", MIXING_ROWS)
def test_functions_that_mix_rows_of_merged_axes_are_refused(name, rng):
    function, x = MIXING_ROWS[name], rng.normal(size=(16, 6, 4))
    assert moved_rows(function, x) != {5}
    with pytest.raises(operations.MixedError):
        axes_of(function, tf.constant(x))


def equilibrium(x):
    """The root of y = tanh(y / 3 + x), by as many steps as the slowest sample needs."""
    y = tf.zeros_like(x)
    while True:
        last, y = y, tf.tanh(y / 3.0 + x)
        if float(tf.reduce_max(tf.abs(y - last))) < 1e-4:
            return y


def branch(x):
    return tf.sin(x) if float(tf.reduce_sum(x)) > 0.0 else tf.cos(x)


def saturated(x):
    """A softmax, whose outputs have the sum 1 whatever the batch is."""
    return tf.nn.softmax(2.0 * x) if float(tf.reduce_max(x)) > 1.0 else tf.nn.softmax(x)


DECIDED = {"iterations": equilibrium, "branch": branch, "softmax": saturated}


@pytest.mark.filterwarnings("ignore:.*cannot trace it:UserWarning")
@pytest.mark.parametrize("name", DECIDED)
def test_decisions_of_python_for_a_whole_batch_are_accepted(name):
    model, x = DECIDED[name], np.array([[0.7, -0.9], [0.1, 1.4], [-0.8, 0.9]])
    # No decision changes within such a step.
    h = 1e-5
    shifts = h * np.eye(2)
    exact = np.stack([(model(x + e) - model(x - e)) / (2.0 * h) for e in shifts], axis=-1)
    # The error of differences is of order h^2.
    np.testing.assert_allclose(keras_smooth.jacobian(model, x), exact, atol=1e-8)


@pytest.mark.filterwarnings("ignore:.*cannot trace it:UserWarning")
@pytest.mark.parametrize("place", [0, 1, -1])
def test_samples_that_python_mixes_are_refused(place, x):
    def model(x):
        scale = 2.0 if float(tf.reduce_max(x)) > 1.0 else 1.0
        return tf.nn.softmax(scale * x) * tf.nn.softmax(x - 0.5 * tf.tanh(x[place]))

    with pytest.raises(ValueError, match="mixes samples"):
        keras_smooth.jacobian(model, x)


# A number of Python, which tapes take for a constant, and a gradient that is stopped.
OF_ALL_SAMPLES = {
    "a number": lambda x: x / float(tf.reduce_max(x)),
    "a stopped gradient": lambda x: branch(x) * tf.stop_gradient(tf.reduce_mean(x**2)),
}


@pytest.mark.filterwarnings("ignore:.*cannot trace it:UserWarning")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", OF_ALL_SAMPLES)
def test_constants_that_python_computes_of_all_samples_are_refused(name, dtype, x):
    with pytest.raises(ValueError, match="mixes samples"):
        keras_smooth.jacobian(OF_ALL_SAMPLES[name], x.astype(dtype))
