"""Signed distances of points from the breakpoints of a function, for the rows of the table."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def first_input(operation: tf.Operation, x: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
    """Returns the first input, which is its own signed distance from 0."""
    return x


def integer_distance(x: tf.Tensor) -> tf.Tensor:
    """Returns the signed distance from the nearest integer."""
    return x - tf.round(x)


def nonzero_integer_distance(x: tf.Tensor) -> tf.Tensor:
    """Returns the signed distance from the nearest integer that is not 0."""
    sign = tf.where(x < 0, -tf.ones_like(x), tf.ones_like(x))
    return x - tf.where(tf.abs(x) < 1, sign, tf.round(x))


def gap_to_second_largest(
    x: tf.Tensor, largest: Callable, spread: Callable, count: Callable
) -> Any:
    """Returns the difference between the largest and the second largest number of each group.

    It is 0 if several numbers are the largest, and infinite if a group has only one number.

    Args:
        x: Real tensor, the numbers of all groups.
        largest: Maps a tensor of the shape of `x` to the largest number of each group.
        spread: Broadcasts one value for each group to the numbers of the group.
        count: Maps a tensor of the shape of `x` to its sum over each group.
    """
    top = largest(x)
    is_largest = x == spread(top)
    lowest = tf.constant(float("-inf"), x.dtype)
    second = largest(tf.where(is_largest, lowest, x))
    tied = count(tf.cast(is_largest, x.dtype)) > 1
    return tf.where(tied, tf.zeros_like(top), top - second)
