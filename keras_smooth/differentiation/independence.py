"""Whether the samples of a batch are independent, as derivatives by sample require.

If a model subtracts the mean of its batch, tapes return the derivative of the sum of all outputs
with respect to one input. This is not the derivative of a sample, and depends on the batch. The
operations of most models show that they treat samples separately. For others, such as graph
networks that combine all graphs of a batch, the derivatives at the points show it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_smooth import operations
from keras_smooth.differentiation.points import Points, as_points, random_points
from keras_smooth.differentiation.traces import NotTraceableError, Traces
from keras_smooth.jet import Jet
from keras_smooth.models import calls
from keras_smooth.models.agreement import EPSILON
from keras_smooth.operations.program import Program, layer_path

MIXES = (
    "its output for a sample depends on the other samples of the batch, so that it has no "
    "derivatives by sample"
)
# The seed of random step sizes. They differ, since equal steps of two numbers would leave the
# difference of these unchanged.
_SEED = (3, 5)
# The parity of the binary digits of its multiples looks random, and differs for indices that
# are 2 apart among the first four.
_FACTOR = 681
# An output that changes by at most so many roundings counts as unchanged.
_FEW_ROUNDINGS = 16.0


def check(traces: Traces, points: Points, order: int = 1) -> None:
    """Raises an error if the output of a model for a sample depends on other samples.

    In a graph, the comparison of derivatives is part of the graph, which then raises
    InvalidArgumentError.

    Args:
        traces: The traces of the model.
        points: The points at which it is differentiated.
        order: Number of derivatives.

    Raises:
        ValueError: If an output depends on other samples.
    """
    model = traces.model
    name = repr(getattr(model, "name", repr(model)))
    operation, is_independent = mixing(traces, points, order)
    if is_independent is True:
        return
    mode = " in training mode" if traces.training else ""
    location = ""
    if operation is not None:
        location = f" (the operation {operation.type} in {layer_path(operation)})"
    words = (
        f"The model {name} mixes samples{mode}: {MIXES}{location}. Compute each "
        "sample from its own input alone, as BatchNormalization does with training=False or "
        "`trainable=False`, and LayerNormalization always."
    )
    if is_independent is False:
        raise ValueError(words)
    tf.debugging.Assert(is_independent, [words])


def mixing(traces: Traces, points: Points, order: int = 1) -> tuple:
    """Returns the first operation that may mix samples, and whether samples are independent.

    In a graph, the latter is a tensor if it depends on the values of the points.
    """
    if points.flat[0].shape[0] == 1:
        return None, True
    try:
        sample_axes = traces.apply_to_program(_sample_axes, points)
        operation = None
        if set(sample_axes) <= {0, None}:
            return None, True
    except NotTraceableError:
        return None, _same_among_copies(traces, points)
    except operations.MixedError as error:
        operation = error.operation
    if tf.executing_eagerly():
        return operation, _derivatives_are_independent(traces, points, order)
    # XLA drops assertions of a graph, so random samples are compared before it is built.
    try:
        with tf.init_scope():
            new_traces = Traces(traces.model, traces.training)
            return operation, _derivatives_are_independent(
                new_traces, random_points(points), order
            )
    # A model that uses tensors of a graph can be evaluated only inside that graph.
    except Exception:
        return operation, _derivatives_are_independent(traces, points, order)


def _sample_axes(program: Program, moving: Sequence[bool]) -> list:
    """Returns the axis of the samples in each output, if it is 0 in all inputs that move."""
    return operations.axes_of_samples(program, [0 if moves else None for moves in moving])


def _derivatives_are_independent(traces: Traces, points: Points, order: int) -> Any:
    """Returns whether the outputs of fixed samples stay the same while other samples move."""
    order = max(1, min(order, 2))
    masks = _masks(tf.shape(points.flat[0])[0])

    def direction(x: tf.Tensor) -> tf.Tensor:
        moves = tf.reshape(masks, [4, -1, *[1] * (x.shape.rank - 1)])
        size = tf.random.stateless_uniform(tf.shape(x), _SEED, 0.5, 1.5)
        return tf.cast(moves, x.dtype) * tf.cast(size, x.dtype)

    outputs = traces.propagated(points, list(map(direction, points.moving)), order)
    jets = [y for y in outputs if isinstance(y, Jet) and y.dtype.is_floating]
    # An output with another number of samples is an error of `Evaluation`.
    jets = [
        y for y in jets if y.shape.rank and y.shape[:1].is_compatible_with(masks.shape[1:])
    ]
    stay = [_fixed_samples_stay(y, k, masks) for y in jets for k in range(1, order + 1)]
    if not stay:
        return True
    all_stay = tf.reduce_all(tf.stack(stay))
    return bool(all_stay) if tf.executing_eagerly() else all_stay


def _masks(size: tf.Tensor) -> tf.Tensor:
    """Returns four masks of the samples that move.

    They separate all pairs of samples at odd distances, and more than a third of the pairs at
    any other distance. So they separate some of the pairs that a regular pattern mixes.
    """
    indices = tf.range(size)
    scattered = tf.cast(tf.raw_ops.PopulationCount(x=indices * _FACTOR), tf.int32)
    even, scattered = indices % 2 == 0, scattered % 2 == 0
    return tf.stack([even, ~even, scattered, ~scattered])


def _fixed_samples_stay(y: Jet, order: int, masks: tf.Tensor) -> Any:
    """Returns whether the derivatives are 0 for all samples that do not move."""
    entry = tf.cast(tf.abs(y.entry(order)), "float64")
    is_fixed = tf.reshape(~masks, [4, -1, *[1] * (y.shape.rank - 1)])
    largest_of_fixed = tf.reduce_max(tf.where(is_fixed, entry, tf.zeros_like(entry)))
    largest = tf.reduce_max(entry)
    # Half of the digits: far above rounding, and far below the effect of other samples.
    tolerance = EPSILON[y.dtype.name] ** 0.5
    return (largest_of_fixed <= tolerance * largest) | ~tf.math.is_finite(largest)


def _same_among_copies(traces: Traces, points: Points) -> bool:
    """Returns whether the first and last samples have the same outputs among copies of them.

    This is for models that cannot be traced, because Python branches on values. A branch or a
    number of iterations that all samples share is no mixing: small changes do not affect it.
    """

    def outputs(points: Points) -> list:
        return _float_outputs(traces, points)

    size = points.flat[0].shape[0]
    among_others, again = outputs(points), outputs(points)
    for end in (0, size - 1):
        copies = [tf.repeat(x[end : end + 1], size, axis=0) for x in points.flat]
        for y, repeated, alone in zip(among_others, again, outputs(points.at(copies))):
            tolerance = EPSILON[y.dtype.name] ** 0.5
            scale = tf.reduce_max(tf.abs(y)) + tf.reduce_max(tf.abs(alone))
            same = tf.reduce_max(tf.abs(y[end] - alone[end])) <= tolerance * scale
            # The outputs of a model with random numbers always differ.
            is_deterministic = bool(tf.reduce_all(y == repeated))
            if (
                is_deterministic
                and not bool(same)
                and not _stays_as_others_move(traces, points, end)
            ):
                return False
    return True


def _float_outputs(traces: Traces, points: Points) -> list[tf.Tensor]:
    """Returns the outputs that have one row of floats for each sample."""
    size = points.flat[0].shape[0]
    flat = keras.tree.flatten(calls.without_side_effects(traces.call, points.x))
    tensors = [y for y in flat if tf.is_tensor(y) and y.dtype.is_floating]
    return [y for y in tensors if y.shape[:1] == [size]]


def _stays_as_others_move(traces: Traces, points: Points, end: int) -> bool:
    """Returns whether small moves of all other samples leave the outputs of one unchanged."""

    def moved(x: tf.Tensor) -> tf.Tensor:
        # Far above rounding, also within the model, but too small to change most branches.
        step = max(EPSILON[x.dtype.name], EPSILON["float32"]) ** 0.5
        size = tf.random.stateless_uniform(x.shape, _SEED, 0.5 * step, 1.5 * step)
        other = x + tf.cast(size, x.dtype) * tf.reduce_max(tf.abs(x))
        is_end = tf.range(x.shape[0]) == end
        return tf.where(tf.reshape(is_end, [-1, *[1] * (x.shape.rank - 1)]), x, other)

    others = points.with_moving(list(map(moved, points.moving)))
    pairs = zip(_float_outputs(traces, points), _float_outputs(traces, others))
    return all(
        bool(
            tf.reduce_max(tf.abs(before[end] - after[end]))
            <= _FEW_ROUNDINGS * EPSILON[before.dtype.name] * tf.reduce_max(tf.abs(before))
        )
        for before, after in pairs
    )


def mixes(function: Callable, x: Any, by_values: bool = False) -> bool:
    """Returns whether the output of a function for a sample depends on other samples.

    Args:
        function: A function of x.
        x: Tensors of shape `(batch, ...)`.
        by_values: Whether to compare values instead of derivatives, for functions with
            operations that have no rule for jets.
    """
    points = as_points(x)
    if not points.places:
        return False
    if by_values:
        return not _same_among_copies(Traces(function), points)
    return mixing(Traces(function), points)[1] is False
