"""Determinants, of singular matrices as well, whose derivatives need no inverse."""

import numpy as np
import pytest
import tensorflow as tf

import keras_smooth

FACTORIALS = np.array([1, 1, 2, 6, 24])
# Rows and rank. The derivatives of order 4 of a matrix of rank n - 5 are 0, and those of n - 4
# are not.
RANKS = [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 2), (3, 3), (4, 0), (4, 3)]
RANKS += [(7, 2), (7, 3), (7, 5), (7, 6), (7, 7), (9, 0), (9, 8)]


def matrix_of_rank(size, rank, rng):
    u, v = (np.linalg.qr(rng.normal(size=(size, size)))[0] for _ in range(2))
    values = np.r_[rng.uniform(0.5, 2.0, rank), np.zeros(size - rank)]
    return (u * values) @ v


def exact_derivatives(a, b, c):
    """Returns the derivatives of det(a + t b + t^2 c) at 0, from values on a circle."""
    number, radius = 4 * len(a) + 8, 0.5
    t = radius * np.exp(2j * np.pi * np.arange(number) / number)[:, None, None]
    coefficients = np.fft.fft(np.linalg.det(a + t * b + t**2 * c)) / number
    return (coefficients[:5] / radius ** np.arange(5)).real * FACTORIALS


@pytest.mark.parametrize(("size", "rank"), RANKS)
def test_jets_of_a_determinant_are_right_at_any_rank(size, rank):
    rng = np.random.default_rng(10 * size + rank)
    a = matrix_of_rank(size, rank, rng)
    b, c = rng.normal(size=(2, size, size)) / np.sqrt(size)

    def function(t):
        t = t[:, :, None]
        return tf.linalg.det(a + t * b + t**2 * c)[:, None]

    result = keras_smooth.derivatives(function, np.zeros((1, 1)), order=4, engine="jet")
    expected = exact_derivatives(a, b, c)
    # Rounding of the values on the circle, whose coefficients are divided by its radius^4.
    tolerance = 1e-11 * FACTORIALS[-1]
    for entry, exact in zip(result, expected):
        np.testing.assert_allclose(entry.numpy().ravel()[0], exact, atol=tolerance)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("size", [2, 4, 6])
def test_rows_and_columns_of_different_units_keep_their_digits(size, order):
    rng = np.random.default_rng(size)
    a, left, right = rng.normal(size=(size, size)), 1e9 * np.eye(size), np.eye(size)
    left[1:, 1:] *= 1e-18
    right[-1, -1] = 1e12

    def function(t):
        return tf.linalg.det(left @ a @ right * tf.exp(t)[:, :, None])[:, None]

    result = keras_smooth.derivatives(function, np.zeros((1, 1)), order, engine="jet")
    expected = np.linalg.det(a) * np.prod(np.diag(left)) * np.prod(np.diag(right))
    for k, entry in enumerate(result):
        # Some roundings of the largest product of entries.
        np.testing.assert_allclose(entry.numpy().ravel()[0], expected * size**k, rtol=1e-11)


SINGULAR = np.array([[1.0, 2, 2, 4], [0, 0, 0, 0], [1, 0, 0, 1], [3, 1, 1, 2]])


def determinant_of_row(x):
    return tf.linalg.det(tf.reshape(x, (-1, 2, 2)))


@pytest.mark.parametrize("engine", ["auto", "jet"])
@pytest.mark.parametrize("compiled", [False, True])
def test_gradient_of_a_determinant_is_the_adjugate(engine, compiled):
    def gradient(x):
        return keras_smooth.gradient(determinant_of_row, x, engine=engine)

    run = tf.function(gradient) if compiled and engine == "jet" else gradient
    a, b, c, d = SINGULAR.T
    expected = np.stack([d, -c, -b, a], axis=1)
    # A few roundings of numbers up to 4.
    np.testing.assert_allclose(run(tf.constant(SINGULAR)), expected, atol=1e-14)


def test_laplacian_and_hessian_of_a_determinant_at_singular_matrices():
    hessian = keras_smooth.hessian(determinant_of_row, SINGULAR)
    expected = np.fliplr(np.diag([1.0, -1.0, -1.0, 1.0]))
    np.testing.assert_allclose(hessian, np.tile(expected, (4, 1, 1)), atol=1e-14)
    laplacian = keras_smooth.laplacian(determinant_of_row, SINGULAR, engine="jet")
    np.testing.assert_allclose(laplacian, np.zeros(4), atol=1e-14)


def test_jets_of_a_determinant_have_gradients_at_equal_singular_values():
    x = tf.constant([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        slope = keras_smooth.gradient(determinant_of_row, x, engine="jet")[:, 0]
    # The derivative of x3, that is of the first entry of the gradient.
    np.testing.assert_allclose(tape.gradient(slope, x), [[0, 0, 0, 1]] * 2, atol=1e-14)


def test_tapes_at_singular_matrices_raise_a_sentence():
    with pytest.raises(ValueError, match="gradient fails at the points.*not invertible"):
        keras_smooth.gradient(determinant_of_row, SINGULAR, engine="tape")


@pytest.mark.parametrize("dtype", ["complex128", "float32"])
def test_determinants_of_other_dtypes(dtype):
    def function(x):
        entries = tf.cast(tf.reshape(x, (-1, 2, 2)), dtype)
        factor = tf.constant(1j if dtype == "complex128" else 1.0, dtype)
        y = tf.linalg.det(entries * factor)
        return tf.math.real(y) if dtype == "complex128" else y

    sign = -1.0 if dtype == "complex128" else 1.0
    a, b, c, d = SINGULAR.T
    # A few roundings of float32 for numbers up to 4.
    np.testing.assert_allclose(
        keras_smooth.gradient(function, SINGULAR.astype("float32"), engine="jet"),
        sign * np.stack([d, -c, -b, a], axis=1),
        atol=1e-5,
    )
