"""`fit_lbfgs(resample=...)`: points that are drawn again, and `choose_by_residual`."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from lbfgs_nets import at_start, dense

import keras_smooth
from keras_smooth.lbfgs.minimizers import quasi_newton
from keras_smooth.lbfgs.run.optimization_run import Sizes

X = {
    "inside": np.random.default_rng(0).uniform(size=(12, 1)),
    "edge": np.array([[0.0], [1.0]]),
}
EPOCHS, EVERY = 18, 5


def net(dtype="float64"):
    layers = [dense(3, "tanh", 1, dtype=dtype), dense(1, seed=2, dtype=dtype)]
    return keras.Sequential([keras.Input((1,), dtype=dtype), *layers])


def terms(model, x):
    # Without derivatives, which take long to trace.
    residual = model(x["inside"]) - ops.sin(3.0 * x["inside"])
    return {
        "equation": ops.mean(residual**2),
        "boundary": ops.mean(model(x["edge"]) ** 2),
    }


class Draw:
    """Draws points by the values of a model, and records the old and the new points."""

    def __init__(self):
        self.given, self.returned = [], []

    def __call__(self, model, x, generator):
        self.given.append(np.asarray(x["inside"]))
        pool = generator.uniform(size=(100, 1))
        chosen = keras_smooth.choose_by_residual(pool, model(pool), 12, generator)
        self.returned.append(chosen)
        return {**x, "inside": chosen}


def fit_with_resampling(draw=None, every=EVERY, seed=0, **arguments):
    """Returns weights and history of a resampled fit, always from the same initial weights."""
    arguments = {"epochs": EPOCHS, "verbose": 0, "jit_compile": False, **arguments}
    resample = keras_smooth.Resample(draw or Draw(), every=every, seed=seed)
    model = at_start(net)
    history = keras_smooth.fit_lbfgs(
        model, X, objective=terms, resample=resample, **arguments
    )
    return weights(model), history


def weights(model):
    return [weight.tobytes() for weight in model.get_weights()]


@pytest.fixture(scope="module")
def uninterrupted():
    """An uninterrupted run, with a call of the callbacks after every iteration."""
    return fit_with_resampling(steps_per_execution=1)


def resampled_and_separate_fits(**arguments):
    """Returns weights and result of a resampled fit, and those of separate fits on its points."""
    draw = Draw()
    resampled_weights, history = fit_with_resampling(draw, **arguments)
    assert history.result.nit == EPOCHS and len(draw.returned) == 3
    rounds = [X, *({**X, "inside": inside} for inside in draw.returned)]
    model = at_start(net)
    for x, epochs in zip(rounds, (5, 5, 5, 3), strict=True):
        history_of_round = keras_smooth.fit_lbfgs(
            model,
            x,
            objective=terms,
            epochs=epochs,
            jit_compile=False,
            verbose=0,
            **arguments,
        )
    return (resampled_weights, history.result), (weights(model), history_of_round.result)


@pytest.fixture
def same_units(monkeypatch):
    """Makes fits from different starts use the same units, which changes only first steps."""
    monkeypatch.setattr(Sizes, "scale", lambda sizes, dtype: 1.0)


def test_pairs_are_reset_at_each_draw(same_units):
    (resampled, result), (expected, last) = resampled_and_separate_fits(
        num_correction_pairs=5
    )
    assert resampled == expected and result.fun == last.fun


@pytest.mark.parametrize("arguments", [{}, {"method": "bfgs"}], ids=["default", "bfgs"])
def test_matrix_is_kept_over_draws(arguments, monkeypatch, same_units):
    """The matrix is kept. If it is reset, the steps are those of a fit for each draw."""
    kept, (separate, _) = resampled_and_separate_fits(**arguments)
    assert kept[0] != separate and kept[1].restarts == 0
    monkeypatch.setattr(quasi_newton, "MIN_COSINE", {"float64": 2.0})
    dropped, (separate, _) = resampled_and_separate_fits(**arguments)
    assert dropped[0] == separate
    # In both cases, iterations are counted over all draws.
    assert kept[1].nit == dropped[1].nit == EPOCHS
    assert min(kept[1].nfev, dropped[1].nfev) > EPOCHS + 3


@pytest.mark.parametrize(("every", "warns"), [(EPOCHS, True), (EPOCHS - 1, False)])
def test_fit_that_draws_no_points_warns_once(every, warns):
    draw = Draw()
    for expected in (warns, False):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit_with_resampling(draw, every)
        messages = [w for w in caught if "draws no points" in str(w.message)]
        assert len(messages) == expected
    assert len(draw.returned) == (0 if warns else 2)


def test_draw_gets_the_previous_points_and_new_random_numbers():
    draw = Draw()
    fit_with_resampling(draw)
    for received, before in zip(draw.given, [X["inside"], *draw.returned]):
        np.testing.assert_array_equal(received, before)
    assert len({chosen.tobytes() for chosen in draw.returned}) == 3


def test_logs_are_of_the_current_points():
    draw = Draw()
    history = fit_with_resampling(draw)[1]
    logs, model = history.history, history.model
    points = {**X, "inside": draw.returned[-1]}
    values = {name: float(term) for name, term in terms(model, points).items()}
    # The terms are computed in a graph, and eagerly here.
    assert logs["equation"][-1] == pytest.approx(values["equation"], rel=1e-14)
    assert logs["loss"][-1] == pytest.approx(sum(values.values()), rel=1e-14)


def test_moving_averages_are_of_the_current_points():
    normalization = keras.layers.BatchNormalization(dtype="float64")
    hidden, output = dense(3, "tanh", 1, dtype="float64"), dense(1, seed=2, dtype="float64")
    model = keras.Sequential(
        [keras.Input((1,), dtype="float64"), hidden, normalization, output]
    )
    draws = []

    def draw(model, x, generator):
        draws.append(x + 1.0)
        return draws[-1]

    keras_smooth.fit_lbfgs(
        model,
        X["inside"],
        objective=lambda model, x: ops.mean((model(x, training=True) - ops.sin(x)) ** 2),
        resample=keras_smooth.Resample(draw, every=EVERY),
        epochs=EPOCHS,
        jit_compile=False,
        verbose=0,
    )
    mean = np.mean(hidden(draws[-1]), axis=0)
    # Keras' moving averages approach the mean.
    np.testing.assert_allclose(normalization.moving_mean, mean, rtol=1e-9)


def test_seeds_give_different_fits(uninterrupted):
    assert fit_with_resampling(seed=1)[0] != uninterrupted[0]


@pytest.mark.parametrize("chunk", [4, 50])
def test_chunks_do_not_change_the_draws(chunk, uninterrupted):
    assert fit_with_resampling(steps_per_execution=chunk)[0] == uninterrupted[0]


class RaiseAtEpoch(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch >= self.epoch:
            raise MemoryError


# The saved iteration of an interrupted run: before a draw, at a draw and after it.
@pytest.mark.parametrize("saved", [3, 5, 6, 10, 13])
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(saved, uninterrupted, tmp_path):
    arguments = {"steps_per_execution": 1, "checkpoint": tmp_path}
    with pytest.raises(MemoryError):
        fit_with_resampling(callbacks=[RaiseAtEpoch(saved)], **arguments)
    draw = Draw()
    final_weights, history = fit_with_resampling(draw, **arguments)
    assert final_weights == uninterrupted[0]
    assert (
        history.history == uninterrupted[1].history
        and history.result == uninterrupted[1].result
    )
    # The checkpoint has the previous draws.
    assert len(draw.returned) == 3 - (saved - 1) // EVERY


def test_run_resumes_with_more_epochs(uninterrupted, tmp_path):
    fit_with_resampling(epochs=10, checkpoint=tmp_path)
    assert fit_with_resampling(checkpoint=tmp_path)[0] == uninterrupted[0]


@pytest.mark.parametrize("other", [{"every": 6}, {"seed": 1}])
def test_checkpoint_of_other_draws_raises(other, tmp_path):
    fit_with_resampling(checkpoint=tmp_path)
    with pytest.raises(ValueError, match="resample of it is not the same"):
        fit_with_resampling(checkpoint=tmp_path, **other)


def test_float32_model_draws_with_its_float64_copy():
    dtypes = []

    def draw(model, x, generator):
        dtypes.append(model(x["inside"]).dtype)
        return {**x, "inside": generator.uniform(size=(12, 1)).astype("float32")}

    resample = keras_smooth.Resample(draw, every=2)
    arguments = {"epochs": 5, "verbose": 0, "jit_compile": False, "dtype": "float64"}
    keras_smooth.fit_lbfgs(
        net("float32"), X, objective=terms, resample=resample, **arguments
    )
    assert dtypes == [tf.float64] * 2


# Errors.

WRONG_DRAWS = {
    "fewer rows": (lambda m, x, g: {**x, "inside": x["inside"][:5]}, "one form"),
    "another nest": (lambda m, x, g: [x["inside"], x["edge"]], "one form"),
    "integers": (lambda m, x, g: {**x, "inside": np.ones((12, 1), int)}, "one form"),
    "NaN": (lambda m, x, g: {**x, "inside": np.full((12, 1), np.nan)}, r"^draw.*finite"),
    "nothing": (lambda m, x, g: None, r"^draw\(...\) is None"),
}


@pytest.mark.parametrize("name", WRONG_DRAWS)
def test_wrong_draws_raise(name):
    draw, message = WRONG_DRAWS[name]
    with pytest.raises(ValueError, match=message):
        fit_with_resampling(draw)


def _draw(model, x, generator):
    return x


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"draw": 3}, TypeError, "`draw` must be a function"),
        ({"draw": _draw, "every": 0}, ValueError, "`every`"),
        ({"draw": _draw, "every": 2.5}, TypeError, "`every`"),
        ({"draw": _draw, "seed": -1}, ValueError, "`seed`"),
    ],
)
def test_wrong_arguments_of_resample_raise(arguments, error, message):
    with pytest.raises(error, match=message):
        keras_smooth.Resample(**arguments)


def test_resample_without_objective_or_of_wrong_type_raises():
    model = net()
    model.compile(loss="mse")
    resample = keras_smooth.Resample(_draw)
    with pytest.raises(ValueError, match="needs an `objective`"):
        keras_smooth.fit_lbfgs(model, X["inside"], X["inside"], resample=resample)
    with pytest.raises(TypeError, match=r"keras_smooth\.Resample"):
        keras_smooth.fit_lbfgs(model, X, objective=terms, resample=len)


# `choose_by_residual`.

POOL = np.linspace(0.0, 1.0, 200)[:, None]


# Exact probabilities of the first point, by the formula of the paper.
@pytest.mark.parametrize(
    ("power", "offset", "ratio"),
    # For residuals 3 and 1 with mean 2, the ratio is 3/2 + c to 1/2 + c; for squares 9/5 + c to 1/5 + c.
    [(1.0, 1.0, 2.5 / 1.5), (1.0, 0.0, 3.0), (2.0, 0.0, 9.0), (0.0, 0.0, 1.0)],
)
def test_choice_probabilities_equal_the_formula(power, offset, ratio):
    generator = np.random.default_rng(0)
    residual = np.where(POOL < 0.5, -3.0, 1.0)
    num_left = sum(
        float(chosen[0, 0] < 0.5)
        for chosen in (
            keras_smooth.choose_by_residual(
                POOL, residual, 1, generator, power=power, offset=offset
            )
            for _ in range(4000)
        )
    )
    # Four standard deviations of the fraction in 4000 draws.
    share = ratio / (1.0 + ratio)
    assert num_left / 4000 == pytest.approx(
        share, abs=4.0 * np.sqrt(share * (1 - share) / 4000)
    )


def test_points_are_chosen_without_repetition():
    generator = np.random.default_rng(0)
    chosen = keras_smooth.choose_by_residual(POOL, POOL, 150, generator)
    assert len(np.unique(chosen)) == 150
    all_points = keras_smooth.choose_by_residual(POOL, 0.0 * POOL, 200, generator)
    np.testing.assert_array_equal(np.sort(all_points, axis=0), POOL)


def test_rows_of_a_residual_are_weighted_by_their_norm():
    columns = np.stack([0.6 * POOL[:, 0], -0.8 * POOL[:, 0]], axis=1)
    chosen, expected = (
        keras_smooth.choose_by_residual(POOL, residual, 20, np.random.default_rng(0))
        for residual in (columns, tf.constant(POOL))
    )
    np.testing.assert_array_equal(chosen, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((POOL, POOL[1:], 5), "199 rows"),
        ((POOL, POOL, 201), "201 shall be chosen"),
        ((POOL, np.full(200, np.inf), 5), "must be finite"),
        ((POOL, POOL, 0), "num_points"),
    ],
)
def test_wrong_arguments_of_choose_by_residual_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras_smooth.choose_by_residual(*arguments, np.random.default_rng(0))
