"""Gathers, scatters and segments."""

import functools
from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.jet.arithmetic import map_entries
from keras_smooth.operations.breakpoints import gap_to_second_largest
from keras_smooth.operations.lifting import (
    add_linear,
    axes_of_entry,
    directions_last,
    full_jet,
    lift_first_axes,
    linear_rule,
    run,
)
from keras_smooth.operations.rows import add, add_column


def _gather(
    operation: tf.Operation, v: tf.Tensor, indices: Any, axis: Any = 0
) -> tf.Tensor:
    dims = operation.get_attr("batch_dims") if operation.type == "GatherV2" else 0
    if not dims:
        return tf.gather(v, indices, axis=axes_of_entry(axis))
    shape = tf.concat([tf.shape(v)[:1], tf.shape(indices)], axis=0)
    axis = int(tf.get_static_value(axis))
    rank = v.shape.rank - 1
    return tf.gather(
        v, tf.broadcast_to(indices, shape), axis=axis % rank + 1, batch_dims=dims % rank + 1
    )


add_linear("Gather GatherV2", _gather)
add_linear(
    "GatherNd SegmentMean SegmentSum SparseSegmentMean SparseSegmentSum SparseSegmentSqrtN "
    "UnsortedSegmentSum",
    lift_first_axes,
)


def _scatter(operation: tf.Operation, indices: Any, v: tf.Tensor, shape: Any) -> tf.Tensor:
    target = tf.concat([shape, tf.cast(tf.shape(v)[:1], shape.dtype)], axis=0)
    return directions_last(lambda z: tf.scatter_nd(indices, z, target), v)


add_linear("ScatterNd", _scatter, slice(1, 2))


add_linear(
    "TensorScatterAdd TensorScatterSub TensorScatterUpdate",
    lift_first_axes,
    slice(0, None, 2),
)


def _extreme_of_segments(operation: tf.Operation, x: Jet, ids: Any, *number: Any) -> Jet:
    """The rule of the maximum or minimum of each segment: the mean over all extreme entries."""
    x = full_jet(x)
    largest = run(operation, [x.primal, ids, *number])
    size = number[0] if number else tf.shape(largest)[0]

    def sums(z: tf.Tensor) -> tf.Tensor:
        return tf.math.unsorted_segment_sum(z, ids, size)

    chosen = tf.cast(tf.equal(x.primal, tf.gather(largest, ids)), x.dtype)
    share = chosen / tf.maximum(tf.gather(sums(chosen), ids), tf.ones([], x.dtype))
    return map_entries(x, largest, lambda v: directions_last(sums, share * v))


def _gap_in_segments(
    operation: tf.Operation, x: tf.Tensor, ids: tf.Tensor, *number: tf.Tensor
) -> list:
    x = -x if "Min" in operation.type else x
    size = number[0] if number else tf.reduce_max(tf.pad(ids + 1, [[0, 1]]))
    groups = {"segment_ids": ids, "num_segments": size}
    largest = functools.partial(tf.math.unsorted_segment_max, **groups)
    count = functools.partial(tf.math.unsorted_segment_sum, **groups)
    return [gap_to_second_largest(x, largest, lambda v: tf.gather(v, ids), count)]


add(
    "SegmentMax SegmentMaxV2 SegmentMin SegmentMinV2 UnsortedSegmentMax UnsortedSegmentMin",
    _extreme_of_segments,
    exact=True,
    smoothness=0,
    breakpoints=_gap_in_segments,
)


# TensorFlow's second derivative of a product is wrong where a factor, hence the product, is 0.
add_column(
    "SegmentProd UnsortedSegmentProd",
    tapes_right_to=1,
    wrong_at=lambda operation, *inputs: run(operation, inputs),
)


def _stitched(operation: tf.Operation, *inputs: Any) -> Jet:
    data = slice(operation.get_attr("N"), None)
    return linear_rule(lift_first_axes, data)(operation, *inputs)


add("DynamicStitch ParallelDynamicStitch", _stitched, exact=True)
add_linear("DynamicPartition", None)
