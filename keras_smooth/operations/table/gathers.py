"""Gathers, scatters and segments."""

from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.operations.breakpoints import first_gap
from keras_smooth.operations.lifting import (
    behind,
    joint,
    linear,
    primal,
    run,
    shifted,
    whole,
)  # fmt: skip
from keras_smooth.operations.rows import add


def _gather(
    operation: tf.Operation, v: tf.Tensor, indices: Any, axis: Any = 0
) -> tf.Tensor:
    dims = operation.get_attr("batch_dims") if operation.type == "GatherV2" else 0
    if not dims:
        return tf.gather(v, indices, axis=shifted(axis))
    shape = tf.concat([tf.shape(v)[:1], tf.shape(indices)], axis=0)
    axis = int(tf.get_static_value(axis))
    rank = v.shape.rank - 1
    return tf.gather(
        v, tf.broadcast_to(indices, shape), axis=axis % rank + 1, batch_dims=dims % rank + 1
    )


def _behind(operation: tf.Operation, v: tf.Tensor, *others: Any) -> tf.Tensor:
    """Of operations whose places are in the leading axes."""
    return behind(lambda z: run(operation, [z, *others]), v)


add("Gather GatherV2", linear(_gather), exact=True)
add(
    "GatherNd SegmentMean SegmentSum SparseSegmentMean SparseSegmentSum SparseSegmentSqrtN "
    "UnsortedSegmentSum",
    linear(_behind),
    exact=True,
)


def _with_directions(shape: Any, v: tf.Tensor) -> tf.Tensor:
    return tf.concat([shape, tf.cast(tf.shape(v)[:1], shape.dtype)], axis=0)


def _scatter(operation: tf.Operation, indices: Any, x: Jet, shape: Any) -> Jet:
    def lifted(v: tf.Tensor) -> tf.Tensor:
        target = _with_directions(shape, v)
        return behind(lambda z: tf.scatter_nd(indices, z, target), v)

    series = [None if v is None else lifted(v) for v in whole(x).series]
    return x.like(run(operation, [indices, x.primal, shape]), series)


add("ScatterNd", _scatter, exact=True)


def _written(operation: tf.Operation, tensor: Any, indices: Any, updates: Any) -> Jet:
    """Values that are put or added in places of a tensor."""

    def lifted(values: list) -> tf.Tensor:
        moved = [tf.transpose(v, [*range(1, v.shape.rank), 0]) for v in values]
        y = run(operation, [moved[0], indices, moved[1]])
        return tf.transpose(y, [y.shape.rank - 1, *range(y.shape.rank - 1)])

    exact = run(operation, [primal(tensor), indices, primal(updates)])
    return joint(exact, (tensor, updates), lifted)


add(
    "TensorScatterAdd TensorScatterSub TensorScatterUpdate",
    _written,
    exact=True,
)


def _extreme_of_segments(operation: tf.Operation, x: Jet, ids: Any, *number: Any) -> Jet:
    """The largest or smallest of each segment; the mean of several that are equal."""
    x = whole(x)
    largest = run(operation, [x.primal, ids, *number])
    size = number[0] if number else tf.shape(largest)[0]
    chosen = tf.cast(tf.equal(x.primal, tf.gather(largest, ids)), x.dtype)
    counts = tf.math.unsorted_segment_sum(chosen, ids, size)
    share = chosen / tf.maximum(tf.gather(counts, ids), tf.ones([], x.dtype))

    def lifted(v: tf.Tensor) -> tf.Tensor:
        return behind(lambda z: tf.math.unsorted_segment_sum(z, ids, size), share * v)

    return x.like(largest, [None if v is None else lifted(v) for v in x.series])


def _gap_in_segments(
    operation: tf.Operation, x: tf.Tensor, ids: tf.Tensor, *number: tf.Tensor
) -> list:
    x = -x if "Min" in operation.type else x
    size = number[0] if number else tf.reduce_max(tf.pad(ids + 1, [[0, 1]]))
    return [
        first_gap(
            x,
            lambda v: tf.math.unsorted_segment_max(v, ids, size),
            lambda v: tf.gather(v, ids),
            lambda v: tf.math.unsorted_segment_sum(v, ids, size),
        )
    ]


add(
    "SegmentMax SegmentMaxV2 SegmentMin SegmentMinV2 UnsortedSegmentMax UnsortedSegmentMin",
    _extreme_of_segments,
    exact=True,
    smoothness=0,
    breakpoints=_gap_in_segments,
)


def _stitched(operation: tf.Operation, *inputs: Any) -> Jet:
    number = operation.get_attr("N")
    indices, data = inputs[:number], inputs[number:]

    def lifted(values: list) -> tf.Tensor:
        moved = [tf.transpose(v, [*range(1, v.shape.rank), 0]) for v in values]
        y = run(operation, [*indices, *moved])
        return tf.transpose(y, [y.shape.rank - 1, *range(y.shape.rank - 1)])

    exact = run(operation, [*indices, *map(primal, data)])
    return joint(exact, data, lifted)


add("DynamicStitch ParallelDynamicStitch", _stitched, exact=True)


def _partitioned(operation: tf.Operation, x: Jet, partitions: Any) -> list:
    number = operation.get_attr("num_partitions")
    values = run(operation, [x.primal, partitions])

    def lifted_to(place: int, v: tf.Tensor) -> tf.Tensor:
        return behind(lambda z: tf.dynamic_partition(z, partitions, number)[place], v)

    lifted = [
        None if v is None else [lifted_to(place, v) for place in range(number)]
        for v in whole(x).series
    ]
    return [
        x.like(value, [None if entry is None else entry[i] for entry in lifted])
        for i, value in enumerate(values)
    ]


add("DynamicPartition", _partitioned, exact=True)
