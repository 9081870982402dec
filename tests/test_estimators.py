"""Estimates from random directions: bias, standard errors, seeds, exact cases, arguments."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_smooth

DIM = 12


def coupled(x):
    """Its Hessians are not diagonal and differ between samples."""
    return ops.sum(ops.sin(x * ops.roll(x, 1, axis=1)), axis=1, keepdims=True)


def field(x):
    return ops.sin(x * ops.roll(x, 1, axis=1)) + ops.roll(x, 3, axis=1) ** 2


OPERATOR = {(i, i): 1.0 + i for i in range(DIM)} | {(0,): 2.0, (): 3.0, (1, 4): 0.5}
ESTIMATES = {
    "laplacian": lambda x, **options: keras_smooth.laplacian(coupled, x, **options),
    "biharmonic": lambda x, **options: keras_smooth.biharmonic(coupled, x, **options),
    "divergence": lambda x, **options: keras_smooth.divergence(field, x, **options),
    "linear_operator": lambda x, **options: keras_smooth.linear_operator(
        coupled, x, OPERATOR, **options
    ),
    "pointwise": lambda x, **options: keras_smooth.linear_operator(
        coupled, x, {(i, i): lambda x, i=i: x[:, i] for i in range(DIM)}, **options
    ),
}


@pytest.mark.parametrize("name", ESTIMATES)
def test_estimates_are_unbiased_with_right_standard_error(name, rng):
    """Over 60 seeds, errors divided by standard errors have mean 0 and deviation 1."""
    x, estimate = rng.normal(size=(3, DIM)), ESTIMATES[name]
    exact = np.asarray(estimate(x))
    run = tf.function(
        lambda x, seed: (value := estimate(x, probes=6, seed=seed), value.standard_error),
        autograph=False,
    )
    generator = keras.random.SeedGenerator(1)
    values, errors = zip(*(run(tf.constant(x), generator) for _ in range(60)))
    values, errors = np.stack(values), np.stack(errors)
    # Five standard errors of a mean of 60 draws.
    deviation = values.std(axis=0, ddof=1)
    assert (np.abs(values.mean(axis=0) - exact) < 5 * deviation / np.sqrt(60)).all()
    # 60 draws of 6 directions each, with large fourth moments.
    ratio = np.sqrt(np.mean(errors**2, axis=0)) / deviation
    assert (ratio > 0.6).all() and (ratio < 1.6).all()


@pytest.mark.parametrize("engine", ["jet", "tape"])
@pytest.mark.parametrize("name", ESTIMATES)
def test_same_seed_gives_same_estimate_with_engines_and_batches(name, engine, rng):
    x, estimate = rng.normal(size=(5, DIM)), ESTIMATES[name]
    if name == "biharmonic" and engine == "tape":
        x = x[:, :3]
    first = estimate(x, probes=3, seed=7)
    repeated = estimate(x, probes=3, seed=7, engine=engine, batch_size=2)
    # Rounding of the engines in terms of about 1000.
    np.testing.assert_allclose(repeated, first, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        repeated.standard_error, first.standard_error, rtol=1e-6, atol=1e-9
    )
    assert np.abs(first - estimate(x, probes=3, seed=8)).max() > 0


def test_seed_generator_draws_new_directions_when_compiled(rng):
    generator = keras.random.SeedGenerator(1)
    run = tf.function(
        lambda x: keras_smooth.laplacian(coupled, x, probes=2, seed=generator),
        jit_compile=True,
        autograph=False,
    )
    x = tf.constant(rng.normal(size=(3, DIM)))
    assert np.abs(run(x) - run(x)).max() > 0


def test_estimate_from_all_directions_is_exact(rng):
    x = rng.normal(size=(3, DIM))
    expected = keras_smooth.linear_operator(coupled, x, OPERATOR)
    estimate = keras_smooth.linear_operator(coupled, x, OPERATOR, probes=DIM + 2, seed=0)
    np.testing.assert_allclose(estimate, expected, rtol=1e-12)
    np.testing.assert_array_equal(estimate.standard_error, np.zeros((3, 1)))


def test_estimate_for_diagonal_hessian_is_exact(rng):
    """Directions of 1 and -1 have no error if there are no mixed derivatives."""
    x = rng.normal(size=(3, 50))
    value = keras_smooth.laplacian(
        lambda x: ops.sum(ops.sin(x), axis=1), x, probes=2, seed=0
    )
    np.testing.assert_allclose(value, -np.sin(x).sum(axis=1), rtol=1e-12)
    # Rounding of sums of 50 terms.
    assert np.abs(value.standard_error).max() < 1e-12


def test_estimate_in_ten_thousand_dimensions(rng):
    x = rng.normal(size=(2, 10_000)) / 100
    value = keras_smooth.laplacian(
        lambda x: ops.sum(x**4, axis=1) + ops.sum(x, axis=1) ** 2, x, probes=64, seed=0
    )
    expected = np.sum(12 * x**2, axis=1) + 20_000
    assert (np.abs(value - expected) < 5 * np.asarray(value.standard_error)).all()


def test_fit_lbfgs_of_estimate_with_fixed_seed(rng):
    """Poisson's equation in ten dimensions, of |x|^2 / 2 with the Laplacian 10."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((10,), dtype="float64"),
            keras_smooth.Dense(16, "tanh", dtype="float64"),
            keras_smooth.Dense(1, use_bias=False, dtype="float64"),
        ]
    )

    def poisson(model, x):
        laplacian = keras_smooth.laplacian(model, x, probes=4, seed=3)
        return ops.mean((laplacian - 10.0) ** 2)

    x = rng.uniform(-1, 1, (40, 10))
    history = keras_smooth.fit_lbfgs(model, x, objective=poisson, epochs=60, verbose=0)
    loss = history.history["loss"]
    assert loss[-1] < 1e-3 * loss[0]


WRONG_ARGUMENTS = {
    "without seed": ({"probes": 3}, ValueError, "`seed` must be given with probes="),
    "without probes": ({"seed": 3}, ValueError, "`seed` needs `probes`"),
    "one probe": ({"probes": 1, "seed": 0}, ValueError, "`probes` must be 2 or more"),
    "half a probe": ({"probes": 2.5, "seed": 0}, TypeError, "`probes` must be an integer"),
    "a word": ({"probes": 2, "seed": "a"}, TypeError, "`seed` must be .*whole number"),
    "too many bits": (
        {"probes": 2, "seed": 2**70},
        ValueError,
        "`seed` must be .* 63 bits",
    ),
    "a boolean": ({"probes": 2, "seed": True}, TypeError, "`seed` must be .*whole number"),
    "verified": (
        {"probes": 2, "seed": 0, "verify": True},
        ValueError,
        "`verify` cannot be True with probes=",
    ),
}


@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
@pytest.mark.parametrize("estimate", ESTIMATES)
def test_wrong_arguments_raise(estimate, name, rng):
    options, kind, words = WRONG_ARGUMENTS[name]
    with pytest.raises(kind, match=words):
        ESTIMATES[estimate](rng.normal(size=(3, DIM)), **options)


@pytest.mark.parametrize("dim", [2, 5, 30])
def test_biharmonic_estimate_of_radial_quartic_is_exact(dim, rng):
    """|x|^4 has the same fourth derivative in all directions: lap lap = 8 d (d + 2)."""
    value = keras_smooth.biharmonic(
        lambda x: ops.sum(x**2, axis=1) ** 2, rng.normal(size=(3, dim)), probes=2, seed=0
    )
    np.testing.assert_allclose(value, 8 * dim * (dim + 2), rtol=1e-11)
    # Rounding of the lengths.
    assert np.abs(value.standard_error).max() < 1e-9 * dim**2
