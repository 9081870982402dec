"""Nested tapes: the reference for every derivative."""

import math
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_smooth import registry
from keras_smooth.checks import shown
from keras_smooth.differentiation.points import Points
from keras_smooth.models import graph, own_call

# Of so many outputs the slopes in a graph are taken one by one.
MOST_SWEEPS = 16


def nested_tapes(function: Callable, x, order: int, step: Callable) -> list:
    """Returns [y, y', ...]: each tape differentiates what the tapes inside it return.

    The one recursion of the package. A step says what a derivative is and what to make of
    one that TensorFlow does not give.

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


def call(model: Callable, x, training: bool = False):
    """Calls a model, layer or function, in inference mode unless told otherwise."""
    outputs = model(x, **own_call.in_mode(model, training))
    for output in keras.tree.flatten(outputs):
        if not hasattr(output, "shape") or not hasattr(output, "dtype"):
            raise TypeError(
                f"The model {getattr(model, 'name', shown(model))!r} must return tensors, but "
                f"returned {shown(output)}."
            )
    return outputs


def derivatives(model: Callable, points: Points, order: int, training=False) -> tuple:
    """Returns y and all its partial derivatives up to an order, for each sample."""

    def function(moving):
        return call(model, points.whole(keras.tree.flatten(moving)), training)

    start = points.structured(points.moving)
    return tuple(nested_tapes(function, start, order, Partials(model)))


def with_laplacian(model: Callable, points: Points) -> tuple:
    """Returns y, y' and the sum of the second derivatives, the trace of the Hessian."""
    y, dy, d2y = derivatives(model, points, 2)
    blocks = len(points.moving)
    flat = iter(keras.tree.flatten(d2y))

    def trace(tensor):
        pairs = [next(flat) for _ in range(blocks**2)]
        traces = [
            tf.linalg.trace(tf.reshape(block, (-1, *tensor.shape[1:], dim, dim)))
            for block, dim in zip(pairs[:: blocks + 1], points.dims, strict=True)
        ]
        return tf.add_n(traces)

    return y, dy, keras.tree.map_structure(trace, y)


def along(model: Callable, points: Points, directions: list, order: int) -> tuple:
    """Returns y and its derivatives along one direction a sample.

    Args:
        model: Model, layer or function.
        points: Where.
        directions: For each moving input, a tensor of its shape.
        order: Number of derivatives.
    """
    curve, t = _line(model, points, directions)
    return tuple(nested_tapes(curve, t, order, Slopes(model)))


def refuse_lost(model: Callable, points: Points, order: int) -> None:
    """Raises if tapes lose a derivative; a line through the first point shows it.

    Nothing is computed where the smoothness of the model is known to suffice.
    """
    if is_certain(model, order):
        return
    points = points.rows(slice(1))
    curve, t = _line(model, points, [tf.ones_like(tensor) for tensor in points.moving])

    def sums(t):
        return keras.tree.map_structure(_sums, curve(t))

    nested_tapes(sums, t, order, Partials(model))


def _sums(tensor: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tensor, axis=tf.range(1, tf.rank(tensor)))


def _line(model: Callable, points: Points, directions: list) -> tuple:
    """Returns the model on a line through each point as a function of t, and t = 0."""

    def curve(t):
        moved = [
            x + v * tf.reshape(t, (-1, *[1] * (x.shape.rank - 1)))
            for x, v in zip(points.moving, directions, strict=True)
        ]
        return call(model, points.whole(moved))

    return curve, tf.zeros(tf.shape(points.moving[0])[:1], points.dtype)


class Partials:
    """A step of `nested_tapes`: all partial derivatives, by sample, by reverse sweeps."""

    def __init__(self, subject: Callable):
        self.subject = subject

    def __call__(self, value, x, order: int) -> Callable:
        tensors, points = keras.tree.flatten(value), keras.tree.flatten(x)
        pairs = [(tensor, _components(tensor)) for tensor in tensors]

        def differentiate(tape: tf.GradientTape):
            jacobians = [
                [self._jacobian(tape, *pair, point, order) for point in points]
                for pair in pairs
            ]
            jacobians = [keras.tree.pack_sequence_as(x, row) for row in jacobians]
            return keras.tree.pack_sequence_as(value, jacobians)

        return differentiate

    def _jacobian(self, tape, tensor, components, point, order: int) -> tf.Tensor:
        rows = [
            _found(gradient(tape, component, point), self.subject, order, point)
            for component in components
        ]
        shape = (-1, *tensor.shape[1:], *sample_axes(point))
        return tf.cast(tf.reshape(tf.stack(rows, axis=1), shape), tensor.dtype)


class Slopes:
    """A step of `nested_tapes`: the derivative by a number t a sample, by two reverse sweeps.

    The first sweep is linear in its seed, so that the second gives a forward derivative.

    Source: J. Townsend, 2017, "A new trick for calculating Jacobian vector products".
    """

    def __init__(self, subject: Callable):
        self.subject = subject

    def __call__(self, value, t: tf.Tensor, order: int) -> Callable:
        return lambda tape: keras.tree.map_structure(
            lambda tensor: self._slope(tape, tensor, t, order), value
        )

    def _slope(self, tape, value: tf.Tensor, t: tf.Tensor, order: int) -> tf.Tensor:
        if not value.dtype.is_floating:
            raise ValueError(lost(self.subject, order, f"its output is {value.dtype.name}"))
        seed = tf.ones_like(value)
        with tf.GradientTape() as inner:
            inner.watch(seed)
            total = gradient(tape, value, t, seed)
        if not isinstance(total, tf.Tensor):
            return _found(total, self.subject, order, value)
        row = gradient(inner, total, seed)
        # A gradient that has none itself raises, or is left out without a word.
        if isinstance(row, LookupError) or not _adds_up(total, row):
            row = _by_components(tape, value, t)
        return _found(row, self.subject, order, value)


# By the bytes of a number: half of its digits.
_HALF_OF_DIGITS = {2: 0.1, 4: 3e-4, 8: 1e-8}


def _adds_up(total: tf.Tensor, row: tf.Tensor | None) -> bool:
    """Returns whether the slopes of all outputs add up to that of their sum.

    A graph cannot tell: there one sweep for each output is always right.

    Args:
        total: Of the sum, by one sweep, `(batch,)`.
        row: Of each output, by two, `(batch, ...)`; None is zeros.
    """
    if not tf.executing_eagerly():
        return row is not None and math.prod(row.shape[1:]) > MOST_SWEEPS
    if row is None:
        return not bool(tf.reduce_any(total != 0))
    allowed = _HALF_OF_DIGITS[min(total.dtype.size, row.dtype.size)]
    # A model in float64 may get its inputs in float32, or the other way round.
    total, row = tf.cast(total, "float64"), tf.cast(row, "float64")
    rows = tf.reshape(row, (tf.shape(total)[0], -1))
    size = tf.reduce_sum(tf.abs(rows), axis=1) + tf.abs(total)
    off = tf.abs(tf.reduce_sum(rows, axis=1) - total)
    finite = tf.math.is_finite(size)
    return bool(tf.reduce_all(~finite | (off <= allowed * size)))


def _by_components(tape, value: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
    size = math.prod(value.shape[1:])
    seeds = tf.reshape(tf.eye(size, dtype=value.dtype), (size, 1, *value.shape[1:]))
    rows = [
        gradient(tape, value, t, seed * tf.ones_like(value)) for seed in tf.unstack(seeds)
    ]
    stacked = tf.stack([tf.cast(row, value.dtype) for row in rows], axis=1)
    return tf.reshape(stacked, tf.shape(value))


def gradient(tape: tf.GradientTape, y: tf.Tensor, x: tf.Tensor, seed=None):
    """Returns a gradient, None where there is no path, or the LookupError that it raises."""
    try:
        return tape.gradient(y, x, output_gradients=seed)
    except LookupError as error:
        return error


def _found(row, subject: Callable, order: int, like: tf.Tensor) -> tf.Tensor:
    """Returns a gradient, zeros where none is the truth, or raises that it is lost."""
    if isinstance(row, LookupError):
        raise ValueError(lost(subject, order, row.args[0])) from row
    if row is not None:
        return row
    if not is_certain(subject, order):
        raise ValueError(lost(subject, order, "TensorFlow finds no path from x to it"))
    return tf.zeros_like(like)


def is_certain(subject: object, order: int) -> bool:
    """Returns whether a derivative of which there is nothing to see is known to be 0."""
    smoothness = registry.smoothness(subject)
    return smoothness is not None and smoothness >= order


def lost(subject: object, order: int, cause: object) -> str:
    """Returns the message that a derivative is lost, with what to look at and what to do."""
    smooth = ", ".join(registry.recommended(order))
    return (
        f"The derivative of order {order} is lost: {cause}. To look at: "
        f"{', '.join(_suspects(subject, order))}. Replace rough activations by smooth ones "
        f"({smooth}) and keras.activations.softsign by the one of keras_smooth; where the "
        "derivative is truly 0, add 0 * x**order to say so."
    )


def _suspects(subject: object, order: int) -> list[str]:
    parts = graph.parts(subject) if isinstance(subject, keras.Model) else None
    classes = [(part, registry.smoothness(part)) for part in parts or []]
    named = [_named(part, k) for part, k in classes if k is None or k < order]
    return named or [_named(subject, registry.smoothness(subject))]


def _named(part: object, smoothness: float | None) -> str:
    name = getattr(part, "name", None) or getattr(part, "__name__", "the function itself")
    kind = "unknown smoothness" if smoothness is None else f"C^{smoothness}"
    return f"{name} ({type(part).__name__}, {kind})"


def _components(tensor: tf.Tensor) -> list[tf.Tensor]:
    """Splits (batch, ...) into tensors of shape (batch,).

    Samples are independent, so that the gradient of one such tensor, summed over the
    batch, holds one derivative a sample.
    """
    size = math.prod(tensor.shape[1:])
    return tf.unstack(tf.reshape(tensor, (-1, size)), num=size, axis=1)


def sample_axes(point: tf.Tensor) -> tuple[int, ...]:
    """Returns the axes that one derivative appends: none where a sample is one number."""
    return () if math.prod(point.shape[1:]) == 1 else tuple(point.shape[1:])
