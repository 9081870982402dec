"""The distances of points from breakpoints of a function, for the rows of the table."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def first_input(operation: tf.Operation, x: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
    """Returns the first input, whose distance from 0 it is."""
    return x


def from_integer(x: tf.Tensor) -> tf.Tensor:
    """Returns the signed distance to the nearest integer."""
    return x - tf.round(x)


def from_other_integer(x: tf.Tensor) -> tf.Tensor:
    """Returns the signed distance to the nearest integer that is not 0."""
    sign = tf.where(x < 0, -tf.ones_like(x), tf.ones_like(x))
    return x - tf.where(tf.abs(x) < 1, sign, tf.round(x))


def first_gap(x: tf.Tensor, largest: Callable, spread: Callable, count: Callable) -> Any:
    """Returns the difference of the largest and the second largest of some numbers.

    It is 0 if several are the largest, and infinite if there is only one number.

    Args:
        x: Numbers.
        largest: Returns the largest of each group, from all of them.
        spread: Returns what belongs to the groups for each number.
        count: Returns the sum of each group.
    """
    top = largest(x)
    is_largest = x == spread(top)
    lowest = tf.constant(float("-inf"), x.dtype)
    second = largest(tf.where(is_largest, lowest, x))
    tied = count(tf.cast(is_largest, x.dtype)) > 1
    return tf.where(tied, tf.zeros_like(top), top - second)
