"""Every smoothness in the registry, compared with one-sided limits of derivatives."""

import functools
import math

import keras
import numpy as np
import one_sided
import pytest
import tensorflow as tf
from activation_cases import ACTIVATIONS, EXAMPLES, examples
from keras import ops
from representatives import representatives

import keras_smooth
from keras_smooth import activations, operations, registry
from keras_smooth.operations import signs


def test_smoothness_of_a_model_with_dict_inputs():
    class Named(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2, "tanh")

        def call(self, x):
            return self.dense(x["x"]) * x["t"]

    model = Named()
    model({"x": np.ones((3, 2)), "t": np.ones((3, 1))})
    assert keras_smooth.smoothness(model) == np.inf
    # A symbolic call adds the attribute `input` to the model.
    model({"x": keras.Input((2,)), "t": keras.Input((1,))})
    assert keras_smooth.smoothness(model) == np.inf


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_smoothness_of_an_activation_is_the_measured_one(name):
    case = ACTIVATIONS[name]
    measured = one_sided.smoothness(case.along, case.breakpoints())
    assert registry.smoothness(case.function) == measured


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_joints_of_an_activation_have_its_smoothness(name):
    case = ACTIVATIONS[name]
    for joint in case.row.breakpoints if case.parameters == examples(case.row)[0] else ():
        outputs = [lambda x, i=i: case.along(x, i) for i in range(1 + case.row.mixes)]
        measured = min(one_sided.smoothness(output, [joint]) for output in outputs)
        assert measured == registry.smoothness(case.function), joint


def test_examples_are_of_registered_activations():
    assert EXAMPLES.keys() <= {*registry.function_names()}


def test_every_activation_of_keras_and_this_package_has_a_row():
    of_keras = [
        getattr(keras.activations, name) for name in dir(keras.activations)
        if not name.startswith("_") and name not in ("get", "serialize", "deserialize")
    ]  # fmt: skip
    names = set(activations.__all__) - {"get", "partial"}
    ours = [getattr(activations, name) for name in sorted(names)]
    missing = [f.__name__ for f in of_keras + ours if registry.row(f) is None]
    assert missing == [] and len(ours) >= 9


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.ActivityRegularization(0.1, 0.2),
        keras.layers.AlphaDropout(0.5),
        keras.layers.GaussianDropout(0.5),
        keras.layers.Identity(),
        keras.layers.SpatialDropout1D(0.5),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_are_the_identity_in_inference_are_smooth(layer):
    x = np.linspace(-1.0, 1.0, 12, dtype="float32").reshape(2, 3, 2)
    np.testing.assert_array_equal(layer(x), x)
    assert keras_smooth.smoothness(layer) == math.inf


def test_recommended_activations_are_smooth_enough():
    assert registry.recommended(2)[0] == "tanh"
    for order in (1, 2, 6, math.inf):
        names = registry.recommended(order)
        assert names and all(registry.smoothness(name) >= order for name in names)


def test_relu_with_a_threshold_has_a_jump():
    assert keras_smooth.smoothness(activations.partial("relu", threshold=1.0)) == -1


def test_one_sided_limits_detect_each_smoothness():
    powers = [lambda x, k=k: np.where(x > 0, x**k, 0.0) for k in range(1, 4)]
    measured = [one_sided.smoothness(power, (0.0,)) for power in powers]
    assert measured == [0, 1, 2]
    assert one_sided.smoothness(lambda x: np.where(x > 0, 1.0, 0.0), (0.0,)) == -1
    assert one_sided.smoothness(np.tanh, (0.0,)) == math.inf


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (keras.layers.Dense(2, "elu"), 1),
        (keras.layers.Dense(2), math.inf),
        (keras.layers.Conv1D(2, 3, activation="relu"), 0),
        (keras.layers.LSTM(2), math.inf),
        (keras.layers.LSTM(2, recurrent_activation="hard_sigmoid"), 0),
        (keras.layers.TimeDistributed(keras.layers.Dense(2, "selu")), 0),
        (keras.layers.ELU(alpha=0.5), 0),
        (keras.layers.ELU(), 1),
        (keras.layers.LeakyReLU(negative_slope=1.0), math.inf),
        (keras.layers.ReLU(threshold=1.0), -1),
        (keras.layers.MaxPooling1D(), 0),
        (keras.layers.LayerNormalization(), math.inf),
        (keras.layers.Embedding(3, 2), -1),
        (keras.layers.Lambda(lambda x: x), math.inf),
        (keras.layers.Lambda(tf.nn.relu), 0),
        (keras.layers.UnitNormalization(), 0),
        (keras.layers.Dot(1, normalize=True), 0),
        (keras.layers.Masking(), -1),
        (keras.layers.MultiHeadAttention(2, 3), math.inf),
        (keras.layers.Hashing(3), -1),
        (keras_smooth.Dense(2, "elu", order=1), 1),
        (keras_smooth.Activation("snake"), math.inf),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_smoothness_of_layers(layer, expected):
    assert keras_smooth.smoothness(layer) == expected


def test_smoothness_of_layer_classes():
    assert keras_smooth.smoothness(keras.layers.MaxPooling1D) == 0
    assert keras_smooth.smoothness(keras.layers.Dense) is None


# Required arguments of layers.
REQUIRED = {
    "CategoryEncoding": (3,), "Discretization": ([0.0, 1.0],), "Embedding": (3, 2),
    "GroupedQueryAttention": (2, 2, 1), "Hashing": (3,), "MultiHeadAttention": (2, 2),
    "Permute": ((1,),), "RepeatVector": (2,), "Rescaling": (2.0,), "Reshape": ((-1,),),
    **dict.fromkeys("AlphaDropout Dropout GaussianDropout GaussianNoise".split(), (0.5,)),
    **{f"SpatialDropout{n}D": (0.5,) for n in (1, 2, 3)},
    **{f"AveragePooling{n}D": (2,) for n in (1, 2, 3)},
}  # fmt: skip
# The default of 32 groups does not fit the number of channels.
SETTINGS = {"GroupNormalization": {"groups": 1}}


def classes_with_a_smoothness():
    classes = [value for value in vars(keras.layers).values() if isinstance(value, type)]
    return sorted(
        {kind for kind in classes if registry.layers.of_class(kind) is not None},
        key=lambda kind: kind.__name__,
    )


@pytest.mark.parametrize(
    "kind", representatives(classes_with_a_smoothness(), classes_with_a_smoothness()[::9])
)
def test_layer_class_has_the_smoothness_of_its_layers(kind):
    layer = kind(*REQUIRED.get(kind.__name__, ()), **SETTINGS.get(kind.__name__, {}))
    assert keras_smooth.smoothness(kind) == keras_smooth.smoothness(layer)


def test_model_has_the_smoothness_of_its_least_smooth_part():
    x = keras.Input((3,))
    wide = keras.layers.Dense(4, "elu")(x)
    deep = keras.layers.Dense(4, "tanh")(wide)
    functional = keras.Model(x, keras.layers.Add()([wide, deep]))
    assert keras_smooth.smoothness(functional) == 1
    nested = keras.Sequential([functional, keras.layers.ReLU()])
    assert keras_smooth.smoothness(nested) == 0


# Operations in a graph, with their smoothness for these arguments.
OPERATIONS = {
    "sums and products": (lambda x: 2.0 * x + ops.sin(x) - x / 3.0, math.inf),
    "power": (lambda x: x**3, math.inf),
    "abs": (ops.abs, 0),
    "relu": (ops.relu, 0),
    "maximum of a number": (lambda x: ops.maximum(x, 0.0), 0),
    "straight leaky relu": (lambda x: ops.leaky_relu(x, negative_slope=1.0), math.inf),
    "elu": (ops.elu, 1),
    "elu with a kink": (lambda x: ops.elu(x, alpha=2.0), 0),
    "where x": (lambda x: ops.where(x > 0, x, 0.0), -1),
    "where a constant": (
        lambda x: ops.where(np.array([True, False, True]), x, 0.0),
        math.inf,
    ),
    "zeros like": (lambda x: x + ops.zeros_like(x), math.inf),
    "rounded": (ops.round, -1),
    "stopped": (ops.stop_gradient, math.inf),
    "a logarithm of a sum": (lambda x: ops.logsumexp(x, axis=(-1,)), math.inf),
    "finite numbers": (ops.nan_to_num, math.inf),
    "a norm": (lambda x: ops.norm(x, axis=-1), 0),
    "layers as well": (lambda x: ops.exp(keras.layers.Dense(3, "elu")(x)), 1),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_smoothness_of_operations_in_a_graph(name):
    function, expected = OPERATIONS[name]
    x = keras.Input((3,))
    assert keras_smooth.smoothness(keras.Model(x, function(x))) == expected


def test_smoothness_of_functions_of_keras_ops():
    assert keras_smooth.smoothness(ops.arctan) == math.inf
    assert keras_smooth.smoothness(ops.absolute) == keras_smooth.smoothness(ops.abs) == 0


class CustomModel(keras.Model):
    def call(self, x):
        return keras.ops.elu(x, alpha=1.0)


class DenseSubclass(keras.layers.Dense):
    pass


class TakeReluAt(keras.layers.Layer):
    """Has an input of floats and one of indices."""

    def call(self, x, places):
        return keras.ops.take_along_axis(keras.ops.relu(x), places, axis=1)


def model_with_indices():
    x, indices = keras.Input((3,)), keras.Input((2,), dtype="int32")
    return keras.Model([x, indices], TakeReluAt()(x, indices))


# Custom models, layers and functions.
CUSTOM_CODE = {
    "a model": (CustomModel, 1),
    "a subclass": (lambda: DenseSubclass(2, "tanh"), math.inf),
    "a function": (lambda: lambda x: tf.nn.relu(x) + x, 0),
    "a function of two": (lambda: lambda x, y: tf.sin(x) * y, math.inf),
    "a partial": (lambda: functools.partial(tf.reduce_max, axis=-1), 0),
    "one that x is compared in": (lambda: lambda x: x if x[0, 0] > 0 else -x, None),
    "a Python function": (lambda: lambda x: tf.numpy_function(np.sin, [x], x.dtype), None),
    "places that are held": (model_with_indices, 0),
    "a maximum that cancels": (lambda: lambda x: tf.reduce_logsumexp(x, -1), math.inf),
    "a maximum beside one": (
        lambda: lambda x: tf.reduce_logsumexp(x, -1) + tf.reduce_max(x, -1),
        0,
    ),
    "ELU with parameters": (lambda: keras.layers.ELU(alpha=0.5), 0),
}


@pytest.mark.parametrize("name", CUSTOM_CODE)
def test_smoothness_of_custom_code(name):
    make, expected = CUSTOM_CODE[name]
    assert keras_smooth.smoothness(make()) == expected


def test_smoothness_does_not_change_a_layer():
    layer = keras.layers.Dense(2, activity_regularizer="l2")
    assert keras_smooth.smoothness(layer) == math.inf
    assert not layer.built and not layer.losses
    layer(np.ones((1, 3)))
    before = [np.array(w) for w in layer.weights], len(layer.losses)
    layer.activation = keras.activations.relu
    assert keras_smooth.smoothness(layer) == 0
    assert len(layer.losses) == before[1]
    for weight, old in zip(layer.weights, before[0], strict=True):
        np.testing.assert_array_equal(weight, old)


def test_register_smoothness_of_functions_and_layers():
    def cube_plus(x):
        return keras.ops.where(x > 0, x**3, 0.0 * x)

    # A `where` may have jumps.
    assert keras_smooth.smoothness(cube_plus) == -1
    keras_smooth.register_smoothness(cube_plus, 2, breakpoints=(0.0,), reason="bends at 0")
    assert keras_smooth.smoothness(cube_plus) == keras_smooth.smoothness("cube_plus") == 2
    assert activations.get("cube_plus") is cube_plus
    dense = keras.layers.Dense(2, cube_plus)
    assert keras_smooth.smoothness(dense) == 2
    assert keras_smooth.smoothness(keras.Sequential([keras.Input((3,)), dense])) == 2

    class CustomLayer(keras.layers.Layer):
        def call(self, x):
            return tf.round(x)

    keras_smooth.register_smoothness(CustomLayer, lambda layer: 7)
    assert keras_smooth.smoothness(CustomLayer()) == 7
    assert (
        keras_smooth.smoothness(keras.Sequential([keras.Input((3,)), CustomLayer()])) == 7
    )


@pytest.mark.parametrize("smoothness", [-2, 0.5, "1", None, math.nan])
def test_register_smoothness_raises_for_invalid_smoothness(smoothness):
    with pytest.raises(ValueError, match="`smoothness` must be"):
        keras_smooth.register_smoothness(lambda x: x, smoothness)


def test_register_smoothness_raises_for_a_string():
    with pytest.raises(TypeError, match="function or a class of layers"):
        keras_smooth.register_smoothness("tanh", 2)


def test_smoothness_raises_for_invalid_arguments():
    with pytest.raises(ValueError, match="no activation named 'tahn'. Did you mean tanh"):
        keras_smooth.smoothness("tahn")
    with pytest.raises(TypeError, match="received 3"):
        keras_smooth.smoothness(3)


WEIGHT = tf.Variable(1.0)


def _with_inner_function(x):
    return tf.function(lambda z: tf.sqrt(z * z + 1.0))(x)


# Functions with a root or a power, whose arguments may reach the edge of the domain.
EDGES = {
    "a pseudo-Huber": (lambda x: tf.sqrt(x**2 + 1.0), math.inf),
    "a product": (lambda x: tf.sqrt(x * x + 1e-6), math.inf),
    "a norm that is kept off 0": (
        lambda x: tf.sqrt(tf.reduce_sum(tf.square(x), -1, keepdims=True) + 1e-3), math.inf
    ),
    "a root mean square": (
        lambda x: x / ops.sqrt(ops.mean(ops.square(x), -1, keepdims=True) + 1e-7), math.inf
    ),
    "of an exponential": (lambda x: tf.sqrt(tf.exp(x)), math.inf),
    "a power of a softplus": (lambda x: tf.nn.softplus(x) ** 1.5, math.inf),
    "a quotient": (lambda x: tf.math.divide_no_nan(x, 1.0 + x * x), math.inf),
    "in a function that is called": (_with_inner_function, math.inf),
    "a square alone": (lambda x: tf.sqrt(tf.square(x)), 0),
    "less than a square": (lambda x: tf.sqrt(x**2 - 1.0), 0),
    "a third power": (lambda x: tf.sqrt(x**3 + 1.0), 0),
    "a difference": (lambda x: tf.sqrt(1.0 - x**2), 0),
    "another edge": (lambda x: tf.acos(tf.sigmoid(x)), 0),
    "a weight": (lambda x: tf.sqrt(x**2 + WEIGHT), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", EDGES)
def test_smoothness_counts_edges_of_the_domain_that_x_can_reach(name):
    function, expected = EDGES[name]
    assert keras_smooth.smoothness(function) == expected


SIGNED = {
    "Abs Square SquaredDifference": lambda x: [abs(x), x**2, tf.math.squared_difference(x, 1.0)],
    "Exp Sigmoid Softplus Cosh Softmax": lambda x: [
        tf.exp(x), tf.sigmoid(x), tf.nn.softplus(x), tf.cosh(x), tf.nn.softmax(x)
    ],
    "sums and products": lambda x: [x * x + 1.0, tf.exp(x) * abs(x), abs(x) / tf.exp(x), x + x],
    "powers": lambda x: [x**2, x**3, tf.exp(x) ** 0.5, x**4.0],
    "reductions": lambda x: [
        tf.reduce_sum(x * x, -1), tf.reduce_mean(tf.exp(x)), tf.reduce_max(x), tf.norm(x)
    ],
    "shapes": lambda x: [
        tf.concat([x * x, tf.exp(x)], 0), tf.stack([x, x * x]), tf.transpose(tf.exp(x)),
        tf.maximum(x, tf.exp(x)), tf.minimum(tf.exp(x), 1.0), tf.matmul(x * x, tf.exp(x), transpose_b=True)
    ],
    "constants": lambda x: [x * 0.0 + np.array([1.0, 0.0]), x + np.array([2.0, 1.0])],
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNED)
def test_signs_hold_at_all_points(name):
    """Signs that are read from the operations hold at a thousand points."""
    x = np.random.default_rng(0).normal(scale=3.0, size=(1000, 2))
    x[:2] = 0.0
    traced = operations.trace(lambda x: SIGNED[name](x), [tf.constant(x)])
    signs_of, num_known = traced.program.signs, 0
    for value, output in zip(SIGNED[name](tf.constant(x)), traced.program.outputs):
        num_known += signs_of[output] != signs.Sign.UNKNOWN
        # Exponentials of -10 are far from underflow.
        assert signs_of[output] != signs.Sign.POSITIVE or np.all(value > 0)
        assert signs_of[output] != signs.Sign.NEVER_NEGATIVE or np.all(value >= 0)
    assert num_known or name == "constants"


def test_joints_is_the_deprecated_name_of_breakpoints():
    def bent(x):
        return ops.maximum(x, 1.0)

    with pytest.warns(DeprecationWarning, match="`joints` is now called `breakpoints`"):
        keras_smooth.register_smoothness(bent, 0, joints=[1.0])
    assert registry.row(bent).breakpoints == (1.0,)
    with pytest.raises(ValueError, match=r"both: breakpoints=\(1.0,\) and joints=\[2.0\]"):
        keras_smooth.register_smoothness(bent, 0, (1.0,), joints=[2.0])
