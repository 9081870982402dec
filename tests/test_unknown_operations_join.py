"""Choices between branches with an operation that the table does not have are measured."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_smooth

X = np.linspace(-1.9, 2.3, 8)[:, None]


def beta(s):
    """Betainc, for which the table has no row; its series and its mirror image are the same."""
    return tf.math.betainc(tf.constant(2.0, s.dtype), tf.constant(3.0, s.dtype), s)


def mirrored(s):
    return 1.0 - tf.math.betainc(
        tf.constant(3.0, s.dtype), tf.constant(2.0, s.dtype), 1.0 - s
    )


def joined(x, difference):
    """Chooses between two forms of one function, which differ by a function of x - 0.1."""
    s = tf.sigmoid(x)
    return tf.where(x < 0.1, beta(s), mirrored(s) + difference(x - 0.1))


# What is added on one side, the verdict, and the first order that jumps.
CASES = {
    "nothing": (tf.zeros_like, "checked", 0),
    "a third power": (lambda d: d**3, "checked", 0),
    "a square": (lambda d: d**2, "faulty", 2),
    "a line": (lambda d: 0.1 * d, "faulty", 1),
    "a jump": (lambda d: tf.ones_like(d), "faulty", 1),
}


class Joined(keras.Model):
    def __init__(self, difference):
        super().__init__(dtype="float64")
        self.difference = difference

    def call(self, x):
        return joined(x, self.difference)


@pytest.mark.parametrize(("difference", "verdict", "order"), CASES.values(), ids=CASES)
def test_branches_with_an_unknown_operation_are_measured(difference, verdict, order):
    report = keras_smooth.audit(Joined(difference), X)
    assert (report.inference, report.model.order) == (verdict, order)


@pytest.mark.slow
def test_distribution_function_of_student_is_checked():
    probability = pytest.importorskip("tensorflow_probability")

    class Distribution(keras.Model):
        def call(self, x):
            zero, one, three = (tf.constant(n, tf.float64) for n in (0.0, 1.0, 3.0))
            return probability.distributions.StudentT(three, zero, one).cdf(x)

    assert keras_smooth.audit(Distribution(dtype="float64"), X).inference == "checked"
