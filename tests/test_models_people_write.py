"""Models in the many ways that people write them, against differences of their values.

With each engine, each operator returns these numbers or raises one clear error.
"""

import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_smooth

L = keras.layers
F64 = {"dtype": "float64"}
RNG = np.random.default_rng(0)
# Differences of three steps: h^6, or rounding over h^2, of numbers of order 1.
STEP, TOLERANCE = 1e-2, 1e-7


def shifted(x, v, t):
    return keras.tree.map_structure(lambda a, b: a + t * b, x, v)


def by_differences(model, x, v):
    """Returns dy and d2y along v, from values of the model alone."""

    def values(t):
        with keras.StatelessScope():
            y = model(shifted(x, v, t))
        return [np.asarray(leaf, "float64") for leaf in keras.tree.flatten(y)]

    def extrapolated(of_step):
        table = [of_step(STEP * 2**k) for k in range(3)]
        for power in (4, 16):
            table = [(power * a - b) / (power - 1) for a, b in itertools.pairwise(table)]
        return table[0]

    pairs = {STEP * 2**k: (values(STEP * 2**k), values(-STEP * 2**k)) for k in range(3)}
    results = []
    for number, y in enumerate(values(0.0)):
        sides = {h: (up[number], down[number]) for h, (up, down) in pairs.items()}
        results.append((
            extrapolated(lambda h, s=sides: (s[h][0] - s[h][1]) / (2 * h)),
            extrapolated(lambda h, s=sides, y=y: (s[h][0] - 2 * y + s[h][1]) / h**2),
        ))  # fmt: skip
    return [list(entry) for entry in zip(*results, strict=True)]


def differences_along_each(model, x, directions):
    """Yields `by_differences` of each direction, from one batch with all of them."""
    size = len(keras.tree.flatten(x)[0])

    def joined(*parts):
        return np.concatenate(parts)

    points = keras.tree.map_structure(lambda leaf: joined(*[leaf] * len(directions)), x)
    directions = keras.tree.map_structure(joined, *directions)
    first, second = by_differences(model, points, directions)
    for start in range(0, len(first[0]), size):
        rows = slice(start, start + size)
        yield [y[rows] for y in first], [y[rows] for y in second]


def unit_directions(x):
    """Yields a direction for each number of a sample."""
    leaves = keras.tree.flatten(x)
    for index, leaf in enumerate(leaves):
        for position in np.ndindex(*leaf.shape[1:]):
            zeros = [np.zeros_like(part) for part in leaves]
            zeros[index][(slice(None), *position)] = 1.0
            yield keras.tree.pack_sequence_as(x, zeros)


def assert_near(actual, expected, tolerance=TOLERANCE):
    for value, expected_value in zip(keras.tree.flatten(actual), expected, strict=True):
        scale = 1.0 + np.abs(expected_value).max()
        np.testing.assert_allclose(value, expected_value, rtol=0, atol=tolerance * scale)


def call_function(function, x, compiled):
    tensors = keras.tree.map_structure(tf.constant, x)
    if not compiled:
        return function(tensors)
    return tf.function(function, autograph=False)(tensors)


def check_operators(model, x, engine="auto", compiled=False):
    """Checks directional, laplacian and jacobian against differences."""
    v = keras.tree.map_structure(lambda leaf: RNG.normal(size=leaf.shape), x)

    def derivatives(x):
        return (
            keras_smooth.directional(model, x, v, 2, engine=engine),
            keras_smooth.laplacian(model, x, engine=engine),
            keras_smooth.jacobian(model, x, engine=engine),
        )

    (_, dy, d2y), laplacian, jacobians = call_function(derivatives, x, compiled)
    (first, second), *lines = differences_along_each(model, x, [v, *unit_directions(x)])
    assert_near(dy, first)
    assert_near(d2y, second)
    expected = [sum(terms) for terms in zip(*(second for _, second in lines), strict=True)]
    assert_near(laplacian, expected)
    for index, leaf in enumerate(keras.tree.flatten(first)):
        number_of_inputs = len(keras.tree.flatten(x))
        rows = keras.tree.flatten(jacobians)[index * number_of_inputs :][:number_of_inputs]
        flat = [np.reshape(row, (*leaf.shape, -1)) for row in rows]
        columns = [line[0][index] for line in lines]
        assert_near([np.concatenate(flat, axis=-1)], [np.stack(columns, axis=-1)])


SLOW = pytest.mark.slow
EAGER_AND_GRAPH = pytest.mark.parametrize(
    "compiled", [False, pytest.param(True, marks=SLOW)]
)
ENGINES = pytest.mark.parametrize(
    "engine", ["auto", pytest.param("tape", marks=SLOW), pytest.param("jet", marks=SLOW)]
)
AUTO_AND_TAPE = pytest.mark.parametrize(
    "engine", ["auto", pytest.param("tape", marks=SLOW)]
)


def functional(function, *shapes, **options):
    inputs = [keras.Input(shape, **{**F64, **options}) for shape in shapes]
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, function(*inputs))


def lambda_(function):
    return L.Lambda(function, **F64)


# A path whose gradient has no gradient, added to one that can be differentiated twice.


@tf.custom_gradient
def sin_with_stopped_upstream(x):
    return tf.sin(x), lambda upstream: tf.stop_gradient(upstream) * tf.cos(x)


def centered(x):
    """Sums to 0, and so does its derivative: sums of slopes do not show that it is missing."""
    y = tf.image.resize(x, x.shape[1:3])
    return y - tf.reduce_mean(y, axis=(1, 2, 3), keepdims=True)


IMAGE = (6, 6, 1)
NOT_TWICE_DIFFERENTIABLE = {
    "Resizing": lambda x: L.Resizing(6, 6, **F64)(L.Cropping2D(1, **F64)(x)),
    "UpSampling2D": lambda x: L.UpSampling2D(2, interpolation="bilinear", **F64)(
        L.AveragePooling2D(2, **F64)(x)
    ),
    "a custom gradient": lambda x: lambda_(sin_with_stopped_upstream)(x),
    "terms that cancel in a sum": lambda x: lambda_(
        lambda x: centered(tf.nn.avg_pool2d(x, 3, 1, "SAME"))
    )(x),
    "in one layer": lambda x: lambda_(
        lambda x: (
            tf.square(x)
            + sin_with_stopped_upstream(x)
            + 2 * sin_with_stopped_upstream(2 * x)
        )
    )(x),
}


@EAGER_AND_GRAPH
@AUTO_AND_TAPE
@pytest.mark.parametrize("name", NOT_TWICE_DIFFERENTIABLE)
def test_path_whose_gradient_has_no_gradient_keeps_its_slope(name, engine, compiled):
    model = functional(
        lambda x: L.Add(**F64)([NOT_TWICE_DIFFERENTIABLE[name](x), lambda_(tf.sin)(x)]),
        IMAGE,
    )
    x, v = RNG.normal(size=(2, 2, *IMAGE))
    _, dy = call_function(
        lambda x: keras_smooth.directional(model, x, v, engine=engine), x, compiled
    )
    # TensorFlow interpolates in float32.
    assert_near(dy, by_differences(model, x, v)[0], tolerance=1e-3)


# Normalization by the statistics of the batch.


class BatchNormalizationSubclass(L.BatchNormalization):
    """A subclass may compute anything, so that its mixing of samples is measured."""


class CallsInTrainingMode(keras.Model):
    def __init__(self, layer):
        super().__init__(**F64)
        self.layer = layer

    def call(self, x):
        return self.layer(x, training=True)


def built(model, *shape):
    model(np.ones((2, *shape)))
    return model


def norm(kind=L.BatchNormalization):
    return kind(name="norm", **F64)


def as_inner_model(part):
    return keras.Sequential([keras.Input((3,), **F64), part])


CALLED_IN_TRAINING_MODE = {
    "in a graph": lambda: functional(lambda x: norm()(ops.sin(x), training=True), (3,)),
    "in a model within": lambda: functional(
        lambda x: as_inner_model(norm())(ops.sin(x), training=True), (3,)
    ),
    "in a wrapper": lambda: functional(
        lambda x: L.TimeDistributed(norm(), **F64)(x[..., None], training=True), (3,)
    ),
}
MIXING = {
    "a subclass": lambda: built(CallsInTrainingMode(norm(BatchNormalizationSubclass)), 3),
    "a subclassed model": lambda: built(CallsInTrainingMode(norm()), 3),
    "inside a graph": lambda: functional(
        lambda x: built(CallsInTrainingMode(norm()), 3)(x), (3,)
    ),
}
OPERATORS = {
    "derivatives": keras_smooth.derivatives,
    "gradient": keras_smooth.gradient,
    "jacobian": keras_smooth.jacobian,
    "hessian": keras_smooth.hessian,
    "laplacian": keras_smooth.laplacian,
    "directional": lambda model, x, **options: keras_smooth.directional(
        model, x, np.ones(3), **options
    ),
}


@ENGINES
@pytest.mark.parametrize("name", CALLED_IN_TRAINING_MODE)
def test_layers_called_with_training_true_use_mode_of_outer_call(name, engine):
    model, x = CALLED_IN_TRAINING_MODE[name](), RNG.normal(size=(5, 3))
    # As in Keras, `predict` and `model(x, training=False)` use the moving statistics.
    y, dy = keras_smooth.derivatives(model, x, 1, engine=engine)
    np.testing.assert_allclose(y, model(x, training=False), rtol=1e-12)
    # Derivatives of each sample alone, which the statistics of a batch would make 0.
    separate = [
        keras_smooth.derivatives(model, row[None], 1, engine=engine)[1] for row in x
    ]
    np.testing.assert_allclose(dy, np.concatenate(separate), rtol=1e-12)
    for compiled in (False, True):
        with pytest.raises(
            ValueError, match="mixes samples in training mode.*(norm|time_distributed)"
        ):
            call_function(
                lambda x: keras_smooth.derivatives(
                    model, x, 1, engine=engine, training=True
                ),
                x,
                compiled,
            )


@ENGINES
@pytest.mark.parametrize("name", MIXING)
def test_batch_statistics_in_custom_code_raise_mixes_samples(name, engine):
    model, x = MIXING[name](), RNG.normal(size=(5, 3))
    before = [variable.numpy() for variable in model.variables]
    for operator in OPERATORS.values():
        with pytest.raises(ValueError, match="mixes samples"):
            operator(model, x, engine=engine)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_training_argument_selects_mode_and_frozen_layers_do_not_mix():
    x = RNG.normal(size=(5, 3))
    model = functional(lambda x: norm()(ops.sin(x)), (3,))
    check_operators(model, x)
    with pytest.raises(ValueError, match="mixes samples.*norm"):
        keras_smooth.derivatives(model, x, training=True)
    frozen = norm()
    frozen.trainable = False
    check_operators(
        functional(lambda x: frozen(ops.sin(x), training=True), (3,)), x, "tape"
    )


# Attributes that change after the first call.


class MutableLayer(L.Layer):
    mix, scale = False, 1.0

    def call(self, x):
        return self.scale * tf.sin(x) + self.mix * tf.reduce_mean(x, axis=0)


class Holder:
    def __init__(self):
        self.part = MutableLayer(**F64)

    def __call__(self, x):
        return self.part(x)


def layer_in_model():
    part = MutableLayer(**F64)
    return functional(part, (3,)), part


def layer_in_function():
    part = MutableLayer(**F64)
    return (lambda x: part(x) * 1.0), part


def layer_in_object():
    holder = Holder()
    return holder, holder.part


def bare_layer():
    part = MutableLayer(**F64)
    return part, part


@ENGINES
@pytest.mark.parametrize(
    "make", [bare_layer, layer_in_model, layer_in_function, layer_in_object]
)
def test_changed_layer_attribute_is_used_in_next_call(make, engine):
    (model, part), x = make(), RNG.normal(size=(5, 3))
    for _ in range(2):
        for scale in (1.0, 3.0):
            part.scale = scale
            laplacian = keras_smooth.laplacian(model, x, engine=engine)
            assert_near(laplacian, [-scale * np.sin(x)])
        part.mix = True
        for operator in OPERATORS.values():
            with pytest.raises(ValueError, match="mixes samples"):
                operator(model, x, engine=engine)
        part.mix = False


# Names of inputs.


def model_with_key_names(first="a", second="b"):
    """Inputs with the keys p and u, whose tensors have the names `first` and `second`."""
    a, b = keras.Input((1,), name=first, **F64), keras.Input((1,), name=second, **F64)
    with pytest.warns(UserWarning, match="keys in the dict must match"):
        return keras.Model({"p": a, "u": b}, 2 * a + 3 * b)


POINT = {"p": np.ones((2, 1)), "u": np.ones((2, 1))}
WRT = {
    "a key that is the name of another tensor": (("u", "w"), "u", 3.0),
    "keys and names that are swapped": (("u", "p"), "p", 2.0),
    "a name that is not a key": (("u", "w"), "w", 3.0),
    "a position": (("u", "p"), 1, 3.0),
}


@ENGINES
@pytest.mark.parametrize("name", WRT)
def test_wrt_prefers_input_keys_to_tensor_names(name, engine):
    names, wrt, slope = WRT[name]
    gradient = keras_smooth.gradient(
        model_with_key_names(*names), POINT, wrt=wrt, engine=engine
    )
    np.testing.assert_array_equal(gradient, np.full((2, 1), slope))


# Derivatives that are not finite with some engine.

CUMULATIVE = {
    "forwards": lambda x: tf.math.cumulative_logsumexp(x, axis=1),
    "backwards": lambda x: tf.math.cumulative_logsumexp(x, axis=1, reverse=True),
    "of a multiple": lambda x: tf.math.cumulative_logsumexp(2 * x, axis=1),
}


@EAGER_AND_GRAPH
@ENGINES
@pytest.mark.parametrize("name", CUMULATIVE)
def test_cumulative_logsumexp_has_finite_derivatives(name, engine, compiled):
    model = functional(lambda_(CUMULATIVE[name]), (3,))
    check_operators(model, RNG.normal(size=(2, 3)), engine, compiled)


# tf.recompute_grad.


class RecomputedLayer(L.Layer):
    def call(self, x):
        return tf.recompute_grad(lambda x: tf.sin(2 * x) * x)(x)


class RecomputedWithWeights(L.Layer):
    def build(self, shape):
        self.inside = L.Dense(3, "tanh", **F64)
        self.inside.build(shape)

    def call(self, x):
        return tf.recompute_grad(lambda x: self.inside(x))(x)


def recomputed(x):
    return tf.recompute_grad(lambda x: tf.exp(x) * x[:, ::-1])(x)


RECOMPUTED = {
    "a layer": lambda: functional(RecomputedLayer(**F64), (3,)),
    "a function": lambda: recomputed,
    "a Lambda": lambda: functional(lambda_(recomputed), (3,)),
}


@EAGER_AND_GRAPH
@AUTO_AND_TAPE
@pytest.mark.parametrize("name", RECOMPUTED)
def test_recompute_grad_is_differentiated_twice(name, engine, compiled):
    if engine == "tape" and compiled:
        # In a graph, TensorFlow cannot transpose a recomputed gradient.
        with pytest.raises(ValueError, match="is lost: recompute_grad"):
            check_operators(RECOMPUTED[name](), RNG.normal(size=(2, 3)), engine, compiled)
        return
    check_operators(RECOMPUTED[name](), RNG.normal(size=(2, 3)), engine, compiled)


@ENGINES
def test_recompute_grad_with_weights_needs_jets_for_order_two(engine):
    model, x = functional(RecomputedWithWeights(**F64), (3,)), RNG.normal(size=(2, 3))
    v = RNG.normal(size=x.shape)
    first, _ = by_differences(model, x, v)
    assert_near(keras_smooth.directional(model, x, v, engine=engine)[1], first)
    if engine == "tape":
        for operator in (keras_smooth.hessian, keras_smooth.laplacian):
            with pytest.raises(ValueError, match="order 2 is lost: recompute_grad"):
                operator(model, x, engine=engine)
    else:
        # Jets use the operations that are computed, not the declared gradient.
        _, second = by_differences(model, x, v)
        assert_near(keras_smooth.directional(model, x, v, 2, engine=engine)[2], second)


# Nested inputs.


def of_three_inputs(a, b, c):
    return ops.sin(a + b[:, :1] + c) * ops.exp(2 * b[:, 1:] + c)


def nested_model(pack):
    def make():
        inputs = [keras.Input((size,), **F64) for size in (1, 2, 1)]
        return keras.Model(pack(*inputs), of_three_inputs(*inputs))

    return make


def nested(a, b, c):
    return {"p": [a, b], "q": c}


class SubclassedNested(keras.Model):
    def call(self, x):
        return of_three_inputs(*x["p"], x["q"])


NESTS = {
    "lists in a dict": (nested_model(nested), nested),
    "a dict in a list": (
        nested_model(lambda a, b, c: [{"a": a, "b": b}, c]),
        lambda a, b, c: [{"a": a, "b": b}, c],
    ),
    "a function": (lambda: lambda x: of_three_inputs(*x["p"], x["q"]), nested),
    "a subclassed model": (lambda: _marked_as_built(SubclassedNested(**F64)), nested),
}


def _marked_as_built(model):
    model.built = True
    return model


@pytest.mark.filterwarnings("ignore:.*keys in the dict must match")
@EAGER_AND_GRAPH
@ENGINES
@pytest.mark.parametrize("name", NESTS)
def test_nested_inputs(name, engine, compiled):
    make, pack = NESTS[name]
    model, parts = make(), [RNG.normal(size=(2, size)) for size in (1, 2, 1)]
    check_operators(model, pack(*parts), engine, compiled)


@pytest.mark.filterwarnings("ignore:.*keys in the dict must match")
@ENGINES
def test_nested_inputs_are_named_by_their_keys(engine):
    a, b, c = (RNG.normal(size=(2, size)) for size in (1, 2, 1))
    model, x = nested_model(nested)(), nested(a, b, c)
    jacobian = keras_smooth.jacobian(model, x, wrt=["p/0", "q"], engine=engine)
    angle, growth = a + b[:, :1] + c, np.exp(2 * b[:, 1:] + c)
    sine, cosine = np.sin(angle) * growth, np.cos(angle) * growth
    for key, value in {"p/0": cosine, "q": sine + cosine}.items():
        assert_near(jacobian[key], [value])
        assert_near(keras_smooth.gradient(model, x, wrt=key, engine=engine), [value])
    assert_near(keras_smooth.laplacian(model, x, wrt=1, engine=engine), [3 * sine])
    second = keras_smooth.hessian(model, x, engine=engine)
    assert_near(second["q"]["p"][1][:, 0, 1], [2 * (sine + cosine)[:, 0]])
    assert keras_smooth.laplacian(model, x, engine=engine, verify=True).verification.ok
    with pytest.raises(ValueError, match="'p' names several inputs.*'p/0', 'p/1'"):
        keras_smooth.gradient(model, x, wrt="p", engine=engine)
    with pytest.raises(ValueError, match="takes inputs of the structure"):
        keras_smooth.gradient(model, {"p": a, "q": c}, engine=engine)
    with pytest.raises(ValueError, match="one input"):
        keras_smooth.DerivativeModel(model)


@ENGINES
def test_dict_for_listed_inputs_is_matched_by_names(engine):
    x, t = keras.Input((2,), name="x", **F64), keras.Input((1,), name="t", **F64)
    model = keras.Model([x, t], ops.sin(x[:, :1]) * ops.exp(t) * x[:, 1:])
    check_operators(
        model, {"x": RNG.normal(size=(2, 2)), "t": RNG.normal(size=(2, 1))}, engine
    )


# Models with a fixed batch size.

FIXED_BATCH_SIZE = {
    "a GRU with a state": lambda: functional(
        lambda x: L.Dense(1, **F64)(L.GRU(2, stateful=True, **F64)(x)), (2, 2), batch_size=4
    ),
    "an LSTM with a state": lambda: functional(
        L.LSTM(2, stateful=True, **F64), (2, 2), batch_size=4
    ),
    "a reshape": lambda: functional(
        lambda x: ops.sin(ops.reshape(ops.square(x), (4, 4))), (2, 2), batch_size=4
    ),
    "a layer": lambda: built(L.SimpleRNN(2, stateful=True, **F64), 2, 2),
}


@pytest.mark.slow
@ENGINES
@pytest.mark.parametrize("name", FIXED_BATCH_SIZE)
def test_models_with_fixed_batch_size(name, engine):
    model, x = (
        FIXED_BATCH_SIZE[name](),
        RNG.normal(size=(4 if name != "a layer" else 2, 2, 2)),
    )
    # Stateful layers start from their current state, and a verification does not change it.
    with keras.StatelessScope():
        expected = keras_smooth.jacobian(model, x, engine=engine)
    jacobian = keras_smooth.jacobian(model, x, engine=engine, verify=True)
    assert jacobian.verification.ok
    assert_near(jacobian, [expected])
    for operator in (keras_smooth.laplacian, keras_smooth.hessian):
        assert np.all(np.isfinite(operator(model, x, engine=engine)))
    _reset(model)
    v = RNG.normal(size=x.shape)
    first, second = by_differences(model, x, v)
    _, dy, d2y = keras_smooth.directional(model, x, v, 2, engine=engine)
    assert_near(dy, first)
    assert_near(d2y, second)


def _reset(model):
    for layer in [model, *getattr(model, "layers", [])]:
        if getattr(layer, "stateful", False):
            layer.reset_state()


# Lists of recurrent cells.

CELLS = {
    "LSTM and GRU": lambda: L.RNN([L.LSTMCell(2, **F64), L.GRUCell(3, **F64)], **F64),
    "simple ones": lambda: L.RNN([L.SimpleRNNCell(2, **F64)] * 1, **F64),
    "stacked": lambda: L.RNN(
        L.StackedRNNCells([L.GRUCell(2, **F64), L.SimpleRNNCell(1, **F64)]), **F64
    ),
}


@functools.cache
def cells_and_laplacian(name):
    """Returns a model, its points, and the Laplacian by nested tapes, which takes seconds."""
    model, x = functional(CELLS[name](), (2, 2)), RNG.normal(size=(3, 2, 2))
    # Keras stacks cells in float32, which is too coarse for differences.
    second = np.asarray(keras_smooth.hessian(model, x, engine="tape"))
    return model, x, np.trace(second.reshape(3, -1, 4, 4), axis1=2, axis2=3)


# Keras stacks a list of cells in its default dtype, which cannot be traced with float64.
@pytest.mark.filterwarnings("ignore:.*TensorFlow cannot trace it")
@pytest.mark.slow
@ENGINES
@pytest.mark.parametrize("name", CELLS)
def test_lists_of_recurrent_cells(name, engine):
    model, x, expected = cells_and_laplacian(name)
    for _ in range(2):
        assert_near(keras_smooth.laplacian(model, x, engine=engine), [expected], 1e-4)


# Samples that are joined over the batch and separated again.

# The cost of tapes in a graph grows with the square of the size of a sample, 4 here.
ATOMS = 2


def to_atoms(x):
    return tf.reshape(x, (-1, 2))


def segments(h):
    return tf.repeat(tf.range(tf.shape(h)[0] // ATOMS), ATOMS)


def neighbors(h):
    """Adds messages along a ring of atoms in each molecule."""
    index = tf.range(tf.shape(h)[0])
    return h + tf.gather(h, index - index % ATOMS + (index + 1) % ATOMS) ** 2


def segment_sums(h):
    return tf.math.segment_sum(h, segments(h))


def unsorted_segment_sums(h):
    return tf.math.unsorted_segment_sum(h, segments(h), tf.shape(h)[0] // ATOMS)


def chain(*parts):
    return lambda x: [x := (part if callable(part) else part)(x) for part in parts][-1]


def dense(units):
    return L.Dense(units, "tanh", **F64)


MOLECULES = {
    "a sum over segments": lambda: [
        lambda_(to_atoms), dense(3), lambda_(segment_sums), dense(1)
    ],
    "a sum at the end": lambda: [lambda_(to_atoms), dense(2), lambda_(segment_sums)],
    "a sum over unsorted segments": lambda: [
        lambda_(to_atoms), dense(2), lambda_(unsorted_segment_sums)
    ],
    "messages": lambda: [
        lambda_(to_atoms), dense(2), lambda_(neighbors), dense(2), lambda_(segment_sums)
    ],
    "back by a reshape": lambda: [
        lambda_(to_atoms), dense(2), lambda_(lambda h: tf.reshape(h, (-1, 2 * ATOMS)))
    ],
}  # fmt: skip


@EAGER_AND_GRAPH
@AUTO_AND_TAPE
@pytest.mark.parametrize("name", MOLECULES)
def test_molecules_joined_over_the_batch(name, engine, compiled):
    model = functional(chain(*MOLECULES[name]()), (ATOMS, 2))
    check_operators(model, RNG.normal(size=(2, ATOMS, 2)), engine, compiled)


@pytest.mark.parametrize("name", MOLECULES)
def test_molecules_with_unknown_batch_size(name):
    model, x = (
        functional(chain(*MOLECULES[name]()), (ATOMS, 2)),
        RNG.normal(size=(2, ATOMS, 2)),
    )
    spec = [tf.TensorSpec((None, ATOMS, 2), "float64")]
    for operator in (keras_smooth.laplacian, keras_smooth.hessian):
        compiled = tf.function(
            lambda x, operator=operator: operator(model, x),
            input_signature=spec,
            autograph=False,
        )
        assert_near(compiled(x), [np.asarray(operator(model, x, engine="tape"))], 1e-12)


SLICED = {
    "a sum over segments": lambda x: segment_sums(tf.sin(to_atoms(x))),
    "gathered rows": lambda x: tf.gather(tf.sin(x), tf.range(tf.shape(x)[0])),
    "gathered columns": lambda x: tf.gather(tf.reshape(x, (-1, 4)), [0, 2, 2], axis=1) ** 3,
    "gathered first": lambda x: tf.sin(tf.gather(x, tf.range(tf.shape(x)[0]))),
}


@EAGER_AND_GRAPH
@AUTO_AND_TAPE
@pytest.mark.parametrize("name", SLICED)
def test_gradients_of_rows_are_tensors(name, engine, compiled):
    function, x = SLICED[name], RNG.normal(size=(2, ATOMS, 2))
    check_operators(function, x, engine, compiled)
    for operator in (keras_smooth.jacobian, keras_smooth.hessian):
        assert isinstance(operator(function, x, engine=engine), tf.Tensor)


# Operator networks: outputs of functions and points.


class OperatorNetwork(keras.Model):
    def __init__(self):
        super().__init__(**F64)
        self.branch, self.trunk = dense(4), keras.Sequential([dense(4), dense(4)])

    def call(self, x):
        functions, points = x
        return ops.matmul(self.branch(functions), ops.transpose(self.trunk(points)))


@EAGER_AND_GRAPH
def test_operator_networks_need_points_or_functions_as_samples(compiled):
    model, functions, points = (
        OperatorNetwork(),
        RNG.normal(size=(3, 4)),
        RNG.normal(size=(5, 2)),
    )
    model([functions, points])
    for wrt in (None, 0, 1):
        with pytest.raises(ValueError, match=r"swapaxes\(model\(\[functions, points\]\)"):
            keras_smooth.laplacian(model, [functions, points], wrt=wrt)
    check_operators(
        lambda points: ops.swapaxes(model([functions, points]), 0, 1),
        points,
        compiled=compiled,
    )
    check_operators(
        lambda functions: model([functions, points]), functions, compiled=compiled
    )


# Outputs that do not depend on some input.


def separate_functions(x, z):
    return [lambda_(tf.sin)(x), lambda_(tf.cos)(z)]


def shared_layer(x, z):
    layer = lambda_(lambda x: tf.sin(x) * x)
    return {"x": layer(x), "z": layer(z), "both": layer(x * z)}


def inner_model(x, z):
    inner = functional(separate_functions, (1,), (2,))
    first, second = inner([z, x])
    return [first * 2, second, ops.exp(x) * z]


SEPARATE_OUTPUTS = {
    "two functions": separate_functions,
    "a shared layer": shared_layer,
    "a model within": inner_model,
}


def model_of_two_inputs(name):
    model = functional(SEPARATE_OUTPUTS[name], (2,), (1,))
    return model, [RNG.normal(size=(3, 2)), RNG.normal(size=(3, 1))]


@EAGER_AND_GRAPH
@ENGINES
@pytest.mark.parametrize("name", SEPARATE_OUTPUTS)
def test_derivative_without_path_is_zero(name, engine, compiled):
    check_operators(*model_of_two_inputs(name), engine, compiled)


@ENGINES
@pytest.mark.parametrize("name", SEPARATE_OUTPUTS)
def test_wrt_one_input_equals_part_of_all_inputs(name, engine):
    model, x = model_of_two_inputs(name)
    complete = keras_smooth.derivatives(model, x, 2, engine=engine)[2]
    for wrt in (0, 1):
        second = keras_smooth.derivatives(model, x, 2, wrt=wrt, engine=engine)[2]
        for part, expected in zip(
            keras.tree.flatten(second),
            keras.tree.flatten(complete)[3 * wrt :: 4],
            strict=True,
        ):
            assert_near(part, [np.asarray(expected)], 1e-12)


@ENGINES
def test_lost_derivative_on_one_path_raises(engine):
    model = functional(lambda x, z: [lambda_(tf.round)(x), lambda_(tf.sin)(z)], (2,), (2,))
    x = [RNG.normal(size=(3, 2)), RNG.normal(size=(3, 2))]
    with pytest.raises(ValueError, match="is lost"):
        keras_smooth.jacobian(model, x, engine=engine)


class RecomputedDense(keras.layers.Layer):
    """Recomputes a layer for its gradient; TensorFlow has no name for a layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(3, "tanh", **F64)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return tf.recompute_grad(self.dense)(x)


@ENGINES
def test_recompute_grad_of_layer(engine):
    model = functional(
        lambda x: RecomputedDense(**F64)(keras.layers.Dense(2, **F64)(x)), (3,)
    )
    x = RNG.normal(size=(2, 3))
    v = RNG.normal(size=x.shape)
    if engine == "tape":
        with pytest.raises(ValueError, match="order 2 is lost"):
            keras_smooth.hessian(model, x, engine=engine)
    else:
        _, second = by_differences(model, x, v)
        assert_near(keras_smooth.directional(model, x, v, 2, engine=engine)[2], second)


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "words"),
    [
        (8, None, "received 8 samples. Pass 4 samples at once; or"),
        (8, 4, "received 8 samples and batch_size=4. Pass 4 samples at once, without"),
        (4, 2, "received 4 samples and batch_size=2. Pass 4 samples at once, without"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a GRU with a state", "a reshape"])
def test_wrong_batch_size_of_fixed_size_model_raises(name, num_samples, batch_size, words):
    model, x = FIXED_BATCH_SIZE[name](), RNG.normal(size=(num_samples, 2, 2))
    with pytest.raises(ValueError, match=f"is built for batches of 4 samples, and {words}"):
        keras_smooth.derivatives(model, x, batch_size=batch_size)
    if batch_size is None:
        with pytest.raises(
            ValueError, match=f"is built for batches of 4 samples, and {words}"
        ):
            keras_smooth.audit(model, x)
    model.compile(loss="mse", jit_compile=False)
    if name == "a GRU with a state":
        with pytest.raises(
            ValueError, match=f"is built for batches of 4 samples, and {words}"
        ):
            keras_smooth.fit_lbfgs(
                model, x, x[:, 0, :1], batch_size=batch_size, verbose=0, jit_compile=False
            )


def test_fixed_batch_size_without_effect_accepts_any_size():
    model = functional(L.Dense(1, "tanh", **F64), (2,), batch_size=4)
    assert (
        keras_smooth.laplacian(model, RNG.normal(size=(7, 2)), batch_size=3).shape[0] == 7
    )
    # Other wrong arguments are reported as usual.
    with pytest.raises(ValueError, match="`engine`"):
        keras_smooth.laplacian(model, RNG.normal(size=(7, 2)), engine="tapes")
