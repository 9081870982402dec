"""Side effects of models: operators have those of one call, and all other functions none."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from fresh_start import set_random_seed
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
    """Adds noise of size 0, which changes the seed and not the values."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, x):
        noise = keras.random.normal(ops.shape(x), seed=self.seeds, dtype=x.dtype)
        return x + ops.zeros_like(x) * noise


class NormalizesInTraining(keras.layers.Layer):
    """Returns its input, and changes moving statistics in every call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = keras.layers.BatchNormalization(**F64)

    def call(self, x):
        self.norm(x, training=True)
        return x


WITH_SIDE_EFFECTS = {
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
    """Returns a built model with a layer, which is the same in every call."""
    set_random_seed(0)
    inputs = keras.Input((1, 2), batch_size=6 if kind == "stateful" else None, **F64)
    x = keras.layers.Dense(4, "tanh", **F64)(inputs)
    x = {**WITH_SIDE_EFFECTS, "stateful": gru}[kind]()(x)
    return keras.Model(inputs, keras.layers.Dense(1, "tanh", **F64)(x) + 0.5)


@pytest.fixture
def x(rng):
    return 0.3 * rng.normal(size=(6, 1, 2))


def state_of(model):
    """Returns the current losses and variables of a model, including metrics."""
    variables = [*model.variables, *model.metrics_variables]
    return [np.asarray(value) for value in (*model.losses, *variables)]


def assert_same(values, expected_values):
    for value, expected in zip(values, expected_values, strict=True):
        # Sums of the same numbers, in one program or in two.
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)


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
@pytest.mark.parametrize("kind", [*WITH_SIDE_EFFECTS, "stateful"])
@pytest.mark.parametrize("operator", representatives(list(OPERATORS), ["laplacian"]))
def test_operators_have_the_side_effects_of_one_call(kind, operator, x):
    if kind == "stateful" and operator not in ("by tapes", "jacobian"):
        pytest.skip("refused with one fixed batch size, or for its state that moves y")
    model, called = make(kind), make(kind)
    for each_model in (model, called):
        each_model(x)
    OPERATORS[operator](model, x)
    called(x, training=False)
    assert_same(state_of(model), state_of(called))


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


def measure_by_monitor(model, x):
    reference = [np.ones((6, 1, 1)), np.ones((6, 1, 1, 1, 2))]
    monitor = keras_smooth.DerivativeMonitor(x, reference, order=1)
    monitor.set_model(model)
    monitor.on_train_begin()
    monitor.on_epoch_end(0)


def nested(model, x):
    calls.without_side_effects(lambda: [calls.without_side_effects(model, x), model(x)])


WITHOUT_SIDE_EFFECTS = {
    "without_side_effects": lambda model, x: calls.without_side_effects(
        model, x, training=True
    ),
    "nested": nested,
    "call_without_side_effects": calls.call_without_side_effects,
    "DerivativeMonitor": measure_by_monitor,
    "reference": lambda model, x: keras_smooth.DerivativeMonitor(x, model, order=1),
    "smoothness": lambda model, x: keras_smooth.smoothness(model),
    "smoothen": lambda model, x: keras_smooth.smoothen(model, x=x),
    "audit": lambda model, x: keras_smooth.audit(model, x=x, order=1),
}
QUICK = ["without_side_effects", "nested", "smoothness"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", [*WITH_SIDE_EFFECTS, "stateful"])
@pytest.mark.parametrize("name", representatives(list(WITHOUT_SIDE_EFFECTS), QUICK))
def test_other_functions_have_no_side_effects(kind, name, x):
    model = make(kind)
    model(x)
    before = state_of(model)
    try:
        WITHOUT_SIDE_EFFECTS[name](model, x)
    except ValueError:
        # Functions that refuse a layer have no side effects either.
        pass
    assert_same(state_of(model), before)


def test_without_side_effects_uses_the_values_of_a_stateless_scope(x):
    model = make("activity_regularizer")
    mapping = [(weight, 2.0 * weight.value) for weight in model.weights]
    with keras.StatelessScope(state_mapping=mapping, collect_losses=True):
        expected, losses = model(x), list(model.losses)
        np.testing.assert_array_equal(calls.without_side_effects(model, x), expected)
        assert [loss is other for loss, other in zip(model.losses, losses, strict=True)]
    assert np.max(np.abs(model(x) - expected)) > 0.1


def test_without_side_effects_passes_errors_on():
    def fails():
        raise KeyError("as it is")

    with pytest.raises(KeyError, match="^'as it is'$"):
        calls.without_side_effects(fails)
    assert not isinstance(calls.without_side_effects(tf.constant, 1.0), keras.KerasTensor)


def test_weights_have_gradients_through_without_side_effects(x):
    model = make("activity_regularizer")
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(calls.without_side_effects(model, x))
    assert all(part is not None for part in tape.gradient(y, model.trainable_weights))


# XLA compiles what was traced, whichever engine has made it.
@pytest.mark.parametrize(
    ("engine", "jit_compile"),
    representatives([("jet", False), ("tape", True), ("auto", False)], [("jet", False)]),
)
def test_derivative_model_counts_activity_regularizers_once(engine, jit_compile, rng):
    x = rng.normal(size=(64, 1)).astype("float32")
    inner = keras.Sequential([keras.Input((1,))])
    regularizer = keras.regularizers.L2(0.1)
    inner.add(keras.layers.Dense(6, "tanh", activity_regularizer=regularizer))
    inner.add(keras.layers.Dense(1))
    inner(x)
    # Only newer versions of Keras divide it by the batch size.
    expected = float(sum(inner.losses))
    model = keras_smooth.DerivativeModel(inner, engine=engine)
    model.compile(
        keras.optimizers.SGD(0.0),
        loss=dict.fromkeys(("y", "dy", "d2y"), "mse"),
        # Negligible compared with the regularizer.
        loss_weights=dict.fromkeys(("y", "dy", "d2y"), 1e-12),
        jit_compile=jit_compile,
    )
    targets = dict.fromkeys(("y", "dy", "d2y"), x)
    options = {"batch_size": 64, "verbose": 0}
    losses = {
        "evaluate": model.evaluate(x, targets, return_dict=True, **options)["loss"],
        "fit": model.fit(x, targets, **options).history["loss"][0],
        "fit_lbfgs": keras_smooth.fit_lbfgs(
            model, x, targets, tolerance=1e9, verbose=0, jit_compile=False
        ).history["loss"][0],
    }
    # Sums of 384 numbers in float32.
    assert losses == pytest.approx(dict.fromkeys(losses, expected), rel=1e-5)
