"""What calls of a model leave: the user's one call, and all others nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from representatives import representatives

import keras_smooth
from keras_smooth.models import calls

F64 = {"dtype": "float64"}


class AddsLoss(keras.layers.Layer):
    def call(self, x):
        self.add_loss(ops.mean(ops.square(x)))
        return x


class Counts(keras.layers.Layer):
    def build(self, shape):
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.metric = keras.metrics.Sum(name="sum")

    def call(self, x):
        self.count.assign_add(1.0)
        self.metric.update_state(ops.cast(x, "float32"))
        return x


class DrawsSeeds(keras.layers.Layer):
    """Noise of size 0: the values stay comparable, and the seed moves."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, x):
        noise = keras.random.normal(ops.shape(x), seed=self.seeds, dtype=x.dtype)
        return x + ops.zeros_like(x) * noise


class NormalizesInTraining(keras.layers.Layer):
    """Its statistics move in every call, and its output is its input."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras.layers.BatchNormalization(**F64)

    def call(self, x):
        self.norm(x, training=True)
        return x


LEAVE = {
    "activity_regularizer": lambda: keras_smooth.Dense(
        4, "tanh", activity_regularizer=keras.regularizers.L2(0.1), **F64
    ),
    "ActivityRegularization": lambda: keras.layers.ActivityRegularization(l2=0.1, **F64),
    "TimeDistributed": lambda: keras.layers.TimeDistributed(
        keras.layers.Dense(4, activity_regularizer="l2", **F64), **F64
    ),
    "add_loss": lambda: AddsLoss(**F64),
    "count and metric": lambda: Counts(**F64),
    "seeds": lambda: DrawsSeeds(**F64),
    "statistics": lambda: NormalizesInTraining(**F64),
}


def gru():
    return keras.layers.GRU(4, stateful=True, return_sequences=True, **F64)


def make(kind):
    """Returns a built model around a layer, always the same."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((1, 2), batch_size=6 if kind == "stateful" else None, **F64)
    x = keras.layers.Dense(4, "tanh", **F64)(inputs)
    x = {**LEAVE, "stateful": gru}[kind]()(x)
    return keras.Model(inputs, keras.layers.Dense(1, "tanh", **F64)(x) + 0.5)


@pytest.fixture
def x(rng):
    return 0.3 * rng.normal(size=(6, 1, 2))


def left(model):
    """Returns all losses and variables of a model as they are now, metrics included."""
    variables = [*model.variables, *model.metrics_variables]
    return [np.asarray(value) for value in (*model.losses, *variables)]


def assert_same(ones, others):
    for one, other in zip(ones, others, strict=True):
        # Sums of the same numbers, in one program or in two.
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def derivatives(**arguments):
    return lambda model, x: keras_smooth.derivatives(model, x, 2, **arguments)


OPERATORS = {
    "by jets": derivatives(engine="jet"),
    "by tapes": derivatives(engine="tape"),
    "in batches by jets": derivatives(engine="jet", batch_size=6),
    "in batches by tapes": derivatives(engine="tape", batch_size=6),
    "jacobian": keras_smooth.jacobian,
    "laplacian": keras_smooth.laplacian,
    "directional": lambda model, x: keras_smooth.directional(model, x, np.ones((1, 2)), 2),
    "verified": lambda model, x: keras_smooth.directional(
        model, x, np.ones((1, 2)), verify=True
    ),
}


@pytest.mark.filterwarnings("ignore:There is no jet rule")
@pytest.mark.parametrize("kind", [*LEAVE, "stateful"])
@pytest.mark.parametrize("operator", representatives(list(OPERATORS), ["laplacian"]))
def test_operators_leave_what_one_call_leaves(kind, operator, x):
    if kind == "stateful" and operator not in ("by tapes", "jacobian"):
        pytest.skip("refused with one fixed batch size, or for its state that moves y")
    model, called = make(kind), make(kind)
    for each in (model, called):
        each(x)
    OPERATORS[operator](model, x)
    called(x, training=False)
    assert_same(left(model), left(called))


@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_losses_in_a_graph_are_those_of_one_call(engine, batch_size, x):
    model = make("activity_regularizer")

    @tf.function(autograph=False)
    def losses(x):
        keras_smooth.derivatives(model, x, 2, engine=engine, batch_size=batch_size)
        return sum(model.losses)

    model(x)
    expected = float(sum(model.losses))
    # Sums of the same numbers, in one program or in two.
    assert float(losses(tf.constant(x))) == pytest.approx(expected, rel=1e-12)


def measured(model, x):
    reference = [np.ones((6, 1, 1)), np.ones((6, 1, 1, 1, 2))]
    watch = keras_smooth.DerivativeMonitor(x, reference, order=1)
    watch.set_model(model)
    watch.on_train_begin()
    watch.on_epoch_end(0)


def nested(model, x):
    calls.without_side_effects(lambda: [calls.without_side_effects(model, x), model(x)])


ONLOOKERS = {
    "without_side_effects": lambda model, x: calls.without_side_effects(
        model, x, training=True
    ),
    "nested": nested,
    "call_without_side_effects": calls.call_without_side_effects,
    "DerivativeMonitor": measured,
    "reference": lambda model, x: keras_smooth.DerivativeMonitor(x, model, order=1),
    "smoothness": lambda model, x: keras_smooth.smoothness(model),
    "smoothen": lambda model, x: keras_smooth.smoothen(model, x=x),
    "audit": lambda model, x: keras_smooth.audit(model, x=x, order=1),
}
QUICK = ["without_side_effects", "nested", "smoothness"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", [*LEAVE, "stateful"])
@pytest.mark.parametrize("onlooker", representatives(list(ONLOOKERS), QUICK))
def test_onlookers_leave_nothing(kind, onlooker, x):
    model = make(kind)
    model(x)
    before = left(model)
    try:
        ONLOOKERS[onlooker](model, x)
    except ValueError:
        # What a layer such as this one refuses is refused without a trace, too.
        pass
    assert_same(left(model), before)


def test_onlookers_see_the_values_of_the_scope_around_them(x):
    model = make("activity_regularizer")
    mapping = [(weight, 2.0 * weight.value) for weight in model.weights]
    with keras.StatelessScope(state_mapping=mapping, collect_losses=True):
        expected, losses = model(x), list(model.losses)
        np.testing.assert_array_equal(calls.without_side_effects(model, x), expected)
        assert [loss is other for loss, other in zip(model.losses, losses, strict=True)]
    assert np.max(np.abs(model(x) - expected)) > 0.1


def test_onlookers_raise_what_was_raised():
    def fails():
        raise KeyError("as it is")

    with pytest.raises(KeyError, match="^'as it is'$"):
        calls.without_side_effects(fails)
    assert not isinstance(calls.without_side_effects(tf.constant, 1.0), keras.KerasTensor)


def test_weights_have_gradients_through_an_onlooker(x):
    model = make("activity_regularizer")
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(calls.without_side_effects(model, x))
    assert all(part is not None for part in tape.gradient(y, model.trainable_weights))


@pytest.mark.parametrize("engine", representatives(["jet", "tape", "auto"], ["jet"]))
@pytest.mark.parametrize("jit_compile", representatives([False, True], [False]))
def test_the_loss_of_a_derivative_model_has_the_activity_regularizer_once(
    engine, jit_compile, rng
):
    x = rng.normal(size=(64, 1)).astype("float32")
    inner = keras.Sequential([keras.Input((1,))])
    regularizer = keras.regularizers.L2(0.1)
    inner.add(keras.layers.Dense(6, "tanh", activity_regularizer=regularizer))
    inner.add(keras.layers.Dense(1))
    inner(x)
    # That of Keras, which divides by the size of the batch in newer versions only.
    expected = float(sum(inner.losses))
    model = keras_smooth.DerivativeModel(inner, engine=engine)
    model.compile(
        keras.optimizers.SGD(0.0),
        loss=dict.fromkeys(("y", "dy", "d2y"), "mse"),
        # Next to nothing beside the regularizer.
        loss_weights=dict.fromkeys(("y", "dy", "d2y"), 1e-12),
        jit_compile=jit_compile,
    )
    targets = dict.fromkeys(("y", "dy", "d2y"), x)
    by_keras = {"batch_size": 64, "verbose": 0}
    found = {
        "evaluate": model.evaluate(x, targets, return_dict=True, **by_keras)["loss"],
        "fit": model.fit(x, targets, **by_keras).history["loss"][0],
        "fit_lbfgs": keras_smooth.fit_lbfgs(
            model, x, targets, tolerance=1e9, verbose=0, jit_compile=False
        ).history["loss"][0],
    }
    # Sums of 384 numbers in float32.
    assert found == pytest.approx(dict.fromkeys(found, expected), rel=1e-5)
