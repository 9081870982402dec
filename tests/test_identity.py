"""The identity of a model changes whenever its outputs may change."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth
from keras_smooth.models.identity import fingerprint, identity

FLOAT64 = {"dtype": "float64"}


def network():
    return keras.Sequential(
        [
            keras.Input((2,), **FLOAT64),
            keras.layers.Dense(3, "tanh", **FLOAT64),
            keras.layers.LeakyReLU(negative_slope=0.1, **FLOAT64),
            keras.layers.Dense(1, **FLOAT64),
        ]
    )


def new_policy(model):
    model.layers[0].dtype_policy = keras.DTypePolicy("float32")


CHANGES = {
    "activation": lambda m: setattr(m.layers[0], "activation", keras.activations.sigmoid),
    "a number": lambda m: setattr(m.layers[1], "negative_slope", 0.7),
    "a switch": lambda m: setattr(m.layers[0], "use_bias", False),
    "a layer": lambda m: m.add(keras.layers.Dense(1, "softplus", **FLOAT64)),
    "LoRA": lambda m: m.layers[0].enable_lora(1),
    "precision": new_policy,
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_of_a_model_changes_its_identity(name):
    model, x = network(), np.random.default_rng(0).normal(size=(4, 2))
    before, laplacian = identity(model), keras_smooth.laplacian(model, x)
    assert before is not None and identity(model) == before
    np.testing.assert_array_equal(keras_smooth.laplacian(model, x), laplacian)
    CHANGES[name](model)
    assert identity(model) != before
    entries = keras_smooth.derivatives(model, x, engine="jet")
    # A new model, for which nothing is cached.
    new_model = keras.Model(model.inputs, model(model.inputs[0]))
    exact = keras_smooth.derivatives(new_model, x, engine="jet")
    for value, expected in zip(entries, exact, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_fingerprint_does_not_depend_on_names_of_new_layers():
    def joined(x):
        return keras.layers.Concatenate()([x, keras.layers.Activation("tanh")(x)])

    traces = [
        tf.function(lambda x: joined(x)).get_concrete_function(tf.TensorSpec((3, 2)))
        for _ in range(2)
    ]
    first, second = map(fingerprint, traces)
    assert first == second
    other = tf.function(lambda x: joined(x) + 1.0).get_concrete_function(
        tf.TensorSpec((3, 2))
    )
    assert fingerprint(other) != first


def test_changed_weights_change_the_results():
    model, x = network(), np.ones((1, 2))
    first = keras_smooth.laplacian(model, x)
    model.set_weights([2.0 * weight for weight in model.get_weights()])
    assert np.all(np.abs(keras_smooth.laplacian(model, x) - first) > 1e-6)


UNKNOWN = {
    "a function": lambda: lambda x: x,
    "a layer of a user": lambda: type("Own", (keras.layers.Layer,), {})(),
    "a function of a user": lambda: keras.layers.Dense(1, lambda x: x),
    "a Lambda": lambda: keras.Sequential([keras.layers.Lambda(lambda x: x)]),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_models_with_custom_code_have_no_identity(name):
    assert identity(UNKNOWN[name]()) is None


def test_cache_does_not_keep_a_model_alive():
    model = network()
    keras_smooth.laplacian(model, np.ones((1, 2)))
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None
