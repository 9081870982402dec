"""Operations that only move entries."""

from typing import Any

import tensorflow as tf

from keras_smooth.jet import Jet
from keras_smooth.operations.lifting import (
    behind,
    joint,
    linear,
    of_one_rank,
    run,
    run_primals,
    shifted,
    whole,
)  # fmt: skip
from keras_smooth.operations.rows import add


def _in_front(value: tf.Tensor, shape: Any) -> tf.Tensor:
    """Returns a shape of a tensor as that of an entry."""
    shape = tf.convert_to_tensor(shape)
    return tf.concat([tf.cast(tf.shape(value)[:1], shape.dtype), shape], axis=0)


def _zero_in_front(numbers: Any, first: int = 0) -> tf.Tensor:
    numbers = tf.convert_to_tensor(numbers)
    row = tf.fill(tf.concat([[1], tf.shape(numbers)[1:]], axis=0), first)
    return tf.concat([tf.cast(row, numbers.dtype), numbers], axis=0)


def _reshape(operation: tf.Operation, x: Jet, shape: Any) -> Jet:
    y = run(operation, [x.primal, shape])
    if _keeps_samples(x, y):
        target = tf.convert_to_tensor(shape)[1:]
        one = tf.ones([1], target.dtype)

        def reshaped(v: tf.Tensor) -> tf.Tensor:
            first = one if v.shape[1] == 1 else tf.cast(tf.shape(v)[1:2], target.dtype)
            return tf.reshape(v, _in_front(v, tf.concat([first, target], axis=0)))

        return x.like(y, [None if v is None else reshaped(v) for v in x.series])
    series = whole(x).series
    return x.like(
        y, [None if v is None else tf.reshape(v, _in_front(v, shape)) for v in series]
    )


def _keeps_samples(x: Jet, y: tf.Tensor) -> bool:
    """Returns whether each row stays a row, so that entries need not be written out."""
    old, new = x.shape, y.shape
    if not old.rank or not new.rank or None in old[1:] or None in new[1:]:
        return False
    return old[1:].num_elements() == new[1:].num_elements() != 0


def _squeezed(operation: tf.Operation, v: tf.Tensor) -> tf.Tensor:
    axes = operation.get_attr("squeeze_dims")
    rank = v.shape.rank - 1
    if not axes:
        axes = [axis for axis, size in enumerate(v.shape[1:]) if size == 1]
    return tf.squeeze(v, [axis % rank + 1 for axis in axes]) if axes else v


def _transposed(operation: tf.Operation, v: tf.Tensor, order: Any) -> tf.Tensor:
    return tf.transpose(v, tf.concat([[0], shifted(order)], axis=0))


def _sliced(operation: tf.Operation, v: tf.Tensor, begin: Any, size: Any) -> tf.Tensor:
    return tf.slice(v, _zero_in_front(begin), _zero_in_front(size, -1))


_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def _strided(
    operation: tf.Operation, v: tf.Tensor, begin: Any, end: Any, strides: Any
) -> tf.Tensor:
    masks = {name: operation.get_attr(name) << 1 for name in _MASKS}
    masks["begin_mask"] |= 1
    masks["end_mask"] |= 1
    return tf.raw_ops.StridedSlice(
        input=v,
        begin=_zero_in_front(begin),
        end=_zero_in_front(end),
        strides=_zero_in_front(strides, 1),
        **masks,
    )


def _padded(operation: tf.Operation, v: tf.Tensor, padding: Any, *value: Any) -> tf.Tensor:
    return tf.pad(v, _zero_in_front(padding))


def _mirrored(operation: tf.Operation, v: tf.Tensor, padding: Any) -> tf.Tensor:
    mode = operation.get_attr("mode")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    return tf.pad(v, _zero_in_front(padding), mode=mode)


def _unstacked(operation: tf.Operation, v: tf.Tensor) -> list:
    axis = operation.get_attr("axis")
    return tf.unstack(v, num=operation.get_attr("num"), axis=axis + (axis >= 0))


add("Reshape", _reshape, exact=True)
add(
    "ExpandDims",
    linear(lambda operation, v, axis: tf.expand_dims(v, shifted(axis))),
    exact=True,
)
add("Squeeze", linear(_squeezed), exact=True)
add("Transpose", linear(_transposed), exact=True)
add(
    "ConjugateTranspose",
    linear(lambda o, v, p: tf.math.conj(_transposed(o, v, p))),
    exact=True,
)
add("Slice", linear(_sliced), exact=True)
add("StridedSlice", linear(_strided), exact=True)


def _filling(lift: Any) -> Any:
    """Returns the rule of what is linear in its first input and filled up with its last.

    What is filled with a value that moves is x less the value, filled with 0, and the value.
    """
    rule = linear(lift)

    def filled(operation: tf.Operation, x: Any, *others: Any) -> Jet:
        *settings, value = others
        if not isinstance(value, Jet):
            return rule(operation, x, *others)
        first, second = of_one_rank(x, value)
        y = rule(operation, first - second, *settings, tf.zeros_like(value.primal))
        first, second = of_one_rank(y, value)
        return first + second

    return filled


add("Pad", linear(_padded), exact=True)
add("PadV2", _filling(_padded))
add("MirrorPad", linear(_mirrored), exact=True)
add("Unpack", linear(_unstacked), exact=True)
add(
    "Tile",
    linear(lambda operation, v, times: tf.tile(v, _zero_in_front(times, 1))),
    exact=True,
)
add(
    "BroadcastTo",
    linear(lambda operation, v, shape: _broadcast(v, shape)),
    exact=True,
)
add(
    "ReverseV2",
    linear(lambda operation, v, axes: tf.reverse(v, shifted(axes))),
    exact=True,
)
add(
    "Roll",
    linear(lambda operation, v, shift, axis: tf.roll(v, shift, shifted(axis))),
    exact=True,
)


def _broadcast(value: tf.Tensor, shape: Any) -> tf.Tensor:
    missing = tf.size(shape) - (value.shape.rank - 1)
    ones = tf.ones([missing], tf.int32)
    sizes = tf.shape(value)
    value = tf.reshape(value, tf.concat([sizes[:1], ones, sizes[1:]], axis=0))
    return tf.broadcast_to(value, _in_front(value, shape))


def _split(operation: tf.Operation, axis: Any, x: Jet) -> list:
    x = whole(x)
    number = operation.get_attr("num_split")
    lifted = [
        None if v is None else tf.split(v, number, axis=shifted(axis)) for v in x.series
    ]
    return _of_outputs(x, run(operation, [axis, x.primal]), lifted)


def _split_sizes(operation: tf.Operation, x: Jet, sizes: Any, axis: Any) -> list:
    x = whole(x)
    number = operation.get_attr("num_split")
    lifted = [
        None if v is None else tf.raw_ops.SplitV(
            value=v, size_splits=sizes, axis=shifted(axis), num_split=number
        )
        for v in x.series
    ]  # fmt: skip
    return _of_outputs(x, run(operation, [x.primal, sizes, axis]), lifted)


def _of_outputs(x: Jet, values: list, lifted: list) -> list:
    return [
        x.like(value, [None if entry is None else entry[i] for entry in lifted])
        for i, value in enumerate(values)
    ]


add("Split", _split, exact=True)
add("SplitV", _split_sizes, exact=True)


def _concatenated(operation: tf.Operation, *inputs: Any) -> Jet:
    *values, axis = inputs
    exact = run_primals(operation, inputs)
    return joint(exact, values, lambda vs: tf.concat(vs, shifted(axis)))


add("ConcatV2", _concatenated, exact=True)


def _stacked(operation: tf.Operation, *inputs: Any) -> Jet:
    axis = operation.get_attr("axis")
    exact = run_primals(operation, inputs)
    return joint(exact, inputs, lambda vs: tf.stack(vs, axis + (axis >= 0)))


add("Pack", _stacked, exact=True)


def _spaces(operation: tf.Operation, v: tf.Tensor, *others: Any) -> tf.Tensor:
    return behind(lambda z: run(operation, [z, *others]), v)


add("BatchToSpaceND SpaceToBatchND", linear(_spaces), exact=True)

# Matrices are the last axes: axes in front are only more of them.
_LAST_AXES = "MatrixBandPart MatrixDiag MatrixDiagPart"
_FILLED_AXES = "MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3"


def _of_matrices(operation: tf.Operation, v: tf.Tensor, *others: Any) -> tf.Tensor:
    if operation.type in _FILLED_AXES.split():
        # What is filled in is constant.
        others = (*others[:-1], tf.zeros_like(others[-1]))
    return run(operation, [v, *others])


add(_LAST_AXES, linear(_of_matrices), exact=True)
add(_FILLED_AXES, _filling(_of_matrices))
