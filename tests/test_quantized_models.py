"""Quantized models are step functions, whose derivatives are refused."""

import functools

import keras
import numpy as np
import pytest

import keras_smooth

X = np.linspace(-1.0, 1.0, 8, dtype="float32").reshape(4, 2)
OPERATORS = {
    "derivatives": lambda model: keras_smooth.derivatives(model, X),
    "jets": lambda model: keras_smooth.derivatives(model, X, engine="jet"),
    "gradient": lambda model: keras_smooth.gradient(model, X),
    "jacobian": lambda model: keras_smooth.jacobian(model, X),
    "hessian": lambda model: keras_smooth.hessian(model, X),
    "laplacian": lambda model: keras_smooth.laplacian(model, X),
    "directional": lambda model: keras_smooth.directional(model, X, X),
    "DerivativeModel": keras_smooth.DerivativeModel,
    "reference": lambda model: keras_smooth.DerivativeMonitor(X, model),
}


class HoldsDense(keras.layers.Layer):
    """A custom layer that contains layers."""

    def __init__(self):
        super().__init__()
        self.parts = [keras.layers.Dense(4, "tanh", name="dense_0"), keras.layers.Dense(1)]

    def call(self, x):
        for part in self.parts:
            x = part(x)
        return x


def sequential():
    layers = [keras.layers.Dense(n, "tanh", name=f"dense_{n % 4}") for n in (4, 1)]
    return keras.Sequential([keras.Input((2,)), *layers])


def nested():
    inputs = keras.Input((2,))
    return keras.Model(inputs, 2.0 * sequential()(inputs))


def in_custom_layer():
    return keras.Sequential([keras.Input((2,)), HoldsDense()])


def quantized(model, mode):
    for layer in model.layers:
        inner_layers = getattr(layer, "parts", getattr(layer, "layers", [layer]))
        for inner_layer in inner_layers:
            if isinstance(inner_layer, keras.layers.Dense):
                inner_layer.quantize(mode)
    return model


@functools.cache
def refused(make, mode):
    """Returns a quantized model that the operators only look at."""
    return quantized(make(), mode)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("make", [sequential, nested, in_custom_layer])
@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_derivatives_of_quantized_models_raise(operator, make, mode):
    model = refused(make, mode)
    message = rf"^(`reference`: )?The layer 'dense_0' is quantized \({mode}\).*before"
    with pytest.raises(ValueError, match=message):
        OPERATORS[operator](model)


def test_model_before_quantization_has_derivatives():
    model = sequential()
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    quantized(model, "int8")
    assert np.all(keras_smooth.gradient(copy, X))


def test_layers_that_round_only_their_weights_have_derivatives():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8, "tanh", dtype="float64") for _ in range(2)]
    model = keras.Sequential([keras.Input((1,), dtype="float64"), *layers])
    quantized(model, "int4")
    if layers[0].inputs_quantizer is not None:
        pytest.skip("This version of Keras rounds the inputs of int4 layers, too.")
    x, step = np.linspace(-1.0, 1.0, 5)[:, None], 1e-3
    before, middle, after = (np.array(model(x + h)) for h in (-step, 0.0, step))
    _, first, second = keras_smooth.derivatives(model, x, verify=True)
    np.testing.assert_allclose(first, (after - before) / (2 * step), atol=1e-5)
    np.testing.assert_allclose(second, (after - 2 * middle + before) / step**2, atol=1e-4)
