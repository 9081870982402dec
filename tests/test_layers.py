"""What every layer's test covers, and the order."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth

LAYERS = {
    "Dense": (lambda **kw: keras_smooth.Dense(3, activation="tanh", **kw), (4, 2), (4, 3)),
    "Dense, 3-D input": (
        lambda **kw: keras_smooth.Dense(3, activation="snake", **kw), (4, 5, 2), (4, 5, 3)
    ),
    "Dense, all arguments": (
        lambda **kw: keras_smooth.Dense(
            3, "elu", False, "he_normal", "zeros", "l2", order=1, kernel_constraint="max_norm",
            **kw,
        ),
        (4, 2),
        (4, 3),
    ),
    "Activation": (lambda **kw: keras_smooth.Activation("gaussian", **kw), (4, 2), (4, 2)),
}  # fmt: skip


@pytest.fixture(params=LAYERS)
def case(request):
    return LAYERS[request.param]


def _input(shape, dtype="float32"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def test_config_round_trip(case):
    make, shape, _ = case
    layer = make()
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.order == layer.order


def test_eager_graph_and_symbolic_calls_agree(case):
    make, in_shape, out_shape = case
    layer, x = make(), _input(in_shape)
    eager = layer(x)
    assert eager.shape == out_shape == layer.compute_output_shape(in_shape)
    np.testing.assert_allclose(tf.function(layer)(x), eager, rtol=1e-6)
    symbolic = keras.Input(in_shape[1:])
    np.testing.assert_allclose(keras.Model(symbolic, layer(symbolic))(x), eager, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32", "mixed_float16", "mixed_bfloat16"])
def test_dtypes(case, dtype):
    make, in_shape, _ = case
    layer = make(dtype=dtype)
    assert layer(_input(in_shape)).dtype == keras.DTypePolicy(dtype).compute_dtype
    assert all(w.dtype == keras.DTypePolicy(dtype).variable_dtype for w in layer.weights)


def test_fit_save_and_load(case, tmp_path):
    make, in_shape, out_shape = case
    model = keras.Sequential([keras.Input(in_shape[1:]), make()])
    model.compile(loss="mse")
    x = _input(in_shape)
    model.fit(x, _input(out_shape), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x), model(x))


def test_same_outputs_as_keras():
    x = _input((4, 2))
    start = keras.initializers.GlorotUniform(seed=1)
    own = keras_smooth.Dense(3, "tanh", kernel_initializer=start)
    stock = keras.layers.Dense(3, "tanh", kernel_initializer=start)
    np.testing.assert_array_equal(own(x), stock(x))
    assert [w.path.split("/")[-1] for w in own.weights] == ["kernel", "bias"]


def test_rough_activation_raises_with_the_remedy():
    with pytest.raises(ValueError) as caught:
        keras_smooth.Dense(20, activation="relu")
    message = str(caught.value)
    for part in ("'relu'", "C^0", "order=2", "tanh, softplus", "order=0"):
        assert part in message
    assert keras_smooth.Dense(20, activation="relu", order=0).order == 0


@pytest.mark.parametrize(
    ("activation", "order", "fits"),
    [
        ("elu", 1, True), ("elu", 2, False), ("softsign", 1, True), ("softsign", 2, False),
        ("smelu", 1, True), ("smelu", 2, False), ("hard_shrink", 1, False),
        ("hard_shrink", 0, True), ("tanh", 6, True), (None, 6, True), ("selu", 1, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("layer", [
    lambda activation, order: keras_smooth.Dense(2, activation, order=order),
    lambda activation, order: keras_smooth.Activation(activation, order=order),
], ids=["Dense", "Activation"])  # fmt: skip
def test_order(layer, activation, order, fits):
    if fits:
        assert layer(activation, order).order == order
    else:
        with pytest.raises(ValueError, match=f"asks for C\\^{order}"):
            layer(activation, order)


@pytest.mark.parametrize(
    ("order", "error"),
    [(-1, ValueError), (1.5, TypeError), ("2", TypeError), (True, ValueError)],
)
def test_bad_order(order, error):
    with pytest.raises(error, match="order"):
        keras_smooth.Dense(2, "tanh", order=order)


def test_unknown_activation_warns_once():
    def unheard_of(x):
        return x

    with pytest.warns(UserWarning, match="register_smoothness") as caught:
        for _ in range(3):
            keras_smooth.Dense(2, unheard_of)
    assert len(caught) == 1
    keras_smooth.Dense(2, lambda x: x, order=0)
