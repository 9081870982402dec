"""Every layer has Keras' signature, a complete docstring and config, and checks the order."""

import importlib.util
import inspect
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_table import ALL, OWN_ARGUMENTS, make_layer, parameters, stock_of, unusual

import keras_smooth
from keras_smooth import layers
from keras_smooth.layers.construction import keras_arguments

TOOLS = Path(__file__).parents[1] / "tools"


def _tool(name):
    """Imports a script of `tools` as a module."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


layer_arguments = _tool("layer_arguments")
write_layers = _tool("write_layers")
SAME_KERAS = layer_arguments.keras_version() == write_layers.KERAS
every_layer = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
every_ordered_layer = pytest.mark.parametrize(
    "kind", layers.ORDERED_FORMS.values(), ids=lambda kind: kind.__name__
)


def _name_kind_default(parameters):
    """Returns names, kinds and defaults of parameters."""
    return [(p.name, p.kind, p.default) for p in parameters]


@every_layer
def test_signature_is_that_of_keras_with_one_more_argument(kind):
    assert kind.__name__.removeprefix("Smooth") == stock_of(kind).__name__
    ours = [p for p in parameters(kind) if p.name not in OWN_ARGUMENTS]
    if kind is layers.Dense:
        # None is an initializer that suits the activation.
        initializer = ours[3]
        assert initializer.name == "kernel_initializer" and initializer.default is None
        ours[3] = initializer.replace(default="glorot_uniform")
    keras = parameters(stock_of(kind))
    if SAME_KERAS:
        assert _name_kind_default(ours) == _name_kind_default(keras)
    else:
        # An older Keras lacks some, a newer one has more. Keras 3.10 had `rms_scaling`.
        ours, keras = ({p.name for p in group} - {"rms_scaling"} for group in (ours, keras))
        assert keras <= ours or ours <= keras
    added = [p for p in parameters(kind) if p.name in OWN_ARGUMENTS]
    assert len(added) == (stock_of(kind) not in layers.EXACT_FORMS)
    assert all(p.kind is p.KEYWORD_ONLY and p.default in (2, 10.0) for p in added)


@every_layer
def test_source_is_a_subclass_with_written_out_arguments(kind):
    source = inspect.getsource(kind)
    statement = f"class {kind.__name__}(keras.layers.{stock_of(kind).__name__}):"
    assert statement in source
    if stock_of(kind) not in layers.EXACT_FORMS:
        assert "def __init__(" in source and "*args" not in source


@every_layer
def test_docstring_has_each_argument(kind):
    doc = inspect.getdoc(kind)
    arguments = doc.partition("Args:\n")[2].partition("\n\n")[0]
    documented = re.findall(r"^    (\**\w+): ", arguments, re.MULTILINE)
    expected = [*(p.name for p in parameters(kind)[:-1]), "**kwargs"]
    # The constructors of exact layers are those of the installed Keras.
    assert documented == expected or not SAME_KERAS and stock_of(kind) in layers.EXACT_FORMS
    for part in ("Input shape:", "Output shape:", "Example:"):
        assert part in doc


@every_layer
def test_arguments_by_position_are_those_of_keras(kind):
    values = unusual(kind)
    values.pop("name", None)
    if not SAME_KERAS:
        keras_names = {p.name for p in parameters(stock_of(kind))}
        values = {name: value for name, value in values.items() if name in keras_names}
        ours, stock = (
            layer_class(**values, name="a") for layer_class in (kind, stock_of(kind))
        )
    else:
        ours, stock = (
            layer_class(*values.values(), name="a")
            for layer_class in (kind, stock_of(kind))
        )
    config = ours.get_config()
    own_names = [p.name for p in parameters(kind) if p.name in OWN_ARGUMENTS]
    assert [config.pop(name) for name in own_names] == [
        getattr(ours, name) for name in own_names
    ]
    assert config == stock.get_config()


@every_layer
def test_config_round_trip_of_every_layer(kind):
    layer = make_layer(kind, name="a", dtype="float64")
    restored = kind.from_config(layer.get_config())
    assert restored.get_config() == layer.get_config()
    assert {**vars(restored)}.keys() == vars(layer).keys()


def test_files_are_those_that_the_script_writes():
    if not SAME_KERAS:
        pytest.skip(
            f"The files are for the signatures of Keras {write_layers.KERAS}, but "
            f"{keras.__version__} is installed."
        )
    for name, contents in write_layers.files().items():
        assert (write_layers.FOLDER / name).read_text() == contents, (
            f"{name} differs from what tools/write_layers.py writes: run it."
        )


class _Old:
    def __init__(self, units, activation=None, **kwargs):
        pass


class _New(_Old):
    def __init__(self, units, activation=None, rank=None, *, order=2, **kwargs):
        self.passed = keras_arguments(locals())
        super().__init__(**self.passed)


def test_arguments_that_an_older_keras_lacks_raise_if_set():
    tanh = keras.activations.tanh
    layer = _New(3, "tanh", order=1, name="a")
    assert layer.passed == {"units": 3, "activation": tanh, "name": "a"}
    with pytest.raises(TypeError, match="_New received rank=4, which Keras .* not have"):
        _New(3, rank=4)


@every_ordered_layer
def test_layers_with_an_activation_check_the_order(kind):
    keys = [p.name for p in parameters(kind) if p.name.endswith("activation")]
    layer = make_layer(kind, **dict.fromkeys(keys, "snake"))
    assert layer.order == 2
    for key in keys:
        assert getattr(layer, key) is keras_smooth.activations.snake
        with pytest.raises(ValueError, match="asks for C\\^2"):
            make_layer(kind, **{key: "hard_sigmoid"})
        assert make_layer(kind, **{key: "relu"}, order=0).order == 0
    assert keras_smooth.smoothness(layer) == np.inf


@every_layer
def test_smoothness_of_every_layer(kind):
    stock = stock_of(kind)
    if kind in layers.SMOOTH_FORMS.values():
        assert keras_smooth.smoothness(make_layer(kind)) == np.inf
        assert keras_smooth.smoothness(make_layer(stock)) == 0
    elif kind is not layers.UnitNormalization:  # the one whose class is another
        keras_smoothness = keras_smooth.smoothness(make_layer(stock))
        assert keras_smoothness in (None, keras_smooth.smoothness(make_layer(kind)))


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
    restored = type(layer).from_config(layer.get_config())
    assert restored.get_config() == layer.get_config()
    assert restored.order == layer.order


def test_eager_graph_and_symbolic_calls_agree(case):
    make, in_shape, out_shape = case
    layer, x = make(), _input(in_shape)
    eager = layer(x)
    assert eager.shape == out_shape == layer.compute_output_shape(in_shape)
    np.testing.assert_allclose(tf.function(layer)(x), eager, rtol=1e-6)
    symbolic = keras.Input(in_shape[1:])
    np.testing.assert_allclose(keras.Model(symbolic, layer(symbolic))(x), eager, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32", "mixed_float16", "mixed_bfloat16"])
def test_outputs_and_weights_have_the_dtypes_of_the_policy(case, dtype):
    make, in_shape, _ = case
    layer = make(dtype=dtype)
    assert layer(_input(in_shape)).dtype == keras.DTypePolicy(dtype).compute_dtype
    assert all(w.dtype == keras.DTypePolicy(dtype).variable_dtype for w in layer.weights)


# Keras, of layers without weights.
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_layers_are_fitted_saved_and_loaded(case, tmp_path):
    make, in_shape, out_shape = case
    model = keras.Sequential([keras.Input(in_shape[1:]), make()])
    model.compile(loss="mse")
    x = _input(in_shape)
    model.fit(x, _input(out_shape), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


def test_dense_has_the_outputs_of_keras():
    x = _input((4, 2))
    initializer = keras.initializers.GlorotUniform(seed=1)
    ours = keras_smooth.Dense(3, "tanh", kernel_initializer=initializer)
    stock = keras.layers.Dense(3, "tanh", kernel_initializer=initializer)
    np.testing.assert_array_equal(ours(x), stock(x))
    assert [w.path.split("/")[-1] for w in ours.weights] == ["kernel", "bias"]


def test_rough_activation_raises_with_the_remedy():
    with pytest.raises(ValueError) as error_info:
        keras_smooth.Dense(20, activation="relu")
    message = str(error_info.value)
    for part in ("'relu'", "C^0", "order=2", "tanh, softplus", "order=0"):
        assert part in message
    assert keras_smooth.Dense(20, activation="relu", order=0).order == 0


@pytest.mark.parametrize(
    ("activation", "order", "is_smooth_enough"),
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
def test_activation_less_smooth_than_the_order_raises(
    layer, activation, order, is_smooth_enough
):
    if is_smooth_enough:
        assert layer(activation, order).order == order
    else:
        with pytest.raises(ValueError, match=f"asks for C\\^{order}"):
            layer(activation, order)


@pytest.mark.parametrize(
    ("order", "error"),
    [(-1, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)],
)
def test_invalid_order_raises(order, error):
    with pytest.raises(error, match="order"):
        keras_smooth.Dense(2, "tanh", order=order)


def test_activation_of_unknown_smoothness_warns_once():
    def unregistered(x):
        return keras.ops.where(x > 0.0, x**3, 0.0)

    with pytest.warns(UserWarning, match="register_smoothness") as warnings:
        for _ in range(3):
            keras_smooth.Dense(2, unregistered)
    assert len(warnings) == 1
    keras_smooth.Dense(2, lambda x: keras.ops.abs(x), order=0)
    # The smoothness of this one is known from its operations.
    keras_smooth.Dense(2, lambda x: keras.ops.sin(x) ** 2)
