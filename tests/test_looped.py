"""Loops of cases: all failing cases are reported, and each case starts like a test."""

import inspect
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from fresh_start import set_random_seed
from looped import each

from keras_smooth.presentation.warn import warn_once


def test_every_failing_case_is_reported_by_its_name():
    @each("number", range(5))
    def is_even(number):
        assert number % 2 == 0

    with pytest.raises(AssertionError, match="2 of 5 cases fail") as raised:
        is_even()
    assert "1: " in str(raised.value) and "3: " in str(raised.value)


def test_missing_expected_error_is_a_failure_of_its_case():
    @each("value", [1, "a"])
    def is_refused(value):
        with pytest.raises(ValueError):
            int(value)

    with pytest.raises(AssertionError, match="(?s)1 of 2 .*1: .*DID NOT RAISE"):
        is_refused()


def test_fixtures_are_passed_to_the_check():
    @each("value", [1])
    def check(value, tmp_path):
        assert value == 1 and tmp_path == "a folder"

    assert list(inspect.signature(check).parameters) == ["tmp_path"]
    check(tmp_path="a folder")


def test_each_case_has_the_same_random_numbers_and_new_warnings():
    class Model:
        pass

    model, numbers = Model(), []

    @each("value", [1, 2])
    def check(value):
        numbers.append(random_numbers())
        with pytest.warns(UserWarning, match="odd"):
            warn_once(model, "It is odd.")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warn_once(model, "It is odd.")

    check()
    assert numbers[0] == numbers[1]


def random_numbers():
    """Returns numbers of all generators, including TensorFlow's in a graph and a dataset."""
    order = tf.data.Dataset.range(9).shuffle(9)
    return [
        float(np.random.rand()),
        float(keras.random.uniform(())),
        float(tf.random.uniform(())),
        float(tf.function(lambda: tf.random.uniform(()), autograph=False)()),
        *order.as_numpy_iterator(),
    ]


def test_set_random_seed_has_the_numbers_of_keras():
    """Even for repeated calls, with or without drawing numbers of TensorFlow in between."""
    numbers = []
    for set_seed in (keras.utils.set_random_seed, *[set_random_seed] * 3):
        set_seed(3)
        numbers.append(random_numbers())
    set_random_seed(3)
    set_random_seed(3)
    assert numbers == [numbers[0]] * 4 and random_numbers() == numbers[0]
    set_random_seed(4)
    assert random_numbers() != numbers[0]
