"""The cross-check of jets: their y against the model's own, on some of the points."""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from keras_smooth.differentiation import tapes
from keras_smooth.differentiation.points import Points
from keras_smooth.jet import Jet

# Of many points every 16th is compared, of fewer about 32: that costs little and still
# meets what only some of them bring out.
_LARGEST_STEP = 16
_FEWEST = 32

# The distance from 1 to the next number, by dtype.
ROUNDING = {"bfloat16": 2**-7, "float16": 2**-10, "float32": 2**-23, "float64": 2**-52}

_CAUSE = (
    "the engine 'jet' gives another y than the model itself, by {difference:.1e} where y is "
    "up to {scale:.1e}: a jet rule does not do what its layer does"
)

_TOGETHER = "the model cannot be called on some of the samples: it mixes them"

_IN_A_GRAPH = (
    "The engine 'jet' gives another y than the model itself: a jet rule does not do what its "
    "layer does. Take engine='tape'."
)


class JetsDisagreeError(ValueError):
    """Says that the jets of a model are not those of the model."""


def compared(y, model: Callable, points: Points):
    """Returns the jets of a model, whose y agrees with that of the model.

    In a graph the comparison is part of the graph, which raises InvalidArgumentError. XLA
    knows no errors: there all entries are NaN where y does not agree.

    Args:
        y: Jet of the output, or a structure of jets.
        model: Model, layer or function.
        points: At which it was evaluated.

    Raises:
        JetsDisagreeError: If y does not agree, outside of graphs.
    """
    some = _some(points.flat[0].shape[0])
    rows = points.rows(some)
    jets = keras.tree.flatten(y)
    ours = [tf.stop_gradient(jet.primal[some]) for jet in jets]
    if not all(hasattr(tensor, "numpy") for tensor in (*ours, *rows.flat)):
        exact = _values(tapes.call(model, rows.x), jets)
        return keras.tree.pack_sequence_as(y, list(map(_poisoned, jets, ours, exact)))
    try:
        exact = tapes.call(model, rows.x)
    except tf.errors.InvalidArgumentError:
        raise JetsDisagreeError(_TOGETHER) from None
    cause = _disagreement(ours, _values(exact, jets))
    if cause:
        raise JetsDisagreeError(cause)
    return y


def _values(y, jets: list[Jet]) -> list[tf.Tensor]:
    pairs = zip(keras.tree.flatten(y), jets, strict=True)
    return [tf.stop_gradient(tf.cast(tensor, jet.dtype)) for tensor, jet in pairs]


def _some(size: int | None) -> slice:
    """Returns which points to compare: never the whole batch, which may mix its samples."""
    step = min(max((size or 1) // _FEWEST, 1), _LARGEST_STEP)
    return slice(int(step == 1 and (size or 1) > 1), None, step)


def _disagreement(ours: list[tf.Tensor], exact: list[tf.Tensor]) -> str:
    """Returns what is wrong, or nothing."""
    for one, other in zip(ours, exact, strict=True):
        # NumPy takes a fraction of the time of single operations of TensorFlow.
        difference, scale, agree = _difference(one.numpy(), other.numpy(), one.dtype, np)
        if not agree:
            return _CAUSE.format(difference=float(difference), scale=float(scale))
    return ""


def _poisoned(jet: Jet, ours: tf.Tensor, exact: tf.Tensor) -> Jet:
    """Returns a jet that cannot be had where y does not agree."""
    agree = _difference(ours, exact, ours.dtype, tf.experimental.numpy)[2]
    with tf.control_dependencies([tf.debugging.Assert(agree, [_IN_A_GRAPH])]):
        poison = tf.where(agree, tf.zeros((), jet.dtype), tf.cast(math.nan, jet.dtype))

    def spread(entry):
        if entry is None:
            return tf.reshape(poison, [1] * (jet.shape.rank + 1))
        return entry + poison

    return jet.like(jet.primal + poison, [spread(entry) for entry in jet.series])


def _difference(ours, exact, dtype: tf.DType, numpy) -> tuple:
    """Returns the largest difference, the largest value, and whether that is rounding.

    Args:
        ours, exact: Arrays or tensors.
        dtype: Of both.
        numpy: `numpy`, or TensorFlow's functions of the same names.
    """
    # Half of the digits: far above rounding, far below what a wrong rule does.
    tolerance = ROUNDING[dtype.name] ** 0.5
    difference, scale = numpy.max(numpy.abs(ours - exact)), numpy.max(numpy.abs(exact))
    # What is not finite on both sides is no disagreement.
    unknown = ~numpy.isfinite(scale) & ~numpy.isfinite(numpy.max(numpy.abs(ours)))
    return difference, scale, unknown | (difference <= tolerance * scale)
