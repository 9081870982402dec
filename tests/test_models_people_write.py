"""Models in the many ways that people write them, against differences of the model itself.

Whatever engine is inside: each operator gives these numbers, or refuses in one sentence.
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


def moved(x, v, t):
    return keras.tree.map_structure(lambda a, b: a + t * b, x, v)


def by_differences(model, x, v):
    """Returns dy and d2y along v, from values of the model alone."""

    def values(t):
        with keras.StatelessScope():
            y = model(moved(x, v, t))
        return [np.asarray(leaf, "float64") for leaf in keras.tree.flatten(y)]

    def extrapolated(of_step):
        table = [of_step(STEP * 2**k) for k in range(3)]
        for power in (4, 16):
            table = [(power * a - b) / (power - 1) for a, b in itertools.pairwise(table)]
        return table[0]

    pairs = {STEP * 2**k: (values(STEP * 2**k), values(-STEP * 2**k)) for k in range(3)}
    found = []
    for number, y in enumerate(values(0.0)):
        sides = {h: (up[number], down[number]) for h, (up, down) in pairs.items()}
        found.append((
            extrapolated(lambda h, s=sides: (s[h][0] - s[h][1]) / (2 * h)),
            extrapolated(lambda h, s=sides, y=y: (s[h][0] - 2 * y + s[h][1]) / h**2),
        ))  # fmt: skip
    return [list(entry) for entry in zip(*found, strict=True)]


def along_each(model, x, directions):
    """Returns `by_differences` of each direction, by a batch of all of them."""
    size = len(keras.tree.flatten(x)[0])

    def joined(*parts):
        return np.concatenate(parts)

    points = keras.tree.map_structure(lambda leaf: joined(*[leaf] * len(directions)), x)
    directions = keras.tree.map_structure(joined, *directions)
    first, second = by_differences(model, points, directions)
    for start in range(0, len(first[0]), size):
        rows = slice(start, start + size)
        yield [y[rows] for y in first], [y[rows] for y in second]


def axes_of(x):
    """Yields a direction for each number of a sample."""
    leaves = keras.tree.flatten(x)
    for number, leaf in enumerate(leaves):
        for place in np.ndindex(*leaf.shape[1:]):
            zeros = [np.zeros_like(each) for each in leaves]
            zeros[number][(slice(None), *place)] = 1.0
            yield keras.tree.pack_sequence_as(x, zeros)


def near(found, exact, tolerance=TOLERANCE):
    for value, true in zip(keras.tree.flatten(found), exact, strict=True):
        scale = 1.0 + np.abs(true).max()
        np.testing.assert_allclose(value, true, rtol=0, atol=tolerance * scale)


def called(function, x, compiled):
    tensors = keras.tree.map_structure(tf.constant, x)
    if not compiled:
        return function(tensors)
    return tf.function(function, autograph=False)(tensors)


def check(model, x, engine="auto", compiled=False):
    """Holds directional, laplacian and jacobian to differences."""
    v = keras.tree.map_structure(lambda leaf: RNG.normal(size=leaf.shape), x)

    def derivatives(x):
        return (
            keras_smooth.directional(model, x, v, 2, engine=engine),
            keras_smooth.laplacian(model, x, engine=engine),
            keras_smooth.jacobian(model, x, engine=engine),
        )

    (_, dy, d2y), laplacian, slopes = called(derivatives, x, compiled)
    (first, second), *lines = along_each(model, x, [v, *axes_of(x)])
    near(dy, first)
    near(d2y, second)
    exact = [sum(each) for each in zip(*(second for _, second in lines), strict=True)]
    near(laplacian, exact)
    for number, leaf in enumerate(keras.tree.flatten(first)):
        number_of_inputs = len(keras.tree.flatten(x))
        rows = keras.tree.flatten(slopes)[number * number_of_inputs :][:number_of_inputs]
        flat = [np.reshape(row, (*leaf.shape, -1)) for row in rows]
        columns = [line[0][number] for line in lines]
        near([np.concatenate(flat, axis=-1)], [np.stack(columns, axis=-1)])


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


# A gradient that has itself no gradient, beside a path that has one.


@tf.custom_gradient
def once(x):
    return tf.sin(x), lambda upstream: tf.stop_gradient(upstream) * tf.cos(x)


def centered(x):
    """Sums to 0, and so does its derivative: no sum of slopes shows that it is missing."""
    y = tf.image.resize(x, x.shape[1:3])
    return y - tf.reduce_mean(y, axis=(1, 2, 3), keepdims=True)


IMAGE = (6, 6, 1)
BESIDE = {
    "Resizing": lambda x: L.Resizing(6, 6, **F64)(L.Cropping2D(1, **F64)(x)),
    "UpSampling2D": lambda x: L.UpSampling2D(2, interpolation="bilinear", **F64)(
        L.AveragePooling2D(2, **F64)(x)
    ),
    "a gradient of one's own": lambda x: lambda_(once)(x),
    "what cancels in a sum": lambda x: lambda_(
        lambda x: centered(tf.nn.avg_pool2d(x, 3, 1, "SAME"))
    )(x),
    "in one layer": lambda x: lambda_(lambda x: tf.square(x) + once(x) + 2 * once(2 * x))(
        x
    ),
}


@EAGER_AND_GRAPH
@AUTO_AND_TAPE
@pytest.mark.parametrize("name", BESIDE)
def test_a_path_whose_gradient_has_none_does_not_vanish(name, engine, compiled):
    model = functional(lambda x: L.Add(**F64)([BESIDE[name](x), lambda_(tf.sin)(x)]), IMAGE)
    x, v = RNG.normal(size=(2, 2, *IMAGE))
    _, found = called(
        lambda x: keras_smooth.directional(model, x, v, engine=engine), x, compiled
    )
    # TensorFlow interpolates in float32.
    near(found, by_differences(model, x, v)[0], tolerance=1e-3)


# What the batch is normalized by.


class Renamed(L.BatchNormalization):
    """A subclass may be anything: it is measured."""


class Calls(keras.Model):
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


def nest(part):
    return keras.Sequential([keras.Input((3,), **F64), part])


IN_TRAINING = {
    "in a graph": lambda: functional(lambda x: norm()(ops.sin(x), training=True), (3,)),
    "in a model within": lambda: functional(
        lambda x: nest(norm())(ops.sin(x), training=True), (3,)
    ),
    "in a wrapper": lambda: functional(
        lambda x: L.TimeDistributed(norm(), **F64)(x[..., None], training=True), (3,)
    ),
}
MEASURED = {
    "a subclass": lambda: built(Calls(norm(Renamed)), 3),
    "a subclassed model": lambda: built(Calls(norm()), 3),
    "inside a graph": lambda: functional(lambda x: built(Calls(norm()), 3)(x), (3,)),
}
OPERATORS = {
    "derivatives": keras_smooth.derivatives,
    "gradient": keras_smooth.gradient,
    "jacobian": keras_smooth.jacobian,
    "hessian": keras_smooth.hessian,
    "laplacian": keras_smooth.laplacian,
    "directional": lambda model, x, **how: keras_smooth.directional(
        model, x, np.ones(3), **how
    ),
}


@ENGINES
@pytest.mark.parametrize("name", IN_TRAINING)
def test_a_layer_that_a_graph_calls_in_training_mode_is_in_that_of_the_call(name, engine):
    model, x = IN_TRAINING[name](), RNG.normal(size=(5, 3))
    # As Keras has it: `predict` and `model(x, training=False)` use the moving statistics.
    y, dy = keras_smooth.derivatives(model, x, 1, engine=engine)
    np.testing.assert_allclose(y, model(x, training=False), rtol=1e-12)
    # Those of each sample alone, which the statistics of a batch would make 0.
    alone = [keras_smooth.derivatives(model, row[None], 1, engine=engine)[1] for row in x]
    np.testing.assert_allclose(dy, np.concatenate(alone), rtol=1e-12)
    for compiled in (False, True):
        with pytest.raises(
            ValueError, match="mixes samples in training mode.*(norm|time_distributed)"
        ):
            called(
                lambda x: keras_smooth.derivatives(
                    model, x, 1, engine=engine, training=True
                ),
                x,
                compiled,
            )


@ENGINES
@pytest.mark.parametrize("name", MEASURED)
def test_normalization_by_the_batch_in_code_of_ones_own_is_refused(name, engine):
    model, x = MEASURED[name](), RNG.normal(size=(5, 3))
    before = [variable.numpy() for variable in model.variables]
    for operator in OPERATORS.values():
        with pytest.raises(ValueError, match="mixes samples"):
            operator(model, x, engine=engine)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_the_mode_is_that_in_which_the_model_is_called():
    x = RNG.normal(size=(5, 3))
    model = functional(lambda x: norm()(ops.sin(x)), (3,))
    check(model, x)
    with pytest.raises(ValueError, match="mixes samples.*norm"):
        keras_smooth.derivatives(model, x, training=True)
    frozen = norm()
    frozen.trainable = False
    check(functional(lambda x: frozen(ops.sin(x), training=True), (3,)), x, "tape")


# What is changed after the first call.


class Switched(L.Layer):
    mix, scale = False, 1.0

    def call(self, x):
        return self.scale * tf.sin(x) + self.mix * tf.reduce_mean(x, axis=0)


class Holder:
    def __init__(self):
        self.part = Switched(**F64)

    def __call__(self, x):
        return self.part(x)


def in_a_model():
    part = Switched(**F64)
    return functional(part, (3,)), part


def in_a_function():
    part = Switched(**F64)
    return (lambda x: part(x) * 1.0), part


def in_an_object():
    holder = Holder()
    return holder, holder.part


def alone():
    part = Switched(**F64)
    return part, part


@ENGINES
@pytest.mark.parametrize("make", [alone, in_a_model, in_a_function, in_an_object])
def test_an_attribute_that_changes_is_seen(make, engine):
    (model, part), x = make(), RNG.normal(size=(5, 3))
    for _ in range(2):
        for scale in (1.0, 3.0):
            part.scale = scale
            found = keras_smooth.laplacian(model, x, engine=engine)
            near(found, [-scale * np.sin(x)])
        part.mix = True
        for operator in OPERATORS.values():
            with pytest.raises(ValueError, match="mixes samples"):
                operator(model, x, engine=engine)
        part.mix = False


# Names of inputs.


def swapped(first="a", second="b"):
    """Keys of the inputs, and tensors of the names `first` and `second`."""
    a, b = keras.Input((1,), name=first, **F64), keras.Input((1,), name=second, **F64)
    with pytest.warns(UserWarning, match="keys in the dict must match"):
        return keras.Model({"p": a, "u": b}, 2 * a + 3 * b)


POINT = {"p": np.ones((2, 1)), "u": np.ones((2, 1))}
WRT = {
    "a key that is the name of another tensor": (("u", "w"), "u", 3.0),
    "keys and names the other way round": (("u", "p"), "p", 2.0),
    "a name that is no key": (("u", "w"), "w", 3.0),
    "a place": (("u", "p"), 1, 3.0),
}


@ENGINES
@pytest.mark.parametrize("name", WRT)
def test_keys_come_before_names_of_tensors(name, engine):
    names, wrt, slope = WRT[name]
    found = keras_smooth.gradient(swapped(*names), POINT, wrt=wrt, engine=engine)
    np.testing.assert_array_equal(found, np.full((2, 1), slope))


# Finite in one way, not finite in another.

CUMULATIVE = {
    "forwards": lambda x: tf.math.cumulative_logsumexp(x, axis=1),
    "backwards": lambda x: tf.math.cumulative_logsumexp(x, axis=1, reverse=True),
    "of a multiple": lambda x: tf.math.cumulative_logsumexp(2 * x, axis=1),
}


@EAGER_AND_GRAPH
@ENGINES
@pytest.mark.parametrize("name", CUMULATIVE)
def test_what_is_not_finite_agrees_with_nothing(name, engine, compiled):
    model = functional(lambda_(CUMULATIVE[name]), (3,))
    check(model, RNG.normal(size=(2, 3)), engine, compiled)


# What is computed again for its gradient.


class Again(L.Layer):
    def call(self, x):
        return tf.recompute_grad(lambda x: tf.sin(2 * x) * x)(x)


class AgainWithWeights(L.Layer):
    def build(self, shape):
        self.inside = L.Dense(3, "tanh", **F64)
        self.inside.build(shape)

    def call(self, x):
        return tf.recompute_grad(lambda x: self.inside(x))(x)


def recomputed(x):
    return tf.recompute_grad(lambda x: tf.exp(x) * x[:, ::-1])(x)


AGAIN = {
    "a layer": lambda: functional(Again(**F64), (3,)),
    "a function": lambda: recomputed,
    "a Lambda": lambda: functional(lambda_(recomputed), (3,)),
}


@EAGER_AND_GRAPH
@AUTO_AND_TAPE
@pytest.mark.parametrize("name", AGAIN)
def test_what_is_computed_again_for_its_gradient(name, engine, compiled):
    if engine == "tape" and compiled:
        # In a graph TensorFlow cannot transpose a gradient that is computed again.
        with pytest.raises(ValueError, match="is lost: recompute_grad"):
            check(AGAIN[name](), RNG.normal(size=(2, 3)), engine, compiled)
        return
    check(AGAIN[name](), RNG.normal(size=(2, 3)), engine, compiled)


@ENGINES
def test_what_tensorflow_cannot_differentiate_twice_is_told(engine):
    model, x = functional(AgainWithWeights(**F64), (3,)), RNG.normal(size=(2, 3))
    v = RNG.normal(size=x.shape)
    first, _ = by_differences(model, x, v)
    near(keras_smooth.directional(model, x, v, engine=engine)[1], first)
    if engine == "tape":
        for operator in (keras_smooth.hessian, keras_smooth.laplacian):
            with pytest.raises(ValueError, match="order 2 is lost: recompute_grad"):
                operator(model, x, engine=engine)
    else:
        # Jets go through what is computed, whatever its gradient is declared to be.
        _, second = by_differences(model, x, v)
        near(keras_smooth.directional(model, x, v, 2, engine=engine)[2], second)


# Inputs in nests.


def three(a, b, c):
    return ops.sin(a + b[:, :1] + c) * ops.exp(2 * b[:, 1:] + c)


def of_nest(pack):
    def make():
        inputs = [keras.Input((size,), **F64) for size in (1, 2, 1)]
        return keras.Model(pack(*inputs), three(*inputs))

    return make


def nested(a, b, c):
    return {"p": [a, b], "q": c}


class OfNest(keras.Model):
    def call(self, x):
        return three(*x["p"], x["q"])


NESTS = {
    "lists in a dict": (of_nest(nested), nested),
    "a dict in a list": (
        of_nest(lambda a, b, c: [{"a": a, "b": b}, c]),
        lambda a, b, c: [{"a": a, "b": b}, c],
    ),
    "a function": (lambda: lambda x: three(*x["p"], x["q"]), nested),
    "a subclassed model": (lambda: _as_built(OfNest(**F64)), nested),
}


def _as_built(model):
    model.built = True
    return model


@pytest.mark.filterwarnings("ignore:.*keys in the dict must match")
@EAGER_AND_GRAPH
@ENGINES
@pytest.mark.parametrize("name", NESTS)
def test_inputs_in_nests(name, engine, compiled):
    make, pack = NESTS[name]
    model, parts = make(), [RNG.normal(size=(2, size)) for size in (1, 2, 1)]
    check(model, pack(*parts), engine, compiled)


@pytest.mark.filterwarnings("ignore:.*keys in the dict must match")
@ENGINES
def test_inputs_in_nests_are_named_by_their_keys(engine):
    a, b, c = (RNG.normal(size=(2, size)) for size in (1, 2, 1))
    model, x = of_nest(nested)(), nested(a, b, c)
    found = keras_smooth.jacobian(model, x, wrt=["p/0", "q"], engine=engine)
    angle, growth = a + b[:, :1] + c, np.exp(2 * b[:, 1:] + c)
    sine, cosine = np.sin(angle) * growth, np.cos(angle) * growth
    for key, value in {"p/0": cosine, "q": sine + cosine}.items():
        near(found[key], [value])
        near(keras_smooth.gradient(model, x, wrt=key, engine=engine), [value])
    near(keras_smooth.laplacian(model, x, wrt=1, engine=engine), [3 * sine])
    second = keras_smooth.hessian(model, x, engine=engine)
    near(second["q"]["p"][1][:, 0, 1], [2 * (sine + cosine)[:, 0]])
    assert keras_smooth.laplacian(model, x, engine=engine, verify=True).verification.ok
    with pytest.raises(ValueError, match="'p' names several inputs.*'p/0', 'p/1'"):
        keras_smooth.gradient(model, x, wrt="p", engine=engine)
    with pytest.raises(ValueError, match="takes inputs of the structure"):
        keras_smooth.gradient(model, {"p": a, "q": c}, engine=engine)
    with pytest.raises(ValueError, match="one input"):
        keras_smooth.DerivativeModel(model)


@ENGINES
def test_a_dict_for_inputs_in_a_list_goes_by_names(engine):
    x, t = keras.Input((2,), name="x", **F64), keras.Input((1,), name="t", **F64)
    model = keras.Model([x, t], ops.sin(x[:, :1]) * ops.exp(t) * x[:, 1:])
    check(model, {"x": RNG.normal(size=(2, 2)), "t": RNG.normal(size=(2, 1))}, engine)


# One size of a batch.

FIXED = {
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
@pytest.mark.parametrize("name", FIXED)
def test_models_of_one_batch_size(name, engine):
    model, x = FIXED[name](), RNG.normal(size=(4 if name != "a layer" else 2, 2, 2))
    # What keeps a state begins where it is, and a verification leaves it there.
    with keras.StatelessScope():
        exact = keras_smooth.jacobian(model, x, engine=engine)
    found = keras_smooth.jacobian(model, x, engine=engine, verify=True)
    assert found.verification.ok
    near(found, [exact])
    for operator in (keras_smooth.laplacian, keras_smooth.hessian):
        assert np.all(np.isfinite(operator(model, x, engine=engine)))
    _reset(model)
    v = RNG.normal(size=x.shape)
    first, second = by_differences(model, x, v)
    _, dy, d2y = keras_smooth.directional(model, x, v, 2, engine=engine)
    near(dy, first)
    near(d2y, second)


def _reset(model):
    for layer in [model, *getattr(model, "layers", [])]:
        if getattr(layer, "stateful", False):
            layer.reset_state()


# Cells in a list.

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
    # Keras stacks cells in float32, too coarse for differences.
    second = np.asarray(keras_smooth.hessian(model, x, engine="tape"))
    return model, x, np.trace(second.reshape(3, -1, 4, 4), axis1=2, axis2=3)


# Keras makes the stack of a list in its default dtype, which no graph takes.
@pytest.mark.filterwarnings("ignore:.*TensorFlow cannot trace it")
@pytest.mark.slow
@ENGINES
@pytest.mark.parametrize("name", CELLS)
def test_cells_in_a_list(name, engine):
    model, x, exact = cells_and_laplacian(name)
    for _ in range(2):
        near(keras_smooth.laplacian(model, x, engine=engine), [exact], 1e-4)


# Samples joined over the batch, and separated again.

# What tapes in a graph cost grows with the square of the numbers of a sample: here 4.
ATOMS = 2


def join(x):
    return tf.reshape(x, (-1, 2))


def segments(h):
    return tf.repeat(tf.range(tf.shape(h)[0] // ATOMS), ATOMS)


def neighbors(h):
    """Messages along a ring of atoms in each molecule."""
    place = tf.range(tf.shape(h)[0])
    return h + tf.gather(h, place - place % ATOMS + (place + 1) % ATOMS) ** 2


def summed(h):
    return tf.math.segment_sum(h, segments(h))


def unsorted(h):
    return tf.math.unsorted_segment_sum(h, segments(h), tf.shape(h)[0] // ATOMS)


def chain(*parts):
    return lambda x: [x := (part if callable(part) else part)(x) for part in parts][-1]


def dense(units):
    return L.Dense(units, "tanh", **F64)


MOLECULES = {
    "a sum over segments": lambda: [lambda_(join), dense(3), lambda_(summed), dense(1)],
    "a sum at the end": lambda: [lambda_(join), dense(2), lambda_(summed)],
    "of unsorted segments": lambda: [lambda_(join), dense(2), lambda_(unsorted)],
    "messages": lambda: [
        lambda_(join), dense(2), lambda_(neighbors), dense(2), lambda_(summed)
    ],
    "back by a reshape": lambda: [
        lambda_(join), dense(2), lambda_(lambda h: tf.reshape(h, (-1, 2 * ATOMS)))
    ],
}  # fmt: skip


@EAGER_AND_GRAPH
@AUTO_AND_TAPE
@pytest.mark.parametrize("name", MOLECULES)
def test_molecules_that_are_joined(name, engine, compiled):
    model = functional(chain(*MOLECULES[name]()), (ATOMS, 2))
    check(model, RNG.normal(size=(2, ATOMS, 2)), engine, compiled)


@pytest.mark.parametrize("name", MOLECULES)
def test_molecules_of_an_unknown_number(name):
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
        near(compiled(x), [np.asarray(operator(model, x, engine="tape"))], 1e-12)


SLICED = {
    "a sum over segments": lambda x: summed(tf.sin(join(x))),
    "gathered rows": lambda x: tf.gather(tf.sin(x), tf.range(tf.shape(x)[0])),
    "gathered columns": lambda x: tf.gather(tf.reshape(x, (-1, 4)), [0, 2, 2], axis=1) ** 3,
    "gathered first": lambda x: tf.sin(tf.gather(x, tf.range(tf.shape(x)[0]))),
}


@EAGER_AND_GRAPH
@AUTO_AND_TAPE
@pytest.mark.parametrize("name", SLICED)
def test_gradients_of_rows_are_tensors(name, engine, compiled):
    function, x = SLICED[name], RNG.normal(size=(2, ATOMS, 2))
    check(function, x, engine, compiled)
    for operator in (keras_smooth.jacobian, keras_smooth.hessian):
        assert isinstance(operator(function, x, engine=engine), tf.Tensor)


# Outputs of functions and points.


class Operator(keras.Model):
    def __init__(self):
        super().__init__(**F64)
        self.branch, self.trunk = dense(4), keras.Sequential([dense(4), dense(4)])

    def call(self, x):
        functions, points = x
        return ops.matmul(self.branch(functions), ops.transpose(self.trunk(points)))


@EAGER_AND_GRAPH
def test_operator_networks(compiled):
    model, functions, points = Operator(), RNG.normal(size=(3, 4)), RNG.normal(size=(5, 2))
    model([functions, points])
    for wrt in (None, 0, 1):
        with pytest.raises(ValueError, match=r"swapaxes\(model\(\[functions, points\]\)"):
            keras_smooth.laplacian(model, [functions, points], wrt=wrt)
    check(
        lambda points: ops.swapaxes(model([functions, points]), 0, 1),
        points,
        compiled=compiled,
    )
    check(lambda functions: model([functions, points]), functions, compiled=compiled)


# What does not depend on an input.


def apart(x, z):
    return [lambda_(tf.sin)(x), lambda_(tf.cos)(z)]


def shared(x, z):
    layer = lambda_(lambda x: tf.sin(x) * x)
    return {"x": layer(x), "z": layer(z), "both": layer(x * z)}


def within(x, z):
    inner = functional(apart, (1,), (2,))
    first, second = inner([z, x])
    return [first * 2, second, ops.exp(x) * z]


APART = {"two functions": apart, "a shared layer": shared, "a model within": within}


def of_two_inputs(name):
    model = functional(APART[name], (2,), (1,))
    return model, [RNG.normal(size=(3, 2)), RNG.normal(size=(3, 1))]


@EAGER_AND_GRAPH
@ENGINES
@pytest.mark.parametrize("name", APART)
def test_a_path_that_a_graph_does_not_have_is_0(name, engine, compiled):
    check(*of_two_inputs(name), engine, compiled)


@ENGINES
@pytest.mark.parametrize("name", APART)
def test_derivatives_by_one_of_two_inputs_are_those_by_both(name, engine):
    model, x = of_two_inputs(name)
    own = keras_smooth.derivatives(model, x, 2, engine=engine)[2]
    for wrt in (0, 1):
        second = keras_smooth.derivatives(model, x, 2, wrt=wrt, engine=engine)[2]
        for found, full in zip(
            keras.tree.flatten(second), keras.tree.flatten(own)[3 * wrt :: 4], strict=True
        ):
            near(found, [np.asarray(full)], 1e-12)


@ENGINES
def test_what_is_lost_on_a_path_is_still_refused(engine):
    model = functional(lambda x, z: [lambda_(tf.round)(x), lambda_(tf.sin)(z)], (2,), (2,))
    x = [RNG.normal(size=(3, 2)), RNG.normal(size=(3, 2))]
    with pytest.raises(ValueError, match="is lost"):
        keras_smooth.jacobian(model, x, engine=engine)


class AgainALayer(keras.layers.Layer):
    """Computes a layer again for its gradient; of a layer TensorFlow cannot say its name."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(3, "tanh", **F64)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return tf.recompute_grad(self.dense)(x)


@ENGINES
def test_a_layer_that_is_computed_again(engine):
    model = functional(lambda x: AgainALayer(**F64)(keras.layers.Dense(2, **F64)(x)), (3,))
    x = RNG.normal(size=(2, 3))
    v = RNG.normal(size=x.shape)
    if engine == "tape":
        with pytest.raises(ValueError, match="order 2 is lost"):
            keras_smooth.hessian(model, x, engine=engine)
    else:
        _, second = by_differences(model, x, v)
        near(keras_smooth.directional(model, x, v, 2, engine=engine)[2], second)


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "words"),
    [
        (8, None, "received 8 samples. Pass 4 samples at once; or"),
        (8, 4, "received 8 samples and batch_size=4. Pass 4 samples at once, without"),
        (4, 2, "received 4 samples and batch_size=2. Pass 4 samples at once, without"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a GRU with a state", "a reshape"])
def test_another_batch_size_than_the_only_one(name, num_samples, batch_size, words):
    model, x = FIXED[name](), RNG.normal(size=(num_samples, 2, 2))
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


def test_a_model_of_one_batch_size_that_takes_others():
    model = functional(L.Dense(1, "tanh", **F64), (2,), batch_size=4)
    assert (
        keras_smooth.laplacian(model, RNG.normal(size=(7, 2)), batch_size=3).shape[0] == 7
    )
    # What else is wrong is told as ever.
    with pytest.raises(ValueError, match="`engine`"):
        keras_smooth.laplacian(model, RNG.normal(size=(7, 2)), engine="tapes")
