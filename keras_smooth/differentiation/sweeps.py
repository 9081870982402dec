"""Reverse sweeps through tapes: the steps from one order to the next."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_smooth.differentiation.lost import Ways
from keras_smooth.differentiation.points import sample_axes


def nested_tapes(function: Callable, x: Any, order: int, step: Callable) -> list:
    """Returns [y, y', ...]: each tape differentiates what the tapes inside it return.

    A step defines the derivative and handles
    a derivative that TensorFlow does not have.

    Args:
        function: Of x.
        x: A tensor or a structure of tensors.
        order: Number of derivatives.
        step: `step(value, x, order)` is called where the tape records, with the derivative
            of one order less, and returns a function of the tape, which returns that of
            this order.
    """
    if order == 0:
        return [function(x)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(keras.tree.flatten(x))
        entries = nested_tapes(function, x, order - 1, step)
        differentiate = step(entries[-1], x, order)
    return [*entries, differentiate(tape)]


@dataclasses.dataclass(frozen=True)
class Partials:
    """A step: all partial derivatives, by sample, by reverse sweeps.

    Args:
        ways: From x to y.
        below: The order of what is differentiated.
    """

    ways: Ways
    below: int = 0

    def __call__(self, value: Any, x: Any, order: int) -> Callable:
        points = keras.tree.flatten(x)
        split = [(tensor, components(tensor)) for tensor in keras.tree.flatten(value)]

        def jacobian(tape: tf.GradientTape, place: int, number: int) -> tf.Tensor:
            (tensor, columns), point = split[place], points[number]
            # Where value is a derivative, its places count the inputs behind each output.
            output, *inputs = _unraveled(order, place, number, len(points))
            rows = slopes(
                self.ways, tape, columns, point, self.below + order, output, inputs
            )
            shape = (-1, *tensor.shape[1:], *sample_axes(point))
            return tf.cast(tf.reshape(rows, shape), tensor.dtype)

        def differentiate(tape: tf.GradientTape) -> Any:
            numbers = range(len(points))
            jacobians = (
                [jacobian(tape, place, number) for number in numbers]
                for place in range(len(split))
            )
            by_input = [keras.tree.pack_sequence_as(x, each) for each in jacobians]
            return keras.tree.pack_sequence_as(value, by_input)

        return differentiate


def _unraveled(order: int, place: int, number: int, num_points: int) -> list[int]:
    """Returns the place of an output, and those of all inputs that it is derived by."""
    inputs = [number]
    for _ in range(order - 1):
        place, earlier = divmod(place, num_points)
        inputs.append(earlier)
    return [place, *inputs]


@dataclasses.dataclass(frozen=True)
class Slopes:
    """A step: the derivative by a number t a sample, by two reverse sweeps.

    The first sweep is linear in its seed, so that the second gives a forward derivative, of
    all outputs at once. It leaves out a path whose gradient has itself no gradient.

    Args:
        ways: From t to y.
        order: The highest order.

    Raises:
        LookupError: If such a path cannot be excluded.

    Source: J. Townsend, 2017, "A new trick for calculating Jacobian vector products".
    """

    ways: Ways
    order: int

    def __call__(self, value: Any, t: tf.Tensor, order: int) -> Callable:
        def differentiate(tape: tf.GradientTape) -> Any:
            outputs = enumerate(keras.tree.flatten(value))
            flat = [self._slope(tape, *output, t, order) for output in outputs]
            return keras.tree.pack_sequence_as(value, flat)

        return differentiate

    def _slope(
        self, tape: tf.GradientTape, output: int, value: tf.Tensor, t: tf.Tensor, order: int
    ) -> tf.Tensor:
        if not value.dtype.is_floating:
            raise LookupError(f"the output is {value.dtype.name}")
        # The derivative is the same for any seed; a random one hides no path.
        seed = tf.random.stateless_normal(tf.shape(value), (0, 0), dtype=value.dtype)
        with tf.GradientTape() as inner:
            inner.watch(seed)
            total = gradient(tape, value, t, seed)
        row = gradient(inner, total, seed) if isinstance(total, tf.Tensor) else total
        if isinstance(row, Exception):
            raise row
        is_whole = row is not None and _is_whole(seed, total, row)
        # Each order needs two sweeps.
        if not (is_whole or self.ways.are_right(2 * self.order)):
            raise LookupError("a path has no second gradient")
        return self.ways.checked(row, order, value, output, ())


# By the bytes of a number: half of its digits.
_HALF_OF_DIGITS = {2: 0.1, 4: 3e-4, 8: 1e-8}


def _is_whole(seed: tf.Tensor, total: tf.Tensor, row: tf.Tensor) -> bool:
    """Returns whether no path is missing in the derivative of a gradient by its seed.

    Args:
        seed: Of the gradient, `(batch, ...)`.
        total: The gradient, `(batch,)`, linear in its seed.
        row: Its derivative by the seed, `(batch, ...)`.
    """
    if not tf.executing_eagerly():
        return False
    allowed = _HALF_OF_DIGITS[min(total.dtype.size, row.dtype.size)]
    # A model in float64 may get its inputs in float32, or the other way round.
    seed, total, row = (tf.cast(each, "float64") for each in (seed, total, row))
    terms = tf.reshape(seed * row, (tf.shape(total)[0], -1))
    size = tf.reduce_sum(tf.abs(terms), axis=1) + tf.abs(total)
    off = tf.abs(tf.reduce_sum(terms, axis=1) - total)
    # Values that are not finite do not agree.
    return bool(tf.reduce_all(off <= allowed * size))


def gradient(tape: tf.GradientTape, y: tf.Tensor, x: tf.Tensor, seed: Any = None) -> Any:
    """Returns a gradient, None if there is no path, or the error of TensorFlow."""
    try:
        row = tape.gradient(y, x, output_gradients=seed)
    except (LookupError, NotImplementedError) as error:
        return error
    # What is computed again for its gradient cannot be differentiated twice; of a layer
    # TensorFlow cannot even say so, since it has no __name__.
    except AttributeError:
        return NotImplementedError("recompute_grad gives one derivative alone")
    # The gradient of a gather has only the rows that are used.
    return tf.convert_to_tensor(row) if isinstance(row, tf.IndexedSlices) else row


def slopes(
    ways: Ways,
    tape: tf.GradientTape,
    columns: Sequence[tf.Tensor],
    x: tf.Tensor,
    order: int,
    output: int,
    inputs: Sequence[int],
) -> tf.Tensor:
    """Returns the derivatives of columns by one input, of shape `(batch, columns, ...)`.

    Args:
        ways: From the inputs to the outputs.
        tape: That has recorded the columns.
        columns: The components of an output, or of a derivative of it.
        x: The input.
        order: Of the derivatives.
        output: Place of the output.
        inputs: The places of all inputs by which it is derived.
    """
    rows = (gradient(tape, column, x) for column in columns)
    return tf.stack([ways.checked(row, order, x, output, inputs) for row in rows], axis=1)


def components(tensor: tf.Tensor) -> list[tf.Tensor]:
    """Splits (batch, ...) into tensors of shape (batch,).

    Samples are independent, so that the gradient of one such tensor, summed over the
    batch, holds one derivative a sample.
    """
    size = math.prod(tensor.shape[1:])
    # Not unstacked: a gradient of one of them would make zeros for all the others.
    rows = tf.reshape(tensor, (-1, size))
    return [rows[:, place] for place in range(size)]
