"""Reductions over an axis without entries: a constant, whose derivatives are 0."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth

X = np.ones((3, 2), "float32")
# Reductions over the last axis, and their value without entries.
REDUCTIONS = {
    "tf.reduce_logsumexp": (lambda x: tf.reduce_logsumexp(x, -1), -np.inf),
    "keras.ops.logsumexp": (lambda x: keras.ops.logsumexp(x, axis=-1), -np.inf),
    "tf.reduce_sum": (lambda x: tf.reduce_sum(x, -1), 0.0),
    "tf.reduce_prod": (lambda x: tf.reduce_prod(x, -1), 1.0),
    "tf.reduce_max": (lambda x: tf.reduce_max(x, -1), -np.inf),
    "tf.reduce_min": (lambda x: tf.reduce_min(x, -1), np.inf),
    "tf.norm": (lambda x: tf.norm(x, axis=-1), 0.0),
    "root of a sum of squares": (lambda x: tf.sqrt(tf.reduce_sum(x**2, -1)), 0.0),
    "product of matrices": (lambda x: tf.matmul(x, x, transpose_b=True)[:, 0, 0], 0.0),
}
ENGINES = ("jet", "tape", "auto")


def without_entries(x):
    """Returns a part of x of shape (batch, 2, 0)."""
    return x[:, :, None][..., :0]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("reduction", "value"), REDUCTIONS.values(), ids=REDUCTIONS)
def test_reduction_over_no_entries_is_constant(reduction, value, engine):
    def function(x):
        return reduction(without_entries(x))

    # Tapes of order 4 take twenty times as long, with the same rules as those of order 3.
    order = 4 if engine == "jet" else 3
    y, *derivatives = keras_smooth.derivatives(function, X, order=order, engine=engine)
    assert np.all(y.numpy() == value)
    assert all(not derivative.numpy().any() for derivative in derivatives)
    assert all(each.shape == (*y.shape, *[2] * k) for k, each in enumerate(derivatives, 1))


@pytest.mark.parametrize("engine", ENGINES)
def test_other_terms_keep_their_derivatives(engine):
    def function(x):
        return x[:, :1] ** 3 + tf.exp(tf.reduce_logsumexp(without_entries(x), -1))[:, :1]

    y, dy, d2y = keras_smooth.derivatives(function, X, engine=engine)
    assert np.all(y.numpy() == 1.0)
    np.testing.assert_array_equal(dy.numpy()[:, 0], np.tile([3.0, 0.0], (3, 1)))
    np.testing.assert_array_equal(d2y.numpy()[:, 0, 0], np.tile([6.0, 0.0], (3, 1)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("num_samples", [3, None, "eager"])
def test_output_without_entries_has_derivatives_without_entries(engine, num_samples):
    def compute(x):
        return keras_smooth.derivatives(
            lambda x: tf.nn.softmax(without_entries(x)), x, engine=engine
        )

    if num_samples != "eager":
        specification = tf.TensorSpec((num_samples, 2), tf.float32)
        compute = tf.function(compute, input_signature=[specification])
    results = compute(X)
    assert [each.shape for each in results] == [(3, 2, 0, *[2] * k) for k in range(3)]


# Functions that reshape a part of x without entries, in batches of a known size or not.
RESHAPES = {
    "flattened": lambda x: tf.reshape(without_entries(x), (tf.shape(x)[0], 0)),
    "rows": lambda x: tf.reshape(tf.reshape(x[:, :0], (-1, 5)), (tf.shape(x)[0], 0)),
    "Flatten": lambda x: keras.layers.Flatten()(without_entries(x)),
}


@pytest.mark.parametrize("is_graph", [True, False])
@pytest.mark.parametrize("name", RESHAPES)
def test_reshape_without_entries_mixes_no_samples(name, is_graph):
    def slopes(x):
        return keras_smooth.jacobian(lambda x: tf.concat([x**2, RESHAPES[name](x)], 1), x)

    if is_graph:
        slopes = tf.function(slopes, input_signature=[tf.TensorSpec((None, 2), tf.float32)])
    np.testing.assert_array_equal(slopes(X), np.tile(2.0 * np.eye(2), (3, 1, 1)))
