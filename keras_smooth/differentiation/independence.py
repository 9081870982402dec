"""Whether the samples of a batch are independent, as derivatives of each sample need.

Of a model that subtracts the mean of its batch, tapes give the sum of what all samples do
to one input: no derivative of any sample, and another number in another batch. Most models
are seen to keep samples apart by reading their operations. Of the others, as of graphs that
are joined over the batch, the derivatives at the points themselves tell it.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_smooth import operations
from keras_smooth.differentiation.points import Points, drawn
from keras_smooth.differentiation.traces import NotTraceableError, Traces
from keras_smooth.jet import Jet
from keras_smooth.models import calls
from keras_smooth.models.agreement import EPSILON
from keras_smooth.operations.program import layer_path

MIXES = (
    "its output for a sample depends on the other samples of the batch, so that it has no "
    "derivatives by sample"
)
# How strongly each number of a sample moves: not all alike, since differences of what moves
# alike stay as they are.
_SEED = (3, 5)
# Whether the binary digits of its multiples have an even sum looks random, and is another for
# places 2 apart among the first four.
_FACTOR = 681


def check(traces: Traces, points: Points, order: int = 1) -> None:
    """Raises an error if the output of a model for a sample depends on the others.

    In a graph the check of derivatives is part of the graph, which raises
    InvalidArgumentError.

    Args:
        traces: What the model computes.
        points: Where it is differentiated.
        order: Number of derivatives.

    Raises:
        ValueError: If it does.
    """
    model = traces.model
    name = repr(getattr(model, "name", repr(model)))
    operation, agrees = mixing(traces, points, order)
    if agrees is True:
        return
    mode = " in training mode" if traces.training else ""
    place = ""
    if operation is not None:
        place = f" (the operation {operation.type} in {layer_path(operation)})"
    words = (
        f"The model {name} mixes samples{mode}: {MIXES}{place}. Compute each "
        "sample from its own input alone, as BatchNormalization does with training=False or "
        "`trainable=False`, and LayerNormalization always."
    )
    if agrees is False:
        raise ValueError(words)
    tf.debugging.Assert(agrees, [words])


def mixing(traces: Traces, points: Points, order: int = 1) -> tuple:
    """Returns the first operation that may mix samples, and whether they are apart.

    The second is a tensor in a graph, where only the numbers tell it.
    """
    if points.flat[0].shape[0] == 1:
        return None, True
    try:
        traced = traces.at(points)
    except NotTraceableError:
        return None, _alone_as_among_others(traces, points)
    axes = [0 if moves else None for moves in traces.moving(points)]
    try:
        sample_axes = operations.axes_of_samples(traced.program, axes)
        operation = None
        if set(sample_axes) <= {0, None}:
            return None, True
    except operations.MixedError as error:
        operation = error.operation
    if tf.executing_eagerly():
        return operation, _derivatives_are_apart(traces, points, order)
    # XLA drops what raises in a graph: samples like these are tried before it is made.
    try:
        with tf.init_scope():
            anew = Traces(traces.model, traces.training)
            return operation, _derivatives_are_apart(anew, drawn(points), order)
    # What depends on tensors of the graph can be told in the graph alone.
    except Exception:
        return operation, _derivatives_are_apart(traces, points, order)


def _derivatives_are_apart(traces: Traces, points: Points, order: int) -> Any:
    """Returns whether samples that stay do not change where others move."""
    order = max(1, min(order, 2))
    masks = _masks(tf.shape(points.flat[0])[0])

    def direction(x: tf.Tensor) -> tf.Tensor:
        moves = tf.reshape(masks, [4, -1, *[1] * (x.shape.rank - 1)])
        size = tf.random.stateless_uniform(tf.shape(x), _SEED, 0.5, 1.5)
        return tf.cast(moves, x.dtype) * tf.cast(size, x.dtype)

    outputs = traces.propagated(points, list(map(direction, points.moving)), order)
    jets = [y for y in outputs if isinstance(y, Jet) and y.dtype.is_floating]
    apart = [_stay(y, k, masks) for y in jets for k in range(1, order + 1)]
    apart = [each for each in apart if each is not True]
    if not apart:
        return True
    together = tf.reduce_all(tf.stack(apart))
    return bool(together) if tf.executing_eagerly() else together


def _masks(size: tf.Tensor) -> tf.Tensor:
    """Returns which samples move, in four ways.

    They tell apart all samples that are an odd number apart, and more than a third of those at
    any other distance: of what mixes samples in some order, some are told apart.
    """
    places = tf.range(size)
    scattered = tf.cast(tf.raw_ops.PopulationCount(x=places * _FACTOR), tf.int32)
    even, scattered = places % 2 == 0, scattered % 2 == 0
    return tf.stack([even, ~even, scattered, ~scattered])


def _stay(y: Jet, order: int, masks: tf.Tensor) -> Any:
    """Returns whether an entry is 0 for all samples that do not move."""
    static = masks.shape[1]
    if not y.shape.rank or None not in (static, y.shape[0]) and static != y.shape[0]:
        # That it has another number of samples is said by the operators.
        return True
    entry = tf.cast(tf.abs(y.entry(order)), "float64")
    stays = tf.reshape(~masks, [4, -1, *[1] * (y.shape.rank - 1)])
    moved = tf.reduce_max(tf.where(stays, entry, tf.zeros_like(entry)))
    largest = tf.reduce_max(entry)
    # Half of the digits: far above rounding, far below what other samples do.
    tolerance = EPSILON[y.dtype.name] ** 0.5
    return (moved <= tolerance * largest) | ~tf.math.is_finite(largest)


def _alone_as_among_others(traces: Traces, points: Points) -> bool:
    """Returns whether the first and last sample are what they are among copies of them.

    For what cannot be traced, in which Python decides by values.
    """

    def outputs(points: Points) -> list:
        return keras.tree.flatten(calls.without_trace(traces.called, points.x))

    size = points.flat[0].shape[0]
    several, again = outputs(points), outputs(points)
    for end in (0, size - 1):
        copies = [tf.repeat(x[end : end + 1], size, axis=0) for x in points.flat]
        for y, repeated, alone in zip(several, again, outputs(points.at(copies))):
            if not tf.is_tensor(y) or not y.dtype.is_floating or y.shape[:1] != [size]:
                continue
            tolerance = EPSILON[y.dtype.name] ** 0.5
            scale = tf.reduce_max(tf.abs(y)) + tf.reduce_max(tf.abs(alone))
            same = tf.reduce_max(tf.abs(y[end] - alone[end])) <= tolerance * scale
            if bool(tf.reduce_all(y == repeated)) and not bool(same):
                return False
    return True


def mixes(function: Callable, x: Any, by_values: bool = False) -> bool:
    """Returns whether the output of a function for a sample depends on the others.

    Args:
        function: Of x.
        x: Tensors of shape `(batch, ...)`.
        by_values: Whether values are to tell it, where operations have no rule for jets.
    """
    flat = keras.tree.flatten(x)
    places = tuple(i for i, each in enumerate(flat) if each.dtype.is_floating)
    if not places:
        return False
    points = Points(x=x, places=places, single=False)
    if by_values:
        return not _alone_as_among_others(Traces(function), points)
    return mixing(Traces(function), points)[1] is False
