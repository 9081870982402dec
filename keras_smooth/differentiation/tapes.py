"""Nested tapes: the reference for every derivative."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_smooth import registry
from keras_smooth.checks import shown
from keras_smooth.differentiation.points import Points
from keras_smooth.models import graph, own_call


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
    step = Partials(model, functools.partial(has_no_path, model, points))
    return tuple(nested_tapes(function, start, order, step))


def with_laplacian(model: Callable, points: Points, training: bool = False) -> tuple:
    """Returns y, y' and the sum of the second derivatives, the trace of the Hessian."""
    y, dy, d2y = derivatives(model, points, 2, training)
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


def along(
    model: Callable,
    points: Points,
    directions: Sequence[tf.Tensor],
    order: int,
    training: bool = False,
) -> tuple:
    """Returns y and its derivatives along one direction a sample.

    Args:
        model: Model, layer or function.
        points: Where.
        directions: For each moving input, a tensor of its shape.
        order: Number of derivatives.
        training: Whether layers run in training mode.
    """
    curve, t = _line(model, points, directions, training)
    is_zero = functools.partial(has_no_path, model, points)
    return tuple(slopes(curve, t, order, model, is_zero))


def along_each(
    model: Callable,
    points: Points,
    directions: tf.Tensor,
    order: int,
    training: bool = False,
) -> tuple:
    """Returns y and its derivative of one order along each of several shared directions."""
    results = []
    for direction in tf.unstack(tf.cast(directions, points.dtype)):
        parts = zip(tf.split(direction, points.dims), points.moving, strict=True)
        whole = [tf.broadcast_to(tf.reshape(v, x.shape[1:]), tf.shape(x)) for v, x in parts]
        results.append(along(model, points, whole, order, training))
    return results[0][0], *(entries[order] for entries in results)


def hessian_vector_product(
    model: Callable,
    points: Points,
    directions: Sequence[tf.Tensor],
    training: bool = False,
) -> tuple:
    """Returns y and the derivatives of its slope along one direction by all inputs."""

    def function(moving):
        return call(model, points.whole(keras.tree.flatten(moving)), training)

    partials = Partials(model, functools.partial(has_no_path, model, points))
    outputs: list = []

    def along_direction(value, slopes):
        def contracted(tensor, *parts):
            return tf.add_n([_contracted(tensor, *pair) for pair in zip(parts, directions)])

        pairs = zip(keras.tree.flatten(value), _rows(slopes, len(points.moving)))
        flat = [contracted(tensor, *parts) for tensor, parts in pairs]
        return keras.tree.pack_sequence_as(value, flat)

    def step(value, x, order: int) -> Callable:
        if order == 1:
            outputs.append(value)
            differentiate = partials(value, x, 1)
            return lambda tape: along_direction(value, differentiate(tape))
        return partials(value, x, order)

    start = points.structured(points.moving)
    *_, products = nested_tapes(function, start, 2, step)
    return outputs[0], products


def _rows(structure: Any, size: int) -> list:
    """Returns the leaves of a structure in rows of one size."""
    flat = keras.tree.flatten(structure)
    return [flat[start : start + size] for start in range(0, len(flat), size)]


def _contracted(tensor: tf.Tensor, slope: tf.Tensor, direction: tf.Tensor) -> tf.Tensor:
    """Returns the sum over the numbers of an input of slopes times a direction."""
    dim = math.prod(direction.shape[1:])
    rows = tf.reshape(slope, (-1, math.prod(tensor.shape[1:]), dim))
    product = tf.linalg.matvec(rows, tf.cast(tf.reshape(direction, (-1, dim)), slope.dtype))
    return tf.reshape(product, (-1, *tensor.shape[1:]))


def has_no_path(model: Callable, points: Points, output: int, moving: int | None = None):
    """Returns whether the graph of a model shows that an output is constant.

    Args:
        model: Model, layer or function.
        points: Its inputs.
        output: Place of the output.
        moving: Which of the moving inputs, None for all of them.
    """
    paths = graph.paths(model)
    # By the names of the tensors the inputs have another order.
    if (
        paths is None
        or isinstance(points.x, dict)
        and not isinstance(getattr(model, "input", None), dict)
    ):
        return False
    places = points.places if moving is None else (points.places[moving],)
    return paths[output].isdisjoint(places)


def _line(
    model: Callable, points: Points, directions: Sequence[tf.Tensor], training: bool
) -> tuple:
    """Returns the model on a line through each point as a function of t, and t = 0."""

    def curve(t):
        moved = [
            x + v * tf.reshape(t, (-1, *[1] * (x.shape.rank - 1)))
            for x, v in zip(points.moving, directions, strict=True)
        ]
        return call(model, points.whole(moved), training)

    return curve, tf.zeros(tf.shape(points.moving[0])[:1], points.dtype)


class LostError(ValueError):
    """Says that TensorFlow has no such derivative."""


def never(*places: int) -> bool:
    """Says of no derivative that it is known to be 0."""
    return False


class Partials:
    """A step of `nested_tapes`: all partial derivatives, by sample, by reverse sweeps."""

    def __init__(self, subject: Callable, is_zero: Callable = never):
        self.subject = subject
        # Of the places of an output and an input.
        self.is_zero = is_zero

    def __call__(self, value, x, order: int) -> Callable:
        tensors, points = keras.tree.flatten(value), keras.tree.flatten(x)
        pairs = [(tensor, components(tensor)) for tensor in tensors]

        def differentiate(tape: tf.GradientTape):
            jacobians = [
                [
                    self._jacobian(tape, *pair, point, order, place, number, len(points))
                    for number, point in enumerate(points)
                ]
                for place, pair in enumerate(pairs)
            ]
            jacobians = [keras.tree.pack_sequence_as(x, row) for row in jacobians]
            return keras.tree.pack_sequence_as(value, jacobians)

        return differentiate

    def _jacobian(self, tape, tensor, components, point, order, *places) -> tf.Tensor:
        def is_zero():
            output, *inputs = _unraveled(order, *places)
            return any(self.is_zero(output, each) for each in inputs)

        rows = [
            checked_gradient(
                gradient(tape, component, point), self.subject, order, point, is_zero
            )
            for component in components
        ]
        shape = (-1, *tensor.shape[1:], *sample_axes(point))
        return tf.cast(tf.reshape(tf.stack(rows, axis=1), shape), tensor.dtype)


def slopes(
    function: Callable,
    t: tf.Tensor,
    order: int,
    subject: Callable,
    is_zero: Callable = never,
) -> list:
    """Returns [y, y', ...] of a function of one number t for each sample.

    Two sweeps give the slopes of all outputs at once, but leave out a path whose gradient has
    itself no gradient. Where that cannot be excluded there is one sweep for each output.

    Args:
        function: Of t, of shape `(batch,)`.
        t: Where.
        order: Number of derivatives.
        subject: What the function calls: a model, layer, operation or function.
        is_zero: Whether an output, by its place, is known not to depend on t.
    """
    try:
        return nested_tapes(function, t, order, Slopes(subject, order))
    # A layer that is computed again for its gradient has one sweep only.
    except (LookupError, NotImplementedError, AttributeError):
        return _by_components(function, t, order, subject, is_zero)


def _by_components(
    function: Callable, t: tf.Tensor, order: int, subject: Callable, is_zero: Callable
) -> list:
    outputs = []

    def split(t):
        outputs.append(function(t))
        tensors = keras.tree.flatten(outputs[-1])
        for tensor in tensors:
            _check_floats(tensor, subject, order)
        return [components(tensor) for tensor in tensors]

    def is_zero_component(component, _):
        sizes = [math.prod(y.shape[1:]) for y in keras.tree.flatten(outputs[-1])]
        return is_zero(int(np.searchsorted(np.cumsum(sizes), component, side="right")))

    step = Partials(subject, is_zero_component)
    _, *entries = nested_tapes(split, t, order, step)
    (y,) = outputs

    def packed(entry):
        pairs = zip(entry, keras.tree.flatten(y), strict=True)
        stacked = [
            tf.reshape(tf.stack(rows, axis=1), (-1, *tensor.shape[1:]))
            for rows, tensor in pairs
        ]
        return keras.tree.pack_sequence_as(y, stacked)

    return [y, *map(packed, entries)]


def _unraveled(order: int, place: int, number: int, num_points: int) -> list[int]:
    """Returns the place of an output, and those of all inputs that it is derived by."""
    inputs = [number]
    for _ in range(order - 1):
        place, earlier = divmod(place, num_points)
        inputs.append(earlier)
    return [place, *inputs]


def _check_floats(tensor: tf.Tensor, subject: Callable, order: int) -> None:
    if not tensor.dtype.is_floating:
        raise LostError(lost(subject, order, f"its output is {tensor.dtype.name}"))


class Slopes:
    """A step of `nested_tapes`: the derivative by a number t a sample, by two reverse sweeps.

    The first sweep is linear in its seed, so that the second gives a forward derivative.

    Source: J. Townsend, 2017, "A new trick for calculating Jacobian vector products".
    """

    def __init__(self, subject: Callable, order: int):
        self.subject = subject
        # Each order takes two sweeps.
        self.is_trusted = functools.partial(_are_right, subject, 2 * order)

    def __call__(self, value, t: tf.Tensor, order: int) -> Callable:
        return lambda tape: keras.tree.map_structure(
            lambda tensor: self._slope(tape, tensor, t, order), value
        )

    def _slope(self, tape, value: tf.Tensor, t: tf.Tensor, order: int) -> tf.Tensor:
        _check_floats(value, self.subject, order)
        # Of any seed the derivative is the same; one of random numbers hides no path.
        seed = tf.random.stateless_normal(tf.shape(value), (0, 0), dtype=value.dtype)
        with tf.GradientTape() as inner:
            inner.watch(seed)
            total = gradient(tape, value, t, seed)
        row = gradient(inner, total, seed) if isinstance(total, tf.Tensor) else total
        if isinstance(row, Exception):
            raise row
        if not (row is not None and _is_whole(seed, total, row) or self.is_trusted()):
            raise LookupError("a path has no second gradient")
        return checked_gradient(row, self.subject, order, value)


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
    parts = tf.reshape(seed * row, (tf.shape(total)[0], -1))
    size = tf.reduce_sum(tf.abs(parts), axis=1) + tf.abs(total)
    off = tf.abs(tf.reduce_sum(parts, axis=1) - total)
    # What is not finite agrees with nothing.
    return bool(tf.reduce_all(off <= allowed * size))


def gradient(tape: tf.GradientTape, y: tf.Tensor, x: tf.Tensor, seed=None):
    """Returns a gradient, None where there is no path, or why TensorFlow has none."""
    try:
        found = tape.gradient(y, x, output_gradients=seed)
    except (LookupError, NotImplementedError) as error:
        return error
    # What is computed again for its gradient cannot be differentiated twice; of a layer
    # TensorFlow cannot even say so, since it has no __name__.
    except AttributeError:
        return NotImplementedError("recompute_grad gives one derivative alone")
    # What is gathered has the gradient of the rows that are used.
    return tf.convert_to_tensor(found) if isinstance(found, tf.IndexedSlices) else found


def checked_gradient(
    row, subject: Callable, order: int, like: tf.Tensor, is_zero: Callable = never
) -> tf.Tensor:
    """Returns a gradient, zeros where none is the truth, or raises that it is lost."""
    if isinstance(row, Exception):
        raise LostError(lost(subject, order, row.args[0])) from row
    if row is not None:
        return row
    if not is_certain(subject, order) and not is_zero():
        raise LostError(lost(subject, order, "TensorFlow finds no path from x to it"))
    return tf.zeros_like(like)


def is_certain(subject: object, order: int) -> bool:
    """Returns whether a derivative of which there is nothing to see is known to be 0."""
    smoothness = registry.smoothness(subject)
    # Tapes may leave out what a stopped or declared gradient hides.
    is_smooth = smoothness is not None and smoothness >= order
    return is_smooth and _are_right(subject, max(order, 2))


def _are_right(subject: object, order: int) -> bool:
    """Returns whether tapes are known to be right up to an order, as far as pieces go."""
    known = registry.smoothness(subject) is not None
    return known and registry.tapes_right_to(subject) >= order


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
    parts = graph.inner(subject) if graph.is_graph(subject) else []
    classes = [(part, registry.smoothness(part)) for part in parts]
    named = [
        _named(part, k)
        for part, k in classes
        if k is None or min(k, registry.tapes_right_to(part)) < order
    ]
    return named or [_named(subject, registry.smoothness(subject))]


def _named(part: object, smoothness: float | None) -> str:
    name = getattr(part, "name", None) or getattr(part, "__name__", "the function itself")
    kind = "unknown smoothness" if smoothness is None else f"C^{smoothness}"
    return f"{name} ({type(part).__name__}, {kind})"


def components(tensor: tf.Tensor) -> list[tf.Tensor]:
    """Splits (batch, ...) into tensors of shape (batch,).

    Samples are independent, so that the gradient of one such tensor, summed over the
    batch, holds one derivative a sample.
    """
    size = math.prod(tensor.shape[1:])
    # Not unstacked: a gradient of one of them would make zeros for all the others.
    rows = tf.reshape(tensor, (-1, size))
    return [rows[:, place] for place in range(size)]


def sample_axes(point: tf.Tensor) -> tuple[int, ...]:
    """Returns the axes that one derivative appends: none where a sample is one number."""
    return () if math.prod(point.shape[1:]) == 1 else tuple(point.shape[1:])
